/*
 * One examination, from the first reading to the last word. The order is the argument: everything that the verdict
 * rests on is read between and in the two passes, and only then is anything stopped for its stack.
 */
#include "detector/examine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "detector/alarm.h"
#include "detector/capture.h"
#include "detector/core_file.h"
#include "detector/core_look.h"
#include "detector/graph.h"
#include "detector/libc.h"
#include "detector/verdict.h"
#include "detector/wait/wait.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

#define STOP_DEADLINE_MS       100
#define STUCK_STOP_DEADLINE_MS 2000

/* From here on the snapshot owns its arrays: they move from the heap into its obstack. */
static void seal(struct wedge_look *look)
{
    struct wedge_snapshot *s = look->snapshot;
    struct wedge_proc *procs = s->procs;
    struct wedge_thread *threads = s->threads;
    s->procs = obstack_alloc(&s->mem, (int)(s->n_procs * sizeof(*procs)));
    s->threads = obstack_alloc(&s->mem, (int)(s->n_threads * sizeof(*threads)));
    if (s->n_procs)
        memcpy(s->procs, procs, s->n_procs * sizeof(*procs));
    if (s->n_threads)
        memcpy(s->threads, threads, s->n_threads * sizeof(*threads));
    free(procs);
    free(threads);
}

static bool has_victims(const struct wedge_snapshot *s, int proc)
{
    for (size_t i = 0; i < s->n_verdicts; i++)
        for (size_t k = 0; k < s->verdicts[i].n_victims && wedge_verdict_is_hang(s->verdicts[i].kind); k++)
            if (s->threads[s->verdicts[i].victims[k]].proc == proc)
                return true;
    return false;
}

static void note_failure(struct wedge_look *look, int proc, const struct wedge_err *err)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    const char *note = wedge_look_textf(look, "no stack: %s", err->message);
    for (int t = p->first_thread; t < p->first_thread + p->n_threads; t++)
        look->snapshot->threads[t].stack_note = note;
}

/* How long a process may be kept stopped. One in which nothing is live loses nothing by standing still, and on a busy
 * machine a thread may well take longer than the usual patience to come to its stop: a stack less would be a report
 * less, and another signature. */
static int patience_ms(const struct wedge_look *look, int proc)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    int given = look->options->stop_deadline_ms ? look->options->stop_deadline_ms : STOP_DEADLINE_MS;
    for (int t = p->first_thread; t < p->first_thread + p->n_threads; t++)
        if (look->snapshot->threads[t].live)
            return given;
    return given > STUCK_STOP_DEADLINE_MS ? given : STUCK_STOP_DEADLINE_MS;
}

/* Copies of all first, each process let go before the next is stopped; unwinding and names afterwards. */
static int take_stacks(struct wedge_look *look)
{
    struct wedge_snapshot *s = look->snapshot;
    const struct wedge_examine *options = look->options;
    if (options->stacks == WEDGE_STACKS_NEVER)
        return 0;
    struct wedge_capture **captures = calloc(s->n_procs + 1, sizeof(struct wedge_capture *));
    if (!captures)
        return -ENOMEM;
    for (size_t i = 0; i < s->n_procs; i++) {
        struct wedge_err err = {0};
        bool wanted = options->stacks == WEDGE_STACKS_ALWAYS || has_victims(s, (int)i);
        if (!wanted || !s->procs[i].in_tree || look->procs[i].skipped || look->procs[i].zombie)
            continue;
        wedge_look_note(look, s->procs[i].pid, "stopping for stacks");
        int rc = look->core ? wedge_capture_core(s, (int)i, look->core, look->note, &captures[i], &err)
                            : wedge_capture_proc(s, (int)i, patience_ms(look, (int)i), look->note, &captures[i], &err);
        if (rc) {
            note_failure(look, (int)i, &err);
            captures[i] = NULL;
        }
    }
    for (size_t i = 0; i < s->n_procs; i++) {
        struct wedge_err err = {0};
        if (!captures[i])
            continue;
        wedge_look_note(look, s->procs[i].pid, "unwinding");
        int rc = wedge_capture_unwind(captures[i], &err);
        if (!rc) {
            wedge_look_note(look, s->procs[i].pid, "names");
            rc = wedge_capture_symbols(captures[i], &err);
        }
        if (rc)
            note_failure(look, (int)i, &err);
        wedge_capture_free(captures[i]);
    }
    free(captures);
    for (size_t i = 0; i < s->n_threads; i++) {
        s->stopped_anything |= s->threads[i].stopped_ns > 0;
        if (s->threads[i].stopped_ns > s->longest_stop_ns)
            s->longest_stop_ns = s->threads[i].stopped_ns;
    }
    wedge_look_note(look, 0, "done");
    return 0;
}

