/* What the agent writes down for the detector: events and waits. A record is complete before its sequence says so. */
#include <signal.h>

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
    event->when_ns = agent_now_ns();
    event->pid = here->proc->pid;
    event->tid = here->thread ? here->thread->tid : 0;
    if (event->kind == WEDGE_EV_FIRED && event->order <= agent_arena.n_firings)
        store_event(&agent_arena.firings[event->order - 1], event, (uint32_t)event->order);
    if (!here->thread || !agent_arena.control->record)
        return;
    /* Reserved by addition: a signal handler that comes between takes the next one. Nobody else adds there, so that one
     * instruction will do, without the lock. */
    uint32_t number = 1;
    __asm__ volatile("xaddl %0, %1" : "+r"(number), "+m"(*(uint32_t *)&here->thread->event_seq) : : "memory", "cc");
    struct wedge_arena_event *ring = &agent_arena.rings[(size_t)here->thread_slot * agent_arena.ring_events];
    store_event(&ring[number & (agent_arena.ring_events - 1)], event, number + 1);
}

uint64_t agent_now_ns(void)
{
    struct wedge_arena_clock *clock = &agent_arena.header->clock;
    uint32_t seq = atomic_load_explicit(&clock->seq, memory_order_acquire);
    uint64_t mult = atomic_load_explicit(&clock->mult, memory_order_acquire);
    uint64_t tsc = atomic_load_explicit(&clock->tsc, memory_order_acquire);
    uint64_t ns = atomic_load_explicit(&clock->ns, memory_order_acquire);
    /* Partner: wedge_arena_set_clock. Not tried twice: a wedge that was ended in between would keep us here. */
    if (AGENT_UNLIKELY(!sys_has_counter() || !mult || seq % 2 ||
                       atomic_load_explicit(&clock->seq, memory_order_relaxed) != seq))
        return sys_now_ns();
    int64_t ticks = (int64_t)(__builtin_ia32_rdtsc() - tsc); /* below 0: read on another processor, a little earlier */
    return ns + (uint64_t)(int64_t)((__int128)ticks * (__int128)mult >> 32);
}

void agent_event_amend(uint64_t order, uint64_t arg)
{
    if (!order || order > agent_arena.n_firings)
        return;
    struct wedge_arena_event *event = &agent_arena.firings[order - 1];
    atomic_store_explicit(&event->seq, 0, memory_order_release);
    event->arg = arg;
    atomic_store_explicit(&event->seq, (uint32_t)order, memory_order_release);
}

/* Where the record of each level was begun. Stacks grow down: one that was begun at a lower address than we stand at
 * was left by a longjmp or a cancellation, unless it is another stack; then its end finds it another's and ours. */
static __thread uintptr_t wait_frames[2] __attribute__((tls_model("initial-exec")));

static void set_seq(struct wedge_arena_wait *wait)
{
    /* The thread's own: a handler on it that comes in between finds it odd and goes to the next level. */
    atomic_store_explicit(&wait->seq, atomic_load_explicit(&wait->seq, memory_order_relaxed) + 1, memory_order_release);
    atomic_thread_fence(memory_order_release);
}

__thread uintptr_t agent_wait_frames[2] __attribute__((tls_model("initial-exec")));

/*
 * A hold that was left by siglongjmp or by a cancellation did not end its record. It is left behind when the stack
 * has shrunk past the frame in which it began; a handler that came during the hold is further down. Where handlers have
 * a stack of their own, the two are told apart by which of them the frame and we are on. What was left by a jump to a
 * deeper stack (of a coroutine) is found later.
 */
static bool is_left(uintptr_t frame)
{
    uintptr_t now = (uintptr_t)__builtin_frame_address(0);
    stack_t other;
    if (sys_call(SYS_sigaltstack, 0, (long)&other, 0, 0, 0, 0) || (other.ss_flags & SS_DISABLE))
        return now > frame;
    bool was_there = frame - (uintptr_t)other.ss_sp < other.ss_size, is_there = (other.ss_flags & SS_ONSTACK) != 0;
    return was_there == is_there ? now > frame : was_there;
}

static void leave(struct wedge_arena_wait *wait)
{
    uint32_t seq = atomic_load(&wait->seq), number = wait->rule - 1u;
    if (seq % 2 == 0 && wait->kind != WEDGE_WAITING_HELD)
        return; /* it was of the process we were forked from */
    if (seq % 2) {
        atomic_fetch_add_explicit(&wait->seq, 1, memory_order_release);
    } else if (number < agent_arena.n_rules) {
        atomic_fetch_sub(&agent_arena.rules[number].holding, 1);
        if (agent_arena.rules[number].action == WEDGE_ACT_YIELD)
            atomic_fetch_sub(&agent_arena.control->yielders, 1);
    }
    agent_wait_end(wait);
}

void agent_wait_check(const struct agent_here *here)
{
    for (unsigned level = 0; level < 2; level++) {
        if (!agent_wait_frames[level] || !is_left(agent_wait_frames[level]))
            continue;
        agent_wait_frames[level] = 0;
        if (here->thread)
            leave(&here->thread->wait[level]);
    }
}

void agent_wait_left(struct wedge_arena_thread *thread)
{
    for (unsigned level = 0; level < 2; level++)
        if (agent_wait_frames[level]) {
            agent_wait_frames[level] = 0;
            leave(&thread->wait[level]);
        }
}

struct wedge_arena_wait *agent_wait_begin(const struct agent_here *here, const struct wedge_arena_wait *what)
{
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    if (!here->thread)
        return NULL;
    if (agent_wait_frames[0] | agent_wait_frames[1])
        agent_wait_check(here);
    for (unsigned level = 0; level < 2; level++) {
        struct wedge_arena_wait *wait = &here->thread->wait[level];
        bool left = wait->kind == WEDGE_WAITING_CALL && wait_frames[level] <= frame;
        if (atomic_load_explicit(&wait->seq, memory_order_relaxed) % 2 || (wait->kind != WEDGE_WAITING_NOT && !left))
            continue; /* we are in a signal handler inside that wait */
        set_seq(wait);
        wait->rule = what->rule;
        wait->object = what->object;
        wait->since_ns = what->since_ns ? what->since_ns : sys_now_ns();
        wait->deadline_ns = what->deadline_ns;
        wait->name = what->name;
        wait->holder = what->holder;
        wait->kind = what->kind;
        wait_frames[level] = frame;
        set_seq(wait);
        return wait;
    }
    return NULL;
}

void agent_wait_end(struct wedge_arena_wait *wait)
{
    if (!wait)
        return;
    set_seq(wait);
    wait->kind = WEDGE_WAITING_NOT;
    wait->rule = 0;
    set_seq(wait);
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
