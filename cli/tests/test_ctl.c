/*
 * `wedge ctl` on running trees: what it arms acts, what it disarms does not, several rules switch at once even under
 * load, a release is never lost, and every way to misuse it says what to do instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"

enum { MOST_WORDS = 12, ROUNDS = 100, NOBODY = 65534 };
#define PATIENCE_NS (20 * WEDGE_NS_PER_S)

static char dir[64];
static struct {
    pid_t wedge;
    FILE *to, *from;
} run;

static const char *from_env(const char *name)
{
    const char *value = getenv(name);
    ck_assert_msg(value && *value, "%s is not set: run this by ctest", name);
    return value;
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-ctl-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chmod(dir, 0755), 0);
    ck_assert_int_eq(chdir(dir), 0);
}

static void teardown(void)
{
    char command[128];
    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Starts the target under `wedge inject` with this plan; `disarm` NULL: everything is armed. */
static void start(const char *plan, const char *disarm)
{
    int in[2], out[2];
    FILE *file = fopen("x.plan", "we");
    fprintf(file, "plan 1\n%s", plan);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
    run.wedge = fork();
    if (run.wedge == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        const char *argv[MOST_WORDS] = {"wedge", "inject", "-f", "x.plan"};
        size_t n = 4;
        if (disarm) {
            argv[n++] = "--disarm";
            argv[n++] = disarm;
        }
        argv[n++] = from_env("WEDGE_TEST_CTL_TARGET");
        execv(from_env("WEDGE_BIN"), (char *const *)argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    run.to = fdopen(in[1], "w");
    run.from = fdopen(out[0], "r");
}

static void finish(int expected)
{
    int status;
    fclose(run.to);
    ck_assert_int_eq(waitpid(run.wedge, &status, 0), run.wedge);
    ck_assert_int_eq(WIFEXITED(status) ? WEXITSTATUS(status) : -1, expected);
    fclose(run.from);
}

static const char *hear(void)
{
    static char line[128];
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), run.from));
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static const char *ask(const char *word)
{
    fprintf(run.to, "%s\n", word);
    fflush(run.to);
    return hear();
}

