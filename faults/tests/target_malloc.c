/* A program with an allocator of its own, which no preload comes before. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static _Alignas(16) char arena[1 << 20];
static size_t used;

void *malloc(size_t n)
{
    size_t at = used;
    used = (used + n + 31) & ~(size_t)15;
    return used <= sizeof(arena) ? arena + at : NULL;
}

void *calloc(size_t count, size_t n)
{
    return malloc(count * n); /* nothing is given twice */
}

void *realloc(void *old, size_t n)
{
    void *to = malloc(n);
    if (to && old)
        memcpy(to, old, n); /* the arena goes on behind it */
    return to;
}

void free(void *old)
{
    (void)old;
}

int main(void)
{
    char *volatile piece = malloc(100);
    return piece == NULL;
}
