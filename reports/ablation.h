/*
 * The matrix of an ablation (wedge.ablation/1, scenarios/ablation.h makes it) for people: as text, and as a page that needs nothing
 * beside it. Both take the model alone.
 */
#ifndef WEDGE_REPORTS_ABLATION_H
#define WEDGE_REPORTS_ABLATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

/* What a cell's outcome looks like, the same in every writer. */
struct wedge_ablation_mark {
    const char *outcome; /* as in the model */
    const char *letter; /* one column wide */
    const char *class; /* of the page */
    const char *color; /* of the terminal */
    const char *means;
};
struct wedge_ablation_mark wedge_ablation_mark(const char *outcome);
/* The i-th; outcome NULL: no more. */
struct wedge_ablation_mark wedge_ablation_mark_at(size_t i);

/* What one cure alone changed in a scenario. */
enum wedge_ablation_change {
    WEDGE_ABLATION_SAME,
    WEDGE_ABLATION_CURED, /* what hung, contended or lost finishes */
    WEDGE_ABLATION_ENDS, /* what hung ends, but loses */
    WEDGE_ABLATION_WORSE, /* what finished does no longer, for certain or as far as its limit tells; what ended hangs */
};
enum wedge_ablation_change wedge_ablation_change(const json_t *scenario, const json_t *cell);
/* No cure alone makes it finish, though it hangs or loses as it is. */
bool wedge_ablation_needs_more(const json_t *scenario);

/* The matrix, and what follows from it in a sentence a cure. -EIO when `out` takes no more. */
int wedge_ablation_write_text(const json_t *model, FILE *out, bool color, struct wedge_err *err);
/* Into the folder, replacing one of that name. */
int wedge_ablation_write_html(const json_t *model, int dirfd, const char *name, struct wedge_err *err);

#endif
