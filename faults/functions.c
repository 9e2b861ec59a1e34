/* The function table as data. */
#include "faults/functions.h"

#define NONE     WEDGE_EXTRA_NONE
#define DROP     WEDGE_EXTRA_DROP
#define SHORT    WEDGE_EXTRA_SHORT
#define SPURIOUS WEDGE_EXTRA_SPURIOUS

const struct wedge_function_row wedge_functions[WEDGE_FN_COUNT] = {
#define F(ret, name, family, style, extra, params, args, errnos) {#name, #family, WEDGE_STYLE_##style, extra, errnos},
    WEDGE_FUNCTIONS(F)
#undef F
};
