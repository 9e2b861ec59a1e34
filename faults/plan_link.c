/*
 * What ties a plan's lines together, once all are read: rules that wait for rules, rules about defined objects and
 * roles, defines of defines; and the way into the arena. Invariant after plan_link: every name stands for something
 * that is there and of the right sort, every define is used, and no rule waits for itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "faults/plan_internal.h"

/* Fills ref of a fired() condition. The other ones' names go into the arena's table when the plan is installed. */
static int resolve(const struct plan_source *source, const struct wedge_plan *plan, const struct plan_condition *from,
                   struct wedge_rule_when *to)
{
    *to = (struct wedge_rule_when){.kind = from->kind, .count = from->count};
    if (from->kind != WEDGE_WHEN_FIRED)
        return 0;
    const char *ids[PLAN_RULES + 1];
    for (size_t i = 0; i < plan->n; i++) {
        ids[i] = plan->rules[i].rule.id;
        if (strcmp(ids[i], from->name) == 0) {
            to->ref = (uint32_t)i;
            return 0;
        }
    }
    ids[plan->n] = NULL;
    return plan_error_near(source, from->column, from->name, (int)strlen(from->name), ids, "no rule has the id `%s`",
                           from->name);
}

static int link_conditions(struct plan_source *source, struct wedge_plan *plan)
{
    int rc;
    for (size_t i = 0; i < plan->n; i++) {
        struct plan_rule *out = &plan->rules[i];
        source->line = (int)out->rule.line;
        if ((rc = resolve(source, plan, &out->after, &out->rule.after)) ||
            (rc = resolve(source, plan, &out->until, &out->rule.until)))
            return rc;
        if (out->rule.until.kind == WEDGE_WHEN_FIRED && out->rule.until.ref == i && out->rule.until.count < 2)
            return plan_error(source, out->until.column,
                              "a rule has fired when it yields: until=fired(%s) holds at once; say how often: "
                              "fired(%s,N)",
                              out->rule.id, out->rule.id);
    }
    for (size_t i = 0; i < plan->n; i++) {
        size_t at = i;
        for (size_t steps = 0; plan->rules[at].rule.after.kind == WEDGE_WHEN_FIRED; steps++) {
            at = plan->rules[at].rule.after.ref;
            if (at != i && steps < plan->n)
                continue;
            if (at != i)
                break; /* a circle further on; reported for its own members */
            source->line = (int)plan->rules[i].rule.line;
            return plan_error(source, plan->rules[i].after.column,
                              steps == 0 ? "`%s` waits for itself to fire: it never will"
                                         : "`%s` can never fire: what it waits for waits for it",
                              plan->rules[i].rule.id);
        }
    }
    return 0;
}

/* The define of a name; NULL none. */
static const struct plan_define *find_define(const struct wedge_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_defines; i++)
        if (strcmp(plan->defines[i].define.name, name) == 0)
            return &plan->defines[i];
    return NULL;
}

/* The names of defines of one sort, NULL-terminated, into `ret_names`. */
static void list_defines(const struct wedge_plan *plan, uint32_t what, const char *ret_names[PLAN_DEFINES + 1])
{
    size_t n = 0;
    for (size_t i = 0; i < plan->n_defines; i++)
        if (plan->defines[i].define.what == what)
            ret_names[n++] = plan->defines[i].define.name;
    ret_names[n] = NULL;
}

static int link_object(const struct plan_source *source, const struct wedge_plan *plan, struct plan_rule *out)
{
    const char *names[PLAN_DEFINES + 1];
    if (!out->object[0])
        return 0;
    const struct plan_define *found = find_define(plan, out->object);
    list_defines(plan, WEDGE_DEFINE_OBJECT, names);
    if (!found)
        return plan_error_near(source, out->object_column, out->object, (int)strlen(out->object), names,
                               "no object is defined as `%s`: define %s = KIND created-in=FUNCTION", out->object,
                               out->object);
    if (found->define.what != WEDGE_DEFINE_OBJECT)
        return plan_error(source, out->object_column, "`%s` is defined as processes: it can be WHO, not an object",
                          out->object);
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1))
        if (wedge_functions[i].kind != found->define.kind)
            return plan_error(source, out->object_column, "`%s` is a %s, and %s is about %s%s", out->object,
                              plan_define_word(&found->define), wedge_functions[i].name,
                              wedge_functions[i].kind ? "a " : "", wedge_plan_kind_word(wedge_functions[i].kind));
    out->rule.object = (uint32_t)(found - plan->defines);
    return 0;
}

