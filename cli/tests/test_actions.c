/*
 * What `wedge watch` does on a hang: cores, a command, the end of the tree and of nothing else; that it does none of it
 * when everything merely stood still for a while; and that its own violent end leaves every target running.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "cli/tests/programs.h"
#include "detector/kernel/proc.h"
#include "scenarios/tree.h"

static char dir[64];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-actions-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
    setenv("W", from_env("WEDGE_BIN"), 1);
    setenv("F", from_env("WEDGE_FACTORY"), 1);
    setenv("S", from_env("WEDGE_STILL"), 1);
    setenv("C", from_env("WEDGE_COMET"), 1);
    unsetenv("CI"); /* its limit of ten minutes */
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Runs a script in the test's folder; what it prints on either stream. */
static int run(const char *script, char *said, size_t size)
{
    char all[2048];
    int out;
    snprintf(all, sizeof(all), "exec 2>&1; %s", script);
    const char *const argv[] = {"/bin/bash", "-c", all, NULL};
    pid_t shell = start(argv, &out);
    read_text(out, NULL, said, size);
    close(out);
    return status_of(shell);
}

static const struct {
    const char *script;
    int status;
    const char *says, *says_not;
} rows[] = {
    /* The default: the tree is ended, a daemon of it too, and nobody beside it. */
    {"sleep 600 & S=$!; $W watch -q -o out -- sh -c '(setsid sleep 500 & echo $! >daemon); exec $F opposite-shared' "
     ">/dev/null; R=$?; kill -0 $S && echo bystander lives; kill $S; kill -0 $(cat daemon) 2>&1; exit $R",
     124, "bystander lives", "daemon"},
    /* A command: told where the report is, which stands there already; nothing to read; its output on standard error. */
    {"$W watch -q -o out --on-hang='run:cat; echo $WEDGE_KIND $WEDGE_SCOPE; grep -c \"\\\"schema\\\"\" $WEDGE_REPORT; "
     "kill "
     "-0 $WEDGE_PID && echo alive, run=$WEDGE_RUN.; kill -9 $WEDGE_PID' -- $F join-with-lock",
     124, "closed-wait whole\n1\nalive, run=.\n", NULL},
    {"$W watch -o out --on-hang=kill,run:'echo first; exit 3' -- $F join-with-lock", 124,
     "the command for a hang ended with 3", NULL},
    {"$W watch -o out --on-hang=core,kill -- $F opposite-shared; R=$?; ls out | grep -c core; exit $R", 124, "\n3\n",
     "no core"},
    /* A core of another program's reader's choice: names and threads are in it. */
    {"$W watch -q -o out --on-hang=core,kill -- $F three-threads; eu-stack --core=$(echo out/core.*) -e $F", 0,
     " take_two\n", NULL},
    {"$W watch -q -o out --on-hang=core,kill --no-agent -- $F three-threads; gdb -batch -ex 'thread apply all bt' $F "
     "out/core.* 2>&1 | grep -c 'take_next_lock\\|pthread_mutex_lock (mutex='",
     0, NULL, "\n0\n"},
    {"$W watch -q -o out --on-hang=core,kill -- $F three-threads; $W dump -q -o again --core out/core.*; grep -m1 "
     "'\"kind\": \"lock-cycle' again/report.json",
     0, "lock-cycle", NULL},
    /* A part is reported, and the command goes on and keeps its status; unless it is said to act on parts as well. */
    {"$W watch -o out --stall 500ms -- sh -c '$F part-checked & P=$!; $S 60 100; kill -9 $P; wait; exit 5'", 5,
     "a part of", NULL},
    {"$W watch -o out --stall 1s --on-part=run:'echo part of $WEDGE_PID: $WEDGE_SCOPE' -- sh -c '$F part-checked & "
     "P=$!; $S 90 100; "
     "kill -9 $P; wait; exit 5'",
     5, ": part\n", NULL},
    {"$W watch -q -o out --stall 500ms --on-part=kill -- sh -c '$F part-checked & $S 6000 100; exit 5'", 124, NULL,
     NULL},
    /* Attached: nothing is ended unless that is asked for. */
    {"$F join-with-lock >ready & P=$!; until grep -q ready ready; do sleep 0.05; done; $W watch -q -o out -p $P; R=$?; "
     "kill "
     "-0 $P && echo lives; kill -9 $P; wait; exit $R",
     124, "lives", NULL},
    {"$F join-with-lock >ready & P=$!; until grep -q ready ready; do sleep 0.05; done; $W watch -q -o out "
     "--on-hang=kill -p $P; "
     "R=$?; wait $P; echo ended with $?; exit $R",
     124, "ended with 137", NULL},
    {"$W watch --on-hang=kil -- true", 125, "separated by commas, not 'kil'", NULL},
    {"$W watch --on-part=core, -- true", 125, "--on-part takes", NULL},
    {"$W watch --on-hang=run: -- true", 125, "--on-hang takes", NULL},
    /* Whoever forks faster than it is killed. */
    {"$W watch -q -o out --limit 1s -- sh -c '$C 2 & sleep 600' >/dev/null 2>&1; R=$?; pgrep -f \"$C\" && echo left; "
     "exit $R",
     124, NULL, "left"},
};
START_TEST(test_row)
{
    static char said[1 << 20];
    int status = run(rows[_i].script, said, sizeof(said));
    ck_assert_msg(status == rows[_i].status, "%s\nended with %d:\n%s", rows[_i].script, status, said);
    ck_assert_msg(!rows[_i].says || strstr(said, rows[_i].says), "%s\nsaid:\n%s", rows[_i].script, said);
    ck_assert_msg(!rows[_i].says_not || !strstr(said, rows[_i].says_not), "%s\nsaid:\n%s", rows[_i].script, said);
}
END_TEST

