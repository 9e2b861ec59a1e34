/* The agent and the program it is in: libraries, clocks, names, exec, exit; what the program may not notice. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "faults/missed.h"
#include "faults/tests/run.h"

static struct run run;
static struct wedge_arena_copy copy;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(WEDGE_COVERAGE)
/* Not with a runtime that makes calls of its own. What reads the clock without a system call; with another clock a
 * pass makes one, and a filter as strict as this one is not for it. */
static bool clock_needs_no_call(void)
{
    char name[32] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (file) {
        char *got = fgets(name, sizeof(name), file);
        fclose(file);
        return got && (strncmp(name, "tsc", 3) == 0 || strncmp(name, "kvm-clock", 9) == 0);
    }
    return false;
}

/* Reading the processor's counter would be the end of such a program. */
START_TEST(test_no_clock)
{
    const char *hows[] = {"seccomp", "tsc", "rawprctl", "rawtsc", "rawseccomp"};
    RUN(&run, "f0 thread=faults_target t.step -> errno EIO\nf1 * t.ask -> full\nf2 * write -> errno EIO after",
        run_target(), "clockless", hows[_i]);
    ck_assert_str_eq(run.text, "answer 1\n");
    ck_assert_int_eq(EXITED(run), 0);
    run_free(&run);
}
END_TEST

START_TEST(test_no_call_of_its_own)
{
    RUN(&run, "f0 thread=faults_target t.step -> errno EIO\nf1 boxed[1] t.ask -> full\nf2 * write -> errno EIO after",
        run_target(), "sandbox");
    ck_assert_uint_eq(run_hits(&run, "f0"), 1);
    ck_assert_str_eq(run.text, "answer 1\n");
    ck_assert_int_eq(EXITED(run), 0);
    run_free(&run);
}
END_TEST
#endif

/* A name counts from the moment it is given, by whatever call and whomever. */
START_TEST(test_names_of_threads)
{
    RUN(&run,
        "a thread=faults_target t.ask -> return 1\nb thread=first t.ask -> return 2\nc thread=second t.ask -> return "
        "3\n"
        "d thread=third t.ask -> return 4\ne thread=fourth t.ask -> return 5",
        run_target(), "names");
    ck_assert_str_eq(run.text, "1\n2\n3\n4\n5\n");
    ck_assert_int_eq(EXITED(run), 0);
    run_free(&run);
}
END_TEST

START_TEST(test_library_loaded_later)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.*s/../lib/libfaults_plugin.so", (int)(strrchr(run_target(), '/') - run_target()),
             run_target());
    RUN(&run, "f1 * so.ask -> errno EIO", run_target(), "plugin", path);
    ck_assert_str_eq(run.text, "answer -5\n");
    run_free(&run);
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* whose runtimes refuse such libraries */
START_TEST(test_library_past_the_wrappers)
{
    static const struct {
        const char *rule;
        uint32_t lost;
    } cases[] = {{"f1 * write -> errno EIO", 2}, {"f1 proc[9] write -> errno EIO", 0}, {"f1 * so.ask -> errno EIO", 0}};
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.*s/../lib/libfaults_plugin.so", (int)(strrchr(run_target(), '/') - run_target()),
             run_target());
    RUN(&run, cases[_i].rule, run_target(), "deep", path);
    ck_assert_int_eq(EXITED(run), 0);
    ck_assert_uint_eq(atomic_load(&wedge_arena_header(&run.arena)->lost_libraries), cases[_i].lost);
    char *missed = wedge_faults_missed(&run.arena);
    ck_assert(missed && !!strstr(missed, "RTLD_DEEPBIND") == !!cases[_i].lost);
    free(missed);
    run_free(&run);
}
END_TEST
#endif

