/*
 * pidfd_open(2), pidfd_send_signal(2) and openat2(2) for programs under valgrind, whose version 3.19 answers all with ENOSYS.
 *
 * Preloaded by ci/under --pidfd. openat2, which is always called through syscall(2), becomes openat(2) there: the ways of resolving a
 * path that it forbids are tested without valgrind. For the others it asks ci/under, which no simulator runs, over the socket named by WEDGE_PIDFD_SOCKET, and
 * gets the kernel's own descriptor back: what polls it, passes it on, forks with it or waits by it (P_PIDFD) is as real as
 * without valgrind. One datagram asks; it carries the socket for the answer, so that whoever is stopped or killed
 * half-way holds nobody up. The kernel says who asks, so that the number is read in the asker's own pid namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* As ci/under reads it: struct.Struct("=ii"). */
struct request {
    int signal; /* 0 to 64: for the descriptor that comes along; -1: open `pid` */
    int pid;
};

/* As many descriptors as a request or an answer carries at most. */
union control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(2 * sizeof(int))];
};

/* The request, with the socket for the answer and, fd >= 0, one more. 0 or -errno. */
static int ask(const struct request *request, int answer, int fd)
{
    const char *path = getenv("WEDGE_PIDFD_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    union control control = {0};
    int fds[2] = {answer, fd};
    size_t bytes = fd < 0 ? sizeof(int) : sizeof(fds);
    struct iovec iov = {.iov_base = (void *)(uintptr_t)request, .iov_len = sizeof(*request)};
    struct msghdr head = {.msg_name = &to,
                          .msg_namelen = sizeof(to),
                          .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = &control,
                          .msg_controllen = CMSG_SPACE(bytes)};
    ssize_t n;
    if (!path || strlen(path) >= sizeof(to.sun_path))
        return -ENOSYS;
    strcpy(to.sun_path, path);
    *CMSG_FIRSTHDR(&head) =
        (struct cmsghdr){.cmsg_len = CMSG_LEN(bytes), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&head)), fds, bytes);
    int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return -errno;
    do
        n = sendmsg(sock, &head, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    int rc = n < 0 ? -errno : 0;
    close(sock);
    return rc;
}

/* 0 or -errno, and the descriptor that came along, -1 none. Whoever was asked closes its end: nobody waits for the dead. */
static int hear(int answer, int *ret_fd)
{
    int said = 0;
    union control control = {0};
    struct iovec iov = {.iov_base = &said, .iov_len = sizeof(said)};
    struct msghdr head = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n;
    do
        n = recvmsg(answer, &head, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(said))
        return -ENOSYS;
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&head);
    *ret_fd = -1;
    if (cmsg && cmsg->cmsg_type == SCM_RIGHTS && cmsg->cmsg_len >= CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(int));
    return -said;
}

static int exchange(const struct request *request, int fd, int *ret_fd)
{
    int answer[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, answer) < 0)
        return -errno;
    int rc = ask(request, answer[1], fd);
    close(answer[1]);
    if (rc == 0)
        rc = hear(answer[0], ret_fd);
    close(answer[0]);
    return rc;
}

EXPORT int pidfd_open(pid_t pid, unsigned flags)
{
    struct request request = {.signal = -1, .pid = pid};
    int fd = -1, rc = flags ? -EINVAL : exchange(&request, -1, &fd);
    if (rc == 0 && fd >= 0)
        return fd;
    errno = rc ? -rc : EMFILE; /* it was sent and had no room here */
    return -1;
}

EXPORT int pidfd_send_signal(int pidfd, int signal, siginfo_t *info, unsigned flags)
{
    struct request request = {.signal = signal};
    int none, rc = info || flags || signal < 0 ? -EINVAL : pidfd < 0 ? -EBADF : exchange(&request, pidfd, &none);
    if (rc == 0)
        return 0;
    errno = -rc;
    return -1;
}

EXPORT long syscall(long number, ...)
{
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_pidfd_open)
        return pidfd_open((pid_t)a[0], (unsigned)a[1]);
    if (number == SYS_openat2) {
        const struct open_how *how = (const struct open_how *)a[2];
        const char *path = (const char *)a[1];
        while (how->resolve & RESOLVE_IN_ROOT && *path == '/')
            path++;
        return openat((int)a[0], *path ? path : ".", (int)how->flags, (mode_t)how->mode);
    }
    register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    long rc;
    __asm__ volatile("syscall"
                     : "=a"(rc)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (rc >= 0 || rc < -4095)
        return rc;
    errno = (int)-rc;
    return -1;
}
