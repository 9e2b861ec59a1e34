/*
 * The watchdog's thread: sleeps, looks at two counters, and asks when they stand still.
 *
 *   SLEEP ──check_ms──> moved? ──yes──> SLEEP, the pause between examinations is the shortest again
 *                         │ no, and the pause is over
 *                         └──> ASK (detector/library/ask.h) ──hang, a new one──> callback, or kept for a poll
 *
 * `lock` guards `kept`, `error` and `stop`; `wake` tells the thread of `stop`. Nothing is held while it asks or calls.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "detector/library/ask.h"

#define MS_NS        1000000ll
#define MOST_PAUSE   (60000 * MS_NS)
#define NEVER_STILL  (30000 * MS_NS)
#define LEAST_PAUSES 10 /* a pause is never less than that many times what the last examination took */

struct wedge_watchdog {
    struct wedge_watchdog_options options;
    pid_t pid; /* whose thread it is: not a forked child's */
    pthread_t thread;
    _Atomic uint64_t beats;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
    struct wedge_result *kept;
    char error[256];
    /* The thread's own. */
    char told[128]; /* signature and kind of the hang that was told last */
};

static int64_t clock_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000 * MS_NS + ts.tv_nsec;
}

/* What the process has used, without this thread: its own waking is no moving. */
static int64_t others_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void tell(struct wedge_watchdog *w, struct wedge_result *result)
{
    char words[128];
    snprintf(words, sizeof(words), "%s %s", wedge_result_kind(result), wedge_result_signature(result));
    if (!wedge_result_is_hang(result)) {
        w->told[0] = 0;
        wedge_result_free(result);
        return;
    }
    bool known = strcmp(words, w->told) == 0;
    snprintf(w->told, sizeof(w->told), "%s", words);
    if (!known && w->options.on_hang)
        w->options.on_hang(result, w->options.arg);
    if (known || w->options.on_hang) {
        wedge_result_free(result);
        return;
    }
    pthread_mutex_lock(&w->lock);
    struct wedge_result *before = w->kept;
    w->kept = result;
    pthread_mutex_unlock(&w->lock);
    wedge_result_free(before);
}

static void examine(struct wedge_watchdog *w, int64_t stalled_ns)
{
    char why[sizeof(w->error)] = "";
    struct wedge_result *result = NULL;
    const struct wedge_ask ask = {.blind = gettid(),
                                  .flags = w->options.flags,
                                  .deadline_ms = w->options.deadline_ms,
                                  .stalled_ms = (int)(stalled_ns / MS_NS)};
    int rc = wedge_library_ask(&ask, &result, why, sizeof(why));
    pthread_mutex_lock(&w->lock);
    memcpy(w->error, why, sizeof(why));
    pthread_mutex_unlock(&w->lock);
    if (!rc)
        tell(w, result);
}

/* Sleeps; true: it is to end. The condition's clock is CLOCK_MONOTONIC: a new time of day is no reason to wake. */
static bool nap(struct wedge_watchdog *w)
{
    int64_t until = clock_ns(CLOCK_MONOTONIC) + w->options.check_ms * MS_NS;
    const struct timespec ts = {.tv_sec = until / (1000 * MS_NS), .tv_nsec = until % (1000 * MS_NS)};
    pthread_mutex_lock(&w->lock);
    while (!w->stop && pthread_cond_timedwait(&w->wake, &w->lock, &ts) != ETIMEDOUT)
        ;
    bool stop = w->stop;
    pthread_mutex_unlock(&w->lock);
    return stop;
}

