/* The function tables as data. */
#include "faults/functions.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NONE     WEDGE_EXTRA_NONE
#define DROP     WEDGE_EXTRA_DROP
#define SHORT    WEDGE_EXTRA_SHORT
#define SPURIOUS WEDGE_EXTRA_SPURIOUS
#define FULL     WEDGE_EXTRA_FULL
#define EMPTY    WEDGE_EXTRA_EMPTY
#define CORRUPT  WEDGE_EXTRA_CORRUPT

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

/* Is [at, at+len) a parameter "const char *NAME" of such a name? */
static bool is_path(const char *at, size_t len)
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

unsigned wedge_function_path(const struct wedge_function_row *row)
{
    /* "(int dir, const char *path, int flags, ...)". A parameter with parentheses of its own ends the search: no
     * function has a path after one. */
    unsigned number = 1;
    for (const char *at = row->params + 1;; number++) {
        size_t len = strcspn(at, ",()");
        if (is_path(at, len))
            return number;
        if (at[len] != ',')
            return 0;
        at += len + 1;
    }
}
