/* The public functions: what each preset's parts are, and the order in which a pool's steps happen (<wedge/pool.h>). */
#include "pool/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <wedge/point.h>

#include "pool/events.h"
#include "pool/figures.h"

#define GRACE_MS 1000 /* how far past its deadline a shutdown may go */

int64_t wedge_pool_after_ms(int64_t ms)
{
    return wedge_pool_settings_until(ms);
}

int wedge_pool_create(const char *preset, struct wedge_pool **ret, struct wedge_pool_err *err)
{
    struct wedge_pool_settings settings;
    int rc = wedge_pool_settings_init(&settings, preset, err);
    if (rc < 0)
        return rc;
    struct wedge_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for a pool");
    pool->settings = settings;
    pool->transport = settings.hardened ? &wedge_pool_slots : &wedge_pool_stream;
    pool->keeper = settings.hardened ? &wedge_pool_supervised : &wedge_pool_looks;
    pthread_mutex_init(&pool->lock, NULL);
    for (int i = 0; i < WEDGE_POOL_PROCESSES_MAX; i++)
        pool->seats[i].pidfd = -1;
    *ret = pool;
    return 0;
}

int wedge_pool_set(struct wedge_pool *pool, const char *key_value, struct wedge_pool_err *err)
{
    if (pool->board)
        return wedge_pool_err_set(err, -EBUSY, "'%.60s': a setting cannot change once the pool was started", key_value);
    return wedge_pool_settings_set(&pool->settings, key_value, err);
}

int wedge_pool_setting(const struct wedge_pool *pool, unsigned i, struct wedge_pool_setting *ret)
{
    return wedge_pool_settings_get(&pool->settings, i, ret);
}

int wedge_pool_start(struct wedge_pool *pool, const struct wedge_pool_callbacks *callbacks, struct wedge_pool_err *err)
{
    int rc;
    if (pool->board)
        return wedge_pool_err_set(err, -EBUSY, "the pool was started before");
    if (!callbacks->task)
        return wedge_pool_err_set(err, -EINVAL, "callbacks.task: a pool needs a task function");
    rc = wedge_pool_settings_check(&pool->settings, err);
    if (rc < 0)
        return rc;
    pool->callbacks = *callbacks;
    rc = wedge_pool_board_create(pool, err);
    if (rc == 0)
        rc = wedge_pool_events_create(pool, err);
    if (rc == 0)
        rc = pool->transport->create(pool, err);
    if (rc == 0)
        rc = pool->keeper->start(pool, err); /* forks: before any thread of ours exists */
    if (rc == 0)
        rc = wedge_pool_events_start(pool, err);
    if (rc == 0)
        rc = wedge_pool_collector_start(pool, err);
    if (rc == 0)
        wedge_pool_set_phase(pool, WEDGE_POOL_RUNNING);
    return rc;
}

int wedge_pool_close(struct wedge_pool *pool, int64_t until_ns)
{
    int rc;
    uint32_t running = WEDGE_POOL_RUNNING;
    WEDGE_POINT("pool.close.begin");
    if (wedge_pool_phase_of(pool) == WEDGE_POOL_MADE)
        return -EPIPE;
    if (wedge_pool_phase_of(pool) == WEDGE_POOL_CLOSED)
        return 0;
    pool->keeper->look(pool);
    WEDGE_POINT("pool.close.looked");
    if (atomic_compare_exchange_strong(&pool->phase, &running, WEDGE_POOL_CLOSING))
        atomic_store(&pool->board->phase, WEDGE_POOL_CLOSING);
    rc = pool->keeper->close(pool, until_ns);
    wedge_pool_set_phase(pool, WEDGE_POOL_CLOSED);
    wedge_word_bump(&pool->board->news, INT_MAX);
    WEDGE_POINT("pool.close.done");
    return rc;
}

/* Says what join waited for when its time was up. */
static int join_failed(struct wedge_pool *pool, int code, struct wedge_pool_err *err)
{
    struct wedge_board_thread *collector = &pool->board->collector;
    bool collecting = atomic_load(&collector->doing) == WEDGE_DOING_COLLECT;
    int64_t since_ns = collecting ? atomic_load(&collector->since_ns) : 0;
    unsigned long long open = atomic_load(&pool->board->accepted) - atomic_load(&pool->board->reported);
    if (pool->keeper->any_alive(pool))
        return wedge_pool_err_set(err, code, "workers have not left; %llu tasks are not reported", open);
    if (since_ns)
        return wedge_pool_err_set(err, code, "the collect callback has been running for %lld ms",
                                  (long long)((wedge_clock_ns() - since_ns) / WEDGE_NS_PER_MS));
    return wedge_pool_err_set(err, code, "the collector has not left; %llu tasks are not reported", open);
}

