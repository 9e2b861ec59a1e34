/* Processes, threads, their waits and stacks, and the edges between them, out of a snapshot. */
#include "reports/tree.h"

#include <string.h>

#include "base/clock.h"
#include "detector/stacks/disturb.h"
#include "reports/stacks.h"

const char *wedge_tree_rule(const struct wedge_snapshot *s, int rule)
{
    return rule >= 0 && (size_t)rule < s->n_faults ? s->faults[rule].id : NULL;
}

const struct wedge_frame *wedge_tree_own_frame(const struct wedge_thread *thread)
{
    const struct wedge_frame *runtime = NULL;
    for (size_t i = 0; i < thread->n_frames; i++) {
        const struct wedge_frame *frame = &thread->frames[i];
        if (frame->libc || !frame->function)
            continue;
        if (!frame->runtime)
            return frame;
        runtime = runtime ? runtime : frame;
    }
    return runtime;
}

/* The number of a thread or process: never negative. */
static void put_node(struct wedge_put *p, json_t *object, const char *key, char kind, int number)
{
    char text[24], *at = text + sizeof(text);
    unsigned left = (unsigned)number;
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    *--at = kind;
    wedge_put(p, object, key, json_stringn_nocheck(at, (size_t)(text + sizeof(text) - at)));
}

static void put_place(struct wedge_put *p, json_t *object, const struct wedge_frame *frame)
{
    wedge_put_text(p, object, "function", frame ? frame->function : NULL);
    wedge_put_text(p, object, "file", frame ? frame->file : NULL);
    wedge_put_int_if(p, object, "line", frame && frame->line > 0, frame ? frame->line : 0);
}

static json_t *object_of(struct wedge_put *p, const struct wedge_object *object)
{
    if (!object->key[0] && !object->describe[0])
        return json_null();
    json_t *o = json_object();
    wedge_put_str(p, o, "key", object->key);
    wedge_put_str(p, o, "describe", object->describe);
    if (object->address)
        wedge_put_hex(p, o, "address", object->address);
    else
        wedge_put(p, o, "address", json_null());
    wedge_put_int_if(p, o, "owner_tid", object->owner_tid > 0, object->owner_tid);
    wedge_put_bool(p, o, "full", object->full);
    return o;
}

static json_t *wait_of(struct wedge_put *p, const struct wedge_wait *w)
{
    json_t *o = json_object();
    wedge_put_str(p, o, "class", wedge_wait_words[w->class]);
    wedge_put_str(p, o, "call", w->call);
    wedge_put(p, o, "object", object_of(p, &w->object));
    wedge_put_int_if(p, o, "wakes_in_ms", w->earliest_ns != INT64_MAX && w->class != WEDGE_WAIT_NONE,
                     w->earliest_ns / WEDGE_NS_PER_MS);
    wedge_put_bool(p, o, "eintr", w->eintr);
    wedge_put_str(p, o, "reason", w->reason);
    return o;
}

static json_t *callback_of(struct wedge_put *p, const struct wedge_snapshot *s, const struct wedge_thread *t)
{
    if (!t->callback || !*t->callback)
        return json_null();
    json_t *o = json_object();
    int64_t since = t->callback_since_ns;
    wedge_put_str(p, o, "name", t->callback);
    wedge_put_text(p, o, "function", t->callback_function);
    wedge_put_int_if(p, o, "for_ms", since > 0 && since <= s->taken_ns, (s->taken_ns - since) / WEDGE_NS_PER_MS);
    wedge_put_int_if(p, o, "limit_ms", t->callback_limit_ms > 0, t->callback_limit_ms);
    return o;
}

static json_t *thread_of(struct wedge_put *p, const struct wedge_snapshot *s, const struct wedge_thread *t,
                         struct wedge_stack_tables *stacks)
{
    json_t *o = json_object();
    const char state[2] = {t->state ? t->state : '?', 0};
    put_node(p, o, "node", 't', t->tid);
    wedge_put_int(p, o, "tid", t->tid);
    wedge_put_str(p, o, "name", t->name);
    wedge_put_str(p, o, "state", state);
    wedge_put_bool(p, o, "live", t->live);
    wedge_put_bool(p, o, "moved", t->moved);
    wedge_put(p, o, "wait", wait_of(p, &t->wait));
    wedge_put(p, o, "callback", callback_of(p, s, t));
    wedge_put_str(p, o, "last_point", t->last_point);
    wedge_put_text(p, o, "rule", wedge_tree_rule(s, t->rule));
    wedge_put(p, o, "stack", wedge_stacks_of(stacks, p, t));
    wedge_put_str(p, o, "stack_note", t->stack_note);
    wedge_put_int(p, o, "stopped_us", t->stopped_ns > 0 ? (t->stopped_ns + 999) / 1000 : 0);
    return o;
}

