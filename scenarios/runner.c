#include "scenarios/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "faults/plan.h"
#include "reports/write.h"
#include "scenarios/expect.h"
#include "scenarios/session.h"
#include "scenarios/verdict.h"

/* A scenario that expects an evident hang, or no progress, need not wait as long as a stranger's program. */
#define STALL_NS 10000000000ll
/* Nobody needs its command: on a busy machine a thread takes long to come to its stop, and without the stack of a holder that lives a contention is
 * another one. */
#define STOP_MS 2000

/* Of output.txt, at each end: a program that prints without end must not fill the disk. */
enum { KEEP_BYTES = 1 << 20 };

const char *const wedge_check_status_words[] = {"passed", "failed", "invalid"};

/* The plan stands inside the scenario's file: its places become the file's. */
static int compile(const struct wedge_scenario *s, const struct wedge_check *check, struct wedge_plan **ret,
                   struct wedge_err *err)
{
    const struct wedge_scenario_plan *plan = check->plan.text ? &check->plan : &s->plan;
    *ret = NULL;
    if (!plan->text)
        return 0;
    int rc = wedge_plan_parse(s->file, plan->text, ret, err);
    if (rc && err && err->line) {
        err->line += plan->line - 1;
        err->column += plan->indent;
    }
    return rc;
}

static bool must_fire_at_all(const struct wedge_plan *plan)
{
    for (size_t i = 0; i < wedge_plan_count(plan); i++)
        if (wedge_plan_must_fire(plan, i))
            return true;
    return false;
}

/* A rule that was renamed must not stay excused by its old name; and what the program should be is shown by a fault that
 * happens to it. (The cure of a twin may be that nobody comes to the fault's place any more.) */
static int check_excuses(const struct wedge_scenario *s, enum wedge_check_role role, struct wedge_plan *plan,
                         struct wedge_err *err)
{
    const struct wedge_check *check = &s->checks[role];
    bool must_fire = plan && must_fire_at_all(plan);
    for (char **id = check->unfired_ok; id && *id; id++)
        if (!plan || !wedge_plan_excuse(plan, *id))
            return wedge_err_input(err, s->file, check->unfired_line, check->unfired_column,
                                   "the plan has no rule '%s' that need not fire", *id);
    if (role != WEDGE_CHECK_HARDENED || !must_fire || must_fire_at_all(plan))
        return 0;
    wedge_err_input(err, s->file, check->unfired_line, check->unfired_column,
                    "every fault of the plan is excused here, so that this check would show nothing");
    wedge_err_remedy(err, "give it a 'plan' of its own, with a fault at the nearest place that is there");
    return -EINVAL;
}

int wedge_runner_load(const char *file, const char *build, struct wedge_scenario **ret, struct wedge_err *err)
{
    struct wedge_scenario *s;
    int rc = wedge_scenario_load(file, build, &s, err);
    if (rc)
        return rc;
    for (int role = 0; !rc && role < WEDGE_CHECKS; role++) {
        struct wedge_plan *plan;
        rc = s->checks[role].present ? compile(s, &s->checks[role], &plan, err) : 0;
        if (rc || !s->checks[role].present)
            continue;
        rc = check_excuses(s, (enum wedge_check_role)role, plan, err);
        wedge_plan_free(plan);
    }
    if (rc)
        wedge_scenario_free(s);
    else
        *ret = s;
    return rc;
}

/* Says why the run proves nothing, if so. What the check excuses need not happen (wedge_plan_excuse). */
static bool invalid(const struct wedge_outcome *out, char *message, size_t size)
{
    const struct wedge_reach *reach = &out->reach;
    struct wedge_text text = WEDGE_TEXT_INIT(size);
    if (reach->unfired[0])
        wedge_text_addf(&text, "; never fired: %s", reach->unfired);
    if (reach->missed[0])
        wedge_text_addf(&text, "; %s", reach->missed);
    if (reach->unreached)
        wedge_text_addf(&text, "; no rule reached %s", reach->absent);
    if (reach->lost)
        wedge_text_addf(
            &text, "; no rule acted on what found no room in the arena: %" PRIu32 " process%s, %" PRIu32 " thread%s",
            reach->lost_procs, reach->lost_procs == 1 ? "" : "es", reach->lost_threads,
            reach->lost_threads == 1 ? "" : "s");
    bool found = text.len > 0;
    /* What never came to its faults mostly ended early, and that is what there is to know of it. */
    if (found && out->end == WEDGE_ENDED && (out->signal || out->exit_status))
        wedge_text_addf(&text, "; it ended with %s %d", out->signal ? "signal" : "status",
                        out->signal ? out->signal : out->exit_status);
    const char *counts = found ? wedge_expect_counts_line(out->output) : NULL;
    if (counts)
        wedge_text_addf(&text, "; %.*s", (int)strcspn(counts, "\n"), counts);
    if (found)
        snprintf(message, size, "the run is invalid: %s", text.data + 2);
    wedge_text_free(&text);
    return found;
}

