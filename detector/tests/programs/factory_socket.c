/* Cases of the factory: connected sockets, of UNIX and TCP on this machine. */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"
#include "detector/tests/programs/factory_ends.h"

/* A client that speaks IPv4 through an IPv6 socket. */
static void mapped(int ends[2])
{
    struct factory_place p;
    factory_listen(&p, AF_INET, SOCK_STREAM);
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = p.at.in.sin_port};
    at.sin6_addr.s6_addr[10] = at.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&at.sin6_addr.s6_addr[12], &p.at.in.sin_addr, 4);
    ends[0] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (ends[0] < 0 || connect(ends[0], (struct sockaddr *)&at, sizeof(at)))
        factory_die("connect");
    ends[1] = accept(p.fd, NULL, NULL);
    close(p.fd);
}

/* A network namespace of its own, with a loopback. False: it may not have one. */
static bool enter_another_network(void)
{
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
        return false;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &up) == 0;
    close(fd);
    return done;
}

/* ---- two processes on two ends ---- */

static void both_read(int family)
{
    int ends[2];
    factory_connection(family, ends);
    factory_apart(ends, factory_get_one, factory_get_one);
}
static void unix_both_read(void)
{
    both_read(AF_UNIX);
}
static void tcp_both_read(void)
{
    both_read(AF_INET);
}
static void tcp6_both_read(void)
{
    both_read(AF_INET6);
}
static void tcp_mapped_both_read(void)
{
    int ends[2];
    mapped(ends);
    factory_apart(ends, factory_get_one, factory_get_one);
}
static void tcp_served(void)
{
    int ends[2];
    factory_connection(AF_INET, ends);
    factory_apart(ends, factory_get_all, factory_answer_slowly);
}
/* Without the right to a namespace the same hang without one. */
static void unix_other_network(void)
{
    enter_another_network();
    both_read(AF_UNIX);
}
static void tcp_other_network(void)
{
    enter_another_network();
    both_read(AF_INET);
}
/* The kernel asks now and then whether the other end is there. */
static void tcp_keep_alive(void)
{
    int ends[2], on = 1;
    factory_connection(AF_INET, ends);
    if (setsockopt(ends[0], SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)))
        factory_die("setsockopt");
    factory_apart(ends, factory_get_one, factory_get_one);
}
/* Each has connected a socket to the other's, and each waits. */
static void udp_both_read(void)
{
    struct factory_place a, b;
    factory_listen(&a, AF_INET, SOCK_DGRAM);
    factory_listen(&b, AF_INET, SOCK_DGRAM);
    if (connect(a.fd, &b.at.any, b.size) || connect(b.fd, &a.at.any, a.size))
        factory_die("connect");
    factory_apart((int[2]){a.fd, b.fd}, factory_get_one, factory_get_one);
}
static void unix_served(void)
{
    int ends[2];
    factory_connection(AF_UNIX, ends);
    factory_apart(ends, factory_get_all, factory_answer_slowly);
}

static void unix_both_write(void)
{
    int ends[2];
    factory_socket_pair(SOCK_SEQPACKET, ends);
    factory_apart(ends, factory_fill, factory_fill);
}
static void tcp_both_write(void)
{
    int ends[2];
    factory_connection(AF_INET, ends);
    factory_apart(ends, factory_fill, factory_fill);
}
static void tcp_slow_reader(void)
{
    int ends[2];
    factory_connection(AF_INET, ends);
    factory_apart(ends, factory_fill, factory_get_slowly);
}
static void unix_slow_reader(void)
{
    int ends[2];
    factory_connection(AF_UNIX, ends);
    factory_apart(ends, factory_fill, factory_get_slowly);
}

/* The request came in part: whoever serves it waits for the rest, whoever asked waits for the answer. */
static void ask_half(int fd)
{
    if (factory_put(fd))
        factory_get(fd);
}
/* A stop for a stack ends this call, unlike most, with the part that is there. */
static void want_two(int fd)
{
    char two[2];
    ssize_t have = 0, got = 0;
    while (have < 2 && (got = recv(fd, two + have, sizeof(two) - (size_t)have, MSG_WAITALL)) > 0)
        have += got;
}
static void unix_half_request(void)
{
    int ends[2];
    factory_socket_pair(SOCK_STREAM, ends);
    factory_apart(ends, ask_half, want_two);
}
static void tcp_half_request(void)
{
    int ends[2];
    factory_connection(AF_INET, ends);
    factory_apart(ends, ask_half, want_two);
}

/* The client says that it has no more to say and waits for the answer; the server, at the end, waits for the client in
 * another place. */
