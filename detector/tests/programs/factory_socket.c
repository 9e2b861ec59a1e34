/* Cases of the factory: UNIX sockets and TCP on this machine. */
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

/* Longer than a look takes, so that nothing moves in most of them: what lives has to be told from what stands still. */
#define SLOW_MS 150

static char byte;

static void pair(int type, int ends[2])
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends))
        factory_die("socketpair");
}

static int get(int fd)
{
    return read(fd, &byte, 1) == 1;
}
static int put(int fd)
{
    return write(fd, "x", 1) == 1;
}
static void answer_slowly(int fd)
{
    for (;;) {
        factory_nap(SLOW_MS);
        if (!put(fd))
            _exit(0);
    }
}

/* A listening socket and its address: an abstract name of this process's own, or a port of the loopback. */
struct place {
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } at;
    socklen_t size;
    int fd;
};

static void place(struct place *p, int family, int type)
{
    memset(p, 0, sizeof(*p));
    p->at.any.sa_family = (sa_family_t)family;
    p->fd = socket(family, type | SOCK_CLOEXEC, 0);
    p->size = family == AF_UNIX ? sizeof(sa_family_t) : family == AF_INET ? sizeof(p->at.in) : sizeof(p->at.in6);
    if (family == AF_INET)
        p->at.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (family == AF_INET6)
        p->at.in6.sin6_addr = in6addr_loopback;
    /* Without a name the kernel chooses an abstract one (unix(7), autobind). */
    if (p->fd < 0 || bind(p->fd, &p->at.any, p->size) || (type == SOCK_STREAM && listen(p->fd, 1)))
        factory_die("listen");
    p->size = sizeof(p->at);
    if (getsockname(p->fd, &p->at.any, &p->size))
        factory_die("getsockname");
}

static int to(const struct place *p, int type)
{
    int fd = socket(p->at.any.sa_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, &p->at.any, p->size))
        factory_die("connect");
    return fd;
}

/* Both ends of a new connection. */
static void connection(int family, int ends[2])
{
    struct place p;
    if (family == AF_UNIX) {
        pair(SOCK_STREAM, ends);
        return;
    }
    place(&p, family, SOCK_STREAM);
    ends[0] = to(&p, SOCK_STREAM);
    ends[1] = accept(p.fd, NULL, NULL);
    if (ends[1] < 0)
        factory_die("accept");
    close(p.fd);
}

/* A client that speaks IPv4 through an IPv6 socket. */
static void mapped(int ends[2])
{
    struct place p;
    place(&p, AF_INET, SOCK_STREAM);
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

static void apart(const int ends[2], void (*parent)(int fd), void (*child)(int fd))
{
    if (factory_child() == 0) {
        close(ends[0]);
        child(ends[1]);
        _exit(0);
    }
    close(ends[1]);
    factory_ready();
    parent(ends[0]);
}

static void get_one(int fd)
{
    get(fd);
}
static void get_all(int fd)
{
    while (get(fd))
        ;
}
static void get_slowly(int fd)
{
    char block[65536];
    do
        factory_nap(SLOW_MS);
    while (read(fd, block, sizeof(block)) > 0);
}

static void both_read(int family)
{
    int ends[2];
    connection(family, ends);
    apart(ends, get_one, get_one);
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
    apart(ends, get_one, get_one);
}
static void tcp_served(void)
{
    int ends[2];
    connection(AF_INET, ends);
    apart(ends, get_all, answer_slowly);
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
    connection(AF_INET, ends);
    if (setsockopt(ends[0], SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)))
        factory_die("setsockopt");
    apart(ends, get_one, get_one);
}
/* Each has connected a socket to the other's, and each waits. */
static void udp_both_read(void)
{
    struct place a, b;
    place(&a, AF_INET, SOCK_DGRAM);
    place(&b, AF_INET, SOCK_DGRAM);
    if (connect(a.fd, &b.at.any, b.size) || connect(b.fd, &a.at.any, a.size))
        factory_die("connect");
    apart((int[2]){a.fd, b.fd}, get_one, get_one);
}
static void unix_served(void)
{
    int ends[2];
    connection(AF_UNIX, ends);
    apart(ends, get_all, answer_slowly);
}