static pid_t child_of(pid_t parent, const char *comm)
{
    for (int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S; wedge_clock_ns() < deadline;) {
        struct wedge_tree tree;
        pid_t found = 0;
        ck_assert_int_eq(wedge_tree_list(parent, false, NULL, 0, &tree), 0);
        for (size_t i = 0; i < tree.n; i++) {
            char text[64] = "";
            wedge_proc_read(tree.members[i].pid, 0, "comm", text, sizeof(text));
            if (strncmp(text, comm, strlen(comm)) == 0)
                found = tree.members[i].pid;
        }
        wedge_tree_free(&tree);
        if (found)
            return found;
    }
    ck_abort_msg("no %s below %d", comm, (int)parent);
}

/* Everything stands still for longer than the stall time, wedge too, as when a machine is suspended: no hang. The
 * program makes two marks a second. */
START_TEST(test_a_pause_of_everything_is_no_hang)
{
    char said[65536];
    int out;
    const char *const argv[] = {from_env("WEDGE_BIN"),   "watch", "-q",  "--stall", "1s", "-o", "out", "--",
                                from_env("WEDGE_STILL"), "8",     "500", NULL};
    pid_t wedge = start(argv, &out), target = child_of(wedge, "wedge-test-stil");
    nanosleep(&(struct timespec){.tv_nsec = 700000000}, NULL);
    kill(wedge, SIGSTOP);
    kill(target, SIGSTOP);
    nanosleep(&(struct timespec){.tv_sec = 3}, NULL); /* longer than the stall time: it is what is tested */
    kill(target, SIGCONT);
    kill(wedge, SIGCONT);
    read_text(out, NULL, said, sizeof(said));
    ck_assert_int_eq(status_of(wedge), 5);
    close(out);
}
END_TEST

/* What the clocks of wedge do, really, in the middle of a standstill of 9 s with a stall time of 6 s (clock_shim.c). */
static const struct {
    const char *clocks;
    int status, when; /* SIGRTMIN + when */
} jumps[] = {
    {"boottime 0\nmonotonic 0", 124, 6},
    {"boottime 3600\nmonotonic 0", 5, 6}, /* the machine was suspended */
    {"boottime 3600\nmonotonic 3600", 5, 6}, /* it was a virtual one, which was paused */
    {"boottime 3600\nmonotonic 3600", 124, 7}, /* in the middle of a sample: of the standstill that hour is no part */
};

