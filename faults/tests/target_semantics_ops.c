/* The calls that the target program for the semantics of actions can make, each on an object of its own (mode op). */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "faults/tests/target_semantics.h"

#define KEEP           __attribute__((noinline, noclone, used))
#define NOT_THE_LAST() __asm__ volatile("" ::: "memory")

/* libc's own, which headers declare only where _FORTIFY_SOURCE uses them. */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *address, socklen_t *size);

/* Both ends of everything; each has something to take, and room. */
int pipe_of[2], pair[2];
mqd_t queue;
sem_t sem;
static int listener, caller, bell, queue_id;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

KEEP int queue_open(int ends[2])
{
    int rc = pipe(ends);
    NOT_THE_LAST();
    return rc;
}

void give_flag(int fd, bool nonblocking)
{
    must(fcntl(fd, F_SETFL, nonblocking ? O_NONBLOCK : 0) == 0);
}

void set_up(bool nonblocking)
{
    char name[32];
    struct mq_attr attr = {.mq_maxmsg = 8, .mq_msgsize = 16};
    must(queue_open(pipe_of) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    must(syscall(SYS_write, pipe_of[1], "abcdefgh", 8L) == 8 &&
         syscall(SYS_sendto, pair[1], "abcdefgh", 8L, 0L, 0L, 0L) == 8);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    caller = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%cwedge-semantics-%d", 0, getpid());
    must(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listener, 4) == 0 &&
         connect(caller, (struct sockaddr *)&address, sizeof(address)) == 0);
    bell = eventfd(3, 0);
    snprintf(name, sizeof(name), "/wedge-semantics-%d", getpid());
    queue = mq_open(name, O_CREAT | O_RDWR, 0600, &attr);
    must(queue >= 0 && mq_unlink(name) == 0);
    must(syscall(SYS_mq_timedsend, queue, "abc", 3L, 0L, 0L) == 0);
    must(sem_init(&sem, 0, 5) == 0);
    int all[] = {pipe_of[0], pipe_of[1], pair[0], pair[1], listener, bell, (int)queue};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        give_flag(all[i], nonblocking);
}

static bool has_queue;

/* Made where it is used: it outlives a process that is killed. */
static int system_queue(void)
{
    struct {
        long type;
        char text[8];
    } message = {1, "abc"};
    if (!has_queue) {
        queue_id = msgget(IPC_PRIVATE, 0600);
        must(queue_id >= 0 && syscall(SYS_msgsnd, queue_id, &message, 8L, 0L) == 0);
        has_queue = true;
    }
    return queue_id;
}

void tear_down(void)
{
    if (has_queue)
        msgctl(queue_id, IPC_RMID, NULL);
}

bool dontwait;
static bool nonblocking;
static char x[] = "x";

