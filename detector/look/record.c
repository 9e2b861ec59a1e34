/*
 * The agent's record as the report needs it: the rules and how often they fired, the firings in order, and the
 * processes that are gone. A target may have scribbled on it: every number is checked, every text bounded.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "detector/verdict/verdict.h"

static const char *bounded(struct wedge_look *look, const char *text, size_t size)
{
    char buf[256];
    size_t len = strnlen(text, size < sizeof(buf) ? size : sizeof(buf) - 1);
    memcpy(buf, text, len);
    buf[len] = '\0';
    return wedge_look_text(look, buf);
}

static uint32_t n_rules(const struct wedge_look *look)
{
    const struct wedge_arena_control *control = wedge_arena_at(look->options->arena, WEDGE_SEC_CONTROL, 0);
    uint32_t most = wedge_arena_count(WEDGE_SEC_RULES);
    return !control ? 0 : control->n_rules < most ? control->n_rules : most;
}

static void read_faults(struct wedge_look *look)
{
    struct wedge_snapshot *s = look->snapshot;
    uint32_t n = n_rules(look);
    s->faults = obstack_alloc(&s->mem, (int)((n + 1) * sizeof(*s->faults)));
    for (uint32_t i = 0; i < n; i++) {
        const struct wedge_arena_rule *r = wedge_arena_at(look->options->arena, WEDGE_SEC_RULES, i);
        if (!r)
            break;
        s->faults[s->n_faults++] = (struct wedge_fault){
            .id = bounded(look, r->id, sizeof(r->id)),
            .text = bounded(look, r->text, sizeof(r->text)),
            .line = (int)r->line,
            .hits = wedge_arena_copy_hits(look->options->arena, i),
            .fired = r->fired,
            .must_fire = r->must_fire != 0,
            .held_now = r->holding != 0,
        };
    }
}

static void read_firings(struct wedge_look *look)
{
    struct wedge_snapshot *s = look->snapshot;
    uint32_t most = wedge_arena_count(WEDGE_SEC_FIRINGS), n = 0;
    for (uint32_t i = 0; i < most; i++)
        n += wedge_arena_firing(look->options->arena, i) != NULL;
    s->firings = obstack_alloc(&s->mem, (int)((n + 1) * sizeof(*s->firings)));
    for (uint32_t i = 0; i < most && s->n_firings < n; i++) {
        const struct wedge_arena_event *e = wedge_arena_firing(look->options->arena, i);
        if (!e || e->kind != WEDGE_EV_FIRED || !e->rule || e->rule > s->n_faults)
            continue;
        struct wedge_firing *f = &s->firings[s->n_firings++];
        *f = (struct wedge_firing){
            .rule = e->rule - 1,
            .order = e->order,
            .when_ns = (int64_t)e->when_ns,
            .pid = e->pid,
            .tid = e->tid,
            .role = "",
            .place = wedge_look_text(look, wedge_arena_text(look->options->arena, e->name)),
        };
        const struct wedge_arena_proc *p = wedge_arena_proc_of(look->options->arena, e->pid, NULL);
        if (p) {
            f->role = bounded(look, p->role, sizeof(p->role));
            f->role_index = (int)p->role_index;
            f->role_gen = (int)p->role_gen;
        }
    }
}

/* The point that the process passed last, on whichever thread. */
static const char *last_point(struct wedge_look *look, uint32_t slot)
{
    const struct wedge_arena_thread *best = NULL;
    uint32_t n = wedge_arena_count(WEDGE_SEC_THREADS);
    for (uint32_t i = 0; i < n; i++) {
        const struct wedge_arena_thread *t = wedge_arena_at(look->options->arena, WEDGE_SEC_THREADS, i);
        if (t && t->gen && t->proc == slot && t->last_point && (!best || t->last_point_ns > best->last_point_ns))
            best = t;
    }
    return best ? wedge_look_text(look, wedge_arena_text(look->options->arena, best->last_point)) : "";
}

/* A rule of a place that ended the process did so there, while its other threads may have come by others. */
static const char *place_of_rule(struct wedge_look *look, int number)
{
    const struct wedge_arena_rule *r = wedge_arena_at(look->options->arena, WEDGE_SEC_RULES, (uint32_t)number);
    return r && r->what == WEDGE_WHAT_PLACE ? wedge_look_text(look, wedge_arena_text(look->options->arena, r->place))
                                            : "";
}

