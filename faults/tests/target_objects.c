/*
 * A program for the tests of objects and of WHERE: makes and uses objects in functions of known names, one thing per
 * mode, and tells on standard output what each call gave.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <wedge/point.h>

#include "faults/tests/target_say.h"

#define KEEP           __attribute__((noinline, noclone, used))
#define NOT_THE_LAST() __asm__ volatile("" ::: "memory") /* a call in the end would become a jump */

static KEEP int queue_open(int ends[2])
{
    int rc = pipe(ends);
    NOT_THE_LAST();
    return rc;
}

static KEEP int other_open(int ends[2])
{
    int rc = pipe(ends);
    NOT_THE_LAST();
    return rc;
}

static KEEP int pair_open(int ends[2])
{
    int rc = socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    NOT_THE_LAST();
    return rc;
}

/* What one byte written there gives: 1, or the errno below zero. */
static KEEP int put(int fd)
{
    char byte = 'x';
    ssize_t n = write(fd, &byte, 1);
    return n < 0 ? -errno : (int)n; /* NOLINT(bugprone-signal-handler,cert-sig30-c): errno is the thread's own */
}

static int child_status(pid_t pid)
{
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* pipes: three of them, the later two by queue_open; then copies, a close, a number used again, a fork, a vfork. */
static int pipes(char **argv)
{
    int a[2], b[2], c[2], d[2];
    (void)argv;
    if (other_open(a) || queue_open(b) || queue_open(c))
        return 1;
    int of_a = put(a[1]), of_b = put(b[1]), of_c = put(c[1]); /* in this order, which arguments are not in */
    say("pipes %d %d %d\n", of_a, of_b, of_c);
    int copy = dup(b[1]), /* NOLINT(android-cloexec-dup): what is tested */
        control = fcntl(b[1], F_DUPFD, 100), moved = dup2(b[1], 50), other = dup2(a[1], 51);
    of_a = put(copy), of_b = put(control), of_c = put(moved);
    say("copies %d %d %d %d\n", of_a, of_b, of_c, put(other));
    pid_t pid = vfork();
    if (pid == 0) {
        close(b[1]);
        close(moved);
        _exit(0);
    }
    say("vfork %d: %d %d\n", child_status(pid), put(b[1]), put(moved));
    pid = fork();
    if (pid == 0) {
        close(moved);
        say("child %d %d %d\n", put(a[1]), put(b[1]), put(copy));
        _exit(0);
    }
    say("fork %d: %d\n", child_status(pid), put(moved));
    if (dup2(a[1], moved) != moved)
        return 1;
    close(b[1]);
    close(copy);
    say("moved %d %d\n", put(moved), put(control));
    close(control);
    close(b[0]);
    if (other_open(d))
        return 1;
    say("again %d %d\n", put(d[1]), put(c[1]));
    close_range(51, 51, 0);
    return 0;
}

/* sockets: the ends of a pair. */
static int sockets(char **argv)
{
    int a[2], b[2];
    (void)argv;
    if (pair_open(a) || other_open(b))
        return 1;
    say("pair %d %d %d\n", put(a[0]), put(a[1]), put(b[1]));
    return 0;
}

static KEEP int listener_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* No name of its own: the kernel gives one, unix(7). */
    return fd >= 0 && (bind(fd, (struct sockaddr *)&address, sizeof(address.sun_family)) || listen(fd, 1)) ? -1 : fd;
}

static KEEP int take(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    NOT_THE_LAST();
    return fd;
}

/* connection: one that is taken from a listener, and its other end. */
static int connection(char **argv)
{
    struct sockaddr_un address;
    socklen_t size = sizeof(address);
    (void)argv;
    int listener = listener_open(), client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&address, &size) ||
        connect(client, (struct sockaddr *)&address, size))
        return 1;
    int taken = take(listener);
    say("connection %d %d\n", put(taken), put(client));
    return 0;
}

static KEEP int bell_open(void)
{
    int fd = eventfd(0, 0);
    NOT_THE_LAST();
    return fd;
}

static KEEP int ring(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));
    return n < 0 ? -errno : (int)n;
}

