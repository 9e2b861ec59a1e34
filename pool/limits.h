/* A worker's limits under a supervisor: which of them has passed, and what is done about it. The supervisor's thread alone. */
#ifndef WEDGE_POOL_LIMITS_H
#define WEDGE_POOL_LIMITS_H

#include "pool/pool.h"

/*
 * Looks at the worker in this seat (ALIVE), by one pass over its threads' records; ends it, or begins to, when a limit
 * has passed. `drained`: the pool is closed and nothing is queued. Returns when to look again at the latest, as far as is
 * known now: what begins right after this look ends no sooner than wedge_limits_shortest from it.
 */
int64_t wedge_limits_tend(struct wedge_pool *pool, uint32_t index, bool drained, int64_t now_ns);
/* The shortest of the limits that count from something of which nobody tells the supervisor; WEDGE_POOL_NEVER none. */
int64_t wedge_limits_shortest_ns(const struct wedge_pool *pool);
/* Tells once of each `collect` that runs for longer than collector_limit; *told is the last task that was told of. */
void wedge_limits_collector(struct wedge_pool *pool, uint64_t *told, int64_t now_ns);

#endif
