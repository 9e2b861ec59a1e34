/*
 * The record of calls that take, give back, wait for or wake an object: what a thread waits for and what it holds, and
 * an event for each call that returned. Nothing here is shared between threads: a thread writes its own slot and ring,
 * a signal handler on it what its own calls need, and all of it stays readable when the process is gone.
 *
 *   call      before the effect             after it
 *   take      hold WANT, wait               hold HOLD, or FREE when it failed; event
 *   give      hold RELEASING                hold FREE, or HOLD when it failed; event
 *   wait      wait; the mutex of a          the mutex HOLD again; of a semaphore hold HOLD;
 *             condition WANT                event
 *   wake                                    of a semaphore hold FREE, or GAVE; event
 *
 * A call that never returns (a cancellation, a siglongjmp out of a handler) leaves its wait behind until the next one
 * writes over it (record.c), and a WANT of what it did not get: whoever reads them compares with what the thread does.
 */
#include <errno.h>

#include "faults/agent/agent.h"

enum {
    WHAT = 7, /* mask of the four below */
    TAKES = 1,
    GIVES = 2,
    WAITS = 3,
    WAKES = 4,
    MAY_WAIT = 8,
    SHARED = 16, /* takes it as one of many */
    COUNTED = 64, /* for the census alone */
    ARMS = 128, /* an alarm, which the kernel shows nobody */
    WITH_MUTEX = 32, /* argument 2 is a mutex, given back meanwhile */
};
uint8_t agent_recorded[WEDGE_FN_COUNT];