/* For how long a process stood still: as long as the one of its threads that did so longest. */
static int64_t stopped_us(const struct wedge_snapshot *s, const struct wedge_proc *proc)
{
    int64_t longest = 0;
    for (int i = 0; i < proc->n_threads; i++)
        if (s->threads[proc->first_thread + i].stopped_ns > longest)
            longest = s->threads[proc->first_thread + i].stopped_ns;
    return (longest + 999) / 1000;
}

/* The first word is the program's name, or what it says that this is. */
static void put_arguments(struct wedge_put *p, json_t *o, const char *cmdline)
{
    char kept[4096];
    size_t first = strcspn(cmdline, " ");
    if (!wedge_report_is_redacted() || !cmdline[first]) {
        wedge_put_str(p, o, "cmdline", cmdline);
        return;
    }
    snprintf(kept, sizeof(kept), "%.*s (redacted)", (int)(first < 4000 ? first : 4000), cmdline);
    wedge_put_str(p, o, "cmdline", kept);
}

static json_t *process_of(struct wedge_put *p, const struct wedge_snapshot *s, const struct wedge_proc *proc,
                          struct wedge_stack_tables *stacks)
{
    json_t *o = json_object(), *threads = json_array();
    const char state[2] = {proc->state ? proc->state : '?', 0};
    wedge_put_int(p, o, "pid", proc->pid);
    wedge_put_int(p, o, "ppid", proc->ppid);
    wedge_put_count(p, o, "start_ticks", proc->start_ticks);
    wedge_put_int(p, o, "uid", proc->uid);
    wedge_put_str(p, o, "state", state);
    wedge_put_str(p, o, "comm", proc->comm);
    wedge_put_str(p, o, "exe", proc->exe);
    put_arguments(p, o, proc->cmdline);
    wedge_put_bool(p, o, "root", proc->pid == s->root);
    wedge_put_bool(p, o, "in_tree", proc->in_tree);
    wedge_put_bool(p, o, "agent", proc->agent);
    wedge_put_role(p, o, proc->role, proc->role_index, proc->role_gen);
    wedge_put_bool(p, o, "catches_signals", proc->catches_signals);
    wedge_put_bool(p, o, "armed_timer", proc->armed_timer);
    wedge_put_str(p, o, "note", proc->note);
    wedge_put_int(p, o, "stopped_us", stopped_us(s, proc));
    for (int i = 0; i < proc->n_threads; i++)
        wedge_put_item(p, threads, thread_of(p, s, &s->threads[proc->first_thread + i], stacks));
    wedge_put(p, o, "threads", threads);
    return o;
}

void wedge_tree_processes(struct wedge_put *p, const struct wedge_snapshot *s, json_t *report)
{
    json_t *all = json_array(), *stack_list = json_array(), *frames = json_array();
    struct wedge_stack_tables *stacks = wedge_stacks_new(stack_list, frames);
    p->failed |= !stacks;
    for (size_t i = 0; i < s->n_procs && stacks; i++)
        wedge_put_item(p, all, process_of(p, s, &s->procs[i], stacks));
    wedge_stacks_free(stacks);
    wedge_put(p, report, "frames", frames);
    wedge_put(p, report, "stacks", stack_list);
    wedge_put(p, report, "processes", all);
}

json_t *wedge_tree_dead_party(struct wedge_put *p, const struct wedge_snapshot *s, int i)
{
    const struct wedge_dead *d = &s->dead[i];
    json_t *o = json_object();
    put_node(p, o, "node", 'd', d->pid);
    wedge_put_int(p, o, "pid", d->pid);
    wedge_put_role(p, o, d->role, d->role_index, d->role_gen);
    wedge_put_str(p, o, "last_point", d->last_point);
    wedge_put_text(p, o, "how", d->how ? d->how : "gone");
    wedge_put_text(p, o, "rule", wedge_tree_rule(s, d->rule));
    return o;
}

