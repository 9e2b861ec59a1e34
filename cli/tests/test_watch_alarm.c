/*
 * `wedge watch` on programs that could have an alarm on its way: the record of the agent says that there is none only where the
 * agent must have seen it. Where it could not, nothing is proved.
 *
 * Who calls, and which call the agent does not see: a library's constructor runs before the agent's (the order is that of
 * the dependencies), RTLD_DEEPBIND and dlmopen find libc's alarm() before the agent's (dlopen(3)), and a program's own comes
 * before everybody's.
 */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"
#include "cli/tests/programs.h"

static char dir[64];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-alarm-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static const struct {
    const char *program; /* "$NAME": an environment variable's */
    const char *arguments[2];
    const char *preload;
    bool proved, proved_without; /* with the agent, and without it */
} cases[] = {
    {"$ALARM_QUIET", {NULL}, NULL, true, true},
    {"$ALARM_CALLS", {NULL}, NULL, true, false}, /* it could, and does not: the agent knows */
    {"$ALARM_CALLS", {"arm"}, NULL, false, false},
    {"$ALARM_CALLS", {"first"}, NULL, false, false},
    {"$ALARM_OWN", {"arm"}, NULL, false, false},
    {"$ALARM_STATIC", {"arm"}, NULL, false, false},
    {"$ALARM_LINKED", {NULL}, NULL, false, false},
    {"$ALARM_QUIET", {NULL}, "$ALARM_LIBRARY", false, false},
    {"$ALARM_QUIET", {"deep", "$ALARM_LIBRARY"}, NULL, false, false},
    {"$ALARM_QUIET", {"space", "$ALARM_LIBRARY"}, NULL, false, false},
    {"$ALARM_CALLS", {"deep", "$ALARM_LIBRARY"}, NULL, false, false},
    /* Gone again, or another program by now: the agent remembers. */
    {"$ALARM_QUIET", {"unload", "$ALARM_LIBRARY"}, NULL, false, true},
    {"$ALARM_CALLS", {"become", "$ALARM_QUIET"}, NULL, false, true},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static const char *value_of(const char *text)
{
    return text && *text == '$' ? from_env(text + 1) : text;
}

START_TEST(test_alarm)
{
    bool agent = _i < CASES;
    int i = _i % CASES, out;
    char said[65536], result[160], preload[512];
    const char *const argv[] = {from_env("WEDGE_BIN"),
                                "watch",
                                agent ? "-q" : "--no-agent",
                                "--stall=200ms",
                                "-o",
                                dir,
                                "--",
                                "/usr/bin/env",
                                preload,
                                value_of(cases[i].program),
                                value_of(cases[i].arguments[0]),
                                value_of(cases[i].arguments[1]),
                                NULL};
    /* Through env, which keeps wedge out of it; the agent puts itself back in front. */
    snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", cases[i].preload ? value_of(cases[i].preload) : "");
    pid_t wedge = start(argv, &out);
    read_text(out, NULL, said, sizeof(said));
    ck_assert_int_eq(status_of(wedge), 124);
    snprintf(result, sizeof(result), "%s/report.json", dir);
    json_t *report = json_load_file(result, 0, NULL);
    ck_assert_ptr_nonnull(report);
    /* A libc that is linked in has no name, and its locks are words. */
    bool unnamed = strcmp(cases[i].program, "$ALARM_STATIC") == 0;
    ck_assert_str_eq(word(report, "kind"), unnamed ? "orphaned-wait" : "self-deadlock");
    const char *certainty = word(report, "certainty");
    bool proved = agent ? cases[i].proved : cases[i].proved_without;
    ck_assert_msg(strcmp(certainty, proved ? "proved" : "evident") == 0, "%s %s %s: %s, %s", cases[i].program,
                  cases[i].arguments[0] ? cases[i].arguments[0] : "", cases[i].preload ? "preloaded" : "", certainty,
                  word(report, "reason"));
    json_decref(report);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_alarm, 0, 2 * CASES);
}

int main(void)
{
    return wedge_test_main("watch_alarm", 60, fill);
}
