/* Cases with children: vfork, whose child lives in its parent's memory while the parent stands; pidfds; children that
 * stop and go on. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

#ifndef P_PIDFD
#define P_PIDFD 3 /* before glibc 2.36 */
#endif

static char byte;
static int ends[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The child waits for a message from its parent. */
static void vfork_pipe(void)
{
    factory_pipe(ends);
    factory_ready();
    pid_t pid = vfork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* of its own: nobody else's memory is touched */
        _exit(read(ends[0], &byte, 1) == 1);
    }
}

/* The child wants a lock that its parent has: the same lock, in the same memory. */
static void vfork_own_lock(void)
{
    pthread_mutex_lock(&lock);
    factory_ready();
    pid_t pid = vfork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pthread_mutex_lock(&lock);
        _exit(0);
    }
}

static void vfork_slow(void)
{
    factory_ready();
    for (;;) {
        pid_t pid = vfork();
        if (pid == 0) {
            factory_nap(20);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
}

/* Another thread of the parent releases the lock that the child waits for. To somebody who takes the child's memory for
 * a copy, as fork makes one, its owner would be gone. */
static void *hold_now_and_then(void *arg)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        factory_nap(20);
        pthread_mutex_unlock(&lock);
        factory_nap(5);
    }
    return arg;
}
static void vfork_and_lock(void)
{
    pthread_t thread;
    factory_spawn(&thread, hold_now_and_then, NULL);
    factory_ready();
    for (;;) {
        pid_t pid = vfork();
        if (pid == 0) {
            pthread_mutex_lock(&lock);
            pthread_mutex_unlock(&lock);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
}

/* ---- pidfds ---- */

/* A child that waits for ever, or naps and ends. Returns its pidfd. */
static int child_by_descriptor(bool for_ever)
{
    pid_t pid = factory_child();
    if (pid == 0) {
        int own[2];
        factory_pipe(own);
        if (for_ever && read(own[0], &byte, 1) < 0)
            _exit(3);
        factory_nap(150);
        _exit(0);
    }
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        factory_die("pidfd_open");
    return fd;
}
static void wait_by_pidfd(void)
{
    siginfo_t info;
    int fd = child_by_descriptor(true);
    factory_ready();
    waitid(P_PIDFD, (id_t)fd, &info, WEXITED);
}
static void poll_pidfd(void)
{
    struct pollfd fds[1] = {{.fd = child_by_descriptor(true), .events = POLLIN}};
    factory_ready();
    poll(fds, 1, -1);
}
static void wait_by_pidfd_slow(void)
{
    siginfo_t info;
    factory_ready();
    for (;;) {
        int fd = child_by_descriptor(false);
        waitid(P_PIDFD, (id_t)fd, &info, WEXITED);
        close(fd);
    }
}
/* The child has ended and is not yet reaped: its pidfd stays readable. */
static void poll_pidfd_slow(void)
{
    factory_ready();
    for (;;) {
        struct pollfd fds[1] = {{.fd = child_by_descriptor(false), .events = POLLIN}};
        poll(fds, 1, -1);
        waitpid(-1, NULL, 0);
        close(fds[0].fd);
    }
}

/* ---- the children of others ---- */

/* Each time it leaves an orphan behind, which ends soon after. */
static void leave_orphan(void)
{
    pid_t pid = factory_child();
    if (pid == 0) {
        pid = fork();
        if (pid == 0)
            factory_nap(20);
        _exit(pid < 0);
    }
    waitpid(pid, NULL, 0);
}
/* A child that waits for ever, and has one that does not. */
static pid_t child_with_child(void (*act)(void))
{
    pid_t pid = factory_child();
    if (pid != 0)
        return pid;
    if (factory_child() == 0)
        for (;;) {
            act();
            factory_nap(100);
        }
    factory_pipe(ends);
    _exit(read(ends[0], &byte, 1) == 1);
}
static void do_nothing(void) {}
/* It takes in the orphans below it, and so its wait for a child ends (prctl(2)); /proc does not tell who does that. */
static void orphans_adopted(void)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1))
        factory_die("prctl");
    child_with_child(leave_orphan);
    factory_ready();
    for (;;)
        wait(NULL);
}
static void grandchild_lives(void)
{
    child_with_child(do_nothing);
    factory_ready();
    wait(NULL);
}
/* A child that waits for ever, in a group of its own. */
static pid_t stuck_group(void)
{
    pid_t group = factory_child();
    if (group == 0) {
        factory_pipe(ends);
        _exit(read(ends[0], &byte, 1) == 1);
    }
    setpgid(group, group);
    return group;
}
/* Another child, which lives, goes over into the group to end there. */
static void group_joined(void)
{
    pid_t group = stuck_group();
    factory_ready();
    for (;;) {
        pid_t pid = factory_child();
        if (pid == 0) {
            factory_nap(100);
            _exit(setpgid(0, group) != 0);
        }
        waitpid(-group, NULL, 0);
    }
}
static void group_alone(void)
{
    pid_t group = stuck_group();
    factory_ready();
    waitpid(-group, NULL, 0);
}
/* By its number it can only be the child that it has. */
static void child_by_number(void)
{
    pid_t pid = child_with_child(do_nothing);
    factory_ready();
    waitpid(pid, NULL, 0);
}

