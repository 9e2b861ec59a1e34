/*
 * Cases about locks and processes: copied by fork, shared, handed on by the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

static pthread_mutex_t lock;
static pthread_barrier_t both;

/* ---- a lock that fork copied ---- */

static void *hold_and_sleep(void *arg)
{
    pthread_mutex_lock(&lock);
    pthread_barrier_wait(&both);
    for (;;)
        factory_nap(FACTORY_SLOW_MS);
    return arg;
}
static void forked(int type, int robust)
{
    pthread_t thread;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setrobust(&attr, robust);
    pthread_mutex_init(&lock, &attr);
    pthread_barrier_init(&both, NULL, 2);
    factory_spawn(&thread, hold_and_sleep, NULL);
    pthread_barrier_wait(&both);
    pid_t pid = factory_child();
    if (pid == 0) {
        pthread_mutex_lock(&lock);
        _exit(0);
    }
    factory_ready();
    waitpid(pid, NULL, 0);
}
static void forked_robust(void)
{
    forked(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST);
}
static void forked_recursive(void)
{
    forked(PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED);
}

/* ---- between processes ---- */

/* A child owns a shared PI mutex and reads from a pipe that only its parent writes; the parent wants the mutex. */
static void shared_pi(void)
{
    int ends[2], told[2];
    char byte;
    pthread_mutex_t *m = factory_shared(sizeof(*m));
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(m, &attr);
    factory_pipe(ends);
    factory_pipe(told);
    if (factory_child() == 0) {
        pthread_mutex_lock(m);
        if (write(told[1], "x", 1) != 1)
            _exit(1);
        close(told[1]);
        _exit(read(ends[0], &byte, 1) == 1);
    }
    if (read(told[0], &byte, 1) != 1)
        factory_die("read");
    factory_ready();
    pthread_mutex_lock(m);
}

/* Who released it was killed between the store and the wake-up. */
static void released_without_wake(void)
{
    pthread_mutex_t *m = factory_mutexes(1, PTHREAD_MUTEX_NORMAL, 0);
    pthread_mutex_lock(m);
    pid_t pid = factory_child();
    if (pid == 0) {
        pthread_mutex_lock(m);
        _exit(0);
    }
    while (m->__data.__lock != 2)
        sched_yield();
    char path[64], text[16] = "";
    do { /* until it sleeps there */
        snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = read(fd, text, sizeof(text) - 1);
        text[got > 0 ? got : 0] = '\0';
        close(fd);
    } while (strncmp(text, "202 ", 4) != 0);
    m->__data.__owner = 0;
    m->__data.__nusers = 0;
    __atomic_store_n(&m->__data.__lock, 0, __ATOMIC_SEQ_CST);
    factory_ready();
    waitpid(pid, NULL, 0);
}

/* ---- healthy ---- */

/* The parent's other thread has the lock while the child is forked, and it is no copy: both have the same memory. */
static void *hold_shared(void *arg)
{
    pthread_mutex_t *shared = arg;
    pthread_mutex_lock(shared);
    pthread_barrier_wait(&both);
    for (;;) {
        factory_nap(FACTORY_SLOW_MS);
        pthread_mutex_unlock(shared);
        factory_nap(1);
        pthread_mutex_lock(shared);
    }
    return arg;
}
static void forked_shared(void)
{
    pthread_t thread;
    pthread_mutex_t *shared = factory_mutexes(1, PTHREAD_MUTEX_RECURSIVE, 0);
    pthread_barrier_init(&both, NULL, 2);
    factory_spawn(&thread, hold_shared, shared);
    pthread_barrier_wait(&both);
    if (factory_child() == 0)
        for (;;) {
            pthread_mutex_lock(shared);
            pthread_mutex_unlock(shared);
        }
    factory_ready();
    pthread_join(thread, NULL);
}

/* The owner of a robust mutex dies each time; who waits for it gets it from the kernel. Each lives twice as long as the one
 * before, up to a second: a look takes longer than the first ones on a crowded machine, and sees nobody who waits. */
static void robust_handover(void)
{
    pthread_mutex_t *m = factory_mutexes(1, PTHREAD_MUTEX_NORMAL, 1);
    factory_ready();
    for (int lives_ms = FACTORY_SLOW_MS;; lives_ms = lives_ms < 1000 ? 2 * lives_ms : FACTORY_SLOW_MS) {
        pid_t pid = factory_child();
        if (pid == 0) {
            if (pthread_mutex_lock(m) == EOWNERDEAD)
                pthread_mutex_consistent(m);
            factory_nap(lives_ms);
            _exit(0);
        }
        while (!(m->__data.__lock & FUTEX_TID_MASK))
            sched_yield();
        if (pthread_mutex_lock(m) == EOWNERDEAD)
            pthread_mutex_consistent(m);
        pthread_mutex_unlock(m);
        waitpid(pid, NULL, 0);
    }
}

/* A semaphore in a System V segment: anyone who guesses its number may attach and post it, marked as removed or not. */
static void segment_semaphore(void)
{
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    sem_t *sem = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
    if (sem == (void *)-1 || shmctl(id, IPC_RMID, NULL))
        factory_die("a shared segment");
    sem_init(sem, 1, 0);
    factory_ready();
    while (sem_wait(sem))
        ;
}

const struct factory_case factory_fork[] = {
    {"forked-robust", forked_robust, false},
    {"forked-recursive", forked_recursive, false},
    {"shared-pi", shared_pi, false},
    {"released-without-wake", released_without_wake, false},
    {"forked-shared", forked_shared, true},
    {"robust-handover", robust_handover, true},
    {"segment-semaphore", segment_semaphore, true},
    {NULL, NULL, false},
};