static void describe(const struct wedge_outcome *out, struct wedge_check_result *ret)
{
    struct wedge_headline h = wedge_headline(out->report);
    bool hang = wedge_expect_hung(out);
    snprintf(ret->verdict, sizeof(ret->verdict), "%s", hang ? h.kind : "finished");
    snprintf(ret->certainty, sizeof(ret->certainty), "%s", hang ? h.certainty : "");
    snprintf(ret->scope, sizeof(ret->scope), "%s", hang ? h.scope : "");
    snprintf(ret->signature, sizeof(ret->signature), "%s", hang ? h.signature : "");
    ret->duration_ns = out->duration_ns;
    ret->verdict_after_fault_ns = hang ? out->verdict_after_fault_ns : -1;
    ret->interrupted_by = out->interrupted_by;
    ret->end = out->end;
    ret->exit_status = out->end == WEDGE_ENDED ? out->exit_status : -1;
    ret->signal = out->end == WEDGE_ENDED ? out->signal : 0;
    const char *counts = wedge_expect_counts_line(out->output);
    if (counts)
        snprintf(ret->counts, sizeof(ret->counts), "%.*s", (int)strcspn(counts, "\n"), counts);
}

/* `expect` NULL: whatever came of it is as good. */
static void compare(const struct wedge_scenario *s, enum wedge_check_role role, const struct wedge_expect *expect,
                    const struct wedge_outcome *out, struct wedge_check_result *ret)
{
    describe(out, ret);
    if (out->end == WEDGE_NO_EXEC) {
        ret->status = WEDGE_CHECK_FAILED;
        snprintf(ret->message, sizeof(ret->message), "cannot execute %s: %s", s->checks[role].argv[0],
                 strerror(out->exec_errno));
    } else if (out->end == WEDGE_INTERRUPTED) {
        ret->status = WEDGE_CHECK_FAILED;
        snprintf(ret->message, sizeof(ret->message), "interrupted by signal %d", out->interrupted_by);
    } else if (invalid(out, ret->message, sizeof(ret->message))) {
        ret->status = WEDGE_CHECK_INVALID;
    } else if (expect && !wedge_expect_holds(expect, role == WEDGE_CHECK_HANG ? s->within_ms : 0, out, ret->message,
                                             sizeof(ret->message))) {
        ret->status = WEDGE_CHECK_FAILED;
    } else {
        struct wedge_headline h = wedge_headline(out->report);
        ret->status = WEDGE_CHECK_PASSED;
        snprintf(ret->message, sizeof(ret->message), "%s", role == WEDGE_CHECK_HANG ? h.summary : "");
    }
}

static int open_output(const char *dir, struct wedge_err *err)
{
    int dirfd, fd = -1;
    int rc = wedge_report_open_dir(dir, &dirfd, err);
    if (rc)
        return rc;
    static const char *const files[] = {"report.json", "report.html", "output.txt"}; /* of an earlier run */
    for (size_t i = 0; !rc && i < sizeof(files) / sizeof(files[0]); i++)
        rc = unlinkat(dirfd, files[i], 0) && errno != ENOENT ? -errno : 0;
    wedge_report_clean(dirfd);
    if (!rc)
        fd = openat(dirfd, "output.txt", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND | O_CLOEXEC, 0600);
    if (!rc && fd < 0)
        rc = -errno;
    close(dirfd);
    return rc ? wedge_err_set(err, rc, "cannot write %s/output.txt: %s", dir, strerror(-rc)) : fd;
}

int wedge_runner_play(const struct wedge_scenario *s, enum wedge_check_role role, const struct wedge_runner_how *how,
                      struct wedge_check_result *ret, struct wedge_err *err)
{
    const struct wedge_check *check = how->instead ? how->instead : &s->checks[role];
    struct wedge_check_result result = {.verdict_after_fault_ns = -1};
    struct wedge_outcome out;
    struct wedge_plan *plan = NULL;
    int rc = compile(s, check, &plan, err);
    if (rc)
        return rc;
    for (char **id = check->unfired_ok; plan && *id; id++)
        wedge_plan_excuse(plan, *id);
    snprintf(result.dir, sizeof(result.dir), "%s", how->dir);
    int output = open_output(result.dir, err);
    if (output < 0) {
        wedge_plan_free(plan);
        return output;
    }
    struct wedge_session session = {.verb = "run",
                                    .scenario = s->name,
                                    .argv = check->argv,
                                    .agent = true,
                                    .record = WEDGE_RECORD_CALLS,
                                    .plan = plan,
                                    .detect = true,
                                    .patience_ns = s->patience_ms * 1000000,
                                    .contention_quiesces = strcmp(s->checks[role].expect.kind, "contention") == 0,
                                    .stop_deadline_ms = STOP_MS,
                                    .stall_ns = how->stall_ns ? how->stall_ns : STALL_NS,
                                    .act_on_evident = true,
                                    .limit_ns = s->limit_ms * 1000000,
                                    .on_hang = {.kill = true},
                                    .mask = how->mask,
                                    .end_all = true,
                                    .stdout_fd = output,
                                    .stderr_fd = output,
                                    .copy_output = true,
                                    .keep_bytes = KEEP_BYTES};
    rc = wedge_session_run(&session, &out, err);
    close(output);
    if (rc) {
        wedge_plan_free(plan);
        return rc;
    }
    bool empty = plan && wedge_plan_count(plan) == 0;
    wedge_plan_free(plan);
    compare(s, role, how->instead ? NULL : &check->expect, &out, &result);
    if (empty && role == WEDGE_CHECK_HANG && result.status == WEDGE_CHECK_FAILED && out.end == WEDGE_ENDED &&
        strcmp(check->expect.kind, "finished") != 0)
        snprintf(result.message, sizeof(result.message),
                 "fill in the plan: it has no fault yet, and without one the command ended by itself");
    if (!how->hangs_only || wedge_expect_hung(&out))
        rc = wedge_report_write_dir(result.dir, out.report, err);
    wedge_outcome_free(&out);
    if (!rc)
        *ret = result;
    return rc;
}
