/*
 * The stacks of a report, each once, and their frames, each once: threads of a pool all stand at the same place, and stacks that
 * differ do so in a few frames. A thread has the number of its stack, and a stack those of its frames, innermost first:
 *
 *   report.processes[].threads[].stack ──> report.stacks[] ──> report.frames[]
 */
#ifndef WEDGE_REPORTS_STACKS_H
#define WEDGE_REPORTS_STACKS_H

#include <jansson.h>
#include <stdbool.h>

#include "detector/model.h"
#include "reports/put.h"

struct wedge_stack_tables;

/* Fills these two arrays of the report, whose references stay the caller's. NULL: no memory. */
struct wedge_stack_tables *wedge_stacks_new(json_t *stacks, json_t *frames);
void wedge_stacks_free(struct wedge_stack_tables *s); /* takes NULL */

/* The number of a thread's stack, null where it has none; the caller's. */
json_t *wedge_stacks_of(struct wedge_stack_tables *s, struct wedge_put *p, const struct wedge_thread *thread);

/* Takes the stacks away from all threads of a report, or from those that can move alone, with `note` in their place, and what nobody
 * refers to any more from its tables. */
void wedge_stacks_drop(struct wedge_put *p, json_t *report, bool live_alone, const char *note);

#endif
