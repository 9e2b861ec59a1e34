/* A copy of a run's arena, as a table and as wedge.ctl/1. A target may have scribbled on it: texts are bounded. */
#include "cli/ctl.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "faults/control.h"

enum { WORDS = WEDGE_ARENA_RULES / 64, MOST_TEXT = sizeof(((struct wedge_arena_rule *)0)->text) };

struct rule { /* as it is shown */
    uint32_t number;
    char id[WEDGE_RULE_ID_BYTES + 1], text[MOST_TEXT + 1];
    const char *state;
    uint64_t hits, fired;
    uint32_t holding;
};

static bool is_wanted(const struct wedge_ctl_view *view, const char *name)
{
    for (size_t i = 0; i < view->n_names; i++)
        if (strcmp(view->names[i], name) == 0)
            return true;
    return view->n_names == 0;
}

static uint32_t count_rules(const struct wedge_ctl_view *view)
{
    const struct wedge_arena_control *control = wedge_arena_at(&view->copy, WEDGE_SEC_CONTROL, 0);
    return !control ? 0 : control->n_rules < WEDGE_ARENA_RULES ? control->n_rules : WEDGE_ARENA_RULES;
}

static bool is_quiesced(const struct wedge_ctl_view *view)
{
    const struct wedge_arena_control *control = wedge_arena_at(&view->copy, WEDGE_SEC_CONTROL, 0);
    return control && control->quiesce;
}

static bool read_rule(const struct wedge_ctl_view *view, uint32_t number, struct rule *ret)
{
    const struct wedge_arena_rule *rule = wedge_arena_at(&view->copy, WEDGE_SEC_RULES, number);
    uint64_t armed[WORDS];
    if (!rule)
        return false;
    wedge_control_armed(&view->copy, armed);
    *ret = (struct rule){.number = number,
                         .hits = wedge_arena_copy_hits(&view->copy, number),
                         .fired = rule->fired,
                         .holding = rule->holding};
    memcpy(ret->id, rule->id, WEDGE_RULE_ID_BYTES);
    memcpy(ret->text, rule->text, MOST_TEXT);
    bool is_armed = armed[number / 64] >> (number % 64) & 1;
    ret->state = is_quiesced(view) ? "quiesced" : !is_armed ? "disarmed" : rule->released % 2 ? "released" : "armed";
    return true;
}

static const char *plain(const char *text)
{
    static char buf[4 * MOST_TEXT + 1];
    return wedge_text_plain(text, buf, sizeof(buf));
}

void wedge_ctl_print_rules(struct wedge_ctl_view *view, FILE *out)
{
    uint32_t n = count_rules(view);
    struct rule rule;
    if (n == 0) {
        fputs("the run has no rules\n", out);
        return;
    }
    fprintf(out, "%-15s %-8s %10s %10s %7s  %s\n", "RULE", "STATE", "HITS", "FIRED", "HOLDING", "TEXT");
    for (uint32_t i = 0; i < n && read_rule(view, i, &rule); i++)
        if (is_wanted(view, rule.id)) {
            fprintf(out, "%-15s %-8s %10" PRIu64 " %10" PRIu64 " %7" PRIu32 "  ", plain(rule.id), rule.state, rule.hits,
                    rule.fired, rule.holding);
            fprintf(out, "%s\n", plain(rule.text));
        }
}

/* The name of a point and how often it was passed; "" none. */
static const char *point_at(struct wedge_ctl_view *view, uint32_t number, uint32_t *ret_passes)
{
    const struct wedge_arena_name *name = wedge_arena_at(&view->copy, WEDGE_SEC_NAMES, number);
    *ret_passes = name ? name->passes : 0;
    return *ret_passes ? wedge_arena_text(&view->copy, number) : "";
}

bool wedge_ctl_has(struct wedge_ctl_view *view, const char *name)
{
    struct rule rule;
    for (uint32_t i = 0; i < count_rules(view) && read_rule(view, i, &rule); i++)
        if (strcmp(rule.id, name) == 0)
            return true;
    for (uint32_t i = 1; i < wedge_arena_count(WEDGE_SEC_NAMES); i++)
        if (strcmp(wedge_arena_text(&view->copy, i), name) == 0)
            return true;
    return false;
}

static const struct wedge_arena_proc *process_at(const struct wedge_ctl_view *view, uint32_t slot)
{
    const struct wedge_arena_proc *proc = wedge_arena_at(&view->copy, WEDGE_SEC_PROCS, slot);
    return proc && proc->gen && proc->gen % 2 == 0 && proc->ordinal ? proc : NULL;
}

static uint64_t hits_at(const struct wedge_ctl_view *view, uint32_t row, uint32_t rule)
{
    const struct wedge_arena_counts *counts =
        wedge_arena_at(&view->copy, WEDGE_SEC_COUNTS, row * WEDGE_ARENA_RULES + rule);
    return counts ? counts->hits : 0;
}

/* Hits in a process: its own and those of its threads, as far as their slots are not another's by now. */
static uint64_t process_hits(const struct wedge_ctl_view *view, uint32_t slot, uint32_t rule)
{
    uint32_t threads = wedge_arena_count(WEDGE_SEC_THREADS);
    uint64_t hits = hits_at(view, threads + slot, rule);
    for (uint32_t i = 0; i < threads; i++) {
        const struct wedge_arena_thread *thread = wedge_arena_at(&view->copy, WEDGE_SEC_THREADS, i);
        if (thread && thread->gen && thread->gen % 2 == 0 && thread->proc == slot)
            hits += hits_at(view, i, rule);
    }
    return hits;
}

