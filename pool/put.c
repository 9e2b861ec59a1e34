/* Putting tasks and taking results: the two calls that happen once per task (<wedge/pool.h>). */
#include <errno.h>
#include <string.h>

#include <wedge/point.h>

#include "pool/pool.h"

/* hardened: counts itself in, so that close knows when the last put is complete. False: closed. */
static bool put_begins(struct wedge_pool *pool)
{
    atomic_fetch_add(&pool->putters, 1);
    if (wedge_pool_phase_of(pool) == WEDGE_POOL_RUNNING)
        return true;
    atomic_fetch_sub(&pool->putters, 1);
    return false;
}

static void put_ends(struct wedge_pool *pool)
{
    atomic_fetch_sub(&pool->putters, 1);
    if (wedge_pool_is_closed(pool))
        wedge_word_bump(&pool->board->news, INT_MAX);
}

int wedge_pool_put(struct wedge_pool *pool, const void *data, size_t bytes, int64_t until_ns, uint64_t *ret_id)
{
    struct wedge_pool_input input = {.data = data, .bytes = bytes};
    int rc;
    WEDGE_POINT("pool.put.begin");
    if (bytes > (size_t)pool->settings.payload_bytes)
        return -EMSGSIZE;
    do {
        if (!put_begins(pool))
            return -EPIPE;
        pool->keeper->look(pool);
        rc = pool->transport->put(pool, &input, 1, wedge_pool_earlier(until_ns, pool->keeper->look_again_ns(pool)));
        if (rc > 0) {
            atomic_fetch_add(&pool->board->accepted, 1);
            if (ret_id)
                *ret_id = input.id;
        }
        put_ends(pool);
    } while (rc == -ETIMEDOUT && (until_ns == WEDGE_POOL_NEVER || wedge_clock_ns() < until_ns));
    return rc < 0 ? rc : 0;
}

int wedge_pool_take(struct wedge_pool *pool, struct wedge_pool_result *ret, void *buffer, size_t room, int64_t until_ns)
{
    struct wedge_pool_item item;
    int rc;
    if (!pool->board || pool->callbacks.collect)
        return -EINVAL;
    atomic_fetch_add(&pool->takers, 1);
    rc = wedge_pool_results_next(pool, &item, until_ns);
    atomic_fetch_sub(&pool->takers, 1);
    if (rc < 0)
        return rc;
    size_t bytes = item.result.bytes < room ? item.result.bytes : room;
    if (bytes)
        memcpy(buffer, item.result.data, bytes);
    *ret = item.result;
    ret->data = buffer;
    wedge_pool_results_done(pool, &item);
    return 0;
}
