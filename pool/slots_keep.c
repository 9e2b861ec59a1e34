/*
 * The supervisor's side of the slots: what a death, a limit or the end of the workers changes, and the hints that are made
 * again from the ledger after it (slots.h).
 *
 * A worker can die with a slot's number in its hand: taken from the ring, not yet claimed. The slot is QUEUED and in no
 * list. Every such slot is listed again after each death; if its finder lives after all, the second listing is an old one
 * to whoever comes to it, and claims nothing.
 */
#include "pool/slots.h"

#include <string.h>

#include "pool/annotate.h"
#include "pool/slots_inside.h"

static bool is_queued(struct wedge_slots *slots, uint32_t i)
{
    return wedge_ledger_state_of(atomic_load(&wedge_slot_at(slots, i)->word)) == WEDGE_LEDGER_QUEUED;
}

/* Whether the slot was marked before. */
static bool mark(struct wedge_slots *slots, uint32_t i)
{
    uint64_t bit = 1ull << i % 64;
    bool was = slots->listed[i / 64] & bit;
    slots->listed[i / 64] |= bit;
    return was;
}

static void unmark_all(struct wedge_slots *slots)
{
    memset(slots->listed, 0, slots->bits_words * sizeof(*slots->listed));
}

/* Takes everything out as a consumer does, and lists again what is queued, once each: at most n of a ring of 2 × n. A slot that
 * was withdrawn, or listed twice, leaves an old number behind until a worker or this comes by. */
void wedge_slots_purge_ring(struct wedge_slots *slots)
{
    struct wedge_ring *ring = &slots->ring;
    uint64_t end = atomic_load(ring->tail), tail = end;
    uint32_t i;
    unmark_all(slots);
    while (atomic_load(ring->head) < end && wedge_ring_pop(ring, &i)) {
        if (!is_queued(slots, i) || mark(slots, i))
            continue;
        wedge_ring_lay(ring, tail, i); /* in the place of one that was taken out */
        wedge_ring_show(ring, ++tail);
    }
    slots->head_seen = atomic_load(ring->head);
}

/* Lists again what is queued and not in the ring. */
static void list_again(struct wedge_slots *slots)
{
    struct wedge_ring *ring = &slots->ring;
    wedge_slots_lock(slots);
    if (atomic_load(ring->tail) - atomic_load(ring->head) > ring->cap - slots->n)
        wedge_slots_purge_ring(slots);
    uint64_t tail = atomic_load(ring->tail);
    unmark_all(slots);
    for (uint64_t at = atomic_load(ring->head); at < tail; at++)
        mark(slots, atomic_load_explicit(&ring->cells[at & (ring->cap - 1)], memory_order_relaxed));
    for (uint32_t i = 0; i < slots->n; i++) {
        if (is_queued(slots, i) && !mark(slots, i))
            wedge_ring_lay(ring, tail++, i);
    }
    wedge_ring_show(ring, tail);
    wedge_slots_unlock(slots);
}

void wedge_slots_wake_all(struct wedge_pool *pool)
{
    struct wedge_slots_words *words = wedge_slots_of(pool)->words;
    wedge_word_renew(&words->items);
    wedge_word_renew(&words->done);
    wedge_word_renew(&words->room);
    wedge_word_bump(&pool->board->news, INT_MAX);
}

void wedge_slots_condemn(struct wedge_pool *pool, uint32_t worker, uint32_t incarnation)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    enum wedge_ledger_state state;
    for (uint32_t i = 0; i < slots->n; i++) {
        uint64_t word = atomic_load(&wedge_slot_at(slots, i)->word);
        if (wedge_ledger_condemn(&wedge_slot_at(slots, i)->word, worker, incarnation, &state)) {
            if (state != WEDGE_LEDGER_SPENT)
                atomic_fetch_add(&pool->board->settled, 1);
            wedge_bits_add(slots->done, i);
        } else if (wedge_ledger_is_outcome(word) || wedge_ledger_state_of(word) == WEDGE_LEDGER_SPENT) {
            wedge_bits_add(slots->done, i); /* it may have died between the outcome and its bit */
        }
    }
    list_again(slots);
    wedge_slots_wake_all(pool);
}

