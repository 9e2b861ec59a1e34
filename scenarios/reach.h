/*
 * How far the plan reached: what it asked for and could not happen, and where no rule could act. One answer for the
 * report, for what is said at the end and for whether the run counts at all.
 */
#ifndef WEDGE_SCENARIOS_REACH_H
#define WEDGE_SCENARIOS_REACH_H

#include "faults/plan.h"
#include "reports/report.h"
#include "scenarios/absent.h"

struct wedge_reach { /* zero-initialised; texts are owned, never NULL once filled, "" where there is nothing to say */
    char *unfired; /* ids of rules that had to fire and have not, joined by blanks */
    char *missed; /* what of the plan could not happen: see faults/missed.h */
    char *noted; /* what it names and nobody has, of rules that need not fire */
    char *absent; /* programs that the agent was not in, "PATH (PID), which is …; …" */
    bool unreached; /* one of them ran, and a rule that had to fire could not reach it */
    uint32_t lost_procs, lost_threads; /* that found no room in the arena: no rule acted there */
    bool lost; /* and a rule of the plan might have been for them */
    bool invalid; /* the run proves nothing, whatever it looked like */
    struct wedge_report_absent programs[WEDGE_ABSENT_MOST]; /* the same for the report, which points here */
    struct wedge_report_injection report;
};

/* `arena` NULL: the agent is not there, and nothing is to be said. `plan` NULL: none. `ended`: the command ended by itself, so that what has not fired never will. What was in *reach is
 * freed. 0 or -ENOMEM. */
int wedge_reach_fill(struct wedge_reach *reach, const struct wedge_arena *arena, const struct wedge_plan *plan,
                     const struct wedge_absent *absent, bool ended);
void wedge_reach_free(struct wedge_reach *reach);

#endif
