/*
 * Who has ended, for the plan's ended(ROLE): the kernel tells wedge, and wedge tells the held threads. The agent cannot: a
 * SIGKILL runs nothing in the process that dies, and its parent may be waiting for just that.
 */
#ifndef WEDGE_FAULTS_ENDED_H
#define WEDGE_FAULTS_ENDED_H

#include "base/arena.h"
#include "base/err.h"

struct wedge_ended;

/*
 * For an arena that has its plan. *ret NULL: no rule asks who has ended; else the caller owns it (wedge_ended_free), and the
 * arena outlives it. -errno: no memory, or no descriptors. Counted is who is in wedge's own PID namespace.
 */
int wedge_ended_new(const struct wedge_arena *arena, struct wedge_ended **ret, struct wedge_err *err);
/* Readable when wedge_ended_look is due: somebody has ended, or it is time to see who is new. -1 for NULL. */
int wedge_ended_fd(const struct wedge_ended *ended);
/* Looks for processes that took a role, counts those that have ended, dead or reaped, and wakes who waits for them. NULL is
 * taken. Does not block. */
void wedge_ended_look(struct wedge_ended *ended);
void wedge_ended_free(struct wedge_ended *ended); /* takes NULL */

#endif
