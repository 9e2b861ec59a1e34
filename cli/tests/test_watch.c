/*
 * `wedge watch` and `wedge dump` on programs that know nothing of wedge: every hang gets its kind, every healthy
 * look-alike is never called one, and nothing is left stopped or dead by an examination, nor by its violent end.
 *
 * WEDGE_REPEAT says how often each case runs (2).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/asleep.h"
#include "base/tests/suite.h"
#include "cli/tests/programs.h"
#include "reports/report.h"
#include "scenarios/tree.h"

static char dir[64], wedge_out[80];

static int repeats(void)
{
    const char *n = getenv("WEDGE_REPEAT");
    return n ? atoi(n) : 2;
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-watch-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(wedge_out, sizeof(wedge_out), "%s/out", dir);
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* One `wedge dump`; its exit status and report. */
static int dump(pid_t pid, json_t **ret)
{
    char number[16];
    int out;
    const char *const argv[] = {from_env("WEDGE_BIN"), "dump", "--json", "-o", wedge_out, number, NULL};
    snprintf(number, sizeof(number), "%d", pid);
    pid_t wedge = start(argv, &out);
    json_error_t error;
    FILE *in = fdopen(out, "r");
    *ret = json_loadf(in, 0, &error);
    fclose(in);
    ck_assert_msg(*ret != NULL, "dump printed no report: %s", error.text);
    return status_of(wedge);
}

static const struct {
    const char *name, *kind, *certainty;
} hangs[] = {
    {"opposite-shared", "lock-cycle", "proved"},
    {"join-with-lock", "closed-wait", "proved"},
    {"waitpid-full-pipe", "mutual-backpressure", "proved"},
};
static const char *const healthy[] = {"server",      "nagle",           "self-pipe",
                                      "posix-timer", "sleep-then-post", "unlocked-by-another"};
enum { HANGS = sizeof(hangs) / sizeof(hangs[0]), HEALTHY = sizeof(healthy) / sizeof(healthy[0]) };

/* With the agent and without: a program that knows nothing of wedge must not need it. */
START_TEST(test_watch_hang)
{
    const char *how = _i / HANGS ? "--no-agent" : "-q";
    for (int round = 0; round < repeats(); round++) {
        char said[65536], result[160];
        int out;
        const char *const argv[] = {
            from_env("WEDGE_BIN"),  "watch", "-q", how, "-o", wedge_out, "--", from_env("WEDGE_FACTORY"),
            hangs[_i % HANGS].name, NULL};
        int64_t began = wedge_clock_ns();
        pid_t wedge = start(argv, &out);
        read_text(out, NULL, said, sizeof(said));
        ck_assert_int_eq(status_of(wedge), 124);
        ck_assert_int_lt(wedge_clock_ns() - began, 20 * WEDGE_NS_PER_S);
        close(out);
        snprintf(result, sizeof(result), "%s/report.json", wedge_out);
        json_t *report = json_load_file(result, 0, NULL);
        ck_assert_ptr_nonnull(report);
        ck_assert_str_eq(word(report, "kind"), hangs[_i % HANGS].kind);
        ck_assert_str_eq(word(report, "certainty"), hangs[_i % HANGS].certainty);
        ck_assert_str_eq(word(report, "scope"), "whole");
        json_decref(report);
    }
}
END_TEST

/* The stop for a stack ends semop(2): while a hang is only evident, and has not lasted, nothing may end it. */
START_TEST(test_watch_ends_no_wait_before_it_reports)
{
    char said[65536], result[160];
    int out;
    const char *const argv[] = {
        from_env("WEDGE_BIN"),     "watch",         "-q", "--stall", "1s", "--limit", "40s", "-o", wedge_out, "--",
        from_env("WEDGE_FACTORY"), "sysv-sem-once", NULL};
    pid_t wedge = start(argv, &out);
    read_text(out, NULL, said, sizeof(said));
    close(out);
    ck_assert_int_eq(status_of(wedge), 124);
    snprintf(result, sizeof(result), "%s/report.json", wedge_out);
    json_t *report = json_load_file(result, 0, NULL);
    ck_assert_ptr_nonnull(report);
    const char *woken = strstr(said, "woken after ");
    ck_assert_msg(!woken || atoi(woken + 12) >= 1000, "%s", said);
    ck_assert_str_eq(word(report, "kind"), "closed-wait");
    ck_assert_str_eq(word(report, "certainty"), "evident");
    const json_t *process = json_array_get(json_object_get(report, "processes"), 0);
    const json_t *thread = json_array_get(json_object_get(process, "threads"), 0);
    ck_assert_msg(json_array_size(wedge_report_stack(report, thread)) > 2, "%s",
                  json_string_value(json_object_get(thread, "stack_note")));
    json_decref(report);
}
END_TEST

