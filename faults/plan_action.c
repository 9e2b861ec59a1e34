/*
 * The words of a rule after its arrow. Invariant: an action is accepted only where the agent can do it: an answer
 * needs something to answer (a place that asks, a function), a short call a function that counts, and so on.
 */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults/plan_internal.h"

/* In the order of enum wedge_rule_action. */
const char *const wedge_plan_actions[] = {"kill", "exit",     "stop", "errno", "return", "short",   "delay",   "block",
                                          "drop", "spurious", "full", "empty", "yield",  "corrupt", "quiesce", NULL};

enum { ERRNOS = 150 }; /* Linux knows none from here on */

/* What an action can happen at. */
enum { AT_LIFE = 1, AT_PLACE = 2, AT_FUNCTION = 4, AT_ALL = 7, AT_ANSWER = 6 };
static const struct {
    int at;
    unsigned extra; /* a function must have it in the table; 0: any function */
    const char *argument; /* what it takes, NULL nothing */
} actions[] = {
    [WEDGE_ACT_KILL] = {AT_ALL, 0, "a signal, such as KILL"},
    [WEDGE_ACT_EXIT] = {AT_ALL, 0, "a status, 0 to 255"},
    [WEDGE_ACT_STOP] = {AT_ALL, 0, NULL},
    [WEDGE_ACT_ERRNO] = {AT_ANSWER, 0, "an errno's name, such as EINTR"},
    [WEDGE_ACT_RETURN] = {AT_ANSWER, 0, "a number"},
    [WEDGE_ACT_SHORT] = {AT_FUNCTION, WEDGE_EXTRA_SHORT, "a number of bytes from 1"},
    [WEDGE_ACT_DELAY] = {AT_ALL, 0, "a duration, such as 200ms"},
    [WEDGE_ACT_BLOCK] = {AT_ALL, 0, NULL},
    [WEDGE_ACT_DROP] = {AT_ANSWER, WEDGE_EXTRA_DROP, NULL},
    [WEDGE_ACT_SPURIOUS] = {AT_FUNCTION, WEDGE_EXTRA_SPURIOUS, NULL},
    [WEDGE_ACT_FULL] = {AT_ANSWER, WEDGE_EXTRA_FULL, NULL},
    [WEDGE_ACT_EMPTY] = {AT_ANSWER, WEDGE_EXTRA_EMPTY, NULL},
    [WEDGE_ACT_YIELD] = {AT_ALL, 0, "until=fired(ID), until=mark(NAME) or until=ended(ROLE)"},
    [WEDGE_ACT_CORRUPT] = {AT_FUNCTION, WEDGE_EXTRA_CORRUPT, NULL},
    [WEDGE_ACT_QUIESCE] = {AT_ALL, 0, NULL},
};

static int parse_signal(const struct plan_source *source, const struct plan_token *token, int64_t *ret)
{
    uint64_t number;
    if (plan_number(token->at, token->len, &number) && number >= 1 && number < (uint64_t)SIGRTMAX) {
        *ret = (int64_t)number;
        return 0;
    }
    const char *names[64];
    size_t n = 0;
    struct plan_token abbreviated = plan_rest(token, plan_starts(token, "SIG") ? 3 : 0);
    for (int s = 1; s < SIGRTMIN; s++)
        if (sigabbrev_np(s)) {
            names[n++] = sigabbrev_np(s);
            if (plan_is(&abbreviated, sigabbrev_np(s))) {
                *ret = s;
                return 0;
            }
        }
    names[n] = NULL;
    return plan_error_near(source, token->column, abbreviated.at, abbreviated.len, names,
                           "`%.*s` is not a signal: KILL, TERM, STOP, SEGV, … or its number", token->len, token->at);
}