static long do_write(void)
{
    return write(pipe_of[1], "x", 1);
}
static long do_writev(void)
{
    return writev(pipe_of[1], &(struct iovec){x, 1}, 1);
}
static long do_pwritev2(void)
{
    return pwritev2(pipe_of[1], &(struct iovec){x, 1}, 1, -1, 0);
}
static long do_send(void)
{
    return send(pair[0], "x", 1, dontwait ? MSG_DONTWAIT : 0);
}
static long do_sendto(void)
{
    return sendto(pair[0], "x", 1, dontwait ? MSG_DONTWAIT : 0, NULL, 0);
}
static struct msghdr *message_of(char *byte)
{
    static struct iovec iov;
    static struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    iov = (struct iovec){byte, 1};
    return &message;
}
static char byte_of = 'x';
static long do_sendmsg(void)
{
    return sendmsg(pair[0], message_of(&byte_of), dontwait ? MSG_DONTWAIT : 0);
}
static long do_sendmmsg(void)
{
    struct mmsghdr messages[1] = {{.msg_hdr = *message_of(&byte_of)}};
    return sendmmsg(pair[0], messages, 1, dontwait ? MSG_DONTWAIT : 0);
}
static long do_eventfd_write(void)
{
    return eventfd_write(bell, 1);
}
static long do_mq_send(void)
{
    return mq_send(queue, "x", 1, 0);
}
static long do_mq_timedsend(void)
{
    struct timespec until = in_ms(CLOCK_REALTIME, 60000);
    return mq_timedsend(queue, "x", 1, 0, &until);
}
static long do_msgsnd(void)
{
    struct {
        long type;
        char text[8];
    } message = {1, "x"};
    return msgsnd(system_queue(), &message, 1, nonblocking ? IPC_NOWAIT : 0);
}
static long do_sem_post(void)
{
    return sem_post(&sem);
}
static long do_sendfile(void)
{
    static int file = -1;
    if (file < 0) {
        file = (int)syscall(SYS_memfd_create, "file", 0L);
        must(syscall(SYS_write, file, "xxxx", 4L) == 4 && syscall(SYS_lseek, file, 0L, SEEK_SET) == 0);
    }
    return sendfile(pipe_of[1], file, NULL, 1);
}
static long do_vmsplice(void)
{
    return vmsplice(pipe_of[1], &(struct iovec){x, 1}, 1, 0);
}
static long do_splice_to(void)
{
    static int from[2];
    if (!from[1])
        must(syscall(SYS_pipe2, from, 0L) == 0 && syscall(SYS_write, from[1], "xxxx", 4L) == 4);
    return splice(from[0], NULL, pipe_of[1], NULL, 1, nonblocking ? SPLICE_F_NONBLOCK : 0);
}

char in[16];
static long do_read(void)
{
    return read(pipe_of[0], in, 1);
}
static long do_read_chk(void)
{
    return __read_chk(pipe_of[0], in, 1, sizeof(in));
}
static long do_readv(void)
{
    return readv(pipe_of[0], &(struct iovec){in, 1}, 1);
}
static long do_preadv2(void)
{
    return preadv2(pipe_of[0], &(struct iovec){in, 1}, 1, -1, 0);
}
static long do_recv(void)
{
    return recv(pair[0], in, 1, dontwait ? MSG_DONTWAIT : 0);
}
static long do_recv_chk(void)
{
    return __recv_chk(pair[0], in, 1, sizeof(in), dontwait ? MSG_DONTWAIT : 0);
}
static long do_recvfrom(void)
{
    return recvfrom(pair[0], in, 1, dontwait ? MSG_DONTWAIT : 0, NULL, NULL);
}
static long do_recvfrom_chk(void)
{
    return __recvfrom_chk(pair[0], in, 1, sizeof(in), dontwait ? MSG_DONTWAIT : 0, NULL, NULL);
}
static long do_recvmsg(void)
{
    return recvmsg(pair[0], message_of(in), dontwait ? MSG_DONTWAIT : 0);
}
static long do_recvmmsg(void)
{
    struct mmsghdr messages[1] = {{.msg_hdr = *message_of(in)}};
    return recvmmsg(pair[0], messages, 1, dontwait ? MSG_DONTWAIT : 0, NULL);
}
static long do_eventfd_read(void)
{
    eventfd_t value;
    eventfd_write(bell, 1);
    return eventfd_read(bell, &value);
}
static long do_accept(void)
{
    int fd = accept(listener, NULL, NULL);
    return fd < 0 ? fd : 1;
}
static long do_accept4(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    return fd < 0 ? fd : 1;
}
static long do_mq_receive(void)
{
    return mq_receive(queue, in, sizeof(in), NULL);
}
static long do_mq_timedreceive(void)
{
    struct timespec until = in_ms(CLOCK_REALTIME, 60000);
    return mq_timedreceive(queue, in, sizeof(in), NULL, &until);
}
static long do_msgrcv(void)
{
    struct {
        long type;
        char text[8];
    } message;
    return msgrcv(system_queue(), &message, 8, 0, nonblocking ? IPC_NOWAIT : 0);
}
static long do_sem_wait(void)
{
    return sem_wait(&sem);
}
static long do_sem_timedwait(void)
{
    struct timespec until = in_ms(CLOCK_REALTIME, 60000);
    return sem_timedwait(&sem, &until);
}
static long do_sem_clockwait(void)
{
    struct timespec until = in_ms(CLOCK_MONOTONIC, 60000);
    return sem_clockwait(&sem, CLOCK_MONOTONIC, &until);
}
static long do_sem_trywait(void)
{
    return sem_trywait(&sem);
}
static long do_splice_from(void)
{
    static int to[2];
    if (!to[1])
        must(syscall(SYS_pipe2, to, 0L) == 0);
    return splice(pipe_of[0], NULL, to[1], NULL, 1, nonblocking ? SPLICE_F_NONBLOCK : 0);
}
static long do_tee(void)
{
    static int to[2];
    if (!to[1])
        must(syscall(SYS_pipe2, to, 0L) == 0);
    return tee(pipe_of[0], to[1], 1, nonblocking ? SPLICE_F_NONBLOCK : 0);
}

