/*
 * How a thread waits that has found nothing. It chooses; whoever wakes never does: a waker tells each counted sleeper
 * at once, so no wake-up is ever put off, and nothing waits behind a user's long task.
 *
 *   nap     in a burst: a short sleep that nobody knows of. What comes meanwhile piles up, and its wakers make no system
 *           call. A burst is many findings since the last wait; or, once spinning was in vain, many lately.
 *   spin    else, on a machine with more than one CPU, one thread per word at a time: it looks on for about as long as a
 *           sleep and a wake-up would take. For how long adapts to whether it found something.
 *   sleep   counted, until told.
 *
 * So a thread without work soon sleeps, and an idle pool takes no CPU. The right to spin is a time at which it ends by
 * itself: a spinner that is killed or stopped keeps nobody from spinning for longer.
 */
#ifndef WEDGE_POOL_SLEEPER_H
#define WEDGE_POOL_SLEEPER_H

#include <sched.h>
#include <stdbool.h>

#include "pool/word.h"

#define WEDGE_SLEEPER_BURST     8 /* findings since the last wait, from which on a nap is tried */
#define WEDGE_SLEEPER_NAP_NS    40000 /* the kernel adds its slack, some 50 µs */
#define WEDGE_SLEEPER_NAPS      4
#define WEDGE_SLEEPER_FEW       32 /* after so few findings the next nap is twice as long, where it may be */
#define WEDGE_SLEEPER_MANY      128 /* after so many, half as long */
#define WEDGE_SLEEPER_SPIN_NS   50000 /* about what a futex wake-up takes between two CPUs */
#define WEDGE_SLEEPER_MIN_NS    2000 /* a spin that would be shorter is left out */
#define WEDGE_SLEEPER_WINDOW_NS 1000000
#define WEDGE_SLEEPER_BUSY      16 /* findings in a window, from which on it is a burst */
#define WEDGE_SLEEPER_PROBE     16 /* of the spins left out every so many is tried all the same */

/* The memory of one thread, or of all threads in one role: what it says is never more than advice, so each field is
 * read and written by itself and relaxed. */
struct wedge_sleeper {
    _Atomic uint32_t found; /* since the last wait */
    _Atomic uint32_t spin_ns; /* how long to spin; 0 until the first wait says */
    _Atomic uint32_t left_out; /* spins in a row */
    _Atomic int64_t window_ns; /* when this window of time began */
    _Atomic uint32_t in_window, in_last; /* findings in it, and in the one before */
    _Atomic uint32_t nap_ns; /* how long the next nap is; 0 until the first */
    uint32_t nap_most_ns; /* constant: 0 for WEDGE_SLEEPER_NAP_NS, which is the least too */
    bool may_spin; /* constant: there is more than one CPU */
};

static inline void wedge_sleeper_found(struct wedge_sleeper *sleeper, uint32_t n)
{
    uint32_t found = atomic_load_explicit(&sleeper->found, memory_order_relaxed);
    if (found < WEDGE_SLEEPER_MANY) /* no more than needed: the line stays clean */
        atomic_store_explicit(&sleeper->found, found + n, memory_order_relaxed);
}

/* Whether findings have come thick and fast lately, though few between two waits: others may have had the rest. */
static inline bool wedge_sleeper_busy(struct wedge_sleeper *sleeper, int64_t now_ns, uint32_t found)
{
    uint32_t in_window = atomic_load_explicit(&sleeper->in_window, memory_order_relaxed) + found;
    uint32_t in_last = atomic_load_explicit(&sleeper->in_last, memory_order_relaxed);
    int64_t age_ns = now_ns - atomic_load_explicit(&sleeper->window_ns, memory_order_relaxed);
    atomic_store_explicit(&sleeper->in_window, in_window, memory_order_relaxed);
    if (age_ns > WEDGE_SLEEPER_WINDOW_NS) {
        in_last = age_ns > 2 * WEDGE_SLEEPER_WINDOW_NS ? 0 : in_window;
        atomic_store_explicit(&sleeper->window_ns, now_ns, memory_order_relaxed);
        atomic_store_explicit(&sleeper->in_last, in_last, memory_order_relaxed);
        atomic_store_explicit(&sleeper->in_window, 0, memory_order_relaxed);
    }
    return in_window >= WEDGE_SLEEPER_BUSY || in_last >= WEDGE_SLEEPER_BUSY;
}

/* Whether there may be something. Looks by seq_cst loads; no side effect. */
typedef bool (*wedge_sleeper_look)(void *arg);

/* `found` since the last wait says how long a nap pays: a wake-up costs some µs, whatever it moves. No longer than left_ns,
 * and the kernel's slack. */
