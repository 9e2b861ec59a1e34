/*
 * A process full of blocked threads, each deep in functions of its own, which says beforehand what a debugger would
 * find: for each thread the functions and lines around its wait, innermost first.
 *
 *   thread TID CASE LIBC    one per thread (LIBC: the call it waits in), followed by its
 *   frame FUNCTION LINE [inlined]
 *   function NAME ADDRESS   where one of its functions begins
 *   ready                   all threads have said theirs; main goes on to wait in read(0)
 *
 * Each thread speaks before it blocks; the reader looks into /proc until all sleep. A line on standard input is
 * answered with the number of SIGRTMIN received so far ("signals N"); "exit" and end of file end the process. Built in
 * several ways (stacks.cmake): the same source with other unwind information. Arguments: the cases to run, none: all
 * but "vfork" and "crowd".
 */
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAMES_MAX  8
#define ALTSTACK    65536
#define DEEP_FRAMES 100
#define DEEP_BYTES  4096
#define MANY_FRAMES 400
#define CROWD       32

struct expected {
    const char *function;
    int line;
    bool inlined;
};

static __thread struct expected expected[FRAMES_MAX];
static __thread size_t n_expected;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static sem_t said;

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t for_cond = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static sem_t empty;
static FILE *taken; /* its lock is */
static int silent[2]; /* a pipe nobody writes to */
static volatile sig_atomic_t sink;
static atomic_int signals;

/* On the line of the call that it announces. */
#define CALLS(what, is_inlined)                                                                                        \
    expected[n_expected++] = (struct expected)                                                                         \
    {                                                                                                                  \
        what, __LINE__, is_inlined                                                                                     \
    }

/* Says what was announced; the last thing before the wait. */
static void say(const char *name, const char *libc)
{
    pthread_mutex_lock(&output);
    printf("thread %ld %s %s\n", syscall(SYS_gettid), name, libc);
    while (n_expected) {
        const struct expected *e = &expected[--n_expected];
        printf("frame %s %d%s\n", e->function, e->line, e->inlined ? " inlined" : "");
    }
    fflush(stdout);
    pthread_mutex_unlock(&output);
    sem_post(&said);
}

#define NOINLINE __attribute__((noinline, noclone))

static NOINLINE void read_inner(int fd)
{
    char c;
    CALLS("read_inner", false), say("read", "read"), sink = (int)read(fd, &c, 1);
    sink++;
}
static NOINLINE void read_outer(int fd)
{
    CALLS("read_outer", false), read_inner(fd);
    sink++;
}
static void *in_read(void *arg)
{
    CALLS("in_read", false), read_outer(silent[0]);
    sink++;
    return arg;
}

static void *in_sem(void *arg)
{
    CALLS("in_sem", false), say("sem", "sem_wait"), sink = sem_wait(&empty);
    sink++;
    return arg;
}

static void *in_mutex(void *arg)
{
    CALLS("in_mutex", false), say("mutex", "pthread_mutex_lock"), sink = pthread_mutex_lock(&held);
    sink++;
    return arg;
}

static void *in_cond(void *arg)
{
    pthread_mutex_lock(&for_cond);
    CALLS("in_cond", false), say("cond", "pthread_cond_wait"), sink = pthread_cond_wait(&never, &for_cond);
    sink++;
    return arg;
}

/* Functions of libc with landing pads (cleanups for cancellation), whose tables lead into .data. */
static NOINLINE void initialize(void)
{
    char c;
    CALLS("initialize", false), say("once", "pthread_once"), sink = (int)read(silent[0], &c, 1);
    sink++;
}
static void *in_once(void *arg)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CALLS("in_once", false), pthread_once(&once, initialize);
    sink++;
    return arg;
}
static void *in_stream(void *arg)
{
    CALLS("in_stream", false), say("stream", "fputc"), sink = fputc('x', taken);
    sink++;
    return arg;
}

/* Two levels inlined into the thread's function. */
static inline __attribute__((always_inline)) void poll_innermost(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    CALLS("poll_innermost", true), say("poll", "poll"), sink = poll(&pfd, 1, -1);
    sink++;
}
static inline __attribute__((always_inline)) void poll_middle(int fd)
{
    sink++;
    CALLS("poll_middle", true), poll_innermost(fd);
    sink++;
}
static void *in_poll(void *arg)
{
    CALLS("in_poll", false), poll_middle(silent[0]);
    sink++;
    return arg;
}

/* A C++ name, as a C compiler can make one. */
void method(int fd) __asm__("_ZN4pool6worker3runEi");
NOINLINE void method(int fd)
{
    char c;
    CALLS("pool::worker::run(int)", false), say("mangled", "read"), sink = (int)read(fd, &c, 1);
    sink++;
}
static void *in_method(void *arg)
{
    CALLS("in_method", false), method(silent[0]);
    sink++;
    return arg;
}

