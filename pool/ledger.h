/*
 * The ledger: what is known about each slot, in one 64-bit word that changes by compare-and-swap alone.
 *
 *            put                    put              worker's thread
 *   FREE ----------> WRITING ------------> QUEUED -------------------> CLAIMED(worker, incarnation, thread)
 *    ^  (parent)              (parent)       |                            |
 *    |                                       | parent: shutdown, or       | the claiming thread: OK, ERROR
 *    |                                       | no worker is left          | parent, once that process is dead:
 *    |                                       v                            v         LOST, TIMEOUT
 *    |   take        take         CANCELLED, INIT_FAILED     OK, ERROR, LOST, TIMEOUT
 *    +---------- TAKEN <-----------------+----------------------------------+
 *      (parent)        (parent)
 *
 * Invariants
 * - Whoever made the last change owns the slot's bytes: the parent in FREE, WRITING, TAKEN and the outcomes, nobody in
 *   QUEUED (they are complete and constant), the claiming thread in CLAIMED. So a worker that dies anywhere leaves a
 *   slot either QUEUED (untouched) or CLAIMED by it: one look at the word repairs it.
 * - A CLAIMED slot is changed from outside only after the kernel said that the process is gone (pidfd): nobody can be
 *   writing into it. Each change is one compare-and-swap of the whole word, so exactly one outcome wins.
 * - `use` counts how often the slot was freed: a word kept from an earlier use never matches a later one (up to 2^20
 *   uses between the look and the swap).
 *
 * Memory order: each swap is acquire-release. Publishing (to QUEUED, to an outcome) releases the bytes written before
 * it; the swap that takes the slot over (claim, collect) acquires them.
 *
 * Who may call what: reserve, publish, withdraw, collect, release: any thread of the parent. claim, finish: any worker
 * thread. condemn: the supervisor, for a dead incarnation. All are async-signal-safe and never block.
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

/* Each returns whether the slot was in the state that the change starts from, and has been changed. */
bool wedge_ledger_reserve(wedge_ledger_word *slot); /* FREE -> WRITING */
bool wedge_ledger_publish(wedge_ledger_word *slot); /* WRITING -> QUEUED */
bool wedge_ledger_abandon(wedge_ledger_word *slot); /* WRITING -> FREE */
bool wedge_ledger_claim(wedge_ledger_word *slot, struct wedge_ledger_owner owner,
                        uint64_t *ret_claim); /* QUEUED -> CLAIMED */
bool wedge_ledger_finish(wedge_ledger_word *slot, uint64_t claim,
                         enum wedge_pool_outcome outcome); /* that very claim -> OK, ERROR */
bool wedge_ledger_condemn(wedge_ledger_word *slot, uint32_t worker, uint32_t incarnation,
                          enum wedge_pool_outcome outcome); /* its CLAIMED -> LOST, TIMEOUT */
bool wedge_ledger_withdraw(wedge_ledger_word *slot, enum wedge_pool_outcome outcome); /* QUEUED -> CANCELLED, … */
bool wedge_ledger_collect(wedge_ledger_word *slot, enum wedge_pool_outcome *ret); /* an outcome -> TAKEN */
bool wedge_ledger_release(wedge_ledger_word *slot); /* TAKEN -> FREE, next use */

#endif
