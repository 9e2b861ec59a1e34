/* Comparing what a session came to with what a scenario expects. Pure: no system call. */
#ifndef WEDGE_SCENARIOS_EXPECT_H
#define WEDGE_SCENARIOS_EXPECT_H

#include <stdbool.h>
#include <stddef.h>

#include "scenarios/scenario.h"
#include "scenarios/session.h"

/* True when everything holds; otherwise writes the first thing that does not as one line. `within_ms` 0: not asked. */
bool wedge_expect_holds(const struct wedge_expect *expect, int64_t within_ms, const struct wedge_outcome *outcome,
                        char *message, size_t size);

/* Whether the outcome is a verdict: it hung, or somebody waited too long behind one holder before the command ended. */
bool wedge_expect_hung(const struct wedge_outcome *outcome);

/* Whether a command that ended by itself, with `status` or by `signal`, did so with the status and the counts that are asked for;
 * otherwise writes the first thing that does not hold. */
bool wedge_expect_ended_as(const struct wedge_expect *expect, int status, int signal, const char *output, char *message,
                           size_t size);

/* The last line of `output` that begins with "counts:", up to its end; NULL none. */
const char *wedge_expect_counts_line(const char *output);
/* The figure `name` in the last line "counts: a=1 b=2" of `output`; false when there is none. */
bool wedge_expect_count(const char *output, const char *name, int64_t *ret);

#endif