/* Looks for ever at what it has made the rule shut. */
static long do_look(bool set)
{
    struct epoll_event event = {.events = EPOLLOUT};
    struct pollfd one = {.fd = pipe_of[1], .events = POLLOUT};
    int fd = epoll_create1(0);
    give_flag(pipe_of[1], true);
    must(write(pipe_of[1], "x", 1) < 0 && epoll_ctl(fd, EPOLL_CTL_ADD, pipe_of[1], &event) == 0);
    say("shut\n");
    return set ? epoll_wait(fd, &event, 1, -1) : poll(&one, 1, -1);
}

static long do_poll(void)
{
    return do_look(false);
}

static long do_epoll_wait(void)
{
    return do_look(true);
}

static const struct op {
    const char *name;
    long (*run)(void);
} ops[] = {
    {"write", do_write},
    {"poll", do_poll},
    {"epoll_wait", do_epoll_wait},
    {"writev", do_writev},
    {"pwritev2", do_pwritev2},
    {"send", do_send},
    {"sendto", do_sendto},
    {"sendmsg", do_sendmsg},
    {"sendmmsg", do_sendmmsg},
    {"eventfd_write", do_eventfd_write},
    {"mq_send", do_mq_send},
    {"mq_timedsend", do_mq_timedsend},
    {"msgsnd", do_msgsnd},
    {"sem_post", do_sem_post},
    {"sendfile", do_sendfile},
    {"vmsplice", do_vmsplice},
    {"splice_to", do_splice_to},
    {"read", do_read},
    {"__read_chk", do_read_chk},
    {"readv", do_readv},
    {"preadv2", do_preadv2},
    {"recv", do_recv},
    {"__recv_chk", do_recv_chk},
    {"recvfrom", do_recvfrom},
    {"__recvfrom_chk", do_recvfrom_chk},
    {"recvmsg", do_recvmsg},
    {"recvmmsg", do_recvmmsg},
    {"eventfd_read", do_eventfd_read},
    {"accept", do_accept},
    {"accept4", do_accept4},
    {"mq_receive", do_mq_receive},
    {"mq_timedreceive", do_mq_timedreceive},
    {"msgrcv", do_msgrcv},
    {"sem_wait", do_sem_wait},
    {"sem_timedwait", do_sem_timedwait},
    {"sem_clockwait", do_sem_clockwait},
    {"sem_trywait", do_sem_trywait},
    {"splice_from", do_splice_from},
    {"tee", do_tee},
};

long run_op(const char *name)
{
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (strcmp(ops[i].name, name) == 0) {
            errno = 0;
            long rc = ops[i].run();
            return rc < 0 ? -errno : rc;
        }
    must(false);
    return 0;
}

/* op HOW NAME…: `block`, `nonblock` (the descriptor) or `dontwait` (the call). */
void mode_op(char **argv)
{
    nonblocking = strcmp(argv[2], "nonblock") == 0;
    dontwait = strcmp(argv[2], "dontwait") == 0;
    set_up(nonblocking);
    for (int i = 3; argv[i]; i++) {
        if (strcmp(argv[i], "-") == 0) {
            say("next\n");
            await_byte();
            continue;
        }
        long rc = run_op(argv[i]);
        say("%s %ld\n", argv[i], rc);
    }
    tear_down();
}