/* A part is reported, and later the limit: as JSON that is still one document. */
START_TEST(test_watch_prints_one_document)
{
    static char said[1 << 20];
    int out;
    json_error_t error;
    const char *const argv[] = {
        from_env("WEDGE_BIN"),     "watch",       "--json", "--limit", "2s", "-o", wedge_out, "--",
        from_env("WEDGE_FACTORY"), "forked-lock", NULL};
    pid_t wedge = start(argv, &out);
    read_text(out, NULL, said, sizeof(said));
    close(out);
    ck_assert_int_eq(status_of(wedge), 124);
    json_t *report = json_loads(said, 0, &error);
    ck_assert_msg(report != NULL, "line %d: %s", error.line, error.text);
    json_decref(report);
}
END_TEST

/* Everything that it says goes to `out`. */
static pid_t start_saying(const char *const *argv, int out)
{
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGPIPE, SIG_DFL);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        close_range(3, ~0u, 0);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(out);
    return pid;
}

/* `wedge watch … 2>&1 | head`: nobody reads what wedge says, and it ends the tree nonetheless. */
START_TEST(test_watch_that_nobody_reads)
{
    int ends[2];
    char result[160];
    const char *const argv[] = {from_env("WEDGE_BIN"),     "watch",           "-o", wedge_out, "--",
                                from_env("WEDGE_FACTORY"), "opposite-shared", NULL};
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    pid_t wedge = start_saying(argv, ends[1]);
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* what wedge left would be ours */
    ck_assert_int_eq(status_of(wedge), 124);
    ck_assert_int_eq(waitpid(-1, NULL, 0), -1);
    ck_assert_int_eq(errno, ECHILD);
    snprintf(result, sizeof(result), "%s/result.json", wedge_out);
    ck_assert_int_eq(access(result, R_OK), 0);
}
END_TEST

/* What was found out is said, too, where it cannot be written down: the folder, which was there at the start, has become a
 * file. */
START_TEST(test_watch_without_a_folder)
{
    int ends[2];
    char said[8192], folder[sizeof(dir) + 8];
    snprintf(folder, sizeof(folder), "%s/gone", dir);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    const char *const argv[] = {from_env("WEDGE_BIN"),
                                "watch",
                                "-o",
                                folder,
                                "--",
                                "/bin/sh",
                                "-c",
                                "rmdir \"$1\" && : >\"$1\" && exec \"$2\" opposite-shared",
                                "sh",
                                folder,
                                from_env("WEDGE_FACTORY"),
                                NULL};
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t wedge = start_saying(argv, ends[1]);
    read_text(ends[0], NULL, said, sizeof(said));
    close(ends[0]);
    ck_assert_int_eq(status_of(wedge), 124);
    ck_assert_msg(strstr(said, "HANG: Lock cycle (proved, the whole program)") != NULL, "%s", said);
    ck_assert_msg(strstr(said, "cannot open the folder") != NULL, "%s", said);
    ck_assert_ptr_null(strstr(said, "report.html"));
}
END_TEST

/* A thread that was just started needs a moment until it blocks, and nothing outside it can tell when: the first
 * examinations may say "running", but none may say anything else that is not the hang. */
