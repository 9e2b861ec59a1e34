/*
 * The factory's main program, what its cases have in common, and the first cases.
 */
#include "detector/tests/programs/factory.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void factory_die(const char *what)
{
    fprintf(stderr, "wedge-factory: %s: %s\n", what, strerror(errno));
    exit(3);
}

static int ready_fd = 1; /* 3 when that was open before anything else was opened */

void factory_ready(void)
{
    if (write(ready_fd, "ready\n", 6) != 6)
        factory_die("ready");
    if (ready_fd == 3)
        close(3);
}

void *factory_shared(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        factory_die("mmap");
    return p;
}

pid_t factory_child(void)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        factory_die("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

void factory_spawn(pthread_t *thread, void *(*fn)(void *), void *arg)
{
    errno = pthread_create(thread, NULL, fn, arg);
    if (errno)
        factory_die("pthread_create");
}

void factory_nap(long ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

void factory_pipe(int ends[2])
{
    if (pipe(ends))
        factory_die("pipe");
}

void factory_fill(int fd)
{
    char block[4096] = {0};
    while (write(fd, block, sizeof(block)) > 0)
        ;
}

pthread_mutex_t *factory_mutexes(int n, int type, int robust)
{
    pthread_mutex_t *m = factory_shared(sizeof(*m) * (size_t)n);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_settype(&attr, type);
    if (robust)
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    for (int i = 0; i < n; i++)
        pthread_mutex_init(&m[i], &attr);
    return m;
}

/* ---- hangs ---- */

/* Two children take two shared mutexes in opposite order, the parent waits for one of them. */
static void opposite(bool robust)
{
    pthread_mutex_t *m = factory_mutexes(2, PTHREAD_MUTEX_NORMAL, robust);
    pthread_barrier_t *both = factory_shared(sizeof(*both));
    pthread_barrierattr_t attr;
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(both, &attr, 3);
    pid_t first = 0;
    for (int i = 0; i < 2; i++) {
        pid_t pid = factory_child();
        if (pid == 0) {
            pthread_mutex_lock(&m[i]);
            pthread_barrier_wait(both);
            pthread_mutex_lock(&m[1 - i]);
            _exit(0);
        }
        first = first ? first : pid;
    }
    pthread_barrier_wait(both);
    factory_ready();
    waitpid(first, NULL, 0);
}
static void opposite_shared(void)
{
    opposite(false);
}
static void opposite_robust(void)
{
    opposite(true);
}

static pthread_mutex_t locks[3] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static pthread_barrier_t meet;

static void *take_first_lock(void *arg)
{
    pthread_mutex_lock(&locks[0]);
    return arg;
}
static void join_with_lock(void)
{
    pthread_t thread;
    pthread_mutex_lock(&locks[0]);
    factory_spawn(&thread, take_first_lock, NULL);
    factory_ready();
    pthread_join(thread, NULL);
}

/* The main thread ends and takes its lock along; the process lives on, without a leader. */
static void leader_gone(void)
{
    pthread_t thread;
    pthread_mutex_lock(&locks[0]);
    factory_spawn(&thread, take_first_lock, NULL);
    factory_ready();
    pthread_exit(NULL);
}

/* A thread ends without unlocking. */
static void *keep_first_lock(void *arg)
{
    pthread_mutex_lock(&locks[0]);
    return arg;
}
static void thread_gone(void)
{
    pthread_t thread;
    factory_spawn(&thread, keep_first_lock, NULL);
    pthread_join(thread, NULL);
    factory_ready();
    pthread_mutex_lock(&locks[0]);
}

static void waitpid_full_pipe(void)
{
    int ends[2];
    factory_pipe(ends);
    pid_t pid = factory_child();
    if (pid == 0)
        factory_fill(ends[1]);
    factory_ready();
    waitpid(pid, NULL, 0);
}

static void self_deadlock(void)
{
    pthread_mutex_lock(&locks[0]);
    factory_ready();
    pthread_mutex_lock(&locks[0]);
}

static void *hold_first_and_sleep(void *arg)
{
    pthread_mutex_lock(&locks[0]);
    pthread_barrier_wait(&meet);
    for (;;)
        factory_nap(50);
    return arg;
}

/* The owner of a shared mutex is killed while it has it; nothing makes it robust. */
static void abandoned(void)
{
    pthread_mutex_t *m = factory_mutexes(1, PTHREAD_MUTEX_NORMAL, 0);
    int ends[2];
    char byte;
    factory_pipe(ends);
    pid_t pid = factory_child();
    if (pid == 0) {
        pthread_mutex_lock(m);
        if (write(ends[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    if (read(ends[0], &byte, 1) != 1)
        factory_die("read");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    factory_ready();
    pthread_mutex_lock(m);
}

/* A child is forked while another thread owns a lock: in the child nobody does. */
static void forked_lock(void)
{
    pthread_t thread;
    pthread_barrier_init(&meet, NULL, 2);
    factory_spawn(&thread, hold_first_and_sleep, NULL);
    pthread_barrier_wait(&meet);
    pid_t pid = factory_child();
    if (pid == 0) {
        pthread_mutex_lock(&locks[0]);
        _exit(0);
    }
    factory_ready();
    waitpid(pid, NULL, 0);
}

/* The only other process that could write is killed; the reader has a write end of its own. */
static void orphaned_pipe(void)
{
    int ends[2];
    char byte;
    factory_pipe(ends);
    pid_t pid = factory_child();
    if (pid == 0)
        for (;;)
            pause();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    factory_ready();
    if (read(ends[0], &byte, 1) < 0)
        factory_die("read");
}

static void orphaned_sem(void)
{
    sem_t *sem = factory_shared(sizeof(*sem));
    sem_init(sem, 1, 0);
    pid_t pid = factory_child();
    if (pid == 0)
        for (;;)
            pause();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    factory_ready();
    sem_wait(sem);
}

static void *take_two(void *arg)
{
    long i = (long)arg;
    pthread_mutex_lock(&locks[i]);
    pthread_barrier_wait(&meet);
    pthread_mutex_lock(&locks[(i + 1) % 3]);
    return NULL;
}
static void three_threads(void)
{
    pthread_t threads[2];
    pthread_barrier_init(&meet, NULL, 3);
    factory_spawn(&threads[0], take_two, (void *)1);
    factory_spawn(&threads[1], take_two, (void *)2);
    factory_ready();
    take_two((void *)0);
}

/* Two threads in a circle of error-checking mutexes while the main thread goes on. */
static void *take_two_of_two(void *arg)
{
    long i = (long)arg;
    pthread_mutex_lock(&locks[i]);
    pthread_barrier_wait(&meet);
    pthread_mutex_lock(&locks[1 - i]);
    return NULL;
}
static void two_beside_main(int type)
{
    pthread_t threads[2];
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutex_init(&locks[0], &attr);
    pthread_mutex_init(&locks[1], &attr);
    pthread_barrier_init(&meet, NULL, 2);
    factory_spawn(&threads[0], take_two_of_two, (void *)0);
    factory_spawn(&threads[1], take_two_of_two, (void *)1);
    factory_ready();
    for (;;)
        factory_nap(20);
}
static void part_checked(void)
{
    two_beside_main(PTHREAD_MUTEX_ERRORCHECK);
}
static void part_normal(void)
{
    two_beside_main(PTHREAD_MUTEX_NORMAL);
}

static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t never;
static void *wait_for_cond(void *arg)
{
    pthread_mutex_lock(&locks[0]);
    for (;;)
        pthread_cond_wait(&cond, &locks[0]);
    return arg;
}
static void closed_conditions(void)
{
    pthread_t thread;
    sem_init(&never, 0, 0);
    factory_spawn(&thread, wait_for_cond, NULL);
    factory_ready();
    while (sem_wait(&never))
        ;
}

static void *meet_others(void *arg)
{
    pthread_barrier_wait(&meet);
    return arg;
}
static void barrier_short(void)
{
    pthread_t thread;
    pthread_barrier_init(&meet, NULL, 3);
    factory_spawn(&thread, meet_others, NULL);
    factory_ready();
    pthread_barrier_wait(&meet);
}

static void rwlock_writer(void)
{
    pthread_rwlock_t lock;
    pthread_rwlock_init(&lock, NULL);
    pthread_rwlock_rdlock(&lock);
    factory_ready();
    pthread_rwlock_wrlock(&lock);
}

/* Posted once, waited for twice. */
static void posted_once(void)
{
    static sem_t sem;
    sem_init(&sem, 0, 0);
    sem_post(&sem);
    sem_wait(&sem);
    factory_ready();
    sem_wait(&sem);
}

/* Each of two processes writes into a full pipe that the other one would have to read. */
static void both_write(void)
{
    int there[2], back[2];
    factory_pipe(there);
    factory_pipe(back);
    if (factory_child() == 0)
        factory_fill(back[1]);
    factory_ready();
    factory_fill(there[1]);
    (void)there[0];
}

static int to_there[2], to_back[2];

static void *write_back(void *arg)
{
    factory_fill(to_back[1]);
    return arg;
}
/* The same of two threads. */
static void threads_both_write(void)
{
    pthread_t thread;
    factory_pipe(to_there);
    factory_pipe(to_back);
    factory_spawn(&thread, write_back, NULL);
    factory_ready();
    factory_fill(to_there[1]);
}

static void poll_own_pipe(void)
{
    int ends[2];
    factory_pipe(ends);
    struct pollfd fds[1] = {{.fd = ends[0], .events = POLLIN}};
    factory_ready();
    poll(fds, 1, -1);
}

/* Beside a child that waits for a lock of its own: two hangs, and only the parent's is the whole. */
static void two_apart(void)
{
    if (factory_child() == 0) {
        pthread_mutex_lock(&locks[0]);
        pthread_mutex_lock(&locks[0]);
    }
    poll_own_pipe();
}

static void epoll_own_pipe(void)
{
    int ends[2], set = epoll_create1(0);
    factory_pipe(ends);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event);
    factory_ready();
    /* A stop for a stack ends this call, unlike most, with EINTR. */
    while (epoll_wait(set, &event, 1, -1) < 0 && errno == EINTR)
        ;
}

/* The parent waits for a child that somebody stopped. */
static void stopped_child(void)
{
    pid_t pid = factory_child();
    if (pid == 0)
        for (;;)
            raise(SIGSTOP);
    waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WSTOPPED | WNOWAIT);
    factory_ready();
    waitpid(pid, NULL, 0);
}

/* ---- healthy programs that look like hangs ---- */

static int listener(struct sockaddr_in *ret)
{
    socklen_t size = sizeof(*ret);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)ret, size) || listen(fd, 4) ||
        getsockname(fd, (struct sockaddr *)ret, &size))
        factory_die("listen");
    return fd;
}

/* A server in accept(), with a pool of idle threads; ends with status 0 on "quit". Says "ready PORT". */
static void server(void)
{
    struct sockaddr_in at;
    int fd = listener(&at);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        factory_spawn(&threads[i], wait_for_cond, NULL);
    dprintf(1, "port %d\n", ntohs(at.sin_port));
    factory_ready();
    for (;;) {
        char text[16] = "";
        int peer = accept(fd, NULL, NULL);
        if (peer >= 0 && read(peer, text, sizeof(text) - 1) > 0 && strncmp(text, "quit", 4) == 0)
            exit(0);
        close(peer);
    }
}

/* Two small writes and a read, against a peer that answers only to both: Nagle holds the second back until the
 * first is acknowledged, and the peer delays that. */
static void nagle(void)
{
    struct sockaddr_in at;
    int fd = listener(&at);
    char bytes[2];
    if (factory_child() == 0) {
        int peer = accept(fd, NULL, NULL);
        size_t have = 0;
        for (ssize_t got; (got = read(peer, bytes, 1)) > 0;)
            if (++have % 2 == 0 && write(peer, "r", 1) != 1)
                break;
        _exit(0);
    }
    int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(to, (struct sockaddr *)&at, sizeof(at)))
        factory_die("connect");
    factory_ready();
    for (;;)
        if (write(to, "a", 1) != 1 || write(to, "b", 1) != 1 || read(to, bytes, 1) != 1)
            exit(0);
}

