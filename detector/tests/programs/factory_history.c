/*
 * Cases that one examination alone does not tell: who polls for ever, who was forgotten, who waits too long, who burns
 * CPU time; and programs that do the same and get on.
 */
#include <linux/futex.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

enum { SHORT_MS = 5 };

static pthread_mutex_t locks[2] = {PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP, PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP};
static pthread_barrier_t both;
static sem_t sem, answers;
static _Atomic uint32_t word;

static struct timespec soon(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_nsec += SHORT_MS * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

static void *take_both(void *arg)
{
    int i = arg != NULL;
    pthread_mutex_lock(&locks[i]);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&locks[1 - i]);
    return NULL;
}
/* Two threads in a circle; the main thread asks now and then whether one of them has ended. */
static void join_by_and_by(void)
{
    pthread_t threads[2];
    pthread_barrier_init(&both, NULL, 2);
    pthread_create(&threads[0], NULL, take_both, NULL);
    pthread_create(&threads[1], NULL, take_both, &both);
    factory_ready();
    for (;;) {
        struct timespec until = soon();
        if (pthread_timedjoin_np(threads[0], NULL, &until) == 0)
            break;
    }
}

static void *wait_for_post(void *arg)
{
    for (;;)
        sem_wait(&sem);
    return arg;
}
/* A worker without work, and a main thread that waits for its answer a little at a time. */
static void ask_by_and_by(void)
{
    pthread_t thread;
    factory_spawn(&thread, wait_for_post, NULL);
    factory_ready();
    for (;;) {
        struct timespec until = soon();
        sem_timedwait(&answers, &until);
    }
}
/* The same, and each time the worker gets something to do. */
static void ask_and_post(void)
{
    pthread_t thread;
    factory_spawn(&thread, wait_for_post, NULL);
    factory_ready();
    for (;;) {
        struct timespec until = soon();
        sem_timedwait(&answers, &until);
        sem_post(&sem);
    }
}
/* The same, once in a minute. */
static void ask_seldom(void)
{
    pthread_t thread;
    factory_spawn(&thread, wait_for_post, NULL);
    factory_ready();
    for (;;) {
        struct timespec until = soon();
        until.tv_sec += 60;
        sem_timedwait(&answers, &until);
        sem_post(&sem);
    }
}
/* As the one before that, and at a signal from anywhere it would post. */
static void handle(int number)
{
    (void)number;
    sem_post(&answers);
}
static void ask_with_handler(void)
{
    signal(SIGUSR2, handle);
    ask_by_and_by();
}

static void *wait_on_word(void *arg)
{
    while (word == 0)
        syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return arg;
}
/* The word is set, and who sleeps there is told `late_ms` later, 0 never; the main thread does something else. */
static void set_word(long late_ms)
{
    pthread_t thread;
    factory_spawn(&thread, wait_on_word, NULL);
    while (syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)1, &word, 0) < 1)
        sched_yield(); /* moves it from the word to the same word: 1 once it sleeps */
    word = 1;
    factory_ready();
    if (late_ms) {
        factory_nap(late_ms);
        syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    for (;;)
        factory_nap(SHORT_MS);
}
static void word_forgotten(void)
{
    set_word(0);
}
static void word_late(void)
{
    set_word(300);
}

static void *take_one(void *arg)
{
    for (;;) {
        pthread_mutex_lock(&locks[0]);
        pthread_mutex_unlock(&locks[0]);
        factory_nap(1);
    }
    return arg;
}
/* Has the lock, and works with it for `ms`. */
static void keep(long ms)
{
    pthread_t thread;
    pthread_mutex_lock(&locks[0]);
    factory_spawn(&thread, take_one, NULL);
    factory_ready();
    for (;;) {
        for (long left = ms; left > 0; left -= SHORT_MS)
            factory_nap(SHORT_MS);
        pthread_mutex_unlock(&locks[0]);
        factory_nap(1);
        pthread_mutex_lock(&locks[0]);
    }
}
static void keep_long(void)
{
    keep(3600000);
}
static void keep_shortly(void)
{
    keep(4l * SHORT_MS);
}

/* Two threads that step aside for each other for ever. */
static void *yield_for_ever(void *arg)
{
    for (;;) {
        sched_yield();
        word++;
    }
    return arg;
}
static void spin(void)
{
    pthread_t thread;
    factory_spawn(&thread, yield_for_ever, NULL);
    factory_ready();
    for (;;)
        factory_nap(SHORT_MS);
}

/* Each gives the other its turn, for ever. */
static sem_t turns[2];
static void *take_turns(void *arg)
{
    int i = arg != NULL;
    for (;;) {
        sem_wait(&turns[i]);
        if (i)
            factory_nap(1);
        sem_post(&turns[1 - i]);
    }
    return arg;
}
static void fork_one(void)
{
    pid_t pid = factory_child();
    if (pid == 0)
        _exit(5);
    waitpid(pid, NULL, 0);
}
static void look_after_it(void)
{
    struct timespec until = soon();
    sem_timedwait(&answers, &until);
}
/* Its children die at once and are replaced for ever; of its threads one waits for the work and two are busy. */
static void crash_loop(void)
{
    pthread_t threads[3];
    sem_init(&turns[0], 0, 1);
    factory_spawn(&threads[0], take_turns, NULL);
    factory_spawn(&threads[1], take_turns, turns);
    factory_spawn(&threads[2], wait_for_post, NULL);
    factory_ready();
    for (;;) {
        fork_one();
        look_after_it();
        factory_nap(SHORT_MS);
    }
}

/* A grandchild that left the tree has the other end of the pipe; it writes every `ms`, 0 never. */
static void daemon_writes(long ms)
{
    int ends[2];
    char byte;
    factory_pipe(ends);
    pid_t root = getpid(), pid = fork();
    if (pid == 0) {
        if (fork() != 0)
            _exit(0);
        setsid();
        int parent = (int)syscall(SYS_pidfd_open, root, 0);
        struct timespec ts = {.tv_nsec = SHORT_MS * 1000000};
        /* It ends when the root has ended: nothing is left behind. */
        for (long waited = 0; kill(root, 0) == 0 && parent >= 0; waited += SHORT_MS) {
            nanosleep(&ts, NULL);
            if (ms && waited % ms == 0 && write(ends[1], "x", 1) != 1)
                break;
        }
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    close(ends[1]);
    factory_ready();
    while (read(ends[0], &byte, 1) == 1)
        ;
}
static void daemon_silent(void)
{
    daemon_writes(0);
}
static void daemon_busy(void)
{
    daemon_writes(20);
}

const struct factory_case factory_history[] = {
    {"join-by-and-by", join_by_and_by, false},
    {"ask-by-and-by", ask_by_and_by, false},
    {"ask-and-post", ask_and_post, true},
    {"ask-seldom", ask_seldom, true},
    {"ask-with-handler", ask_with_handler, true},
    {"word-forgotten", word_forgotten, false},
    {"word-late", word_late, true},
    {"keep-long", keep_long, false},
    {"keep-shortly", keep_shortly, true},
    {"spin", spin, false},
    {"crash-loop", crash_loop, false},
    {"daemon-silent", daemon_silent, false},
    {"daemon-busy", daemon_busy, true},
    {NULL, NULL, false},
};