static const struct {
    const char *name;
    uint8_t style, kind, effect;
} functions[WEDGE_FN_COUNT] = {
#define F(ret, name, family, style, extra, kind, effect, ...)                                                          \
    [WEDGE_FN_##name] = {#name, WEDGE_STYLE_##style, WEDGE_OBJECT_##kind, WEDGE_EFFECT_##effect},
#include "faults/functions/all.def"
#undef F
};

static bool has(const char *name, const char *part)
{
    for (; *name; name++) {
        size_t i = 0;
        while (part[i] && name[i] == part[i])
            i++;
        if (!part[i])
            return true;
    }
    return false;
}

static uint8_t how_of(unsigned function)
{
    uint8_t kind = functions[function].kind;
    const char *name = functions[function].name;
    bool tries = has(name, "try");
    /* A futex word is libc's or its user's own business, and once runs a routine of the program. */
    if (kind == WEDGE_OBJECT_WORD || kind == WEDGE_OBJECT_MAPPING || kind == WEDGE_OBJECT_SEGMENT ||
        kind == WEDGE_OBJECT_ONCE)
        return 0;
    if (has(name, "alarm") || has(name, "setitimer"))
        return ARMS;
    switch (functions[function].effect) {
    case WEDGE_EFFECT_TAKE:
        return TAKES | (tries ? 0 : MAY_WAIT) | (has(name, "rdlock") ? SHARED : 0);
    case WEDGE_EFFECT_GIVE:
        return GIVES;
    case WEDGE_EFFECT_WAIT:
        return WAITS | (tries ? 0 : MAY_WAIT) | (kind == WEDGE_OBJECT_COND ? WITH_MUTEX : 0);
    case WEDGE_EFFECT_WAKE:
        return WAKES;
    default:
        return 0;
    }
}

void agent_record_watch(uint64_t watched[WEDGE_RULE_FUNCTIONS_WORDS])
{
    if (agent_arena.control->record < WEDGE_RECORD_CALLS && !agent_census)
        return;
    for (unsigned f = 0; f < WEDGE_FN_COUNT; f++) {
        agent_recorded[f] = agent_census ? COUNTED : how_of(f);
        if (agent_recorded[f])
            watched[f / 64] |= 1ull << (f % 64);
    }
}

/* Of what is there twice either serves. Where a semaphore was may be a mutex now. */
static struct wedge_arena_hold *find_hold(struct wedge_arena_thread *thread, uint64_t object, bool semaphore)
{
    for (unsigned i = 0; i < WEDGE_HOLDS; i++) {
        struct wedge_arena_hold *hold = &thread->holds[i];
        if (atomic_load_explicit(&hold->object, memory_order_relaxed) == object &&
            atomic_load_explicit(&hold->state, memory_order_relaxed) != WEDGE_HOLD_FREE &&
            (hold->kind == WEDGE_OBJECT_SEM) == semaphore)
            return hold;
    }
    return NULL;
}

/* One that is free; a semaphore makes way for a lock. */
static struct wedge_arena_hold *find_room(struct wedge_arena_thread *thread, bool semaphore)
{
    struct wedge_arena_hold *other = NULL;
    for (unsigned i = 0; i < WEDGE_HOLDS; i++) {
        if (atomic_load_explicit(&thread->holds[i].state, memory_order_relaxed) == WEDGE_HOLD_FREE)
            return &thread->holds[i];
        if (thread->holds[i].kind == WEDGE_OBJECT_SEM)
            other = &thread->holds[i];
    }
    if (other || semaphore)
        thread->sems_lost = 1;
    return semaphore ? NULL : other;
}

static struct wedge_arena_hold *put_hold(struct wedge_arena_thread *thread, uint64_t object, uint8_t kind, bool shared,
                                         uint32_t state)
{
    struct wedge_arena_hold *hold = find_room(thread, kind == WEDGE_OBJECT_SEM);
    if (!hold)
        return NULL; /* it holds more than there is room for */
    /* Partner: wedge reads a copy, and believes of a hold what its state says. */
    atomic_store_explicit(&hold->state, WEDGE_HOLD_FREE, memory_order_relaxed);
    atomic_store_explicit(&hold->object, object, memory_order_release);
    hold->kind = kind;
    hold->shared = shared;
    atomic_store_explicit(&hold->state, state, memory_order_release);
    return hold;
}

static void set_hold(struct wedge_arena_hold *hold, uint32_t state)
{
    if (hold)
        atomic_store_explicit(&hold->state, state, memory_order_release);
}

void agent_note_alarm(const struct agent_here *here)
{
    if (agent_is_vfork_child(here))
        atomic_store_explicit(&agent_arena.control->vfork_alarms, 1, memory_order_relaxed);
    else
        atomic_store_explicit(&here->proc->alarms, WEDGE_ALARMS_CALLED, memory_order_relaxed);
}

/* Set before it is asked whether the process has checked in; the process checks in, and then looks: one of the two sees the
 * other. A child inherits it, and is taken for one that called. */
static _Atomic uint32_t missed_alarm;

void agent_miss_alarm(void)
{
    struct agent_here here;
    atomic_store(&missed_alarm, 1);
    atomic_thread_fence(memory_order_seq_cst); /* Partner: agent_note_missed_alarm */
    if (agent_find_here(&here))
        agent_note_alarm(&here);
}

void agent_note_missed_alarm(struct wedge_arena_proc *proc)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&missed_alarm, memory_order_relaxed))
        atomic_store_explicit(&proc->alarms, WEDGE_ALARMS_CALLED, memory_order_relaxed);
}

void agent_record_before(struct agent_call *call)
{
    struct wedge_arena_thread *thread = call->here.thread;
    uint8_t how = agent_recorded[call->function], kind = functions[call->function].kind;
    if (how & ARMS && !agent_census)
        agent_note_alarm(&call->here);
    if (how & ARMS || !thread || agent_is_vfork_child(&call->here))
        return;
    call->recorded = true;
    call->hold = NULL;
    call->wait = NULL;
    call->began_ns = agent_now_ns();
    switch (how & WHAT) {
    case TAKES:
        call->hold = put_hold(thread, call->site.object, kind, (how & SHARED) != 0, WEDGE_HOLD_WANT);
        break;
    case GIVES:
        call->hold = find_hold(thread, call->site.object, false);
        set_hold(call->hold, WEDGE_HOLD_RELEASING);
        break;
    case WAITS:
        if (how & WITH_MUTEX)
            call->hold = find_hold(thread, call->site.args[1], false);
        set_hold(call->hold, WEDGE_HOLD_WANT);
        break;
    default:
        break;
    }
    if (how & MAY_WAIT) {
        struct wedge_arena_wait what = {.kind = WEDGE_WAITING_CALL,
                                        .object = call->site.object,
                                        .since_ns = call->began_ns,
                                        .name = (uint32_t)call->function + 1};
        call->wait = agent_wait_begin(&call->here, &what);
    }
}

