/* Cases of the factory: pipes in the hands of poll, epoll and splice, and descriptors that travel in messages. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

/* Longer than a look takes, so that nothing moves in most of them: what lives has to be told from what stands still. */
#define SLOW_MS 150

static char byte;

static void pair(int type, int ends[2])
{
    if (socketpair(AF_UNIX, type, 0, ends))
        factory_die("socketpair");
}

void factory_send_end(int by, int end)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &end, sizeof(end));
    if (sendmsg(by, &msg, 0) != 1)
        factory_die("sendmsg");
}

int factory_receive_end(int by)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    int end = -1;
    if (recvmsg(by, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
        _exit(0);
    memcpy(&end, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(end));
    return end;
}

/* A write end lies in a message that a child will take in a moment. Nobody but the reader is seen to have one. */
static void end_in_message(void)
{
    int by[2], ends[2];
    pair(SOCK_STREAM, by);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(SLOW_MS);
            int end = factory_receive_end(by[1]);
            if (write(end, "x", 1) != 1)
                _exit(0);
            close(end);
        }
    factory_pipe(ends);
    factory_ready();
    do
        factory_send_end(by[0], ends[1]);
    while (read(ends[0], &byte, 1) == 1);
}

/* The same, and whoever could take it waits for the reader. */
static void end_in_message_for_nobody(void)
{
    int by[2], ends[2], other[2];
    pair(SOCK_SEQPACKET, by);
    factory_pipe(other);
    if (factory_child() == 0) {
        close(other[1]);
        _exit(read(other[0], &byte, 1) == 1);
    }
    close(by[1]);
    factory_pipe(ends);
    factory_send_end(by[0], ends[1]);
    factory_ready();
    if (read(ends[0], &byte, 1) == 1 && write(other[1], "x", 1) == 1)
        return;
}

/* Two children hand a write end to each other all the time, and write now and then: whoever looks at one after the
 * other may meet it with neither. */
static void end_going_round(void)
{
    int by[2], ends[2];
    pair(SOCK_STREAM, by);
    pid_t other = getpid();
    if (factory_child() == 0)
        other = 0;
    if (other == 0 || factory_child() == 0) {
        int mine = by[other == 0], round = 0;
        close(by[other != 0]);
        for (;;) {
            int end = factory_receive_end(mine);
            if (++round % 1000000 == 0 && write(end, "x", 1) != 1)
                _exit(0);
            factory_send_end(mine, end);
            close(end);
        }
    }
    factory_pipe(ends);
    factory_send_end(by[0], ends[1]);
    close(by[0]);
    close(by[1]);
    factory_ready();
    while (read(ends[0], &byte, 1) == 1)
        ;
}

/* To a name, from a socket that is closed by then: in a datagram, or on a connection that nobody has accepted yet. */
static void end_to_name(int type)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(at);
    /* Where nobody else's hang is, if that may be: a message of unknown origin makes all others on a machine evident. */
    if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
        errno = 0;
    int ends[2], named = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (named < 0 || bind(named, (struct sockaddr *)&at, sizeof(sa_family_t)) ||
        (type == SOCK_STREAM && listen(named, 4)) || getsockname(named, (struct sockaddr *)&at, &size))
        factory_die("bind");
    if (factory_child() == 0)
        for (;;) {
            factory_nap(SLOW_MS);
            int from = type == SOCK_STREAM ? accept(named, NULL, NULL) : dup(named), end = factory_receive_end(from);
            close(from);
            if (write(end, "x", 1) != 1)
                _exit(0);
            close(end);
        }
    close(named);
    factory_pipe(ends);
    factory_ready();
    do {
        int by = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        if (by < 0 || connect(by, (struct sockaddr *)&at, size))
            factory_die("connect");
        factory_send_end(by, ends[1]);
        close(by);
    } while (read(ends[0], &byte, 1) == 1);
}
static void end_in_datagram(void)
{
    end_to_name(SOCK_DGRAM);
}
static void end_not_accepted(void)
{
    end_to_name(SOCK_STREAM);
}

