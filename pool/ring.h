/*
 * A ring of slot numbers, first in, first out: one producer at a time, any number of consumers, in any process.
 *
 *   push   cells[tail] = slot;  tail + 1                        the producer alone, under its own lock
 *   pop    slot = cells[head];  head: compare-and-swap to + 1   a cell is not written again before head has passed it,
 *                                                               so the swap proves that what was read was the cell's
 *
 * Head and tail never wrap (64 bits). A consumer that dies after its swap takes the number along, and nothing else: the
 * slot is still QUEUED in the ledger, and the keeper lists it again. Nothing blocks; no step can be seen half done.
 */
#ifndef WEDGE_POOL_RING_H
#define WEDGE_POOL_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct wedge_ring {
    _Atomic uint64_t *head, *tail; /* on lines of their own */
    _Atomic uint32_t *cells; /* cap of them, a power of two */
    uint32_t cap;
};

/* The producer's. The number is not to be seen before wedge_ring_show; there is room for it. */
static inline void wedge_ring_lay(struct wedge_ring *ring, uint64_t at, uint32_t slot)
{
    atomic_store_explicit(&ring->cells[at & (ring->cap - 1)], slot, memory_order_relaxed);
}

/* seq_cst: releases the cells to pop, and is what a sleeper's look and the look for sleepers meet in (word.h). */
static inline void wedge_ring_show(struct wedge_ring *ring, uint64_t tail)
{
    atomic_store(ring->tail, tail);
}

static inline bool wedge_ring_pop(struct wedge_ring *ring, uint32_t *ret)
{
    uint64_t head = atomic_load_explicit(ring->head, memory_order_acquire); /* partner: another pop's swap */
    while (head < atomic_load_explicit(ring->tail, memory_order_acquire)) { /* partner: show */
        uint32_t slot = atomic_load_explicit(&ring->cells[head & (ring->cap - 1)], memory_order_relaxed);
        if (atomic_compare_exchange_weak_explicit(ring->head, &head, head + 1, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            *ret = slot;
            return true;
        }
    }
    return false;
}

static inline bool wedge_ring_any(struct wedge_ring *ring)
{
    return atomic_load(ring->head) < atomic_load(ring->tail);
}

#endif
