/*
 * The disposable child makes snapshot and report and sends either the report or its error (reports/wire.h), its length first: the
 * parent does not wait for the child to end. It takes at most 16 MiB and believes nothing it has not checked.
 *
 *   try ──ended──> parse, check ──> report
 *    │ blocked, deadline of this try, or it died: which process was it looking at?
 *    ├──> another than the root: skip that one, try again (within the whole deadline)
 *    └──> the root or nobody, which cannot be skipped: try again, at most twice; a disk may have been slow
 */
#include "reports/examine.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "reports/bump.h"
#include "reports/put.h"
#include "reports/report.h"
#include "reports/stacks.h"
#include "reports/wire.h"

enum { MOST_SKIPPED = 64, MOST_UNSKIPPED = 3, MOST_BYTES = 16 << 20, LEAST_TRY_MS = 200 };

struct work { /* what the child is told */
    wedge_report_examiner *examiner;
    const struct wedge_examine *options;
};

struct skipped {
    pid_t pid;
    char step[160];
};

static int send_all(int out, const char *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(out, bytes + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -EIO;
        at += (size_t)n;
    }
    return 0;
}

static json_t *error_tree(const struct wedge_err *err)
{
    struct wedge_put p = {0};
    json_t *o = json_object(), *top = json_object();
    wedge_put_int(&p, o, "code", err->code);
    wedge_put_bool(&p, o, "input", err->class == WEDGE_ERR_INPUT);
    wedge_put_str(&p, o, "file", err->file);
    wedge_put_str(&p, o, "message", err->message);
    wedge_put_str(&p, o, "remedy", err->remedy);
    wedge_put(&p, top, "error", o);
    if (!p.failed)
        return top;
    json_decref(top);
    return NULL;
}

/* Who could merely interrupt a wait: in a program of many threads, each of all the others. */
static void drop_signal_edges(json_t *report)
{
    json_t *edges = json_object_get(report, "edges");
    for (size_t i = json_array_size(edges); i-- > 0;)
        if (strcmp(wedge_report_text(json_array_get(edges, i), "kind"), "signal") == 0)
            json_array_remove(edges, i);
}

/* Packs the report. Of a program of many thousand threads what the verdict needs least goes first, until it is no larger than
 * the most as JSON, and the report says what went. NULL: no memory. */
static char *fit(json_t *report, size_t *ret_len)
{
    static const char *const gone[] = {"wakers by signal", "wakers by signal and the stacks of threads that can move",
                                       "wakers by signal and all stacks"};
    struct wedge_put p = {0};
    char note[600];
    char lacks[400];
    const size_t room = MOST_BYTES - sizeof(note);
    snprintf(lacks, sizeof(lacks), "%s", wedge_report_text(report, "complete"));
    size_t as_json;
    char *bytes = wedge_wire_pack(report, ret_len, &as_json);
    for (int step = 0; bytes && as_json > room && step < 3; step++) {
        free(bytes);
        if (step == 0)
            drop_signal_edges(report);
        else
            wedge_stacks_drop(&p, report, step == 1, "left out: the report would be too large");
        snprintf(note, sizeof(note), "%.400s%sthe report would be too large: %s were left out", lacks,
                 *lacks ? "; " : "", gone[step]);
        wedge_put_str(&p, report, "complete", note);
        bytes = wedge_wire_pack(report, ret_len, &as_json);
    }
    if (!p.failed)
        return bytes;
    free(bytes);
    return NULL;
}

/* Whoever watches wants to know that there is no hang, five times as quickly as what a thousand threads wait for. */
static void shorten(struct wedge_snapshot *snapshot)
{
    if (snapshot->n_verdicts && !wedge_verdict_is_hang(snapshot->verdicts[0].kind))
        snapshot->n_procs = snapshot->n_threads = snapshot->n_edges = 0;
}

