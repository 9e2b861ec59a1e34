/* The look at the alarms that a pool's keeper takes: the judgement's (alarms.h) way onto the board and to the user. */
#include "pool/alarms.h"
#include "pool/events.h"
#include "pool/figures.h"
#include "pool/pool.h"

void wedge_pool_alarms_look(struct wedge_pool *pool, int64_t now_ns)
{
    const struct wedge_pool_settings *settings = &pool->settings;
    struct wedge_alarms_rules rules = {.held = settings->alarms == WEDGE_POOL_ALARMS_HELD,
                                       .hold_ns = settings->alarm_hold_ms * WEDGE_NS_PER_MS,
                                       .floor = (uint64_t)settings->alarm_floor};
    struct wedge_pool_stats stats;
    char text[128];
    /* Not a lock: nobody waits for it. Pairs with the clear below, which hands the state to the next one. */
    if (atomic_flag_test_and_set_explicit(&pool->alarms_busy, memory_order_acquire))
        return;
    wedge_board_stats(pool->board, &stats);
    unsigned changed = wedge_alarms_judge(&rules, &stats, now_ns, &pool->alarms);
    for (int i = 0; i < WEDGE_ALARMS; i++) {
        struct wedge_board_alarm *alarm = &pool->board->alarms[i];
        bool raised = pool->alarms.alarms[i].raised;
        atomic_store_explicit(&alarm->since_ns, pool->alarms.alarms[i].holds_since_ns, memory_order_relaxed);
        if (!(changed & 1u << i))
            continue;
        if (raised)
            atomic_fetch_add_explicit(&alarm->times, 1, memory_order_relaxed);
        atomic_store_explicit(&alarm->raised, raised, memory_order_relaxed); /* each is read by itself */
    }
    atomic_flag_clear_explicit(&pool->alarms_busy, memory_order_release);
    for (int i = 0; changed != 0 && i < WEDGE_ALARMS; i++)
        if (changed & 1u << i)
            wedge_pool_tell(pool,
                            atomic_load(&pool->board->alarms[i].raised) ? WEDGE_POOL_EVENT_ALARM
                                                                        : WEDGE_POOL_EVENT_ALARM_OVER,
                            0, 0, "%s", wedge_alarm_text((enum wedge_alarm)i, &stats, text, sizeof(text)));
}
