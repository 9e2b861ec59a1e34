/* wedge-pool-demo: its counts line, its exit status, and bad usage that names what would be right. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wedge/pool.h>

#include "base/tests/suite.h"

enum { ARGS_MAX = 15 };

struct ran {
    int status;
    char out[4096], err[4096];
};

static void read_all(int fd, char *buf, size_t size)
{
    size_t used = 0;
    ssize_t n;
    while (used < size - 1 && (n = read(fd, buf + used, size - 1 - used)) > 0)
        used += (size_t)n;
    buf[used] = '\0';
    close(fd);
}

/* Runs the demo with up to ARGS_MAX arguments, NULL-terminated. */
static struct ran run_demo(const char *const *args)
{
    struct ran ran;
    const char *argv[ARGS_MAX + 2] = {WEDGE_POOL_DEMO};
    int out[2], err[2];
    for (int i = 0; args[i]; i++)
        argv[i + 1] = args[i];
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(err, O_CLOEXEC), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(out[1], 1);
        dup2(err[1], 2);
        signal(SIGTERM, SIG_IGN); /* the workers', too: what term_wait is for */
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    read_all(out[0], ran.out, sizeof(ran.out));
    read_all(err[0], ran.err, sizeof(ran.err));
    ck_assert_int_eq(waitpid(pid, &ran.status, 0), pid);
    ck_assert(WIFEXITED(ran.status));
    ran.status = WEXITSTATUS(ran.status);
    return ran;
}

static const char *const healthy[][8] = {
    {NULL},
    {"--preset=reported", NULL},
    {"--preset=proposed", "--result-put=wait", NULL}, /* its own drops what a late collector has no room for */
    {"--preset=hardened", NULL},
    {"--preset=reported", "--results=iterate", NULL},
    {"--preset=hardened", "--results=iterate", "--queue=2", "--processes=1", NULL},
    {"--preset=reported", "--set", "result_bound=none", "--results=iterate", "--queue=2", NULL},
    {"--preset=hardened", "--deadline-ms=20000", "--task-ms=1", "--threads=3", NULL},
    {"--preset=reported", "--deadline-ms=20000", "--task-ms=1", "--threads=3", NULL},
    {"--putters=3", "--many=5", "--task-bytes=200", "--result-bytes=256", NULL},
    {"--putters=3", "--preset=reported", "--task-bytes=200", "--init-ms=1", NULL},
    {"--results=count", "--preset=reported", NULL},
    {"--results=iterate", "--many=8", "--slot-bytes=32", "--result-bytes=100", NULL},
};

START_TEST(healthy_runs_report_each_task)
{
    struct ran ran = run_demo(healthy[_i]);
    ck_assert_msg(ran.status == 0, "%d: %s", ran.status, ran.err);
    ck_assert_str_eq(ran.out, "counts: accepted=12 reported=12 ok=12 error=0 lost=0 timeout=0 cancelled=0 "
                              "init_failed=0 twice=0\n");
    ck_assert_str_eq(ran.err, "");
}
END_TEST

/* What a run was like beside what became of its tasks: for scenarios that are about neither a hang nor a loss. */
START_TEST(figures_are_printed_where_asked_for)
{
    const char *const args[] = {"--preset=proposed", "--result-put=wait", "--processes=1", "--threads=1", "--queue=5",
                                "--tasks=20",        "--task-ms=1",       "--figures",     NULL};
    struct ran ran = run_demo(args);
    ck_assert_int_eq(ran.status, 0);
    const char *at = strstr(ran.out, " twice=0 pool_reported=20 replaced=0 longest_put_ms=");
    ck_assert_msg(at, "%s", ran.out);
    ck_assert_msg(strstr(at, " queue_alarms=") && !strstr(at, "queue_alarms=0"), "%s", ran.out);
    ck_assert_msg(strstr(at, " workers_alarms=") && strstr(at, " finished_alarms=0\n"), "%s", ran.out);
}
END_TEST

/* The natural fill of item 2.2, ended by the demo's own deadline: what was put and what came back is counted. */
START_TEST(a_deadline_ends_a_real_hang)
{
    const char *const args[] = {"--preset=reported", "--results=iterate", "--queue=2",         "--tasks=50",
                                "--processes=1",     "--threads=1",       "--deadline-ms=300", NULL};
    struct ran ran = run_demo(args);
    ck_assert_int_eq(ran.status, 3);
    ck_assert_msg(strstr(ran.out, "counts: accepted=5 ") == ran.out, "%s", ran.out);
    ck_assert_ptr_nonnull(strstr(ran.err, "put"));
}
END_TEST

