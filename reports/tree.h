/* The parts of a report that are about processes and threads: report.c puts the whole together. */
#ifndef WEDGE_REPORTS_TREE_H
#define WEDGE_REPORTS_TREE_H

#include <jansson.h>

#include "detector/model.h"
#include "reports/put.h"

/* Puts processes, and the tables of their stacks and frames (stacks.h) before them. */
void wedge_tree_processes(struct wedge_put *p, const struct wedge_snapshot *s, json_t *report);
json_t *wedge_tree_dead(struct wedge_put *p, const struct wedge_snapshot *s);
json_t *wedge_tree_edges(struct wedge_put *p, const struct wedge_snapshot *s);
json_t *wedge_tree_disturbance(struct wedge_put *p, const struct wedge_snapshot *s);

/* A culprit or victim: thread `i`, or process `i` of those that are gone. */
json_t *wedge_tree_party(struct wedge_put *p, const struct wedge_snapshot *s, int i);
json_t *wedge_tree_dead_party(struct wedge_put *p, const struct wedge_snapshot *s, int i);

/* The id of a rule, NULL for -1 or a number that is none. */
const char *wedge_tree_rule(const struct wedge_snapshot *s, int rule);

/* The innermost frame that is the program's own and has a name, NULL none. */
const struct wedge_frame *wedge_tree_own_frame(const struct wedge_thread *thread);

#endif
