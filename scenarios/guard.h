/*
 * The guard: a process beside wedge that ends the command's tree when wedge ends without having done so (SIGKILL, the
 * OOM killer, a crash). For checks of `wedge run`, whose trees are wedge's own; what hangs by design would stay for ever.
 *
 * It holds no descriptor but a pidfd of wedge, ignores the terminal's signals, and waits in poll. Members are those who
 * descend from the command, and those who have the run's mark (WEDGE_RUN) in their environment: on wedge's death orphans
 * went to init. It is there before the command is, so that there is no moment at which wedge's death leaves something
 * behind.
 */
#ifndef WEDGE_SCENARIOS_GUARD_H
#define WEDGE_SCENARIOS_GUARD_H

#include <sys/types.h>

struct wedge_guard_charge;
struct wedge_guard {
    pid_t pid; /* 0 none */
    struct wedge_guard_charge *charge; /* shared with it */
};

/* Starts a guard over whoever has `mark` ("0123…", the value of WEDGE_RUN). 0 or -errno. The caller is
 * single-threaded. */
int wedge_guard_start(struct wedge_guard *guard, const char *mark);
/* Tells it of the command, a child of ours: from now on its descendants count, with the mark or without. */
void wedge_guard_root(struct wedge_guard *guard, pid_t root);
/* Ends the guard and reaps it; takes one that was not started. */
void wedge_guard_end(struct wedge_guard *guard);

#endif
