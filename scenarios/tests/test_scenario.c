/* scenarios/scenario: what a file says arrives; each malformed file is refused with its place and what would be right. */
#include "scenarios/scenario.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "scenarios/runner.h"
#include "scenarios/strings.h"

static char dir[64], file[128];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-scenario-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/s.yaml", dir);
}

static void teardown(void)
{
    unlink(file);
    rmdir(dir);
}

static int load(const char *text, struct wedge_scenario **ret, struct wedge_err *err)
{
    FILE *out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
    return wedge_scenario_load(file, "/opt/wedge", ret, err);
}

#define HEAD                                                                                                           \
    "format: wedge.scenario/1\nname: a/b\ntitle: T\nseverity: severe\nlearn: L\n"                                      \
    "command: ${BUILD}/bin/x --preset=reported -n 3\n"
#define EXPECT                                                                                                         \
    "expect: {kind: lock-cycle, certainty: proved, scope: whole, culprit: {role: w, function: f}, victim: {function: " \
    "g}}\n"
#define TWIN "twin: {cure: c, add: [--cured], expect: {kind: finished, counts: {ok: 3, lost: 0}}}\n"

START_TEST(test_what_a_file_says)
{
    struct wedge_scenario *s;
    struct wedge_err err;
    int rc = load(HEAD "item: '1.1'\nreference: 'python/cpython#94777, glibc#25847'\nwithin: 1s\nlimit: 2min\nplan: "
                       "|\n  plan 1\n  f1 root start -> kill KILL\n" EXPECT TWIN
                       "hardened: {replace: {--preset=reported: --preset=hardened}, unfired-ok: [f1], "
                       "expect: {kind: finished}}\n"
                       "proposed: {replace: {--preset=reported: --preset=proposed}, "
                       "expect: {kind: contention, counts: {a: '>=3', b: <=-4}}}\npatience: 300ms\n",
                  &s, &err);
    ck_assert_msg(rc == 0, "%s", err.message);
    const struct wedge_check *hang = &s->checks[WEDGE_CHECK_HANG], *twin = &s->checks[WEDGE_CHECK_TWIN],
                             *hardened = &s->checks[WEDGE_CHECK_HARDENED], *proposed = &s->checks[WEDGE_CHECK_PROPOSED];
    ck_assert_str_eq(s->name, "a/b");
    ck_assert_str_eq(s->item, "1.1");
    ck_assert_str_eq(s->reference, "python/cpython#94777, glibc#25847");
    ck_assert_str_eq(s->plan.text, "plan 1\nf1 root start -> kill KILL\n");
    ck_assert_int_eq(s->plan.line, 12);
    ck_assert_int_eq(s->within_ms, 1000);
    ck_assert_int_eq(s->limit_ms, 120000);
    ck_assert_int_eq(s->patience_ms, 300);
    ck_assert_str_eq(hang->argv[0], "/opt/wedge/bin/x");
    ck_assert_str_eq(hang->argv[1], "--preset=reported");
    ck_assert_str_eq(hang->argv[3], "3");
    ck_assert_ptr_null(hang->argv[4]);
    ck_assert_str_eq(hang->expect.kind, "lock-cycle");
    ck_assert_str_eq(hang->expect.culprit.role, "w");
    ck_assert_str_eq(hang->expect.culprit.function, "f");
    ck_assert_str_eq(hang->expect.victim.function, "g");
    ck_assert_ptr_null(hang->expect.victim.role);
    ck_assert(twin->present);
    ck_assert_str_eq(twin->cure, "c");
    ck_assert_str_eq(twin->argv[4], "--cured");
    ck_assert_uint_eq(twin->expect.n_counts, 2);
    ck_assert_str_eq(twin->expect.counts[0].name, "ok");
    ck_assert_int_eq(twin->expect.counts[0].value, 3);
    ck_assert_int_eq(twin->expect.counts[0].is, WEDGE_COUNT_EQUAL);
    ck_assert(hardened->present);
    ck_assert_str_eq(hardened->argv[1], "--preset=hardened");
    ck_assert_str_eq(hardened->unfired_ok[0], "f1");
    ck_assert(proposed->present);
    ck_assert_str_eq(proposed->argv[1], "--preset=proposed");
    ck_assert_str_eq(proposed->expect.kind, "contention");
    ck_assert_int_eq(proposed->expect.counts[0].is, WEDGE_COUNT_AT_LEAST);
    ck_assert_int_eq(proposed->expect.counts[0].value, 3);
    ck_assert_int_eq(proposed->expect.counts[1].is, WEDGE_COUNT_AT_MOST);
    ck_assert_int_eq(proposed->expect.counts[1].value, -4);
    wedge_scenario_free(s);
}
END_TEST

