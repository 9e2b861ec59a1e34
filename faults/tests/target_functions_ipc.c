/* The calls about sockets, readiness, queues, System V objects and memory. */
#include <fcntl.h>
#include <malloc.h>
#include <mqueue.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "faults/tests/target_functions.h"

static const struct timespec zero;

/* A pair of sockets with "hello" on the way to `in`. */
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *from, socklen_t *size);
#define RECEIVES(name, ...)                                                                                            \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        struct probe_pipe s = probe_sockets("hello");                                                                  \
        char buf[8] = "";                                                                                              \
        struct iovec iov[] = {{buf, 2}, {buf + 2, 3}};                                                                 \
        struct mmsghdr message = {.msg_hdr = {.msg_iov = iov, .msg_iovlen = 2, .msg_flags = -1}};                      \
        (void)message;                                                                                                 \
        long n = PROBE(__VA_ARGS__);                                                                                   \
        probe_tell(n, errno, buf);                                                                                     \
        probe_close(s);                                                                                                \
    }
RECEIVES(recv, recv(s.in, buf, 5, 0))
RECEIVES(recvfrom, recvfrom(s.in, buf, 5, 0, NULL, NULL))
RECEIVES(__recv_chk, __recv_chk(s.in, buf, 5, sizeof(buf), 0))
RECEIVES(__recvfrom_chk, __recvfrom_chk(s.in, buf, 5, sizeof(buf), 0, NULL, NULL))
RECEIVES(recvmmsg, recvmmsg(s.in, &message, 1, 0, NULL))
CALL(recvmsg)
{
    struct probe_pipe s = probe_sockets("hello");
    char buf[8] = "";
    struct iovec iov[] = {{buf, 2}, {buf + 2, 3}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2, .msg_flags = -1};
    long n = PROBE(recvmsg(s.in, &message, 0));
    int error = errno;
    /* The kernel has cleared the flags, also of a message that was cut. */
    probe_tell(n, error, n >= 0 && message.msg_flags ? "flags" : message.msg_iovlen != 2 ? "vector" : buf);
    probe_close(s);
}

#define SENDS(name, ...)                                                                                               \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        struct probe_pipe s = probe_sockets("");                                                                       \
        char hello[] = "hello";                                                                                        \
        struct iovec iov[] = {{hello, 2}, {hello + 2, 3}};                                                             \
        struct mmsghdr message = {.msg_hdr = {.msg_iov = iov, .msg_iovlen = 2}};                                       \
        (void)message;                                                                                                 \
        long n = PROBE(__VA_ARGS__);                                                                                   \
        int error = errno;                                                                                             \
        probe_tell(n, error, probe_text(s.in));                                                                        \
        probe_close(s);                                                                                                \
    }
SENDS(send, send(s.out, "hello", 5, 0))
SENDS(sendto, sendto(s.out, "hello", 5, 0, NULL, 0))
SENDS(sendmsg, sendmsg(s.out, &message.msg_hdr, 0))
SENDS(sendmmsg, sendmmsg(s.out, &message, 1, 0))
SENDS(shutdown, shutdown(s.out, SHUT_WR))

/* A socket that listens, and another that has connected to it or is about to. */
#define LISTENS(name, tell, connected, ...)                                                                            \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        struct sockaddr_un address = {.sun_family = AF_UNIX};                                                          \
        socklen_t size = sizeof(address);                                                                              \
        int kind = SOCK_STREAM | (probe_never_waits() ? SOCK_NONBLOCK : 0), fd = socket(AF_UNIX, kind, 0),             \
            other = socket(AF_UNIX, SOCK_STREAM, 0);                                                                   \
        (void)bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)); /* the kernel chooses a name: unix(7) */     \
        getsockname(fd, (struct sockaddr *)&address, &size);                                                           \
        (void)listen(fd, 1);                                                                                           \
        if (connected)                                                                                                 \
            (void)connect(other, (struct sockaddr *)&address, size);                                                   \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        tell(rc, errno, "");                                                                                           \
        if (rc > 2)                                                                                                    \
            close((int)rc);                                                                                            \
        close(fd);                                                                                                     \
        close(other);                                                                                                  \
    }
LISTENS(bind, probe_tell, 0, bind(other, (struct sockaddr *)&address, sizeof(sa_family_t)))
LISTENS(listen, probe_tell, 0, listen(fd, 2))
LISTENS(connect, probe_tell, 0, connect(other, (struct sockaddr *)&address, size))
LISTENS(accept, probe_tell_some, 1, accept(fd, NULL, NULL))
LISTENS(accept4, probe_tell_some, 1, accept4(fd, NULL, NULL, SOCK_CLOEXEC))

