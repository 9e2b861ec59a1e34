/*
 * Rules: does this pass count, does it fire, and what then. Comparisons and counters alone; everything was checked
 * and compiled by faults/plan before the run.
 *
 * Order of a firing, which lets an outsider trust the record whatever the action does to this process: firing order
 * drawn, event stored, rule counted as fired, sleepers told, then the act.
 */
#include "faults/agent/agent.h"

#include <signal.h>
#include <sys/prctl.h>

#include "base/rt/name.h"
#include "faults/agent/object.h"
#include "faults/agent/quick.h"
#include "faults/agent/shut.h"
#include "faults/agent/sys.h"
#include "faults/agent/where.h"

bool agent_condition(const struct wedge_rule_when *when)
{
    switch (when->kind) {
    case WEDGE_WHEN_FIRED:
        return when->ref < agent_arena.n_rules && atomic_load(&agent_arena.rules[when->ref].fired) >= when->count;
    case WEDGE_WHEN_MARK:
    case WEDGE_WHEN_ENDED: /* counted by wedge */
        return when->ref < agent_arena.n_names && atomic_load(&agent_arena.names[when->ref].passes) >= when->count;
    default:
        return true;
    }
}

void agent_announce(void)
{
    /* Partner: agent_hold counts itself as a yielder, then reads the word, then the condition. All sequentially
     * consistent, so either it sees what happened, or we see it and wake it. */
    atomic_fetch_add(&agent_arena.control->released, 1);
    if (atomic_load(&agent_arena.control->yielders))
        sys_futex_wake_all(&agent_arena.control->released);
}

void agent_rules_at_place(uint32_t name, uint64_t ret_rules[AGENT_RULE_WORDS])
{
    for (unsigned w = 0; w < AGENT_RULE_WORDS; w++)
        ret_rules[w] = 0;
    for (uint32_t i = 0; name && i < agent_arena.n_rules; i++)
        if (agent_arena.rules[i].what == WEDGE_WHAT_PLACE && agent_arena.rules[i].place == name)
            ret_rules[i / 64] |= 1ull << (i % 64);
}

/* Rules for start or exit; `by_role`: only those whose WHO is a role (a start that was waiting for the role to be
 * known), else for a start only the others. */
void agent_rules_for_life(enum wedge_rule_what what, bool by_role, uint64_t ret_rules[AGENT_RULE_WORDS])
{
    for (unsigned w = 0; w < AGENT_RULE_WORDS; w++)
        ret_rules[w] = 0;
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        const struct wedge_arena_rule *rule = &agent_arena.rules[i];
        if (rule->what == what && (what == WEDGE_WHAT_EXIT || (rule->who == WEDGE_WHO_ROLE) == by_role))
            ret_rules[i / 64] |= 1ull << (i % 64);
    }
}

/*
 * What a rule counts in. Threads count hits in memory of their own where the rule allows: one shared counter would
 * make each pass of one thread slow the others down.
 */
struct counters {
    _Atomic uint64_t *hits, *fired; /* NULL: none to be had (no slot), so the rule cannot fire here */
    uint64_t one, mask; /* a firing, and the bits of the hits, in a word that holds both */
    bool own; /* no other thread writes there */
};

/* One more hit; returns how many there were. */
static uint64_t count_hit(const struct counters *to)
{
    if (!to->own)
        return atomic_fetch_add_explicit(to->hits, 1, memory_order_relaxed) & to->mask;
    return agent_count_own(to->hits);
}

