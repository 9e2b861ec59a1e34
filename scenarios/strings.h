/* A growing, owned list of strings. */
#ifndef WEDGE_SCENARIOS_STRINGS_H
#define WEDGE_SCENARIOS_STRINGS_H

#include <stddef.h>

struct wedge_strings {
    char **items; /* NULL-terminated once anything was added */
    size_t n, cap;
};

/* Adds a copy; 0 or -ENOMEM. */
int wedge_strings_add(struct wedge_strings *strings, const char *text);
/* Hands over the NULL-terminated array (an empty one too); NULL when out of memory. The list is empty afterwards. */
char **wedge_strings_take(struct wedge_strings *strings);
void wedge_strings_free(char **items); /* takes NULL */

#endif
