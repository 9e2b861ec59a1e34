#include "detector/verdict/graph.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "detector/look/alarm.h"
#include "detector/wait/wait.h"

/* Edges to a group are written out for reports up to this many threads; a deadlock's own edges are never groups. */
#define MOST_WRITTEN_OF_GROUP 64
#define MOST_WRITTEN          20000
/* A waker that changed the word is given this long to call the kernel. */
#define FORGOTTEN_NS (1000000000ll)

enum level { PROVED, EVIDENT, SUSPECTED };

static bool has_ended(const struct wedge_thread *t)
{
    return t->state == 'Z' || t->state == 'X';
}

/* Something of its own that nobody sees may write, wake, unlock or leave for it: it is not proved to stand still. */
static bool acts_unseen(const struct wedge_look *look, int proc)
{
    return look->procs[proc].async || (!look->core && wedge_alarm_by_timer(look, proc));
}

/* A core file tells asleep from woken, and not yet had a processor, by nothing: what it waits for may have been said. */
static bool may_be_awake(const struct wedge_look *look, int i)
{
    return look->core && look->snapshot->threads[i].wait.happened;
}

/* Live before anybody is asked: it moves, it is about to, or nobody knows. */
static bool is_live_by_itself(const struct wedge_look *look, int i, enum level level)
{
    const struct wedge_thread *t = &look->snapshot->threads[i];
    enum wedge_inert inert = look->threads[i].inert;
    bool only_asks = (level >= EVIDENT && inert == WEDGE_INERT_BY_RECORD) || (level == SUSPECTED && inert);
    if (has_ended(t))
        return false;
    if (level == PROVED && acts_unseen(look, t->proc))
        return true;
    bool moves = t->moved && !(only_asks && level == SUSPECTED && look->threads[i].came_back);
    return wedge_look_is_blind(look, i) || moves || may_be_awake(look, i) || t->wait.class == WEDGE_WAIT_NONE ||
           t->wait.class == WEDGE_WAIT_UNKNOWN || (t->wait.earliest_ns < WEDGE_WAIT_FAR_NS && !only_asks);
}

/* What it waits for has happened, and for several examinations nobody has told it. */
static bool is_forgotten(const struct wedge_look *look, int i)
{
    const struct wedge_look_thread *own = &look->threads[i];
    return look->snapshot->threads[i].wait.happened && own->rounds >= WEDGE_HISTORY_ROUNDS &&
           own->asleep_ns >= FORGOTTEN_NS;
}

int wedge_graph_aloof(const struct wedge_look *look, int thread, const struct wedge_waker *w)
{
    const struct wedge_snapshot *s = look->snapshot;
    const struct wedge_proc *root = &s->procs[0];
    int proc = w->target == WEDGE_TO_PROC ? w->to : w->target == WEDGE_TO_THREAD ? s->threads[w->to].proc : -1;
    if (proc < 0 || s->procs[proc].in_tree || look->threads[thread].rounds < WEDGE_HISTORY_ROUNDS ||
        s->procs[proc].start_ticks < root->start_ticks || s->procs[proc].ppid == root->ppid)
        return -1;
    return proc;
}

bool wedge_graph_is_past_limit(const struct wedge_look *look, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    return t->wait.callback && t->callback_limit_ms > 0 && t->callback_since_ns > 0 &&
           (look->snapshot->taken_ns - t->callback_since_ns) / WEDGE_NS_PER_MS > t->callback_limit_ms;
}

struct counts { /* of live threads */
    int *by_proc;
    int tree;
};

static void count(const struct wedge_look *look, struct counts *c, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    if (wedge_look_is_blind(look, thread)) /* live, but nobody's waker unless it is named */
        return;
    c->by_proc[t->proc]++;
    c->tree += look->snapshot->procs[t->proc].in_tree;
}

static bool is_waker_live(const struct wedge_look *look, int i, const struct wedge_waker *w, const bool *live,
                          const struct counts *c, enum level level)
{
    if (level >= EVIDENT && w->flags & WEDGE_WAKER_WEAK)
        return false;
    if (level == SUSPECTED && wedge_graph_aloof(look, i, w) >= 0)
        return false;
    switch (w->target) {
    case WEDGE_TO_THREAD:
        return live[w->to];
    case WEDGE_TO_PROC:
        /* An armed timer may run a handler in the process, or end it. */
        return c->by_proc[w->to] > 0 || look->snapshot->procs[w->to].armed_timer;
    case WEDGE_TO_TREE:
        return c->tree > 0 || look->tree_changed;
    case WEDGE_TO_OUTSIDE:
        return true;
    case WEDGE_TO_DEAD:
    case WEDGE_TO_RULE:
        return false;
    }
    return true;
}

