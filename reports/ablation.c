#include "reports/ablation.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "reports/report.h"

static const struct wedge_ablation_mark marks[] = {
    {"hangs", "H", "hangs", "\033[31m", "hangs"},
    {"finishes", ".", "finishes", "\033[32m", "finishes, and every task is reported"},
    {"contends", "C", "loses", "\033[33m", "ends, but somebody waits too long behind one holder"},
    {"loses", "L", "loses", "\033[33m",
     "ends, but tasks are never reported, something stays behind, or what else the scenario shows"},
    {"fails", "F", "loses", "\033[33m", "ends with a status that nothing expects"},
    {"invalid", "!", "odd", "\033[35m", "says nothing: a fault of the plan did not happen under this setting"},
    {"unclear", "?", "odd", "\033[35m", "neither hung for certain nor finished within its limit"},
    {"varies", "~", "odd", "\033[35m", "not the same in every round"},
    {"not played", " ", "none", "", "not played"},
};
enum { MARKS = sizeof(marks) / sizeof(marks[0]) };

struct wedge_ablation_mark wedge_ablation_mark_at(size_t i)
{
    return i < MARKS ? marks[i] : (struct wedge_ablation_mark){0};
}

struct wedge_ablation_mark wedge_ablation_mark(const char *outcome)
{
    for (size_t i = 0; i < MARKS; i++)
        if (strcmp(marks[i].outcome, outcome) == 0)
            return marks[i];
    return marks[MARKS - 1];
}

static bool is(const json_t *cell, const char *outcome)
{
    return strcmp(wedge_report_text(cell, "outcome"), outcome) == 0;
}

static bool is_bad(const json_t *cell)
{
    return is(cell, "hangs") || is(cell, "contends") || is(cell, "loses") || is(cell, "fails");
}

enum wedge_ablation_change wedge_ablation_change(const json_t *scenario, const json_t *cell)
{
    const json_t *as_is = json_object_get(scenario, "as_is");
    if (is_bad(as_is) && is(cell, "finishes"))
        return WEDGE_ABLATION_CURED;
    if (is(as_is, "hangs") && (is(cell, "loses") || is(cell, "fails")))
        return WEDGE_ABLATION_ENDS;
    if (is(as_is, "finishes") && (is_bad(cell) || is(cell, "unclear")))
        return WEDGE_ABLATION_WORSE;
    return is_bad(as_is) && !is(as_is, "hangs") && is(cell, "hangs") ? WEDGE_ABLATION_WORSE : WEDGE_ABLATION_SAME;
}

bool wedge_ablation_needs_more(const json_t *scenario)
{
    const json_t *cell;
    size_t i;
    json_array_foreach(json_object_get(scenario, "cures"), i, cell)
        if (!is_bad(cell))
            return false;
    return is_bad(json_object_get(scenario, "as_is"));
}

static void put_cell(FILE *out, const json_t *cell, bool color)
{
    struct wedge_ablation_mark mark = wedge_ablation_mark(cell ? wedge_report_text(cell, "outcome") : "not played");
    fprintf(out, "  %s%s%s", color ? mark.color : "", mark.letter, color && *mark.color ? "\033[0m" : "");
}

static void put_matrix(const json_t *model, FILE *out, bool color)
{
    const json_t *scenario, *cell, *scenarios = json_object_get(model, "scenarios");
    size_t i, k, n = json_array_size(json_object_get(model, "cures"));
    int width = 8;
    json_array_foreach(scenarios, i, scenario)
        width = (int)strlen(wedge_report_text(scenario, "name")) > width
                    ? (int)strlen(wedge_report_text(scenario, "name"))
                    : width;
    fprintf(out, "%*s  =", width, "");
    for (i = 0; i < n; i++)
        fprintf(out, " %2zu", i + 1);
    fputs("  +\n", out);
    json_array_foreach(scenarios, i, scenario) {
        fprintf(out, "%-*s", width, wedge_report_text(scenario, "name"));
        put_cell(out, json_object_get(scenario, "as_is"), color);
        json_array_foreach(json_object_get(scenario, "cures"), k, cell)
            put_cell(out, cell, color);
        put_cell(out, json_is_null(json_object_get(scenario, "twin")) ? NULL : json_object_get(scenario, "twin"),
                 color);
        putc('\n', out);
    }
    fprintf(out, "\n=   as it is;  +   with the cure that the scenario itself names;");
    for (i = 0; wedge_ablation_mark_at(i).outcome; i++)
        if (*wedge_ablation_mark_at(i).class && strcmp(wedge_ablation_mark_at(i).class, "none") != 0)
            fprintf(out, "\n%s   %s", wedge_ablation_mark_at(i).letter, wedge_ablation_mark_at(i).means);
    fputs("\n\n", out);
}

/* The names of the scenarios that cure number `i` changed so. */
static void put_changed(const json_t *model, size_t number, enum wedge_ablation_change change, const char *words,
                        FILE *out)
{
    const json_t *scenario;
    size_t i;
    bool any = false;
    json_array_foreach(json_object_get(model, "scenarios"), i, scenario) {
        const json_t *cell = json_array_get(json_object_get(scenario, "cures"), number);
        if (wedge_ablation_change(scenario, cell) != change)
            continue;
        fprintf(out, "%s %s", any ? "," : words, wedge_report_text(scenario, "name"));
        any = true;
    }
    fputs(any ? ";" : "", out);
}

int wedge_ablation_write_text(const json_t *model, FILE *out, bool color, struct wedge_err *err)
{
    const json_t *cure, *scenario, *other;
    size_t i;
    bool any = false;
    put_matrix(model, out, color);
    json_array_foreach(json_object_get(model, "cures"), i, cure) {
        fprintf(out, "%2zu  %s=%s", i + 1, wedge_report_text(cure, "setting"), wedge_report_text(cure, "value"));
        put_changed(model, i, WEDGE_ABLATION_CURED, "  cures alone:", out);
        put_changed(model, i, WEDGE_ABLATION_ENDS, "  ends the hang, but loses:", out);
        put_changed(model, i, WEDGE_ABLATION_WORSE, "  makes worse:", out);
        putc('\n', out);
    }
    json_array_foreach(json_object_get(model, "scenarios"), i, scenario) {
        if (!wedge_ablation_needs_more(scenario))
            continue;
        fprintf(out, "%s %s", any ? "," : "\nno cure alone is enough for", wedge_report_text(scenario, "name"));
        any = true;
    }
    fputs(any ? "\n" : "", out);
    json_array_foreach(json_object_get(model, "left_out"), i, other)
        fprintf(out, "%sleft out: %s %s\n", i ? "" : "\n", wedge_report_text(other, "scenario"),
                wedge_report_text(other, "why"));
    return ferror(out) || fflush(out) ? wedge_err_set(err, -EIO, "cannot write the matrix") : 0;
}
