/*
 * Who belongs to the tree: daemons by the run's mark, a group, a session, namespaces; and who does not, wedge itself above
 * all. All of a user's processes are looked at in cli/tests/test_watch.c: among them may be some that block whoever reads
 * them, which takes a disposable child.
 *
 * Each test starts a shell that prints the numbers of the processes it made, and ends with its own pipe: `exec cat`
 * waits for the end of its input, so that everything goes when the test goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"
#include "base/tests/suite.h"
#include "detector/kernel/proc.h"
#include "detector/tests/harness.h"

struct shell {
    pid_t pid;
    int in, out;
};

/* Starts `bash -c script` with `mark` in its environment (NULL: none), in a session of its own. */
static struct shell start(const char *script, const char *mark)
{
    int in[2], out[2];
    char *const env[] = {(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", (char *)mark, NULL};
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid();
        dup2(in[0], 0);
        dup2(out[1], 1);
        close_range(3, ~0u, 0); /* the test framework's own pipe among them */
        execle("/bin/bash", "bash", "-c", script, (char *)NULL, env);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    return (struct shell){.pid = pid, .in = in[1], .out = out[0]};
}

static pid_t read_pid(const struct shell *shell)
{
    char text[16] = "";
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        ck_assert_int_eq(read(shell->out, text + n, 1), 1);
        if (text[n] == '\n')
            break;
    }
    ck_assert_int_gt(atoi(text), 1);
    return (pid_t)atoi(text);
}

static void end(struct shell *shell)
{
    close(shell->in);
    close(shell->out);
    ck_assert_int_eq(waitpid(shell->pid, NULL, 0), shell->pid);
}

/* 1 in the tree, 0 looked at and not in it, -1 not looked at. */
static int membership(const struct wedge_snapshot *s, pid_t pid)
{
    for (size_t i = 0; i < s->n_procs; i++)
        if (s->procs[i].pid == pid)
            return s->procs[i].in_tree;
    return -1;
}

static struct wedge_snapshot *look(struct wedge_examine options)
{
    struct wedge_snapshot *s = NULL;
    struct wedge_err err = {0};
    ck_assert_msg(wedge_detector_examine(&options, NULL, &s, &err) == 0, "%s", err.message);
    return s;
}

/* A daemon: forked twice, in a session of its own, its parent gone. It stays until the pipe `in` of the shell ends. */
#define DAEMON "exec 3<&0; (setsid sh -c 'echo $$; exec cat <&3 >/dev/null' & ) ; "

START_TEST(test_daemon_is_in_by_the_mark)
{
    static const char *const with[] = {"WEDGE_RUN=0123456789abcdef", "WEDGE_ARENA=77:5:abc", NULL};
    struct shell shell = start(DAEMON DAEMON "exec cat", with[_i]);
    struct shell other = start(DAEMON "exec cat", "WEDGE_RUN=another");
    pid_t daemon = read_pid(&shell), second = read_pid(&shell), foreign = read_pid(&other);
    struct wedge_snapshot *s = look((struct wedge_examine){.root = shell.pid});
    ck_assert_int_eq(membership(s, shell.pid), 1);
    ck_assert_int_eq(membership(s, daemon) == 1, with[_i] != NULL);
    ck_assert_int_ne(membership(s, foreign), 1);
    wedge_snapshot_free(s);
    /* From one daemon's side the other is of the same run too. */
    s = look((struct wedge_examine){.root = daemon});
    ck_assert_int_eq(membership(s, second) == 1, with[_i] != NULL);
    wedge_snapshot_free(s);
    end(&shell);
    end(&other);
}
END_TEST

static pid_t parent_of(pid_t pid)
{
    char text[1024];
    struct wedge_proc_stat stat;
    return wedge_proc_read(pid, 0, "stat", text, sizeof(text)) > 0 && wedge_proc_stat_parse(text, &stat) == 0
               ? stat.ppid
               : 0;
}

START_TEST(test_group_and_session)
{
    /* `set -m`: each job has a group of its own. */
    struct shell shell = start(
        "exec 2>/dev/null; set -m; exec 3<&0; sh -c 'echo $$; (sh -c \"echo \\$\\$; exec cat <&3\" &); exec cat' <&3 & "
        "wait",
        NULL);
    pid_t job = read_pid(&shell), orphan = read_pid(&shell);
    /* It says its number while its parent, a child of the job, may still be about to leave. */
    int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    while (parent_of(parent_of(orphan)) == job && wedge_clock_ns() < deadline)
        ;
    static const struct {
        enum wedge_members members;
        int orphan, shell;
    } rows[] = {{WEDGE_MEMBERS_OF_ROOT, 0, 0}, {WEDGE_MEMBERS_OF_GROUP, 1, 0}, {WEDGE_MEMBERS_OF_SESSION, 1, 1}};
    struct wedge_snapshot *s = look((struct wedge_examine){.root = job, .members = rows[_i].members});
    ck_assert_int_eq(s->procs[0].pid, job);
    ck_assert_int_eq(membership(s, orphan) == 1, rows[_i].orphan);
    ck_assert_int_eq(membership(s, shell.pid) == 1, rows[_i].shell);
    wedge_snapshot_free(s);
    end(&shell);
}
END_TEST

START_TEST(test_no_such_user)
{
    struct wedge_snapshot *s = NULL;
    struct wedge_err err = {0};
    struct wedge_examine options = {.members = WEDGE_MEMBERS_OF_USER, .user = 3999999999u};
    ck_assert_int_eq(wedge_detector_examine(&options, NULL, &s, &err), -ESRCH);
    ck_assert_ptr_nonnull(strstr(err.message, "has no process"));
}
END_TEST

/* What is examined is above whoever examines: the examiner and its parent are nobody. */
static int child(void *arg, int out, struct wedge_job_note *note)
{
    struct wedge_snapshot *s = NULL;
    struct wedge_err err = {0};
    const pid_t *pids = arg;
    struct wedge_examine options = {.root = pids[0], .blind = &pids[1], .n_blind = 1};
    if (wedge_detector_examine(&options, note, &s, &err))
        return -EIO;
    int all[3] = {membership(s, pids[0]), membership(s, pids[1]), membership(s, getpid())};
    return write(out, all, sizeof(all)) == sizeof(all) ? 0 : -EIO;
}
START_TEST(test_wedge_is_not_in_the_tree_above_it)
{
    pid_t pids[2] = {getppid(), getpid()};
    struct wedge_job_result result;
    ck_assert_int_eq(wedge_job_run(child, pids, 20000, 4096, &result), 0);
    ck_assert_int_eq(result.status, 0);
    int all[3];
    ck_assert_uint_eq(result.len, sizeof(all));
    memcpy(all, result.data, sizeof(all));
    ck_assert_int_eq(all[0], 1);
    ck_assert_int_eq(all[1], -1);
    ck_assert_int_eq(all[2], -1);
    wedge_job_result_free(&result);
}
END_TEST

/* In a PID namespace every number that the target knows is another one than ours. */
static const struct {
    const char *name;
    enum wedge_verdict_kind kind;
} inside[] = {{"opposite-shared", WEDGE_VERDICT_LOCK_CYCLE},
              {"waitpid-full-pipe", WEDGE_VERDICT_MUTUAL_BACKPRESSURE},
              {"join-with-lock", WEDGE_VERDICT_CLOSED_WAIT}};
START_TEST(test_pid_namespace)
{
    /* Where namespaces may not be made there is nothing to see; as root they may, unless seccomp says no. */
    int probe = system("unshare -Upf true 2>/dev/null");
    if (probe != 0) {
        fprintf(stderr, "test_members: no PID namespaces here: %d\n", probe);
        return;
    }
    char script[512];
    /* A sister in the outer namespace sees that "child 2" of inside is not our process 2. */
    snprintf(script, sizeof(script), "exec unshare -Urpf --kill-child %s %s", WEDGE_FACTORY, inside[_i].name);
    struct shell shell = start(script, NULL);
    char text[8] = "";
    ck_assert_int_eq(read(shell.out, text, 6), 6);
    ck_assert_str_eq(text, "ready\n");
    /* As long as one of them is still on its way to its wait, the others' is of a part. */
    int64_t deadline = wedge_clock_ns() + 20 * WEDGE_NS_PER_S;
    struct wedge_snapshot *s = examine_until_hang(shell.pid, WEDGE_STACKS_NEVER);
    while (s->verdicts[0].scope != WEDGE_SCOPE_WHOLE && wedge_clock_ns() < deadline) {
        wedge_snapshot_free(s);
        s = examine_until_hang(shell.pid, WEDGE_STACKS_NEVER);
    }
    ck_assert_msg(s->n_verdicts == 1, "%s, then %s", s->verdicts[0].summary, s->verdicts[1].summary);
    ck_assert_str_eq(wedge_verdict_words[s->verdicts[0].kind], wedge_verdict_words[inside[_i].kind]);
    ck_assert_str_eq(wedge_certainty_words[s->verdicts[0].certainty], "proved");
    ck_assert_str_eq(wedge_scope_words[s->verdicts[0].scope], "whole");
    wedge_snapshot_free(s);
    kill(shell.pid, SIGKILL);
    end(&shell);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_daemon_is_in_by_the_mark, 0, 3);
    tcase_add_loop_test(tcase, test_group_and_session, 0, 3);
    tcase_add_test(tcase, test_no_such_user);
    tcase_add_test(tcase, test_wedge_is_not_in_the_tree_above_it);
    tcase_add_loop_test(tcase, test_pid_namespace, 0, sizeof(inside) / sizeof(inside[0]));
}

int main(void)
{
    return wedge_test_main("members", 60, fill);
}
