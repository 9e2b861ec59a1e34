/*
 * Looking at a core file in the place of /proc: the same snapshot, filled from one still image.
 *
 * What a core does not hold is the outside: descriptors, children, other processes, handlers, timers. What it holds is
 * of one moment, so that waits inside the process (futexes and their owners) can be decoded; a verdict from it is
 * evident at most. proof.md proves by two passes between which nobody moved, and by a place in the kernel (wchan):
 * a core has neither.
 */
#ifndef WEDGE_DETECTOR_CORE_LOOK_H
#define WEDGE_DETECTOR_CORE_LOOK_H

#include "detector/look/look.h"

/* As wedge_look_twice, from look->core. -ENOMEM. */
int wedge_core_look(struct wedge_look *look, int (*decode)(struct wedge_look *), struct wedge_err *err);
/* A thread in a call other than futex(2): what it waits for is not in the core. */
void wedge_core_look_wait(struct wedge_look *look, int thread);
/* A deadline: when the core was written is not in it, so the deadline may be at once, unless it is centuries away. */
void wedge_core_look_deadline(struct wedge_look *look, int thread, int64_t ns);
/* "the core file is cut off: …", NULL: it is not. */
const char *wedge_core_look_cut(struct wedge_look *look);
/* What the report says of its completeness. */
const char *wedge_core_look_lacks(struct wedge_look *look);

#endif
