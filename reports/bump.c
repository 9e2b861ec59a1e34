#include "reports/bump.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 256 << 10,
    READY_BYTES = 1 << 20,
    HUGE_BYTES = 2 << 20,
    ALIGN = 8
}; /* jansson holds pointers, sizes and doubles */

struct chunk {
    struct chunk *next; /* all of malloc's: kept, not lost */
};
static bool in_use; /* set before there is a second thread */
static struct chunk *_Atomic all; /* relaxed: nobody goes through it */
static _Thread_local char *at;
static _Thread_local size_t left; /* from there on */
static _Thread_local size_t beyond; /* and what comes behind that, of which the kernel has not been asked for pages */

/* All pages of new memory at once, which takes a third of the time of one fault for each. Before Linux 5.14: EINVAL. */
static void make_present(void *memory, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)memory + page - 1) / page * page, to = ((uintptr_t)memory + size) / page * page;
    if (from < to)
        madvise((void *)from, to - from, MADV_POPULATE_WRITE);
}

static bool take_chunk(size_t bytes)
{
    size_t size = sizeof(struct chunk) + (bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES);
    struct chunk *chunk = malloc(size);
    if (!chunk)
        return false;
    make_present(chunk, size);
    chunk->next = atomic_load_explicit(&all, memory_order_relaxed);
    while (
        !atomic_compare_exchange_weak_explicit(&all, &chunk->next, chunk, memory_order_relaxed, memory_order_relaxed))
        ;
    at = (char *)(chunk + 1);
    left = size - sizeof(struct chunk);
    beyond = 0;
    return true;
}

/* A place where one huge page may be (madvise(2), MADV_HUGEPAGE), which is made and given back in a fraction of the time that its
 * 512 small ones take; where the kernel gives none, they are made as they are needed. */
static bool take_huge_place(void)
{
    char *place =
        mmap(NULL, 2 * (size_t)HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED)
        return false;
    at = place + (HUGE_BYTES - (uintptr_t)place % HUGE_BYTES) % HUGE_BYTES;
    left = 0;
    beyond = HUGE_BYTES;
    madvise(at, HUGE_BYTES, MADV_HUGEPAGE);
    return true;
}

static void make_more_present(size_t more)
{
    more = more < beyond ? more : beyond;
    make_present(at + left, more);
    left += more;
    beyond -= more;
}

static bool has_room(size_t bytes)
{
    /* The first is a chunk: a small report has no more. */
    if (bytes > left + beyond && (bytes > HUGE_BYTES / 4 || !at || !take_huge_place()))
        return take_chunk(bytes);
    if (bytes > left)
        make_more_present(bytes - left > CHUNK_BYTES ? bytes - left : CHUNK_BYTES);
    return true;
}

static void *bump(size_t bytes)
{
    if (bytes > PTRDIFF_MAX / 2)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (bytes > left && !has_room(bytes))
        return NULL;
    void *got = at;
    at += bytes;
    left -= bytes;
    return got;
}

static void keep(void *memory)
{
    (void)memory;
}

void wedge_bump_await(void)
{
    if (!in_use)
        return;
    if (left < CHUNK_BYTES && take_huge_place()) /* what is left of the chunk before is lost */
        make_more_present(READY_BYTES);
    void *text = malloc(READY_BYTES / 2);
    if (text)
        make_present(text, READY_BYTES / 2);
    free(text);
}

void wedge_bump_json(void)
{
    in_use = true;
    json_set_alloc_funcs(bump, keep);
}
