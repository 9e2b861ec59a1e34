/*
 * A set of slots, a bit each: which may have a result, which are free. Adding one that is there changes nothing, so a
 * set can be made again from the ledger at any time, by anyone, without asking what is in it.
 *
 *   64 bits to a word, each word on a cache line of its own: those who add and those who take meet on few lines.
 *
 * Any thread of any process may add and take, beside each other; nothing blocks, and a thread that dies leaves each
 * bit as it was or as it meant it. What was taken by a thread that then died has to be added again.
 */
#ifndef WEDGE_POOL_BITS_H
#define WEDGE_POOL_BITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct wedge_bits {
    _Atomic uint64_t word;
} __attribute__((aligned(64)));

static inline uint32_t wedge_bits_words(uint32_t n)
{
    return (n + 63) / 64;
}

/* seq_cst: the look of a sleeper and the waker's look for sleepers are its partners (word.h). What was written
 * before is seen by whoever takes the bit. */
static inline void wedge_bits_add(struct wedge_bits *bits, uint32_t i)
{
    atomic_fetch_or(&bits[i / 64].word, 1ull << i % 64);
}

static inline bool wedge_bits_any(struct wedge_bits *bits, uint32_t words)
{
    for (uint32_t i = 0; i < words; i++)
        if (atomic_load(&bits[i].word) != 0)
            return true;
    return false;
}

/* The lowest n bits that are set. */
static inline uint64_t wedge_bits_lowest(uint64_t word, unsigned n)
{
    uint64_t rest = word;
    while (rest && n-- > 0)
        rest &= rest - 1;
    return word ^ rest;
}

/* Takes up to n from one word, the first at or after `*at` that has any; *at says which it was. How many; 0: none
 * in any word. */
static inline unsigned wedge_bits_take(struct wedge_bits *bits, uint32_t words, uint32_t *at, uint32_t *ret, unsigned n)
{
    for (uint32_t i = 0, w = *at; i < words; i++, w = w + 1 < words ? w + 1 : 0) {
        uint64_t want = wedge_bits_lowest(atomic_load_explicit(&bits[w].word, memory_order_relaxed), n);
        unsigned taken = 0;
        if (!want)
            continue;
        for (uint64_t got = want & atomic_fetch_and(&bits[w].word, ~want); got; got &= got - 1)
            ret[taken++] = w * 64 + (uint32_t)__builtin_ctzll(got);
        if (taken) {
            *at = w;
            return taken;
        }
    }
    return 0;
}

#endif
