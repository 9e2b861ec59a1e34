/*
 * A disposable child: runs one function in a forked process under a deadline and brings back bounded bytes.
 *
 * Everything that may block on another process's whim (its memory, its files, stopping it) happens in such a child,
 * so that the caller can always go on: the child is killed at the deadline, and when the caller dies the kernel
 * kills it too (PR_SET_PDEATHSIG), which also detaches it from whatever it traced.
 *
 * The caller must be single-threaded or keep the function to what a forked child may do.
 */
#ifndef WEDGE_BASE_JOB_H
#define WEDGE_BASE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the child was doing, in memory shared with the caller, so that a deadline can name its cause. The child writes
 * `pid` and `step` before each thing that may block. */
struct wedge_job_note {
    volatile int32_t pid; /* the process being looked at, 0 none */
    const char *volatile step; /* a string literal of the program (same address in both) */
    /* What it does takes no time unless it blocks: a child that sleeps in it for WEDGE_JOB_BLOCKED_MS without having run is
     * ended before its deadline. One that waits for a processor is not. */
    volatile bool prompt;
    /* The same of a second thread of the child's. While the first waits for it, that says 0. */
    volatile int32_t other_pid;
    const char *volatile other_step;
    volatile int64_t stopped_ns; /* the child's own use */
    volatile int64_t queued_ns; /* so long children of its own that it waited for were kept from running */
};

#define WEDGE_JOB_BLOCKED_MS 500
/* A deadline is put off by the time that the child waited for a processor, up to so many times its length in all: on a crowded
 * machine that is most of the time. Where sessions are scheduled as groups (sched(7), autogroup) twelve dumps in one session,
 * beside eight busy ones on two processors, took 12 s each in the middle, and 1.7 s in a session each. */
#define WEDGE_JOB_STRETCH 3

static inline void wedge_job_says(struct wedge_job_note *note, int32_t pid, const char *step, bool prompt)
{
    if (!note)
        return;
    note->prompt = false;
    note->pid = pid;
    note->step = step;
    note->prompt = prompt;
}

/* By any thread of the child but the first: there is one such thread that says something. */
static inline void wedge_job_other_says(struct wedge_job_note *note, int32_t pid, const char *step)
{
    if (!note)
        return;
    note->other_pid = pid;
    note->other_step = step;
}

/* The work. Writes its result to `out` (a pipe), returns 0 or a negative errno (the child's exit). */
typedef int wedge_job_fn(void *arg, int out, struct wedge_job_note *note);

struct wedge_job_result {
    char *data; /* what the child wrote, NUL added; owned by the caller; NULL when empty */
    size_t len;
    int status; /* 0, the negative errno of the function, -ETIMEDOUT, -ECHILD (died; `signal` says) */
    int signal;
    int32_t last_pid; /* note.pid and note.step at the end; the other thread's where that is 0 */
    const char *last_step;
    int64_t paused_ns; /* by so much the deadline was put off */
};

/* Runs `fn`. `deadline_ms` from now, and as much longer as the caller itself did not run meanwhile (stopped by Ctrl-Z; the
 * child mostly was as well), or the child waited for a processor (WEDGE_JOB_STRETCH); `max_bytes` bounds the result (more: -E2BIG). Returns 0 when the child ran at
 * all (see result->status, -ETIMEDOUT also where it blocked), or a negative errno (no memory, no process). Blocks at most
 * for that plus the kernel's time to end the child. */
int wedge_job_run(wedge_job_fn *fn, void *arg, int deadline_ms, size_t max_bytes, struct wedge_job_result *result);
void wedge_job_result_free(struct wedge_job_result *result);

/* Takes what the child wrote, as it comes, in pieces of any length. 0, or a negative errno: the child is ended; or
 * WEDGE_JOB_ENOUGH: nothing more is wanted of it, the call returns with status 0, and the child is killed and reaped by
 * wedge_job_settle, for to give its memory back it takes as long as much of its work; or WEDGE_JOB_WHOLE: the same, but it has
 * children of its own, and wedge_job_settle gives it some seconds to end them and itself. May
 * answer the child by a pipe that both inherited; its own time counts against the deadline. */
typedef int wedge_job_take_fn(void *arg, const char *data, size_t len);
#define WEDGE_JOB_ENOUGH 1
#define WEDGE_JOB_WHOLE  2

/* The same for a child whose bytes are looked at while it runs: result->data stays NULL. A negative errno of `take` is
 * result->status. Where the child is not to be trusted, neither is its note: last_pid is any number, and last_step is
 * not to be followed. */
int wedge_job_stream(wedge_job_fn *fn, void *arg, int deadline_ms, wedge_job_take_fn *take, void *take_arg,
                     struct wedge_job_result *result);
/* The two halves of wedge_job_stream, for whoever wants several children to work at once. Each that was begun is ended; the
 * deadline counts from the beginning. */
struct wedge_job {
    int32_t pid;
    int from; /* its end of file is that of the child */
    int64_t deadline_ns, paused_ns;
    int64_t latest_ns; /* however long it waits for a processor */
    int64_t counted_ns; /* of such waiting */
    struct wedge_job_times {
        int64_t at_ns, ran_ns, queued_ns;
        bool runnable;
    } times; /* of the child, when it was asked last */
    struct wedge_job_note *note;
};
int wedge_job_begin(wedge_job_fn *fn, void *arg, int deadline_ms, struct wedge_job *ret);
/* Between the two, of a child that had to wait for what its caller does first: its deadline counts from now. */
void wedge_job_begins_now(struct wedge_job *job, int deadline_ms);
/* In the place of the end: what it does is not wanted any more. It is killed now, and reaped by wedge_job_settle. */
void wedge_job_drop(struct wedge_job *job);
void wedge_job_end(struct wedge_job *job, wedge_job_take_fn *take, void *take_arg, struct wedge_job_result *result);

/* Ends the children that had said enough. The end of a job does that for those of its function; anybody else who leaves
 * such children calls it before he returns. */
void wedge_job_settle(void);

#endif
