/*
 * A scenario, wedge.scenario/1: one hang as a file, with its cure.
 *
 * Read by wedge_scenario_load, which checks everything that can be checked without running it. All memory belongs to
 * the scenario and goes with wedge_scenario_free. Threads: no shared state.
 */
#ifndef WEDGE_SCENARIOS_SCENARIO_H
#define WEDGE_SCENARIOS_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum wedge_count_is { WEDGE_COUNT_EQUAL, WEDGE_COUNT_AT_LEAST, WEDGE_COUNT_AT_MOST };
struct wedge_count { /* a figure that the command prints in its last line "counts: name=value …" */
    char *name;
    int64_t value;
    enum wedge_count_is is;
};

/* Who must be named. Fields that are NULL are not asked for. */
struct wedge_party {
    char *role;
    char *function; /* in its stack */
    char *point; /* of one that is dead: the last place it passed */
};

/* What a check must come to. Fields that are NULL are not asked for. */
struct wedge_expect {
    char *kind; /* a verdict, or "finished" */
    char *certainty; /* proved, evident, suspected: at least this */
    char *scope; /* whole, part */
    struct wedge_party culprit, victim;
    struct wedge_count *counts;
    size_t n_counts;
    int status; /* of what finishes: its exit status, 0 unless said */
};

enum wedge_check_role { WEDGE_CHECK_HANG, WEDGE_CHECK_PROPOSED, WEDGE_CHECK_TWIN, WEDGE_CHECK_HARDENED, WEDGE_CHECKS };

struct wedge_scenario_plan {
    char *text; /* NULL: none */
    int line, indent; /* of its first line in the file */
};

/* One run of the command: the hang itself, what a remedy that was proposed leaves of it, its twin, or the hardened
 * check. All under the same plan, but for a hardened check that has one of its own. */
struct wedge_check {
    bool present;
    char *cure; /* twin: the name of the one cure */
    char **argv; /* expanded, NULL-terminated */
    struct wedge_expect expect;
    char **unfired_ok; /* rules that need not fire here, NULL-terminated */
    int unfired_line, unfired_column; /* where they stand in the file */
    struct wedge_scenario_plan plan; /* its own; without a text: the scenario's */
};

struct wedge_scenario {
    char *file;
    char *name, *title, *item, *severity, *learn;
    char *reference; /* public reports, "python/cpython#94777, …"; NULL none */
    struct wedge_scenario_plan plan;
    int64_t within_ms; /* from the last fault fired to the verdict; 0 not asked for */
    int64_t limit_ms; /* of one run; default 30 s */
    int64_t patience_ms; /* how long one may wait behind a holder that runs; default 10 s */
    struct wedge_check checks[WEDGE_CHECKS];
};

extern const char *const wedge_check_words[WEDGE_CHECKS]; /* hang, proposed, twin, hardened */

/* Reads `file`. `build` replaces ${BUILD} in the command. Errors: -EINVAL with file, line and column; the file's. */
int wedge_scenario_load(const char *file, const char *build, struct wedge_scenario **ret, struct wedge_err *err);
void wedge_scenario_free(struct wedge_scenario *scenario);

/* Whether a scenario may have this name: a path of letters, digits, ".", "_" and "-", below the folder of the results. */
bool wedge_scenario_name_fits(const char *name);

/* Finds the file of a scenario: `word` is a path, or a name below `dir` with or without its folder and ".yaml"
 * ("1.1a", "hang-report/1.1a"). Returns 0 and a malloced path, -EINVAL with the nearest name. */
int wedge_scenario_find(const char *dir, const char *word, char **ret, struct wedge_err *err);
/* All scenario files below `dir`/`group`, sorted; NULL-terminated, free with wedge_strings_free (strings.h). */
int wedge_scenario_list(const char *dir, const char *group, char ***ret, struct wedge_err *err);

#endif
