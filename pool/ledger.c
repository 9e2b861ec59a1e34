/* The ledger's changes: each one compare-and-swap from a state that the change may start from (ledger.h). */
#include "pool/ledger.h"

#include "pool/annotate.h"

#define STATE_BITS  4
#define THREAD_BITS 8
#define WORKER_BITS 12
#define INC_BITS    20
#define USE_BITS    20

#define THREAD_SHIFT STATE_BITS
#define WORKER_SHIFT (THREAD_SHIFT + THREAD_BITS)
#define INC_SHIFT    (WORKER_SHIFT + WORKER_BITS)
#define USE_SHIFT    (INC_SHIFT + INC_BITS)

#define MASK(bits) ((1ull << (bits)) - 1)

_Static_assert(USE_SHIFT + USE_BITS == 64, "a ledger word has 64 bits");

static uint64_t use_of(uint64_t word)
{
    return word >> USE_SHIFT;
}

/* The same slot and use in another state, with nobody as its owner. */
static uint64_t in_state(uint64_t word, uint64_t state)
{
    return use_of(word) << USE_SHIFT | state;
}

/* The same with its owner. */
static uint64_t with_state(uint64_t word, uint64_t state)
{
    return (word & ~MASK(STATE_BITS)) | state;
}

/* What an owned slot becomes once its owner is through or dead, unless it hands a result in; FREE: not owned. */
static enum wedge_ledger_state left_by_owner(enum wedge_ledger_state state)
{
    switch (state) {
    case WEDGE_LEDGER_CLAIMED:
        return (enum wedge_ledger_state)WEDGE_POOL_LOST;
    case WEDGE_LEDGER_EXPIRED:
        return (enum wedge_ledger_state)WEDGE_POOL_TIMEOUT;
    case WEDGE_LEDGER_LATE:
        return WEDGE_LEDGER_SPENT;
    default:
        return WEDGE_LEDGER_FREE;
    }
}

/* Partner of itself: what one swap releases, the next swap or load of the same word acquires. */
static bool swap(wedge_ledger_word *slot, uint64_t from, uint64_t to)
{
    WEDGE_HANDS_OVER(slot);
    bool changed = atomic_compare_exchange_strong_explicit(slot, &from, to, memory_order_acq_rel, memory_order_acquire);
    WEDGE_TAKES_OVER(slot);
    return changed;
}

static uint64_t look(wedge_ledger_word *slot)
{
    uint64_t word = atomic_load_explicit(slot, memory_order_acquire);
    WEDGE_TAKES_OVER(slot);
    return word;
}

enum wedge_ledger_state wedge_ledger_state_of(uint64_t word)
{
    return (enum wedge_ledger_state)(word & MASK(STATE_BITS));
}

struct wedge_ledger_owner wedge_ledger_owner_of(uint64_t word)
{
    return (struct wedge_ledger_owner){
        .worker = (uint32_t)(word >> WORKER_SHIFT & MASK(WORKER_BITS)),
        .incarnation = (uint32_t)(word >> INC_SHIFT & MASK(INC_BITS)),
        .thread = (uint32_t)(word >> THREAD_SHIFT & MASK(THREAD_BITS)),
    };
}

bool wedge_ledger_is_outcome(uint64_t word)
{
    uint64_t state = word & MASK(STATE_BITS);
    return state >= WEDGE_POOL_OK && state < WEDGE_POOL_OUTCOMES;
}

bool wedge_ledger_is_owned(uint64_t word)
{
    return left_by_owner(wedge_ledger_state_of(word)) != WEDGE_LEDGER_FREE;
}

static bool change(wedge_ledger_word *slot, uint64_t from, uint64_t to)
{
    uint64_t word = look(slot);
    return wedge_ledger_state_of(word) == from && swap(slot, word, in_state(word, to));
}

bool wedge_ledger_reserve(wedge_ledger_word *slot)
{
    return change(slot, WEDGE_LEDGER_FREE, WEDGE_LEDGER_WRITING);
}

bool wedge_ledger_publish(wedge_ledger_word *slot)
{
    return change(slot, WEDGE_LEDGER_WRITING, WEDGE_LEDGER_QUEUED);
}

bool wedge_ledger_abandon(wedge_ledger_word *slot)
{
    return change(slot, WEDGE_LEDGER_WRITING, WEDGE_LEDGER_FREE);
}

bool wedge_ledger_claim(wedge_ledger_word *slot, struct wedge_ledger_owner owner, uint64_t *ret_claim)
{
    uint64_t word = look(slot);
    if (wedge_ledger_state_of(word) != WEDGE_LEDGER_QUEUED)
        return false;
    uint64_t claim = in_state(word, WEDGE_LEDGER_CLAIMED) | (owner.incarnation & MASK(INC_BITS)) << INC_SHIFT |
                     (owner.worker & MASK(WORKER_BITS)) << WORKER_SHIFT |
                     (owner.thread & MASK(THREAD_BITS)) << THREAD_SHIFT;
    if (!swap(slot, word, claim))
        return false;
    *ret_claim = claim;
    return true;
}

