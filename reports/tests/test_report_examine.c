/* reports/examine: what a child says comes back, and a child that hangs or dies costs one process, not the report. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "reports/examine.h"
#include "reports/tests/samples.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

enum { ROOT = 4711, ENOUGH_MS = 10000, HUGE_MS = 30000 }; /* neither is what is tested: for slow machines, sanitizers */

static bool skips(const struct wedge_examine *o, pid_t pid)
{
    for (size_t i = 0; i < o->n_skip; i++)
        if (o->skip[i] == pid)
            return true;
    return false;
}

static int good(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                struct wedge_err *err)
{
    (void)o;
    (void)note;
    (void)err;
    *ret = sample_snapshot(SAMPLE_LOCK_CYCLE);
    return 0;
}

static int idle(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                struct wedge_err *err)
{
    (void)o;
    (void)note;
    (void)err;
    *ret = sample_snapshot(SAMPLE_IDLE);
    return 0;
}

static int hostile(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                   struct wedge_err *err)
{
    (void)o;
    (void)note;
    (void)err;
    *ret = sample_snapshot(SAMPLE_HOSTILE);
    return 0;
}

static int not_there(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                     struct wedge_err *err)
{
    (void)note;
    (void)ret;
    wedge_err_set(err, -ESRCH, "no process %d", o->root);
    wedge_err_remedy(err, "look it up with ps");
    return -ESRCH;
}

static int silent_error(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                        struct wedge_err *err)
{
    (void)o;
    (void)note;
    (void)ret;
    (void)err;
    return -EPERM;
}

/* Blocks for ever while it looks at 7 and 8, unless told to leave them out. */
static int blocks(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                  struct wedge_err *err)
{
    for (pid_t pid = 7; pid <= 8; pid++) {
        note->pid = pid;
        note->step = "reading its memory";
        while (!skips(o, pid))
            pause();
    }
    return good(o, note, ret, err);
}

static int n_tried;

/* Its root blocks at the first two tries, which the parent counts by what it shares with the children; or it does so itself,
 * at no process. */
static int *tries;
static bool blocks_by_itself;
static int blocks_on_root(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                          struct wedge_err *err)
{
    bool enough = ++*tries > n_tried;
    wedge_job_says(note, blocks_by_itself ? 0 : o->root, "environment", true);
    while (!enough)
        pause();
    return good(o, note, ret, err);
}

static int dies(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                struct wedge_err *err)
{
    note->pid = 9;
    note->step = "parsing its symbols";
    if (!skips(o, 9))
        raise(SIGKILL);
    return good(o, note, ret, err);
}

/* Dies on another process each time: there is an end to trying. */
static int dies_always(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                       struct wedge_err *err)
{
    note->pid = 100 + (pid_t)o->n_skip;
    note->step = "parsing its symbols";
    raise(SIGKILL);
    return good(o, note, ret, err);
}

static int dies_on_root(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                        struct wedge_err *err)
{
    note->pid = o->root;
    note->step = "reading the root";
    raise(SIGKILL);
    return good(o, note, ret, err);
}

/* 1,200 threads with 100 frames each that nobody else has, 100 of them stuck: far more than fits. */
static int huge(const struct wedge_examine *o, struct wedge_job_note *note, struct wedge_snapshot **ret,
                struct wedge_err *err)
{
    enum { THREADS = 1200, FRAMES = 100 };
    static char names[FRAMES][8];
    (void)o;
    (void)note;
    (void)err;
    struct wedge_snapshot *s = sample_snapshot(SAMPLE_LOCK_CYCLE);
    struct wedge_thread *threads = obstack_alloc(&s->mem, THREADS * sizeof(*threads));
    struct wedge_frame *frames = obstack_alloc(&s->mem, THREADS * FRAMES * sizeof(*frames));
    s->n_edges = 0;
    for (size_t i = 0; i < s->n_verdicts; i++)
        s->verdicts[i].n_victims = s->verdicts[i].n_culprits = 0;
    for (int i = 0; i < FRAMES; i++)
        snprintf(names[i], sizeof(names[i]), "fn%d", i);
    for (int i = 0; i < THREADS; i++) {
        for (int k = 0; k < FRAMES; k++)
            frames[i * FRAMES + k] = (struct wedge_frame){
                .pc = (uint64_t)(i * FRAMES + k), .function = names[k], .module = "/usr/bin/sample", .build_id = "aa"};
        threads[i] = s->threads[i % 2];
        threads[i].tid = 10000 + i;
        threads[i].proc = 0;
        threads[i].live = i >= 100;
        threads[i].frames = &frames[i * FRAMES];
        threads[i].n_frames = FRAMES;
    }
    s->procs[0].first_thread = 0;
    s->procs[0].n_threads = THREADS;
    s->n_procs = 1;
    s->threads = threads;
    s->n_threads = THREADS;
    *ret = s;
    return 0;
}

