/* Cases about who has which descriptor: threads with a table of their own (CLONE_FILES, unshare(2)), an end that is opened
 * once more through /proc, and a signal that the kernel sends for a descriptor (F_SETSIG, fcntl(2)). */
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

#define SLOW_MS 150

static int ends[2], other[2];
static char byte;

static void read_for_ever(int fd)
{
    while (read(fd, &byte, 1) == 1)
        ;
}

static void write_slowly(int fd)
{
    do
        factory_nap(SLOW_MS);
    while (write(fd, "x", 1) == 1);
    _exit(0);
}

static pthread_barrier_t apart;

static void *write_by_own_table(void *arg)
{
    if (unshare(CLONE_FILES))
        factory_die("unshare");
    pthread_barrier_wait(&apart);
    write_slowly(ends[1]);
    return arg;
}

/* A thread of the child has a write end that its process, as /proc/PID/fd shows it, does not have. */
static void own_table_writer(void)
{
    factory_pipe(ends);
    if (factory_child() == 0) {
        pthread_t thread;
        pthread_barrier_init(&apart, NULL, 2);
        factory_spawn(&thread, write_by_own_table, NULL);
        pthread_barrier_wait(&apart);
        close(ends[0]);
        close(ends[1]);
        pthread_join(thread, NULL);
    }
    factory_ready();
    read_for_ever(ends[0]);
}

static void *read_by_own_table(void *arg)
{
    if (unshare(CLONE_FILES) || dup2(other[0], ends[0]) < 0)
        factory_die("unshare");
    read_for_ever(ends[0]);
    return arg;
}

static void *write_what_was_on_its_way(void *arg)
{
    int pair[2];
    if (unshare(CLONE_FILES) || socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair))
        factory_die("unshare");
    factory_send_end(pair[0], ends[1]);
    close(ends[0]);
    close(ends[1]);
    pthread_barrier_wait(&apart);
    factory_nap(SLOW_MS * 4);
    write_slowly(factory_receive_end(pair[1]));
    return arg;
}

/* The end is in a message, and the socket that it waits in has a thread alone. */
static void own_table_message(void)
{
    factory_pipe(ends);
    if (factory_child() == 0) {
        pthread_t thread;
        pthread_barrier_init(&apart, NULL, 2);
        factory_spawn(&thread, write_what_was_on_its_way, NULL);
        pthread_barrier_wait(&apart);
        close(ends[0]);
        close(ends[1]);
        factory_ready();
        pthread_join(thread, NULL);
    }
    read_for_ever(ends[0]);
}

/* One number, two pipes: that of the process nobody else has, that of its thread a child writes to. */
static void own_table_reader(void)
{
    pthread_t thread;
    factory_pipe(ends);
    factory_pipe(other);
    if (factory_child() == 0) {
        close(ends[0]);
        close(ends[1]);
        write_slowly(other[1]);
    }
    factory_spawn(&thread, read_by_own_table, NULL);
    factory_ready();
    pthread_join(thread, NULL);
}

/* Who can read a pipe can open it for writing, too, if its owner and mode let him (proc(5), /proc/PID/fd). */
static void pipe_reopened(void)
{
    factory_pipe(ends);
    if (factory_child() == 0) {
        char name[64];
        close(ends[1]);
        snprintf(name, sizeof(name), "/proc/self/fd/%d", ends[0]);
        for (int fd = 0; fd >= 0; close(fd)) {
            factory_nap(SLOW_MS);
            fd = open(name, O_WRONLY | O_CLOEXEC);
            if (fd < 0 || write(fd, "x", 1) != 1)
                _exit(3);
        }
    }
    factory_ready();
    read_for_ever(ends[0]);
}

/* In a daemon: it ends with the root. */
static void write_while(pid_t root)
{
    struct timespec ts = {.tv_nsec = 40 * 1000000};
    while (kill(root, 0) == 0 && write(ends[1], "x", 1) == 1)
        nanosleep(&ts, NULL);
    _exit(0);
}

static sem_t posted;
static void take_and_post(int signal_number)
{
    (void)signal_number;
    while (read(ends[0], &byte, 1) == 1)
        sem_post(&posted);
}

/* A daemon that nobody of the tree knows writes to a pipe, and the kernel tells its reader by the signal that it asked for. */
static void signal_by_descriptor(void)
{
    const struct sigaction action = {.sa_handler = take_and_post};
    factory_pipe(ends);
    sem_init(&posted, 0, 0);
    pid_t root = getpid(), pid = fork();
    if (pid == 0) {
        if (fork() != 0)
            _exit(0);
        setsid();
        write_while(root);
    }
    waitpid(pid, NULL, 0);
    close(ends[1]);
    if (sigaction(SIGUSR2, &action, NULL) || fcntl(ends[0], F_SETOWN, root) || fcntl(ends[0], F_SETSIG, SIGUSR2) ||
        fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK))
        factory_die("fcntl");
    factory_ready();
    for (;;)
        sem_wait(&posted);
}

static void post(int signal_number)
{
    (void)signal_number;
    sem_post(&posted);
}

/* The same, but the descriptor is one that a child has, which is stuck itself. */
static void signal_by_childs_descriptor(void)
{
    const struct sigaction action = {.sa_handler = post};
    factory_pipe(ends);
    factory_pipe(other);
    sem_init(&posted, 0, 0);
    pid_t root = getpid();
    if (sigaction(SIGUSR2, &action, NULL))
        factory_die("sigaction");
    if (factory_child() == 0) {
        close(other[1]);
        pid_t pid = fork();
        if (pid == 0) {
            if (fork() != 0)
                _exit(0);
            setsid();
            close(other[0]);
            write_while(root);
        }
        waitpid(pid, NULL, 0);
        close(ends[1]);
        if (fcntl(ends[0], F_SETOWN, root) || fcntl(ends[0], F_SETSIG, SIGUSR2) ||
            fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK))
            factory_die("fcntl");
        factory_ready();
        read_for_ever(other[0]);
        _exit(0);
    }
    close(ends[0]);
    close(ends[1]);
    for (;;)
        sem_wait(&posted);
}

const struct factory_case factory_tables[] = {
    {"own-table-writer", own_table_writer, true},
    {"own-table-message", own_table_message, true},
    {"own-table-reader", own_table_reader, true},
    {"pipe-reopened", pipe_reopened, true},
    {"signal-by-descriptor", signal_by_descriptor, true},
    {"signal-by-childs-descriptor", signal_by_childs_descriptor, true},
    {NULL, NULL, false},
};
