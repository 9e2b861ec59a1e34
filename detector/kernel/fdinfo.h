/*
 * What fdinfo says of a descriptor, class by class (proc(5), /proc/PID/fdinfo/FD). Parsers alone: they take any text, and set
 * nothing unless all is there that they promise.
 *
 *   pos, flags, mnt_id, ino      of every open file                        fs/proc/fd.c
 *   tfd                          a line for each member of an epoll set     fs/eventpoll.c, ep_show_fdinfo
 *   eventfd-count, eventfd-id    since Linux 3.8 and 5.2                   fs/eventfd.c
 *   ticks, settime flags, it_value    what has come, how it was armed, what is left        fs/timerfd.c
 *   sigmask                      what a signalfd takes                     fs/signalfd.c
 *   Pid                          of a pidfd: -1 reaped, 0 not to be seen   fs/pidfs.c, pidfd_open(2)
 *   scm_fds, UserFiles           descriptors kept inside a UNIX socket, an io_uring      net/unix/af_unix.c, io_uring/fdinfo.c
 */
#ifndef WEDGE_DETECTOR_FDINFO_H
#define WEDGE_DETECTOR_FDINFO_H

#include <stdbool.h>
#include <stdint.h>

struct wedge_fdinfo_member { /* of an epoll set */
    int number; /* by which it was added */
    uint32_t events;
    uint64_t inode;
};
/* The member at *at or behind it; moves *at on. 1: there is one, 0: no more, -EBADMSG: one that is not understood. */
int wedge_fdinfo_member(const char **at, struct wedge_fdinfo_member *ret);

struct wedge_fdinfo_timer {
    uint64_t ticks; /* came and were not read */
    unsigned flags; /* of timerfd_settime(2) */
    int64_t left_ns; /* 0: not armed; INT64_MAX also for more */
};
bool wedge_fdinfo_timer(const char *text, struct wedge_fdinfo_timer *ret);

/* *ret_id is -1 where the kernel gives no number. */
bool wedge_fdinfo_event(const char *text, uint64_t *ret_count, int *ret_id);
bool wedge_fdinfo_signals(const char *text, uint64_t *ret_mask);
bool wedge_fdinfo_pid(const char *text, int *ret_pid);
/* An open file's inode, and the number of its mount. */
bool wedge_fdinfo_inode(const char *text, uint64_t *ret_inode, int *ret_mount);
/* How many descriptors are kept inside. 0 also of what keeps none. */
long wedge_fdinfo_inside(const char *text);
/* What stands behind the next "lock:" at *at or behind it (wedge_file_lock_parse); moves *at on. NULL none. */
const char *wedge_fdinfo_lock(const char **at);

#endif
