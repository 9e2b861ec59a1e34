/*
 * libwedge in programs of its own kind: each test forks a child that hangs, stalls, or is healthy under a watchdog, and
 * reads what the watchdog says.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wedge/detector.h>

#include "base/tests/suite.h"

static int out; /* where a child writes */

static void say(const char *text)
{
    if (write(out, text, strlen(text)) < 0)
        _exit(9);
}

static void on_hang(const struct wedge_result *result, void *arg)
{
    char text[4096];
    snprintf(text, sizeof(text), "%s %s %s hang=%d json=%d: %s", wedge_result_kind(result),
             wedge_result_certainty(result), wedge_result_scope(result), wedge_result_is_hang(result),
             strncmp(wedge_result_json(result), "{", 1) == 0, wedge_result_summary(result));
    say(text);
    if (arg)
        _exit(7);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *take(void *arg)
{
    pthread_mutex_lock(&lock);
    return arg;
}

static struct wedge_watchdog *start(int stall_ms, bool ends)
{
    struct wedge_watchdog *w = NULL;
    struct wedge_watchdog_options options = {
        .size = sizeof(options), .check_ms = 50, .stall_ms = stall_ms, .on_hang = on_hang, .arg = ends ? &out : NULL};
    if (wedge_watchdog_start(&options, &w))
        _exit(8);
    return w;
}

/* ---- what the children do ---- */

static void hangs(void)
{
    pthread_t thread;
    start(0, true);
    pthread_mutex_lock(&lock);
    pthread_create(&thread, NULL, take, NULL);
    pthread_join(thread, NULL); /* main has what the thread waits for */
}

static void hangs_with_stacks(void)
{
    struct wedge_watchdog_options options = {
        .size = sizeof(options), .flags = WEDGE_DETECT_STACKS, .check_ms = 50, .on_hang = on_hang, .arg = &out};
    struct wedge_watchdog *w;
    pthread_t thread;
    if (wedge_watchdog_start(&options, &w))
        _exit(8);
    pthread_mutex_lock(&lock);
    pthread_create(&thread, NULL, take, NULL);
    pthread_join(thread, NULL);
}

/* Waits with a time-out for ever and does nothing: only its beats tell. */
static void stops_beating(void)
{
    struct wedge_watchdog *w = start(500, true);
    for (int i = 0; i < 3; i++) {
        wedge_watchdog_beat(w);
        poll(NULL, 0, 20);
    }
    for (;;)
        poll(NULL, 0, 20);
}

static volatile sig_atomic_t children;
static void on_child(int signo)
{
    (void)signo;
    children++;
}

/* Blocked, but not for ever: standard input may come. No report, no SIGCHLD, nothing to wait for. */
static void waits_for_input(void)
{
    signal(SIGCHLD, on_child);
    struct wedge_watchdog *w = start(0, false);
    char c;
    char text[300] = "";
    poll(&(struct pollfd){.fd = 0, .events = POLLIN}, 1, 3000); /* the test writes after two seconds of silence */
    if (read(0, &c, 1) != 1)
        _exit(4);
    wedge_watchdog_error(w, text, sizeof(text));
    bool nobody = waitpid(-1, NULL, 0) < 0 && errno == ECHILD;
    wedge_watchdog_stop(w);
    say(text[0] ? text : nobody && !children ? "silent" : "children were seen");
    _exit(0);
}

static void polls(void)
{
    struct wedge_watchdog *w = NULL;
    struct wedge_watchdog_options options = {.size = sizeof(options), .check_ms = 50};
    pthread_t threads[2];
    struct wedge_result *result = NULL;
    if (wedge_watchdog_start(&options, &w))
        _exit(8);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, take, NULL);
    /* Main goes on and asks: a hang of a part would need both to wait for each other. Here they wait for main. */
    for (int i = 0; i < 30 && !(result = wedge_watchdog_poll(w)); i++)
        poll(NULL, 0, 50);
    say(result ? wedge_result_kind(result) : "nothing");
    pthread_mutex_unlock(&lock);
    wedge_watchdog_stop(w);
    _exit(0);
}

/* A forked child may stop the handle that it has a copy of. */
static void forks(void)
{
    struct wedge_watchdog *w = start(0, false);
    pid_t pid = fork();
    if (pid == 0) {
        wedge_watchdog_stop(w);
        _exit(0);
    }
    int wstatus;
    say(waitpid(pid, &wstatus, 0) == pid && WIFEXITED(wstatus) ? "both ended" : "the child did not");
    wedge_watchdog_stop(w);
    _exit(0);
}

