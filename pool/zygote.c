/* The process that forks the workers, and the parent's line to it (zygote.h). */
#include "pool/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wedge/point.h>

#define QUIT_MS 1000 /* how long a zygote that was told to leave may take; it has nothing left to do */

static int send_packet(int sock, const struct wedge_zygote_message *message)
{
    ssize_t n;
    do
        n = send(sock, message, sizeof(*message), MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* In the fork: waits until the zygote has told of it (`go`), then is a worker. If the zygote dies before, the worker
 * never was: nobody will have to account for it. */
static _Noreturn void become_worker(struct wedge_pool *pool, const struct wedge_zygote_message *order, int go,
                                    pid_t zygote)
{
    char byte;
    ssize_t n;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != zygote)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_ORPHAN);
    do
        n = read(go, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_ORPHAN);
    close(go);
    wedge_pool_worker_run(pool, order->index + 1, order->generation);
}

static int spawn(struct wedge_pool *pool, const struct wedge_zygote_message *order, int sock, int parent_fd)
{
    struct wedge_zygote_message answer = *order;
    int go[2];
    pid_t zygote = getpid();
    answer.op = WEDGE_ZYGOTE_SPAWNED;
    if (pipe2(go, O_CLOEXEC) < 0) {
        answer.pid = -errno;
        return send_packet(sock, &answer);
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(sock);
        close(parent_fd);
        close(go[1]);
        become_worker(pool, order, go[0], zygote);
    }
    answer.pid = pid < 0 ? -errno : pid;
    close(go[0]);
    int rc = send_packet(sock, &answer);
    while (rc == 0 && write(go[1], "g", 1) < 0 && errno == EINTR)
        ;
    close(go[1]);
    return rc;
}

static int reap(const struct wedge_zygote_message *order, int sock)
{
    struct wedge_zygote_message answer = *order;
    pid_t pid;
    answer.op = WEDGE_ZYGOTE_REAPED;
    if (order->op == WEDGE_ZYGOTE_END)
        kill(order->pid, SIGKILL); /* our child, not reaped yet */
    do
        pid = waitpid(order->pid, &answer.status, 0); /* dead, or dying */
    while (pid < 0 && errno == EINTR);
    if (pid < 0)
        answer.status = -1;
    return send_packet(sock, &answer);
}

/* Until it is told to leave, or the parent is gone. The kernel kills its workers as it exits. */
static _Noreturn void zygote_main(struct wedge_pool *pool, int sock, int parent_fd)
{
    int rc = 0;
    wedge_role("zygote", 0, 0);
    wedge_pool_name_thread("zygote");
    signal(SIGCHLD, SIG_DFL); /* ignored, the kernel would reap the workers by itself */
    while (rc == 0) {
        struct pollfd pfds[] = {{.fd = sock, .events = POLLIN}, {.fd = parent_fd, .events = POLLIN}};
        struct wedge_zygote_message order;
        if (poll(pfds, 2, -1) < 0)
            continue; /* EINTR */
        if (pfds[1].revents)
            break;
        ssize_t n = recv(sock, &order, sizeof(order), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != (ssize_t)sizeof(order) || order.op == WEDGE_ZYGOTE_QUIT)
            break;
        rc = order.op == WEDGE_ZYGOTE_SPAWN ? spawn(pool, &order, sock, parent_fd) : reap(&order, sock);
    }
    wedge_pool_leave_process(0);
}

int wedge_zygote_start(struct wedge_pool *pool, struct wedge_zygote *ret)
{
    int socks[2], rc;
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        close(socks[0]);
        int parent_fd = pidfd_open(parent, 0);
        if (parent_fd < 0 || getppid() != parent)
            wedge_pool_leave_process(WEDGE_POOL_EXIT_ORPHAN);
        zygote_main(pool, socks[1], parent_fd);
    }
    close(socks[1]);
    if (pid < 0) {
        rc = -errno;
        close(socks[0]);
        return rc;
    }
    fcntl(socks[0], F_SETFL, O_NONBLOCK);
    *ret = (struct wedge_zygote){.pid = pid, .pidfd = pidfd_open(pid, 0), .sock = socks[0]};
    if (ret->pidfd >= 0)
        return 0;
    rc = -errno;
    kill(pid, SIGKILL); /* our child, not reaped yet */
    wedge_zygote_end(ret);
    return rc;
}

int wedge_zygote_send(const struct wedge_zygote *zygote, const struct wedge_zygote_message *message)
{
    return send_packet(zygote->sock, message);
}

int wedge_zygote_receive(const struct wedge_zygote *zygote, struct wedge_zygote_message *ret)
{
    ssize_t n;
    do
        n = recv(zygote->sock, ret, sizeof(*ret), MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof(*ret))
        return 1;
    return n < 0 && errno == EAGAIN ? 0 : -EPIPE;
}

void wedge_zygote_end(struct wedge_zygote *zygote)
{
    if (zygote->pid == 0)
        return;
    struct wedge_zygote_message quit = {.op = WEDGE_ZYGOTE_QUIT};
    struct pollfd pfd = {.fd = zygote->pidfd, .events = POLLIN};
    if (zygote->pidfd >= 0 && (send_packet(zygote->sock, &quit) < 0 || poll(&pfd, 1, QUIT_MS) != 1))
        pidfd_send_signal(zygote->pidfd, SIGKILL, NULL, 0);
    while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (zygote->pidfd >= 0)
        close(zygote->pidfd);
    close(zygote->sock);
    *zygote = (struct wedge_zygote){.pidfd = -1, .sock = -1};
}
