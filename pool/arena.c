/* The arena's books (arena.h). */
#include "pool/arena.h"

#include <errno.h>
#include <stdlib.h>

int wedge_arena_create(struct wedge_arena *arena, uint32_t n, uint64_t bytes)
{
    *arena = (struct wedge_arena){.bytes = bytes & ~(uint64_t)(WEDGE_ARENA_ALIGN - 1), .n = n, .last = n};
    if (bytes == 0)
        return 0;
    arena->extents = calloc((size_t)n + 1, sizeof(*arena->extents));
    if (!arena->extents)
        return -ENOMEM;
    arena->extents[n].before = arena->extents[n].after = n;
    return 0;
}

void wedge_arena_destroy(struct wedge_arena *arena)
{
    free(arena->extents);
    *arena = (struct wedge_arena){0};
}

/* Of the gap behind an extent: where it begins, and how large it is. The sentinel's extent is empty, at 0. */
static uint64_t gap_at(const struct wedge_arena *arena, uint32_t slot)
{
    return arena->extents[slot].at + arena->extents[slot].bytes;
}

static uint64_t gap_bytes(const struct wedge_arena *arena, uint32_t slot)
{
    uint32_t after = arena->extents[slot].after;
    return (after == arena->n ? arena->bytes : arena->extents[after].at) - gap_at(arena, slot);
}

bool wedge_arena_take(struct wedge_arena *arena, uint32_t slot, uint64_t bytes, uint64_t *ret_at)
{
    uint32_t behind = arena->last;
    bytes = wedge_arena_round(bytes);
    if (bytes > arena->bytes - arena->used)
        return false;
    while (gap_bytes(arena, behind) < bytes) {
        behind = arena->extents[behind].after;
        if (behind == arena->last)
            return false;
    }
    struct wedge_arena_extent *extent = &arena->extents[slot];
    *extent = (struct wedge_arena_extent){
        .at = gap_at(arena, behind), .bytes = bytes, .before = behind, .after = arena->extents[behind].after};
    arena->extents[extent->after].before = slot;
    arena->extents[behind].after = slot;
    arena->last = slot;
    arena->used += bytes;
    *ret_at = extent->at;
    return true;
}

void wedge_arena_give(struct wedge_arena *arena, uint32_t slot)
{
    if (!arena->extents || arena->extents[slot].bytes == 0)
        return;
    struct wedge_arena_extent *extent = &arena->extents[slot];
    arena->extents[extent->before].after = extent->after;
    arena->extents[extent->after].before = extent->before;
    if (arena->last == slot)
        arena->last = extent->before;
    arena->used -= extent->bytes;
    extent->bytes = 0;
}
