/*
 * Descriptor tables of processes: what each descriptor is, by which inode it is the same object elsewhere, and how it
 * was opened. Nothing is opened: a link is read and the inode behind it is looked at.
 *
 * A pipe, FIFO or unlinked file is keyed by (st_dev, st_ino): the number alone is not enough, two mounts may use it
 * twice. A socket has the number of its link. All others of one kind share an inode of the kernel's, and a key here:
 * whether two of them are the same is kcmp(2)'s to say.
 */
#ifndef WEDGE_DETECTOR_FDS_H
#define WEDGE_DETECTOR_FDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum wedge_fd_kind {
    WEDGE_FD_OTHER, /* not looked into: whoever waits on it waits for the outside */
    WEDGE_FD_PIPE, /* and a FIFO whose last name is gone */
    WEDGE_FD_FIFO, /* with a name: anyone may open it */
    WEDGE_FD_SOCKET,
    WEDGE_FD_EVENTFD,
    WEDGE_FD_EPOLL,
    WEDGE_FD_TIMERFD,
    WEDGE_FD_SIGNALFD,
    WEDGE_FD_PIDFD,
    WEDGE_FD_ASYNC, /* io_uring, KVM: work goes on without a thread that we see */
    WEDGE_FD_UNLINKED, /* a file without a name: a memfd, a deleted file */
    WEDGE_FD_FILE, /* a regular file with a name */
};

struct wedge_fd {
    int number;
    enum wedge_fd_kind kind;
    uint64_t dev, inode; /* the key; 0 of OTHER */
    bool readable, writable;
};

/* The device by which sockets, and kinds without an inode of their own, are keyed. */
uint64_t wedge_fds_device(enum wedge_fd_kind kind);
/* Does an equal key mean the same object? */
bool wedge_fds_is_keyed(enum wedge_fd_kind kind);

/* The descriptors of a process, in increasing order, through its thread `tid` (a leader that has ended has an empty
 * table of its own). Freed by the caller. -EACCES and -EPERM: not ours to read; -ENOENT and -ESRCH: gone;
 * -EOVERFLOW past 65,536. */
int wedge_fds_read(pid_t pid, pid_t tid, struct wedge_fd **ret, size_t *ret_n);
/* Finds a number, NULL none. */
const struct wedge_fd *wedge_fds_find(const struct wedge_fd *fds, size_t n, int number);
/* "pipe", "socket", …: for people. */
const char *wedge_fds_word(enum wedge_fd_kind kind);

#endif
