/*
 * TCP, and UDP, with both ends on this machine, in one network namespace: found by its two addresses.
 *
 * A reader waits for whoever holds the other end, if nothing is on its way: what the other end has written and this one
 * has not acknowledged counts as on its way (Nagle's algorithm against delayed acknowledgements looks like a deadlock 40
 * ms long). A writer waits for whoever reads at the other end, if that one's window is closed and will stay so: the
 * kernel then only probes it (timer 4). The other end is read after this one was seen asleep and before it is seen
 * asleep again: whatever arrived in between would have woken it.
 *
 * UDP that is connected on both sides is evident at most: datagrams come from anywhere. A writer waits for no program: on this
 * machine what was sent is the receiver's at once, who keeps it or not (skb_orphan in loopback_xmit, drivers/net/loopback.c; measured
 * on Linux 6.18: 20,000 datagrams to who reads none, a buffer for four, nothing ever queued), and elsewhere it waits for a device.
 *
 * Source: net/ipv4/tcp_ipv4.c (get_tcp4_sock), tcp_timer.c, tcp_output.c (tcp_send_probe0).
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "detector/wait/socket.h"

#define TIMER_NONE        0
#define TIMER_KEEP_ALIVE  2
#define TIMER_ZERO_WINDOW 4

static const char *write_end(const struct wedge_inet_end *end, char buf[64])
{
    char text[INET6_ADDRSTRLEN] = "";
    bool v4 = memcmp(end->address, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0;
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? end->address + 12 : end->address, text, sizeof(text));
    snprintf(buf, 64, v4 ? "%s:%u" : "[%s]:%u", text, end->port);
    return buf;
}

static void describe(struct wedge_descriptor_wait *wait, const struct wedge_inet_socket *socket, const char *peer)
{
    char from[64], to[64];
    if (socket->state == WEDGE_SOCKET_LISTEN)
        snprintf(wait->describe, sizeof(wait->describe), "listening TCP socket %s, descriptor %d",
                 write_end(&socket->local, from), wait->fd->number);
    else
        snprintf(wait->describe, sizeof(wait->describe), "%s%s %s to %s, descriptor %d%s%s", wait->full ? "full " : "",
                 socket->udp ? "UDP socket" : "TCP connection", write_end(&socket->local, from),
                 write_end(&socket->remote, to), wait->fd->number, *peer ? ", " : "", peer);
}

/* Not accepted yet: whoever holds a socket that listens at the port of the other end may do that. */
static void by_acceptors(struct wedge_look *look, struct wedge_descriptor_wait *wait,
                         const struct wedge_sockets *sockets, const struct wedge_inet_socket *other, char peer[64])
{
    bool any = false;
    for (size_t i = 0; i < sockets->n_inet; i++) {
        const struct wedge_inet_socket *s = &sockets->inet_sockets[i];
        if (s->state != WEDGE_SOCKET_LISTEN || s->local.port != other->local.port)
            continue;
        any = true;
        wedge_socket_by_peer(look, wait, s->inode, "not accepted yet", "may accept the connection", peer);
    }
    if (!any)
        wedge_descriptor_by_outside(look, wait, "nobody is seen to hold its peer: incomplete view");
}

/* Is anything on its way that ends the wait without anybody doing something? NULL: no. */
static const char *on_its_way(const struct wedge_descriptor_wait *wait, const struct wedge_inet_socket *socket,
                              const struct wedge_inet_socket *other)
{
    bool open = socket->state == WEDGE_SOCKET_ESTABLISHED || socket->state == WEDGE_SOCKET_FIN_WAIT2 ||
                socket->state == WEDGE_SOCKET_CLOSE_WAIT;
    bool other_open = other->state == WEDGE_SOCKET_ESTABLISHED || other->state == WEDGE_SOCKET_FIN_WAIT2 ||
                      other->state == WEDGE_SOCKET_CLOSE_WAIT;
    if (!open || !other_open)
        return "the connection is being opened or closed: it is about to wake";
    bool reads = wait->want & WEDGE_WANT_READ || !(wait->want & WEDGE_WANT_WRITE);
    /* Of edges: an empty buffer was told to have room, and nothing is left that would make more. */
    bool writes = wait->want & WEDGE_WANT_WRITE && !(wait->edge && !socket->tx);
    if (writes && (socket->timer != TIMER_ZERO_WINDOW || !socket->tx || !other->rx))
        return "what it sent is on its way: it is about to wake";
    /* What the other end cannot send, since what came before was not read here, stays there. */
    bool stays = other->timer == TIMER_ZERO_WINDOW && socket->rx;
    if (reads && ((other->tx && !stays) || (socket->timer != TIMER_NONE && socket->timer != TIMER_KEEP_ALIVE &&
                                            socket->timer != TIMER_ZERO_WINDOW)))
        return "bytes are on their way: it is about to wake";
    return NULL;
}

