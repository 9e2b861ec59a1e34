/* Cases of the factory: datagrams, and connections that nobody accepts. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"
#include "detector/tests/programs/factory_ends.h"

/* ---- datagrams ---- */

/* The receiver waits for the sender in another place. */
static void datagrams(int by, int other_read, int other_write, int receiver)
{
    char block[64] = {0};
    if (factory_child() == 0) {
        close(other_write);
        _exit(factory_get(other_read));
    }
    close(receiver);
    factory_ready();
    while (write(by, block, sizeof(block)) > 0)
        ;
    factory_put(other_write);
}
static void dgram_pair_full(void)
{
    int ends[2], other[2];
    factory_socket_pair(SOCK_DGRAM, ends);
    factory_pipe(other);
    datagrams(ends[0], other[0], other[1], ends[1]);
}
static void dgram_name_full(void)
{
    int other[2];
    struct factory_place p;
    factory_listen(&p, AF_UNIX, SOCK_DGRAM);
    int by = factory_connect(&p, SOCK_DGRAM);
    factory_pipe(other);
    datagrams(by, other[0], other[1], p.fd);
}
/* The same, not connected: the address stands in the call. */
static void dgram_to_full(void)
{
    int other[2], by = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct factory_place p;
    factory_pipe(other);
    factory_listen(&p, AF_UNIX, SOCK_DGRAM);
    if (factory_child() == 0) {
        close(other[1]);
        _exit(factory_get(other[0]));
    }
    close(p.fd);
    factory_ready();
    while (sendto(by, "x", 1, 0, &p.at.any, p.size) > 0)
        ;
    factory_put(other[1]);
}
static void dgram_slow_reader(void)
{
    int ends[2];
    factory_socket_pair(SOCK_DGRAM, ends);
    factory_apart(ends, factory_fill, factory_get_slowly);
}
/* The kernel does not tell a reader of datagrams that its peer has gone. */
static void dgram_peer_gone(void)
{
    int ends[2];
    factory_socket_pair(SOCK_DGRAM, ends);
    pid_t pid = factory_child();
    if (pid == 0)
        for (;;)
            pause();
    close(ends[1]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    factory_ready();
    factory_get(ends[0]);
}
/* Nobody but the reader has the socket, and a child that has not sends to its name. */
static void by_name(int family)
{
    struct factory_place p;
    factory_listen(&p, family, SOCK_DGRAM);
    if (factory_child() == 0) {
        close(p.fd);
        for (;;) {
            factory_nap(FACTORY_LONG_MS);
            int fd = factory_connect(&p, SOCK_DGRAM);
            if (!factory_put(fd))
                _exit(0);
            close(fd);
        }
    }
    factory_ready();
    factory_get_all(p.fd);
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
    struct factory_place p;
    int other[2];
    factory_listen(&p, AF_UNIX, SOCK_STREAM);
    factory_pipe(other);
    if (factory_child() == 0) {
        close(other[1]);
        while (healthy) {
            factory_nap(FACTORY_LONG_MS);
            close(accept(p.fd, NULL, NULL));
        }
        _exit(factory_get(other[0]));
    }
    close(p.fd);
    factory_ready();
    for (;;) {
        int fd = factory_connect(&p, SOCK_STREAM);
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
    struct factory_place p;
    int other[2];
    factory_listen(&p, family, SOCK_STREAM);
    factory_pipe(other);
    if (factory_child() == 0) {
        close(other[1]);
        if (!healthy)
            _exit(factory_get(other[0]));
        for (;;) {
            factory_nap(FACTORY_LONG_MS);
            int fd = accept(p.fd, NULL, NULL);
            if (!factory_put(fd))
                _exit(0);
            close(fd);
        }
    }
    close(p.fd);
    factory_ready();
    do {
        int fd = factory_connect(&p, SOCK_STREAM);
        if (factory_put(fd))
            factory_get(fd);
        close(fd);
    } while (healthy);
    factory_put(other[1]);
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
    struct factory_place p;
    int other[2];
    factory_listen(&p, AF_INET, SOCK_STREAM);
    factory_pipe(other);
    if (factory_child() == 0) {
        close(other[1]);
        _exit(factory_get(other[0]));
    }
    factory_ready();
    for (;;)
        factory_connect(&p, SOCK_STREAM);
}

/* A server of the tree in accept, and a client that comes when it likes: anybody else could as well. */
static void unix_accept(void)
{
    struct factory_place p;
    factory_listen(&p, AF_UNIX, SOCK_STREAM);
    factory_ready();
    for (;;)
        close(accept(p.fd, NULL, NULL));
}

const struct factory_case factory_datagram[] = {
    {"dgram-pair-full", dgram_pair_full, false},
    {"dgram-name-full", dgram_name_full, false},
    {"dgram-to-full", dgram_to_full, false},
    {"dgram-peer-gone", dgram_peer_gone, false},
    {"unix-backlog-full", unix_backlog_full, false},
    {"unix-not-accepted", unix_not_accepted, false},
    {"tcp-not-accepted", tcp_not_accepted, false},
    {"udp-by-address", udp_by_address, true},
    {"tcp-backlog-full", tcp_backlog_full, true},
    {"dgram-slow-reader", dgram_slow_reader, true},
    {"dgram-by-name", dgram_by_name, true},
    {"unix-backlog-slow", unix_backlog_slow, true},
    {"unix-accepted-late", unix_accepted_late, true},
    {"tcp-accepted-late", tcp_accepted_late, true},
    {"unix-accept", unix_accept, true},
    {NULL, NULL, false},
};