static const char *what_is_lacking(struct wedge_look *look)
{
    if (look->core)
        return wedge_core_look_lacks(look);
    if (look->hidden_ends || look->hidden_mappings)
        return "a process of the tree could not be read";
    if (look->hidden_elsewhere)
        return "some processes outside the tree could not be read";
    return "";
}

static int examine(struct wedge_look *look, struct wedge_err *err)
{
    struct wedge_graph graph = {0};
    int rc = look->core ? wedge_core_look(look, wedge_wait_decode, err) : wedge_look_twice(look, wedge_wait_decode, err);
    seal(look);
    if (rc)
        return rc;
    look->snapshot->complete = what_is_lacking(look);
    wedge_verdict_record(look);
    rc = wedge_graph_build(look, &graph);
    if (!rc)
        rc = wedge_verdict_make(look, &graph);
    if (!rc)
        rc = wedge_graph_edges(look, &graph);
    if (!rc)
        rc = take_stacks(look);
    wedge_graph_free(&graph);
    if (rc)
        return wedge_err_set(err, rc, "cannot examine process %d: %s", (int)look->options->root, strerror(-rc));
    wedge_verdict_refine(look);
    wedge_verdict_word(look);
    return 0;
}

/* Out of memory inside an obstack ends the program (obstack_alloc_failed_handler): mostly the disposable child. */
static struct wedge_snapshot *empty_snapshot(pid_t root)
{
    struct wedge_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (!snapshot)
        return NULL;
    obstack_begin(&snapshot->mem, 65536);
    snapshot->root = root;
    snapshot->complete = "";
    return snapshot;
}

int wedge_detector_recall(struct wedge_arena_copy *arena, struct wedge_snapshot **ret, struct wedge_err *err)
{
    struct wedge_examine options = {.arena = arena};
    struct wedge_look look = {.options = &options, .snapshot = empty_snapshot(0)};
    if (!look.snapshot)
        return wedge_err_set(err, -ENOMEM, "no memory for the record of faults");
    wedge_verdict_recall(&look);
    *ret = look.snapshot;
    wedge_look_free(&look);
    return 0;
}

int wedge_detector_examine(const struct wedge_examine *options, struct wedge_job_note *note,
                           struct wedge_snapshot **ret, struct wedge_err *err)
{
    struct wedge_examine own = *options;
    struct wedge_look look = {.options = &own, .note = note};
    if (options->core) {
        wedge_look_note(&look, 0, "reading the core file");
        int failed = wedge_core_open(options->core, options->exe, &look.core, err);
        if (failed)
            return failed;
        own.root = look.core->pid;
    }
    struct wedge_snapshot *snapshot = empty_snapshot(own.root);
    if (!snapshot) {
        wedge_core_close(look.core);
        return wedge_err_set(err, -ENOMEM, "cannot examine process %d: no memory", (int)own.root);
    }
    look.snapshot = snapshot;
    int rc = examine(&look, err);
    wedge_look_free(&look);
    wedge_core_close(look.core);
    wedge_libc_cache_free(look.libcs);
    wedge_alarm_cache_free(look.alarms);
    if (rc) {
        wedge_snapshot_free(snapshot);
        return rc;
    }
    *ret = snapshot;
    return 0;
}
