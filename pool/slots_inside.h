/*
 * The inside of the slots, shared by slots.c (put, take, get, answer) and slots_keep.c (the supervisor's side).
 *
 *   shared mapping   words · done bits · ring's cells · slots · arena          no worker's death can leave a lock in it
 *   private memory   struct wedge_slots: free slots, the arena's books, meta   the parent's; a worker's copy is not used
 *
 * A slot's header, a small task and its small result lie in one cache line, which travels once each way:
 *
 *   0         32                          32 + room × 2
 *   | header  | task   | result ...       |                 task: in the slot if it has at most `room` bytes;
 *                                                           result: behind it, if payload_bytes fit there
 * What does not fit lies in the slot's extent of the arena, task first.
 */
#ifndef WEDGE_POOL_SLOTS_INSIDE_H
#define WEDGE_POOL_SLOTS_INSIDE_H

#include <pthread.h>

#include "pool/arena.h"
#include "pool/bits.h"
#include "pool/ledger.h"
#include "pool/pool.h"
#include "pool/ring.h"
#include "pool/sleeper.h"

#define WEDGE_SLOTS_LOOK_AGAIN_MS 1000 /* how long a sleep lasts at most: a lost wake-up costs no more */

struct wedge_slot {
    wedge_ledger_word word;
    uint64_t id;
    uint32_t bytes, result_bytes;
    int32_t code;
    uint32_t arena_at; /* of its extent, in units of WEDGE_ARENA_ALIGN */
    uint8_t body[];
};
_Static_assert(sizeof(struct wedge_slot) == 32, "a header leaves half of its line to the task");

struct wedge_slots_words {
    struct wedge_word items; /* a task was queued: workers sleep on it */
    struct wedge_word done; /* a result is there: takers */
    struct wedge_word room; /* a slot or room in the arena is free: putters */
};

/* A put that waits for room in the arena. On its stack, in line; whoever is first is served before all others. */
struct wedge_slots_turn {
    struct wedge_slots_turn *next;
};

/* Free slots: added to the bits by whoever releases one, taken under the lock by a wordful. A hint like the others:
 * whether a slot is free the ledger says. */
struct wedge_slots_free {
    struct wedge_bits *bits;
    uint32_t base, words, at; /* of slot `base` and on; where the next look begins */
    uint32_t ready[64], ready_n; /* taken from the bits, not yet used */
};

struct wedge_slots {
    /* Constant after create. */
    struct wedge_slots_words *words;
    struct wedge_bits *done; /* shared */
    uint8_t *slots, *arena_base; /* shared */
    size_t map_bytes, stride, room, payload_bytes;
    uint32_t n, bits_words; /* slots in all */
    uint32_t spares; /* of them: the last so many are for tasks that their caller runs (when_full=caller) */
    struct wedge_ring ring;
    _Atomic int64_t
        *queued_ns; /* by slot, where queue_limit is set: when it was put. Written in WRITING, read in QUEUED */
    void **meta; /* by slot: whoever owns it in the ledger */

    /* The takers'. */
    _Atomic uint32_t take_at; /* a hint: the word of `done` where the next look begins */
    struct wedge_sleeper takers;
    _Atomic uint64_t taker; /* pthread_self of the last one that took by iteration, 0 none */

    /* Under the lock, which covers a few dozen instructions per task and never user code, an allocation, a system call or
     * a copy of a payload. */
    pthread_mutex_t lock __attribute__((aligned(64)));
    struct wedge_slots_free free, spare;
    struct wedge_sleeper putters;
    struct wedge_arena arena;
    struct wedge_slots_turn *turn_first, **turn_end;
    _Atomic uint32_t turns; /* how many stand in line; read without the lock */
    uint64_t *listed; /* a bit per slot: scratch of wedge_slots_list_again */
    uint64_t head_seen; /* the ring's head when the producer last looked */
    struct wedge_board_thread caller; /* what a task run by its caller writes its times to; no reader */
};

static inline struct wedge_slots *wedge_slots_of(struct wedge_pool *pool)
{
    return pool->transport_data;
}
static inline struct wedge_slot *wedge_slot_at(const struct wedge_slots *slots, uint32_t i)
{
    return (struct wedge_slot *)(slots->slots + (size_t)i * slots->stride);
}
/* There may be something for a taker in this slot. */
static inline void wedge_slots_tell_done(struct wedge_slots *slots, uint32_t i, int woken)
{
    wedge_bits_add(slots->done, i);
    wedge_word_tell(&slots->words->done, woken);
}

/* slots.c: a taken slot, or one that was never published, back to the free ones. */
void wedge_slots_free(struct wedge_pool *pool, uint32_t i);

/* slots_keep.c. Locked: makes place in a ring that is full of numbers of slots that are not QUEUED any more. */
void wedge_slots_purge_ring(struct wedge_slots *slots);

#endif
