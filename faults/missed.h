/* After a run: what its plan asked for and could not happen, so that no result is taken for more than it is. */
#ifndef WEDGE_FAULTS_MISSED_H
#define WEDGE_FAULTS_MISSED_H

#include "base/arena.h"

/* One line for each, separated by "; ", for people: a function of caller=, in= or created-in= that no module of any
 * process has; a rule that answers, at places that ask nothing alone; objects that found no room; processes whose
 * malloc is their own, although a rule names it; libraries that were loaded past the wrappers. "" when there is none. Nothing is said of functions before a process has checked in. The caller frees it; NULL: no memory. */
char *wedge_faults_missed(const struct wedge_arena *arena);

#endif
