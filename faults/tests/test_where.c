/* Where a call comes from and what it is given: caller=, in=, argN, path=, fd=. And the patterns against fnmatch(3). */
#include <fnmatch.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/tests/suite.h"
#include "faults/agent/where.h"
#include "faults/tests/run.h"

static struct run run;

static const char *plugin_path(const char *program, bool moved)
{
    static char path[2][PATH_MAX];
    snprintf(path[moved], sizeof(path[0]), "%.*s/../lib/libfaults_plugin%s.so", (int)(strrchr(program, '/') - program),
             program, moved ? "_moved" : "");
    return path[moved];
}

/* ENOSPC is 28; what the rule says comes before its action. */
static void play(int which, const char *where, const char *mode)
{
    char plan[256];
    snprintf(plan, sizeof(plan), "f1 * %s -> errno ENOSPC", where);
    const char *program = which ? run_objects_target_no_pie() : run_objects_target();
    run_whole(&run, plan, (const char *const[]){program, mode, plugin_path(program, false), NULL});
    ck_assert_msg(EXITED(run) == 0, "%s: status %d, \"%s\"", where, run.status, run.text);
}

static const struct {
    const char *where, *text;
} sites[] = {
    {"write", "put -28 helper -28 outer -28 deep -28\nhandler -28\nqsort -28\nthread -28\nlibrary -28 -28\n"},
    {"write caller=put", "put -28 helper -28 outer -28 deep -28\nhandler -28\nqsort -28\nthread -28\nlibrary 1 1\n"},
    {"write caller=helper", "put 1 helper 1 outer 1 deep 1\nhandler 1\nqsort 1\nthread 1\nlibrary 1 1\n"},
    {"write caller=target_so_put", "put 1 helper 1 outer 1 deep 1\nhandler 1\nqsort 1\nthread 1\nlibrary -28 1\n"},
    {"write caller=libfaults_plugin.so!target_so_inner",
     "put 1 helper 1 outer 1 deep 1\nhandler 1\nqsort 1\nthread 1\nlibrary 1 -28\n"},
    {"write caller=libc.so.6!put", "put 1 helper 1 outer 1 deep 1\nhandler 1\nqsort 1\nthread 1\nlibrary 1 1\n"},
    {"write in=helper", "put 1 helper -28 outer -28 deep -28\nhandler 1\nqsort 1\nthread -28\nlibrary 1 1\n"},
    {"write in=outer", "put 1 helper 1 outer -28 deep -28\nhandler 1\nqsort 1\nthread -28\nlibrary 1 1\n"},
    {"write in=interrupted", "put 1 helper 1 outer 1 deep 1\nhandler -28\nqsort 1\nthread 1\nlibrary 1 1\n"},
    {"write in=on_signal", "put 1 helper 1 outer 1 deep 1\nhandler -28\nqsort 1\nthread 1\nlibrary 1 1\n"},
    {"write in=libc.so.6!qsort_r", "put 1 helper 1 outer 1 deep 1\nhandler 1\nqsort -28\nthread 1\nlibrary 1 1\n"},
    {"write in=in_thread", "put 1 helper 1 outer 1 deep 1\nhandler 1\nqsort 1\nthread -28\nlibrary 1 1\n"},
    {"write in=target_so_put", "put 1 helper 1 outer 1 deep 1\nhandler 1\nqsort 1\nthread 1\nlibrary -28 -28\n"},
    {"write in=outer caller=put nth=2", "put 1 helper 1 outer 1 deep -28\nhandler 1\nqsort 1\nthread 1\nlibrary 1 1\n"},
};
enum { SITES = sizeof(sites) / sizeof(sites[0]) };

START_TEST(test_sites)
{
    play(_i % 2, sites[_i / 2].where, "sites");
    ck_assert_msg(strcmp(run.text, sites[_i / 2].text) == 0, "%s: \"%s\"", sites[_i / 2].where, run.text);
    const struct wedge_arena_rule *rule = run_rule(&run, "f1");
    bool nowhere = strstr(sites[_i / 2].where, "libc.so.6!put") != NULL;
    ck_assert_uint_eq(atomic_load(&rule->found) & ~WEDGE_FOUND_WHO, nowhere ? 0 : rule->where);
    run_free(&run);
}
END_TEST

