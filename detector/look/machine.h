/* The machine's processes and what they share (machine.c). The getters are in look.h; this is for look.c and messages.c alone. */
#ifndef WEDGE_DETECTOR_MACHINE_H
#define WEDGE_DETECTOR_MACHINE_H

#include "detector/look/look.h"

#define WEDGE_MACHINE_MOST 131072 /* processes, and threads of one */

/* Lists every process and marks the tree and wedge's own. Again: of those that cannot have become members since the last
 * time, what was read then is kept. -ESRCH: the root is not there. */
int wedge_machine_read(struct wedge_look *look, bool again);
/* A thread of the process that still has files: 0 the leader, or when that has ended another one. */
pid_t wedge_machine_reader(const struct wedge_machine_proc *p);
/* Has a thread of this process of the snapshot descriptors of its own (clone(2) without CLONE_FILES, unshare(2))? */
bool wedge_machine_has_tables(const struct wedge_look *look, int proc);
/* What is shared is to be read again when next asked for. */
void wedge_machine_forget(struct wedge_look *look);

#endif
