/* wedge census: runs a command and lists every place that a fault could go to. */
#include "cli/census.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/command.h"

enum { ARENA_BYTES = 16 << 20 };

struct options {
    struct wedge_cli cli;
    struct wedge_cli_launch launch;
    bool plan, heap;
};

enum { KEY_PLAN = 256, KEY_HEAP };
static const struct argp_option options[] = {
    {"limit", WEDGE_CLI_LIMIT, "TIME", 0,
     "End the command after this time (none); what was passed until then is listed", 0},
    {"heap", KEY_HEAP, NULL, 0, "Count malloc and its kin too", 0},
    {"plan", KEY_PLAN, NULL, 0, "Print lines for a plan, one a place, to choose from", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->cli;
        return 0;
    case KEY_HEAP:
        o->heap = true;
        return 0;
    case KEY_PLAN:
        o->plan = true;
        return 0;
    case ARGP_KEY_END:
        if (!o->launch.command)
            argp_error(state, "count what? Give a command after --");
        if (o->plan && o->cli.json)
            argp_error(state, "--plan and --json exclude each other");
        return 0;
    default:
        return wedge_cli_parse_launch(key, arg, state, &o->launch);
    }
}

static const struct argp argp = {options,
                                 parse,
                                 "-- COMMAND [ARGUMENT...]",
                                 "Runs a command and lists every place that a fault could go to: each function, point, "
                                 "start and exit that was passed, from where, about which kind of object, in which "
                                 "role, how often, and which faults are legal there. The list is on standard output; "
                                 "the command's own goes to standard error. Exit status: the command's own (128+N for "
                                 "signal N); 124 the limit, 125 wedge failed, 126 the command cannot be executed, 127 "
                                 "it was not found."
                                 "\vExample:\n  wedge census --plan -- ./my-server --self-test > all.plan",
                                 wedge_cli_children,
                                 NULL,
                                 NULL};

/* What the session's end leaves behind. */
struct taking {
    struct wedge_cli_reporter reporter; /* first: the session's argument is both */
    struct wedge_census census;
    struct wedge_err err;
    int rc;
};

static void read_site(struct wedge_arena_copy *copy, uint32_t module, uint64_t offset, struct wedge_census_site *ret)
{
    *ret = (struct wedge_census_site){.module = wedge_arena_census_module(copy, module), .offset = offset};
}

/* False: a row that makes no sense, which the command wrote to. */
static bool read_place(struct wedge_arena_copy *copy, const struct wedge_arena_census *row,
                       struct wedge_census_place *ret)
{
    *ret = (struct wedge_census_place){.function = WEDGE_FN_COUNT,
                                       .role = wedge_arena_text(copy, row->role),
                                       .kind = row->kind,
                                       .made = row->made,
                                       .made_known = row->made_module != 0,
                                       .count = row->count};
    if (row->what == WEDGE_CENSUS_START || row->what == WEDGE_CENSUS_EXIT) {
        ret->what = row->what == WEDGE_CENSUS_START ? WEDGE_CENSUS_IS_START : WEDGE_CENSUS_IS_EXIT;
        ret->name = row->what == WEDGE_CENSUS_START ? "start" : "exit";
    } else if (row->what > WEDGE_CENSUS_PLACE && row->what < WEDGE_CENSUS_START) {
        ret->what = WEDGE_CENSUS_IS_POINT;
        ret->name = wedge_arena_text(copy, row->what - WEDGE_CENSUS_PLACE);
    } else if (row->what > 0 && row->what <= WEDGE_FN_COUNT) {
        ret->what = WEDGE_CENSUS_IS_FUNCTION;
        ret->function = (enum wedge_function)(row->what - 1);
        ret->name = wedge_functions[ret->function].name;
    } else {
        return false;
    }
    read_site(copy, row->module, row->offset, &ret->from);
    read_site(copy, row->made_module, row->made_offset, &ret->maker);
    return true;
}

static bool is_same_site(const struct wedge_census_site *a, const struct wedge_census_site *b)
{
    return a->offset == b->offset && strcmp(a->module, b->module) == 0;
}

/* The same place by two rows: processes that began at once may have made two rows of one module. */
static bool is_same(const struct wedge_census_place *a, const struct wedge_census_place *b)
{
    return a->what == b->what && strcmp(a->name, b->name) == 0 && strcmp(a->role, b->role) == 0 && a->kind == b->kind &&
           a->made == b->made && a->made_known == b->made_known && is_same_site(&a->from, &b->from) &&
           is_same_site(&a->maker, &b->maker);
}

/* By what they are, so that the same ones stand beside each other. */
static int by_place(const void *left, const void *right)
{
    const struct wedge_census_place *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    order = order ? order : strcmp(a->role, b->role);
    order = order ? order : strcmp(a->from.module, b->from.module);
    order = order ? order : (a->from.offset > b->from.offset) - (a->from.offset < b->from.offset);
    order = order ? order : a->kind - b->kind;
    order = order ? order : a->made - b->made;
    order = order ? order : strcmp(a->maker.module, b->maker.module);
    return order ? order : (a->maker.offset > b->maker.offset) - (a->maker.offset < b->maker.offset);
}

static int by_count(const void *left, const void *right)
{
    const struct wedge_census_place *a = left, *b = right;
    int order = (a->count < b->count) - (a->count > b->count);
    return order ? order : by_place(left, right);
}