/* How it ended: by a rule that says so, by leaving, or in a way that nobody wrote down. */
static const char *how(struct wedge_look *look, const struct wedge_arena_proc *p, int *ret_rule)
{
    const struct wedge_arena_rule *r =
        p->killed_by_rule ? wedge_arena_at(look->options->arena, WEDGE_SEC_RULES, p->killed_by_rule - 1) : NULL;
    *ret_rule = -1;
    if (!r || p->killed_by_rule > n_rules(look))
        return p->state == WEDGE_PROC_EXITING ? "exited" : "gone";
    *ret_rule = (int)p->killed_by_rule - 1;
    const char *id = bounded(look, r->id, sizeof(r->id));
    if (r->action == WEDGE_ACT_KILL) {
        const char *name = sigabbrev_np((int)r->arg);
        return name ? wedge_look_textf(look, "killed by rule %s (SIG%s)", id, name)
                    : wedge_look_textf(look, "killed by rule %s (signal %d)", id, (int)r->arg);
    }
    return wedge_look_textf(look, "ended by rule %s", id);
}

static int compare_dead(const void *a, const void *b)
{
    const struct wedge_dead *x = a, *y = b;
    int role = strcmp(x->role, y->role);
    if (role)
        return role;
    if (x->role_index != y->role_index)
        return x->role_index < y->role_index ? -1 : 1;
    if (x->role_gen != y->role_gen)
        return x->role_gen < y->role_gen ? -1 : 1;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static void read_dead(struct wedge_look *look)
{
    struct wedge_snapshot *s = look->snapshot;
    uint32_t n = wedge_arena_count(WEDGE_SEC_PROCS);
    s->dead = obstack_alloc(&s->mem, (int)((n + 1) * sizeof(*s->dead)));
    for (uint32_t i = 0; i < n; i++) {
        const struct wedge_arena_proc *p = wedge_arena_at(look->options->arena, WEDGE_SEC_PROCS, i);
        if (!p || !p->gen || p->gen % 2 || p->state == WEDGE_PROC_FREE || p->pid <= 0)
            continue;
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, p->pid);
        uint32_t newest = i;
        const struct wedge_arena_proc *same = wedge_arena_proc_of(look->options->arena, p->pid, &newest);
        bool replaced = same && newest != i; /* the number was used again */
        if (m && m->state != 'Z' && m->state != 'X' && !replaced)
            continue;
        struct wedge_dead *dead = &s->dead[s->n_dead++];
        *dead = (struct wedge_dead){
            .pid = p->pid,
            .role = bounded(look, p->role, sizeof(p->role)),
            .role_index = (int)p->role_index,
            .role_gen = (int)p->role_gen,
        };
        dead->how = how(look, p, &dead->rule);
        const char *place = dead->rule >= 0 ? place_of_rule(look, dead->rule) : "";
        dead->last_point = *place ? place : last_point(look, i);
    }
    if (s->n_dead)
        qsort(s->dead, s->n_dead, sizeof(*s->dead), compare_dead);
}

static void read_progress(struct wedge_look *look)
{
    uint32_t n = wedge_arena_count(WEDGE_SEC_THREADS);
    for (uint32_t i = 0; i < n; i++) {
        const struct wedge_arena_thread *t = wedge_arena_at(look->options->arena, WEDGE_SEC_THREADS, i);
        if (t && t->gen)
            look->snapshot->progress += t->progress;
    }
}

void wedge_verdict_record(struct wedge_look *look)
{
    if (!look->options->arena)
        return;
    read_faults(look);
    read_firings(look);
    read_dead(look);
    read_progress(look);
}

void wedge_verdict_recall(struct wedge_look *look)
{
    read_faults(look);
    read_firings(look);
    read_progress(look);
}

/* ---- what the record adds to the words for an object ---- */

enum { CONDITION_BYTES = 48, MOST_READERS = 4 };