/* Each malformed file: its text, where, and what is said. */
static const struct {
    const char *text;
    int line, column;
    const char *message;
} refused[] = {
    {"", 1, 1, "the file is empty"},
    {"a: [", 2, 1, "not valid YAML"},
    {"- a\n", 1, 1, "expected a mapping"},
    {"[a]: b\n", 1, 1, "a key must be plain text"},
    {HEAD EXPECT, 1, 1, "a scenario without a 'twin' is not accepted; say what cures it, as in `twin: {cure:"},
    {HEAD TWIN, 1, 1, "'expect' is missing"},
    {"format: wedge.scenario/2\nname: a\ntitle: T\nseverity: low\nlearn: L\ncommand: x\n" EXPECT TWIN, 1, 9,
     "the format must be 'wedge.scenario/1'"},
    {"format: wedge.scenario/1\nname: ../a\ntitle: T\nseverity: low\nlearn: L\ncommand: x\n" EXPECT TWIN, 2, 7,
     "stays in its folder"},
    {"format: wedge.scenario/1\nname: a b\ntitle: T\nseverity: low\nlearn: L\ncommand: x\n" EXPECT TWIN, 2, 7,
     "letters, digits"},
    {"format: wedge.scenario/1\nname: a\ntitle: T\nseverity: bad\nlearn: L\ncommand: x\n" EXPECT TWIN, 4, 11,
     "unknown word 'bad'"},
    {"format: wedge.scenario/1\nname: a\ntitle: T\nseverity: low\nlearn: L\ncommand: ''\n" EXPECT TWIN, 6, 10,
     "the command is empty"},
    {"format: wedge.scenario/1\nname: a\ntitle: T\nseverity: low\nlearn: L\ncommand: ${HOME}/x\n" EXPECT TWIN, 6, 10,
     "unknown variable"},
    {"format: wedge.scenario/1\nname: a\ntitle: T\nseverity: low\nlearn: L\ncommand: [x, [y]]\n" EXPECT TWIN, 6, 14,
     "expected text"},
    {HEAD "titel: T\n" EXPECT TWIN, 7, 1, "unknown key 'titel'; did you mean 'title'?"},
    {HEAD "title: T\n" EXPECT TWIN, 7, 1, "'title' is given twice"},
    {HEAD "reference: 94777\n" EXPECT TWIN, 7, 12, "expected references such as 'python/cpython#94777'"},
    {HEAD "reference: 'a/b#1 c/d#2'\n" EXPECT TWIN, 7, 12, "expected references"},
    {HEAD "reference: 'a/b#1,'\n" EXPECT TWIN, 7, 12, "expected references"},
    {HEAD "reference: 'a/b#'\n" EXPECT TWIN, 7, 12, "expected references"},
    {HEAD "within: 5\n" EXPECT TWIN, 7, 9, "expected a duration"},
    {HEAD "limit: fast\n" EXPECT TWIN, 7, 8, "expected a duration"},
    {HEAD "plan: []\n" EXPECT TWIN, 7, 7, "expected text"},
    {HEAD "plan: \"plan 1\\nf1 root start -> exit 3\\0\\nf2 nonsense\"\n" EXPECT TWIN, 7, 7, "expected text"},
    {HEAD "expect: {certainty: proved}\n" TWIN, 7, 9, "'expect' needs 'kind'"},
    {HEAD "expect: {kind: lock-cylce}\n" TWIN, 7, 16, "unknown word 'lock-cylce'; did you mean 'lock-cycle'?"},
    {HEAD "expect: {kind: idle, certainty: sure}\n" TWIN, 7, 33, "unknown word 'sure'"},
    {HEAD "expect: {kind: idle, scope: half}\n" TWIN, 7, 29, "unknown word 'half'"},
    {HEAD "expect: {kind: idle, culprit: {rule: x}}\n" TWIN, 7, 32, "unknown key 'rule'; did you mean 'role'?"},
    {HEAD "expect: {kind: idle, counts: {ok: many}}\n" TWIN, 7, 35, "expected a whole number"},
    {HEAD "expect: {kind: idle, counts: {ok: '>5'}}\n" TWIN, 7, 35, "expected a whole number"},
    {HEAD "expect: {kind: idle, counts: {ok: '>='}}\n" TWIN, 7, 35, "expected a whole number"},
    {HEAD "patience: 5\n" EXPECT TWIN, 7, 11, "expected a duration"},
    {HEAD EXPECT TWIN "proposed: {cure: c, add: [x], expect: {kind: finished}}\n", 9, 18, "only a twin has a 'cure'"},
    {HEAD "expect: {kind: finished, status: 256}\n" TWIN, 7, 34, "expected an exit status from 0 to 255"},
    {HEAD "expect: {kind: finished, status: no}\n" TWIN, 7, 34, "expected an exit status from 0 to 255"},
    {HEAD "expect: {kind: idle, status: 0}\n" TWIN, 7, 30, "'status' goes with 'kind: finished'"},
    {HEAD "expect: {kind: idle, counts: [ok]}\n" TWIN, 7, 30, "expected a mapping"},
    {HEAD EXPECT "twin: {add: [x], expect: {kind: finished}}\n", 8, 7, "a twin names its 'cure'"},
    {HEAD EXPECT "twin: {cure: c, expect: {kind: finished}}\n", 8, 7, "this check changes nothing"},
    {HEAD EXPECT "twin: {cure: c, add: [x]}\n", 8, 7, "this check needs 'expect'"},
    {HEAD EXPECT "twin: {cure: c, replace: {--other: x}, expect: {kind: finished}}\n", 8, 27,
     "the command has no argument '--other'"},
    {HEAD EXPECT "twin: {cure: c, add: x, expect: {kind: finished}}\n", 8, 22, "expected a list"},
    {HEAD EXPECT TWIN "hardened: {cure: c, add: [x], expect: {kind: finished}}\n", 9, 18, "only a twin has a 'cure'"},
    {HEAD EXPECT "twin: {cure: c, add: [], expect: {kind: finished}}\n", 8, 7, "this check changes nothing"},
    {HEAD EXPECT "twin: {cure: c, replace: {-n: -n}, expect: {kind: finished}}\n", 8, 7, "this check changes nothing"},
    {HEAD EXPECT "twin: {cure: c, add: [x], expect: {kind: lock-cycle}}\n", 8, 35, "must finish"},
    {HEAD EXPECT TWIN "hardened: {add: [x], expect: {kind: idle}}\n", 9, 30, "must finish"},
    {HEAD "expect: {kind: finished, certainty: proved}\n" TWIN, 7, 37, "does not go with 'kind: finished'"},
    {HEAD "expect: {kind: finished, scope: whole}\n" TWIN, 7, 33, "does not go with 'kind: finished'"},
    {HEAD "expect: {kind: idle, culprit: {}}\n" TWIN, 7, 31, "it names nobody"},
    {HEAD "expect: {kind: idle, culprit: {function: f, point: a.b}}\n" TWIN, 7, 52, "is where one died"},
    {HEAD "expect: {kind: idle, victim: {point: a.b}}\n" TWIN, 7, 38, "is where one died"},
    {HEAD "expect: {kind: finished, victim: {role: w}}\n" TWIN, 7, 34, "does not go with 'kind: finished'"},
    {HEAD EXPECT "twin: {cure: c, add: [x], plan: plan 1, expect: {kind: finished}}\n", 8, 33,
     "only a hardened check has a 'plan' of its own"},
    {HEAD "expect: {kind: finished, culprit: {role: w}}\n" TWIN, 7, 35, "does not go with 'kind: finished'"},
    {HEAD "limit: 0s\n" EXPECT TWIN, 7, 8, "expected at least a millisecond"},
    {HEAD "limit: 900us\n" EXPECT TWIN, 7, 8, "expected at least a millisecond"},
    {HEAD "within: 0ms\n" EXPECT TWIN, 7, 9, "expected at least a millisecond"},
    {HEAD EXPECT TWIN "---\na: [\n", 11, 1, "not valid YAML"},
    {HEAD EXPECT TWIN "---\n" HEAD EXPECT TWIN, 10, 1, "one scenario"},
    {"format: wedge.scenario/1\nname: a//b\ntitle: T\nseverity: low\nlearn: L\ncommand: x\n" EXPECT TWIN, 2, 7,
     "stays in its folder"},
    {"format: wedge.scenario/1\nname: a/\ntitle: T\nseverity: low\nlearn: L\ncommand: x\n" EXPECT TWIN, 2, 7,
     "stays in its folder"},
    {"format: wedge.scenario/1\nname: ./a\ntitle: T\nseverity: low\nlearn: L\ncommand: x\n" EXPECT TWIN, 2, 7,
     "stays in its folder"},
};

