/* Mutexes and reader-writer locks: who takes what while having what. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>
#include <wedge/point.h>

#include "scenarios/corpus/cases.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* Two readers of a cache find an entry missing, and each wants to write it without letting go of its read lock first: each
 * waits for the other to stop reading. */
static pthread_rwlock_t cache = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t both_read;

static void *fill_entry(void *arg)
{
    pthread_rwlock_rdlock(&cache);
    pthread_barrier_wait(&both_read);
    if (corpus_cured)
        pthread_rwlock_unlock(&cache);
    pthread_rwlock_wrlock(&cache);
    pthread_rwlock_unlock(&cache);
    return arg;
}

static void rwlock_upgrade(void)
{
    pthread_barrier_init(&both_read, NULL, 2);
    pthread_t other = corpus_thread(fill_entry, NULL);
    fill_entry(NULL);
    corpus_join(other);
}

/* A reader calls a helper that takes the read lock again. Meanwhile a writer has come, and this lock lets no reader past
 * a writer who waits. */
static pthread_rwlock_t ring;

static void *change_ring(void *arg)
{
    pthread_rwlock_wrlock(&ring);
    pthread_rwlock_unlock(&ring);
    return arg;
}

static void find_owner(void)
{
    if (corpus_cured) /* its caller reads already */
        return;
    pthread_rwlock_rdlock(&ring);
    pthread_rwlock_unlock(&ring);
}

static void rwlock_read_again(void)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&ring, &attr);
    pthread_rwlock_rdlock(&ring);
    pthread_t writer = corpus_thread(change_ring, NULL);
    while (pthread_rwlock_tryrdlock(&ring) == 0) { /* refused once the writer waits */
        pthread_rwlock_unlock(&ring);
        sched_yield();
    }
    find_owner();
    pthread_rwlock_unlock(&ring);
    corpus_join(writer);
}

/* A library calls back with its lock held, and the callback asks the library something. */
static bool connected;

static bool is_connected(void)
{
    pthread_mutex_lock(&mutex);
    bool is = connected;
    pthread_mutex_unlock(&mutex);
    return is;
}

static void on_success(void)
{
    if (!is_connected())
        corpus_die("not connected");
}

static void callback_under_lock(void)
{
    pthread_mutex_lock(&mutex);
    connected = true;
    if (corpus_cured)
        pthread_mutex_unlock(&mutex);
    on_success();
    if (!corpus_cured)
        pthread_mutex_unlock(&mutex);
}

/* A child ends while its parent writes to the log; the handler of SIGCHLD runs on top of it and writes to the log. */
static volatile sig_atomic_t children_ended;

static void write_log(void)
{
    pthread_mutex_lock(&mutex);
    WEDGE_POINT("corpus.logging");
    pthread_mutex_unlock(&mutex);
}

static void child_ended(int number)
{
    (void)number;
    children_ended++;
    if (!corpus_cured)
        write_log();
}

static void handler_logs(void)
{
    struct sigaction action = {.sa_handler = child_ended, .sa_flags = SA_RESTART};
    sigaction(SIGCHLD, &action, NULL);
    write_log();
    if (children_ended && corpus_cured)
        write_log();
}

/* A lookup that fails leaves by a return that does not unlock; the next lookup of the same thread waits for itself. */
static int look_up(const char *name)
{
    pthread_mutex_lock(&mutex);
    if (!*name) {
        if (corpus_cured)
            pthread_mutex_unlock(&mutex);
        return -ENOENT;
    }
    pthread_mutex_unlock(&mutex);
    return 0;
}

static void lock_kept_on_error(void)
{
    if (look_up("") == 0 || look_up("localhost") != 0)
        corpus_die("look_up");
}

/* A thread is cancelled while it reads with a lock held, and nothing gives the lock back. */
static struct corpus_mark reading, silence;

static void unlock(void *lock)
{
    pthread_mutex_unlock(lock);
}

static void read_settings(void)
{
    char byte;
    corpus_tell(&reading);
    if (read(silence.ends[0], &byte, 1) >= 0)
        corpus_die("read");
}

static void *reload(void *arg)
{
    pthread_mutex_lock(&mutex);
    if (corpus_cured) {
        pthread_cleanup_push(unlock, &mutex);
        read_settings();
        pthread_cleanup_pop(1);
    } else {
        read_settings();
        pthread_mutex_unlock(&mutex);
    }
    return arg;
}

static void cancelled_with_lock(void)
{
    reading = corpus_mark();
    silence = corpus_mark();
    pthread_t reloader = corpus_thread(reload, NULL);
    corpus_hear(&reading);
    pthread_cancel(reloader);
    corpus_join(reloader);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}

