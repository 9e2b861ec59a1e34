#include "faults/missed.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"

enum { MOST_BYTES = 16384 };

static void begin(struct wedge_text *text)
{
    if (text->len)
        wedge_text_add(text, "; ");
}

/* The texts of the arena are bounded by their fields: the target may have written over them. */
static void add_function(struct wedge_text *text, const char *module, size_t module_size, const char *function,
                         size_t function_size, const char *clause, const char *id, size_t id_size)
{
    char plain[256], name[128];
    int n = (int)strnlen(module, module_size), m = (int)strnlen(function, function_size);
    snprintf(name, sizeof(name), "%.*s", m, function);
    begin(text);
    wedge_text_addf(text, "no loaded module%s%.*s has a function %s", n ? " " : "", n, module,
                    wedge_text_plain(name, plain, sizeof(plain)));
    snprintf(name, sizeof(name), "%.*s", (int)strnlen(id, id_size), id);
    wedge_text_addf(text, " (%s of %s)", clause, wedge_text_plain(name, plain, sizeof(plain)));
}

static void add_functions(struct wedge_text *text, const struct wedge_arena_rule *rule)
{
    uint32_t missing = rule->where & ~atomic_load(&rule->found);
    if (missing & WEDGE_WHERE_CALLER)
        add_function(text, rule->caller.module, sizeof(rule->caller.module), rule->caller.function,
                     sizeof(rule->caller.function), "caller=", rule->id, sizeof(rule->id));
    if (missing & WEDGE_WHERE_IN)
        add_function(text, rule->in.module, sizeof(rule->in.module), rule->in.function, sizeof(rule->in.function),
                     "in=", rule->id, sizeof(rule->id));
}

/* A place that no module has is most likely misspelled: the nearest of those that are there. `name` of a place. */
static void add_nearest(struct wedge_text *text, const struct wedge_arena *arena, const char *name)
{
    enum { MOST = 1024 };
    const char *words[MOST + 1];
    char plain[256];
    size_t n = 0;
    for (uint32_t i = 1; i < wedge_arena_count(WEDGE_SEC_NAMES) && n < MOST; i++) {
        const struct wedge_arena_name *at = wedge_arena_live(arena, WEDGE_SEC_NAMES, i);
        /* Those that were passed: the table has the plan's own words too. */
        if (atomic_load(&at->state) == WEDGE_NAME_READY && atomic_load(&at->passes) &&
            at->text[0] != *WEDGE_ENDED_NAME && memchr(at->text, 0, sizeof(at->text)))
            words[n++] = at->text;
    }
    words[n] = NULL;
    const char *nearest = wedge_err_nearest(name, words);
    if (nearest)
        wedge_text_addf(text, ", nearest: %s", wedge_text_plain(nearest, plain, sizeof(plain)));
}

static void add_place(struct wedge_text *text, const struct wedge_arena *arena, const struct wedge_arena_rule *rule,
                      uint32_t place, const char *clause)
{
    char name[sizeof(((struct wedge_arena_name *)0)->text) + 1] = "", plain[256];
    if (place >= wedge_arena_count(WEDGE_SEC_NAMES))
        return;
    const struct wedge_arena_name *at = wedge_arena_live(arena, WEDGE_SEC_NAMES, place);
    memcpy(name, at->text, sizeof(at->text));
    begin(text);
    wedge_text_addf(text, "no loaded module has the place %s (%s%.*s)", wedge_text_plain(name, plain, sizeof(plain)),
                    clause, (int)strnlen(rule->id, sizeof(rule->id)), rule->id);
    add_nearest(text, arena, name);
}

static void add_who(struct wedge_text *text, const struct wedge_arena_rule *rule)
{
    char role[WEDGE_ROLE_BYTES + 1] = "", plain[128], index[32] = "", gen[32] = "";
    memcpy(role, rule->role, sizeof(rule->role));
    wedge_text_plain(role, plain, sizeof(plain));
    if (rule->role_index)
        snprintf(index, sizeof(index), "[%u]", rule->role_index);
    if (rule->role_gen >= 0)
        snprintf(gen, sizeof(gen), ".gen=%d", (int)rule->role_gen);
    begin(text);
    if (rule->who == WEDGE_WHO_PROC)
        wedge_text_addf(text, "there was no proc%s", index);
    else if (rule->who == WEDGE_WHO_THREAD)
        wedge_text_addf(text, "no thread named %s came by", plain);
    else
        wedge_text_addf(text, "no process was %s%s%s", plain, index, gen);
    wedge_text_addf(text, " (%.*s)", (int)strnlen(rule->id, sizeof(rule->id)), rule->id);
}

/* The place of a mark(), or the role of an ended(). */
static void add_condition(struct wedge_text *text, const struct wedge_arena *arena, const struct wedge_arena_rule *rule,
                          const struct wedge_rule_when *when, const char *clause)
{
    char plain[256];
    if (when->kind != WEDGE_WHEN_ENDED || when->ref >= wedge_arena_count(WEDGE_SEC_NAMES)) {
        add_place(text, arena, rule, when->ref, clause);
        return;
    }
    const struct wedge_arena_name *at = wedge_arena_live(arena, WEDGE_SEC_NAMES, when->ref);
    begin(text);
    wedge_text_addf(text, "no process was %s (%s%.*s)",
                    wedge_text_plain(at->text + strlen(WEDGE_ENDED_NAME), plain, sizeof(plain)), clause,
                    (int)strnlen(rule->id, sizeof(rule->id)), rule->id);
}

