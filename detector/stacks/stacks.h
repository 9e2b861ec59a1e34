/*
 * The stacks of an examination: all processes are copied first, each let go before the next is stopped; then the copies
 * are unwound and named, apart from here.
 *
 *   this process (may trace)                          a child for each user the processes have
 *   copy all ──fork──────────────────────────────────> open the files that are mapped, with the rights that are left
 *     take frames <──────── parcel ────────┐           give all rights up (detector/stacks/sandbox.h)
 *     stop once more, answer <── WANT ─────┼─────────── unwind, name, send, process by process
 *     the child died or was late: without the process it was at, again
 *
 * Invariant: what reads the target's ELF, DWARF and unwind tables can neither trace, write nor open by name what the
 * files say; what it sends is checked before it is believed (detector/stacks/parcel.h). A stack that cannot be had is noted; a
 * verdict never waits for it longer than names_deadline_ms.
 */
#ifndef WEDGE_DETECTOR_STACKS_H
#define WEDGE_DETECTOR_STACKS_H

#include "detector/look/look.h"

/* Follows "no stack: " in the stack_note of a thread whose process was spared, as `gentle` of examine.h asks. */
#define WEDGE_STACKS_SPARED "a stop would have ended a wait"

/* Where all stacks are asked for and everybody sleeps: the child that names is forked, and reads symbols, while the look goes on.
 * Nothing is stopped yet. To be called between the passes; does nothing where it does not pay. */
void wedge_stacks_begin(struct wedge_look *look);
/* Without wedge_stacks_take: that child is ended. Does nothing where none was begun. */
void wedge_stacks_abandon(struct wedge_look *look);
/* Fills frames, stack_note and stopped_ns of the threads that the options ask for. -ENOMEM. Single-threaded callers
 * alone: it forks. */
int wedge_stacks_take(struct wedge_look *look);

#endif