static bool brief;

static json_t *examine(wedge_report_examiner *by, int deadline_ms, int expected, struct wedge_err *err)
{
    const pid_t given[] = {55};
    struct wedge_examine options = {.root = ROOT, .skip = given, .n_skip = 1, .brief = brief};
    json_t *const untouched = json_null();
    json_t *report = untouched;
    memset(err, 0, sizeof(*err));
    int rc = wedge_report_examine_by(by, &options, deadline_ms, &report, err);
    ck_assert_msg(rc == expected, "returned %d (%s)", rc, err->message);
    if (rc)
        ck_assert_ptr_eq(report, untouched);
    return rc ? NULL : report;
}

START_TEST(test_report_comes_back)
{
    struct wedge_err err;
    struct wedge_report_run run = sample_run(SAMPLE_LOCK_CYCLE);
    json_t *report = examine(good, ENOUGH_MS, 0, &err), *expected = sample_report(SAMPLE_LOCK_CYCLE);
    ck_assert_int_eq(wedge_report_set_run(report, &run), 0);
    ck_assert(json_equal(report, expected));
    json_decref(expected);
    json_decref(report);
    report = examine(hostile, ENOUGH_MS, 0, &err);
    ck_assert_str_eq(wedge_report_text(report, "verdict.certainty"), "evident");
    json_decref(report);
}
END_TEST

/* Calls of write(2) by this process and its reaped children; -1: the kernel does not count them. */
static long writes_so_far(void)
{
    char text[512];
    FILE *in = fopen("/proc/self/io", "r");
    if (!in)
        return -1;
    size_t n = fread(text, 1, sizeof(text) - 1, in);
    fclose(in);
    text[n] = 0;
    const char *line = strstr(text, "syscw:");
    return line ? strtol(line + 6, NULL, 10) : -1;
}

/* A report of megabytes goes through the pipe in some dozen pieces, not in one for each of its words. */
START_TEST(test_few_writes)
{
    struct wedge_err err;
    long before = writes_so_far();
    json_decref(examine(huge, HUGE_MS, 0, &err));
    long after = writes_so_far();
    ck_assert_int_lt(after - before, 1000);
}
END_TEST

START_TEST(test_error_comes_back)
{
    struct wedge_err err;
    examine(not_there, ENOUGH_MS, -ESRCH, &err);
    ck_assert_str_eq(err.message, "no process 4711");
    ck_assert_str_eq(err.remedy, "look it up with ps");
    ck_assert_int_eq(err.code, -ESRCH);
    examine(silent_error, ENOUGH_MS, -EPERM, &err);
    ck_assert_ptr_nonnull(strstr(err.message, "4711"));
}
END_TEST

START_TEST(test_blocked_ones_are_skipped)
{
    struct wedge_err err;
    json_t *report = examine(blocks, 6400, 0, &err);
    const json_t *skipped = json_object_get(report, "skipped");
    ck_assert_uint_eq(json_array_size(skipped), 2);
    ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(skipped, 0), "pid")), 7);
    ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(skipped, 1), "pid")), 8);
    ck_assert_str_eq(wedge_report_text(json_array_get(skipped, 0), "step"), "reading its memory: did not end in time");
    json_decref(report);
}
END_TEST

/* A disk that was slow, or a machine that had no time: not at once the end of the report. */
START_TEST(test_root_is_tried_again)
{
    struct wedge_err err;
    tries = mmap(NULL, sizeof(*tries), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(tries, MAP_FAILED);
    n_tried = 2;
    blocks_by_itself = _i;
    json_t *report = examine(blocks_on_root, HUGE_MS, 0, &err);
    ck_assert_uint_eq(json_array_size(json_object_get(report, "skipped")), 0);
    json_decref(report);
    ck_assert_int_eq(*tries, 3);
    *tries = 0;
    n_tried = 1000;
    int64_t began = wedge_clock_ns();
    examine(blocks_on_root, HUGE_MS, -ETIMEDOUT, &err);
    ck_assert_int_eq(*tries, 3);
    long long said = -1;
    int end = 0;
    ck_assert_msg(sscanf(err.message, "the examination was given up after %lld ms: it was at 'environment'%n", &said,
                         &end) == 1 &&
                      strcmp(err.message + end, blocks_by_itself ? "" : " of process 4711") == 0,
                  "%s", err.message);
    ck_assert_int_le(said, (wedge_clock_ns() - began) / WEDGE_NS_PER_MS);
    ck_assert_int_ge(said, 3 * WEDGE_JOB_BLOCKED_MS);
    munmap(tries, sizeof(*tries));
}
END_TEST

START_TEST(test_deadly_one_is_skipped)
{
    struct wedge_err err;
    json_t *report = examine(dies, ENOUGH_MS, 0, &err);
    const json_t *one = json_array_get(json_object_get(report, "skipped"), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(one, "pid")), 9);
    ck_assert_str_eq(wedge_report_text(one, "step"), "parsing its symbols: ended the examination");
    json_decref(report);
}
END_TEST