/* A pipe with something in it. */
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size);
#define POLLS(name, ...)                                                                                               \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        struct probe_pipe p = probe_pipe("hello");                                                                     \
        struct pollfd fds = {.fd = p.in, .events = POLLIN};                                                            \
        struct timeval none = {0};                                                                                     \
        fd_set in;                                                                                                     \
        FD_ZERO(&in);                                                                                                  \
        FD_SET(p.in, &in);                                                                                             \
        struct epoll_event event = {.events = EPOLLIN}, got = {0};                                                     \
        int set = epoll_create1(EPOLL_CLOEXEC);                                                                        \
        epoll_ctl(set, EPOLL_CTL_ADD, p.in, &event);                                                                   \
        (void)fds, (void)none, (void)got;                                                                              \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        probe_tell(rc, errno, fds.revents == POLLIN ? "in" : got.events == EPOLLIN ? "epoll in" : "");                 \
        close(set);                                                                                                    \
        probe_close(p);                                                                                                \
    }
POLLS(poll, poll(&fds, 1, 0))
POLLS(__poll_chk, __poll_chk(&fds, 1, 0, sizeof(fds)))
POLLS(ppoll, ppoll(&fds, 1, &zero, NULL))
POLLS(__ppoll_chk, __ppoll_chk(&fds, 1, &zero, NULL, sizeof(fds)))
POLLS(select, select(p.in + 1, &in, NULL, NULL, &none))
POLLS(pselect, pselect(p.in + 1, &in, NULL, NULL, &zero, NULL))
POLLS(epoll_ctl, epoll_ctl(set, EPOLL_CTL_MOD, p.in, &event))
POLLS(epoll_wait, epoll_wait(set, &got, 1, 0))
POLLS(epoll_pwait, epoll_pwait(set, &got, 1, 0, NULL))
POLLS(epoll_pwait2, epoll_pwait2(set, &got, 1, &zero, NULL))

/* A queue with "hello" in it. */
mqd_t __mq_open_2(const char *name, int flags);
#define QUEUE(call_name, ...)                                                                                          \
    CALL(call_name)                                                                                                    \
    {                                                                                                                  \
        static char name[32];                                                                                          \
        char buf[16] = "";                                                                                             \
        struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = sizeof(buf)};                                             \
        snprintf(name, sizeof(name), "/wedge-probe-%d", (int)getpid());                                                \
        mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_NONBLOCK, 0600, &attr);                                       \
        mq_send(queue, "hello", 5, 0);                                                                                 \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        probe_tell_some(rc, errno, buf);                                                                               \
        if (rc > 5)                                                                                                    \
            mq_close((mqd_t)rc);                                                                                       \
        mq_close(queue);                                                                                               \
        mq_unlink(name);                                                                                               \
    }
QUEUE(mq_open, mq_open(name, O_RDWR | O_CREAT, 0600, &attr))
QUEUE(__mq_open_2, __mq_open_2(name, O_RDWR))
QUEUE(mq_close, mq_close(queue))
QUEUE(mq_unlink, mq_unlink(name))
QUEUE(mq_send, mq_send(queue, "more", 4, 0))
QUEUE(mq_timedsend, mq_timedsend(queue, "more", 4, 0, &zero))
QUEUE(mq_receive, mq_receive(queue, buf, sizeof(buf), NULL))
QUEUE(mq_timedreceive, mq_timedreceive(queue, buf, sizeof(buf), NULL, &zero))
QUEUE(mq_notify, mq_notify(queue, NULL))

/* System V. */
CALL(semget)
{
    long id = PROBE(semget(IPC_PRIVATE, 1, 0600));
    probe_tell_some(id, errno, "");
    semctl((int)id, 0, IPC_RMID);
}
CALL(msgget)
{
    long id = PROBE(msgget(IPC_PRIVATE, 0600));
    probe_tell_some(id, errno, "");
    msgctl((int)id, IPC_RMID, NULL);
}
CALL(shmget)
{
    long id = PROBE(shmget(IPC_PRIVATE, 4096, 0600));
    probe_tell_some(id, errno, "");
    shmctl((int)id, IPC_RMID, NULL);
}
#define SEMSET(name, ...)                                                                                              \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        int id = semget(IPC_PRIVATE, 1, 0600);                                                                         \
        struct sembuf one = {.sem_op = 1};                                                                             \
        (void)one;                                                                                                     \
        TELL(__VA_ARGS__, "");                                                                                         \
        semctl(id, 0, IPC_RMID);                                                                                       \
    }
SEMSET(semop, semop(id, &one, 1))
SEMSET(semtimedop, semtimedop(id, &one, 1, &zero))
SEMSET(semctl, semctl(id, 0, SETVAL, 3))
#define MSGQUEUE(name, ...)                                                                                            \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        int id = msgget(IPC_PRIVATE, 0600);                                                                            \
        struct {                                                                                                       \
            long type;                                                                                                 \
            char text[8];                                                                                              \
        } sent = {1, "hello"}, got = {0};                                                                              \
        msgsnd(id, &sent, 6, 0);                                                                                       \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        probe_tell(rc, errno, got.text);                                                                               \
        msgctl(id, IPC_RMID, NULL);                                                                                    \
    }
