/*
 * Who belongs to the tree, and who is wedge itself.
 *
 * The tree: the root and its descendants; its process group or session where that is asked for; orphans that wedge, the
 * subreaper, has adopted; and whoever carries the run's mark (WEDGE_RUN or WEDGE_ARENA in the environment), so that a
 * daemon that forked twice and left its session is still in. Or, without a root, all processes of a user.
 *
 * Blind are wedge's own processes: what is examined must not count whoever examines it. They are never in the tree, even
 * where they descend from the root (`wedge watch -p $$` in a shell; a program that has itself examined).
 */
#ifndef WEDGE_DETECTOR_MEMBERS_H
#define WEDGE_DETECTOR_MEMBERS_H

#include "detector/look/look.h"

/* Sets tree and blind of all of look->machine. `old`: the table that was read before, whose answers about
 * environments are taken over. -ESRCH: the root is not there, or the user has no process. Reads environments, which may block
 * on the whim of their owners (base/job.h). */
int wedge_members_mark(struct wedge_look *look, const struct wedge_machine_proc *old, size_t n_old);

/* The root's place in the snapshot, NULL without a root (all of a user). After pass A. */
const struct wedge_proc *wedge_members_root(const struct wedge_look *look);
/* Is nobody of the tree above this process of the snapshot? */
bool wedge_members_is_top(const struct wedge_look *look, int proc);

#endif
