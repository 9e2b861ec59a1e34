/* fork in a program with threads: the child has the locks of all of them, and one thread. */
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "scenarios/corpus/cases.h"

static struct corpus_mark inside, forked;

/* A worker is forked while another thread writes to the log: in the child the log's lock is taken for ever. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void *write_log(void *arg)
{
    pthread_mutex_lock(&log_lock);
    corpus_tell(&inside);
    corpus_hear(&forked);
    pthread_mutex_unlock(&log_lock);
    return arg;
}
static void take_log(void)
{
    pthread_mutex_lock(&log_lock);
}
static void leave_log(void)
{
    pthread_mutex_unlock(&log_lock);
}

static void forked_log_lock(void)
{
    inside = corpus_mark();
    forked = corpus_mark();
    if (corpus_cured)
        pthread_atfork(take_log, leave_log, leave_log);
    pthread_t writer = corpus_thread(write_log, NULL);
    corpus_hear(&inside);
    if (corpus_cured) /* fork itself now waits until the log is free */
        corpus_tell(&forked);
    pid_t worker = corpus_fork();
    if (worker == 0) {
        take_log();
        leave_log();
        _exit(0);
    }
    if (!corpus_cured)
        corpus_tell(&forked);
    corpus_join(writer);
    corpus_reap(worker, false);
}

/* The same with a lock that no library knows: the page heap's of an allocator, a word of its own. */
static _Atomic uint32_t heap_word; /* 0 free, 1 taken, 2 taken and waited for */

