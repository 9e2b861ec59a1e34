/* Telling the user what happens to a pool (events.h). */
#include "pool/events.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "pool/event_ring.h"
#include "pool/pool.h"

#define LOOK_AGAIN_MS 1000 /* a writer that was killed after its record and before its wake-up delays by no more */
#define BUSY_AGAIN_MS 5

/* Who has the thread's own memory, struct wedge_events: the pool, until destroy gives the thread up inside the callback. */
enum ownership { POOL_OWNS, POOL_OWNS_CALLING, THREAD_OWNS };

struct shared {
    struct wedge_word news; /* bumped after each record; the thread sleeps on it */
    struct wedge_event_ring ring;
};

struct wedge_events {
    struct shared *shared;
    struct wedge_board *board; /* not touched in THREAD_OWNS */
    void (*event)(const struct wedge_pool_event *event, void *context);
    void *context;
    pthread_t thread;
    bool thread_started;
    _Atomic uint32_t ending; /* deliver what is left, then leave */
    _Atomic uint32_t give_up; /* call nobody any more */
    _Atomic uint32_t left; /* the thread is about to end; news is bumped after it */
    _Atomic uint32_t ownership; /* enum ownership; thread: the first two, destroy: the second to the third */
    struct wedge_event_reader reader; /* the thread's, as what follows */
    uint64_t torn_told, lost_told;
};

/* One lock per process, as a logging library has it; a forked child has a copy. */
static pthread_mutex_t direct_lock = PTHREAD_MUTEX_INITIALIZER;

static void free_events(struct wedge_events *events)
{
    if (events->shared)
        munmap(events->shared, sizeof(*events->shared));
    free(events);
}

/* Calls the user. False: to be called no more; the memory may be the thread's own by now. */
static bool deliver(struct wedge_events *events, const struct wedge_pool_event *event)
{
    uint32_t calling = POOL_OWNS_CALLING;
    atomic_store(&events->ownership, POOL_OWNS_CALLING);
    if (!atomic_load(&events->give_up)) /* after the store: destroy sets it, then looks at ownership */
        events->event(event, events->context);
    if (!atomic_compare_exchange_strong(&events->ownership, &calling, POOL_OWNS))
        return false;
    atomic_fetch_add_explicit(&events->board->log_lines, 1, memory_order_relaxed);
    return !atomic_load(&events->give_up);
}

static int64_t realtime_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * WEDGE_NS_PER_S + now.tv_nsec;
}

/* Says how many events were lost since it last said so. */
static bool deliver_losses(struct wedge_events *events)
{
    char text[64];
    uint64_t torn = events->reader.torn - events->torn_told;
    if (torn)
        atomic_fetch_add_explicit(&events->board->log_dropped, torn, memory_order_relaxed);
    events->torn_told += torn;
    uint64_t lost = atomic_load_explicit(&events->board->log_dropped, memory_order_relaxed);
    if (lost == events->lost_told)
        return true;
    snprintf(text, sizeof(text), "%llu events were lost", (unsigned long long)(lost - events->lost_told));
    events->lost_told = lost;
    return deliver(events,
                   &(struct wedge_pool_event){
                       .kind = WEDGE_POOL_EVENT_LOST_EVENTS, .time_ns = realtime_ns(), .pid = getpid(), .text = text});
}

/* One look. False: leave. Woken by whoever tells, by destroy, and by itself. */
static bool deliver_next(struct wedge_events *events)
{
    struct wedge_event_record record;
    uint32_t seen = wedge_word_read(&events->shared->news);
    bool ending = atomic_load(&events->ending); /* before the look: what was told before it is seen by the look */
    enum wedge_event_take took =
        wedge_event_ring_take(&events->shared->ring, &events->reader, wedge_clock_ns(), &record);
    if (!deliver_losses(events))
        return false;
    if (took == WEDGE_EVENT_TAKEN)
        return deliver(events, &(struct wedge_pool_event){.kind = (enum wedge_pool_event_kind)record.kind,
                                                          .time_ns = record.time_ns,
                                                          .process = record.process,
                                                          .generation = record.generation,
                                                          .pid = record.pid,
                                                          .text = record.text});
    if ((took == WEDGE_EVENT_NONE && ending) || atomic_load(&events->give_up))
        return false;
    wedge_word_wait(&events->shared->news, seen, WEDGE_WAIT_FOR_ITEM,
                    wedge_pool_after_ms(took == WEDGE_EVENT_BUSY ? BUSY_AGAIN_MS : LOOK_AGAIN_MS));
    return true;
}

static void *events_main(void *arg)
{
    struct wedge_events *events = arg;
    wedge_pool_name_thread("events");
    while (deliver_next(events))
        ;
    if (atomic_load(&events->ownership) == THREAD_OWNS) {
        free_events(events);
        return NULL;
    }
    atomic_store(&events->left, 1);
    wedge_word_bump(&events->shared->news, INT_MAX);
    return NULL;
}

