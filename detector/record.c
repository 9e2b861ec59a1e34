/*
 * The agent's record as the report needs it: the rules and how often they fired, the firings in order, and the
 * processes that are gone. A target may have scribbled on it: every number is checked, every text bounded.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "detector/verdict.h"

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
            .last_point = last_point(look, i),
        };
        dead->how = how(look, p, &dead->rule);
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
