/* What `wedge ctl` shows of a run: its rules, and what was counted. */
#ifndef WEDGE_CLI_CTL_H
#define WEDGE_CLI_CTL_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "base/arena.h"

struct wedge_ctl_view {
    struct wedge_arena_copy copy;
    const char *const *names; /* rules and points to be shown; none: all */
    size_t n_names;
};
/* Is there a rule or a passed point of that name? */
bool wedge_ctl_has(struct wedge_ctl_view *view, const char *name);

void wedge_ctl_print_rules(struct wedge_ctl_view *view, FILE *out);
void wedge_ctl_print_counts(struct wedge_ctl_view *view, FILE *out);
/* wedge.ctl/1; NULL: no memory. `counts`: with points and processes. */
json_t *wedge_ctl_json(struct wedge_ctl_view *view, bool counts);

#endif