/* The same by posix_spawn, which moves and closes in the child before it execs. */
static int spawns(char **argv, const int a[2], const int b[2], char *bell)
{
    posix_spawn_file_actions_t actions;
    char word[] = "use", of_a[] = "70", of_b[] = "71";
    char *const args[] = {argv[0], word, of_a, of_b, bell, NULL};
    pid_t pid;
    int rc = posix_spawn_file_actions_init(&actions) || posix_spawn_file_actions_adddup2(&actions, a[1], 70) ||
             posix_spawn_file_actions_adddup2(&actions, b[1], 71);
    for (int i = 0; i < 2; i++)
        rc = rc || posix_spawn_file_actions_addclose(&actions, a[i]) ||
             posix_spawn_file_actions_addclose(&actions, b[i]);
    rc = rc || posix_spawn(&pid, "/proc/self/exe", &actions, NULL, args, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc ? 1 : child_status(pid);
}

/* exec: a pipe by queue_open, one by other_open, a bell; then becomes `use` of them: itself, or a child by fork or vfork, which may have
 * other numbers for them. */
static int execs(char **argv)
{
    int a[2], b[2], bell;
    char text[4][16];
    bool own = strcmp(argv[2], "self") == 0, moves = strcmp(argv[2], "move") == 0;
    if (other_open(a) || queue_open(b) || (bell = bell_open()) < 0)
        return 1;
    snprintf(text[0], sizeof(text[0]), "%d", a[1]);
    snprintf(text[1], sizeof(text[1]), "%d", b[1]);
    snprintf(text[2], sizeof(text[2]), "%d", bell);
    if (strcmp(argv[2], "spawn") == 0)
        return spawns(argv, a, b, text[2]);
    pid_t pid = own ? 0 : moves || strcmp(argv[2], "vfork") == 0 ? vfork() : fork();
    if (pid == 0 && moves) { /* as subprocess does */
        if (dup2(a[1], 70) != 70 || dup2(b[1], 71) != 71)
            _exit(1);
        for (int i = 0; i < 2; i++) {
            close(a[i]);
            close(b[i]);
        }
        execl("/proc/self/exe", argv[0], "use", "70", "71", text[2], (char *)NULL);
    }
    if (pid == 0)
        execl("/proc/self/exe", argv[0], "use", text[0], text[1], text[2], (char *)NULL);
    return pid ? child_status(pid) : 1;
}

static int use(char **argv)
{
    int other[2];
    say("used %d %d %d\n", put(atoi(argv[2])), put(atoi(argv[3])), ring(atoi(argv[4])));
    if (other_open(other))
        return 1;
    say("new %d\n", put(other[1]));
    return 0;
}

static KEEP int make_sem(sem_t *sem, int shared)
{
    int rc = sem_init(sem, shared, 0);
    NOT_THE_LAST();
    return rc;
}

static int value(sem_t *sem)
{
    int v = -1;
    sem_getvalue(sem, &v);
    return v;
}

/* sems: one shared over fork, one private; posts of parent and child, and how many came. */
static int sems(char **argv)
{
    sem_t *all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static sem_t private;
    (void)argv;
    if (all == MAP_FAILED || make_sem(&all[0], 1) || make_sem(&private, 0))
        return 1;
    sem_post(&all[0]);
    sem_post(&all[0]);
    sem_post(&private);
    say("parent %d %d\n", value(&all[0]), value(&private));
    pid_t pid = fork();
    if (pid == 0) {
        sem_post(&all[0]);
        sem_post(&private);
        sem_post(&private);
        say("child %d %d\n", value(&all[0]), value(&private));
        _exit(0);
    }
    int status = child_status(pid);
    sem_post(&all[0]);
    sem_post(&private);
    say("parent %d: %d %d\n", status, value(&all[0]), value(&private));
    return 0;
}

union shared {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_rwlock_t rwlock;
    pthread_barrier_t barrier;
    pthread_spinlock_t spin;
};

static KEEP int make_shared(const char *kind, union shared *at, int shared)
{
    union {
        pthread_mutexattr_t mutex;
        pthread_condattr_t cond;
        pthread_rwlockattr_t rwlock;
        pthread_barrierattr_t barrier;
    } attr;
    if (strcmp(kind, "mutex") == 0)
        return pthread_mutexattr_init(&attr.mutex) || pthread_mutexattr_setpshared(&attr.mutex, shared) ||
               pthread_mutex_init(&at->mutex, &attr.mutex);
    if (strcmp(kind, "cond") == 0)
        return pthread_condattr_init(&attr.cond) || pthread_condattr_setpshared(&attr.cond, shared) ||
               pthread_cond_init(&at->cond, &attr.cond);
    if (strcmp(kind, "rwlock") == 0)
        return pthread_rwlockattr_init(&attr.rwlock) || pthread_rwlockattr_setpshared(&attr.rwlock, shared) ||
               pthread_rwlock_init(&at->rwlock, &attr.rwlock);
    if (strcmp(kind, "barrier") == 0)
        return pthread_barrierattr_init(&attr.barrier) || pthread_barrierattr_setpshared(&attr.barrier, shared) ||
               pthread_barrier_init(&at->barrier, &attr.barrier, 1);
    return pthread_spin_init(&at->spin, shared);
}

/* 0, or the error. */
static int use_shared(const char *kind, union shared *at)
{
    int rc;
    if (strcmp(kind, "mutex") == 0) {
        if ((rc = pthread_mutex_lock(&at->mutex)) == 0)
            pthread_mutex_unlock(&at->mutex);
    } else if (strcmp(kind, "cond") == 0) {
        rc = pthread_cond_signal(&at->cond);
    } else if (strcmp(kind, "rwlock") == 0) {
        if ((rc = pthread_rwlock_rdlock(&at->rwlock)) == 0)
            pthread_rwlock_unlock(&at->rwlock);
    } else if (strcmp(kind, "barrier") == 0) {
        rc = pthread_barrier_wait(&at->barrier);
        rc = rc == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : rc;
    } else {
        if ((rc = pthread_spin_lock(&at->spin)) == 0)
            pthread_spin_unlock(&at->spin);
    }
    return rc;
}

/* shared KIND: one that is process-shared and one that is not, in shared memory; used twice, then once in a child. */
static int shared(char **argv)
{
    union shared *all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || make_shared(argv[2], &all[0], PTHREAD_PROCESS_SHARED) ||
        make_shared(argv[2], &all[1], PTHREAD_PROCESS_PRIVATE))
        return 1;
    int used[] = {use_shared(argv[2], &all[0]), use_shared(argv[2], &all[0]), use_shared(argv[2], &all[1]),
                  use_shared(argv[2], &all[1])};
    say("parent %d %d %d %d\n", used[0], used[1], used[2], used[3]);
    pid_t pid = fork();
    if (pid == 0) {
        int of_shared = use_shared(argv[2], &all[0]), of_private = use_shared(argv[2], &all[1]);
        say("child %d %d\n", of_shared, of_private);
        _exit(0);
    }
    return child_status(pid);
}

