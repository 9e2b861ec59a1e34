#include "detector/verdict/verdict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "detector/core/core_look.h"
#include "detector/look/alarm.h"
#include "detector/look/members.h"
#include "detector/verdict/history.h"
#include "detector/wait/wait.h"

static void *copy(struct wedge_look *look, const void *data, size_t bytes)
{
    return obstack_copy(&look->snapshot->mem, data, (int)bytes);
}

const struct wedge_frame *wedge_verdict_own_frame(const struct wedge_thread *thread)
{
    const struct wedge_frame *runtime = NULL;
    for (size_t i = 0; i < thread->n_frames; i++) {
        const struct wedge_frame *frame = &thread->frames[i];
        if (frame->libc || frame->signal)
            continue;
        if (!frame->runtime)
            return frame;
        runtime = runtime ? runtime : frame;
    }
    return runtime;
}

size_t wedge_verdict_core(const struct wedge_look *look, const struct wedge_verdict *verdict)
{
    return look->cores[verdict - look->snapshot->verdicts];
}

/* ---- the kind of a closed set ---- */

static bool has_ended(const struct wedge_thread *t)
{
    return t->state == 'Z' || t->state == 'X';
}

static bool any_core(const struct wedge_look *look, const struct wedge_graph_set *set,
                     bool (*is)(const struct wedge_look *, int))
{
    for (size_t i = 0; i < set->n_core; i++)
        if (is(look, set->core[i]))
            return true;
    return false;
}

static bool owns_itself(const struct wedge_look *look, int t)
{
    return look->threads[t].owner == t;
}
static bool is_abandoned(const struct wedge_look *look, int t)
{
    return look->threads[t].owner_dead;
}
static bool has_no_owner(const struct wedge_look *look, int t)
{
    return look->threads[t].owner < 0;
}
static bool is_in_callback(const struct wedge_look *look, int t)
{
    return look->snapshot->threads[t].wait.callback;
}
static bool is_stopped(const struct wedge_look *look, int t)
{
    return look->snapshot->threads[t].wait.class == WEDGE_WAIT_STOPPED;
}
static bool waits_for_room(const struct wedge_look *look, int t)
{
    return look->threads[t].room;
}
/* Nobody but its own process is left to end it. */
static bool is_orphaned(const struct wedge_look *look, int t)
{
    const struct wedge_look_thread *own = &look->threads[t];
    return own->own_process_only && !own->held && !own->room;
}
static bool has_orphaned_buffer(const struct wedge_look *look, int t)
{
    return look->threads[t].own_process_only && look->threads[t].room;
}

static bool has_happened(const struct wedge_look *look, int t)
{
    return look->snapshot->threads[t].wait.happened || look->threads[t].missed;
}

/* A full buffer takes part. A lone writer whose readers are gone has nobody to be in a circle with. */
static bool is_backpressure(const struct wedge_look *look, const struct wedge_graph_set *set)
{
    if (!any_core(look, set, waits_for_room))
        return false;
    if (set->n_core == 1)
        return wedge_graph_waits_elsewhere(look, set->core[0]);
    bool elsewhere = false;
    for (size_t i = 0; i < set->n_core; i++)
        elsewhere |= look->threads[set->core[i]].room && wedge_graph_waits_elsewhere(look, set->core[i]);
    return elsewhere || !look->snapshot->n_dead;
}

/* The kernel looks along the owners before it refuses: somebody waits for what the refused one has, or it has the lock
 * itself. */
static bool owns_for_others(const struct wedge_look *look, const struct wedge_graph_set *set, int t)
{
    for (size_t i = 0; i < set->n_members; i++)
        if (look->threads[set->members[i]].owner == t)
            return true;
    return false;
}

static bool is_refused(const struct wedge_look *look, int t)
{
    return look->threads[t].refused;
}

