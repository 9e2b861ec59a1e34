/*
 * The clauses of WHERE. What a pass needs was worked out before: the ranges of functions (symbols.c), the argument
 * that is a path.
 */
#include "faults/agent/where.h"

#include "faults/agent/object.h"

uint8_t agent_path_arguments[WEDGE_FN_COUNT];

void agent_where_prepare(void)
{
    static const char *const params[WEDGE_FN_COUNT] = {
#define F(ret, name, family, style, extra, kind, effect, object, params, ...) [WEDGE_FN_##name] = #params,
#include "faults/functions/all.def"
#undef F
    };
    bool paths = false, stacks = false;
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        paths |= (agent_arena.rules[i].where & WEDGE_WHERE_PATH) != 0;
        stacks |= (agent_arena.rules[i].where & WEDGE_WHERE_IN) != 0;
    }
    for (uint32_t i = 0; i < agent_arena.n_defines; i++)
        paths |= agent_arena.defines[i].what == WEDGE_DEFINE_OBJECT && agent_arena.defines[i].exe[0];
    for (unsigned f = 0; paths && f < WEDGE_FN_COUNT; f++)
        agent_path_arguments[f] = (uint8_t)wedge_function_path_of(params[f]);
    agent_where_begin();
    if (stacks)
        agent_stack_has(AGENT_RANGES_IN); /* libgcc fills its table */
}

static bool arguments_hold(const struct wedge_arena_rule *rule, const uint64_t *args, unsigned n_args)
{
    for (uint32_t i = 0; i < rule->n_args && i < WEDGE_RULE_ARGS; i++) {
        const struct wedge_rule_arg *arg = &rule->args[i];
        if (!arg->index || arg->index > n_args)
            return false;
        int64_t value = (int64_t)args[arg->index - 1];
        bool holds = arg->op == WEDGE_ARG_EQ   ? value == arg->value
                     : arg->op == WEDGE_ARG_NE ? value != arg->value
                     : arg->op == WEDGE_ARG_LT ? value < arg->value
                     : arg->op == WEDGE_ARG_LE ? value <= arg->value
                     : arg->op == WEDGE_ARG_GT ? value > arg->value
                     : arg->op == WEDGE_ARG_GE ? value >= arg->value
                                               : (value & arg->value) == arg->value;
        if (!holds)
            return false;
    }
    return true;
}

static bool path_matches(const struct wedge_arena_rule *rule, const struct agent_site *site)
{
    const char *path =
        site->path && site->path <= site->n_args ? (const char *)(uintptr_t)site->args[site->path - 1] : NULL;
    return path && agent_glob(rule->path, sizeof(rule->path), path);
}

static bool is_object(const struct agent_here *here, const struct wedge_arena_rule *rule, struct agent_site *site)
{
    uint32_t row = agent_site_object(here, site);
    return row != AGENT_NONE && rule->object < WEDGE_ARENA_DEFINES &&
           (atomic_load_explicit(&agent_arena.objects[row].defines, memory_order_relaxed) >> rule->object & 1);
}

bool agent_where_words(const struct wedge_arena_rule *rule, enum wedge_object_kind kind, uint64_t object,
                       const uint64_t *args, unsigned n_args)
{
    if ((rule->where & WEDGE_WHERE_FD) && (kind != WEDGE_OBJECT_FD || (int64_t)object != rule->fd))
        return false;
    return !(rule->where & WEDGE_WHERE_ARG) || arguments_hold(rule, args, n_args);
}

bool agent_where(const struct agent_here *here, uint32_t number, struct agent_site *site)
{
    const struct wedge_arena_rule *rule = &agent_arena.rules[number];
    uint32_t where = rule->where;
    if (!agent_where_words(rule, site->kind, site->object, site->args, site->n_args))
        return false;
    if ((where & WEDGE_WHERE_CALLER) && !agent_is_in(AGENT_RANGES_CALLER + number, site->caller))
        return false;
    if ((where & WEDGE_WHERE_OBJ) && !is_object(here, rule, site))
        return false;
    if ((where & WEDGE_WHERE_PATH) && !path_matches(rule, site))
        return false;
    return true;
}
