/* scenarios/ablation: which cells there are and with which arguments, what each outcome is called, and what the pages make of hostile
 * texts. What the cells come to when they are played is cli/tests/test_ablate.py's. */
#include "scenarios/ablation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "reports/ablation.h"
#include "reports/report.h"

static const char scenario_text[] = "format: wedge.scenario/1\n"
                                    "name: t/%s\n"
                                    "title: \"<script>'&amp;\"\n"
                                    "severity: low\n"
                                    "learn: x\n"
                                    "command: %s\n"
                                    "plan: |\n"
                                    "  plan 1\n"
                                    "  f1 * write nth=1 -> block\n"
                                    "expect: {kind: closed-wait}\n"
                                    "twin:\n"
                                    "  cure: c\n"
                                    "  add: [--set, start_limit=123]\n"
                                    "  unfired-ok: [f1]\n"
                                    "  expect: {kind: finished, status: 3}\n"
                                    "hardened:\n"
                                    "  replace: {%s: %s}\n"
                                    "  expect: {kind: finished}\n";
static char dir[64];

static struct wedge_scenario *load(const char *name, const char *command, const char *reported, const char *hardened)
{
    char file[96];
    struct wedge_scenario *s;
    struct wedge_err err = {0};
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-ablation-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/s.yaml", dir);
    FILE *out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    fprintf(out, scenario_text, name, command, reported, hardened);
    ck_assert_int_eq(fclose(out), 0);
    int rc = wedge_scenario_load(file, "/b", &s, &err);
    ck_assert_msg(rc == 0, "%s", err.message);
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(rmdir(dir), 0);
    return s;
}

static struct wedge_scenario *load_demo(void)
{
    return load("demo", "${BUILD}/bin/wedge-pool-demo --preset=reported --tasks=3", "--preset=reported",
                "--preset=hardened");
}

static struct wedge_ablation *make(const struct wedge_scenario *s, const char *preset)
{
    struct wedge_ablation *a;
    ck_assert_int_eq(wedge_ablation_new(&s, 1, preset, &a, NULL), 0);
    return a;
}

static const struct wedge_playing_check *cell_of(const struct wedge_ablation *a, const char *name, size_t *ret)
{
    size_t n;
    const struct wedge_playing_check *cells = wedge_ablation_cells(a, &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(cells[i].name, name) == 0) {
            *ret = i;
            return &cells[i];
        }
    ck_abort_msg("no cell %s", name);
}

static void check_argv(const struct wedge_playing_check *cell, const char *wanted)
{
    char got[512] = "";
    for (char **word = cell->instead->argv; *word; word++) {
        strcat(got, *word);
        strcat(got, " ");
    }
    ck_assert_str_eq(got, wanted);
}

START_TEST(each_cure_is_turned_on_alone)
{
    struct wedge_scenario *s = load_demo();
    struct wedge_ablation *a = make(s, "reported");
    size_t n, i;
    wedge_ablation_cells(a, &n);
    ck_assert_uint_gt(n, 15);
    check_argv(cell_of(a, "as-is", &i), "/b/bin/wedge-pool-demo --preset=reported --tasks=3 ");
    check_argv(cell_of(a, "queue_lock=owned", &i),
               "/b/bin/wedge-pool-demo --preset=reported --tasks=3 --set queue_lock=owned ");
    ck_assert_ptr_null(cell_of(a, "queue_lock=owned", &i)->instead->unfired_ok[0]);
    /* The scenario's own time, a short one for other limits, and what its twin excuses where the cure is its own. */
    check_argv(cell_of(a, "start_limit=123", &i),
               "/b/bin/wedge-pool-demo --preset=reported --tasks=3 --set start_limit=123 ");
    ck_assert_str_eq(cell_of(a, "start_limit=123", &i)->instead->unfired_ok[0], "f1");
    cell_of(a, "final_limit=300", &i);
    check_argv(cell_of(a, "twin", &i), "/b/bin/wedge-pool-demo --preset=reported --tasks=3 --set start_limit=123 ");
    wedge_ablation_free(a);
    wedge_scenario_free(s);
}
END_TEST

