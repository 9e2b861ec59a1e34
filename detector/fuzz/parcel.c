/* What the child without rights sends: it may have been taken over by a file that it read. */
#include "detector/stacks/parcel.h"

#include <stdlib.h>
#include <string.h>

#include "base/fuzz/fuzz.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

enum { PROCS = 3, THREADS = 6 };

static int on_want(void *arg, int thread, uint64_t need)
{
    (void)arg, (void)need;
    if (thread < 0 || thread >= THREADS)
        abort();
    return 0;
}

static void check(const struct wedge_thread *thread)
{
    size_t sum = strlen(thread->stack_note);
    for (size_t i = 0; i < thread->n_frames; i++) {
        const struct wedge_frame *f = &thread->frames[i];
        sum += strlen(f->module) + strlen(f->build_id) + (f->function ? strlen(f->function) : 0) +
               (f->file ? strlen(f->file) : 0);
        if (f->line < 0)
            abort();
    }
    if (sum > (size_t)1 << 40)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wedge_proc procs[PROCS] = {
        {.n_threads = 3}, {.first_thread = 3, .n_threads = 2}, {.first_thread = 5, .n_threads = 1}};
    struct wedge_thread threads[THREADS];
    struct wedge_snapshot snapshot = {.procs = procs, .n_procs = PROCS, .threads = threads, .n_threads = THREADS};
    bool open[PROCS] = {true, true, false};
    for (int i = 0; i < THREADS; i++)
        threads[i] = (struct wedge_thread){.proc = i < 3 ? 0 : i < 5 ? 1 : 2, .stack_note = ""};
    obstack_begin(&snapshot.mem, 4096);
    struct wedge_parcel_taker taker = {.snapshot = &snapshot, .open = open, .want = on_want};
    size_t step = size ? data[0] + 1 : 1;
    int rc = 0;
    for (size_t at = 1; at < size && !rc; at += step)
        rc = wedge_parcel_take(&taker, (const char *)data + at, size - at < step ? size - at : step);
    for (int i = 0; i < THREADS; i++)
        check(&threads[i]);
    if (threads[5].n_frames || *threads[5].stack_note) /* of a process that nobody asked for */
        abort();
    wedge_parcel_taker_free(&taker);
    obstack_free(&snapshot.mem, NULL);
    return 0;
}