/* In the child. */
static int child(void *arg, int out, struct wedge_job_note *note)
{
    const struct work *work = arg;
    struct wedge_snapshot *snapshot = NULL;
    /* Where sessions are scheduled as groups (sched(7), autogroup), all that wedge's shares one turn, such as a make -j64:
     * an examination, which is short, has its own. Nor does Ctrl-Z at the terminal stop it half-way. */
    setsid(); /* no terminal becomes its own: what a target names is opened with O_NOCTTY, once it is known to be a file */
    struct wedge_err err = {0};
    wedge_bump_json(); /* the child ends here: to take a large tree apart would take as long as to make it */
    int rc = work->examiner(work->options, note, &snapshot, &err);
    wedge_job_says(note, 0, "writing the report", false);
    if (rc && !err.code)
        wedge_err_set(&err, rc, "cannot examine process %d: %s", work->options->root, strerror(-rc));
    if (!rc && work->options->brief)
        shorten(snapshot);
    json_t *tree = rc ? error_tree(&err) : wedge_report_new(NULL, snapshot);
    size_t len = 0;
    char *bytes = tree ? fit(tree, &len) : NULL;
    uint64_t length = len;
    if (!bytes)
        return -ENOMEM;
    rc = send_all(out, (const char *)&length, sizeof(length));
    return rc ? rc : send_all(out, bytes, len);
}

/* wedge_job_take_fn: until all is there that was announced. */
static int take(void *arg, const char *data, size_t len)
{
    struct wedge_text *text = arg;
    uint64_t length;
    wedge_text_add_bytes(text, data, len);
    if (text->cut)
        return -E2BIG;
    if (text->len < sizeof(length))
        return 0;
    memcpy(&length, text->data, sizeof(length));
    return text->len - sizeof(length) >= length ? WEDGE_JOB_WHOLE : 0;
}

/* What the child sent: a report or its error. */
static int parse(const struct wedge_text *sent, json_t **ret, struct wedge_err *err)
{
    const size_t begin = sent->len < sizeof(uint64_t) ? sent->len : sizeof(uint64_t);
    json_t *tree;
    int rc = wedge_wire_unpack(sent->data ? sent->data + begin : "", sent->len - begin, &tree, err);
    if (rc)
        return rc;
    json_t *error = json_object_get(tree, "error");
    if (error) {
        rc = (int)json_integer_value(json_object_get(error, "code"));
        rc = rc < 0 && rc > -4096 ? rc : -EBADMSG;
        wedge_err_set(err, rc, "%s", wedge_report_text(error, "message"));
        if (err && json_is_true(json_object_get(error, "input"))) {
            err->class = WEDGE_ERR_INPUT;
            snprintf(err->file, sizeof(err->file), "%s", wedge_report_text(error, "file"));
        }
        if (*wedge_report_text(error, "remedy"))
            wedge_err_remedy(err, "%s", wedge_report_text(error, "remedy"));
    } else {
        rc = wedge_report_check(tree, err);
        if (!rc) {
            *ret = tree;
            return 0;
        }
    }
    json_decref(tree);
    return rc;
}

static int name_skipped(json_t *report, const struct skipped *skipped, size_t n)
{
    struct wedge_put p = {0};
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        wedge_put_int(&p, o, "pid", skipped[i].pid);
        wedge_put_str(&p, o, "step", skipped[i].step);
        wedge_put_item(&p, json_object_get(report, "skipped"), o);
    }
    return p.failed ? -ENOMEM : 0;
}

/* What is said when there is no one to skip, or no time or try left. */
static int give_up(const struct wedge_job_result *r, int64_t took_ms, int64_t paused_ms, struct wedge_err *err)
{
    const char *step = r->last_step ? r->last_step : "starting";
    char at[64] = "";
    if (r->last_pid > 0)
        snprintf(at, sizeof(at), " of process %d", r->last_pid);
    switch (r->status) {
    case -ETIMEDOUT:
        wedge_err_set(err, -ETIMEDOUT, "the examination was given up after %lld ms: it was at '%s'%s",
                      (long long)took_ms, step, at);
        if (paused_ms > took_ms)
            wedge_err_remedy(err, "the machine is too busy: it waited for a processor for %lld ms more",
                             (long long)paused_ms);
        else
            wedge_err_remedy(err, "is that process's memory served by a userfault handler or a dead file system?");
        return -ETIMEDOUT;
    case -ECHILD:
        return wedge_err_set(err, -ECHILD, "the examination was ended by signal %d at '%s'%s", r->signal, step, at);
    case -E2BIG:
        return wedge_err_set(err, -E2BIG, "the report is larger than %d MiB", MOST_BYTES >> 20);
    default:
        return wedge_err_set(err, r->status, "the examination failed at '%s'%s: %s", step, at, strerror(-r->status));
    }
}

