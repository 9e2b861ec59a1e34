/*
 * The clauses of a rule: which there are, and those of WHEN. The grammar is in plan.c; WHERE is read by plan_where.c.
 * Invariant: a parser either understood its whole word or refuses it at the column where it stopped understanding.
 */
#include <errno.h>
#include <string.h>

#include "base/duration.h"
#include "faults/plan_internal.h"

int plan_parse_condition(const struct plan_source *source, const struct plan_token *token, struct plan_condition *out)
{
    bool fired = plan_starts(token, "fired("), mark = plan_starts(token, "mark("), ended = plan_starts(token, "ended(");
    if (!fired && !mark && !ended)
        return plan_error(source, token->column,
                          "`%.*s` is not a condition; possible: fired(ID), mark(NAME), ended(ROLE), and how often: "
                          "fired(ID,N)",
                          token->len, token->at);
    if (token->at[token->len - 1] != ')')
        return plan_error(source, token->column + token->len, "`)` is missing");
    struct plan_token inner = plan_rest(token, mark ? 5 : 6);
    inner.len--; /* the ")" */
    int comma = plan_find(&inner, ',');
    uint64_t count = 1;
    out->kind = fired ? WEDGE_WHEN_FIRED : mark ? WEDGE_WHEN_MARK : WEDGE_WHEN_ENDED;
    out->column = inner.column;
    if (ended) {
        struct plan_token role = inner;
        role.len = comma;
        int rc = plan_parse_ended(source, &role, out->name);
        if (rc)
            return rc;
    } else if (!plan_is_name(inner.at, comma, mark) || !plan_copy(inner.at, comma, out->name, sizeof(out->name)))
        return plan_error(source, inner.column, "`%.*s` is not a %s", comma, inner.at,
                          fired ? "rule's id" : "place's name");
    if (comma < inner.len) {
        struct plan_token last = plan_rest(&inner, comma + 1);
        if (!plan_number(last.at, last.len, &count) || count == 0 || count > UINT32_MAX)
            return plan_error(source, last.column, "`%.*s` is not a count: a number from 1", last.len, last.at);
    }
    out->count = (uint32_t)count;
    return 0;
}

int plan_parse_duration(const struct plan_source *source, const struct plan_token *token, int64_t *ret_ns)
{
    char text[32];
    int64_t ns = 0;
    if (!plan_copy(token->at, token->len, text, sizeof(text)) || wedge_duration_parse(text, &ns) || ns <= 0)
        return plan_error(source, token->column, "`%.*s` is not a duration above 0: a number with ms, s or min",
                          token->len, token->at);
    *ret_ns = ns;
    return 0;
}

static int parse_nth(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    struct wedge_arena_rule *rule = &out->rule;
    int dots = plan_find(value, '.');
    if (!plan_number(value->at, dots, &rule->nth_from) || rule->nth_from == 0)
        return plan_error(source, value->column, "`%.*s` is not a hit: nth=5, nth=3.. or nth=3..7, counted from 1",
                          value->len, value->at);
    if (dots == value->len) {
        rule->nth_to = rule->nth_from;
        return 0;
    }
    struct plan_token to = plan_rest(value, dots);
    if (!plan_starts(&to, ".."))
        return plan_error(source, to.column, "`%.*s` after a hit; possible: .. or ..N", to.len, to.at);
    if (to.len == 2)
        return 0; /* no end */
    if (!plan_number(to.at + 2, to.len - 2, &rule->nth_to) || rule->nth_to < rule->nth_from)
        return plan_error(source, to.column + 2, "`%.*s` is not a last hit: a number from %llu", to.len - 2, to.at + 2,
                          (unsigned long long)rule->nth_from);
    return 0;
}

/* A chance as digits with a point: "0.3", "1", ".05". Not strtod: the locale has no say in a plan. */
static int parse_chance(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    double value = 0, unit = 1;
    bool point = false, digit = false, good = true;
    for (int i = 0; i < token->len && good; i++) {
        if (token->at[i] == '.' && !point) {
            point = true;
        } else if (token->at[i] >= '0' && token->at[i] <= '9') {
            digit = true;
            if (unit >= 1e19)
                continue; /* less than one of 2^64: no digit from here on counts */
            value = value * 10 + (token->at[i] - '0');
            unit *= point ? 10 : 1;
        } else {
            good = false;
        }
    }
    value /= unit;
    if (!good || !digit || value <= 0 || value > 1)
        return plan_error(source, token->column, "`%.*s` is not a chance: above 0 and at most 1, such as 0.3",
                          token->len, token->at);
    out->rule.chance = value >= 1 ? UINT64_MAX : (uint64_t)(value * 18446744073709551616.0);
    return 0;
}