/* The waiting thread itself is never in the count: it is not live while it is asked. */
static bool can_wake(const struct wedge_look *look, int i, const bool *live, const struct counts *c, enum level level)
{
    const struct wedge_look_thread *own = &look->threads[i];
    const struct wedge_waker *wakers = look->wakers + own->first_waker;
    uint64_t met = 0;
    for (size_t k = 0; k < own->n_wakers; k++) {
        if (!is_waker_live(look, i, &wakers[k], live, c, level))
            continue;
        if (wakers[k].flags & WEDGE_WAKER_BY_SIGNAL)
            return true;
        met |= 1ull << (wakers[k].set & 63);
    }
    if (own->n_sets > 64)
        return true;
    return own->n_sets && met == (own->n_sets == 64 ? ~0ull : (1ull << own->n_sets) - 1);
}

/* Not live whoever lives. */
static bool is_stuck(const struct wedge_look *look, int i, enum level level)
{
    return (level >= EVIDENT && wedge_graph_is_past_limit(look, i)) || (level == SUSPECTED && is_forgotten(look, i));
}

static int fixpoint(const struct wedge_look *look, bool *live, enum level level)
{
    size_t n = look->snapshot->n_threads;
    struct counts c = {.by_proc = calloc(look->snapshot->n_procs + 1, sizeof(int))};
    /* Of all a user's processes some always come and go. Whoever came was forked by a thread that ran meanwhile and has
     * from it what it has: that thread is live, and the newcomer adds nothing but a sender of signals (WEDGE_TO_TREE). */
    bool changed = look->tree_changed && look->options->members != WEDGE_MEMBERS_OF_USER;
    if (!c.by_proc)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (is_stuck(look, (int)i, level))
            continue;
        live[i] = changed ? !has_ended(&look->snapshot->threads[i]) : is_live_by_itself(look, (int)i, level);
        if (live[i])
            count(look, &c, (int)i);
    }
    /* Forwards and backwards in turns: a chain of thousands is as a rule in one of these orders. */
    bool forwards = true;
    for (bool again = true; again; forwards = !forwards) {
        again = false;
        for (size_t k = 0; k < n; k++) {
            size_t i = forwards ? k : n - 1 - k;
            if (live[i] || has_ended(&look->snapshot->threads[i]) || !can_wake(look, (int)i, live, &c, level) ||
                is_stuck(look, (int)i, level))
                continue;
            live[i] = again = true;
            count(look, &c, (int)i);
        }
    }
    free(c.by_proc);
    return 0;
}

/* ---- components: Tarjan's, without recursion. Nodes: threads, then one per process (its threads), then the tree ---- */

struct walk {
    const struct wedge_look *look;
    const bool *live;
    int n_threads, n_procs, n;
    int *index, *low, *component, *stack, *call, *next_of;
    int n_stack, n_call, next_index, n_components;
};

/*
 * Two that reach for each other's PI lock at one moment may both be refused, each because of the other, and then neither
 * is seen to own what the other wants: where one of a process is refused another one of its is taken for the reason.
 * (That each did it to itself looks the same.)
 */
static int refused_beside(const struct wedge_look *look, int v, int k)
{
    const struct wedge_proc *p = &look->snapshot->procs[look->snapshot->threads[v].proc];
    if (!look->threads[v].refused || k >= p->n_threads)
        return -2;
    int t = p->first_thread + k;
    return t != v && look->threads[t].refused ? t : -1;
}

