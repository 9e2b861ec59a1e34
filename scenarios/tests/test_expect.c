/* scenarios/expect and verdict: what counts as expected, and the words when it is not. */
#include "scenarios/expect.h"

#include <string.h>

#include "base/tests/suite.h"
#include "scenarios/verdict.h"

static const char *const hang_text =
    "{\"verdict\": {\"kind\": \"orphaned-wait\", \"certainty\": \"proved\", \"scope\": \"whole\", \"hang\": true,"
    " \"signature\": \"sig1:1\", \"summary\": \"S\", \"culprits\": [{\"node\": \"d7\"}, {\"node\": \"t9\"}],"
    " \"victims\": [{\"node\": \"t8\"}]},"
    " \"dead\": [{\"node\": \"d7\", \"role\": {\"name\": \"worker\"}, \"last_point\": \"a.b\"}],"
    " \"frames\": [{\"function\": \"init\"}, {\"function\": null}, {\"function\": \"wait\"}], \"stacks\": [[1, 0], "
    "[2]],"
    " \"processes\": [{\"role\": {\"name\": \"helper\"}, \"threads\": [{\"node\": \"t8\", \"stack\": 1},"
    "   {\"node\": \"t9\", \"stack\": 0}]}]}";

static struct wedge_outcome hang(void)
{
    struct wedge_outcome out = {.end = WEDGE_HUNG, .exit_status = -1, .verdict_after_fault_ns = 400000000};
    out.report = json_loads(hang_text, 0, NULL);
    ck_assert_ptr_nonnull(out.report);
    return out;
}

START_TEST(test_counts)
{
    static const char output[] = "counts: ok=1\nnoise counts: ok=2\ncounts: ok=12 lost=-4 bad=1x\nend\n";
    int64_t n = 0;
    ck_assert(wedge_expect_count(output, "ok", &n));
    ck_assert_int_eq(n, 12);
    ck_assert(wedge_expect_count(output, "lost", &n));
    ck_assert_int_eq(n, -4);
    ck_assert(!wedge_expect_count(output, "bad", &n));
    ck_assert(!wedge_expect_count(output, "o", &n));
    ck_assert(!wedge_expect_count("counts ok=1", "ok", &n));
    ck_assert(!wedge_expect_count("", "ok", &n));
}
END_TEST

START_TEST(test_finished)
{
    struct wedge_count counts[] = {{(char *)"ok", 3, WEDGE_COUNT_EQUAL}};
    struct wedge_expect e = {.kind = (char *)"finished", .counts = counts, .n_counts = 1};
    struct wedge_outcome out = {.end = WEDGE_ENDED, .output = (char *)"counts: ok=3\n"};
    char message[200] = "";
    ck_assert(wedge_expect_holds(&e, 0, &out, message, sizeof(message)));
    out.output = (char *)"counts: ok=2\n";
    ck_assert(!wedge_expect_holds(&e, 0, &out, message, sizeof(message)));
    ck_assert_str_eq(message, "expected ok=3, got 2");
    out.output = (char *)"";
    ck_assert(!wedge_expect_holds(&e, 0, &out, message, sizeof(message)));
    out.output = (char *)"counts: ok=3\n";
    out.exit_status = 1;
    ck_assert(!wedge_expect_holds(&e, 0, &out, message, sizeof(message)));
    ck_assert_str_eq(message, "expected it to finish well, but it ended with status 1");
    e.status = 1;
    ck_assert(wedge_expect_holds(&e, 0, &out, message, sizeof(message)));
    out.exit_status = 0;
    ck_assert(!wedge_expect_holds(&e, 0, &out, message, sizeof(message)));
    ck_assert_str_eq(message, "expected it to finish with status 1, but it ended with status 0");
    out.end = WEDGE_LIMIT;
    ck_assert(!wedge_expect_holds(&e, 0, &out, message, sizeof(message)));
    struct wedge_outcome hung = hang();
    ck_assert(!wedge_expect_holds(&e, 0, &hung, message, sizeof(message)));
    ck_assert_str_eq(message, "expected it to finish, but it hangs: orphaned-wait (proved): S");
    json_decref(hung.report);
}
END_TEST

