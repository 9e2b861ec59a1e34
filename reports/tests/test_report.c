/* reports/report, tree, string, check: the model says what the snapshot says, and what is no report is refused. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/tests/suite.h"
#include "reports/describe.h"
#include "reports/output.h"
#include "reports/report.h"
#include "reports/tests/samples.h"

static const json_t *at(const json_t *array, size_t i)
{
    return json_array_get(array, i);
}

static long long number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    ck_assert_msg(json_is_integer(value), "%s is not an integer", key);
    return json_integer_value(value);
}

START_TEST(test_samples_are_reports)
{
    struct wedge_err err = {0};
    json_t *report = sample_report((enum sample)_i);
    ck_assert_msg(wedge_report_check(report, &err) == 0, "%s: %s", sample_names[_i], err.message);
    ck_assert_str_eq(wedge_report_text(report, "schema"), "wedge.report/2");
    if (_i != SAMPLE_HOSTILE)
        ck_assert_str_eq(wedge_report_text(report, "verdict.kind"), sample_names[_i]);
    ck_assert(json_equal(json_object_get(report, "verdict"), at(json_object_get(report, "verdicts"), 0)));
    json_decref(report);
}
END_TEST

/* NULL: null. What is hostile is harmless here. */
static bool says(const json_t *object, const char *key, const char *text)
{
    json_t *wanted = text ? wedge_report_string(text) : json_null();
    bool same = json_equal(json_object_get(object, key), wanted);
    json_decref(wanted);
    return same;
}

static bool is_frame(const json_t *frame, const struct wedge_frame *f)
{
    char pc[24], offset[24];
    snprintf(pc, sizeof(pc), "0x%" PRIx64, f->pc);
    snprintf(offset, sizeof(offset), "0x%" PRIx64, f->module_offset);
    return says(frame, "pc", pc) && says(frame, "offset", offset) && says(frame, "function", f->function) &&
           says(frame, "file", f->file) && says(frame, "module", f->module) && says(frame, "build_id", f->build_id) &&
           json_integer_value(json_object_get(frame, "line")) == f->line &&
           json_is_true(json_object_get(frame, "inlined")) == f->inlined &&
           json_is_true(json_object_get(frame, "signal")) == f->signal &&
           json_is_true(json_object_get(frame, "libc")) == f->libc &&
           json_is_true(json_object_get(frame, "runtime")) == f->runtime;
}

static void all_different(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        for (size_t k = 0; k < i; k++)
            ck_assert(!json_equal(at(array, i), at(array, k)));
}

/* Every thread has its stack; each stack and each frame stands there once. */
static void same_stacks(const struct wedge_snapshot *s, const json_t *report)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_procs; i++)
        for (int k = 0; k < s->procs[i].n_threads; k++, n++) {
            const struct wedge_thread *t = &s->threads[s->procs[i].first_thread + k];
            const json_t *thread =
                at(json_object_get(at(json_object_get(report, "processes"), i), "threads"), (size_t)k);
            const json_t *stack = wedge_report_stack(report, thread);
            ck_assert_int_eq(number(thread, "tid"), t->tid);
            ck_assert_int_eq(json_is_null(json_object_get(thread, "stack")), t->n_frames == 0);
            ck_assert_uint_eq(json_array_size(stack), t->n_frames);
            for (size_t f = 0; f < t->n_frames; f++)
                ck_assert(is_frame(wedge_report_frame(report, stack, f), &t->frames[f]));
            ck_assert_ptr_null(wedge_report_frame(report, stack, t->n_frames));
        }
    ck_assert_uint_gt(n, 0);
    all_different(json_object_get(report, "stacks"));
    all_different(json_object_get(report, "frames"));
}

START_TEST(test_stacks)
{
    struct wedge_snapshot *s = sample_snapshot((enum sample)_i);
    json_t *report = wedge_report_new(NULL, s);
    ck_assert_ptr_nonnull(report);
    same_stacks(s, report);
    wedge_snapshot_free(s);
    json_decref(report);
}
END_TEST

