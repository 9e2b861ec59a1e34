/*
 * WHO and WHAT of a rule. The grammar is in plan.c. Invariant: a parser either understood its whole word or refuses it
 * at the column where it stopped understanding.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults/plan_internal.h"

/* "[N]" or "[*]" at byte `from`; *ret_next is the byte after it. `any` allows the star, which gives 0. */
static int parse_index(const struct plan_source *source, const struct plan_token *token, int from, bool any,
                       uint32_t *ret_index, int *ret_next)
{
    int close = from;
    while (close < token->len && token->at[close] != ']')
        close++;
    if (close == token->len)
        return plan_error(source, token->column + token->len, "`]` is missing");
    const char *at = token->at + from + 1;
    int len = close - from - 1;
    uint64_t value = 0;
    if (!(any && len == 1 && *at == '*') && (!plan_number(at, len, &value) || value == 0 || value > INT32_MAX))
        return plan_error(source, token->column + from + 1, "`%.*s` is not an index: a number from 1%s", len, at,
                          any ? ", or *" : "");
    *ret_index = (uint32_t)value;
    *ret_next = close + 1;
    return 0;
}

static int parse_role(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    struct wedge_arena_rule *rule = &out->rule;
    int name = 0, at, rc;
    while (name < token->len && token->at[name] != '[' && token->at[name] != '.')
        name++;
    if (!plan_is_name(token->at, name, false))
        return plan_error(source, token->column,
                          "`%.*s` is not a WHO; possible: `*`, root, ROLE[N], ROLE[*], ROLE[N].gen=N, proc[N], "
                          "thread=NAME",
                          token->len, token->at);
    if (!plan_copy(token->at, name, rule->role, sizeof(rule->role)))
        return plan_error(source, token->column, "a role's name has at most %d bytes", WEDGE_ROLE_BYTES - 1);
    rule->who = WEDGE_WHO_ROLE;
    at = name;
    if (at < token->len && token->at[at] == '[' && (rc = parse_index(source, token, at, true, &rule->role_index, &at)))
        return rc;
    if (at == token->len)
        return 0;
    struct plan_token rest = {.at = token->at + at, .len = token->len - at, .column = token->column + at};
    uint64_t gen;
    if (!plan_starts(&rest, ".gen="))
        return plan_error(source, rest.column, "`%.*s` after a role; possible: .gen=N", rest.len, rest.at);
    if (!plan_number(rest.at + 5, rest.len - 5, &gen) || gen > INT32_MAX)
        return plan_error(source, rest.column + 5, "`%.*s` is not a generation: a number from 0", rest.len - 5,
                          rest.at + 5);
    rule->role_gen = (int32_t)gen;
    return 0;
}

int plan_parse_who(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    struct wedge_arena_rule *rule = &out->rule;
    int next = token->len, rc;
    rule->role_gen = -1;
    out->who_column = token->column;
    if (plan_is(token, "*")) {
        rule->who = WEDGE_WHO_ANY;
        return 0;
    }
    if (plan_is(token, "root")) {
        rule->who = WEDGE_WHO_ROOT;
        return 0;
    }
    if (plan_starts(token, "thread=")) {
        rule->who = WEDGE_WHO_THREAD;
        if (token->len == 7)
            return plan_error(source, token->column + 7, "thread= takes a thread's name");
        /* The kernel keeps 15 bytes (prctl(2), PR_SET_NAME): a longer one would never match. */
        if (!plan_copy(token->at + 7, token->len - 7, rule->role, 16))
            return plan_error(source, token->column + 7, "a thread's name has at most 15 bytes");
        return 0;
    }
    if (plan_starts(token, "proc[")) {
        rule->who = WEDGE_WHO_PROC;
        if ((rc = parse_index(source, token, 4, false, &rule->role_index, &next)))
            return rc;
        if (next != token->len)
            return plan_error(source, token->column + next, "`%.*s` after proc[N]", token->len - next,
                              token->at + next);
        return 0;
    }
    if (plan_is(token, "proc") || plan_is(token, "thread"))
        return plan_error(source, token->column + token->len, "possible: proc[N], thread=NAME");
    if (plan_starts(token, "root[") || plan_starts(token, "root."))
        return plan_error(source, token->column + 4, "root is one process: it has no index and no generation");
    return parse_role(source, token, out);
}