static void half_closed(int family)
{
    int ends[2], other[2];
    factory_connection(family, ends);
    factory_pipe(other);
    if (factory_child() == 0) {
        close(ends[0]);
        close(other[1]);
        while (factory_get(ends[1]))
            ;
        _exit(factory_get(other[0]));
    }
    close(ends[1]);
    shutdown(ends[0], SHUT_WR);
    factory_ready();
    if (factory_get(ends[0]))
        close(other[1]);
}
static void unix_half_closed(void)
{
    half_closed(AF_UNIX);
}
static void tcp_half_closed(void)
{
    half_closed(AF_INET);
}

static void unix_own_ends(void)
{
    int ends[2];
    factory_socket_pair(SOCK_STREAM, ends);
    factory_ready();
    factory_get(ends[0]);
    close(ends[1]);
}

static void unix_three(void)
{
    int ends[3][2];
    for (int i = 0; i < 3; i++)
        factory_socket_pair(SOCK_STREAM, ends[i]);
    for (int i = 1; i <= 3; i++) {
        if (i < 3 && factory_child() != 0)
            continue;
        for (int k = 0; k < 3; k++) { /* i reads from the one before and would write to the one after */
            if (k != i % 3)
                close(ends[k][0]);
            if (k != (i + 1) % 3)
                close(ends[k][1]);
        }
        if (i == 3)
            factory_ready();
        if (factory_get(ends[i % 3][0]))
            factory_put(ends[(i + 1) % 3][1]);
        _exit(0);
    }
}

/* The peer is held by a grandchild whose parent has ended; it waits for its grandparent. */
static void grandchild(bool adopted)
{
    int ends[2], other[2];
    prctl(PR_SET_CHILD_SUBREAPER, adopted);
    factory_socket_pair(SOCK_STREAM, ends);
    factory_pipe(other);
    pid_t pid = factory_child();
    if (pid == 0) {
        if (fork())
            _exit(0);
        close(ends[0]);
        close(other[1]);
        _exit(factory_get(other[0]));
    }
    close(ends[1]);
    waitpid(pid, NULL, 0);
    factory_ready();
    if (factory_get(ends[0]))
        factory_put(other[1]);
}
static void unix_grandchild(void)
{
    grandchild(true);
}
static void unix_daemon(void)
{
    grandchild(false);
}

/* ---- many descriptors ---- */

