/*
 * WHERE of a rule: which of WHAT's calls are meant. The grammar is in plan.c. Invariant: a clause is accepted only if
 * it can hold at each function that the rule names, so that no part of a list is idle without a word.
 */
#include <ctype.h>
#include <string.h>

#include "faults/plan_internal.h"

size_t plan_next_function(const struct plan_rule *rule, size_t from)
{
    while (from < WEDGE_FN_COUNT && !(rule->rule.functions[from / 64] >> (from % 64) & 1))
        from++;
    return from;
}

bool plan_has_object(const struct wedge_function_row *row)
{
    return row->kind != WEDGE_OBJECT_NONE && row->kind != WEDGE_OBJECT_PROCESS && row->effect != WEDGE_EFFECT_CREATE &&
           row->effect != WEDGE_EFFECT_RESULT;
}

/* What every clause begins with: the agent does it, and WHAT is something that has it. `call`: only a call does. */
static int begin(const struct plan_source *source, const struct plan_token *value, uint32_t part, const char *key,
                 bool call, struct plan_rule *out)
{
    int column = value->column - (int)strlen(key);
    int rc = plan_need(source, column, part, key);
    if (rc)
        return rc;
    if (out->rule.what == WEDGE_WHAT_START || out->rule.what == WEDGE_WHAT_EXIT)
        return plan_error(source, column, "`%s` says where in a program; start and exit are nowhere in it", key);
    if (call && out->rule.what == WEDGE_WHAT_PLACE)
        return plan_error(source, column,
                          "`%s` needs a function: a place is no call; possible at a place: caller= in=", key);
    out->rule.where |= part;
    return 0;
}

int plan_parse_object(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    int rc = begin(source, value, WEDGE_WHERE_OBJ, "obj=", true, out);
    if (rc)
        return rc;
    out->object_column = value->column;
    if (!plan_is_name(value->at, value->len, false) ||
        !plan_copy(value->at, value->len, out->object, sizeof(out->object)))
        return plan_error(source, value->column, "`%.*s` is not the name of a define", value->len, value->at);
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1))
        if (!plan_has_object(&wedge_functions[i]))
            return plan_error(source, value->column, "%s is about no object that is there before it",
                              wedge_functions[i].name);
    return 0; /* the name and its kind: plan_link */
}

int plan_parse_fd(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    uint64_t number;
    int rc = begin(source, value, WEDGE_WHERE_FD, "fd=", true, out);
    if (rc)
        return rc;
    if (!plan_number(value->at, value->len, &number) || number > INT32_MAX)
        return plan_error(source, value->column, "`%.*s` is not a descriptor: a number from 0", value->len, value->at);
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1))
        if (wedge_functions[i].kind != WEDGE_OBJECT_FD)
            return plan_error(source, value->column, "%s takes no descriptor", wedge_functions[i].name);
        else if (!plan_has_object(&wedge_functions[i]))
            return plan_error(source, value->column, "%s makes its descriptor: the number is not known before",
                              wedge_functions[i].name);
    out->rule.fd = (int32_t)number;
    return 0;
}

int plan_check_pattern(const struct plan_source *source, const struct plan_token *value)
{
    bool in = false;
    for (int i = 0; i < value->len; i++) {
        char next = i + 1 < value->len ? value->at[i + 1] : 0;
        if (value->at[i] == '\\')
            i++;
        else if (in && value->at[i] == '[' && (next == ':' || next == '.' || next == '='))
            return plan_error(source, value->column + i,
                              "`[%c` begins a class of characters, which is not possible in a pattern here; possible: "
                              "* ? [a-z] [!a-z]",
                              next);
        else if (value->at[i] == (in ? ']' : '['))
            in = !in;
    }
    return 0;
}

int plan_parse_path(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    int rc = begin(source, value, WEDGE_WHERE_PATH, "path=", true, out);
    if (rc)
        return rc;
    if (!plan_copy(value->at, value->len, out->rule.path, sizeof(out->rule.path)))
        return plan_error(source, value->column, "a pattern has at most %zu bytes", sizeof(out->rule.path) - 1);
    if ((rc = plan_check_pattern(source, value)))
        return rc;
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1))
        if (!wedge_function_path(&wedge_functions[i]))
            return plan_error(source, value->column, "%s takes no path", wedge_functions[i].name);
    return 0;
}

/* A symbol's bytes: what compilers make names of (nm(1)), and file names. */
static bool is_symbol(const char *at, int len, const char *also)
{
    for (int i = 0; i < len; i++)
        if (!isalnum((unsigned char)at[i]) && at[i] != '_' && !strchr(also, at[i]))
            return false;
    return len > 0;
}

int plan_parse_symbol(const struct plan_source *source, const struct plan_token *value, char module[static 40],
                      char function[static 56])
{
    int mark = plan_find(value, '!'), from = mark < value->len ? mark + 1 : 0;
    struct plan_token name = plan_rest(value, from);
    if (from && !is_symbol(value->at, mark, ".-+"))
        return plan_error(source, value->column,
                          "`%.*s` is not a module: a file's name without its folder, such as libpq.so.5", mark,
                          value->at);
    if (from && !plan_copy(value->at, mark, module, 40))
        return plan_error(source, value->column, "a module's name has at most 39 bytes");
    if (!is_symbol(name.at, name.len, ".$@"))
        return plan_error(source, name.column,
                          "`%.*s` is not a function: FUNCTION or MODULE!FUNCTION, as nm(1) prints it", name.len,
                          name.at);
    if (!plan_copy(name.at, name.len, function, 56))
        return plan_error(source, name.column, "a function's name has at most 55 bytes here");
    return 0;
}