MSGQUEUE(msgsnd, msgsnd(id, &sent, 6, probe_never_waits() ? IPC_NOWAIT : 0))
MSGQUEUE(msgrcv, msgrcv(id, &got, sizeof(got.text), 0, probe_never_waits() ? IPC_NOWAIT : 0))
MSGQUEUE(msgctl, msgctl(id, IPC_RMID, NULL))
#define SEGMENT(name, tell, ...)                                                                                       \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        int id = shmget(IPC_PRIVATE, 4096, 0600);                                                                      \
        void *at = shmat(id, NULL, 0);                                                                                 \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        tell(rc, errno, "");                                                                                           \
        if (rc && rc != -1)                                                                                            \
            shmdt((void *)rc);                                                                                         \
        shmdt(at);                                                                                                     \
        shmctl(id, IPC_RMID, NULL);                                                                                    \
    }
SEGMENT(shmat, probe_tell_some, shmat(id, NULL, 0))
SEGMENT(shmdt, probe_tell, shmdt(at))
SEGMENT(shmctl, probe_tell, shmctl(id, IPC_RMID, NULL))

#define SHM(call_name, tell, ...)                                                                                      \
    CALL(call_name)                                                                                                    \
    {                                                                                                                  \
        static char name[32];                                                                                          \
        snprintf(name, sizeof(name), "/wedge-probe-%d", (int)getpid());                                                \
        int fd = shm_open(name, O_RDWR | O_CREAT, 0600);                                                               \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        tell(rc, errno, "");                                                                                           \
        if (rc > 2)                                                                                                    \
            close((int)rc);                                                                                            \
        close(fd);                                                                                                     \
        shm_unlink(name);                                                                                              \
    }
SHM(shm_open, probe_tell_some, shm_open(name, O_RDWR | O_CREAT, 0600))
SHM(shm_unlink, probe_tell, shm_unlink(name))

/* A page. */
#define PAGE(name, tell, ...)                                                                                          \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        enum { KIND = MAP_PRIVATE | MAP_ANONYMOUS, USE = PROT_READ | PROT_WRITE };                                     \
        void *page = mmap(NULL, 4096, USE, KIND, -1, 0);                                                               \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        tell(rc, errno, "");                                                                                           \
        if (rc && rc != -1)                                                                                            \
            munmap((void *)rc, 4096);                                                                                  \
        munmap(page, 4096);                                                                                            \
    }
PAGE(mmap, probe_tell_some, mmap(NULL, 4096, USE, KIND, -1, 0))
PAGE(mmap64, probe_tell_some, mmap64(NULL, 4096, USE, KIND, -1, 0))
PAGE(munmap, probe_tell, munmap(page, 4096))
PAGE(mprotect, probe_tell, mprotect(page, 4096, PROT_READ))
PAGE(msync, probe_tell, msync(page, 4096, MS_SYNC))
PAGE(madvise, probe_tell, madvise(page, 4096, MADV_NORMAL))
PAGE(mremap, probe_tell_some, mremap(page, 4096, 8192, MREMAP_MAYMOVE))

/* The heap. In a raw run what comes back is no address. */
#define PIECE(name, ...)                                                                                               \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        void *piece = NULL;                                                                                            \
        long at = PROBE(__VA_ARGS__);                                                                                  \
        probe_tell_some(at, errno, "");                                                                                \
        if (!probe_is_raw())                                                                                           \
            free(piece);                                                                                               \
    }
PIECE(malloc, piece = malloc(100))
PIECE(calloc, piece = calloc(10, 10))
PIECE(posix_memalign, posix_memalign(&piece, 64, 100))
PIECE(aligned_alloc, piece = aligned_alloc(64, 128))
PIECE(memalign, piece = memalign(64, 100))
PIECE(valloc, piece = valloc(100))
PIECE(pvalloc, piece = pvalloc(100))
/* NOLINTBEGIN(clang-analyzer-unix.Malloc): what a fault kept from moving is left to the end of the process */
#define MOVES(name, ...)                                                                                               \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        char *piece = malloc(8), *moved;                                                                               \
        memcpy(piece, "hello", 6);                                                                                     \
        long at = PROBE(moved = __VA_ARGS__);                                                                          \
        bool there = at && !probe_is_raw();                                                                            \
        probe_tell_some(at, errno, there &&malloc_usable_size(moved) >= 100 ? moved : "");                             \
        if (there)                                                                                                     \
            free(moved);                                                                                               \
    }
MOVES(realloc, realloc(piece, 100))
MOVES(reallocarray, reallocarray(piece, 10, 10))
/* NOLINTEND(clang-analyzer-unix.Malloc) */
CALL(free)
{
    void *piece = malloc(100);
    TELL_VOID(free(piece), "");
}
