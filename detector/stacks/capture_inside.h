/* A capture, for capture.c and capture_names.c alone. */
#ifndef WEDGE_DETECTOR_CAPTURE_INSIDE_H
#define WEDGE_DETECTOR_CAPTURE_INSIDE_H

#include "detector/elf/elf_image.h"
#include "detector/stacks/capture.h"
#include "detector/stacks/stop.h"
#include "detector/stacks/target_memory.h"

struct wedge_capture {
    struct wedge_snapshot *snapshot;
    struct wedge_proc *proc;
    struct wedge_thread *threads; /* the process's, in the snapshot */
    size_t n;
    int deadline_ms;
    struct wedge_job_note *note;
    struct wedge_core *core; /* NULL: a process that lives */
    struct wedge_regions regions; /* the core's own, where there is one */
    struct wedge_target_memory memory;
    struct wedge_images images;
    struct wedge_stop_thread *shared; /* where the stop left them: children forked since can write there */
    struct wedge_stop_thread *view; /* the same memory, which cannot be written there; NULL none */
    uintptr_t parents; /* where `shared` is in the parent; in a child that has the view alone */
    struct wedge_stop_thread *copies; /* copies[i] is of threads[i]; the records are ours alone, the bytes are not */
    wedge_capture_ask_fn *ask; /* NULL: wedge_capture_more */
    void *ask_arg;
};

static inline void wedge_capture_say(const struct wedge_capture *capture, const char *step)
{
    wedge_job_says(capture->note, capture->proc->pid, step, false);
}

#endif
