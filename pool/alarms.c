/* The alarms: a pure judgement over figures and time, and the look that a pool's keeper takes (alarms.h). */
#include "pool/alarms.h"

#include <stdio.h>

static const char *const names[WEDGE_ALARMS] = {
    [WEDGE_ALARM_QUEUE] = "queue",
    [WEDGE_ALARM_WORKERS] = "workers",
    [WEDGE_ALARM_FINISHED] = "finished",
};

const char *wedge_alarm_name(enum wedge_alarm alarm)
{
    return (unsigned)alarm < WEDGE_ALARMS ? names[alarm] : "?";
}

char *wedge_alarm_text(enum wedge_alarm alarm, const struct wedge_pool_stats *stats, char *buf, size_t size)
{
    if (alarm == WEDGE_ALARM_QUEUE)
        snprintf(buf, size, "the task queue is over %d %% full: %u of %u", WEDGE_ALARM_QUEUE_PERCENT, stats->queued,
                 stats->queue);
    else if (alarm == WEDGE_ALARM_WORKERS)
        snprintf(buf, size, "fewer than half the workers live: %u of %u", stats->workers_alive, stats->workers);
    else
        snprintf(buf, size, "under %d %% of the tasks are finished: %llu of %llu", WEDGE_ALARM_FINISHED_PERCENT,
                 (unsigned long long)stats->finished, (unsigned long long)stats->accepted);
    return buf;
}

/* Once per hold: whether what is not finished would take too many of them at this pace. */
static void take_pace(const struct wedge_alarms_rules *rules, const struct wedge_pool_stats *stats, int64_t now_ns,
                      struct wedge_alarms_state *state)
{
    int64_t took_ns = now_ns - state->pace_since_ns;
    if (state->pace_since_ns != 0 && took_ns < rules->hold_ns)
        return;
    if (state->pace_since_ns != 0) {
        double left = stats->accepted > stats->finished ? (double)(stats->accepted - stats->finished) : 0;
        double done = (double)(stats->finished - state->pace_finished);
        state->slow = left > done * WEDGE_ALARM_PACE_HOLDS * (double)rules->hold_ns / (double)took_ns;
    }
    state->pace_since_ns = now_ns;
    state->pace_finished = stats->finished;
}

static bool holds(enum wedge_alarm alarm, const struct wedge_alarms_rules *rules, const struct wedge_pool_stats *stats,
                  const struct wedge_alarms_state *state)
{
    switch (alarm) {
    case WEDGE_ALARM_QUEUE:
        return (uint64_t)stats->queued * 100 > (uint64_t)stats->queue * WEDGE_ALARM_QUEUE_PERCENT;
    case WEDGE_ALARM_WORKERS:
        return stats->workers_alive * 2 < stats->workers && !(rules->held && stats->closed && stats->queued == 0);
    default:
        return stats->accepted > rules->floor && (!rules->held || state->slow) &&
               (double)stats->finished * 100 < (double)stats->accepted * WEDGE_ALARM_FINISHED_PERCENT;
    }
}

unsigned wedge_alarms_judge(const struct wedge_alarms_rules *rules, const struct wedge_pool_stats *stats,
                            int64_t now_ns, struct wedge_alarms_state *state)
{
    int64_t hold_ns = rules->held ? rules->hold_ns : 0;
    unsigned changed = 0;
    if (rules->held)
        take_pace(rules, stats, now_ns, state);
    for (int i = 0; i < WEDGE_ALARMS; i++) {
        bool now = holds((enum wedge_alarm)i, rules, stats, state), raised = state->alarms[i].raised;
        int64_t *since_ns = now ? &state->alarms[i].holds_since_ns : &state->alarms[i].clear_since_ns;
        /* What speaks against it as it stands begins anew with each look that agrees with it. */
        if (now)
            state->alarms[i].clear_since_ns = 0;
        else if (!raised)
            state->alarms[i].holds_since_ns = 0;
        if (*since_ns == 0 && (now || raised))
            *since_ns = now_ns;
        if (now == raised || now_ns - *since_ns < hold_ns)
            continue;
        state->alarms[i].raised = now;
        if (!now)
            state->alarms[i].holds_since_ns = state->alarms[i].clear_since_ns = 0;
        changed |= 1u << i;
    }
    return changed;
}