/* What the kernel may do by itself in the long run: give the connection up. */
static void heed_timers(struct wedge_look *look, struct wedge_descriptor_wait *wait,
                        const struct wedge_inet_socket *socket, const struct wedge_inet_socket *other)
{
    struct wedge_socket_options options;
    if (wait->outside)
        return;
    if (socket->timer == TIMER_KEEP_ALIVE || other->timer == TIMER_KEEP_ALIVE)
        wedge_descriptor_by_chance(look, wait, "a keep-alive probe may find the connection dead");
    if (!socket->tx)
        return;
    if (wedge_socket_options(look, wait, true, &options) || options.user_ms)
        wedge_descriptor_by_outside(look, wait, "a limit of time (TCP_USER_TIMEOUT) may end the connection");
    else if (wait->want & WEDGE_WANT_WRITE && !options.window_closed)
        wedge_descriptor_by_chance(look, wait, "the other end may still take a little of what was sent");
}

static void key(struct wedge_descriptor_wait *wait, const char *protocol, uint64_t own, uint64_t other)
{
    snprintf(wait->key, sizeof(wait->key), "%s:[%" PRIu64 ",%" PRIu64 "]", protocol, own, other);
}

static void tcp(struct wedge_look *look, struct wedge_descriptor_wait *wait, const struct wedge_sockets *sockets,
                const struct wedge_inet_socket *socket)
{
    static const char *const wchans[] = {"wait_woken", "sk_wait_data", "sk_stream_wait", "inet_csk_", "tcp_", NULL};
    const struct wedge_inet_socket *other = wedge_sockets_inet_peer(sockets, socket);
    const char *moves;
    char peer[64] = "";
    if (socket->state == WEDGE_SOCKET_LISTEN)
        wedge_descriptor_by_outside(look, wait, "anybody may connect");
    else if (wait->want & WEDGE_WANT_CONNECT)
        wedge_descriptor_will_wake(wait, "making a connection has a limit of time");
    else if (!other)
        wedge_descriptor_by_outside(look, wait, "a peer outside may end it");
    else if (!wedge_descriptor_sleeps_in(look, wait, wchans))
        wedge_descriptor_will_wake(wait, "it sleeps in another place of the kernel than its call would");
    else if ((moves = on_its_way(wait, socket, other)))
        wedge_descriptor_will_wake(wait, moves);
    else if (wait->want & WEDGE_WANT_READ && socket->rx)
        wedge_descriptor_is_ready(wait, "there is something to read: it is about to wake");
    if (wait->outside || wait->ready)
        return;
    key(wait, "tcp", socket->inode, other->inode);
    if (other->inode)
        wedge_socket_by_peer(look, wait, other->inode, "its peer is held", "holds the peer", peer);
    else
        by_acceptors(look, wait, sockets, other, peer);
    describe(wait, socket, peer);
    heed_timers(look, wait, socket, other);
}

/* Two sockets that are connected to each other. What comes from elsewhere with the address of the other one is taken as
 * well. */
static void udp(struct wedge_look *look, struct wedge_descriptor_wait *wait, const struct wedge_sockets *sockets,
                const struct wedge_inet_socket *socket)
{
    const struct wedge_inet_socket *other =
        socket->state == WEDGE_SOCKET_ESTABLISHED ? wedge_sockets_inet_peer(sockets, socket) : NULL;
    char peer[64] = "";
    if (wait->want & WEDGE_WANT_WRITE)
        wedge_descriptor_by_outside(look, wait, "a network device must send what is queued");
    else if (!other || !other->inode)
        wedge_descriptor_by_outside(look, wait, "a datagram may come from outside");
    else if (socket->rx || other->tx)
        wedge_descriptor_is_ready(wait, "there is something to read: it is about to wake");
    if (wait->outside || wait->ready)
        return;
    key(wait, "udp", socket->inode, other->inode);
    wedge_socket_by_peer(look, wait, other->inode, "its peer is held", "holds the peer", peer);
    wedge_descriptor_by_chance(look, wait, "a datagram with the address of its peer may come from elsewhere");
    describe(wait, socket, peer);
}

void wedge_socket_inet(struct wedge_look *look, struct wedge_descriptor_wait *wait, const struct wedge_sockets *sockets,
                       const struct wedge_inet_socket *socket)
{
    wait->full = wait->want == WEDGE_WANT_WRITE;
    describe(wait, socket, "");
    (socket->udp ? udp : tcp)(look, wait, sockets, socket);
}
