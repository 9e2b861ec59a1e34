/*
 * The agent in programs that leave its wrappers by siglongjmp and cancellation, pass them in signal handlers in the
 * midst of a pass, and fork while other threads are inside: every call is counted once, no more and no less, and what
 * fires is what the counts say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/tests/suite.h"
#include "faults/tests/run.h"

static struct run run;

static void rough(const char *plan, const char *mode, const char *n)
{
    static char target[4096];
    snprintf(target, sizeof(target), "%s", run_target());
    strcpy(strrchr(target, '/') + 1, "faults_target_rough");
    RUN(&run, plan, target, mode, n);
    ck_assert_msg(run.status == 0, "status 0x%x: %s", (unsigned)run.status, run.text);
}

START_TEST(left_by_siglongjmp)
{
    int reads, waits, failed, last;
    rough("f1 * read nth=5 -> errno EIO\nf2 * read every=50 -> errno EINTR\nf3 * sem_wait nth=2 -> delay 1h", "jump",
          "300");
    ck_assert_int_eq(sscanf(run.text, "reads %d waits %d failed %d last %d", &reads, &waits, &failed, &last), 4);
    ck_assert_int_eq(reads, 271);
    ck_assert_int_eq(waits, 30);
    ck_assert_int_eq(failed, 6);
    ck_assert_int_eq(last, 1);
    ck_assert_uint_eq(run_hits(&run, "f1"), 271);
    ck_assert_uint_eq(run_hits(&run, "f2"), 271);
    ck_assert_uint_eq(run_hits(&run, "f3"), 30);
    ck_assert_uint_eq(run_rule(&run, "f2")->fired, 5);
    ck_assert_uint_eq(run_rule(&run, "f3")->fired, 1); /* left in the delay: an hour would be past the test's limit */
    run_free(&run);
}
END_TEST

/* More threads than an arena has slots: one that was cancelled in a call gives its own back. */
START_TEST(left_by_cancellation)
{
    rough("f1 * read nth=1 -> errno EINTR\nf2 * read nth=2 per=tree -> errno EIO", "cancel", "1200");
    ck_assert_str_eq(run.text, "cancelled 1200 of 1200\n");
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 1200);
    ck_assert_uint_eq(run_rule(&run, "f2")->fired, 1);
    ck_assert_uint_eq(wedge_arena_header(&run.arena)->lost_threads, 0);
    run_free(&run);
}
END_TEST

#ifndef __SANITIZE_THREAD__
START_TEST(a_storm_of_signals)
{
    long writes, failed, posts;
    int value, handled;
    rough("f1 * write every=3 -> errno EAGAIN\nf2 * sem_post every=7 -> drop\nf3 * t.handler p=0.01 -> kill WINCH\n"
          "f4 * write,sem_post per=proc nth=1000000000.. -> drop",
          "storm", "100000");
    ck_assert_int_eq(sscanf(run.text, "writes %ld failed %ld posts %ld value %d handled %d", &writes, &failed, &posts,
                            &value, &handled),
                     5);
    ck_assert_int_ge(handled, 100000);
    ck_assert_uint_eq(run_hits(&run, "f1"), (uint64_t)writes);
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, (uint64_t)writes / 3);
    ck_assert_int_eq(failed, writes / 3);
    ck_assert_uint_eq(run_hits(&run, "f2"), (uint64_t)posts);
    ck_assert_int_eq(value, posts - posts / 7);
    ck_assert_uint_eq(run_hits(&run, "f3"), (uint64_t)handled);
    ck_assert_uint_eq(run_hits(&run, "f4"), (uint64_t)(writes + posts));
    run_free(&run);
}
END_TEST
#endif

START_TEST(forked_from_the_midst_of_threads)
{
    rough("f1 * write nth=3 per=proc -> errno ENOSPC\nf2 * sem_post,sem_trywait p=0.1 -> errno EINTR\n"
          "f3 * t.step nth=1.. max=1 -> kill WINCH",
          "fork", "200");
    ck_assert_str_eq(run.text, "good 200 of 200\n");
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 200);
    run_free(&run);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, left_by_siglongjmp);
    tcase_add_test(tcase, left_by_cancellation);
#ifndef __SANITIZE_THREAD__ /* whose runtime takes longer for a signal than this timer's interval, and never gets on */
    tcase_add_test(tcase, a_storm_of_signals);
#endif
    tcase_add_test(tcase, forked_from_the_midst_of_threads);
}

int main(void)
{
    return wedge_test_main("rough", 60, fill);
}
