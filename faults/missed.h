/* After a run: what its plan asked for and could not happen, so that no result is taken for more than it is. */
#ifndef WEDGE_FAULTS_MISSED_H
#define WEDGE_FAULTS_MISSED_H

#include "base/arena.h"

/*
 * One line for each, separated by "; ", for people; "" when there is none. The caller frees them; NULL: no memory.
 * Nothing is said of what modules and processes lack before a process has checked in.
 *
 * missed: what makes the run worth nothing: a function of caller=, in= or created-in= that no module of any process has;
 * a place, a mark or a process of a rule that had to fire, and did not, which was nowhere; a mark that a thread yields
 * for, which is nowhere; a rule that answers, at places that ask nothing alone; objects that found no room; processes
 * whose malloc is their own, although a rule names it; libraries that were loaded past the wrappers.
 */
char *wedge_faults_missed(const struct wedge_arena *arena);
/* noted: the places, marks and processes that were nowhere, of rules that need not fire. */
char *wedge_faults_noted(const struct wedge_arena *arena);

#endif
