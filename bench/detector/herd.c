/*
 * What is looked at: a tree of processes, each with so many threads some 25 frames deep, which all block for ever or,
 * by the kind, live on quietly. And `time`, which runs a command and tells what it cost.
 *
 *   bench-herd KIND PROCESSES THREADS   prints "PID NS": its own id, and CLOCK_MONOTONIC just before the last thread
 *                                       blocked. Ends when its standard input ends
 *   bench-herd !KIND PROCESSES THREADS  the same, and is the root itself, for `wedge watch --`
 *   bench-herd time COMMAND…            prints "NS STATUS KIB CPU_NS": wall time, exit status, the resident memory of
 *                                       the largest of the command's processes, CPU time of all
 *
 * The first process is the root and waits for the others in waitpid; main of each joins its first thread. Nobody can
 * wake anybody: apart from the live kinds each tree is a hang of the whole.
 *
 * KIND: errorcheck (a mutex that main holds), pairs (cycles of two; an even number of threads besides main), cond, sem (private), pipe (its own, empty), shared (a semaphore that all
 * processes share); live: nap (every thread sleeps for 100 ms at a time), quiet (one thread of each process naps, the others
 * wait for it), accept (a socket: idle).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { DEPTH = 20, STACK_BYTES = 64 << 10, PROCESSES_MAX = 4096, THREADS_MAX = 20000 };

enum kind { ERRORCHECK, PAIRS, COND, SEM, PIPE, SHARED, NAP, QUIET, ACCEPT, KINDS };
static const char *const kinds[KINDS] = {"errorcheck", "pairs", "cond",  "sem",   "pipe",
                                         "shared",     "nap",   "quiet", "accept"};

static struct common { /* of all processes */
    _Atomic long blocked; /* threads that are about to */
    long all;
    sem_t sem;
} * common;

static enum kind kind;
static pthread_mutex_t mutex;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static int ends[2], listening, told = STDOUT_FILENO;
static pid_t root;
static volatile int sink;

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Every two threads hold one mutex each and wait for the other's. */
static pthread_mutex_t pairs[THREADS_MAX];
static _Atomic char taken[THREADS_MAX];

static void cross(long number)
{
    while (!atomic_load(&taken[number ^ 1]))
        sched_yield();
    pthread_mutex_lock(&pairs[number ^ 1]);
}

/* To be called by each thread as the last thing before it blocks. */
static void about_to_block(void)
{
    char line[64];
    if (atomic_fetch_add(&common->blocked, 1) + 1 < common->all)
        return;
    int len = snprintf(line, sizeof(line), "%d %" PRId64 "\n", (int)root, now_ns());
    if (write(told, line, (size_t)len) != len)
        _exit(3);
}

