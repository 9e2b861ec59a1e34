/*
 * The guard: a process beside wedge that ends the command's tree when wedge ends without having done so (SIGKILL, the
 * OOM killer, a crash). For checks of `wedge run`, whose trees are wedge's own; what hangs by design would stay for ever.
 *
 * It holds no descriptor but a pidfd of wedge, ignores the terminal's signals, and waits in poll. Members are those who
 * descend from the command, and those who have the run's WEDGE_ARENA in their environment: on wedge's death orphans
 * went to init.
 */
#ifndef WEDGE_SCENARIOS_GUARD_H
#define WEDGE_SCENARIOS_GUARD_H

#include <sys/types.h>

/* Starts a guard over the child `root`; `arena` is the run's value of WEDGE_ARENA, NULL none. Its PID, or -errno. The
 * caller is single-threaded. */
pid_t wedge_guard_start(pid_t root, const char *arena);
/* Ends the guard and reaps it; takes 0 and below. */
void wedge_guard_end(pid_t guard);

#endif