static struct counters find_counters(const struct agent_here *here, uint32_t number, struct agent_site *site)
{
    struct wedge_arena_rule *rule = &agent_arena.rules[number];
    uint32_t row = here->thread_slot;
    switch (rule->per) {
    case WEDGE_PER_TREE:
        return (struct counters){&rule->hits, &rule->admitted, 1, UINT64_MAX, false};
    case WEDGE_PER_OBJ:
        row = agent_site_object(here, site);
        if (row == AGENT_NONE || agent_object_slots[number] == AGENT_NO_SLOT)
            return (struct counters){NULL, NULL, 0, 0, false};
        _Atomic uint64_t *word = &agent_arena.object_counts[row * WEDGE_OBJECT_RULES + agent_object_slots[number]].word;
        return (struct counters){word, word, 1ull << WEDGE_OBJECT_HITS_BITS, WEDGE_OBJECT_HITS_MASK, false};
    case WEDGE_PER_PROC:
        row = agent_arena.n_threads + here->proc_slot;
        break;
    default:
        if (!here->thread)
            return (struct counters){NULL, NULL, 0, 0, false};
    }
    struct wedge_arena_counts *counts = &agent_arena.counts[(size_t)row * WEDGE_ARENA_RULES + number];
    return (struct counters){&counts->hits, &counts->fired, 1, UINT64_MAX, rule->per == WEDGE_PER_THREAD};
}

static bool is_name(const char *comm, const char *name)
{
    for (unsigned i = 0; i < 16; i++) {
        if (comm[i] != name[i])
            return false;
        if (!comm[i])
            break;
    }
    return true;
}

/*
 * A thread's name is asked for when its slot is announced and when it is seen to change, not at a pass: there a system
 * call would cost more than all the rest, and be death in a sandbox. Whose name another thread has changed asks again at
 * its next pass. Not seen is a name that is written into /proc/PID/task/TID/comm.
 */
static bool names_count; /* a rule has thread= */
static _Atomic uint32_t others_changed = 1; /* how often a thread has named another one; a thread keeps up with it */

static void find_named(uint64_t ret[AGENT_RULE_WORDS])
{
    char comm[16] = "";
    for (unsigned w = 0; w < AGENT_RULE_WORDS; w++)
        ret[w] = 0;
    sys_call(SYS_prctl, PR_GET_NAME, (long)comm, 0, 0, 0, 0);
    for (uint32_t i = 0; i < agent_arena.n_rules; i++)
        if (agent_arena.rules[i].who == WEDGE_WHO_THREAD && is_name(comm, agent_arena.rules[i].role)) {
            ret[i / 64] |= 1ull << (i % 64);
            atomic_fetch_or(&agent_arena.rules[i].found, WEDGE_FOUND_WHO);
        }
}

void agent_note_name(struct wedge_arena_thread *thread)
{
    if (!names_count || sys_no_clock) /* strict seccomp: to ask would be the thread's end */
        return;
    thread->named_at = atomic_load(&others_changed);
    find_named(thread->named);
}

void agent_name_changed(bool own)
{
    struct agent_here here;
    if (!names_count || !agent_find_here(&here) || agent_is_vfork_child(&here))
        return;
    if (!own)
        atomic_fetch_add(&others_changed, 1);
    else if (here.thread)
        agent_note_name(here.thread);
}

static bool is_named(const struct agent_here *here, uint32_t number)
{
    uint64_t now[AGENT_RULE_WORDS], *named = now;
    if (AGENT_UNLIKELY(!here->thread)) {
        find_named(now);
    } else {
        named = here->thread->named;
        if (AGENT_UNLIKELY(here->thread->named_at != atomic_load_explicit(&others_changed, memory_order_relaxed)))
            agent_note_name(here->thread);
    }
    return named[number / 64] >> (number % 64) & 1;
}

/* Seed and rule, which are the same at every hit. By its own id, not its number, so that removing a rule changes no
 * other's luck. */
static uint64_t luck[WEDGE_ARENA_RULES];

uint64_t agent_rule_luck(uint32_t rule)
{
    return luck[rule];
}

void agent_rules_prepare(void)
{
    uint32_t len;
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        names_count |= agent_arena.rules[i].who == WEDGE_WHO_THREAD;
        luck[i] = agent_mix(agent_mix(agent_arena.control->seed) ^
                            wedge_rt_hash_text(agent_arena.rules[i].id, WEDGE_RULE_ID_BYTES, &len));
    }
}

