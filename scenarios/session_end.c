/*
 * The end of a session: the command's status, its last output, how far the plan reached, and the report of a command that
 * ended by itself.
 */
#include "scenarios/session_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "reports/examine.h"

enum { DRAIN_MS = 2000, OUTPUT_TAIL_BYTES = 8192 };

/* What `run` points to stays until the next call. -ENOMEM: nothing is said of how far the plan reached. */
int wedge_session_fill_run(struct wedge_session_state *st, struct wedge_report_run *run, char *tail)
{
    const struct wedge_session *s = st->s;
    struct wedge_reach *reach = &st->out->reach;
    int rc = wedge_reach_fill(reach, st->agent ? &st->arena : NULL, s->plan, &st->absent,
                              st->ended && st->out->end == WEDGE_ENDED);
    *run = (struct wedge_report_run){.verb = s->verb,
                                     .scenario = s->scenario,
                                     .command = s->argv,
                                     .started_ns = st->began_ns,
                                     .started_unix_ms = st->began_unix_ms,
                                     .duration_ms = (wedge_clock_ns() - st->began_ns) / WEDGE_NS_PER_MS,
                                     .seed = s->plan ? wedge_plan_seed(s->plan) : 0,
                                     .exit_status = st->out->exit_status,
                                     .signal = st->out->signal,
                                     .exec_errno = st->out->exec_errno,
                                     .output_tail = tail,
                                     .agent = st->agent,
                                     .injection = st->agent && !rc ? &reach->report : NULL};
    return rc;
}

/* The last output of both streams, standard error last. */
char *wedge_session_output_tail(const struct wedge_session_state *st)
{
    char *both = malloc(2 * OUTPUT_TAIL_BYTES);
    if (!both)
        return NULL;
    both[0] = 0;
    size_t len = 0;
    for (int i = 0; i < 2; i++)
        if (st->tees[i].ring)
            len += strlen(wedge_tee_tail(&st->tees[i], both + len, OUTPUT_TAIL_BYTES));
    return both;
}

static void take_status(struct wedge_session_state *st)
{
    struct wedge_outcome *out = st->out;
    if (!st->ended || st->s->attach)
        return;
    if (WIFEXITED(st->wstatus))
        out->exit_status = WEXITSTATUS(st->wstatus);
    if (WIFSIGNALED(st->wstatus))
        out->signal = WTERMSIG(st->wstatus);
}

/* The report of a command that ended by itself: its faults, from the agent's record. */
static json_t *report_of_the_end(const struct wedge_session_state *st, const struct wedge_report_run *run)
{
    struct wedge_arena_copy copy = {0};
    struct wedge_snapshot *recalled = NULL;
    if (st->agent && wedge_arena_copy(&st->arena, false, &copy, NULL) == 0)
        wedge_detector_recall(&copy, &recalled, NULL);
    json_t *report = wedge_report_new(run, recalled);
    wedge_snapshot_free(recalled);
    wedge_arena_copy_free(&copy);
    return report;
}

int wedge_session_close_books(struct wedge_session_state *st)
{
    struct wedge_outcome *out = st->out;
    struct wedge_report_run run;
    take_status(st);
    if (out->end == WEDGE_ENDED)
        wedge_session_look_for_absent(st, NULL, true);
    if (st->s->end_all && !st->s->attach && st->root > 0)
        out->still_alive = wedge_session_kill_tree(st);
    int64_t until_ns = wedge_clock_ns() + DRAIN_MS * WEDGE_NS_PER_MS;
    for (int i = 0; i < 2; i++) {
        int64_t left_ms = (until_ns - wedge_clock_ns()) / WEDGE_NS_PER_MS;
        wedge_tee_drain(&st->tees[i], left_ms > 0 ? (int)left_ms : 0);
        out->output_error = out->output_error ? out->output_error : wedge_tee_error(&st->tees[i]);
    }
    out->duration_ns = wedge_clock_ns() - st->began_ns;
    out->output = wedge_session_output_tail(st);
    if (!out->output || wedge_session_fill_run(st, &run, out->output))
        return wedge_err_set(st->err, -ENOMEM, "no memory for the report");
    if (!out->report && !(out->report = report_of_the_end(st, &run)))
        return wedge_err_set(st->err, -ENOMEM, "no memory for the report");
    return out->end == WEDGE_ENDED ? wedge_report_set_run(out->report, &run) : 0;
}