/* The lock of a file in shared memory is tried first, to see whether it is valid. It is robust and its owner has died:
 * the try gets it, with EOWNERDEAD, is taken for a failure, and keeps it. */
static bool is_valid(pthread_mutex_t *lock)
{
    int rc = pthread_mutex_trylock(lock);
    if (rc == EOWNERDEAD && corpus_cured)
        pthread_mutex_consistent(lock);
    if (rc == 0 || (rc == EOWNERDEAD && corpus_cured))
        pthread_mutex_unlock(lock);
    return rc != EINVAL;
}

static void robust_kept(void)
{
    pthread_mutex_t *lock = corpus_shared_mutex(PTHREAD_MUTEX_NORMAL, true);
    pid_t writer = corpus_fork();
    if (writer == 0) {
        pthread_mutex_lock(lock);
        _exit(0);
    }
    corpus_reap(writer, false);
    if (!is_valid(lock))
        corpus_die("is_valid");
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
}

/* A mutex lies in memory that two processes share, and nobody told it so: the kernel keeps those who wait for it by process,
 * and whoever unlocks it in another one wakes nobody. The first to disturb the waiter (a debugger that stops it, too) makes it look
 * at the word again, and go on to the next time. */
enum { TIMES = 100 };
static pthread_mutex_t *region;
static struct corpus_mark go, wanted, had;

static void share_region(void)
{
    for (int i = 0; i < TIMES; i++) {
        corpus_hear(&go);
        corpus_tell(&wanted);
        pthread_mutex_lock(region);
        pthread_mutex_unlock(region);
        corpus_tell(&had);
    }
}

static void hand_over_region(pid_t peer)
{
    pthread_mutex_lock(region);
    corpus_tell(&go);
    corpus_hear(&wanted);
    while (!corpus_is_asleep(peer)) /* that is, in the lock */
        sched_yield();
    pthread_mutex_unlock(region);
    corpus_hear(&had);
}

static void private_in_shared(void)
{
    region = corpus_cured ? corpus_shared_mutex(PTHREAD_MUTEX_NORMAL, false) : corpus_shared(sizeof(pthread_mutex_t));
    go = corpus_mark();
    wanted = corpus_mark();
    had = corpus_mark();
    pid_t peer = corpus_fork();
    if (peer == 0) {
        share_region();
        _exit(0);
    }
    for (int i = 0; i < TIMES; i++)
        hand_over_region(peer);
    corpus_reap(peer, false);
}

/* Three threads, each with one lock, want the next one's. Events by condition variables see to it that all have theirs
 * first, and hide the circle from a checker that watches the order of locks alone. */
static struct event {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool happened;
} has_lock[3];
static pthread_mutex_t circle[3];

static void happen(struct event *event)
{
    pthread_mutex_lock(&event->lock);
    event->happened = true;
    pthread_cond_broadcast(&event->cond);
    pthread_mutex_unlock(&event->lock);
}

static void wait_for(struct event *event)
{
    pthread_mutex_lock(&event->lock);
    while (!event->happened)
        pthread_cond_wait(&event->cond, &event->lock);
    pthread_mutex_unlock(&event->lock);
}

static void *take_two(void *arg)
{
    long own = (long)arg, other = (own + 1) % 3;
    pthread_mutex_t *first = &circle[own], *second = &circle[other];
    if (corpus_cured && other < own) { /* always the one of the lower number first */
        first = &circle[other];
        second = &circle[own];
    }
    pthread_mutex_lock(first);
    happen(&has_lock[own]);
    if (!corpus_cured)
        wait_for(&has_lock[other]);
    pthread_mutex_lock(second);
    pthread_mutex_unlock(second);
    pthread_mutex_unlock(first);
    return NULL;
}

static void three_way(void)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        pthread_mutex_init(&circle[i], NULL);
        pthread_mutex_init(&has_lock[i].lock, NULL);
        pthread_cond_init(&has_lock[i].cond, NULL);
    }
    for (long i = 0; i < 3; i++)
        threads[i] = corpus_thread(take_two, (void *)i);
    for (int i = 0; i < 3; i++)
        corpus_join(threads[i]);
}

const struct corpus_case corpus_locks[] = {
    {"rwlock-upgrade", rwlock_upgrade},
    {"rwlock-read-again", rwlock_read_again},
    {"callback-under-lock", callback_under_lock},
    {"handler-logs", handler_logs},
    {"lock-kept-on-error", lock_kept_on_error},
    {"cancelled-with-lock", cancelled_with_lock},
    {"robust-kept", robust_kept},
    {"private-in-shared", private_in_shared},
    {"three-way", three_way},
    {NULL, NULL},
};
