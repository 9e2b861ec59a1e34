/* The part of `wedge list` that shows what plans may name (list_functions.c). */
#ifndef WEDGE_CLI_LIST_H
#define WEDGE_CLI_LIST_H

#include <jansson.h>
#include <stdio.h>

#include "faults/functions.h"

/* Functions by family with what is legal at them, then the actions, on standard output. */
void wedge_cli_functions_say(void);
/* One function and what is legal, environmental and illegal at it, as lines. */
void wedge_cli_function_say(enum wedge_function function, FILE *out);
/* The same as an array of objects, one a function; the caller owns it. NULL: no memory. */
json_t *wedge_cli_functions_json(void);

#endif
