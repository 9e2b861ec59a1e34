/* What `wedge census` knows of a run: the places that were passed, with the names of their call sites. */
#ifndef WEDGE_CLI_CENSUS_H
#define WEDGE_CLI_CENSUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "cli/cli.h"
#include "faults/functions.h"
#include "scenarios/session.h"

struct wedge_census_site {
    const char *module; /* path; "" not known */
    uint64_t offset; /* of the return address in it */
    char function[160]; /* as nm(1) prints it; "" not known */
    uint64_t into; /* bytes from the function's begin */
    char file[256]; /* "" not known */
    int line;
};

enum wedge_census_kind { WEDGE_CENSUS_IS_FUNCTION, WEDGE_CENSUS_IS_POINT, WEDGE_CENSUS_IS_START, WEDGE_CENSUS_IS_EXIT };
struct wedge_census_place {
    enum wedge_census_kind what;
    enum wedge_function function; /* of a function */
    const char *name; /* of the function or point */
    const char *role; /* "" none */
    uint8_t kind, made; /* of its object: enum wedge_object_kind, wedge_define_made */
    bool made_known; /* somebody was seen to make it */
    struct wedge_census_site from, maker;
    uint64_t count;
};
struct wedge_census {
    struct wedge_arena_copy copy; /* what the texts point into */
    struct wedge_census_place *places; /* most often passed first */
    size_t n;
    uint32_t lost; /* passes without a row */
    uint32_t lost_objects; /* objects without a row: their makers are not known */
    uint32_t lost_processes, lost_threads; /* without room in the arena: none of their passes is counted */
};

/* Runs a command and takes its census, without names. `ret` is to be freed. 0, or a negative errno: nothing was left running. */
int wedge_census_run(const struct wedge_cli *cli, char *const *command, int64_t limit_ns, bool heap,
                     struct wedge_census *ret, struct wedge_outcome *ret_outcome, struct wedge_err *err);
void wedge_census_free(struct wedge_census *census);

/* census_sites.c: names for all sites, from the modules' files and their debug files. */
void wedge_census_name(struct wedge_census *census);

/* census_show.c */
void wedge_census_print(const struct wedge_census *census, FILE *out);
void wedge_census_print_plan(const struct wedge_census *census, FILE *out);
json_t *wedge_census_json(const struct wedge_census *census); /* wedge.census/1; NULL: no memory */

#endif
