/*
 * UNIX sockets: a reader waits for whoever holds the peer, a writer for whoever reads there, wherever on the machine
 * they are; who connects, for whoever accepts. A socket that others can reach by its name waits for the outside.
 *
 * Source: net/unix/af_unix.c. Of streams and sequenced packets only the peer can send, and both are told when it goes.
 * Of datagrams only the peer can send to a connected socket (unix_may_send), anyone to a named one that is not
 * connected, and a reader is not told when the peer goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "detector/wait/socket.h"

static void describe(struct wedge_descriptor_wait *wait, const char *what, const char *peer)
{
    snprintf(wait->describe, sizeof(wait->describe), "%s%s, descriptor %d%s%s", wait->full ? "full " : "", what,
             wait->fd->number, *peer ? ", " : "", peer);
}

/* The end at which it waits, then the other one: who waits at the other end waits for something else. */
static void key(struct wedge_descriptor_wait *wait, uint64_t own, uint64_t other)
{
    snprintf(wait->key, sizeof(wait->key), "unix:[%" PRIu64 ",%" PRIu64 "]", own, other);
}

/* ---- names ---- */

/* The inode that a name in a file system leads to, as the waiting process sees it. Nothing is opened but the name. */
static bool inode_of(const struct wedge_look *look, const struct wedge_descriptor_wait *wait, const char *path,
                     struct stat *ret)
{
    int proc = look->snapshot->threads[wait->thread].proc;
    bool absolute = path[0] == '/';
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_NO_MAGICLINKS | (absolute ? RESOLVE_IN_ROOT : RESOLVE_BENEATH)};
    char folder[64];
    wedge_proc_path(look->snapshot->procs[proc].pid, look->procs[proc].reader, absolute ? "root" : "cwd", folder,
                    sizeof(folder));
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
    if (dir >= 0)
        fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
    bool found = fd >= 0 && fstat(fd, ret) == 0;
    if (fd >= 0)
        close(fd);
    if (dir >= 0)
        close(dir);
    return found;
}

/* The socket that an address of the waiting process stands for; NULL: not known. */
static const struct wedge_unix_socket *named(struct wedge_look *look, const struct wedge_descriptor_wait *wait,
                                             const struct wedge_sockets *sockets, const struct wedge_unix_socket *self,
                                             uint64_t address, uint64_t len)
{
    struct sockaddr_un at;
    char path[sizeof(at.sun_path) + 1] = "";
    struct stat st = {0};
    if (len <= offsetof(struct sockaddr_un, sun_path) || len > sizeof(at) ||
        wedge_look_memory(look, look->snapshot->threads[wait->thread].proc, address, &at, len) ||
        at.sun_family != AF_UNIX)
        return NULL;
    size_t name_len = len - offsetof(struct sockaddr_un, sun_path);
    memcpy(path, at.sun_path, name_len);
    if (path[0] && !inode_of(look, wait, path, &st))
        return NULL;
    /* As the kernel has it inside: 12 and 20 bits (include/linux/kdev_t.h). */
    uint32_t dev = major(st.st_dev) << 20 | minor(st.st_dev);
    for (size_t i = 0; i < sockets->n_unix; i++) {
        const struct wedge_unix_socket *s = &sockets->unix_sockets[i];
        if (s->type != self->type || (s->type != SOCK_DGRAM && s->state != WEDGE_SOCKET_LISTEN))
            continue;
        if (path[0] ? s->vfs_inode && s->vfs_inode == (uint32_t)st.st_ino && s->vfs_dev == dev
                    : s->name_len == name_len && memcmp(s->name, at.sun_path, name_len) == 0)
            return s;
    }
    return NULL;
}

/* ---- connecting ---- */

/* It waits for room in the queue of a listening socket: whoever has that makes some by accepting. */
static void connecting(struct wedge_look *look, struct wedge_descriptor_wait *wait, const struct wedge_sockets *sockets,
                       const struct wedge_unix_socket *socket)
{
    const struct wedge_thread *t = &look->snapshot->threads[wait->thread];
    const struct wedge_unix_socket *to = named(look, wait, sockets, socket, t->args[1], t->args[2]);
    char peer[64];
    if (!to) {
        wedge_descriptor_by_outside(look, wait, "who would accept its connection is not known");
        return;
    }
    if (to->rqueue <= to->wqueue) { /* unix_recvq_full: more than the backlog */
        wedge_descriptor_will_wake(wait, "there is room for its connection: it is about to wake");
        return;
    }
    wait->full = true;
    wait->reason = "somebody must accept";
    snprintf(wait->key, sizeof(wait->key), "unix:[%" PRIu64 "]", to->inode);
    wedge_socket_by_peer(look, wait, to->inode, "to accept", "may accept connections", peer);
    describe(wait, "queue of connections of a UNIX socket", peer);
}

/* ---- streams and sequenced packets ---- */