/* The k-th node that node `v` leads to; -1: none here, ask on; -2: no more. Only stuck threads and groups count. */
static int successor(const struct walk *w, int v, int k)
{
    const struct wedge_snapshot *s = w->look->snapshot;
    if (v < w->n_threads) {
        const struct wedge_look_thread *own = &w->look->threads[v];
        if ((size_t)k >= own->n_wakers) {
            int beside = refused_beside(w->look, v, k - (int)own->n_wakers);
            return beside >= 0 && w->live[beside] ? -1 : beside;
        }
        const struct wedge_waker *waker = &w->look->wakers[own->first_waker + (size_t)k];
        /* A stopped thread has no waker but a signal. */
        if (waker->flags & (WEDGE_WAKER_WEAK | WEDGE_WAKER_BY_SIGNAL | WEDGE_WAKER_BYSTANDER))
            return -1;
        if (waker->target == WEDGE_TO_THREAD)
            return !w->live[waker->to] && !has_ended(&s->threads[waker->to]) ? waker->to : -1;
        if (waker->target == WEDGE_TO_PROC)
            return w->n_threads + waker->to;
        return waker->target == WEDGE_TO_TREE ? w->n - 1 : -1;
    }
    if (v < w->n_threads + w->n_procs) {
        const struct wedge_proc *p = &s->procs[v - w->n_threads];
        if (k >= p->n_threads)
            return -2;
        int t = p->first_thread + k;
        return !w->live[t] && !has_ended(&s->threads[t]) ? t : -1;
    }
    if (k >= w->n_procs)
        return -2;
    return s->procs[k].in_tree ? w->n_threads + k : -1;
}

static void enter(struct walk *w, int v)
{
    w->index[v] = w->low[v] = w->next_index++;
    w->stack[w->n_stack++] = v;
    w->call[w->n_call++] = v;
    w->next_of[v] = 0;
}

static void visit(struct walk *w, int root)
{
    enter(w, root);
    while (w->n_call) {
        int v = w->call[w->n_call - 1], to = successor(w, v, w->next_of[v]);
        if (to != -2) {
            w->next_of[v]++;
            if (to >= 0 && w->index[to] < 0)
                enter(w, to);
            else if (to >= 0 && w->component[to] < 0 && w->index[to] < w->low[v])
                w->low[v] = w->index[to];
            continue;
        }
        w->n_call--;
        if (w->n_call && w->low[v] < w->low[w->call[w->n_call - 1]])
            w->low[w->call[w->n_call - 1]] = w->low[v];
        if (w->low[v] != w->index[v])
            continue;
        int member;
        do {
            member = w->stack[--w->n_stack];
            w->component[member] = w->n_components;
        } while (member != v);
        w->n_components++;
    }
}

/* The nodes by component: those of component c are nodes[from[c]] to nodes[from[c + 1] - 1], in increasing order. */
static void sort_nodes(const struct walk *w, int *from, int *nodes)
{
    for (int c = 0; c <= w->n_components; c++)
        from[c] = 0;
    for (int v = 0; v < w->n; v++)
        if (w->component[v] >= 0)
            from[w->component[v] + 1]++;
    for (int c = 0; c < w->n_components; c++)
        from[c + 1] += from[c];
    /* `from` runs on while its nodes are put down, and is set back by going through the components backwards. */
    for (int v = 0; v < w->n; v++)
        if (w->component[v] >= 0)
            nodes[from[w->component[v]]++] = v;
    for (int c = w->n_components; c > 0; c--)
        from[c] = from[c - 1];
    from[0] = 0;
}

/* Components come out with those they lead to first. For each: is nothing stuck behind it, and to which such end does
 * it belong. A component of groups alone that leads nowhere (a process without stuck threads) is no end. */
static void find_ends(const struct walk *w, int *end_of, const int *from, const int *nodes)
{
    for (int c = 0; c < w->n_components; c++) {
        bool has_thread = false;
        end_of[c] = -1;
        for (int i = from[c]; i < from[c + 1]; i++) {
            has_thread |= nodes[i] < w->n_threads;
            for (int k = 0, to; (to = successor(w, nodes[i], k)) != -2; k++)
                if (to >= 0 && w->component[to] != c && end_of[w->component[to]] >= 0 &&
                    (end_of[c] < 0 || end_of[w->component[to]] < end_of[c]))
                    end_of[c] = end_of[w->component[to]];
        }
        if (end_of[c] < 0 && has_thread)
            end_of[c] = c;
    }
}