static enum wedge_verdict_kind kind_of(const struct wedge_look *look, const struct wedge_graph_set *set)
{
    if (any_core(look, set, owns_itself))
        return WEDGE_VERDICT_SELF_DEADLOCK;
    if (any_core(look, set, is_refused))
        return set->n_core > 1 || owns_for_others(look, set, set->core[0]) ? WEDGE_VERDICT_LOCK_CYCLE
                                                                           : WEDGE_VERDICT_SELF_DEADLOCK;
    if (any_core(look, set, is_abandoned))
        return WEDGE_VERDICT_ABANDONED_LOCK;
    if (!any_core(look, set, has_no_owner))
        return WEDGE_VERDICT_LOCK_CYCLE;
    if (any_core(look, set, is_in_callback))
        return WEDGE_VERDICT_STUCK_CALLBACK;
    if (any_core(look, set, has_happened))
        return WEDGE_VERDICT_LOST_WAKEUP;
    if (is_backpressure(look, set))
        return WEDGE_VERDICT_MUTUAL_BACKPRESSURE;
    if (any_core(look, set, is_orphaned) || any_core(look, set, has_orphaned_buffer))
        return WEDGE_VERDICT_ORPHANED_WAIT;
    if (any_core(look, set, is_stopped))
        return WEDGE_VERDICT_STOPPED;
    return WEDGE_VERDICT_CLOSED_WAIT;
}

/* ---- certainty and scope ---- */

static const char only_asks[] = "some of these threads wake, but only time out and ask again";
static const char core_doubt[] =
    "a core file is one still image: descriptors, handlers, timers and other processes are not in it";

/* Another end of what it waits for, or the memory, might be handed from process to process. */
static bool waits_on_descriptor(const struct wedge_look *look, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    return look->threads[thread].handed || t->wait.class == WEDGE_WAIT_PIPE_READ ||
           t->wait.class == WEDGE_WAIT_PIPE_WRITE || t->wait.class == WEDGE_WAIT_SOCKET ||
           t->wait.class == WEDGE_WAIT_POLL || t->wait.class == WEDGE_WAIT_EVENT;
}

/* One of these has a handler or waits for a signal, and a process that is stuck, be it in another set, a descriptor for which
 * the kernel signals whom it was told to. Of a live one every signal counts in any case. */
static bool is_called_by_descriptor(struct wedge_look *look, const struct wedge_graph *graph,
                                    const struct wedge_graph_set *set)
{
    const struct wedge_snapshot *s = look->snapshot;
    bool handles = false;
    for (size_t i = 0; i < set->n_members && !handles; i++) {
        const struct wedge_thread *t = &s->threads[set->members[i]];
        handles = !graph->live[set->members[i]] && (look->procs[t->proc].caught || t->wait.class == WEDGE_WAIT_SIGNAL);
    }
    for (size_t i = 0; i < s->n_threads && handles; i++)
        if (!graph->live[i] && s->procs[s->threads[i].proc].in_tree &&
            wedge_alarm_by_descriptor(look, s->threads[i].proc))
            return true;
    return false;
}

/* Why a set is not proved: the waker that only a program outside POSIX, or a timer, would need. NULL: it is. */
static const char *doubt(struct wedge_look *look, const struct wedge_graph *graph, const struct wedge_graph_set *set)
{
    bool moves = false;
    for (size_t i = 0; i < set->n_core; i++) {
        const struct wedge_look_thread *own = &look->threads[set->core[i]];
        if (!graph->live[set->core[i]])
            continue;
        moves = true;
        int proc = look->snapshot->threads[set->core[i]].proc;
        if (own->inert)
            return only_asks;
        if (look->procs[proc].async)
            return "its process has work done by the kernel (io_uring, AIO or KVM) that /proc does not show";
        if (!look->core && wedge_alarm_by_timer(look, proc))
            return "a timer of its own (timer_create) may raise a signal";
        if (wedge_graph_is_past_limit(look, set->core[i]))
            return "the user's function is past its limit, and may return all the same";
        for (size_t k = 0; k < own->n_wakers; k++) {
            const struct wedge_waker *w = &look->wakers[own->first_waker + k];
            if (w->flags & (WEDGE_WAKER_UNLESS_ALARM | WEDGE_WAKER_UNLESS_RARE))
                return w->why;
            if (w->flags & WEDGE_WAKER_UNLESS_POSIX)
                return "a live thread reaches the lock and might release what it does not own";
            if (w->flags & WEDGE_WAKER_UNLESS_RECORD)
                return "by the agent's record nobody but these ever woke anyone there";
        }
    }
    if (moves)
        return only_asks;
    for (size_t i = 0; i < set->n_members; i++)
        if (!look->core && !graph->live[set->members[i]] &&
            wedge_alarm_possible(look, look->snapshot->threads[set->members[i]].proc))
            return "its program calls alarm() or setitimer(), and whether one is armed /proc does not show";
    if (!look->core && is_called_by_descriptor(look, graph, set))
        return "a signal was asked for when a descriptor is ready, and the handler may do anything";
    for (size_t i = 0; i < set->n_core; i++)
        if (!look->core && waits_on_descriptor(look, set->core[i]) && wedge_look_has_couriers(look))
            return "processes that could hand each other descriptors ran meanwhile";
    return look->core ? core_doubt : NULL;
}

