/* What the classes of sockets share: wait/socket.c asks the family of the socket, each in a file of its own. */
#ifndef WEDGE_DETECTOR_WAIT_SOCKET_H
#define WEDGE_DETECTOR_WAIT_SOCKET_H

#include "detector/kernel/sockets.h"
#include "detector/wait/descriptor.h"

void wedge_socket_unix(struct wedge_look *look, struct wedge_descriptor_wait *wait, const struct wedge_sockets *sockets,
                       const struct wedge_unix_socket *socket);
void wedge_socket_inet(struct wedge_look *look, struct wedge_descriptor_wait *wait, const struct wedge_sockets *sockets,
                       const struct wedge_inet_socket *socket);

/* Everyone who holds the socket of this inode; complains to the outside where nobody is seen to, or somebody who may
 * cannot be read. Writes for people who that is into `ret` ("its peer is held by 77"). */
void wedge_socket_by_peer(struct wedge_look *look, struct wedge_descriptor_wait *wait, uint64_t inode, const char *what,
                          const char *why, char ret[64]);

/* What only the socket itself knows, asked through a copy of its descriptor. */
struct wedge_socket_options {
    int64_t receive_ns, send_ns; /* SO_RCVTIMEO, SO_SNDTIMEO; 0 none */
    unsigned user_ms; /* TCP_USER_TIMEOUT; 0 none */
    bool window_closed; /* TCP: the peer takes nothing, and all that was sent has been acknowledged */
};
/* 0 or a negative errno: it may not be copied, or is not there any more. */
int wedge_socket_options(struct wedge_look *look, const struct wedge_descriptor_wait *wait, bool tcp,
                         struct wedge_socket_options *ret);

#endif
