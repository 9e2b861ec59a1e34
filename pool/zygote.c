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

/* Room for the two descriptors of a SPAWNED. */
union control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(2 * sizeof(int))];
};

/* `fds`: NULL none. */
static int send_packet(int sock, const struct wedge_zygote_message *message, const struct wedge_zygote_fds *fds)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof(*message)};
    struct msghdr head = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control = {0};
    ssize_t n;
    if (fds) {
        int both[2] = {fds->pidfd, fds->gate};
        head.msg_control = &control;
        head.msg_controllen = sizeof(control);
        *CMSG_FIRSTHDR(&head) =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(both)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&head)), both, sizeof(both));
    }
    do
        n = sendmsg(sock, &head, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* What the zygote's main function works with. */
struct self {
    struct wedge_pool *pool;
    int sock, parent_fd;
    sigset_t signals; /* the mask of the thread that called start, which is the workers' */
};

void wedge_zygote_die_with(pid_t zygote)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != zygote)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_ORPHAN);
}

/* In the fork: waits at the gate, then is a worker. Without anyone to open it the worker never was: it has taken nothing,
 * and nobody has to account for it. */
static _Noreturn void become_worker(const struct self *self, const struct wedge_zygote_message *order, int gate,
                                    pid_t zygote)
{
    char byte;
    ssize_t n;
    wedge_zygote_die_with(zygote);
    sigprocmask(SIG_SETMASK, &self->signals, NULL);
    do
        n = read(gate, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_ORPHAN);
    close(gate);
    wedge_pool_worker_run(self->pool, order->index + 1, order->generation);
}

static void end_child(pid_t pid, int *ret_status)
{
    kill(pid, SIGKILL); /* our child, not reaped yet */
    while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
        ;
}

/* Forks a worker that waits at a gate. Its pid and both descriptors, or a negative errno and nobody. */
static pid_t fork_worker(const struct self *self, const struct wedge_zygote_message *order,
                         struct wedge_zygote_fds *ret)
{
    int gate[2];
    pid_t zygote = getpid();
    if (pipe2(gate, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        close(self->sock);
        close(self->parent_fd);
        close(gate[1]);
        become_worker(self, order, gate[0], zygote);
    }
    int rc = pid < 0 ? -errno : 0;
    close(gate[0]);
    WEDGE_POINT("pool.zygote.forked");
    int pidfd = rc < 0 ? -1 : pidfd_open(pid, 0);
    if (rc == 0 && pidfd < 0) {
        rc = -errno;
        end_child(pid, NULL);
    }
    if (rc < 0) {
        close(gate[1]);
        return rc;
    }
    *ret = (struct wedge_zygote_fds){.pidfd = pidfd, .gate = gate[1]};
    return pid;
}

static int spawn(const struct self *self, const struct wedge_zygote_message *order)
{
    struct wedge_zygote_message answer = *order;
    struct wedge_zygote_fds fds = {.pidfd = -1, .gate = -1};
    answer.op = WEDGE_ZYGOTE_SPAWNED;
    answer.pid = fork_worker(self, order, &fds);
    if (answer.pid < 0)
        return send_packet(self->sock, &answer, NULL);
    int rc = send_packet(self->sock, &answer, &fds);
    close(fds.pidfd);
    close(fds.gate);
    return rc;
}

static int reap(const struct wedge_zygote_message *order, int sock)
{
    struct wedge_zygote_message answer = *order;
    answer.op = WEDGE_ZYGOTE_REAPED;
    answer.status = -1;
    end_child(order->pid, &answer.status); /* dead, dying, or one that was never let through its gate */
    return send_packet(sock, &answer, NULL);
}

/* Until it is told to leave, or the parent is gone. The kernel kills its workers as it exits. */
static _Noreturn void zygote_main(const struct self *self)
{
    int rc = 0;
    wedge_role("zygote", 0, 0);
    wedge_pool_name_thread("zygote");
    signal(SIGCHLD, SIG_DFL); /* ignored, the kernel would reap the workers by itself */
    while (rc == 0) {
        struct pollfd pfds[] = {{.fd = self->sock, .events = POLLIN}, {.fd = self->parent_fd, .events = POLLIN}};
        struct wedge_zygote_message order;
        if (poll(pfds, 2, -1) < 0 && errno == EINTR)
            continue; /* else EINVAL, a limit of under two descriptors (poll(2)): recv waits too, and sees the socket's end */
        if (pfds[1].revents)
            break;
        ssize_t n = recv(self->sock, &order, sizeof(order), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != (ssize_t)sizeof(order) || order.op == WEDGE_ZYGOTE_QUIT)
            break;
        rc = order.op == WEDGE_ZYGOTE_SPAWN ? spawn(self, &order) : reap(&order, self->sock);
    }
    wedge_pool_leave_process(0);
}

int wedge_zygote_start(struct wedge_pool *pool, struct wedge_zygote *ret)
{
    struct self self = {.pool = pool};
    sigset_t all;
    int socks[2], rc;
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
        return -errno;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &self.signals); /* before the fork: the zygote never has a signal to heed */
    pid_t pid = fork();
    if (pid == 0) {
        close(socks[0]);
        self.sock = socks[1];
        self.parent_fd = pidfd_open(parent, 0);
        if (self.parent_fd < 0 || getppid() != parent)
            wedge_pool_leave_process(WEDGE_POOL_EXIT_ORPHAN);
        zygote_main(&self);
    }
    rc = pid < 0 ? -errno : 0;
    pthread_sigmask(SIG_SETMASK, &self.signals, NULL);
    close(socks[1]);
    if (rc < 0) {
        close(socks[0]);
        return rc;
    }
    fcntl(socks[0], F_SETFL, O_NONBLOCK);
    *ret = (struct wedge_zygote){.pid = pid, .pidfd = pidfd_open(pid, 0), .sock = socks[0]};
    ret->sock_id = wedge_file_id_of(ret->sock);
    if (ret->pidfd >= 0) {
        ret->pidfd_id = wedge_file_id_of(ret->pidfd);
        return 0;
    }
    rc = -errno;
    kill(pid, SIGKILL); /* our child, not reaped yet */
    wedge_zygote_end(ret);
    return rc;
}

