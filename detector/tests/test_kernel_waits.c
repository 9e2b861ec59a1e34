/* Every hang of the kernel factory gets its kind, its certainty, its scope and words that name what matters; what only
 * looks like one is never called so. */
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/tests/cases.h"

static const struct hang hangs[] = {
    {"flock-cycle", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "flock", "flock on /tmp/wedge-",
     "lock_with"},
    {"ofd-cycle", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "fcntl", "OFD lock on /tmp/wedge-",
     "lock_with"},
    {"fcntl-and-pipe", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "fcntl", "fcntl lock on /tmp/",
     "lock_with|hear"},
    {"flock-self", WEDGE_VERDICT_SELF_DEADLOCK, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "flock", "which it owns itself",
     "flock_self"},
    {"flock-inherited", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "which is gone"},
    {"eventfd-both", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "eventfd, descriptor",
     "take"},
    {"eventfd-poll-own", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "poll",
     "1 polled descriptor"},
    {"eventfd-full", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "write", "counter full"},
    {"eventfd-with-device", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 1, "read", "counter 0"},
    {"timerfd-disarmed", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "read", "not armed"},
    {"sigwait-child", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "SIGCHLD, from the end"},
    {"signalfd-child", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "SIGCHLD, from the"},
    {"sigsuspend-child", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "SIGCHLD, from the"},
    {"mq-both-receive", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "mq_receive", "message queue /w",
     "receive"},
    {"mq-both-full", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "mq_send", "full message",
     "send_all"},
    {"mq-full-own", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "mq_send",
     "full message queue /w"},
    {"sem-unlinked", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "sem_wait", "semaphore"},
    {"sysv-sem-orphaned", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 1, "semop", "semaphore 1 of"},
    {"sysv-sem-both", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 2, "semop", "V semaphore 0 of set",
     "add"},
    {"sysv-msg-both", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 2, "msgrcv", "V message queue",
     "get"},
    {"wait-by-pidfd", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read",
     "waits for end of process"},
    {"poll-pidfd", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "1 polled descriptor"},
    {"grandchild-lives", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_PART, 1, "read",
     "by the process itself"},
    {"child-by-number", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "end of process"},
    {"group-alone", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "end of process"},
    {"sysv-msg-both-full", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 2, "msgsnd",
     "16 of 16 bytes", "put_as"},
};
#define HANGS (sizeof(hangs) / sizeof(hangs[0]))

static const struct healthy healthy[] = {
    {"flock-busy", false, WEDGE_WAIT_FILE_LOCK},
    {"fcntl-busy", false, WEDGE_WAIT_FILE_LOCK},
    {"ofd-busy", false, WEDGE_WAIT_FILE_LOCK},
    {"flock-by-child", false, WEDGE_WAIT_FILE_LOCK},
    {"eventfd-slow", false, WEDGE_WAIT_EVENT},
    {"eventfd-drained", false, WEDGE_WAIT_EVENT},
    {"timerfd-armed", false, WEDGE_WAIT_EVENT},
    {"timerfd-polled", false, WEDGE_WAIT_POLL},
    {"timerfd-armed-by-child", false, WEDGE_WAIT_EVENT},
    {"sigwait-child-slow", false, WEDGE_WAIT_SIGNAL},
    {"sigsuspend-child-slow", false, WEDGE_WAIT_SIGNAL},
    {"sigwait-term", false, WEDGE_WAIT_SIGNAL},
    {"sigwait-child-and-usr1", false, WEDGE_WAIT_SIGNAL},
    {"pause", false, WEDGE_WAIT_SIGNAL},
    {"fifo-open", false, WEDGE_WAIT_OUTSIDE},
    {"terminal-read", false, WEDGE_WAIT_OUTSIDE},
    {"inotify-read", false, WEDGE_WAIT_OUTSIDE},
    {"mq-slow", false, WEDGE_WAIT_QUEUE},
    {"mq-slow-reader", false, WEDGE_WAIT_QUEUE},
    {"mq-timed", false, WEDGE_WAIT_QUEUE},
    {"mq-named", false, WEDGE_WAIT_QUEUE},
    {"sem-named", false, WEDGE_WAIT_SEM},
    {"sem-by-descriptor", false, WEDGE_WAIT_SEM},
    {"sem-handed-on", false, WEDGE_WAIT_SEM},
    {"sysv-sem-undo", false, WEDGE_WAIT_SEM},
    {"sysv-sem-slow", false, WEDGE_WAIT_SEM},
    {"sysv-sem-by-stranger", true, WEDGE_WAIT_SEM},
    {"sysv-msg-by-stranger", false, WEDGE_WAIT_QUEUE},
    {"sysv-sem-keyed", false, WEDGE_WAIT_SEM},
    {"wait-by-pidfd-slow", false, WEDGE_WAIT_CHILD},
    {"poll-pidfd-slow", false, WEDGE_WAIT_POLL},
    {"wait-for-stops", false, WEDGE_WAIT_CHILD},
    {"vfork-slow", false, WEDGE_WAIT_CHILD},
    {"vfork-and-lock", false, WEDGE_WAIT_MUTEX},
    {"clone-and-post", false, WEDGE_WAIT_SEM},
    {"clone-siblings", false, WEDGE_WAIT_SEM},
};
#define HEALTHY (sizeof(healthy) / sizeof(healthy[0]))