int wedge_pool_join(struct wedge_pool *pool, int64_t until_ns, struct wedge_pool_err *err)
{
    int rc;
    if (wedge_pool_phase_of(pool) == WEDGE_POOL_MADE)
        return wedge_pool_err_set(err, -EPIPE, "the pool was not started");
    rc = wedge_pool_close(pool, until_ns);
    if (rc < 0)
        return wedge_pool_err_set(err, rc, "close: %s", strerror(-rc));
    WEDGE_POINT("pool.join.begin");
    pool->keeper->look(pool);
    rc = pool->keeper->join(pool, until_ns);
    if (rc == 0)
        rc = wedge_pool_collector_join(pool, until_ns);
    return rc < 0 ? join_failed(pool, rc, err) : 0;
}

/* The collector gets a moment to report what the end of the workers settled. */
static int cut_collector(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    int rc = pool->keeper->stop_collector(pool);
    if (rc < 0 && pool->settings.shutdown_steps != WEDGE_POOL_STEPS_ALL)
        return wedge_pool_err_set(err, rc, "no room for the collector's stop mark; the clean-up ends here");
    if (rc < 0)
        pool->transport->cut(pool);
    rc = wedge_pool_collector_join(pool, wedge_pool_after_ms(GRACE_MS));
    return rc < 0 ? join_failed(pool, rc, err) : 0;
}

/*
 * What is left once the time is up. A stream's last step throws away what is in the queues, whether or not the collector has
 * left: its stop mark may be among it (item 1.1c).
 */
static int cut_short(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    bool collects = pool->collector_started && !pool->collector_joined;
    int rc = 0;
    wedge_pool_tell(pool, WEDGE_POOL_EVENT_ENDING, 0, 0, "shutdown ends what is left");
    pool->keeper->end(pool);
    if (wedge_pool_phase_of(pool) != WEDGE_POOL_CLOSED)
        wedge_pool_set_phase(pool, WEDGE_POOL_CLOSED);
    if (collects)
        rc = cut_collector(pool, err);
    if (rc == -ENOBUFS)
        return rc;
    if (pool->transport->drain && (collects || pool->settings.dead_task != WEDGE_POOL_DEAD_TASK_LOST))
        pool->transport->drain(pool);
    if (rc < 0)
        return rc;
    unsigned long long open = atomic_load(&pool->board->accepted) - atomic_load(&pool->board->reported);
    return wedge_pool_err_set(err, -ETIMEDOUT, "cut short; %llu tasks were not reported", open);
}

int wedge_pool_shutdown(struct wedge_pool *pool, int64_t until_ns, struct wedge_pool_err *err)
{
    bool covers_all = pool->settings.hardened || pool->settings.shutdown_covers == WEDGE_POOL_COVERS_ALL;
    int64_t close_ns = covers_all ? until_ns : WEDGE_POOL_NEVER;
    int rc = 0;
    if (wedge_pool_phase_of(pool) == WEDGE_POOL_MADE)
        return wedge_pool_err_set(err, -EPIPE, "the pool was not started");
    if (pool->keeper->drain && wedge_pool_phase_of(pool) == WEDGE_POOL_RUNNING)
        rc = pool->keeper->drain(pool, close_ns);
    if (rc == 0)
        rc = wedge_pool_close(pool, close_ns);
    if (rc == 0)
        rc = wedge_pool_join(pool, until_ns, err);
    return rc == 0 ? 0 : cut_short(pool, err);
}

void wedge_pool_destroy(struct wedge_pool *pool)
{
    if (!pool)
        return;
    if (pool->board) {
        pool->keeper->end(pool);
        atomic_store(&pool->collector_stop, 1);
        pool->transport->cut(pool);
        wedge_pool_collector_join(pool, WEDGE_POOL_NEVER);
        if (pool->keeper->destroy)
            pool->keeper->destroy(pool);
        pool->transport->destroy(pool);
        wedge_pool_events_destroy(pool);
        wedge_pool_board_destroy(pool);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void wedge_pool_stats(const struct wedge_pool *pool, struct wedge_pool_stats *ret)
{
    *ret = (struct wedge_pool_stats){.workers = (unsigned)pool->settings.processes};
    if (pool->board)
        wedge_board_stats(pool->board, ret);
}
