/* What the factory's cases of sockets have in common. */
#ifndef WEDGE_DETECTOR_TESTS_FACTORY_ENDS_H
#define WEDGE_DETECTOR_TESTS_FACTORY_ENDS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Longer than a look takes, so that nothing moves in most of them: what lives has to be told from what stands still. */
#define FACTORY_LONG_MS 150

/* A listening socket and its address: an abstract name of this process's own, or a port of the loopback. */
struct factory_place {
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } at;
    socklen_t size;
    int fd;
};
void factory_listen(struct factory_place *p, int family, int type);
int factory_connect(const struct factory_place *p, int type);
/* Both ends of a pair of UNIX sockets, or of a new connection. */
void factory_socket_pair(int type, int ends[2]);
void factory_connection(int family, int ends[2]);

/* One byte; 1 when it came or went. */
int factory_get(int fd);
int factory_put(int fd);
/* What one side may do all the time. */
void factory_get_one(int fd);
void factory_get_all(int fd);
void factory_get_slowly(int fd);
void factory_answer_slowly(int fd);
/* A child has the second end and does what is its part, this process has the first. */
void factory_apart(const int ends[2], void (*parent)(int fd), void (*child)(int fd));

#endif