/* A child stops and is continued by another one; the parent waits for these changes alone. */
static void wait_for_stops(void)
{
    pid_t pid = factory_child();
    if (pid == 0)
        for (;;)
            raise(SIGSTOP);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(20);
            kill(pid, SIGCONT);
        }
    factory_ready();
    for (;;)
        waitpid(pid, NULL, WUNTRACED | WCONTINUED);
}

/* A process of its own that lives in this one's memory, as no thread does: it posts what its parent waits for. */
static sem_t posted;
static int post_now_and_then(void *arg)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        struct timespec ts = {.tv_nsec = 20000000};
        syscall(SYS_nanosleep, &ts, NULL);
        sem_post(arg);
    }
    return 0;
}
static void clone_and_post(void)
{
    static _Alignas(16) char stack[65536];
    sem_init(&posted, 0, 0);
    if (clone(post_now_and_then, stack + sizeof(stack), CLONE_VM | SIGCHLD, &posted) < 0)
        factory_die("clone");
    factory_ready();
    for (;;)
        sem_wait(&posted);
}

/* Two of them, neither the other's parent; theirs waits for the one that waits. */
static int take_what_is_posted(void *arg)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        sem_wait(arg);
    return 0;
}
static void clone_siblings(void)
{
    static _Alignas(16) char stacks[2][65536];
    sem_init(&posted, 0, 0);
    pid_t waits = clone(take_what_is_posted, stacks[0] + sizeof(stacks[0]), CLONE_VM | SIGCHLD, &posted);
    if (waits < 0 || clone(post_now_and_then, stacks[1] + sizeof(stacks[1]), CLONE_VM | SIGCHLD, &posted) < 0)
        factory_die("clone");
    factory_ready();
    waitpid(waits, NULL, 0);
}

const struct factory_case factory_vfork[] = {
    /* hangs */
    {"wait-by-pidfd", wait_by_pidfd, false},
    {"poll-pidfd", poll_pidfd, false},
    {"vfork-pipe", vfork_pipe, false},
    {"vfork-own-lock", vfork_own_lock, false},
    {"grandchild-lives", grandchild_lives, false},
    {"child-by-number", child_by_number, false},
    {"group-alone", group_alone, false},
    /* get on */
    {"wait-by-pidfd-slow", wait_by_pidfd_slow, true},
    {"poll-pidfd-slow", poll_pidfd_slow, true},
    {"orphans-adopted", orphans_adopted, true},
    {"group-joined", group_joined, true},
    {"wait-for-stops", wait_for_stops, true},
    {"clone-and-post", clone_and_post, true},
    {"clone-siblings", clone_siblings, true},
    {"vfork-slow", vfork_slow, true},
    {"vfork-and-lock", vfork_and_lock, true},
    {NULL, NULL, false},
};
