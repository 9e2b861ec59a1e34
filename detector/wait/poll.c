/*
 * poll, select and epoll: any of the descriptors ends the wait. Members that are pipes have their own wakers; a pidfd
 * has the threads of its process; anything else is the outside.
 *
 * Whoever holds the other end of a pipe is a waker whatever was asked for: closing it raises POLLHUP or POLLERR.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/clock.h"
#include "detector/wait/wait.h"

#define MOST_MEMBERS 4096
#define EPOLL_PWAIT2 441

/* Adds the wakers of one descriptor. False: the wait was marked live. */
static bool add_member(struct wedge_look *look, int thread, int number)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    const struct wedge_look_proc *own = &look->procs[t->proc];
    const struct wedge_fd *fd = wedge_fds_find(own->fds, own->n_fds, number);
    bool own_only = false, complete = false;
    if (fd && fd->kind == WEDGE_FD_PIPE) {
        complete = wedge_wait_pipe_ends(look, thread, fd->dev, fd->inode,
                                        fd->readable ? WEDGE_WAIT_PIPE_READ : WEDGE_WAIT_PIPE_WRITE, &own_only);
        look->threads[thread].own_process_only &= complete && own_only;
        return true;
    }
    if (fd && fd->kind == WEDGE_FD_PIDFD) {
        char name[32], text[1024];
        int pid = 0;
        snprintf(name, sizeof(name), "fdinfo/%d", number);
        const char *line =
            wedge_proc_read(look->snapshot->procs[t->proc].pid, own->reader, name, text, sizeof(text)) > 0
                ? strstr(text, "\nPid:")
                : NULL;
        if (line && sscanf(line, "\nPid: %d", &pid) == 1 && pid > 0) {
            look->threads[thread].own_process_only = false;
            wedge_waker_add_pid(look, thread, 0, pid, "must end");
            return true;
        }
    }
    wedge_wait_outside(look, thread, WEDGE_WAIT_POLL,
                       fd && fd->kind == WEDGE_FD_SOCKET ? "a peer outside may end it"
                                                         : "something outside may end it");
    return false;
}

static void add_pollfds(struct wedge_look *look, int thread, uint64_t address, uint64_t n, int *ret_members)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    struct pollfd *fds = n <= MOST_MEMBERS ? calloc(n + 1, sizeof(*fds)) : NULL;
    if (!fds || (n && wedge_look_memory(look, t->proc, address, fds, n * sizeof(*fds)))) {
        wedge_wait_unknown(look, thread, "what it polls cannot be read");
        *ret_members = -1;
    }
    for (uint64_t i = 0; i < n && *ret_members >= 0; i++)
        if (fds[i].fd >= 0)
            *ret_members = add_member(look, thread, fds[i].fd) ? *ret_members + 1 : -1;
    free(fds);
}

/* The kernel reads the sets in words of 64 bits; they are changed only when the call returns. */
static void add_select(struct wedge_look *look, int thread, int *ret_members)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    uint64_t n = t->args[0], words = (n + 63) / 64, set[MOST_MEMBERS / 64], any[MOST_MEMBERS / 64] = {0};
    for (int k = 1; k <= 3; k++) {
        if (!t->args[k] || !n)
            continue;
        if (n > MOST_MEMBERS || wedge_look_memory(look, t->proc, t->args[k], set, words * sizeof(set[0]))) {
            wedge_wait_unknown(look, thread, "what it selects cannot be read");
            *ret_members = -1;
            return;
        }
        for (uint64_t i = 0; i < words; i++)
            any[i] |= set[i];
    }
    for (uint64_t i = 0; i < n && *ret_members >= 0; i++)
        if (any[i / 64] & 1ull << (i % 64))
            *ret_members = add_member(look, thread, (int)i) ? *ret_members + 1 : -1;
}

/* fdinfo of an epoll set: "tfd: N events: X data: Y pos:P ino:I sdev:S". The number may have been closed and used
 * again since: it counts only while the inode is the same. */
