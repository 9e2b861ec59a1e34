/*
 * The inside of the slots, shared by slots.c (take, get, answer), slots_put.c (put) and slots_keep.c (the supervisor's
 * side).
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
 *
 * Who may call what beside whom. + any number of threads, 1 one at a time, . never:
 *
 *                                      put   take, release   get, answer   condemn, expire,      wake_all   destroy
 *                                                            (workers)     withdraw, list again
 *   put, put_many (parent)              +          +              +                 +               +         .
 *   take, take_many, release (parent)   +          +              +                 +               +         .
 *   get, answer (a worker's thread)     +          +              +                 +               +         . (all gone)
 *   condemn, expire, withdraw           +          +              +                 1               +         .
 *      (the supervisor's thread)
 *   wake_all (anyone, signal-safe)      +          +              +                 +               +         .
 *   close (sets a flag and wakes)       +          +              +                 +               +         .
 *   empty, any_queued, owned, stats     +          +              +                 +               +         .
 *
 * condemn may be called for an incarnation only once the kernel says that its process is gone (or its threads have been
 * joined): beside `answer` of the dead itself it is not allowed, beside everybody else's it is.
 * put and whatever takes the put lock may not be called in a signal handler; nothing here survives a fork of the parent.
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
    uint32_t ready[64]; /* taken from the bits, not yet used: */
    _Atomic uint32_t ready_n; /* so many of them; looked at without the lock too */
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
static inline void wedge_slots_lock(struct wedge_slots *slots)
{
    pthread_mutex_lock(&slots->lock);
}

static inline void wedge_slots_unlock(struct wedge_slots *slots)
{
    pthread_mutex_unlock(&slots->lock);
}

static inline size_t wedge_slots_round8(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

/* Where a task of so many bytes and its result lie. */
struct wedge_slots_places {
    size_t task_extent; /* bytes of the extent that the task takes; 0: it lies in the slot */
    size_t result_extent; /* the same for its result */
    size_t result_offset; /* of a result in the slot */
};

static inline struct wedge_slots_places wedge_slots_places(const struct wedge_slots *slots, size_t bytes)
{
    struct wedge_slots_places places = {.task_extent = bytes > slots->room ? (size_t)wedge_arena_round(bytes) : 0};
    places.result_offset = places.task_extent ? 0 : wedge_slots_round8(bytes);
    if (slots->payload_bytes > 2 * slots->room - places.result_offset)
        places.result_extent = slots->payload_bytes;
    return places;
}

static inline uint8_t *wedge_slots_task(const struct wedge_slots *slots, struct wedge_slot *slot,
                                        const struct wedge_slots_places *places)
{
    return places->task_extent ? slots->arena_base + (size_t)slot->arena_at * WEDGE_ARENA_ALIGN : slot->body;
}

static inline uint8_t *wedge_slots_result(const struct wedge_slots *slots, struct wedge_slot *slot,
                                          const struct wedge_slots_places *places)
{
    if (!places->result_extent)
        return slot->body + places->result_offset;
    return slots->arena_base + (size_t)slot->arena_at * WEDGE_ARENA_ALIGN + places->task_extent;
}

/* There may be something for a taker in this slot. */
static inline void wedge_slots_tell_done(struct wedge_slots *slots, uint32_t i, int woken)
{
    wedge_bits_add(slots->done, i);
    wedge_word_tell(&slots->words->done, woken);
}

/* slots_put.c: the transport's. */
int wedge_slots_put(struct wedge_pool *pool, struct wedge_pool_input *inputs, unsigned n, int64_t until_ns,
                    int64_t *waited_ns);
/* slots.c: makes the task in this slot the hand's; false: it is not queued, the number was an old one. hand->now_ns is
 * the time. */
bool wedge_slots_claim(struct wedge_pool_hand *hand, uint32_t at);
/* slots.c: a taken slot, or one that was never published, back to the free ones. */
void wedge_slots_free(struct wedge_pool *pool, uint32_t i);

/* slots_keep.c. Locked: makes place in a ring that is full of numbers of slots that are not QUEUED any more. */
void wedge_slots_purge_ring(struct wedge_slots *slots);

#endif
