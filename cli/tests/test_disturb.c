/*
 * What a look does to those it looks at: nothing without a stop; with one, what the report says, and no more.
 *
 * The target (eintr_target.c) has a thread in each call that may see EINTR, and in many that may not, and tells which
 * did. That --no-stop never even asks for ptrace is shown by strace where there is one.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"

static char dir[64];
static pid_t target;
static int to_target;
static FILE *from_target;

static const char *from_env(const char *name)
{
    const char *value = getenv(name);
    ck_assert_msg(value && *value, "%s is not set: run this by ctest", name);
    return value;
}

static void setup(void)
{
    int in[2], out[2];
    char line[16];
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-disturb-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
    target = fork();
    ck_assert_int_ge(target, 0);
    if (target == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close_range(3, ~0u, 0);
        execl(from_env("WEDGE_TEST_EINTR"), "eintr", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to_target = in[1];
    from_target = fdopen(out[0], "r");
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), from_target));
    ck_assert_str_eq(line, "ready\n");
}

static void teardown(void)
{
    char command[128];
    int wstatus;
    close(to_target); /* it removes its queues and ends */
    ck_assert_int_eq(waitpid(target, &wstatus, 0), target);
    ck_assert(WIFEXITED(wstatus) && WEXITSTATUS(wstatus) == 0);
    fclose(from_target);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* " epoll semop …": who has seen EINTR since this was asked last. */
static void ask(char *line, size_t size)
{
    ck_assert_int_eq(write(to_target, "?", 1), 1);
    line[0] = ' ';
    ck_assert_ptr_nonnull(fgets(line + 1, (int)size - 1, from_target));
}

static json_t *dump(const char *before, const char *option)
{
    char command[512], name[96];
    snprintf(command, sizeof(command), "%s %s dump -q %s -o %s %d", before, from_env("WEDGE_BIN"), option, dir,
             (int)target);
    ck_assert_msg(system(command) == 0, "%s", command);
    snprintf(name, sizeof(name), "%s/report.json", dir);
    json_t *report = json_load_file(name, 0, NULL);
    ck_assert_ptr_nonnull(report);
    return report;
}

static const char *name_of(const json_t *report, json_int_t tid)
{
    size_t i;
    const json_t *thread;
    const json_t *process = json_array_get(json_object_get(report, "processes"), 0);
    json_array_foreach(json_object_get(process, "threads"), i, thread)
        if (json_integer_value(json_object_get(thread, "tid")) == tid)
            return json_string_value(json_object_get(thread, "name"));
    ck_abort_msg("no thread %lld", (long long)tid);
}

static bool is_in(const char *list, const char *name)
{
    char word[64];
    snprintf(word, sizeof(word), " %s ", name);
    return strstr(list, word) != NULL;
}

START_TEST(test_without_a_stop_nothing_happens)
{
    char seen[512];
    for (int round = 0; round < 3; round++) {
        json_t *report = dump("", "--no-stop"), *disturbance = json_object_get(report, "disturbance");
        ck_assert(json_is_false(json_object_get(disturbance, "stopped")));
        ck_assert_uint_eq(json_array_size(json_object_get(disturbance, "may_have_seen_eintr")), 0);
        const json_t *process = json_array_get(json_object_get(report, "processes"), 0);
        ck_assert_int_eq(json_integer_value(json_object_get(process, "stopped_us")), 0);
        json_decref(report);
    }
    ask(seen, sizeof(seen));
    ck_assert_str_eq(seen, " \n");
}
END_TEST

/* Whoever saw EINTR stands in the report; whoever stands there without a condition saw it. */
START_TEST(test_with_a_stop_the_report_says_who_saw_it)
{
    char seen[512], said[512] = " ";
    json_t *report = dump("", ""), *one;
    size_t i;
    ask(seen, sizeof(seen));
    const json_t *process = json_array_get(json_object_get(report, "processes"), 0);
    ck_assert_int_gt(json_integer_value(json_object_get(process, "stopped_us")), 0);
    json_array_foreach(json_object_get(json_object_get(report, "disturbance"), "may_have_seen_eintr"), i, one) {
        const char *name = name_of(report, json_integer_value(json_object_get(one, "tid")));
        const char *when = json_string_value(json_object_get(one, "when"));
        strcat(strcat(said, name), " ");
        bool surely = strcmp(when, "always") == 0 || strcmp(when, "its word has changed") == 0;
        ck_assert_msg(!surely || is_in(seen, name), "%s did not see EINTR, of%s", name, seen);
    }
    ck_assert_msg(is_in(seen, "epoll"), "the fixture works no more: only%s", seen);
    for (char *name = strtok(seen, " \n"); name; name = strtok(NULL, " \n"))
        ck_assert_msg(is_in(said, name), "%s saw EINTR and the report does not say so:%s", name, said);
    json_decref(report);
}
END_TEST

static int count_calls(const char *name)
{
    char path[128], line[1024];
    int n = 0;
    snprintf(path, sizeof(path), "%s/trace", dir);
    FILE *in = fopen(path, "re");
    ck_assert_ptr_nonnull(in);
    while (fgets(line, sizeof(line), in))
        n += strstr(line, name) != NULL;
    fclose(in);
    return n;
}

/* Of ptrace there is not even a call; with stops there are, so that the trace would have shown them. */
START_TEST(test_without_a_stop_there_is_no_ptrace)
{
    char strace[128];
    if (system("strace -V >/dev/null 2>&1") != 0) {
        fprintf(stderr, "test_disturb: no strace here\n");
        return;
    }
    snprintf(strace, sizeof(strace), "strace -f -qq -e trace=ptrace,process_vm_readv,kill,tgkill -o %s/trace", dir);
    json_decref(dump(strace, "--no-stop"));
    ck_assert_int_eq(count_calls("ptrace("), 0);
    ck_assert_int_eq(count_calls("kill("), 0);
    ck_assert_int_gt(count_calls("process_vm_readv("), 0);
    json_decref(dump(strace, ""));
    ck_assert_int_gt(count_calls("ptrace("), 0);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_without_a_stop_nothing_happens);
    tcase_add_test(tcase, test_with_a_stop_the_report_says_who_saw_it);
    tcase_add_test(tcase, test_without_a_stop_there_is_no_ptrace);
}

int main(void)
{
    return wedge_test_main("disturb", 60, fill);
}
