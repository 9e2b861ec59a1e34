/*
 * What of libc has no owner: conditions, semaphores, barriers, once, and the end of a thread.
 *
 *   op, val of the call          what it is                                            who ends it
 *   WAIT_BITSET shared, TID      pthread_join: the TID in struct pthread, +0x2d0       the thread
 *   WAIT_BITSET, 0               condition: __g_signals at +40 and +44 (up to 2.40)    any thread
 *   WAIT_BITSET, 0               semaphore: value +0, waiters +4                       any thread
 *   WAIT, round                  barrier: come +0, round +4, wanted +8                 any thread
 *   WAIT, 1 more than a multiple of 4   once                                           any thread
 *
 * Measured on glibc 2.36; nptl/pthread_cond_wait.c, sem_waitcommon.c, pthread_barrier_wait.c, pthread_once.c. What
 * does not fit one of these is a raw futex. Conditions, semaphores and joins are also ended by a cancellation or a
 * handler (pthreads(7), signal(7)); barriers and once are not.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "detector/wait/futex.h"

enum { MOST_WAITERS = 1 << 20 };

struct cond { /* pthread_cond_t up to 2.40 */
    uint64_t wseq, g1_start;
    uint32_t refs[2], size[2], g1_orig_size, wrefs, signals[2];
};
enum { COND_SIGNALS_AT = 40, COND_LAST = 40, COND_WAITER = 8 /* one waiter in wrefs; 2 in refs */ };

struct semaphore { /* struct new_sem on 64 bits */
    uint32_t value, waiters;
    int32_t pshared; /* 0 or 128 */
};
struct barrier { /* struct pthread_barrier */
    uint32_t come, round, wanted;
    int32_t pshared; /* 0 or 128 */
    uint32_t left;
};

static void is_anyones(struct wedge_look *look, int thread, const struct wedge_futex *f, enum wedge_wait_class class,
                       uint64_t base, const char *what, const char *reason)
{
    wedge_wait_is(look, thread, class, reason);
    wedge_futex_name(look, thread, f, base, what);
    wedge_futex_anyone(look, thread, f, 0);
}

/* pthread_join: the kernel clears the TID word when the thread ends, and wakes it as a shared futex. */
static bool is_join(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    if (f->cmd != WEDGE_FUTEX_WAIT_BITSET || f->op & WEDGE_FUTEX_PRIVATE || f->map->shared || f->word != f->val ||
        f->val > INT_MAX)
        return false;
    int target = wedge_look_thread_of(look, t->proc, (pid_t)f->val);
    if (target < 0 || target == thread)
        return false;
    struct wedge_object *o = &look->snapshot->threads[thread].wait.object;
    wedge_wait_is(look, thread, WEDGE_WAIT_JOIN, "it waits for a thread to end");
    snprintf(o->key, sizeof(o->key), "tid %d", (int)look->snapshot->threads[target].tid);
    snprintf(o->describe, sizeof(o->describe), "end of thread %d", (int)look->snapshot->threads[target].tid);
    o->address = f->address;
    wedge_waker_add(look, thread, 0, WEDGE_TO_THREAD, target, 0, "must end");
    wedge_waker_add_signals(look, thread);
    return true;
}

static bool is_cond_at(struct wedge_look *look, const struct wedge_futex *f, int group, struct cond *c)
{
    uint64_t base = f->address - COND_SIGNALS_AT - (uint64_t)group * 4;
    return base % 8 == 0 && wedge_futex_memory(look, f, base, c, sizeof(*c)) && c->wrefs >= COND_WAITER &&
           c->wrefs / COND_WAITER < MOST_WAITERS && ((c->wrefs & 1) == 0) == ((f->op & WEDGE_FUTEX_PRIVATE) != 0) &&
           c->refs[group] >= 2 && c->refs[group] / 2 < MOST_WAITERS && c->refs[group] / 2 <= c->wrefs / COND_WAITER &&
           c->size[0] < MOST_WAITERS && c->size[1] < MOST_WAITERS && c->wseq / 2 < 1ull << 61;
}

static bool is_cond(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    struct cond c[2];
    char what[64];
    bool first = is_cond_at(look, f, 0, &c[0]), second = is_cond_at(look, f, 1, &c[1]);
    if (f->val || f->libc > COND_LAST || first == second)
        return false;
    uint32_t waiters = c[second].wrefs / COND_WAITER;
    snprintf(what, sizeof(what), "condition variable with %" PRIu32 " waiter%s", waiters, waiters == 1 ? "" : "s");
    is_anyones(look, thread, f, WEDGE_WAIT_COND, f->address - COND_SIGNALS_AT - second * 4, what,
               "any thread may signal it");
    wedge_waker_add_signals(look, thread);
    return true;
}

static bool is_sem(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    struct semaphore s;
    if (f->val || !wedge_futex_memory(look, f, f->address, &s, sizeof(s)) || s.waiters < 1 ||
        s.waiters > MOST_WAITERS || s.value > MOST_WAITERS || s.pshared != (f->op & WEDGE_FUTEX_PRIVATE ? 0 : 128))
        return false;
    is_anyones(look, thread, f, WEDGE_WAIT_SEM, f->address, "semaphore", "any thread may post it");
    wedge_waker_add_signals(look, thread);
    return true;
}

bool wedge_futex_is_barrier(struct wedge_look *look, const struct wedge_futex *f, uint64_t *ret_base,
                            uint32_t *ret_missing)
{
    struct barrier b;
    if (f->cmd != WEDGE_FUTEX_WAIT || f->timed || f->val != f->word ||
        !wedge_futex_memory(look, f, f->address - 4, &b, sizeof(b)) ||
        b.pshared != (f->op & WEDGE_FUTEX_PRIVATE ? 0 : 128) || !b.wanted || b.wanted > INT_MAX || b.come <= b.round ||
        b.come - b.round >= b.wanted)
        return false;
    if (ret_base) {
        *ret_base = f->address - 4;
        *ret_missing = b.wanted - (b.come - b.round);
    }
    return true;
}

bool wedge_futex_is_object(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    uint64_t base;
    uint32_t missing;
    if (f->cmd == WEDGE_FUTEX_WAIT_BITSET)
        return is_join(look, thread, f) || is_cond(look, thread, f) || is_sem(look, thread, f);
    if (wedge_futex_is_barrier(look, f, &base, &missing)) {
        char what[64];
        snprintf(what, sizeof(what), "barrier, to which %" PRIu32 " more must come,", missing);
        is_anyones(look, thread, f, WEDGE_WAIT_BARRIER, base, what, "those that are missing are not recorded");
        return true;
    }
    if (f->cmd == WEDGE_FUTEX_WAIT && !f->timed && f->val == f->word && f->val % 4 == 1 &&
        f->op & WEDGE_FUTEX_PRIVATE) {
        is_anyones(look, thread, f, WEDGE_WAIT_ONCE, f->address, "once control", "whoever runs it is not recorded");
        return true;
    }
    return false;
}
