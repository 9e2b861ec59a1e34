/*
 * A lock of a stream, in shared memory: of readers or of writers of a pipe. Which kind is the setting `queue_lock`.
 *
 *   semaphore  1 is free. It has no owner: whoever dies holding it holds it for ever.
 *   owned      a robust mutex: the next to come is told that the owner died, and repairs what that one was at.
 *
 * A robust mutex loses a wake-up with a waiter that dies: let go, it wakes one waiter; before that one is there somebody new
 * takes it, who does not know of waiters; the chosen one dies, and the kernel passes the wake-up on only while the mutex is free
 * (handle_futex_death in kernel/futex/core.c). The new owner lets it go and wakes nobody, and who else waited sleeps beside
 * a free mutex for ever. So after each death everyone is woken to look again (wedge_queue_lock_renew).
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
/* Somebody who may have waited for it is dead: wakes those who do. A semaphore stays as it is. Any thread. */
void wedge_queue_lock_renew(struct wedge_queue_lock *lock);
/* Every other process that used it is dead: whoever waits for a semaphore that died with one is let go. */
void wedge_queue_lock_break(struct wedge_queue_lock *lock);

#endif
