#include "faults/missed.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

char *wedge_faults_missed(const struct wedge_arena *arena)
{
    const struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    struct wedge_text text = WEDGE_TEXT_INIT(MOST_BYTES);
    bool anybody = atomic_load(&control->checkins) != 0;
    for (uint32_t i = 0; i < control->n_rules && i < WEDGE_ARENA_RULES; i++) {
        const struct wedge_arena_rule *rule = wedge_arena_live(arena, WEDGE_SEC_RULES, i);
        if (anybody)
            add_functions(&text, rule);
        add_misplaced(&text, rule);
    }
    for (uint32_t i = 0; anybody && i < control->n_defines && i < WEDGE_ARENA_DEFINES; i++) {
        const struct wedge_arena_define *define = wedge_arena_live(arena, WEDGE_SEC_DEFINES, i);
        if (define->what == WEDGE_DEFINE_OBJECT && define->function[0] && !atomic_load(&define->found))
            add_function(&text, define->module, sizeof(define->module), define->function, sizeof(define->function),
                         "created-in=", define->name, sizeof(define->name));
    }
    uint32_t functions = atomic_load(&wedge_arena_header(arena)->lost_functions);
    if (functions) {
        begin(&text);
        wedge_text_addf(&text, "%u modules or functions that the plan names found no room", functions);
    }
    uint32_t lost = atomic_load(&wedge_arena_header(arena)->lost_objects);
    if (lost && plan_has_objects(arena, control)) {
        begin(&text);
        wedge_text_addf(&text, "%u times an object found no room: there is room for %u, and for descriptors below 4096",
                        lost, wedge_arena_count(WEDGE_SEC_OBJECTS));
    }
    uint32_t own = atomic_load(&wedge_arena_header(arena)->lost_allocators);
    if (own) {
        begin(&text);
        wedge_text_addf(
            &text, "%u processes have an allocator of their own, where rules for malloc and its kin cannot act", own);
    }
    uint32_t libraries = atomic_load(&wedge_arena_header(arena)->lost_libraries);
    if (libraries) {
        begin(&text);
        wedge_text_addf(&text,
                        "%u times a library was loaded with RTLD_DEEPBIND or by dlmopen, whose calls are not seen",
                        libraries);
    }
    char *copy = text.cut && !text.data ? NULL : strdup(text.data ? text.data : "");
    wedge_text_free(&text);
    return copy;
}