/* What the tasks say about themselves, and each setting as an option and as a line. */
static const struct {
    const char *args[6];
    const char *line;
} says[] = {
    {{"--tasks=100", "--fail-every=10", NULL}, "accepted=100 reported=100 ok=90 error=10 lost=0 "},
    {{"--tasks=100", "--die-every=50", "--die-limit=never", NULL}, "accepted=100 reported=100 ok=98 error=2 lost=0 "},
    {{"--result-bytes=300", NULL}, "accepted=12 reported=12 ok=0 error=12 "},
    {{"--print-settings", "--start-limit=1234", "--set=name=x", NULL}, "\nstart_limit=1234\n"},
    {{"--print-settings", "--start-limit=1234", "--set=name=x", NULL}, "\nname=x\n"},
    {{"--print-settings", NULL}, "\ncollector_wait=-\n"},
    {{"--print-settings", "--preset=reported", NULL}, "\ncollector_wait=never\n"},
};

START_TEST(it_does_and_says_what_its_options_ask)
{
    struct ran ran = run_demo(says[_i].args);
    ck_assert_msg(ran.status == 0, "%d: %s", ran.status, ran.err);
    ck_assert_msg(strstr(ran.out, says[_i].line) != NULL, "%s", ran.out);
}
END_TEST

/*
 * Each setting does something: the same run with it and without. `shows` is in what is said (with `status N` before it) with
 * the setting alone, or, after a '!', without it alone. Not here: what only a death at the right moment, or another program, can
 * show (queue_lock, idle_holds_reader, idle_limit, parent_death, ask_error, management_lock, shutdown_steps, timeouts, name, shared), which other tests of the pool do.
 */