static void unix_both_write(void)
{
    int ends[2];
    pair(SOCK_SEQPACKET, ends);
    apart(ends, factory_fill, factory_fill);
}
static void tcp_both_write(void)
{
    int ends[2];
    connection(AF_INET, ends);
    apart(ends, factory_fill, factory_fill);
}
static void tcp_slow_reader(void)
{
    int ends[2];
    connection(AF_INET, ends);
    apart(ends, factory_fill, get_slowly);
}
static void unix_slow_reader(void)
{
    int ends[2];
    connection(AF_UNIX, ends);
    apart(ends, factory_fill, get_slowly);
}

/* The request came in part: whoever serves it waits for the rest, whoever asked waits for the answer. */
static void ask_half(int fd)
{
    if (put(fd))
        get(fd);
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
    pair(SOCK_STREAM, ends);
    apart(ends, ask_half, want_two);
}
static void tcp_half_request(void)
{
    int ends[2];
    connection(AF_INET, ends);
    apart(ends, ask_half, want_two);
}

/* The client says that it has no more to say and waits for the answer; the server, at the end, waits for the client in
 * another place. */
static void half_closed(int family)
{
    int ends[2], other[2];
    connection(family, ends);
    factory_pipe(other);
    if (factory_child() == 0) {
        close(ends[0]);
        close(other[1]);
        while (get(ends[1]))
            ;
        _exit(get(other[0]));
    }
    close(ends[1]);
    shutdown(ends[0], SHUT_WR);
    factory_ready();
    if (get(ends[0]))
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
    pair(SOCK_STREAM, ends);
    factory_ready();
    get(ends[0]);
    close(ends[1]);
}

static void unix_three(void)
{
    int ends[3][2];
    for (int i = 0; i < 3; i++)
        pair(SOCK_STREAM, ends[i]);
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
        if (get(ends[i % 3][0]))
            put(ends[(i + 1) % 3][1]);
        _exit(0);
    }
}

/* The peer is held by a grandchild whose parent has ended; it waits for its grandparent. */
static void grandchild(bool adopted)
{
    int ends[2], other[2];
    prctl(PR_SET_CHILD_SUBREAPER, adopted);
    pair(SOCK_STREAM, ends);
    factory_pipe(other);
    pid_t pid = factory_child();
    if (pid == 0) {
        if (fork())
            _exit(0);
        close(ends[0]);
        close(other[1]);
        _exit(get(other[0]));
    }
    close(ends[1]);
    waitpid(pid, NULL, 0);
    factory_ready();
    if (get(ends[0]))
        put(other[1]);
}
static void unix_grandchild(void)
{
    grandchild(true);
}
static void unix_daemon(void)
{
    grandchild(false);
}

/* ---- datagrams ---- */