int wedge_zygote_send(const struct wedge_zygote *zygote, const struct wedge_zygote_message *message)
{
    return send_packet(zygote->sock, message, NULL);
}

int wedge_zygote_receive(const struct wedge_zygote *zygote, struct wedge_zygote_message *ret,
                         struct wedge_zygote_fds *ret_fds)
{
    struct iovec iov = {.iov_base = ret, .iov_len = sizeof(*ret)};
    union control control;
    struct msghdr head = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    int fds[2] = {-1, -1};
    ssize_t n;
    do
        n = recvmsg(zygote->sock, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(*ret))
        return n < 0 && errno == EAGAIN ? 0 : -EPIPE;
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&head);
    if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
        size_t bytes = cmsg->cmsg_len - CMSG_LEN(0); /* fewer where descriptors are short: MSG_CTRUNC (recvmsg(2)) */
        memcpy(fds, CMSG_DATA(cmsg), bytes < sizeof(fds) ? bytes : sizeof(fds));
    }
    *ret_fds = (struct wedge_zygote_fds){.pidfd = fds[0], .gate = fds[1]};
    return 1;
}

void wedge_zygote_gate(int gate, bool open)
{
    if (gate < 0)
        return;
    while (open && write(gate, "g", 1) < 0 && errno == EINTR)
        ; /* EPIPE: it is dead, which its pidfd says (SIGPIPE is blocked in the pool's threads) */
    close(gate);
}

void wedge_zygote_end(struct wedge_zygote *zygote)
{
    if (zygote->pid == 0)
        return;
    struct wedge_zygote_message quit = {.op = WEDGE_ZYGOTE_QUIT};
    struct pollfd pfd = {.fd = zygote->pidfd, .events = POLLIN};
    if (zygote->pidfd >= 0 && (send_packet(zygote->sock, &quit, NULL) < 0 || poll(&pfd, 1, QUIT_MS) != 1))
        wedge_zygote_kill(zygote);
    while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (zygote->pidfd >= 0)
        close(zygote->pidfd);
    if (zygote->sock >= 0)
        close(zygote->sock);
    *zygote = (struct wedge_zygote){.pidfd = -1, .sock = -1};
}

void wedge_zygote_end_blindly(struct wedge_zygote *zygote)
{
    siginfo_t info;
    zygote->pidfd = zygote->sock = -1;
    /* Not reaped by anybody yet: the pid is its own. Told to die, because a fork of the user's may keep the socket open. */
    if (zygote->pid != 0 && waitid(P_PID, (id_t)zygote->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        kill(zygote->pid, SIGKILL);
    wedge_zygote_end(zygote);
}

void wedge_zygote_kill(const struct wedge_zygote *zygote)
{
    pidfd_send_signal(zygote->pidfd, SIGKILL, NULL, 0);
}