/* Is the object, whose row is known, one of this process alone? What others can reach is counted over all of them. */
static bool is_private(const struct agent_site *site)
{
    const struct wedge_arena_object *object = &agent_arena.objects[site->row - 1];
    return object->process && object->kind != WEDGE_OBJECT_FD &&
           !(atomic_load_explicit(&object->flags, memory_order_relaxed) & WEDGE_OBJECT_SHARED);
}

/* Drawn from who counts alone: which thread comes to be the nth of a process is a race, and must not matter. */
static uint64_t draw(const struct agent_here *here, uint32_t number, const struct agent_site *site, uint64_t hit)
{
    const struct wedge_arena_rule *rule = &agent_arena.rules[number];
    uint64_t x = luck[number];
    if (rule->per == WEDGE_PER_THREAD) /* counted there: it has a slot */
        x ^= here->thread->luck;
    else if (rule->per == WEDGE_PER_PROC || (rule->per == WEDGE_PER_OBJ && is_private(site)))
        x ^= here->proc->pedigree;
    if (rule->per == WEDGE_PER_OBJ && agent_arena.objects[site->row - 1].luck)
        x ^= agent_mix(agent_arena.objects[site->row - 1].luck);
    return agent_mix(x + hit * 0x9e3779b97f4a7c15ull); /* splitmix64, its hit-th number from x */
}

static bool is_answer(uint32_t action)
{
    return action == WEDGE_ACT_ERRNO || action == WEDGE_ACT_RETURN || action == WEDGE_ACT_SHORT ||
           action == WEDGE_ACT_DROP || action == WEDGE_ACT_SPURIOUS || action == WEDGE_ACT_FULL ||
           action == WEDGE_ACT_EMPTY;
}

/* Counts a firing unless `max` is reached. Exact under contention: each success moves the counter by one. */
static bool admit(const struct counters *to, uint64_t max)
{
    uint64_t now = atomic_load(to->fired);
    if (!max && to->mask != UINT64_MAX)
        return true; /* its few bits are for a limit */
    do {
        if (max && now / to->one >= max)
            return false;
    } while (!atomic_compare_exchange_weak(to->fired, &now, now + to->one));
    return true;
}

/* Is there something to answer, and of the sort that this action is about? */
static bool can_answer(const struct agent_here *here, const struct wedge_arena_rule *rule, struct agent_site *site)
{
    if (!site->args || !site->asks)
        return site->asks;
    if (rule->action == WEDGE_ACT_FULL ||
        rule->action == WEDGE_ACT_EMPTY) /* an object that found no room is not shut */
        return agent_site_object(here, site) != AGENT_NONE;
    return rule->action != WEDGE_ACT_SPURIOUS || site->kind != WEDGE_OBJECT_WORD || agent_is_wait(site);
}

/* A call has one answer, the first: a rule that came behind would count as fired and do nothing. What shuts the object
 * of a call has that to do besides. */
static bool comes_late(const struct wedge_arena_rule *rule, const struct agent_site *site)
{
    if (AGENT_LIKELY(site->answer == AGENT_ANSWER_NONE))
        return false;
    bool shuts = site->args && (rule->action == WEDGE_ACT_FULL || rule->action == WEDGE_ACT_EMPTY);
    return rule->action == WEDGE_ACT_CORRUPT || (is_answer(rule->action) && !shuts);
}

/* Does the rule fire at that hit, as far as the hit tells? */
static bool is_chosen(const struct agent_here *here, uint32_t number, const struct agent_site *site, uint64_t hit)
{
    const struct wedge_arena_rule *rule = &agent_arena.rules[number];
    if (!agent_is_nth(rule->nth_from, rule->nth_to, rule->every, hit))
        return false;
    return rule->chance == UINT64_MAX || draw(here, number, site, hit) < rule->chance;
}

/* Both counters at once. Sixteen bytes, aligned; there is no such operation in C without a library. */
static bool exchange_both(_Atomic uint64_t *hits, uint64_t was_hits, uint64_t was_fired, uint64_t now_hits,
                          uint64_t now_fired)
{
    bool done;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(done), "+m"(*(unsigned __int128 *)(void *)hits), "+a"(was_hits), "+d"(was_fired)
                     : "b"(now_hits), "c"(now_fired)
                     : "memory");
    return done;
}

