/*
 * The matrix as a page: HTML and a style sheet, no script. Every text of the model passes wedge_markup_text; links lead to
 * reports beside the page, by names that the run's own checks have.
 */
#include <errno.h>
#include <string.h>

#include "base/duration.h"
#include "reports/ablation.h"
#include "reports/markup.h"
#include "reports/report.h"
#include "reports/words.h"
#include "reports/write.h"

enum { MOST_BYTES = 64 << 20 };

static void put(struct wedge_text *out, const char *before, const char *text, const char *after)
{
    wedge_text_add(out, before);
    wedge_markup_text(out, text);
    wedge_text_add(out, after);
}

static bool is_reported(const json_t *model)
{
    return strcmp(wedge_report_text(model, "preset"), "reported") == 0;
}

static void put_head(struct wedge_text *out, const json_t *model, const char *nonce)
{
    wedge_text_addf(out,
                    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'nonce-%s'; "
                    "base-uri 'none'; form-action 'none'\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                    "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" "
                    "content=\"no-referrer\">\n",
                    nonce);
    put(out, "<title>Ablation of ", wedge_report_text(model, "preset"), " – wedge</title>\n");
    wedge_text_addf(out, "<style nonce=\"%s\">\n", nonce);
    wedge_markup_asset(out, "report.css", strlen("report.css"));
    wedge_markup_asset(out, "ablation.css", strlen("ablation.css"));
    wedge_text_add(out, "</style>\n</head>\n<body class=\"ablation\">\n");
}

static void put_title(struct wedge_text *out, const json_t *model)
{
    char took[32];
    double seconds = json_number_value(json_object_get(model, "seconds"));
    wedge_duration_text((int64_t)(seconds * 1e9), took, sizeof(took));
    wedge_text_addf(out,
                    "<header>\n<p class=\"run\"><span class=\"brand\">wedge</span> %" JSON_INTEGER_FORMAT
                    " of %" JSON_INTEGER_FORMAT " combinations played in %s, %" JSON_INTEGER_FORMAT " × each%s</p>\n",
                    json_integer_value(json_object_get(model, "played")),
                    json_integer_value(json_object_get(model, "cells")), took,
                    json_integer_value(json_object_get(model, "rounds")),
                    json_is_true(json_object_get(model, "complete")) ? "" : "; the run has not come to its end");
    put(out, "<div class=\"title\"><h1>Ablation of <span class=\"mono\">", wedge_report_text(model, "preset"),
        "</span></h1></div>\n");
    wedge_text_add(out,
                   is_reported(model)
                       ? "<p class=\"summary\">Each cure of the pool turned on alone: which hang it takes away, and "
                         "which it does not.</p>\n"
                       : "<p class=\"summary\">Each cure that the preset has turned off alone, and each that it has "
                         "not turned on alone: what comes back, and what goes.</p>\n");
    wedge_text_add(out, "</header>\n");
}

/* What a reader sees when the mouse rests on a cell. */
static void put_tip(struct wedge_text *out, const json_t *cell, const char *means)
{
    char took[32];
    wedge_duration_text((int64_t)(json_number_value(json_object_get(cell, "seconds")) * 1e9), took, sizeof(took));
    wedge_text_add(out, " title=\"");
    if (*wedge_report_text(cell, "set"))
        put(out, "", wedge_report_text(cell, "set"), ": ");
    wedge_markup_text(out, means);
    if (json_is_string(json_object_get(cell, "files")))
        put(out, ": ", wedge_report_text(cell, "verdict"), "");
    if (*wedge_report_text(cell, "certainty"))
        put(out, ", ", wedge_report_text(cell, "certainty"), "");
    wedge_text_addf(out, " (%s)", took);
    if (*wedge_report_text(cell, "detail"))
        put(out, "&#10;", wedge_report_text(cell, "detail"), "");
    if (*wedge_report_text(cell, "counts"))
        put(out, "&#10;", wedge_report_text(cell, "counts"), "");
    wedge_text_add(out, "\"");
}

static void put_cell(struct wedge_text *out, const json_t *scenario, const json_t *cell, const char *column)
{
    struct wedge_ablation_mark mark = wedge_ablation_mark(wedge_report_text(cell, "outcome"));
    bool linked = json_is_string(json_object_get(cell, "files"));
    const char *changed = wedge_ablation_change(scenario, cell) == WEDGE_ABLATION_SAME ? "" : " changed";
    wedge_text_addf(out, "<td class=\"cell %s %s%s\"", column, mark.class, changed);
    put_tip(out, cell, mark.means);
    wedge_text_add(out, ">");
    if (linked)
        put(out, "<a href=\"", wedge_report_text(cell, "files"), "/report.html\">");
    wedge_markup_text(out, strcmp(mark.letter, ".") == 0 ? "✓" : mark.letter);
    wedge_text_add(out, linked ? "</a></td>" : "</td>");
}

