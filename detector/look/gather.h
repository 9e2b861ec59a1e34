/* The first reading of processes and of all their threads. */
#ifndef WEDGE_DETECTOR_GATHER_H
#define WEDGE_DETECTOR_GATHER_H

#include "detector/look/look.h"

/* Adds `n` processes of the machine to the snapshot, in this order. Those that end under our hands are left out. -ENOMEM. */
int wedge_gather(struct wedge_look *look, const struct wedge_machine_proc *const *wanted, size_t n);
/* Makes the table of descriptors large enough for `n`. To be called while there is one thread: where there are two, the kernel
 * waits each time it doubles until every processor has been elsewhere (expand_fdtable in fs/file.c: synchronize_rcu), 10 ms. */
void wedge_gather_room(long n);
/* Closes the list of its threads that was kept open. */
void wedge_gather_close(struct wedge_look_proc *own);

#endif