/* One set for each end: its own threads, then those that wait for nothing else. */
static int collect(struct wedge_graph_set **ret, size_t *ret_n, const struct walk *w, const int *end_of)
{
    size_t n = 0, *sizes = calloc((size_t)w->n_components + 1, sizeof(*sizes));
    struct wedge_graph_set **set_of = calloc((size_t)w->n_components + 1, sizeof(struct wedge_graph_set *));
    int rc = sizes && set_of ? 0 : -ENOMEM;
    for (int t = 0; t < w->n_threads && !rc; t++)
        if (w->index[t] >= 0 && end_of[w->component[t]] >= 0)
            n += sizes[end_of[w->component[t]]]++ == 0;
    struct wedge_graph_set *sets = rc ? NULL : calloc(n + 1, sizeof(*sets));
    if (!sets)
        rc = -ENOMEM;
    for (int c = 0; c < w->n_components && !rc; c++) {
        if (end_of[c] != c)
            continue;
        set_of[c] = &sets[(*ret_n)++];
        set_of[c]->members = calloc(sizes[c] + 1, sizeof(int));
        if (!set_of[c]->members)
            rc = -ENOMEM;
    }
    for (int pass = 0; pass < 2 && !rc; pass++)
        for (int t = 0; t < w->n_threads; t++) {
            int end = w->index[t] >= 0 ? end_of[w->component[t]] : -1;
            if (end < 0 || (w->component[t] == end) != (pass == 0))
                continue;
            struct wedge_graph_set *set = set_of[end];
            set->members[set->n_members++] = t;
            set->core = set->members;
            set->n_core += pass == 0;
        }
    *ret = sets;
    free(sizes);
    free(set_of);
    return rc;
}

static int find_sets(const struct wedge_look *look, const bool *live, struct wedge_graph_set **ret, size_t *ret_n)
{
    struct walk w = {.look = look,
                     .live = live,
                     .n_threads = (int)look->snapshot->n_threads,
                     .n_procs = (int)look->snapshot->n_procs};
    w.n = w.n_threads + w.n_procs + 1;
    size_t n = (size_t)w.n;
    /* One more than there are nodes, for the ends of the slices in sort_nodes. */
    int *memory = malloc(9 * (n + 1) * sizeof(int));
    if (!memory)
        return -ENOMEM;
    memset(memory, 0xff, 9 * (n + 1) * sizeof(int));
    int **const parts[] = {&w.index, &w.low, &w.component, &w.stack, &w.call, &w.next_of};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        *parts[i] = memory + i * (n + 1);
    int *end_of = memory + 6 * (n + 1), *from = memory + 7 * (n + 1), *nodes = memory + 8 * (n + 1);
    for (int t = 0; t < w.n_threads; t++)
        if (!w.live[t] && !has_ended(&look->snapshot->threads[t]) && w.index[t] < 0)
            visit(&w, t);
    sort_nodes(&w, from, nodes);
    find_ends(&w, end_of, from, nodes);
    int rc = collect(ret, ret_n, &w, end_of);
    free(memory);
    return rc;
}

int wedge_graph_build(struct wedge_look *look, struct wedge_graph *ret)
{
    size_t n = look->snapshot->n_threads;
    bool more = false;
    *ret = (struct wedge_graph){.live = calloc(n + 1, sizeof(bool)),
                                .live_posix = calloc(n + 1, sizeof(bool)),
                                .live_suspect = calloc(n + 1, sizeof(bool)),
                                .until = calloc(n + 1, sizeof(int64_t)),
                                .until_posix = calloc(n + 1, sizeof(int64_t))};
    if (!ret->live || !ret->live_posix || !ret->live_suspect || !ret->until || !ret->until_posix)
        return -ENOMEM;
    int rc = fixpoint(look, ret->live, PROVED);
    if (!rc)
        rc = fixpoint(look, ret->live_posix, EVIDENT);
    if (!rc)
        rc = fixpoint(look, ret->live_suspect, SUSPECTED);
    for (size_t i = 0; i < n && !rc; i++) {
        look->snapshot->threads[i].live = ret->live_posix[i];
        more |= ret->live_posix[i] && !ret->live_suspect[i];
    }
    if (!rc)
        rc = wedge_graph_until(look, ret->live, true, ret->until);
    if (!rc)
        rc = wedge_graph_until(look, ret->live_posix, false, ret->until_posix);
    if (!rc)
        rc = find_sets(look, ret->live_posix, &ret->sets, &ret->n_sets);
    if (!rc && more)
        rc = find_sets(look, ret->live_suspect, &ret->suspects, &ret->n_suspects);
    return rc;
}