/* What of the rule was nowhere. `noted`: as far as the rule can do without; else what it had to have. */
static void add_nowhere(struct wedge_text *text, const struct wedge_arena *arena, const struct wedge_arena_rule *rule,
                        bool noted)
{
    uint32_t found = atomic_load(&rule->found);
    bool fired = atomic_load(&rule->fired) != 0, needed = rule->must_fire && !fired;
    if (rule->until.kind >= WEDGE_WHEN_MARK && !(found & WEDGE_FOUND_UNTIL) && noted == !(needed || fired))
        add_condition(text, arena, rule, &rule->until, "until= of ");
    if (noted == needed || fired)
        return;
    if (rule->what == WEDGE_WHAT_PLACE && !(found & WEDGE_FOUND_PLACE))
        add_place(text, arena, rule, rule->place, "");
    if (rule->after.kind >= WEDGE_WHEN_MARK && !(found & WEDGE_FOUND_AFTER))
        add_condition(text, arena, rule, &rule->after, "after= of ");
    bool by_name = rule->who == WEDGE_WHO_ROLE || rule->who == WEDGE_WHO_PROC || rule->who == WEDGE_WHO_THREAD;
    if (by_name && !(found & WEDGE_FOUND_WHO))
        add_who(text, rule);
}

static void add_misplaced(struct wedge_text *text, const struct wedge_arena_rule *rule)
{
    if (!atomic_load(&rule->misplaced) || atomic_load(&rule->fired))
        return;
    begin(text);
    wedge_text_addf(text, "%.*s %s", (int)strnlen(rule->id, sizeof(rule->id)), rule->id,
                    rule->what == WEDGE_WHAT_PLACE ? "has an answer for what asks nothing: its place is no WEDGE_ASK"
                    : rule->action == WEDGE_ACT_SPURIOUS ? "is for a wait: no call of it was a futex's wait"
                                                         : "has no object to shut: there was no room for it");
}

/* The record keeps objects too, as many as there is room for; only the plan's must not be missing. */
static bool plan_has_objects(const struct wedge_arena *arena, const struct wedge_arena_control *control)
{
    for (uint32_t i = 0; i < control->n_rules && i < WEDGE_ARENA_RULES; i++) {
        const struct wedge_arena_rule *rule = wedge_arena_live(arena, WEDGE_SEC_RULES, i);
        if (rule->what == WEDGE_WHAT_FUNCTION && ((rule->where & WEDGE_WHERE_OBJ) || rule->per == WEDGE_PER_OBJ ||
                                                  rule->action == WEDGE_ACT_FULL || rule->action == WEDGE_ACT_EMPTY))
            return true;
    }
    return false;
}

static char *take(struct wedge_text *text)
{
    char *copy = text->cut && !text->data ? NULL : strdup(text->data ? text->data : "");
    wedge_text_free(text);
    return copy;
}

/* "1 process has", "2 processes have". */
static void add_count(struct wedge_text *text, uint32_t n, const char *one, const char *many)
{
    begin(text);
    wedge_text_addf(text, "%u %s", n, n == 1 ? one : many);
}

char *wedge_faults_missed(const struct wedge_arena *arena)
{
    const struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    struct wedge_text text = WEDGE_TEXT_INIT(MOST_BYTES);
    bool anybody = atomic_load(&control->checkins) != 0;
    for (uint32_t i = 0; i < control->n_rules && i < WEDGE_ARENA_RULES; i++) {
        const struct wedge_arena_rule *rule = wedge_arena_live(arena, WEDGE_SEC_RULES, i);
        if (anybody) {
            add_functions(&text, rule);
            add_nowhere(&text, arena, rule, false);
        }
        add_misplaced(&text, rule);
    }
    for (uint32_t i = 0; anybody && i < control->n_defines && i < WEDGE_ARENA_DEFINES; i++) {
        const struct wedge_arena_define *define = wedge_arena_live(arena, WEDGE_SEC_DEFINES, i);
        if (define->what == WEDGE_DEFINE_OBJECT && define->function[0] && !atomic_load(&define->found))
            add_function(&text, define->module, sizeof(define->module), define->function, sizeof(define->function),
                         "created-in=", define->name, sizeof(define->name));
    }
    uint32_t functions = atomic_load(&wedge_arena_header(arena)->lost_functions);
    if (functions)
        add_count(&text, functions, "module or function that the plan names found no room",
                  "modules or functions that the plan names found no room");
    uint32_t lost = atomic_load(&wedge_arena_header(arena)->lost_objects);
    if (lost && plan_has_objects(arena, control)) {
        add_count(&text, lost, "time an object found no room", "times an object found no room");
        wedge_text_addf(&text, ": there is room for %u, and for descriptors below 4096",
                        wedge_arena_count(WEDGE_SEC_OBJECTS));
    }
    uint32_t own = atomic_load(&wedge_arena_header(arena)->lost_allocators);
    if (own) {
        add_count(&text, own, "process has an allocator of its own", "processes have an allocator of their own");
        wedge_text_add(&text, ", where rules for malloc and its kin cannot act");
    }
    uint32_t libraries = atomic_load(&wedge_arena_header(arena)->lost_libraries);
    if (libraries) {
        add_count(&text, libraries, "time", "times");
        wedge_text_add(&text, " a library was loaded with RTLD_DEEPBIND or by dlmopen, whose calls are not seen");
    }
    return take(&text);
}

char *wedge_faults_noted(const struct wedge_arena *arena)
{
    const struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    struct wedge_text text = WEDGE_TEXT_INIT(MOST_BYTES);
    for (uint32_t i = 0; atomic_load(&control->checkins) && i < control->n_rules && i < WEDGE_ARENA_RULES; i++)
        add_nowhere(&text, arena, wedge_arena_live(arena, WEDGE_SEC_RULES, i), true);
    return take(&text);
}
