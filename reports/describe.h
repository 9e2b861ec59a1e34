/*
 * The parts of a report in plain words, as in "worker[2], feeder (thread 4711)", and what looks alike in it. Texts go
 * into the caller's buffer, cut where it is too small, not yet escaped for any medium.
 */
#ifndef WEDGE_REPORTS_DESCRIBE_H
#define WEDGE_REPORTS_DESCRIBE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct wedge_describe; /* a report, which must outlive it and not change, with an index of its nodes and edges */
struct wedge_describe *wedge_describe_new(const json_t *report); /* NULL: no memory */
void wedge_describe_free(struct wedge_describe *d); /* takes NULL */

/* The thread, with its process, or the dead process (*ret_process is NULL) that a node names; NULL neither. */
const json_t *wedge_describe_find(const struct wedge_describe *d, const char *node, const json_t **ret_process);
/* The edges that lead from a node, one after the other: *at is 0 before the first, the result NULL after the last. */
const json_t *wedge_describe_edge(const struct wedge_describe *d, const char *node, size_t *at);
/* "worker[2]" of a role object, else what is given instead. */
void wedge_describe_who(const json_t *role, const char *otherwise, char *buf, size_t size);
/* A node of any kind: thread, dead process with how it died, rule, the outside. */
void wedge_describe_node(const struct wedge_describe *d, const char *node, char *buf, size_t size);
/* "function (file:line)" of a frame, as much of it as is known; "" nothing. */
void wedge_describe_place(const json_t *frame, char *buf, size_t size);
/* Where the program is in a thread: the innermost function of its own, and that one's caller; "" not known. */
const char *wedge_describe_places(const struct wedge_describe *d, const json_t *thread);

/* Keys: equal for what looks alike. Of threads that wait at the same place for things of the same kind (for a lock: the
 * same one), under names that differ in numbers alone. */
void wedge_describe_thread_look(const struct wedge_describe *d, const json_t *process, const json_t *thread, char *buf,
                                size_t size);
/* Of culprits and victims. */
void wedge_describe_party_look(const struct wedge_describe *d, const json_t *party, char *buf, size_t size);
/* Of edges, by their wakers, which may differ in numbers. */
void wedge_describe_edge_look(const struct wedge_describe *d, const json_t *edge, char *buf, size_t size);
/* Is every stuck thread a culprit, and nobody else? Then to call them the cause says nothing. */
bool wedge_describe_is_everyone(const json_t *report);

#endif
