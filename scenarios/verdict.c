#include "scenarios/verdict.h"

#include <string.h>

#include "reports/report.h"

struct wedge_headline wedge_headline(const json_t *report)
{
    struct wedge_headline h = {.kind = wedge_report_text(report, "verdict.kind"),
                               .certainty = wedge_report_text(report, "verdict.certainty"),
                               .scope = wedge_report_text(report, "verdict.scope"),
                               .signature = wedge_report_text(report, "verdict.signature"),
                               .summary = wedge_report_text(report, "verdict.summary")};
    h.hang = json_is_true(json_object_get(json_object_get(report, "verdict"), "hang"));
    h.proved = strcmp(h.certainty, "proved") == 0;
    h.whole = strcmp(h.scope, "whole") == 0;
    return h;
}

static bool has_role(const json_t *owner, const char *role)
{
    const char *name = json_string_value(json_object_get(json_object_get(owner, "role"), "name"));
    return !role || (name && strcmp(name, role) == 0);
}

static bool has_frame(const json_t *thread, const char *function)
{
    size_t i;
    const json_t *frame;
    json_array_foreach(json_object_get(thread, "frames"), i, frame) {
        const char *name = json_string_value(json_object_get(frame, "function"));
        if (name && strcmp(name, function) == 0)
            return true;
    }
    return false;
}

static bool is_node(const json_t *thing, const char *node)
{
    const char *name = json_string_value(json_object_get(thing, "node"));
    return name && strcmp(name, node) == 0;
}

/* A dead culprit has no stack: it answers for its role alone. */
static bool names(const json_t *report, const char *node, const char *role, const char *function)
{
    size_t i, j;
    const json_t *process, *thread, *dead;
    json_array_foreach(json_object_get(report, "processes"), i, process) {
        json_array_foreach(json_object_get(process, "threads"), j, thread) {
            if (is_node(thread, node))
                return has_role(process, role) && (!function || has_frame(thread, function));
        }
    }
    json_array_foreach(json_object_get(report, "dead"), i, dead) {
        if (is_node(dead, node))
            return !function && has_role(dead, role);
    }
    return false;
}

bool wedge_headline_names_culprit(const json_t *report, const char *role, const char *function)
{
    size_t i;
    const json_t *culprit;
    json_array_foreach(json_object_get(json_object_get(report, "verdict"), "culprits"), i, culprit) {
        const char *node = json_string_value(json_object_get(culprit, "node"));
        if (node && names(report, node, role, function))
            return true;
    }
    return false;
}