bool wedge_ledger_finish(wedge_ledger_word *slot, uint64_t claim, enum wedge_pool_outcome outcome, bool *ret_late)
{
    uint64_t word = claim;
    *ret_late = false;
    if ((outcome != WEDGE_POOL_OK && outcome != WEDGE_POOL_ERROR) ||
        wedge_ledger_state_of(claim) != WEDGE_LEDGER_CLAIMED)
        return false;
    if (swap(slot, claim, with_state(claim, outcome)))
        return true;
    /* At most two turns: EXPIRED may become LATE in between, and nothing else. */
    while (word = look(slot),
           word == with_state(claim, WEDGE_LEDGER_EXPIRED) || word == with_state(claim, WEDGE_LEDGER_LATE)) {
        *ret_late = swap(slot, word, with_state(claim, left_by_owner(wedge_ledger_state_of(word))));
        if (*ret_late)
            return true;
    }
    return false;
}

bool wedge_ledger_expire(wedge_ledger_word *slot, struct wedge_ledger_owner owner)
{
    uint64_t word = look(slot);
    struct wedge_ledger_owner has = wedge_ledger_owner_of(word);
    return wedge_ledger_state_of(word) == WEDGE_LEDGER_CLAIMED && has.worker == owner.worker &&
           has.incarnation == (owner.incarnation & MASK(INC_BITS)) && has.thread == owner.thread &&
           swap(slot, word, with_state(word, WEDGE_LEDGER_EXPIRED));
}

bool wedge_ledger_condemn(wedge_ledger_word *slot, uint32_t worker, uint32_t incarnation, enum wedge_ledger_state *ret)
{
    for (;;) { /* a taker may make EXPIRED into LATE in between, once */
        uint64_t word = look(slot);
        struct wedge_ledger_owner owner = wedge_ledger_owner_of(word);
        enum wedge_ledger_state next = left_by_owner(wedge_ledger_state_of(word));
        if (next == WEDGE_LEDGER_FREE || owner.worker != worker || owner.incarnation != (incarnation & MASK(INC_BITS)))
            return false;
        if (swap(slot, word, with_state(word, next))) {
            *ret = next;
            return true;
        }
    }
}

bool wedge_ledger_withdraw(wedge_ledger_word *slot, uint64_t seen, enum wedge_pool_outcome outcome)
{
    if (outcome != WEDGE_POOL_CANCELLED && outcome != WEDGE_POOL_INIT_FAILED && outcome != WEDGE_POOL_TIMEOUT)
        return false;
    return wedge_ledger_state_of(seen) == WEDGE_LEDGER_QUEUED && swap(slot, seen, in_state(seen, outcome));
}

uint64_t wedge_ledger_look(wedge_ledger_word *slot)
{
    return look(slot);
}

enum wedge_ledger_found wedge_ledger_collect_seen(wedge_ledger_word *slot, uint64_t seen, enum wedge_pool_outcome *ret)
{
    enum wedge_ledger_state state = wedge_ledger_state_of(seen);
    if (wedge_ledger_is_outcome(seen)) {
        if (!swap(slot, seen, in_state(seen, WEDGE_LEDGER_TAKEN)))
            return WEDGE_LEDGER_CHANGED;
        *ret = (enum wedge_pool_outcome)state;
        return WEDGE_LEDGER_RESULT;
    }
    if (state == WEDGE_LEDGER_EXPIRED) {
        if (!swap(slot, seen, with_state(seen, WEDGE_LEDGER_LATE)))
            return WEDGE_LEDGER_CHANGED; /* its owner has left EXPIRED */
        *ret = WEDGE_POOL_TIMEOUT;
        return WEDGE_LEDGER_EARLY;
    }
    if (state != WEDGE_LEDGER_SPENT)
        return WEDGE_LEDGER_NOTHING;
    return swap(slot, seen, in_state(seen, WEDGE_LEDGER_TAKEN)) ? WEDGE_LEDGER_SPARE : WEDGE_LEDGER_CHANGED;
}

enum wedge_ledger_found wedge_ledger_collect(wedge_ledger_word *slot, enum wedge_pool_outcome *ret)
{
    enum wedge_ledger_found found;
    do
        found = wedge_ledger_collect_seen(slot, look(slot), ret);
    while (found == WEDGE_LEDGER_CHANGED);
    return found;
}

bool wedge_ledger_release(wedge_ledger_word *slot)
{
    uint64_t word = look(slot);
    uint64_t next = ((use_of(word) + 1) & MASK(USE_BITS)) << USE_SHIFT | WEDGE_LEDGER_FREE;
    return wedge_ledger_state_of(word) == WEDGE_LEDGER_TAKEN && swap(slot, word, next);
}
