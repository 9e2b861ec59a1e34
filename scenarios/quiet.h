/*
 * When is it worth looking? Pure bookkeeping over figures that the session samples; no system call, no clock.
 *
 * The tree's activity figure (CPU clocks, births, deaths) is sampled often and cheaply. As soon as it stands still
 * between two samples an examination is due; while nothing comes of it, the next is due after a pause that doubles, and
 * that is never less than ten times what the last examination took. A tree that is never quite still is examined
 * at the longest pause.
 *
 * Watching has an allowance of CPU time: some at the beginning, then a share of the time that passes. What sampling costs comes
 * off it too, so that the share is that of all; three quarters are left to the examinations in any case. A program of a
 * thousand threads that rests between two beats is still ten times a second; without it, looking each time would cost a
 * tenth of a processor. The first two looks at a tree that has become still have most of it; what has been looked at
 * twice, or is never still, has the rest. Only a tree that is still for twice as long as ever before (from the longest
 * pause on: four times) is looked at in any case, since that is news: at 1 s, 2 s, 4 s, 8 s, half a minute.
 */
#ifndef WEDGE_SCENARIOS_QUIET_H
#define WEDGE_SCENARIOS_QUIET_H

#include <stdbool.h>
#include <stdint.h>

struct wedge_quiet {
    uint64_t activity; /* last sample */
    bool sampled;
    bool still; /* the last two samples agree */
    int64_t tick_ns; /* pause until the next sample */
    int64_t pause_ns; /* pause after an examination */
    int64_t examine_at_ns; /* none before */
    int64_t rested_at_ns; /* none before this in any case: ten times what the last one took */
    int64_t last_examined_ns;
    int64_t allowed_ns,
        allowed_at_ns; /* CPU time that examinations may use, below 0 after an expensive one; as of when */
    int64_t earned_ns; /* of it, since what sampling cost was last taken off */
    int64_t still_since_ns;
    int looks; /* since then */
    int64_t longest_still_ns; /* that ended by itself, or was looked at */
    /* For the stall time. */
    uint64_t progress;
    int64_t cpu_ns, cpu_at_ns;
    int64_t moved_at_ns;
};

#define WEDGE_QUIET_TICK_MIN_NS  20000000ll
#define WEDGE_QUIET_TICK_MAX_NS  200000000ll
#define WEDGE_QUIET_PAUSE_MIN_NS 100000000ll
#define WEDGE_QUIET_PAUSE_MAX_NS 5000000000ll
#define WEDGE_QUIET_SHARE        300 /* one part in so many of a processor's time is for watching */
#define WEDGE_QUIET_SAMPLING     4 /* one part in so many of that may go to sampling */
#define WEDGE_QUIET_ALLOWED_NS   600000000ll /* at the beginning, and at most */
#define WEDGE_QUIET_RESERVED_NS  500000000ll /* of it, for the first looks at a tree that has just become still */

void wedge_quiet_start(struct wedge_quiet *q, int64_t now_ns);
/* Takes a sample; true when an examination is due. */
bool wedge_quiet_sample(struct wedge_quiet *q, int64_t now_ns, uint64_t activity);
/* An examination ended that found nothing to act on; `cpu_ns` is what it cost. */
void wedge_quiet_examined(struct wedge_quiet *q, int64_t began_ns, int64_t ended_ns, int64_t cpu_ns);
/* Sampling cost that much CPU time since the last call. */
void wedge_quiet_used(struct wedge_quiet *q, int64_t cpu_ns);
/* Everything stood still for a while, the program as well as we (a suspended machine, Ctrl-Z): that is no standing still of the
 * program's. The stall time begins anew. */
void wedge_quiet_paused(struct wedge_quiet *q, int64_t now_ns);
/* Nobody looked for so long until now, because an examination took that long or a pause fell into it: that counts for nothing. */
void wedge_quiet_absent(struct wedge_quiet *q, int64_t absent_ns, int64_t now_ns);
/* Takes the figures of progress: marks or output bytes. `cpu_ns` is the tree's CPU time where CPU counts as moving
 * (no marks), else 0. Returns for how long nothing has moved. */
int64_t wedge_quiet_stalled_ns(struct wedge_quiet *q, int64_t now_ns, uint64_t progress, int64_t cpu_ns);

#endif
