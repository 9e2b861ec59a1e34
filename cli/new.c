/*
 * wedge new: a scenario to fill in. What is written parses and runs at once; its comments say what is to be filled in, and which places of
 * the command a fault could go to (a census of one run).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/census.h"
#include "cli/cli.h"
#include "reports/report.h"
#include "scenarios/scenario.h"

struct options {
    struct wedge_cli cli;
    const char *name, *file, *from_hang;
    char **command;
    int64_t limit_ns;
    bool no_census;
};

enum { KEY_FROM_HANG = 256, KEY_LIMIT, KEY_NO_CENSUS, MOST_PLACES = 12, MOST_TEXT = 1 << 20 };
#define CENSUS_NS (10 * WEDGE_NS_PER_S)

static const struct argp_option options[] = {
    {"file", 'f', "FILE", 0, "Write FILE (NAME.yaml in this folder); it must not be there yet", 0},
    {"from-hang", KEY_FROM_HANG, "DIR", 0,
     "Take the command and what is expected from the report of a hang in DIR, as `wedge watch` left it in wedge-out",
     0},
    {"limit", KEY_LIMIT, "TIME", 0, "End the census of the command after this time (10s)", 0},
    {"no-census", KEY_NO_CENSUS, NULL, 0, "Do not run the command to see where faults could go", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->cli;
        return 0;
    case 'f':
        o->file = arg;
        return 0;
    case KEY_FROM_HANG:
        o->from_hang = arg;
        return 0;
    case KEY_LIMIT:
        o->limit_ns = wedge_cli_duration(state, "--limit", arg);
        return 0;
    case KEY_NO_CENSUS:
        o->no_census = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->name) { /* the command, with all that follows */
            o->command = state->argv + state->next - 1;
            state->next = state->argc;
        }
        o->name = o->name ? o->name : arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->name)
            argp_error(state, "what is its name? As in 'wedge new queue/lost-item -- ./my-test'");
        if (!o->command == !o->from_hang)
            argp_error(state, o->command ? "--from-hang has a command already" : "which command? Give it after --");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    "NAME -- COMMAND [ARGUMENT...]\nNAME --from-hang=DIR",
    "Writes a scenario of a command of your own, to be filled in: the faults under which it hangs, "
    "the verdict, and the cure with which it finishes. The file can be played at once, by "
    "`wedge run FILE`. Exit status: 0; 2 bad usage, or the file is there already; 3 wedge failed."
    "\vExample:\n  wedge new queue/lost-item -- ./test_queue --fast",
    wedge_cli_children,
    NULL,
    NULL};

/* What the scenario is to say. Texts are NULL where nobody knows them yet. */
struct draft {
    json_t *command; /* texts */
    const char *kind, *certainty, *scope, *summary;
    json_t *report; /* of --from-hang */
    struct wedge_text plan; /* suggestions, comments each */
};

/* YAML takes a JSON string as one of its own in double quotes. */
static void put_quoted(FILE *out, const json_t *text)
{
    json_dumpf(text, out, JSON_ENCODE_ANY);
}

static int take_command(const struct options *o, struct draft *d, struct wedge_err *err)
{
    const json_t *word;
    size_t i;
    d->command = o->from_hang ? json_copy(json_object_get(json_object_get(d->report, "run"), "command")) : json_array();
    for (char **arg = o->command; arg && *arg; arg++)
        if (json_array_append_new(d->command, json_string(*arg)))
            return wedge_err_input(err, NULL, 0, 0,
                                   "an argument of the command is not UTF-8, which a scenario must be");
    if (!json_array_size(d->command))
        return wedge_err_input(err, NULL, 0, 0, "the report has no command: it was not made by wedge watch -- COMMAND");
    json_array_foreach(d->command, i, word)
        if (strstr(json_string_value(word), "${"))
            return wedge_err_input(err, NULL, 0, 0, "the argument '%s' would be taken for a variable of the scenario",
                                   json_string_value(word));
    return 0;
}