static bool ends_by_signal(const struct wedge_look *look, int t)
{
    return look->snapshot->threads[t].wait.eintr;
}

/* A core does not tell which signals are handled: a daemon that waits for its handler to post looks the same. */
static bool is_unsure(const struct wedge_look *look, const struct wedge_graph_set *set)
{
    return look->core && any_core(look, set, ends_by_signal);
}

static enum wedge_scope scope_of(const struct wedge_look *look, const bool *live, const int *members, size_t n)
{
    const struct wedge_proc *root = wedge_members_root(look);
    bool takes_part = false;
    if (!root)
        return WEDGE_SCOPE_PART;
    for (int t = root->first_thread; t < root->first_thread + root->n_threads; t++)
        if (live[t] && !has_ended(&look->snapshot->threads[t]) && !wedge_look_is_blind(look, t))
            return WEDGE_SCOPE_PART;
    for (size_t i = 0; i < n; i++)
        takes_part |= look->snapshot->threads[members[i]].proc == 0;
    return takes_part ? WEDGE_SCOPE_WHOLE : WEDGE_SCOPE_PART;
}

static const char *rule_text(enum wedge_verdict_kind kind)
{
    switch (kind) {
    case WEDGE_VERDICT_SELF_DEADLOCK:
        return "a thread waits for a lock that it owns";
    case WEDGE_VERDICT_ABANDONED_LOCK:
        return "the holder of the lock is gone";
    case WEDGE_VERDICT_LOCK_CYCLE:
        return "each owns what the next waits for";
    case WEDGE_VERDICT_STUCK_CALLBACK:
        return "a user's function cannot return, and the others wait for it";
    case WEDGE_VERDICT_ORPHANED_WAIT:
        return "everyone who could end the wait is dead, gone, or waits itself";
    case WEDGE_VERDICT_LOST_WAKEUP:
        return "what it waits for has happened, and nobody who could still tell it can run";
    case WEDGE_VERDICT_STOPPED:
        return "nobody is left to continue what is stopped";
    default:
        return "no thread that could end one of these waits can run";
    }
}

/* Whom the lock says that this thread waits for, where fork copied it: the owner lives, and releases another one. -1 none. */
static int copied_owner(const struct wedge_look *look, int t)
{
    pid_t from = look->threads[t].copied_from;
    int proc = from ? wedge_look_proc_of(look, from) : -1;
    return proc < 0 ? -1 : wedge_look_thread_of(look, proc, look->snapshot->threads[t].wait.object.owner_tid);
}

static bool is_among(const int *threads, size_t n, int t)
{
    for (size_t i = 0; i < n; i++)
        if (threads[i] == t)
            return true;
    return false;
}

/* Who of the living could have acted. Of an abandoned lock and of an orphaned wait the others are as stuck as its victims. */
static void add_culprits(struct wedge_look *look, struct wedge_verdict *v, const struct wedge_graph_set *set)
{
    int *culprits = malloc((set->n_core + 1) * sizeof(int));
    size_t n = 0;
    for (size_t i = 0; culprits && i < set->n_core; i++) {
        int t = set->core[i];
        if (v->kind == WEDGE_VERDICT_ORPHANED_WAIT)
            t = -1;
        else if (v->kind == WEDGE_VERDICT_ABANDONED_LOCK)
            t = copied_owner(look, t);
        else if (v->kind == WEDGE_VERDICT_STUCK_CALLBACK && !is_in_callback(look, t))
            t = -1;
        if (t >= 0 && !is_among(culprits, n, t))
            culprits[n++] = t;
    }
    v->culprits = copy(look, culprits ? culprits : set->core, n * sizeof(int));
    v->n_culprits = n;
    free(culprits);
}

