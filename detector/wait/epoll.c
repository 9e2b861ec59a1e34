/*
 * epoll sets: ready when one of their members is. A set may be a member of another set.
 *
 * fdinfo of a set: "tfd: N events: X data: Y pos:P ino:I sdev:S" for each member (proc(5)). The number is the one by
 * which it was added: that descriptor may have been closed, and the number used again, while the member lives on
 * through a copy. It counts only where the kernel says that it is still the same open file (kcmp(2), KCMP_EPOLL_TFD).
 */
#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "detector/kernel/fdinfo.h"
#include "detector/wait/descriptor.h"

#define MOST_BYTES   (1u << 20)
#define MOST_MEMBERS 4096
#define MOST_NESTED  5 /* the kernel allows EP_MAX_NESTS, 4 (fs/eventpoll.c) */

/* How a member is watched, and no event. A member with nothing else is switched off (EPOLLONESHOT after it fired):
 * not even errors are told (ep_poll_callback). */
#define HOW ((uint32_t)EPOLLWAKEUP | (uint32_t)EPOLLONESHOT | (uint32_t)EPOLLET | (uint32_t)EPOLLEXCLUSIVE)

/* The member is what its number stands for today. The same number may be there several times: the n-th of them. */
static bool is_current(const struct wedge_look *look, const struct wedge_descriptor_wait *wait,
                       const struct wedge_fdinfo_member *m, unsigned nth)
{
    int proc = look->snapshot->threads[wait->thread].proc;
    pid_t pid = look->snapshot->procs[proc].pid;
    const struct wedge_fd *fd = wedge_fds_find(look->procs[proc].fds, look->procs[proc].n_fds, m->number);
    struct kcmp_epoll_slot slot = {.efd = (uint32_t)wait->fd->number, .tfd = (uint32_t)m->number, .toff = nth};
    if (!fd)
        return false;
    long same = syscall(SYS_kcmp, pid, pid, KCMP_EPOLL_TFD, m->number, &slot);
    if (same < 0 && errno != ENOENT && errno != EBADF) /* no kcmp here: an inode of its own will do */
        return (fd->kind == WEDGE_FD_PIPE || fd->kind == WEDGE_FD_SOCKET) && fd->inode == m->inode;
    return same == 0;
}

static void wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    int proc = look->snapshot->threads[wait->thread].proc, members = 0, seen[MOST_MEMBERS];
    char name[32], *text = NULL;
    snprintf(name, sizeof(name), "fdinfo/%d", wait->fd->number);
    wait->class = WEDGE_WAIT_POLL;
    wait->reason = "any of its descriptors may end it";
    if (wait->depth > MOST_NESTED ||
        wedge_proc_read_all(look->snapshot->procs[proc].pid, look->procs[proc].reader, name, MOST_BYTES, &text) < 0) {
        wedge_descriptor_by_outside(look, wait, "its epoll set cannot be read");
        return;
    }
    struct wedge_fdinfo_member m;
    const char *at = text;
    for (int there; !wait->outside && !wait->ready && (there = wedge_fdinfo_member(&at, &m));) {
        if (members == MOST_MEMBERS || there < 0) {
            wedge_descriptor_by_outside(look, wait, "a member of its epoll set is not known");
            break;
        }
        unsigned nth = 0;
        for (int i = 0; i < members; i++)
            nth += seen[i] == m.number;
        seen[members++] = m.number;
        if (!(m.events & ~HOW))
            continue;
        if (is_current(look, wait, &m, nth))
            wedge_descriptor_member(look, wait, m.number,
                                    (m.events & (EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLPRI) ? WEDGE_WANT_READ : 0) |
                                        (m.events & (EPOLLOUT | EPOLLWRNORM) ? WEDGE_WANT_WRITE : 0),
                                    m.events & EPOLLET || wait->edge);
        else
            wedge_descriptor_by_outside(look, wait, "a member of its epoll set was closed here and lives elsewhere");
    }
    free(text);
    wedge_descriptor_by_sharers(look, wait, "may change what the epoll set watches");
    snprintf(wait->describe, sizeof(wait->describe), "%d polled descriptor%s", members, members == 1 ? "" : "s");
    look->threads[wait->thread].assumptions |= WEDGE_ASSUME_COMPLETE_VIEW;
}

const struct wedge_descriptor_class wedge_descriptor_epoll = {.kind = WEDGE_FD_EPOLL, .wakers = wakers};
