/* reports/store: what was told is there, whatever became of the teller; and what the history makes of it. */
#include "reports/store.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "reports/report.h"

static char dir[64], file[96];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/runs.db", dir);
}

static void teardown(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[160];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s%s", file, ends[i]);
        unlink(path);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

static struct wedge_store *begin(void)
{
    struct wedge_store *s;
    struct wedge_err err = {0};
    int rc = wedge_store_begin(dir, "run", &s, &err);
    ck_assert_msg(rc == 0, "%s", err.message);
    return s;
}

static void add(struct wedge_store *s, const char *scenario, const char *status, double seconds)
{
    const struct wedge_store_check check = {.scenario = scenario,
                                            .check = "hang",
                                            .status = status,
                                            .verdict = "closed-wait",
                                            .signature = "sig1:0",
                                            .message = "it's \"so\"; DROP TABLE checks",
                                            .round = 1,
                                            .seconds = seconds,
                                            .verdict_after_fault_ms = -1};
    ck_assert_int_eq(wedge_store_add(s, &check, NULL), 0);
}

static json_t *history(long most, const char *pattern)
{
    char *patterns[] = {(char *)pattern, NULL};
    json_t *ret;
    struct wedge_err err = {0};
    int rc = wedge_store_history(dir, "run", most, patterns, &ret, &err);
    ck_assert_msg(rc == 0, "%s", err.message);
    return ret;
}

static json_int_t of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* p passed, f failed, i invalid; '/' begins another run. */
static const struct {
    const char *rounds, *trend;
    int since;
} trends[] = {{"ppp/p", "steady", 0}, {"ff/f", "steady", 0}, {"pp/pf", "flaky", 2}, {"pp/ff", "broke", 2},
              {"f/ppp", "mended", 2}, {"p/f/p", "flaky", 3}, {"pfp", "flaky", 1},   {"p/i/i", "broke", 2}};

START_TEST(trends_follow_the_rounds)
{
    struct wedge_store *s = begin();
    const char *at = trends[_i].rounds;
    json_int_t passed = 0, rounds = 0;
    for (; *at; at++) {
        if (*at == '/') {
            ck_assert_int_eq(wedge_store_end(s, true, 0, NULL), 0);
            wedge_store_free(s);
            s = begin();
            continue;
        }
        add(s, "g/one", *at == 'p' ? "passed" : *at == 'f' ? "failed" : "invalid", 0.5 + (double)rounds);
        passed += *at == 'p';
        rounds++;
    }
    add(s, "g/two", "passed", 1);
    wedge_store_free(s);
    json_t *model = history(100, "one");
    ck_assert_uint_eq(json_array_size(json_object_get(model, "checks")), 1);
    const json_t *check = json_array_get(json_object_get(model, "checks"), 0);
    ck_assert_str_eq(wedge_report_text(check, "trend"), trends[_i].trend);
    ck_assert_int_eq(of(check, "since"), trends[_i].since);
    ck_assert_int_eq(of(check, "passed"), passed);
    ck_assert_int_eq(of(check, "rounds"), rounds);
    ck_assert_int_eq(of(json_object_get(check, "verdicts"), "closed-wait"), rounds);
    ck_assert(json_number_value(json_object_get(json_object_get(check, "seconds"), "least")) == 0.5);
    ck_assert(json_number_value(json_object_get(json_object_get(check, "seconds"), "median")) ==
              0.5 + (double)(rounds / 2));
    json_decref(model);
}
END_TEST

START_TEST(each_verb_has_its_own)
{
    struct wedge_store *s, *other;
    s = begin();
    add(s, "a", "passed", 1);
    ck_assert_int_eq(wedge_store_begin(dir, "run --ablate=reported", &other, NULL), 0);
    add(other, "a", "failed", 1);
    add(other, "b", "failed", 1);
    wedge_store_free(other);
    wedge_store_free(s);
    json_t *model = history(100, NULL), *ablations;
    ck_assert_int_eq(wedge_store_history(dir, "run --ablate=reported", 100, NULL, &ablations, NULL), 0);
    ck_assert_uint_eq(json_array_size(json_object_get(model, "runs")), 1);
    ck_assert_uint_eq(json_array_size(json_object_get(model, "checks")), 1);
    ck_assert_int_eq(of(json_array_get(json_object_get(model, "checks"), 0), "passed"), 1);
    ck_assert_uint_eq(json_array_size(json_object_get(ablations, "runs")), 1);
    ck_assert_uint_eq(json_array_size(json_object_get(ablations, "checks")), 2);
    json_decref(model);
    json_decref(ablations);
}
END_TEST

START_TEST(the_last_runs_alone)
{
    for (int run = 0; run < 3; run++) {
        struct wedge_store *s = begin();
        add(s, "a", run == 0 ? "failed" : "passed", 1);
        ck_assert_int_eq(wedge_store_end(s, run != 1, run, NULL), 0);
        wedge_store_free(s);
    }
    json_t *model = history(2, NULL);
    const json_t *runs = json_object_get(model, "runs");
    ck_assert_uint_eq(json_array_size(runs), 2);
    ck_assert_int_eq(of(json_array_get(runs, 0), "id"), 3);
    ck_assert(!json_is_true(json_object_get(json_array_get(runs, 1), "complete")));
    ck_assert_str_eq(wedge_report_text(json_array_get(json_object_get(model, "checks"), 0), "trend"), "steady");
    json_decref(model);
}
END_TEST

/* SIGKILL after the nth check: exactly these are there, and the next run goes on. */
START_TEST(a_killed_teller_leaves_what_it_told)
{
    for (int n = 0; n < 5; n++) {
        int told[2];
        char byte;
        ck_assert_int_eq(pipe(told), 0);
        pid_t pid = fork();
        if (pid == 0) {
            struct wedge_store *s;
            if (wedge_store_begin(dir, "run", &s, NULL))
                _exit(1);
            for (int i = 0; i < n; i++)
                wedge_store_add(s, &(struct wedge_store_check){.scenario = "a", .check = "hang", .status = "passed"},
                                NULL);
            if (write(told[1], "x", 1) != 1)
                _exit(1);
            pause();
        }
        close(told[1]);
        ck_assert_int_eq(read(told[0], &byte, 1), 1);
        close(told[0]);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        json_t *model = history(1, NULL);
        const json_t *run = json_array_get(json_object_get(model, "runs"), 0);
        ck_assert_int_eq(of(run, "id"), n + 1);
        ck_assert_int_eq(of(run, "checks"), n);
        ck_assert(json_is_null(json_object_get(run, "exit")));
        json_decref(model);
    }
}
END_TEST

START_TEST(two_at_once_are_two_runs)
{
    struct wedge_store *a = begin(), *b = begin();
    for (int i = 0; i < 3; i++) {
        add(a, "a", "passed", 1);
        add(b, "b", "failed", 1);
    }
    wedge_store_free(a);
    wedge_store_free(b);
    json_t *model = history(100, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(model, "runs")), 2);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(of(json_array_get(json_object_get(model, "checks"), i), "rounds"), 3);
    json_decref(model);
}
END_TEST

