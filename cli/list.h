/* The part of `wedge list` that shows what plans may name (list_functions.c). */
#ifndef WEDGE_CLI_LIST_H
#define WEDGE_CLI_LIST_H

#include <jansson.h>

/* Functions by family with what is legal at them, then the actions, on standard output. */
void wedge_cli_functions_say(void);
/* The same as an array of objects, one a function; the caller owns it. NULL: no memory. */
json_t *wedge_cli_functions_json(void);

#endif