/* Is it the process that has what somebody of the core waits for? */
static bool had_it(const struct wedge_look *look, const struct wedge_graph_set *set, const struct wedge_dead *dead)
{
    for (size_t i = 0; i < set->n_core; i++)
        if (look->threads[set->core[i]].dead_owner == dead->pid)
            return true;
    return false;
}

/* Fork copied the lock, and its owner lives: nobody's death is to blame. */
static bool is_copied(const struct wedge_look *look, int t)
{
    return look->threads[t].copied_from != 0;
}

/* Dead processes that could have acted: those that have what is waited for; where they are not known those that did not
 * leave by themselves, and only if there are none of these, the others. */
static void add_dead(struct wedge_look *look, struct wedge_verdict *v, const struct wedge_graph_set *set)
{
    const struct wedge_snapshot *s = look->snapshot;
    if (v->kind != WEDGE_VERDICT_ORPHANED_WAIT && v->kind != WEDGE_VERDICT_ABANDONED_LOCK)
        return;
    if (v->kind == WEDGE_VERDICT_ABANDONED_LOCK && any_core(look, set, is_copied))
        return;
    int *dead = obstack_alloc(&look->snapshot->mem, (int)((s->n_dead + 1) * sizeof(int)));
    for (size_t i = 0; i < s->n_dead; i++)
        if (had_it(look, set, &s->dead[i]))
            dead[v->n_dead++] = (int)i;
    for (int left = 0; left <= 1 && !v->n_dead; left++)
        for (size_t i = 0; i < s->n_dead; i++)
            if ((strcmp(s->dead[i].how, "exited") == 0) == (left == 1))
                dead[v->n_dead++] = (int)i;
    v->dead = dead;
}

/* Whom a reader should hear of first: the thread that makes the kind what it is. */
static bool comes_first(const struct wedge_look *look, enum wedge_verdict_kind kind, int t)
{
    switch (kind) {
    case WEDGE_VERDICT_SELF_DEADLOCK:
        return owns_itself(look, t);
    case WEDGE_VERDICT_ABANDONED_LOCK:
        return is_abandoned(look, t);
    case WEDGE_VERDICT_STUCK_CALLBACK:
        return is_in_callback(look, t);
    case WEDGE_VERDICT_MUTUAL_BACKPRESSURE:
        return waits_for_room(look, t);
    case WEDGE_VERDICT_ORPHANED_WAIT:
        return is_orphaned(look, t) || has_orphaned_buffer(look, t);
    case WEDGE_VERDICT_LOST_WAKEUP:
        return has_happened(look, t);
    case WEDGE_VERDICT_STOPPED:
        return is_stopped(look, t);
    default:
        return true;
    }
}

static void order_core(const struct wedge_look *look, enum wedge_verdict_kind kind, const struct wedge_graph_set *set)
{
    size_t first = 0;
    for (size_t i = 0; i < set->n_core; i++) {
        int t = set->core[i];
        if (!comes_first(look, kind, t))
            continue;
        memmove(&set->core[first + 1], &set->core[first], (i - first) * sizeof(int));
        set->core[first++] = t;
    }
}

struct made { /* a verdict and how many of its victims are the set's core */
    struct wedge_verdict verdict;
    size_t core;
};

