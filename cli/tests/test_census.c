/* `wedge census`: what a known program does is listed in full, with counts, call sites, makers and legality; and the
 * lines that it prints for a plan are a plan. */
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"

static char dir[64];

static const char *from_env(const char *name)
{
    const char *value = getenv(name);
    ck_assert_msg(value && *value, "%s is not set: run this by ctest", name);
    return value;
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-census-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
}

static void teardown(void)
{
    char command[128];
    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Runs a command line of the shell in which $W is wedge and $T the target; its exit status. */
static int shell(const char *command)
{
    ck_assert_int_eq(setenv("W", from_env("WEDGE_BIN"), 1) | setenv("T", from_env("WEDGE_TEST_CTL_TARGET"), 1), 0);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *text_of(const json_t *object, const char *field)
{
    const char *text = json_string_value(json_object_get(object, field));
    return text ? text : "";
}

/* The one place of that name that is called from `function` ("" any); NULL none. */
static const json_t *place_of(const json_t *root, const char *what, const char *function)
{
    const json_t *place, *found = NULL;
    size_t i;
    json_array_foreach(json_object_get(root, "places"), i, place)
        if (strcmp(text_of(place, "what"), what) == 0 &&
            (!*function || strcmp(text_of(json_object_get(place, "from"), "function"), function) == 0)) {
            ck_assert_msg(!found, "%s from %s is there twice", what, function);
            found = place;
        }
    ck_assert_msg(found != NULL, "%s from %s is not there", what, function);
    return found;
}

static json_int_t count_of(const json_t *root, const char *what, const char *function)
{
    return json_integer_value(json_object_get(place_of(root, what, function), "count"));
}

static bool has(const json_t *place, const char *class, const char *word)
{
    const json_t *value;
    size_t i;
    json_array_foreach(json_object_get(place, class), i, value)
        if (strcmp(json_string_value(value), word) == 0)
            return true;
    return false;
}

START_TEST(test_known_program)
{
    json_error_t error;
    ck_assert_int_eq(
        shell("printf 'once\\nboth\\nload 2\\nstop\\n' | $W census --json -o out -- $T > census.json 2> own.txt"), 0);
    json_t *root = json_load_file("census.json", 0, &error);
    ck_assert_msg(root != NULL, "%s", error.text);
    ck_assert_str_eq(text_of(root, "format"), "wedge.census/1");
    ck_assert_int_eq(json_integer_value(json_object_get(root, "lost")), 0);
    ck_assert_int_eq(count_of(root, "dup2", "main"), 1);
    ck_assert_int_ge(count_of(root, "dup", "try_dup"), 2);
    ck_assert_int_eq(count_of(root, "close", "try_dup"), count_of(root, "dup", "try_dup"));
    ck_assert_int_eq(count_of(root, "once", "main"), 1);
    ck_assert_int_eq(count_of(root, "start", ""), 1);
    ck_assert_int_eq(count_of(root, "exit", ""), 1);
    ck_assert_int_eq(count_of(root, "pthread_create", "main"), 2);

    const json_t *join = place_of(root, "pthread_join", "main");
    ck_assert_int_eq(json_integer_value(json_object_get(join, "count")), 2);
    ck_assert_str_eq(text_of(join, "object"), "thread");
    ck_assert_str_eq(text_of(json_object_get(join, "made_by"), "function"), "main");

    const json_t *dup = place_of(root, "dup", "try_dup");
    ck_assert(has(dup, "legal", "errno EMFILE"));
    ck_assert(!has(dup, "legal", "delay"));
    ck_assert(has(dup, "environmental", "delay"));
    ck_assert(has(place_of(root, "close", "try_dup"), "illegal", "drop"));
    json_decref(root);
    /* The command's own words are not in the list. */
    ck_assert_int_eq(shell("grep -q '^0 0$' own.txt"), 0);
}
END_TEST

START_TEST(test_plan_is_a_plan)
{
    ck_assert_int_eq(shell("printf 'once\\nboth\\n' | $W census --plan -o out -- $T > all.plan 2> own.txt"), 0);
    ck_assert_int_eq(shell("grep -q ' dup caller=wedge-test-ctl-target!try_dup nth=1 -> errno EMFILE$' all.plan"), 0);
    ck_assert_int_eq(shell("grep -q ' point:once nth=1 -> delay 100ms$' all.plan"), 0);
    /* All of it fires where it was counted, as far as the first fault lets it; here nothing must, and it is understood. */
    ck_assert_int_eq(shell("$W inject -o out -f all.plan -- /bin/true 2> said.txt"), 125);
    ck_assert_int_eq(shell("grep -q 'never fired' said.txt && ! grep -q 'all.plan:' said.txt"), 0);
}
END_TEST

START_TEST(test_statuses)
{
    ck_assert_int_eq(shell("$W census -o out -- sh -c 'exit 7' > list.txt 2>&1"), 7);
    ck_assert_int_eq(shell("grep -q '^ .*COUNT  WHAT' list.txt"), 0);
    ck_assert_int_eq(shell("$W census -o out -- ./no-such-program > /dev/null 2>&1"), 127);
    ck_assert_int_eq(shell("$W census -o out > /dev/null 2> said.txt"), 125);
    ck_assert_int_eq(shell("grep -q 'Give a command' said.txt"), 0);
    ck_assert_int_eq(shell("$W census -o out --limit 200ms -- sleep 30 > /dev/null 2>&1"), 124);
}
END_TEST

/* The heap when it is asked for; libc's own calls too. */
START_TEST(test_heap)
{
    ck_assert_int_eq(shell("$W census -o out -- sort /dev/null 2>&1 | grep -qw 'malloc\\|calloc'"), 1);
    ck_assert_int_eq(shell("$W census --heap -o out -- sort /dev/null > list.txt 2>&1"), 0);
    ck_assert_int_eq(shell("grep -qw malloc list.txt"), 0);
    ck_assert_int_eq(shell("$W census --heap --plan -o out -- sort /dev/null > heap.plan"), 0);
    ck_assert_int_eq(shell("grep -q 'malloc.* nth=1 -> errno ENOMEM' heap.plan"), 0);
}
END_TEST

/* What a raw system call may fail with depends on which it is, which the census does not tell. */
START_TEST(test_raw_calls)
{
    ck_assert_int_eq(shell("printf '%s\\n' 'import ctypes' 'l = ctypes.CDLL(None)' 'l.syscall(202, ctypes.byref("
                           "ctypes.c_int()), 1, 1)' > wake.py; "
                           "$W census --plan -o out -- python3 wake.py > raw.plan"),
                     0);
    ck_assert_int_eq(shell("grep -q ' syscall .* -> delay 100ms' raw.plan"), 0);
    ck_assert_int_eq(shell("grep ' syscall ' raw.plan | grep -qv ' -> delay 100ms'"), 1);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_heap);
    tcase_add_test(tcase, test_raw_calls);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_known_program);
    tcase_add_test(tcase, test_plan_is_a_plan);
    tcase_add_test(tcase, test_statuses);
}

int main(void)
{
    return wedge_test_main("census", 60, fill);
}
