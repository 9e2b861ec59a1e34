/*
 * The results' side in the parent: taking one, when nothing more will come, counting, and the collector thread.
 *
 * When the results end is a setting (collector_leaves) for streams: by their marks, and perhaps also when no worker is
 * left or all is accounted for. In `hardened` it is the accounts alone: each accepted task is reported.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <wedge/point.h>

#include "pool/pool.h"

/* hardened looks at its accounts at least this often while it waits; a lost wake-up costs no more than this. */
#define LOOK_AGAIN_MS 1000
#define COLLECT_BATCH 32

static bool all_accounted(struct wedge_pool *pool)
{
    /* Read in this order: `accepted` no longer grows once closed, so equal counts mean that all is reported. More than
     * all: timeouts=repeated counts what comes late, and a collector that leaves by the accounts then leaves too early. */
    return wedge_pool_phase_of(pool) == WEDGE_POOL_CLOSED &&
           atomic_load(&pool->board->reported) >= atomic_load(&pool->board->accepted);
}

/*
 * Closed, and nobody is left who could write. The order matters: who is dead writes no more, then look. With dead_task=lost
 * the parent has the last word about what the dead had, and the results end after it, not before. Under semaphores that word may
 * wait for ever for a lock that died: there it is not waited for.
 */
static bool nobody_left(struct wedge_pool *pool)
{
    bool last_word = pool->settings.dead_task == WEDGE_POOL_DEAD_TASK_LOST &&
                     pool->settings.queue_lock == WEDGE_POOL_QUEUE_LOCK_OWNED;
    if (!wedge_pool_is_closed(pool) || (last_word && wedge_pool_phase_of(pool) != WEDGE_POOL_CLOSED) ||
        pool->keeper->any_alive(pool) || (last_word && pool->keeper->tell_rest(pool) > 0))
        return false;
    return pool->transport->empty(pool);
}

/* Whether nothing more will come. */
bool wedge_pool_results_ended(struct wedge_pool *pool)
{
    int64_t leaves = pool->settings.collector_leaves;
    if (atomic_load(&pool->collector_stop))
        return true;
    if (pool->settings.hardened)
        return all_accounted(pool);
    if (pool->marks_seen >= pool->settings.processes * pool->settings.threads)
        return true;
    if ((leaves & WEDGE_POOL_LEAVES_ACCOUNTED) && all_accounted(pool))
        return true;
    return (leaves & WEDGE_POOL_LEAVES_NO_WORKERS) && nobody_left(pool);
}

int wedge_pool_results_next(struct wedge_pool *pool, struct wedge_pool_item *ret, unsigned n, int64_t until_ns)
{
    int64_t wait_ms = pool->settings.hardened ? LOOK_AGAIN_MS : pool->settings.collector_wait_ms;
    while (!wedge_pool_results_ended(pool)) {
        int rc =
            pool->settings.hardened ? pool->transport->take(pool, ret, n, 0) : -ETIMEDOUT; /* no clock, if it can be */
        if (rc == -ETIMEDOUT)
            rc = pool->transport->take(pool, ret, n, wedge_pool_earlier(until_ns, wedge_pool_settings_until(wait_ms)));
        if (rc == -ETIMEDOUT) {
            if (until_ns != WEDGE_POOL_NEVER && wedge_clock_ns() >= until_ns)
                return wedge_pool_results_ended(pool) ? -ENODATA : -ETIMEDOUT;
            continue;
        }
        if (rc < 0)
            return rc;
        if (!ret->mark) /* marks come one at a time */
            return rc;
        if (ret->result.code != 0) /* shutdown's own mark: all workers are gone */
            return -ENODATA;
        pool->marks_seen++;
    }
    return -ENODATA;
}

void wedge_pool_results_count(struct wedge_pool *pool, const struct wedge_pool_item *item)
{
    atomic_fetch_add(&pool->board->outcomes[item->result.outcome], 1);
    atomic_fetch_add(&pool->board->reported, 1);
}

void wedge_pool_results_done(struct wedge_pool *pool, struct wedge_pool_item *item)
{
    pool->transport->release(pool, item);
    WEDGE_PROGRESS(1);
}

/* What the collector does, since when: the coarse clock is off by a tick of the kernel's, and one is read per result. */
static void collector_does(struct wedge_pool *pool, enum wedge_doing doing, uint64_t task)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    int64_t since_ns = now.tv_sec * WEDGE_NS_PER_S + now.tv_nsec, limit_ms = pool->settings.collector_limit_ms;
    bool limited = doing == WEDGE_DOING_COLLECT && limit_ms >= 0;
    wedge_board_does(&pool->board->collector, doing, since_ns,
                     limited ? since_ns + limit_ms * WEDGE_NS_PER_MS : WEDGE_POOL_NEVER, task);
}

static void collect_one(struct wedge_pool *pool, struct wedge_pool_item *item)
{
    wedge_pool_results_count(pool, item);
    WEDGE_POINT("pool.collector.took");
    collector_does(pool, WEDGE_DOING_COLLECT, item->result.id);
    WEDGE_CALLBACK_BEGIN("collect", pool->callbacks.collect, 0);
    pool->callbacks.collect(&item->result, pool->callbacks.context);
    WEDGE_CALLBACK_END("collect");
    WEDGE_POINT("pool.collector.done");
    wedge_pool_results_done(pool, item);
}

/* Takes a batch and hands out each result by itself; its slot is free as soon as that one is through, so that a slow
 * callback holds up nobody's room but its own. */
static void *collector_main(void *arg)
{
    struct wedge_pool *pool = arg;
    struct wedge_pool_item items[COLLECT_BATCH];
    int n;
    wedge_pool_name_thread("collector");
    collector_does(pool, WEDGE_DOING_WAIT_RESULT, 0);
    while ((n = wedge_pool_results_next(pool, items, COLLECT_BATCH, WEDGE_POOL_NEVER)) > 0) {
        for (int i = 0; i < n && !atomic_load(&pool->collector_stop); i++)
            collect_one(pool, &items[i]);
        collector_does(pool, WEDGE_DOING_WAIT_RESULT, 0);
    }
    collector_does(pool, WEDGE_DOING_NOTHING, 0);
    atomic_store(&pool->collector_left, 1);
    wedge_word_bump(&pool->board->news, INT_MAX);
    return NULL;
}

int wedge_pool_collector_start(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    int rc;
    if (!pool->callbacks.collect)
        return 0;
    rc = wedge_pool_thread(&pool->collector, collector_main, pool);
    if (rc < 0)
        return wedge_pool_err_set(err, rc, "the collector thread could not be started: %s", strerror(-rc));
    pool->collector_started = true;
    return 0;
}

/* Without a deadline a plain pthread_join: who waits for whom is then to be read off the wait itself. With one the collector
 * says that it leaves: ThreadSanitizer knows pthread_join, and not pthread_clockjoin_np. */
int wedge_pool_collector_join(struct wedge_pool *pool, int64_t until_ns)
{
    if (!pool->collector_started || pool->collector_joined)
        return 0;
    while (until_ns != WEDGE_POOL_NEVER) { /* woken by the collector that leaves */
        uint32_t seen = wedge_word_read(&pool->board->news);
        if (atomic_load(&pool->collector_left))
            break;
        if (wedge_clock_ns() >= until_ns)
            return -ETIMEDOUT;
        wedge_word_wait(&pool->board->news, seen, WEDGE_WAIT_FOR_PEER, until_ns);
    }
    pthread_join(pool->collector, NULL);
    pool->collector_joined = true;
    return 0;
}