static void loop_for(int fd, uint32_t events)
{
    struct epoll_event event = {.events = events};
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event))
        factory_die("epoll");
    for (;;)
        if (epoll_pwait(set, &event, 1, -1, NULL) > 0 && event.events & EPOLLIN && !factory_get(fd))
            return;
}
static void loop_on(int fd)
{
    loop_for(fd, EPOLLIN | EPOLLRDHUP);
}
/* That there is room is told once, and waited for no more. */
static void edge_loop_on(int fd)
{
    loop_for(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}
static void unix_loops(void)
{
    int ends[2];
    factory_socket_pair(SOCK_STREAM, ends);
    factory_apart(ends, loop_on, loop_on);
}
static void tcp_loops(void)
{
    int ends[2];
    factory_connection(AF_INET, ends);
    factory_apart(ends, loop_on, loop_on);
}
static void tcp_edge_loops(void)
{
    int ends[2];
    factory_connection(AF_INET, ends);
    factory_apart(ends, edge_loop_on, edge_loop_on);
}
static void tcp_edge_loop_served(void)
{
    int ends[2];
    factory_connection(AF_INET, ends);
    factory_apart(ends, edge_loop_on, factory_answer_slowly);
}
static void tcp_loop_served(void)
{
    int ends[2];
    factory_connection(AF_INET, ends);
    factory_apart(ends, loop_on, factory_answer_slowly);
}

/* A pipe of its own, a socket and a TCP connection: the child has the other ends and waits for its parent. */
static void poll_mixed(bool healthy)
{
    int own[2], un[2], tcp[2];
    factory_pipe(own);
    factory_socket_pair(SOCK_STREAM, un);
    factory_connection(AF_INET, tcp);
    if (factory_child() == 0) {
        close(own[0]);
        close(own[1]);
        close(un[0]);
        close(tcp[0]);
        if (healthy)
            factory_answer_slowly(tcp[1]);
        factory_get(un[1]);
        _exit(0);
    }
    close(un[1]);
    close(tcp[1]);
    struct pollfd fds[3] = {
        {.fd = own[0], .events = POLLIN}, {.fd = un[0], .events = POLLIN}, {.fd = tcp[0], .events = POLLIN}};
    factory_ready();
    while (poll(fds, 3, -1) > 0)
        factory_get(tcp[0]);
}
static void mixed(void)
{
    poll_mixed(false);
}
static void mixed_served(void)
{
    poll_mixed(true);
}

/* ---- time limits, and others who may end it ---- */

static void limit(int fd, int option, long ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    if (setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv)))
        factory_die("setsockopt");
}
static void receive_limit(void)
{
    int ends[2];
    factory_socket_pair(SOCK_STREAM, ends);
    limit(ends[0], SO_RCVTIMEO, FACTORY_LONG_MS);
    factory_ready();
    for (;;)
        factory_get(ends[0]);
}
static void send_limit(void)
{
    int ends[2];
    factory_socket_pair(SOCK_STREAM, ends);
    limit(ends[0], SO_SNDTIMEO, FACTORY_LONG_MS);
    factory_ready();
    for (;;)
        factory_fill(ends[0]);
}
/* The connection is given up when what was sent is not taken for a while (TCP_USER_TIMEOUT). */
static void tcp_user_limit(void)
{
    int other[2], ends[2], ms = 300;
    factory_pipe(other);
    signal(SIGPIPE, SIG_IGN);
    factory_ready();
    for (;;) {
        factory_connection(AF_INET, ends);
        pid_t pid = factory_child();
        if (pid == 0) {
            close(ends[0]);
            close(other[1]);
            _exit(factory_get(other[0]));
        }
        close(ends[1]);
        setsockopt(ends[0], IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
        factory_fill(ends[0]);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(ends[0]);
    }
}
/* Nobody else has the peer, but a child has the very socket that is read, and shuts it down. */
static void shut_down_by_another(void)
{
    int ends[2];
    factory_ready();
    for (;;) {
        factory_socket_pair(SOCK_STREAM, ends);
        pid_t pid = factory_child();
        if (pid == 0) {
            close(ends[1]);
            factory_nap(FACTORY_LONG_MS);
            shutdown(ends[0], SHUT_RDWR);
            _exit(0);
        }
        factory_get(ends[0]);
        waitpid(pid, NULL, 0);
        close(ends[0]);
        close(ends[1]);
    }
}
/* The peer is killed: the end is read. */
static void peer_killed(void)
{
    int ends[2];
    factory_ready();
    for (;;) {
        factory_connection(AF_INET, ends);
        pid_t pid = factory_child();
        if (pid == 0) {
            close(ends[0]);
            factory_nap(FACTORY_LONG_MS);
            raise(SIGKILL);
        }
        close(ends[1]);
        factory_get(ends[0]);
        waitpid(pid, NULL, 0);
        close(ends[0]);
    }
}

const struct factory_case factory_socket[] = {
    {"unix-both-read", unix_both_read, false},
    {"tcp-both-read", tcp_both_read, false},
    {"tcp6-both-read", tcp6_both_read, false},
    {"tcp-mapped-both-read", tcp_mapped_both_read, false},
    {"unix-both-write", unix_both_write, false},
    {"tcp-both-write", tcp_both_write, false},
    {"unix-half-request", unix_half_request, false},
    {"tcp-half-request", tcp_half_request, false},
    {"unix-half-closed", unix_half_closed, false},
    {"tcp-half-closed", tcp_half_closed, false},
    {"unix-own-ends", unix_own_ends, false},
    {"unix-three", unix_three, false},
    {"unix-grandchild", unix_grandchild, false},
    {"unix-daemon", unix_daemon, false},
    {"unix-loops", unix_loops, false},
    {"tcp-loops", tcp_loops, false},
    {"mixed", mixed, false},
    {"unix-other-network", unix_other_network, false},
    {"tcp-other-network", tcp_other_network, false},
    {"tcp-keep-alive", tcp_keep_alive, false},
    {"udp-both-read", udp_both_read, false},
    {"unix-served", unix_served, true},
    {"tcp-served", tcp_served, true},
    {"unix-slow-reader", unix_slow_reader, true},
    {"tcp-slow-reader", tcp_slow_reader, true},
    {"tcp-edge-loops", tcp_edge_loops, false},
    {"tcp-edge-loop-served", tcp_edge_loop_served, true},
    {"tcp-loop-served", tcp_loop_served, true},
    {"mixed-served", mixed_served, true},
    {"receive-limit", receive_limit, true},
    {"send-limit", send_limit, true},
    {"tcp-user-limit", tcp_user_limit, true},
    {"shut-down-by-another", shut_down_by_another, true},
    {"peer-killed", peer_killed, true},
    {NULL, NULL, false},
};
