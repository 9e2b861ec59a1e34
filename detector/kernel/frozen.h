/*
 * Whether a control group is frozen: the parsers of what the kernel says of it (detector/wait/frozen.c). They take any
 * bytes.
 */
#ifndef WEDGE_DETECTOR_FROZEN_H
#define WEDGE_DETECTOR_FROZEN_H

#include <stdbool.h>
#include <stddef.h>

/* Where a mountinfo has cgroup2, or version 1's freezer, mounted with its root. */
bool wedge_frozen_mount(const char *mountinfo, bool version1, char *ret, size_t size);
/* The group's path in /proc/PID/cgroup; false for one outside of what we see ("/.."). */
bool wedge_frozen_group(const char *cgroup, bool version1, char *ret, size_t size);
/* The text of cgroup.events or freezer.state. */
bool wedge_frozen_state(const char *text, bool version1);

#endif
