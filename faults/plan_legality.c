/*
 * What a fault says about a program that it breaks. Legal: a man page allows it, so a correct program withstands it.
 * Environmental: no call breaks its promise, but the world does this (a kill, a stall, a peer that does not read).
 * Illegal: a call breaks its promise; a program that does not withstand it need not be wrong.
 */
#include <string.h>

#include "faults/plan_internal.h"

const char *const wedge_legality_words[] = {"legal", "environmental", "illegal", NULL};

bool wedge_plan_allows(enum wedge_function function, enum wedge_rule_action action)
{
    enum wedge_function_style style = wedge_functions[function].style;
    if ((action == WEDGE_ACT_ERRNO && (style == WEDGE_STYLE_PLAIN || style == WEDGE_STYLE_VOID)) ||
        (action == WEDGE_ACT_RETURN && style == WEDGE_STYLE_VOID))
        return false;
    unsigned extra = plan_action_extra(action), part = plan_action_part(action);
    return (part & PLAN_POSSIBLE) == part && (!extra || (wedge_functions[function].extra & extra));
}

static bool is_allowed_errno(enum wedge_function function, int64_t code)
{
    for (const int *e = wedge_functions[function].errnos; *e; e++)
        if (*e == code)
            return true;
    return false;
}

enum wedge_legality wedge_plan_legality(enum wedge_function function, enum wedge_rule_action action, int64_t arg)
{
    switch (action) {
    case WEDGE_ACT_ERRNO:
        return is_allowed_errno(function, arg) ? WEDGE_LEGAL : WEDGE_ILLEGAL;
    case WEDGE_ACT_RETURN: /* a value says what was done, and nothing was; unless the value is an error's number */
        return wedge_functions[function].style == WEDGE_STYLE_CODE && is_allowed_errno(function, arg) ? WEDGE_LEGAL
                                                                                                      : WEDGE_ILLEGAL;
    case WEDGE_ACT_SHORT: /* read(2), write(2): "not an error if this number is smaller than the number requested" */
    case WEDGE_ACT_SPURIOUS: /* pthread_cond_wait(3p): "Spurious wakeups … may occur"; select(2), BUGS */
        return WEDGE_LEGAL;
    case WEDGE_ACT_DROP:
    case WEDGE_ACT_CORRUPT:
        return WEDGE_ILLEGAL;
    default:
        return WEDGE_ENVIRONMENTAL;
    }
}

enum wedge_legality wedge_plan_rule_legality(const struct wedge_plan *plan, size_t i, enum wedge_function *ret_function)
{
    const struct plan_rule *rule = &plan->rules[i];
    enum wedge_rule_action action = (enum wedge_rule_action)rule->rule.action;
    enum wedge_legality worst = WEDGE_LEGAL;
    if (rule->rule.what != WEDGE_WHAT_FUNCTION) {
        /* A place that asks answers for the program's own code, which says itself what it takes; only "done" when
         * nothing is done is a lie anywhere. */
        *ret_function = WEDGE_FN_COUNT;
        return action == WEDGE_ACT_DROP ? WEDGE_ILLEGAL : WEDGE_ENVIRONMENTAL;
    }
    *ret_function = (enum wedge_function)plan_next_function(rule, 0);
    for (size_t f = plan_next_function(rule, 0); f < WEDGE_FN_COUNT; f = plan_next_function(rule, f + 1)) {
        enum wedge_legality one = wedge_plan_legality((enum wedge_function)f, action, rule->rule.arg);
        if (rule->rule.after_effect && one == WEDGE_LEGAL)
            one = WEDGE_ILLEGAL; /* an error of a call that has done its work */
        if (one > worst) {
            worst = one;
            *ret_function = (enum wedge_function)f;
        }
    }
    return worst;
}