/* Why it is worth saying at all. */
static const char *suspicion(struct wedge_look *look, const struct wedge_graph *graph,
                             const struct wedge_graph_set *set)
{
    const struct wedge_snapshot *s = look->snapshot;
    for (size_t i = 0; i < set->n_members; i++) {
        const struct wedge_look_thread *own = &look->threads[set->members[i]];
        if (own->inert)
            return only_asks;
        for (size_t k = 0; k < own->n_wakers; k++) {
            const struct wedge_waker *w = &look->wakers[own->first_waker + k];
            int proc = wedge_graph_aloof(look, set->members[i], w);
            if (proc >= 0 && graph->live_posix[set->members[i]])
                return wedge_look_textf(look, "%s (pid %d), outside the tree, %s, and did not for %.1f s",
                                        s->procs[proc].comm, (int)s->procs[proc].pid, w->why,
                                        (double)own->asleep_ns / WEDGE_NS_PER_S);
        }
    }
    return "it has happened for some time, and a thread that runs may still wake who waits for it";
}

static void fill(struct wedge_look *look, const struct wedge_graph *graph, const struct wedge_graph_set *set,
                 bool suspect, struct made *ret)
{
    const char *why_not = suspect ? suspicion(look, graph, set) : doubt(look, graph, set);
    bool proved = !why_not;
    const bool *live = proved ? graph->live : suspect ? graph->live_suspect : graph->live_posix;
    int *victims = obstack_alloc(&look->snapshot->mem, (int)((set->n_members + 1) * sizeof(int)));
    struct wedge_verdict *v = &ret->verdict;
    *v = (struct wedge_verdict){
        .kind = kind_of(look, set),
        .certainty = proved                            ? WEDGE_PROVED
                     : suspect || is_unsure(look, set) ? WEDGE_SUSPECTED
                                                       : WEDGE_EVIDENT,
        .summary = "",
        .signature = "",
        .signature_roles = "",
        .victims = victims,
        .assumptions = look->core ? 0 : WEDGE_ASSUME_NO_OUTSIDE_KILL, /* a core is past that */
        .stuck_until_ns = INT64_MAX,
    };
    ret->core = set->n_core;
    order_core(look, v->kind, set);
    for (size_t i = 0; i < set->n_members; i++) {
        int t = set->members[i];
        if (i >= set->n_core && live[t])
            continue; /* it waits for them, but is not itself proved to */
        victims[v->n_victims++] = t;
        const struct wedge_look_thread *own = &look->threads[t];
        v->assumptions |= own->assumptions & (proved ? ~WEDGE_ASSUME_POSIX_OWNER : ~0u);
        int64_t until = (proved ? graph->until : graph->until_posix)[t];
        if (!suspect && until < v->stuck_until_ns)
            v->stuck_until_ns = until;
    }
    v->scope = scope_of(look, live, v->victims, v->n_victims);
    v->reason = why_not ? why_not : rule_text(v->kind);
    add_culprits(look, v, set);
    add_dead(look, v, set);
}

/* ---- verdicts without a closed set ---- */

static struct wedge_verdict plain(struct wedge_look *look, enum wedge_verdict_kind kind, const char *reason)
{
    return (struct wedge_verdict){
        .kind = kind,
        .certainty =
            kind == WEDGE_VERDICT_NO_PROGRESS || kind == WEDGE_VERDICT_LIVELOCK ? WEDGE_SUSPECTED : WEDGE_EVIDENT,
        .scope = WEDGE_SCOPE_WHOLE,
        .reason = reason,
        .summary = "",
        .signature = "",
        .signature_roles = "",
        .victims = copy(look, "", 0),
        .culprits = copy(look, "", 0),
        .stuck_until_ns = INT64_MAX,
    };
}

/* The program's own account of its progress stands still. Where some of its threads burn CPU meanwhile it is they, else
 * all are named. */