static const struct {
    const char *kind, *certainty, *scope;
    const char *culprit[3], *victim[3]; /* role, function, point */
    int64_t within_ms;
    const char *message; /* "": as expected */
} hangs[] = {
    {"orphaned-wait", "proved", "whole", {"worker", NULL, NULL}, {NULL}, 1000, ""},
    {"orphaned-wait", "evident", NULL, {"helper", "init", NULL}, {NULL}, 0, ""},
    {"orphaned-wait", NULL, NULL, {NULL, "init", NULL}, {NULL}, 0, ""},
    {"orphaned-wait", NULL, NULL, {"worker", NULL, "a.b"}, {"helper", "wait", NULL}, 0, ""},
    {"lock-cycle", NULL, NULL, {NULL}, {NULL}, 0, "expected lock-cycle, got orphaned-wait (proved): S"},
    {"orphaned-wait", NULL, "part", {NULL}, {NULL}, 0, "expected scope part, got whole"},
    {"orphaned-wait", NULL, NULL, {"parent", NULL, NULL}, {NULL}, 0, "no culprit is parent"},
    {"orphaned-wait", NULL, NULL, {"worker", "init", NULL}, {NULL}, 0, "no culprit is worker in init"},
    {"orphaned-wait", NULL, NULL, {NULL, "main", NULL}, {NULL}, 0, "no culprit is any role in main"},
    {"orphaned-wait", NULL, NULL, {NULL, "wait", NULL}, {NULL}, 0, "no culprit is any role in wait"},
    {"orphaned-wait", NULL, NULL, {"worker", NULL, "a.c"}, {NULL}, 0, "no culprit is worker that died at a.c"},
    {"orphaned-wait", NULL, NULL, {"helper", NULL, "a.b"}, {NULL}, 0, "no culprit is helper that died at a.b"},
    {"orphaned-wait", NULL, NULL, {NULL}, {"helper", "init", NULL}, 0, "no victim is helper in init"},
    {"orphaned-wait", NULL, NULL, {NULL}, {"worker", NULL, NULL}, 0, "no victim is worker"},
    {"orphaned-wait",
     NULL,
     NULL,
     {NULL},
     {NULL},
     300,
     "the verdict came 400 ms after the last fault, expected within 300 ms"},
};

static struct wedge_party party(const char *const said[3])
{
    return (struct wedge_party){(char *)said[0], (char *)said[1], (char *)said[2]};
}

START_TEST(test_hang)
{
    struct wedge_expect e = {.kind = (char *)hangs[_i].kind,
                             .certainty = (char *)hangs[_i].certainty,
                             .scope = (char *)hangs[_i].scope,
                             .culprit = party(hangs[_i].culprit),
                             .victim = party(hangs[_i].victim)};
    struct wedge_outcome out = hang();
    char message[200] = "";
    ck_assert_int_eq(wedge_expect_holds(&e, hangs[_i].within_ms, &out, message, sizeof(message)),
                     hangs[_i].message[0] == 0);
    ck_assert_str_eq(message, hangs[_i].message);
    json_decref(out.report);
}
END_TEST