static int parse_count(const struct plan_source *source, const struct plan_token *value, uint64_t *ret)
{
    uint64_t number;
    if (!plan_number(value->at, value->len, &number) || number == 0)
        return plan_error(source, value->column, "`%.*s` is not a number from 1", value->len, value->at);
    *ret = number;
    return 0;
}

static int parse_every(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    return parse_count(source, value, &out->rule.every);
}

static int parse_max(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    return parse_count(source, value, &out->rule.max);
}

static int parse_after(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    return plan_parse_condition(source, value, &out->after);
}

static int parse_time(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    int64_t ns = 0;
    int rc = plan_parse_duration(source, value, &ns);
    if (rc == 0)
        out->rule.time_ns = (uint64_t)ns;
    return rc;
}

static int check_per_object(const struct plan_source *source, const struct plan_token *value,
                            const struct plan_rule *out)
{
    int rc = plan_need(source, value->column, PLAN_PART_PER_OBJ, "per=obj");
    if (rc)
        return rc;
    if (out->rule.what != WEDGE_WHAT_FUNCTION)
        return plan_error(source, value->column, "%s is about no object; possible: %sproc, tree",
                          out->rule.what == WEDGE_WHAT_PLACE ? "a place" : "a start or an exit",
                          out->rule.what == WEDGE_WHAT_PLACE ? "thread, " : "");
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1))
        if (!plan_has_object(&wedge_functions[i]))
            return plan_error(source, value->column,
                              "%s is about no object that is there before it; possible: "
                              "thread, proc, tree",
                              wedge_functions[i].name);
    return 0;
}

static int parse_per(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    static const char *const words[] = {"thread", "proc", "obj", "tree", NULL}; /* enum wedge_rule_per */
    bool life = out->rule.what == WEDGE_WHAT_START || out->rule.what == WEDGE_WHAT_EXIT;
    for (unsigned i = 0; words[i]; i++) {
        if (!plan_is(value, words[i]))
            continue;
        if (i == WEDGE_PER_THREAD && life)
            return plan_error(source, value->column, "a process starts and exits: per=proc or per=tree");
        out->rule.per = i;
        return i == WEDGE_PER_OBJ ? check_per_object(source, value, out) : 0;
    }
    return plan_error_near(source, value->column, value->at, value->len, words,
                           "`%.*s` is not something to count per; possible: thread, proc, obj, tree", value->len,
                           value->at);
}

/* The clauses; a clause's place is its bit in `seen`. argN is read apart: it may stand more than once. */
static const struct {
    const char *key;
    int (*parse)(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out);
    bool must_fire;
} clauses[] = {
    {"obj", plan_parse_object, false},    {"fd", plan_parse_fd, false}, {"path", plan_parse_path, false},
    {"caller", plan_parse_caller, false}, {"in", plan_parse_in, false}, {"nth", parse_nth, true},
    {"every", parse_every, false},        {"p", parse_chance, false},   {"max", parse_max, false},
    {"after", parse_after, true},         {"time", parse_time, true},   {"per", parse_per, false},
};
enum { CLAUSES = sizeof(clauses) / sizeof(clauses[0]) };

bool plan_must_fire(unsigned seen)
{
    for (unsigned i = 0; i < CLAUSES; i++)
        if ((seen >> i & 1) && clauses[i].must_fire)
            return true;
    return false;
}

int plan_parse_clause(const struct plan_source *source, const struct plan_token *token, unsigned *seen,
                      struct plan_rule *out)
{
    const char *words[CLAUSES + 2];
    struct plan_token key = *token;
    unsigned which = 0;
    key.len = 0;
    while (key.len < token->len && !strchr("=!<>&", token->at[key.len]))
        key.len++;
    if (plan_starts(&key, "arg") && (key.len == 3 || (key.at[3] >= '0' && key.at[3] <= '9')))
        return plan_parse_arg(source, token, out);
    for (; which < CLAUSES && !plan_is(&key, clauses[which].key); which++)
        words[which] = clauses[which].key;
    if (which == CLAUSES) {
        words[which] = "arg1";
        words[which + 1] = NULL;
        return plan_error_near(source, token->column, token->at, key.len, words,
                               "`%.*s` is not a clause; possible: obj= fd= path= caller= in= argN<op>V (where), nth= "
                               "every= p= max= after= time= per= (when)",
                               token->len, token->at);
    }
    if (key.len < token->len && token->at[key.len] != '=')
        return plan_error(source, token->column + key.len, "`%s` takes `=` alone; other comparisons are for argN",
                          clauses[which].key);
    if (key.len + 1 >= token->len)
        return plan_error(source, token->column + token->len, "a value is missing after `%s`", clauses[which].key);
    if (*seen & 1u << which)
        return plan_error(source, token->column, "`%s=` is given twice", clauses[which].key);
    *seen |= 1u << which;
    struct plan_token value = plan_rest(token, key.len + 1);
    return clauses[which].parse(source, &value, out);
}
