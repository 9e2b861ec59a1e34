/*
 * Cases whose waker is no party to the hang that the rest of them would be: a child beside the tree, a process that is traced and
 * nobody's child, the clock set anew, a name that cannot be ruled out.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

static char byte;

/* A child that reads what only this process would write. Returns the write end. */
static int start_asker(void)
{
    int ends[2];
    factory_pipe(ends);
    if (factory_child() == 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 1);
    }
    close(ends[0]);
    return ends[1];
}

/* It waits for either of two children, and only the one that waits for it is in the tree that is looked at: the first. */
static void parent_of_two(void)
{
    int end = start_asker();
    if (factory_child() == 0) {
        close(end);
        for (;;)
            factory_nap(30);
    }
    factory_ready();
    waitpid(-1, NULL, 0);
    if (write(end, "x", 1) != 1)
        _exit(1);
}

/* A grandchild whose parent is gone, and which signals itself now and then: its tracer hears of it. */
static pid_t start_tracee(pid_t tracer)
{
    int told[2];
    pid_t pid = 0;
    factory_pipe(told);
    pid_t between = fork();
    if (between < 0)
        factory_die("fork");
    if (between == 0) {
        if (fork())
            _exit(0);
        pid = getpid();
        prctl(PR_SET_PTRACER, tracer);
        signal(SIGUSR1, SIG_IGN);
        if (write(told[1], &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
            _exit(1);
        close(told[0]);
        close(told[1]);
        /* Bounded: should the tracer die before it traces, nobody would end this. A tracer hears of signals that are ignored,
         * too (ptrace(2)). */
        for (int i = 0; i < 100; i++) {
            factory_nap(1000);
            raise(SIGUSR1);
        }
        _exit(0);
    }
    if (waitpid(between, NULL, 0) != between || read(told[0], &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
        factory_die("start_tracee");
    close(told[0]);
    close(told[1]);
    return pid;
}

/* It waits for its child, which waits for it, and for whom it traces. */
static void parent_and_tracer(void)
{
    pid_t traced = start_tracee(getpid());
    if (ptrace(PTRACE_SEIZE, traced, NULL, PTRACE_O_EXITKILL))
        factory_die("PTRACE_SEIZE");
    int end = start_asker();
    factory_ready();
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid != traced || !WIFSTOPPED(status) || ptrace(PTRACE_CONT, pid, NULL, 0))
            _exit(write(end, "x", 1) != 1);
    }
}

/* Whoever sets the clock ends the wait long before its time (timerfd_create(2)). */
static void timerfd_until_clock_is_set(void)
{
    struct itimerspec when = {.it_value.tv_sec = time(NULL) + 36000};
    uint64_t times;
    int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
    if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL))
        factory_die("timerfd");
    factory_ready();
    while (read(fd, &times, sizeof(times)) < 0)
        ;
}

/* The same without that: nobody is left who could. */
static void timerfd_far(void)
{
    struct itimerspec when = {.it_value.tv_sec = time(NULL) + 36000};
    uint64_t times;
    int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
    if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL))
        factory_die("timerfd");
    factory_ready();
    while (read(fd, &times, sizeof(times)) < 0)
        ;
}

/* The write end of the pipe that is polled is on its way to a child, again and again. */
static void poll_end_in_message(void)
{
    int by[2], ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, by))
        factory_die("socketpair");
    if (factory_child() == 0)
        for (;;) {
            factory_nap(30);
            int end = factory_receive_end(by[1]);
            if (write(end, "x", 1) != 1)
                _exit(0);
            close(end);
        }
    factory_pipe(ends);
    struct pollfd fds[1] = {{.fd = ends[0], .events = POLLIN}};
    factory_ready();
    do
        factory_send_end(by[0], ends[1]);
    while (poll(fds, 1, -1) == 1 && read(ends[0], &byte, 1) == 1);
}

/* Its memory is a file that is removed. Whether that had a second name only root is told. */
static void sem_in_removed_file(void)
{
    char path[] = "/tmp/wedge-factory-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || unlink(path) || ftruncate(fd, sizeof(sem_t)))
        factory_die("mkstemp");
    sem_t *sem = mmap(NULL, sizeof(*sem), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (sem == MAP_FAILED || sem_init(sem, 1, 0))
        factory_die("mmap");
    factory_ready();
    while (sem_wait(sem))
        ;
}

/* Has another process answer its calls of read(2): seccomp_unotify(2). Returns what that one needs. */
static int hand_reads_on(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        factory_die("PR_SET_NO_NEW_PRIVS");
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (fd < 0)
        factory_die("seccomp");
    return (int)fd;
}

/* Its child reads a pipe of which nobody else has an end, and the parent answers that read after a while. */
static void read_by_notifier(void)
{
    int by[2], own[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, by))
        factory_die("socketpair");
    if (factory_child() == 0) {
        factory_pipe(own);
        factory_send_end(by[1], hand_reads_on());
        for (;;)
            if (read(own[0], &byte, 1) < 0)
                _exit(0);
    }
    int fd = factory_receive_end(by[0]);
    factory_ready();
    for (;;) {
        struct seccomp_notif call = {0};
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &call))
            factory_die("SECCOMP_IOCTL_NOTIF_RECV");
        factory_nap(FACTORY_SLOW_MS);
        struct seccomp_notif_resp answer = {.id = call.id, .val = 1};
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer))
            factory_die("SECCOMP_IOCTL_NOTIF_SEND");
    }
}

const struct factory_case factory_outside[] = {
    {"read-by-notifier", read_by_notifier, true},
    {"parent-of-two", parent_of_two, true},
    {"parent-and-tracer", parent_and_tracer, true},
    {"timerfd-until-clock-is-set", timerfd_until_clock_is_set, true},
    {"timerfd-far", timerfd_far, false},
    {"poll-end-in-message", poll_end_in_message, true},
    {"sem-in-removed-file", sem_in_removed_file, false},
    {NULL, NULL, false},
};