START_TEST(test_refused)
{
    struct wedge_scenario *s = NULL;
    struct wedge_err err = {0};
    char text[1200];
    ck_assert_int_eq(load(refused[_i].text, &s, &err), -EINVAL);
    ck_assert_ptr_null(s);
    ck_assert_int_eq(err.class, WEDGE_ERR_INPUT);
    ck_assert_msg(strstr(wedge_err_text(&err, text, sizeof(text)), refused[_i].message) != NULL, "%s", text);
    ck_assert_int_eq(err.line, refused[_i].line);
    ck_assert_int_eq(err.column, refused[_i].column);
    ck_assert_int_eq(load(refused[_i].text, &s, NULL), -EINVAL); /* nobody wants to know why */
    ck_assert_ptr_null(s);
}
END_TEST

/* By the plan that stands in the file. */
#define PLAN           "plan: |\n  plan 1\n  f1 root start nth=1 -> kill KILL\n  f2 root start nth=2 -> kill KILL\n"
#define HARDENED(rest) "hardened: {add: [x], expect: {kind: finished}" rest "}\n"

/* A file that can be read and has a plan that cannot be: where, and what is said. Line 0: it can be played. */
static const struct {
    const char *text;
    int line, column;
    const char *message;
} plans[] = {
    {HEAD EXPECT TWIN PLAN HARDENED(", unfired-ok: [f1]"), 0, 0, ""},
    {HEAD EXPECT TWIN PLAN HARDENED(", unfired-ok: [f1, f3]"), 13, 60, "no rule 'f3'"},
    {HEAD EXPECT TWIN PLAN HARDENED(", unfired-ok: [f2, f1]"), 13, 60, "every fault of the plan is excused here"},
    {HEAD EXPECT TWIN HARDENED(", unfired-ok: [f1]"), 9, 60, "no rule 'f1'"},
    {HEAD EXPECT TWIN PLAN
     "hardened:\n  add: [x]\n  expect: {kind: finished}\n  plan: |\n    plan 1\n    f3 * a.b nth=1 -> exit 1\n",
     0, 0, ""},
    {HEAD EXPECT TWIN PLAN "hardened:\n  add: [x]\n  unfired-ok: [f3]\n  expect: {kind: finished}\n  plan: |\n    plan "
                           "1\n    f3 * a.b nth=1 -> exit 1\n",
     15, 15, "every fault"},
    {HEAD EXPECT TWIN PLAN
     "hardened:\n  add: [x]\n  expect: {kind: finished}\n  plan: |\n    plan 1\n    f3 * a.b nth=x -> exit 1\n",
     18, 18, "nth"},
};

