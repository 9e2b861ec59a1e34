/* detector/signature: what is the same hang has the same signature, and what is another hang has not. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "detector/verdict/verdict.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

static struct wedge_look look;
static struct wedge_snapshot *snapshot;
static struct wedge_thread threads[2];
static struct wedge_proc procs[2];
static struct wedge_frame frames[2][6];
static int victims[2];
static size_t cores[1];
static struct wedge_verdict verdict[1];

/* Two threads of one process, each in pthread_mutex_lock, called from a chain of its own. */
static void setup(void)
{
    static const char *const names[2][6] = {{"futex_wait", "pthread_mutex_lock", "a", "b", "c", "main"},
                                            {"futex_wait", "pthread_mutex_lock", "x", "y", "z", "start_thread"}};
    snapshot = calloc(1, sizeof(*snapshot));
    obstack_begin(&snapshot->mem, 4096);
    procs[0] = (struct wedge_proc){.role = "worker", .role_index = 1, .exe = "/usr/bin/server"};
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 6; k++)
            frames[i][k] = (struct wedge_frame){.function = names[i][k], .libc = k < 2};
        threads[i] = (struct wedge_thread){.frames = frames[i], .n_frames = 6, .stack_note = ""};
        threads[i].wait.class = WEDGE_WAIT_MUTEX;
        threads[i].wait.call = "pthread_mutex_lock";
        victims[i] = i;
    }
    verdict[0] = (struct wedge_verdict){.kind = WEDGE_VERDICT_LOCK_CYCLE, .victims = victims, .n_victims = 2};
    cores[0] = 2;
    snapshot->procs = procs;
    snapshot->threads = threads;
    snapshot->verdicts = verdict;
    look = (struct wedge_look){.snapshot = snapshot, .cores = cores};
}

static void teardown(void)
{
    wedge_snapshot_free(snapshot);
}

static const char *sign(void)
{
    wedge_verdict_sign(&look, &verdict[0]);
    return verdict[0].signature;
}

START_TEST(test_what_does_not_matter)
{
    const char *before = sign();
    ck_assert_uint_eq(strlen(before), strlen("sig1:") + 16);
    switch (_i) {
    case 0:
        victims[0] = 1;
        victims[1] = 0;
        break;
    case 1:
        procs[0].role = "helper";
        break;
    case 2:
        verdict[0].certainty = WEDGE_PROVED;
        break;
    case 3:
        frames[0][2].function = "a.isra.0.cold";
        break;
    case 4:
        frames[0][3].function = "b.constprop.12";
        break;
    case 5:
        frames[0][5].function = "other_main"; /* the fourth of its own */
        break;
    case 6:
        frames[0][2].pc = 0x1234;
        frames[0][2].line = 77;
        break;
    default:
        frames[0][0].function = "__futex_abstimed_wait"; /* inside libc */
    }
    ck_assert_str_eq(sign(), before);
}
END_TEST

START_TEST(test_what_matters)
{
    const char *before = sign();
    switch (_i) {
    case 0:
        verdict[0].kind = WEDGE_VERDICT_CLOSED_WAIT;
        break;
    case 1:
        threads[0].wait.class = WEDGE_WAIT_SEM;
        break;
    case 2:
        threads[1].wait.call = "pthread_mutex_timedlock";
        break;
    case 3:
        frames[1][4].function = "other";
        break;
    default:
        cores[0] = 1; /* one thread less in the circle */
    }
    ck_assert_str_ne(sign(), before);
    ck_assert_ptr_null(strstr(sign(), "weak"));
}
END_TEST

/* Where nothing gets on, and nobody knows why: who moves, and what it is in, depends on the moment. */
START_TEST(test_no_progress)
{
    verdict[0].kind = _i % 2 ? WEDGE_VERDICT_LIVELOCK : WEDGE_VERDICT_NO_PROGRESS;
    const char *before = sign();
    threads[0].moved = true;
    threads[0].wait.class = WEDGE_WAIT_NONE;
    threads[1].wait.call = "poll";
    frames[0][2].function = "elsewhere";
    ck_assert_str_eq(sign(), before);
    procs[0].exe = "/opt/server (deleted)";
    ck_assert_str_eq(sign(), before);
    if (_i / 2)
        procs[0].exe = "/usr/bin/other";
    else
        frames[1][5].function = "other_thread";
    ck_assert_str_ne(sign(), before);
    ck_assert_ptr_null(strstr(sign(), "weak"));
}
END_TEST

/* A process that was not there for half of the time came by chance. */
START_TEST(test_passing_processes)
{
    const struct wedge_examine options = {.stalled_ns = 4 * WEDGE_NS_PER_S};
    verdict[0].kind = _i ? WEDGE_VERDICT_LIVELOCK : WEDGE_VERDICT_NO_PROGRESS;
    look.options = &options;
    threads[1].proc = 1;
    procs[1] = (struct wedge_proc){.role = "", .exe = "/usr/bin/sleep", .start_ticks = 1ull << 36};
    const char *before = sign();
    procs[1].exe = "/usr/bin/date";
    ck_assert_str_eq(sign(), before);
    procs[1].start_ticks = 0;
    ck_assert_str_ne(sign(), before);
}
END_TEST

/* A user's function that does not return is the hang, whoever else is in its circle. */
START_TEST(test_stuck_callback)
{
    verdict[0].kind = WEDGE_VERDICT_STUCK_CALLBACK;
    threads[0].wait.callback = true;
    const char *before = sign();
    frames[1][2].function = "elsewhere";
    ck_assert_str_eq(sign(), before);
    frames[0][2].function = "elsewhere";
    ck_assert_str_ne(sign(), before);
}
END_TEST

START_TEST(test_weak)
{
    switch (_i) {
    case 0:
        frames[0][3].function = NULL;
        break;
    case 1:
        threads[0].n_frames = 0;
        break;
    default:
        threads[1].stack_note = "cut";
    }
    ck_assert_ptr_nonnull(strstr(sign(), ":weak"));
}
END_TEST

START_TEST(test_roles_are_in_the_other_one)
{
    const char *before = sign(), *roles = verdict[0].signature_roles;
    ck_assert_int_eq(strncmp(roles, "sig1+roles:", 11), 0);
    procs[0].role = "helper";
    ck_assert_str_eq(sign(), before);
    ck_assert_str_ne(verdict[0].signature_roles, roles);
}
END_TEST

START_TEST(test_no_hang_has_none)
{
    verdict[0].kind = WEDGE_VERDICT_IDLE;
    verdict[0].signature = "";
    ck_assert_str_eq(sign(), "");
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_what_does_not_matter, 0, 8);
    tcase_add_loop_test(tcase, test_what_matters, 0, 5);
    tcase_add_loop_test(tcase, test_no_progress, 0, 4);
    tcase_add_loop_test(tcase, test_passing_processes, 0, 2);
    tcase_add_test(tcase, test_stuck_callback);
    tcase_add_loop_test(tcase, test_weak, 0, 3);
    tcase_add_test(tcase, test_roles_are_in_the_other_one);
    tcase_add_test(tcase, test_no_hang_has_none);
}

int main(void)
{
    return wedge_test_main("signature", 30, fill);
}
