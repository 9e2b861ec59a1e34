#include "scenarios/strings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int reserve(struct wedge_strings *s)
{
    if (s->n + 2 <= s->cap)
        return 0;
    size_t cap = s->cap ? s->cap * 2 : 8;
    char **items = reallocarray(s->items, cap, sizeof(*items));
    if (!items)
        return -ENOMEM;
    s->items = items;
    s->cap = cap;
    return 0;
}

int wedge_strings_add(struct wedge_strings *s, const char *text)
{
    if (reserve(s) || !(s->items[s->n] = strdup(text)))
        return -ENOMEM;
    s->items[++s->n] = NULL;
    return 0;
}

char **wedge_strings_take(struct wedge_strings *s)
{
    if (!s->items && reserve(s))
        return NULL;
    char **items = s->items;
    items[s->n] = NULL;
    *s = (struct wedge_strings){0};
    return items;
}

void wedge_strings_free(char **items)
{
    for (char **i = items; i && *i; i++)
        free(*i);
    free(items);
}