#ifdef HAVE_ASAN_TARGET
/* The sanitizer's wrappers are who calls the agent's; the program is behind them. */
START_TEST(test_sites_behind_a_sanitizer)
{
    char plan[256];
    snprintf(plan, sizeof(plan), "f1 * %s -> errno ENOSPC", sites[_i].where);
    run_whole(
        &run, plan,
        (const char *const[]){run_objects_target_asan(), "sites", plugin_path(run_objects_target_asan(), false), NULL});
    ck_assert_msg(strcmp(run.text, sites[_i].text) == 0, "%s: \"%s\"", sites[_i].where, run.text);
    run_free(&run);
}
END_TEST
#endif

START_TEST(test_a_library_that_comes_and_goes)
{
    run_whole(&run, "f1 * write in=target_so_inner per=tree -> errno ENOSPC",
              (const char *const[]){run_objects_target(), "reload", plugin_path(run_objects_target(), false),
                                    plugin_path(run_objects_target(), true), "3000", NULL});
    ck_assert_str_eq(run.text, "failed 3000 0\n");
    ck_assert_uint_eq(atomic_load(&wedge_arena_header(&run.arena)->lost_functions), 0);
    run_free(&run);
}
END_TEST

START_TEST(test_a_place_by_its_function)
{
    const char *targets[] = {run_target(), run_target_no_pie()};
    run_whole(&run,
              "f1 * t.a caller=pass_b -> exit 3\nf2 * t.a caller=pass_a in=start_thread nth=1 -> delay 1ms\n"
              "f3 * t.b in=pass_b nth=1 -> delay 1ms\nf4 * t.b in=main -> exit 4",
              (const char *const[]){targets[_i], "pair", NULL});
    ck_assert_int_eq(EXITED(run), 0);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f3")->fired), 1);
    /* libc's own function has a name only where its file has a symbol table. */
    bool named = atomic_load(&run_rule(&run, "f2")->found) & WEDGE_WHERE_IN;
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f2")->fired), named);
    run_free(&run);
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* whose runtimes make system calls themselves */
/* Looking at the stack, finding an object and making one need no system call: any would be death here. */
START_TEST(test_no_call_of_its_own)
{
    run_whole(&run,
              "define d = fd nth=1\nf1 * write obj=d per=obj nth=2 -> exit 9\nf2 * write per=obj nth=2 -> exit 8\n"
              "f3 * write in=sandbox caller=sandbox fd=1 arg3>=1 -> errno EIO after",
              (const char *const[]){run_target(), "sandbox", NULL});
    ck_assert_str_eq(run.text, "answer 0\n");
    ck_assert_int_eq(EXITED(run), 0); /* told of the errno */
    ck_assert_uint_eq(run_hits(&run, "f1"), 1);
    ck_assert_uint_eq(run_hits(&run, "f2"), 1);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f3")->fired), 1);
    run_free(&run);
}
END_TEST
#endif

START_TEST(test_a_library_by_its_bare_name)
{
    static const char plan[] = "f1 * write in=target_so_inner -> errno ENOSPC\nf2 * so.ask -> return 5";
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%.*s/../lib", (int)(strrchr(run_target(), '/') - run_target()), run_target());
    ck_assert_int_eq(setenv("LD_LIBRARY_PATH", folder, 1), 0);
    run_whole(&run, plan, (const char *const[]){run_objects_target(), "sites", "libfaults_plugin.so", NULL});
    ck_assert_ptr_nonnull(strstr(run.text, "library 1 -28\n"));
    run_free(&run);
    ck_assert_int_eq(unsetenv("LD_LIBRARY_PATH"), 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* whose runtime takes the caller's place itself */
    /* This one finds it by its own RUNPATH, which must not be lost. */
    run_whole(&run, plan, (const char *const[]){run_target(), "plugin", "libfaults_plugin.so", NULL});
    ck_assert_ptr_nonnull(strstr(run.text, "answer "));
    run_free(&run);
#endif
}
END_TEST

static const struct {
    const char *where, *text;
} arguments[] = {
    {"write arg3==4", "write 1 2 3 -1 5 6 7 8\n"},
    {"write arg3!=4", "write -1 -1 -1 4 -1 -1 -1 -1\n"},
    {"write arg3>6", "write 1 2 3 4 5 6 -1 -1\n"},
    {"write arg3>=2 arg3<=3", "write 1 -1 -1 4 5 6 7 8\n"},
    {"write arg3&5", "write 1 2 3 4 -1 6 -1 8\n"},
    {"write arg3<3 nth=2", "write 1 -1 3 4 5 6 7 8\n"}, /* only what is meant is a hit */
    {"write arg3>2 nth=2", "write 1 2 3 -1 5 6 7 8\n"},
    {"openat arg1<0", "open 2 28 0/0 28\n"},
    {"openat arg1<-99 arg1>=-100 nth=2", "open 2 2 0/0 28\n"},
    {"openat arg1>0", "open 2 2 0/0 0/1\n"},
    {"open,openat path=/dev/*", "open 2 2 28 28\n"},
    {"open,openat path=*.[lt]*k", "open 28 2 0/0 0/1\n"},
    {"open path=/dev/zero", "open 2 2 0/0 0/1\n"},
    {"openat path=/dev/zero", "open 2 2 0/0 28\n"},
    {"openat path=??????zero", "open 2 2 0/0 0/1\n"},
    {"read fd=0", "open 2 2 0/0 0/1\n"},
};
enum { ARGUMENTS = sizeof(arguments) / sizeof(arguments[0]) };

START_TEST(test_arguments)
{
    play(_i % 2, arguments[_i / 2].where, "arguments");
    ck_assert_msg(strstr(run.text, arguments[_i / 2].text), "%s: \"%s\"", arguments[_i / 2].where, run.text);
    run_free(&run);
}
END_TEST

START_TEST(test_a_descriptor_by_number_and_by_path)
{
    run_whole(&run, "define zero = file path=/dev/z*\nf1 * read obj=zero -> errno ENOSPC",
              (const char *const[]){run_objects_target(), "arguments", NULL});
    ck_assert_ptr_nonnull(strstr(run.text, "open 2 2 0/0 0/-1\n"));
    run_free(&run);
    for (int fd = 3; fd < 6; fd++) { /* 3 is what is written to, then come null and zero */
        char plan[64];
        snprintf(plan, sizeof(plan), "f1 * read fd=%d -> errno ENOSPC", fd);
        run_whole(&run, plan, (const char *const[]){run_objects_target(), "arguments", NULL});
        const char *want[] = {"open 2 2 0/0 0/1\n", "open 2 2 0/-1 0/1\n", "open 2 2 0/0 0/-1\n"};
        ck_assert_msg(strstr(run.text, want[fd - 3]), "%d: \"%s\"", fd, run.text);
        run_free(&run);
    }
}
END_TEST

static unsigned random_word(void)
{
    static uint64_t state = 12345;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33);
}

START_TEST(test_patterns_are_those_of_fnmatch)
{
    static const char letters[] = "aab]-[[*?\\!^c/x", texts[] = "aaabbc]-[!\\/.^";
    unsigned matches = 0;
    for (int i = 0; i < 400000; i++) {
        char pattern[12] = "", text[10] = "";
        for (unsigned n = random_word() % (sizeof(pattern) - 1), at = 0; at < n; at++)
            pattern[at] = letters[random_word() % (sizeof(letters) - 1)];
        for (unsigned n = random_word() % (sizeof(text) - 1), at = 0; at < n; at++)
            text[at] = texts[random_word() % (sizeof(texts) - 1)];
        bool want = fnmatch(pattern, text, 0) == 0;
        ck_assert_msg(agent_glob(pattern, sizeof(pattern), text) == want, "\"%s\" and \"%s\": %d", pattern, text, want);
        matches += want;
    }
    ck_assert_uint_gt(matches, 5000);
}
END_TEST

START_TEST(test_a_pattern_without_an_end)
{
    char pattern[4] = {'a', '*', 'b', 'c'};
    ck_assert(agent_glob(pattern, sizeof(pattern), "axxbc"));
    ck_assert(!agent_glob(pattern, sizeof(pattern), "axxbcd"));
    ck_assert(!agent_glob(pattern, 0, "a"));
    ck_assert(agent_glob(pattern, 0, ""));
    ck_assert(agent_glob(pattern, 2, "axxbcd"));
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_sites, 0, 2 * SITES);
    tcase_add_loop_test(tcase, test_a_place_by_its_function, 0, 2);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    tcase_add_test(tcase, test_no_call_of_its_own);
#endif
    tcase_add_test(tcase, test_a_library_by_its_bare_name);
    tcase_add_test(tcase, test_a_library_that_comes_and_goes);
#ifdef HAVE_ASAN_TARGET
    tcase_add_loop_test(tcase, test_sites_behind_a_sanitizer, 0, SITES);
#endif
    tcase_add_loop_test(tcase, test_arguments, 0, 2 * ARGUMENTS);
    tcase_add_test(tcase, test_a_descriptor_by_number_and_by_path);
    tcase_add_test(tcase, test_patterns_are_those_of_fnmatch);
    tcase_add_test(tcase, test_a_pattern_without_an_end);
}

int main(void)
{
    return wedge_test_main("where", 60, fill);
}