static int own_pipe[2];
static void *read_own_pipe(void *arg)
{
    char byte;
    while (read(own_pipe[0], &byte, 1) > 0)
        ;
    return arg;
}
/* The reader of a self-pipe that nobody writes to is cancelled by a main thread that sleeps until then. */
static void self_pipe(void)
{
    factory_pipe(own_pipe);
    factory_ready();
    for (;;) {
        pthread_t thread;
        factory_spawn(&thread, read_own_pipe, NULL);
        factory_nap(30);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
}

static sem_t posted;
static void post(int signal_number)
{
    (void)signal_number;
    sem_post(&posted);
}
static void handle(int signal_number)
{
    struct sigaction action = {.sa_handler = post, .sa_flags = SA_RESTART};
    sigaction(signal_number, &action, NULL);
}
static void wait_for_posts(void)
{
    factory_ready();
    for (;;)
        while (sem_wait(&posted))
            ;
}
static void posix_timer(void)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec every = {.it_value = {0, 40000000}, .it_interval = {0, 40000000}};
    sem_init(&posted, 0, 0);
    handle(SIGUSR1);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &every, NULL))
        factory_die("timer");
    wait_for_posts();
}
/* A normal mutex as a binary semaphore: whoever holds it does not release it, somebody else does. */
static void *want_lock(void *arg)
{
    for (;;)
        pthread_mutex_lock(&locks[0]);
    return arg;
}
static void unlocked_by_another(void)
{
    pthread_t thread;
    pthread_mutex_lock(&locks[0]);
    factory_spawn(&thread, want_lock, NULL);
    factory_ready();
    for (;;) {
        factory_nap(30);
        pthread_mutex_unlock(&locks[0]);
    }
}

