/*
 * How long does a process stand still while its stacks are taken? A target of 66 threads, each some 25 frames deep,
 * measures that itself: one thread ticks and remembers the longest gap between two ticks. Beside wedge stand its
 * peers, gdb and eu-stack, where they are installed.
 *
 *   cmake --build build/release --target bench-stacks-pause && build/release/bin/bench-stacks-pause [ROUNDS]
 *
 * eu-stack stops one thread after the other, so that the ticker stands still for its own turn only.
 * A figure is good for comparing the rows of one run on one machine, and for nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "detector/kernel/proc.h"
#include "detector/stacks/capture.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

#define BLOCKED     64 /* and the ticker, and main */
#define DEPTH       20
#define TICK_NS     100000
#define ROUNDS      5
#define ROUNDS_MAX  100
#define THREADS_MAX 1024

/* --- the target --- */

static int silent[2];
static _Atomic int64_t longest_gap_ns;
static volatile int sink;

static __attribute__((noinline, noclone)) void descend(int depth)
{
    char c;
    if (depth)
        descend(depth - 1);
    else
        sink = (int)read(silent[0], &c, 1);
    sink++;
}

static void *blocked(void *arg)
{
    descend(DEPTH);
    return arg;
}

static void *tick(void *arg)
{
    int64_t before = wedge_clock_ns();
    for (;;) {
        struct timespec nap = {.tv_nsec = TICK_NS};
        nanosleep(&nap, NULL);
        int64_t now = wedge_clock_ns();
        if (now - before > atomic_load(&longest_gap_ns))
            atomic_store(&longest_gap_ns, now - before);
        before = now;
    }
    return arg;
}

/* Answers each byte on standard input with the longest gap since the one before. */
static int target_main(void)
{
    pthread_t thread;
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (pipe(silent))
        return 1;
    for (int i = 0; i < BLOCKED; i++)
        if (pthread_create(&thread, NULL, blocked, NULL))
            return 1;
    if (pthread_create(&thread, NULL, tick, NULL))
        return 1;
    while (read(0, &byte, 1) == 1) {
        int64_t gap = atomic_exchange(&longest_gap_ns, 0);
        if (write(1, &gap, sizeof(gap)) != sizeof(gap))
            return 1;
    }
    return 0;
}

/* --- the contestants: each takes all stacks of `pid` once; 0 or not to be had --- */

static int by_wedge(pid_t pid, bool names)
{
    struct wedge_snapshot snapshot = {.n_procs = 1};
    struct wedge_proc proc = {.pid = pid};
    static struct wedge_thread threads[THREADS_MAX];
    struct wedge_capture *capture = NULL;
    pid_t *tids;
    size_t n;
    if (wedge_proc_list(pid, THREADS_MAX, &tids, &n))
        return -1;
    memset(threads, 0, sizeof(threads));
    for (size_t i = 0; i < n; i++)
        threads[i] = (struct wedge_thread){.tid = tids[i], .state = 'S', .stack_note = ""};
    free(tids);
    obstack_init(&snapshot.mem);
    snapshot.procs = &proc;
    snapshot.threads = threads;
    snapshot.n_threads = n;
    proc.n_threads = (int)n;
    int rc = wedge_capture_proc(&snapshot, 0, 1000, NULL, &capture, NULL);
    if (rc == 0)
        rc = wedge_capture_unwind(capture, NULL);
    if (rc == 0 && names)
        wedge_capture_symbols(capture);
    wedge_capture_free(capture);
    obstack_free(&snapshot.mem, NULL);
    return rc;
}

static int wedge_all(pid_t pid)
{
    return by_wedge(pid, true);
}

static int run(const char *const *argv)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int gdb_all(pid_t pid)
{
    char number[16];
    const char *argv[] = {"gdb", "-nx", "-batch", "-p", number, "-ex", "thread apply all bt", NULL};
    snprintf(number, sizeof(number), "%d", pid);
    return run(argv);
}

static int eu_stack_all(pid_t pid)
{
    char number[16];
    const char *argv[] = {"eu-stack", "-p", number, NULL};
    snprintf(number, sizeof(number), "%d", pid);
    return run(argv);
}

static int nobody(pid_t pid)
{
    struct timespec nap = {.tv_nsec = 50 * WEDGE_NS_PER_MS};
    (void)pid;
    return nanosleep(&nap, NULL);
}

static const struct {
    const char *name;
    int (*take)(pid_t pid);
} contestants[] = {
    {"nobody (the ticker's own noise)", nobody},
    {"wedge, with names and lines", wedge_all},
    {"eu-stack", eu_stack_all},
    {"gdb, thread apply all bt", gdb_all},
};

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int ask(int in, int out, int64_t *ret)
{
    return write(in, "?", 1) == 1 && read(out, ret, sizeof(*ret)) == sizeof(*ret) ? 0 : -1;
}

int main(int argc, char **argv)
{
    int in[2], out[2], rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;
    if (rounds < 1 || rounds > ROUNDS_MAX || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) {
        fprintf(stderr, "usage: %s [ROUNDS]\n", argv[0]);
        return 2;
    }
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]); /* its end of file is what ends the target */
        _exit(target_main());
    }
    printf("%-34s %12s %12s %12s\n", "stacks taken by", "pause median", "longest", "whole call");
    for (size_t c = 0; c < sizeof(contestants) / sizeof(contestants[0]); c++) {
        int64_t pauses[ROUNDS_MAX], calls[ROUNDS_MAX];
        int rc = 0;
        for (int i = 0; i < rounds && rc == 0; i++) {
            int64_t forget;
            rc = ask(in[1], out[0], &forget);
            int64_t begin = wedge_clock_ns();
            rc = rc ? rc : contestants[c].take(pid);
            calls[i] = wedge_clock_ns() - begin;
            rc = rc ? rc : nobody(pid); /* so that the ticker has ticked after it */
            rc = rc ? rc : ask(in[1], out[0], &pauses[i]);
        }
        if (rc) {
            printf("%-34s not to be had\n", contestants[c].name);
            continue;
        }
        qsort(pauses, (size_t)rounds, sizeof(pauses[0]), compare);
        qsort(calls, (size_t)rounds, sizeof(calls[0]), compare);
        printf("%-34s %9.2f ms %9.2f ms %9.2f ms\n", contestants[c].name, (double)pauses[rounds / 2] / 1e6,
               (double)pauses[rounds - 1] / 1e6, (double)calls[rounds / 2] / 1e6);
    }
    close(in[1]);
    waitpid(pid, NULL, 0);
    return 0;
}
