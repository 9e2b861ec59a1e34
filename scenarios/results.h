/*
 * What a play of scenarios came to, on disk at every moment: result.json (wedge.run/1), junit.xml and the run store (reports/store.h) in
 * one folder, written as each check ends, so that a killed run leaves what it knew.
 *
 * wedge.run/1: {schema, complete (false until the end), exit, passed, checks: [{scenario, check, round, status,
 * message, verdict, certainty, scope, signature, seconds, verdict_after_fault_ms (null none), files}]}.
 */
#ifndef WEDGE_SCENARIOS_RESULTS_H
#define WEDGE_SCENARIOS_RESULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "reports/store.h"
#include "scenarios/runner.h"
#include "scenarios/scenario.h"

struct wedge_results;

/* The files of an earlier run in `dir` give way to those of one that has nothing yet. */
int wedge_results_open(const char *dir, struct wedge_results **ret, struct wedge_err *err);
/* What was asked for can be played: from now on the run counts, and is in the store. */
int wedge_results_begin(struct wedge_results *results, const char *dir, struct wedge_err *err);
/* After wedge_results_begin. */
int wedge_results_add(struct wedge_results *results, const struct wedge_scenario *scenario, enum wedge_check_role role,
                      long round, const struct wedge_check_result *result, struct wedge_err *err);
/* One round of a check into a store, under the name that `check` gives it. */
int wedge_results_store(struct wedge_store *store, const char *scenario, const char *check, long round,
                        const struct wedge_check_result *result, struct wedge_err *err);
size_t wedge_results_count(const struct wedge_results *results);
size_t wedge_results_passed(const struct wedge_results *results);
/* Writes the files for the last time. `missing`: why not everything that was asked for was played, NULL it was. The model stays
 * readable until wedge_results_free. */
int wedge_results_close(struct wedge_results *results, const char *missing, int exit_status, struct wedge_err *err);
const json_t *wedge_results_model(const struct wedge_results *results);
void wedge_results_free(struct wedge_results *results); /* takes NULL and half-made */

#endif