/* Runs "wedge ctl" with these words as `uid` (0: ours); its output, both streams. Returns the exit status. */
static int ctl_as(uid_t uid, char *text, size_t size, const char *const *words)
{
    const char *argv[MOST_WORDS + 3] = {"wedge", "ctl"};
    int out[2], status;
    size_t len = 0;
    ssize_t n;
    for (size_t i = 0; words[i]; i++)
        argv[i + 2] = words[i];
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        if (uid && (setgid(uid) || setuid(uid)))
            _exit(126);
        execv(from_env("WEDGE_BIN"), (char *const *)argv);
        _exit(127);
    }
    close(out[1]);
    while ((n = read(out[0], text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    close(out[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char said[1 << 16];
static int ctl(const char *first, ...)
{
    const char *words[MOST_WORDS + 1] = {first};
    char number[16];
    va_list ap;
    va_start(ap, first);
    for (size_t i = 1; first && i < MOST_WORDS && (words[i] = va_arg(ap, const char *)); i++)
        ;
    va_end(ap);
    snprintf(number, sizeof(number), "%d", (int)run.wedge);
    if (first && strcmp(first, "RUN") == 0)
        words[0] = number;
    return ctl_as(0, said, sizeof(said), words);
}

static json_t *status(void)
{
    json_error_t error;
    ck_assert_msg(ctl("RUN", "count", "--json", NULL) == 0, "%s", said);
    json_t *root = json_loads(said, 0, &error);
    ck_assert_msg(root != NULL, "%s in %s", error.text, said);
    return root;
}

static json_int_t number_of(const char *id, const char *field)
{
    size_t i;
    const json_t *rule;
    json_int_t value = -1;
    json_t *root = status();
    json_array_foreach(json_object_get(root, "rules"), i, rule)
        if (strcmp(json_string_value(json_object_get(rule, "id")), id) == 0)
            value = json_integer_value(json_object_get(rule, field));
    json_decref(root);
    return value;
}

static void wait_for_holding(const char *id, json_int_t n)
{
    int64_t until = wedge_clock_ns() + PATIENCE_NS;
    while (number_of(id, "holding") != n)
        ck_assert_msg(wedge_clock_ns() < until, "%s never held %d", id, (int)n);
}

#define TWO "f1 * dup -> errno EMFILE\nf2 * dup2 -> errno EINTR\n"

START_TEST(test_arm_and_disarm)
{
    char one[8], other[8];
    snprintf(one, sizeof(one), "%d", EMFILE);
    snprintf(other, sizeof(other), "%d 0", EMFILE);
    start(TWO, "f1,f2");
    ck_assert_str_eq(ask("both"), "0 0");
    ck_assert_int_eq(ctl("RUN", "arm", "f1", NULL), 0);
    ck_assert_str_eq(ask("both"), other);
    ck_assert_str_eq(ask("once"), one);
    ck_assert_int_eq(ctl("RUN", "disarm", "f1", "arm", "f2", NULL), 0);
    ck_assert_str_eq(ask("once"), "0");
    ck_assert_int_eq(number_of("f1", "hits"), 2); /* what happens while a rule is disarmed is not counted */
    ck_assert_int_eq(number_of("f1", "fired"), 2);
    ck_assert_int_eq(number_of("f2", "hits"), 0);
    ck_assert_int_eq(ctl("RUN", "count", "once", NULL), 0); /* a point, passed twice */
    ck_assert_ptr_nonnull(strstr(said, "once                                                      2\n"));
    ck_assert_int_eq(ctl("RUN", NULL), 0);
    ck_assert_ptr_nonnull(strstr(said, "f1              disarmed          2          2       0  f1 * dup"));
    ck_assert_ptr_nonnull(strstr(said, "f2              armed             0          0       0  f2 * dup2"));
    ck_assert_int_eq(ctl("RUN", "quiesce", NULL), 0);
    ck_assert_str_eq(ask("both"), "0 0");
    ck_assert_int_eq(ctl("RUN", "arm", "f1", NULL), 3);
    ck_assert_ptr_nonnull(strstr(said, "quiesced"));
    finish(0);
}
END_TEST

/* nth counts from the first hit while armed, and on over a pause. */
START_TEST(test_counts_go_on)
{
    char third[8];
    snprintf(third, sizeof(third), "%d", EMFILE);
    start("f1 * dup nth=3 -> errno EMFILE\n", "f1");
    ck_assert_str_eq(ask("once"), "0");
    ck_assert_int_eq(ctl("RUN", "arm", "f1", NULL), 0);
    ck_assert_str_eq(ask("once"), "0");
    ck_assert_str_eq(ask("once"), "0");
    ck_assert_int_eq(ctl("RUN", "disarm", "f1", NULL), 0);
    ck_assert_str_eq(ask("once"), "0");
    ck_assert_int_eq(ctl("RUN", "arm", "f1", NULL), 0);
    ck_assert_str_eq(ask("once"), third);
    finish(0);
}
END_TEST

START_TEST(test_release_and_arm_again)
{
    start("f1 * sched_yield -> block\n", NULL);
    for (int round = 0; round < 3; round++) {
        ck_assert_str_eq(ask("hold"), "holding");
        wait_for_holding("f1", 1);
        /* Armed again at once: the thread may not have run in between, and goes none the less. */
        ck_assert_int_eq(ctl("RUN", "release", "f1", NULL), 0);
        ck_assert_int_eq(ctl("RUN", "arm", "f1", NULL), 0);
        ck_assert_str_eq(hear(), "through");
    }
    ck_assert_int_eq(ctl("RUN", "release", "f1", "list", NULL), 0);
    ck_assert_ptr_nonnull(strstr(said, " released "));
    ck_assert_str_eq(ask("hold"), "holding"); /* and is held no more */
    ck_assert_str_eq(hear(), "through");
    finish(0);
}
END_TEST

/* A release reaches a thread that is not running, even when the rule is armed again before it runs. */
START_TEST(test_release_of_a_stopped_process)
{
    char number[16];
    start("f1 * sched_yield -> block\n", NULL);
    ck_assert_str_eq(ask("hold"), "holding");
    wait_for_holding("f1", 1);
    json_t *root = status();
    const json_t *first = json_array_get(json_object_get(root, "processes"), 0);
    pid_t target = (pid_t)json_integer_value(json_object_get(first, "pid"));
    json_decref(root);
    ck_assert_int_gt(target, 1);
    ck_assert_int_eq(kill(target, SIGSTOP), 0);
    snprintf(number, sizeof(number), "%d", (int)target);
    ck_assert_int_eq(ctl(number, "release", "f1", NULL), 0); /* RUN may be any process of it */
    ck_assert_int_eq(ctl(number, "arm", "f1", NULL), 0);
    ck_assert_int_eq(kill(target, SIGCONT), 0);
    ck_assert_str_eq(hear(), "through");
    finish(0);
}
END_TEST

/*
 * One of two rules is armed at any moment, by calls that swap them. If they switched one after the other, a dup
 * would now and then meet none or both.
 */
START_TEST(test_swaps_under_load)
{
    unsigned long calls, failed;
    start("f1 * dup -> errno EMFILE\nf2 * dup -> errno EINTR\n", "f2");
    ck_assert_str_eq(ask("load 3"), "loading");
    for (int i = 0; i < ROUNDS / 2; i++) {
        ck_assert_int_eq(ctl("RUN", "arm", "f2", "disarm", "f1", NULL), 0);
        ck_assert_int_eq(ctl("RUN", "arm", "f1", "disarm", "f2", NULL), 0);
    }
    ck_assert_int_eq(sscanf(ask("stop"), "calls %lu failed %lu", &calls, &failed), 2);
    ck_assert_uint_gt(calls, ROUNDS);
    ck_assert_uint_eq(calls, failed);
    json_int_t one = number_of("f1", "fired"), two = number_of("f2", "fired");
    ck_assert_int_gt(one, 0);
    ck_assert_int_gt(two, 0);
    ck_assert_uint_eq((unsigned long)(one + two), calls);
    ck_assert_int_eq(number_of("f1", "hits"), one);
    ck_assert_int_eq(number_of("f2", "hits"), two);
    finish(0);
}
END_TEST

/* The lock between several ctl's goes with its owner. */
START_TEST(test_lock_goes_with_its_owner)
{
    char path[64], to[64];
    int ready[2], fd = -1;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    start(TWO, "f1,f2");
    ck_assert_str_eq(ask("both"), "0 0");
    for (int i = 3; i < 64 && fd < 0; i++) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)run.wedge, i);
        ssize_t n = readlink(path, to, sizeof(to) - 1);
        to[n > 0 ? n : 0] = '\0';
        if (strncmp(to, "/memfd:wedge-arena", 18) == 0)
            fd = open(path, O_RDWR | O_CLOEXEC);
    }
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pipe(ready), 0);
    pid_t owner = fork();
    if (owner == 0) {
        char answer = (char)fcntl(fd, F_SETLK, &whole);
        (void)!write(ready[1], &answer, 1);
        pause();
        _exit(0);
    }
    char answer = 1;
    ck_assert_int_eq(read(ready[0], &answer, 1), 1);
    ck_assert_int_eq(answer, 0);
    ck_assert_int_eq(ctl("RUN", "arm", "f1", NULL), 3);
    snprintf(to, sizeof(to), "process %d", (int)owner);
    ck_assert_ptr_nonnull(strstr(said, to));
    ck_assert_int_eq(kill(owner, SIGKILL), 0);
    ck_assert_int_eq(waitpid(owner, NULL, 0), owner);
    ck_assert_int_eq(ctl("RUN", "arm", "f1", NULL), 0);
    close(fd);
    finish(0);
}
END_TEST

START_TEST(test_never_armed_is_invalid)
{
    start("f1 * dup nth=1 -> errno EMFILE\n", "f1");
    ck_assert_str_eq(ask("once"), "0");
    finish(125);
}
END_TEST

static const struct {
    const char *words[MOST_WORDS];
    int status;
    const char *says;
} misuses[] = {
    {{"RUN", "arm"}, 2, "arm which rules?"},
    {{"RUN", "release", "list"}, 2, "release which rules?"},
    {{"RUN", "arm", "f3"}, 2, "no rule has the id `f3`; did you mean `f1`?"},
    {{"RUN", "arm", "nothing-like-it"}, 2, "there are f1, f2"},
    {{"RUN", "lst"}, 2, "unknown command `lst`; did you mean `list`?"},
    {{"RUN", "f1"}, 2, "unknown command `f1`"},
    {{"RUN", "list", "f1"}, 2, "`list` takes no name"},
    {{"RUN", "quiesce", "cuont"}, 2, "did you mean `count`?"},
    {{"RUN", "arm", "f1", "disarm", "f1"}, 2, "cannot be armed and disarmed by one call"},
    {{"RUN", "count", "no.such.point"}, 2, "no rule and no point is called `no.such.point`"},
    {{"4x", "list"}, 2, "'4x' is no run"},
    {{"-1", "list"}, 2, "invalid option"},
    {{"0", "list"}, 2, "'0' is no run"},
    {{"99999999", "list"}, 3, "there is no process 99999999"},
};

START_TEST(test_misuse)
{
    start(TWO, "f1,f2");
    ck_assert_str_eq(ask("both"), "0 0"); /* it is there */
    for (size_t i = 0; i < sizeof(misuses) / sizeof(misuses[0]); i++) {
        const char *words[MOST_WORDS] = {0};
        char number[16];
        snprintf(number, sizeof(number), "%d", (int)run.wedge);
        for (size_t w = 0; misuses[i].words[w]; w++)
            words[w] = w == 0 && strcmp(misuses[i].words[0], "RUN") == 0 ? number : misuses[i].words[w];
        int got = ctl_as(0, said, sizeof(said), words);
        ck_assert_msg(got == misuses[i].status && strstr(said, misuses[i].says), "case %zu: %d, %s", i, got, said);
    }
    ck_assert_int_eq(number_of("f1", "hits"), 0);
    ck_assert_int_eq(ctl(NULL), 0); /* lists the runs */
    char number[16];
    snprintf(number, sizeof(number), "%d", (int)run.wedge);
    ck_assert_ptr_nonnull(strstr(said, number));
    if (geteuid() == 0) {
        const char *words[] = {number, "list", NULL};
        ck_assert_int_eq(ctl_as(NOBODY, said, sizeof(said), words), 3);
        ck_assert_msg(strstr(said, "may not be looked into") && strstr(said, "ptrace"), "%s", said);
    }
    finish(0);
    ck_assert_int_eq(ctl("1", "list", NULL) != 0, 1);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_arm_and_disarm);
    tcase_add_test(tcase, test_counts_go_on);
    tcase_add_test(tcase, test_release_and_arm_again);
    tcase_add_test(tcase, test_release_of_a_stopped_process);
    tcase_add_test(tcase, test_swaps_under_load);
    tcase_add_test(tcase, test_lock_goes_with_its_owner);
    tcase_add_test(tcase, test_never_armed_is_invalid);
    tcase_add_test(tcase, test_misuse);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return wedge_test_main("ctl", 60, fill);
}
