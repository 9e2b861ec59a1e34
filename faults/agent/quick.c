#include "faults/agent/quick.h"

#include "faults/agent/object.h"
#include "faults/agent/shut.h"

struct agent_quick agent_quick[WEDGE_FN_COUNT];

/* Does the rule ask for nothing but who passes, and which hit that is? */
static bool is_plain(const struct wedge_arena_rule *rule)
{
    return rule->per == WEDGE_PER_THREAD && !rule->where && !rule->time_ns && !rule->after_effect &&
           rule->after.kind == WEDGE_WHEN_ALWAYS && rule->who != WEDGE_WHO_THREAD;
}

void agent_quick_prepare(void)
{
    for (unsigned f = 0; f < WEDGE_FN_COUNT; f++) {
        uint32_t number = AGENT_NONE, named = 0;
        for (uint32_t i = 0; i < agent_arena.n_rules; i++)
            if (agent_arena.rules[i].what == WEDGE_WHAT_FUNCTION &&
                agent_arena.rules[i].functions[f / 64] >> (f % 64) & 1) {
                number = i;
                named++;
            }
        if (named == 0 || agent_object_roles[f] || agent_recorded[f] || agent_shut_roles[f])
            continue;
        if (named > 1) {
            agent_quick[f].kind = AGENT_QUICK_MANY;
            continue;
        }
        const struct wedge_arena_rule *rule = &agent_arena.rules[number];
        agent_quick[f] = (struct agent_quick){.bit = 1ull << (number % 64),
                                              .luck = agent_rule_luck(number),
                                              .chance = rule->chance,
                                              .nth_from = rule->nth_from,
                                              .nth_to = rule->nth_to,
                                              .every = rule->every,
                                              .rule = number,
                                              .word = (uint16_t)(number / 64),
                                              .kind = is_plain(rule) ? AGENT_QUICK_COUNT : AGENT_QUICK_ASK};
    }
}