/* A negative errno where the call failed, else what it returned. */
static int64_t outcome(const struct agent_call *call, int64_t result)
{
    switch (functions[call->function].style) {
    case WEDGE_STYLE_MINUS1:
        return result == -1 ? -errno : result;
    case WEDGE_STYLE_NULLED:
        return result ? result : -errno;
    case WEDGE_STYLE_CODE:
    case WEDGE_STYLE_THRD:
        return (int)result > 0 ? -(int)result : (int)result;
    default:
        return result;
    }
}

/* The next place in the ring. One instruction, so that a signal handler on this thread comes before it or after it; no
 * other thread writes here, so that no bus is locked. */
static uint32_t next_event(struct wedge_arena_thread *thread)
{
    uint32_t number = 1;
    __asm__ volatile("xaddl %0, %1" : "+r"(number), "+m"(*(uint32_t *)&thread->event_seq)::"memory", "cc");
    return number;
}

static void write_event(const struct agent_call *call, uint16_t kind, int64_t arg)
{
    const struct agent_here *here = &call->here;
    uint32_t number = next_event(here->thread);
    struct wedge_arena_event *to =
        &agent_arena
             .rings[(size_t)here->thread_slot * agent_arena.ring_events + (number & (agent_arena.ring_events - 1))];
    atomic_store_explicit(&to->seq, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    to->kind = kind;
    to->rule = 0;
    to->when_ns = call->began_ns;
    to->order = 0;
    to->object = call->site.object;
    to->arg = (uint64_t)arg;
    to->caller = call->site.caller;
    to->name = (uint32_t)call->function + 1;
    to->tid = here->thread->tid;
    to->pid = here->proc->pid;
    to->about = functions[call->function].kind;
    /* Partner: wedge reads a copy and takes a record only under the sequence it expects there. */
    atomic_store_explicit(&to->seq, number + 1, memory_order_release);
}

/* What a thread has done to a semaphore by now: nothing (no hold), taken it (HOLD), given what it had not (GAVE). */
static void note_semaphore(struct wedge_arena_thread *thread, uint64_t object, bool took)
{
    struct wedge_arena_hold *hold = find_hold(thread, object, true);
    if (!hold)
        put_hold(thread, object, WEDGE_OBJECT_SEM, false, took ? WEDGE_HOLD_HOLD : WEDGE_HOLD_GAVE);
    else if (!took && atomic_load_explicit(&hold->state, memory_order_relaxed) == WEDGE_HOLD_HOLD)
        set_hold(hold, WEDGE_HOLD_FREE);
}

void agent_record_after(struct agent_call *call, int64_t result)
{
    static const uint16_t kinds[] = {
        [TAKES] = WEDGE_EV_TAKE, [GIVES] = WEDGE_EV_GIVE, [WAITS] = WEDGE_EV_WAIT, [WAKES] = WEDGE_EV_WAKE};
    int64_t arg = outcome(call, result);
    uint8_t what = agent_recorded[call->function] & WHAT;
    agent_wait_end(call->wait);
    /* EOWNERDEAD: taken, with a warning (pthread_mutex_lock(3p)). Spin locks' and others' functions return 0 too. */
    bool done = arg >= 0 || arg == -EOWNERDEAD;
    if (what == TAKES)
        set_hold(call->hold, done ? WEDGE_HOLD_HOLD : WEDGE_HOLD_FREE);
    else if (what == GIVES)
        set_hold(call->hold, done ? WEDGE_HOLD_FREE : WEDGE_HOLD_HOLD);
    else
        set_hold(call->hold, WEDGE_HOLD_HOLD); /* the mutex of a condition, whatever came of the wait */
    if (functions[call->function].kind == WEDGE_OBJECT_SEM && done && (what == WAITS || what == WAKES))
        note_semaphore(call->here.thread, call->site.object, what == WAITS);
    write_event(call, kinds[what], arg);
}