bool plan_errno(const char *name, int64_t *ret)
{
    static const struct {
        const char *name;
        int value;
    } aliases[] = {{"EWOULDBLOCK", EWOULDBLOCK}, {"EDEADLOCK", EDEADLOCK}, {"ENOTSUP", ENOTSUP}};
    for (int e = 1; e < ERRNOS; e++)
        if (strerrorname_np(e) && strcmp(strerrorname_np(e), name) == 0) {
            *ret = e;
            return true;
        }
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (strcmp(aliases[i].name, name) == 0) {
            *ret = aliases[i].value;
            return true;
        }
    return false;
}

static int parse_errno(const struct plan_source *source, const struct plan_token *token, int64_t *ret)
{
    const char *names[ERRNOS];
    char name[24] = "";
    size_t n = 0;
    if (plan_copy(token->at, token->len, name, sizeof(name)) && plan_errno(name, ret))
        return 0;
    for (int e = 1; e < ERRNOS; e++)
        if (strerrorname_np(e))
            names[n++] = strerrorname_np(e);
    names[n] = NULL;
    for (char *at = name; *at; at++)
        *at = (char)toupper((unsigned char)*at); /* for the nearest one */
    return plan_error_near(source, token->column, name, (int)strlen(name), names, "`%.*s` is not an errno's name",
                           token->len, token->at);
}

/* A number within [least, most], with a sign where `least` is below zero. */
static int parse_argument_number(const struct plan_source *source, const struct plan_token *token, int64_t least,
                                 int64_t most, int64_t *ret)
{
    bool negative = least < 0 && token->at[0] == '-';
    uint64_t value;
    if (plan_number(token->at + negative, token->len - negative, &value) && value <= INT64_MAX) {
        int64_t number = negative ? -(int64_t)value : (int64_t)value;
        if (number >= least && number <= most) {
            *ret = number;
            return 0;
        }
    }
    return plan_error(source, token->column, "`%.*s` is not a number from %lld to %lld", token->len, token->at,
                      (long long)least, (long long)most);
}

/* A value that a function's result has no room for would come out as another one. */
static int parse_result(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    static const struct {
        const char *type;
        int64_t least, most;
    } narrow[] = {{"int", INT32_MIN, INT32_MAX},
                  {"pid_t", INT32_MIN, INT32_MAX},
                  {"mqd_t", INT32_MIN, INT32_MAX},
                  {"unsigned", 0, UINT32_MAX}};
    int64_t least = INT64_MIN + 1, most = INT64_MAX;
    if (out->rule.what == WEDGE_WHAT_PLACE) { /* answers with an int */
        least = INT32_MIN;
        most = INT32_MAX;
    }
    for (size_t f = plan_next_function(out, 0); f < WEDGE_FN_COUNT; f = plan_next_function(out, f + 1))
        for (size_t i = 0; i < sizeof(narrow) / sizeof(narrow[0]); i++)
            if (strcmp(wedge_functions[f].ret, narrow[i].type) == 0) {
                least = narrow[i].least > least ? narrow[i].least : least;
                most = narrow[i].most < most ? narrow[i].most : most;
            }
    return parse_argument_number(source, token, least, most, &out->rule.arg);
}

static int parse_argument(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    struct wedge_arena_rule *rule = &out->rule;
    struct plan_token condition;
    switch (rule->action) {
    case WEDGE_ACT_KILL:
        return parse_signal(source, token, &rule->arg);
    case WEDGE_ACT_EXIT:
        return parse_argument_number(source, token, 0, 255, &rule->arg);
    case WEDGE_ACT_ERRNO:
        return parse_errno(source, token, &rule->arg);
    case WEDGE_ACT_RETURN:
        return parse_result(source, token, out);
    case WEDGE_ACT_SHORT:
        return parse_argument_number(source, token, 1, INT64_MAX, &rule->arg);
    case WEDGE_ACT_DELAY:
        return plan_parse_duration(source, token, &rule->arg);
    default: /* yield */
        if (!plan_starts(token, "until="))
            return plan_error(source, token->column,
                              "`%.*s` after yield; possible: until=fired(ID), until=mark(NAME), until=ended(ROLE)",
                              token->len, token->at);
        condition = plan_rest(token, 6);
        return plan_parse_condition(source, &condition, &out->until);
    }
}