static sem_t counted[2];

static void *post_both(void *arg)
{
    for (int i = 0; i < *(int *)arg; i++) {
        sem_post(&counted[0]);
        sem_post(&counted[1]);
    }
    return NULL;
}

/* posts T N: T threads post N times on each of two; then one is made again, and posted N times. */
static int posts(char **argv)
{
    pthread_t threads[16];
    int count = number(argv, 2, 4), n = number(argv, 3, 5);
    if (make_sem(&counted[0], 0) || make_sem(&counted[1], 0))
        return 1;
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, post_both, &n))
            return 1;
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    say("posted %d %d\n", value(&counted[0]), value(&counted[1]));
    sem_destroy(&counted[0]);
    if (make_sem(&counted[0], 0))
        return 1;
    for (int i = 0; i < n; i++)
        sem_post(&counted[0]);
    say("again %d\n", value(&counted[0]));
    return 0;
}

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;

/* What locking gives; unlocks what was locked. */
static KEEP int lock_first(void)
{
    int rc = pthread_mutex_lock(&first);
    if (rc == 0)
        pthread_mutex_unlock(&first);
    return rc;
}

static KEEP int lock_second(void)
{
    int rc = pthread_mutex_lock(&second);
    if (rc == 0)
        pthread_mutex_unlock(&second);
    return rc;
}

