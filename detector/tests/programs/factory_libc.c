/*
 * Cases about what libc's objects look like from outside: every kind of lock, once, join, conditions and semaphores, hung
 * and slow.
 */
#include <linux/futex.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

#define CENTURY_S (100ll * 365 * 86400)

static pthread_mutex_t locks[2];
static pthread_rwlock_t rwlocks[2] = {PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER};
static pthread_once_t once_controls[2] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};
static pthread_barrier_t both;

static void make_locks(int type, int protocol, int robust)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setprotocol(&attr, protocol);
    pthread_mutexattr_setrobust(&attr, robust);
    for (int i = 0; i < 2; i++)
        pthread_mutex_init(&locks[i], &attr);
}

static struct timespec in_a_century(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    ts.tv_sec += CENTURY_S;
    return ts;
}

/* ---- two threads, each with what the other wants; the main thread joins one of them ---- */

static void (*take)(int which);

static void *take_both(void *arg)
{
    int i = arg != NULL;
    take(i);
    pthread_barrier_wait(&both);
    take(1 - i);
    return NULL;
}

void factory_cross(void (*fn)(int))
{
    pthread_t threads[2];
    take = fn;
    pthread_barrier_init(&both, NULL, 2);
    factory_spawn(&threads[0], take_both, NULL);
    factory_spawn(&threads[1], take_both, &threads);
    factory_ready();
    pthread_join(threads[0], NULL);
}

static void take_mutex(int which)
{
    pthread_mutex_lock(&locks[which]);
}
static void cross_recursive(void)
{
    make_locks(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    factory_cross(take_mutex);
}
static void cross_adaptive(void)
{
    make_locks(PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    factory_cross(take_mutex);
}
static void cross_robust(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
    factory_cross(take_mutex);
}
/* The kernel refuses the second one with EDEADLK, and glibc then sleeps for ever on a word of its own stack. */
static void cross_pi(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    factory_cross(take_mutex);
}

/* Is it refused (1), or does it wait in the kernel (0)? -1: neither yet. */
static int is_refused(pid_t tid)
{
    char path[64], text[256];
    unsigned long word, op;
    snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)tid);
    FILE *file = fopen(path, "r");
    bool waits = file && fgets(text, sizeof(text), file) && sscanf(text, "202 %lx %lx", &word, &op) == 2;
    if (file)
        fclose(file);
    return !waits                                                     ? -1
           : op == (FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME) ? 1
           : op == FUTEX_LOCK_PI_PRIVATE                              ? 0
                                                                      : -1;
}
enum { TRIES = 20 };
static pthread_mutex_t tried[TRIES + 2];
static pthread_mutex_t *pair[2];
static _Atomic int come;
static _Atomic pid_t takers[2];
static bool take_own;
static void *take_at_once(void *arg)
{
    int i = arg != NULL;
    takers[i] = gettid();
    pthread_mutex_lock(pair[i]);
    come++;
    while (come < 2)
        ;
    pthread_mutex_lock(pair[take_own ? i : 1 - i]);
    return NULL;
}
/* The same at one moment: each is refused because of the other. It comes once in some five tries, and never where both
 * words fall into one bucket of the kernel's table (kernel/futex/core.c): each try has two others. On a crowded machine
 * two threads hardly ever run at one moment; in the last try each takes what it has itself, and is refused for certain. That
 * looks the same, for which mutex it was stands in a register alone. */
static void cross_pi_at_once(void)
{
    int told[2];
    char byte;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    factory_pipe(told);
    for (int i = 0; i < TRIES; i++) {
        pthread_t threads[2];
        pid_t pid = factory_child();
        if (pid == 0) {
            for (int k = 0; k < 2; k++) {
                pair[k] = &tried[i + k];
                pthread_mutex_init(pair[k], &attr);
            }
            take_own = i + 1 == TRIES;
            factory_spawn(&threads[0], take_at_once, NULL);
            factory_spawn(&threads[1], take_at_once, &threads);
            while (come < 2 || is_refused(takers[0]) < 0 || is_refused(takers[1]) < 0)
                factory_nap(1);
            if (is_refused(takers[0]) + is_refused(takers[1]) < 2)
                _exit(0);
            if (write(told[1], "x", 1) == 1)
                pthread_join(threads[0], NULL);
        }
        close(told[1]);
        if (read(told[0], &byte, 1) == 1) {
            factory_ready();
            waitpid(pid, NULL, 0);
        }
        waitpid(pid, NULL, 0);
        close(told[0]);
        factory_pipe(told);
    }
}

