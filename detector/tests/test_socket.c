/* Waits on sockets: UNIX sockets of every type, TCP on this machine. */
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "detector/tests/cases.h"

static const struct hang hangs[] = {
    {"unix-both-read", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "UNIX socket",
     "unix_both_read"},
    {"tcp-both-read", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "TCP connection",
     "tcp_both_read"},
    {"tcp6-both-read", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "[::1]",
     "tcp6_both_read"},
    {"tcp-mapped-both-read", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "127.0.0.1",
     "tcp_mapped_both_read"},
    {"unix-both-write", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "write",
     "full UNIX socket", "factory_fill"},
    {"unix-half-request", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "want_two()",
     "ask_half|want_two"},
    {"tcp-half-request", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "want_two()",
     "ask_half|want_two"},
    {"unix-half-closed", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "empty pipe",
     "half_closed"},
    {"tcp-half-closed", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "empty pipe",
     "half_closed"},
    {"unix-own-ends", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "read", "the process itself",
     NULL},
    {"unix-three", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "read", "unix_three()", "unix_three"},
    {"unix-grandchild", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "its peer is held by",
     "grandchild"},
    {"dgram-pair-full", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 2, "write",
     "full UNIX datagram socket", "datagrams"},
    {"dgram-name-full", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "write",
     "full UNIX datagram socket", "datagrams"},
    {"dgram-to-full", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "sendto",
     "full UNIX datagram socket", "dgram_to_full"},
    {"dgram-peer-gone", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "read", "its peer is gone",
     NULL},
    {"unix-backlog-full", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "connect", "accept",
     "factory_connect|factory_get"},
    {"unix-not-accepted", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "not accepted",
     "not_accepted"},
    {"tcp-not-accepted", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "not accepted",
     "not_accepted"},
    {"unix-loops", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "epoll_pwait", "1 polled", "loop_on"},
    {"tcp-edge-loops", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "epoll_pwait", "1 polled",
     "edge_loop_on"},
    {"tcp-loops", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "epoll_pwait", "1 polled", "loop_on"},
    {"tcp-keep-alive", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 2, "read", "TCP connection",
     "factory_get_one"},
    {"udp-both-read", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 2, "read", "UDP socket",
     "factory_get_one"},
    {"mixed", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "poll", "3 polled", "poll_mixed"},
};

static const struct healthy healthy[] = {
    {"unix-served", false, WEDGE_WAIT_SOCKET},         {"tcp-served", false, WEDGE_WAIT_SOCKET},
    {"unix-slow-reader", false, WEDGE_WAIT_SOCKET},    {"tcp-slow-reader", false, WEDGE_WAIT_SOCKET},
    {"dgram-slow-reader", false, WEDGE_WAIT_SOCKET},   {"dgram-by-name", false, WEDGE_WAIT_SOCKET},
    {"unix-backlog-slow", false, WEDGE_WAIT_SOCKET},   {"unix-accepted-late", false, WEDGE_WAIT_SOCKET},
    {"tcp-accepted-late", false, WEDGE_WAIT_SOCKET},   {"unix-accept", false, WEDGE_WAIT_SOCKET},
    {"tcp-backlog-full", false, WEDGE_WAIT_SOCKET},    {"udp-by-address", false, WEDGE_WAIT_SOCKET},
    {"tcp-edge-loop-served", false, WEDGE_WAIT_POLL},  {"tcp-loop-served", false, WEDGE_WAIT_POLL},
    {"mixed-served", false, WEDGE_WAIT_POLL},          {"receive-limit", false, WEDGE_WAIT_SOCKET},
    {"send-limit", false, WEDGE_WAIT_SOCKET},          {"tcp-user-limit", false, WEDGE_WAIT_SOCKET},
    {"shut-down-by-another", true, WEDGE_WAIT_SOCKET}, {"peer-killed", false, WEDGE_WAIT_SOCKET},
};

/* A full TCP connection may take a little more at the kernel's next probes: evident, and proved once its window is
 * shut. */
START_TEST(test_tcp_both_write)
{
    struct factory factory = factory_start("tcp-both-write");
    int64_t deadline = wedge_clock_ns() + 20 * WEDGE_NS_PER_S;
    for (bool proved = false; !proved;) {
        struct wedge_snapshot *s = examine_until_all(factory.pid, 2, WEDGE_STACKS_NEVER);
        const struct wedge_verdict *v = &s->verdicts[0];
        ck_assert_msg(v->kind == WEDGE_VERDICT_MUTUAL_BACKPRESSURE, "%s: %s", wedge_verdict_words[v->kind], v->summary);
        ck_assert_int_eq(v->scope, WEDGE_SCOPE_WHOLE);
        ck_assert_uint_eq(v->n_victims, 2);
        ck_assert_ptr_nonnull(strstr(v->summary, "full TCP connection"));
        ck_assert_int_ge(v->certainty, WEDGE_EVIDENT);
        proved = v->certainty == WEDGE_PROVED;
        ck_assert_msg(proved || wedge_clock_ns() < deadline, "never proved: %s", v->reason);
        wedge_snapshot_free(s);
    }
    factory_end(&factory);
}
END_TEST

