/*
 * A sequence word: how one process tells others that something changed, when any of them may die at any time.
 *
 * No condition variables and no counting: a killed waiter of a process-shared condition variable wedges its signaller,
 * and a killed waiter that FUTEX_WAKE(1) chose takes the wake-up with it. A word only says "look again".
 *
 *   waiter   seen = wedge_word_read(w);  look;  nothing? wedge_word_wait(w, seen, …);  look again
 *   waker    change what is looked at;  wedge_word_bump(w)
 *
 * A waiter cannot miss a change: the kernel compares `seq` with `seen` when it puts the thread to sleep, and `seq`
 * was read before the look. `waiters` saves the system call when nobody sleeps: a waiter counts itself (seq_cst)
 * before the kernel compares, a waker bumps (seq_cst) before it reads the count, so one of them sees the other. A
 * waiter that was killed stays counted, which costs system calls and nothing else.
 */
#ifndef WEDGE_POOL_WORD_H
#define WEDGE_POOL_WORD_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <wedge/point.h>

#include "base/clock.h"

struct wedge_word {
    _Atomic uint32_t seq;
    _Atomic uint32_t waiters;
} __attribute__((aligned(64))); /* a line of its own: it is written by one side and read by the other */

static inline uint32_t wedge_word_read(struct wedge_word *word)
{
    return atomic_load(&word->seq);
}

/* The looks that `woken` (INT_MAX: all) sleepers took are out of date. Async-signal-safe. */
static inline void wedge_word_bump(struct wedge_word *word, int woken)
{
    atomic_fetch_add(&word->seq, 1);
    if (atomic_load(&word->waiters) != 0)
        syscall(SYS_futex, &word->seq, FUTEX_WAKE, woken, NULL, NULL, 0);
}

/*
 * Sleeps until the word is not `seen` any more, until_ns (CLOCK_MONOTONIC, INT64_MAX never), a signal handler, or
 * for no reason at all: the caller looks again in each case. `kind` is WEDGE_WAIT_FOR_… and what a report says.
 * Returns 0, or -ETIMEDOUT. FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time (futex(2)).
 */
static inline int wedge_word_wait(struct wedge_word *word, uint32_t seen, int kind, int64_t until_ns)
{
    struct timespec ts = {.tv_sec = until_ns / WEDGE_NS_PER_S, .tv_nsec = until_ns % WEDGE_NS_PER_S};
    if (until_ns < 0)
        return -ETIMEDOUT;
    atomic_fetch_add(&word->waiters, 1);
    WEDGE_WAIT_BEGIN(&word->seq, kind, 0);
    long rc = syscall(SYS_futex, &word->seq, FUTEX_WAIT_BITSET, seen, until_ns == INT64_MAX ? NULL : &ts, NULL,
                      FUTEX_BITSET_MATCH_ANY);
    int code = rc == -1 ? errno : 0;
    WEDGE_WAIT_END();
    atomic_fetch_sub(&word->waiters, 1);
    return code == ETIMEDOUT ? -ETIMEDOUT : 0;
}

#endif