static const char *process_state(const struct wedge_arena_proc *proc)
{
    return proc->state == WEDGE_PROC_EXITING ? "exiting" : proc->state == WEDGE_PROC_EXECED ? "exec" : "running";
}

static void role_of(const struct wedge_arena_proc *proc, char ret[WEDGE_ROLE_BYTES + 1])
{
    memcpy(ret, proc->role, WEDGE_ROLE_BYTES);
    ret[WEDGE_ROLE_BYTES] = '\0';
}

static void print_process(const struct wedge_ctl_view *view, uint32_t slot, FILE *out)
{
    const struct wedge_arena_proc *proc = process_at(view, slot);
    char role[WEDGE_ROLE_BYTES + 1], name[WEDGE_ROLE_BYTES + 32] = "-";
    struct rule rule;
    if (!proc)
        return;
    role_of(proc, role);
    if (role[0])
        snprintf(name, sizeof(name), "%s[%" PRIu32 "].gen=%" PRIu32, role, proc->role_index, proc->role_gen);
    fprintf(out, "%8d %6" PRIu32 "  %-24s %-8s", (int)proc->pid, proc->ordinal, plain(name), process_state(proc));
    for (uint32_t i = 0; i < count_rules(view) && read_rule(view, i, &rule); i++) {
        uint64_t hits = is_wanted(view, rule.id) ? process_hits(view, slot, i) : 0;
        if (hits)
            fprintf(out, " %s=%" PRIu64, plain(rule.id), hits);
    }
    fputc('\n', out);
}

void wedge_ctl_print_counts(struct wedge_ctl_view *view, FILE *out)
{
    bool any = false;
    uint32_t passes;
    wedge_ctl_print_rules(view, out);
    for (uint32_t i = 1; i < wedge_arena_count(WEDGE_SEC_NAMES); i++) {
        const char *name = point_at(view, i, &passes);
        if (!*name || !is_wanted(view, name))
            continue;
        if (!any)
            fprintf(out, "\n%-48s %10s\n", "POINT", "PASSES");
        any = true;
        fprintf(out, "%-48s %10" PRIu32 "\n", plain(name), passes);
    }
    fprintf(out, "\n%8s %6s  %-24s %-8s %s\n", "PID", "PROC", "ROLE", "STATE", "HITS (not of per=obj, per=tree)");
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_PROCS); i++)
        print_process(view, i, out);
}

/* Bytes of a target need not be UTF-8: json_string would give NULL. */
static json_t *text_json(const char *text)
{
    return json_string(plain(text));
}

static json_t *rules_json(struct wedge_ctl_view *view)
{
    json_t *rules = json_array();
    struct rule rule;
    for (uint32_t i = 0; i < count_rules(view) && read_rule(view, i, &rule); i++)
        if (is_wanted(view, rule.id))
            json_array_append_new(rules,
                                  json_pack("{s:o,s:s,s:I,s:I,s:I,s:o}", "id", text_json(rule.id), "state", rule.state,
                                            "hits", (json_int_t)rule.hits, "fired", (json_int_t)rule.fired, "holding",
                                            (json_int_t)rule.holding, "text", text_json(rule.text)));
    return rules;
}

static json_t *points_json(struct wedge_ctl_view *view)
{
    json_t *points = json_array();
    uint32_t passes;
    for (uint32_t i = 1; i < wedge_arena_count(WEDGE_SEC_NAMES); i++) {
        const char *name = point_at(view, i, &passes);
        if (*name && is_wanted(view, name))
            json_array_append_new(points,
                                  json_pack("{s:o,s:I}", "name", text_json(name), "passes", (json_int_t)passes));
    }
    return points;
}

static json_t *process_json(struct wedge_ctl_view *view, const struct wedge_arena_proc *proc, uint32_t slot)
{
    json_t *hits = json_object();
    char role[WEDGE_ROLE_BYTES + 1];
    struct rule rule;
    role_of(proc, role);
    for (uint32_t i = 0; i < count_rules(view) && read_rule(view, i, &rule); i++)
        if (is_wanted(view, rule.id))
            json_object_set_new(hits, plain(rule.id), json_integer((json_int_t)process_hits(view, slot, i)));
    return json_pack("{s:i,s:I,s:o,s:I,s:I,s:s,s:o}", "pid", (int)proc->pid, "proc", (json_int_t)proc->ordinal, "role",
                     text_json(role), "index", (json_int_t)proc->role_index, "generation", (json_int_t)proc->role_gen,
                     "state", process_state(proc), "hits", hits);
}

json_t *wedge_ctl_json(struct wedge_ctl_view *view, bool counts)
{
    const struct wedge_arena_control *control = wedge_arena_at(&view->copy, WEDGE_SEC_CONTROL, 0);
    json_t *root = json_pack("{s:s,s:b,s:I,s:o}", "format", "wedge.ctl/1", "quiesced", is_quiesced(view), "firings",
                             (json_int_t)(control ? control->firings : 0), "rules", rules_json(view));
    json_t *processes = counts ? json_array() : NULL;
    if (!counts || !root)
        return root;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_PROCS); i++) {
        const struct wedge_arena_proc *proc = process_at(view, i);
        if (proc)
            json_array_append_new(processes, process_json(view, proc, i));
    }
    json_object_set_new(root, "points", points_json(view));
    json_object_set_new(root, "processes", processes);
    return root;
}
