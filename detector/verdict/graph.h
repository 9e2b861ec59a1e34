/*
 * The wait-for graph: who is live, and which threads wait for each other for ever.
 *
 * A wait is an AND of OR-sets of possible wakers. Live are the threads that run, that have a near deadline, or whose
 * every set has a live member (or the outside); then again, until nothing changes. What remains can never wake by
 * itself. That is computed three times: with every waker (what remains is proved); without those that only a program
 * outside POSIX would need or that the agent's record leaves out, and with users' functions past their own limit and
 * threads that by the record only ask again counted as stuck (what remains besides is evident); and with what earlier
 * examinations of the same tree make suspect: who only asks again by the looks of it, holders outside the tree, and
 * wake-ups that do not come.
 *
 * Invariant: what is stuck at one level is stuck at the next.
 */
#ifndef WEDGE_DETECTOR_GRAPH_H
#define WEDGE_DETECTOR_GRAPH_H

#include "detector/look/look.h"

/* One closed set: a strongly connected component of stuck threads from which no wait leads out, and every stuck
 * thread that waits for nothing but it. */
struct wedge_graph_set {
    int *core; /* threads of the component */
    size_t n_core;
    int *members; /* core first, then those that wait for it */
    size_t n_members;
};

struct wedge_graph {
    bool *live; /* by thread, counting every waker */
    bool *live_posix; /* without the wakers that POSIX and the record exclude */
    bool *live_suspect; /* without those that are suspected never to act */
    int64_t *until, *until_posix; /* by thread: until when it is stuck by the first and the second */
    struct wedge_graph_set *sets; /* of what is stuck by live_posix */
    size_t n_sets;
    struct wedge_graph_set *suspects; /* of what is stuck by live_suspect, where that is more; else none */
    size_t n_suspects;
};

/* Runs the fixpoint and finds the sets; sets thread->live. 0 or -ENOMEM. `ret` to be freed also after an error. */
int wedge_graph_build(struct wedge_look *look, struct wedge_graph *ret);
void wedge_graph_free(struct wedge_graph *graph);

/* It is in a declared user's function for longer than that function's limit. */
bool wedge_graph_is_past_limit(const struct wedge_look *look, int thread);
/* The process of a waker outside the tree that is most likely a stray of the tree's own, a grandchild that made itself a
 * daemon (younger than the root, and not beside it in a pipeline), and that let `thread` wait over several examinations.
 * -1: it is none. */
int wedge_graph_aloof(const struct wedge_look *look, int thread, const struct wedge_waker *waker);
/* Is any waker of the given thread (not by signal, POSIX ones alone) in another process? */
bool wedge_graph_waits_elsewhere(const struct wedge_look *look, int thread);
/* From now until when each thread is stuck at the least, INT64_MAX for ever, 0 live (until.c): by `live`, one of the graph's;
 * `weak`: counting wakers that only a proof counts. `ret` has room for each thread. 0 or -ENOMEM. */
int wedge_graph_until(const struct wedge_look *look, const bool *live, bool weak, int64_t *ret);
/* Writes the edges of the stuck threads into the snapshot. 0 or -ENOMEM. */
int wedge_graph_edges(struct wedge_look *look, const struct wedge_graph *graph);

#endif