/* Counts a hit, and a firing, of a rule with `max` where threads race for it: in one step, so that the first hits that
 * are chosen are those that fire, whoever comes first to count them. */
static bool count_in_order(const struct agent_here *here, uint32_t number, const struct agent_site *site,
                           const struct counters *to, uint64_t *ret_hit)
{
    const struct wedge_arena_rule *rule = &agent_arena.rules[number];
    for (;;) { /* ends: somebody else's step is what makes ours fail */
        uint64_t word = atomic_load(to->hits), hits = word & to->mask;
        uint64_t fired = to->mask == UINT64_MAX ? atomic_load(to->fired) : word / to->one;
        bool fires = fired < rule->max && is_chosen(here, number, site, hits + 1);
        *ret_hit = hits + 1;
        if (to->mask == UINT64_MAX ? exchange_both(to->hits, hits, fired, hits + 1, fired + fires)
                                   : atomic_compare_exchange_strong(to->hits, &word, word + 1 + (fires ? to->one : 0)))
            return fires;
    }
}

/* May another firing be admitted? Once not, never again: from then on a hit is counted without comparing. */
static bool is_open(const struct counters *to, uint64_t max)
{
    return atomic_load_explicit(to->fired, memory_order_relaxed) / to->one < max;
}

/* Counts the hit; does the rule fire? If so it is counted as fired for `max`, not yet for others to see. */
static bool decide(const struct agent_here *here, uint32_t number, struct agent_site *site, uint64_t *ret_hit)
{
    struct wedge_arena_rule *rule = &agent_arena.rules[number];
    /* The cheapest first: comparisons, then a clock, a system call, an unwinding. All of them are conditions of one
     * hit, and none has an effect, so that their order is nobody's business. */
    if (rule->after_effect != site->after || (rule->after.kind != WEDGE_WHEN_ALWAYS && !agent_condition(&rule->after)))
        return false;
    if (rule->where && !agent_where(here, number, site))
        return false;
    if (rule->time_ns && sys_now_ns() - atomic_load(&agent_arena.control->begun_ns) < rule->time_ns)
        return false;
    if (rule->who == WEDGE_WHO_THREAD && !is_named(here, number))
        return false;
    if ((rule->where & WEDGE_WHERE_IN) && !agent_stack_has(AGENT_RANGES_IN + number))
        return false;

    struct counters mine = find_counters(here, number, site);
    if (!mine.hits)
        return false;
    if (AGENT_UNLIKELY(rule->max && !mine.own) && is_open(&mine, rule->max) &&
        (!is_answer(rule->action) || can_answer(here, rule, site)) && !comes_late(rule, site) &&
        atomic_load(&rule->released) % 2 == 0 && !agent_is_vfork_child(here)) {
        if (!count_in_order(here, number, site, &mine, ret_hit))
            return false;
    } else {
        *ret_hit = AGENT_UNLIKELY(site->counted) ? site->counted : count_hit(&mine) + 1;
        if (!is_chosen(here, number, site, *ret_hit) || atomic_load(&rule->released) % 2)
            return false;
        if (is_answer(rule->action) && !can_answer(here, rule, site)) {
            atomic_fetch_add_explicit(&rule->misplaced, 1, memory_order_relaxed);
            return false;
        }
        if (comes_late(rule, site) || agent_is_vfork_child(here) || !admit(&mine, rule->max))
            return false;
    }
    if (rule->action == WEDGE_ACT_CORRUPT)
        site->value = (int64_t)(agent_mix(draw(here, number, site, *ret_hit)) >> 1);
    return true;
}

