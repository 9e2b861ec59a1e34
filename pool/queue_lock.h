/*
 * A lock of a stream, in shared memory: of readers or of writers of a pipe. Which kind is the setting `queue_lock`.
 *
 *   semaphore  1 is free. It has no owner: whoever dies holding it holds it for ever.
 *   owned      a robust mutex: the next to come is told that the owner died, and repairs what that one was at.
 */
#ifndef WEDGE_POOL_QUEUE_LOCK_H
#define WEDGE_POOL_QUEUE_LOCK_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

struct wedge_queue_lock {
    bool owned; /* constant */
    sem_t semaphore;
    pthread_mutex_t mutex;
};

/* Before the first fork. 0 or a negative errno. */
int wedge_queue_lock_init(struct wedge_queue_lock *lock, bool owned);
/* 0; 1 when its owner died (the lock is the caller's, and good again); -ETIMEDOUT. until_ns: CLOCK_MONOTONIC,
 * INT64_MAX never, 0 do not wait. Woken by whoever lets it go, or, owned, by the kernel when that one dies. */
int wedge_queue_lock_take(struct wedge_queue_lock *lock, int64_t until_ns);
void wedge_queue_lock_give(struct wedge_queue_lock *lock);
/* Every other process that used it is dead: whoever waits for a semaphore that died with one is let go. */
void wedge_queue_lock_break(struct wedge_queue_lock *lock);

#endif