/* The receiver waits for the sender in another place. */
static void datagrams(int by, int other_read, int other_write, int receiver)
{
    char block[64] = {0};
    if (factory_child() == 0) {
        close(other_write);
        _exit(get(other_read));
    }
    close(receiver);
    factory_ready();
    while (write(by, block, sizeof(block)) > 0)
        ;
    put(other_write);
}
static void dgram_pair_full(void)
{
    int ends[2], other[2];
    pair(SOCK_DGRAM, ends);
    factory_pipe(other);
    datagrams(ends[0], other[0], other[1], ends[1]);
}
static void dgram_name_full(void)
{
    int other[2];
    struct place p;
    place(&p, AF_UNIX, SOCK_DGRAM);
    int by = to(&p, SOCK_DGRAM);
    factory_pipe(other);
    datagrams(by, other[0], other[1], p.fd);
}
/* The same, not connected: the address stands in the call. */
static void dgram_to_full(void)
{
    int other[2], by = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct place p;
    factory_pipe(other);
    place(&p, AF_UNIX, SOCK_DGRAM);
    if (factory_child() == 0) {
        close(other[1]);
        _exit(get(other[0]));
    }
    close(p.fd);
    factory_ready();
    while (sendto(by, "x", 1, 0, &p.at.any, p.size) > 0)
        ;
    put(other[1]);
}
static void dgram_slow_reader(void)
{
    int ends[2];
    pair(SOCK_DGRAM, ends);
    apart(ends, factory_fill, get_slowly);
}
/* The kernel does not tell a reader of datagrams that its peer has gone. */
static void dgram_peer_gone(void)
{
    int ends[2];
    pair(SOCK_DGRAM, ends);
    pid_t pid = factory_child();
    if (pid == 0)
        for (;;)
            pause();
    close(ends[1]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    factory_ready();
    get(ends[0]);
}
/* Nobody but the reader has the socket, and a child that has not sends to its name. */
static void by_name(int family)
{
    struct place p;
    place(&p, family, SOCK_DGRAM);
    if (factory_child() == 0) {
        close(p.fd);
        for (;;) {
            factory_nap(SLOW_MS);
            int fd = to(&p, SOCK_DGRAM);
            if (!put(fd))
                _exit(0);
            close(fd);
        }
    }
    factory_ready();
    get_all(p.fd);
}
static void dgram_by_name(void)
{
    by_name(AF_UNIX);
}
static void udp_by_address(void)
{
    by_name(AF_INET);
}

/* ---- connecting ---- */

/* The queue of a listening socket is full, and who would accept waits for the one that wants to connect. */
static void connect_to(bool healthy)
{
    struct place p;
    int other[2];
    place(&p, AF_UNIX, SOCK_STREAM);
    factory_pipe(other);
    if (factory_child() == 0) {
        close(other[1]);
        while (healthy) {
            factory_nap(SLOW_MS);
            close(accept(p.fd, NULL, NULL));
        }
        _exit(get(other[0]));
    }
    close(p.fd);
    factory_ready();
    for (;;) {
        int fd = to(&p, SOCK_STREAM);
        if (healthy && fd > 100)
            for (int i = 0; i < 50; i++)
                close(fd - i);
    }
}
static void unix_backlog_full(void)
{
    connect_to(false);
}
static void unix_backlog_slow(void)
{
    connect_to(true);
}

/* Connected, and never accepted: the answer would have to come from whoever has the listening socket. */
static void not_accepted(int family, bool healthy)
{
    struct place p;
    int other[2];
    place(&p, family, SOCK_STREAM);
    factory_pipe(other);
    if (factory_child() == 0) {
        close(other[1]);
        if (!healthy)
            _exit(get(other[0]));
        for (;;) {
            factory_nap(SLOW_MS);
            int fd = accept(p.fd, NULL, NULL);
            if (!put(fd))
                _exit(0);
            close(fd);
        }
    }
    close(p.fd);
    factory_ready();
    do {
        int fd = to(&p, SOCK_STREAM);
        if (put(fd))
            get(fd);
        close(fd);
    } while (healthy);
    put(other[1]);
}
static void unix_not_accepted(void)
{
    not_accepted(AF_UNIX, false);
}
static void tcp_not_accepted(void)
{
    not_accepted(AF_INET, false);
}
static void unix_accepted_late(void)
{
    not_accepted(AF_UNIX, true);
}
static void tcp_accepted_late(void)
{
    not_accepted(AF_INET, true);
}

/* Connecting by TCP has a limit of time of the kernel's. */
static void tcp_backlog_full(void)
{
    struct place p;
    int other[2];
    place(&p, AF_INET, SOCK_STREAM);
    factory_pipe(other);
    if (factory_child() == 0) {
        close(other[1]);
        _exit(get(other[0]));
    }
    factory_ready();
    for (;;)
        to(&p, SOCK_STREAM);
}

/* A server of the tree in accept, and a client that comes when it likes: anybody else could as well. */
static void unix_accept(void)
{
    struct place p;
    place(&p, AF_UNIX, SOCK_STREAM);
    factory_ready();
    for (;;)
        close(accept(p.fd, NULL, NULL));
}

/* ---- many descriptors ---- */

static void loop_for(int fd, uint32_t events)
{
    struct epoll_event event = {.events = events};
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event))
        factory_die("epoll");
    for (;;)
        if (epoll_pwait(set, &event, 1, -1, NULL) > 0 && event.events & EPOLLIN && !get(fd))
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
    pair(SOCK_STREAM, ends);
    apart(ends, loop_on, loop_on);
}
static void tcp_loops(void)
{
    int ends[2];
    connection(AF_INET, ends);
    apart(ends, loop_on, loop_on);
}
static void tcp_edge_loops(void)
{
    int ends[2];
    connection(AF_INET, ends);
    apart(ends, edge_loop_on, edge_loop_on);
}
static void tcp_edge_loop_served(void)
{
    int ends[2];
    connection(AF_INET, ends);
    apart(ends, edge_loop_on, answer_slowly);
}
static void tcp_loop_served(void)
{
    int ends[2];
    connection(AF_INET, ends);
    apart(ends, loop_on, answer_slowly);
}

