/* The tables of sockets: what a line of /proc/net/tcp may look like, and what this process's own sockets look like. */
#include "detector/kernel/sockets.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/tests/suite.h"

#define REST " 00000001:00000002 04:0000000A 00000003  1000        0 4711 2 0000000037de19eb 20 8 0 17 -1"

static const struct {
    const char *line;
    bool good;
} lines[] = {
    {"   0: 0100007F:1F90 0100007F:C350 01" REST, true},
    {"1234: 00000000000000000000000001000000:1F90 00000000000000000000000001000000:C350 01" REST, true},
    {"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", false},
    {"", false},
    {":", false},
    {"0:", false},
    {"   0: ", false},
    {"   0: 0100007F", false},
    {"   0: 0100007F:", false},
    {"   0: 0100007F:1F90", false},
    {"   0: 0100007F:1F90 ", false},
    {"   0: 0100007F:1", false},
    {"   0: 0100007F:1F9 0100007F:C350 01" REST, false},
    {"   0: 0100007F:1F90 0100007F:C350", false},
    {"   0: 0100007F:1F90 0100007F:C350 01", false},
    {"   0: 0100007F:1F90 0100007F:C350 01 00000001", false},
    {"   0: 0100007F:1F90 0100007F:C350 01 00000001:00000002 04:0000000A 00000003  1000", false},
    {"   0: 0100007F:1F90 0100007F:C350 01 00000001:00000002 04:0000000A 00000003  1000        0", false},
    {"   0: 01007F:1F90 0100007F:C350 01" REST, false},
    {"   0: 0100007F01:1F90 0100007F:C350 01" REST, false},
    {"   0: 0100007F 1F90 0100007F:C350 01" REST, false},
    {"   0: 0100007G:1F90 0100007F:C350 01" REST, false},
    {"   0: 0000000000000000000000000100000001000000:1F90 0100007F:C350 01" REST, false},
    {"   0: 0100007F:XYZW 0100007F:C350 01" REST, false},
    {"   0: 0100007F:1F90-0100007F:C350 01" REST, false},
};
#define LINES ((int)(sizeof(lines) / sizeof(lines[0])))

START_TEST(test_line)
{
    struct wedge_inet_socket s = {.inode = 42};
    ck_assert_msg(wedge_sockets_parse_inet(lines[_i].line, &s) == lines[_i].good, "%s", lines[_i].line);
    if (!lines[_i].good) {
        ck_assert_uint_eq(s.inode, 42); /* untouched */
        return;
    }
    ck_assert_uint_eq(s.inode, 4711);
    ck_assert_uint_eq(s.local.port, 0x1f90);
    ck_assert_uint_eq(s.remote.port, 0xc350);
    ck_assert_uint_eq(s.state, WEDGE_SOCKET_ESTABLISHED);
    ck_assert_uint_eq(s.tx, 1);
    ck_assert_uint_eq(s.rx, 2);
    ck_assert_uint_eq(s.timer, 4);
    if (strlen(lines[_i].line) > 150)
        ck_assert_mem_eq(s.local.address, &in6addr_loopback, 16);
    else
        ck_assert_mem_eq(s.local.address, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16);
}
END_TEST

/* What is cut off is not taken for all there is. */
START_TEST(test_answers)
{
    static const struct {
        struct nlmsghdr h;
        int32_t more;
        size_t len;
        int rc;
    } answers[] = {
        {.len = 0, .rc = 0},
        {.h = {.nlmsg_len = 16, .nlmsg_type = NLMSG_DONE}, .len = 16, .rc = 1},
        {.h = {.nlmsg_len = 16, .nlmsg_type = NLMSG_NOOP}, .len = 16, .rc = 0},
        {.h = {.nlmsg_len = 17, .nlmsg_type = NLMSG_NOOP}, .len = 17, .rc = 0}, /* no padding behind the last */
        {.h = {.nlmsg_len = 17, .nlmsg_type = NLMSG_NOOP}, .len = 16, .rc = -EBADMSG},
        {.h = {.nlmsg_len = 16, .nlmsg_type = NLMSG_NOOP}, .len = 15, .rc = -EBADMSG},
        {.h = {.nlmsg_len = 16, .nlmsg_type = NLMSG_NOOP}, .len = 18, .rc = -EBADMSG},
        {.h = {.nlmsg_len = 15, .nlmsg_type = NLMSG_DONE}, .len = 20, .rc = -EBADMSG},
        {.h = {.nlmsg_len = 0, .nlmsg_type = NLMSG_NOOP}, .len = 20, .rc = -EBADMSG},
        {.h = {.nlmsg_len = 20, .nlmsg_type = NLMSG_ERROR}, .more = -EPERM, .len = 20, .rc = -EBADMSG},
        {.h = {.nlmsg_len = 16, .nlmsg_type = SOCK_DIAG_BY_FAMILY}, .len = 16, .rc = -EBADMSG},
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct wedge_sockets sockets = {0};
        ck_assert_msg(wedge_sockets_parse_unix(&sockets, (const char *)&answers[i].h, answers[i].len) == answers[i].rc,
                      "answer %zu", i);
        ck_assert_uint_eq(sockets.n_unix, 0);
    }
}
END_TEST

static uint64_t inode(int fd)
{
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_ino;
}