static void die(const struct agent_here *here, uint32_t number, long signal)
{
    here->proc->killed_by_rule = number + 1;
    if (agent_gcov_dump && (signal < 0 || signal == SIGKILL)) {
        static _Atomic uint32_t dumped; /* its counters are written by one thread, or two would mix them */
        if (!atomic_exchange(&dumped, 1))
            agent_gcov_dump();
    }
    if (signal < 0 || signal == SIGKILL)
        agent_objects_leave();
    if (signal < 0) {
        atomic_store(&here->proc->state, WEDGE_PROC_EXITING);
        for (;;)
            sys_call(SYS_exit_group, agent_arena.rules[number].arg, 0, 0, 0, 0, 0);
    }
    sys_call(SYS_kill, here->proc->pid, signal, 0, 0, 0, 0);
    if (signal != SIGKILL)
        return;
    for (;;) /* init of a PID namespace alone gets here: the kernel spares it its own signals */
        sys_call(SYS_exit_group, 128 + SIGKILL, 0, 0, 0, 0, 0);
}

/* Sent to the thread itself: one for the process goes to its first thread if that takes it (kernel/signal.c, complete_signal),
 * and this one would go on past the place until the first has woken up. It stops the process all the same (signal(7)). */
static void stop(const struct agent_here *here)
{
    if (here->thread)
        sys_call(SYS_tgkill, here->proc->pid, here->thread->tid, SIGSTOP, 0, 0, 0);
    else
        sys_call(SYS_kill, here->proc->pid, SIGSTOP, 0, 0, 0, 0);
}

static void answer(struct agent_site *site, enum agent_answer_kind kind, int64_t value)
{
    site->answer = kind;
    site->value = value;
}

static void act(const struct agent_here *here, uint32_t number, struct agent_site *site)
{
    const struct wedge_arena_rule *rule = &agent_arena.rules[number];
    switch (rule->action) {
    case WEDGE_ACT_KILL:
        die(here, number, rule->arg);
        break;
    case WEDGE_ACT_EXIT:
        die(here, number, -1);
        break;
    case WEDGE_ACT_STOP:
        stop(here);
        break;
    case WEDGE_ACT_DELAY:
        agent_hold(here, number, sys_now_ns() + (uint64_t)rule->arg, NULL, site);
        break;
    case WEDGE_ACT_BLOCK:
        agent_hold(here, number, UINT64_MAX, NULL, site);
        break;
    case WEDGE_ACT_YIELD:
        agent_hold(here, number, UINT64_MAX, &rule->until, site);
        break;
    case WEDGE_ACT_QUIESCE:
        agent_quiesce();
        break;
    case WEDGE_ACT_ERRNO:
        answer(site, AGENT_ANSWER_ERRNO, rule->arg);
        break;
    case WEDGE_ACT_RETURN:
        answer(site, AGENT_ANSWER_RETURN, rule->arg);
        break;
    case WEDGE_ACT_DROP:
        answer(site, AGENT_ANSWER_DROP, 0);
        break;
    case WEDGE_ACT_SHORT:
        answer(site, AGENT_ANSWER_SHORT, rule->arg);
        break;
    case WEDGE_ACT_SPURIOUS:
        answer(site, AGENT_ANSWER_SPURIOUS, 0);
        break;
    case WEDGE_ACT_FULL: /* at a place the program's own code waits */
        if (!site->args)
            answer(site, AGENT_ANSWER_FULL, 0);
        else
            agent_shut(here, number, AGENT_SHUT_FULL, site);
        break;
    case WEDGE_ACT_EMPTY:
        if (!site->args)
            answer(site, AGENT_ANSWER_EMPTY, 0);
        else
            agent_shut(here, number, AGENT_SHUT_EMPTY, site);
        break;
    case WEDGE_ACT_CORRUPT:
        answer(site, AGENT_ANSWER_CORRUPT, site->value);
        break;
    default:
        break;
    }
}

