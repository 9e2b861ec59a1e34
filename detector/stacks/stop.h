/*
 * The stop: every thread of one process is halted, registers and the used part of each stack are copied, and all go on.
 *
 *        seize all ──> interrupt all ──> wait, each until the deadline ──> copy ──> detach all
 *                                          │ not in time, or in uninterruptible sleep: LATE
 *                                          │ its own signal came first: it is handed back with it at the detach
 *
 * Invariant: nothing stays stopped. The tracing is done by a child of its own that lives only as long as the stops:
 * when it ends, however it ends, the kernel lets go of whatever it traced (PTRACE_SEIZE leaves no SIGSTOP behind,
 * ptrace(2)), threads that never reached their stop included. It dies with its parent and is killed past the deadline.
 */
#ifndef WEDGE_DETECTOR_STOP_H
#define WEDGE_DETECTOR_STOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "detector/stacks/target_memory.h"

#define WEDGE_STOP_RED_ZONE      128u /* below sp, x86-64 ABI */
#define WEDGE_STOP_WINDOW_BYTES  (64u << 10) /* copied of each stack at first */
#define WEDGE_STOP_LARGEST_BYTES (1u << 20) /* and at most, when unwinding needs more */
#define WEDGE_STOP_THREADS_MAX   16384u

enum wedge_stop_state {
    WEDGE_STOP_SKIPPED, /* not asked for: it only stands still with the others */
    WEDGE_STOP_ASKED,
    WEDGE_STOP_GONE, /* ended before it could be stopped */
    WEDGE_STOP_REFUSED, /* `error` */
    WEDGE_STOP_LATE, /* did not stop in time */
    WEDGE_STOP_STOPPED, /* registers are there, its stack could not be read */
    WEDGE_STOP_COPIED, /* all is there */
};

struct wedge_stop_thread {
    pid_t tid;
    enum wedge_stop_state state; /* in and out */
    int error; /* negative errno */
    struct user_regs_struct regs;
    bool companion; /* in: one more range of the thread of the record before this one */
    uint64_t want_from, want_to; /* in: what of the memory to copy; 0, 0: from the red zone up */
    size_t warm; /* in: bytes that the copy will have, as far as that is known before; 0 not */
    uint64_t from; /* the copy: addresses [from, from + len) */
    size_t len;
    size_t room; /* the most of it: a multiple of 4096 */
    uint8_t *data; /* where it lies, in the memory of wedge_stop_alloc */
    int64_t stopped_ns; /* from the ask to the letting go */
};

struct wedge_stop {
    pid_t pid;
    uint64_t start_ticks; /* the process must have started then; 0: any */
    bool whole; /* every other thread of the process stands still too, so that the picture is of one moment */
    int deadline_ms;
    const struct wedge_regions *regions; /* where the stacks end */
    struct wedge_stop_thread *threads; /* of wedge_stop_alloc */
    size_t n_threads;
    /* Called in the tracing child while they stand still, once; its error is that of the stop. NULL: nothing. */
    int (*during)(void *arg);
    void *during_arg;
    /* Where the tracing child writes `number` once all that there is is copied. */
    bool tells;
    int tell_fd, number;
};

/* The bytes that `n` threads take, with `room` bytes for the copy of each: whole pages; 0: too many. */
size_t wedge_stop_bytes(size_t n, size_t room);
/* Lays them out in zeroed memory that the tracing child will share. */
struct wedge_stop_thread *wedge_stop_lay_out(void *memory, size_t n, size_t room);
/* The bytes, from the `data` of the first on, that the copies of those ASKED will have, as far as is known: whole pages. */
size_t wedge_stop_likely_bytes(const struct wedge_stop_thread *threads, size_t n);
/* Both, in memory of its own. NULL: no memory. */
struct wedge_stop_thread *wedge_stop_alloc(size_t n, size_t room);
void wedge_stop_dispose(struct wedge_stop_thread *threads, size_t n, size_t room); /* takes NULL */

/*
 * Stops the threads whose state is ASKED, copies, lets go.
 *
 * Returns 0 when it was tried, each thread's state says what came of it; -ESRCH no such process (any more), -EPERM
 * may not be traced or is traced already, -ETIMEDOUT the tracing child was killed past the deadline: what it had
 * copied is there. Blocks at most about twice the deadline; no thread is held longer than that. Single-threaded
 * callers alone: it forks.
 */
int wedge_stop_run(struct wedge_stop *stop);
/* The same of `n` processes, several at once where there are processors for it: each tracing child lets one go before it asks
 * the next, and works on as long as everything comes to its stop in time. Each one's result into ret_rcs. -ENOMEM and
 * errors of fork: none is there. The children, which hold nothing any more, may outlive the call until
 * wedge_job_settle. */
int wedge_stop_run_all(struct wedge_stop *stops, size_t n, int *ret_rcs);

#endif
