/* Telling the user what happens to a pool (events.h). */
#include "pool/events.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "pool/pool.h"

/* One lock per process, as a logging library has it; a forked child has a copy. */
static pthread_mutex_t direct_lock = PTHREAD_MUTEX_INITIALIZER;

int wedge_pool_events_create(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    (void)pool;
    (void)err;
    return 0;
}

void wedge_pool_events_destroy(struct wedge_pool *pool)
{
    (void)pool;
}

void wedge_pool_events_in_child(struct wedge_pool *pool)
{
    if (pool->settings.log == WEDGE_POOL_LOG_RESET)
        pthread_mutex_init(&direct_lock, NULL);
}

void wedge_pool_tell(struct wedge_pool *pool, enum wedge_pool_event_kind kind, unsigned process, unsigned generation,
                     const char *fmt, ...)
{
    char text[201];
    struct timespec now;
    va_list ap;
    if (!pool->callbacks.event)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    clock_gettime(CLOCK_REALTIME, &now);
    struct wedge_pool_event event = {.kind = kind,
                                     .time_ns = now.tv_sec * WEDGE_NS_PER_S + now.tv_nsec,
                                     .process = process,
                                     .generation = generation,
                                     .pid = getpid(),
                                     .text = text};
    pthread_mutex_lock(&direct_lock);
    pool->callbacks.event(&event, pool->callbacks.context);
    pthread_mutex_unlock(&direct_lock);
}
