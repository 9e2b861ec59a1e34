/* detector/share: each number once, all of them before it returns, and nobody touches what is the caller's afterwards. */
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/look/share.h"

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
static void share(int threads, size_t n, bool wait)
{
    struct work *work = mmap(NULL, sizeof(*work), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(work, MAP_FAILED);
    work->caller = gettid();
    work->wait = wait;
    wedge_share(threads, n, count, work);
    for (size_t i = 0; i < MOST; i++)
        ck_assert_int_eq(work->done[i], i < n);
    ck_assert_int_eq(work->others != 0, wait);
    ck_assert_int_eq(munmap(work, sizeof(*work)), 0);
}

START_TEST(test_alone)
{
    static const size_t sizes[] = {0, 1, 2, 5, 47, MOST};
    share(_i == 4 ? 2 : 1, sizes[_i], false); /* what is little is not shared */
}
END_TEST

START_TEST(test_with_another)
{
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) < 2)
        return;
    share(2, MOST - (size_t)_i, true);
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
        wedge_share(2, 64, mark, done);
        for (int i = 0; i < 64; i++)
            ck_assert_int_eq(done[i], 1);
        munmap(done, 64 * sizeof(*done));
    }
}
END_TEST

START_TEST(test_one_processor)
{
    cpu_set_t before, one;
    ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    share(2, MOST, false);
    sched_setaffinity(0, sizeof(before), &before);
}
END_TEST

static void fill(TCase *tc)
{
    tcase_add_loop_test(tc, test_alone, 0, 6);
    tcase_add_loop_test(tc, test_with_another, 0, 5);
    tcase_add_test(tc, test_late);
    tcase_add_test(tc, test_one_processor);
}

int main(void)
{
    return wedge_test_main("share", 60, fill);
}
