/*
 * The stacks of a report, each once. Threads of a pool all stand at the same place: in the tree in memory they share
 * one array of frames, and equal frames are one object, and stay so on their way (reports/wire.h). Whoever wants to change one thread's frames puts another array.
 */
#ifndef WEDGE_REPORTS_STACKS_H
#define WEDGE_REPORTS_STACKS_H

#include <jansson.h>

#include "detector/model.h"
#include "reports/put.h"

struct wedge_stack_table;

/* The frames of a thread; *stacks is made with the first and belongs to the caller. The reference is the caller's. */
json_t *wedge_stacks_of(struct wedge_stack_table **stacks, struct wedge_put *p, const struct wedge_thread *thread);
void wedge_stacks_free(struct wedge_stack_table *stacks); /* takes NULL */

#endif
