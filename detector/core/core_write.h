/*
 * Writes a core file of a running process, as gcore does, without a debugger: the threads with their general registers,
 * and what core(5) would write by default (anonymous and written memory, the first page of each program and library),
 * less what the program marked MADV_DONTDUMP. Pages that were never touched, or hold zeros alone, are holes.
 *
 *   list of threads, smaps ──> stop all (detector/stacks/stop.h) ──> headers, notes, memory ──> let go
 *
 * The process stands still meanwhile, for about as long as the disk needs for what it has written to. For a process that
 * hangs: nothing goes on in it that could miss the time.
 */
#ifndef WEDGE_DETECTOR_CORE_WRITE_H
#define WEDGE_DETECTOR_CORE_WRITE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct wedge_core_order {
    pid_t pid;
    uint64_t start_ticks; /* it must have started then; 0: any */
    int fd; /* an empty regular file, opened for writing */
    uint64_t max_bytes; /* of memory; segments beyond have no bytes in the file */
    int deadline_ms;
};

/*
 * 0: the file is complete but for what did not fit. -ESRCH no such process, -EPERM it may not be traced, -ETIMEDOUT,
 * -ENOTSUP not a 64-bit x86 program, -ENOMEM, or the file's error (-ENOSPC); the file is then of no use. Reads and stops
 * another process: blocks for at most about twice the deadline, and is to be called in a disposable child (base/job.h).
 */
int wedge_core_write(const struct wedge_core_order *order, struct wedge_err *err);

#endif
