/*
 * The launcher's side of the agent: the environment that loads it into a command, and the words said to it later.
 */
#ifndef WEDGE_FAULTS_LAUNCH_H
#define WEDGE_FAULTS_LAUNCH_H

#include "base/arena.h"
#include "base/err.h"

/*
 * The environment for `program` (found in PATH as execvp would): a copy of this process's with LD_PRELOAD and
 * WEDGE_ARENA set. A program that needs libasan gets that first, what LD_PRELOAD held before comes last. The caller
 * owns *ret (wedge_faults_environ_free). A script is followed to its interpreter.
 *
 * Refused, since the agent would be left out without a word: a static program, one with set-user-ID, set-group-ID or
 * file capabilities (ld.so(8), secure-execution mode), one not of x86-64 glibc: -ENOTSUP with the remedy. -ENOENT: no
 * such program, or no agent; -EACCES, -ENOEXEC: cannot be executed; -ENOMEM. Reads files, does not block otherwise.
 */
int wedge_faults_environ(const struct wedge_arena *arena, const char *program, char ***ret_env, struct wedge_err *err);
void wedge_faults_environ_free(char **env); /* takes NULL */

/*
 * Why the agent will not be in the program of this open ELF file, WEDGE_BIRTH_FITS it will; asan gets the name of the
 * runtime that must be preloaded before it, "" none. And the words for it, to follow a path: "is statically linked".
 * Reads the file alone.
 */
enum wedge_birth_why wedge_faults_judge(int fd, char asan[64]);
const char *wedge_faults_why(enum wedge_birth_why why);

/* Lets go of every thread that rule `rule_id` holds, in all processes, and ends its firing. -ENOENT: no such rule. */
int wedge_faults_release(const struct wedge_arena *arena, const char *rule_id, struct wedge_err *err);
/*
 * Frees the slots of processes that have left, once more than half of the table is taken: those that said that they
 * leave, are gone by the kernel's word, and that no report would name (no role, not ended by a rule); when it is
 * nearly full, those too, and those that were ended without a word, as far as /proc shows that they are not in an inner PID
 * namespace. Returns how many. The caller stands in the PID namespace that the arena was made in. Does not
 * block.
 */
size_t wedge_faults_recycle(const struct wedge_arena *arena);
/* Frees the slot of one process and those of its threads; the caller knows that it is gone, or never was. */
void wedge_faults_free_slot(const struct wedge_arena *arena, uint32_t slot);
/* No fault from now on; every held thread goes on. */
void wedge_faults_quiesce(const struct wedge_arena *arena);

#endif
