/* Every hang of the factory gets its kind, its certainty and its scope, and words that name what matters. */
#include <unistd.h>

#include "base/clock.h"
#include "detector/tests/cases.h"

static const struct hang hangs[] = {
    {"opposite-shared", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_mutex_lock",
     "opposite()", "opposite"},
    {"opposite-robust", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_mutex_lock",
     "robust mutex", "opposite"},
    {"join-with-lock", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "pthread_join",
     "take_first_lock()", "join_with_lock|take_first_lock"},
    {"leader-gone", WEDGE_VERDICT_ABANDONED_LOCK, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "pthread_mutex_lock",
     "take_first_lock()"},
    {"waitpid-full-pipe", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "write", "waitpid()",
     "factory_fill|waitpid_full_pipe"},
    {"self-deadlock", WEDGE_VERDICT_SELF_DEADLOCK, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "pthread_mutex_lock",
     "owns itself", "self_deadlock"},
    {"abandoned", WEDGE_VERDICT_ABANDONED_LOCK, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "pthread_mutex_lock",
     "owner is gone"},
    {"forked-lock", WEDGE_VERDICT_ABANDONED_LOCK, WEDGE_PROVED, WEDGE_SCOPE_PART, 1, "pthread_mutex_lock",
     "was copied by fork: its owner", "hold_first_and_sleep"},
    {"orphaned-pipe", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "read", "Nobody is left"},
    {"orphaned-sem", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "sem_wait", "shared semaphore"},
    {"three-threads", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_mutex_lock", "take_two()",
     "take_two"},
    {"part-checked", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_PART, 2, "pthread_mutex_lock",
     "error-checking", "take_two_of_two"},
    {"part-normal", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_EVIDENT, WEDGE_SCOPE_PART, 2, "pthread_mutex_lock", "mutex",
     "take_two_of_two"},
    {"closed-conditions", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "sem_wait",
     "condition variable", "closed_conditions|wait_for_cond"},
    {"barrier-short", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "pthread_barrier_wait", "barrier",
     "barrier_short|meet_others"},
    {"rwlock-writer", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "pthread_rwlock_wrlock",
     "rwlock"},
    {"both-write", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "write", "factory_fill()",
     "both_write"},
    {"threads-both-write", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "write",
     "factory_fill()", "write_back|threads_both_write"},
    {"poll-own-pipe", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "poll", "1 polled descriptor"},
    {"epoll-own-pipe", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "epoll_wait",
     "1 polled descriptor"},
    {"stopped-child", WEDGE_VERDICT_STOPPED, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, NULL, "stopped", "stopped_child"},
};

/* Examining leaves it as it was: still there, nothing stopped. */
START_TEST(test_nothing_stays_stopped)
{
    struct factory factory = factory_start("three-threads");
    for (int i = 0; i < 5; i++) {
        struct wedge_snapshot *s = examine_until_all(factory.pid, 3, WEDGE_STACKS_ALWAYS);
        ck_assert(s->stopped_anything);
        wedge_snapshot_free(s);
        s = examine_once(factory.pid, WEDGE_STACKS_NEVER);
        /* A thread that was just let go may still be on its way (R) back into the wait that it restarts. */
        for (size_t t = 0; t < s->n_threads; t++)
            ck_assert_msg(s->threads[t].state == 'S' || s->threads[t].state == 'R', "left %c", s->threads[t].state);
        wedge_snapshot_free(s);
    }
    factory_end(&factory);
}
END_TEST

/* Two sets that have nothing to do with each other: the one that the program's first process is in is the whole, and comes first. */
START_TEST(test_two_apart)
{
    struct factory factory = factory_start("two-apart");
    int64_t deadline = wedge_clock_ns() + 20 * WEDGE_NS_PER_S;
    struct wedge_snapshot *s = examine_once(factory.pid, WEDGE_STACKS_NEVER);
    while (s->n_verdicts != 2 && wedge_clock_ns() < deadline) { /* the child takes its lock when it likes */
        wedge_snapshot_free(s);
        s = examine_once(factory.pid, WEDGE_STACKS_NEVER);
    }
    ck_assert_uint_eq(s->n_verdicts, 2);
    ck_assert_str_eq(wedge_verdict_words[s->verdicts[0].kind], "orphaned-wait");
    ck_assert_str_eq(wedge_scope_words[s->verdicts[0].scope], "whole");
    ck_assert_str_eq(wedge_verdict_words[s->verdicts[1].kind], "self-deadlock");
    ck_assert_str_eq(wedge_scope_words[s->verdicts[1].scope], "part");
    wedge_snapshot_free(s);
    factory_end(&factory);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_nothing_stays_stopped);
    tcase_add_test(tcase, test_two_apart);
}

int main(void)
{
    return cases_main("hangs", hangs, sizeof(hangs) / sizeof(hangs[0]), NULL, 0, fill);
}
