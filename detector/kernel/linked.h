/*
 * Has a mapped file a name by which somebody may still open it? "(deleted)" in /proc/PID/maps tells only that the name by
 * which it was opened is gone: glibc's sem_open makes a semaphore under another name, links it to its own, and removes the
 * first (sysdeps/pthread/sem_open.c), so that whoever made it has it mapped as deleted for ever.
 */
#ifndef WEDGE_DETECTOR_LINKED_H
#define WEDGE_DETECTOR_LINKED_H

#include "detector/kernel/proc.h"

enum wedge_linked { WEDGE_LINKED_NOT, WEDGE_LINKED, WEDGE_LINKED_PERHAPS };

/* A file as its descriptors have it (stat(2)): its device may be another one in maps (btrfs, overlayfs). */
struct wedge_linked_file {
    uint64_t dev, inode;
};
/* Asks the kernel where that is permitted, and looks through /dev/shm where it is not. Nothing is opened but that folder. Which
 * file it is, where that is not asked, is what maps says. */
enum wedge_linked wedge_linked_map(pid_t pid, const struct wedge_proc_map *map, struct wedge_linked_file *ret);

#endif
