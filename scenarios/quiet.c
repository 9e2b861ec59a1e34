#include "scenarios/quiet.h"

static int64_t at_most(int64_t value, int64_t limit)
{
    return value < limit ? value : limit;
}

void wedge_quiet_start(struct wedge_quiet *q, int64_t now_ns)
{
    *q = (struct wedge_quiet){.tick_ns = WEDGE_QUIET_TICK_MIN_NS,
                              .pause_ns = WEDGE_QUIET_PAUSE_MIN_NS,
                              .last_examined_ns = now_ns,
                              .allowed_ns = WEDGE_QUIET_ALLOWED_NS,
                              .allowed_at_ns = now_ns,
                              .cpu_at_ns = now_ns,
                              .moved_at_ns = now_ns};
}

/* Adds what the time since the last sample allows. */
static void allow(struct wedge_quiet *q, int64_t now_ns)
{
    int64_t more = (now_ns - q->allowed_at_ns) / WEDGE_QUIET_SHARE;
    q->allowed_ns = at_most(q->allowed_ns + more, WEDGE_QUIET_ALLOWED_NS);
    q->allowed_at_ns += more * WEDGE_QUIET_SHARE;
    q->earned_ns += more;
}

void wedge_quiet_used(struct wedge_quiet *q, int64_t cpu_ns)
{
    q->allowed_ns -= at_most(cpu_ns, q->earned_ns / WEDGE_QUIET_SAMPLING);
    q->earned_ns = 0;
}

bool wedge_quiet_sample(struct wedge_quiet *q, int64_t now_ns, uint64_t activity)
{
    bool same = q->sampled && activity == q->activity;
    int64_t still_ns = now_ns - q->still_since_ns;
    allow(q, now_ns);
    if (same && !q->still) {
        /* It has just become still: look soon, whatever the pauses were before. */
        q->pause_ns = WEDGE_QUIET_PAUSE_MIN_NS;
        q->tick_ns = WEDGE_QUIET_TICK_MIN_NS;
        q->still_since_ns = now_ns;
        q->looks = 0;
        still_ns = 0;
    } else {
        q->tick_ns = at_most(q->tick_ns * 3 / 2, WEDGE_QUIET_TICK_MAX_NS);
    }
    if (!same && q->still && still_ns > q->longest_still_ns)
        q->longest_still_ns = still_ns;
    q->sampled = true;
    q->still = same;
    q->activity = activity;
    int64_t news_ns = (q->longest_still_ns < WEDGE_QUIET_PAUSE_MAX_NS ? 2 : 4) * q->longest_still_ns;
    if (same && still_ns > WEDGE_QUIET_PAUSE_MIN_NS && still_ns > news_ns)
        return now_ns >= q->rested_at_ns;
    if (now_ns < q->examine_at_ns || q->allowed_ns <= (same && q->looks < 2 ? 0 : WEDGE_QUIET_RESERVED_NS))
        return false;
    return same || now_ns - q->last_examined_ns >= WEDGE_QUIET_PAUSE_MAX_NS;
}

void wedge_quiet_examined(struct wedge_quiet *q, int64_t began_ns, int64_t ended_ns, int64_t cpu_ns)
{
    /* None takes longer than the longest pause: whatever does is a pause of everything that fell into it. */
    int64_t rest = 10 * at_most(ended_ns - began_ns, WEDGE_QUIET_PAUSE_MAX_NS);
    q->rested_at_ns = ended_ns + rest;
    q->examine_at_ns = ended_ns + (rest > q->pause_ns ? rest : q->pause_ns);
    q->last_examined_ns = ended_ns;
    q->pause_ns = at_most(q->pause_ns * 2, WEDGE_QUIET_PAUSE_MAX_NS);
    q->allowed_ns -= cpu_ns;
    q->looks++;
    if (q->still && began_ns - q->still_since_ns > q->longest_still_ns)
        q->longest_still_ns = began_ns - q->still_since_ns;
}

int64_t wedge_quiet_stalled_ns(struct wedge_quiet *q, int64_t now_ns, uint64_t progress, int64_t cpu_ns)
{
    /* A waiting process still burns a little (time-outs, housekeeping): under one percent is not moving. */
    int64_t span = now_ns - q->cpu_at_ns;
    bool moved = progress != q->progress || cpu_ns - q->cpu_ns > span / 100;
    if (moved || span > WEDGE_QUIET_PAUSE_MAX_NS) {
        q->cpu_ns = cpu_ns;
        q->cpu_at_ns = now_ns;
    }
    if (moved)
        q->moved_at_ns = now_ns;
    q->progress = progress;
    return now_ns - q->moved_at_ns;
}

void wedge_quiet_paused(struct wedge_quiet *q, int64_t now_ns)
{
    q->moved_at_ns = now_ns;
    q->cpu_at_ns = now_ns;
    q->examine_at_ns = now_ns + q->pause_ns;
    q->still = false;
}

void wedge_quiet_absent(struct wedge_quiet *q, int64_t absent_ns, int64_t now_ns)
{
    q->moved_at_ns = at_most(q->moved_at_ns + absent_ns, now_ns);
    q->cpu_at_ns = at_most(q->cpu_at_ns + absent_ns, now_ns);
    q->still_since_ns = at_most(q->still_since_ns + absent_ns, now_ns);
}