/* A thread that waits in vfork stands uninterruptibly, and has no stack to show. */
static const struct hang without_stacks[] = {
    {"vfork-pipe", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2},
    {"vfork-own-lock", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2},
};

START_TEST(test_hang_that_has_no_stack)
{
    hang_check_without_stacks(&without_stacks[_i]);
}
END_TEST

/* A stuck program that has a descriptor on its way in a message could have one of everybody's: as long as it does not
 * live, it is no party to the hang of another program. */
START_TEST(test_beside_a_message)
{
    static const struct hang hang = {"eventfd-both", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2};
    pid_t stranger = factory_start_stranger("end-in-message-for-nobody");
    hang_check_without_stacks(&hang);
    ck_assert_int_eq(kill(stranger, SIGKILL), 0);
}
END_TEST

/* Its child hangs, and it gets on. */
START_TEST(test_beside_a_stuck_child)
{
    struct factory factory = factory_start(_i ? "group-joined" : "orphans-adopted");
    int waits = 0;
    for (int i = 0; i < 25; i++) {
        struct wedge_snapshot *s = examine_once(factory.pid, WEDGE_STACKS_NEVER);
        for (size_t k = 0; k < s->n_verdicts; k++)
            ck_assert_msg(!wedge_verdict_is_hang(s->verdicts[k].kind) || s->verdicts[k].scope == WEDGE_SCOPE_PART,
                          "%s, %s: %s", wedge_verdict_words[s->verdicts[k].kind],
                          wedge_certainty_words[s->verdicts[k].certainty], s->verdicts[k].summary);
        waits += thread_in(s, WEDGE_WAIT_CHILD) != NULL;
        wedge_snapshot_free(s);
    }
    ck_assert_int_gt(waits, 0);
    factory_end(&factory);
}
END_TEST

static bool write_text(const char *folder, const char *file, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* Whoever freezes a writer stops its reader too; thawed, both go on. Where no control group can be made (no right to,
 * no hierarchy) there is nothing to be seen. */
static const struct {
    const char *root, *file, *freeze, *thaw;
} freezers[] = {
    {"/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"},
    {"/sys/fs/cgroup/unified", "cgroup.freeze", "1", "0"},
    {"/sys/fs/cgroup", "cgroup.freeze", "1", "0"},
};
START_TEST(test_frozen)
{
    struct factory factory = factory_start("slow-writer");
    pid_t writer = factory_first_child(factory.pid);
    char group[128], pid[16];
    snprintf(group, sizeof(group), "%s/wedge-test-%d", freezers[_i].root, (int)getpid());
    snprintf(pid, sizeof(pid), "%d", (int)writer);
    if (access(freezers[_i].root, W_OK) == 0 && mkdir(group, 0700) == 0) {
        if (write_text(group, "cgroup.procs", pid) && write_text(group, freezers[_i].file, freezers[_i].freeze)) {
            struct wedge_snapshot *s = examine_until_all(factory.pid, 2, WEDGE_STACKS_NEVER);
            const struct wedge_verdict *v = &s->verdicts[0];
            enum wedge_verdict_kind kind = v->kind;
            enum wedge_certainty certainty = v->certainty;
            bool named = strstr(v->summary, "control group") != NULL;
            wedge_snapshot_free(s);
            ck_assert(write_text(group, freezers[_i].file, freezers[_i].thaw));
            s = examine_once(factory.pid, WEDGE_STACKS_NEVER);
            bool hung = wedge_verdict_is_hang(s->verdicts[0].kind);
            wedge_snapshot_free(s);
            ck_assert_str_eq(wedge_verdict_words[kind], "stopped");
            ck_assert_int_eq(certainty, WEDGE_EVIDENT);
            ck_assert(named);
            ck_assert(!hung);
        }
        write_text(freezers[_i].root, "cgroup.procs", pid);
        rmdir(group);
    }
    factory_end(&factory);
}
END_TEST

/* To an ordinary user most of the machine is closed, whoever started him included. */
START_TEST(test_as_an_ordinary_user)
{
    static const struct hang mine[] = {
        {"flock-cycle", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2},
        {"eventfd-both", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2},
        {"mq-both-receive", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2},
        {"sem-unlinked", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1},
    };
    static const struct healthy named = {"sem-named", false, WEDGE_WAIT_SEM};
    if (geteuid() == 0)
        ck_assert(!setgroups(0, NULL) && !setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534));
    if (access(WEDGE_FACTORY, X_OK) == 0 && _i < (int)(sizeof(mine) / sizeof(mine[0])))
        hang_check_without_stacks(&mine[_i]);
    else if (access(WEDGE_FACTORY, X_OK) == 0)
        healthy_check(&named);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_hang_that_has_no_stack, 0, 2);
    tcase_add_loop_test(tcase, test_frozen, 0, (int)(sizeof(freezers) / sizeof(freezers[0])));
    tcase_add_loop_test(tcase, test_as_an_ordinary_user, 0, 5);
    tcase_add_test(tcase, test_beside_a_message);
    tcase_add_loop_test(tcase, test_beside_a_stuck_child, 0, 2);
}

int main(void)
{
    return cases_main("kernel_waits", hangs, HANGS, healthy, HEALTHY, fill);
}