static void nap(void)
{
    for (;;)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

static void block(long number)
{
    char byte;
    struct pollfd pfd = {.fd = listening, .events = POLLIN};
    if (kind == PAIRS) {
        pthread_mutex_lock(&pairs[number]);
        atomic_store(&taken[number], 1);
    }
    about_to_block();
    switch (kind) {
    case PAIRS:
        cross(number);
        break;
    case ERRORCHECK:
        pthread_mutex_lock(&mutex);
        break;
    case COND:
        pthread_mutex_lock(&mutex);
        for (;;)
            pthread_cond_wait(&cond, &mutex);
    case PIPE:
        sink = (int)read(ends[0], &byte, 1);
        break;
    case SHARED:
        sem_wait(&common->sem);
        break;
    case NAP:
        nap();
        break;
    case QUIET:
        if (number == 0)
            nap();
        sem_wait(&sem);
        break;
    case ACCEPT:
        poll(&pfd, 1, -1);
        break;
    default:
        sem_wait(&sem);
    }
}

static __attribute__((noinline, noclone)) void descend_even(int depth, long number);

static __attribute__((noinline, noclone)) void descend_odd(int depth, long number)
{
    if (depth)
        descend_even(depth - 1, number);
    else
        block(number);
    sink++;
}

static __attribute__((noinline, noclone)) void descend_even(int depth, long number)
{
    if (depth)
        descend_odd(depth - 1, number);
    else
        block(number);
    sink++;
}

static void *work(void *arg)
{
    descend_even(DEPTH, (long)arg);
    return NULL;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench-herd: %s: %s\n", what, strerror(errno));
    exit(3);
}

/* One process: `threads` in all. The root waits for its children instead of a thread. */
static void be_process(long threads)
{
    pthread_attr_t attr;
    pthread_mutexattr_t checking;
    pthread_t thread, first = 0;
    struct sockaddr sa = {.sa_family = AF_UNIX};
    pthread_mutexattr_init(&checking);
    if (kind == ERRORCHECK || kind == PAIRS)
        pthread_mutexattr_settype(&checking, PTHREAD_MUTEX_ERRORCHECK);
    for (long i = 0; i < threads && kind == PAIRS; i++)
        pthread_mutex_init(&pairs[i], &checking);
    pthread_mutex_init(&mutex, &checking);
    if (kind == ERRORCHECK)
        pthread_mutex_lock(&mutex);
    if (kind == PIPE && pipe(ends))
        fail("pipe");
    if (kind == ACCEPT && ((listening = socket(AF_UNIX, SOCK_STREAM, 0)) < 0 ||
                           bind(listening, &sa, sizeof(sa.sa_family)) || listen(listening, 1)))
        fail("socket");
    sem_init(&sem, 0, 0);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    for (long i = 0; i + 1 < threads; i++) {
        int rc = pthread_create(&thread, &attr, work, (void *)i);
        if (rc) {
            errno = rc;
            fail("pthread_create");
        }
        first = first ? first : thread;
    }
    if (getpid() == root) {
        about_to_block();
        while (wait(NULL) > 0)
            ;
        if (!first)
            block(0);
    }
    if (!first)
        block(0);
    if (getpid() != root)
        about_to_block();
    pthread_join(first, NULL);
}

/* Ends the tree when whoever started it goes away: a process in between, which is no part of the tree. */
static int keep(long processes)
{
    char byte;
    int alive[2];
    if (pipe2(alive, O_CLOEXEC))
        fail("pipe");
    root = fork();
    if (root < 0)
        fail("fork");
    if (root == 0) {
        root = getpid();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        told = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        close(alive[0]);
        close(alive[1]);
        for (long i = 1; i < processes; i++) {
            pid_t pid = fork();
            if (pid < 0)
                fail("fork");
            if (pid)
                continue;
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            be_process(common->all / processes);
            _exit(0);
        }
        be_process(common->all / processes);
        _exit(0);
    }
    while (read(0, &byte, 1) > 0)
        ;
    kill(root, SIGKILL);
    waitpid(root, NULL, 0);
    return 0;
}

/* `!` before the kind: the command itself is the root, as `wedge watch` wants it. */
static int herd(const char *name, long processes, long threads)
{
    bool watched = name[0] == '!';
    for (kind = 0; kind < KINDS && strcmp(kinds[kind], name + watched) != 0; kind++)
        ;
    if (kind == KINDS || processes < 1 || processes > PROCESSES_MAX || threads < 1 || processes * threads > THREADS_MAX)
        return 2;
    common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (common == MAP_FAILED)
        fail("mmap");
    common->all = processes * threads;
    sem_init(&common->sem, 1, 0);
    if (!watched)
        return keep(processes);
    root = getpid();
    for (long i = 1; i < processes; i++) {
        pid_t pid = fork();
        if (pid < 0)
            fail("fork");
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            be_process(threads);
            _exit(0);
        }
    }
    be_process(threads);
    return 0;
}

static int measure(char **argv)
{
    struct rusage usage;
    pid_t pid;
    int status;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    int64_t began = now_ns();
    int rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    if (rc) {
        errno = rc;
        fail(argv[0]);
    }
    if (waitpid(pid, &status, 0) != pid)
        fail("waitpid");
    int64_t took = now_ns() - began;
    getrusage(RUSAGE_CHILDREN, &usage);
    int64_t cpu = ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
                  ((int64_t)usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
    printf("%" PRId64 " %d %ld %" PRId64 "\n", took, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
           usage.ru_maxrss, cpu);
    return 0;
}

int main(int argc, char **argv)
{
    int rc = 2;
    if (argc > 2 && strcmp(argv[1], "time") == 0)
        rc = measure(argv + 2);
    else if (argc == 4)
        rc = herd(argv[1], atol(argv[2]), atol(argv[3]));
    if (rc == 2)
        fprintf(stderr, "usage: bench-herd [!]KIND PROCESSES THREADS | bench-herd time COMMAND...\n");
    return rc;
}