int plan_parse_caller(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    int rc = begin(source, value, WEDGE_WHERE_CALLER, "caller=", false, out);
    return rc ? rc : plan_parse_symbol(source, value, out->rule.caller.module, out->rule.caller.function);
}

int plan_parse_in(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out)
{
    int rc = begin(source, value, WEDGE_WHERE_IN, "in=", false, out);
    return rc ? rc : plan_parse_symbol(source, value, out->rule.in.module, out->rule.in.function);
}

/* One of value's parts: a number with or without a sign, or a constant. A hexadecimal number may use all 64 bits. */
static int parse_one(const struct plan_source *source, const struct plan_token *token, int64_t *ret)
{
    char name[32];
    uint64_t number;
    int sign = plan_starts(token, "-") ? 1 : 0;
    bool bits = plan_starts(token, "0x");
    if (plan_number(token->at + sign, token->len - sign, &number) && (bits || number <= INT64_MAX)) {
        *ret = sign ? -(int64_t)number : (int64_t)number;
        return 0;
    }
    if (plan_copy(token->at, token->len, name, sizeof(name)) && plan_constant(name, ret))
        return 0;
    if (token->len == 0)
        return plan_error(source, token->column, "a value is missing: a number or a constant such as O_NONBLOCK");
    return plan_error_near(source, token->column, token->at, token->len, plan_constants(),
                           "`%.*s` is not a number of 64 bits, nor a constant that is known here", token->len,
                           token->at);
}

/* In the order of enum wedge_arg_op; a longer one before the one that it begins with. */
static const struct {
    const char *text;
    uint32_t op;
} ops[] = {{"==", WEDGE_ARG_EQ}, {"!=", WEDGE_ARG_NE}, {"<=", WEDGE_ARG_LE}, {">=", WEDGE_ARG_GE},
           {"<", WEDGE_ARG_LT},  {">", WEDGE_ARG_GT},  {"&", WEDGE_ARG_HAS}};
enum { OPS = sizeof(ops) / sizeof(ops[0]) };

/* The functions of a list or a family often differ in what their Nth argument is; and nobody knows an address. */
static int check_pointers(const struct plan_source *source, const struct plan_token *op,
                          const struct wedge_rule_arg *arg, const struct plan_rule *out)
{
    if (arg->value == 0 && (arg->op == WEDGE_ARG_EQ || arg->op == WEDGE_ARG_NE))
        return 0;
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1)) {
        int len = 0;
        const char *param = wedge_function_param(&wedge_functions[i], arg->index, &len);
        if (param && memchr(param, '*', (size_t)len))
            return plan_error(source, op->column, "argument %u of %s is an address (%.*s): possible: ==0 !=0",
                              arg->index, wedge_functions[i].name, len, param);
    }
    return 0;
}

int plan_parse_arg(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    struct wedge_arena_rule *rule = &out->rule;
    struct plan_token after_key = plan_rest(token, 3);
    uint64_t index = 0;
    int digits = 0;
    unsigned which = 0;
    while (digits < after_key.len && isdigit((unsigned char)after_key.at[digits]))
        digits++;
    int rc = begin(source, &after_key, WEDGE_WHERE_ARG, "arg", true, out);
    if (rc)
        return rc;
    if (!plan_number(after_key.at, digits, &index) || index == 0)
        return plan_error(source, after_key.column, "which argument? arg1 is the first");
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1))
        if (index > wedge_functions[i].n_args)
            return plan_error(source, after_key.column, "%s has %u argument%s", wedge_functions[i].name,
                              wedge_functions[i].n_args, wedge_functions[i].n_args == 1 ? "" : "s");
    struct plan_token rest = plan_rest(&after_key, digits);
    while (which < OPS && !plan_starts(&rest, ops[which].text))
        which++;
    if (which == OPS)
        return plan_error(source, rest.column, "a comparison is missing after `arg%llu`; possible: == != < <= > >= &",
                          (unsigned long long)index);
    if (rule->n_args == WEDGE_RULE_ARGS)
        return plan_error(source, token->column, "more than %d conditions on arguments", WEDGE_RULE_ARGS);
    struct wedge_rule_arg *arg = &rule->args[rule->n_args];
    *arg = (struct wedge_rule_arg){.index = (uint32_t)index, .op = ops[which].op};
    for (int from = (int)strlen(ops[which].text); from <= rest.len;) {
        struct plan_token one = plan_rest(&rest, from);
        int64_t value = 0;
        one.len = plan_find(&one, '|');
        if ((rc = parse_one(source, &one, &value)))
            return rc;
        arg->value |= value;
        from += one.len + 1;
    }
    if (arg->op == WEDGE_ARG_HAS && arg->value == 0)
        return plan_error(source, rest.column, "`&0` always holds: it asks for no bit");
    rule->n_args++;
    return check_pointers(source, &rest, arg, out);
}