/* A pipe of its own, a socket and a TCP connection: the child has the other ends and waits for its parent. */
static void poll_mixed(bool healthy)
{
    int own[2], un[2], tcp[2];
    factory_pipe(own);
    pair(SOCK_STREAM, un);
    connection(AF_INET, tcp);
    if (factory_child() == 0) {
        close(own[0]);
        close(own[1]);
        close(un[0]);
        close(tcp[0]);
        if (healthy)
            answer_slowly(tcp[1]);
        get(un[1]);
        _exit(0);
    }
    close(un[1]);
    close(tcp[1]);
    struct pollfd fds[3] = {
        {.fd = own[0], .events = POLLIN}, {.fd = un[0], .events = POLLIN}, {.fd = tcp[0], .events = POLLIN}};
    factory_ready();
    while (poll(fds, 3, -1) > 0)
        get(tcp[0]);
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
    pair(SOCK_STREAM, ends);
    limit(ends[0], SO_RCVTIMEO, SLOW_MS);
    factory_ready();
    for (;;)
        get(ends[0]);
}
static void send_limit(void)
{
    int ends[2];
    pair(SOCK_STREAM, ends);
    limit(ends[0], SO_SNDTIMEO, SLOW_MS);
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
        connection(AF_INET, ends);
        pid_t pid = factory_child();
        if (pid == 0) {
            close(ends[0]);
            close(other[1]);
            _exit(get(other[0]));
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
        pair(SOCK_STREAM, ends);
        pid_t pid = factory_child();
        if (pid == 0) {
            close(ends[1]);
            factory_nap(SLOW_MS);
            shutdown(ends[0], SHUT_RDWR);
            _exit(0);
        }
        get(ends[0]);
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
        connection(AF_INET, ends);
        pid_t pid = factory_child();
        if (pid == 0) {
            close(ends[0]);
            factory_nap(SLOW_MS);
            raise(SIGKILL);
        }
        close(ends[1]);
        get(ends[0]);
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
    {"dgram-pair-full", dgram_pair_full, false},
    {"dgram-name-full", dgram_name_full, false},
    {"dgram-to-full", dgram_to_full, false},
    {"dgram-peer-gone", dgram_peer_gone, false},
    {"unix-backlog-full", unix_backlog_full, false},
    {"unix-not-accepted", unix_not_accepted, false},
    {"tcp-not-accepted", tcp_not_accepted, false},
    {"unix-loops", unix_loops, false},
    {"tcp-loops", tcp_loops, false},
    {"mixed", mixed, false},
    {"unix-other-network", unix_other_network, false},
    {"tcp-other-network", tcp_other_network, false},
    {"tcp-keep-alive", tcp_keep_alive, false},
    {"udp-both-read", udp_both_read, false},
    {"udp-by-address", udp_by_address, true},
    {"tcp-backlog-full", tcp_backlog_full, true},
    {"unix-served", unix_served, true},
    {"tcp-served", tcp_served, true},
    {"unix-slow-reader", unix_slow_reader, true},
    {"tcp-slow-reader", tcp_slow_reader, true},
    {"dgram-slow-reader", dgram_slow_reader, true},
    {"dgram-by-name", dgram_by_name, true},
    {"unix-backlog-slow", unix_backlog_slow, true},
    {"unix-accepted-late", unix_accepted_late, true},
    {"tcp-accepted-late", tcp_accepted_late, true},
    {"unix-accept", unix_accept, true},
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
