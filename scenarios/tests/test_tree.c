/* scenarios/tree: descendants are found, orphans stay in under a subreaper, and all of them can be ended. */
#include "scenarios/tree.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"

static int ready[2];

/* A process that says that it is there, then waits to be killed. */
static void sit(void)
{
    ck_assert_int_eq(write(ready[1], "x", 1), 1);
    for (;;)
        pause();
}

static pid_t child(void (*body)(void))
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    return pid;
}

static void parent_of_two(void)
{
    child(sit);
    child(sit);
    sit();
}

/* Ends at once; its child is an orphan then. */
static void abandon(void)
{
    child(sit);
}

static void wait_ready(int n)
{
    char c;
    while (n--)
        ck_assert_int_eq(read(ready[0], &c, 1), 1);
}

static void setup(void)
{
    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
}

START_TEST(test_finds_and_kills)
{
    struct wedge_tree tree;
    pid_t top = child(parent_of_two), orphaned = child(abandon);
    wait_ready(4);
    ck_assert_int_eq(waitpid(orphaned, NULL, 0), orphaned);
    ck_assert_int_eq(wedge_tree_list(getpid(), false, NULL, 0, &tree), 0);
    ck_assert_uint_eq(tree.n, 4);
    uint64_t activity = wedge_tree_activity(&tree);
    ck_assert_uint_eq(wedge_tree_activity(&tree), activity);
    wedge_tree_free(&tree);
    ck_assert_int_eq(wedge_tree_list(top, true, NULL, 0, &tree), 0);
    ck_assert_uint_eq(tree.n, 3);
    wedge_tree_free(&tree);
    ck_assert_int_eq(wedge_tree_list(getpid(), false, &top, 1, &tree), 0);
    ck_assert_uint_eq(tree.n, 1);
    wedge_tree_free(&tree);
    ck_assert_uint_eq(wedge_tree_kill(getpid(), false, NULL, 0, 500), 0);
    int wstatus, reaped = 0;
    for (; waitpid(-1, &wstatus, 0) > 0; reaped++)
        ck_assert(WIFSIGNALED(wstatus) && WTERMSIG(wstatus) == SIGKILL);
    ck_assert_int_eq(reaped, 4);
}
END_TEST

static void *sit_in_thread(void *arg)
{
    sit();
    return arg;
}

static void leave_a_thread(void)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, sit_in_thread, NULL), 0);
    pthread_exit(NULL);
}

START_TEST(test_a_process_whose_leader_has_ended)
{
    struct wedge_tree tree;
    pid_t pid = child(leave_a_thread);
    wait_ready(1);
    char path[40], text[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    while (!strstr(text, ") Z")) { /* nothing tells when the leader is gone but its state */
        FILE *in = fopen(path, "r");
        ck_assert_ptr_nonnull(in);
        ck_assert_ptr_nonnull(fgets(text, sizeof(text), in));
        fclose(in);
    }
    ck_assert_int_eq(wedge_tree_list(getpid(), false, NULL, 0, &tree), 0);
    ck_assert_uint_eq(tree.n, 1);
    wedge_tree_free(&tree);
    ck_assert_uint_eq(wedge_tree_kill(getpid(), false, NULL, 0, 500), 0);
    int wstatus;
    ck_assert_int_eq(waitpid(pid, &wstatus, WNOHANG), pid);
}
END_TEST

static void burn(void)
{
    ck_assert_int_eq(write(ready[1], "x", 1), 1);
    for (volatile unsigned i = 0;; i++)
        ;
}

START_TEST(test_activity_moves_with_cpu_time)
{
    struct wedge_tree tree;
    child(burn);
    wait_ready(1);
    ck_assert_int_eq(wedge_tree_list(getpid(), false, NULL, 0, &tree), 0);
    uint64_t before = wedge_tree_activity(&tree);
    int64_t cpu = wedge_tree_cpu_ns(&tree);
    while (wedge_tree_cpu_ns(&tree) == cpu)
        ;
    ck_assert_uint_ne(wedge_tree_activity(&tree), before);
    wedge_tree_free(&tree);
    ck_assert_uint_eq(wedge_tree_kill(getpid(), false, NULL, 0, 500), 0);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, test_finds_and_kills);
    tcase_add_test(tcase, test_a_process_whose_leader_has_ended);
    tcase_add_test(tcase, test_activity_moves_with_cpu_time);
}

int main(void)
{
    return wedge_test_main("tree", 20, fill);
}