static void take_heap(void)
{
    uint32_t none = 0;
    if (atomic_compare_exchange_strong(&heap_word, &none, 1))
        return;
    while (atomic_exchange(&heap_word, 2))
        syscall(SYS_futex, &heap_word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}
static void leave_heap(void)
{
    if (atomic_exchange(&heap_word, 0) == 2)
        syscall(SYS_futex, &heap_word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void *allocate(void *arg)
{
    take_heap();
    corpus_tell(&inside);
    corpus_hear(&forked);
    leave_heap();
    return arg;
}

static void forked_heap_lock(void)
{
    inside = corpus_mark();
    forked = corpus_mark();
    if (corpus_cured)
        pthread_atfork(take_heap, leave_heap, leave_heap);
    pthread_t allocator = corpus_thread(allocate, NULL);
    corpus_hear(&inside);
    if (corpus_cured)
        corpus_tell(&forked);
    pid_t child = corpus_fork();
    if (child == 0) {
        take_heap();
        leave_heap();
        _exit(0);
    }
    if (!corpus_cured)
        corpus_tell(&forked);
    corpus_join(allocator);
    corpus_reap(child, false);
}

/* And with one inside of libc: a thread converts a time, for which it reads the time zone, when another forks; the child wants
 * to know what time it is. The zone comes from a pipe, so that reading it takes as long as it has to. */
static struct corpus_mark zone;

static void *read_zone(void *arg)
{
    time_t now = 0;
    return localtime(&now) ? arg : NULL;
}

static pthread_t read_zone_slowly(void)
{
    char name[32];
    int unread = 1;
    zone = corpus_mark();
    snprintf(name, sizeof(name), ":/proc/self/fd/%d", zone.ends[0]);
    setenv("TZ", name, 1);
    corpus_tell(&zone);
    pthread_t reader = corpus_thread(read_zone, NULL);
    while (unread) { /* whoever has taken the first byte has libc's lock, and waits for more */
        sched_yield();
        if (ioctl(zone.ends[0], FIONREAD, &unread))
            corpus_die("FIONREAD");
    }
    return reader;
}

static int hour_of(time_t now, const struct tm *before_fork)
{
    struct tm local;
    if (corpus_cured) /* no function that locks */
        return (int)((now + before_fork->tm_gmtoff) / 3600 % 24);
    return localtime_r(&now, &local) ? local.tm_hour : -1;
}

static void forked_time_zone(void)
{
    static const char no_zone[128]; /* more than the head of a zone file, and not one: it is UTC then */
    const struct tm utc = {.tm_gmtoff = 0};
    pthread_t reader = read_zone_slowly();
    pid_t child = corpus_fork();
    if (child == 0)
        _exit(hour_of(3600, &utc) == 1 ? 0 : 1);
    if (write(zone.ends[1], no_zone, sizeof(no_zone)) != sizeof(no_zone))
        corpus_die("write");
    corpus_join(reader);
    corpus_reap(child, false);
}

/* A numerical library has a pool of threads. The child of a fork believes that it has it too, and waits for the answer. */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t asked = PTHREAD_COND_INITIALIZER, answered = PTHREAD_COND_INITIALIZER;
static bool has_pool;
static int questions, answers;

static void *compute(void *arg)
{
    pthread_mutex_lock(&pool_lock);
    for (;;) {
        while (questions == answers)
            pthread_cond_wait(&asked, &pool_lock);
        answers++;
        pthread_cond_signal(&answered);
    }
    return arg;
}

static void multiply(void)
{
    pthread_mutex_lock(&pool_lock);
    if (!has_pool)
        pthread_detach(corpus_thread(compute, NULL));
    has_pool = true;
    questions++;
    pthread_cond_signal(&asked);
    while (answers < questions)
        pthread_cond_wait(&answered, &pool_lock);
    pthread_mutex_unlock(&pool_lock);
}

static void forget_pool(void)
{
    has_pool = false;
    /* Its thread was asleep there. */
    pthread_cond_init(&asked, NULL);
}

static void pool_not_in_child(void)
{
    if (corpus_cured)
        pthread_atfork(NULL, NULL, forget_pool);
    multiply();
    pid_t child = corpus_fork();
    if (child == 0) {
        multiply();
        _exit(0);
    }
    corpus_reap(child, false);
}

/* The child of a fork destroys what it has at its end: also a condition variable on which a thread of its parent waits, for
 * whom the destruction waits too. */
static pthread_cond_t log_changed = PTHREAD_COND_INITIALIZER;
static bool log_ends;

static void *flush_log(void *arg)
{
    pthread_mutex_lock(&log_lock);
    corpus_tell(&inside);
    while (!log_ends)
        pthread_cond_wait(&log_changed, &log_lock);
    pthread_mutex_unlock(&log_lock);
    return arg;
}

static void destroy_log(void)
{
    pthread_cond_destroy(&log_changed);
}

static void destroyed_in_child(void)
{
    inside = corpus_mark();
    pthread_t flusher = corpus_thread(flush_log, NULL);
    corpus_hear(&inside);
    pthread_mutex_lock(&log_lock); /* given up by its wait */
    pid_t child = corpus_fork();
    if (child == 0) {
        if (!corpus_cured)
            destroy_log();
        _exit(0);
    }
    log_ends = true;
    pthread_cond_signal(&log_changed);
    pthread_mutex_unlock(&log_lock);
    corpus_join(flusher);
    corpus_reap(child, false);
    destroy_log();
}

/* A library ends its thread before each fork. The thread wants a lock to end, and who forks has it. */
static pthread_t helper;
static pthread_mutex_t state = PTHREAD_MUTEX_INITIALIZER;
static struct corpus_mark ending;

static void *help(void *arg)
{
    corpus_hear(&ending);
    pthread_mutex_lock(&state);
    pthread_mutex_unlock(&state);
    return arg;
}

static void end_helper(void)
{
    corpus_tell(&ending);
    corpus_join(helper);
}

static void atfork_waits(void)
{
    ending = corpus_mark();
    helper = corpus_thread(help, NULL);
    pthread_atfork(end_helper, NULL, NULL);
    if (!corpus_cured)
        pthread_mutex_lock(&state);
    pid_t child = corpus_fork();
    if (child == 0)
        _exit(0);
    if (corpus_cured)
        pthread_mutex_lock(&state);
    pthread_mutex_unlock(&state);
    corpus_reap(child, false);
}

const struct corpus_case corpus_forks[] = {
    {"forked-log-lock", forked_log_lock},
    {"forked-heap-lock", forked_heap_lock},
    {"forked-time-zone", forked_time_zone},
    {"pool-not-in-child", pool_not_in_child},
    {"destroyed-in-child", destroyed_in_child},
    {"atfork-waits", atfork_waits},
    {NULL, NULL},
};