/* Can this try be made again without the process it hung or died on? Remembers that one. */
static bool skip(const struct wedge_job_result *r, pid_t root, struct skipped *skipped, pid_t *pids, size_t given,
                 size_t *n)
{
    if ((r->status != -ETIMEDOUT && r->status != -ECHILD) || r->last_pid <= 0 || r->last_pid == root ||
        *n == MOST_SKIPPED)
        return false;
    for (size_t i = 0; i < given + *n; i++)
        if (pids[i] == r->last_pid)
            return false;
    pids[given + *n] = r->last_pid;
    skipped[*n].pid = r->last_pid;
    snprintf(skipped[*n].step, sizeof(skipped[*n].step), "%s: %s", r->last_step ? r->last_step : "unknown step",
             r->status == -ETIMEDOUT ? "did not end in time" : "ended the examination");
    (*n)++;
    return true;
}

/* Nobody to skip: without the root there is nothing to say, and at no process a crowded machine had no time. */
static bool is_no_ones(const struct wedge_job_result *r, pid_t root)
{
    return r->status == -ETIMEDOUT && (r->last_pid <= 0 || r->last_pid == root);
}

int wedge_report_examine_by(wedge_report_examiner *examiner, const struct wedge_examine *options, int deadline_ms,
                            json_t **ret, struct wedge_err *err)
{
    int64_t began_ns = wedge_clock_ns(), deadline_ns = began_ns + deadline_ms * WEDGE_NS_PER_MS, paused_ns = 0;
    struct skipped skipped[MOST_SKIPPED];
    struct wedge_examine own = *options;
    struct work work = {examiner, &own};
    json_t *report = NULL;
    size_t n = 0;
    int rc, unskipped = 0;
    pid_t *pids = calloc(options->n_skip + MOST_SKIPPED, sizeof(*pids));
    if (!pids)
        return wedge_err_set(err, -ENOMEM, "no memory for an examination");
    if (options->n_skip)
        memcpy(pids, options->skip, options->n_skip * sizeof(*pids));
    own.skip = pids;
    for (;;) {
        struct wedge_job_result result = {0};
        struct wedge_text sent = WEDGE_TEXT_INIT(MOST_BYTES + sizeof(uint64_t));
        int left_ms = (int)((deadline_ns - wedge_clock_ns()) / WEDGE_NS_PER_MS);
        /* Half of what is left for each try, so that there is always something left for the one without the culprit. What took
         * that long where nobody can be skipped gets the rest. */
        int try_ms = left_ms / 2 > LEAST_TRY_MS && !unskipped ? left_ms / 2 : left_ms;
        own.n_skip = options->n_skip + n;
        struct wedge_job job = {0};
        rc = wedge_job_begin(child, &work, try_ms > 0 ? try_ms : 1, &job);
        if (!rc) {
            wedge_bump_await(); /* while it works */
            wedge_job_end(&job, take, &sent, &result);
        } else {
            wedge_err_set(err, rc, "cannot start an examination: %s", strerror(-rc));
            break;
        }
        paused_ns += result.paused_ns;
        began_ns += result.paused_ns;
        deadline_ns += result.paused_ns;
        bool again = result.status && deadline_ns - wedge_clock_ns() > LEAST_TRY_MS * WEDGE_NS_PER_MS / 2 &&
                     (skip(&result, options->root, skipped, pids, options->n_skip, &n) ||
                      (is_no_ones(&result, options->root) && ++unskipped < MOST_UNSKIPPED));
        if (!again)
            rc = result.status ? give_up(&result, (wedge_clock_ns() - began_ns) / WEDGE_NS_PER_MS,
                                         paused_ns / WEDGE_NS_PER_MS, err)
                               : parse(&sent, &report, err);
        wedge_text_free(&sent);
        wedge_job_settle();
        if (again)
            continue;
        if (!rc && name_skipped(report, skipped, n)) {
            json_decref(report);
            rc = wedge_err_set(err, -ENOMEM, "no memory for the report");
        }
        if (!rc)
            *ret = report;
        break;
    }
    free(pids);
    return rc;
}

int wedge_report_examine(const struct wedge_examine *options, int deadline_ms, json_t **ret, struct wedge_err *err)
{
    return wedge_report_examine_by(wedge_detector_examine, options, deadline_ms, ret, err);
}