static void add_epoll(struct wedge_look *look, int thread, int *ret_members)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    const struct wedge_look_proc *own = &look->procs[t->proc];
    const struct wedge_fd *set = wedge_fds_find(own->fds, own->n_fds, (int)t->args[0]);
    char name[32], *text = NULL;
    snprintf(name, sizeof(name), "fdinfo/%d", (int)t->args[0]);
    if (!set || set->kind != WEDGE_FD_EPOLL ||
        wedge_proc_read_all(look->snapshot->procs[t->proc].pid, own->reader, name, 1 << 20, &text) < 0) {
        wedge_wait_unknown(look, thread, "its epoll set cannot be read");
        *ret_members = -1;
        return;
    }
    for (const char *line = strstr(text, "tfd:"); line && *ret_members >= 0; line = strstr(line + 4, "tfd:")) {
        int number;
        uint64_t inode = 0;
        const char *ino = strstr(line, "ino:"), *end = strchr(line, '\n');
        const struct wedge_fd *fd = NULL;
        if (sscanf(line, "tfd: %d", &number) == 1 && ino && (!end || ino < end) &&
            sscanf(ino, "ino:%" SCNx64, &inode) == 1)
            fd = wedge_fds_find(own->fds, own->n_fds, number);
        if (!fd || (fd->kind == WEDGE_FD_PIPE && fd->inode != inode)) {
            wedge_wait_outside(look, thread, WEDGE_WAIT_POLL, "a member of its epoll set is not known");
            *ret_members = -1;
        } else {
            *ret_members = add_member(look, thread, number) ? *ret_members + 1 : -1;
        }
    }
    free(text);
}

static void read_timeout(struct wedge_look *look, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    uint64_t arg = 0;
    int64_t ns = 0, value[2];
    int ms;
    switch (t->syscall) {
    case SYS_poll:
    case SYS_restart_syscall:
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
        ms = (int)t->args[t->syscall == SYS_poll || t->syscall == SYS_restart_syscall ? 2 : 3];
        if (ms >= 0)
            wedge_wait_for(look, thread, ms * WEDGE_NS_PER_MS);
        return;
    case SYS_select:
        if (t->args[4] && (wedge_look_memory(look, t->proc, t->args[4], value, sizeof(value)) || value[0] < 0 ||
                           value[0] > INT64_MAX / WEDGE_NS_PER_S - 1))
            look->snapshot->threads[thread].wait.earliest_ns = 0;
        else if (t->args[4])
            wedge_wait_for(look, thread, value[0] * WEDGE_NS_PER_S);
        return;
    default:
        arg = t->args[t->syscall == SYS_ppoll ? 2 : t->syscall == EPOLL_PWAIT2 ? 3 : 4];
        if (arg && wedge_wait_timespec(look, thread, arg, &ns))
            wedge_wait_for(look, thread, ns);
        else if (arg)
            look->snapshot->threads[thread].wait.earliest_ns = 0;
    }
}

static void decode(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    int members = 0;
    if (wedge_look_fds(look, t->proc)) {
        wedge_wait_unknown(look, thread, "its descriptors may not be read");
        return;
    }
    wedge_wait_is(look, thread, WEDGE_WAIT_POLL, "any of its descriptors may end it");
    look->threads[thread].own_process_only = true;
    if (t->syscall == SYS_poll || t->syscall == SYS_ppoll || t->syscall == SYS_restart_syscall)
        add_pollfds(look, thread, t->args[0], t->args[1], &members);
    else if (t->syscall == SYS_select || t->syscall == SYS_pselect6)
        add_select(look, thread, &members);
    else
        add_epoll(look, thread, &members);
    read_timeout(look, thread);
    if (members < 0) {
        look->threads[thread].own_process_only = false;
        return;
    }
    look->threads[thread].shared = true;
    snprintf(t->wait.object.key, sizeof(t->wait.object.key), "poll by %d", (int)t->tid);
    snprintf(t->wait.object.describe, sizeof(t->wait.object.describe), "%d polled descriptor%s", members,
             members == 1 ? "" : "s");
    if (members == 0 && t->wait.earliest_ns == INT64_MAX)
        wedge_wait_outside(look, thread, WEDGE_WAIT_SIGNAL, "a signal may come from outside");
    else
        wedge_waker_add_signals(look, thread);
}

static const int calls[] = {SYS_poll,       SYS_ppoll,       SYS_select,   SYS_pselect6,
                            SYS_epoll_wait, SYS_epoll_pwait, EPOLL_PWAIT2, -1};
static const char *const wchans[] = {"poll_schedule_timeout", "do_sys_poll", "do_poll",       "do_select",
                                     "core_sys_select",       "ep_poll",     "do_epoll_wait", NULL};
const struct wedge_wait_ops wedge_wait_poll = {.name = "poll", .calls = calls, .wchans = wchans, .decode = decode};