static struct wedge_verdict stalled(struct wedge_look *look)
{
    const struct wedge_snapshot *s = look->snapshot;
    bool busy = false, known = false;
    for (size_t i = 0; i < s->n_threads; i++) {
        busy |= s->procs[s->threads[i].proc].in_tree && wedge_history_burns(&look->threads[i]);
        known |= look->threads[i].use_span_ns > 0;
    }
    struct wedge_verdict v =
        plain(look, busy ? WEDGE_VERDICT_LIVELOCK : WEDGE_VERDICT_NO_PROGRESS,
              wedge_look_textf(look, "no progress for %.1f s%s", (double)look->options->stalled_ns / WEDGE_NS_PER_S,
                               busy    ? ", and yet it burns CPU time"
                               : known ? ""
                                       : "; CPU time was not looked at"));
    v.victims = obstack_alloc(&look->snapshot->mem, (int)((s->n_threads + 1) * sizeof(int)));
    for (size_t i = 0; i < s->n_threads; i++)
        if (s->procs[s->threads[i].proc].in_tree && !has_ended(&s->threads[i]) && !wedge_look_is_blind(look, (int)i) &&
            (!busy || wedge_history_burns(&look->threads[i])))
            v.victims[v.n_victims++] = (int)i;
    if (busy) {
        v.culprits = copy(look, v.victims, v.n_victims * sizeof(int));
        v.n_culprits = v.n_victims;
    }
    return v;
}

/* One for each holder that runs while others have waited for its lock for longer than the patience. */
static void add_contention(struct wedge_look *look, const struct wedge_graph *graph, struct made *made, size_t *n)
{
    const struct wedge_snapshot *s = look->snapshot;
    if (!look->options->patience_ns)
        return;
    for (size_t holder = 0; holder < s->n_threads; holder++) {
        int *victims = obstack_alloc(&look->snapshot->mem, (int)((s->n_threads + 1) * sizeof(int)));
        size_t n_victims = 0;
        int64_t longest = 0;
        for (size_t i = 0; i < s->n_threads && graph->live_suspect[holder]; i++) {
            const struct wedge_look_thread *own = &look->threads[i];
            if (own->owner != (int)holder || i == holder || own->asleep_ns < look->options->patience_ns ||
                s->threads[i].moved || !s->procs[s->threads[i].proc].in_tree)
                continue;
            victims[n_victims++] = (int)i;
            longest = own->asleep_ns > longest ? own->asleep_ns : longest;
        }
        if (!n_victims) {
            obstack_free(&look->snapshot->mem, victims);
            continue;
        }
        const int culprit = (int)holder;
        struct wedge_verdict v = plain(look, WEDGE_VERDICT_CONTENTION,
                                       wedge_look_textf(look, "waited for %.1f s for what a thread that runs has",
                                                        (double)longest / WEDGE_NS_PER_S));
        v.scope = WEDGE_SCOPE_PART;
        v.victims = victims;
        v.n_victims = n_victims;
        v.culprits = copy(look, &culprit, sizeof(culprit));
        v.n_culprits = 1;
        made[*n] = (struct made){.verdict = v, .core = n_victims};
        (*n)++;
    }
}

static bool waits_for_outside(const struct wedge_look *look, int thread)
{
    const struct wedge_look_thread *own = &look->threads[thread];
    for (size_t k = 0; k < own->n_wakers; k++) {
        const struct wedge_waker *w = &look->wakers[own->first_waker + k];
        if (w->target == WEDGE_TO_OUTSIDE && !w->flags)
            return true;
        /* Whoever is behind a process outside the tree is the outside as well. */
        if (w->target == WEDGE_TO_PROC && !w->flags && !look->snapshot->procs[w->to].in_tree)
            return true;
    }
    return false;
}

static struct wedge_verdict healthy(struct wedge_look *look)
{
    const struct wedge_snapshot *s = look->snapshot;
    bool runs = look->tree_changed, outside = false;
    const char *cut = look->core ? wedge_core_look_cut(look) : NULL;
    if (cut) { /* what is not there may be what they wait for */
        struct wedge_verdict v = plain(look, WEDGE_VERDICT_RUNNING, cut);
        v.certainty = WEDGE_SUSPECTED;
        return v;
    }
    if (wedge_members_root(look) && look->procs[0].zombie)
        return plain(look, WEDGE_VERDICT_FINISHED, "the process has ended");
    for (size_t i = 0; i < s->n_threads; i++) {
        const struct wedge_thread *t = &s->threads[i];
        if (!s->procs[t->proc].in_tree || has_ended(t) || wedge_look_is_blind(look, (int)i))
            continue;
        runs |= t->moved || t->wait.class == WEDGE_WAIT_NONE || t->wait.class == WEDGE_WAIT_UNKNOWN;
        outside |= waits_for_outside(look, (int)i);
    }
    return !runs && outside ? plain(look, WEDGE_VERDICT_IDLE, "it waits for the outside, and nothing runs")
                            : plain(look, WEDGE_VERDICT_RUNNING, "something runs, or will by the clock");
}

