/* What the supervisor needs of the slots beyond the transport's interface. Parent only; none of it blocks. */
#ifndef WEDGE_POOL_SLOTS_H
#define WEDGE_POOL_SLOTS_H

#include "pool/pool.h"

/* That incarnation of a worker is dead (the kernel said so): what it held becomes LOST, or TIMEOUT where it had expired.
 * Makes again the hints that it may have taken along, and wakes every waiter of the pool. */
void wedge_slots_condemn(struct wedge_pool *pool, uint32_t worker, uint32_t incarnation);
/* The task with this id, which this thread of the worker has in hand, is past task_limit: a TIMEOUT, which takers find once it
 * is shown. Its slot, to be shown; negative: the thread has gone on to another one meanwhile. */
int64_t wedge_slots_expire(struct wedge_pool *pool, uint32_t worker, uint32_t incarnation, uint32_t thread,
                           uint64_t task);
void wedge_slots_show_expired(struct wedge_pool *pool, int64_t slot);
/* Tasks that waited longer than queue_limit become TIMEOUT. When the next one will; WEDGE_POOL_NEVER none. */
int64_t wedge_slots_expire_queued(struct wedge_pool *pool, int64_t now_ns);
/* What no worker has taken gets this outcome. */
void wedge_slots_withdraw(struct wedge_pool *pool, enum wedge_pool_outcome outcome);
/* Whether any task waits for a worker. By the ledger, not by the hints: it is what closing relies on. */
bool wedge_slots_any_queued(struct wedge_pool *pool);
/* Wakes everyone who sleeps on the pool's words: after a death, and when the pool's state changes. In a worker too, when
 * its process is to leave. */
void wedge_slots_wake_all(struct wedge_pool *pool);

#endif