static KEEP int lock_both(void)
{
    int a = pthread_mutex_lock(&first), b = pthread_mutex_lock(&second);
    if (a == 0)
        pthread_mutex_unlock(&first);
    if (b == 0)
        pthread_mutex_unlock(&second);
    return a * 100 + b;
}

/* mutexes: static ones, each used first by a function of its own, then by another; and in a child. */
static int mutexes(char **argv)
{
    (void)argv;
    int a = lock_first(), b = lock_second(), c = lock_both();
    say("locked %d %d %d\n", a, b, c);
    pid_t pid = fork();
    if (pid == 0) {
        a = lock_first(), b = lock_second(), c = lock_both();
        say("child %d %d %d\n", a, b, c);
        _exit(0);
    }
    return child_status(pid);
}

/* sites: writes that are called from several places: directly, through a static helper, from a library. */
static KEEP int helper(int fd)
{
    int n = put(fd);
    NOT_THE_LAST();
    return n;
}

static KEEP int outer(int fd, int depth)
{
    char room[200];
    memset(room, depth, sizeof(room));
    __asm__ volatile("" ::"r"(room) : "memory");
    int n = depth ? outer(fd, depth - 1) : helper(fd);
    NOT_THE_LAST();
    return n;
}

static int sink, answer;
static void on_signal(int signal)
{
    (void)signal;
    answer = put(sink);
}

static KEEP int interrupted(void)
{
    if (raise(SIGUSR1))
        return -1;
    NOT_THE_LAST();
    return answer;
}

static int compare(const void *a, const void *b)
{
    answer = put(sink);
    return *(const int *)a - *(const int *)b;
}

static void *in_thread(void *arg)
{
    answer = outer(*(int *)arg, 1);
    return NULL;
}

static int sites(char **argv)
{
    int numbers[] = {2, 1};
    sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
    signal(SIGUSR1, on_signal);
    if (sink < 0)
        return 1;
    int a = put(sink), b = helper(sink), c = outer(sink, 0), d = outer(sink, 20);
    say("put %d helper %d outer %d deep %d\n", a, b, c, d);
    say("handler %d\n", interrupted());
    qsort(numbers, 2, sizeof(numbers[0]), compare);
    say("qsort %d\n", answer);
    pthread_t thread;
    if (pthread_create(&thread, NULL, in_thread, &sink) || pthread_join(thread, NULL))
        return 1;
    say("thread %d\n", answer);
    void *library = argv[2] ? dlopen(argv[2], RTLD_NOW) : NULL;
    int (*library_put)(int, int) = library ? (int (*)(int, int))dlsym(library, "target_so_put") : NULL;
    if (library_put)
        say("library %d %d\n", library_put(sink, 0), library_put(sink, 1));
    return 0;
}

/* reload PATH OTHER N: loads the two libraries in turn, N times in all, and unloads them; how often their function
 * failed, and one of another name. */
static int reload(char **argv)
{
    int failed = 0, other = 0, fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < number(argv, 4, 10); i++) {
        void *library = dlopen(argv[2 + i % 2], RTLD_NOW);
        int (*library_put)(int, int) = library ? (int (*)(int, int))dlsym(library, "target_so_put") : NULL;
        if (!library_put)
            return 1;
        failed += library_put(fd, 1) < 0;
        other += library_put(fd, 0) < 0;
        dlclose(library);
    }
    say("failed %d %d\n", failed, other);
    return 0;
}

/* arguments: writes of 1 to 8 bytes, opens of several paths. */
static int arguments(char **argv)
{
    static const char *const paths[] = {"/tmp/a.lock", "/tmp/b.txt", "/dev/null", "/dev/zero"};
    static char line[160] = "write";
    char bytes[8] = "";
    (void)argv;
    syscall(SYS_close_range, 3, 100, 0); /* whatever the starter left open: numbers from 3 on are known */
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (size_t n = 1; n <= sizeof(bytes); n++)
        snprintf(line + strlen(line), sizeof(line) - strlen(line), " %zd", write(fd, bytes, n));
    say("%s\n", line);
    line[0] = 0;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        int opened = i % 2 ? openat(AT_FDCWD, paths[i], O_RDONLY | O_CLOEXEC) : open(paths[i], O_RDONLY | O_CLOEXEC);
        snprintf(line + strlen(line), sizeof(line) - strlen(line), " %d", opened < 0 ? errno : 0);
        if (opened >= 0)
            snprintf(line + strlen(line), sizeof(line) - strlen(line), "/%zd", read(opened, bytes, 1));
    }
    say("open%s\n", line);
    return 0;
}