json_t *wedge_tree_dead(struct wedge_put *p, const struct wedge_snapshot *s)
{
    json_t *all = json_array();
    for (size_t i = 0; i < s->n_dead; i++)
        wedge_put_item(p, all, wedge_tree_dead_party(p, s, (int)i));
    return all;
}

json_t *wedge_tree_party(struct wedge_put *p, const struct wedge_snapshot *s, int i)
{
    const struct wedge_thread *t = &s->threads[i];
    const struct wedge_proc *proc = &s->procs[t->proc];
    json_t *o = json_object();
    put_node(p, o, "node", 't', t->tid);
    wedge_put_int(p, o, "pid", proc->pid);
    wedge_put_int(p, o, "tid", t->tid);
    wedge_put_str(p, o, "name", t->name);
    wedge_put_str(p, o, "process", proc->comm);
    wedge_put_role(p, o, proc->role, proc->role_index, proc->role_gen);
    wedge_put_str(p, o, "call", t->wait.call);
    put_place(p, o, wedge_tree_own_frame(t));
    return o;
}

static json_t *edge_of(struct wedge_put *p, const struct wedge_snapshot *s, const struct wedge_edge *e)
{
    static const char *const kinds[] = {[WEDGE_WAKER_THREAD] = "thread",
                                        [WEDGE_WAKER_DEAD] = "dead",
                                        [WEDGE_WAKER_RULE] = "rule",
                                        [WEDGE_WAKER_SIGNAL] = "signal",
                                        [WEDGE_WAKER_OUTSIDE] = "outside"};
    const struct wedge_object *object = &s->threads[e->from].wait.object;
    char rule[64];
    json_t *o = json_object();
    put_node(p, o, "from", 't', s->threads[e->from].tid);
    switch (e->kind) {
    case WEDGE_WAKER_THREAD:
    case WEDGE_WAKER_SIGNAL:
        put_node(p, o, "to", 't', s->threads[e->to].tid);
        break;
    case WEDGE_WAKER_DEAD:
        put_node(p, o, "to", 'd', s->dead[e->to].pid);
        break;
    case WEDGE_WAKER_RULE:
        snprintf(rule, sizeof(rule), "r:%s", wedge_tree_rule(s, e->to) ? wedge_tree_rule(s, e->to) : "?");
        wedge_put_text(p, o, "to", rule);
        break;
    case WEDGE_WAKER_OUTSIDE:
        wedge_put(p, o, "to", json_string("outside"));
        break;
    }
    wedge_put(p, o, "kind", json_string(kinds[e->kind]));
    wedge_put(p, o, "need", json_string(e->all ? "all" : "any"));
    wedge_put_int(p, o, "set", e->set);
    wedge_put_text(p, o, "object", object->describe[0] ? object->describe : object->key);
    wedge_put_str(p, o, "why", e->why);
    return o;
}

json_t *wedge_tree_edges(struct wedge_put *p, const struct wedge_snapshot *s)
{
    json_t *all = json_array();
    for (size_t i = 0; i < s->n_edges; i++)
        wedge_put_item(p, all, edge_of(p, s, &s->edges[i]));
    return all;
}

json_t *wedge_tree_disturbance(struct wedge_put *p, const struct wedge_snapshot *s)
{
    json_t *o = json_object(), *seen = json_array();
    int64_t stopped = 0;
    for (size_t i = 0; i < s->n_threads; i++) {
        const struct wedge_thread *t = &s->threads[i];
        stopped += t->stopped_ns > 0;
        const char *when = t->stopped_ns > 0 ? wedge_stop_sees_eintr(t) : NULL;
        if (!when)
            continue;
        json_t *one = json_object();
        put_node(p, one, "node", 't', t->tid);
        wedge_put_int(p, one, "pid", s->procs[t->proc].pid);
        wedge_put_int(p, one, "tid", t->tid);
        wedge_put_str(p, one, "call", t->wait.call);
        wedge_put_str(p, one, "when", when);
        wedge_put_item(p, seen, one);
    }
    wedge_put_bool(p, o, "stopped", s->stopped_anything);
    wedge_put_int(p, o, "longest_stop_us", s->longest_stop_ns > 0 ? (s->longest_stop_ns + 999) / 1000 : 0);
    wedge_put_int(p, o, "threads_stopped", stopped);
    wedge_put(p, o, "may_have_seen_eintr", seen);
    return o;
}
