/* Cases about who else may end a wait: timers of the program's own, work that the kernel does for it (io_uring), memory that
 * is handed on, signals that it asked the kernel for, and an owner whose number is another's, too. */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

/* Longer than a look takes, so that nothing moves in most of them. */
#define SLOW_MS 150

static char byte;

static void leave(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

static void handle(int signal_number, void (*handler)(int))
{
    const struct sigaction action = {.sa_handler = handler};
    if (sigaction(signal_number, &action, NULL))
        factory_die("sigaction");
}

/* Two threads that wait for each other's lock. Recursive ones: nobody but its owner may unlock one, which is certain. */
static pthread_mutex_t locks[2];
static pthread_barrier_t both_have;
static void *take_other_way(void *arg)
{
    pthread_mutex_lock(&locks[1]);
    pthread_barrier_wait(&both_have);
    pthread_mutex_lock(&locks[0]);
    return arg;
}
static void cross(void (*say)(void))
{
    pthread_mutexattr_t attr;
    pthread_t thread;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    for (int i = 0; i < 2; i++)
        pthread_mutex_init(&locks[i], &attr);
    pthread_barrier_init(&both_have, NULL, 2);
    factory_spawn(&thread, take_other_way, NULL);
    pthread_mutex_lock(&locks[0]);
    pthread_barrier_wait(&both_have);
    say();
    pthread_mutex_lock(&locks[1]);
}
static void say_nothing(void) {}
static int said[2];
static void say_so(void)
{
    if (write(said[1], "x", 1) != 1)
        _exit(3);
    close(said[0]);
    close(said[1]);
}

/* ---- timers ---- */

static void arm(int signal_number)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal_number};
    const struct itimerspec value = {.it_value = {.tv_nsec = SLOW_MS * 1000000}};
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &value, NULL))
        factory_die("timer_create");
}

/* Again and again a child of which two threads wait for each other, until a timer of its own ends it. */
static void in_children(void (*prepare)(void))
{
    factory_ready();
    for (;;) {
        pid_t pid = factory_child();
        if (pid == 0) {
            prepare();
            cross(say_nothing);
        }
        if (waitpid(pid, NULL, 0) != pid)
            _exit(3);
    }
}
static void prepare_leaving(void)
{
    handle(SIGUSR1, leave);
    arm(SIGUSR1);
}
static void timer_leaves(void)
{
    in_children(prepare_leaving);
}
static void prepare_dying(void)
{
    arm(SIGTERM);
}
static void timer_kills(void)
{
    in_children(prepare_dying);
}
static void timer_ignored(void)
{
    signal(SIGUSR1, SIG_IGN);
    arm(SIGUSR1);
    cross(factory_ready);
}

/* ---- io_uring, by its system calls: the library is no part of what is tested ---- */

struct ring {
    int fd;
    char *queue;
    struct io_uring_sqe *entries;
    size_t queue_bytes, entry_bytes;
    unsigned *tail, *mask, *array;
    const unsigned *completed;
};

