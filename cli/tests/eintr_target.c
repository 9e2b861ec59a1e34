/*
 * A thread in each call of interest, by name; every call is made again when it returns. Says "ready" once all of them
 * sleep; for each byte on standard input it prints the names of those that have seen EINTR since the last time, were
 * told that a part was done, or have seen that their word is another one, in one line.
 */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int semaphores = -1, queue = -1;

static void die(const char *what)
{
    perror(what);
    exit(3);
}

static int end_of_pair(int option)
{
    int ends[2];
    struct timeval hour = {.tv_sec = 3600};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        die("socketpair");
    if (option && setsockopt(ends[0], SOL_SOCKET, option, &hour, sizeof(hour)))
        die("setsockopt");
    if (option == SO_SNDTIMEO) {
        char block[4096] = {0};
        while (send(ends[0], block, sizeof(block), MSG_DONTWAIT) > 0)
            ;
    }
    return ends[0];
}

static int listener(void)
{
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    struct timeval hour = {.tv_sec = 3600};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof(hour)) ||
        bind(fd, (struct sockaddr *)&any, sizeof(any.sun_family)) || listen(fd, 1))
        die("listener");
    return fd;
}

static int pipe_read_end(void)
{
    int ends[2];
    if (pipe(ends))
        die("pipe");
    return ends[0];
}

static long by_epoll(int fd)
{
    struct epoll_event event;
    return epoll_wait(fd, &event, 1, -1);
}
static int make_epoll(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}
static long by_semop(int fd)
{
    struct sembuf take = {.sem_op = -1};
    (void)fd;
    return semop(semaphores, &take, 1);
}
static int none(void)
{
    return 0;
}
static long by_sigwaitinfo(int fd)
{
    sigset_t set;
    (void)fd;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return sigwaitinfo(&set, NULL);
}
static int with_rcvtimeo(void)
{
    return end_of_pair(SO_RCVTIMEO);
}
static int with_sndtimeo(void)
{
    return end_of_pair(SO_SNDTIMEO);
}
static int without_timeo(void)
{
    return end_of_pair(0);
}
static long by_recv(int fd)
{
    char c;
    return recv(fd, &c, 1, 0);
}
static long by_send(int fd)
{
    char block[65536] = {0};
    return send(fd, block, sizeof(block), 0);
}
/* Of these a part is done when they sleep; nobody does the rest. */
enum { LARGE = 4 << 20, PART = -2 };
static long by_large_write(int fd)
{
    static char block[LARGE];
    long n = write(fd, block, sizeof(block));
    return n > 0 && n < LARGE ? PART : n;
}
static long by_large_send(int fd)
{
    static char block[LARGE];
    long n = send(fd, block, sizeof(block), 0);
    return n > 0 && n < LARGE ? PART : n;
}
static long by_recv_all(int fd)
{
    char two[2];
    long n = recv(fd, two, sizeof(two), MSG_WAITALL);
    return n == 1 ? PART : n;
}
/* Its word is changed while it sleeps, and nobody says so. */
static _Atomic unsigned word;
static long by_word(int fd)
{
    (void)fd;
    if (syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == 0 || errno != EAGAIN)
        return -1;
    word = 0;
    return PART;
}
static int pipe_write_end(void)
{
    int ends[2];
    if (pipe(ends))
        die("pipe");
    return ends[1];
}
static int pair_with_a_byte(void)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || write(ends[1], "", 1) != 1)
        die("socketpair");
    return ends[0];
}
static long by_read(int fd)
{
    char block[4096];
    return read(fd, block, sizeof(block));
}
static long by_accept(int fd)
{
    return accept(fd, NULL, NULL);
}
static unsigned long aio;
static int make_aio_context(void)
{
    return syscall(SYS_io_setup, 1, &aio) ? -1 : 0;
}
static long by_io_getevents(int fd)
{
    char events[32];
    (void)fd;
    return syscall(SYS_io_getevents, aio, 1L, 1L, events, NULL);
}
static long by_poll(int fd)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
}
static long by_select(int fd)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, &set, NULL, NULL, NULL);
}
static long by_sem_wait(int fd)
{
    static sem_t sem;
    (void)fd;
    return sem_wait(&sem);
}
static long by_nanosleep(int fd)
{
    (void)fd;
    return nanosleep(&(struct timespec){.tv_sec = 3600}, NULL);
}
static long by_msgrcv(int fd)
{
    char message[64];
    (void)fd;
    return msgrcv(queue, message, 32, 0, 0);
}
static int make_eventfd(void)
{
    return eventfd(0, 0);
}
static int make_inotify(void)
{
    return inotify_init1(IN_CLOEXEC);
}

