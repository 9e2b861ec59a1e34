/*
 * Cases about what libc's objects look like from outside: every kind of lock, hung and slow, and words that merely look
 * like a lock.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

enum { SLOW_MS = 30 };
#define CENTURY_S (100ll * 365 * 86400)

static pthread_mutex_t locks[2];
static pthread_rwlock_t rwlocks[2] = {PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER};
static pthread_once_t once_controls[2] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};
static FILE *files[2];
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

static void cross(void (*fn)(int))
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
    cross(take_mutex);
}
static void cross_adaptive(void)
{
    make_locks(PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    cross(take_mutex);
}
static void cross_robust(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
    cross(take_mutex);
}
/* The kernel refuses the second one with EDEADLK, and glibc then sleeps for ever on a word of its own stack. */
static void cross_pi(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    cross(take_mutex);
}

static void take_mutex_until(int which)
{
    struct timespec until = in_a_century(CLOCK_REALTIME);
    pthread_mutex_timedlock(&locks[which], &until);
}
static void cross_timed(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    cross(take_mutex_until);
}
static void take_mutex_by_clock(int which)
{
    struct timespec until = in_a_century(CLOCK_MONOTONIC);
    pthread_mutex_clocklock(&locks[which], CLOCK_MONOTONIC, &until);
}
static void cross_clock(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    cross(take_mutex_by_clock);
}

static void take_to_write(int which)
{
    pthread_rwlock_wrlock(&rwlocks[which]);
}
static void cross_rwlock(void)
{
    cross(take_to_write);
}

