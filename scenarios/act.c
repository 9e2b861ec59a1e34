#include "scenarios/act.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"
#include "detector/core/core_write.h"
#include "reports/write.h"
#include "scenarios/launch.h"

#define MOST_CORE_BYTES (8ull << 30)

int wedge_act_parse(const char *text, struct wedge_act *ret)
{
    struct wedge_act act = {0};
    while (*text) {
        size_t len = strcspn(text, ",");
        if (strncmp(text, "run:", 4) == 0 && text[4]) {
            act.command = text + 4; /* which may have commas itself */
            break;
        }
        if (len == 4 && strncmp(text, "core", 4) == 0)
            act.core = true;
        else if (len == 4 && strncmp(text, "kill", 4) == 0)
            act.kill = true;
        else if (len != 6 || strncmp(text, "report", 6) != 0)
            return -EINVAL;
        if (text[len] == ',' && !text[len + 1])
            return -EINVAL;
        text += len + (text[len] == ',');
        if (!*text)
            break;
    }
    *ret = act;
    return 0;
}

__attribute__((format(printf, 2, 3))) static void note(const struct wedge_act_scene *scene, const char *fmt, ...)
{
    char text[PATH_MAX + 256];
    va_list ap;
    if (!scene->on_note)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    scene->on_note(scene->arg, text);
}

/* ---- cores ---- */

/* In the disposable child. What went wrong comes back as text. */
static int write_core(void *arg, int out, struct wedge_job_note *job)
{
    const struct wedge_core_order *order = arg;
    struct wedge_err err = {0};
    job->pid = order->pid;
    job->step = "writing its core";
    int rc = wedge_core_write(order, &err);
    if (rc && write(out, err.message, strlen(err.message)) < 0)
        rc = -EIO;
    return rc;
}

static void one_core(const struct wedge_act_scene *scene, int dirfd, const struct wedge_member *member)
{
    char name[32];
    struct wedge_job_result result = {0};
    struct wedge_core_order order = {.pid = member->pid,
                                     .start_ticks = member->start_ticks,
                                     .max_bytes = MOST_CORE_BYTES,
                                     .deadline_ms = WEDGE_ACT_CORE_MS / 2};
    snprintf(name, sizeof(name), "core.%d", (int)member->pid);
    unlinkat(dirfd, name, 0);
    order.fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (order.fd < 0) {
        note(scene, "no core of process %d: %s", (int)member->pid, strerror(errno));
        return;
    }
    int rc = wedge_job_run(write_core, &order, WEDGE_ACT_CORE_MS, 4096, &result);
    close(order.fd);
    rc = rc ? rc : result.status;
    if (!rc)
        note(scene, "core of process %d: %s/%s", (int)member->pid, scene->dir, name);
    else
        note(scene, "%s", result.len ? result.data : "no core: the process could not be written in time");
    if (rc)
        unlinkat(dirfd, name, 0);
    wedge_job_result_free(&result);
}

void wedge_act_cores(const struct wedge_act_scene *scene)
{
    int64_t until = wedge_clock_ns() + WEDGE_ACT_CORES_MS * WEDGE_NS_PER_MS;
    struct wedge_err err = {0};
    int dirfd;
    if (wedge_report_open_dir(scene->dir, &dirfd, &err)) {
        note(scene, "no cores: %s", err.message);
        return;
    }
    for (size_t i = 0; i < scene->tree->n; i++) {
        if (wedge_clock_ns() < until) {
            one_core(scene, dirfd, &scene->tree->members[i]);
            continue;
        }
        note(scene, "no cores of %zu more processes: the time is up", scene->tree->n - i);
        break;
    }
    close(dirfd);
}

/* ---- a command ---- */

/* Waits for the command; past the deadline it is killed. */
static void await(const struct wedge_act_scene *scene, pid_t pid)
{
    int fd = pidfd_open(pid, 0), wstatus = 0;
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    int64_t until = wedge_clock_ns() + WEDGE_ACT_COMMAND_MS * WEDGE_NS_PER_MS;
    int n = 0;
    for (int64_t left; fd >= 0 && n <= 0 && (left = until - wedge_clock_ns()) > 0;)
        if ((n = poll(&ended, 1, (int)(left / WEDGE_NS_PER_MS) + 1)) < 0 && errno != EINTR)
            break;
    if (n <= 0) {
        note(scene, "the command for a hang did not end within %d s", WEDGE_ACT_COMMAND_MS / 1000);
        kill(pid, SIGKILL); /* our child, and not yet reaped: it is the one */
    }
    if (fd >= 0)
        close(fd);
    while (waitpid(pid, &wstatus, 0) < 0 && errno == EINTR)
        ;
    if (n > 0 && (!WIFEXITED(wstatus) || WEXITSTATUS(wstatus)))
        note(scene, "the command for a hang ended with %d",
             WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : 128 + WTERMSIG(wstatus));
}

void wedge_act_command(const struct wedge_act_scene *scene, const char *command)
{
    char *const argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)command, NULL};
    char folder[PATH_MAX], report[PATH_MAX + 16], number[16];
    int exec_errno = 0, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    snprintf(report, sizeof(report), "%s/report.json", realpath(scene->dir, folder) ? folder : scene->dir);
    snprintf(number, sizeof(number), "%d", (int)scene->root);
    setenv("WEDGE_REPORT", report, 1);
    setenv("WEDGE_PID", number, 1);
    setenv("WEDGE_KIND", scene->kind, 1);
    setenv("WEDGE_SCOPE", scene->scope, 1);
    unsetenv("WEDGE_RUN"); /* it is no part of the run */
    pid_t pid = wedge_launch(argv, NULL, null, STDERR_FILENO, STDERR_FILENO, scene->mask, &exec_errno);
    if (pid < 0 || exec_errno)
        note(scene, "the command for a hang could not be started: %s", strerror(pid < 0 ? -pid : exec_errno));
    else
        await(scene, pid);
    if (null >= 0)
        close(null);
}
