/* Wakers outside of what would otherwise be a hang, each known by one rule alone: without it these were proved. */
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "detector/tests/cases.h"

static const struct hang hangs[] = {
    {"timerfd-far", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "read", "timerfd", NULL},
    {"sem-in-removed-file", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "sem_wait", "semaphore",
     NULL},
};

static const struct healthy healthy[] = {
    {"read-by-notifier", false, WEDGE_WAIT_UNKNOWN},
    {"parent-and-tracer", false, WEDGE_WAIT_PIPE_READ},
    {"timerfd-until-clock-is-set", false, WEDGE_WAIT_EVENT},
    {"poll-end-in-message", false, WEDGE_WAIT_POLL},
};

/* A debugger may do with it what it likes. */
START_TEST(test_traced)
{
    struct factory factory = factory_start("poll-own-pipe");
    struct wedge_snapshot *s = examine_until_hang(factory.pid, WEDGE_STACKS_NEVER);
    ck_assert_int_eq(s->verdicts[0].certainty, WEDGE_PROVED);
    wedge_snapshot_free(s);
    ck_assert_int_eq(ptrace(PTRACE_SEIZE, factory.pid, NULL, 0), 0); /* which does not stop it (ptrace(2)) */
    s = examine_once(factory.pid, WEDGE_STACKS_NEVER);
    ck_assert_msg(!wedge_verdict_is_hang(s->verdicts[0].kind), "%s", s->verdicts[0].summary);
    ck_assert_ptr_nonnull(strstr(s->threads[0].wait.reason, "traced"));
    wedge_snapshot_free(s);
    factory_end(&factory);
}
END_TEST

/* Where the kernel does not say in which of its functions a thread sleeps, one that seccomp's notifier holds looks like any. */
START_TEST(test_nobody_says_where_it_sleeps)
{
    char wchan[64];
    struct factory factory = factory_start("poll-own-pipe");
    struct wedge_snapshot *s = examine_until_hang(factory.pid, WEDGE_STACKS_NEVER);
    ck_assert_int_eq(s->verdicts[0].certainty, WEDGE_PROVED);
    wedge_snapshot_free(s);
    /* In a mount namespace that ends with this test; not even root may have one everywhere. */
    bool may = geteuid() == 0 && unshare(CLONE_NEWNS) == 0;
    ck_assert(may || geteuid() != 0 || errno == EPERM);
    if (may && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0) {
        snprintf(wchan, sizeof(wchan), "/proc/%d/task/%d/wchan", factory.pid, factory.pid);
        ck_assert_int_eq(mount("/dev/null", wchan, NULL, MS_BIND, NULL), 0);
        s = examine_once(factory.pid, WEDGE_STACKS_NEVER);
        ck_assert_int_eq(s->verdicts[0].certainty, WEDGE_EVIDENT);
        ck_assert_int_eq(s->verdicts[0].kind, WEDGE_VERDICT_ORPHANED_WAIT);
        ck_assert_ptr_nonnull(strstr(s->verdicts[0].reason, "where it sleeps"));
        wedge_snapshot_free(s);
    }
    factory_end(&factory);
}
END_TEST

/* The root waits for its parent, which waits for it or for another child: that one is nowhere in the tree. */
START_TEST(test_parent_waits_for_another_child)
{
    pid_t parent = factory_start_stranger("parent-of-two"), root = factory_first_child(parent);
    bool seen = false;
    for (int i = 0; i < 20; i++) {
        struct wedge_snapshot *s = examine_once(root, WEDGE_STACKS_NEVER);
        seen |= thread_in(s, WEDGE_WAIT_CHILD) != NULL;
        ck_assert_msg(!wedge_verdict_is_hang(s->verdicts[0].kind), "%s", s->verdicts[0].summary);
        wedge_snapshot_free(s);
    }
    ck_assert(seen);
    ck_assert_int_eq(kill(parent, SIGKILL), 0);
}
END_TEST

/* Only root is told whether a removed file had another name. */
START_TEST(test_removed_file_of_an_ordinary_user)
{
    static const struct healthy removed = {"sem-in-removed-file", true, WEDGE_WAIT_SEM};
    if (geteuid() == 0)
        ck_assert(!setgroups(0, NULL) && !setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534));
    if (access(WEDGE_FACTORY, X_OK) == 0)
        healthy_check(&removed);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_traced);
    tcase_add_test(tcase, test_nobody_says_where_it_sleeps);
    tcase_add_test(tcase, test_parent_waits_for_another_child);
    tcase_add_test(tcase, test_removed_file_of_an_ordinary_user);
}

int main(void)
{
    return cases_main("outside", hangs, sizeof(hangs) / sizeof(hangs[0]), healthy, sizeof(healthy) / sizeof(healthy[0]),
                      fill);
}
