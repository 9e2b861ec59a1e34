/*
 * The ledger: what is known about each slot, in one 64-bit word that changes by compare-and-swap alone.
 *
 *            put                    put              worker's thread
 *   FREE ----------> WRITING ------------> QUEUED -------------------> CLAIMED(worker, incarnation, thread)
 *    ^  (parent)              (parent)       |                            |       |
 *    |                                       | parent: shutdown, no       |       | parent: past task_limit, the owner
 *    |                                       | worker is left, past       |       | may still be writing
 *    |                                       | queue_limit                |       v
 *    |                                       |        claiming thread: OK, ERROR  EXPIRED(owner) --------------+
 *    |                                       v        parent, once that   |       | owner done or dead         | take:
 *    |   take        take         CANCELLED, INIT_    process is dead:    |       v                            | TIMEOUT
 *    +---------- TAKEN <-------+--FAILED, TIMEOUT     LOST <--------------+     TIMEOUT                        v
 *    |  (parent)     (parent)  |                       |                          |                         LATE(owner)
 *    |                         +-----------------------+--------------------------+                            |
 *    +-------------------------------------------------------------------------------- SPENT <-----------------+
 *       take: nothing to report                                                              owner done or dead
 *
 * Invariants, by the names that pool/model/ledger.pml asserts
 * - BYTES: whoever made the last change owns the slot's bytes: the parent in FREE, WRITING, TAKEN, SPENT and the outcomes,
 *   nobody in QUEUED (they are complete and constant), the claiming thread in CLAIMED, EXPIRED and LATE. So a worker
 *   that dies anywhere leaves a slot QUEUED (untouched) or owned by it: one look at the word repairs it.
 * - OWNED: an owned slot is freed from outside only after the kernel said that the process is gone (pidfd): nobody can be
 *   writing into it. That it is reported before (EXPIRED) takes none of its bytes.
 * - ONCE: each change is one compare-and-swap of the whole word, so exactly one outcome is reported: OK, ERROR and LOST
 *   start from CLAIMED alone, TIMEOUT from EXPIRED or QUEUED.
 * - The owner's fields stay in the word until the slot is freed: after a death one can see whose an outcome was.
 * - USE: `use` counts how often the slot was freed: a word kept from an earlier use never matches a later one (up to 2^20
 *   uses between the look and the swap).
 *
 * Where a slot is found (the task ring, the done bits: slots.h) is a hint that may be missing or stale after a death.
 * The ledger alone says what is so; hints are made again from it.
 *
 * Memory order: each swap is acquire-release. Publishing (to QUEUED, to an outcome) releases the bytes written before
 * it; the swap that takes the slot over (claim, collect) acquires them.
 *
 * Who may call what: reserve, publish, withdraw, collect, release: any thread of the parent. claim, finish: any worker
 * thread. expire: the supervisor. condemn: the supervisor, for a dead incarnation. All are async-signal-safe and never
 * block.
 */
#ifndef WEDGE_POOL_LEDGER_H
#define WEDGE_POOL_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <wedge/pool.h>

/* The outcomes keep their public numbers (1 to 6). */
enum wedge_ledger_state {
    WEDGE_LEDGER_FREE = 0,
    WEDGE_LEDGER_WRITING = 8,
    WEDGE_LEDGER_QUEUED = 9,
    WEDGE_LEDGER_CLAIMED = 10,
    WEDGE_LEDGER_TAKEN = 11,
    WEDGE_LEDGER_EXPIRED = 12,
    WEDGE_LEDGER_LATE = 13,
    WEDGE_LEDGER_SPENT = 14,
};

/* Bits of a word: state 4, thread 8, worker 12, incarnation 20, use 20. Limits of the settings keep within them;
 * an incarnation counts modulo 2^20. */
struct wedge_ledger_owner {
    uint32_t worker; /* from 1; 0 nobody */
    uint32_t incarnation; /* modulo 2^20 */
    uint32_t thread; /* from 1 */
};
#define WEDGE_LEDGER_INCARNATIONS (1u << 20)

typedef _Atomic uint64_t wedge_ledger_word; /* an atomic needs its qualifier at each mention: the one typedef here */

enum wedge_ledger_state wedge_ledger_state_of(uint64_t word);
struct wedge_ledger_owner wedge_ledger_owner_of(uint64_t word);
bool wedge_ledger_is_outcome(uint64_t word);
bool wedge_ledger_is_owned(uint64_t word); /* CLAIMED, EXPIRED, LATE */

/* Each returns whether the slot was in the state that the change starts from, and has been changed. */
bool wedge_ledger_reserve(wedge_ledger_word *slot); /* FREE -> WRITING */
bool wedge_ledger_publish(wedge_ledger_word *slot); /* WRITING -> QUEUED */
bool wedge_ledger_abandon(wedge_ledger_word *slot); /* WRITING -> FREE */
bool wedge_ledger_claim(wedge_ledger_word *slot, struct wedge_ledger_owner owner,
                        uint64_t *ret_claim); /* QUEUED -> CLAIMED */
/* QUEUED -> CANCELLED, …, if the word is still `seen`: what was decided of one task does not meet the slot's next. */
bool wedge_ledger_withdraw(wedge_ledger_word *slot, uint64_t seen, enum wedge_pool_outcome outcome);
bool wedge_ledger_expire(wedge_ledger_word *slot, struct wedge_ledger_owner owner); /* its CLAIMED -> EXPIRED */

/* The claiming thread is through: its CLAIMED -> OK, ERROR. Where the claim expired meanwhile the result is dropped:
 * EXPIRED -> TIMEOUT, LATE -> SPENT, and *ret_late is true. False: cannot be (see the invariants). */
bool wedge_ledger_finish(wedge_ledger_word *slot, uint64_t claim, enum wedge_pool_outcome outcome, bool *ret_late);
/* Its owner is dead: CLAIMED -> LOST, EXPIRED -> TIMEOUT, LATE -> SPENT. *ret: the new state. */
bool wedge_ledger_condemn(wedge_ledger_word *slot, uint32_t worker, uint32_t incarnation, enum wedge_ledger_state *ret);

/* What a taker may do with a slot that it was pointed to. */
enum wedge_ledger_found {
    WEDGE_LEDGER_NOTHING, /* nothing to take: a stale hint */
    WEDGE_LEDGER_RESULT, /* an outcome -> TAKEN: report it, then release */
    WEDGE_LEDGER_EARLY, /* EXPIRED -> LATE: report a TIMEOUT without data, do not release */
    WEDGE_LEDGER_SPARE, /* SPENT -> TAKEN: reported long ago, only release */
    WEDGE_LEDGER_CHANGED, /* of collect_seen alone: the word is not what was seen; look again */
};
/* After EARLY another taker may free the slot at any time. So what is to be reported is read between the look and the
 * swap: where the swap succeeds, the slot was in that use all the while (pool/model/ledger.pml, mutation 6). */
uint64_t wedge_ledger_look(wedge_ledger_word *slot);
enum wedge_ledger_found wedge_ledger_collect_seen(wedge_ledger_word *slot, uint64_t seen, enum wedge_pool_outcome *ret);
/* Both at once, for who reads nothing of the slot after EARLY. */
enum wedge_ledger_found wedge_ledger_collect(wedge_ledger_word *slot, enum wedge_pool_outcome *ret);
bool wedge_ledger_release(wedge_ledger_word *slot); /* TAKEN -> FREE, next use */

#endif