static inline bool wedge_sleeper_nap(struct wedge_sleeper *sleeper, uint32_t found, int64_t left_ns,
                                     wedge_sleeper_look look, void *arg)
{
    uint32_t nap_ns = atomic_load_explicit(&sleeper->nap_ns, memory_order_relaxed);
    nap_ns = found <= WEDGE_SLEEPER_FEW ? nap_ns * 2 : found >= WEDGE_SLEEPER_MANY ? nap_ns / 2 : nap_ns;
    nap_ns = nap_ns < sleeper->nap_most_ns ? nap_ns : sleeper->nap_most_ns;
    nap_ns = nap_ns > WEDGE_SLEEPER_NAP_NS ? nap_ns : WEDGE_SLEEPER_NAP_NS;
    atomic_store_explicit(&sleeper->nap_ns, nap_ns, memory_order_relaxed);
    for (int i = 0; i < WEDGE_SLEEPER_NAPS && left_ns > 0; i++, left_ns -= nap_ns) {
        const struct timespec nap = {.tv_nsec = left_ns < nap_ns ? (long)left_ns : (long)nap_ns};
        nanosleep(&nap, NULL); /* a signal ends it early, which is as good */
        if (look(arg))
            return true;
    }
    return false;
}

enum wedge_sleeper_spun { WEDGE_SPUN_NOT, WEDGE_SPUN_IN_VAIN, WEDGE_SPUN_FOUND, WEDGE_SPUN_OTHER };

/* Until something is there or the right to spin ends. Gives the CPU to whoever wants it now and then. */
static inline enum wedge_sleeper_spun wedge_sleeper_spin(struct wedge_word *word, int64_t now_ns, uint32_t spin_ns,
                                                         wedge_sleeper_look look, void *arg)
{
    int64_t mine = now_ns + spin_ns, other = atomic_load(&word->spin_until_ns);
    bool found = false;
    if (other > now_ns || !atomic_compare_exchange_strong(&word->spin_until_ns, &other, mine))
        return WEDGE_SPUN_OTHER;
    while (!found && wedge_clock_ns() < mine) {
        for (int i = 0; !found && i < 64; i++) {
            __builtin_ia32_pause();
            found = look(arg);
        }
        if (!found)
            sched_yield();
    }
    atomic_compare_exchange_strong(&word->spin_until_ns, &mine, 0);
    return found ? WEDGE_SPUN_FOUND : WEDGE_SPUN_IN_VAIN;
}

/* The spin, if one is due, and what it teaches. */
static inline enum wedge_sleeper_spun wedge_sleeper_try_spin(struct wedge_sleeper *sleeper, struct wedge_word *word,
                                                             int64_t now_ns, wedge_sleeper_look look, void *arg)
{
    uint32_t spin_ns = atomic_load_explicit(&sleeper->spin_ns, memory_order_relaxed);
    if (!sleeper->may_spin)
        return WEDGE_SPUN_NOT;
    if (spin_ns == 0)
        spin_ns = WEDGE_SLEEPER_SPIN_NS;
    if (spin_ns < WEDGE_SLEEPER_MIN_NS) {
        uint32_t left_out = atomic_load_explicit(&sleeper->left_out, memory_order_relaxed) + 1;
        atomic_store_explicit(&sleeper->left_out, left_out % WEDGE_SLEEPER_PROBE, memory_order_relaxed);
        if (left_out < WEDGE_SLEEPER_PROBE)
            return WEDGE_SPUN_NOT;
        spin_ns = WEDGE_SLEEPER_SPIN_NS / 4;
    }
    enum wedge_sleeper_spun spun = wedge_sleeper_spin(word, now_ns, spin_ns, look, arg);
    if (spun == WEDGE_SPUN_IN_VAIN)
        atomic_store_explicit(&sleeper->spin_ns, spin_ns / 2, memory_order_relaxed);
    else if (spun == WEDGE_SPUN_FOUND)
        atomic_store_explicit(&sleeper->spin_ns, WEDGE_SLEEPER_SPIN_NS, memory_order_relaxed);
    return spun;
}

/* Waits until there may be something, until_ns, or for no reason at all: the caller looks again. `burst`: the caller
 * knows that much is on its way. `kind`: word.h. Woken by whoever tells the word. */
static inline void wedge_sleeper_wait(struct wedge_sleeper *sleeper, struct wedge_word *word, wedge_sleeper_look look,
                                      void *arg, bool burst, int kind, int64_t until_ns)
{
    int64_t now_ns = wedge_clock_ns();
    uint32_t found = atomic_load_explicit(&sleeper->found, memory_order_relaxed);
    if (until_ns <= now_ns)
        return;
    atomic_store_explicit(&sleeper->found, 0, memory_order_relaxed);
    bool busy = wedge_sleeper_busy(sleeper, now_ns, found);
    burst = burst || found >= WEDGE_SLEEPER_BURST;
    if (!burst) {
        enum wedge_sleeper_spun spun = wedge_sleeper_try_spin(sleeper, word, now_ns, look, arg);
        if (spun == WEDGE_SPUN_FOUND)
            return;
        burst = busy || spun == WEDGE_SPUN_OTHER;
    }
    if (burst && wedge_sleeper_nap(sleeper, found, until_ns - now_ns, look, arg))
        return;
    uint32_t seen = wedge_word_read(word);
    uint32_t entered = wedge_word_enter(word);
    if (!look(arg))
        wedge_word_sleep(word, seen, kind, until_ns);
    wedge_word_leave(word, entered);
}

#endif
