/*
 * The processes of a run: who belongs to it, how much CPU they used, and how to end them all.
 *
 * A run's tree is what descends from `top`; when wedge launched it, `top` is wedge itself, which is the tree's
 * subreaper, so that re-parented daemons stay in. Members are named by pid and start time together.
 */
#ifndef WEDGE_SCENARIOS_TREE_H
#define WEDGE_SCENARIOS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct wedge_member {
    pid_t pid, ppid;
    uint64_t start_ticks;
    char state;
};
struct wedge_tree {
    struct wedge_member *members; /* sorted by pid */
    size_t n;
};

/* Lists the live descendants of `top` (`top` itself only when `with_top`), leaving out the n pids of `except` and what
 * descends from them. One pass over /proc, which may miss a process born meanwhile. -errno. */
int wedge_tree_list(pid_t top, bool with_top, const pid_t *except, size_t n_except, struct wedge_tree *ret);
void wedge_tree_free(struct wedge_tree *tree);

/* A figure that changes when any member used CPU, came or went. */
uint64_t wedge_tree_activity(const struct wedge_tree *tree);
/* CPU time of all members, ns. */
int64_t wedge_tree_cpu_ns(const struct wedge_tree *tree);

/* Kills (SIGKILL, by pidfd, start time checked) every descendant until none lives; zombies are the caller's to
 * reap; at most `rounds` rounds against a tree that keeps forking. Returns how many remain. */
size_t wedge_tree_kill(pid_t top, bool with_top, const pid_t *except, size_t n_except, int rounds);

/* Kills the children of this process at once, those of `except` apart. For programs that fork and exit faster than all of
 * /proc can be read: to a subreaper each of them is a child sooner or later, and a child's number is its own until it
 * is reaped. Returns how many there were that had not ended; 0 where the kernel does not list children (it has no
 * CONFIG_PROC_CHILDREN). */
size_t wedge_tree_kill_children(const pid_t *except, size_t n_except);

#endif