static void take_file(int which)
{
    flockfile(files[which]);
}
static void cross_files(void)
{
    for (int i = 0; i < 2; i++)
        if (!(files[i] = fopen("/dev/null", "w")))
            factory_die("fopen");
    cross(take_file);
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

/* ---- locks inside of libc ---- */

static void *print(void *arg)
{
    printf(".");
    return arg;
}
static void file_and_join(void)
{
    pthread_t thread;
    flockfile(stdout);
    factory_spawn(&thread, print, NULL);
    factory_ready();
    pthread_join(thread, NULL);
}

static void *take_file_and_end(void *arg)
{
    take_file(0);
    return arg;
}
static void file_abandoned(void)
{
    pthread_t thread;
    if (!(files[0] = fopen("/dev/null", "w")))
        factory_die("fopen");
    factory_spawn(&thread, take_file_and_end, NULL);
    pthread_join(thread, NULL);
    factory_ready();
    take_file(0);
}

static char fifo[64];
static _Atomic pid_t zone_reader;

/* Until that thread is in openat(), by which it waits for a FIFO's other end. */
static void until_it_opens(pid_t tid)
{
    char path[64], text[16];
    for (;;) {
        snprintf(path, sizeof(path), "/proc/%d/syscall", (int)tid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
        close(fd);
        if (got > 4 && strncmp(text, "257 ", 4) == 0)
            return;
        sched_yield();
    }
}
/* From here on tzset() reads the zone from a FIFO that nobody writes, and has libc's own lock meanwhile. */
static void make_zone(void)
{
    char name[80];
    snprintf(fifo, sizeof(fifo), "/tmp/wedge-factory-%d", (int)getpid());
    if (mkfifo(fifo, 0600))
        factory_die("mkfifo");
    snprintf(name, sizeof(name), ":%s", fifo);
    setenv("TZ", name, 1);
}
static void *read_zone(void *arg)
{
    zone_reader = gettid();
    tzset();
    return arg;
}
static void take_zone_lock(void)
{
    pthread_t thread;
    make_zone();
    factory_spawn(&thread, read_zone, NULL);
    while (!zone_reader)
        sched_yield();
    until_it_opens(zone_reader);
}
static void use_zone(void)
{
    time_t now = 0;
    struct tm tm;
    localtime(&now);
    localtime_r(&now, &tm);
}

/* In the child of a fork the lock is taken by a thread that is not there. */
static void zone_forked(void)
{
    take_zone_lock();
    unlink(fifo);
    pid_t pid = factory_child();
    if (pid == 0) {
        use_zone();
        _exit(0);
    }
    factory_ready();
    waitpid(pid, NULL, 0);
}

static void use_zone_in_handler(int number)
{
    (void)number;
    use_zone();
}
/* A handler interrupts tzset() and calls what needs the same lock. */
static void zone_in_handler(void)
{
    struct sigaction action = {.sa_handler = use_zone_in_handler, .sa_flags = SA_RESTART};
    pid_t parent = getpid();
    sigaction(SIGUSR1, &action, NULL);
    make_zone();
    if (factory_child() == 0) {
        until_it_opens(parent);
        unlink(fifo);
        factory_ready();
        kill(parent, SIGUSR1);
        _exit(0);
    }
    tzset();
}

/* A constructor waits for a thread that needs the loader's lock. */
static void load(void)
{
    factory_ready();
    if (!dlopen(WEDGE_FACTORY_PLUGIN, RTLD_NOW))
        factory_die(dlerror());
}

/* ---- after fork ---- */

static void *hold_and_sleep(void *arg)
{
    take_mutex(0);
    pthread_barrier_wait(&both);
    for (;;)
        factory_nap(SLOW_MS);
    return arg;
}
static void forked(void)
{
    pthread_t thread;
    pthread_barrier_init(&both, NULL, 2);
    factory_spawn(&thread, hold_and_sleep, NULL);
    pthread_barrier_wait(&both);
    pid_t pid = factory_child();
    if (pid == 0) {
        take_mutex(0);
        _exit(0);
    }
    factory_ready();
    waitpid(pid, NULL, 0);
}
static void forked_robust(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
    forked();
}
static void forked_recursive(void)
{
    make_locks(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    forked();
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

/* ---- raw words ---- */

static _Atomic uint32_t words[16];

static long futex(void *word, int op, uint32_t val, const void *timeout_or_val2, void *other, uint32_t val3)
{
    return syscall(SYS_futex, word, op, val, timeout_or_val2, other, val3);
}
static void *wait_on_word(void *arg)
{
    while (words[0] == 0)
        futex(&words[0], FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return arg;
}
/* Whoever set the word did not say so. */
static void word_without_wake(void)
{
    pthread_t thread;
    factory_spawn(&thread, wait_on_word, NULL);
    while (futex(&words[0], FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)1, &words[0], 0) < 1)
        sched_yield(); /* moves it from the word to the same word: 1 once it sleeps */
    words[0] = 1;
    factory_ready();
    pthread_join(thread, NULL);
}

/* struct futex_waitv of <linux/futex.h>, Linux 5.16; Debian 12's headers have it, others may not. */
struct any_word {
    uint64_t val, address;
    uint32_t flags, reserved;
};
enum { CALL_FUTEX_WAITV = 449, WORD_32_PRIVATE = 2 | FUTEX_PRIVATE_FLAG };
static long wait_for_any(const struct timespec *until)
{
    struct any_word any[2] = {{0, (uintptr_t)&words[0], WORD_32_PRIVATE, 0},
                              {0, (uintptr_t)&words[1], WORD_32_PRIVATE, 0}};
    return syscall(CALL_FUTEX_WAITV, any, 2, 0, until, CLOCK_MONOTONIC);
}
static void waitv_alone(void)
{
    factory_ready();
    while (wait_for_any(NULL) < 0)
        ;
}

/* ---- healthy ---- */

static pthread_t slow;

/* Takes number 0 and gives it back after a while, again and again; the main thread wants it in between. */
static void (*give)(int which);
static void *be_slow(void *arg)
{
    for (;;) {
        take(0);
        factory_nap(SLOW_MS);
        give(0);
        factory_nap(1);
    }
    return arg;
}
static void beside_slow(void (*taking)(int), void (*giving)(int))
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
    beside_slow(take_mutex, give_mutex);
}
static void slow_adaptive(void)
{
    make_locks(PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    beside_slow(take_mutex, give_mutex);
}
static void slow_robust(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
    beside_slow(take_mutex, give_mutex);
}
static void slow_pi(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    beside_slow(take_mutex, give_mutex);
}
static void slow_timed(void)
{
    make_locks(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    beside_slow(take_mutex_until, give_mutex);
}
static void give_rwlock(int which)
{
    pthread_rwlock_unlock(&rwlocks[which]);
}
static void slow_writer_lock(void)
{
    beside_slow(take_to_write, give_rwlock);
}
static void *read_slowly(void *arg)
{
    for (;;) {
        pthread_rwlock_rdlock(&rwlocks[0]);
        factory_nap(SLOW_MS);
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
static void give_file(int which)
{
    funlockfile(files[which]);
}
/* Its owner is a pointer, half of which looks like the number of a thread that is gone. */
static void slow_file(void)
{
    if (!(files[0] = fopen("/dev/null", "w")))
        factory_die("fopen");
    beside_slow(take_file, give_file);
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

static pthread_once_t many[4096];
static _Atomic int n_many;
static void init_slowly(void)
{
    factory_nap(SLOW_MS);
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
    factory_nap(SLOW_MS);
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
static void *come_late(void *arg)
{
    for (;;) {
        factory_nap(SLOW_MS);
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

/* The owner of a robust mutex dies each time; who waits for it gets it from the kernel. */
static void robust_handover(void)
{
    pthread_mutex_t *m = factory_mutexes(1, PTHREAD_MUTEX_NORMAL, 1);
    factory_ready();
    for (;;) {
        pid_t pid = factory_child();
        if (pid == 0) {
            if (pthread_mutex_lock(m) == EOWNERDEAD)
                pthread_mutex_consistent(m);
            factory_nap(SLOW_MS);
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

/* The zone comes in the end: whoever has the lock waits for another process. */
static void slow_zone(void)
{
    take_zone_lock();
    if (factory_child() == 0) {
        factory_nap(20 * SLOW_MS);
        close(open(fifo, O_WRONLY | O_CLOEXEC));
        unlink(fifo);
        _exit(0);
    }
    factory_ready();
    use_zone();
    for (;;)
        factory_nap(SLOW_MS);
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

/* What Rust's mutex looks like from outside: 2 is "taken, and somebody waits", and what lies behind is data. */
static void take_word(int which)
{
    uint32_t free_word = 0;
    if (atomic_compare_exchange_strong(&words[which], &free_word, 1))
        return;
    while (atomic_exchange(&words[which], 2))
        futex(&words[which], FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}
static void give_word(int which)
{
    atomic_store(&words[which], 0);
    futex(&words[which], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
static void looks_like_a_mutex(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    words[2] = (uint32_t)pid; /* where a mutex has its owner: the number of one who is gone */
    words[3] = 1;
    beside_slow(take_word, give_word);
}
/* Two such locks, crosswise. */
static void cross_words(void)
{
    cross(take_word);
}

static void *wake_any(void *arg)
{
    for (;;) {
        factory_nap(SLOW_MS);
        futex(&words[1], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return arg;
}
static void slow_waitv(void)
{
    factory_spawn(&slow, wake_any, NULL);
    factory_ready();
    for (;;)
        wait_for_any(NULL);
}

/* It goes to sleep on a word of its own, is moved to another one that is shared, and is woken there by another
 * process. Who moved it has gone meanwhile. */
static void *move_word(void *there)
{
    while (futex(&words[0], FUTEX_CMP_REQUEUE, 0, (void *)1, there, 0) < 1)
        sched_yield();
    return NULL;
}
static void requeued(void)
{
    void *there = factory_shared(4096);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(SLOW_MS);
            futex(there, FUTEX_WAKE, 1, NULL, NULL, 0);
        }
    factory_ready();
    for (;;) {
        factory_spawn(&slow, move_word, there);
        futex(&words[0], FUTEX_WAIT, 0, NULL, NULL, 0);
        pthread_join(slow, NULL);
    }
}

const struct factory_case factory_libc[] = {
    {"cross-recursive", cross_recursive, false},
    {"cross-adaptive", cross_adaptive, false},
    {"cross-robust", cross_robust, false},
    {"cross-pi", cross_pi, false},
    {"cross-timed", cross_timed, false},
    {"cross-clock", cross_clock, false},
    {"cross-rwlock", cross_rwlock, false},
    {"cross-files", cross_files, false},
    {"cross-once", cross_once, false},
    {"self-once", self_once, false},
    {"self-pi", self_pi, false},
    {"self-timed", self_timed, false},
    {"join-ring", join_ring, false},
    {"cond-mutex-kept", cond_mutex_kept, false},
    {"sem-cross", sem_cross, false},
    {"file-and-join", file_and_join, false},
    {"file-abandoned", file_abandoned, false},
    {"zone-forked", zone_forked, false},
    {"zone-in-handler", zone_in_handler, false},
    {"load", load, false},
    {"forked-robust", forked_robust, false},
    {"forked-recursive", forked_recursive, false},
    {"shared-pi", shared_pi, false},
    {"released-without-wake", released_without_wake, false},
    {"word-without-wake", word_without_wake, false},
    {"waitv-alone", waitv_alone, false},
    {"cross-words", cross_words, false},
    {"slow-recursive", slow_recursive, true},
    {"slow-adaptive", slow_adaptive, true},
    {"slow-robust", slow_robust, true},
    {"slow-pi", slow_pi, true},
    {"slow-timed", slow_timed, true},
    {"slow-writer-lock", slow_writer_lock, true},
    {"slow-reader-lock", slow_reader_lock, true},
    {"slow-file", slow_file, true},
    {"self-with-deadline", self_with_deadline, true},
    {"slow-once", slow_once, true},
    {"slow-join", slow_join, true},
    {"slow-barrier", slow_barrier, true},
    {"robust-handover", robust_handover, true},
    {"slow-zone", slow_zone, true},
    {"segment-semaphore", segment_semaphore, true},
    {"looks-like-a-mutex", looks_like_a_mutex, true},
    {"slow-waitv", slow_waitv, true},
    {"requeued", requeued, true},
    {NULL, NULL, false},
};
