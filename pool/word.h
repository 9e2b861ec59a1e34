/*
 * A sequence word: how one process tells others that something changed, when any of them may die at any time.
 *
 * No condition variables and no counting: a killed waiter of a process-shared condition variable wedges its signaller,
 * and a killed waiter that FUTEX_WAKE(1) chose takes the wake-up with it. A word only says "look again".
 *
 * There are two ways to use one, and both sides of a word use the same.
 *
 *   always     waiter   seen = wedge_word_read(w);  look;  nothing? wedge_word_wait(w, seen, …);  look again
 *              waker    change what is looked at;  wedge_word_bump(w)
 *     The kernel compares `seq` with `seen` when it puts the thread to sleep, and `seq` was read before the look.
 *
 *   if slept   waiter   seen = wedge_word_read(w);  wedge_word_enter(w);  look;  nothing? wedge_word_sleep(w, seen, …);
 *                       wedge_word_leave(w);  look again
 *              waker    change what is looked at (seq_cst);  wedge_word_tell(w)
 *     The waker writes nothing while nobody sleeps, so that the word's line stays in every cache. A waiter counts
 *     itself (seq_cst) before it looks, a waker changes (seq_cst) before it reads the count: one of them sees the other.
 *
 * A waiter that was killed stays counted, which costs a system call at each change and nothing else, until
 * wedge_word_renew begins the count anew. The count carries an epoch for that: who entered in an older one does
 * not subtract itself. Nobody sleeps uncounted through it: renew changes `seq` last, and `seq` was read before entering.
 */
#ifndef WEDGE_POOL_WORD_H
#define WEDGE_POOL_WORD_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <wedge/point.h>

#include "base/clock.h"

#define WEDGE_WORD_COUNT 0xffffu /* of `waiters`: how many; above it the epoch */

struct wedge_word {
    _Atomic uint32_t seq;
    _Atomic uint32_t waiters;
    _Atomic int64_t
        spin_until_ns; /* the one who spins instead of sleeping stops then by itself (sleeper.h); 0: nobody */
} __attribute__((aligned(64))); /* a line of its own: it is written by one side and read by the other */

static inline uint32_t wedge_word_read(struct wedge_word *word)
{
    return atomic_load(&word->seq);
}

static inline bool wedge_word_sleeps(struct wedge_word *word)
{
    return (atomic_load(&word->waiters) & WEDGE_WORD_COUNT) != 0; /* partner: enter */
}

/* The looks that `woken` (INT_MAX: all) sleepers took are out of date. Async-signal-safe. */
static inline void wedge_word_bump(struct wedge_word *word, int woken)
{
    atomic_fetch_add(&word->seq, 1);
    if (wedge_word_sleeps(word))
        syscall(SYS_futex, &word->seq, FUTEX_WAKE, woken, NULL, NULL, 0);
}

/* The same for those who entered alone: nothing is written while nobody did. */
static inline void wedge_word_tell(struct wedge_word *word, int woken)
{
    if (wedge_word_sleeps(word))
        wedge_word_bump(word, woken);
}

/* Wakes everyone and forgets who was counted: some of them may be dead. */
static inline void wedge_word_renew(struct wedge_word *word)
{
    uint32_t was = atomic_load(&word->waiters);
    while (!atomic_compare_exchange_weak(&word->waiters, &was, (was | WEDGE_WORD_COUNT) + 1))
        ;
    atomic_store(&word->spin_until_ns, 0);
    atomic_fetch_add(&word->seq, 1); /* after the count: see the head of this file */
    syscall(SYS_futex, &word->seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Returns what leave is to be given. */
static inline uint32_t wedge_word_enter(struct wedge_word *word)
{
    return atomic_fetch_add(&word->waiters, 1); /* partner: wedge_word_sleeps */
}

static inline void wedge_word_leave(struct wedge_word *word, uint32_t entered)
{
    uint32_t now = atomic_load(&word->waiters);
    while ((now ^ entered) <= WEDGE_WORD_COUNT && !atomic_compare_exchange_weak(&word->waiters, &now, now - 1))
        ;
}

/*
 * Between enter and leave. Sleeps until the word is not `seen` any more, until_ns (CLOCK_MONOTONIC, INT64_MAX never), a
 * signal handler, or for no reason at all: the caller looks again in each case. `kind` is WEDGE_WAIT_FOR_… and what a
 * report says. Returns 0, or -ETIMEDOUT. FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time (futex(2)).
 */
static inline int wedge_word_sleep(struct wedge_word *word, uint32_t seen, int kind, int64_t until_ns)
{
    struct timespec ts = {.tv_sec = until_ns / WEDGE_NS_PER_S, .tv_nsec = until_ns % WEDGE_NS_PER_S};
    if (until_ns < 0)
        return -ETIMEDOUT;
    WEDGE_WAIT_BEGIN(&word->seq, kind, 0);
    long rc = syscall(SYS_futex, &word->seq, FUTEX_WAIT_BITSET, seen, until_ns == INT64_MAX ? NULL : &ts, NULL,
                      FUTEX_BITSET_MATCH_ANY);
    int code = rc == -1 ? errno : 0;
    WEDGE_WAIT_END();
    return code == ETIMEDOUT ? -ETIMEDOUT : 0;
}

/* The first way's sleep: enter, sleep, leave. */
static inline int wedge_word_wait(struct wedge_word *word, uint32_t seen, int kind, int64_t until_ns)
{
    uint32_t entered = wedge_word_enter(word);
    int rc = wedge_word_sleep(word, seen, kind, until_ns);
    wedge_word_leave(word, entered);
    return rc;
}

#endif
