/*
 * The shortest way past a rule, for the calls that are most: one rule alone names the function, and it counts for each
 * thread, or is not for this process, or is not armed now. It is compared and counted here, in the wrapper, without a
 * frame and without a word of the call written down. Only a hit that is chosen goes the long way (agent_enter), with its
 * number.
 */
#ifndef WEDGE_FAULTS_AGENT_QUICK_H
#define WEDGE_FAULTS_AGENT_QUICK_H

#include "faults/agent/agent.h"

enum agent_quick_kind {
    AGENT_QUICK_NONE, /* no rule, or something else is to be done at each call */
    AGENT_QUICK_MANY, /* several rules */
    AGENT_QUICK_ASK, /* one rule, that asks for more than who passes */
    AGENT_QUICK_COUNT, /* one rule, that counts each call of a thread and asks for nothing else */
};
/* A line for each function, constant once the functions are armed. What a rule says is in struct wedge_arena_rule. */
struct agent_quick {
    uint64_t bit; /* of the rule, in word `word` of a set of rules */
    uint64_t luck, chance, nth_from, nth_to, every;
    uint32_t rule;
    uint16_t word, kind;
    uint64_t reserved;
} __attribute__((aligned(64)));
extern struct agent_quick agent_quick[WEDGE_FN_COUNT];
#define AGENT_QUICK_ASKED UINT64_MAX

/* Rules and recording are armed: works the table out. From agent_arm_functions. */
void agent_quick_prepare(void);

/* One more in a counter that no other thread writes: without the lock, which costs several times as much; one
 * instruction all the same, so that a signal handler that passes here comes before or behind it. Returns what was. */
static inline uint64_t agent_count_own(_Atomic uint64_t *counter)
{
    uint64_t one = 1;
    __asm__ volatile("xaddq %0, %1" : "+r"(one), "+m"(*(uint64_t *)counter) : : "cc");
    return one;
}

/* nth= and every=: is it the turn of this hit? */
static inline bool agent_is_nth(uint64_t from, uint64_t to, uint64_t every, uint64_t hit)
{
    if ((from && hit < from) || (to && hit > to))
        return false;
    return !every || (from ? hit - from : hit) % every == 0;
}

/* The rules at this function, before its effect or after it, that are for this process and armed; false: none. */
static inline bool agent_quick_left(enum wedge_function function, uint64_t ret_left[AGENT_RULE_WORDS])
{
    const struct wedge_arena_control *control = agent_arena.control;
    /* Partner: the release of the epoch, by wedge. */
    const _Atomic uint64_t *armed = control->enabled[atomic_load_explicit(&control->epoch, memory_order_acquire) & 1];
    uint64_t any = 0;
#pragma GCC unroll 2
    for (unsigned w = 0; w < AGENT_RULE_WORDS; w++) {
        ret_left[w] = (agent_function_rules[function][w] | agent_function_rules_after[function][w]) &
                      atomic_load_explicit(&agent_page->who[w], memory_order_relaxed) &
                      atomic_load_explicit(&armed[w], memory_order_relaxed);
        any |= ret_left[w];
    }
    return any;
}

/* True: nothing happens at this call. Else it is to be entered with *ret_counted: the number of the hit if it was counted,
 * which fires then as far as the hit tells; AGENT_QUICK_ASKED where a rule is for this process, and armed; 0 where nothing
 * is known. */
static inline __attribute__((always_inline)) bool agent_quick_pass(enum wedge_function function, uint64_t *ret_counted)
{
    const struct agent_quick *quick = &agent_quick[function];
    const struct agent_page *page = agent_page;
    *ret_counted = 0;
    if (AGENT_UNLIKELY(quick->kind == AGENT_QUICK_NONE) ||
        AGENT_UNLIKELY(atomic_load_explicit(&page->state, memory_order_acquire) != AGENT_IN))
        return false;
    const struct wedge_arena_control *control = agent_arena.control;
    /* Partner: the release of the epoch, by wedge. A row that is written over meanwhile is that of the moment before. */
    const _Atomic uint64_t *armed = control->enabled[atomic_load_explicit(&control->epoch, memory_order_acquire) & 1];
    if (quick->kind == AGENT_QUICK_MANY) {
        uint64_t left[AGENT_RULE_WORDS];
        *ret_counted = AGENT_QUICK_ASKED;
        return !agent_quick_left(function, left);
    }
    if (!(quick->bit & atomic_load_explicit(&page->who[quick->word], memory_order_relaxed) &
          atomic_load_explicit(&armed[quick->word], memory_order_relaxed)))
        return true;
    *ret_counted = AGENT_QUICK_ASKED;
    if (quick->kind == AGENT_QUICK_ASK || AGENT_UNLIKELY(agent_self.ordinal != page->ordinal) ||
        AGENT_UNLIKELY(agent_self.slot == AGENT_NONE) || AGENT_UNLIKELY(agent_wait_frames[0] | agent_wait_frames[1]) ||
        AGENT_UNLIKELY(atomic_load_explicit(&control->quiesce, memory_order_relaxed)))
        return false;
    uint32_t slot = agent_self.slot;
    uint64_t hit = agent_count_own(&agent_arena.counts[(size_t)slot * WEDGE_ARENA_RULES + quick->rule].hits) + 1;
    if (!agent_is_nth(quick->nth_from, quick->nth_to, quick->every, hit))
        return true;
    if (quick->chance != UINT64_MAX &&
        agent_mix((quick->luck ^ agent_arena.threads[slot].luck) + hit * 0x9e3779b97f4a7c15ull) >= quick->chance)
        return true;
    *ret_counted = hit;
    return false;
}

#endif