static void free_sets(struct wedge_graph_set *sets, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(sets[i].members);
    free(sets);
}

void wedge_graph_free(struct wedge_graph *graph)
{
    free_sets(graph->sets, graph->n_sets);
    free_sets(graph->suspects, graph->n_suspects);
    free(graph->live);
    free(graph->live_posix);
    free(graph->live_suspect);
    free(graph->until);
    free(graph->until_posix);
    memset(graph, 0, sizeof(*graph));
}

bool wedge_graph_waits_elsewhere(const struct wedge_look *look, int thread)
{
    const struct wedge_look_thread *own = &look->threads[thread];
    int self = look->snapshot->threads[thread].proc;
    for (size_t k = 0; k < own->n_wakers; k++) {
        const struct wedge_waker *w = &look->wakers[own->first_waker + k];
        if (w->flags)
            continue;
        if ((w->target == WEDGE_TO_PROC && w->to != self) ||
            (w->target == WEDGE_TO_THREAD && look->snapshot->threads[w->to].proc != self))
            return true;
    }
    return false;
}

/* ---- edges for the report ---- */

static void grow_edge(struct wedge_look *look, int from, int to, enum wedge_waker_kind kind,
                      const struct wedge_waker *w)
{
    if (look->snapshot->n_edges == MOST_WRITTEN)
        return;
    struct wedge_edge edge = {.from = from,
                              .to = to,
                              .kind = kind,
                              .all = look->threads[from].n_sets > 1,
                              .set = w->set,
                              .why = w->why ? w->why : ""};
    obstack_grow(&look->snapshot->mem, &edge, (int)sizeof(edge));
    look->snapshot->n_edges++;
}

static void write_group(struct wedge_look *look, int from, int proc, const struct wedge_waker *w,
                        enum wedge_waker_kind kind)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    int written = 0;
    for (int t = p->first_thread; t < p->first_thread + p->n_threads && written < MOST_WRITTEN_OF_GROUP; t++)
        if (t != from && !has_ended(&look->snapshot->threads[t])) {
            grow_edge(look, from, t, kind, w);
            written++;
        }
}

/* An orphaned wait has nobody left to point at: it points at the dead who could have ended it. */
static void write_mourned(struct wedge_look *look, const struct wedge_verdict *v)
{
    const struct wedge_waker dead = {.why = "is dead, could have ended it"};
    if (v->kind == WEDGE_VERDICT_ORPHANED_WAIT && v->n_victims)
        for (size_t i = 0; i < v->n_dead; i++)
            grow_edge(look, v->victims[0], v->dead[i], WEDGE_WAKER_DEAD, &dead);
}

int wedge_graph_edges(struct wedge_look *look, const struct wedge_graph *graph)
{
    struct wedge_snapshot *s = look->snapshot;
    s->n_edges = 0;
    for (size_t i = 0; i < s->n_threads; i++) {
        if (graph->live_posix[i] || has_ended(&s->threads[i]))
            continue;
        for (size_t k = 0; k < look->threads[i].n_wakers; k++) {
            const struct wedge_waker *w = &look->wakers[look->threads[i].first_waker + k];
            bool by_signal = w->flags & WEDGE_WAKER_BY_SIGNAL;
            /* "Anybody might signal it" is true of every thread and would hide the picture. */
            if (by_signal || w->flags & (WEDGE_WAKER_WEAK | WEDGE_WAKER_BYSTANDER))
                continue;
            if (w->target == WEDGE_TO_THREAD)
                grow_edge(look, (int)i, w->to, WEDGE_WAKER_THREAD, w);
            else if (w->target == WEDGE_TO_PROC)
                write_group(look, (int)i, w->to, w, WEDGE_WAKER_THREAD);
            else if (w->target == WEDGE_TO_RULE)
                grow_edge(look, (int)i, w->to, WEDGE_WAKER_RULE, w);
            else if (w->target == WEDGE_TO_DEAD)
                grow_edge(look, (int)i, w->to, WEDGE_WAKER_DEAD, w);
        }
    }
    for (size_t i = 0; i < s->n_verdicts; i++)
        write_mourned(look, &s->verdicts[i]);
    s->edges = obstack_finish(&s->mem);
    return 0;
}
