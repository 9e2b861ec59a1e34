/* What the supervisor needs of the slots beyond the transport's interface. Parent only; none of it blocks. */
#ifndef WEDGE_POOL_SLOTS_H
#define WEDGE_POOL_SLOTS_H

#include "pool/pool.h"

/* That incarnation of a worker is dead (the kernel said so): what it held becomes LOST, or TIMEOUT where the task is
 * past `task_limit` and `limit` says that this is why the process was ended. Wakes every waiter of the pool. */
void wedge_slots_condemn(struct wedge_pool *pool, uint32_t worker, uint32_t incarnation, bool limit, int64_t now_ns);
/* What no worker has taken gets this outcome. */
void wedge_slots_withdraw(struct wedge_pool *pool, enum wedge_pool_outcome outcome);
/* Whether any task waits for a worker. */
bool wedge_slots_any_queued(struct wedge_pool *pool);
/* Whether this worker has any task in hand. */
bool wedge_slots_any_claimed(struct wedge_pool *pool, uint32_t worker);
/* Wakes everyone who sleeps on the pool's words: after a death, and when the pool's state changes. */
void wedge_slots_wake_all(struct wedge_pool *pool);
/* When the first claimed task gets past task_limit; those of `worker` alone, or of all (0). WEDGE_POOL_NEVER none. */
int64_t wedge_slots_first_overdue(struct wedge_pool *pool, uint32_t worker);

#endif
