#include "detector/tests/programs/factory_ends.h"

#include <string.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

static char byte;

void factory_socket_pair(int type, int ends[2])
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends))
        factory_die("socketpair");
}

int factory_get(int fd)
{
    return read(fd, &byte, 1) == 1;
}
int factory_put(int fd)
{
    return write(fd, "x", 1) == 1;
}
void factory_answer_slowly(int fd)
{
    for (;;) {
        factory_nap(FACTORY_LONG_MS);
        if (!factory_put(fd))
            _exit(0);
    }
}

void factory_listen(struct factory_place *p, int family, int type)
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

int factory_connect(const struct factory_place *p, int type)
{
    int fd = socket(p->at.any.sa_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, &p->at.any, p->size))
        factory_die("connect");
    return fd;
}

/* Both ends of a new connection. */
void factory_connection(int family, int ends[2])
{
    struct factory_place p;
    if (family == AF_UNIX) {
        factory_socket_pair(SOCK_STREAM, ends);
        return;
    }
    factory_listen(&p, family, SOCK_STREAM);
    ends[0] = factory_connect(&p, SOCK_STREAM);
    ends[1] = accept(p.fd, NULL, NULL);
    if (ends[1] < 0)
        factory_die("accept");
    close(p.fd);
}

void factory_apart(const int ends[2], void (*parent)(int fd), void (*child)(int fd))
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

void factory_get_one(int fd)
{
    factory_get(fd);
}
void factory_get_all(int fd)
{
    while (factory_get(fd))
        ;
}
void factory_get_slowly(int fd)
{
    char block[65536];
    do
        factory_nap(FACTORY_LONG_MS);
    while (read(fd, block, sizeof(block)) > 0);
}
