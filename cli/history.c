/* wedge history: how it went before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "cli/cli.h"
#include "reports/report.h"
#include "reports/store.h"
#include "scenarios/ablation.h"

struct options {
    struct wedge_cli cli;
    char **patterns;
    long last;
    const char *ablate; /* a preset; NULL: of plain runs */
};

enum { KEY_LAST = 256, KEY_ABLATE, DEFAULT_LAST = 100, MOST_LAST = 1000000 };
static const struct argp_option options[] = {
    {"ablate", KEY_ABLATE, "PRESET", 0,
     "Of the runs with --ablate=PRESET: what each scenario came to with each setting", 0},
    {"last", KEY_LAST, "N", 0, "Of the last N runs (100)", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->cli;
        return 0;
    case KEY_LAST:
        o->last = wedge_cli_number(state, "last", arg, MOST_LAST);
        return 0;
    case KEY_ABLATE:
        o->ablate = arg;
        return 0;
    case ARGP_KEY_ARGS:
        o->patterns = state->argv + state->next;
        state->next = state->argc;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    "[PATTERN...]",
    "Shows how the runs of `wedge run` went whose results are in the folder of -o: of each "
    "check how often it passed, what it came to, how long it took, and whether that changed."
    "\vExample:\n  wedge history '1.1*'",
    wedge_cli_children,
    NULL,
    NULL};

static const char *seconds(const json_t *check, const char *field, char *buf, size_t size)
{
    double value = json_number_value(json_object_get(json_object_get(check, "seconds"), field));
    return wedge_duration_text((int64_t)(value * 1e9), buf, size);
}

/* "orphaned-wait", or all there were with their number. */
static void put_verdicts(const json_t *check, FILE *out)
{
    const char *word;
    json_t *n, *verdicts = json_object_get(check, "verdicts");
    bool any = false;
    json_object_foreach(verdicts, word, n) {
        fprintf(out, "%s%s", any ? ", " : "", *word ? word : "none");
        if (json_object_size(verdicts) > 1)
            fprintf(out, " %" JSON_INTEGER_FORMAT, json_integer_value(n));
        any = true;
    }
}

static void show(const struct options *o, const json_t *history, FILE *out)
{
    const json_t *check, *run;
    size_t i, killed = 0, partial = 0, runs = json_array_size(json_object_get(history, "runs"));
    json_array_foreach(json_object_get(history, "runs"), i, run) {
        killed += json_is_null(json_object_get(run, "exit"));
        partial += !json_is_null(json_object_get(run, "exit")) && !json_is_true(json_object_get(run, "complete"));
    }
    fprintf(out, "%-34s %-9s %7s %7s %9s %20s  %-7s %s\n", "scenario", "check", "rounds", "passed", "median",
            "least - most", "trend", "came to");
    json_array_foreach(json_object_get(history, "checks"), i, check) {
        char median[32], least[32], most[32], range[72];
        const char *trend = wedge_report_text(check, "trend");
        const char *color = !o->cli.color || strcmp(trend, "steady") == 0 ? ""
                            : strcmp(trend, "mended") == 0                ? "\033[32m"
                                                                          : "\033[31m";
        snprintf(range, sizeof(range), "%s - %s", seconds(check, "least", least, sizeof(least)),
                 seconds(check, "most", most, sizeof(most)));
        fprintf(out, "%-34s %-9s %7" JSON_INTEGER_FORMAT " %7" JSON_INTEGER_FORMAT " %9s %20s  %s%-7s%s ",
                wedge_report_text(check, "scenario"), wedge_report_text(check, "check"),
                json_integer_value(json_object_get(check, "rounds")),
                json_integer_value(json_object_get(check, "passed")), seconds(check, "median", median, sizeof(median)),
                range, color, trend, *color ? "\033[0m" : "");
        put_verdicts(check, out);
        if (json_is_integer(json_object_get(check, "since")))
            fprintf(out, " (changed in run %" JSON_INTEGER_FORMAT ")",
                    json_integer_value(json_object_get(check, "since")));
        putc('\n', out);
    }
    fprintf(out, "\n%zu run%s", runs, runs == 1 ? "" : "s");
    if (partial)
        fprintf(out, ", %zu ended before all was played", partial);
    if (killed)
        fprintf(out, ", %zu killed or still running", killed);
    putc('\n', out);
}

int wedge_cli_history(int argc, char **argv)
{
    struct options o = {.last = DEFAULT_LAST};
    struct wedge_err err = {0};
    json_t *history;
    wedge_cli_defaults(&o.cli);
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    char verb[64];
    int rc = wedge_store_history(o.cli.dir, o.ablate ? wedge_ablation_verb(o.ablate, verb, sizeof(verb)) : "run",
                                 o.last, o.patterns, &history, &err);
    if (rc == -ENOENT) {
        wedge_err_input(&err, NULL, 0, 0, "no run has left its results in %s", o.cli.dir);
        wedge_err_remedy(&err, "`wedge run` does; -o names another folder");
    }
    if (rc)
        return wedge_cli_error(&err);
    if (o.cli.json)
        printf("%s", json_dumpf(history, stdout, JSON_INDENT(2)) ? "" : "\n");
    else
        show(&o, history, stdout);
    json_decref(history);
    return WEDGE_EXIT_OK;
}