static void put_columns(struct wedge_text *out, const json_t *model)
{
    const json_t *cure;
    size_t i;
    wedge_text_add(out, "<thead><tr><th class=\"name\">scenario</th><th class=\"turned\"><span>as it is</span></th>");
    json_array_foreach(json_object_get(model, "cures"), i, cure) {
        wedge_text_add(out, "<th class=\"turned\"><span class=\"mono\">");
        put(out, "", wedge_report_text(cure, "setting"), "=");
        put(out, "", wedge_report_text(cure, "value"), "</span></th>");
    }
    if (json_is_object(json_object_get(json_array_get(json_object_get(model, "scenarios"), 0), "twin")))
        wedge_text_add(out, "<th class=\"turned\"><span>its own cure</span></th>");
    wedge_text_add(out, "</tr></thead>\n");
}

static void put_matrix(struct wedge_text *out, const json_t *model)
{
    const json_t *scenario, *cell;
    size_t i, k;
    wedge_text_add(
        out, "<section><h2>The matrix</h2><p class=\"lead\">A framed cell is one in which the cure alone changes what "
             "comes of the scenario. A letter leads to the report of that hang. Where threads race, "
             "<code>--repeat</code> shows it.</p>\n"
             "<div class=\"card table\"><table class=\"matrix\">\n");
    put_columns(out, model);
    json_array_foreach(json_object_get(model, "scenarios"), i, scenario) {
        const char *name = wedge_report_text(scenario, "name"), *slash = strrchr(name, '/');
        const json_t *twin = json_object_get(scenario, "twin");
        put(out, "<tr><th class=\"name\" scope=\"row\"><b>", slash ? slash + 1 : name, "</b> ");
        put(out, "<span>", wedge_report_text(scenario, "title"), "</span></th>");
        put_cell(out, scenario, json_object_get(scenario, "as_is"), "as-is");
        json_array_foreach(json_object_get(scenario, "cures"), k, cell)
            put_cell(out, scenario, cell, "cure");
        if (json_is_object(twin))
            put_cell(out, scenario, twin, "own");
        wedge_text_add(out, "</tr>\n");
    }
    wedge_text_add(out, "</table></div>\n<ul class=\"legend\">");
    for (i = 0; wedge_ablation_mark_at(i).outcome; i++) {
        struct wedge_ablation_mark mark = wedge_ablation_mark_at(i);
        if (strcmp(mark.class, "none") == 0)
            continue;
        wedge_text_addf(out, "<li><span class=\"cell %s\">%s</span> ", mark.class,
                        strcmp(mark.letter, ".") == 0 ? "✓" : mark.letter);
        put(out, "", mark.means, "</li>");
    }
    wedge_text_add(out, "</ul></section>\n");
}

static bool has_names(const json_t *model, size_t number, enum wedge_ablation_change change)
{
    const json_t *scenario;
    size_t i;
    json_array_foreach(json_object_get(model, "scenarios"), i, scenario)
        if (wedge_ablation_change(scenario, json_array_get(json_object_get(scenario, "cures"), number)) == change)
            return true;
    return false;
}

static void put_names(struct wedge_text *out, const json_t *model, size_t number, enum wedge_ablation_change change)
{
    const json_t *scenario;
    size_t i;
    bool any = false;
    wedge_text_add(out, "<td class=\"wide\">");
    json_array_foreach(json_object_get(model, "scenarios"), i, scenario) {
        const char *name = wedge_report_text(scenario, "name"), *slash = strrchr(name, '/');
        if (wedge_ablation_change(scenario, json_array_get(json_object_get(scenario, "cures"), number)) != change)
            continue;
        put(out, any ? ", " : "", slash ? slash + 1 : name, "");
        any = true;
    }
    wedge_text_add(out, "</td>");
}

static void put_setting(struct wedge_text *out, const char *before, const json_t *cure, const char *after)
{
    put(out, before, wedge_report_text(cure, "setting"), "=");
    put(out, "", wedge_report_text(cure, "value"), after);
}

/* Cures that no cell of theirs tells from the scenario as it is. */
static void put_idle(struct wedge_text *out, const json_t *model)
{
    const json_t *cure;
    size_t i;
    bool any = false;
    json_array_foreach(json_object_get(model, "cures"), i, cure) {
        if (has_names(model, i, WEDGE_ABLATION_CURED) || has_names(model, i, WEDGE_ABLATION_ENDS) ||
            has_names(model, i, WEDGE_ABLATION_WORSE))
            continue;
        put_setting(out, any ? ", <code>" : "<p class=\"muted\">Alone they change nothing in these scenarios: <code>",
                    cure, "</code>");
        any = true;
    }
    wedge_text_add(out, any ? ".</p>\n" : "");
}

