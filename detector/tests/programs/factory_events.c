/* Cases with eventfds, timerfds, signals and signalfds, watched files, terminals. */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

/* ---- eventfd ---- */

static uint64_t take(int fd)
{
    uint64_t value = 0;
    /* A stop for a stack does not end this call; the end of the program does. */
    if (read(fd, &value, sizeof(value)) != (ssize_t)sizeof(value))
        _exit(3);
    return value;
}
static void give(int fd, uint64_t value)
{
    if (write(fd, &value, sizeof(value)) != (ssize_t)sizeof(value))
        _exit(3);
}
static int counter(unsigned start, int flags)
{
    int fd = eventfd(start, EFD_CLOEXEC | flags);
    if (fd < 0)
        factory_die("eventfd");
    return fd;
}

/* Each waits for an event that the other would raise afterwards. */
static void eventfd_both(void)
{
    int here = counter(0, 0), there = counter(0, EFD_SEMAPHORE);
    if (factory_child() == 0) {
        take(there);
        give(here, 1);
    }
    factory_ready();
    take(here);
    give(there, 1);
}

/* The kernel may raise an eventfd for a device that is open: nobody can tell. */
static void eventfd_with_device(void)
{
    int fd = counter(0, 0);
    if (open("/dev/kmsg", O_RDONLY | O_CLOEXEC) < 0 && open("/sys/fs/cgroup/cgroup.procs", O_RDONLY | O_CLOEXEC) < 0)
        open("/dev/mem", O_RDONLY | O_CLOEXEC);
    factory_ready();
    take(fd);
}

static void eventfd_poll_own(void)
{
    struct pollfd fds[1] = {{.fd = counter(0, 0), .events = POLLIN}};
    factory_ready();
    poll(fds, 1, -1);
}

static void eventfd_full(void)
{
    int fd = counter(0, 0);
    give(fd, UINT64_MAX - 1);
    factory_ready();
    give(fd, 1);
}

/* Only the descriptor that the child inherited tells who will raise it. */
static void eventfd_slow(void)
{
    int fd = counter(0, 0);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(30);
            give(fd, 1);
        }
    factory_ready();
    for (;;)
        take(fd);
}

/* Full for a moment, until the child takes. */
static void eventfd_drained(void)
{
    int fd = counter(0, 0);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(20);
            take(fd);
        }
    factory_ready();
    for (;;)
        give(fd, UINT64_MAX - 1);
}

/* ---- timerfd ---- */

static int timer(long ms)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    const struct itimerspec every = {.it_value = {0, ms * 1000000}, .it_interval = {0, ms * 1000000}};
    if (fd < 0 || (ms && timerfd_settime(fd, 0, &every, NULL)))
        factory_die("timerfd");
    return fd;
}

static void timerfd_disarmed(void)
{
    int fd = timer(0);
    factory_ready();
    take(fd);
}

static void timerfd_armed(void)
{
    int fd = timer(30);
    factory_ready();
    for (;;)
        take(fd);
}

static void timerfd_polled(void)
{
    struct pollfd fds[1] = {{.fd = timer(30), .events = POLLIN}};
    factory_ready();
    for (;;)
        if (poll(fds, 1, -1) == 1)
            take(fds[0].fd);
}

/* The child, which has the same timer, arms it. */
static void timerfd_armed_by_child(void)
{
    int fd = timer(0);
    if (factory_child() == 0)
        for (;;) {
            const struct itimerspec once = {.it_value = {0, 1000000}};
            factory_nap(30);
            timerfd_settime(fd, 0, &once, NULL);
        }
    factory_ready();
    for (;;)
        take(fd);
}

/* ---- signals ---- */

static sigset_t set_of(int first, int second)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, first);
    sigaddset(&set, second);
    return set;
}

/* A child that reads from a pipe of its own for ever, or ends after a while. */
static void start_reader(bool for_ever)
{
    if (factory_child())
        return;
    int ends[2];
    char byte;
    factory_pipe(ends);
    if (for_ever && read(ends[0], &byte, 1) < 0)
        _exit(3);
    factory_nap(30);
    _exit(0);
}

