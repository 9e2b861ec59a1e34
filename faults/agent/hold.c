/*
 * Holding a thread: block, delay, yield. The wait record is written before the first sleep, so that a detector never
 * takes a held thread for one that hangs by itself.
 *
 * What ends it: the release of the rule or a quiesce (both make rule.released odd, which block and delay sleep on), the
 * deadline of a delay, or the condition of a yield, which sleeps on control.released; that word moves at each firing,
 * mark and release. The word is read before the condition: a change in between makes the sleep return at once. A rule that is
 * armed again moves rule.released once more, so that a release is not lost on a thread that did not run meanwhile.
 */
#include "faults/agent/agent.h"
#include "faults/agent/sys.h"

void agent_hold(const struct agent_here *here, uint32_t number, uint64_t deadline_ns,
                const struct wedge_rule_when *until, const struct agent_site *site)
{
    struct wedge_arena_rule *rule = &agent_arena.rules[number];
    struct wedge_arena_control *control = agent_arena.control;
    uint32_t armed = atomic_load(&rule->released);
    struct wedge_arena_wait what = {.kind = WEDGE_WAITING_HELD,
                                    .rule = (uint16_t)(number + 1),
                                    .object = site->object,
                                    .deadline_ns = deadline_ns,
                                    .name = site->name};
    struct wedge_arena_wait *wait = agent_wait_begin(here, &what);
    atomic_fetch_add(&rule->holding, 1);
    if (until)
        atomic_fetch_add(&control->yielders, 1);
    while (armed % 2 == 0 && atomic_load(&rule->released) == armed && !atomic_load(&control->quiesce)) {
        uint32_t moved = atomic_load(&control->released);
        if (until && agent_condition(until))
            break;
        if (deadline_ns != UINT64_MAX && sys_now_ns() >= deadline_ns)
            break;
        if (until)
            sys_futex_wait(&control->released, moved, deadline_ns);
        else
            sys_futex_wait(&rule->released, armed, deadline_ns);
    }
    if (until)
        atomic_fetch_sub(&control->yielders, 1);
    atomic_fetch_sub(&rule->holding, 1);
    agent_wait_end(wait);
    struct wedge_arena_event event = {
        .kind = WEDGE_EV_RELEASED, .rule = (uint16_t)(number + 1), .name = site->name, .object = site->object};
    agent_event(here, &event);
}

void agent_quiesce(void)
{
    atomic_store(&agent_arena.control->quiesce, 1);
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        atomic_fetch_or(&agent_arena.rules[i].released, 1);
        sys_futex_wake_all(&agent_arena.rules[i].released);
    }
    atomic_fetch_add(&agent_arena.control->released, 1);
    sys_futex_wake_all(&agent_arena.control->released);
}