/* False: this machine has none for us. */
static bool ring_make(struct ring *r, unsigned entries)
{
    struct io_uring_params p = {0};
    r->fd = (int)syscall(SYS_io_uring_setup, entries, &p);
    if (r->fd < 0)
        return false;
    r->queue_bytes = p.sq_off.array + p.sq_entries * sizeof(unsigned);
    size_t answers = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    r->queue_bytes = answers > r->queue_bytes ? answers : r->queue_bytes;
    r->entry_bytes = p.sq_entries * sizeof(struct io_uring_sqe);
    r->queue = mmap(NULL, r->queue_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
    r->entries = mmap(NULL, r->entry_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
    if (r->queue == MAP_FAILED || r->entries == MAP_FAILED)
        factory_die("mmap");
    r->tail = (unsigned *)(void *)(r->queue + p.sq_off.tail);
    r->mask = (unsigned *)(void *)(r->queue + p.sq_off.ring_mask);
    r->array = (unsigned *)(void *)(r->queue + p.sq_off.array);
    r->completed = (unsigned *)(void *)(r->queue + p.cq_off.tail);
    return true;
}

static void ring_add(const struct ring *r, struct io_uring_sqe entry)
{
    unsigned i = *r->tail & *r->mask;
    r->entries[i] = entry;
    r->array[i] = i;
    __atomic_store_n(r->tail, *r->tail + 1, __ATOMIC_RELEASE);
}

static void ring_submit(const struct ring *r, unsigned n)
{
    if (syscall(SYS_io_uring_enter, r->fd, n, 0, 0, NULL, 0) != (long)n)
        factory_die("io_uring_enter");
}

/* Has the kernel write a byte each SLOW_MS, for minutes: a chain of pauses and writes. */
static void ring_write_slowly(const struct ring *r, int fd, unsigned times)
{
    static const struct __kernel_timespec pause = {.tv_nsec = SLOW_MS * 1000000};
    for (unsigned i = 0; i < times; i++) {
        ring_add(r, (struct io_uring_sqe){
                        .opcode = IORING_OP_TIMEOUT, .addr = (uintptr_t)&pause, .len = 1, .flags = IOSQE_IO_HARDLINK});
        ring_add(r, (struct io_uring_sqe){.opcode = IORING_OP_WRITE,
                                          .fd = fd,
                                          .addr = (uintptr_t) "x",
                                          .len = 1,
                                          .off = UINT64_MAX,
                                          .flags = i + 1 < times ? IOSQE_IO_HARDLINK : 0});
    }
    ring_submit(r, 2 * times);
}

/* The root reads from a child that waits for another one, which is stuck: but the kernel writes for the child. */
static void ring_of_a_waker(void)
{
    enum { TIMES = 2000 };
    int ends[2];
    pthread_mutex_t *lock = factory_mutexes(1, PTHREAD_MUTEX_RECURSIVE, 0);
    factory_pipe(ends);
    factory_pipe(said);
    if (factory_child() == 0) {
        close(ends[0]);
        close(ends[1]);
        pthread_mutex_lock(lock);
        cross(say_so);
    }
    if (read(said[0], &byte, 1) != 1)
        factory_die("read");
    close(said[0]);
    close(said[1]);
    if (factory_child() == 0) {
        struct ring ring;
        close(ends[0]);
        if (!ring_make(&ring, 2 * TIMES))
            factory_die("io_uring_setup");
        ring_write_slowly(&ring, ends[1], TIMES);
        pthread_mutex_lock(lock);
    }
    close(ends[1]);
    factory_ready();
    while (read(ends[0], &byte, 1) == 1)
        ;
}

/* A ring is closed and unmapped, and its work with it: io_ring_exit_work() (io_uring/io_uring.c) cancels what is left. */
static void ring_over(void)
{
    int ends[2];
    struct ring ring;
    factory_pipe(ends);
    if (ring_make(&ring, 8)) {
        ring_write_slowly(&ring, ends[1], 4);
        munmap(ring.queue, ring.queue_bytes);
        munmap(ring.entries, ring.entry_bytes);
        close(ring.fd);
    }
    factory_ready();
    while (read(ends[0], &byte, 1) == 1)
        ;
}

/* Two threads that wait for each other, beside a thread of the kernel's that has done its work (iou-wrk). */
static void ring_worker(void)
{
    struct ring ring;
    if (!ring_make(&ring, 8))
        factory_die("io_uring_setup");
    ring_add(&ring, (struct io_uring_sqe){.opcode = IORING_OP_NOP, .flags = IOSQE_ASYNC});
    ring_submit(&ring, 1);
    while (!__atomic_load_n(ring.completed, __ATOMIC_ACQUIRE))
        factory_nap(1);
    cross(factory_ready);
}

/* ---- memory ---- */

static void *map_of(int fd, int access, int flags)
{
    void *at = mmap(NULL, 4096, access, flags, fd, 0);
    if (at == MAP_FAILED)
        factory_die("mmap");
    return at;
}

/* Whoever will post has the memory in a message alone. */
static void memory_in_message(void)
{
    int by[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, by))
        factory_die("socketpair");
    if (factory_child() == 0) {
        close(by[0]);
        for (;;) {
            factory_nap(SLOW_MS);
            int fd = factory_receive_end(by[1]);
            sem_t *posted = map_of(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
            close(fd);
            sem_post(posted);
            munmap(posted, 4096);
        }
    }
    close(by[1]);
    for (bool first = true;; first = false) {
        int fd = memfd_create("factory", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, 4096))
            factory_die("memfd_create");
        sem_t *posted = map_of(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
        sem_init(posted, 1, 0);
        factory_send_end(by[0], fd);
        close(fd);
        if (first)
            factory_ready();
        while (sem_wait(posted))
            ;
        munmap(posted, 4096);
    }
}

/* A page of a file that is private and only read is still the file's: who writes to the file wakes who sleeps on it. */
static void memory_read_only(void)
{
    int fd = memfd_create("factory", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 4096))
        factory_die("memfd_create");
    if (factory_child() == 0) {
        uint32_t *word = map_of(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
        for (;;) {
            factory_nap(SLOW_MS);
            __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
            syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
        }
    }
    const uint32_t *word = map_of(fd, PROT_READ, MAP_PRIVATE);
    close(fd);
    factory_ready();
    for (;;)
        syscall(SYS_futex, word, FUTEX_WAIT, __atomic_load_n(word, __ATOMIC_SEQ_CST), NULL, NULL, 0);
}

/* ---- signals for descriptors ---- */

/* Again and again a child of which two threads wait for each other, until what the parent does to a file has the kernel send
 * it the signal that it asked for. */
static void by_descriptor(void (*ask)(void), void (*act)(void))
{
    factory_pipe(said);
    factory_ready();
    for (;;) {
        pid_t pid = factory_child();
        if (pid == 0) {
            ask();
            cross(say_so);
        }
        if (read(said[0], &byte, 1) != 1)
            _exit(3);
        factory_nap(SLOW_MS);
        act();
        if (waitpid(pid, NULL, 0) != pid)
            _exit(3);
    }
}

static int near = -1, far = -1;

/* A connection of TCP, whose urgent data raise SIGURG at whoever is set as the owner (tcp(7)). */
static void connect_ends(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || near < 0 || bind(listener, (struct sockaddr *)&at, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&at, &size) || connect(near, (struct sockaddr *)&at, size))
        factory_die("connect");
    far = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (far < 0)
        factory_die("accept");
    close(listener);
}
static void ask_for_urgent(void)
{
    close(far);
    handle(SIGURG, leave);
    if (fcntl(near, F_SETOWN, getpid()))
        factory_die("fcntl");
}
static void send_urgent(void)
{
    if (send(far, "!", 1, MSG_OOB) != 1)
        _exit(3);
}
static void urgent_byte(void)
{
    connect_ends();
    by_descriptor(ask_for_urgent, send_urgent);
}

/* A folder without a name any more, and a file in it (fcntl(2), F_NOTIFY). Opened anew: an open file keeps its first owner. */
static void ask_for_changes(void)
{
    char name[64];
    handle(SIGUSR1, leave);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", near);
    int folder = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || fcntl(folder, F_SETSIG, SIGUSR1) || fcntl(folder, F_NOTIFY, DN_MODIFY))
        factory_die("fcntl");
    close(far);
}
static void change(void)
{
    if (write(far, "x", 1) != 1)
        _exit(3);
}
static void folder_watched(void)
{
    char folder[] = "/tmp/wedge-factory-XXXXXX";
    near = mkdtemp(folder) ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    far = near < 0 ? -1 : openat(near, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (far < 0 || unlinkat(near, "file", 0) || rmdir(folder))
        factory_die("mkdtemp");
    by_descriptor(ask_for_changes, change);
}

/* ---- one number, two threads ---- */

/* Makes a process with this number in a PID namespace of its own, without descriptor `without`. Without the right to: any process.
 * False: in the one that asked. */
static bool fork_as(pid_t number, int without)
{
    char text[16];
    bool inner = unshare(CLONE_NEWPID) == 0;
    pid_t pid = fork(); /* not factory_child: a parent outside the namespace has no number in it */
    if (pid < 0)
        factory_die("fork");
    if (pid > 0)
        return false;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(without);
    /* The first one of the namespace; the next one gets the number (pid_namespaces(7)). */
    int fd = inner ? open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC) : -1;
    int length = snprintf(text, sizeof(text), "%d", (int)number - 1);
    if (fd >= 0 && write(fd, text, (size_t)length) != length)
        factory_die("ns_last_pid");
    if (factory_child() != 0)
        for (;;)
            pause();
    return true;
}