/* A supervisor waits for the end of a child that never ends. */
static void sigwait_child(void)
{
    sigset_t set = set_of(SIGCHLD, SIGTERM);
    int got;
    sigprocmask(SIG_BLOCK, &set, NULL);
    start_reader(true);
    factory_ready();
    sigwait(&set, &got);
}
static void signalfd_child(void)
{
    sigset_t set = set_of(SIGCHLD, SIGINT);
    struct signalfd_siginfo info;
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    start_reader(true);
    factory_ready();
    if (fd < 0 || read(fd, &info, sizeof(info)) < 0)
        factory_die("signalfd");
}
static void ignore(int signal_number)
{
    (void)signal_number;
}
static void suspend_for_child(bool for_ever)
{
    sigset_t set = set_of(SIGCHLD, SIGCHLD), before;
    const struct sigaction action = {.sa_handler = ignore, .sa_flags = SA_NOCLDSTOP};
    sigaction(SIGCHLD, &action, NULL);
    sigprocmask(SIG_BLOCK, &set, &before);
    start_reader(for_ever);
    factory_ready();
    while (waitpid(-1, NULL, WNOHANG) == 0 || !for_ever) {
        if (!for_ever)
            start_reader(false);
        sigsuspend(&before);
    }
}
static void sigsuspend_child(void)
{
    suspend_for_child(true);
}
static void sigsuspend_child_slow(void)
{
    suspend_for_child(false);
}

static void sigwait_child_slow(void)
{
    sigset_t set = set_of(SIGCHLD, SIGCHLD);
    int got;
    sigprocmask(SIG_BLOCK, &set, NULL);
    factory_ready();
    for (;;) {
        start_reader(false);
        sigwait(&set, &got);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}

/* As a daemon's main thread does: whoever wants it to end tells it. */
static void sigwait_term(void)
{
    sigset_t set = set_of(SIGTERM, SIGINT);
    int got;
    sigprocmask(SIG_BLOCK, &set, NULL);
    factory_ready();
    sigwait(&set, &got);
}
static void pause_for_ever(void)
{
    factory_ready();
    for (;;)
        pause();
}
/* It has a stuck child as well, but waits for more than that. */
static void sigwait_child_and_usr1(void)
{
    sigset_t set = set_of(SIGCHLD, SIGUSR1);
    int got;
    sigprocmask(SIG_BLOCK, &set, NULL);
    start_reader(false);
    factory_ready();
    for (;;)
        sigwait(&set, &got);
}

/* ---- the outside ---- */

static void fifo_open(void)
{
    char folder[] = "/tmp/wedge-factory-XXXXXX", path[64], self[32];
    if (!mkdtemp(folder))
        factory_die("mkdtemp");
    snprintf(path, sizeof(path), "%s/fifo", folder);
    if (mkfifo(path, 0600))
        factory_die("mkfifo");
    /* Nothing is left behind: it is opened through what is held of it. */
    snprintf(self, sizeof(self), "/proc/self/fd/%d", open(path, O_PATH | O_CLOEXEC));
    if (unlink(path) || rmdir(folder))
        factory_die("unlink");
    factory_ready();
    open(self, O_RDONLY | O_CLOEXEC);
}

static void terminal_read(void)
{
    int master, slave;
    char byte;
    if (openpty(&master, &slave, NULL, NULL, NULL))
        factory_die("openpty");
    factory_ready();
    if (read(slave, &byte, 1) < 0)
        factory_die("read");
}

static void inotify_read(void)
{
    int fd = inotify_init1(IN_CLOEXEC);
    char event[512];
    if (fd < 0 || inotify_add_watch(fd, "/", IN_MOVE_SELF) < 0)
        factory_die("inotify");
    factory_ready();
    if (read(fd, event, sizeof(event)) < 0)
        factory_die("read");
}

const struct factory_case factory_events[] = {
    {"eventfd-both", eventfd_both, false},
    {"eventfd-poll-own", eventfd_poll_own, false},
    {"eventfd-full", eventfd_full, false},
    {"eventfd-with-device", eventfd_with_device, false},
    {"timerfd-disarmed", timerfd_disarmed, false},
    {"sigwait-child", sigwait_child, false},
    {"signalfd-child", signalfd_child, false},
    {"sigsuspend-child", sigsuspend_child, false},
    {"eventfd-slow", eventfd_slow, true},
    {"eventfd-drained", eventfd_drained, true},
    {"timerfd-armed", timerfd_armed, true},
    {"timerfd-polled", timerfd_polled, true},
    {"timerfd-armed-by-child", timerfd_armed_by_child, true},
    {"sigwait-child-slow", sigwait_child_slow, true},
    {"sigsuspend-child-slow", sigsuspend_child_slow, true},
    {"sigwait-term", sigwait_term, true},
    {"sigwait-child-and-usr1", sigwait_child_and_usr1, true},
    {"pause", pause_for_ever, true},
    {"fifo-open", fifo_open, true},
    {"terminal-read", terminal_read, true},
    {"inotify-read", inotify_read, true},
    {NULL, NULL, false},
};
