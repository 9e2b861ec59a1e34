/* detector/reading: a thread that ran between two readings is never called the same, by whatever way it is read; and
 * what a thread costs stays bounded. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/examine.h"
#include "detector/kernel/reading.h"

/* A thread that reads a byte for each byte it is to come back to the same place. */
struct reader {
    pthread_t thread;
    int in[2];
    _Atomic pid_t tid;
    _Atomic long done;
};

static void *run(void *arg)
{
    struct reader *r = arg;
    char byte = 0;
    atomic_store(&r->tid, gettid());
    while (read(r->in[0], &byte, 1) == 1 && byte != 'e')
        atomic_fetch_add(&r->done, 1);
    return NULL;
}

static char state_of(int tasks, pid_t tid)
{
    char text[4096];
    struct wedge_proc_status status;
    ck_assert_int_gt(wedge_proc_read_at(tasks, tid, "status", text, sizeof(text)), 0);
    ck_assert_int_eq(wedge_proc_status_parse(text, &status), 0);
    return status.state;
}

static void until_asleep(int tasks, pid_t tid)
{
    while (state_of(tasks, tid) != 'S')
        sched_yield();
}

static int start(struct reader *r)
{
    int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(tasks, 0);
    ck_assert_int_eq(pipe2(r->in, O_CLOEXEC), 0);
    ck_assert_int_eq(pthread_create(&r->thread, NULL, run, r), 0);
    while (!atomic_load(&r->tid))
        sched_yield();
    until_asleep(tasks, r->tid);
    return tasks;
}

static void tell(struct reader *r, char what)
{
    ck_assert_int_eq(write(r->in[1], &what, 1), 1);
}

static void stop(struct reader *r, int tasks)
{
    close(r->in[0]);
    close(r->in[1]);
    close(tasks);
}

START_TEST(test_what_it_says)
{
    struct reader r = {0};
    struct wedge_reading first;
    int tasks = start(&r);
    ck_assert_int_eq(wedge_reading_first(tasks, r.tid, _i, &first), 0);
    ck_assert_int_eq(first.status.state, 'S');
    ck_assert_str_ne(first.status.comm, "");
    ck_assert_int_eq(first.call_error, 0);
    ck_assert_int_eq(first.call.number, SYS_read);
    ck_assert_int_eq((int)first.call.args[0], r.in[0]);
    ck_assert_int_eq(first.kept.call_file >= 0, _i);
    ck_assert_int_eq(wedge_reading_again(tasks, r.tid, &first.call, &first.kept), WEDGE_AGAIN_SAME);
    ck_assert_int_eq(wedge_reading_again(tasks, r.tid, &first.call, &first.kept), WEDGE_AGAIN_SAME);
    wedge_reading_close(&first.kept);
    wedge_reading_close(&first.kept);
    ck_assert_int_eq(first.kept.call_file, -1);
    tell(&r, 'e');
    pthread_join(r.thread, NULL);
    stop(&r, tasks);
}
END_TEST

/* It wakes, and waits again in the same call with the same arguments: nothing but the count of its turns tells. */
START_TEST(test_ran_between)
{
    struct reader r = {0};
    int tasks = start(&r);
    for (long i = 1; i <= 200; i++) {
        struct wedge_reading first;
        struct wedge_proc_syscall call;
        char text[256];
        ck_assert_int_eq(wedge_reading_first(tasks, r.tid, _i, &first), 0);
        tell(&r, 'g');
        while (atomic_load(&r.done) < i)
            sched_yield();
        until_asleep(tasks, r.tid);
        ck_assert_int_gt(wedge_proc_read_at(tasks, r.tid, "syscall", text, sizeof(text)), 0);
        ck_assert_int_eq(wedge_proc_syscall_parse(text, &call), 0);
        ck_assert_mem_eq(call.args, first.call.args, sizeof(call.args));
        ck_assert_uint_eq(call.sp, first.call.sp);
        ck_assert_int_eq(wedge_reading_again(tasks, r.tid, &first.call, &first.kept), WEDGE_AGAIN_BACK);
        wedge_reading_close(&first.kept);
    }
    tell(&r, 'e');
    pthread_join(r.thread, NULL);
    stop(&r, tasks);
}
END_TEST

START_TEST(test_ended_between)
{
    struct reader r = {0};
    struct wedge_reading first;
    int tasks = start(&r);
    ck_assert_int_eq(wedge_reading_first(tasks, r.tid, _i, &first), 0);
    tell(&r, 'e');
    pthread_join(r.thread, NULL);
    ck_assert_int_eq(wedge_reading_again(tasks, r.tid, &first.call, &first.kept), WEDGE_AGAIN_ELSEWHERE);
    wedge_reading_close(&first.kept);
    while (wedge_reading_first(tasks, r.tid, _i, &first) == 0) { /* join is told before the kernel forgets it */
        wedge_reading_close(&first.kept);
        sched_yield();
    }
    stop(&r, tasks);
}
END_TEST

/* Without a descriptor to spare it is read by name. */
START_TEST(test_no_descriptors)
{
    struct reader r = {0};
    struct wedge_reading first;
    int tasks = start(&r), taken[1024], n = 0;
    while (n < 1024 && (taken[n] = dup(tasks)) >= 0)
        n++;
    ck_assert_int_lt(n, 1024); /* the runner's limit, see fill() */
    close(taken[--n]);
    ck_assert_int_eq(wedge_reading_first(tasks, r.tid, true, &first), 0);
    close(taken[--n]);
    ck_assert_int_eq(first.call.number, SYS_read);
    ck_assert_int_eq(first.kept.call_file, -1);
    ck_assert_int_eq(first.kept.pulse_file, -1);
    ck_assert_int_eq(wedge_reading_again(tasks, r.tid, &first.call, &first.kept), WEDGE_AGAIN_SAME);
    while (n)
        close(taken[--n]);
    tell(&r, 'e');
    pthread_join(r.thread, NULL);
    stop(&r, tasks);
}
END_TEST

