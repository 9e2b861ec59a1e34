/*
 * Who is not there: processes of a run that the agent is not in, by name and with the reason. Without it a plan would
 * seem to hold for a program that never heard of it.
 *
 * Two sources. The arena: each exec and spawn that an agent sees is noted before it happens (struct wedge_arena_birth);
 * what does not check in then is absent. And /proc: a process of the tree that has no slot and no agent mapped, or
 * another program than the one that checked in, seen twice. Not seen by either: what is started by a raw system call
 * and ends between two looks.
 */
#ifndef WEDGE_SCENARIOS_ABSENT_H
#define WEDGE_SCENARIOS_ABSENT_H

#include "base/arena.h"
#include "scenarios/tree.h"

enum { WEDGE_ABSENT_MOST = 16, WEDGE_ABSENT_SUSPECTS = 64, WEDGE_ABSENT_SLOTS = 256 };
struct wedge_absent { /* zero-initialised */
    struct {
        pid_t pid; /* 0 not known */
        char path[256];
        const char *why; /* static; follows the path */
    } all[WEDGE_ABSENT_MOST];
    size_t n; /* all of them; the first WEDGE_ABSENT_MOST are kept */
    size_t ran; /* of those, without the ones that may have ended before their program began */
    int64_t gone_since_ns[WEDGE_ABSENT_SLOTS]; /* slots whose process is not to be found; 0 no */
    struct {
        pid_t pid;
        uint64_t start_ticks;
        int64_t since_ns;
        bool told;
    } suspects[WEDGE_ABSENT_SUSPECTS];
};

/*
 * Looks, and keeps what is new; frees the slots of those that are gone. `tree` NULL: only in the arena. `last`: the
 * command has ended: what is under way is waited for, at most 200 ms, and then counts. Blocks as readers of /proc do.
 */
void wedge_absent_look(struct wedge_absent *absent, const struct wedge_arena *arena, const struct wedge_tree *tree,
                       bool last);
/* "PATH (PID), which is statically linked; …" into buf, cut; "" none. */
void wedge_absent_text(const struct wedge_absent *absent, char *buf, size_t size);

#endif
