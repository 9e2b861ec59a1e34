/*
 * One examination of a process and everything that may wake it: look, wait, graph, verdict, and for a verdict that
 * wants them, stacks.
 *
 * Blocking: reads other processes' memory and files, which may block on their whim. Call it inside a disposable
 * child (base/job.h); reports/examine.h does. Threads: one examination at a time per process.
 */
#ifndef WEDGE_DETECTOR_EXAMINE_H
#define WEDGE_DETECTOR_EXAMINE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/job.h"
#include "detector/model.h"
#include "detector/verdict/history.h"

enum wedge_stacks { WEDGE_STACKS_NEVER, WEDGE_STACKS_ON_HANG, WEDGE_STACKS_ALWAYS };

/* Who belongs to the tree: the root's descendants always, and beside them … (detector/look/members.h) */
enum wedge_members {
    WEDGE_MEMBERS_OF_ROOT,
    WEDGE_MEMBERS_OF_GROUP, /* its process group */
    WEDGE_MEMBERS_OF_SESSION, /* its session */
    WEDGE_MEMBERS_OF_USER, /* there is no root: all processes of `user`, and every verdict is of a part */
};

struct wedge_examine {
    pid_t root; /* 0 with WEDGE_MEMBERS_OF_USER */
    enum wedge_members members;
    uid_t user; /* real user id */
    const char *core; /* a core file to be examined in the place of `root`; NULL none */
    const char *exe; /* the executable that it is of, where its own path does not lead to it; NULL none */
    const pid_t *skip; /* processes that could not be read in an earlier try: named, their waits are outside */
    size_t n_skip;
    const pid_t *blind; /* wedge's own processes: never looked at, never wakers */
    size_t n_blind;
    /* A thread of the root that waits for this very examination (libwedge): it counts neither as running nor as able to
     * end a wait of its process. What it owns has a living owner all the same. 0 none. */
    pid_t blind_thread;
    struct wedge_arena_copy *arena; /* the agent's record; NULL: no agent */
    /* Where `arena` is copied from again between the two passes, so that what it says of a thread that slept through
     * both is of that sleep, and no older. NULL: `arena` stays as it is. */
    const struct wedge_arena *live;
    enum wedge_stacks stacks;
    /* A process in which a stop would end a wait for certain (detector/stacks/disturb.h) is left alone, unless the hang is
     * proved and of the whole: a look whose verdict may come to nothing must not change what it looks at. */
    bool gentle;
    bool brief; /* where there is no hang, the report may leave processes, threads and edges out */
    struct wedge_history *history; /* of earlier examinations of this tree; NULL: none is kept */
    int64_t patience_ns; /* how long a thread may wait behind one holder that runs; 0: for ever. Needs a history */
    bool stalled; /* the caller measured that nothing moved for the stall time: no-progress may be said */
    int64_t stalled_ns;
    int stop_deadline_ms; /* how long one process may be kept stopped; 0: 100. At least 2000 where nothing in it is live */
    int names_deadline_ms; /* how long unwinding and names may take in all; 0: 10,000. What is late has no stack */
};

/* Returns 0 and a snapshot, -ESRCH when the root is not there, -EPERM when it may not be looked at. `note` as in
 * base/job.h, may be NULL. */
int wedge_detector_examine(const struct wedge_examine *options, struct wedge_job_note *note,
                           struct wedge_snapshot **ret, struct wedge_err *err);

/* What the agent's record alone tells once the command has ended: faults, firings and progress. The snapshot has
 * neither processes nor verdicts. Reads nobody's memory and does not block. -ENOMEM. */
int wedge_detector_recall(struct wedge_arena_copy *arena, struct wedge_snapshot **ret, struct wedge_err *err);

#endif
