/*
 * The quick walk: from frame to frame by rows of unwind information (detector/stacks/cfi.h) that are kept, for threads of a
 * pool, and processes that run the same program, all pass through the same few places.
 *
 * Invariant: it answers only where every frame of the stack has a row, and then with the frames that libunwind finds; of
 * anything else it says that it does not know (test_walk compares the two over all programs of the tests of stacks).
 *
 * Rows are kept for a build: an image with the same build-id and layout in another process shares them. Like the cache of
 * files they live as long as the process, which has read things of one user's processes alone and holds no rights
 * (detector/stacks/stacks.h). Images without a build-id have rows of their own, as long as they live. Threads: one at a time.
 */
#ifndef WEDGE_DETECTOR_WALK_H
#define WEDGE_DETECTOR_WALK_H

#include "detector/stacks/unwind.h"

#define WEDGE_WALK_ROWS_MAX (1u << 18) /* kept in all, 16 MB; what comes beyond is worked out each time */

/* Fills the frames of *stack and its end: COMPLETE, or NEED where the copy ends. `omitted` counts the frames left out, in all
 * stacks of a process. False: not known; the frames are worth nothing then. */
bool wedge_walk(struct wedge_images *images, struct wedge_unwind_stack *stack, size_t *omitted);
/* Frees all rows of builds. Images that have seen a walk must not be used any more. */
void wedge_walk_forget(void);

/* Of walk.c for elf_image.c: rows of an image that shares them with none. Takes NULL. */
struct wedge_walk_rows;
void wedge_walk_rows_free(struct wedge_walk_rows *rows);

#endif
