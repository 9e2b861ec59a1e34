/* Starting a command with the given environment and streams. */
#ifndef WEDGE_SCENARIOS_LAUNCH_H
#define WEDGE_SCENARIOS_LAUNCH_H

#include <signal.h>
#include <sys/types.h>

/* Forks and executes argv[0] (looked up in PATH) with `env` (NULL: ours), `in`, `out` and `errout` as its standard
 * streams (-1: ours), and the signal mask `mask`. Returns the pid, or a negative errno of the fork; *ret_exec_errno is 0 when
 * the command runs, else why it does not (it is reaped then). */
pid_t wedge_launch(char *const *argv, char *const *env, int in, int out, int errout, const sigset_t *mask,
                   int *ret_exec_errno);

#endif
