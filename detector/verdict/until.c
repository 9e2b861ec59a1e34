/*
 * Until when what is stuck is stuck: the earliest moment at which a thread could be woken by the clock, its own or that of
 * whoever it waits for. Deadlines more than an hour away make nothing live (proof.md's rule, wait.h), and therefore stand
 * behind verdicts.
 *
 *   until(t) = the least of  its own deadline,
 *                            until(w) of each w that may end the wait by a signal,
 *                            the greatest over its AND-sets of the least over the set's wakers
 *
 * from above, until nothing changes: a circle without a deadline stays at "never". Live threads are there now.
 */
#include <errno.h>
#include <stdlib.h>

#include "detector/verdict/graph.h"
#include "detector/wait/wait.h"

struct moments {
    const struct wedge_look *look;
    bool weak; /* wakers that only a proof counts */
    int64_t *of_thread, *of_proc, tree;
};

/* Of groups: the least of their threads. A thread in its own group changes nothing, for it is never earlier than itself. */
static void sum_up(struct moments *m)
{
    const struct wedge_snapshot *s = m->look->snapshot;
    m->tree = INT64_MAX;
    for (size_t i = 0; i < s->n_procs; i++)
        m->of_proc[i] = INT64_MAX;
    for (size_t i = 0; i < s->n_threads; i++) {
        int64_t until = m->of_thread[i], *proc = &m->of_proc[s->threads[i].proc];
        if (wedge_look_is_blind(m->look, (int)i))
            continue;
        *proc = until < *proc ? until : *proc;
        if (s->procs[s->threads[i].proc].in_tree && until < m->tree)
            m->tree = until;
    }
}

static int64_t of_waker(const struct moments *m, const struct wedge_waker *w)
{
    switch (w->target) {
    case WEDGE_TO_THREAD:
        return m->of_thread[w->to];
    case WEDGE_TO_PROC:
        return m->of_proc[w->to];
    case WEDGE_TO_TREE:
        return m->tree;
    case WEDGE_TO_OUTSIDE:
        return 0;
    default:
        return INT64_MAX;
    }
}

static int64_t of_wait(const struct moments *m, size_t thread)
{
    enum { SETS = 64 };
    const struct wedge_look_thread *own = &m->look->threads[thread];
    int64_t sets[SETS], least = m->look->snapshot->threads[thread].wait.earliest_ns, latest = 0;
    if (own->n_sets > SETS)
        return 0;
    for (size_t i = 0; i < own->n_sets; i++)
        sets[i] = INT64_MAX;
    for (size_t k = 0; k < own->n_wakers; k++) {
        const struct wedge_waker *w = &m->look->wakers[own->first_waker + k];
        if (w->flags & WEDGE_WAKER_WEAK && !m->weak)
            continue;
        int64_t until = of_waker(m, w), *to = w->flags & WEDGE_WAKER_BY_SIGNAL ? &least : &sets[w->set % SETS];
        *to = until < *to ? until : *to;
    }
    for (size_t i = 0; i < own->n_sets; i++)
        latest = sets[i] > latest ? sets[i] : latest;
    return own->n_sets && latest < least ? latest : least;
}

int wedge_graph_until(const struct wedge_look *look, const bool *live, bool weak, int64_t *ret)
{
    const struct wedge_snapshot *s = look->snapshot;
    struct moments m = {.look = look, .weak = weak, .of_thread = ret};
    bool again = false;
    for (size_t i = 0; i < s->n_threads; i++) {
        bool ended = s->threads[i].state == 'Z' || s->threads[i].state == 'X';
        ret[i] = live[i] ? 0 : ended ? INT64_MAX : s->threads[i].wait.earliest_ns;
        again |= !live[i] && ret[i] != INT64_MAX;
    }
    if (!again)
        return 0; /* as nearly always */
    m.of_proc = malloc((s->n_procs + 1) * sizeof(*m.of_proc));
    if (!m.of_proc)
        return -ENOMEM;
    for (size_t pass = 0; again && pass <= s->n_threads; pass++) {
        again = false;
        sum_up(&m);
        for (size_t i = 0; i < s->n_threads; i++) {
            int64_t until = live[i] || ret[i] == 0 || s->threads[i].state == 'Z' || s->threads[i].state == 'X'
                                ? ret[i]
                                : of_wait(&m, i);
            again |= until < ret[i];
            ret[i] = until < ret[i] ? until : ret[i];
        }
    }
    free(m.of_proc);
    return 0;
}