/* Out of the way of the passes at which nothing fires. */
__attribute__((noinline, cold)) static void fire(const struct agent_here *here, uint32_t number,
                                                 struct agent_site *site, uint64_t hit)
{
    struct wedge_arena_rule *rule = &agent_arena.rules[number];
    struct wedge_arena_event event = {.kind = WEDGE_EV_FIRED,
                                      .rule = (uint16_t)(number + 1),
                                      .order = atomic_fetch_add(&agent_arena.control->firings, 1) + 1,
                                      .object = site->object,
                                      .arg = (uint64_t)rule->arg,
                                      .caller = site->caller,
                                      .name = site->name,
                                      .hit = (uint32_t)hit};
    agent_event(here, &event);
    if (here->thread)
        here->thread->last_rule = number + 1;
    atomic_fetch_add(&rule->fired, 1);
    agent_announce();
    if (rule->action == WEDGE_ACT_CORRUPT)
        site->order = event.order;
    act(here, number, site);
}

/* The rules that are armed, all of one moment: a pass that is held by one rule must not judge the next by a row that
 * was written over meanwhile. Somebody who switches all the time cannot keep us here. */
static void find_armed(uint64_t ret[AGENT_RULE_WORDS])
{
    const struct wedge_arena_control *control = agent_arena.control;
    for (int i = 0; i < 8; i++) {
        /* Partner: the release of the epoch, by wedge, behind the row that it makes current. */
        uint32_t epoch = atomic_load_explicit(&control->epoch, memory_order_acquire);
#pragma GCC unroll 2
        for (unsigned w = 0; w < AGENT_RULE_WORDS; w++)
            ret[w] = atomic_load_explicit(&control->enabled[epoch & 1][w], memory_order_acquire);
        if (AGENT_LIKELY(atomic_load_explicit(&control->epoch, memory_order_relaxed) == epoch))
            return;
    }
}

void agent_hit(const struct agent_here *here, const uint64_t rules[AGENT_RULE_WORDS], struct agent_site *site)
{
    if (atomic_load_explicit(&agent_arena.control->quiesce, memory_order_relaxed))
        return;
    uint64_t armed[AGENT_RULE_WORDS];
    find_armed(armed);
    for (unsigned w = 0; w < AGENT_RULE_WORDS; w++) {
        uint64_t left = rules[w] & armed[w] & atomic_load_explicit(&agent_page->who[w], memory_order_relaxed);
        for (; left; left &= left - 1) {
            uint32_t number = w * 64 + (uint32_t)__builtin_ctzll(left);
            uint64_t hit;
            /* A rule before this one may have held us: what came meanwhile counts. Behind this look the rule fires. */
            if (decide(here, number, site, &hit) && !atomic_load(&agent_arena.control->quiesce))
                fire(here, number, site, hit);
        }
    }
}

void agent_life(const struct agent_here *here, enum wedge_rule_what what, bool by_role)
{
    uint64_t rules[AGENT_RULE_WORDS];
    struct agent_site site = {.caller = (uint64_t)(uintptr_t)__builtin_return_address(0)};
    agent_rules_for_life(what, by_role, rules);
    if (AGENT_UNLIKELY(agent_census)) {
        struct agent_site nowhere = {0};
        agent_census_count(here, what == WEDGE_WHAT_START ? WEDGE_CENSUS_START : WEDGE_CENSUS_EXIT,
                           by_role || what == WEDGE_WHAT_EXIT, &nowhere);
    }
    agent_hit(here, rules, &site);
}

void agent_born(const struct agent_here *here)
{
    agent_life(here, WEDGE_WHAT_START, false);
    if (here->proc->role[0]) /* kept over exec, or given by a define */
        agent_life(here, WEDGE_WHAT_START, true);
}

void agent_exit(void)
{
    struct agent_here here;
    if (!agent_find_here(&here) || agent_is_vfork_child(&here))
        return;
    if (atomic_exchange(&agent_page->exited, 1))
        return;
    struct wedge_arena_event event = {.kind = WEDGE_EV_EXIT};
    agent_event(&here, &event);
    agent_life(&here, WEDGE_WHAT_EXIT, false);
    atomic_store_explicit(&here.proc->state, WEDGE_PROC_EXITING, memory_order_relaxed);
}