static int take(struct wedge_census *census, const struct wedge_arena *arena, struct wedge_err *err)
{
    bool end = false;
    size_t rows = 0;
    int rc = wedge_arena_copy(arena, true, &census->copy, err);
    if (rc)
        return rc;
    for (uint32_t i = 0; !end; i++)
        rows += wedge_arena_census_row(&census->copy, i, &end) != NULL;
    census->places = calloc(rows + 1, sizeof(*census->places));
    if (!census->places)
        return wedge_err_set(err, -ENOMEM, "no memory for %zu places", rows);
    end = false;
    for (uint32_t i = 0; !end && census->n < rows; i++) {
        const struct wedge_arena_census *row = wedge_arena_census_row(&census->copy, i, &end);
        if (row && read_place(&census->copy, row, &census->places[census->n]))
            census->n++;
    }
    qsort(census->places, census->n, sizeof(*census->places), by_place);
    size_t kept = 0;
    for (size_t i = 0; i < census->n; i++) {
        if (kept && is_same(&census->places[kept - 1], &census->places[i]))
            census->places[kept - 1].count += census->places[i].count;
        else
            census->places[kept++] = census->places[i];
    }
    census->n = kept;
    qsort(census->places, census->n, sizeof(*census->places), by_count);
    const struct wedge_arena_header *header = wedge_arena_header(arena);
    census->lost = header->lost_census;
    census->lost_objects = header->lost_objects;
    census->lost_processes = header->lost_procs;
    census->lost_threads = header->lost_threads;
    return 0;
}

static void on_end(void *arg, const struct wedge_arena *arena)
{
    struct taking *taking = arg;
    taking->rc = take(&taking->census, arena, &taking->err);
}

static int show(const struct options *o, struct wedge_census *census, struct wedge_err *err)
{
    wedge_census_name(census);
    if (o->plan) {
        wedge_census_print_plan(census, stdout);
    } else if (o->cli.json) {
        json_t *root = wedge_census_json(census);
        int failed = !root || json_dumpf(root, stdout, JSON_INDENT(2)) || putchar('\n') == EOF;
        json_decref(root);
        if (failed)
            return wedge_err_set(err, -EIO, "cannot write to standard output");
    } else {
        wedge_census_print(census, stdout);
    }
    if (census->lost)
        fprintf(stderr, "wedge: the census is not complete: %" PRIu32 " passes at places that found no room in it\n",
                census->lost);
    if (census->lost_processes || census->lost_threads)
        fprintf(stderr,
                "wedge: the census is not complete: nothing is counted of %" PRIu32 " process%s and %" PRIu32
                " thread%s that found no room in the arena\n",
                census->lost_processes, census->lost_processes == 1 ? "" : "es", census->lost_threads,
                census->lost_threads == 1 ? "" : "s");
    if (census->lost_objects)
        wedge_cli_say(&o->cli, "%" PRIu32 " objects found no room: where they were made is not known",
                      census->lost_objects);
    return 0;
}

int wedge_census_run(const struct wedge_cli *cli, char *const *command, int64_t limit_ns, bool heap,
                     struct wedge_census *ret, struct wedge_outcome *ret_outcome, struct wedge_err *err)
{
    struct taking taking = {.reporter = {.cli = cli}};
    const sigset_t mask = wedge_cli_hold_pipe();
    struct wedge_session session = {.verb = "census",
                                    .mask = &mask,
                                    .argv = command,
                                    .agent = true,
                                    .census = heap ? WEDGE_CENSUS_HEAP : WEDGE_CENSUS_CALLS,
                                    .arena_bytes = ARENA_BYTES,
                                    .limit_ns = limit_ns,
                                    .on_hang = {.kill = true},
                                    .on_note = wedge_cli_on_note,
                                    .on_end = on_end,
                                    .stdout_fd = STDERR_FILENO,
                                    .stderr_fd = -1,
                                    .arg = &taking};
    int rc = wedge_session_run(&session, ret_outcome, err);
    if (!rc && taking.rc) {
        *err = taking.err;
        rc = taking.rc;
        wedge_outcome_free(ret_outcome);
    }
    if (rc)
        wedge_census_free(&taking.census);
    else
        *ret = taking.census;
    return rc;
}

void wedge_census_free(struct wedge_census *census)
{
    wedge_arena_copy_free(&census->copy);
    free(census->places);
    census->places = NULL;
}

int wedge_cli_census(int argc, char **argv)
{
    struct options o = {0};
    struct wedge_err err;
    struct wedge_outcome out;
    struct wedge_census census;
    wedge_cli_defaults(&o.cli);
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &o);
    if (wedge_census_run(&o.cli, o.launch.command, o.launch.limit_ns, o.heap, &census, &out, &err)) {
        wedge_cli_error(&err);
        return WEDGE_EXIT_OWN_FAILURE;
    }
    int status = out.end == WEDGE_LIMIT ? WEDGE_EXIT_HANG : wedge_cli_command_status(&out, o.launch.command[0]);
    if (out.reach.absent[0])
        wedge_cli_say(&o.cli, "not counted in: %s", out.reach.absent);
    int rc = out.end == WEDGE_NO_EXEC ? 0 : show(&o, &census, &err);
    wedge_census_free(&census);
    wedge_outcome_free(&out);
    if (!rc)
        return status;
    wedge_cli_error(&err);
    return WEDGE_EXIT_OWN_FAILURE;
}