/* A role that is not defined comes from the program, by wedge_role: nothing to check. */
static int link_role(const struct plan_source *source, const struct wedge_plan *plan, const struct plan_rule *out)
{
    const struct wedge_arena_rule *rule = &out->rule;
    const struct plan_define *found = rule->who == WEDGE_WHO_ROLE ? find_define(plan, rule->role) : NULL;
    if (!found)
        return 0;
    if (found->define.what != WEDGE_DEFINE_PROCESS)
        return plan_error(source, out->who_column, "`%s` is defined as a %s: it can be obj=%s, not WHO", rule->role,
                          plan_define_word(&found->define), rule->role);
    if (found->define.nth && rule->role_index && rule->role_index != found->define.nth)
        return plan_error(source, out->who_column, "`%s` is defined as match %u alone: it is never `%s[%u]`",
                          rule->role, found->define.nth, rule->role, rule->role_index);
    if (rule->role_gen > 0)
        return plan_error(source, out->who_column, "`%s` is a role by this plan: it has no generation but 0",
                          rule->role);
    return 0;
}

static int link_descent(struct plan_source *source, struct wedge_plan *plan)
{
    const char *names[PLAN_DEFINES + 2] = {"root"};
    list_defines(plan, WEDGE_DEFINE_PROCESS, names + 1);
    for (size_t i = 0; i < plan->n_defines; i++) {
        struct plan_define *out = &plan->defines[i];
        source->line = out->line;
        if (!out->of[0])
            continue;
        const struct plan_define *found = find_define(plan, out->of);
        if (!found)
            return plan_error_near(source, out->of_column, out->of, (int)strlen(out->of), names,
                                   "no processes are defined as `%s`; possible: root, or the name of another define",
                                   out->of);
        if (found->define.what != WEDGE_DEFINE_PROCESS)
            return plan_error(source, out->of_column, "`%s` is defined as a %s: it has no descendants", out->of,
                              plan_define_word(&found->define));
        out->define.of = (uint32_t)(found - plan->defines) + 1;
    }
    for (size_t i = 0; i < plan->n_defines; i++) {
        size_t at = i;
        for (size_t steps = 0; plan->defines[at].define.of && steps <= plan->n_defines; steps++) {
            at = plan->defines[at].define.of - 1;
            if (at != i)
                continue;
            source->line = plan->defines[i].line;
            return plan_error(source, plan->defines[i].of_column,
                              steps == 0 ? "`%s` descends from itself: nothing can match"
                                         : "`%s` descends from what descends from it: nothing can match",
                              plan->defines[i].define.name);
        }
    }
    return 0;
}

/* The bit of the define that an ended() is about, 0 none. */
static uint64_t ended_role(const struct wedge_plan *plan, const struct plan_condition *condition)
{
    char role[PLAN_NAME_BYTES];
    if (condition->kind != WEDGE_WHEN_ENDED)
        return 0;
    snprintf(role, sizeof(role), "%s", condition->name + strlen(WEDGE_ENDED_NAME));
    role[strcspn(role, "[.")] = '\0';
    const struct plan_define *found = find_define(plan, role);
    return found && found->define.what == WEDGE_DEFINE_PROCESS ? 1ull << (found - plan->defines) : 0;
}