static void take_mutex_until(int which)
{
    struct timespec until = in_a_century(CLOCK_REALTIME);
    pthread_mutex_timedlock(&locks[which], &until);
}
static void take_mutex_for_two_hours(int which)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 7200;
    pthread_mutex_timedlock(&locks[which], &until);
}
static void cross_two_hours(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    factory_cross(take_mutex_for_two_hours);
}
static void cross_timed(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    factory_cross(take_mutex_until);
}
static void take_mutex_by_clock(int which)
{
    struct timespec until = in_a_century(CLOCK_MONOTONIC);
    pthread_mutex_clocklock(&locks[which], CLOCK_MONOTONIC, &until);
}
static void cross_clock(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    factory_cross(take_mutex_by_clock);
}

static void take_to_write(int which)
{
    pthread_rwlock_wrlock(&rwlocks[which]);
}
static void cross_rwlock(void)
{
    factory_cross(take_to_write);
}

/* Each of two initializers needs what the other one makes. */
static void init_nothing(void) {}
static void init_one(void)
{
    pthread_barrier_wait(&both);
    pthread_once(&once_controls[1], init_nothing);
}
static void init_two(void)
{
    pthread_barrier_wait(&both);
    pthread_once(&once_controls[0], init_nothing);
}
static void *run_once(void *arg)
{
    if (arg)
        pthread_once(&once_controls[1], init_two);
    else
        pthread_once(&once_controls[0], init_one);
    return NULL;
}
static void cross_once(void)
{
    pthread_t threads[2];
    pthread_barrier_init(&both, NULL, 2);
    factory_spawn(&threads[0], run_once, NULL);
    factory_spawn(&threads[1], run_once, &threads);
    factory_ready();
    pthread_join(threads[0], NULL);
}

/* ---- a thread with itself ---- */

static void init_again(void)
{
    factory_ready();
    pthread_once(&once_controls[0], init_again);
}
static void self_once(void)
{
    pthread_once(&once_controls[0], init_again);
}

static void self_pi(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    pthread_mutex_lock(&locks[0]);
    factory_ready();
    pthread_mutex_lock(&locks[0]);
}
static void self_timed(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    pthread_mutex_lock(&locks[0]);
    factory_ready();
    take_mutex_until(0);
}
/* ---- join ---- */

static pthread_t ring[3];
static void *join_next(void *arg)
{
    int i = (int)(intptr_t)arg;
    pthread_barrier_wait(&both);
    pthread_join(ring[(i + 1) % 3], NULL);
    return NULL;
}
/* pthread_join refuses to wait for oneself, and for one who waits for us; three in a ring it cannot see. */
static void join_ring(void)
{
    pthread_barrier_init(&both, NULL, 3);
    ring[0] = pthread_self();
    for (int i = 1; i < 3; i++)
        factory_spawn(&ring[i], join_next, (void *)(intptr_t)i);
    factory_ready();
    join_next(NULL);
}

/* ---- conditions and semaphores ---- */

static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static _Atomic bool waiting;

static void *wait_and_finish(void *arg)
{
    pthread_mutex_lock(&locks[0]);
    waiting = true;
    pthread_cond_wait(&cond, &locks[0]);
    pthread_mutex_unlock(&locks[0]);
    return arg;
}
/* The waiter is told, but cannot come back: who told it keeps the mutex and waits for its end. */
static void cond_mutex_kept(void)
{
    pthread_t thread;
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    factory_spawn(&thread, wait_and_finish, NULL);
    while (!waiting)
        sched_yield();
    pthread_mutex_lock(&locks[0]); /* had when the other one sleeps in the wait */
    pthread_cond_signal(&cond);
    factory_ready();
    pthread_join(thread, NULL);
}

static sem_t sems[2];
static void *wait_then_post(void *arg)
{
    int i = arg != NULL;
    sem_wait(&sems[i]);
    sem_post(&sems[1 - i]);
    return NULL;
}
static void sem_cross(void)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        sem_init(&sems[i], 0, 0);
    factory_spawn(&threads[0], wait_then_post, NULL);
    factory_spawn(&threads[1], wait_then_post, &threads);
    factory_ready();
    pthread_join(threads[0], NULL);
}

/* ---- healthy ---- */

static pthread_t slow;

