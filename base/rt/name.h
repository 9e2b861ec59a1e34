/*
 * The table of names in the arena: find or insert, the same code in wedge and in the agent.
 *
 * Insert only and without locks: an open-addressed table; a free entry is claimed by one compare-and-swap, the text
 * is written, and the entry becomes READY with release. Safe in threads, signal handlers and after fork. A writer
 * that dies half-way leaves its entry WRITING: others look a bounded number of times and go past it, so that the
 * worst case is a name that stands twice, never a wait.
 */
#ifndef WEDGE_BASE_RT_NAME_H
#define WEDGE_BASE_RT_NAME_H

#include <stdbool.h>

#include "base/rt/arena.h"

#define WEDGE_NAME_BYTES sizeof(((struct wedge_arena_name *)0)->text)
#define WEDGE_NAME_LOOKS 2000u /* at an entry that is being written, before going past it */

/* FNV-1a; *ret_len gets the length, at most `max`. */
static inline uint64_t wedge_rt_hash_text(const char *text, uint32_t max, uint32_t *ret_len)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    uint32_t n = 0;
    for (; n < max && text[n]; n++)
        hash = (hash ^ (uint8_t)text[n]) * 0x100000001b3ull;
    *ret_len = n;
    return hash;
}

/* Index of `text` in `table` of `count` entries; with `insert` it is added when missing. 0: not there, no room,
 * empty, or longer than 55 bytes. Bounded: at most `count` entries are looked at. */
static inline uint32_t wedge_rt_name(struct wedge_arena_name *table, uint32_t count, const char *text, bool insert)
{
    uint32_t len;
    uint64_t hash = wedge_rt_hash_text(text, WEDGE_NAME_BYTES, &len);
    if (len == 0 || len >= WEDGE_NAME_BYTES || count < 2)
        return 0;
    for (uint32_t i = 0, at = (uint32_t)(hash % (count - 1)) + 1; i < count - 1; i++, at = at % (count - 1) + 1) {
        struct wedge_arena_name *name = &table[at];
        uint32_t state = atomic_load_explicit(&name->state, memory_order_acquire);
        if (state == WEDGE_NAME_FREE) {
            if (!insert)
                return 0;
            if (atomic_compare_exchange_strong(&name->state, &state, WEDGE_NAME_WRITING)) {
                for (uint32_t c = 0; c <= len; c++)
                    name->text[c] = text[c];
                /* Partner: the acquire above and in the retries. */
                atomic_store_explicit(&name->state, WEDGE_NAME_READY, memory_order_release);
                return at;
            }
        }
        for (uint32_t looks = 0; state == WEDGE_NAME_WRITING && looks < WEDGE_NAME_LOOKS; looks++) {
            __builtin_ia32_pause();
            state = atomic_load_explicit(&name->state, memory_order_acquire);
        }
        if (state != WEDGE_NAME_READY)
            continue;
        uint32_t c = 0;
        while (c < len && name->text[c] == text[c])
            c++;
        if (c == len && name->text[c] == 0)
            return at;
    }
    return 0;
}

#endif