START_TEST(test_a_suspended_machine_is_no_hang)
{
    char said[65536], shim[4096];
    int out;
    const char *const argv[] = {from_env("WEDGE_BIN"),   "watch", "-q",   "--stall", "6s", "-o", "out", "--",
                                from_env("WEDGE_STILL"), "1",     "9000", NULL};
    snprintf(shim, sizeof(shim), "%s", from_env("WEDGE_CLOCK_SHIM"));
    setenv("LD_PRELOAD", shim, 1);
    setenv("WEDGE_TEST_CLOCKS", jumps[_i].clocks, 1);
    pid_t wedge = start(argv, &out);
    unsetenv("LD_PRELOAD");
    child_of(wedge, "wedge-test-stil");
    nanosleep(&(struct timespec){.tv_sec = 4, .tv_nsec = 500000000}, NULL); /* the middle: it is what is tested */
    ck_assert_int_eq(kill(wedge, SIGRTMIN + jumps[_i].when), 0);
    read_text(out, NULL, said, sizeof(said));
    ck_assert_int_eq(status_of(wedge), jumps[_i].status);
    ck_assert_msg(!strstr(said, "progress for 36"), "%s", said);
    close(out);
}
END_TEST

static pid_t tracer_of(pid_t pid)
{
    char text[4096];
    struct wedge_proc_status status;
    if (wedge_proc_read(pid, 0, "status", text, sizeof(text)) < 0 || wedge_proc_status_parse(text, &status))
        return 0;
    return status.tracer;
}

static bool has_ended(pid_t child)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child;
}

/* No thread of it is stopped or traced, now or in a moment: what died with wedge needs one to be gone. */
static void check_let_go(pid_t pid)
{
    int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    for (bool held = true; held;) {
        pid_t *tids;
        size_t n;
        held = false;
        ck_assert_int_eq(wedge_proc_list(pid, 1000, &tids, &n), 0);
        for (size_t i = 0; i < n; i++) {
            char text[4096];
            struct wedge_proc_stat stat;
            struct wedge_proc_status status;
            ck_assert_int_gt(wedge_proc_read(pid, tids[i], "stat", text, sizeof(text)), 0);
            ck_assert_int_eq(wedge_proc_stat_parse(text, &stat), 0);
            ck_assert_int_gt(wedge_proc_read(pid, tids[i], "status", text, sizeof(text)), 0);
            ck_assert_int_eq(wedge_proc_status_parse(text, &status), 0);
            held |= stat.state == 't' || stat.state == 'T' || status.tracer;
        }
        free(tids);
        ck_assert_msg(!held || wedge_clock_ns() < deadline, "process %d stays stopped or traced", (int)pid);
    }
}

/* wedge watch is killed, by SIGKILL, 20 times: in every other round as soon as the target is seen to be traced, in the
 * middle of a stop; else at a random instant. */
START_TEST(test_killed_watch_leaves_every_target_running)
{
    int out, caught = 0;
    pid_t target = start_factory("opposite-shared", &out);
    size_t members = count_members(target);
    unsigned seed = 1;
    for (int round = 0; round < 20; round++) {
        char number[16];
        int discard;
        snprintf(number, sizeof(number), "%d", (int)target);
        const char *const argv[] = {from_env("WEDGE_BIN"), "watch", "-q", "-o", "out", "-p", number, NULL};
        pid_t wedge = start(argv, &discard);
        if (round % 2) {
            nanosleep(&(struct timespec){.tv_nsec = rand_r(&seed) % 120 * 1000000l}, NULL);
        } else {
            int64_t deadline = wedge_clock_ns() + 2 * WEDGE_NS_PER_S;
            while (!tracer_of(target) && !has_ended(wedge) && wedge_clock_ns() < deadline)
                ;
            caught += tracer_of(target) != 0;
        }
        kill(wedge, SIGKILL);
        status_of(wedge);
        close(discard);
        struct wedge_tree tree;
        ck_assert_int_eq(wedge_tree_list(target, true, NULL, 0, &tree), 0);
        ck_assert_uint_eq(tree.n, members);
        for (size_t i = 0; i < tree.n; i++)
            check_let_go(tree.members[i].pid);
        wedge_tree_free(&tree);
    }
    ck_assert_int_gt(caught, 0);
    check_untouched(target, members);
    end_factory(target, out);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_row, 0, sizeof(rows) / sizeof(rows[0]));
    tcase_add_test(tcase, test_a_pause_of_everything_is_no_hang);
    /* Root alone may make clocks of its own; a sanitizer wants to be the first that is preloaded. */
    if (getenv("WEDGE_CLOCK_SHIM") && geteuid() == 0)
        tcase_add_loop_test(tcase, test_a_suspended_machine_is_no_hang, 0, sizeof(jumps) / sizeof(jumps[0]));
    tcase_add_test(tcase, test_killed_watch_leaves_every_target_running);
}

int main(void)
{
    return wedge_test_main("actions", 120, fill);
}
