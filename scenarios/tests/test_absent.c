/* Who is named as absent, from an arena filled by hand and a tree of the test's own children. */
#include "scenarios/absent.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"

static struct wedge_arena arena;
static struct wedge_absent absent;
static char text[8192];

static void set_up(void)
{
    struct wedge_err err;
    memset(&absent, 0, sizeof(absent));
    ck_assert_int_eq(wedge_arena_create(&arena, 0, 1, &err), 0);
}

static void tear_down(void)
{
    wedge_arena_destroy(&arena);
}

static struct wedge_arena_proc *proc(uint32_t slot)
{
    return wedge_arena_live(&arena, WEDGE_SEC_PROCS, slot);
}

static struct wedge_arena_birth *born(uint32_t slot, pid_t pid, enum wedge_proc_state state, const char *path,
                                      enum wedge_birth_why why)
{
    struct wedge_arena_birth *birth = wedge_arena_live(&arena, WEDGE_SEC_BIRTHS, slot);
    birth->why = why;
    snprintf(birth->path, sizeof(birth->path), "%s", path);
    proc(slot)->pid = pid;
    proc(slot)->parent = UINT32_MAX;
    atomic_store(&proc(slot)->state, state);
    atomic_store(&proc(slot)->gen, 2);
    return birth;
}

/* The number of a process that has ended. */
static pid_t gone(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    return pid;
}

static void look(bool last)
{
    wedge_absent_look(&absent, &arena, NULL, last);
    wedge_absent_text(&absent, text, sizeof(text));
}

START_TEST(test_gone_before_it_checked_in)
{
    pid_t pid = gone();
    char want[64];
    born(0, getpid(), WEDGE_PROC_RUNNING, "/here", WEDGE_BIRTH_STATIC);
    born(1, pid, WEDGE_PROC_EXECED, "/x/static", WEDGE_BIRTH_STATIC);
    look(false); /* in an inner PID namespace it might have another number */
    ck_assert_str_eq(text, "");
    int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    while (absent.n == 0 && wedge_clock_ns() < deadline)
        look(false);
    snprintf(want, sizeof(want), "/x/static (%d), which is statically linked", pid);
    ck_assert_str_eq(text, want);
    ck_assert_uint_eq(absent.ran, 1);
    ck_assert_uint_eq(atomic_load(&proc(1)->gen), 0);
    ck_assert_uint_eq(atomic_load(&proc(0)->gen), 2);
    look(true);
    ck_assert_uint_eq(absent.n, 1);
}
END_TEST

START_TEST(test_checked_in_after_all)
{
    born(1, gone(), WEDGE_PROC_EXECED, "/x/slow", WEDGE_BIRTH_FITS);
    look(false);
    atomic_store(&proc(1)->state, WEDGE_PROC_RUNNING);
    look(false);
    look(true);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(test_at_the_end)
{
    char want[256];
    born(1, getpid(), WEDGE_PROC_EXECED, "/x/still there", WEDGE_BIRTH_SETID);
    born(2, 0, WEDGE_PROC_EXECED, "/bin/sh", WEDGE_BIRTH_STATIC)->unnamed = 2;
    born(3, 0, WEDGE_PROC_EXECED, "/x/killed", WEDGE_BIRTH_FITS);
    look(true);
    snprintf(want, sizeof(want),
             "/x/still there (%d), which runs with set-user-ID or set-group-ID; /bin/sh, which is statically linked; "
             "/x/killed, which ended before its program had started, or could not open the arena",
             getpid());
    ck_assert_str_eq(text, want);
    ck_assert_uint_eq(absent.n, 3);
    ck_assert_uint_eq(absent.ran, 2); /* nothing says that the third ever ran */
}
END_TEST

START_TEST(test_scribbled_on)
{
    struct wedge_arena_birth *birth = born(255, 0, WEDGE_PROC_EXECED, "", (enum wedge_birth_why)12345);
    memset(birth->path, 'x', sizeof(birth->path));
    birth->path[0] = '\n';
    birth->path[1] = '\033';
    proc(255)->parent = 4711;
    atomic_store(&birth->unnamed, 99);
    born(254, -5, WEDGE_PROC_EXECED, "negative", WEDGE_BIRTH_STATIC);
    look(true);
    ck_assert_ptr_nonnull(strstr(text, "??xxxx"));
    ck_assert_ptr_nonnull(strstr(text, "which is not known"));
    ck_assert_ptr_nonnull(strstr(text, "negative, which is statically linked"));
    ck_assert_ptr_null(strchr(text, '\n'));
}
END_TEST

START_TEST(test_more_than_can_be_named)
{
    for (uint32_t i = 0; i < 100; i++)
        born(i, 0, WEDGE_PROC_EXECED, "/x/many", WEDGE_BIRTH_STATIC)->unnamed = 2;
    look(false);
    ck_assert_uint_eq(absent.n, 100);
    ck_assert_ptr_nonnull(strstr(text, "; and 84 more"));
    char small[20];
    wedge_absent_text(&absent, small, sizeof(small));
    ck_assert_uint_eq(strlen(small), sizeof(small) - 1);
}
END_TEST

/* A child of the test is in no arena: seen twice, a while apart, it is named. One that has a slot is not. */
START_TEST(test_seen_in_the_tree)
{
    pid_t children[2], self = getpid();
    int ends[2];
    char c, want[64];
    ck_assert_int_eq(pipe(ends), 0);
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0) {
            close(ends[1]);
            _exit(read(ends[0], &c, 1) != 0);
        }
    }
    born(0, children[0], WEDGE_PROC_RUNNING, "", WEDGE_BIRTH_FITS);
    int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    for (int looks = 0; absent.n == 0 && wedge_clock_ns() < deadline; looks++) {
        struct wedge_tree tree;
        ck_assert_int_eq(wedge_tree_list(self, false, NULL, 0, &tree), 0);
        wedge_absent_look(&absent, &arena, &tree, false);
        wedge_tree_free(&tree);
        ck_assert(looks > 0 || absent.n == 0);
    }
    wedge_absent_text(&absent, text, sizeof(text));
    ck_assert_uint_eq(absent.n, 1);
    snprintf(want, sizeof(want), " (%d), which was started past libc", children[1]);
    ck_assert_msg(strstr(text, want) != NULL, "%s", text);
    close(ends[1]);
    for (int i = 0; i < 2; i++)
        waitpid(children[i], NULL, 0);
    close(ends[0]);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, test_gone_before_it_checked_in);
    tcase_add_test(tcase, test_checked_in_after_all);
    tcase_add_test(tcase, test_at_the_end);
    tcase_add_test(tcase, test_scribbled_on);
    tcase_add_test(tcase, test_more_than_can_be_named);
    tcase_add_test(tcase, test_seen_in_the_tree);
}

int main(void)
{
    return wedge_test_main("absent", 30, fill);
}