int64_t wedge_slots_expire(struct wedge_pool *pool, uint32_t worker, uint32_t incarnation, uint32_t thread,
                           uint64_t task)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_ledger_owner owner = {.worker = worker, .incarnation = incarnation, .thread = thread};
    for (uint32_t i = 0; i < slots->n; i++) {
        struct wedge_slot *slot = wedge_slot_at(slots, i);
        uint64_t word = atomic_load(&slot->word);
        struct wedge_ledger_owner has = wedge_ledger_owner_of(word);
        WEDGE_TAKES_OVER(&slot->word); /* the id is constant while someone owns the slot */
        if (wedge_ledger_state_of(word) == WEDGE_LEDGER_CLAIMED && has.worker == worker && has.thread == thread &&
            slot->id == task && wedge_ledger_expire(&slot->word, owner)) {
            atomic_fetch_add(&pool->board->settled, 1);
            return i;
        }
    }
    return -1;
}

void wedge_slots_show_expired(struct wedge_pool *pool, int64_t slot)
{
    wedge_slots_tell_done(wedge_slots_of(pool), (uint32_t)slot, INT_MAX);
}

/* Whether what was queued as `word` got this outcome. It is shown by show_withdrawn. */
static bool withdraw(struct wedge_pool *pool, uint32_t i, uint64_t word, enum wedge_pool_outcome outcome)
{
    if (!wedge_ledger_withdraw(&wedge_slot_at(wedge_slots_of(pool), i)->word, word, outcome))
        return false;
    atomic_fetch_add(&pool->board->settled, 1);
    return true;
}

/* n tasks were withdrawn: their numbers leave the ring, which is what the figures count as queued, then takers may know. */
static void show_withdrawn(struct wedge_slots *slots, int n)
{
    if (n == 0)
        return;
    wedge_slots_lock(slots);
    wedge_slots_purge_ring(slots);
    wedge_slots_unlock(slots);
    for (uint32_t i = 0; i < slots->n; i++)
        if (wedge_ledger_is_outcome(atomic_load(&wedge_slot_at(slots, i)->word)))
            wedge_bits_add(slots->done, i);
    wedge_word_tell(&slots->words->done, n);
}

int64_t wedge_slots_expire_queued(struct wedge_pool *pool, int64_t now_ns)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    int64_t limit_ns = pool->settings.queue_limit_ms * WEDGE_NS_PER_MS, next_ns = WEDGE_POOL_NEVER;
    int expired = 0;
    if (!slots->queued_ns)
        return WEDGE_POOL_NEVER;
    for (uint32_t i = 0; i < slots->n; i++) {
        /* A time that is of another use than the word is no harm: the swap fails then. */
        uint64_t word = atomic_load(&wedge_slot_at(slots, i)->word);
        int64_t end_ns = atomic_load_explicit(&slots->queued_ns[i], memory_order_relaxed) + limit_ns;
        if (wedge_ledger_state_of(word) != WEDGE_LEDGER_QUEUED)
            continue;
        if (end_ns <= now_ns)
            expired += withdraw(pool, i, word, WEDGE_POOL_TIMEOUT);
        else
            next_ns = wedge_pool_earlier(next_ns, end_ns);
    }
    show_withdrawn(slots, expired);
    /* What is put right after this look ends no sooner than this. */
    return wedge_pool_earlier(next_ns, now_ns + limit_ns);
}

void wedge_slots_withdraw(struct wedge_pool *pool, enum wedge_pool_outcome outcome)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    int withdrawn = 0;
    for (uint32_t i = 0; i < slots->n; i++)
        withdrawn += withdraw(pool, i, atomic_load(&wedge_slot_at(slots, i)->word), outcome);
    show_withdrawn(slots, withdrawn);
    wedge_slots_wake_all(pool);
}

bool wedge_slots_any_queued(struct wedge_pool *pool)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    for (uint32_t i = 0; i < slots->n; i++)
        if (is_queued(slots, i))
            return true;
    return false;
}