/* ---- all together ---- */

static int compare_made(const void *a, const void *b)
{
    const struct wedge_verdict *x = &((const struct made *)a)->verdict, *y = &((const struct made *)b)->verdict;
    if (x->scope != y->scope)
        return x->scope == WEDGE_SCOPE_WHOLE ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    /* A stable order: by the first victim. */
    int v = x->n_victims ? x->victims[0] : -1, w = y->n_victims ? y->victims[0] : -1;
    return (v > w) - (v < w);
}

static bool is_of_tree(const struct wedge_look *look, const struct wedge_graph_set *set)
{
    for (size_t i = 0; i < set->n_members; i++)
        if (look->snapshot->procs[look->snapshot->threads[set->members[i]].proc].in_tree)
            return true;
    return false;
}

/* A suspicion is worth a word if it is of something that is not said already; if not all of it goes on by the clock, as
 * threads that all look after the time are no hang; and if the others slept all through the examinations. */
static bool is_worth_suspecting(const struct wedge_look *look, const struct wedge_graph *graph,
                                const struct wedge_graph_set *set)
{
    bool more = false, sleeps = false;
    const struct wedge_proc *root = wedge_members_root(look);
    for (size_t i = 0; i < set->n_members; i++) {
        int t = set->members[i];
        bool news = graph->live_posix[t];
        more |= news && (i < set->n_core || (root && look->snapshot->threads[t].proc == 0));
        sleeps |= !look->threads[t].inert;
        if (i < set->n_core && news && !look->threads[t].inert && look->threads[t].rounds < WEDGE_HISTORY_ROUNDS)
            return false;
    }
    return more && sleeps && is_of_tree(look, set);
}

static void make_sets(struct wedge_look *look, const struct wedge_graph *graph, struct made *made, size_t *n)
{
    for (size_t i = 0; i < graph->n_sets; i++)
        if (is_of_tree(look, &graph->sets[i]))
            fill(look, graph, &graph->sets[i], false, &made[(*n)++]);
    for (size_t i = 0; i < graph->n_suspects; i++)
        if (is_worth_suspecting(look, graph, &graph->suspects[i]))
            fill(look, graph, &graph->suspects[i], true, &made[(*n)++]);
}

int wedge_verdict_make(struct wedge_look *look, const struct wedge_graph *graph)
{
    struct wedge_snapshot *s = look->snapshot;
    struct made *made = calloc(graph->n_sets + graph->n_suspects + s->n_threads + 2, sizeof(*made));
    size_t n = 0;
    bool whole = false;
    if (!made)
        return -ENOMEM;
    make_sets(look, graph, made, &n);
    for (size_t i = 0; i < n; i++)
        whole |= made[i].verdict.scope == WEDGE_SCOPE_WHOLE;
    add_contention(look, graph, made, &n);
    if (look->options->stalled && !whole && !look->procs[0].zombie) {
        made[n].verdict = stalled(look);
        made[n].core = made[n].verdict.n_victims;
        n++;
    }
    if (!n)
        made[n++].verdict = healthy(look);
    qsort(made, n, sizeof(*made), compare_made);
    s->verdicts = obstack_alloc(&s->mem, (int)(n * sizeof(*s->verdicts)));
    look->cores = obstack_alloc(&s->mem, (int)(n * sizeof(*look->cores)));
    s->n_verdicts = n;
    for (size_t i = 0; i < n; i++) {
        s->verdicts[i] = made[i].verdict;
        look->cores[i] = made[i].core;
    }
    free(made);
    return 0;
}

void wedge_verdict_word(struct wedge_look *look)
{
    for (size_t i = 0; i < look->snapshot->n_verdicts; i++) {
        struct wedge_verdict *v = &look->snapshot->verdicts[i];
        wedge_verdict_sign(look, v);
        v->summary = wedge_verdict_summary(look, v);
    }
}