/* A define that nothing needs is most likely a name mistyped elsewhere, where it passes as a role of the program. */
static int refuse_unused(struct plan_source *source, const struct wedge_plan *plan)
{
    uint64_t used = 0, before;
    for (size_t i = 0; i < plan->n; i++) {
        const struct plan_rule *rule = &plan->rules[i];
        const struct plan_define *found = rule->rule.who == WEDGE_WHO_ROLE ? find_define(plan, rule->rule.role) : NULL;
        if (found)
            used |= 1ull << (found - plan->defines);
        used |= ended_role(plan, &rule->after) | ended_role(plan, &rule->until);
        if (rule->object[0])
            used |= 1ull << rule->rule.object;
    }
    do { /* what a used define descends from is used; each round goes one step up */
        before = used;
        for (size_t i = 0; i < plan->n_defines; i++)
            if ((used >> i & 1) && plan->defines[i].define.of)
                used |= 1ull << (plan->defines[i].define.of - 1);
    } while (used != before);
    for (size_t i = 0; i < plan->n_defines; i++) {
        const struct plan_define *define = &plan->defines[i];
        if (used >> i & 1)
            continue;
        source->line = define->line;
        if (define->define.what == WEDGE_DEFINE_OBJECT)
            return plan_error(source, define->name_column, "no rule says obj=%s: use it, or take the line out",
                              define->define.name);
        return plan_error(source, define->name_column, "no rule has `%s` as WHO: use it, or take the line out",
                          define->define.name);
    }
    return 0;
}
_Static_assert(PLAN_DEFINES <= 64, "the bit set of used defines");

/* What the arena has room for: see struct wedge_arena_object_counts. */
static int limit_per_object(struct plan_source *source, const struct wedge_plan *plan)
{
    uint32_t n = 0;
    for (size_t i = 0; i < plan->n; i++) {
        const struct plan_rule *out = &plan->rules[i];
        source->line = (int)out->rule.line;
        if (out->rule.per != WEDGE_PER_OBJ)
            continue;
        if (++n > WEDGE_OBJECT_RULES)
            return plan_error(source, out->id_column, "more than %u rules with per=obj", WEDGE_OBJECT_RULES);
        if (out->rule.max > WEDGE_OBJECT_FIRED_MAX)
            return plan_error(source, out->id_column, "with per=obj, max= is at most %u", WEDGE_OBJECT_FIRED_MAX);
    }
    return 0;
}

int plan_link(const struct plan_source *at_end, struct wedge_plan *plan)
{
    struct plan_source source = *at_end;
    int rc = link_conditions(&source, plan);
    for (size_t i = 0; i < plan->n && !rc; i++) {
        source.line = (int)plan->rules[i].rule.line;
        if (!(rc = link_object(&source, plan, &plan->rules[i])))
            rc = link_role(&source, plan, &plan->rules[i]);
    }
    if (!rc)
        rc = limit_per_object(&source, plan);
    if (!rc)
        rc = link_descent(&source, plan);
    return rc ? rc : refuse_unused(&source, plan);
}

int wedge_plan_install(const struct wedge_plan *plan, const struct wedge_arena *arena, struct wedge_err *err)
{
    struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    for (size_t i = 0; i < plan->n_defines; i++) {
        struct wedge_arena_define *to = wedge_arena_live(arena, WEDGE_SEC_DEFINES, (uint32_t)i);
        if (!to)
            return wedge_err_set(err, -ENOSPC, "the arena has no room for define `%s`", plan->defines[i].define.name);
        *to = plan->defines[i].define;
    }
    for (size_t i = 0; i < plan->n; i++) {
        const struct plan_rule *from = &plan->rules[i];
        struct wedge_arena_rule *to = wedge_arena_live(arena, WEDGE_SEC_RULES, (uint32_t)i);
        if (!to)
            return wedge_err_set(err, -ENOSPC, "the arena has no room for rule `%s`", from->rule.id);
        *to = from->rule;
        if ((from->place[0] && !(to->place = wedge_arena_name(arena, from->place))) ||
            (from->after.name[0] && to->after.kind != WEDGE_WHEN_FIRED &&
             !(to->after.ref = wedge_arena_name(arena, from->after.name))) ||
            (from->until.name[0] && to->until.kind != WEDGE_WHEN_FIRED &&
             !(to->until.ref = wedge_arena_name(arena, from->until.name))))
            return wedge_err_set(err, -ENOSPC, "the arena's table of names is full at rule `%s`", from->rule.id);
    }
    control->n_defines = (uint32_t)plan->n_defines;
    control->n_rules = (uint32_t)plan->n;
    for (size_t i = 0; i < plan->n; i++)
        atomic_fetch_or(&control->enabled[0][i / 64], 1ull << (i % 64));
    if (plan->has_seed)
        control->seed = plan->seed;
    return 0;
}
