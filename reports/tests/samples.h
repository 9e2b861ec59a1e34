/* Snapshots made by hand, as the detector would give them: what the writers are tested with. */
#ifndef WEDGE_REPORTS_TESTS_SAMPLES_H
#define WEDGE_REPORTS_TESTS_SAMPLES_H

#include "detector/model.h"
#include "reports/report.h"

enum sample {
    SAMPLE_LOCK_CYCLE, /* two processes, two shared mutexes in opposite order */
    SAMPLE_ORPHANED, /* every worker of a pool killed by the plan, the collector waits for ever */
    SAMPLE_CALLBACK, /* an initializer held by the plan: a part */
    SAMPLE_BACKPRESSURE, /* 4 workers of 2 threads and their parent, both queues full */
    SAMPLE_NO_PROGRESS, /* suspected, without names of functions, an incomplete view */
    SAMPLE_IDLE, /* a server in accept */
    SAMPLE_HOSTILE, /* texts that attack terminals, HTML, JSON and XML */
    SAMPLE_COUNT
};
extern const char *const sample_names[SAMPLE_COUNT];

/* Owned by the caller (wedge_snapshot_free). Never NULL: ends the test when there is no memory. */
struct wedge_snapshot *sample_snapshot(enum sample which);
/* The run that goes with it; its texts are constant. */
struct wedge_report_run sample_run(enum sample which);
/* Both together: always the same texts and times, host facts excepted. */
json_t *sample_report(enum sample which);

/* What the hostile sample's names hold. */
extern const char sample_hostile_text[];

#endif
