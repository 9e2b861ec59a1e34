/*
 * Sockets: which family, how long at most, and who has the other end.
 *
 * A limit of time set on a socket (SO_RCVTIMEO) shows nowhere in /proc, and a thread that waits under one looks as if it
 * waited for ever. The socket alone knows: it is asked through a copy of the descriptor (pidfd_getfd(2)), which lives
 * for some microseconds and takes the rights that /proc/PID/syscall takes. Only where the wait would otherwise count as
 * one without a limit.
 */
#include "detector/wait/socket.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/clock.h"

void wedge_socket_by_peer(struct wedge_look *look, struct wedge_descriptor_wait *wait, uint64_t inode, const char *what,
                          const char *why, char ret[64])
{
    uint64_t device = wedge_fds_device(WEDGE_FD_SOCKET);
    pid_t self = look->snapshot->procs[look->snapshot->threads[wait->thread].proc].pid;
    size_t n, holders = wedge_descriptor_by_holders(look, wait, device, inode, 0, why);
    const struct wedge_machine_end *ends = wedge_look_ends(look, device, inode, &n);
    if (holders == 1 && ends[0].pid == self)
        snprintf(ret, 64, "%s by the process itself", what);
    else if (holders == 1)
        snprintf(ret, 64, "%s by %d", what, (int)ends[0].pid);
    else
        snprintf(ret, 64, "%s by %zu processes", what, holders);
    look->threads[wait->thread].assumptions |= WEDGE_ASSUME_COMPLETE_VIEW;
    if (!holders)
        wedge_descriptor_by_outside(look, wait, "nobody is seen to hold its peer: incomplete view");
    else if (wedge_descriptor_is_hidden(look, device, inode) ||
             wedge_descriptor_is_hidden(look, device, wait->fd->inode))
        wedge_descriptor_by_outside(look, wait, "a process that may hold its peer cannot be read");
}

static int64_t limit_of(int fd, int option)
{
    struct timeval tv = {0};
    socklen_t size = sizeof(tv);
    if (getsockopt(fd, SOL_SOCKET, option, &tv, &size))
        return 0;
    return (int64_t)tv.tv_sec * WEDGE_NS_PER_S + (int64_t)tv.tv_usec * 1000;
}

int wedge_socket_options(struct wedge_look *look, const struct wedge_descriptor_wait *wait, bool tcp,
                         struct wedge_socket_options *ret)
{
    pid_t pid = look->snapshot->procs[look->snapshot->threads[wait->thread].proc].pid;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), fd = -1, rc = 0;
    struct stat st;
    struct tcp_info info = {0};
    socklen_t size = sizeof(info), user_size = sizeof(ret->user_ms);
    memset(ret, 0, sizeof(*ret));
    if (pidfd >= 0)
        fd = (int)syscall(SYS_pidfd_getfd, pidfd, wait->fd->number, 0);
    if (fd < 0 || fstat(fd, &st))
        rc = -errno;
    else if (!S_ISSOCK(st.st_mode) || st.st_ino != wait->fd->inode)
        rc = -ESTALE;
    if (!rc) {
        ret->receive_ns = limit_of(fd, SO_RCVTIMEO);
        ret->send_ns = limit_of(fd, SO_SNDTIMEO);
    }
    if (!rc && tcp) {
        if (getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ret->user_ms, &user_size) ||
            getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size))
            rc = -errno;
        /* tcpi_snd_wnd: since Linux 6.2, and 5.15.86 */
        ret->window_closed = !rc && size >= offsetof(struct tcp_info, tcpi_snd_wnd) + sizeof(info.tcpi_snd_wnd) &&
                             info.tcpi_snd_wnd == 0 && info.tcpi_unacked == 0;
    }
    if (fd >= 0)
        close(fd);
    if (pidfd >= 0)
        close(pidfd);
    return rc;
}

/* poll's family has a limit of its own, and heeds none of the socket's. */
static void heed_limits(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    struct wedge_socket_options options;
    if (wait->polled || wait->outside || wait->ready)
        return;
    if (wedge_socket_options(look, wait, false, &options)) {
        wedge_descriptor_by_outside(look, wait, "whether it waits under a limit of time cannot be asked");
        return;
    }
    int64_t ns = wait->want & WEDGE_WANT_READ ? options.receive_ns : options.send_ns;
    if (ns)
        wedge_wait_for(look, wait->thread, ns);
}

/* The name of its protocol, which sockfs tells of every socket (system.sockprotoname, net/socket.c): "TCP", "UDPv6",
 * "NETLINK", "AF_VSOCK", "MPTCP", "PACKET", "RAW"; "" not known. Followed is a link of the kernel's to the socket itself,
 * and nothing is opened. */
static void read_protocol(const struct wedge_look *look, const struct wedge_descriptor_wait *wait, char ret[32])
{
    char path[64];
    wedge_proc_path(look->snapshot->procs[look->snapshot->threads[wait->thread].proc].pid, 0, "fd", path, sizeof(path));
    size_t used = strlen(path);
    snprintf(path + used, sizeof(path) - used, "/%d", wait->fd->number);
    ssize_t length = getxattr(path, "system.sockprotoname", ret, 31);
    ret[length > 0 ? length : 0] = '\0';
}

/* What /proc/net/tcp has of a connection of MPTCP is one of its paths: its queues tell little of the whole. */
static bool is_plain(const char *protocol)
{
    static const char *const names[] = {"TCP", "TCPv6", "UDP", "UDPv6"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(protocol, names[i]) == 0)
            return true;
    return false;
}

static void of_another_family(struct wedge_look *look, struct wedge_descriptor_wait *wait, const char *protocol)
{
    const char *why = "a peer outside may end it";
    if (*protocol) {
        snprintf(wait->describe, sizeof(wait->describe), "%s socket, descriptor %d", protocol, wait->fd->number);
        why = wedge_look_textf(look, "whoever is at the other end of a socket of %s may end it", protocol);
    }
    wedge_descriptor_by_outside(look, wait, why);
}

static void wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    const struct wedge_sockets *sockets = wedge_look_sockets(look, look->snapshot->threads[wait->thread].proc);
    const struct wedge_unix_socket *local = sockets ? wedge_sockets_unix(sockets, wait->fd->inode) : NULL;
    const struct wedge_inet_socket *inet = sockets ? wedge_sockets_inet(sockets, wait->fd->inode) : NULL;
    char protocol[32] = "";
    if (!local)
        read_protocol(look, wait, protocol);
    wait->class = WEDGE_WAIT_SOCKET;
    wait->reason = wait->want & WEDGE_WANT_READ ? "its peer must send" : "its peer must receive";
    snprintf(wait->key, sizeof(wait->key), "socket:[%" PRIu64 "]", wait->fd->inode);
    if (local)
        wedge_socket_unix(look, wait, sockets, local);
    else if (inet && is_plain(protocol))
        wedge_socket_inet(look, wait, sockets, inet);
    else if (!sockets || sockets->unix_error || sockets->inet_error)
        wedge_descriptor_by_outside(look, wait, "the sockets of its network namespace cannot be read");
    else
        of_another_family(look, wait, protocol);
    if (!wait->outside && !wait->ready)
        wedge_descriptor_by_sharers_as(look, wait, WEDGE_WAKER_UNLESS_RARE,
                                       "another process has the same socket, and might shut it down");
    heed_limits(look, wait);
}

const struct wedge_descriptor_class wedge_descriptor_socket = {.kind = WEDGE_FD_SOCKET, .wakers = wakers};
