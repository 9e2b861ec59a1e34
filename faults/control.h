/*
 * A running tree from outside: find its arena, and say which of its rules are armed. Used by `wedge ctl` and, for what
 * is disarmed from the start, by who starts a run.
 */
#ifndef WEDGE_FAULTS_CONTROL_H
#define WEDGE_FAULTS_CONTROL_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

/*
 * Maps the arena of the run that `pid` belongs to: wedge itself, or any process under it, by wedge's descriptor (found
 * among those of the process and of its ancestors, or by its WEDGE_ARENA). The caller owns *ret (wedge_arena_destroy).
 * -ESRCH: no such process; -ENOENT: it is in no run; -EACCES: no right to look into it (ptrace(2), "Ptrace access mode
 * checking"); -EPROTO: another build of wedge. Reads /proc; not for threads, sets no state.
 */
int wedge_control_find(pid_t pid, struct wedge_arena *ret, struct wedge_err *err);
/* The runs of which an arena can be opened: the PIDs of their wedges, at most `most`, the youngest first. Returns how
 * many, or a negative errno with *err. */
int wedge_control_list(pid_t *ret_pids, size_t most, struct wedge_err *err);

/* The number of the rule with this id, or -ENOENT with *err: which ids there are. */
int wedge_control_rule(const struct wedge_arena *arena, const char *id, struct wedge_err *err);

struct wedge_control_switch { /* a bit for each rule */
    uint64_t arm[WEDGE_ARENA_RULES / 64], disarm[WEDGE_ARENA_RULES / 64];
};
/*
 * All at once: a pass sees either the rules as they were or as they are now. Arming a rule that was released lets it
 * act again; what it held then is let go none the less. Disarming does not let go. Switches of several processes are
 * made one after the other by a lock on the arena that goes with its owner; -EBUSY: somebody has it for five seconds.
 * -EALREADY: the run was quiesced, arming would do nothing.
 */
int wedge_control_apply(const struct wedge_arena *arena, const struct wedge_control_switch *what,
                        struct wedge_err *err);
/* Disarms those of a list "f1,f2", in an arena that no process uses yet. -ENOENT: no such rule. */
int wedge_control_disarm(const struct wedge_arena *arena, const char *ids, struct wedge_err *err);
/* Bits of the rules that are armed in a copy of the arena. */
void wedge_control_armed(const struct wedge_arena_copy *copy, uint64_t ret[WEDGE_ARENA_RULES / 64]);

#endif
