/*
 * Ablation: which cure matters to which hang. Of a preset of the pool each cure (pool/settings.h has the list) is turned on alone
 * where the preset has it not, or off alone where it has, and every scenario that runs the pool's demo is played so, under its own plan.
 *
 * The result is a matrix, cures × scenarios, of what was measured; a combination that was not played is said to be so. Beside the
 * cures stand the scenario as it is and with its twin's cure, which may be two settings that are of use only together.
 *
 * A limit's cure in a scenario is the time that its own checks give for it, else 300 ms in place of the hardened preset's seconds.
 */
#ifndef WEDGE_SCENARIOS_ABLATION_H
#define WEDGE_SCENARIOS_ABLATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "scenarios/playing.h"
#include "scenarios/scenario.h"

struct wedge_ablation;

/* Makes the cells. Scenarios are the caller's, and stay. A scenario that has no place in it (it does not run the demo, begins with another
 * preset, has no hardened check, takes no further settings) is kept with the reason. -EINVAL: no such preset; none has a place. */
int wedge_ablation_new(const struct wedge_scenario *const *scenarios, size_t n, const char *preset,
                       struct wedge_ablation **ret, struct wedge_err *err);
/* To be played; `*ret_n` of them, in the order of the rows. They belong to the ablation. */
const struct wedge_playing_check *wedge_ablation_cells(const struct wedge_ablation *ablation, size_t *ret_n);
/* What one round of a cell came to. Rounds that differ are said to. */
void wedge_ablation_take(struct wedge_ablation *ablation, size_t cell, const struct wedge_check_result *result);

/* What it has come to so far, in a word: the kind of its hang, or how it ended. */
const char *wedge_ablation_word(const struct wedge_ablation *ablation, size_t cell);
/* What such a run is called in the run store, "run --ablate=PRESET"; returns buf. */
const char *wedge_ablation_verb(const char *preset, char *buf, size_t size);

/* wedge.ablation/1, as far as it is known: {schema, preset, complete, seconds, rounds (of the cell that has most), played, cells, cures: [{setting, value, turned}], fixed:
 * [setting], left_out: [{scenario, why}], scenarios: [{name, title, item, severity, as_is: cell, cures: [cell], twin: cell or null,
 * twin_cure}]}; a cell is {outcome, verdict, certainty, set, detail, counts, seconds, files (null none)}. `dir`: files are told
 * relative to it. NULL: no memory. */
json_t *wedge_ablation_model(const struct wedge_ablation *ablation, const char *dir, bool complete, double seconds);
void wedge_ablation_free(struct wedge_ablation *ablation); /* takes NULL and half-made */

#endif