static void *wait_for_post(void *arg)
{
    for (;;)
        sem_wait(&posted);
    return arg;
}
static void sleep_then_post(void)
{
    pthread_t thread;
    sem_init(&posted, 0, 0);
    factory_spawn(&thread, wait_for_post, NULL);
    factory_ready();
    for (;;) {
        factory_nap(30);
        sem_post(&posted);
    }
}

/* Another process sleeps, then signals; the handler posts. */
static void sleep_then_signal(void)
{
    sem_init(&posted, 0, 0);
    handle(SIGUSR1);
    pid_t parent = getpid();
    if (factory_child() == 0)
        for (;;) {
            factory_nap(30);
            kill(parent, SIGUSR1);
        }
    wait_for_posts();
}

static void poll_with_timeouts(void)
{
    int ends[2];
    factory_pipe(ends);
    struct pollfd fds[1] = {{.fd = ends[0], .events = POLLIN}};
    factory_ready();
    for (;;)
        poll(fds, 1, 20);
}

static void timed_semaphore(void)
{
    sem_init(&posted, 0, 0);
    factory_ready();
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 30000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        sem_timedwait(&posted, &until);
    }
}

/* A reader without a deadline, whose writer comes now and then. */
static void slow_writer(void)
{
    int ends[2];
    char byte;
    factory_pipe(ends);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(40);
            if (write(ends[1], "x", 1) != 1)
                _exit(0);
        }
    factory_ready();
    while (read(ends[0], &byte, 1) == 1)
        ;
}

