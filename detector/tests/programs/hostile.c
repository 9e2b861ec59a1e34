/*
 * Targets that mean harm: `wedge-hostile CASE` becomes a program whose memory, files, names, numbers or deeds are chosen
 * to make a detector hang, crash, lie, or write what it should not. It says "ready" on its standard output once it is
 * what it wants to be, and stays until it is killed; its children die with it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detector/tests/programs/hostile.h"

#define PAGE 4096

_Noreturn void hostile_die(const char *what)
{
    fprintf(stderr, "wedge-hostile: %s: %s\n", what, strerror(errno));
    _exit(3);
}

void hostile_ready(void)
{
    if (write(1, "ready\n", 6) != 6)
        hostile_die("ready");
}

_Noreturn void hostile_stay(void)
{
    hostile_ready();
    for (;;)
        pause();
}

static void spawn(void *(*fn)(void *), void *arg)
{
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, fn, arg)))
        hostile_die("pthread_create");
}

pid_t hostile_child(void)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        hostile_die("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0);
    }
    return pid;
}

/* Until this thread of ours sleeps in a system call. */
static void await_sleep(pid_t tid)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    for (;;) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (fd >= 0)
            close(fd);
        if (n > 0) {
            text[n] = 0;
            const char *close_bracket = strrchr(text, ')');
            if (close_bracket && close_bracket[2] == 'S')
                return;
        }
        sched_yield();
    }
}

/* ---- memory that blocks whoever reads it ---- */

/* From here on a touch of these pages waits for an answer that nobody gives. */
static void make_fault(void *at, size_t bytes, bool shared)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register reg = {.range = {.start = (uintptr_t)at, .len = bytes},
                                  .mode = UFFDIO_REGISTER_MODE_MISSING};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
        hostile_die("userfaultfd");
    if (madvise(at, bytes, shared ? MADV_REMOVE : MADV_DONTNEED))
        hostile_die("madvise");
}

static _Atomic int sleeper;

static void *wait_for_word(void *arg)
{
    sleeper = (int)syscall(SYS_gettid);
    syscall(SYS_futex, arg, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
    return NULL;
}

static void *map_pages(size_t bytes, int prot, int flags, int fd)
{
    void *at = mmap(NULL, bytes, prot, flags, fd, 0);
    if (at == MAP_FAILED)
        hostile_die("mmap");
    return at;
}

static void uffd_memory(void)
{
    int *word = map_pages(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    *word = 2;
    spawn(wait_for_word, word);
    while (!sleeper)
        sched_yield();
    await_sleep(sleeper);
    make_fault(word, PAGE, false);
    hostile_stay();
}

static void uffd_stack(void)
{
    static int word = 2;
    size_t bytes = 1 << 18;
    char *stack = map_pages(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, stack, bytes);
    if ((errno = pthread_create(&thread, &attr, wait_for_word, &word)))
        hostile_die("pthread_create");
    while (!sleeper)
        sched_yield();
    await_sleep(sleeper);
    make_fault(stack, bytes, false);
    hostile_stay();
}

/* A thread that runs code of a file in memory whose pages then go. */
static void uffd_text(void)
{
    /* mov $34, %eax (pause); syscall; jmp to the beginning */
    static const uint8_t code[] = {0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7};
    int fd = memfd_create("libtext.so", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, PAGE) || pwrite(fd, code, sizeof(code), 0) != sizeof(code))
        hostile_die("memfd");
    uint8_t *text = map_pages(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, fd);
    pid_t tid = -1;
    union {
        void *data;
        void *(*fn)(void *);
    } entry = {.data = text};
    spawn(entry.fn, NULL);
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *e; tasks && (e = readdir(tasks));)
        if (atoi(e->d_name) > 0 && atoi(e->d_name) != getpid())
            tid = atoi(e->d_name);
    await_sleep(tid);
    make_fault(text, PAGE, true);
    hostile_stay();
}

/* ---- numbers ---- */

