/*
 * The report model wedge.report/2: one JSON tree that says everything wedge knows about a run, and that every writer
 * draws from. schema/wedge.report-2.schema.json describes it field by field.
 *
 * Names of nodes, unique within a report and the same in edges, culprits and victims:
 *   "t4711" thread 4711 · "d4712" a process that is gone · "r:f1" rule f1 of the plan · "outside"
 *
 * Every text that a target had a hand in is valid UTF-8 without control characters: bytes that are not stand there
 * as \xNN. Numbers that need more than 53 bits (addresses, the seed) are hexadecimal texts.
 *
 * Threads: a report belongs to one thread at a time. Nothing here blocks, except on memory.
 */
#ifndef WEDGE_REPORTS_REPORT_H
#define WEDGE_REPORTS_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "detector/model.h"

#define WEDGE_REPORT_SCHEMA "wedge.report/2"

/* A program of the run that the agent was not in. */
struct wedge_report_absent {
    pid_t pid; /* 0 not known */
    const char *path;
    const char *why; /* "which …" */
};

/* How far the plan reached, and the agent. Texts are sentences joined by "; ", "" none. */
struct wedge_report_injection {
    bool invalid; /* the run proves nothing */
    const char *unfired; /* ids of rules that had to fire and have not, joined by blanks */
    const char *missed; /* what of the plan could not happen */
    const char *noted; /* what it names and nobody has */
    const struct wedge_report_absent *absent;
    size_t n_absent, more_absent;
    uint32_t lost_processes, lost_threads; /* without room in the arena */
};

/* What the one who ran the command knows. Texts are as given, not yet escaped. */
struct wedge_report_run {
    char *const *command; /* NULL-terminated; NULL: a process that ran already.
                              * "core file" and its path: that in the place of one */
    const char *verb; /* "watch", "dump", …; NULL not known */
    const char *scenario; /* NULL none */
    const char *preset; /* NULL none */
    int64_t started_ns; /* CLOCK_MONOTONIC; 0 not known */
    int64_t started_unix_ms; /* 0 not known */
    int64_t duration_ms; /* so far; below 0 not known */
    uint64_t seed;
    int exit_status; /* of the command; -1 not known, or ended by a signal */
    int signal; /* that ended the command; 0 none or not known */
    int exec_errno; /* why the command could not be executed at all; 0 it was, or not known */
    const char *output_tail; /* last output of the command, NULL none */
    bool agent; /* the agent was preloaded */
    const struct wedge_report_injection *injection; /* NULL: nothing is known of it */
};

/* From here on reports hold no argument of a command: of the run's and of each process's only the first word is kept,
 * and the command's last output is left out. For the whole process, set once when it starts; children inherit it. */
void wedge_report_redact(void);
bool wedge_report_is_redacted(void);

/* A report of a snapshot. With a snapshot of NULL, or one without verdicts (wedge_detector_recall: its faults and
 * firings are taken), of a command that was not examined: `finished` when its end is known
 * (exit_status or signal), else `running`. `run` may be NULL with a snapshot: wedge_report_set_run adds it later.
 * Owned by the caller (json_decref). NULL: no memory. */
json_t *wedge_report_new(const struct wedge_report_run *run, const struct wedge_snapshot *snapshot);

/* Puts in, or replaces, what the run says: run, output, and the times of the timeline since its start. The verdict
 * stays, unless it is `running` or `idle` and the command has ended: then it becomes `finished`. 0 or -ENOMEM. */
int wedge_report_set_run(json_t *report, const struct wedge_report_run *run);

/* Checks that a tree that came from outside (a file, a child that read a hostile process) is a report: every field
 * that a writer relies on is there, of its type, its words known, its nodes declared. 0, or -EBADMSG and what is
 * wrong where. */
int wedge_report_check(const json_t *report, struct wedge_err *err);

/* The text at a dotted path, as in ("verdict.kind"); "" when there is none. Belongs to the report. */
const char *wedge_report_text(const json_t *report, const char *path);

/* The stack of a thread: the numbers of its frames, innermost first. NULL: it has none. */
const json_t *wedge_report_stack(const json_t *report, const json_t *thread);

/* Frame `i` of a stack, NULL behind its end. */
const json_t *wedge_report_frame(const json_t *report, const json_t *stack, size_t i);

/* A JSON string of a target's bytes: control characters and what is not UTF-8 as \xNN, cut at 16 KiB. NULL: no
 * memory. */
json_t *wedge_report_string(const char *bytes);

#endif
