/*
 * A program for the tests of what the hard actions mean: one thing per mode, told on standard output. Where it must be
 * known that a thread is held, the test sees it in the arena and sends a byte, a signal, or releases the rule.
 */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "faults/tests/target_semantics.h"

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Looks at a descriptor that may be shut and at one that is not; 1: the first is ready, 2: the other. */
static int look(const char *how, int set, int fd, bool out, int other, int ms)
{
    int bits = 0;
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000L}, *timeout = ms < 0 ? NULL : &ts;
    if (strcmp(how, "poll") == 0 || strcmp(how, "ppoll") == 0) {
        struct pollfd fds[] = {{.fd = fd, .events = out ? POLLOUT : POLLIN}, {.fd = other, .events = POLLIN}};
        int n = how[1] == 'o' ? poll(fds, 2, ms) : ppoll(fds, 2, timeout, NULL);
        must(n >= 0);
        bits = (fds[0].revents ? 1 : 0) | (fds[1].revents ? 2 : 0);
        must(n == !!(bits & 1) + !!(bits & 2));
    } else if (strstr(how, "select")) {
        fd_set ins, outs;
        FD_ZERO(&ins);
        FD_ZERO(&outs);
        FD_SET(fd, out ? &outs : &ins);
        FD_SET(other, &ins);
        struct timeval tv = {ms / 1000, ms % 1000 * 1000};
        int most = (fd > other ? fd : other) + 1;
        int n = how[0] == 's' ? select(most, &ins, &outs, NULL, ms < 0 ? NULL : &tv)
                              : pselect(most, &ins, &outs, NULL, timeout, NULL);
        must(n >= 0);
        bits = (FD_ISSET(fd, out ? &outs : &ins) ? 1 : 0) | (FD_ISSET(other, &ins) ? 2 : 0);
        must(n == !!(bits & 1) + !!(bits & 2));
    } else if (strcmp(how, "nested") == 0) {
        struct pollfd one = {.fd = set, .events = POLLIN};
        if (poll(&one, 1, ms) == 1) {
            struct epoll_event events[4];
            int n = epoll_wait(set, events, 4, 0);
            for (int i = 0; i < n; i++)
                bits |= events[i].data.fd == fd ? 1 : 2;
        }
    } else {
        struct epoll_event events[4];
        int n = strcmp(how, "epoll_pwait2") == 0  ? epoll_pwait2(set, events, 4, timeout, NULL)
                : strcmp(how, "epoll_pwait") == 0 ? epoll_pwait(set, events, 4, ms, NULL)
                                                  : epoll_wait(set, events, 4, ms);
        must(n >= 0);
        for (int i = 0; i < n; i++)
            bits |= events[i].data.fd == fd ? 1 : 2;
    }
    return bits;
}

/* look HOW full|empty: the first rule shuts the pipe at the first call, which does not wait. */
static void mode_look(char **argv)
{
    const char *how = argv[2];
    bool out = strcmp(argv[3], "full") == 0, edge = strstr(how, "edge") != NULL, once = strstr(how, "once") != NULL;
    int other[2], set = epoll_create1(0);
    uint32_t more = (edge ? EPOLLET : 0) | (once ? EPOLLONESHOT : 0) | (strstr(how, "excl") ? EPOLLEXCLUSIVE : 0);
    set_up(true);
    must(syscall(SYS_pipe2, other, 0L) == 0);
    int fd = pipe_of[out ? 1 : 0];
    struct epoll_event event = {.events = (out ? EPOLLOUT : EPOLLIN) | more, .data.fd = fd};
    must(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
    event = (struct epoll_event){.events = EPOLLIN, .data.fd = other[0]};
    must(epoll_ctl(set, EPOLL_CTL_ADD, other[0], &event) == 0);
    if (!strstr(argv[4] ? argv[4] : "", "late"))
        say("open %d\n", look(how, set, fd, out, other[0], 10000)); /* an edge is spent here, and a shot */
    if (once) {
        event = (struct epoll_event){.events = (out ? EPOLLOUT : EPOLLIN) | more, .data.fd = fd};
        must(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) == 0);
    }
    say("shut %ld\n", run_op(out ? "write" : "read"));
    if (edge) /* another edge, while it is shut */
        must(out ? syscall(SYS_read, pipe_of[0], in, 1L) == 1 : syscall(SYS_write, pipe_of[1], "y", 1L) == 1);
    int64_t before = now_ms();
    int bits = look(how, set, fd, out, other[0], 60);
    say("look %d %s\n", bits, now_ms() - before >= 60 ? "late" : "early");
    must(syscall(SYS_write, other[1], "z", 1L) == 1);
    say("other %d\n", look(how, set, fd, out, other[0], -1));
    must(syscall(SYS_read, other[0], in, 1L) == 1);
    say("next\n");
    bits = look(how, set, fd, out, other[0], -1);
    say("released %d\n", bits);
    if (edge || once)
        say("again %d\n", look(how, set, fd, out, other[0], 0));
    tear_down();
}

