/*
 * poll, select and epoll: any of the descriptors ends the wait, each by the wakers of its class.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/clock.h"
#include "detector/wait/descriptor.h"

#define MOST_MEMBERS 4096
#define EPOLL_PWAIT2 441

static unsigned wanted(short events)
{
    return (events & (POLLIN | POLLRDNORM | POLLRDBAND | POLLPRI | POLLRDHUP) ? WEDGE_WANT_READ : 0) |
           (events & (POLLOUT | POLLWRNORM | POLLWRBAND) ? WEDGE_WANT_WRITE : 0);
}

/* Asks about each member. Returns how many there are, -1: they cannot be read. */
static int add_pollfds(struct wedge_look *look, struct wedge_descriptor_wait *all, uint64_t address, uint64_t n)
{
    int proc = look->snapshot->threads[all->thread].proc, members = 0;
    struct pollfd *fds = n <= MOST_MEMBERS ? calloc(n + 1, sizeof(*fds)) : NULL;
    if (!fds || (n && wedge_look_memory(look, proc, address, fds, n * sizeof(*fds))))
        members = -1;
    for (uint64_t i = 0; i < n && members >= 0; i++)
        if (fds[i].fd >= 0) {
            wedge_descriptor_member(look, all, fds[i].fd, wanted(fds[i].events), false);
            members++;
        }
    free(fds);
    return members;
}

/* The kernel reads the sets in words of 64 bits; they are changed only when the call returns. */
static int add_select(struct wedge_look *look, struct wedge_descriptor_wait *all)
{
    const struct wedge_thread *t = &look->snapshot->threads[all->thread];
    uint64_t n = t->args[0], words = (n + 63) / 64, sets[3][MOST_MEMBERS / 64] = {0};
    int members = 0;
    if (n > MOST_MEMBERS)
        return -1;
    for (int k = 0; k < 3; k++)
        if (t->args[k + 1] && n &&
            wedge_look_memory(look, t->proc, t->args[k + 1], sets[k], words * sizeof(sets[k][0])))
            return -1;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t word = i / 64, bit = 1ull << (i % 64);
        if (!((sets[0][word] | sets[1][word] | sets[2][word]) & bit))
            continue;
        wedge_descriptor_member(look, all, (int)i,
                                ((sets[0][word] | sets[2][word]) & bit ? WEDGE_WANT_READ : 0) |
                                    (sets[1][word] & bit ? WEDGE_WANT_WRITE : 0),
                                false);
        members++;
    }
    return members;
}

/* A set without members waits as pause does. */
static int add_epoll(struct wedge_look *look, struct wedge_descriptor_wait *all)
{
    const struct wedge_thread *t = &look->snapshot->threads[all->thread];
    const struct wedge_look_proc *own = &look->procs[t->proc];
    const struct wedge_fd *fd = wedge_fds_find(own->fds, own->n_fds, (int)t->args[0]);
    if (!fd || fd->kind != WEDGE_FD_EPOLL)
        return -1;
    all->fd = fd;
    all->want = WEDGE_WANT_READ;
    wedge_descriptor_ask(look, all);
    return atoi(all->describe);
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
    struct wedge_object *o = &t->wait.object;
    struct wedge_descriptor_wait all = {.thread = thread, .polled = true};
    if (wedge_look_fds(look, t->proc)) {
        wedge_wait_unknown(look, thread, "its descriptors may not be read");
        return;
    }
    int members = t->syscall == SYS_poll || t->syscall == SYS_ppoll || t->syscall == SYS_restart_syscall
                      ? add_pollfds(look, &all, t->args[0], t->args[1])
                  : t->syscall == SYS_select || t->syscall == SYS_pselect6 ? add_select(look, &all)
                                                                           : add_epoll(look, &all);
    if (members < 0) {
        wedge_wait_unknown(look, thread, "what it polls cannot be read");
        return;
    }
    if (members > 0 && !all.ready)
        wedge_descriptor_by_receivers(look, &all);
    wedge_wait_is(look, thread, WEDGE_WAIT_POLL,
                  all.ready     ? all.ready
                  : all.outside ? all.outside
                                : "any of its descriptors may end it");
    read_timeout(look, thread);
    if (all.ready)
        t->wait.earliest_ns = 0;
    look->threads[thread].own_process_only = !all.elsewhere;
    look->threads[thread].shared = true;
    o->full = look->threads[thread].room = all.full;
    snprintf(o->key, sizeof(o->key), "poll by %d", (int)t->tid);
    snprintf(o->describe, sizeof(o->describe), "%d polled descriptor%s", members, members == 1 ? "" : "s");
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
