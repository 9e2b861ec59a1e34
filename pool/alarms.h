/*
 * The three alarms of the hang report's section 6. What holds is judged from the same figures that wedge_pool_stats
 * gives; when it is said is a setting:
 *
 *   instant   raised with the first look at which the condition holds, over with the first at which it does not. So
 *             FINISHED comes at every healthy start (a hundred tasks are accepted long before they are done), and
 *             QUEUE comes and goes with each burst.
 *   held      raised once every look of `hold` found the condition, over once no look of `hold` did. A start and a burst
 *             are shorter than that, and nothing can flap faster than once per two holds.
 *
 *   QUEUE     more than 80 % of the task queue is taken. A program that puts faster than its workers work raises it for as long
 *             as it does: that is what the report asks for, and whoever means it listens to the other two.
 *   WORKERS   fewer than half the worker processes live. held: while workers are wanted at all; once the pool is closed and
 *             its queue is empty they leave, and that is no alarm.
 *   FINISHED  more than `floor` tasks were accepted, and under 90 % of them are finished. held: and what is not finished
 *             would take more than ten holds at the pace of the last hold.
 *
 * Why the pace: the share alone says how young a pool is. With room for 1,000 tasks and 100 done a second it stays under
 * 90 % for the first minute and a half of the best of lives, so no hold would be long enough for every pool. A
 * backlog is ill when it does not move: nothing finished in the whole hold (a hang), or too little for what waits (most threads
 * are stuck), or tasks that were lost and will never be finished once the rest is done.
 */
#ifndef WEDGE_POOL_ALARMS_H
#define WEDGE_POOL_ALARMS_H

#include <stdbool.h>
#include <stdint.h>

#include <wedge/pool.h>

#include "pool/board.h"

#define WEDGE_ALARM_QUEUE_PERCENT    80
#define WEDGE_ALARM_FINISHED_PERCENT 90
#define WEDGE_ALARM_PACE_HOLDS       10

struct wedge_alarms_rules {
    bool held;
    int64_t hold_ns;
    uint64_t floor;
};

/* One pool's; zeroed at first. Guarded by whoever calls judge. */
struct wedge_alarms_state {
    struct {
        bool raised;
        int64_t holds_since_ns; /* 0: it does not hold. While raised: since when it first held */
        int64_t clear_since_ns; /* raised, and it does not hold any more, since then; 0: it does */
    } alarms[WEDGE_ALARMS];
    int64_t pace_since_ns; /* the hold over which the pace is being taken; 0: none yet */
    uint64_t pace_finished; /* finished at its begin */
    bool slow; /* by the last whole one */
};

/* Looks once, at `now_ns`, which never goes back. Returns those that changed, as bits 1 << enum wedge_alarm. */
unsigned wedge_alarms_judge(const struct wedge_alarms_rules *rules, const struct wedge_pool_stats *stats,
                            int64_t now_ns, struct wedge_alarms_state *state);

/* One line: what the alarm says of these figures. Returns buf. */
char *wedge_alarm_text(enum wedge_alarm alarm, const struct wedge_pool_stats *stats, char *buf, size_t size);
/* "queue", "workers", "finished"; "?" for anything else. */
const char *wedge_alarm_name(enum wedge_alarm alarm);

struct wedge_pool;
/* Judges the pool's figures now, puts the alarms on the board, tells what changed. Any thread of the parent, at any time
 * between start and destroy; one that finds another one at it leaves it to that. Does not block but for a direct log. */
void wedge_pool_alarms_look(struct wedge_pool *pool, int64_t now_ns);

#endif