static void on_usr1(int signal)
{
    const char *name = signal == SIGUSR1 ? "handler" : "altstack";
    char c;
    CALLS("on_usr1", false), say(name, "read"), sink = (int)read(silent[0], &c, 1);
    sink++;
}
static NOINLINE void interrupted(int signal)
{
    CALLS("interrupted", false), sink = raise(signal);
    sink++;
}
static void *in_handler(void *arg)
{
    CALLS("in_handler", false), interrupted(SIGUSR1);
    sink++;
    return arg;
}
static void *on_altstack(void *arg)
{
    stack_t stack = {.ss_sp = malloc(ALTSTACK), .ss_size = ALTSTACK};
    sigaltstack(&stack, NULL);
    CALLS("on_altstack", false), interrupted(SIGUSR2);
    sink++;
    return arg;
}

/* Deeper than the first copy: the last frame is far from the stack pointer. */
static NOINLINE void deep(int depth, int fd)
{
    volatile char big[DEEP_BYTES];
    big[0] = 1;
    if (depth == 0) {
        char c;
        say("deep", "read");
        sink = (int)read(fd, &c, 1);
    } else {
        deep(depth - 1, fd);
    }
    sink += big[0];
}
static void *in_deep(void *arg)
{
    CALLS("in_deep", false), deep(DEEP_FRAMES, silent[0]);
    sink++;
    return arg;
}

/* More frames than are ever shown. */
static NOINLINE void many(int depth, int fd)
{
    char c;
    if (depth == 0)
        say("many", "read"), sink = (int)read(fd, &c, 1);
    else
        many(depth - 1, fd);
    sink++;
}
static void *in_many(void *arg)
{
    many(MANY_FRAMES, silent[0]);
    sink++;
    return arg;
}

/* The parent of a vfork sleeps uninterruptibly until its child ends. The child leaves when the pipe closes or its
 * parent dies. */
static void *in_vfork(void *arg)
{
    say("vfork", "vfork");
    pid_t pid = vfork();
    if (pid == 0) {
        char c;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit((int)read(silent[0], &c, 1));
    }
    waitpid(pid, NULL, 0);
    return arg;
}

static const struct {
    const char *name;
    void *(*run)(void *);
    bool asked_for; /* only when named */
    int threads;
} cases[] = {
    {"read", in_read, false, 1},       {"sem", in_sem, false, 1},           {"mutex", in_mutex, false, 1},
    {"cond", in_cond, false, 1},       {"poll", in_poll, false, 1},         {"mangled", in_method, false, 1},
    {"handler", in_handler, false, 1}, {"altstack", on_altstack, false, 1}, {"deep", in_deep, false, 1},
    {"once", in_once, false, 1},       {"stream", in_stream, false, 1},     {"many", in_many, false, 1},
    {"vfork", in_vfork, true, 1},      {"crowd", in_read, true, CROWD},
};

static bool chosen(int i, int argc, char **argv)
{
    if (argc < 2)
        return !cases[i].asked_for;
    for (int a = 1; a < argc; a++)
        if (strcmp(argv[a], cases[i].name) == 0)
            return true;
    return false;
}

static void count(int signal)
{
    (void)signal;
    atomic_fetch_add(&signals, 1);
}

static void serve(void)
{
    char line[64];
    for (;;) {
        ssize_t got = read(0, line, sizeof(line) - 1);
        if (got < 0)
            continue; /* one of the counted signals */
        line[got] = 0;
        if (got == 0 || strncmp(line, "exit", 4) == 0)
            return;
        printf("signals %d\n", atomic_load(&signals));
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    struct sigaction counting = {.sa_handler = count};
    struct sigaction waiting = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK};
    sigset_t realtime;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (pipe(silent) || sem_init(&empty, 0, 0) || sem_init(&said, 0, 0))
        return 1;
    sigaction(SIGUSR1, &waiting, NULL);
    sigaction(SIGUSR2, &waiting, NULL);
    sigaction(SIGRTMIN, &counting, NULL);
    taken = fmemopen(NULL, 16, "w");
    if (!taken)
        return 1;
    flockfile(taken);
    pthread_mutex_lock(&held);
    /* The counted signals are for main alone. */
    sigemptyset(&realtime);
    sigaddset(&realtime, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &realtime, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int k = 0; k < cases[i].threads && chosen((int)i, argc, argv); k++) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, cases[i].run, NULL))
                return 1;
            while (sem_wait(&said))
                ;
        }
    }
    pthread_sigmask(SIG_UNBLOCK, &realtime, NULL);
    printf("function read_outer %p\nready\n", (void *)read_outer);
    fflush(stdout);
    serve();
    _exit(0);
}
