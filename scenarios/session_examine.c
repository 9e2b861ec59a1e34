/*
 * Examinations of a session: when one is made (quiet.h says so, from figures sampled here), and what it means that one
 * could not be made.
 */
#include "scenarios/session_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "reports/examine.h"

enum { EXAMINE_DEADLINE_MS = 10000, MOST_FAILED = 3 };

static uint64_t progress_marks(const struct wedge_session_state *st)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; st->agent && i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *t = wedge_arena_live(&st->arena, WEDGE_SEC_THREADS, i);
        sum += atomic_load_explicit(&t->progress, memory_order_relaxed);
    }
    return sum;
}

/* For how long nothing moved, by the marks where the program has any; else, and only when the user gave a stall time,
 * by its output and its CPU time. */
static int64_t stalled_ns(struct wedge_session_state *st, const struct wedge_tree *tree, int64_t now)
{
    uint64_t marks = progress_marks(st);
    if (!marks && !st->s->stall_given)
        return 0;
    if (marks)
        return wedge_quiet_stalled_ns(&st->quiet, now, marks, 0);
    uint64_t bytes = wedge_tee_bytes(&st->tees[0]) + wedge_tee_bytes(&st->tees[1]);
    return wedge_quiet_stalled_ns(&st->quiet, now, bytes, wedge_tree_cpu_ns(tree));
}

int wedge_session_examine(struct wedge_session_state *st, int64_t stalled, enum wedge_session_stacks of, json_t **ret)
{
    pid_t own[WEDGE_SESSION_OWN];
    struct wedge_arena_copy copy = {0};
    struct wedge_report_run run;
    struct wedge_examine options = {.root = st->root,
                                    .blind = own,
                                    .n_blind = wedge_session_own_pids(st, own),
                                    .stacks = of == WEDGE_SESSION_ALL ? WEDGE_STACKS_ALWAYS : WEDGE_STACKS_ON_HANG,
                                    .gentle = of == WEDGE_SESSION_GENTLE,
                                    .brief = of != WEDGE_SESSION_ALL,
                                    .history = st->history,
                                    .patience_ns = st->s->patience_ns ? st->s->patience_ns : st->stall_ns,
                                    .stop_deadline_ms = st->s->stop_deadline_ms,
                                    .stalled = stalled > 0,
                                    .stalled_ns = stalled};
    int rc = 0;
    if (st->agent) { /* copied by the examination itself, at the right moment */
        options.arena = &copy;
        options.live = &st->arena;
    }
    if (!rc)
        rc = wedge_report_examine(&options, EXAMINE_DEADLINE_MS, ret, st->err);
    if (st->agent)
        wedge_arena_copy_free(&copy);
    if (rc)
        return rc;
    char *tail = wedge_session_output_tail(st);
    wedge_session_fill_run(st, &run, tail);
    rc = wedge_report_set_run(*ret, &run);
    free(tail);
    return rc;
}

/* An examination that failed says nothing about the command: it goes on, and the next one may do better. A process
 * that was only attached to in order to be looked at is another matter. */
static int unexamined(struct wedge_session_state *st, int rc)
{
    char why[1200], text[1300];
    if (rc == -ESRCH) /* it ended meanwhile; the pidfd says so too */
        return 0;
    /* On a busy machine one may take too long; that the next one does as well is unlikely. */
    bool may_pass = (rc == -ETIMEDOUT || rc == -ECHILD) && ++st->failed < MOST_FAILED;
    if (st->s->attach && !st->examined && !may_pass)
        return rc;
    if (!st->unseen) {
        snprintf(text, sizeof(text), "the command runs on, but could not be examined: %s",
                 wedge_err_text(st->err, why, sizeof(why)));
        wedge_session_note(st, text);
    }
    st->unseen = true;
    return 0;
}

static int64_t cpu_ns(int who)
{
    struct rusage use = {0};
    getrusage(who, &use);
    return ((int64_t)use.ru_utime.tv_sec + use.ru_stime.tv_sec) * WEDGE_NS_PER_S +
           ((int64_t)use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1000;
}

/* CPU time of this process and of the children that it waited for. */
static int64_t own_cpu_ns(void)
{
    return cpu_ns(RUSAGE_SELF) + cpu_ns(RUSAGE_CHILDREN);
}

/* What this process used for other things than examinations. (Children besides theirs may be orphans of the tree's.) */
static void count_sampling(struct wedge_session_state *st)
{
    int64_t now_ns = cpu_ns(RUSAGE_SELF);
    wedge_quiet_used(&st->quiet, now_ns - st->self_cpu_ns);
    st->self_cpu_ns = now_ns;
}

int wedge_session_tick(struct wedge_session_state *st)
{
    json_t *report;
    uint64_t figure;
    wedge_session_reap(st);
    if (st->ended || wedge_session_sample(st, &figure))
        return 0;
    int64_t now = wedge_session_now(st);
    count_sampling(st);
    bool due = wedge_quiet_sample(&st->quiet, now, figure);
    int64_t stalled = stalled_ns(st, &st->tree, now);
    wedge_session_look_for_absent(st, st->stale ? NULL : &st->tree, false);
    bool is_stalled = stalled >= st->stall_ns, ripe = st->ripe_at_ns && now >= st->ripe_at_ns;
    if (!due && !ripe && !(is_stalled && now >= st->quiet.examine_at_ns))
        return 0;
    int64_t cpu_before = own_cpu_ns();
    int rc = wedge_session_examine(st, is_stalled ? stalled : 0, WEDGE_SESSION_GENTLE, &report);
    wedge_quiet_examined(&st->quiet, now, wedge_clock_ns(), own_cpu_ns() - cpu_before);
    st->self_cpu_ns = cpu_ns(RUSAGE_SELF);
    if (rc)
        return unexamined(st, rc);
    st->examined = true;
    wedge_session_judge(st, report, is_stalled, wedge_clock_ns());
    if (st->s->patience_ns && !st->ripe_at_ns) /* who waits behind the same holder by then has waited for too long */
        st->ripe_at_ns = wedge_clock_ns() + st->s->patience_ns;
    return 0;
}

int wedge_session_limit_passed(struct wedge_session_state *st)
{
    json_t *report;
    struct wedge_report_run run;
    int64_t ran = wedge_clock_ns() - st->began_ns;
    int rc = wedge_session_examine(st, ran, WEDGE_SESSION_ALL, &report);
    if (rc == -ESRCH)
        return 0;
    if (rc) {
        if ((rc = unexamined(st, rc)))
            return rc;
        char *tail = wedge_session_output_tail(st);
        wedge_session_fill_run(st, &run, tail);
        report = wedge_report_new(&run, NULL);
        free(tail);
        if (!report)
            return wedge_err_set(st->err, -ENOMEM, "no memory for the report");
    }
    wedge_session_finish(st, WEDGE_LIMIT, &st->s->on_hang, report);
    return 0;
}
