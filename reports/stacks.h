/*
 * The stacks of a report, each once. Threads of a pool all stand at the same place: in the tree in memory they share
 * one array of frames, and equal frames are one object. Whoever wants to change one thread's frames puts another array.
 *
 * Packed, as it goes from the disposable child to its parent, a report is
 *   {"report": …, each thread's "frames" a number, "stacks": [[number of a frame, …], …], "frames": [{…}, …]}
 */
#ifndef WEDGE_REPORTS_STACKS_H
#define WEDGE_REPORTS_STACKS_H

#include <jansson.h>

#include "base/err.h"
#include "detector/model.h"
#include "reports/put.h"

struct wedge_stack_table;

/* The frames of a thread; *stacks is made with the first and belongs to the caller. The reference is the caller's. */
json_t *wedge_stacks_of(struct wedge_stack_table **stacks, struct wedge_put *p, const struct wedge_thread *thread);
void wedge_stacks_free(struct wedge_stack_table *stacks); /* takes NULL */

/* Packs a report, which is taken over and changed. NULL: no memory. */
json_t *wedge_stacks_pack(json_t *report);
/* The report that was packed; `packed` stays the caller's. Numbers are checked, frames are not: wedge_report_check.
 * -EBADMSG, -ENOMEM. */
int wedge_stacks_unpack(const json_t *packed, json_t **ret, struct wedge_err *err);

#endif