START_TEST(test_functions)
{
    static const struct {
        const char *rule, *want; /* a line of the output */
    } cases[] = {
        {"f1 * write nth=1 -> errno EIO", "write -1 5\nwrite 1 0\nread 1 !\n"},
        {"f1 * write nth=1 -> errno EIO after", "write -1 5\nwrite 1 0\nread 6 hello!\n"},
        {"f1 * write nth=1 -> drop", "write 5 0\nwrite 1 0\nread 1 !\n"},
        {"f1 * write nth=1 -> short 2", "write 2 0\nwrite 1 0\nread 3 he!\n"},
        {"f1 * write -> return 0 after", "write 0 0\nwrite 0 0\nread 6 hello!\n"},
        {"f1 * read -> short 3", "read 3 hel\n"},
        {"f1 * open:family -> errno EMFILE", "open -24\n"},
        {"f1 * open,openat -> errno EMFILE", "open 0\n"},
        {"f1 * sem_post -> drop", "sem_post 0 0\nsem_timedwait -1 110\n"},
        {"f1 * sem_wait:family -> errno EINTR", "sem_timedwait -1 4\n"},
        {"f1 * sem_wait -> errno EINTR", "sem_timedwait 0 0\n"},
        {"f1 * read,pthread_mutex_lock nth=2 -> errno EDEADLK", "lock 35\n"},
        {"f1 * pthread_cond_wait:family -> spurious", "cond 0\n"},
        {"f1 * pthread_cond_wait -> spurious", "cond 110\n"},
        {"f1 * pthread_cond_timedwait -> errno ETIMEDOUT", "cond 110\n"},
        {"f1 * close -> errno EIO", "cond 110\n"},
    };
    RUN(&run, cases[_i].rule, run_target(), "calls");
    ck_assert_int_eq(EXITED(run), 0);
    ck_assert_msg(strstr(run.text, cases[_i].want) != NULL, "%s: %s", cases[_i].rule, run.text);
    run_free(&run);
}
END_TEST

START_TEST(test_kill_after_the_effect)
{
    run_start(&run, "f1 * fork nth=2 -> kill KILL after", (const char *const[]){run_target(), "workers", "3", NULL});
    run_finish(&run);
    ck_assert_int_eq(KILLED(run), SIGKILL);
    ck_assert_str_eq(run.text, "worker 1.0 exited 1\n");
    run_copy(&run, &copy);
    ck_assert_int_gt(run_proc(&copy, 2)->pid, 0); /* the second child was born */
    wedge_arena_copy_free(&copy);
    run_free(&run);
    RUN(&run, "f1 * fork nth=2 -> errno EAGAIN", run_target(), "workers", "3");
    ck_assert_int_eq(EXITED(run), 1);
    run_free(&run);
}
END_TEST

START_TEST(test_exit)
{
    static const char *const ways[] = {"return", "exit", "_exit"};
    RUN(&run, "f1 * exit -> exit 44", run_target(), "leave", ways[_i]);
    ck_assert_int_eq(EXITED(run), 44);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    run_free(&run);
    RUN(&run, "f1 root exit nth=1 -> delay 1ms", run_target(), "leave", ways[_i]);
    ck_assert_int_eq(EXITED(run), 3);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    run_free(&run);
}
END_TEST

START_TEST(test_stop)
{
    run_start(&run, "f1 * t.step nth=2 -> stop", (const char *const[]){run_target(), "steps", "3", NULL});
    int status;
    ck_assert_int_eq(waitpid(run.pid, &status, WUNTRACED), run.pid);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(kill(run.pid, SIGCONT), 0);
    run_finish(&run);
    ck_assert_str_eq(run.text, "step 1\nstep 2\nstep 3\ndone\n");
    run_free(&run);
}
END_TEST