static const struct {
    const char *name;
    int (*make)(void);
    long (*call)(int fd);
} calls[] = {
    {"epoll", make_epoll, by_epoll},
    {"semop", none, by_semop},
    {"sigwaitinfo", none, by_sigwaitinfo},
    {"recv-timeo", with_rcvtimeo, by_recv},
    {"read-timeo", with_rcvtimeo, by_read},
    {"accept-timeo", listener, by_accept},
    {"send-timeo", with_sndtimeo, by_send},
    {"io_getevents", make_aio_context, by_io_getevents},
    {"recv", without_timeo, by_recv},
    {"read-socket", without_timeo, by_read},
    {"read-pipe", pipe_read_end, by_read},
    {"poll", pipe_read_end, by_poll},
    {"select", pipe_read_end, by_select},
    {"sem_wait", none, by_sem_wait},
    {"nanosleep", none, by_nanosleep},
    {"msgrcv", none, by_msgrcv},
    {"eventfd", make_eventfd, by_read},
    {"inotify", make_inotify, by_read},
    {"write-large", pipe_write_end, by_large_write},
    {"send-large", without_timeo, by_large_send},
    {"recv-all", pair_with_a_byte, by_recv_all},
    {"changed-word", none, by_word},
};
enum { CALLS = sizeof(calls) / sizeof(calls[0]) };
static _Atomic int seen[CALLS], tids[CALLS];

static void *run(void *arg)
{
    size_t i = (size_t)arg;
    pthread_setname_np(pthread_self(), calls[i].name);
    int fd = calls[i].make();
    atomic_store(&tids[i], (int)gettid());
    while (fd >= 0) {
        long done = calls[i].call(fd);
        if (done == PART || (done < 0 && errno == EINTR))
            atomic_fetch_add(&seen[i], 1);
    }
    return NULL;
}

static char state_of(int tid)
{
    char path[64], text[256] = "", *close;
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    FILE *in = fopen(path, "re");
    if (!in)
        return 'Z';
    size_t n = fread(text, 1, sizeof(text) - 1, in);
    fclose(in);
    text[n] = 0;
    close = strrchr(text, ')');
    return close && close[1] ? close[2] : '?';
}

static void await_sleep(void)
{
    for (size_t i = 0; i < CALLS; i++)
        for (char state = '?'; state != 'S' && state != 'Z'; sched_yield())
            state = atomic_load(&tids[i]) ? state_of(atomic_load(&tids[i])) : '?';
}

int main(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    semaphores = semget(IPC_PRIVATE, 1, 0600);
    queue = msgget(IPC_PRIVATE, 0600);
    for (size_t i = 0; i < CALLS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, (void *)i))
            die("pthread_create");
    }
    await_sleep();
    word = 1;
    printf("ready\n");
    fflush(stdout);
    for (char c; read(0, &c, 1) == 1;) {
        await_sleep();
        for (size_t i = 0; i < CALLS; i++)
            if (atomic_exchange(&seen[i], 0))
                printf("%s ", calls[i].name);
        printf("\n");
        fflush(stdout);
    }
    semctl(semaphores, 0, IPC_RMID);
    msgctl(queue, IPC_RMID, NULL);
    _exit(0);
}