#define ONE    "--processes=1", "--threads=1"
#define STREAM "--preset=reported"
static const struct {
    const char *args[ARGS_MAX - 2];
    const char *setting, *shows;
} effects[] = {
    {{"--events", "--processes=1"}, "--processes=3", "ready: w3 "},
    {{ONE, "--task-ms=150", "--deadline-ms=1000"}, "--threads=12", "status 0"},
    {{STREAM, ONE, "--results=iterate", "--tasks=50", "--queue=2", "--deadline-ms=300"}, "--queue=3", "accepted=7 "},
    {{"--task-bytes=300"}, "--payload-bytes=512", "ok=12"},
    {{"--payload-bytes=8192", "--arena-bytes=4096"}, "--slot-bytes=8192", "ok=12"},
    {{"--payload-bytes=8192", "--arena-bytes=4096"}, "--arena-bytes=auto", "ok=12"},
    {{STREAM, ONE, "--results=iterate", "--tasks=50", "--queue=2", "--deadline-ms=300"},
     "--when-full=caller",
     "accepted=50 "},
    {{"--process-limit=60000"}, "--workers=threads", "not allowed with workers=threads"},
    {{"--events", ONE}, "--life-tasks=3", "ready: w1 generation 2"},
    {{"--events", ONE, "--hold=600"}, "--life=100", "ready: w1 generation 1"},
    {{"--events", ONE, "--hold=400"}, "--process-limit=100", "process_limit: has come of age"},
    {{"--events", ONE, "--hold=500", "--process-limit=100", "--term-wait=3600000"},
     "--term-wait=20",
     "term_wait: has not left"},
    {{ONE, "--leave=abrupt", "--die-every=6", "--die-limit=3600000", "--deadline-ms=700"},
     "--die-limit=20",
     "status 0"},
    {{ONE, "--task-ms=300", "--tasks=1"}, "--task-limit=50", "timeout=1"},
    {{"--events", ONE, "--task-ms=300", "--tasks=1", "--task-limit=50"}, "--task-end=drain", "!killed by signal 9"},
    {{ONE, "--task-ms=200", "--tasks=4"}, "--queue-limit=100", "!timeout=0"},
    {{STREAM, ONE, "--life-tasks=1", "--queue=2", "--deadline-ms=700"}, "--check=10", "accepted=12 "},
    {{"--events", ONE, "--init-ms=200", "--tasks=1", "--restart-limit=1"},
     "--start-limit=50",
     "start_limit: not ready"},
    {{"--events", ONE, "--final-ms=300"}, "--final-limit=50", "final_limit: a finalizer"},
    {{STREAM, "--events", ONE, "--init-ms=200", "--tasks=1", "--start-limit=50", "--deadline-ms=700"},
     "--limit-by=helper",
     "left behind in its helper"},
    {{"--events", ONE, "--init-ms=200", "--tasks=1", "--start-limit=50", "--restart-limit=none", "--deadline-ms=700"},
     "--restart-limit=1",
     "event: broken"},
    {{STREAM, "--processes=1", "--task-ms=100", "--die-every=5", "--die-limit=10", "--collector-leaves=either",
      "--collector-wait=20", "--queue-lock=owned"},
     "--dead-task=lost",
     " reported=12 "},
    {{"--events", ONE, "--leave=abrupt", "--die-every=6", "--die-limit=20"}, "--leave=in_order", "!exit status 85"},
    {{STREAM, "--processes=1", "--task-ms=100", "--die-every=5", "--die-limit=10", "--collector-leaves=either",
      "--deadline-ms=1500"},
     "--collector-wait=20",
     "status 0"},
    {{STREAM, "--processes=1", "--task-ms=100", "--die-every=5", "--die-limit=10", "--collector-wait=20",
      "--deadline-ms=1500"},
     "--collector-leaves=no_workers",
     "status 0"},
    {{"--events", "--tasks=1", "--collect-ms=300"}, "--collector-limit=50", "event: limit: "},
    {{STREAM, ONE, "--results=iterate", "--tasks=50", "--queue=2", "--deadline-ms=300"},
     "--result-bound=none",
     "ok=50"},
    {{STREAM, ONE, "--results=iterate", "--tasks=50", "--queue=2", "--deadline-ms=300"},
     "--result-put=drop",
     "accepted=50 "},
    {{STREAM, "--events", ONE, "--queue=1", "--tasks=2", "--task-ms=500", "--close-wait=10", "--deadline-ms=2500"},
     "--close-by=flag",
     "!no room for a stop mark"},
    {{STREAM, "--events", ONE, "--queue=1", "--tasks=2", "--task-ms=500", "--deadline-ms=2500"},
     "--close-wait=10",
     "a stop mark is dropped"},
    {{STREAM, ONE, "--tasks=10", "--task-ms=100", "--shutdown-ms=20"}, "--shutdown-covers=all", " ok=0 "},
    {{STREAM, "--events", ONE, "--hold=400", "--process-limit=100", "--term-wait=50", "--check=10",
      "--queue-lock=owned", "--deadline-ms=2500"},
     "--log=queued",
     "!SIGTERM received"},
    {{"--events", ONE, "--queue=100", "--tasks=101", "--task-ms=200", "--deadline-ms=2500"},
     "--alarms=instant",
     "event: alarm: "},
    {{"--events", ONE, "--queue=100", "--tasks=101", "--task-ms=200", "--deadline-ms=2500"},
     "--alarm-hold=100",
     "event: alarm: "},
    {{STREAM, "--events", ONE, "--task-ms=20", "--alarm-floor=1000000"}, "--alarm-floor=0", "under 90 %"},
};

static bool is_said(const char *const *args, const char *setting, const char *text)
{
    const char *all[ARGS_MAX + 1] = {NULL};
    static char said[sizeof(((struct ran *)0)->out) * 2 + 32];
    int n = 0;
    for (; args[n]; n++)
        all[n] = args[n];
    if (setting)
        all[n] = setting;
    struct ran ran = run_demo(all);
    snprintf(said, sizeof(said), "status %d\n%s%s", ran.status, ran.out, ran.err);
    return strstr(said, text) != NULL;
}

START_TEST(each_setting_does_something)
{
    const char *shows = effects[_i].shows;
    bool without = shows[0] == '!';
    ck_assert_msg(is_said(effects[_i].args, effects[_i].setting, shows + without) != without, "%s: '%s' with it",
                  effects[_i].setting, shows);
    ck_assert_msg(is_said(effects[_i].args, NULL, shows + without) == without, "%s: '%s' without it",
                  effects[_i].setting, shows);
}
END_TEST

