/* The function tables as data. */
#include "faults/functions.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NONE      WEDGE_EXTRA_NONE
#define DROP      WEDGE_EXTRA_DROP
#define SHORT     WEDGE_EXTRA_SHORT
#define SPURIOUS  WEDGE_EXTRA_SPURIOUS
#define FULL      WEDGE_EXTRA_FULL
#define EMPTY     WEDGE_EXTRA_EMPTY
#define CORRUPT   WEDGE_EXTRA_CORRUPT
#define NOT_AFTER WEDGE_EXTRA_NOT_AFTER

/* The number of words in a list of at most eight; () has none. */
#define COUNT(args)                             COUNT_ args
#define COUNT_(...)                             PICK(0, ##__VA_ARGS__, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define PICK(z, a, b, c, d, e, f, g, h, n, ...) n

#define F(ret, name, family, style, extra, kind, effect, object, params, args, cut, dropped, ...)                      \
    static const int errnos_of_##name[] = {__VA_ARGS__, 0};
#include "faults/functions/all.def"
#undef F

const struct wedge_function_row wedge_functions[WEDGE_FN_COUNT] = {
#define F(ret, name, family, style, extra, kind, effect, object, params, args, cut, dropped, ...)                      \
    {#name,                                                                                                            \
     #family,                                                                                                          \
     WEDGE_STYLE_##style,                                                                                              \
     extra,                                                                                                            \
     WEDGE_OBJECT_##kind,                                                                                              \
     WEDGE_EFFECT_##effect,                                                                                            \
     errnos_of_##name,                                                                                                 \
     COUNT(args),                                                                                                      \
     #ret,                                                                                                             \
     #params},
#include "faults/functions/all.def"
#undef F
};

const char *wedge_function_param(const struct wedge_function_row *row, unsigned n, int *ret_len)
{
    const char *at = row->params + 1; /* behind the "(" */
    for (unsigned number = 1;; number++) {
        size_t len = 0, depth = 0; /* a function's address has parentheses and commas of its own */
        for (; depth > 0 || (at[len] != ',' && at[len] != ')'); len++)
            depth += (at[len] == '(') - (size_t)(at[len] == ')');
        if (number == n) {
            *ret_len = (int)len;
            return at;
        }
        if (at[len] != ',')
            return NULL;
        at += len + 1;
        at += strspn(at, " ");
    }
}

unsigned wedge_function_path(const struct wedge_function_row *row)
{
    return wedge_function_path_of(row->params);
}