START_TEST(test_plans)
{
    struct wedge_scenario *s = NULL;
    struct wedge_err err = {0};
    ck_assert_int_eq(load(plans[_i].text, &s, &err), 0);
    wedge_scenario_free(s);
    s = NULL;
    ck_assert_int_eq(wedge_runner_load(file, "/opt/wedge", &s, &err), plans[_i].line ? -EINVAL : 0);
    ck_assert_int_eq(s != NULL, plans[_i].line == 0);
    wedge_scenario_free(s);
    if (!plans[_i].line)
        return;
    ck_assert_msg(strstr(err.message, plans[_i].message) != NULL, "%s", err.message);
    ck_assert_int_eq(err.line, plans[_i].line);
    ck_assert_int_eq(err.column, plans[_i].column);
}
END_TEST

START_TEST(test_not_a_file)
{
    struct wedge_scenario *s = NULL;
    struct wedge_err err;
    ck_assert_int_eq(wedge_scenario_load("/nowhere/s.yaml", "/", &s, &err), -EINVAL);
    ck_assert_int_eq(wedge_scenario_load(dir, "/", &s, &err), -EINVAL);
    ck_assert_int_eq(wedge_scenario_load("/dev/zero", "/", &s, &err), -EINVAL);
    ck_assert_ptr_null(s);
}
END_TEST

START_TEST(test_found_by_name_or_path)
{
    struct wedge_err err;
    char group[80], one[128], *found = NULL, **all = NULL;
    snprintf(group, sizeof(group), "%s/group", dir);
    snprintf(one, sizeof(one), "%s/1.1a.yaml", group);
    ck_assert_int_eq(mkdir(group, 0700), 0);
    fclose(fopen(one, "w"));
    const char *const words[] = {"1.1a", "group/1.1a", one};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(wedge_scenario_find(dir, words[i], &found, &err), 0);
        ck_assert_str_eq(found, one);
        free(found);
        found = NULL;
    }
    ck_assert_int_eq(wedge_scenario_find(dir, "1.1b", &found, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.remedy, "'1.1a'"));
    ck_assert_int_eq(wedge_scenario_list(dir, "group", &all, &err), 0);
    ck_assert_str_eq(all[0], one);
    ck_assert_ptr_null(all[1]);
    wedge_strings_free(all);
    ck_assert_int_eq(wedge_scenario_list(dir, "none", &all, &err), -ENOENT);
    unlink(one);
    rmdir(group);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_what_a_file_says);
    tcase_add_loop_test(tcase, test_refused, 0, sizeof(refused) / sizeof(refused[0]));
    tcase_add_loop_test(tcase, test_plans, 0, sizeof(plans) / sizeof(plans[0]));
    tcase_add_test(tcase, test_not_a_file);
    tcase_add_test(tcase, test_found_by_name_or_path);
}

int main(void)
{
    return wedge_test_main("scenario", 10, fill);
}