unsigned plan_action_extra(enum wedge_rule_action action)
{
    return actions[action].extra;
}

unsigned plan_action_part(enum wedge_rule_action action)
{
    switch (action) {
    case WEDGE_ACT_FULL:
    case WEDGE_ACT_EMPTY:
        return PLAN_PART_FULL;
    case WEDGE_ACT_CORRUPT:
        return PLAN_PART_CORRUPT;
    default:
        return 0;
    }
}

/* The functions that allow an action, as far as they fit, for a message. */
static void say_functions(unsigned extra, char *buf, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < WEDGE_FN_COUNT && len < size; i++) {
        size_t first = 0;
        while (strcmp(wedge_functions[first].family, wedge_functions[i].family) != 0)
            first++;
        if (first < i || !(wedge_functions[i].extra & extra))
            continue;
        int n = snprintf(buf + len, size - len, "%s%s", len ? ", " : "", wedge_functions[i].name);
        len += (size_t)n;
    }
    if (len == 0)
        snprintf(buf, size, "none");
}

/* Some functions have no error to report, or return nothing at all. */
static int check_answer(const struct plan_source *source, const struct plan_token *word, const struct plan_rule *out)
{
    bool code = out->rule.action == WEDGE_ACT_ERRNO;
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1)) {
        enum wedge_function_style style = wedge_functions[i].style;
        if (style == WEDGE_STYLE_VOID && (code || out->rule.action == WEDGE_ACT_RETURN))
            return plan_error(source, word->column, "`%s` is not possible at %s, which returns nothing; possible: %s",
                              wedge_plan_actions[out->rule.action], wedge_functions[i].name,
                              "kill, exit, stop, delay, block, yield, quiesce, for some drop");
        if (style == WEDGE_STYLE_PLAIN && code)
            return plan_error(source, word->column, "`errno` is not possible at %s, which has no error; possible: %s",
                              wedge_functions[i].name, "return V");
    }
    return 0;
}

/* Those of the rule's functions that have `extra`, as a plan would name them; false: none has, or they are too many. */
static bool say_named(const struct plan_rule *out, unsigned extra, char *buf, size_t size)
{
    size_t len = 0;
    buf[0] = 0;
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT && len < size; i = plan_next_function(out, i + 1))
        if (wedge_functions[i].extra & extra)
            len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? "," : "", wedge_functions[i].name);
    return len > 0 && len < size;
}

/* Can this action happen at what the rule names? */
static int check_where(const struct plan_source *source, const struct plan_token *word, const struct plan_rule *out)
{
    const struct wedge_arena_rule *rule = &out->rule;
    const char *name = wedge_plan_actions[rule->action];
    int at = rule->what == WEDGE_WHAT_PLACE ? AT_PLACE : rule->what == WEDGE_WHAT_FUNCTION ? AT_FUNCTION : AT_LIFE;
    if (!(actions[rule->action].at & at)) {
        if (at == AT_LIFE)
            return plan_error(source, word->column,
                              "`%s` answers a call, and start and exit are none; possible: "
                              "kill, exit, stop, delay, block, yield, quiesce",
                              name);
        if (at == AT_PLACE)
            return plan_error(source, word->column,
                              "`%s` is not possible at a place; possible: kill, exit, stop, "
                              "delay, block, yield, errno, return, drop, full, empty, quiesce",
                              name);
    }
    if (at != AT_FUNCTION)
        return 0;
    if (!actions[rule->action].extra)
        return check_answer(source, word, out);
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1)) {
        char functions[256];
        if (wedge_functions[i].extra & actions[rule->action].extra)
            continue;
        if (say_named(out, actions[rule->action].extra, functions, sizeof(functions)))
            return plan_error(source, word->column, "`%s` is not possible at %s; of those named it is possible at: %s",
                              name, wedge_functions[i].name, functions);
        say_functions(actions[rule->action].extra, functions, sizeof(functions));
        return plan_error(source, word->column, "`%s` is not possible at %s; possible at: %s", name,
                          wedge_functions[i].name, functions);
    }
    unsigned part = plan_action_part((enum wedge_rule_action)rule->action);
    return part ? plan_need(source, word->column, part, "this action at a function") : 0;
}