/* The thread that came to the place goes no step further, whoever else of its process could have taken the signal. */
START_TEST(test_stop_of_one_of_two_threads)
{
    int status;
    for (int i = 0; i < 20; i++) {
        run_start(&run, "f1 * t.step nth=1 -> stop\nf2 * t.step nth=2 -> exit 9",
                  (const char *const[]){run_target(), "threads", "1", "2", NULL});
        ck_assert_int_eq(waitpid(run.pid, &status, WUNTRACED), run.pid);
        ck_assert_msg(WIFSTOPPED(status), "try %d: it went on", i + 1);
        ck_assert_int_eq(kill(run.pid, SIGCONT), 0);
        run_finish(&run);
        ck_assert_int_eq(EXITED(run), 9);
        run_free(&run);
    }
}
END_TEST

#ifndef __SANITIZE_THREAD__
START_TEST(test_vfork_child_does_not_act)
{
    RUN(&run, "f1 * t.vfork -> kill KILL\nf2 * exit -> exit 77\nf3 * t.parent -> kill KILL", run_target(), "vfork");
    ck_assert_str_eq(run.text, "child 9\n");
    ck_assert_int_eq(KILLED(run), SIGKILL);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 0);
    run_free(&run);
}
END_TEST
#endif

START_TEST(test_exec_keeps_the_process)
{
    RUN(&run, "f1 master[1] t.step nth=2 per=proc -> kill KILL", run_target(), "exec");
    ck_assert_int_eq(KILLED(run), SIGKILL);
    ck_assert_str_eq(run.text, "step 1\n");
    run_copy(&run, &copy);
    ck_assert_uint_eq(run_proc(&copy, 0)->exec_count, 1);
    ck_assert_uint_eq(atomic_load(&run_proc(&copy, 1)->gen), 0);
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

START_TEST(test_an_empty_plan_changes_nothing)
{
    static const struct {
        const char *argv[6], *output;
        int status;
    } cases[] = {
        {{"/bin/sh", "-c", "echo a | tr a b; (exit 3)"}, "b\n", 3},
        {{"sh", "-c", "x=$(printf '3\\n1\\n2\\n' | sort | tr '\\n' ' '); echo \"$x\"; kill -TERM $$"}, "1 2 3 \n", -1},
        {{"sort", "/dev/null"}, "", 0},
        {{"python3", "-c",
          "import threading,subprocess,os\n"
          "l=threading.Lock(); n=[0]\n"
          "def f():\n"
          "  for i in range(200):\n"
          "    with l: n[0]+=1\n"
          "t=[threading.Thread(target=f) for i in range(8)]\n"
          "[x.start() for x in t]; [x.join() for x in t]\n"
          "print(n[0], subprocess.check_output(['echo','hi']).decode().strip(), flush=True)\n"
          "p=os.fork()\n"
          "if p==0: os._exit(5)\n"
          "print(os.waitstatus_to_exitcode(os.waitpid(p,0)[1]))"},
         "1600 hi\n5\n",
         0},
    };
    run_whole(&run, NULL, cases[_i].argv);
    ck_assert_str_eq(run.text, cases[_i].output);
    ck_assert_int_eq(EXITED(run), cases[_i].status);
    run_copy(&run, &copy);
    ck_assert_int_eq(run_proc(&copy, 0)->pid, run.pid);
    const struct wedge_arena_header *header = wedge_arena_header(&run.arena);
    ck_assert_uint_eq(atomic_load(&header->lost_threads) + atomic_load(&header->lost_procs), 0);
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

/* A program that asks for the loader's last error before it has called it is told of none, as without the agent. */
START_TEST(test_the_loaders_error_is_the_programs)
{
    RUN(&run, "f1 * t.step -> delay 1ms", run_target(), "fresh");
    ck_assert_str_eq(run.text, "0 none\n");
    run_free(&run);
}
END_TEST

#ifdef WEDGE_COVERAGE
/* A deliberate kill leaves the target's counters behind, which SIGKILL by itself would not. */
START_TEST(test_kill_dumps_counters)
{
    char folder[] = "/tmp/wedge-gcov-XXXXXX", command[128], line[PATH_MAX];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("GCOV_PREFIX", folder, 1);
    RUN(&run, "f1 root t.step nth=2 -> kill KILL", run_target(), "steps", "3");
    unsetenv("GCOV_PREFIX");
    ck_assert_int_eq(KILLED(run), SIGKILL);
    snprintf(command, sizeof(command), "find %s -name 'target.c.gcda'; rm -r %s", folder, folder);
    FILE *find = popen(command, "r");
    ck_assert_ptr_nonnull(find);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), find));
    pclose(find);
    run_free(&run);
}
END_TEST
#endif

