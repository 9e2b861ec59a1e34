/* Clocks of other processes: in a time namespace CLOCK_MONOTONIC is ahead of ours or behind it (time_namespaces(7)). */
#ifndef WEDGE_DETECTOR_CLOCKS_H
#define WEDGE_DETECTOR_CLOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* By how much CLOCK_MONOTONIC of process `pid`, whose files are read through thread `tid` (0: its leader), is ahead of the
 * caller's. 0, or a negative errno: nobody knows. */
int wedge_clocks_ahead(pid_t pid, pid_t tid, int64_t *ret_ns);

/* The line "monotonic SECONDS NANOSECONDS" of /proc/PID/timens_offsets. False: there is none that makes sense. */
bool wedge_clocks_parse(const char *text, int64_t *ret_ns);

#endif