/* Several runs begin one store at the same instant, as the jobs of a build do: none is told that it is locked. */
START_TEST(many_begin_one_store_at_once)
{
    enum { AT_ONCE = 6 };
    int gate[2], status;
    pid_t pids[AT_ONCE];
    ck_assert_int_eq(pipe(gate), 0);
    for (int i = 0; i < AT_ONCE; i++) {
        pids[i] = fork();
        ck_assert_int_ge(pids[i], 0);
        if (pids[i] == 0) {
            struct wedge_store *s;
            struct wedge_err err = {0};
            char byte;
            close(gate[1]);
            if (read(gate[0], &byte, 1) != 0) /* open once nobody has the other end */
                _exit(1);
            if (wedge_store_begin(dir, "run", &s, &err) || wedge_store_end(s, true, 0, &err)) {
                fprintf(stderr, "%s\n", err.message);
                _exit(1);
            }
            wedge_store_free(s);
            _exit(0);
        }
    }
    close(gate[0]);
    close(gate[1]);
    int failed = 0;
    for (int i = 0; i < AT_ONCE; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        failed += status != 0;
    }
    ck_assert_int_eq(failed, 0);
    json_t *model = history(100, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(model, "runs")), AT_ONCE);
    json_decref(model);
}
END_TEST

/* What to do about it is another thing for each: a store that is sound must not be "recovered". */
START_TEST(a_remedy_fits_its_failure)
{
    struct wedge_store *s = NULL;
    struct wedge_err err = {0};
    sqlite3 *db;
    wedge_store_free(begin());
    ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(wedge_store_begin(dir, "run", &s, &err), -EIO);
    sqlite3_close(db);
    ck_assert_ptr_nonnull(strstr(err.message, "locked"));
    ck_assert_ptr_null(strstr(err.remedy, "recover"));
    ck_assert_ptr_nonnull(strstr(err.remedy, "-o"));
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK); /* somebody else's */
    ck_assert_int_eq(sqlite3_exec(db, "CREATE TABLE runs (x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    ck_assert_int_eq(wedge_store_begin(dir, "run", &s, &err), -EPROTO);
    ck_assert_ptr_null(s);
}
END_TEST

START_TEST(what_is_no_store_of_ours_is_refused)
{
    struct wedge_store *s = NULL;
    struct wedge_err err = {0};
    json_t *model;
    ck_assert_int_eq(wedge_store_history(dir, "run", 1, NULL, &model, &err), -ENOENT);
    ck_assert_int_eq(symlink("/tmp/wedge-test-store-nowhere", file), 0);
    ck_assert_int_eq(wedge_store_begin(dir, "run", &s, &err), -ELOOP);
    ck_assert_int_eq(unlink(file), 0);
    FILE *out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    for (int i = 0; i < 1000; i++)
        fputs("not a database ", out);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_int_eq(wedge_store_begin(dir, "run", &s, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.remedy, "recover"));
    ck_assert_int_eq(unlink(file), 0);
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "PRAGMA user_version = 7", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    ck_assert_int_eq(wedge_store_begin(dir, "run", &s, &err), -EPROTO);
    ck_assert_ptr_null(s);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, trends_follow_the_rounds, 0, sizeof(trends) / sizeof(trends[0]));
    tcase_add_test(tcase, each_verb_has_its_own);
    tcase_add_test(tcase, the_last_runs_alone);
    tcase_add_test(tcase, a_killed_teller_leaves_what_it_told);
    tcase_add_test(tcase, two_at_once_are_two_runs);
    tcase_add_loop_test(tcase, many_begin_one_store_at_once, 0, 10);
    tcase_add_test(tcase, a_remedy_fits_its_failure);
    tcase_add_test(tcase, what_is_no_store_of_ours_is_refused);
}

int main(void)
{
    return wedge_test_main("store", 30, fill);
}