/* The agent imports nothing that allocates, prints or locks. */
START_TEST(test_imports)
{
    static const char *const allowed[] = {
        "__cxa_finalize", "__errno_location", "__gmon_start__",
        /* pthread_cleanup_push: a list on the thread's own stack */
        "__pthread_register_cancel", "__pthread_unregister_cancel", "__pthread_unwind_next", "__sigsetjmp",
        "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "_dl_find_object", "__environ", /* its other name */
        "environ", /* what execv hands on */
        "dl_iterate_phdr", "dlerror", "dlsym", "dlvsym", "getenv", "memcmp", "memcpy", "memmove", "memset",
        /* looks at an attribute */
        "pthread_barrierattr_getpshared", "pthread_condattr_getpshared", "pthread_mutexattr_getpshared",
        "pthread_rwlockattr_getpshared",
        /* a hold in a cancellation point */
        "pthread_setcanceltype", "pthread_testcancel", "strcmp", "strcspn", "strlen", "strspn", NULL};
    char command[4096], line[256];
    snprintf(command, sizeof(command), "nm -D --undefined-only '%.*s/../lib/libwedge-agent.so'",
             (int)(strrchr(run_target(), '/') - run_target()), run_target());
    FILE *nm = popen(command, "r");
    ck_assert_ptr_nonnull(nm);
    int count = 0;
    while (fgets(line, sizeof(line), nm)) {
        char *name = strrchr(line, ' ');
        ck_assert_ptr_nonnull(name);
        name++;
        name[strcspn(name, "@\n")] = 0;
        bool ok = false;
        for (int i = 0; allowed[i]; i++)
            ok |= strcmp(name, allowed[i]) == 0;
        ck_assert_msg(ok, "the agent imports %s", name);
        count++;
    }
    ck_assert_int_eq(pclose(nm), 0);
    ck_assert_int_gt(count, 4);
}
END_TEST

static void fill(TCase *tcase)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(WEDGE_COVERAGE)
    if (clock_needs_no_call())
        tcase_add_test(tcase, test_no_call_of_its_own);
    tcase_add_loop_test(tcase, test_no_clock, 0, 5);
#endif
    tcase_add_test(tcase, test_names_of_threads);
    tcase_add_test(tcase, test_library_loaded_later);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    tcase_add_loop_test(tcase, test_library_past_the_wrappers, 0, 3);
#endif
    tcase_add_loop_test(tcase, test_functions, 0, 16);
    tcase_add_test(tcase, test_kill_after_the_effect);
    tcase_add_loop_test(tcase, test_exit, 0, 3);
    tcase_add_test(tcase, test_stop);
    tcase_add_test(tcase, test_stop_of_one_of_two_threads);
#ifndef __SANITIZE_THREAD__ /* whose runtime makes a fork of each vfork */
    tcase_add_test(tcase, test_vfork_child_does_not_act);
#endif
    tcase_add_test(tcase, test_exec_keeps_the_process);
    tcase_add_loop_test(tcase, test_an_empty_plan_changes_nothing, 0, 4);
    tcase_add_test(tcase, test_the_loaders_error_is_the_programs);
#ifdef WEDGE_COVERAGE
    tcase_add_test(tcase, test_kill_dumps_counters);
#endif
    tcase_add_test(tcase, test_imports);
}

int main(void)
{
    return wedge_test_main("agent program", 30, fill);
}