int wedge_pool_events_create(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    if (!pool->callbacks.event || pool->settings.log != WEDGE_POOL_LOG_QUEUED)
        return 0;
    struct wedge_events *events = calloc(1, sizeof(*events));
    void *map = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!events || map == MAP_FAILED) {
        free(events);
        if (map != MAP_FAILED)
            munmap(map, sizeof(struct shared));
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the events");
    }
    events->shared = map;
    events->board = pool->board;
    events->event = pool->callbacks.event;
    events->context = pool->callbacks.context;
    wedge_event_ring_init(&events->shared->ring);
    pool->events = events;
    return 0;
}

int wedge_pool_events_start(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    struct wedge_events *events = pool->events;
    if (!events)
        return 0;
    int rc = wedge_pool_thread(&events->thread, events_main, events);
    if (rc < 0)
        return wedge_pool_err_set(err, rc, "the events' thread could not be started: %s", strerror(-rc));
    events->thread_started = true;
    return 0;
}

/* Whether the thread has left, or does so by then. Woken by it. */
static bool leaves_by(struct wedge_events *events, int64_t until_ns)
{
    for (;;) {
        uint32_t seen = wedge_word_read(&events->shared->news);
        if (atomic_load(&events->left))
            return true;
        if (wedge_clock_ns() >= until_ns)
            return false;
        wedge_word_wait(&events->shared->news, seen, WEDGE_WAIT_FOR_PEER, until_ns);
    }
}

/* Until the thread has left, or was given up in the user's function. True: what it had is the pool's again. */
static bool end_thread(struct wedge_events *events)
{
    uint32_t calling = POOL_OWNS_CALLING;
    pthread_t thread = events->thread; /* once given up, the rest may be freed at any time */
    atomic_store(&events->ending, 1);
    wedge_word_bump(&events->shared->news, INT_MAX);
    if (!leaves_by(events, wedge_pool_after_ms(WEDGE_EVENTS_END_MS))) {
        atomic_store(&events->give_up, 1);
        if (atomic_compare_exchange_strong(&events->ownership, &calling, THREAD_OWNS)) {
            pthread_detach(thread);
            return false;
        }
        wedge_word_bump(&events->shared->news, INT_MAX);
    }
    pthread_join(thread, NULL); /* at the latest it is between two calls, and makes no other */
    return true;
}

void wedge_pool_events_destroy(struct wedge_pool *pool)
{
    struct wedge_events *events = pool->events;
    pool->events = NULL;
    if (events && (!events->thread_started || end_thread(events)))
        free_events(events);
}

void wedge_pool_events_in_child(struct wedge_pool *pool)
{
    if (pool->settings.log == WEDGE_POOL_LOG_RESET)
        pthread_mutex_init(&direct_lock, NULL);
}

/* Signal safe in glibc for the conversions that events.h names: vsnprintf then works in the caller's buffer and on the
 * stack, without a lock (glibc 2.36, stdio-common/vfprintf-internal.c, libio/vsnprintf.c). */
static void tell_queued(struct wedge_pool *pool, const struct wedge_pool_event *event)
{
    struct wedge_event_ring *ring = &pool->events->shared->ring;
    uint64_t at = wedge_event_ring_claim(ring, event->pid);
    if (at == WEDGE_EVENT_RING_FULL) {
        atomic_fetch_add_explicit(&pool->board->log_dropped, 1, memory_order_relaxed);
        return;
    }
    struct wedge_event_record *record = wedge_event_ring_record(ring, at);
    record->time_ns = event->time_ns;
    record->kind = event->kind;
    record->process = event->process;
    record->generation = event->generation;
    record->pid = event->pid;
    memcpy(record->text, event->text, strlen(event->text) + 1);
    WEDGE_POINT("pool.event.written");
    wedge_event_ring_publish(ring, at, event->pid); /* false: passed over, and counted by the reader */
    wedge_word_bump(&pool->events->shared->news, INT_MAX);
}

void wedge_pool_tell(struct wedge_pool *pool, enum wedge_pool_event_kind kind, unsigned process, unsigned generation,
                     const char *fmt, ...)
{
    char text[WEDGE_EVENT_TEXT + 1];
    int before = errno;
    va_list ap;
    if (!pool->callbacks.event)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct wedge_pool_event event = {.kind = kind,
                                     .time_ns = realtime_ns(),
                                     .process = process,
                                     .generation = generation,
                                     .pid = getpid(),
                                     .text = text};
    if (pool->events) {
        tell_queued(pool, &event);
    } else if (pool->settings.log != WEDGE_POOL_LOG_QUEUED) {
        pthread_mutex_lock(&direct_lock);
        pool->callbacks.event(&event, pool->callbacks.context);
        pthread_mutex_unlock(&direct_lock);
        atomic_fetch_add_explicit(&pool->board->log_lines, 1, memory_order_relaxed);
    }
    errno = before;
}
