/* wedge list: what there is to play. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rt/arena.h"
#include "cli/cli.h"
#include "detector/model.h"
#include "faults/functions.h"
#include "faults/plan.h"
#include "scenarios/scenario.h"
#include "scenarios/strings.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = state->input;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}
static const struct argp_child children[] = {{&wedge_cli_argp, 0, "Common options:", 1}, {0}};
static const struct argp argp = {NULL,     parse, NULL, "Shows the scenarios and the verdicts.\vExample:\n  wedge list",
                                 children, NULL,  NULL};

/* One scenario as a row or a JSON object. */
static int show(const char *file, const char *prefix, json_t *rows, struct wedge_err *err)
{
    struct wedge_scenario *s;
    int rc = wedge_scenario_load(file, prefix, &s, err);
    if (rc)
        return rc;
    if (rows)
        json_array_append_new(rows, json_pack("{s:s,s:s?,s:s,s:s,s:s}", "name", s->name, "item", s->item, "severity",
                                              s->severity, "title", s->title, "learn", s->learn));
    else
        printf("  %-20s %-8s %-20s %s\n", s->name, s->severity, s->checks[WEDGE_CHECK_HANG].expect.kind, s->title);
    wedge_scenario_free(s);
    return 0;
}

/* What a plan may name beside the target's own places. */
static void say_words(void)
{
    puts("\nFunctions for plans (NAME:family is all of one line):");
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++) {
        size_t first = 0;
        while (strcmp(wedge_functions[first].family, wedge_functions[i].family) != 0)
            first++;
        if (first < i)
            continue;
        fputs(" ", stdout);
        for (size_t j = i; j < WEDGE_FN_COUNT; j++)
            if (strcmp(wedge_functions[j].family, wedge_functions[i].family) == 0)
                printf(" %s", wedge_functions[j].name);
        putchar('\n');
    }
    fputs("\nActions:", stdout);
    for (size_t i = 0; wedge_plan_actions[i]; i++)
        if (i != WEDGE_ACT_CORRUPT) /* a word of the language that no plan may use yet */
            printf(" %s", wedge_plan_actions[i]);
    putchar('\n');
}

int wedge_cli_list(int argc, char **argv)
{
    struct wedge_cli cli;
    struct wedge_err err;
    char **files;
    wedge_cli_defaults(&cli);
    argp_parse(&argp, argc, argv, 0, NULL, &cli);
    const char *prefix = wedge_cli_prefix(&err), *dir = prefix ? wedge_cli_scenarios(&err) : NULL;
    if (!dir || wedge_scenario_list(dir, "*", &files, &err))
        return wedge_cli_error(&err);
    json_t *rows = cli.json ? json_array() : NULL;
    int rc = 0;
    if (!rows)
        puts("Scenarios (name, severity, verdict, title):");
    for (char **f = files; *f && !rc; f++)
        rc = show(*f, prefix, rows, &err);
    wedge_strings_free(files);
    if (rows) {
        if (!rc && json_dumpf(rows, stdout, JSON_INDENT(2)) == 0)
            putchar('\n');
        json_decref(rows);
    } else if (!rc) {
        say_words();
        puts("\nVerdicts, in the order in which a headline is chosen:");
        for (size_t i = 0; wedge_verdict_words[i]; i++)
            printf("  %s%s\n", wedge_verdict_words[i],
                   wedge_verdict_is_hang((enum wedge_verdict_kind)i) ? "" : " (no hang)");
    }
    return rc ? wedge_cli_error(&err) : WEDGE_EXIT_OK;
}