/* looks HOW: a handler interrupts a look at what is shut, and the mask of signals is as it was. */
static volatile sig_atomic_t handled;
static void on_count(int signo)
{
    (void)signo;
    handled++;
}

static void mode_looks(char **argv)
{
    struct sigaction action = {.sa_handler = on_count, .sa_flags = SA_RESTART};
    struct epoll_event event = {.events = EPOLLOUT};
    struct pollfd one;
    fd_set outs;
    sigset_t before, after, none;
    int set = epoll_create1(0), rc;
    set_up(true);
    must(sigaction(SIGUSR1, &action, NULL) == 0 && epoll_ctl(set, EPOLL_CTL_ADD, pipe_of[1], &event) == 0);
    sigemptyset(&none);
    sigemptyset(&before);
    sigaddset(&before, SIGUSR2);
    if (argv[2][0] != 'e') /* ppoll and pselect let in what is blocked otherwise */
        sigaddset(&before, SIGUSR1);
    must(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    say("shut %ld\n", run_op("write"));
    one = (struct pollfd){.fd = pipe_of[1], .events = POLLOUT};
    FD_ZERO(&outs);
    FD_SET(pipe_of[1], &outs);
    rc = argv[2][0] == 'e'   ? epoll_wait(set, &event, 1, -1)
         : argv[2][1] == 'p' ? ppoll(&one, 1, NULL, &none)
                             : pselect(pipe_of[1] + 1, NULL, &outs, NULL, NULL, &none);
    int code = rc < 0 ? -errno : rc;
    must(sigprocmask(SIG_SETMASK, NULL, &after) == 0);
    say("look %d handled %d mask %d\n", code, (int)handled, memcmp(&before, &after, 8) == 0);
    tear_down();
}

/* A write to a file that is full, a read from one that is empty. */
static void mode_file(void)
{
    int fd = (int)syscall(SYS_memfd_create, "file", 0L);
    must(syscall(SYS_pwrite64, fd, "abc", 3L, 0L) == 3);
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
    long rc = read(fd, in, 3);
    say("read %ld\n", rc < 0 ? -errno : rc);
    rc = write(fd, "d", 1);
    say("write %ld\n", rc < 0 ? -errno : rc);
    rc = poll(&one, 1, 1000);
    say("poll %ld\n", rc);
}

/* The edge comes while a thread waits already. */
static void *look_thread(void *arg)
{
    int *fds = arg;
    say("thread %d\n", look("epoll_wait", fds[0], fds[1], true, -1, -1));
    return NULL;
}

/* edge full|empty now|wait: who was refused is told by an edge when there is room again, though nobody looked meanwhile,
 * or looked since before. */
static void mode_edge(char **argv)
{
    bool out = strcmp(argv[2], "full") == 0;
    int set = epoll_create1(0), fds[2];
    pthread_t thread;
    set_up(true);
    int fd = pipe_of[out ? 1 : 0];
    struct epoll_event event = {.events = (out ? EPOLLOUT : EPOLLIN) | EPOLLET, .data.fd = fd};
    must(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
    say("open %d\n", look("epoll_wait", set, fd, out, -1, 10000));
    fds[0] = set;
    fds[1] = fd;
    if (strcmp(argv[3], "wait") == 0) {
        must(pthread_create(&thread, NULL, look_thread, fds) == 0);
        await_byte();
    }
    say("shut %ld\n", run_op(out ? "write" : "read"));
    say("next\n");
    if (strcmp(argv[3], "wait") == 0) {
        pthread_join(thread, NULL);
    } else {
        await_byte();
        say("thread %d\n", look("epoll_wait", set, fd, out, -1, -1));
    }
    tear_down();
}

static void mode_waiting(void)
{
    int set = epoll_create1(0), fds[2];
    pthread_t thread;
    char room[4096] = {0};
    set_up(true);
    while (syscall(SYS_write, pipe_of[1], room, sizeof(room)) > 0)
        ;
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.fd = pipe_of[1]};
    must(epoll_ctl(set, EPOLL_CTL_ADD, pipe_of[1], &event) == 0);
    fds[0] = set;
    fds[1] = pipe_of[1];
    must(pthread_create(&thread, NULL, look_thread, fds) == 0);
    await_byte(); /* the thread sleeps in epoll_wait, as far as the test can tell */
    say("shut %ld\n", run_op("write"));
    while (syscall(SYS_read, pipe_of[0], room, sizeof(room)) > 0)
        ;
    say("next\n");
    pthread_join(thread, NULL);
    tear_down();
}

/* What holds is given up at its time, not before. */
static void mode_times(void)
{
    struct timeval most = {0, 60000};
    static const struct {
        const char *name;
        clockid_t clock;
    } cases[] = {{"sem_timedwait", CLOCK_REALTIME},
                 {"sem_clockwait", CLOCK_MONOTONIC},
                 {"mq_timedsend", CLOCK_REALTIME},
                 {"mq_timedreceive", CLOCK_REALTIME},
                 {"send", -1},
                 {"recv", -1}};
    set_up(false);
    must(setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most)) == 0 &&
         setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most)) == 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct timespec until = in_ms(cases[i].clock < 0 ? CLOCK_MONOTONIC : cases[i].clock, 60), now;
        long rc = i == 0   ? sem_timedwait(&sem, &until)
                  : i == 1 ? sem_clockwait(&sem, CLOCK_MONOTONIC, &until)
                  : i == 2 ? mq_timedsend(queue, "x", 1, 0, &until)
                  : i == 3 ? mq_timedreceive(queue, in, sizeof(in), NULL, &until)
                  : i == 4 ? send(pair[0], "x", 1, 0)
                           : recv(pair[0], in, 1, 0);
        rc = rc < 0 ? -errno : rc;
        clock_gettime(cases[i].clock < 0 ? CLOCK_MONOTONIC : cases[i].clock, &now);
        bool late = now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec);
        say("%s %ld %s\n", cases[i].name, rc, late ? "late" : "early");
    }
    tear_down();
}