static void *watch(void *arg)
{
    struct wedge_watchdog *w = arg;
    uint64_t beats = 0;
    const int64_t check_ns = w->options.check_ms * MS_NS, stall_ns = w->options.stall_ms * MS_NS;
    int64_t cpu = -1, beat_at = clock_ns(CLOCK_MONOTONIC), slept_at = beat_at, pause = check_ns, next = 0;
    int64_t examined_at = beat_at; /* the end of the last examination */
    while (!nap(w)) {
        int64_t now = clock_ns(CLOCK_MONOTONIC), cpu_now = others_cpu_ns();
        uint64_t beats_now = atomic_load_explicit(&w->beats, memory_order_relaxed);
        /* Far overslept: all of the process stood still (a suspended or paused machine, SIGSTOP), which is no hang. */
        bool paused = now - slept_at > 2 * check_ns + 1000 * MS_NS;
        bool still = cpu_now == cpu && beats_now == beats && !paused;
        if (beats_now != beats || paused)
            beat_at = now;
        slept_at = now;
        cpu = cpu_now;
        beats = beats_now;
        int64_t stalled = beats && now - beat_at >= stall_ns ? now - beat_at : 0;
        bool long_ago = now - examined_at >= NEVER_STILL; /* something in it always moves a little */
        if (!still && !stalled && !long_ago) {
            pause = check_ns;
            continue;
        }
        if (now < next)
            continue;
        examine(w, stalled);
        slept_at = examined_at = clock_ns(CLOCK_MONOTONIC);
        cpu = others_cpu_ns();
        pause = 2 * pause < MOST_PAUSE ? 2 * pause : MOST_PAUSE;
        if (pause < LEAST_PAUSES * (slept_at - now))
            pause = LEAST_PAUSES * (slept_at - now);
        next = slept_at + pause;
    }
    return NULL;
}

static int start_thread(struct wedge_watchdog *w)
{
    sigset_t all, before;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&w->lock, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the program's: the thread inherits this */
    int rc = -pthread_create(&w->thread, NULL, watch, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!rc)
        pthread_setname_np(w->thread, "wedge-watchdog");
    return rc;
}

int wedge_watchdog_start(const struct wedge_watchdog_options *options, struct wedge_watchdog **ret)
{
    if (!options || options->size != sizeof(*options) || options->check_ms < 0 || options->stall_ms < 0 ||
        options->deadline_ms < 0 || (options->check_ms > 0 && options->check_ms < 10))
        return -EINVAL;
    struct wedge_watchdog *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->options = *options;
    w->options.check_ms = options->check_ms ? options->check_ms : 1000;
    w->options.stall_ms = options->stall_ms ? options->stall_ms : 30000;
    w->pid = getpid();
    int rc = start_thread(w);
    if (rc)
        free(w);
    else
        *ret = w;
    return rc;
}

void wedge_watchdog_beat(struct wedge_watchdog *watchdog)
{
    atomic_fetch_add_explicit(&watchdog->beats, 1, memory_order_relaxed);
}

struct wedge_result *wedge_watchdog_poll(struct wedge_watchdog *watchdog)
{
    pthread_mutex_lock(&watchdog->lock);
    struct wedge_result *result = watchdog->kept;
    watchdog->kept = NULL;
    pthread_mutex_unlock(&watchdog->lock);
    return result;
}

void wedge_watchdog_error(struct wedge_watchdog *watchdog, char *buf, size_t bytes)
{
    pthread_mutex_lock(&watchdog->lock);
    snprintf(buf, bytes, "%s", watchdog->error);
    pthread_mutex_unlock(&watchdog->lock);
}

void wedge_watchdog_stop(struct wedge_watchdog *watchdog)
{
    if (!watchdog)
        return;
    if (watchdog->pid == getpid()) { /* in a forked child there is no thread, and the lock may be held for ever */
        pthread_mutex_lock(&watchdog->lock);
        watchdog->stop = true;
        pthread_cond_signal(&watchdog->wake);
        pthread_mutex_unlock(&watchdog->lock);
        pthread_join(watchdog->thread, NULL);
        pthread_cond_destroy(&watchdog->wake);
        pthread_mutex_destroy(&watchdog->lock);
    }
    wedge_result_free(watchdog->kept);
    free(watchdog);
}
