/*
 * Stacks: registers and stack memory are copied while a process stands still, the process is let go, and the copy
 * is unwound and named afterwards.
 *
 * Stops with PTRACE_SEIZE and INTERRUPT, from the calling process, which must be a disposable child: when it dies the
 * kernel lets everything go. A thread in uninterruptible sleep never stops and is left alone after the deadline.
 */
#ifndef WEDGE_DETECTOR_CAPTURE_H
#define WEDGE_DETECTOR_CAPTURE_H

#include "base/err.h"
#include "base/job.h"
#include "detector/kernel/proc.h"
#include "detector/model.h"
#include "detector/stacks/unwind.h"

struct wedge_capture; /* the copies */
struct wedge_core;

/* Copies the stacks of process `proc` of the snapshot (all its threads), one stop for the whole process. Fills
 * thread->stopped_ns and stack_note. Returns 0 even where single threads could not be stopped; -EPERM, -ESRCH. */
int wedge_capture_proc(struct wedge_snapshot *snapshot, int proc, int deadline_ms, struct wedge_job_note *note,
                       struct wedge_capture **ret, struct wedge_err *err);
/* The same of several processes, one stopped after the other. Each gets a capture, or `rc` and why. 0, or when none could
 * be had a negative errno, which is then that of each. */
struct wedge_capture_ask {
    int proc, deadline_ms;
    /* What it has mapped, where that is known and cannot have changed; NULL: to be read. */
    const struct wedge_proc_map *maps;
    size_t n_maps;
    struct wedge_capture *capture;
    int rc;
    struct wedge_err err;
};
/* A child that begins to unwind while processes are still being stopped. NULL: nobody does. */
struct wedge_capture_early {
    /* Called before the stops, when each ask has its capture or its `rc`: forks the child, which maps the copies for reading alone. Returns
     * the descriptor to which the number of each process goes (`proc`, an int) once its copies are there, perhaps twice, and
     * at last WEDGE_CAPTURE_ALL; a negative number: there is no child. It must have room for two numbers of each and one. */
    int (*begin)(void *arg);
    void *arg;
};
#define WEDGE_CAPTURE_ALL (-1)
int wedge_capture_procs(struct wedge_snapshot *snapshot, struct wedge_capture_ask *asks, size_t n,
                        struct wedge_job_note *note, const struct wedge_capture_early *early);
/* Its two halves, for whoever has other things to do in between: everything before the stops, for which -ENOMEM is the one
 * error, and the stops. Meanwhile the snapshot may move and may get more processes, and a `deadline_ms` may change. Without the
 * second half, the captures are freed one by one. */
struct wedge_capture_room { /* what is shared with children */
    uint8_t *memory;
    size_t bytes;
    int tell_fd;
};
int wedge_capture_prepare(struct wedge_snapshot *snapshot, struct wedge_capture_ask *asks, size_t n,
                          struct wedge_job_note *note, const struct wedge_capture_early *early,
                          struct wedge_capture_room *ret);
int wedge_capture_stop(struct wedge_snapshot *snapshot, struct wedge_capture_ask *asks, size_t n,
                       struct wedge_job_note *note, const struct wedge_capture_room *room);
/* In that child, first of all and for each capture: it has nothing but what is for reading. */
void wedge_capture_view_alone(struct wedge_capture *capture);
/* Where there is time before the first number comes: has the kernel make the pages that the copies will be on. */
void wedge_capture_make_room(struct wedge_capture *capture);
/* And once its number has come: the copies are there. Why some are not, the parent tells. */
void wedge_capture_arrived(struct wedge_capture *capture);
/* Reads what the names of most threads will take, before there is a copy: the files of the program and of where they wait. */
void wedge_capture_warm(struct wedge_capture *capture);
/* The same from a core file: nothing is stopped, everything is there already. The threads of the snapshot are those of
 * the core, in its order; `core` must outlive the capture. -ENOMEM. */
int wedge_capture_core(struct wedge_snapshot *snapshot, int proc, struct wedge_core *core, struct wedge_job_note *note,
                       struct wedge_capture **ret, struct wedge_err *err);
/* A second, short stop of thread number `thread` of the process, for what its copy lacks at address `need`. False: it
 * could not be had, or the thread has moved on. The bytes in *ret are the caller's to free. */
bool wedge_capture_more(struct wedge_capture *capture, size_t thread, uint64_t need, struct wedge_unwind_window *ret);

/* For unwinding in a child that may not trace: `ask` has the parent do that. */
typedef bool wedge_capture_ask_fn(void *arg, struct wedge_capture *capture, size_t thread, uint64_t need,
                                  struct wedge_unwind_window *ret);
void wedge_capture_delegate(struct wedge_capture *capture, struct wedge_job_note *note, wedge_capture_ask_fn *ask,
                            void *arg);
/* What that child has to keep open, and what it has to open before it gives its rights up. */
size_t wedge_capture_descriptors(const struct wedge_capture *capture, int *ret, size_t room);
void wedge_capture_open_files(const struct wedge_capture *capture);

/* Unwinds the copies: fills pc, module, offset, build-id, signal of each frame. The process runs meanwhile. */
int wedge_capture_unwind(struct wedge_capture *capture, struct wedge_err *err);
/* Names: function, file, line, inlined frames, libc, and callback_function. Never a guess. */
void wedge_capture_symbols(struct wedge_capture *capture);
void wedge_capture_free(struct wedge_capture *capture); /* frames stay: they live in the snapshot */

#endif
