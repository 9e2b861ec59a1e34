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

static bool has_frame(const json_t *report, const json_t *thread, const char *function)
{
    const json_t *frame, *stack = wedge_report_stack(report, thread);
    for (size_t i = 0; (frame = wedge_report_frame(report, stack, i)); i++) {
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

/* Who is dead has no stack, and who lives no last place. */
static bool is_party(const json_t *report, const char *node, const struct wedge_party *party)
{
    size_t i, j;
    const json_t *process, *thread, *dead;
    json_array_foreach(json_object_get(report, "processes"), i, process) {
        json_array_foreach(json_object_get(process, "threads"), j, thread) {
            if (is_node(thread, node))
                return has_role(process, party->role) && !party->point &&
                       (!party->function || has_frame(report, thread, party->function));
        }
    }
    json_array_foreach(json_object_get(report, "dead"), i, dead) {
        if (is_node(dead, node))
            return !party->function && has_role(dead, party->role) &&
                   (!party->point || strcmp(wedge_report_text(dead, "last_point"), party->point) == 0);
    }
    return false;
}

bool wedge_headline_names(const json_t *report, const char *list, const struct wedge_party *party)
{
    size_t i;
    const json_t *named;
    json_array_foreach(json_object_get(json_object_get(report, "verdict"), list), i, named) {
        const char *node = json_string_value(json_object_get(named, "node"));
        if (node && is_party(report, node, party))
            return true;
    }
    return false;
}