static void connected(struct wedge_look *look, struct wedge_descriptor_wait *wait, const struct wedge_sockets *sockets,
                      const struct wedge_unix_socket *socket, bool reads)
{
    char peer[64] = "its peer is gone";
    if (socket->state == WEDGE_SOCKET_LISTEN) {
        describe(wait, "listening UNIX socket", "");
        wedge_descriptor_by_outside(look, wait, "anybody may connect");
        return;
    }
    /* An end of file, a hang-up or a broken pipe is told at once. */
    if (socket->state != WEDGE_SOCKET_ESTABLISHED || !socket->has_peer)
        wedge_descriptor_is_ready(wait, "it is not connected: it is about to wake");
    else if (reads && (socket->rqueue || socket->no_more_reads))
        wedge_descriptor_is_ready(wait, "there is something to read: it is about to wake");
    if (wait->ready || !socket->has_peer)
        return;
    key(wait, socket->inode, socket->peer);
    if (socket->peer) {
        wedge_socket_by_peer(look, wait, socket->peer, "its peer is held", "holds the peer", peer);
    } else {
        const struct wedge_unix_socket *listener = wedge_sockets_unix_listener(sockets, socket->inode);
        if (listener)
            wedge_socket_by_peer(look, wait, listener->inode, "not accepted yet", "may accept the connection", peer);
        else
            wedge_descriptor_by_outside(look, wait, "nobody is seen to hold its peer: incomplete view");
    }
    describe(wait, "UNIX socket", peer);
}

/* ---- datagrams ---- */

static void receives(struct wedge_look *look, struct wedge_descriptor_wait *wait,
                     const struct wedge_unix_socket *socket, char peer[64])
{
    if (socket->rqueue || socket->no_more_reads)
        wedge_descriptor_is_ready(wait, "there is something to read: it is about to wake");
    else if (socket->peer)
        wedge_socket_by_peer(look, wait, socket->peer, "its peer is held", "holds the peer", peer);
    else if (socket->has_peer) /* it stays connected to what is gone, and nobody else may send */
        snprintf(peer, 64, "its peer is gone");
    else if (socket->name_len)
        wedge_descriptor_by_outside(look, wait, "anybody may send to its name");
    else
        snprintf(peer, 64, "nobody knows it by a name");
}

/* The address in a call that has one: sendto, sendmsg. The kernel copies it before it sleeps; what stands there now is
 * the caller's to keep until the call returns. */
static const struct wedge_unix_socket *receiver(struct wedge_look *look, const struct wedge_descriptor_wait *wait,
                                                const struct wedge_sockets *sockets,
                                                const struct wedge_unix_socket *socket)
{
    const struct wedge_thread *t = &look->snapshot->threads[wait->thread];
    struct msghdr msg = {0};
    if (!wait->polled && t->syscall == SYS_sendto && t->args[4])
        return named(look, wait, sockets, socket, t->args[4], t->args[5]);
    if (!wait->polled && t->syscall == SYS_sendmsg) {
        if (wedge_look_memory(look, t->proc, t->args[1], &msg, sizeof(msg)))
            return NULL;
        if (msg.msg_name)
            return named(look, wait, sockets, socket, (uint64_t)msg.msg_name, msg.msg_namelen);
    }
    return t->syscall == SYS_sendmmsg && !wait->polled ? NULL : wedge_sockets_unix(sockets, socket->peer);
}

/* It waits in one of two places: for room in the queue of the receiver (unix_wait_for_peer), or for its own limit of
 * memory, which what it sent elsewhere before takes as well. */
static void sends(struct wedge_look *look, struct wedge_descriptor_wait *wait, const struct wedge_sockets *sockets,
                  const struct wedge_unix_socket *socket, char peer[64])
{
    const struct wedge_unix_socket *to = receiver(look, wait, sockets, socket);
    if (!to) {
        wedge_descriptor_by_outside(look, wait, "who receives what it sends is not known");
        return;
    }
    wedge_socket_by_peer(look, wait, to->inode, "its receiver is held", "may receive", peer);
    key(wait, socket->inode, to->inode);
    if (wait->polled || !strstr(look->threads[wait->thread].wchan, "unix_wait_for_peer"))
        wedge_descriptor_by_chance(look, wait, "somebody else may receive what it sent before, and make room");
}

static void datagrams(struct wedge_look *look, struct wedge_descriptor_wait *wait, const struct wedge_sockets *sockets,
                      const struct wedge_unix_socket *socket, bool reads, bool writes)
{
    char peer[64] = "";
    key(wait, socket->inode, socket->peer);
    if (reads)
        receives(look, wait, socket, peer);
    if (writes)
        sends(look, wait, sockets, socket, peer);
    describe(wait, "UNIX datagram socket", peer);
}

void wedge_socket_unix(struct wedge_look *look, struct wedge_descriptor_wait *wait, const struct wedge_sockets *sockets,
                       const struct wedge_unix_socket *socket)
{
    static const char *const wchans[] = {"unix_", "__skb_wait_for", "sock_alloc_send", "sock_wait_for_wmem", NULL};
    bool reads = wait->want & WEDGE_WANT_READ, writes = wait->want & WEDGE_WANT_WRITE;
    wait->full = writes && !reads;
    if (!wedge_descriptor_sleeps_in(look, wait, wchans))
        wedge_descriptor_will_wake(wait, "it sleeps in another place of the kernel than its call would");
    else if (wait->want & WEDGE_WANT_CONNECT)
        connecting(look, wait, sockets, socket);
    else if (socket->type == SOCK_DGRAM)
        datagrams(look, wait, sockets, socket, reads || !writes, writes);
    else
        connected(look, wait, sockets, socket, reads);
}
