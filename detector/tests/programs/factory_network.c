/* Cases of the factory: sockets of families whose peers nobody here looks for. */
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"
#include "detector/tests/programs/factory_ends.h"

#define PROTOCOL_MPTCP 262 /* IPPROTO_MPTCP of <linux/in.h> */

static void wait_on(int fd)
{
    if (fd < 0)
        factory_die("socket");
    factory_ready();
    for (;;)
        factory_get(fd);
}
static void netlink_read(void)
{
    wait_on(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
}
/* A host that never connects. */
static void vsock_accept(void)
{
    const struct sockaddr_vm at = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = VMADDR_PORT_ANY};
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) || listen(fd, 1))
        factory_die("vsock");
    factory_ready();
    accept(fd, NULL, NULL);
}
/* Two ends in one tree, each of which waits for the other: that could be told of TCP, and of this it is not. */
static void mptcp_both_read(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, PROTOCOL_MPTCP),
        ends[2] = {socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, PROTOCOL_MPTCP), -1};
    if (listener < 0 || ends[0] < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&at, &size) || connect(ends[0], (struct sockaddr *)&at, size))
        factory_die("mptcp");
    ends[1] = accept(listener, NULL, NULL);
    close(listener);
    factory_apart(ends, factory_get_one, factory_get_one);
}
/* Needs CAP_NET_RAW. A protocol number for experiments, which nobody speaks (RFC 3692). */
static void raw_read(void)
{
    wait_on(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 253));
}
/* Of nobody's frames. */
static void packet_read(void)
{
    wait_on(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_802_EX1)));
}

const struct factory_case factory_network[] = {
    {"netlink-read", netlink_read, true},       {"vsock-accept", vsock_accept, true},
    {"mptcp-both-read", mptcp_both_read, true}, {"raw-read", raw_read, true},
    {"packet-read", packet_read, true},         {NULL, NULL, false},
};
