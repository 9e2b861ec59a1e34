#include "scenarios/reach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "faults/missed.h"

static char *unfired_rules(const struct wedge_arena *arena, const struct wedge_plan *plan)
{
    size_t n = wedge_plan_count(plan);
    char *ids = calloc(n + 1, WEDGE_RULE_ID_BYTES + 1);
    for (size_t i = 0; ids && i < n; i++) {
        const struct wedge_arena_rule *rule = wedge_arena_live(arena, WEDGE_SEC_RULES, (uint32_t)i);
        if (!wedge_plan_must_fire(plan, i) || atomic_load_explicit(&rule->fired, memory_order_acquire))
            continue;
        if (ids[0])
            strcat(ids, " ");
        strcat(ids, wedge_plan_id(plan, i));
    }
    return ids;
}

/* Is there a rule that those might have been meant by who found no room? The root has its slot from the beginning. */
static bool concerns_the_lost(const struct wedge_reach *reach, const struct wedge_arena *arena,
                              const struct wedge_plan *plan)
{
    for (size_t i = 0; i < wedge_plan_count(plan); i++) {
        const struct wedge_arena_rule *rule = wedge_arena_live(arena, WEDGE_SEC_RULES, (uint32_t)i);
        if (reach->lost_threads || (reach->lost_procs && rule->who != WEDGE_WHO_ROOT))
            return true;
    }
    return false;
}

static void fill_report(struct wedge_reach *reach, const struct wedge_absent *absent)
{
    size_t n = absent->n < WEDGE_ABSENT_MOST ? absent->n : WEDGE_ABSENT_MOST;
    for (size_t i = 0; i < n; i++)
        reach->programs[i] = (struct wedge_report_absent){absent->all[i].pid, absent->all[i].path, absent->all[i].why};
    reach->report = (struct wedge_report_injection){.invalid = reach->invalid,
                                                    .unfired = reach->unfired,
                                                    .missed = reach->missed,
                                                    .noted = reach->noted,
                                                    .absent = reach->programs,
                                                    .n_absent = n,
                                                    .more_absent = absent->n - n,
                                                    .lost_processes = reach->lost_procs,
                                                    .lost_threads = reach->lost_threads};
}

int wedge_reach_fill(struct wedge_reach *reach, const struct wedge_arena *arena, const struct wedge_plan *plan,
                     const struct wedge_absent *absent, bool ended)
{
    enum { SIZE = 4096 };
    wedge_reach_free(reach);
    reach->absent = calloc(1, SIZE);
    reach->missed = arena ? wedge_faults_missed(arena) : strdup("");
    reach->noted = arena ? wedge_faults_noted(arena) : strdup("");
    reach->unfired = arena && plan ? unfired_rules(arena, plan) : strdup("");
    if (!reach->absent || !reach->missed || !reach->noted || !reach->unfired) {
        wedge_reach_free(reach);
        return -ENOMEM;
    }
    if (!arena)
        return 0;
    wedge_absent_text(absent, reach->absent, SIZE);
    for (size_t i = 0; plan && absent->ran && i < wedge_plan_count(plan); i++)
        reach->unreached |= wedge_plan_must_fire(plan, i);
    reach->lost_procs = atomic_load(&wedge_arena_header(arena)->lost_procs);
    reach->lost_threads = atomic_load(&wedge_arena_header(arena)->lost_threads);
    reach->lost = plan && concerns_the_lost(reach, arena, plan);
    reach->invalid = (ended && reach->unfired[0]) || reach->missed[0] || reach->unreached || reach->lost;
    fill_report(reach, absent);
    return 0;
}

void wedge_reach_free(struct wedge_reach *reach)
{
    free(reach->unfired);
    free(reach->missed);
    free(reach->noted);
    free(reach->absent);
    *reach = (struct wedge_reach){0};
}
