#include "detector/model.h"

#include <stdlib.h>

#define obstack_chunk_free free

const char *const wedge_verdict_words[WEDGE_VERDICT_COUNT + 1] = {
    [WEDGE_VERDICT_SELF_DEADLOCK] = "self-deadlock",
    [WEDGE_VERDICT_ABANDONED_LOCK] = "abandoned-lock",
    [WEDGE_VERDICT_LOCK_CYCLE] = "lock-cycle",
    [WEDGE_VERDICT_STUCK_CALLBACK] = "stuck-callback",
    [WEDGE_VERDICT_MUTUAL_BACKPRESSURE] = "mutual-backpressure",
    [WEDGE_VERDICT_ORPHANED_WAIT] = "orphaned-wait",
    [WEDGE_VERDICT_CLOSED_WAIT] = "closed-wait",
    [WEDGE_VERDICT_LOST_WAKEUP] = "lost-wakeup",
    [WEDGE_VERDICT_STOPPED] = "stopped",
    [WEDGE_VERDICT_LIVELOCK] = "livelock",
    [WEDGE_VERDICT_CONTENTION] = "contention",
    [WEDGE_VERDICT_NO_PROGRESS] = "no-progress",
    [WEDGE_VERDICT_IDLE] = "idle",
    [WEDGE_VERDICT_RUNNING] = "running",
    [WEDGE_VERDICT_FINISHED] = "finished",
};

const char *const wedge_certainty_words[] = {
    [WEDGE_SUSPECTED] = "suspected", [WEDGE_EVIDENT] = "evident", [WEDGE_PROVED] = "proved", NULL};

const char *const wedge_scope_words[] = {[WEDGE_SCOPE_PART] = "part", [WEDGE_SCOPE_WHOLE] = "whole", NULL};

const char *const wedge_wait_words[WEDGE_WAIT_CLASS_COUNT + 1] = {
    [WEDGE_WAIT_NONE] = "none",           [WEDGE_WAIT_UNKNOWN] = "unknown",     [WEDGE_WAIT_MUTEX] = "mutex",
    [WEDGE_WAIT_RWLOCK] = "rwlock",       [WEDGE_WAIT_COND] = "cond",           [WEDGE_WAIT_SEM] = "sem",
    [WEDGE_WAIT_BARRIER] = "barrier",     [WEDGE_WAIT_JOIN] = "join",           [WEDGE_WAIT_ONCE] = "once",
    [WEDGE_WAIT_FUTEX] = "futex",         [WEDGE_WAIT_PIPE_READ] = "pipe-read", [WEDGE_WAIT_PIPE_WRITE] = "pipe-write",
    [WEDGE_WAIT_SOCKET] = "socket",       [WEDGE_WAIT_POLL] = "poll",           [WEDGE_WAIT_CHILD] = "child",
    [WEDGE_WAIT_FILE_LOCK] = "file-lock", [WEDGE_WAIT_SIGNAL] = "signal",       [WEDGE_WAIT_SLEEP] = "sleep",
    [WEDGE_WAIT_HELD] = "held",           [WEDGE_WAIT_STOPPED] = "stopped",     [WEDGE_WAIT_OUTSIDE] = "outside",
    [WEDGE_WAIT_EVENT] = "event",         [WEDGE_WAIT_QUEUE] = "queue",
};

bool wedge_verdict_is_hang(enum wedge_verdict_kind kind)
{
    return kind < WEDGE_VERDICT_IDLE;
}

void wedge_snapshot_free(struct wedge_snapshot *snapshot)
{
    if (!snapshot)
        return;
    obstack_free(&snapshot->mem, NULL);
    free(snapshot);
}
