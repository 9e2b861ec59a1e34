/*
 * A program that treats its wrapped calls roughly: leaves them by siglongjmp and by cancellation, is interrupted in
 * them a hundred thousand times by handlers that make such calls too, forks while other threads are inside. One mode at
 * a time; each says how many calls it made and what they told, for the test to compare with the arena.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <wedge/point.h>

#include "faults/tests/target_say.h"

static sigjmp_buf out;

static const struct itimerval soon = {.it_value = {0, 300}};

/* Out of the system call that the thread sleeps in (the instruction before is `syscall`, and it was interrupted). Before
 * that, the call that the program has counted is not yet one: the alarm comes again. */
static void jump(int signal, siginfo_t *info, void *context)
{
    const greg_t *regs = ((const ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *pc = (const unsigned char *)regs[REG_RIP]; // NOLINT: an address of our own code
    (void)signal, (void)info;
    if (regs[REG_RAX] == -EINTR && pc[-2] == 0x0f && pc[-1] == 0x05)
        siglongjmp(out, 1);
    setitimer(ITIMER_REAL, &soon, NULL);
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(number, &action, NULL);
}

/* jump N: leaves N reads of an empty pipe, and N/10 waits for a semaphore, by siglongjmp; then reads once more. */
static int jumps(char **argv)
{
    static int ends[2];
    static volatile int i, reads, waits, failed;
    static sem_t sem;
    char byte;
    if (pipe(ends) || sem_init(&sem, 0, 0))
        return 1;
    sigaction(SIGALRM, &(struct sigaction){.sa_sigaction = jump, .sa_flags = SA_SIGINFO}, NULL);
    for (i = 0; i < number(argv, 2, 100); i++) {
        if (sigsetjmp(out, 1))
            continue;
        bool waits_now = i % 10 == 9;
        if (waits_now)
            waits++;
        else
            reads++;
        setitimer(ITIMER_REAL, &soon, NULL);
        if ((waits_now ? sem_wait(&sem) : (int)read(ends[0], &byte, 1)) < 0) {
            failed++; /* by a rule: the alarm is to come all the same */
            for (;;)
                pause();
        }
    }
    handle(SIGALRM, SIG_IGN);
    reads++;
    bool last = write(ends[1], "x", 1) == 1 && read(ends[0], &byte, 1) == 1;
    say("reads %d waits %d failed %d last %d\n", reads, waits, failed, last);
    return 0;
}

static int never[2]; /* a pipe that nobody writes into */
static _Atomic int inside;

static void *read_for_ever(void *arg)
{
    char byte;
    atomic_fetch_add(&inside, 1);
    while (read(never[0], &byte, 1) < 0) /* a rule's error: again */
        ;
    return arg;
}

/* cancel N: N threads, one after the other, are cancelled in a read. */
static int cancels(char **argv)
{
    int n = number(argv, 2, 100), cancelled = 0;
    if (pipe(never))
        return 1;
    for (int i = 0; i < n; i++) {
        pthread_t thread;
        void *result = NULL;
        atomic_store(&inside, 0);
        if (pthread_create(&thread, NULL, read_for_ever, NULL))
            return 1;
        while (!atomic_load(&inside))
            sched_yield();
        if (pthread_cancel(thread) || pthread_join(thread, &result))
            return 1;
        cancelled += result == PTHREAD_CANCELED;
    }
    say("cancelled %d of %d\n", cancelled, n);
    return 0;
}

/* storm N: a loop of calls is interrupted N times by a handler that makes the same calls. At least N times: the
 * timer goes on until it is stopped. */
static sem_t storm_sem;
static int null_fd;
static _Atomic int handled;
static int storm_size;
/* What a main loop and what a handler have done: each adds to its own. */
struct done {
    volatile long writes, failures, posts;
};
static struct done by_loop, by_handler;

static void make_both(struct done *by)
{
    by->writes++;
    if (write(null_fd, "x", 1) < 0)
        by->failures++;
    by->posts++;
    sem_post(&storm_sem);
}

static void on_storm(int signal)
{
    int kept = errno;
    (void)signal;
    make_both(&by_handler);
    WEDGE_POINT("t.handler");
    /* Ended here: where a handler takes longer than the timer's interval, the main loop does not get on at all. */
    if (atomic_fetch_add(&handled, 1) + 1 == storm_size)
        syscall(SYS_setitimer, ITIMER_REAL, &(struct itimerval){0}, NULL);
    errno = kept;
}

static int storm(char **argv)
{
    int n = number(argv, 2, 1000), value = -1;
    struct sigaction action = {.sa_handler = on_storm, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 5}, {0, 5}};
    storm_size = n;
    null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    sem_init(&storm_sem, 0, 0);
    sigaction(SIGALRM, &action, NULL);
    if (null_fd < 0 || setitimer(ITIMER_REAL, &often, NULL))
        return 1;
    while (atomic_load(&handled) < n) {
        make_both(&by_loop);
        WEDGE_POINT("t.step");
    }
    sem_getvalue(&storm_sem, &value);
    say("writes %ld failed %ld posts %ld value %d handled %d\n", by_loop.writes + by_handler.writes,
        by_loop.failures + by_handler.failures, by_loop.posts + by_handler.posts, value, handled);
    return 0;
}

/* fork N: N children are forked while three threads make calls; each child's third write fails, and no other. */
static _Atomic bool over;

static void *make_calls(void *arg)
{
    sem_t sem;
    sem_init(&sem, 0, 0);
    while (!atomic_load(&over)) {
        sem_post(&sem);
        sem_trywait(&sem);
        WEDGE_POINT("t.step");
    }
    return arg;
}

static int five_writes(void)
{
    int as_told = 0;
    for (int i = 1; i <= 5; i++)
        as_told += (write(null_fd, "x", 1) == 1) == (i != 3);
    return as_told == 5 ? 0 : 1;
}

static int forks(char **argv)
{
    pthread_t threads[3];
    int good = 0, n = number(argv, 2, 50);
    null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, make_calls, NULL))
            return 1;
    for (int i = 0; i < n; i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0)
            _exit(five_writes());
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            return 1;
        good += status == 0;
    }
    atomic_store(&over, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    say("good %d of %d\n", good, n);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(char **argv);
    } modes[] = {{"jump", jumps}, {"cancel", cancels}, {"storm", storm}, {"fork", forks}};
    for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(argv[1], modes[i].name) == 0)
            return modes[i].run(argv);
    return 2;
}