/* crowd N: N semaphores at once, and one descriptor of a high number. */
static int crowd(char **argv)
{
    int n = number(argv, 2, 10), ends[2];
    static sem_t all[4096];
    for (int i = 0; i < n && i < 4096; i++)
        if (make_sem(&all[i], 0) || sem_post(&all[i]))
            return 1;
    say("made %d\n", n);
    struct rlimit limit = {.rlim_cur = 5000, .rlim_max = 5000};
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && queue_open(ends) == 0)
        say("high %d\n", dup2(ends[1], 4500) == 4500 ? put(4500) : 0);
    return 0;
}

/* generations P: P children one after the other, each with mutexes and semaphores of its own, then one more. */
static int generations(char **argv)
{
    int n = number(argv, 2, 100), bad = 0;
    static sem_t many[40];
    for (int i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (int k = 0; k < 40; k++)
                if (make_sem(&many[k], 0) || sem_post(&many[k]))
                    _exit(1);
            _exit(0);
        }
        bad += child_status(pid) != 0;
    }
    say("bad %d\n", bad);
    return 0;
}

static void *use_first(void *arg)
{
    pthread_barrier_wait(arg);
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&first);
        pthread_mutex_unlock(&first);
    }
    return NULL;
}

/* rush: eight threads use one static mutex first, all at once. */
static int rush(char **argv)
{
    pthread_t threads[8];
    pthread_barrier_t barrier;
    (void)argv;
    pthread_barrier_init(&barrier, NULL, 8);
    for (int i = 0; i < 8; i++)
        if (pthread_create(&threads[i], NULL, use_first, &barrier))
            return 1;
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    say("done\n");
    return 0;
}

static void *make_and_end(void *arg)
{
    sem_t mine[3];
    for (int i = 0; i < *(int *)arg; i++)
        for (int k = 0; k < 3; k++) {
            if (make_sem(&mine[k], 0))
                abort();
            for (int n = 0; n < 4; n++)
                sem_post(&mine[k]);
            if (value(&mine[k]) != 3 || sem_destroy(&mine[k])) /* the third is dropped */
                abort();
        }
    return NULL;
}

/* churn P T N: P children with T threads each, which make semaphores, post four times, and end them, 3 N times each. */
static int churn(char **argv)
{
    int children = number(argv, 2, 2), count = number(argv, 3, 4), n = number(argv, 4, 100), bad = 0;
    pthread_t threads[16];
    for (int p = 0; p < children; p++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid)
            continue;
        for (int i = 0; i < count; i++)
            if (pthread_create(&threads[i], NULL, make_and_end, &n))
                _exit(1);
        for (int i = 0; i < count; i++)
            pthread_join(threads[i], NULL);
        _exit(0);
    }
    for (int status; wait(&status) > 0;)
        bad += status != 0;
    say("bad %d\n", bad);
    return 0;
}

/* inherited HOW: sixty children one after the other, each born with fifty pipes open that it does not close before it
 * ends: by exit, by _exit, as another program, after it could not become one, or by a rule at t.child. */
static int inherited(char **argv)
{
    int ends[50][2], bad = 0;
    for (int i = 0; i < 60; i++) {
        for (int k = 0; k < 50; k++)
            if (queue_open(ends[k]))
                return 1;
        pid_t pid = fork();
        if (pid == 0) {
            WEDGE_POINT("t.child");
            if (strcmp(argv[2], "exit") == 0)
                exit(0);
            if (strcmp(argv[2], "exec") == 0)
                execl("/bin/true", "true", (char *)NULL);
            if (strcmp(argv[2], "fail") == 0)
                execl("/nowhere/at/all", "true", (char *)NULL);
            _exit(0);
        }
        int status = child_status(pid);
        bad += status != 0 && status != 1000 + SIGKILL;
        for (int k = 0; k < 50; k++) {
            bad += put(ends[k][1]) != -ENOSPC;
            close(ends[k][0]);
            close(ends[k][1]);
        }
    }
    say("bad %d\n", bad);
    return 0;
}

