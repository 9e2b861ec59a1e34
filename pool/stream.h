/*
 * What the keeper of a stream needs beyond the transport's interface. Parent only.
 *
 * Marks. Each worker thread that leaves since the pool is closed sends a mark along the results, and when as many came from
 * the last generation of every seat as the pool has threads, nothing more will come. A thread that left by its age before
 * the pool was closed (with close_by=flag: closed and drained) sends none: then its worker is replaced, or the keeper sends
 * what is missing (wedge_stream_complete_marks). A killed worker's marks never come.
 *
 * What the parent has to say about a task (TIMEOUT, LOST, CANCELLED) goes through the results too. The pipe keeps the
 * order: what a dead worker had written comes first, and then there is nothing left to be said about that task.
 */
#ifndef WEDGE_POOL_STREAM_H
#define WEDGE_POOL_STREAM_H

#include "pool/pool.h"

/* One stop mark to the tasks: the worker thread that takes it leaves. -ETIMEDOUT: no room until then.
 * -ENOTRECOVERABLE: broken, nobody would take it. */
int wedge_stream_put_mark(struct wedge_pool *pool, int64_t until_ns);
/* No task or mark follows: the parent's feeder leaves once all are written. */
void wedge_stream_no_more_tasks(struct wedge_pool *pool);
/* A mark that ends the results at once, without waiting: -ENOBUFS when the results are full. `force`: full or not. */
int wedge_stream_stop_collector(struct wedge_pool *pool, bool force);
/* Until no task waits to be taken. Woken by each taking. -ETIMEDOUT. */
int wedge_stream_wait_empty(struct wedge_pool *pool, int64_t until_ns);
/* Whoever waits for room looks again: the pool is closing, or broken. */
void wedge_stream_wake(struct wedge_pool *pool);

/* Before the next worker of this seat is forked. */
void wedge_stream_worker_starts(struct wedge_pool *pool, uint32_t index);
/* The worker in this seat is gone, reaped: what it left half done is repaired where the locks allow it. */
void wedge_stream_worker_gone(struct wedge_pool *pool, uint32_t index, uint32_t generation);
/* It left in order and nobody follows it. */
void wedge_stream_complete_marks(struct wedge_pool *pool, uint32_t index, uint32_t generation);

/* task_limit: tells TIMEOUT for each task that was put so long ago. Returns when there may be more to tell. */
int64_t wedge_stream_tell_timeouts(struct wedge_pool *pool, int64_t now_ns);
/* dead_task=lost: tells LOST for what dead workers had in hand; how many. */
unsigned wedge_stream_tell_lost(struct wedge_pool *pool);
/* No worker is left and none will come: tells LOST for what was taken, `outcome` for what was not. */
unsigned wedge_stream_tell_rest(struct wedge_pool *pool, enum wedge_pool_outcome outcome);

#endif