/* Somebody waited too long behind one holder, and then all went on: told on the way, and the command ends by itself. */
START_TEST(test_contention_is_told_on_the_way)
{
    struct wedge_count counts[] = {{(char *)"longest_ms", 500, WEDGE_COUNT_AT_LEAST}};
    struct wedge_expect waited = {.kind = (char *)"contention", .counts = counts, .n_counts = 1},
                        finished = {.kind = (char *)"finished"};
    struct wedge_outcome out = hang();
    char message[200] = "";
    out.end = WEDGE_ENDED;
    out.exit_status = 0;
    out.output = (char *)"counts: longest_ms=500\n";
    ck_assert(!wedge_expect_holds(&waited, 0, &out, message, sizeof(message)));
    ck_assert_str_eq(message, "expected contention, but it ended with status 0");
    ck_assert(wedge_expect_holds(&finished, 0, &out, message, sizeof(message)));

    json_object_set_new(json_object_get(out.report, "verdict"), "kind", json_string("contention"));
    json_object_set_new(json_object_get(out.report, "verdict"), "certainty", json_string("evident"));
    ck_assert(wedge_expect_holds(&waited, 0, &out, message, sizeof(message)));
    ck_assert(!wedge_expect_holds(&finished, 0, &out, message, sizeof(message)));
    ck_assert_str_eq(message, "expected it to finish, but on the way there was contention (evident): S");
    out.output = (char *)"counts: longest_ms=499\n";
    ck_assert(!wedge_expect_holds(&waited, 0, &out, message, sizeof(message)));
    ck_assert_str_eq(message, "expected longest_ms>=500, got 499");
    out.exit_status = 3;
    ck_assert(!wedge_expect_holds(&waited, 0, &out, message, sizeof(message)));
    ck_assert_str_eq(message, "expected it to finish well, but it ended with status 3");
    json_decref(out.report);
}
END_TEST

START_TEST(test_counts_are_compared)
{
    static const struct {
        enum wedge_count_is is;
        int64_t value;
        bool holds;
        const char *message;
    } rows[] = {{WEDGE_COUNT_EQUAL, 5, true, ""},    {WEDGE_COUNT_EQUAL, 4, false, "expected n=4, got 5"},
                {WEDGE_COUNT_AT_LEAST, 5, true, ""}, {WEDGE_COUNT_AT_LEAST, 6, false, "expected n>=6, got 5"},
                {WEDGE_COUNT_AT_MOST, 5, true, ""},  {WEDGE_COUNT_AT_MOST, 4, false, "expected n<=4, got 5"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wedge_count count = {(char *)"n", rows[i].value, rows[i].is};
        struct wedge_expect e = {.kind = (char *)"finished", .counts = &count, .n_counts = 1};
        struct wedge_outcome out = {.end = WEDGE_ENDED, .output = (char *)"counts: n=5\n"};
        char message[200] = "";
        ck_assert_int_eq(wedge_expect_holds(&e, 0, &out, message, sizeof(message)), rows[i].holds);
        ck_assert_str_eq(message, rows[i].message);
    }
}
END_TEST

START_TEST(test_certainty_is_at_least)
{
    struct wedge_expect e = {.kind = (char *)"orphaned-wait", .certainty = (char *)"proved"};
    struct wedge_outcome out = hang();
    char message[200];
    json_object_set_new(json_object_get(out.report, "verdict"), "certainty", json_string("evident"));
    ck_assert(!wedge_expect_holds(&e, 0, &out, message, sizeof(message)));
    ck_assert_str_eq(message, "expected it proved, got evident");
    json_decref(out.report);
}
END_TEST

START_TEST(test_a_hang_that_ended)
{
    struct wedge_expect e = {.kind = (char *)"lock-cycle"};
    struct wedge_outcome out = {.end = WEDGE_ENDED, .signal = 9};
    char message[200];
    ck_assert(!wedge_expect_holds(&e, 0, &out, message, sizeof(message)));
    ck_assert_str_eq(message, "expected lock-cycle, but it ended with signal 9");
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_counts);
    tcase_add_test(tcase, test_finished);
    tcase_add_loop_test(tcase, test_hang, 0, sizeof(hangs) / sizeof(hangs[0]));
    tcase_add_test(tcase, test_certainty_is_at_least);
    tcase_add_test(tcase, test_a_hang_that_ended);
    tcase_add_test(tcase, test_contention_is_told_on_the_way);
    tcase_add_test(tcase, test_counts_are_compared);
}

int main(void)
{
    return wedge_test_main("expect", 10, fill);
}
