/*
 * Verdicts: which kind of hang a closed set is, how certain, how far it reaches, in which words, with which signature.
 *
 * Order of work: wedge_verdict_make after the graph; stacks may come then; wedge_verdict_refine uses them for what a
 * futex alone does not tell; wedge_verdict_word writes summaries and signatures last.
 */
#ifndef WEDGE_DETECTOR_VERDICT_H
#define WEDGE_DETECTOR_VERDICT_H

#include "detector/verdict/graph.h"

/* Fills snapshot->dead, faults and firings from the agent's record; nothing without one. */
void wedge_verdict_record(struct wedge_look *look);
/* The same of a run that is over: rules, firings and progress, without the processes. Needs an arena. */
void wedge_verdict_recall(struct wedge_look *look);
/* Fills snapshot->verdicts, headline first: whole before part, then in the order of the kinds. 0 or -ENOMEM. */
int wedge_verdict_make(struct wedge_look *look, const struct wedge_graph *graph);
/* Classes and calls from the stacks. */
void wedge_verdict_refine(struct wedge_look *look);
/* Adds to the words for what a thread waits for what the agent recorded: who reads a rwlock, who posted last. Words
 * alone: the record is older than the passes. */
void wedge_record_describe(struct wedge_look *look, int thread);
/* Summaries and signatures. */
void wedge_verdict_word(struct wedge_look *look);
/* words.c: one or two plain sentences about a verdict. */
const char *wedge_verdict_summary(struct wedge_look *look, const struct wedge_verdict *verdict);
/* signature.c: fills signature and signature_roles. */
void wedge_verdict_sign(struct wedge_look *look, struct wedge_verdict *verdict);

/* How many of the victims are the core of the set: they come first in victims[]; the others wait for them. Kept
 * beside the verdicts, in the same order. */
size_t wedge_verdict_core(const struct wedge_look *look, const struct wedge_verdict *verdict);

/* First frame that is the program's own; where it has none but its language's library, that one's; NULL none. */
const struct wedge_frame *wedge_verdict_own_frame(const struct wedge_thread *thread);

#endif