START_TEST(test_there_is_an_end_to_trying)
{
    struct wedge_err err;
    examine(dies_always, ENOUGH_MS, -ECHILD, &err);
    ck_assert_ptr_nonnull(strstr(err.message, "signal 9 at 'parsing its symbols' of process 165"));
    examine(dies_on_root, ENOUGH_MS, -ECHILD, &err);
    ck_assert_ptr_nonnull(strstr(err.message, "of process 4711"));
}
END_TEST

START_TEST(test_deadline_holds)
{
    struct wedge_err err;
    int64_t began = wedge_clock_ns();
    examine(blocks, 250, -ETIMEDOUT, &err); /* too short for three tries */
    ck_assert_ptr_nonnull(strstr(err.message, "given up after "));
    ck_assert_ptr_nonnull(strstr(err.message, "reading its memory"));
    ck_assert_int_lt(wedge_clock_ns() - began, 10 * WEDGE_NS_PER_S);
}
END_TEST

START_TEST(test_too_large_loses_stacks_of_the_living)
{
    struct wedge_err err;
    json_t *report = examine(huge, HUGE_MS, 0, &err);
    const json_t *threads = json_object_get(json_array_get(json_object_get(report, "processes"), 0), "threads");
    ck_assert_uint_eq(json_array_size(threads), 1200);
    for (size_t i = 0; i < 1200; i++) {
        const json_t *stack = wedge_report_stack(report, json_array_get(threads, i));
        ck_assert_uint_eq(json_array_size(stack), i < 100 ? 100 : 0);
        for (size_t k = 0; k < json_array_size(stack); k++) {
            char pc[24];
            snprintf(pc, sizeof(pc), "0x%zx", i * 100 + k);
            ck_assert_str_eq(wedge_report_text(wedge_report_frame(report, stack, k), "pc"), pc);
        }
    }
    ck_assert_str_eq(wedge_report_text(json_array_get(threads, 700), "stack_note"),
                     "left out: the report would be too large");
    ck_assert_str_eq(wedge_report_text(json_array_get(threads, 99), "stack_note"), "");
    ck_assert_uint_eq(json_array_size(json_object_get(report, "stacks")), 100); /* what nobody has takes no room */
    ck_assert_uint_eq(json_array_size(json_object_get(report, "frames")), 100 * 100);
    ck_assert_ptr_nonnull(strstr(wedge_report_text(report, "complete"), "too large"));
    json_decref(report);
}
END_TEST

/* Who is watched and does not hang is not described; a hang is, in full. */
START_TEST(test_brief)
{
    struct wedge_err err;
    for (int i = 0; i < 4; i++) {
        brief = i & 1;
        json_t *report = examine(i < 2 ? idle : good, ENOUGH_MS, 0, &err);
        ck_assert_int_eq(wedge_report_check(report, &err), 0);
        ck_assert_str_eq(wedge_report_text(report, "verdict.kind"), i < 2 ? "idle" : "lock-cycle");
        ck_assert_int_eq(json_array_size(json_object_get(report, "processes")) == 0, i == 1);
        json_decref(report);
    }
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_brief);
    tcase_add_test(tcase, test_report_comes_back);
    tcase_add_test(tcase, test_few_writes);
    tcase_add_test(tcase, test_error_comes_back);
    tcase_add_test(tcase, test_blocked_ones_are_skipped);
    if (WEDGE_TEST_MAY_SLEEP)
        tcase_add_loop_test(tcase, test_root_is_tried_again, 0, 2);
    tcase_add_test(tcase, test_deadly_one_is_skipped);
    tcase_add_test(tcase, test_there_is_an_end_to_trying);
    tcase_add_test(tcase, test_deadline_holds);
    tcase_add_test(tcase, test_too_large_loses_stacks_of_the_living);
}

int main(void)
{
    return wedge_test_main("report_examine", 60, fill);
}
