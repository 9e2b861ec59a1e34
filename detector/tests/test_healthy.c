/* Programs that only look like hangs: examined many times while they run, never is one of them proved stuck. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/asleep.h"
#include "detector/tests/cases.h"

static const struct healthy healthy[] = {
    {"server", false, WEDGE_WAIT_SOCKET},
    {"nagle", false, WEDGE_WAIT_SOCKET},
    {"self-pipe", false, WEDGE_WAIT_PIPE_READ},
    {"posix-timer", false, WEDGE_WAIT_SEM},
    {"unlocked-by-another", true, WEDGE_WAIT_MUTEX},
    {"sleep-then-post", false, WEDGE_WAIT_SEM},
    {"sleep-then-signal", false, WEDGE_WAIT_SEM},
    {"poll-with-timeouts", false, WEDGE_WAIT_POLL},
    {"timed-semaphore", false, WEDGE_WAIT_SEM},
    {"slow-writer", false, WEDGE_WAIT_PIPE_READ},
    {"wait-for-input", false, WEDGE_WAIT_PIPE_READ},
    {"fill-output", false, WEDGE_WAIT_PIPE_WRITE}, /* the test itself has the other end, and is never a waker */
    {"busy", false, WEDGE_WAIT_NONE},
};

/* How many processes are ours, ended ones included. */
static int n_children(void)
{
    char path[64], text[256] = "";
    int n = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ge(read(fd, text, sizeof(text) - 1), 0);
    close(fd);
    for (const char *c = text; *c; c++)
        n += *c == ' ';
    return n;
}

/* The server is idle with and without stacks, and still answers and ends as it likes. */
START_TEST(test_server_is_idle_and_unharmed)
{
    struct factory factory = factory_start("server");
    char text[32] = "";
    int port = 0, status;
    ck_assert_int_gt(read(factory.out, text, sizeof(text) - 1), 0);
    ck_assert_int_eq(sscanf(text, "port %d", &port), 1);
    for (int i = 0; i < 3; i++) {
        wedge_test_await_server(factory.pid);
        struct wedge_snapshot *s = examine_once(factory.pid, i ? WEDGE_STACKS_ALWAYS : WEDGE_STACKS_NEVER);
        ck_assert_str_eq(wedge_verdict_words[s->verdicts[0].kind], "idle");
        if (i) { /* everybody sleeps, and is live: what was begun before the verdict was begun for nothing */
            ck_assert_uint_gt(s->threads[0].n_frames, 0);
            ck_assert_int_eq(waitpid(-1, &status, WNOHANG), 0); /* no child but the factory, which lives */
            ck_assert_int_eq(n_children(), 1);
        }
        wedge_snapshot_free(s);
    }
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(write(fd, "quit", 4), 4);
    ck_assert_int_eq(waitpid(factory.pid, &status, 0), factory.pid);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    close(fd);
    close(factory.in);
    close(factory.out);
}
END_TEST

START_TEST(test_no_such_process)
{
    struct wedge_err err = {0};
    struct wedge_snapshot *s = NULL;
    struct wedge_examine options = {.root = INT32_MAX};
    ck_assert_int_eq(wedge_detector_examine(&options, NULL, &s, &err), -ESRCH);
    ck_assert_ptr_null(s);
    ck_assert_ptr_nonnull(strstr(err.message, "no process"));
}
END_TEST

/* Number 2 is the kernel's in the first PID namespace, somebody else in any other. */
START_TEST(test_a_thread_of_the_kernel)
{
    char text[512] = "";
    int fd = open("/proc/2/stat", O_RDONLY | O_CLOEXEC);
    bool kernels = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strncmp(text, "2 (kthreadd)", 12) == 0;
    if (fd >= 0)
        close(fd);
    if (!kernels)
        return;
    struct wedge_err err = {0};
    struct wedge_snapshot *s = NULL;
    struct wedge_examine options = {.root = 2};
    ck_assert_int_eq(wedge_detector_examine(&options, NULL, &s, &err), -ENOEXEC);
    ck_assert_ptr_null(s);
    ck_assert_ptr_nonnull(strstr(err.message, "a thread of the kernel's"));
    ck_assert_str_ne(err.remedy, "");
}
END_TEST

START_TEST(test_a_zombie_has_finished)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(0);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    struct wedge_snapshot *s = examine_once(pid, WEDGE_STACKS_NEVER);
    ck_assert_str_eq(wedge_verdict_words[s->verdicts[0].kind], "finished");
    wedge_snapshot_free(s);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* Somebody who measured that nothing moves may say so: suspected, with everyone named. */
START_TEST(test_stalled)
{
    struct factory factory = factory_start("poll-with-timeouts");
    struct wedge_err err = {0};
    struct wedge_snapshot *s = NULL;
    struct wedge_examine options = {
        .root = factory.pid, .stalled = true, .stalled_ns = 5000000000, .stacks = WEDGE_STACKS_ON_HANG};
    ck_assert_int_eq(wedge_detector_examine(&options, NULL, &s, &err), 0);
    ck_assert_str_eq(wedge_verdict_words[s->verdicts[0].kind], "no-progress");
    ck_assert_int_eq(s->verdicts[0].certainty, WEDGE_SUSPECTED);
    ck_assert_int_eq(s->verdicts[0].scope, WEDGE_SCOPE_WHOLE);
    ck_assert_uint_eq(s->verdicts[0].n_victims, 1);
    ck_assert_uint_gt(s->threads[0].n_frames, 0);
    ck_assert_ptr_nonnull(strstr(s->verdicts[0].summary, "no progress for 5.0 s"));
    wedge_snapshot_free(s);
    factory_end(&factory);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_server_is_idle_and_unharmed);
    tcase_add_test(tcase, test_no_such_process);
    tcase_add_test(tcase, test_a_thread_of_the_kernel);
    tcase_add_test(tcase, test_a_zombie_has_finished);
    tcase_add_test(tcase, test_stalled);
}

int main(void)
{
    return cases_main("healthy", NULL, 0, healthy, sizeof(healthy) / sizeof(healthy[0]), fill);
}
