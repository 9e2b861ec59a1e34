#include "scenarios/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/kernel/proc.h"
#include "scenarios/tree.h"

enum { ROUNDS = 500, UNTOLD_ROUNDS = 100, MOST_ENVIRONMENT = 1 << 20, MOST_PROCESSES = 1 << 22 };

static uint64_t start_of(pid_t pid)
{
    char text[1024];
    struct wedge_proc_stat stat;
    return wedge_proc_read(pid, 0, "stat", text, sizeof(text)) > 0 && wedge_proc_stat_parse(text, &stat) == 0
               ? stat.start_ticks
               : 0;
}

struct wedge_guard_charge { /* start_ticks is stored before root, with release */
    uint64_t start_ticks;
    _Atomic pid_t root; /* 0 not there yet */
};

static bool has_mark(pid_t pid, const char *mark)
{
    char *text = NULL;
    ssize_t n = wedge_proc_read_all(pid, 0, "environ", MOST_ENVIRONMENT, &text);
    bool found = false;
    for (const char *at = text; n > 0 && !found && at < text + n; at += strlen(at) + 1)
        found = strncmp(at, "WEDGE_RUN=", 10) == 0 && strcmp(at + 10, mark) == 0;
    if (n >= 0)
        free(text);
    return found;
}

/* Those whom death of a parent between has taken out of the command's descent. */
static size_t kill_marked(const char *mark)
{
    pid_t *pids = NULL;
    size_t n = 0, killed = 0;
    if (wedge_proc_list(0, MOST_PROCESSES, &pids, &n))
        return 0;
    for (size_t i = 0; i < n; i++) {
        int fd = pids[i] != getpid() && has_mark(pids[i], mark) ? pidfd_open(pids[i], 0) : -1;
        /* Looked at again when the pidfd pins it. */
        if (fd >= 0 && has_mark(pids[i], mark))
            killed += pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0;
        if (fd >= 0)
            close(fd);
    }
    free(pids);
    return killed;
}

static _Noreturn void watch(int wedge, struct wedge_guard_charge *charge, const char *mark)
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
        pid_t root = atomic_load_explicit(&charge->root, memory_order_acquire);
        bool there = root && charge->start_ticks && start_of(root) == charge->start_ticks;
        size_t left = there ? wedge_tree_kill(root, true, NULL, 0, ROUNDS) : 0;
        left += kill_marked(mark);
        /* A command that wedge had forked and not yet told us of has no mark before its exec. */
        if (left == 0 && (root || round > UNTOLD_ROUNDS))
            break;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    _exit(0);
}

int wedge_guard_start(struct wedge_guard *guard, const char *mark)
{
    struct wedge_guard_charge *charge =
        mmap(NULL, sizeof(*charge), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (charge == MAP_FAILED)
        return -errno;
    int self = pidfd_open(getpid(), 0);
    pid_t pid = self < 0 ? -1 : fork();
    if (pid == 0)
        watch(self, charge, mark);
    int failed = errno;
    if (self >= 0)
        close(self);
    if (pid < 0) {
        munmap(charge, sizeof(*charge));
        return -failed;
    }
    *guard = (struct wedge_guard){.pid = pid, .charge = charge};
    return 0;
}

void wedge_guard_root(struct wedge_guard *guard, pid_t root)
{
    if (!guard->charge)
        return;
    guard->charge->start_ticks = start_of(root);
    atomic_store_explicit(&guard->charge->root, root, memory_order_release);
}

void wedge_guard_end(struct wedge_guard *guard)
{
    if (guard->pid > 0) {
        kill(guard->pid, SIGKILL);
        while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (guard->charge)
        munmap(guard->charge, sizeof(*guard->charge));
    *guard = (struct wedge_guard){0};
}