static void wait_for_input(void)
{
    char byte;
    factory_ready();
    while (read(0, &byte, 1) > 0)
        ;
}

/* Writes more than anybody reads: whoever started it has the other end. */
static void fill_output(void)
{
    factory_ready();
    factory_fill(1);
}

static void busy(void)
{
    volatile unsigned long n = 0;
    factory_ready();
    for (;;)
        if (++n % 10000000 == 0)
            factory_nap(1);
}

static const struct factory_case basic[] = {
    {"opposite-shared", opposite_shared, false},
    {"opposite-robust", opposite_robust, false},
    {"join-with-lock", join_with_lock, false},
    {"leader-gone", leader_gone, false},
    {"thread-gone", thread_gone, false},
    {"waitpid-full-pipe", waitpid_full_pipe, false},
    {"self-deadlock", self_deadlock, false},
    {"abandoned", abandoned, false},
    {"forked-lock", forked_lock, false},
    {"orphaned-pipe", orphaned_pipe, false},
    {"orphaned-sem", orphaned_sem, false},
    {"three-threads", three_threads, false},
    {"part-checked", part_checked, false},
    {"part-normal", part_normal, false},
    {"closed-conditions", closed_conditions, false},
    {"barrier-short", barrier_short, false},
    {"rwlock-writer", rwlock_writer, false},
    {"posted-once", posted_once, false},
    {"both-write", both_write, false},
    {"threads-both-write", threads_both_write, false},
    {"poll-own-pipe", poll_own_pipe, false},
    {"two-apart", two_apart, false},
    {"epoll-own-pipe", epoll_own_pipe, false},
    {"stopped-child", stopped_child, false},
    {"server", server, true},
    {"nagle", nagle, true},
    {"self-pipe", self_pipe, true},
    {"posix-timer", posix_timer, true},
    {"unlocked-by-another", unlocked_by_another, true},
    {"sleep-then-post", sleep_then_post, true},
    {"sleep-then-signal", sleep_then_signal, true},
    {"poll-with-timeouts", poll_with_timeouts, true},
    {"timed-semaphore", timed_semaphore, true},
    {"slow-writer", slow_writer, true},
    {"wait-for-input", wait_for_input, true},
    {"fill-output", fill_output, true},
    {"busy", busy, true},
    {NULL, NULL, false},
};

static const struct factory_case *const tables[] = {
    basic,          factory_descriptor, factory_socket, factory_datagram, factory_network, factory_locks,
    factory_events, factory_queues,     factory_vfork,  factory_libc,     factory_inside,  factory_words,
    factory_fork,   factory_history,    factory_record, factory_tables,   factory_sources, factory_outside};

int main(int argc, char **argv)
{
    if (fcntl(3, F_GETFD) >= 0)
        ready_fd = 3;
    for (size_t i = 0; argc == 2 && i < sizeof(tables) / sizeof(tables[0]); i++)
        for (const struct factory_case *c = tables[i]; c->name; c++)
            if (strcmp(argv[1], c->name) == 0) {
                c->run();
                return 0;
            }
    fprintf(stderr, "usage: wedge-factory CASE, one of:\n");
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        for (const struct factory_case *c = tables[i]; c->name; c++)
            fprintf(stderr, "  %s%s\n", c->name, c->healthy ? " (healthy)" : "");
    return 2;
}