START_TEST(each_cure_is_turned_off_alone)
{
    struct wedge_scenario *s = load_demo();
    struct wedge_ablation *a = make(s, "hardened");
    size_t i;
    check_argv(cell_of(a, "as-is", &i), "/b/bin/wedge-pool-demo --preset=hardened --tasks=3 ");
    check_argv(cell_of(a, "start_limit=never", &i),
               "/b/bin/wedge-pool-demo --preset=hardened --tasks=3 --set start_limit=never ");
    json_t *model = wedge_ablation_model(a, "out", false, 1.5);
    ck_assert(json_is_null(json_object_get(json_array_get(json_object_get(model, "scenarios"), 0), "twin")));
    ck_assert_uint_gt(json_array_size(json_object_get(model, "fixed")), 5);
    json_decref(model);
    wedge_ablation_free(a);
    a = make(s, "proposed"); /* what it has is turned off, what it has not, on */
    check_argv(cell_of(a, "collector_wait=never", &i),
               "/b/bin/wedge-pool-demo --preset=proposed --tasks=3 --set start_limit=123 --set final_limit=300 "
               "--set collector_wait=300 --set close_wait=300 --set collector_wait=never ");
    check_argv(cell_of(a, "close_by=flag", &i),
               "/b/bin/wedge-pool-demo --preset=proposed --tasks=3 --set start_limit=123 --set final_limit=300 "
               "--set collector_wait=300 --set close_wait=300 --set close_by=flag ");
    wedge_ablation_free(a);
    wedge_scenario_free(s);
}
END_TEST

START_TEST(what_has_no_place_is_left_out_and_named)
{
    struct wedge_scenario *all[] = {
        load("other", "[sh, -c, \"true\", reported]", "reported", "hardened"),
        load("deaf", "[sh, -c, \"${BUILD}/bin/wedge-pool-demo --preset=$0\", reported]", "reported", "hardened"),
        load("shell", "[sh, -c, \"${BUILD}/bin/wedge-pool-demo --preset=$0 \\\"$@\\\" | cat\", reported]", "reported",
             "hardened")};
    struct wedge_ablation *a;
    struct wedge_err err = {0};
    size_t i;
    ck_assert_int_eq(wedge_ablation_new((const struct wedge_scenario *const *)all, 2, "reported", &a, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "t/other"));
    ck_assert_int_eq(wedge_ablation_new((const struct wedge_scenario *const *)all, 3, "robust", &a, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "robust"));
    ck_assert_int_eq(wedge_ablation_new((const struct wedge_scenario *const *)all, 3, "reported", &a, &err), 0);
    check_argv(cell_of(a, "close_by=flag", &i),
               "sh -c /b/bin/wedge-pool-demo --preset=$0 \"$@\" | cat reported --set close_by=flag ");
    json_t *model = wedge_ablation_model(a, "out", false, 0);
    ck_assert_uint_eq(json_array_size(json_object_get(model, "left_out")), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(model, "scenarios")), 1);
    json_decref(model);
    wedge_ablation_free(a);
    for (i = 0; i < 3; i++)
        wedge_scenario_free(all[i]);
}
END_TEST

static const struct {
    const char *outcome;
    struct wedge_check_result result;
} outcomes[] = {
    {"hangs", {.end = WEDGE_HUNG, .verdict = "closed-wait"}},
    {"finishes", {.end = WEDGE_ENDED, .verdict = "finished", .counts = "counts: accepted=3 reported=3 lost=1 twice=0"}},
    {"finishes", {.end = WEDGE_ENDED, .verdict = "finished", .exit_status = 3}}, /* which the twin expects */
    {"loses", {.end = WEDGE_ENDED, .verdict = "finished", .counts = "counts: accepted=3 reported=2 twice=0"}},
    {"loses", {.end = WEDGE_ENDED, .verdict = "finished", .counts = "counts: accepted=3 reported=3 twice=1"}},
    {"loses", {.end = WEDGE_ENDED, .verdict = "finished", .counts = "counts: left=2"}},
    {"fails", {.end = WEDGE_ENDED, .verdict = "finished", .exit_status = 1}},
    {"fails", {.end = WEDGE_ENDED, .verdict = "finished", .signal = 11}},
    {"fails", {.end = WEDGE_NO_EXEC, .verdict = "finished", .status = WEDGE_CHECK_FAILED}},
    {"contends", {.end = WEDGE_ENDED, .verdict = "contention"}},
    {"unclear", {.end = WEDGE_LIMIT, .verdict = "no-progress"}},
    {"unclear", {.end = WEDGE_LIMIT, .verdict = "closed-wait", .certainty = "proved", .scope = "part"}},
    {"unclear", {.end = WEDGE_LIMIT, .verdict = "closed-wait", .certainty = "evident", .scope = "whole"}},
    {"hangs", {.end = WEDGE_LIMIT, .verdict = "closed-wait", .certainty = "proved", .scope = "whole"}},
    {"invalid", {.end = WEDGE_HUNG, .verdict = "closed-wait", .status = WEDGE_CHECK_INVALID}},
};

