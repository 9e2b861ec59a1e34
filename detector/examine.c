/*
 * One examination, from the first reading to the last word. The order is the argument: everything that the verdict
 * rests on is read between and in the two passes, and only then is anything stopped for its stack.
 */
#include "detector/examine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "detector/core/core_file.h"
#include "detector/core/core_look.h"
#include "detector/look/alarm.h"
#include "detector/look/libc.h"
#include "detector/stacks/stacks.h"
#include "detector/verdict/graph.h"
#include "detector/verdict/verdict.h"
#include "detector/wait/wait.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

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

/* Between the passes. The child that will name what is stopped later works beside us from here on. */
static int decode(struct wedge_look *look)
{
    wedge_stacks_begin(look);
    return wedge_wait_decode(look);
}

static int examine(struct wedge_look *look, struct wedge_err *err)
{
    struct wedge_graph graph = {0};
    int rc = look->core ? wedge_core_look(look, decode, err) : wedge_look_twice(look, decode, err);
    seal(look);
    if (rc)
        return rc;
    look->snapshot->complete = what_is_lacking(look);
    wedge_verdict_record(look);
    wedge_history_recall(look);
    rc = wedge_graph_build(look, &graph);
    if (!rc)
        rc = wedge_verdict_make(look, &graph);
    if (!rc)
        rc = wedge_graph_edges(look, &graph);
    if (!rc)
        rc = wedge_stacks_take(look);
    if (!rc)
        wedge_history_remember(look);
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
    wedge_stacks_abandon(&look);
    wedge_look_free(&look);
    wedge_core_close(look.core);
    wedge_libc_cache_free(look.libcs);
    wedge_alarm_cache_free(look.alarms);
    if (!note) /* else the end of the job that this is part of does it */
        wedge_job_settle();
    if (rc) {
        wedge_snapshot_free(snapshot);
        return rc;
    }
    *ret = snapshot;
    return 0;
}
