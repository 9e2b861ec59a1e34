/*
 * workers=threads: each worker is a group of threads in the parent, for debuggers and for sanitizers that see one process.
 * The supervisor keeps them by the same seats: in place of a pidfd an eventfd says that a group is gone. Nobody can be
 * killed, so no limit ends anyone; what a worker says about itself, its life, and how it leaves are the same.
 */
#ifndef WEDGE_POOL_THREADS_H
#define WEDGE_POOL_THREADS_H

#include "pool/pool.h"

struct wedge_group;

/* Starts the worker of this seat (from 0) in the generation that the seat has. *ret_gone_fd, the caller's, becomes readable
 * once all of its threads but one have ended, and that one is about to. -errno of eventfd(2), pthread_create(3), -ENOMEM. */
int wedge_group_start(struct wedge_pool *pool, uint32_t index, struct wedge_group **ret, int *ret_gone_fd);
/* Waits for the last thread (it is gone, or about to be), frees the group; what the worker left with, WEDGE_POOL_EXIT_…. */
int wedge_group_join(struct wedge_group *group);

#endif
