/* Reading the headline of a report (wedge.report/2). */
#ifndef WEDGE_SCENARIOS_VERDICT_H
#define WEDGE_SCENARIOS_VERDICT_H

#include <jansson.h>
#include <stdbool.h>

#include "scenarios/scenario.h"

struct wedge_headline { /* texts belong to the report; "" where it has none */
    const char *kind, *certainty, *scope, *signature, *summary;
    bool hang; /* a kind that is a hang, stall or contention */
    bool proved, whole;
};
struct wedge_headline wedge_headline(const json_t *report);

/* Is one of the headline's `list`, "culprits" or "victims", such a one? All that `party` says must hold of the same. */
bool wedge_headline_names(const json_t *report, const char *list, const struct wedge_party *party);

#endif
