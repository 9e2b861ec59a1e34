/*
 * An examination as the rest of wedge calls it: in a disposable child, under a deadline, as a report.
 *
 * Reading another process may block for as long as that process likes (base/job.h). A child that was ended at its
 * share of the deadline, or died, is tried again without the process it was looking at; the report names those that
 * were left out ("skipped").
 */
#ifndef WEDGE_REPORTS_EXAMINE_H
#define WEDGE_REPORTS_EXAMINE_H

#include <jansson.h>

#include "base/err.h"
#include "detector/examine.h"

/* Examines. The report has no run data yet (wedge_report_set_run) and has passed wedge_report_check.
 * -ESRCH no such process, -EPERM it may not be looked at, -ETIMEDOUT, -ENOMEM, -EBADMSG, -ECHILD (the child died and
 * no process is to blame), each with *err set. Blocks at most about deadline_ms, and up to WEDGE_JOB_STRETCH times that while it
 * waits for a processor (base/job.h). The caller must be single-threaded:
 * it forks. */
int wedge_report_examine(const struct wedge_examine *options, int deadline_ms, json_t **ret, struct wedge_err *err);

/* The same with another examiner in the place of wedge_detector_examine, which it must promise what that does. */
typedef int wedge_report_examiner(const struct wedge_examine *options, struct wedge_job_note *note,
                                  struct wedge_snapshot **ret, struct wedge_err *err);
int wedge_report_examine_by(wedge_report_examiner *examiner, const struct wedge_examine *options, int deadline_ms,
                            json_t **ret, struct wedge_err *err);

#endif