static struct wedge_sockets *own(void)
{
    struct wedge_sockets *s = wedge_sockets_read(getpid(), 0);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(s->unix_error, 0);
    ck_assert_int_eq(s->inet_error, 0);
    ck_assert_uint_eq(s->namespace, wedge_sockets_namespace(getpid(), gettid()));
    return s;
}

START_TEST(test_unix)
{
    int ends[2], listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(at);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof(sa_family_t)), 0);
    ck_assert_int_eq(listen(listener, 3), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&at, size), 0);
    ck_assert_int_eq(write(ends[1], "abc", 3), 3);
    struct wedge_sockets *s = own();
    const struct wedge_unix_socket *a = wedge_sockets_unix(s, inode(ends[0])),
                                   *b = wedge_sockets_unix(s, inode(ends[1])),
                                   *l = wedge_sockets_unix(s, inode(listener)),
                                   *c = wedge_sockets_unix(s, inode(client));
    ck_assert(a && b && l && c);
    ck_assert_uint_eq(a->peer, b->inode);
    ck_assert_uint_eq(b->peer, a->inode);
    ck_assert_int_eq(a->type, SOCK_SEQPACKET);
    ck_assert_int_eq(a->state, WEDGE_SOCKET_ESTABLISHED);
    ck_assert_uint_eq(a->rqueue, 3);
    ck_assert_uint_eq(b->rqueue, 0);
    ck_assert_int_eq(l->state, WEDGE_SOCKET_LISTEN);
    ck_assert_uint_eq(l->rqueue, 1);
    ck_assert_uint_eq(l->wqueue, 3);
    ck_assert_uint_eq(l->name_len, size - sizeof(sa_family_t));
    ck_assert_mem_eq(l->name, at.sun_path, l->name_len);
    ck_assert(c->has_peer);
    ck_assert_uint_eq(c->peer, 0);
    ck_assert_ptr_eq(wedge_sockets_unix_listener(s, c->inode), l);
    ck_assert_ptr_null(wedge_sockets_unix_listener(s, a->inode));
    ck_assert_ptr_null(wedge_sockets_unix(s, 0));
    wedge_sockets_free(s);
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    s = own();
    ck_assert(wedge_sockets_unix(s, inode(ends[0]))->no_more_reads);
    wedge_sockets_free(s);
    wedge_sockets_free(NULL);
}
END_TEST

START_TEST(test_tcp)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, size), 0);
    ck_assert_int_eq(listen(listener, 3), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&at, size), 0);
    struct wedge_sockets *s = own();
    const struct wedge_inet_socket *c = wedge_sockets_inet(s, inode(client)),
                                   *l = wedge_sockets_inet(s, inode(listener));
    ck_assert(c && l && !c->udp);
    ck_assert_int_eq(l->state, WEDGE_SOCKET_LISTEN);
    const struct wedge_inet_socket *other = wedge_sockets_inet_peer(s, c);
    ck_assert_ptr_nonnull(other);
    ck_assert_uint_eq(other->inode, 0); /* nobody has accepted it */
    ck_assert_ptr_eq(wedge_sockets_inet_peer(s, other), c);
    wedge_sockets_free(s);
    int accepted = accept(listener, NULL, NULL);
    ck_assert_int_eq(write(client, "abcd", 4), 4);
    s = own();
    c = wedge_sockets_inet(s, inode(client));
    other = wedge_sockets_inet_peer(s, c);
    ck_assert_uint_eq(other->inode, inode(accepted));
    ck_assert_uint_eq(c->tx + other->rx, 4);
    wedge_sockets_free(s);
}
END_TEST

/* As many as fill a page of the table and more, one after the other: none is missed, wherever the page ends. */
START_TEST(test_many)
{
    enum { MANY = 90 };
    int sockets[MANY];
    for (int n = 0; n < MANY; n++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        sockets[n] = socket(AF_INET, _i ? SOCK_DGRAM : SOCK_STREAM, 0);
        ck_assert_int_eq(bind(sockets[n], (struct sockaddr *)&at, sizeof(at)), 0);
        ck_assert(_i || listen(sockets[n], 1) == 0);
        struct wedge_sockets *s = own();
        for (int i = 0; i <= n; i++)
            ck_assert_ptr_nonnull(wedge_sockets_inet(s, inode(sockets[i])));
        wedge_sockets_free(s);
    }
    for (int i = 0; i < MANY; i++)
        close(sockets[i]);
}
END_TEST

START_TEST(test_nobody)
{
    ck_assert_uint_eq(wedge_sockets_namespace(INT32_MAX, 0), 0);
    struct wedge_sockets *s = wedge_sockets_read(INT32_MAX, 0);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_lt(s->unix_error, 0);
    ck_assert_int_lt(s->inet_error, 0);
    ck_assert_ptr_null(wedge_sockets_unix(s, 1));
    ck_assert_ptr_null(wedge_sockets_inet(s, 1));
    wedge_sockets_free(s);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_line, 0, LINES);
    tcase_add_test(tcase, test_answers);
    tcase_add_test(tcase, test_unix);
    tcase_add_test(tcase, test_tcp);
    tcase_add_loop_test(tcase, test_many, 0, 2);
    tcase_add_test(tcase, test_nobody);
}

int main(void)
{
    return wedge_test_main("sockets", 30, fill);
}