static int read_hang(const char *dir, struct draft *d, struct wedge_err *err)
{
    char path[4200];
    json_error_t why;
    snprintf(path, sizeof(path), "%s/report.json", dir);
    d->report = json_load_file(path, 0, &why);
    if (!d->report)
        return wedge_err_input(err, path, why.line > 0 ? why.line : 0, 0, "no report can be read: %s", why.text);
    const json_t *verdict = json_object_get(d->report, "verdict");
    if (!json_is_true(json_object_get(verdict, "hang")))
        return wedge_err_input(err, path, 0, 0, "this report is of no hang");
    d->kind = wedge_report_text(verdict, "kind");
    d->certainty = wedge_report_text(verdict, "certainty");
    d->scope = wedge_report_text(verdict, "scope");
    d->summary = wedge_report_text(verdict, "summary");
    return 0;
}

/* A place worth being shown first: the program's own calls and points, for which there is a fault that may happen anywhere. */
static bool is_of_program(const struct wedge_census_place *place, const char *program)
{
    const char *slash = strrchr(place->from.module, '/'), *own = strrchr(program, '/');
    if (place->what == WEDGE_CENSUS_IS_POINT)
        return true;
    return place->what == WEDGE_CENSUS_IS_FUNCTION &&
           strcmp(slash ? slash + 1 : place->from.module, own ? own + 1 : program) == 0;
}

/* Lines for the plan, each a comment. */
static int suggest(struct wedge_census *census, const char *program, struct wedge_text *ret)
{
    char *text = NULL;
    size_t len = 0, kept = 0;
    for (size_t i = 0; i < census->n && kept < MOST_PLACES; i++)
        if (is_of_program(&census->places[i], program))
            census->places[kept++] = census->places[i];
    census->n = kept;
    wedge_census_name(census);
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return -ENOMEM;
    wedge_census_print_plan(census, out);
    if (fclose(out) || !text)
        return -ENOMEM;
    char *save = NULL;
    strtok_r(text, "\n", &save); /* "plan 1" */
    for (char *line = strtok_r(NULL, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        wedge_text_addf(ret, "  #%s%s\n", line[0] == '#' ? " " : "   ", line[0] == '#' ? line + 2 : line);
    free(text);
    return ret->cut ? -ENOMEM : 0;
}

/* The command runs once, without a fault. What it prints goes to standard error. */
static int take_census(const struct options *o, struct draft *d, struct wedge_err *err)
{
    struct wedge_census census;
    struct wedge_outcome out;
    size_t n = json_array_size(d->command);
    char **argv = calloc(n + 1, sizeof(*argv));
    if (!argv)
        return wedge_err_set(err, -ENOMEM, "no memory for the command");
    for (size_t i = 0; i < n; i++)
        argv[i] = (char *)json_string_value(json_array_get(d->command, i));
    int rc = wedge_census_run(&o->cli, argv, o->limit_ns, false, &census, &out, err);
    if (!rc && out.end == WEDGE_NO_EXEC)
        rc = wedge_err_input(err, NULL, 0, 0, "cannot execute %s: %s", argv[0], strerror(out.exec_errno));
    else if (!rc && suggest(&census, argv[0], &d->plan))
        rc = wedge_err_set(err, -ENOMEM, "no memory for the census");
    if (!rc && out.end == WEDGE_LIMIT)
        wedge_text_add(&d->plan, "  # The command had not ended by itself: this is what it passed until then.\n");
    if (rc == 0 || out.end == WEDGE_NO_EXEC) {
        wedge_census_free(&census);
        wedge_outcome_free(&out);
    }
    free(argv);
    return rc;
}

static void put_head(const struct options *o, const struct draft *d, FILE *out)
{
    const json_t *word;
    size_t i;
    char plain[4096];
    fprintf(out,
            "# A scenario to be filled in, see wedge-scenario(5). `wedge run FILE` plays it as it is.\n"
            "format: wedge.scenario/1\n"
            "name: %s\n"
            "title: FILL IN one line for people\n"
            "severity: medium\n"
            "learn: FILL IN what there is to learn from it, in one sentence\n"
            "# env(1) is only there to have an argument that the twin can change. Any other will do: an option of your "
            "program,\n"
            "# or another build of it.\n"
            "command: [env, CURED=no",
            o->name);
    json_array_foreach(d->command, i, word) {
        fputs(", ", out);
        put_quoted(out, word);
    }
    fputs("]\n", out);
    if (d->summary && *d->summary)
        fprintf(out, "# What was seen: %s\n", wedge_text_plain(d->summary, plain, sizeof(plain)));
}

static void put_rest(const struct draft *d, FILE *out)
{
    fputs("plan: |\n"
          "  plan 1\n"
          "  # FILL IN the faults that make it hang each time, see wedge-plan(5).\n",
          out);
    if (d->plan.len)
        fprintf(out,
                "  # Places that it passed, each with a fault that may happen there; take away the # of what you want "
                "to try:\n%s",
                d->plan.data);
    fprintf(out,
            "limit: 30s\n"
            "# FILL IN the verdict: `wedge run` says what it is.\n"
            "expect:\n"
            "  kind: %s\n",
            d->kind ? d->kind : "closed-wait");
    if (d->certainty && *d->certainty)
        fprintf(out, "  certainty: %s\n", d->certainty);
    if (d->scope && *d->scope)
        fprintf(out, "  scope: %s\n", d->scope);
    fputs("twin:\n"
          "  cure: FILL IN what cures it\n"
          "  replace: {CURED=no: CURED=yes}\n"
          "  expect:\n"
          "    kind: finished\n",
          out);
}

static int write_draft(const struct options *o, const struct draft *d, const char *file, struct wedge_err *err)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) {
        wedge_err_input(err, NULL, 0, 0, "%s is there already", file);
        wedge_err_remedy(err, "name another file by -f");
        return -EINVAL;
    }
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out)
        return wedge_err_set(err, -errno, "cannot write %s: %s", file, strerror(errno));
    put_head(o, d, out);
    put_rest(d, out);
    bool failed = ferror(out);
    if (fclose(out) || failed)
        return wedge_err_set(err, -EIO, "cannot write %s", file);
    return 0;
}