/* What no cure alone is enough for, with what its twin says it takes. */
static void put_needing_more(struct wedge_text *out, const json_t *model)
{
    const json_t *scenario;
    size_t i;
    bool any = false;
    json_array_foreach(json_object_get(model, "scenarios"), i, scenario) {
        if (!wedge_ablation_needs_more(scenario))
            continue;
        put(out, any ? ", <b>" : "<p>No cure alone is enough for <b>", wedge_report_text(scenario, "name"), "</b>");
        put(out, " (", wedge_report_text(scenario, "twin_cure"), ")");
        any = true;
    }
    wedge_text_add(out, any ? ".</p>\n" : "");
}

static void put_cures(struct wedge_text *out, const json_t *model)
{
    const json_t *cure;
    size_t i;
    wedge_text_add(out,
                   "<section><h2>Each cure alone</h2>\n<div class=\"card table\"><table><tr><th>setting</th><th>cures "
                   "alone</th><th>ends the hang, but loses</th><th>makes worse</th></tr>\n");
    json_array_foreach(json_object_get(model, "cures"), i, cure) {
        if (!has_names(model, i, WEDGE_ABLATION_CURED) && !has_names(model, i, WEDGE_ABLATION_ENDS) &&
            !has_names(model, i, WEDGE_ABLATION_WORSE))
            continue;
        put_setting(out, "<tr><td class=\"mono\">", cure, "</td>");
        put_names(out, model, i, WEDGE_ABLATION_CURED);
        put_names(out, model, i, WEDGE_ABLATION_ENDS);
        put_names(out, model, i, WEDGE_ABLATION_WORSE);
        wedge_text_add(out, "</tr>\n");
    }
    wedge_text_add(out, "</table></div>\n");
    put_idle(out, model);
    put_needing_more(out, model);
    wedge_text_add(out, "</section>\n");
}

/* Cells that say nothing, each with its reason, and what was not played at all. */
static void put_open(struct wedge_text *out, const json_t *model)
{
    const json_t *scenario, *cell, *other;
    size_t i, k;
    bool any = false;
    json_array_foreach(json_object_get(model, "scenarios"), i, scenario)
        json_array_foreach(json_object_get(scenario, "cures"), k, cell) {
            struct wedge_ablation_mark mark = wedge_ablation_mark(wedge_report_text(cell, "outcome"));
            if (strcmp(mark.class, "odd") != 0)
                continue;
            wedge_text_add(out, any ? "" : "<section><h2>Cells that say nothing</h2>\n<ul class=\"open\">");
            put(out, "<li><b>", wedge_report_text(scenario, "name"), "</b> with ");
            put(out, "<code>", wedge_report_text(cell, "set"), "</code> ");
            put(out, "", mark.outcome, ": ");
            put(out, "", wedge_report_text(cell, "detail"), "</li>\n");
            any = true;
        }
    wedge_text_add(out, any ? "</ul></section>\n" : "");
    if (json_array_size(json_object_get(model, "left_out")))
        wedge_text_add(out, "<section><h2>Left out</h2>\n<ul class=\"open\">");
    json_array_foreach(json_object_get(model, "left_out"), i, other) {
        put(out, "<li><b>", wedge_report_text(other, "scenario"), "</b> ");
        put(out, "", wedge_report_text(other, "why"), "</li>\n");
    }
    if (json_array_size(json_object_get(model, "left_out")))
        wedge_text_add(out, "</ul></section>\n");
    if (json_array_size(json_object_get(model, "fixed")))
        wedge_text_add(out, "<section><h2>Not settings of this preset</h2>\n<p class=\"muted\">");
    json_array_foreach(json_object_get(model, "fixed"), i, other) {
        wedge_text_add(out, i ? ", <code>" : "<code>");
        put(out, "", json_string_value(other), "</code>");
    }
    if (json_array_size(json_object_get(model, "fixed")))
        wedge_text_add(out, ": here they are part of the design, and cannot be turned.</p></section>\n");
}

int wedge_ablation_write_html(const json_t *model, int dirfd, const char *name, struct wedge_err *err)
{
    struct wedge_text out = WEDGE_TEXT_INIT(MOST_BYTES);
    char nonce[WEDGE_NONCE_CHARS];
    int rc = wedge_markup_nonce(nonce, err);
    if (rc)
        return rc;
    put_head(&out, model, nonce);
    put_title(&out, model);
    wedge_text_add(&out, "<main>\n");
    put_matrix(&out, model);
    put_cures(&out, model);
    put_open(&out, model);
    wedge_text_add(&out, "</main>\n<footer><p>Written by wedge. This page needs no network and loads "
                         "nothing.</p></footer>\n</body>\n</html>\n");
    rc = out.cut ? wedge_err_set(err, -ENOMEM, "no memory for %s", name)
                 : wedge_report_save(dirfd, name, out.data, out.len, err);
    wedge_text_free(&out);
    return rc;
}
