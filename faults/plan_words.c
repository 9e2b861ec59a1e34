/*
 * The words of a rule before its arrow: WHO, WHAT, and the clauses. The grammar is in plan.c. Invariant: a parser
 * either understood its whole word or refuses it at the column where it stopped understanding.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "faults/functions.h"
#include "faults/plan_internal.h"

static int find(const struct plan_token *token, char c)
{
    const char *at = memchr(token->at, c, (size_t)token->len);
    return at ? (int)(at - token->at) : token->len;
}

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

/* One word of a list of functions; sets its bits. */
static int parse_function(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    const char *names[WEDGE_FN_COUNT + 3];
    char name[PLAN_NAME_BYTES];
    int colon = find(token, ':');
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
        const char *near = colon < PLAN_NAME_BYTES ? wedge_err_nearest(name, names) : NULL;
        return plan_error(source, token->column,
                          "no function `%.*s` can be named here%s%s; a place without a dot is written point:NAME",
                          colon, token->at, near ? "; nearest: " : "", near ? near : "");
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
    bool list = find(token, ',') < token->len;
    int prefix = plan_starts(token, "point:") ? 6 : 0;
    if (prefix || find(token, '.') < token->len) {
        if (list)
            return plan_error(source, token->column + find(token, ','),
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
        one.len = find(&one, ',');
        if (list && (plan_is(&one, "start") || plan_is(&one, "exit")))
            return plan_error(source, one.column, "`%.*s` stands alone, not in a list", one.len, one.at);
        int rc = parse_function(source, &one, out);
        if (rc)
            return rc;
        from += one.len + 1;
    }
    return 0;
}

int plan_parse_condition(const struct plan_source *source, const char *at, int len, int column,
                         struct plan_condition *out)
{
    struct plan_token token = {.at = at, .len = len, .column = column};
    bool fired = plan_starts(&token, "fired("), mark = plan_starts(&token, "mark(");
    if (!fired && !mark)
        return plan_error(source, column,
                          "`%.*s` is not a condition; possible: fired(ID), fired(ID,N), mark(NAME), "
                          "mark(NAME,N)",
                          len, at);
    int open = fired ? 6 : 5, comma = find(&token, ',');
    if (at[len - 1] != ')')
        return plan_error(source, column + len, "`)` is missing");
    int name_len = (comma < len ? comma : len - 1) - open;
    *out = (struct plan_condition){
        .kind = fired ? WEDGE_WHEN_FIRED : WEDGE_WHEN_MARK, .count = 1, .column = column + open};
    if (!plan_is_name(at + open, name_len, mark) || !plan_copy(at + open, name_len, out->name, sizeof(out->name)))
        return plan_error(source, column + open, "`%.*s` is not %s", name_len, at + open,
                          fired ? "a rule's id" : "a place's name");
    if (comma < len) {
        uint64_t count;
        if (!plan_number(at + comma + 1, len - comma - 2, &count) || count == 0 || count > UINT32_MAX)
            return plan_error(source, column + comma + 1, "`%.*s` is not a count: a number from 1", len - comma - 2,
                              at + comma + 1);
        out->count = (uint32_t)count;
    }
    return 0;
}

static int parse_nth(const struct plan_source *source, const char *at, int len, int column,
                     struct wedge_arena_rule *rule)
{
    int dots = 0;
    while (dots < len && at[dots] != '.')
        dots++;
    if (!plan_number(at, dots, &rule->nth_from) || rule->nth_from == 0)
        return plan_error(source, column, "`%.*s` is not a hit: nth=5, nth=3.. or nth=3..7, counted from 1", len, at);
    if (dots == len) {
        rule->nth_to = rule->nth_from;
        return 0;
    }
    const char *to = at + dots;
    int to_len = len - dots;
    if (to_len < 2 || to[1] != '.')
        return plan_error(source, column + dots, "`%.*s` after a hit; possible: .. or ..N", to_len, to);
    if (to_len == 2)
        return 0; /* no end */
    if (!plan_number(to + 2, to_len - 2, &rule->nth_to) || rule->nth_to < rule->nth_from)
        return plan_error(source, column + dots + 2, "`%.*s` is not a last hit: a number from %llu", to_len - 2, to + 2,
                          (unsigned long long)rule->nth_from);
    return 0;
}

/* A chance as digits with a point: "0.3", "1", ".05". Not strtod: the locale has no say in a plan. */
static int parse_chance(const struct plan_source *source, const char *at, int len, int column,
                        struct wedge_arena_rule *rule)
{
    double value = 0, unit = 1;
    bool point = false, digit = false, good = len > 0;
    for (int i = 0; i < len && good; i++) {
        if (at[i] == '.' && !point) {
            point = true;
        } else if (at[i] >= '0' && at[i] <= '9') {
            digit = true;
            value = value * 10 + (at[i] - '0');
            unit *= point ? 10 : 1;
        } else {
            good = false;
        }
    }
    value /= unit;
    if (!good || !digit || value <= 0 || value > 1)
        return plan_error(source, column, "`%.*s` is not a chance: above 0 and at most 1, such as 0.3", len, at);
    rule->chance = value >= 1 ? UINT64_MAX : (uint64_t)(value * 18446744073709551616.0);
    if (rule->chance == 0)
        rule->chance = 1;
    return 0;
}

static int parse_time(const struct plan_source *source, const char *at, int len, int column, uint64_t *ret_ns)
{
    char text[32];
    int64_t ns;
    if (!plan_copy(at, len, text, sizeof(text)) || wedge_duration_parse(text, &ns) || ns <= 0)
        return plan_error(source, column, "`%.*s` is not a duration above 0: a number with ms, s or min", len, at);
    *ret_ns = (uint64_t)ns;
    return 0;
}

static int parse_per(const struct plan_source *source, const char *at, int len, int column,
                     struct wedge_arena_rule *rule)
{
    static const char *const words[] = {"thread", "proc", "obj", "tree", NULL}; /* enum wedge_rule_per */
    struct plan_token value = {.at = at, .len = len, .column = column};
    bool life = rule->what == WEDGE_WHAT_START || rule->what == WEDGE_WHAT_EXIT;
    for (unsigned i = 0; words[i]; i++) {
        if (!plan_is(&value, words[i]))
            continue;
        if (i == WEDGE_PER_OBJ)
            return plan_error(source, column, "per=obj is not possible yet; possible: thread, proc, tree");
        if (i == WEDGE_PER_THREAD && life)
            return plan_error(source, column, "a process starts and exits: per=proc or per=tree");
        rule->per = i;
        return 0;
    }
    return plan_error(source, column, "`%.*s` is not something to count per; possible: thread, proc, tree", len, at);
}

static const char *const keys[] = {"nth", "every", "p", "max", "after", "time", "per", NULL}; /* PLAN_SEEN_… bits */
static const char *const later[] = {"obj", "fd", "path", "caller", "in", NULL};

/* Which key a clause has: its place in `keys`; an error otherwise. */
static int parse_key(const struct plan_source *source, const struct plan_token *token, int equals)
{
    const char *all[16];
    char word[PLAN_NAME_BYTES];
    struct plan_token key = {.at = token->at, .len = equals, .column = token->column};
    int n = 0;
    for (; keys[n]; n++) {
        all[n] = keys[n];
        if (plan_is(&key, keys[n]))
            return n;
    }
    all[n] = NULL;
    bool argument = plan_starts(&key, "arg") && key.len > 3 && key.at[3] >= '0' && key.at[3] <= '9';
    for (int i = 0; later[i] || argument; i++)
        if (argument || plan_is(&key, later[i]))
            return plan_error(source, token->column,
                              "`%.*s` is not possible yet; possible: nth=, every=, p=, max=, after=, time=, per=",
                              token->len, token->at);
    const char *near = plan_copy(token->at, equals, word, sizeof(word)) ? wedge_err_nearest(word, all) : NULL;
    return plan_error(source, token->column,
                      "`%.*s` is not a clause; possible: nth=, every=, p=, max=, after=, time=, per=%s%s", token->len,
                      token->at, near ? "; nearest: " : "", near ? near : "");
}

int plan_parse_clause(const struct plan_source *source, const struct plan_token *token, unsigned *seen,
                      struct plan_rule *out)
{
    int equals = find(token, '=');
    int key = parse_key(source, token, equals);
    if (key < 0)
        return key;
    if (equals + 1 >= token->len)
        return plan_error(source, token->column + token->len, "a value is missing after `%s`", keys[key]);
    if (*seen & 1u << key)
        return plan_error(source, token->column, "`%s=` is given twice", keys[key]);
    *seen |= 1u << key;

    struct wedge_arena_rule *rule = &out->rule;
    const char *value = token->at + equals + 1;
    int len = token->len - equals - 1, column = token->column + equals + 1;
    switch (1u << key) {
    case PLAN_SEEN_NTH:
        return parse_nth(source, value, len, column, rule);
    case PLAN_SEEN_P:
        return parse_chance(source, value, len, column, rule);
    case PLAN_SEEN_AFTER:
        return plan_parse_condition(source, value, len, column, &out->after);
    case PLAN_SEEN_TIME:
        return parse_time(source, value, len, column, &rule->time_ns);
    case PLAN_SEEN_PER:
        return parse_per(source, value, len, column, rule);
    default: {
        uint64_t *number = 1u << key == PLAN_SEEN_EVERY ? &rule->every : &rule->max;
        if (!plan_number(value, len, number) || *number == 0)
            return plan_error(source, column, "`%.*s` is not a number from 1", len, value);
        return 0;
    }
    }
}