/* Threads of the process that hold a rwlock for reading and have not moved since; nobody can see them from outside. */
static void add_readers(struct wedge_look *look, const struct wedge_thread *t, uint32_t slot, struct wedge_text *words)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *record = wedge_arena_at(look->options->arena, WEDGE_SEC_THREADS, i);
        bool holds = false;
        if (!record || !record->gen || record->gen % 2 || record->proc != slot)
            continue;
        for (unsigned h = 0; h < WEDGE_HOLDS; h++)
            holds |= record->holds[h].object == t->wait.object.address && record->holds[h].shared &&
                     record->holds[h].kind == WEDGE_OBJECT_RWLOCK && record->holds[h].state == WEDGE_HOLD_HOLD;
        int reader = holds ? wedge_look_thread_of(look, t->proc, record->tid) : -1;
        bool gone = record->ended || reader < 0;
        if (!holds || (!gone && look->snapshot->threads[reader].moved))
            continue;
        if (n++ < MOST_READERS)
            wedge_text_addf(words, "%s%d%s", n == 1 ? ", read by " : ", ", (int)record->tid,
                            gone ? ", which has ended" : "");
    }
    if (n > MOST_READERS)
        wedge_text_addf(words, " and %u more", n - MOST_READERS);
}

/* Who came to a barrier in an earlier round, of the calls that are still in the rings, and does not wait there now. */
static void add_missing(struct wedge_look *look, const struct wedge_thread *t, uint32_t slot, struct wedge_text *words)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *record = wedge_arena_at(look->options->arena, WEDGE_SEC_THREADS, i);
        bool came = false;
        if (!record || !record->gen || record->gen % 2 || record->proc != slot)
            continue;
        for (uint32_t e = 0; e < wedge_arena_event_count(look->options->arena, i); e++) {
            const struct wedge_arena_event *event = wedge_arena_event(look->options->arena, i, e);
            came |= event && event->object == t->wait.object.address && event->about == WEDGE_OBJECT_BARRIER;
        }
        int thread = wedge_look_thread_of(look, t->proc, record->tid);
        bool gone = record->ended || thread < 0;
        if (!came || (!gone && strcmp(look->snapshot->threads[thread].wait.object.key, t->wait.object.key) == 0))
            continue;
        if (n++ < MOST_READERS)
            wedge_text_addf(words, "%s%d%s", n == 1 ? ", to which came before: " : ", ", (int)record->tid,
                            gone ? ", which has ended" : "");
    }
    if (n > MOST_READERS)
        wedge_text_addf(words, " and %u more", n - MOST_READERS);
}

/* Who woke somebody at the object last, of the calls that are still in the rings. */
static void add_waker(const struct wedge_look *look, const struct wedge_thread *t, uint32_t slot, bool condition,
                      struct wedge_text *words)
{
    const struct wedge_arena_event *event, *last = NULL;
    uint64_t address = t->wait.object.address;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *record = wedge_arena_at(look->options->arena, WEDGE_SEC_THREADS, i);
        if (!record || record->proc != slot)
            continue;
        for (uint32_t e = 0; e < wedge_arena_event_count(look->options->arena, i); e++) {
            event = wedge_arena_event(look->options->arena, i, e);
            if (!event || event->kind != WEDGE_EV_WAKE || (int64_t)event->arg < 0 ||
                event->about != (condition ? WEDGE_OBJECT_COND : WEDGE_OBJECT_SEM) ||
                (condition ? address - event->object >= CONDITION_BYTES : address != event->object))
                continue;
            if (!last || event->when_ns > last->when_ns)
                last = event;
        }
    }
    if (last)
        wedge_text_addf(words, ", last %s by %d", condition ? "signalled" : "posted", (int)last->tid);
}

void wedge_record_describe(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_object *o = &t->wait.object;
    struct wedge_text words = WEDGE_TEXT_INIT(96);
    uint32_t slot;
    /* By its address in one process: what several share has another one in each. */
    if (!look->options->arena || t->moved || strncmp(o->key, "pid ", 4) != 0 || o->owner_tid ||
        !wedge_arena_proc_of(look->options->arena, look->snapshot->procs[t->proc].pid, &slot))
        return;
    if (t->wait.class == WEDGE_WAIT_RWLOCK)
        add_readers(look, t, slot, &words);
    else if (t->wait.class == WEDGE_WAIT_BARRIER)
        add_missing(look, t, slot, &words);
    else if (t->wait.class == WEDGE_WAIT_SEM || t->wait.class == WEDGE_WAIT_COND)
        add_waker(look, t, slot, t->wait.class == WEDGE_WAIT_COND, &words);
    size_t used = strlen(o->describe);
    if (words.len)
        snprintf(o->describe + used, sizeof(o->describe) - used, "%s (by the record)", words.data);
    wedge_text_free(&words);
}
