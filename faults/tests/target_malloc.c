/*
 * A program with an allocator of its own, which no preload comes before. It takes a lock and maps memory, as such
 * allocators do, and so calls wrappers before any constructor has run. With OF_LIBC, one that takes libc's by its address.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef OF_LIBC
enum { BYTES = 1 << 20 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char *arena;
static size_t used;

void *malloc(size_t n)
{
    void *piece = NULL;
    pthread_mutex_lock(&mutex);
    if (!arena)
        arena = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena != MAP_FAILED && n < BYTES && used + n + 31 < BYTES) {
        piece = arena + used;
        used = (used + n + 31) & ~(size_t)15;
    }
    pthread_mutex_unlock(&mutex);
    return piece;
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
#endif

int main(void)
{
    void *(*volatile taken)(size_t n) = malloc;
    void *piece = taken(100);
    free(piece);
    return piece == NULL;
}