static void many_maps(void)
{
    size_t n = 65000;
    char *at = map_pages(2 * n * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    for (size_t i = 0; i < n / 2; i++)
        if (mprotect(at + 2 * i * PAGE, PAGE, PROT_NONE))
            break; /* vm.max_map_count: as many as there may be */
    hostile_stay();
}

static void many_descriptors(void)
{
    struct rlimit limit;
    int ends[2];
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 66000 ? limit.rlim_max : 66000;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (pipe(ends))
        hostile_die("pipe");
    while (dup(ends[0]) >= 0 && eventfd(0, 0) >= 0)
        ;
    char byte;
    hostile_ready();
    while (read(ends[0], &byte, 1) >= 0 || errno == EINTR)
        ;
    hostile_die("read");
}

/* Sets in sets, as deep as the kernel lets them (4), and one of thousands. */
static void many_epolls(void)
{
    int top = -1;
    struct epoll_event event = {.events = EPOLLIN}, got;
    for (int depth = 0; depth < 5; depth++) {
        int set = epoll_create1(EPOLL_CLOEXEC);
        for (int i = 0; set >= 0 && i < 150; i++) {
            int fd = eventfd(0, EFD_CLOEXEC);
            if (fd < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event))
                break;
        }
        if (top >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, top, &event))
            break;
        top = set;
    }
    hostile_ready();
    for (;;)
        epoll_wait(top, &got, 1, -1);
}

static void deep_tree(void)
{
    for (int i = 0; i < 300; i++)
        if (hostile_child() > 0)
            for (;;)
                pause();
    hostile_stay();
}

/* Each of them could, through /proc, open the other end of what all of them read. */
static void many_readers(void)
{
    enum { READERS = 3000 };
    int ends[2];
    char byte;
    if (pipe(ends))
        hostile_die("pipe");
    for (int i = 0; i < READERS; i++)
        if (hostile_child() == 0) {
            close(ends[1]);
            while (read(ends[0], &byte, 1) >= 0)
                ;
            hostile_die("read");
        }
    hostile_stay();
}

/* ---- storms ---- */

static void *nothing(void *arg)
{
    return arg;
}

static void *make_threads(void *arg)
{
    for (;;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL) == 0)
            pthread_join(thread, NULL);
    }
    return arg;
}

static void thread_storm(void)
{
    for (int i = 0; i < 4; i++)
        spawn(make_threads, NULL);
    hostile_stay();
}

static void fork_storm(void)
{
    hostile_ready();
    for (;;) { /* at most 50 at once */
        for (int i = 0; i < 50; i++)
            if (hostile_child() == 0)
                _exit(0);
        while (waitpid(-1, NULL, 0) > 0)
            ;
    }
}

static void exec_storm(void)
{
    static char name[] = "wedge-hostile", which[] = "exec-storm", again[] = "again";
    char *argv[] = {name, which, again, NULL};
    if (!getenv("HOSTILE_AGAIN"))
        hostile_ready();
    setenv("HOSTILE_AGAIN", "1", 1);
    execv("/proc/self/exe", argv);
    hostile_die("exec");
}

/* ---- states ---- */

static void stopped(void)
{
    hostile_ready();
    for (;;)
        raise(SIGSTOP);
}

static void traced(void)
{
    pid_t self = getpid();
    int ready[2];
    char byte;
    if (pipe(ready))
        hostile_die("pipe");
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    if (hostile_child() == 0) {
        if (ptrace(PTRACE_SEIZE, self, NULL, NULL))
            hostile_die("ptrace");
        if (write(ready[1], "r", 1) != 1)
            hostile_die("write");
        for (;;)
            pause();
    }
    if (read(ready[0], &byte, 1) != 1)
        hostile_die("read");
    hostile_stay();
}

static void undumpable(void)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    prctl(PR_SET_DUMPABLE, 0);
    hostile_ready();
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&lock);
}

/* ---- names ---- */

static void *stay_named(void *arg)
{
    prctl(PR_SET_NAME, arg);
    for (;;)
        pause();
    return NULL;
}

