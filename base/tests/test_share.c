/* base/share: each number once, all of them before it returns, and nobody touches what is the caller's afterwards. */
#include <errno.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/job.h"
#include "base/load.h"
#include "base/share.h"
#include "base/tests/suite.h"

enum { MOST = 5000 };

struct work {
    _Atomic int done[MOST];
    _Atomic pid_t others; /* a thread that is not the caller's has worked */
    pid_t caller;
    bool wait;
};

static void count(void *arg, size_t i)
{
    struct work *work = arg;
    atomic_fetch_add(&work->done[i], 1);
    if (gettid() != work->caller)
        atomic_store(&work->others, gettid());
    else if (work->wait && i < MOST / 2)
        while (!atomic_load(&work->others)) /* the other thread comes, or the test's time limit does */
            sched_yield();
}

/* In memory of its own that is given back at once: who touches it later dies. */
static void share(bool another, size_t n)
{
    struct work *work = mmap(NULL, sizeof(*work), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(work, MAP_FAILED);
    work->caller = gettid();
    work->wait = another;
    wedge_share_with(another, n, 4, count, work);
    for (size_t i = 0; i < MOST; i++)
        ck_assert_int_eq(work->done[i], i < n);
    ck_assert_int_eq(work->others != 0, another);
    ck_assert_int_eq(munmap(work, sizeof(*work)), 0);
}

START_TEST(test_alone)
{
    static const size_t sizes[] = {0, 1, 2, 5, 47, MOST};
    share(false, sizes[_i]);
}
END_TEST

START_TEST(test_with_another)
{
    share(true, MOST - (size_t)_i);
}
END_TEST

/* The other thread comes late, or not at all: whoever did the work, it is done, and once. */
static void mark(void *arg, size_t i)
{
    atomic_fetch_add((_Atomic int *)arg + i, 1);
}

START_TEST(test_late)
{
    for (int round = 0; round < 500; round++) {
        _Atomic int *done = mmap(NULL, 64 * sizeof(*done), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(done, MAP_FAILED);
        wedge_share_with(true, 64, 4, mark, done);
        for (int i = 0; i < 64; i++)
            ck_assert_int_eq(done[i], 1);
        munmap(done, 64 * sizeof(*done));
    }
}
END_TEST

/* Whether it helps or not is the machine's matter; on one processor nobody else comes. */
START_TEST(test_one_processor)
{
    cpu_set_t before, one;
    struct work work = {.caller = gettid()};
    ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    wedge_share(MOST, 4, count, &work);
    ck_assert_int_eq(work.others, 0);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(before), &before), 0);
}
END_TEST

/* A birth moves the last number on, whoever's it is; and whoever asks, runs. */
static void *nothing(void *arg)
{
    return arg;
}

START_TEST(test_load)
{
    struct wedge_load first, second, third;
    pthread_t thread;
    ck_assert(wedge_load_read(&first));
    ck_assert_uint_ge(first.running, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, nothing, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert(wedge_load_read(&second));
    ck_assert_uint_ne(first.last_born, second.last_born);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    ck_assert(wedge_load_read(&third));
    ck_assert_uint_ne(second.last_born, third.last_born);
}
END_TEST

/* Born with a number that was chosen for it, it leaves the last number where it is: that counts, too. */
START_TEST(test_births)
{
    if (geteuid() != 0)
        return;
    uint64_t before = wedge_load_births();
    ck_assert_uint_gt(before, 0);
    long pid = -1;
    for (pid_t number = 30000; pid < 0 && number > 29000; number--) { /* one that is free */
        const struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&number, .set_tid_size = 1};
        pid = syscall(SYS_clone3, &args, sizeof(args));
        if (pid == 0)
            _exit(0);
        if (pid < 0 && (errno == EPERM || errno == ENOSYS))
            return; /* not even root may, here */
        ck_assert_msg(pid > 0 || errno == EEXIST, "clone3: %s", strerror(errno));
    }
    ck_assert_int_eq(waitpid((pid_t)pid, NULL, 0), pid);
    ck_assert_uint_gt(wedge_load_births(), before);
}
END_TEST

static void do_nothing(void *arg, size_t i)
{
    (void)arg, (void)i;
}

static int end_at_once(void *arg, int out, struct wedge_job_note *note)
{
    (void)arg, (void)out, (void)note;
    return 0;
}

/* A thread that helps and the child of a job count once each, and the kernel counts them, too. */
START_TEST(test_own_births)
{
    uint64_t before = wedge_load_births(), own = wedge_load_own_births();
    struct wedge_job_result result;
    wedge_share_with(false, 4, 1, do_nothing, NULL);
    ck_assert_uint_eq(wedge_load_own_births(), own);
    wedge_share_with(true, 4, 1, do_nothing, NULL);
    ck_assert_uint_eq(wedge_load_own_births(), own + 1);
    ck_assert_int_eq(wedge_job_run(end_at_once, NULL, 20000, 100, &result), 0);
    ck_assert_uint_eq(wedge_load_own_births(), own + 2);
    ck_assert_uint_ge(wedge_load_births() - before, 2);
    wedge_job_result_free(&result);
}
END_TEST

static void fill(TCase *tc)
{
    tcase_add_loop_test(tc, test_alone, 0, 6);
    tcase_add_loop_test(tc, test_with_another, 0, 5);
    tcase_add_test(tc, test_late);
    tcase_add_test(tc, test_one_processor);
    tcase_add_test(tc, test_load);
    tcase_add_test(tc, test_births);
    tcase_add_test(tc, test_own_births);
}

int main(void)
{
    return wedge_test_main("share", 60, fill);
}