/* Takes number 0 and gives it back after a while, again and again; the main thread wants it in between. */
static void (*give)(int which);
static void *be_slow(void *arg)
{
    for (;;) {
        take(0);
        factory_nap(FACTORY_SLOW_MS);
        give(0);
        factory_nap(1);
    }
    return arg;
}
void factory_beside_slow(void (*taking)(int), void (*giving)(int))
{
    take = taking;
    give = giving;
    factory_spawn(&slow, be_slow, NULL);
    factory_ready();
    for (;;) {
        taking(0);
        giving(0);
    }
}
static void give_mutex(int which)
{
    pthread_mutex_unlock(&locks[which]);
}
static void slow_recursive(void)
{
    make_locks(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    factory_beside_slow(take_mutex, give_mutex);
}
static void slow_adaptive(void)
{
    make_locks(PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    factory_beside_slow(take_mutex, give_mutex);
}
static void slow_robust(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
    factory_beside_slow(take_mutex, give_mutex);
}
static void slow_pi(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    factory_beside_slow(take_mutex, give_mutex);
}
static void slow_timed(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    factory_beside_slow(take_mutex_until, give_mutex);
}
static void give_rwlock(int which)
{
    pthread_rwlock_unlock(&rwlocks[which]);
}
static void slow_writer_lock(void)
{
    factory_beside_slow(take_to_write, give_rwlock);
}
static void *read_slowly(void *arg)
{
    for (;;) {
        pthread_rwlock_rdlock(&rwlocks[0]);
        factory_nap(FACTORY_SLOW_MS);
        pthread_rwlock_unlock(&rwlocks[0]);
        factory_nap(1);
    }
    return arg;
}
static void slow_reader_lock(void)
{
    factory_spawn(&slow, read_slowly, NULL);
    factory_ready();
    for (;;) {
        pthread_rwlock_wrlock(&rwlocks[0]);
        pthread_rwlock_unlock(&rwlocks[0]);
    }
}
/* A lock of one's own kind that does not wait for ever: a deadline each time. */
static void self_with_deadline(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    take_mutex(0);
    factory_ready();
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 2;
        pthread_mutex_timedlock(&locks[0], &until);
    }
}

static void *take_pi_for_a_moment(void *arg)
{
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 2;
        pthread_mutex_timedlock(&locks[0], &until);
    }
    return arg;
}
/* The kernel takes the deadline of a PI lock by another clock than that of the other waits. */
static void pi_with_deadline(void)
{
    pthread_t thread;
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    take_mutex(0);
    factory_spawn(&thread, take_pi_for_a_moment, NULL);
    factory_ready();
    pthread_join(thread, NULL);
}

static pthread_once_t many[4096];
static _Atomic int n_many;
static void init_slowly(void)
{
    factory_nap(FACTORY_SLOW_MS);
}
static void *run_many(void *arg)
{
    for (int i = 0; i < 4096; i++) {
        n_many = i;
        pthread_once(&many[i], init_slowly);
    }
    return arg;
}
static void slow_once(void)
{
    factory_spawn(&slow, run_many, NULL);
    factory_ready();
    for (;;)
        pthread_once(&many[n_many], init_slowly);
}

static void *nap_once(void *arg)
{
    factory_nap(FACTORY_SLOW_MS);
    return arg;
}
static void slow_join(void)
{
    factory_ready();
    for (;;) {
        factory_spawn(&slow, nap_once, NULL);
        pthread_join(slow, NULL);
    }
}
static void *post_late(void *arg)
{
    for (;;) {
        factory_nap(FACTORY_SLOW_MS);
        sem_post(arg);
    }
    return arg;
}
/* On the stack, as near to where libc waits as a caller's can be: what the kernel refused a PI mutex waits on its own, too. */
static void slow_semaphore_on_stack(void)
{
    pthread_t thread;
    sem_t sem;
    sem_init(&sem, 0, 0);
    factory_spawn(&thread, post_late, &sem);
    for (factory_ready();; sem_wait(&sem))
        ;
}

static void *come_late(void *arg)
{
    for (;;) {
        factory_nap(FACTORY_SLOW_MS);
        pthread_barrier_wait(&both);
    }
    return arg;
}
static void slow_barrier(void)
{
    pthread_barrier_init(&both, NULL, 2);
    factory_spawn(&slow, come_late, NULL);
    factory_ready();
    for (;;)
        pthread_barrier_wait(&both);
}

const struct factory_case factory_libc[] = {
    {"cross-recursive", cross_recursive, false},
    {"cross-adaptive", cross_adaptive, false},
    {"cross-robust", cross_robust, false},
    {"cross-pi", cross_pi, false},
    {"cross-pi-at-once", cross_pi_at_once, false},
    {"cross-two-hours", cross_two_hours, false},
    {"cross-timed", cross_timed, false},
    {"cross-clock", cross_clock, false},
    {"cross-rwlock", cross_rwlock, false},
    {"cross-once", cross_once, false},
    {"self-once", self_once, false},
    {"self-pi", self_pi, false},
    {"self-timed", self_timed, false},
    {"join-ring", join_ring, false},
    {"cond-mutex-kept", cond_mutex_kept, false},
    {"sem-cross", sem_cross, false},
    {"slow-recursive", slow_recursive, true},
    {"slow-adaptive", slow_adaptive, true},
    {"slow-robust", slow_robust, true},
    {"slow-pi", slow_pi, true},
    {"slow-timed", slow_timed, true},
    {"slow-writer-lock", slow_writer_lock, true},
    {"slow-reader-lock", slow_reader_lock, true},
    {"self-with-deadline", self_with_deadline, true},
    {"pi-with-deadline", pi_with_deadline, true},
    {"slow-once", slow_once, true},
    {"slow-join", slow_join, true},
    {"slow-barrier", slow_barrier, true},
    {"slow-semaphore-on-stack", slow_semaphore_on_stack, true},
    {NULL, NULL, false},
};
