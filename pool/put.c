/* Putting tasks and taking results: the two calls that happen once per task (<wedge/pool.h>). */
#include <errno.h>
#include <string.h>

#include <wedge/point.h>

#include "pool/pool.h"
#include "pool/slots.h"

/* How many results one take asks the transport for: the items stand on the stack. */
#define TAKE_BATCH 64

/* hardened: counts itself in, so that close knows when the last put is complete. False: closed. */
static bool put_begins(struct wedge_pool *pool)
{
    atomic_fetch_add(&pool->putters, 1);
    if (wedge_pool_phase_of(pool) == WEDGE_POOL_RUNNING)
        return true;
    atomic_fetch_sub(&pool->putters, 1);
    return false;
}

void wedge_pool_put_ends(struct wedge_pool *pool)
{
    atomic_fetch_sub(&pool->putters, 1);
    if (wedge_pool_is_closed(pool))
        wedge_word_bump(&pool->board->news, INT_MAX);
}

/* At least the first of them, or why not. Between two looks of a stream the transport waits for a part of the time: what
 * the put waited is the sum of all. */
static int put_some(struct wedge_pool *pool, struct wedge_pool_input *inputs, unsigned n, int64_t until_ns)
{
    int64_t waited_ns = 0;
    int rc;
    do {
        rc = -EPIPE;
        if (!put_begins(pool))
            break;
        waited_ns += pool->keeper->look(pool);
        rc = pool->transport->put(pool, inputs, n, wedge_pool_earlier(until_ns, pool->keeper->look_again_ns(pool)),
                                  &waited_ns);
        wedge_pool_put_ends(pool);
    } while (rc == -ETIMEDOUT && (until_ns == WEDGE_POOL_NEVER || wedge_clock_ns() < until_ns));
    if (waited_ns > 0) {
        atomic_fetch_add(&pool->board->put_waits, 1);
        wedge_histogram_add_shared(&pool->board->put_wait, (uint64_t)waited_ns);
    }
    return rc;
}

int wedge_pool_put(struct wedge_pool *pool, const void *data, size_t bytes, int64_t until_ns, uint64_t *ret_id)
{
    struct wedge_pool_input input = {.data = data, .bytes = bytes};
    WEDGE_POINT("pool.put.begin");
    if (bytes > (size_t)pool->settings.payload_bytes)
        return -EMSGSIZE;
    int rc = put_some(pool, &input, 1, until_ns);
    if (rc < 0)
        return rc;
    if (ret_id)
        *ret_id = input.id;
    return 0;
}

int wedge_pool_put_many(struct wedge_pool *pool, struct wedge_pool_input *inputs, unsigned n, int64_t until_ns)
{
    unsigned fit = 0, put = 0;
    int rc = 0;
    WEDGE_POINT("pool.put.begin");
    while (fit < n && inputs[fit].bytes <= (size_t)pool->settings.payload_bytes)
        fit++;
    if (fit == 0 && n > 0)
        return -EMSGSIZE;
    while (put < fit && (rc = put_some(pool, inputs + put, fit - put, until_ns)) > 0)
        put += (unsigned)rc;
    return put > 0 ? (int)put : rc;
}

/* Copies a result out to the caller's buffer, and gives its place back. */
static void hand_out(struct wedge_pool *pool, struct wedge_pool_item *item, struct wedge_pool_result *ret, void *buffer,
                     size_t room)
{
    size_t bytes = item->result.bytes < room ? item->result.bytes : room;
    if (bytes && buffer)
        memcpy(buffer, item->result.data, bytes);
    *ret = item->result;
    ret->data = buffer;
    wedge_pool_results_count(pool, item);
    wedge_pool_results_done(pool, item);
}

int wedge_pool_take_many(struct wedge_pool *pool, struct wedge_pool_result *ret, unsigned n, void *buffer,
                         size_t room_each, int64_t until_ns)
{
    struct wedge_pool_item items[TAKE_BATCH];
    unsigned taken = 0;
    int rc;
    if (!pool->board || pool->callbacks.collect || n == 0)
        return -EINVAL;
    atomic_fetch_add(&pool->takers, 1);
    do {
        unsigned want = n - taken < TAKE_BATCH ? n - taken : TAKE_BATCH;
        /* What is there already is added without waiting: 0 is a time long past. */
        rc = wedge_pool_results_next(pool, items, want, taken == 0 ? until_ns : 0);
        for (int i = 0; i < rc; i++, taken++)
            hand_out(pool, &items[i], &ret[taken], buffer ? (char *)buffer + taken * room_each : NULL, room_each);
    } while (rc > 0 && taken < n);
    atomic_fetch_sub(&pool->takers, 1);
    if (pool->settings.hardened && taken > 0 && wedge_pool_is_closed(pool) && wedge_pool_results_ended(pool))
        wedge_slots_wake_all(pool); /* other takers wait for what will not come */
    return taken > 0 ? (int)taken : rc;
}

int wedge_pool_take(struct wedge_pool *pool, struct wedge_pool_result *ret, void *buffer, size_t room, int64_t until_ns)
{
    int rc = wedge_pool_take_many(pool, ret, 1, buffer, room, until_ns);
    return rc < 0 ? rc : 0;
}