/* The parent polls for room in a pipe whose reader waits for an answer to what did not fit. */
static void request_until_full(bool healthy)
{
    int there[2], back[2];
    char block[4096] = {0};
    factory_pipe(there);
    factory_pipe(back);
    if (factory_child() == 0) {
        close(there[1]);
        close(back[1]);
        for (;;) {
            if (healthy)
                factory_nap(SLOW_MS);
            else if (read(back[0], &byte, 1) != 1)
                _exit(0);
            if (read(there[0], block, sizeof(block)) < 1)
                _exit(0);
        }
    }
    close(there[0]);
    close(back[0]);
    fcntl(there[1], F_SETFL, O_NONBLOCK);
    struct pollfd fds[2] = {{.fd = there[1], .events = POLLOUT}, {.fd = back[1], .events = POLLPRI}};
    while (write(there[1], block, sizeof(block)) > 0)
        ;
    factory_ready();
    while (poll(fds, 2, -1) > 0)
        while (write(there[1], block, sizeof(block)) > 0)
            ;
}
static void poll_for_room(void)
{
    request_until_full(false);
}
static void poll_for_slow_reader(void)
{
    request_until_full(true);
}

/* A child that is alive can read from the pipe, as its reader can, and nobody can write. */
static void other_readers_only(void)
{
    int ends[2], mine[2];
    factory_pipe(mine);
    int set = dup(mine[0]);
    if (factory_child() == 0) {
        close(mine[1]);
        for (;;)
            factory_nap(SLOW_MS);
    }
    factory_pipe(ends);
    fd_set reads, writes;
    FD_ZERO(&reads);
    FD_ZERO(&writes);
    FD_SET(set, &reads);
    FD_SET(ends[0], &reads);
    factory_ready();
    select(FD_SETSIZE, &reads, NULL, NULL, NULL);
}

static int epoll_of(int fd, unsigned events)
{
    int set = epoll_create1(0);
    struct epoll_event event = {.events = events};
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event))
        factory_die("epoll");
    return set;
}

static void wait_on(int set)
{
    struct epoll_event event;
    while (epoll_pwait(set, &event, 1, -1, NULL) < 0)
        ;
}

static void write_now_and_then(int fd)
{
    for (;;) {
        factory_nap(SLOW_MS);
        if (write(fd, "x", 1) != 1)
            _exit(0);
    }
}

/* A writer that writes all the time; its reader switched the member off (EPOLLONESHOT) and never on again. */
static void one_shot(bool again)
{
    int ends[2];
    factory_pipe(ends);
    if (factory_child() == 0)
        write_now_and_then(ends[1]);
    int set = epoll_of(ends[0], EPOLLIN | EPOLLONESHOT);
    wait_on(set);
    factory_ready();
    do {
        struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
        if (again && (read(ends[0], &byte, 1) != 1 || epoll_ctl(set, EPOLL_CTL_MOD, ends[0], &event)))
            return;
        wait_on(set);
    } while (again);
}
static void one_shot_over(void)
{
    one_shot(false);
}
static void one_shot_again(void)
{
    one_shot(true);
}

/* The bytes that came were told once (EPOLLET) and not read; the child waits for an answer to them. */
static void edge_missed(bool healthy)
{
    int there[2], back[2];
    factory_pipe(there);
    factory_pipe(back);
    if (factory_child() == 0) {
        close(there[0]);
        close(back[1]);
        for (;;) {
            if (write(there[1], "xx", 2) != 2)
                _exit(0);
            if (healthy)
                factory_nap(SLOW_MS);
            else if (read(back[0], &byte, 1) != 1)
                _exit(0);
        }
    }
    close(there[1]);
    int set = epoll_of(there[0], EPOLLIN | EPOLLET);
    wait_on(set);
    if (read(there[0], &byte, 1) != 1)
        return;
    factory_ready();
    for (;;)
        wait_on(set);
}
static void edge_taken_for_level(void)
{
    edge_missed(false);
}
static void edges(void)
{
    edge_missed(true);
}

static void epoll_in_epoll(void)
{
    int ends[2];
    factory_pipe(ends);
    int set = epoll_of(epoll_of(epoll_of(ends[0], EPOLLIN), EPOLLIN), EPOLLIN);
    factory_ready();
    wait_on(set);
}
static void epoll_in_epoll_served(void)
{
    int ends[2];
    factory_pipe(ends);
    if (factory_child() == 0)
        write_now_and_then(ends[1]);
    close(ends[1]);
    int set = epoll_of(epoll_of(ends[0], EPOLLIN), EPOLLIN);
    factory_ready();
    for (;;) {
        wait_on(set);
        if (read(ends[0], &byte, 1) != 1)
            return;
    }
}