int plan_parse_ended(const struct plan_source *source, const struct plan_token *token, char ret_name[PLAN_NAME_BYTES])
{
    static const char *const others[] = {"*", "root", "proc", "thread"};
    struct plan_rule role = {.rule.role_gen = -1};
    char index[16] = "", gen[20] = "";
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (plan_is(token, others[i]) || plan_starts(token, "proc[") || plan_starts(token, "thread="))
            return plan_error(source, token->column,
                              "only who has a role is counted: ended(ROLE), ended(ROLE[N].gen=N)");
    int rc = parse_role(source, token, &role);
    if (rc)
        return rc;
    if (role.rule.role_index)
        snprintf(index, sizeof(index), "[%u]", role.rule.role_index);
    if (role.rule.role_gen >= 0)
        snprintf(gen, sizeof(gen), ".gen=%d", (int)role.rule.role_gen);
    snprintf(ret_name, PLAN_NAME_BYTES, WEDGE_ENDED_NAME "%s%s%s", role.rule.role, index, gen);
    return 0;
}
_Static_assert(PLAN_NAME_BYTES >= 1 + WEDGE_ROLE_BYTES + sizeof("[2147483647].gen=2147483647"), "room for a role");

/* One word of a list of functions; sets its bits. */
static int parse_function(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    const char *names[WEDGE_FN_COUNT + 3];
    char name[PLAN_NAME_BYTES];
    int colon = plan_find(token, ':');
    bool family = colon < token->len;
    if (family && (token->len - colon != 7 || memcmp(token->at + colon, ":family", 7) != 0))
        return plan_error(source, token->column + colon, "`%.*s` after a function; possible: :family",
                          token->len - colon, token->at + colon);
    if (colon == 0)
        return plan_error(source, token->column, "a function's name is missing");
    const struct wedge_function_row *row = NULL;
    if (plan_copy(token->at, colon, name, sizeof(name)))
        for (size_t i = 0; i < WEDGE_FN_COUNT; i++)
            if (strcmp(wedge_functions[i].name, name) == 0)
                row = &wedge_functions[i];
    if (!row) {
        size_t n = 0;
        for (; n < WEDGE_FN_COUNT; n++)
            names[n] = wedge_functions[n].name;
        names[n++] = "start";
        names[n++] = "exit";
        names[n] = NULL;
        return plan_error_near(source, token->column, token->at, colon, names,
                               "no function `%.*s` can be named here; a place without a dot is written point:NAME",
                               colon, token->at);
    }
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++)
        if (&wedge_functions[i] == row || (family && strcmp(wedge_functions[i].family, row->family) == 0))
            out->rule.functions[i / 64] |= 1ull << (i % 64);
    return 0;
}

int plan_parse_what(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    struct wedge_arena_rule *rule = &out->rule;
    out->what_column = token->column;
    if (plan_is(token, "start") || plan_is(token, "exit")) {
        rule->what = plan_is(token, "start") ? WEDGE_WHAT_START : WEDGE_WHAT_EXIT;
        return 0;
    }
    bool list = plan_find(token, ',') < token->len;
    int prefix = plan_starts(token, "point:") ? 6 : 0;
    if (prefix || plan_find(token, '.') < token->len) {
        if (list)
            return plan_error(source, token->column + plan_find(token, ','),
                              "a rule names one place, or a list of functions");
        if (!plan_is_name(token->at + prefix, token->len - prefix, true))
            return plan_error(source, token->column + prefix,
                              "`%.*s` is not a place: letters, digits, `_`, `-` and `.`", token->len - prefix,
                              token->at + prefix);
        if (!plan_copy(token->at + prefix, token->len - prefix, out->place, sizeof(out->place)))
            return plan_error(source, token->column + prefix, "a place's name has at most %d bytes",
                              PLAN_NAME_BYTES - 1);
        rule->what = WEDGE_WHAT_PLACE;
        return 0;
    }
    rule->what = WEDGE_WHAT_FUNCTION;
    for (int from = 0; from <= token->len;) {
        struct plan_token one = {.at = token->at + from, .len = token->len - from, .column = token->column + from};
        one.len = plan_find(&one, ',');
        if (list && (plan_is(&one, "start") || plan_is(&one, "exit")))
            return plan_error(source, one.column, "`%.*s` stands alone, not in a list", one.len, one.at);
        int rc = parse_function(source, &one, out);
        if (rc)
            return rc;
        from += one.len + 1;
    }
    return 0;
}