/* bare: a child by a system call of the program's own, which outlives its parent's descriptors. */
static int bare(char **argv)
{
    int queue[2], go[2];
    char byte;
    (void)argv;
    if (queue_open(queue) || other_open(go))
        return 1;
    pid_t pid = (pid_t)syscall(SYS_fork);
    if (pid == 0) {
        close(go[1]);
        if (read(go[0], &byte, 1) != 1)
            _exit(1);
        say("child %d\n", put(queue[1]));
        _exit(0);
    }
    close(queue[0]);
    close(queue[1]);
    if (write(go[1], "x", 1) != 1)
        return 1;
    return child_status(pid);
}

static KEEP int queue_get(void)
{
    int id = msgget(IPC_PRIVATE, 0600);
    NOT_THE_LAST();
    return id;
}

/* messages: a System V queue, used by parent and child. */
static int messages(char **argv)
{
    struct {
        long type;
        char text[1];
    } message = {.type = 1};
    (void)argv;
    int id = queue_get();
    if (id < 0)
        return 77;
    pid_t pid = fork();
    if (pid == 0) {
        int rc = msgsnd(id, &message, 1, IPC_NOWAIT);
        say("child %d\n", rc ? -errno : 0);
        _exit(0);
    }
    int status = child_status(pid), rc = msgsnd(id, &message, 1, IPC_NOWAIT);
    say("parent %d %d\n", status, rc ? -errno : 0);
    msgctl(id, IPC_RMID, NULL);
    return 0;
}

/* chances: two pipes, two mutexes, two shared semaphores; a line for each of how its calls went, in this process and in a
 * child. */
static int chances(char **argv)
{
    enum { CALLS = 60 };
    static pthread_mutex_t locks[2];
    static sem_t posts_of[2];
    char lines[6][CALLS + 2];
    int ends[2][2];
    (void)argv;
    for (int i = 0; i < 2; i++)
        if (pipe(ends[i]) || pthread_mutex_init(&locks[i], NULL) || sem_init(&posts_of[i], 1, 0))
            return 2;
    pid_t child = -1;
    for (int process = 0; process < 2; process++) {
        if (process && (child = fork()) != 0)
            break;
        for (int i = 0; i < CALLS; i++)
            for (int of = 0; of < 2; of++) {
                lines[of][i] = write(ends[of][1], "x", 1) == 1 ? '.' : 'F';
                lines[2 + of][i] = '.';
                if (pthread_mutex_lock(&locks[of]))
                    lines[2 + of][i] = 'F';
                else
                    pthread_mutex_unlock(&locks[of]);
                lines[4 + of][i] = sem_post(&posts_of[of]) == 0 ? '.' : 'F';
            }
        for (int line = 0; line < 6; line++) {
            lines[line][CALLS] = '\n';
            lines[line][CALLS + 1] = 0;
            fputs(lines[line], stdout);
        }
        fflush(stdout);
    }
    int status = 0;
    if (child == 0)
        _exit(0);
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(char **argv);
    } modes[] = {{"pipes", pipes},
                 {"sockets", sockets},
                 {"connection", connection},
                 {"exec", execs},
                 {"use", use},
                 {"sems", sems},
                 {"shared", shared},
                 {"posts", posts},
                 {"mutexes", mutexes},
                 {"sites", sites},
                 {"arguments", arguments},
                 {"crowd", crowd},
                 {"generations", generations},
                 {"rush", rush},
                 {"reload", reload},
                 {"messages", messages},
                 {"churn", churn},
                 {"chances", chances},
                 {"bare", bare},
                 {"inherited", inherited}};
    for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(modes[i].name, argv[1]) == 0)
            return modes[i].run(argv);
    return 2;
}