static const struct {
    void (*child)(void);
    const char *says;
    int status;
} rows[] = {
    /* Not proved here: the test framework's library could have set an alarm. The example of the manual is (example.watchdog). */
    {hangs, "closed-wait evident whole hang=1 json=1", 7},
    {hangs_with_stacks, "hangs_with_stacks()", 7},
    {stops_beating, "no-progress suspected", 7},
    {waits_for_input, "silent", 0},
    {polls, "nothing", 0},
    {forks, "both ended", 0},
};
START_TEST(test_row)
{
    int from[2], to[2], wstatus;
    char said[8192] = "";
    size_t len = 0;
    ssize_t n;
    ck_assert_int_eq(pipe2(from, O_CLOEXEC) | pipe2(to, O_CLOEXEC), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(to[0], 0);
        out = fcntl(from[1], F_DUPFD_CLOEXEC, 10);
        close(from[0]);
        close(from[1]);
        close(to[0]);
        close(to[1]);
        rows[_i].child();
        _exit(6);
    }
    close(from[1]);
    close(to[0]);
    if (rows[_i].child == waits_for_input) {
        ck_assert_int_eq(poll(&(struct pollfd){.fd = from[0], .events = POLLIN}, 1, 2000), 0);
        ck_assert_int_eq(write(to[1], "x", 1), 1);
    }
    while ((n = read(from[0], said + len, sizeof(said) - 1 - len)) > 0)
        len += (size_t)n;
    close(from[0]);
    close(to[1]);
    ck_assert_int_eq(waitpid(pid, &wstatus, 0), pid);
    ck_assert_msg(strstr(said, rows[_i].says) != NULL, "it said: %s", said);
    ck_assert_msg(WIFEXITED(wstatus) && WEXITSTATUS(wstatus) == rows[_i].status, "ended with %#x", wstatus);
}
END_TEST

/* Another process, and the ways in which it fails. */
START_TEST(test_detect)
{
    struct wedge_result *result = NULL;
    char why[256];
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pthread_mutex_lock(&lock);
        pthread_mutex_lock(&lock);
    }
    for (int i = 0; i < 200; i++) {
        wedge_result_free(result);
        ck_assert_msg(wedge_detect(pid, WEDGE_DETECT_STACKS, 0, &result, why, sizeof(why)) == 0, "%s", why);
        if (wedge_result_is_hang(result))
            break;
    }
    ck_assert_str_eq(wedge_result_kind(result), "self-deadlock");
    ck_assert_str_eq(wedge_result_scope(result), "whole");
    ck_assert_ptr_nonnull(strstr(wedge_result_signature(result), "sig1:"));
    ck_assert_ptr_nonnull(strstr(wedge_result_json(result), "wedge.report/2"));
    wedge_result_free(result);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(wedge_detect(pid, 0, 0, &result, why, sizeof(why)), -ESRCH);
    ck_assert_ptr_nonnull(strstr(why, "there is no process"));
    ck_assert_int_eq(wedge_detector_use("/no/such/wedge"), 0);
    ck_assert_int_eq(wedge_detect(0, 0, 0, &result, why, sizeof(why)), -ENOENT);
    ck_assert_ptr_nonnull(strstr(why, "/no/such/wedge"));
    ck_assert_int_eq(wedge_detector_use("/bin/true"), 0);
    ck_assert_int_eq(wedge_detect(0, 0, 0, &result, NULL, 0), -EBADMSG);
    ck_assert_int_eq(wedge_detector_use("/bin/cat"), 0); /* which has no such option */
    ck_assert_int_eq(wedge_detect(0, 0, 0, &result, why, sizeof(why)), -EBADMSG);
    ck_assert_int_eq(wedge_detector_use(NULL), 0);
    ck_assert_int_eq(wedge_detect(0, 0, 0, &result, why, sizeof(why)), 0);
    wedge_result_free(result);
    wedge_result_free(NULL);
    wedge_watchdog_stop(NULL);
}
END_TEST

START_TEST(test_bad_options)
{
    struct wedge_watchdog *w = NULL;
    const struct wedge_watchdog_options bad[] = {{.size = 3},
                                                 {.size = sizeof(bad[0]), .check_ms = -1},
                                                 {.size = sizeof(bad[0]), .check_ms = 5},
                                                 {.size = sizeof(bad[0]), .stall_ms = -1},
                                                 {.size = sizeof(bad[0]), .deadline_ms = -1}};
    ck_assert_int_eq(wedge_watchdog_start(NULL, &w), -EINVAL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_int_eq(wedge_watchdog_start(&bad[i], &w), -EINVAL);
    ck_assert_ptr_null(w);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_row, 0, sizeof(rows) / sizeof(rows[0]));
    tcase_add_test(tcase, test_detect);
    tcase_add_test(tcase, test_bad_options);
}

int main(void)
{
    return wedge_test_main("library", 60, fill);
}
