/*
 * Reading one thread, twice: what it is and waits in (first), and whether it has stood still since (again).
 *
 * The first reading keeps two files open, and they are pinned to the thread: when it ends they give nothing, whoever
 * has its number by then. The second reads these two alone.
 *
 *   first   schedstat, status, syscall, wchan        again   syscall, schedstat
 *
 * Invariant: schedstat is read before all else and again after all else. It counts how often the thread was put on a
 * processor (pcount) and for how many nanoseconds (Documentation/scheduler/sched-stats.rst, sched_info_arrive in
 * kernel/sched/stats.h): while it is the same and the thread is asleep at both ends, no instruction of the thread ran in
 * between, so that neither its call nor its signal mask nor its descriptors changed by itself. Where the kernel counts
 * nothing, or no descriptor is left to keep, the switches of status and the start time stand for it.
 * The process's CPU clock would be one call for all threads, and is no proof: what a thread has run for is not in it before the next tick
 * or the thread's sleep (thread_group_cputime in kernel/sched/cputime.c), and never where the time goes to interrupts or to the
 * host (update_rq_clock_task in kernel/sched/core.c). It is good enough for when to look (scenarios/quiet.h).
 *
 * Blocking: none (detector/kernel/proc.h). Cost, measured with 500 threads: first 25 µs, again 2.5 µs.
 */
#ifndef WEDGE_DETECTOR_READING_H
#define WEDGE_DETECTOR_READING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "detector/kernel/proc.h"

#define WEDGE_WCHAN_BYTES 48

struct wedge_pulse { /* equal only while the thread does not run */
    uint64_t counts[3];
};

struct wedge_kept { /* from the first reading for the second */
    struct wedge_pulse pulse;
    int call_file, pulse_file; /* open; -1: to be read by name */
};
struct wedge_reading {
    struct wedge_proc_status status;
    struct wedge_proc_syscall call;
    int call_error; /* the call could not be read: number is -2 */
    char wchan[WEDGE_WCHAN_BYTES]; /* "" or "0" when the kernel does not say */
    struct wedge_kept kept;
};

/* Reads thread `tid` below `tasks`, an open /proc/PID/task. `keep`: leave the files open (as far as there is room).
 * Returns 0, or a negative errno when the thread is gone or unreadable altogether: then nothing is open. */
int wedge_reading_first(int tasks, pid_t tid, bool keep, struct wedge_reading *ret);
/* Has it stood still since its first reading, or come back meanwhile to the place where it was? Reads by the open files, or
 * by name. */
enum wedge_again { WEDGE_AGAIN_ELSEWHERE, WEDGE_AGAIN_BACK, WEDGE_AGAIN_SAME };
enum wedge_again wedge_reading_again(int tasks, pid_t tid, const struct wedge_proc_syscall *call,
                                     const struct wedge_kept *kept);
/* Closes the files; harmless when there are none. */
void wedge_reading_close(struct wedge_kept *kept);

#endif