/* The owner of the lock is in a namespace of its own, where it has the number that a stuck process has here. */
static void owner_in_namespace(void)
{
    int ends[2];
    pthread_mutex_t *lock = factory_mutexes(1, PTHREAD_MUTEX_RECURSIVE, 0);
    factory_pipe(ends);
    pid_t stuck = factory_child();
    if (stuck == 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 1);
    }
    close(ends[0]);
    if (fork_as(stuck, ends[1]))
        for (;;) {
            pthread_mutex_lock(lock);
            factory_nap(SLOW_MS);
            pthread_mutex_unlock(lock);
            factory_nap(1);
        }
    factory_ready();
    for (;;) {
        pthread_mutex_lock(lock);
        pthread_mutex_unlock(lock);
        factory_nap(1);
    }
}

/* ---- clocks ---- */

/* A child whose monotonic clock is ten days ahead (time_namespaces(7)): its deadlines are near, and look far away. Without the
 * right to: one whose clock is as all others'. */
static void clock_ahead(void)
{
    static const char ahead[] = "monotonic 864000 0\nboottime 864000 0\n";
    sem_t posted;
    int fd = unshare(CLONE_NEWTIME) ? -1 : open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, ahead, sizeof(ahead) - 1) != (ssize_t)sizeof(ahead) - 1)
        factory_die("timens_offsets");
    if (factory_child() != 0) {
        factory_ready();
        _exit(wait(NULL) < 0);
    }
    sem_init(&posted, 0, 0);
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += SLOW_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        sem_clockwait(&posted, CLOCK_MONOTONIC, &until);
    }
}

const struct factory_case factory_sources[] = {
    {"timer-leaves", timer_leaves, true},
    {"timer-kills", timer_kills, true},
    {"timer-ignored", timer_ignored, false},
    {"ring-of-a-waker", ring_of_a_waker, true},
    {"ring-over", ring_over, false},
    {"ring-worker", ring_worker, false},
    {"memory-in-message", memory_in_message, true},
    {"memory-read-only", memory_read_only, true},
    {"urgent-byte", urgent_byte, true},
    {"folder-watched", folder_watched, true},
    {"owner-in-namespace", owner_in_namespace, true},
    {"clock-ahead", clock_ahead, true},
    {NULL, NULL, false},
};