/* What nobody can see from outside is in the words for the object: the readers of a rwlock, who posted last. */
static const struct {
    const char *name, *says;
} recorded[] = {{"rwlock-writer", "read"}, {"posted-once", "last posted"}};
START_TEST(test_watch_says_what_was_recorded)
{
    for (int with = 0; with < 2; with++) {
        char said[65536], path[160], words[80];
        int out;
        const char *const argv[] = {from_env("WEDGE_BIN"),
                                    "watch",
                                    "-q",
                                    with ? "--record=calls" : "--record=places",
                                    "-o",
                                    wedge_out,
                                    "--",
                                    from_env("WEDGE_FACTORY"),
                                    recorded[_i].name,
                                    NULL};
        pid_t wedge = start(argv, &out);
        read_text(out, NULL, said, sizeof(said));
        ck_assert_int_eq(status_of(wedge), 124);
        close(out);
        snprintf(path, sizeof(path), "%s/report.json", wedge_out);
        json_t *report = json_load_file(path, 0, NULL);
        ck_assert_ptr_nonnull(report);
        const json_t *process = json_array_get(json_object_get(report, "processes"), 0);
        int pid = (int)json_integer_value(json_object_get(process, "pid"));
        ck_assert_int_gt(pid, 1);
        snprintf(words, sizeof(words), ", %s by %d (by the record)", recorded[_i].says, pid);
        ck_assert_msg((strstr(word(report, "summary"), words) != NULL) == (with == 1), "%s: %s", words,
                      word(report, "summary"));
        json_decref(report);
    }
}
END_TEST

START_TEST(test_dump_hang)
{
    for (int round = 0; round < repeats(); round++) {
        int out, status = 0;
        pid_t pid = start_factory(hangs[_i].name, &out);
        size_t members = count_members(pid);
        int64_t deadline = wedge_clock_ns() + 20 * WEDGE_NS_PER_S;
        json_t *report = NULL;
        while (status == 0 && wedge_clock_ns() < deadline) {
            json_decref(report);
            status = dump(pid, &report);
        }
        ck_assert_int_eq(status, 124);
        ck_assert_str_eq(word(report, "kind"), hangs[_i].kind);
        ck_assert_str_eq(word(report, "certainty"), hangs[_i].certainty);
        json_decref(report);
        check_untouched(pid, members);
        end_factory(pid, out);
    }
}
END_TEST

START_TEST(test_dump_healthy)
{
    int out;
    pid_t pid = start_factory(healthy[_i], &out);
    size_t members = count_members(pid);
    for (int round = 0; round < 5 * repeats(); round++) {
        json_t *report;
        if (strcmp(healthy[_i], "server") == 0)
            wedge_test_await_server(pid);
        int status = dump(pid, &report);
        /* What is proved of it may only be that it is no hang. */
        bool claimed = json_is_true(json_object_get(json_object_get(report, "verdict"), "hang")) &&
                       strcmp(word(report, "certainty"), "proved") == 0;
        ck_assert_msg(!claimed, "%s: %s", healthy[_i], word(report, "summary"));
        if (strcmp(healthy[_i], "server") == 0) {
            ck_assert_int_eq(status, 0);
            ck_assert_str_eq(word(report, "kind"), "idle");
        }
        json_decref(report);
        check_untouched(pid, members);
    }
    end_factory(pid, out);
}
END_TEST

