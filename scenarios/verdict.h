/* Reading the headline of a report (wedge.report/1). */
#ifndef WEDGE_SCENARIOS_VERDICT_H
#define WEDGE_SCENARIOS_VERDICT_H

#include <jansson.h>
#include <stdbool.h>

struct wedge_headline { /* texts belong to the report; "" where it has none */
    const char *kind, *certainty, *scope, *signature, *summary;
    bool hang; /* a kind that is a hang, stall or contention */
    bool proved, whole;
};
struct wedge_headline wedge_headline(const json_t *report);

/* The thread that a culprit or victim of the headline names has a frame of function `function`, or its process has
 * the role `role` (either may be NULL: not asked). Culprits that are dead count with their role. */
bool wedge_headline_names_culprit(const json_t *report, const char *role, const char *function);

#endif
