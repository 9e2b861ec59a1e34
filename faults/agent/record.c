/* What the agent writes down for the detector: events and waits. A record is complete before its sequence says so. */
#include "faults/agent/agent.h"
#include "faults/agent/sys.h"

static void store_event(struct wedge_arena_event *to, const struct wedge_arena_event *from, uint32_t seq)
{
    atomic_store_explicit(&to->seq, 0, memory_order_release);
    to->kind = from->kind;
    to->rule = from->rule;
    to->when_ns = from->when_ns;
    to->order = from->order;
    to->object = from->object;
    to->arg = from->arg;
    to->caller = from->caller;
    to->name = from->name;
    to->tid = from->tid;
    to->pid = from->pid;
    to->hit = from->hit;
    /* Partner: wedge reads a copy and takes a record only under the sequence it expects there. */
    atomic_store_explicit(&to->seq, seq, memory_order_release);
}

void agent_event(const struct agent_here *here, struct wedge_arena_event *event)
{
    event->when_ns = sys_now_ns();
    event->pid = here->proc->pid;
    event->tid = here->thread ? here->thread->tid : 0;
    if (event->kind == WEDGE_EV_FIRED && event->order <= agent_arena.n_firings)
        store_event(&agent_arena.firings[event->order - 1], event, (uint32_t)event->order);
    if (!here->thread || !agent_arena.control->record)
        return;
    /* Reserved by addition: a signal handler that comes between takes the next one. */
    uint32_t number = atomic_fetch_add_explicit(&here->thread->event_seq, 1, memory_order_relaxed);
    struct wedge_arena_event *ring = &agent_arena.rings[(size_t)here->thread_slot * agent_arena.ring_events];
    store_event(&ring[number & (agent_arena.ring_events - 1)], event, number + 1);
}

struct wedge_arena_wait *agent_wait_begin(const struct agent_here *here, const struct wedge_arena_wait *what)
{
    if (!here->thread)
        return NULL;
    for (unsigned level = 0; level < 2; level++) {
        struct wedge_arena_wait *wait = &here->thread->wait[level];
        if (atomic_load_explicit(&wait->seq, memory_order_relaxed) % 2 || wait->kind != WEDGE_WAITING_NOT)
            continue; /* we are in a signal handler inside that wait */
        atomic_fetch_add_explicit(&wait->seq, 1, memory_order_acq_rel);
        wait->rule = what->rule;
        wait->object = what->object;
        wait->since_ns = sys_now_ns();
        wait->deadline_ns = what->deadline_ns;
        wait->name = what->name;
        wait->holder = what->holder;
        wait->kind = what->kind;
        atomic_fetch_add_explicit(&wait->seq, 1, memory_order_release);
        return wait;
    }
    return NULL;
}

void agent_wait_end(struct wedge_arena_wait *wait)
{
    if (!wait)
        return;
    atomic_fetch_add_explicit(&wait->seq, 1, memory_order_acq_rel);
    wait->kind = WEDGE_WAITING_NOT;
    wait->rule = 0;
    atomic_fetch_add_explicit(&wait->seq, 1, memory_order_release);
}

struct wedge_arena_wait *agent_wait_annotated(const struct agent_here *here)
{
    for (int level = 1; here->thread && level >= 0; level--) {
        struct wedge_arena_wait *wait = &here->thread->wait[level];
        if (wait->kind > WEDGE_WAITING_NOT && wait->kind < WEDGE_WAITING_HELD)
            return wait;
    }
    return NULL;
}