START_TEST(it_tells_of_events_and_holds_on)
{
    const char *const args[] = {"--events", "--hold=50", "--rate=1000", NULL};
    struct ran ran = run_demo(args);
    unsigned long accepted = 0;
    ck_assert_int_eq(ran.status, 0);
    ck_assert_ptr_nonnull(strstr(ran.err, "event: ready: w1 generation 0"));
    ck_assert_int_eq(sscanf(ran.out, "counts: accepted=%lu", &accepted), 1);
    ck_assert_uint_gt(accepted, 12);
}
END_TEST

/* So many a second is meant, above a thousand too, and so long. */
START_TEST(it_holds_its_rate)
{
    const char *const args[] = {"--tasks=1", "--hold=200", _i ? "--rate=5000" : "--rate=0", NULL};
    int64_t begin_ns = wedge_pool_after_ms(0);
    struct ran ran = run_demo(args);
    unsigned long accepted = 0;
    ck_assert_int_eq(ran.status, 0);
    ck_assert_int_ge(wedge_pool_after_ms(0) - begin_ns, 200 * 1000000);
    ck_assert_int_eq(sscanf(ran.out, "counts: accepted=%lu", &accepted), 1);
    ck_assert_uint_le(accepted, 1 + (_i ? 1000 : 0));
}
END_TEST

static const struct {
    const char *args[4];
    const char *message;
} bad[] = {
    {{"--preset=robust", NULL}, "reported, proposed, hardened"},
    {{"--set", "threads=0", NULL}, "threads: '0' is not allowed; 1 to 64"},
    {{"--set", "colour=red", NULL}, "colour: no such setting"},
    {{"--set", "threads", NULL}, "key=value"},
    {{"--set=collector_wait=5", NULL}, "not a setting of preset hardened"},
    {{"--processes=0", NULL}, "processes: '0' is not allowed; 1 to 256"},
    {{"--threads=65", NULL}, "1 to 64"},
    {{"--queue=-1", NULL}, "1 to 65536 or auto"},
    {{"--tasks=many", NULL}, "--tasks: 'many' is not allowed; 0 to 10000000"},
    {{"--tasks=-1", NULL}, "--tasks: '-1' is not allowed"},
    {{"--tasks=", NULL}, "--tasks: '' is not allowed"},
    {{"--start-limit=0", NULL}, "start_limit: '0' is not allowed; 1 to 3600000 ms or never"},
    {{"--many=2000", NULL}, "--many: '2000' is not allowed; 0 to 1024"},
    {{"--task-ms=1s", NULL}, "--task-ms: '1s' is not allowed"},
    {{"--deadline-ms=86400001", NULL}, "0 to 86400000"},
    {{"--results=both", NULL}, "--results: 'both' is not allowed; collector, iterate or count"},
    {{"more", NULL}, "no arguments are expected"},
    {{"--frobnicate", NULL}, "frobnicate"},
};

START_TEST(bad_usage_says_what_is_right)
{
    struct ran ran = run_demo(bad[_i].args);
    ck_assert_int_eq(ran.status, 2);
    ck_assert_str_eq(ran.out, "");
    ck_assert_msg(strstr(ran.err, bad[_i].message) != NULL, "%s", ran.err);
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_loop_test(t, healthy_runs_report_each_task, 0, sizeof(healthy) / sizeof(healthy[0]));
    tcase_add_test(t, figures_are_printed_where_asked_for);
    tcase_add_loop_test(t, it_does_and_says_what_its_options_ask, 0, sizeof(says) / sizeof(says[0]));
    if (!getenv("WEDGE_TEST_PACE")) /* its limits are milliseconds of a program that runs at its own pace (pace.h) */
        tcase_add_loop_test(t, each_setting_does_something, 0, sizeof(effects) / sizeof(effects[0]));
    tcase_add_test(t, it_tells_of_events_and_holds_on);
    tcase_add_loop_test(t, it_holds_its_rate, 0, 2);
    tcase_add_test(t, a_deadline_ends_a_real_hang);
    tcase_add_loop_test(t, bad_usage_says_what_is_right, 0, sizeof(bad) / sizeof(bad[0]));
}

int main(void)
{
    return wedge_test_main("demo", 30, fill);
}