/* Frames that differ in one thing, whichever, are two; arrays of equal ones are one stack, and one that ends earlier is another. */
START_TEST(test_stacks_that_look_alike)
{
    enum { KINDS = 13 };
    const struct wedge_frame plain = {
        .pc = 16, .module_offset = 8, .module = "m", .build_id = "b", .function = "f", .file = "c", .line = 3};
    struct wedge_frame frames[KINDS + 1];
    for (size_t i = 0; i <= KINDS; i++)
        frames[i] = plain;
    frames[1].pc = 17;
    frames[2].module_offset = 9;
    frames[3].module = "n";
    frames[4].build_id = "d";
    frames[5].function = "g";
    frames[6].function = NULL;
    frames[7].file = NULL;
    frames[8].line = 0;
    frames[9].inlined = true;
    frames[10].signal = true;
    frames[11].libc = true;
    frames[12].runtime = true;
    struct wedge_frame again[KINDS + 1];
    memcpy(again, frames, sizeof(again));
    struct wedge_snapshot *s = sample_snapshot(SAMPLE_LOCK_CYCLE);
    struct wedge_thread *a = &s->threads[0], *b = &s->threads[1];
    const struct {
        size_t n_frames, n_stacks;
    } cases[] = {{KINDS + 1, 1}, {KINDS, 2}, {1, 2}, {0, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        a->frames = frames;
        a->n_frames = KINDS + 1;
        b->frames = again;
        b->n_frames = cases[i].n_frames;
        json_t *report = wedge_report_new(NULL, s);
        same_stacks(s, report);
        ck_assert_uint_eq(json_array_size(json_object_get(report, "stacks")), cases[i].n_stacks);
        ck_assert_uint_eq(json_array_size(json_object_get(report, "frames")), KINDS);
        json_decref(report);
    }
    wedge_snapshot_free(s);
}
END_TEST

START_TEST(test_orphaned_names_cause_and_rule)
{
    json_t *report = sample_report(SAMPLE_ORPHANED);
    const json_t *culprits = json_object_get(json_object_get(report, "verdict"), "culprits");
    ck_assert_uint_eq(json_array_size(culprits), 4);
    ck_assert_str_eq(wedge_report_text(at(culprits, 2), "role.name"), "worker");
    ck_assert_str_eq(wedge_report_text(at(culprits, 2), "rule"), "f1");
    ck_assert_str_eq(wedge_report_text(at(culprits, 2), "last_point"), "pool.worker.got_task");
    const json_t *victim = at(json_object_get(json_object_get(report, "verdict"), "victims"), 1);
    ck_assert_str_eq(wedge_report_text(victim, "function"), "take_result");
    ck_assert_str_eq(wedge_report_text(victim, "file"), "pool/collector.c");
    ck_assert_int_eq(number(victim, "line"), 66);
    const json_t *edge = at(json_object_get(report, "edges"), 1);
    ck_assert_str_eq(wedge_report_text(edge, "from"), "t5203");
    ck_assert_str_eq(wedge_report_text(edge, "to"), "d5210");
    ck_assert_str_eq(wedge_report_text(edge, "kind"), "dead");
    const json_t *fault = at(json_object_get(report, "faults"), 0);
    ck_assert_int_eq(number(fault, "fired"), 4);
    ck_assert_uint_eq(json_array_size(json_object_get(fault, "firings")), 4);
    ck_assert_int_eq(number(json_object_get(report, "metrics"), "stuck_threads"), 2);
    json_decref(report);
}
END_TEST

START_TEST(test_timeline_is_dated_and_sorted)
{
    json_t *report = sample_report(SAMPLE_ORPHANED);
    struct wedge_report_run run = sample_run(SAMPLE_ORPHANED);
    const json_t *timeline = json_object_get(report, "timeline");
    ck_assert_uint_eq(json_array_size(timeline), 6); /* started, four firings, verdict */
    ck_assert_str_eq(wedge_report_text(at(timeline, 0), "what"), "started");
    ck_assert_int_eq(number(at(timeline, 0), "at_ms"), 0);
    ck_assert_int_eq(number(at(timeline, 1), "at_ms"), 310);
    ck_assert_int_eq(number(at(timeline, 5), "at_ms"), 850);
    run.signal = 9;
    ck_assert_int_eq(wedge_report_set_run(report, &run), 0);
    ck_assert_int_eq(wedge_report_set_run(report, &run), 0); /* twice: nothing doubles */
    ck_assert_uint_eq(json_array_size(timeline), 7);
    ck_assert_str_eq(wedge_report_text(at(timeline, 6), "what"), "ended");
    ck_assert_str_eq(wedge_report_text(report, "verdict.kind"), "orphaned-wait"); /* a hang stays one */
    ck_assert_int_eq(number(json_object_get(report, "run"), "signal"), 9);
    json_decref(report);
}
END_TEST

START_TEST(test_run_comes_later)
{
    struct wedge_snapshot *s = sample_snapshot(SAMPLE_LOCK_CYCLE);
    struct wedge_report_run run = sample_run(SAMPLE_LOCK_CYCLE);
    struct wedge_err err = {0};
    json_t *report = wedge_report_new(NULL, s);
    wedge_snapshot_free(s);
    ck_assert_int_eq(wedge_report_check(report, &err), 0);
    ck_assert(json_is_null(json_object_get(json_object_get(report, "run"), "command")));
    ck_assert(json_is_null(json_object_get(at(json_object_get(report, "timeline"), 0), "at_ms")));
    ck_assert_int_eq(wedge_report_set_run(report, &run), 0);
    json_t *at_once = sample_report(SAMPLE_LOCK_CYCLE);
    ck_assert(json_equal(report, at_once));
    json_decref(at_once);
    json_decref(report);
}
END_TEST

static const struct {
    int exit_status, signal;
    const char *kind, *says;
} ends[] = {
    {0, 0, "finished", "The command ended by itself with status 0 after"},
    {7, 0, "finished", "with status 7"},
    {-1, 15, "finished", "was ended by signal 15 (SIGTERM)"},
    {-1, 0, "running", "was still running"},
};

START_TEST(test_without_a_snapshot)
{
    struct wedge_report_run run = sample_run(SAMPLE_LOCK_CYCLE);
    struct wedge_err err = {0};
    run.exit_status = ends[_i].exit_status;
    run.signal = ends[_i].signal;
    json_t *report = wedge_report_new(&run, NULL);
    ck_assert_msg(wedge_report_check(report, &err) == 0, "%s", err.message);
    ck_assert_str_eq(wedge_report_text(report, "verdict.kind"), ends[_i].kind);
    ck_assert_ptr_nonnull(strstr(wedge_report_text(report, "verdict.summary"), ends[_i].says));
    ck_assert(json_is_false(json_object_get(json_object_get(report, "verdict"), "hang")));
    ck_assert(json_is_null(json_object_get(report, "root")));
    json_decref(report);
}
END_TEST

START_TEST(test_idle_that_ended_is_finished)
{
    json_t *report = sample_report(SAMPLE_IDLE);
    struct wedge_report_run run = sample_run(SAMPLE_LOCK_CYCLE);
    run.exit_status = 3;
    ck_assert_int_eq(wedge_report_set_run(report, &run), 0);
    ck_assert_str_eq(wedge_report_text(report, "verdict.kind"), "finished");
    ck_assert_int_eq(wedge_report_check(report, NULL), 0);
    json_decref(report);
}
END_TEST

START_TEST(test_hostile_texts_are_plain)
{
    json_t *report = sample_report(SAMPLE_HOSTILE);
    char *text = json_dumps(report, 0);
    ck_assert_ptr_nonnull(text);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        ck_assert_msg(*c >= 0x20 && *c != 0x7f, "byte %02x at %zu", *c, (size_t)(c - (const unsigned char *)text));
    ck_assert_ptr_null(strstr(text, "\\u00")); /* no control character hides behind JSON's own escape either */
    const char *summary = wedge_report_text(report, "verdict.summary");
    ck_assert_ptr_nonnull(strstr(summary, "\\x1b[31m"));
    ck_assert_ptr_nonnull(strstr(summary, "\\xff\\xc0\\xaf\\xed\\xa0\\x80"));
    ck_assert_ptr_nonnull(strstr(summary, "gr\xc3\xbc\xc3\x9f"));
    free(text);
    json_decref(report);
}
END_TEST

START_TEST(test_long_texts_are_cut)
{
    enum { LONG = 100000 };
    char *text = malloc(LONG + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', LONG);
    text[LONG] = 0;
    json_t *string = wedge_report_string(text);
    ck_assert_uint_lt(json_string_length(string), 16384);
    ck_assert_uint_gt(json_string_length(string), 16000);
    json_decref(string);
    free(text);
}
END_TEST

static const struct {
    const char *tail;
    size_t n;
    const char *last;
} outputs[] = {
    {"", 0, NULL},
    {"\n", 1, ""},
    {"one", 1, "one"},
    {"one\ntwo\n", 2, "two"},
    {"one\n\ntwo", 3, "two"},
    {"a\n\n", 2, ""},
    {"10%\r20%\r30%\n", 1, "30%"},
    {"dos\r\n", 1, "dos"},
    {"\033[1;31mred\033[0m plain", 1, "red plain"},
    {"\033]0;title\aafter", 1, "after"},
    {"\033]8;;http://x\033\\link", 1, "link"},
    {"cut \033[31", 1, "cut \\x1b[31"},
    {"tab\there", 1, "tab    here"},
    {"bell\a \xff", 1, "bell\\x07 \\xff"},
    {"1\n2\n3\n4\n5\n6\n7\n8\n9\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n0\n1\n2\n3\n4\n5\n6\n7\n8"
     "\n9\n0\n"
     "1\n2\n3\n4\n5\n6\n7\n8\n9\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n0\n1\n2\n3\nlast\n",
     60, "last"},
};

START_TEST(test_output_lines)
{
    json_t *lines = wedge_output_lines(outputs[_i].tail);
    ck_assert_uint_eq(json_array_size(lines), outputs[_i].n);
    if (outputs[_i].last)
        ck_assert_str_eq(json_string_value(at(lines, outputs[_i].n - 1)), outputs[_i].last);
    json_decref(lines);
}
END_TEST

/* One change each to a good report; `value` is JSON, NULL: the field is taken away. */
static const struct {
    const char *path, *value, *says;
} bad[] = {
    {"schema", "\"wedge.report/3\"", "not a report of this version"},
    {"schema", "\"wedge.report/1\"", "schema is 'wedge.report/1', not 'wedge.report/2'"},
    {"schema", "\"\"", "not a report of this version"},
    {"schema", NULL, "schema is missing"},
    {"schema", "1", "schema is not a text"},
    {"extra", "1", "the whole has a field that no report has"},
    {"wedge", "[]", "wedge is not an object"},
    {"run.seed", "24301", "run.seed is not a text"},
    {"run.command", "{}", "run.command is not an array"},
    {"run.command", "[1]", "run.command[0] is not a text"},
    {"run.duration_ms", "-1", "run.duration_ms is not a count"},
    {"run.agent", "0", "run.agent is neither true nor false"},
    {"run.host.cpus", "\"2\"", "run.host.cpus is not an integer"},
    {"verdict", "null", "verdict is not an object"},
    {"verdict.kind", "\"deadlock\"", "verdict.kind is not one of its words"},
    {"verdict.certainty", "null", "verdict.certainty is not one of its words"},
    {"verdict.scope", "\"all\"", "verdict.scope is not one of its words"},
    {"verdict.culprits", "[{}]", "verdict.culprits[0].node is missing"},
    {"verdict.culprits", "[{\"node\":\"r:x\",\"pid\":1,\"role\":null}]", "is neither a thread nor a dead process"},
    {"verdict.culprits", "[{\"node\":\"t1\",\"pid\":1,\"role\":null}]", "verdict.culprits[0].tid is missing"},
    {"verdict.victims", "[{\"node\":\"d1\",\"pid\":1,\"role\":null}]", "verdict.victims[0].last_point is missing"},
    {"verdict.stuck_until_ms", "1.5", "verdict.stuck_until_ms is not an integer"},
    {"verdicts", "[]", "it has no verdict"},
    {"processes", "{}", "processes is not an array"},
    {"processes", "[[]]", "processes[0] is not an object"},
    {"processes.0.threads", "[null]", "processes[0].threads[0] is not an object"},
    {"frames", NULL, "frames is missing"},
    {"frames.0.function", "7", "frames[0].function is not a text"},
    {"frames", "[]", "stacks[0][0] is not the number of a frame"},
    {"stacks", NULL, "stacks is missing"},
    {"stacks", "{}", "stacks is not an array"},
    {"stacks", "[]", "processes[0].threads[0].stack is not the number of a stack"},
    {"stacks.0", "7", "stacks[0] is not an array of frames"},
    {"stacks.0", "[]", "stacks[0] is not an array of frames"},
    {"stacks.0.1", "-1", "stacks[0][1] is not the number of a frame"},
    {"stacks.0.1", "9999", "stacks[0][1] is not the number of a frame"},
    {"stacks.0.1", "0.5", "stacks[0][1] is not the number of a frame"},
    {"stacks.0.1", "null", "stacks[0][1] is not the number of a frame"},
    {"processes.0.threads.0.stack", "-1", "threads[0].stack is not the number of a stack"},
    {"processes.0.threads.0.stack", "9999", "threads[0].stack is not the number of a stack"},
    {"processes.0.threads.0.stack", "[0]", "threads[0].stack is not the number of a stack"},
    {"processes.0.threads.0.stack", NULL, "threads[0].stack is missing"},
    {"processes.0.threads.0.wait.class", "\"nap\"", "wait.class is not one of its words"},
    {"processes.0.threads.0.wait.object.full", "null", "wait.object.full is neither true nor false"},
    {"processes.0.threads.0.node", "\"t\"", "threads[0].node is not the name of a node"},
    {"processes.0.threads.0.node", "\"t1\"", "leads from or to nowhere"},
    {"processes.0.role", "\"worker\"", "processes[0].role is not an object"},
    {"dead", "[{\"node\":\"d1\"}]", "dead[0].pid is missing"},
    {"edges.0.to", "\"t99999\"", "edges[0] leads from or to nowhere"},
    {"edges.0.to", "\"x\"", "edges[0].to is not the name of a node"},
    {"edges.0.kind", "\"friend\"", "edges[0].kind is not one of its words"},
    {"edges.0.need", "\"some\"", "edges[0].need is not one of its words"},
    {"faults", "[{\"id\":\"f1\"}]", "faults[0].text is missing"},
    {"timeline.0.what", "\"lunch\"", "timeline[0].what is not one of its words"},
    {"metrics.threads", "-3", "metrics.threads is not a count"},
    {"disturbance.may_have_seen_eintr", "[1]", "disturbance.may_have_seen_eintr[0] is not an object"},
    {"output", "[\"ok\",2]", "output[1] is not a text"},
    {"complete", "false", "complete is not a text"},
    {"skipped", "[{\"pid\":-1,\"step\":\"\"}]", "skipped[0].pid is not a count"},
};

static void change(json_t *report, const char *path, const char *value)
{
    char copy[256], *save = NULL;
    snprintf(copy, sizeof(copy), "%s", path);
    json_t *object = report;
    char *part = strtok_r(copy, ".", &save), *next;
    for (; (next = strtok_r(NULL, ".", &save)); part = next) {
        object = json_is_array(object) ? json_array_get(object, (size_t)atoi(part)) : json_object_get(object, part);
        ck_assert_msg(object != NULL, "no %s in %s", part, path);
    }
    if (!value) {
        ck_assert_int_eq(json_object_del(object, part), 0);
        return;
    }
    json_t *tree = json_loads(value, JSON_DECODE_ANY, NULL);
    ck_assert_ptr_nonnull(tree);
    ck_assert_int_eq(json_is_array(object) ? json_array_set_new(object, (size_t)atoi(part), tree)
                                           : json_object_set_new(object, part, tree),
                     0);
}

START_TEST(test_bad_reports_are_refused)
{
    struct wedge_err err = {0};
    json_t *report = sample_report(SAMPLE_LOCK_CYCLE);
    change(report, bad[_i].path, bad[_i].value);
    ck_assert_int_eq(wedge_report_check(report, &err), -EBADMSG);
    ck_assert_msg(strstr(err.message, bad[_i].says) != NULL, "%s: said '%s', expected '%s'", bad[_i].path, err.message,
                  bad[_i].says);
    ck_assert_int_eq(wedge_report_check(report, NULL), -EBADMSG);
    json_decref(report);
}
END_TEST

START_TEST(test_not_even_an_object)
{
    static const char *const trees[] = {"[]", "\"report\"", "null", "3", "{}"};
    for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++) {
        json_t *tree = json_loads(trees[i], JSON_DECODE_ANY, NULL);
        ck_assert_int_eq(wedge_report_check(tree, NULL), -EBADMSG);
        json_decref(tree);
    }
    ck_assert_int_eq(wedge_report_check(NULL, NULL), -EBADMSG);
}
END_TEST

START_TEST(test_redacted)
{
    static const char secret[] = "s3cret";
    char program[] = "prog", option[] = "--password=s3cret", *command[] = {program, option, NULL};
    struct wedge_report_run run = {
        .verb = "watch", .command = command, .exit_status = -1, .output_tail = "token s3cret\n"};
    struct wedge_proc procs[] = {
        {.pid = 1, .comm = "prog", .exe = "/bin/prog", .cmdline = "prog --password=s3cret", .role = "", .note = ""},
        {.pid = 2, .comm = "prog", .exe = "/bin/prog", .cmdline = "prog", .role = "", .note = ""}};
    struct wedge_verdict idle = {
        .kind = WEDGE_VERDICT_IDLE, .reason = "", .summary = "", .signature = "", .signature_roles = ""};
    struct wedge_snapshot snapshot = {
        .root = 1, .procs = procs, .n_procs = 2, .verdicts = &idle, .n_verdicts = 1, .complete = ""};
    for (int round = 0; round < 2; round++) { /* without, and with */
        if (round)
            wedge_report_redact();
        json_t *report = wedge_report_new(&run, &snapshot);
        ck_assert_ptr_nonnull(report);
        char *text = json_dumps(report, 0);
        ck_assert_msg(!strstr(text, secret) == (round == 1), "%s", text);
        if (round) {
            const json_t *all = json_object_get(report, "processes");
            ck_assert_str_eq(wedge_report_text(json_array_get(all, 0), "cmdline"), "prog (redacted)");
            ck_assert_str_eq(wedge_report_text(json_array_get(all, 1), "cmdline"), "prog");
            ck_assert_str_eq(
                json_string_value(json_array_get(json_object_get(json_object_get(report, "run"), "command"), 1)),
                "(redacted)");
        }
        free(text);
        json_decref(report);
    }
}
END_TEST

START_TEST(test_text_paths)
{
    json_t *report = sample_report(SAMPLE_IDLE);
    ck_assert_str_eq(wedge_report_text(report, "verdict.kind"), "idle");
    ck_assert_str_eq(wedge_report_text(report, "verdict.nothing"), "");
    ck_assert_str_eq(wedge_report_text(report, "verdict"), "");
    ck_assert_str_eq(wedge_report_text(report, "verdict.kind.deeper"), "");
    ck_assert_str_eq(wedge_report_text(NULL, "verdict"), "");
    ck_assert_str_eq(wedge_report_text(report, ""), "");
    json_decref(report);
}
END_TEST

/* A source as the compiler was called for it: shown short, in the report as it is. */
static const struct {
    const char *file, *shown;
} sources[] = {
    {"a.c", "a.c"},
    {"/src/build/dev/../../pool/a.c", "/src/pool/a.c"},
    {"/src/build/./../a.c", "/src/a.c"},
    {"build/../a.c", "a.c"},
    {"../a.c", "../a.c"},
    {"../../x/../a.c", "../../a.c"},
    {"a/../../b/c.c", "../b/c.c"},
    {"/../a.c", "/../a.c"},
    {"/src/..hidden/.x/a..c", "/src/..hidden/.x/a..c"},
    {"/a/b/../", "/a/"},
    {"/a/b/..", "/a/"},
};

START_TEST(test_sources_are_shown_short)
{
    char place[256], wanted[256];
    json_t *frame = json_pack("{s:s,s:s,s:i}", "function", "f", "file", sources[_i].file, "line", 7);
    wedge_describe_place(frame, place, sizeof(place));
    snprintf(wanted, sizeof(wanted), "f (%s:7)", sources[_i].shown);
    ck_assert_str_eq(place, wanted);
    json_decref(frame);
}
END_TEST

START_TEST(test_long_source)
{
    char file[3000], place[4000];
    memset(file, 'x', sizeof(file) - 1);
    file[sizeof(file) - 1] = 0;
    memcpy(file, "a/../", 5);
    json_t *frame = json_pack("{s:s,s:s,s:i}", "function", "f", "file", file, "line", 7);
    wedge_describe_place(frame, place, sizeof(place));
    ck_assert_uint_eq(strlen(place), strlen("f (:7)") + strlen(file));
    json_decref(frame);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_samples_are_reports, 0, SAMPLE_COUNT);
    tcase_add_loop_test(tcase, test_stacks, 0, SAMPLE_COUNT);
    tcase_add_test(tcase, test_stacks_that_look_alike);
    tcase_add_test(tcase, test_orphaned_names_cause_and_rule);
    tcase_add_test(tcase, test_timeline_is_dated_and_sorted);
    tcase_add_test(tcase, test_run_comes_later);
    tcase_add_loop_test(tcase, test_without_a_snapshot, 0, sizeof(ends) / sizeof(ends[0]));
    tcase_add_test(tcase, test_idle_that_ended_is_finished);
    tcase_add_test(tcase, test_hostile_texts_are_plain);
    tcase_add_test(tcase, test_long_texts_are_cut);
    tcase_add_loop_test(tcase, test_output_lines, 0, sizeof(outputs) / sizeof(outputs[0]));
    tcase_add_loop_test(tcase, test_bad_reports_are_refused, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(tcase, test_not_even_an_object);
    tcase_add_test(tcase, test_text_paths);
    tcase_add_loop_test(tcase, test_sources_are_shown_short, 0, sizeof(sources) / sizeof(sources[0]));
    tcase_add_test(tcase, test_long_source);
    tcase_add_test(tcase, test_redacted);
}

int main(void)
{
    return wedge_test_main("report", 20, fill);
}