static sigjmp_buf back;
static volatile sig_atomic_t jumps;
static void on_signal(int signo)
{
    (void)signo;
    if (jumps)
        siglongjmp(back, 1);
    say("handled\n");
}

/* signal HOW NAME: `restart`, `interrupt` or `jump`. */
static void mode_signal(char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    action.sa_flags = strcmp(argv[2], "restart") == 0 ? SA_RESTART : 0;
    jumps = strcmp(argv[2], "jump") == 0;
    must(sigaction(SIGUSR1, &action, NULL) == 0);
    set_up(false);
    if (sigsetjmp(back, 1) == 0)
        say("%s %ld\n", argv[3], run_op(argv[3]));
    else
        say("jumped\n");
    sched_yield(); /* a pass, by which what was left behind is found */
    say("next\n");
    await_byte();
    if (jumps) {
        jumps = 0;
        long rc = run_op(argv[3]);
        say("%s %ld\n", argv[3], rc);
    }
    tear_down();
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void cleaned(void *arg)
{
    (void)arg;
    say("cleaned\n");
}

static void *held_thread(void *arg)
{
    char **argv = arg;
    long rc;
    pthread_cleanup_push(cleaned, NULL);
    if (strcmp(argv[2], "lock") == 0)
        rc = pthread_mutex_lock(&mutex);
    else
        rc = run_op(argv[2]);
    say("%s %ld\n", argv[2], rc);
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

/* cancel NAME: a thread that is held in the call is cancelled. */
static void mode_cancel(char **argv)
{
    pthread_t thread;
    void *result;
    set_up(false);
    must(pthread_create(&thread, NULL, held_thread, argv) == 0);
    await_byte();
    must(pthread_cancel(thread) == 0);
    say("cancelled\n");
    must(pthread_join(thread, &result) == 0);
    say("joined %d\n", result == PTHREAD_CANCELED);
    await_byte();
    tear_down();
}

/* end full|empty: the other end is closed while a thread is held. */
static void mode_end(char **argv)
{
    bool out = strcmp(argv[2], "full") == 0;
    static char w[] = "write", r[] = "read";
    char *name[] = {NULL, NULL, out ? w : r, NULL};
    pthread_t thread;
    signal(SIGPIPE, SIG_IGN);
    set_up(false);
    must(pthread_create(&thread, NULL, held_thread, name) == 0);
    await_byte();
    syscall(SYS_close, pipe_of[out ? 0 : 1]);
    pthread_join(thread, NULL);
    tear_down();
}

/* Who has the object by inheritance sees the same. */
static void mode_two(void)
{
    set_up(false);
    dontwait = true;
    say("parent %ld\n", run_op("send"));
    pid_t pid = fork();
    if (pid == 0) {
        say("child %ld\n", run_op("send"));
        dontwait = false;
        say("child %ld\n", run_op("send"));
        _exit(0);
    }
    must(pid > 0 && waitpid(pid, NULL, 0) == pid);
    tear_down();
}

/* stream HOW: numbers through a pipe, each side looking before it puts or takes. Nothing may be lost. */
enum { STREAM = 4000 };
static const char *stream_how;
static int stream_idle[2]; /* never ready */
static int stream_look(int set, int fd, bool out)
{
    if (strcmp(stream_how, "block") == 0)
        return 1;
    return look(stream_how, set, fd, out, stream_idle[0], -1);
}

static int stream_set(int fd, bool out)
{
    int set = epoll_create1(0);
    struct epoll_event event = {.events = out ? EPOLLOUT : EPOLLIN, .data.fd = fd};
    if (strcmp(stream_how, "epoll_edge") == 0)
        event.events |= EPOLLET;
    must(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
    return set;
}

static void *stream_writer(void *arg)
{
    int set = stream_set(pipe_of[1], true);
    (void)arg;
    for (uint32_t i = 0; i < STREAM;) {
        ssize_t n = write(pipe_of[1], &i, sizeof(i));
        must(n == sizeof(i) || (n < 0 && errno == EAGAIN));
        i += n > 0;
        if (n < 0)
            stream_look(set, pipe_of[1], true);
    }
    syscall(SYS_close, pipe_of[1]);
    return NULL;
}

static void mode_stream(char **argv)
{
    pthread_t thread;
    uint32_t next = 0, got;
    stream_how = argv[2];
    must(syscall(SYS_pipe2, stream_idle, 0L) == 0 && queue_open(pipe_of) == 0 &&
         fcntl(pipe_of[1], F_SETPIPE_SZ, 4096) == 4096);
    for (int i = 0; i < 2; i++)
        give_flag(pipe_of[i], strcmp(stream_how, "block") != 0);
    int set = stream_set(pipe_of[0], false);
    must(pthread_create(&thread, NULL, stream_writer, NULL) == 0);
    for (;;) {
        ssize_t n = read(pipe_of[0], &got, sizeof(got));
        if (n == 0)
            break;
        must(n == sizeof(got) || (n < 0 && errno == EAGAIN));
        if (n < 0) {
            stream_look(set, pipe_of[0], false);
            continue;
        }
        must(got == next);
        next++;
    }
    pthread_join(thread, NULL);
    say("stream %u\n", next);
}

/* A pass with two rules. */
static void mode_pass(void)
{
    sched_yield();
    say("passed\n");
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    if (strcmp(mode, "op") == 0)
        mode_op(argv);
    else if (strcmp(mode, "look") == 0)
        mode_look(argv);
    else if (strcmp(mode, "looks") == 0)
        mode_looks(argv);
    else if (strcmp(mode, "file") == 0)
        mode_file();
    else if (strcmp(mode, "edge") == 0)
        mode_edge(argv);
    else if (strcmp(mode, "waiting") == 0)
        mode_waiting();
    else if (strcmp(mode, "times") == 0)
        mode_times();
    else if (strcmp(mode, "signal") == 0)
        mode_signal(argv);
    else if (strcmp(mode, "cancel") == 0)
        mode_cancel(argv);
    else if (strcmp(mode, "end") == 0)
        mode_end(argv);
    else if (strcmp(mode, "two") == 0)
        mode_two();
    else if (strcmp(mode, "spurious") == 0)
        mode_spurious();
    else if (strcmp(mode, "corrupt") == 0)
        mode_corrupt(argv);
    else if (strcmp(mode, "child") == 0)
        mode_child();
    else if (strcmp(mode, "stop") == 0)
        mode_stop();
    else if (strcmp(mode, "stream") == 0)
        mode_stream(argv);
    else if (strcmp(mode, "pass") == 0)
        mode_pass();
    else
        return 2;
    return 0;
}
