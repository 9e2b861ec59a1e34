/* Cases with file locks: flock, fcntl and OFD locks. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

/* `n` files without a name, each opened twice: two descriptions of the same file. */
static void make_files(int n, int first[], int second[])
{
    for (int i = 0; i < n; i++) {
        char path[] = "/tmp/wedge-factory-XXXXXX";
        first[i] = mkostemp(path, O_CLOEXEC);
        second[i] = open(path, O_RDWR | O_CLOEXEC);
        if (first[i] < 0 || second[i] < 0 || unlink(path))
            factory_die("mkostemp");
    }
}

static void lock_with(int fd, int how)
{
    struct flock whole = {.l_type = F_WRLCK};
    if (how == LOCK_EX ? flock(fd, LOCK_EX) : fcntl(fd, how, &whole))
        factory_die("lock");
}

static void tell(int fd)
{
    if (write(fd, "x", 1) != 1)
        factory_die("write");
}
static void hear(int fd)
{
    char byte;
    if (read(fd, &byte, 1) != 1)
        _exit(3); /* the parent is gone */
}

/* Parent and child have each locked a file and want the other's. */
static void lock_cycle(int how)
{
    int here[2], there[2], ends[2];
    make_files(2, here, there);
    factory_pipe(ends);
    lock_with(here[0], how);
    /* Each keeps descriptions of its own: one that both have either of them could unlock. */
    if (factory_child() == 0) {
        close(here[0]);
        close(here[1]);
        lock_with(there[1], how);
        tell(ends[1]);
        lock_with(there[0], how);
        _exit(0);
    }
    close(there[0]);
    close(there[1]);
    hear(ends[0]);
    factory_ready();
    lock_with(here[1], how);
}
static void flock_cycle(void)
{
    lock_cycle(LOCK_EX);
}
static void ofd_cycle(void)
{
    lock_cycle(F_OFD_SETLKW);
}

/* The child has locked the file and waits for a message; the parent wants the lock before it sends one. */
static void fcntl_and_pipe(void)
{
    int here[1], there[1], ends[2], message[2];
    make_files(1, here, there);
    factory_pipe(ends);
    factory_pipe(message);
    if (factory_child() == 0) {
        close(message[1]);
        lock_with(there[0], F_SETLKW);
        tell(ends[1]);
        hear(message[0]);
        _exit(0);
    }
    hear(ends[0]);
    factory_ready();
    lock_with(here[0], F_SETLKW);
    tell(message[1]);
}

static void flock_self(void)
{
    int here[1], there[1];
    make_files(1, here, there);
    lock_with(here[0], LOCK_EX);
    factory_ready();
    lock_with(there[0], LOCK_EX);
}

/* Whoever took the lock is gone; a child of its that inherited the description waits for ever and keeps it. */
static void flock_inherited(void)
{
    int here[1], there[1], ends[2], never[2];
    make_files(1, here, there);
    factory_pipe(ends);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t pid = factory_child();
    if (pid == 0) {
        lock_with(here[0], LOCK_EX);
        if (fork() == 0) {
            factory_pipe(never);
            tell(ends[1]);
            hear(never[0]);
        }
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    hear(ends[0]);
    close(here[0]);
    factory_ready();
    lock_with(there[0], LOCK_EX);
}

/* A child locks and unlocks all the time. */
static void lock_busy(int how)
{
    int here[1], there[1], ends[2];
    make_files(1, here, there);
    factory_pipe(ends);
    if (factory_child() == 0) {
        struct flock none = {.l_type = F_UNLCK};
        lock_with(there[0], how);
        tell(ends[1]);
        for (;;) {
            factory_nap(30);
            if (how == LOCK_EX ? flock(there[0], LOCK_UN) : fcntl(there[0], how, &none))
                factory_die("unlock");
            factory_nap(1);
            lock_with(there[0], how);
        }
    }
    hear(ends[0]);
    factory_ready();
    for (;;) {
        struct flock none = {.l_type = F_UNLCK};
        lock_with(here[0], how);
        if (how == LOCK_EX ? flock(here[0], LOCK_UN) : fcntl(here[0], how, &none))
            factory_die("unlock");
    }
}
static void flock_busy(void)
{
    lock_busy(LOCK_EX);
}
static void fcntl_busy(void)
{
    lock_busy(F_SETLKW);
}
static void ofd_busy(void)
{
    lock_busy(F_OFD_SETLKW);
}

/* The kernel's list names the waiting process itself as the one who locked; but a child shares the description, and
 * unlocks. */
static void flock_by_child(void)
{
    int here[1], there[1];
    make_files(1, here, there);
    lock_with(here[0], LOCK_EX);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(30);
            flock(here[0], LOCK_UN);
        }
    factory_ready();
    for (;;) {
        lock_with(there[0], LOCK_EX);
        flock(there[0], LOCK_UN);
        lock_with(here[0], LOCK_EX);
    }
}

const struct factory_case factory_locks[] = {
    {"flock-cycle", flock_cycle, false},
    {"ofd-cycle", ofd_cycle, false},
    {"fcntl-and-pipe", fcntl_and_pipe, false},
    {"flock-self", flock_self, false},
    {"flock-inherited", flock_inherited, false},
    {"flock-busy", flock_busy, true},
    {"fcntl-busy", fcntl_busy, true},
    {"ofd-busy", ofd_busy, true},
    {"flock-by-child", flock_by_child, true},
    {NULL, NULL, false},
};
