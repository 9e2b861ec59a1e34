/* wedge list: what there is to play. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/list.h"
#include "detector/model.h"
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
static const struct argp argp = {NULL,
                                 parse,
                                 NULL,
                                 "Shows the scenarios, what plans may name, and the verdicts.\vExample:\n  wedge list",
                                 wedge_cli_children,
                                 NULL,
                                 NULL};

/* One scenario as a row or a JSON object. */
static int show(const char *file, const char *prefix, json_t *rows, struct wedge_err *err)
{
    struct wedge_scenario *s;
    int rc = wedge_scenario_load(file, prefix, &s, err);
    if (rc)
        return rc;
    if (rows)
        json_array_append_new(rows,
                              json_pack("{s:s,s:s?,s:s?,s:s,s:s,s:s}", "name", s->name, "item", s->item, "reference",
                                        s->reference, "severity", s->severity, "title", s->title, "learn", s->learn));
    else
        printf("  %-32s %-8s %-20s %s%s%s%s\n", s->name, s->severity, s->checks[WEDGE_CHECK_HANG].expect.kind, s->title,
               s->reference ? " (" : "", s->reference ? s->reference : "", s->reference ? ")" : "");
    wedge_scenario_free(s);
    return 0;
}

static json_t *words_json(const char *const *words)
{
    json_t *array = json_array();
    for (size_t i = 0; words[i]; i++)
        json_array_append_new(array, json_string(words[i]));
    return array;
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
    json_t *rows = cli.json ? json_array() : NULL, *all = NULL;
    int rc = 0;
    if (!rows)
        puts("Scenarios (name, severity, verdict, title, public report):");
    for (char **f = files; *f && !rc; f++)
        rc = show(*f, prefix, rows, &err);
    wedge_strings_free(files);
    if (rows) {
        if (!rc)
            all = json_pack("{s:O,s:o,s:o,s:o}", "scenarios", rows, "functions", wedge_cli_functions_json(), "actions",
                            words_json(wedge_plan_actions), "verdicts", words_json(wedge_verdict_words));
        if (all && json_dumpf(all, stdout, JSON_INDENT(2)) == 0)
            putchar('\n');
        json_decref(all);
        json_decref(rows);
    } else if (!rc) {
        wedge_cli_functions_say();
        puts("\nVerdicts, in the order in which a headline is chosen:");
        for (size_t i = 0; wedge_verdict_words[i]; i++)
            printf("  %s%s\n", wedge_verdict_words[i],
                   wedge_verdict_is_hang((enum wedge_verdict_kind)i) ? "" : " (no hang)");
    }
    return rc ? wedge_cli_error(&err) : WEDGE_EXIT_OK;
}
