/*
 * Programs that do not call what their authors wrote: C++, whose library chooses the function, CPython, which chooses
 * another for each of its locks, and programs with a sanitizer's runtime in between.
 */
#include <stdio.h>
#include <string.h>

#include "base/tests/suite.h"
#include "faults/tests/run.h"

static struct run run;

static const char *beside(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof(path), "%s", run_target());
    strcpy(strrchr(path, '/') + 1, name);
    return path;
}

#ifdef HAVE_CPP
START_TEST(cpp_waits_by_family)
{
    RUN(&run,
        "f1 * pthread_cond_wait:family every=2          -> spurious\n"
        "f2 * pthread_rwlock_rdlock:family              -> kill WINCH\n"
        "f3 * pthread_rwlock_wrlock:family nth=1        -> errno ETIMEDOUT\n"
        "f4 cpp[1] cpp.ask nth=1                        -> full\n"
        "f5 * pthread_mutex_lock:family                 -> kill WINCH\n"
        "f6 * pthread_create nth=2                      -> delay 5ms\n"
        "f7 * cpp.shared                                -> kill WINCH",
        beside("faults_target_cpp"));
    ck_assert_msg(run.status == 0, "0x%x %s", (unsigned)run.status, run.text);
    ck_assert_uint_ge(run_hits(&run, "f1"), 3); /* wait_for is pthread_cond_clockwait */
    ck_assert_uint_eq(run_hits(&run, "f2"), 4);
    ck_assert_uint_eq(run_hits(&run, "f3"), 4);
    ck_assert_uint_eq(run_rule(&run, "f4")->fired, 4);
    ck_assert_uint_ge(run_hits(&run, "f5"), 5);
    ck_assert_uint_eq(run_rule(&run, "f6")->fired, 1);
    ck_assert_uint_eq(run_hits(&run, "f7"), 4);
    ck_assert_ptr_nonnull(strstr(run.text, "ready 4"));
    ck_assert_ptr_nonnull(strstr(run.text, "late 4"));
    ck_assert_ptr_nonnull(strstr(run.text, "full 1\nfull 1\nfull 1\nfull 1\n"));
    run_free(&run);
}
END_TEST
#endif

START_TEST(python_threads)
{
    RUN(&run,
        "f1 * sem_clockwait nth=2..4              -> errno EINTR\n"
        "f2 * sem_wait:family p=0.3 max=20        -> errno EINTR\n"
        "f3 * pthread_cond_wait:family nth=3      -> spurious\n"
        "f4 * pthread_create nth=1                -> delay 5ms",
        "/usr/bin/python3", "-S", "-c",
        "import threading as t\n"
        "lock, n = t.Lock(), [0]\n"
        "def work():\n"
        "    for _ in range(50):\n"
        "        while not lock.acquire(timeout=5): pass\n"
        "        n[0] += 1\n"
        "        lock.release()\n"
        "all = [t.Thread(target=work) for _ in range(4)]\n"
        "[x.start() for x in all]; [x.join() for x in all]\n"
        "lock.acquire(); late = [lock.acquire(timeout=0.01) for _ in range(5)]\n"
        "print(n[0], any(late))");
    ck_assert_int_eq(run.status, 0);
    ck_assert_str_eq(run.text, "200 False\n");
    ck_assert_uint_ge(run_hits(&run, "f1"), 5);
    ck_assert_uint_ge(run_rule(&run, "f1")->fired, 3);
    ck_assert_uint_eq(run_rule(&run, "f4")->fired, 1);
    run_free(&run);
}
END_TEST

START_TEST(python_processes)
{
    RUN(&run,
        "f1 * sem_timedwait nth=1                 -> errno EINTR\n"
        "f2 proc[3] write:family max=1            -> errno EINTR\n"
        "f3 proc[2] start                         -> delay 5ms\n"
        "f4 * fork                                -> kill WINCH",
        "/usr/bin/python3", "-S", "-c",
        "import multiprocessing as m\n"
        "c = m.get_context('fork')\n"
        "lock, n, q = c.Lock(), c.Value('i', 0), c.SimpleQueue()\n"
        "def work(i):\n"
        "    for _ in range(20):\n"
        "        while not lock.acquire(timeout=5): pass\n"
        "        n.value += 1\n"
        "        lock.release()\n"
        "    q.put(i)\n"
        "all = [c.Process(target=work, args=(i,)) for i in range(3)]\n"
        "[x.start() for x in all]; got = sorted(q.get() for _ in all); [x.join() for x in all]\n"
        "lock.acquire(); late = lock.acquire(timeout=0.01)\n"
        "print(n.value, got, [x.exitcode for x in all], late)");
    ck_assert_int_eq(run.status, 0);
    ck_assert_str_eq(run.text, "60 [0, 1, 2] [0, 0, 0] False\n");
    ck_assert_uint_ge(run_rule(&run, "f1")->fired, 1);
    ck_assert_uint_eq(run_rule(&run, "f2")->fired, 1);
    ck_assert_uint_eq(run_rule(&run, "f3")->fired, 1);
    ck_assert_uint_eq(run_hits(&run, "f4"), 3);
    run_free(&run);
}
END_TEST

#ifdef HAVE_TSAN_TARGET
START_TEST(tsan_programs)
{
    RUN(&run, "f1 * t.step nth=3 -> kill WINCH", beside("faults_target_tsan"), "threads", "4", "5");
    ck_assert_msg(run.status == 0, "0x%x %s", (unsigned)run.status, run.text);
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 4);
    run_free(&run);
    RUN(&run, "f1 * write nth=1 -> errno EIO\nf2 * sem_post -> drop\nf3 * pthread_cond_wait:family -> spurious",
        beside("faults_target_tsan"), "calls");
    ck_assert_msg(run.status == 0, "0x%x %s", (unsigned)run.status, run.text);
    ck_assert_ptr_nonnull(strstr(run.text, "write -1 5\n"));
    ck_assert_ptr_nonnull(strstr(run.text, "sem_post 0 0\n"));
    ck_assert_ptr_nonnull(strstr(run.text, "cond 0\n"));
    run_free(&run);
    RUN(&run, "f1 worker[2] t.child -> kill KILL", beside("faults_target_tsan"), "workers", "3");
    ck_assert_msg(run.status == 0, "0x%x %s", (unsigned)run.status, run.text);
    ck_assert_ptr_nonnull(strstr(run.text, "worker 2.0 killed 9\n"));
    run_free(&run);
}
END_TEST
#endif

static void fill(TCase *tcase)
{
#ifdef HAVE_CPP
    tcase_add_test(tcase, cpp_waits_by_family);
#endif
    tcase_add_test(tcase, python_threads);
    tcase_add_test(tcase, python_processes);
#ifdef HAVE_TSAN_TARGET
    tcase_add_test(tcase, tsan_programs);
#endif
}

int main(void)
{
    return wedge_test_main("languages", 60, fill);
}