/* Nobody can write into what the set watches, but the child has the set too, and adds a pipe that is ready. */
static void epoll_shared(void)
{
    int ends[2];
    factory_pipe(ends);
    int set = epoll_of(ends[0], EPOLLIN);
    if (factory_child() == 0) {
        int ready[2];
        struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
        close(ends[0]);
        close(ends[1]);
        factory_pipe(ready);
        if (write(ready[1], "x", 1) != 1)
            _exit(0);
        for (;;) {
            factory_nap(SLOW_MS);
            epoll_ctl(set, EPOLL_CTL_ADD, ready[0], &event);
            factory_nap(SLOW_MS);
            epoll_ctl(set, EPOLL_CTL_DEL, ready[0], &event);
        }
    }
    factory_ready();
    for (;;)
        wait_on(set);
}

/* What the set watches was closed here and lives in the child alone, which writes. The number stands for another. */
static void epoll_member_elsewhere(void)
{
    int ends[2], unused[2];
    factory_pipe(unused);
    factory_pipe(ends);
    int set = epoll_of(ends[0], EPOLLIN | EPOLLET);
    if (factory_child() == 0) {
        close(set);
        close(unused[0]);
        close(unused[1]);
        write_now_and_then(ends[1]);
    }
    close(ends[1]);
    dup2(unused[0], ends[0]);
    factory_ready();
    for (;;)
        wait_on(set);
}

static void splice_own_pipe(void)
{
    int from[2], to[2];
    factory_pipe(from);
    factory_pipe(to);
    factory_ready();
    splice(from[0], NULL, to[1], NULL, 4096, 0);
}
/* A FIFO of which the process has both ends, as long as its name is there for a child to open. */
static void fifo(bool opened)
{
    char name[64];
    snprintf(name, sizeof(name), "/tmp/wedge-factory-%d", (int)getpid());
    if (mkfifo(name, 0600))
        factory_die("mkfifo");
    int fd = open(name, O_RDWR | O_CLOEXEC);
    if (opened && factory_child() == 0) {
        close(fd);
        factory_nap(50);
        fd = open(name, O_WRONLY | O_CLOEXEC);
        unlink(name);
        write_now_and_then(fd);
    }
    if (!opened)
        unlink(name);
    factory_ready();
    while (read(fd, &byte, 1) == 1)
        ;
}
static void fifo_without_name(void)
{
    fifo(false);
}
static void fifo_opened_late(void)
{
    fifo(true);
}
static void splice_served(void)
{
    int from[2], to = open("/dev/null", O_WRONLY | O_CLOEXEC);
    factory_pipe(from);
    if (factory_child() == 0)
        write_now_and_then(from[1]);
    factory_ready();
    while (splice(from[0], NULL, to, NULL, 4096, 0) > 0)
        ;
}

const struct factory_case factory_descriptor[] = {
    {"end-in-message", end_in_message, true},
    {"end-going-round", end_going_round, true},
    {"end-in-datagram", end_in_datagram, true},
    {"end-not-accepted", end_not_accepted, true},
    {"end-in-message-for-nobody", end_in_message_for_nobody, false},
    {"poll-for-room", poll_for_room, false},
    {"poll-for-slow-reader", poll_for_slow_reader, true},
    {"other-readers-only", other_readers_only, false},
    {"one-shot-over", one_shot_over, false},
    {"one-shot-again", one_shot_again, true},
    {"edge-taken-for-level", edge_taken_for_level, false},
    {"edges", edges, true},
    {"epoll-in-epoll", epoll_in_epoll, false},
    {"epoll-in-epoll-served", epoll_in_epoll_served, true},
    {"epoll-shared", epoll_shared, true},
    {"epoll-member-elsewhere", epoll_member_elsewhere, true},
    {"splice-own-pipe", splice_own_pipe, false},
    {"splice-served", splice_served, true},
    {"fifo-without-name", fifo_without_name, false},
    {"fifo-opened-late", fifo_opened_late, true},
    {NULL, NULL, false},
};