static void names(void)
{
    static char all[][24] = {"::error::pwned",
                             "##vso[x]",
                             "\033[31m\033]0;t\a",
                             "</script><b>",
                             "]]>&quot;\"'",
                             "a\nb\r::stop::c",
                             "\xff\xfe\x80\x9b"
                             "31m",
                             "\xe2\x80\xae"
                             "evil",
                             "%s%n%s%n",
                             "(x) S 1 1 1 1",
                             " (deleted)"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        spawn(stay_named, all[i]);
    prctl(PR_SET_NAME, "::error::main");
    hostile_stay();
}

/* Kills what looks like its examiner, again and again: whoever has the same user can. */
static void killer(void)
{
    hostile_ready();
    for (;;) {
        DIR *dir = opendir("/proc");
        for (struct dirent *e; dir && (e = readdir(dir));) {
            char path[300], comm[32] = "";
            int pid = atoi(e->d_name), fd;
            if (pid <= 0)
                continue;
            snprintf(path, sizeof(path), "/proc/%d/comm", pid);
            fd = open(path, O_RDONLY | O_CLOEXEC);
            if (fd >= 0 && read(fd, comm, sizeof(comm) - 1) > 0 && strcmp(comm, "wedge\n") == 0)
                kill(pid, SIGKILL);
            if (fd >= 0)
                close(fd);
        }
        if (dir)
            closedir(dir);
    }
}

/* The name of what it maps leads to a FIFO by now: whoever opens it without care waits for a writer. */
static void fifo_path(void)
{
    char dir[] = "/tmp/wedge-hostile-XXXXXX", path[64];
    static const uint8_t code[] = {0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7};
    if (!mkdtemp(dir))
        hostile_die("mkdtemp");
    snprintf(path, sizeof(path), "%s/libc.so.6", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    if (fd < 0 || ftruncate(fd, PAGE) || pwrite(fd, code, sizeof(code), 0) != sizeof(code))
        hostile_die("open");
    union {
        void *data;
        void *(*fn)(void *);
    } entry = {.data = map_pages(PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd)};
    spawn(entry.fn, NULL);
    if (unlink(path) || mkfifo(path, 0600))
        hostile_die("mkfifo");
    printf("clean %s %s\n", path, dir);
    fflush(stdout);
    hostile_stay();
}

/* Writes all over what it maps of wedge's: the arena, if the agent is in it. */
static void scribble(void)
{
    char line[512];
    uint64_t x = 88172645463325252ull;
    uint8_t *from = NULL, *to = NULL;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof(line), maps))
        if (strstr(line, "memfd:wedge") && strstr(line, "rw-s"))
            sscanf(line, "%p-%p", (void **)&from, (void **)&to);
    if (!from)
        hostile_die("no arena");
    hostile_ready();
    for (;;) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        /* cppcheck-suppress nullPointerArithmetic ; sscanf(3) has set it */
        memcpy(from + (x >> 8) % (uint64_t)(to - from - 8), &x, 1 + (x & 7));
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"uffd-memory", uffd_memory},
    {"uffd-stack", uffd_stack},
    {"uffd-text", uffd_text},
    {"fuse-text", hostile_fuse_text},
    {"fuse-hang", hostile_fuse_hang},
    {"fuse-locked", hostile_fuse_locked},
    {"many-maps", many_maps},
    {"many-descriptors", many_descriptors},
    {"many-epolls", many_epolls},
    {"deep-tree", deep_tree},
    {"many-readers", many_readers},
    {"thread-storm", thread_storm},
    {"fork-storm", fork_storm},
    {"exec-storm", exec_storm},
    {"stopped", stopped},
    {"traced", traced},
    {"undumpable", undumpable},
    {"names", names},
    {"killer", killer},
    {"fifo-path", fifo_path},
    {"scribble", scribble},
};

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_DFL);
    for (size_t i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++)
        if (strcmp(argv[1], cases[i].name) == 0)
            cases[i].run();
    fprintf(stderr, "usage: wedge-hostile CASE\n");
    return 2;
}
