/*
 * The sockets of a network namespace: UNIX sockets with their peers (sock_diag(7)), TCP connections with their queues
 * and timers, connected UDP (/proc/PID/net/tcp, tcp6, udp, udp6). One dump of each, bounded, kept for as long as one round of a look.
 *
 * Blocking: none that a target could decide; netlink answers at once and has a limit of a second all the same.
 * Threads: all safe; reading another namespace takes the calling thread there and back.
 */
#ifndef WEDGE_DETECTOR_SOCKETS_H
#define WEDGE_DETECTOR_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WEDGE_SOCKET_NAME_BYTES 108 /* sun_path of struct sockaddr_un */

/* The kernel's states of a socket (include/net/tcp_states.h); UNIX sockets use three of them. */
enum {
    WEDGE_SOCKET_ESTABLISHED = 1,
    WEDGE_SOCKET_SYN_SENT = 2,
    WEDGE_SOCKET_FIN_WAIT2 = 5,
    WEDGE_SOCKET_CLOSED = 7,
    WEDGE_SOCKET_CLOSE_WAIT = 8,
    WEDGE_SOCKET_LISTEN = 10,
};

struct wedge_unix_socket {
    uint64_t inode;
    bool has_peer; /* it is connected, or was until the peer went */
    uint64_t peer; /* its inode; 0: nobody's, not accepted yet or gone */
    int type, state; /* SOCK_…; as above */
    /* Bytes to be read (of datagrams: the first one's). Of a listening socket: how many wait to be accepted, and how
     * many may before the next one has to wait to connect. */
    uint32_t rqueue, wqueue;
    bool no_more_reads; /* shut down: the end is read */
    uint32_t vfs_dev, vfs_inode; /* of the name in a file system; 0 none. As the kernel writes them, 32 bits each */
    uint8_t name_len;
    char name[WEDGE_SOCKET_NAME_BYTES]; /* abstract ones begin with NUL */
    size_t first_waiting, n_waiting; /* in ->waiting: inodes of those whose connection is not accepted yet */
};

struct wedge_inet_end {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint16_t port;
};
struct wedge_inet_socket {
    uint64_t inode; /* 0: nobody's, not accepted yet or closed */
    bool udp; /* else TCP */
    struct wedge_inet_end local, remote;
    uint8_t state; /* as above */
    uint8_t timer; /* 0 none, 1 to send again, 2 keep-alive or the end of a closed one, 3 TIME_WAIT, 4 zero window */
    uint32_t tx, rx; /* bytes not yet acknowledged or not sent; not read. Of a listening one rx: not accepted */
};

struct wedge_sockets {
    struct wedge_sockets *next;
    uint64_t namespace; /* inode of ns/net */
    int unix_error, inet_error; /* 0, or why there is no table; -EPERM: the namespace may not be entered */
    struct wedge_unix_socket *unix_sockets; /* by inode */
    size_t n_unix;
    uint64_t *waiting;
    size_t n_waiting;
    struct wedge_inet_socket *inet_sockets; /* by inode */
    size_t n_inet;
    size_t cap_unix, cap_waiting, cap_inet; /* while they are filled */
};

/* The network namespace of a process, through its thread `tid`; 0 unknown. */
uint64_t wedge_sockets_namespace(pid_t pid, pid_t tid);
/* Reads the namespace of a process. NULL when there is no memory; what cannot be read has its error. */
struct wedge_sockets *wedge_sockets_read(pid_t pid, pid_t tid);
void wedge_sockets_free(struct wedge_sockets *sockets); /* takes NULL; frees ->next as well */

/* By inode; NULL none. */
const struct wedge_unix_socket *wedge_sockets_unix(const struct wedge_sockets *sockets, uint64_t inode);
const struct wedge_inet_socket *wedge_sockets_inet(const struct wedge_sockets *sockets, uint64_t inode);
/* The listening socket in whose queue the connection of `inode` waits to be accepted; NULL none. */
const struct wedge_unix_socket *wedge_sockets_unix_listener(const struct wedge_sockets *sockets, uint64_t inode);
/* The other end of a connection whose both ends are in this namespace; NULL none, or more than one. */
const struct wedge_inet_socket *wedge_sockets_inet_peer(const struct wedge_sockets *sockets,
                                                        const struct wedge_inet_socket *of);

/* The parsers alone; they take any bytes. */
/* One answer of sock_diag(7), many messages; aligned as malloc(3) aligns. 1: the last one; 0: more are to come; else what the
 * kernel answered, -EBADMSG, -EOVERFLOW, -ENOMEM. */
int wedge_sockets_parse_unix(struct wedge_sockets *to, const char *answer, size_t len);
/* /proc/net/tcp and its kin, with the line of titles. -EBADMSG, -EOVERFLOW, -ENOMEM. */
int wedge_sockets_parse_table(struct wedge_sockets *to, const char *text, bool udp);
/* One line of these; udp is left to the caller. False: not such a line. */
bool wedge_sockets_parse_inet(const char *line, struct wedge_inet_socket *ret);

#endif
