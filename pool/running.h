/*
 * The tasks of a stream that were put and are not reported yet, as its parent knows them: what was given with each, and
 * since when it is there. A table by id; the parent's private memory. Every call is safe in any thread of the parent.
 */
#ifndef WEDGE_POOL_RUNNING_H
#define WEDGE_POOL_RUNNING_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct wedge_running_task {
    uint64_t id; /* 0: the place is free */
    void *meta;
    int64_t put_ns;
    uint32_t number; /* of its message (queue.h) */
    bool told_timeout, told_end; /* the parent has put a TIMEOUT, or its end (LOST, CANCELLED, …), into the results */
};

struct wedge_running {
    pthread_mutex_t lock; /* guards what follows; a feeder's lock may be taken under it, no other */
    struct wedge_running_task *tasks; /* open addressing, a power of two of places, at most half of them taken */
    uint32_t places, taken;
};

void wedge_running_init(struct wedge_running *running);
/* Takes one that is all zero. */
void wedge_running_destroy(struct wedge_running *running);

/* 0 or -ENOMEM. */
int wedge_running_add(struct wedge_running *running, const struct wedge_running_task *task);
/* Takes the task of this id out. False: it is not there. ret may be NULL. */
bool wedge_running_remove(struct wedge_running *running, uint64_t id, struct wedge_running_task *ret);
uint32_t wedge_running_count(struct wedge_running *running);
/* Calls `see` for each task, under the lock; it may change all but the id. */
void wedge_running_each(struct wedge_running *running, void (*see)(struct wedge_running_task *task, void *context),
                        void *context);

#endif