/* As the reader of scenarios has it; refused before the command runs. */
static int check_name(const char *name, struct wedge_err *err)
{
    if (!wedge_scenario_name_fits(name))
        return wedge_err_input(err, NULL, 0, 0,
                               "a name has letters, digits and ._-/ only, and stays in its folder, not '%s'", name);
    return 0;
}

static void print_json(const char *file)
{
    json_t *root = json_pack("{s:s,s:o}", "schema", "wedge.new/1", "file", wedge_report_string(file));
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

int wedge_cli_new(int argc, char **argv)
{
    struct options o = {.limit_ns = CENSUS_NS};
    struct draft d = {.plan = WEDGE_TEXT_INIT(MOST_TEXT)};
    struct wedge_err err = {0};
    struct stat st;
    char file[4096];
    wedge_cli_defaults(&o.cli);
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &o);
    const char *slash = strrchr(o.name, '/');
    snprintf(file, sizeof(file), "%s%s", o.file ? o.file : slash ? slash + 1 : o.name, o.file ? "" : ".yaml");
    int rc = check_name(o.name, &err);
    if (!rc && lstat(file, &st) == 0) {
        rc = wedge_err_input(&err, NULL, 0, 0, "%s is there already", file);
        wedge_err_remedy(&err, "name another file by -f");
    }
    if (!rc && o.from_hang)
        rc = read_hang(o.from_hang, &d, &err);
    if (!rc)
        rc = take_command(&o, &d, &err);
    if (!rc && !o.no_census)
        rc = take_census(&o, &d, &err);
    if (!rc)
        rc = write_draft(&o, &d, file, &err);
    int status = rc ? wedge_cli_error(&err) : WEDGE_EXIT_OK;
    if (!rc && o.cli.json)
        print_json(file);
    else if (!rc && !o.cli.quiet)
        printf("%s is written, to be filled in; `wedge run %s` plays it\n", file, file);
    json_decref(d.command);
    json_decref(d.report);
    wedge_text_free(&d.plan);
    return status;
}
