/*
 * Room for what is too large for a slot: extents of one range of bytes, each with the slot that owns it.
 *
 * The parent alone keeps the books, in memory of its own: both a task's and its result's room are taken when the task
 * is put and given back when its slot is freed, so a worker never waits for room, and its death leaves the books as
 * they were. A slot has at most one extent.
 *
 *   sentinel -> extent -> extent -> … -> sentinel       in the order of their places; gaps lie between
 *
 * Taking looks from the last extent taken onwards: in a queue that is where the oldest was just given back.
 *
 * One thread at a time (the put lock). Nothing here allocates after create.
 */
#ifndef WEDGE_POOL_ARENA_H
#define WEDGE_POOL_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#define WEDGE_ARENA_ALIGN 64

struct wedge_arena_extent {
    uint64_t at, bytes; /* bytes 0: the slot has none */
    uint32_t before, after; /* slots, or the sentinel */
};

struct wedge_arena {
    uint64_t bytes, used;
    struct wedge_arena_extent *extents; /* by slot; [n] is the sentinel */
    uint32_t n;
    uint32_t last; /* whose extent was taken last */
};

/* For n slots. -ENOMEM. destroy takes a zeroed one. */
int wedge_arena_create(struct wedge_arena *arena, uint32_t n, uint64_t bytes);
void wedge_arena_destroy(struct wedge_arena *arena);

/* bytes (not 0) for this slot, which has none; *ret_at is a multiple of WEDGE_ARENA_ALIGN. False: no gap is large enough. */
bool wedge_arena_take(struct wedge_arena *arena, uint32_t slot, uint64_t bytes, uint64_t *ret_at);
/* Nothing if the slot has none. */
void wedge_arena_give(struct wedge_arena *arena, uint32_t slot);

static inline uint64_t wedge_arena_round(uint64_t bytes)
{
    return (bytes + WEDGE_ARENA_ALIGN - 1) & ~(uint64_t)(WEDGE_ARENA_ALIGN - 1);
}

#endif