/* A server in accept() is watched in silence; told to end, it passes its status on. */
START_TEST(test_watch_server)
{
    char said[4096], report[160];
    int out, port;
    const char *const argv[] = {from_env("WEDGE_BIN"),     "watch",  "-o", wedge_out, "--",
                                from_env("WEDGE_FACTORY"), "server", NULL};
    pid_t wedge = start(argv, &out);
    read_text(out, "ready", said, sizeof(said));
    ck_assert_int_eq(sscanf(said, "port %d", &port), 1);
    /* Long enough for it to have been looked at several times: what is waited for is that nothing happens. */
    ck_assert_int_eq(poll(&(struct pollfd){.fd = out, .events = POLLIN}, 1, 2000), 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(to, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(write(to, "quit", 4), 4);
    ck_assert_int_eq(status_of(wedge), 0);
    close(to);
    close(out);
    snprintf(report, sizeof(report), "%s/report.html", wedge_out);
    ck_assert_int_ne(access(report, F_OK), 0);
}
END_TEST

START_TEST(test_watch_stall)
{
    char said[65536], name[160];
    int out;
    const char *const argv[] = {from_env("WEDGE_BIN"),   "watch", "-q", "--stall", "1s", "-o", wedge_out, "--",
                                from_env("WEDGE_STILL"), NULL};
    pid_t wedge = start(argv, &out);
    read_text(out, NULL, said, sizeof(said));
    ck_assert_int_eq(status_of(wedge), 124);
    close(out);
    snprintf(name, sizeof(name), "%s/report.json", wedge_out);
    json_t *report = json_load_file(name, 0, NULL);
    ck_assert_ptr_nonnull(report);
    ck_assert_str_eq(word(report, "kind"), "no-progress");
    ck_assert_str_eq(word(report, "certainty"), "suspected");
    char *text = json_dumps(report, 0);
    ck_assert_ptr_nonnull(strstr(text, "\"work_that_stands_still\""));
    free(text);
    json_decref(report);
}
END_TEST

/* The same program while its marks move: the stall time is no limit. */
START_TEST(test_watch_progress)
{
    char said[4096];
    int out;
    const char *const argv[] = {from_env("WEDGE_BIN"),   "watch", "-q", "--stall", "500ms", "-o", wedge_out, "--",
                                from_env("WEDGE_STILL"), "60",    NULL};
    pid_t wedge = start(argv, &out);
    read_text(out, NULL, said, sizeof(said));
    ck_assert_int_eq(status_of(wedge), 5);
    close(out);
}
END_TEST

/* A shell that has itself watched: wedge, which it waits for, is no part of its tree, and no hang of it. */
START_TEST(test_watch_of_the_shell_above)
{
    char script[512], said[65536], name[160];
    int out;
    snprintf(script, sizeof(script), "%s watch -q -o %s --limit 1s -p $$; [ $? = 124 ] && exit 7",
             from_env("WEDGE_BIN"), wedge_out);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    pid_t shell = start(argv, &out);
    read_text(out, NULL, said, sizeof(said));
    ck_assert_int_eq(status_of(shell), 7);
    close(out);
    snprintf(name, sizeof(name), "%s/report.json", wedge_out);
    json_t *report = json_load_file(name, 0, NULL);
    ck_assert_ptr_nonnull(report);
    ck_assert_uint_eq(json_array_size(json_object_get(report, "processes")), 1);
    ck_assert_msg(strcmp(word(report, "kind"), "no-progress") == 0, "%s", word(report, "summary"));
    json_decref(report);
}
END_TEST

/* From another terminal a run is known by its mark, its daemons included. */
START_TEST(test_dump_of_a_daemon_of_a_run)
{
    char text[64];
    int out;
    /* The daemon's parent is dead and its session another one; both wait for a FIFO that nobody opens. */
    const char *const argv[] = {from_env("WEDGE_BIN"),
                                "watch",
                                "-q",
                                "--no-agent",
                                "-o",
                                wedge_out,
                                "--",
                                "/bin/sh",
                                "-c",
                                "cd ${0%/*}; mkfifo f; (setsid sh -c 'echo $$ $1.; read x <f' sh $$ &); read x <f",
                                wedge_out,
                                NULL};
    pid_t wedge = start(argv, &out), daemon = 0, command = 0;
    read_text(out, ".", text, sizeof(text));
    ck_assert_int_eq(sscanf(text, "%d %d.", &daemon, &command), 2);
    json_t *report;
    ck_assert_int_eq(dump(command, &report), 0);
    ck_assert_uint_eq(json_array_size(json_object_get(report, "processes")), 2);
    json_decref(report);
    kill(command, SIGKILL);
    kill(daemon, SIGKILL);
    ck_assert_int_eq(status_of(wedge), 128 + SIGKILL);
    close(out);
}
END_TEST

static json_t *dump_of_user(void)
{
    char said[16], name[160];
    int out;
    const char *const argv[] = {from_env("WEDGE_BIN"), "dump", "-s", "-o", wedge_out, "-q", "--all-of-user", NULL};
    pid_t wedge = start(argv, &out);
    read_text(out, NULL, said, sizeof(said));
    close(out);
    ck_assert_int_eq(status_of(wedge), 0); /* none of them is the whole */
    snprintf(name, sizeof(name), "%s/report.json", wedge_out);
    json_t *report = json_load_file(name, 0, NULL);
    ck_assert_ptr_nonnull(report);
    return report;
}

/* Is a thread of the process a victim of a hang of this kind that is proved? NULL: of any hang. */
static bool is_victim(const json_t *report, pid_t pid, const char *kind)
{
    size_t i, j, k;
    const json_t *verdict, *victim, *process, *thread;
    json_array_foreach(json_object_get(report, "verdicts"), i, verdict) {
        const char *is = json_string_value(json_object_get(verdict, "kind"));
        const char *certainty = json_string_value(json_object_get(verdict, "certainty"));
        ck_assert_str_eq(json_string_value(json_object_get(verdict, "scope")), "part");
        if (kind && (strcmp(is, kind) != 0 || strcmp(certainty, "proved") != 0))
            continue;
        json_array_foreach(json_object_get(verdict, "victims"), j, victim) {
            const char *node = json_string_value(json_object_get(victim, "node"));
            json_array_foreach(json_object_get(report, "processes"), k, process) {
                size_t t;
                if (json_integer_value(json_object_get(process, "pid")) != pid)
                    continue;
                json_array_foreach(json_object_get(process, "threads"), t, thread)
                    if (strcmp(node, json_string_value(json_object_get(thread, "node"))) == 0)
                        return json_is_true(json_object_get(verdict, "hang"));
            }
        }
    }
    return false;
}

/* A hang among all that a user has running, and a server beside it that is fine. One that waits for nobody outside its own
 * process: what else the user has running may be unreadable, and then counts as able to reach anything shared. */
START_TEST(test_dump_all_of_a_user)
{
    int out[2];
    pid_t stuck = start_factory("join-with-lock", &out[0]), fine = start_factory("server", &out[1]);
    int64_t deadline = wedge_clock_ns() + 40 * WEDGE_NS_PER_S;
    bool found = false;
    while (!found && wedge_clock_ns() < deadline) {
        json_t *report = dump_of_user();
        found = is_victim(report, stuck, "closed-wait");
        ck_assert(!is_victim(report, fine, NULL));
        ck_assert(json_is_null(json_object_get(report, "root")));
        json_decref(report);
    }
    ck_assert(found);
    end_factory(stuck, out[0]);
    end_factory(fine, out[1]);
}
END_TEST

/* `wedge dump` is killed at 20 places in its work, by SIGKILL: the target runs on. */
START_TEST(test_killed_dump_leaves_nothing_stopped)
{
    int out;
    pid_t pid = start_factory("join-with-lock", &out);
    for (int step = 0; step < 20; step++) {
        char number[16];
        int discard;
        const char *const argv[] = {from_env("WEDGE_BIN"), "dump", "-q", "-o", wedge_out, number, NULL};
        snprintf(number, sizeof(number), "%d", pid);
        pid_t wedge = start(argv, &discard);
        nanosleep(&(struct timespec){.tv_nsec = step * 2000000l}, NULL); /* spreads the kills, orders nothing */
        kill(wedge, SIGKILL);
        int status = status_of(wedge);
        ck_assert_msg(status == 128 + SIGKILL || status == 124 || status == 0, "dump ended with %d", status);
        close(discard);
        /* Its disposable child dies with it, which takes a moment; the target must come out of any stop by then. */
        int64_t deadline = wedge_clock_ns() + 5 * WEDGE_NS_PER_S;
        struct wedge_tree tree;
        bool stopped = true;
        while (stopped && wedge_clock_ns() < deadline) {
            ck_assert_int_eq(wedge_tree_list(pid, true, NULL, 0, &tree), 0);
            ck_assert_uint_eq(tree.n, 1);
            stopped = tree.members[0].state == 't' || tree.members[0].state == 'T';
            wedge_tree_free(&tree);
        }
        ck_assert_msg(!stopped, "left stopped after a kill at %d ms", 2 * step);
    }
    end_factory(pid, out);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_watch_hang, 0, 2 * HANGS);
    tcase_add_loop_test(tcase, test_dump_hang, 0, HANGS);
    tcase_add_loop_test(tcase, test_dump_healthy, 0, HEALTHY);
    tcase_add_test(tcase, test_watch_that_nobody_reads);
    tcase_add_test(tcase, test_watch_ends_no_wait_before_it_reports);
    tcase_add_test(tcase, test_watch_prints_one_document);
    tcase_add_test(tcase, test_watch_without_a_folder);
    tcase_add_test(tcase, test_watch_server);
    tcase_add_loop_test(tcase, test_watch_says_what_was_recorded, 0, sizeof(recorded) / sizeof(recorded[0]));
    tcase_add_test(tcase, test_watch_stall);
    tcase_add_test(tcase, test_watch_progress);
    tcase_add_test(tcase, test_watch_of_the_shell_above);
    tcase_add_test(tcase, test_dump_of_a_daemon_of_a_run);
    tcase_add_test(tcase, test_dump_all_of_a_user);
    tcase_add_test(tcase, test_killed_dump_leaves_nothing_stopped);
}

int main(void)
{
    return wedge_test_main("watch", 60.0 * repeats(), fill);
}
