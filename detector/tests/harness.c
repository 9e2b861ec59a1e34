#include "detector/tests/harness.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define DEADLINE_NS (10 * WEDGE_NS_PER_S)

struct factory factory_start(const char *name)
{
    int ready[2], in[2], out[2];
    char text[8] = "";
    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        /* First out of the way of 0, 1 and 3, whichever numbers the pipes have. */
        int r = fcntl(ready[1], F_DUPFD, 10), i = fcntl(in[0], F_DUPFD, 10), o = fcntl(out[1], F_DUPFD, 10);
        dup2(i, 0);
        dup2(o, 1);
        dup2(r, 3);
        close(r);
        close(i);
        close(o);
        execl(WEDGE_FACTORY, "wedge-factory", name, (char *)NULL);
        _exit(127);
    }
    close(ready[1]);
    close(in[0]);
    close(out[1]);
    ck_assert_msg(read(ready[0], text, 6) == 6 && strcmp(text, "ready\n") == 0, "%s is not ready", name);
    close(ready[0]);
    return (struct factory){.pid = pid, .in = in[1], .out = out[0]};
}

void factory_end(struct factory *factory)
{
    close(factory->in);
    close(factory->out);
    kill(factory->pid, SIGKILL);
    ck_assert_int_eq(waitpid(factory->pid, NULL, 0), factory->pid);
}

pid_t factory_start_stranger(const char *name)
{
    int said[2];
    pid_t pid = 0;
    char text[8] = "";
    ck_assert_int_eq(pipe(said), 0);
    pid_t starter = fork();
    ck_assert_int_ge(starter, 0);
    if (starter == 0) {
        if (fork() == 0) {
            pid = getpid();
            if (write(said[1], &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
                _exit(1);
            dup2(said[1], 3);
            if (said[0] != 3)
                close(said[0]);
            if (said[1] != 3)
                close(said[1]);
            alarm(100);
            execl(WEDGE_FACTORY, "wedge-factory", name, (char *)NULL);
        }
        _exit(0);
    }
    close(said[1]);
    ck_assert_int_eq(read(said[0], &pid, sizeof(pid)), sizeof(pid));
    ck_assert_int_eq(read(said[0], text, 6), 6);
    ck_assert_str_eq(text, "ready\n");
    close(said[0]);
    ck_assert_int_eq(waitpid(starter, NULL, 0), starter);
    return pid;
}

pid_t factory_first_child(pid_t pid)
{
    char path[64], text[64] = "";
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
    close(fd);
    return (pid_t)atoi(text);
}

struct wedge_snapshot *examine_once(pid_t root, enum wedge_stacks stacks)
{
    struct wedge_err err = {0};
    struct wedge_snapshot *snapshot = NULL;
    /* On a busy machine a thread that lives takes longer than is right for a stranger's program to come to its stop. */
    struct wedge_examine options = {.root = root, .stacks = stacks, .stop_deadline_ms = 2000};
    int rc = wedge_detector_examine(&options, NULL, &snapshot, &err);
    ck_assert_msg(rc == 0, "%s", err.message);
    ck_assert_uint_ge(snapshot->n_verdicts, 1);
    return snapshot;
}

struct wedge_snapshot *examine_until_hang(pid_t root, enum wedge_stacks stacks)
{
    int64_t deadline = wedge_clock_ns() + DEADLINE_NS;
    for (;;) {
        struct wedge_snapshot *snapshot = examine_once(root, stacks);
        if (wedge_verdict_is_hang(snapshot->verdicts[0].kind) || wedge_clock_ns() > deadline)
            return snapshot;
        wedge_snapshot_free(snapshot);
        poll(NULL, 0, 5);
    }
}

const struct wedge_thread *thread_in(const struct wedge_snapshot *snapshot, enum wedge_wait_class class)
{
    for (size_t i = 0; i < snapshot->n_threads; i++)
        if (snapshot->threads[i].wait.class == class)
            return &snapshot->threads[i];
    return NULL;
}
