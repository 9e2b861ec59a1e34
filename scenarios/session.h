/*
 * A session: one command, launched or attached to, watched until it ends or hangs. What `wedge watch`, `wedge inject`
 * and every check of `wedge run` have in common.
 *
 * The caller must be single-threaded. While a session runs it owns the process's signal mask, is the subreaper of the
 * command's descendants, and reaps children. Blocking: until the command ends, hangs, or the limit passes.
 */
#ifndef WEDGE_SCENARIOS_SESSION_H
#define WEDGE_SCENARIOS_SESSION_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "faults/plan.h"
#include "scenarios/act.h"
#include "scenarios/reach.h"

struct wedge_session {
    const char *verb; /* of the report: "watch" */
    const char *scenario; /* its name, NULL none */
    char *const *argv; /* the command; NULL with attach */
    pid_t attach; /* 0: launch argv */
    bool agent; /* preload the agent */
    bool agent_optional; /* go on without it where the command cannot take it */
    const struct wedge_plan *plan; /* NULL: none; needs the agent */
    const char *disarm; /* rules that are disarmed at the beginning, "f1,f2"; NULL none */
    enum wedge_record record; /* with the agent */
    enum wedge_census_of census; /* passes are counted; record is WEDGE_RECORD_NOTHING then */
    size_t arena_bytes; /* 0: default */
    bool detect; /* false: only run it (inject) */
    int64_t stall_ns; /* how long nothing may move; 0: 30 s */
    int64_t patience_ns; /* how long one may wait behind a holder that runs; looked at that often; 0: as stall_ns */
    int stop_deadline_ms; /* how long one process may be kept stopped for its stacks; 0: 100 (detector/examine.h) */
    bool stall_given; /* the user asked for it: without progress marks, output and CPU count instead */
    bool
        act_on_evident; /* a hang of the whole that is only evident acts once it lasted for stall_ns; else it is reported */
    bool contention_quiesces; /* once a contention was told no fault acts any more: what a rule holds goes on */
    int64_t limit_ns; /* 0: none */
    struct wedge_act on_hang; /* on a hang of the whole, or the limit */
    struct wedge_act on_part; /* on a hang of a part that is proved and has lasted for stall_ns */
    const char *dir; /* where the report is written, and core files are; for on_hang and on_part */
    const sigset_t *mask; /* signals that are blocked in the command; NULL: those that are in the caller */
    bool end_all; /* nothing of the command outlives it: when it has ended, its descendants are ended too */
    int stdout_fd, stderr_fd; /* where the command's streams go; -1: as ours, untouched */
    bool copy_output; /* pass the streams through a copier, to have the last lines for the report */
    size_t keep_bytes; /* with it: of a longer stream only the first and the last so many arrive (scenarios/tee.h); 0: all of it */
    /* Told of every new verdict worth a report: `final` is the one that ends the session. May be NULL. */
    void (*on_report)(void *arg, const json_t *report, bool final);
    /* Told what the session does, for a person; may be NULL. */
    void (*on_note)(void *arg, const char *text);
    /* The command has ended, or was: the arena as it was left, there while this runs. May be NULL. */
    void (*on_end)(void *arg, const struct wedge_arena *arena);
    void *arg;
};

enum wedge_session_end {
    WEDGE_ENDED, /* by itself */
    WEDGE_HUNG, /* a hang of the whole */
    WEDGE_LIMIT, /* the limit passed */
    WEDGE_INTERRUPTED, /* a signal to wedge ended it; the command was given it too */
    WEDGE_NO_EXEC, /* the command could not be executed: exec_errno */
};

struct wedge_outcome {
    enum wedge_session_end end;
    int exit_status; /* of the command, -1 not known */
    int signal; /* that ended the command, 0 none */
    int exec_errno;
    int interrupted_by;
    json_t *report; /* always there after a session that returned 0; owned */
    int64_t duration_ns;
    int64_t verdict_after_fault_ns; /* from the last fault fired to the verdict; -1 no fault or no hang */
    int output_error; /* why its output did not arrive where it was going, a positive errno; 0 it did */
    size_t still_alive; /* descendants that could not be ended */
    struct wedge_reach reach; /* how far the plan reached, and whether the run counts at all */
    char *output; /* last output of the command; owned */
};

/* The signals that end wedge's work: SIGINT, SIGTERM, SIGHUP, SIGQUIT, without those that are ignored, as under nohup. */
void wedge_session_ends(sigset_t *ret);

/* Runs a session. 0, or a negative errno with *err set (then nothing was left running). */
int wedge_session_run(const struct wedge_session *session, struct wedge_outcome *ret, struct wedge_err *err);
void wedge_outcome_free(struct wedge_outcome *outcome);

#endif