/* A daemon, of another tree, of which no stacks are taken. */
START_TEST(test_outside_the_tree)
{
    static const struct hang hang = {.name = "unix-daemon",
                                     .kind = WEDGE_VERDICT_CLOSED_WAIT,
                                     .certainty = WEDGE_PROVED,
                                     .scope = WEDGE_SCOPE_WHOLE,
                                     .victims = 2};
    hang_check_without_stacks(&hang);
}
END_TEST

/* In another network namespace, which root may enter and hardly anybody else. */
START_TEST(test_other_network)
{
    static const char *const names[] = {"unix-other-network", "tcp-other-network"};
    struct hang hang = {.name = names[_i],
                        .kind = WEDGE_VERDICT_CLOSED_WAIT,
                        .certainty = WEDGE_PROVED,
                        .scope = WEDGE_SCOPE_WHOLE,
                        .victims = 2};
    if (geteuid() == 0) {
        hang_check_without_stacks(&hang);
        return;
    }
    struct factory factory = factory_start(names[_i]);
    struct wedge_snapshot *s = examine_once(factory.pid, WEDGE_STACKS_NEVER);
    ck_assert(!wedge_verdict_is_hang(s->verdicts[0].kind) || s->verdicts[0].n_victims == 2);
    wedge_snapshot_free(s);
    factory_end(&factory);
}
END_TEST

/* Whose peers are not looked for: never a hang, idle, and named. What may not be made here has nothing to show. */
static const struct {
    const char *name, *words;
    int family, type, protocol;
} others[] = {
    {"netlink-read", "NETLINK socket", AF_NETLINK, SOCK_RAW, 0},
    {"vsock-accept", "AF_VSOCK socket", AF_VSOCK, SOCK_STREAM, 0},
    {"mptcp-both-read", "MPTCP socket", AF_INET, SOCK_STREAM, 262},
    {"raw-read", "RAW socket", AF_INET, SOCK_RAW, 253},
    {"packet-read", "PACKET socket", AF_PACKET, SOCK_RAW, 0},
};
START_TEST(test_other_families)
{
    int fd = socket(others[_i].family, others[_i].type | SOCK_CLOEXEC, others[_i].protocol);
    if (fd < 0)
        return;
    close(fd);
    struct factory factory = factory_start(others[_i].name);
    bool seen = false;
    for (int i = 0; i < 25; i++) {
        struct wedge_snapshot *s = examine_once(factory.pid, WEDGE_STACKS_NEVER);
        const struct wedge_thread *t = thread_in(s, WEDGE_WAIT_SOCKET);
        ck_assert(!wedge_verdict_is_hang(s->verdicts[0].kind));
        seen |= t && strstr(t->wait.object.describe, others[_i].words);
        ck_assert_msg(!t || strstr(t->wait.object.describe, others[_i].words), "%s", t->wait.object.describe);
        wedge_snapshot_free(s);
        usleep(2000);
    }
    ck_assert(seen);
    factory_end(&factory);
}
END_TEST

/* Why there is no hang of writers of UDP: on this machine none ever waits, for whoever does not read. */
START_TEST(test_udp_is_never_full)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    const char bytes[1000] = "";
    const int least = 1;
    int reader = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), writer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(reader, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(getsockname(reader, (struct sockaddr *)&at, &size), 0);
    ck_assert_int_eq(connect(writer, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(setsockopt(writer, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
    for (int i = 0; i < 3000; i++)
        ck_assert_int_eq(send(writer, bytes, sizeof(bytes), MSG_DONTWAIT), sizeof(bytes));
    close(reader);
    close(writer);
}
END_TEST

static void more(TCase *tcase)
{
    tcase_add_test(tcase, test_udp_is_never_full);
    tcase_add_loop_test(tcase, test_other_families, 0, sizeof(others) / sizeof(others[0]));
    tcase_add_test(tcase, test_tcp_both_write);
    tcase_add_test(tcase, test_outside_the_tree);
    tcase_add_loop_test(tcase, test_other_network, 0, 2);
}

int main(void)
{
    return cases_main("socket", hangs, sizeof(hangs) / sizeof(hangs[0]), healthy, sizeof(healthy) / sizeof(healthy[0]),
                      more);
}