START_TEST(outcomes_have_names)
{
    struct wedge_scenario *s = load_demo();
    struct wedge_ablation *a = make(s, "reported");
    size_t i;
    cell_of(a, "close_by=flag", &i);
    struct wedge_check_result result = outcomes[_i].result;
    snprintf(result.dir, sizeof(result.dir), "out/x");
    for (int round = 0; round < 2; round++) {
        wedge_ablation_take(a, i, &result);
        json_t *model = wedge_ablation_model(a, "out", true, 0);
        const json_t *row = json_array_get(json_object_get(model, "scenarios"), 0);
        const json_t *cell = json_array_get(json_object_get(row, "cures"), i - 1);
        ck_assert_str_eq(wedge_report_text(cell, "outcome"), outcomes[_i].outcome);
        ck_assert_str_eq(wedge_report_text(cell, "set"), "close_by=flag");
        ck_assert_int_eq(json_integer_value(json_object_get(model, "played")), 1);
        ck_assert_int_eq(json_is_null(json_object_get(cell, "files")), strcmp(result.verdict, "finished") == 0);
        json_decref(model);
    }
    result.end = strcmp(outcomes[_i].outcome, "hangs") == 0 ? WEDGE_LIMIT : WEDGE_HUNG;
    result.certainty[0] = 0;
    result.status = WEDGE_CHECK_PASSED;
    wedge_ablation_take(a, i, &result);
    json_t *model = wedge_ablation_model(a, "out", true, 0);
    const json_t *row = json_array_get(json_object_get(model, "scenarios"), 0);
    ck_assert_str_eq(wedge_report_text(json_array_get(json_object_get(row, "cures"), i - 1), "outcome"), "varies");
    json_decref(model);
    wedge_ablation_free(a);
    wedge_scenario_free(s);
}
END_TEST

/* What a command printed, and a title, must not become markup. */
START_TEST(pages_escape_what_they_are_told)
{
    struct wedge_scenario *s = load_demo();
    struct wedge_ablation *a = make(s, "reported");
    static char page[1 << 20];
    char *text = NULL;
    size_t cell, len = 0;
    cell_of(a, "close_by=flag", &cell);
    struct wedge_check_result result = {.end = WEDGE_HUNG, .verdict = "closed-wait"};
    snprintf(result.message, sizeof(result.message), "\"><img src=x onerror=alert(1)>\x1b[31m");
    snprintf(result.dir, sizeof(result.dir), "out/x\"y");
    wedge_ablation_take(a, cell, &result);
    json_t *model = wedge_ablation_model(a, "out", true, 0);
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-ablation-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(wedge_ablation_write_html(model, dirfd, "a.html", NULL), 0);
    int fd = openat(dirfd, "a.html", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, page, sizeof(page) - 1);
    ck_assert_int_gt(n, 0);
    ck_assert_ptr_null(strstr(page, "<img"));
    ck_assert_ptr_null(strstr(page, "<script"));
    ck_assert_ptr_nonnull(strstr(page, "&#60;img"));
    ck_assert_ptr_nonnull(strstr(page, "href=\"x&#34;y/report.html\""));
    FILE *out = open_memstream(&text, &len);
    ck_assert_int_eq(wedge_ablation_write_text(model, out, false, NULL), 0);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "close_by=flag"));
    ck_assert_ptr_null(strchr(text, '\x1b'));
    free(text);
    close(fd);
    ck_assert_int_eq(unlinkat(dirfd, "a.html", 0), 0);
    close(dirfd);
    ck_assert_int_eq(rmdir(dir), 0);
    json_decref(model);
    wedge_ablation_free(a);
    wedge_scenario_free(s);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, each_cure_is_turned_on_alone);
    tcase_add_test(tcase, each_cure_is_turned_off_alone);
    tcase_add_test(tcase, what_has_no_place_is_left_out_and_named);
    tcase_add_loop_test(tcase, outcomes_have_names, 0, sizeof(outcomes) / sizeof(outcomes[0]));
    tcase_add_test(tcase, pages_escape_what_they_are_told);
}

int main(void)
{
    return wedge_test_main("ablation", 30, fill);
}
