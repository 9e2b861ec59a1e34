/*
 * Cases about the locks inside of libc: those of FILEs, of the time zone and of the loader.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

static FILE *files[2];

static void take_file(int which)
{
    flockfile(files[which]);
}
static void cross_files(void)
{
    for (int i = 0; i < 2; i++)
        if (!(files[i] = fopen("/dev/null", "w")))
            factory_die("fopen");
    factory_cross(take_file);
}

static void *print(void *arg)
{
    printf(".");
    return arg;
}
static void file_and_join(void)
{
    pthread_t thread;
    flockfile(stdout);
    factory_spawn(&thread, print, NULL);
    factory_ready();
    pthread_join(thread, NULL);
}

static void *take_file_and_end(void *arg)
{
    take_file(0);
    return arg;
}
static void file_abandoned(void)
{
    pthread_t thread;
    if (!(files[0] = fopen("/dev/null", "w")))
        factory_die("fopen");
    factory_spawn(&thread, take_file_and_end, NULL);
    pthread_join(thread, NULL);
    factory_ready();
    take_file(0);
}

static char fifo[64];
static _Atomic pid_t zone_reader;

/* Until that thread is in openat(), by which it waits for a FIFO's other end. */
static void until_it_opens(pid_t tid)
{
    char path[64], text[16];
    for (;;) {
        snprintf(path, sizeof(path), "/proc/%d/syscall", (int)tid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
        close(fd);
        if (got > 4 && strncmp(text, "257 ", 4) == 0)
            return;
        sched_yield();
    }
}
/* From here on tzset() reads the zone from a FIFO that nobody writes, and has libc's own lock meanwhile. */
static void make_zone(void)
{
    char name[80];
    snprintf(fifo, sizeof(fifo), "/tmp/wedge-factory-%d", (int)getpid());
    if (mkfifo(fifo, 0600))
        factory_die("mkfifo");
    snprintf(name, sizeof(name), ":%s", fifo);
    setenv("TZ", name, 1);
}
static void *read_zone(void *arg)
{
    zone_reader = gettid();
    tzset();
    return arg;
}
static void take_zone_lock(void)
{
    pthread_t thread;
    make_zone();
    factory_spawn(&thread, read_zone, NULL);
    while (!zone_reader)
        sched_yield();
    until_it_opens(zone_reader);
}
static void use_zone(void)
{
    time_t now = 0;
    struct tm tm;
    if (localtime(&now))
        localtime_r(&now, &tm);
}

/* In the child of a fork the lock is taken by a thread that is not there. */
static void zone_forked(void)
{
    take_zone_lock();
    unlink(fifo);
    pid_t pid = factory_child();
    if (pid == 0) {
        use_zone();
        _exit(0);
    }
    factory_ready();
    waitpid(pid, NULL, 0);
}

static void use_zone_in_handler(int number)
{
    (void)number;
    use_zone();
}
/* A handler interrupts tzset() and calls what needs the same lock. */
static void zone_in_handler(void)
{
    struct sigaction action = {.sa_handler = use_zone_in_handler, .sa_flags = SA_RESTART};
    pid_t parent = getpid();
    sigaction(SIGUSR1, &action, NULL);
    make_zone();
    if (factory_child() == 0) {
        until_it_opens(parent);
        unlink(fifo);
        factory_ready();
        kill(parent, SIGUSR1);
        _exit(0);
    }
    tzset();
}

/* A constructor waits for a thread that needs the loader's lock. */
static void load(void)
{
    factory_ready();
    if (!dlopen(WEDGE_FACTORY_PLUGIN, RTLD_NOW))
        factory_die(dlerror());
}

static void give_file(int which)
{
    funlockfile(files[which]);
}
/* Its owner is a pointer, half of which looks like the number of a thread that is gone. */
static void slow_file(void)
{
    if (!(files[0] = fopen("/dev/null", "w")))
        factory_die("fopen");
    factory_beside_slow(take_file, give_file);
}

/* The zone comes in the end: whoever has the lock waits for another process. */
static void slow_zone(void)
{
    take_zone_lock();
    if (factory_child() == 0) {
        factory_nap(20 * FACTORY_SLOW_MS);
        close(open(fifo, O_WRONLY | O_CLOEXEC));
        unlink(fifo);
        _exit(0);
    }
    factory_ready();
    use_zone();
    for (;;)
        factory_nap(FACTORY_SLOW_MS);
}

const struct factory_case factory_inside[] = {
    {"cross-files", cross_files, false},
    {"file-and-join", file_and_join, false},
    {"file-abandoned", file_abandoned, false},
    {"zone-forked", zone_forked, false},
    {"zone-in-handler", zone_in_handler, false},
    {"load", load, false},
    {"slow-file", slow_file, true},
    {"slow-zone", slow_zone, true},
    {NULL, NULL, false},
};
