/*
 * Which devices are file systems served by a process (FUSE): a file there is opened and read only for as long as that
 * process likes, which may be the target itself. A file of such a device is not touched while a verdict is made.
 */
#ifndef WEDGE_DETECTOR_MOUNTS_H
#define WEDGE_DETECTOR_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

/* Is this device one, as the mount namespace of process `pid` shows it? Asked once for a device and remembered as long
 * as the calling process lives. Only devices without a number of their own (major 0) are asked for: what stands on a block
 * device was mounted by root. Does not block. */
bool wedge_mounts_is_served(pid_t pid, unsigned dev_major, unsigned dev_minor);

/* The parser: does a line of this mountinfo text (proc(5)) give the device a type that is fuse or fuse.SOMETHING? */
bool wedge_mounts_parse(const char *text, unsigned dev_major, unsigned dev_minor);

#endif
