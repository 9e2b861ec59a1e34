/*
 * The words of a rule after its arrow. Invariant: an action is accepted only where the agent can do it: an answer
 * needs something to answer (a place that asks, a function), a short call a function that counts, and so on.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "faults/functions.h"
#include "faults/plan_internal.h"

/* In the order of enum wedge_rule_action. */
const char *const wedge_plan_actions[] = {"kill", "exit",     "stop", "errno", "return", "short",   "delay",   "block",
                                          "drop", "spurious", "full", "empty", "yield",  "corrupt", "quiesce", NULL};

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
    [WEDGE_ACT_FULL] = {AT_PLACE, 0, NULL},
    [WEDGE_ACT_EMPTY] = {AT_PLACE, 0, NULL},
    [WEDGE_ACT_YIELD] = {AT_ALL, 0, "until=fired(ID) or until=mark(NAME)"},
    [WEDGE_ACT_CORRUPT] = {0, 0, NULL},
    [WEDGE_ACT_QUIESCE] = {AT_ALL, 0, NULL},
};

static int parse_signal(const struct plan_source *source, const struct plan_token *token, int64_t *ret)
{
    char name[16];
    uint64_t number;
    if (plan_number(token->at, token->len, &number) && number >= 1 && number < (uint64_t)SIGRTMAX) {
        *ret = (int64_t)number;
        return 0;
    }
    int skip = plan_starts(token, "SIG") ? 3 : 0;
    if (plan_copy(token->at + skip, token->len - skip, name, sizeof(name)))
        for (int s = 1; s < SIGRTMIN; s++)
            if (sigabbrev_np(s) && strcmp(sigabbrev_np(s), name) == 0) {
                *ret = s;
                return 0;
            }
    return plan_error(source, token->column, "`%.*s` is not a signal: KILL, TERM, STOP, SEGV, … or its number",
                      token->len, token->at);
}

static int parse_errno(const struct plan_source *source, const struct plan_token *token, int64_t *ret)
{
    static const struct {
        const char *name;
        int value;
    } aliases[] = {{"EWOULDBLOCK", EWOULDBLOCK}, {"EDEADLOCK", EDEADLOCK}, {"ENOTSUP", ENOTSUP}};
    const char *names[160];
    char name[24];
    size_t n = 0;
    bool whole = plan_copy(token->at, token->len, name, sizeof(name));
    for (int e = 1; e < 150 && n < 159; e++) {
        const char *known = strerrorname_np(e);
        if (!known)
            continue;
        names[n++] = known;
        if (whole && strcmp(known, name) == 0) {
            *ret = e;
            return 0;
        }
    }
    names[n] = NULL;
    for (size_t i = 0; whole && i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (strcmp(aliases[i].name, name) == 0) {
            *ret = aliases[i].value;
            return 0;
        }
    const char *near = whole ? wedge_err_nearest(name, names) : NULL;
    return plan_error(source, token->column, "`%.*s` is not an errno's name%s%s", token->len, token->at,
                      near ? "; nearest: " : "", near ? near : "");
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

static int parse_argument(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out)
{
    struct wedge_arena_rule *rule = &out->rule;
    char text[32];
    switch (rule->action) {
    case WEDGE_ACT_KILL:
        return parse_signal(source, token, &rule->arg);
    case WEDGE_ACT_EXIT:
        return parse_argument_number(source, token, 0, 255, &rule->arg);
    case WEDGE_ACT_ERRNO:
        return parse_errno(source, token, &rule->arg);
    case WEDGE_ACT_RETURN: /* a place answers with an int */
        return rule->what == WEDGE_WHAT_PLACE
                   ? parse_argument_number(source, token, INT32_MIN, INT32_MAX, &rule->arg)
                   : parse_argument_number(source, token, INT64_MIN + 1, INT64_MAX, &rule->arg);
    case WEDGE_ACT_SHORT:
        return parse_argument_number(source, token, 1, INT64_MAX, &rule->arg);
    case WEDGE_ACT_DELAY:
        if (!plan_copy(token->at, token->len, text, sizeof(text)) || wedge_duration_parse(text, &rule->arg) ||
            rule->arg <= 0)
            return plan_error(source, token->column, "`%.*s` is not a duration above 0: a number with ms, s or min",
                              token->len, token->at);
        return 0;
    default: /* yield */
        if (!plan_starts(token, "until="))
            return plan_error(source, token->column, "`%.*s` after yield; possible: until=fired(ID), until=mark(NAME)",
                              token->len, token->at);
        return plan_parse_condition(source, token->at + 6, token->len - 6, token->column + 6, &out->until);
    }
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
        return plan_error(source, word->column,
                          "`%s` is not possible at a function yet, only at a place that asks "
                          "(WEDGE_ASK); possible: kill, exit, stop, delay, block, yield, errno, "
                          "return, quiesce, for some drop, short, spurious",
                          name);
    }
    if (at != AT_FUNCTION || !actions[rule->action].extra)
        return 0;
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++)
        if ((rule->functions[i / 64] >> (i % 64) & 1) && !(wedge_functions[i].extra & actions[rule->action].extra))
            return plan_error(source, word->column, "`%s` is not possible at %s", name, wedge_functions[i].name);
    return 0;
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
    rule->after_effect = 1;
    return 0;
}

int plan_parse_action(const struct plan_source *source, const struct plan_token *tokens, int n, int end_column,
                      struct plan_rule *out)
{
    struct wedge_arena_rule *rule = &out->rule;
    char word[PLAN_NAME_BYTES];
    int rc, action = -1;
    if (n == 0)
        return plan_error(source, end_column, "an action is missing after `->`");
    for (int i = 0; wedge_plan_actions[i]; i++)
        if (plan_is(&tokens[0], wedge_plan_actions[i]))
            action = i;
    if (plan_is(&tokens[0], "clock") || action == WEDGE_ACT_CORRUPT)
        return plan_error(source, tokens[0].column, "`%.*s` is not possible yet", tokens[0].len, tokens[0].at);
    if (action < 0) {
        const char *near = plan_copy(tokens[0].at, tokens[0].len, word, sizeof(word))
                               ? wedge_err_nearest(word, wedge_plan_actions)
                               : NULL;
        return plan_error(source, tokens[0].column, "`%.*s` is not an action%s%s", tokens[0].len, tokens[0].at,
                          near ? "; nearest: " : "", near ? near : "");
    }
    rule->action = (uint32_t)action;
    if ((rc = check_where(source, &tokens[0], out)))
        return rc;
    int next = 1;
    if (actions[action].argument) {
        if (n < 2)
            return plan_error(source, end_column, "`%s` takes %s", wedge_plan_actions[action],
                              actions[action].argument);
        if ((rc = parse_argument(source, &tokens[next++], out)))
            return rc;
    }
    if (next < n && (rc = parse_when_word(source, &tokens[next++], out)))
        return rc;
    if (next < n)
        return plan_error(source, tokens[next].column, "`%.*s` after the end of the rule", tokens[next].len,
                          tokens[next].at);
    return 0;
}
