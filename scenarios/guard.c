#include "scenarios/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detector/proc.h"
#include "scenarios/tree.h"

enum { ROUNDS = 500, MOST_ENVIRONMENT = 1 << 20, MOST_PROCESSES = 1 << 22 };

static uint64_t start_of(pid_t pid)
{
    char text[1024];
    struct wedge_proc_stat stat;
    return wedge_proc_read(pid, 0, "stat", text, sizeof(text)) > 0 && wedge_proc_stat_parse(text, &stat) == 0
               ? stat.start_ticks
               : 0;
}

static bool has_arena(pid_t pid, const char *arena)
{
    char *text = NULL;
    ssize_t n = wedge_proc_read_all(pid, 0, "environ", MOST_ENVIRONMENT, &text);
    size_t len = strlen(arena);
    bool found = false;
    for (const char *at = text; n > 0 && !found && at < text + n; at += strlen(at) + 1)
        found = strncmp(at, "WEDGE_ARENA=", 12) == 0 && strncmp(at + 12, arena, len) == 0;
    free(text);
    return found;
}

/* Those whom death of a parent between has taken out of the command's descent. */
static size_t kill_marked(const char *arena)
{
    pid_t *pids = NULL;
    size_t n = 0, killed = 0;
    if (wedge_proc_list(0, MOST_PROCESSES, &pids, &n))
        return 0;
    for (size_t i = 0; i < n; i++) {
        int fd = pids[i] != getpid() && has_arena(pids[i], arena) ? pidfd_open(pids[i], 0) : -1;
        /* Looked at again when the pidfd pins it. */
        if (fd >= 0 && has_arena(pids[i], arena))
            killed += pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0;
        if (fd >= 0)
            close(fd);
    }
    free(pids);
    return killed;
}

static _Noreturn void watch(int wedge, pid_t root, uint64_t root_start, const char *arena)
{
    sigset_t all;
    prctl(PR_SET_NAME, "wedge-guard");
    setsid(); /* a signal to wedge's process group is not for it */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    dup2(wedge, 0);
    close_range(1, ~0u, 0);
    while (poll(&(struct pollfd){.fd = 0, .events = POLLIN}, 1, -1) < 0 && errno == EINTR)
        ;
    for (int round = 0; round < ROUNDS; round++) {
        bool there = root_start && start_of(root) == root_start;
        size_t left = there ? wedge_tree_kill(root, true, NULL, 0, ROUNDS) : 0;
        if (arena)
            left += kill_marked(arena);
        if (left == 0)
            break;
    }
    _exit(0);
}

pid_t wedge_guard_start(pid_t root, const char *arena)
{
    uint64_t root_start = start_of(root);
    int self = pidfd_open(getpid(), 0);
    if (self < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        watch(self, root, root_start, arena);
    int failed = errno;
    close(self);
    return pid < 0 ? -failed : pid;
}

void wedge_guard_end(pid_t guard)
{
    if (guard <= 0)
        return;
    kill(guard, SIGKILL);
    while (waitpid(guard, NULL, 0) < 0 && errno == EINTR)
        ;
}
