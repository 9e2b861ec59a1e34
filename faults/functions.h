/*
 * The functions a rule may name: declarative tables (functions/, one file a family of subjects) for the plan compiler
 * (names, families, which actions are possible and legal) and the agent (prototypes and wrappers).
 * Invariant: the place in the tables is the function's number in wedge_arena_rule.functions.
 *
 *   F(ret, name, family, style, extra, kind, effect, object, params, args, cut, dropped, errnos…)
 *
 * style    how it reports an error: MINUS1 (returns -1 and sets errno), CODE (returns the number), NULLED (returns NULL
 *          and sets errno), THRD (C11's thrd_error and its kin); LEFT (it can only be interrupted, and returns what is
 *          left of its argument), PLAIN (it cannot: `errno` is refused), VOID (it returns nothing: `errno` and `return`
 *          are)
 * extra    actions possible beside those of every function (kill exit stop delay block yield errno return quiesce):
 *          DROP, SHORT, SPURIOUS, FULL, EMPTY, CORRUPT, joined by |, or NONE; and one that is not possible, NOT_AFTER
 * kind     what it is about (enum wedge_object_kind), effect what it does to that (enum wedge_function_effect)
 * object   which: an expression of the parameters (an address, a descriptor, a TID), 0 when only the result tells
 * params   of a variadic function those it may be given: on x86-64 they come in the same registers, and one that was
 *          not given is passed on as the garbage it is
 * cut      what `short` does before the call: NO_CUT, CUT_COUNT(n), CUT_VECTOR(iov, count), CUT_MESSAGE(message) and,
 *          where the kernel writes into the message, CUT_MESSAGE_BACK(message)
 * dropped  what a dropped call returns
 * errnos   those its man page allows when the caller did nothing wrong: what makes `errno E` legal; 0 for none. They are
 *          the constants themselves, so that one that does not exist does not compile
 *
 * A row needs a call in tests/target_functions*.c, or its test fails, and its family a place in wedge-plan(5).
 * A family is all entry points of one operation (C++, CPython and _FORTIFY_SOURCE come in by other names).
 * The wrapper of an F is generated (agent/generate.c). Rows that need one of their own, by hand, say H; V is an F of
 * which libc has two versions that must not be mixed: agent/versions.def keeps them apart.
 */
#ifndef WEDGE_FAULTS_FUNCTIONS_H
#define WEDGE_FAULTS_FUNCTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/rt/arena.h"

enum wedge_function_style {
    WEDGE_STYLE_MINUS1,
    WEDGE_STYLE_CODE,
    WEDGE_STYLE_NULLED,
    WEDGE_STYLE_THRD,
    WEDGE_STYLE_LEFT,
    WEDGE_STYLE_PLAIN,
    WEDGE_STYLE_VOID
};
#define WEDGE_EXTRA_NONE      0u
#define WEDGE_EXTRA_DROP      1u /* reports success and does nothing */
#define WEDGE_EXTRA_SHORT     2u /* does less than asked */
#define WEDGE_EXTRA_SPURIOUS  4u /* returns as woken although nobody woke it */
#define WEDGE_EXTRA_FULL      8u /* its object has no room from now on, until released */
#define WEDGE_EXTRA_EMPTY     16u /* its object has nothing to take from now on, until released */
#define WEDGE_EXTRA_CORRUPT   32u /* one byte of what it carries is changed */
#define WEDGE_EXTRA_NOT_AFTER 64u /* when it succeeds it does not come back to its wrapper: `after` is refused */

enum wedge_function_effect {
    WEDGE_EFFECT_NONE,
    WEDGE_EFFECT_USE,
    WEDGE_EFFECT_CREATE, /* makes the object */
    WEDGE_EFFECT_RESULT, /* makes the object, which is the result (a descriptor) */
    WEDGE_EFFECT_DESTROY,
    WEDGE_EFFECT_TAKE, /* the caller holds it once the call has succeeded: a lock */
    WEDGE_EFFECT_GIVE, /* the caller holds it no more */
    WEDGE_EFFECT_WAIT, /* may wait for what another does to it */
    WEDGE_EFFECT_WAKE, /* may wake who waits for it */
};

#define F(ret, name, ...) WEDGE_FN_##name,
enum wedge_function {
#include "faults/functions/all.def"
    WEDGE_FN_COUNT
};
#undef F
_Static_assert(WEDGE_FN_COUNT <= 64 * WEDGE_RULE_FUNCTIONS_WORDS, "the bit set of a rule");

/* The table as data, for the compiler and the listings. */
struct wedge_function_row {
    const char *name, *family;
    enum wedge_function_style style;
    unsigned extra;
    enum wedge_object_kind kind;
    enum wedge_function_effect effect;
    const int *errnos; /* ends with 0 */
    unsigned n_args;
    const char *ret, *params; /* as text: its prototype */
};
extern const struct wedge_function_row wedge_functions[WEDGE_FN_COUNT];

/* The text of parameter n, from 1, and its length; NULL past the last one. "void" is the first of a function without. */
const char *wedge_function_param(const struct wedge_function_row *row, unsigned n, int *ret_len);
unsigned wedge_function_path(const struct wedge_function_row *row);

/* Is [at, at+len) a parameter "const char *NAME" of such a name? */
static inline bool wedge_function_is_path(const char *at, size_t len)
{
    static const char *const names[] = {"path", "file", "name"};
    static const char type[] = "const char *";
    size_t skip = strspn(at, " ");
    if (len < skip + sizeof(type) - 1 || memcmp(at + skip, type, sizeof(type) - 1) != 0)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (len - skip - (sizeof(type) - 1) == strlen(names[i]) &&
            memcmp(at + skip + sizeof(type) - 1, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* Which parameter is the path of what the function opens, runs or makes, from 1; 0 none: the first `const char *` that
 * is called path, file (execvp) or name (mq_open, sem_open, shm_open). */
static inline unsigned wedge_function_path_of(const char *params)
{
    /* "(int dir, const char *path, int flags, ...)". A parameter with parentheses of its own ends the search: no
     * function has a path after one. */
    unsigned number = 1;
    for (const char *at = params + 1;; number++) {
        size_t len = strcspn(at, ",()");
        if (wedge_function_is_path(at, len))
            return number;
        if (at[len] != ',')
            return 0;
        at += len + 1;
    }
}

/* Does the rule name one of the malloc family, which is wrapped in an object of its own? */
static inline bool wedge_rule_names_allocation(const struct wedge_arena_rule *rule)
{
    static const enum wedge_function all[] = {
#define F(...)
#define V(...)
#define H(ret, name, ...) WEDGE_FN_##name,
#include "faults/functions/allocation.def"
#undef F
#undef V
#undef H
    };
    for (size_t i = 0; rule->what == WEDGE_WHAT_FUNCTION && i < sizeof(all) / sizeof(all[0]); i++)
        if (rule->functions[all[i] / 64] >> (all[i] % 64) & 1)
            return true;
    return false;
}

#endif