static int parse_when_word(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    struct wedge_arena_rule *rule = &out->rule;
    if (plan_is(token, "before"))
        return 0;
    if (!plan_is(token, "after"))
        return plan_error(source, token->column, "`%.*s` after the action; possible: before, after", token->len,
                          token->at);
    if (rule->what != WEDGE_WHAT_FUNCTION)
        return plan_error(source, token->column,
                          "`after` needs a function: places, start and exit have no effect to "
                          "come after");
    if (actions[rule->action].extra)
        return plan_error(source, token->column, "`%s` replaces the effect, so it cannot come after it",
                          wedge_plan_actions[rule->action]);
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1))
        if (wedge_functions[i].extra & WEDGE_EXTRA_NOT_AFTER)
            return plan_error(source, token->column,
                              "`after` is not possible at %s, which does not come back when it "
                              "succeeds; possible: before",
                              wedge_functions[i].name);
    rule->after_effect = 1;
    return 0;
}

/* What can only be interrupted has no other error. */
static int check_interrupted(const struct plan_source *source, const struct plan_token *word,
                             const struct plan_rule *out)
{
    const struct wedge_arena_rule *rule = &out->rule;
    if (rule->what != WEDGE_WHAT_FUNCTION || rule->action != WEDGE_ACT_ERRNO || rule->arg == EINTR)
        return 0;
    for (size_t i = plan_next_function(out, 0); i < WEDGE_FN_COUNT; i = plan_next_function(out, i + 1))
        if (wedge_functions[i].style == WEDGE_STYLE_LEFT)
            return plan_error(source, word->column,
                              "`errno %.*s` is not possible at %s; possible: errno EINTR, return V", word->len,
                              word->at, wedge_functions[i].name);
    return 0;
}

int plan_parse_action(const struct plan_source *source, const struct plan_token *tokens, int n, int end_column,
                      struct plan_rule *out)
{
    struct wedge_arena_rule *rule = &out->rule;
    int rc, action = -1;
    if (n == 0)
        return plan_error(source, end_column, "an action is missing after `->`");
    for (int i = 0; wedge_plan_actions[i]; i++)
        if (plan_is(&tokens[0], wedge_plan_actions[i]))
            action = i;
    if (plan_is(&tokens[0], "clock"))
        return plan_error(source, tokens[0].column, "`clock` is not possible yet; `delay` keeps a thread");
    if (action < 0)
        return plan_error_near(source, tokens[0].column, tokens[0].at, tokens[0].len, wedge_plan_actions,
                               "`%.*s` is not an action", tokens[0].len, tokens[0].at);
    rule->action = (uint32_t)action;
    if ((rc = check_where(source, &tokens[0], out)))
        return rc;
    int next = 1;
    if (actions[action].argument) {
        if (n < 2)
            return plan_error(source, end_column, "`%s` takes %s", wedge_plan_actions[action],
                              actions[action].argument);
        if ((rc = parse_argument(source, &tokens[next], out)) || (rc = check_interrupted(source, &tokens[next], out)))
            return rc;
        next++;
    }
    if (next < n && (rc = parse_when_word(source, &tokens[next++], out)))
        return rc;
    if (next < n)
        return plan_error(source, tokens[next].column, "`%.*s` after the end of the rule", tokens[next].len,
                          tokens[next].at);
    return 0;
}
