/* A worker's seat: who sits in it, and whether he is still there. The pool's lock is the caller's matter. */
#ifndef WEDGE_POOL_SEAT_H
#define WEDGE_POOL_SEAT_H

#include "pool/pool.h"

/* Nobody sits here yet. */
void wedge_seat_init(struct wedge_pool_seat *seat);
/* Gets the seat and what the worker will say about itself ready for the next generation; then fork. */
void wedge_seat_prepare(struct wedge_pool *pool, uint32_t index);
/* `pid`, a process that cannot have been reaped yet, sits here now. -errno of pidfd_open(2): the seat stays empty. */
int wedge_seat_take(struct wedge_pool *pool, uint32_t index, pid_t pid);
/* The same with its descriptor, which becomes the seat's. */
void wedge_seat_sit(struct wedge_pool *pool, uint32_t index, pid_t pid, int pidfd);
/* Whether a process sits here and has not ended. A zombie has. What an error of asking means is a setting. Does not reap. */
bool wedge_seat_alive(const struct wedge_pool *pool, uint32_t index);
/* A signal, SIGKILL, to the process, by its descriptor: never to one that came after it. */
void wedge_seat_signal(const struct wedge_pool_seat *seat, int signal);
void wedge_seat_kill(const struct wedge_pool_seat *seat);
/* The process is gone: the seat is free for the next generation. */
void wedge_seat_clear(struct wedge_pool *pool, uint32_t index);
/* Whether a worker that ended with this status (waitpid(2)) had come to the end of its life: user code may call exit(0) at
 * any time. Of the seat's present generation. */
bool wedge_seat_left_in_order(struct wedge_pool *pool, uint32_t index, int status);
/* Tells how the process of this seat's present generation ended: LEFT or DIED, `status` as of waitpid(2) in words. */
void wedge_seat_tell_end(struct wedge_pool *pool, uint32_t index, int status);
/* When the worker, not ready yet, gets past start_limit; WEDGE_POOL_NEVER: ready, nobody there, or no limit. */
int64_t wedge_seat_start_limit_ns(struct wedge_pool *pool, uint32_t index);
/* When the first of its finalizers that are running gets past final_limit. */
int64_t wedge_seat_final_limit_ns(struct wedge_pool *pool, uint32_t index);

#endif