/* ---- what it costs: system calls, which are the same on every machine ---- */

/* The mutex begins in one block of detector/look/memory.c and ends in the next, as any may: it is read once all the same. */
static struct {
    char before[1024 - 8];
    pthread_mutex_t never;
} across __attribute__((aligned(1024))) = {.never = PTHREAD_MUTEX_INITIALIZER};

static void *wait_for_ever(void *arg)
{
    pthread_mutex_lock(&across.never);
    return arg;
}

/* A process of so many threads, which wait for a mutex of the first. */
static pthread_t in_ring[1000];
static pthread_barrier_t all_begun;
static int n_ring;

static void *join_next(void *arg)
{
    pthread_barrier_wait(&all_begun);
    pthread_join(in_ring[((intptr_t)arg + 1) % n_ring], NULL);
    return NULL;
}

static void handle(int number)
{
    (void)number;
}

/* In a process with a handler and many descriptors: what is asked of the process is not asked for each thread. */
static void close_ring(const pthread_attr_t *attr, int threads)
{
    n_ring = threads - 1;
    signal(SIGUSR1, handle);
    signal(SIGALRM, SIG_IGN); /* Check calls alarm(), which would be asked first */
    for (int i = 0; i < 64; i++)
        if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
            _exit(1);
    pthread_barrier_init(&all_begun, NULL, (unsigned)n_ring + 1);
    for (intptr_t i = 0; i < n_ring; i++)
        if (pthread_create(&in_ring[i], attr, join_next, (void *)i))
            _exit(1);
    pthread_barrier_wait(&all_begun);
}

/* All threads but the first wait for ever: for the first one, or each for the next. */
static pid_t blocked(int threads, bool ring)
{
    int ready[2];
    char byte;
    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        pthread_attr_t attr;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, 65536);
        pthread_mutex_lock(&across.never);
        if (ring)
            close_ring(&attr, threads);
        for (int i = 1; i < threads && !ring; i++)
            if (pthread_create(&thread, &attr, wait_for_ever, NULL))
                _exit(1);
        if (write(ready[1], "r", 1) != 1)
            _exit(1);
        if (ring)
            pthread_join(in_ring[0], NULL);
        pause();
        _exit(0);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    int tasks = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pid_t *tids;
    size_t n;
    ck_assert_int_eq(wedge_proc_list_at(tasks, 1000, &tids, &n), 0);
    ck_assert_uint_ge(n, (size_t)threads); /* ThreadSanitizer has threads of its own */
    for (size_t i = 0; i < n; i++)
        until_asleep(tasks, tids[i]);
    free(tids);
    close(tasks);
    return pid;
}

/* The system calls of an examination without stacks, counted by tracing the process that makes it. */
static long calls_of_examination(pid_t root)
{
    long stops = 0;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct wedge_examine options = {.root = root, .stacks = WEDGE_STACKS_NEVER};
        struct wedge_snapshot *snapshot;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        raise(SIGSTOP);
        _exit(wedge_detector_examine(&options, NULL, &snapshot, NULL) != 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert_int_eq(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE), 0);
    kill(pid, SIGCONT);
    for (;;) {
        pid_t task = waitpid(-1, &status, __WALL); /* it, or its second thread */
        ck_assert_int_gt(task, 0);
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (task == pid)
                break;
            continue;
        }
        stops += WSTOPSIG(status) == (SIGTRAP | 0x80);
        ptrace(PTRACE_SYSCALL, task, NULL, NULL);
    }
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    return stops / 2;
}

START_TEST(test_calls_per_thread)
{
    /* Others may start processes meanwhile, whose stat is read too: many threads, so that it does not weigh. One of the calls
     * is kcmp(2), which asks whether the thread has descriptors of its own. */
    enum { FEW = 10, MANY = 610, MOST = 17, MOST_IN_RING = 25 };
    const int most = _i ? MOST_IN_RING : MOST;
    long calls[2];
    for (int i = 0; i < 2; i++) {
        pid_t pid = blocked(i ? MANY : FEW, _i);
        calls[i] = calls_of_examination(pid);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    double each = (double)(calls[1] - calls[0]) / (MANY - FEW);
    ck_assert_msg(each <= most, "%.1f system calls for each thread, %d allowed", each, most);
    ck_assert_msg(each >= 5, "%.1f system calls for each thread: nothing was read", each);
}
END_TEST

static void fill(TCase *tc)
{
    tcase_add_loop_test(tc, test_what_it_says, 0, 2);
    tcase_add_loop_test(tc, test_ran_between, 0, 2);
    tcase_add_loop_test(tc, test_ended_between, 0, 2);
    tcase_add_test(tc, test_no_descriptors);
    tcase_add_loop_test(tc, test_calls_per_thread, 0, 2);
}

int main(void)
{
    struct rlimit few;
    getrlimit(RLIMIT_NOFILE, &few);
    few.rlim_cur = few.rlim_max < 256 ? few.rlim_max : 256;
    setrlimit(RLIMIT_NOFILE, &few);
    return wedge_test_main("reading", 60, fill);
}
