/* The program, and the calls about descriptors. */
#include "faults/tests/target_functions.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

extern const struct probe *const __start_wedge_probes[], *const __stop_wedge_probes[];
static const struct probe *now;
static bool raw; /* results are told as they are */
static bool never_waits;

bool probe_never_waits(void)
{
    return never_waits;
}

static void set_waits(int fd)
{
    if (never_waits)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

bool probe_is_raw(void)
{
    return raw;
}

void probe_begin(void)
{
    prctl(PR_SET_NAME, "probe");
    errno = 0;
}

void probe_end(void)
{
    prctl(PR_SET_NAME, "setting");
}

void probe_tell(long result, int error, const char *text)
{
    char line[160];
    int n = snprintf(line, sizeof(line), "%s %ld %d %s\n", now->name, result, error, text);
    if (syscall(SYS_write, 1, line, n) != n)
        abort();
}

void probe_tell_some(long result, int error, const char *text)
{
    if (raw || result == 0 || result == -1) {
        probe_tell(result, error, text);
        return;
    }
    probe_tell(1, error, text);
}

int probe_file(const char *text)
{
    int fd = memfd_create("probe", MFD_CLOEXEC);
    if (pwrite(fd, text, strlen(text), 0) != (ssize_t)strlen(text))
        abort();
    set_waits(fd);
    return fd;
}

struct probe_pipe probe_pipe(const char *text)
{
    int ends[2];
    if (pipe(ends) || write(ends[1], text, strlen(text)) != (ssize_t)strlen(text))
        abort();
    set_waits(ends[0]);
    set_waits(ends[1]);
    return (struct probe_pipe){ends[0], ends[1]};
}

struct probe_pipe probe_sockets(const char *text)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || write(ends[1], text, strlen(text)) != (ssize_t)strlen(text))
        abort();
    set_waits(ends[0]);
    set_waits(ends[1]);
    return (struct probe_pipe){ends[0], ends[1]};
}

void probe_close(struct probe_pipe pipe)
{
    close(pipe.in);
    close(pipe.out);
}

const char *probe_text(int fd)
{
    static char text[32];
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    return text;
}

/* Reading and writing "hello" in the ways there are. */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t size);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t at, size_t size);
#define READS(name, ...)                                                                                               \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        int fd = probe_file("hello");                                                                                  \
        char buf[8] = "";                                                                                              \
        struct iovec iov[] = {{buf, 2}, {NULL, 0}, {buf + 2, 3}};                                                      \
        (void)iov;                                                                                                     \
        long n = PROBE(__VA_ARGS__);                                                                                   \
        probe_tell(n, errno, buf);                                                                                     \
        close(fd);                                                                                                     \
    }
READS(read, read(fd, buf, 5))
READS(__read_chk, __read_chk(fd, buf, 5, sizeof(buf)))
READS(pread, pread(fd, buf, 5, 0))
READS(pread64, pread64(fd, buf, 5, 0))
READS(__pread_chk, __pread_chk(fd, buf, 5, 0, sizeof(buf)))
READS(__pread64_chk, __pread64_chk(fd, buf, 5, 0, sizeof(buf)))
READS(readv, readv(fd, iov, 3))
READS(preadv, preadv(fd, iov, 3, 0))
READS(preadv64, preadv64(fd, iov, 3, 0))
READS(preadv2, preadv2(fd, iov, 3, 0, 0))
READS(preadv64v2, preadv64v2(fd, iov, 3, 0, 0))

#define WRITES(name, ...)                                                                                              \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        int fd = probe_file("");                                                                                       \
        char buf[] = "hello";                                                                                          \
        struct iovec iov[] = {{buf, 2}, {NULL, 0}, {buf + 2, 3}};                                                      \
        (void)iov;                                                                                                     \
        long n = PROBE(__VA_ARGS__);                                                                                   \
        int error = errno;                                                                                             \
        lseek(fd, 0, SEEK_SET);                                                                                        \
        probe_tell(n, error, probe_text(fd));                                                                          \
        close(fd);                                                                                                     \
    }
WRITES(write, write(fd, buf, 5))
WRITES(pwrite, pwrite(fd, buf, 5, 0))
WRITES(pwrite64, pwrite64(fd, buf, 5, 0))
WRITES(writev, writev(fd, iov, 3))
WRITES(pwritev, pwritev(fd, iov, 3, 0))
WRITES(pwritev64, pwritev64(fd, iov, 3, 0))
WRITES(pwritev2, pwritev2(fd, iov, 3, 0, 0))
WRITES(pwritev64v2, pwritev64v2(fd, iov, 3, 0, 0))

/* Carrying bytes from one descriptor to the other. */
#define CARRIES(name, ...)                                                                                             \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        int file = probe_file("hello");                                                                                \
        struct probe_pipe full = probe_pipe("hello"), empty = probe_pipe("");                                          \
        char hello[] = "hello";                                                                                        \
        struct iovec iov[] = {{hello, 2}, {hello + 2, 3}};                                                             \
        (void)iov;                                                                                                     \
        long n = PROBE(__VA_ARGS__);                                                                                   \
        int error = errno;                                                                                             \
        probe_tell(n, error, probe_text(empty.in));                                                                    \
        probe_close(full);                                                                                             \
        probe_close(empty);                                                                                            \
        close(file);                                                                                                   \
    }
CARRIES(sendfile, sendfile(empty.out, file, NULL, 5))
CARRIES(sendfile64, sendfile64(empty.out, file, NULL, 5))
CARRIES(splice, splice(full.in, NULL, empty.out, NULL, 5, 0))
CARRIES(tee, tee(full.in, empty.out, 5, 0))
CARRIES(vmsplice, vmsplice(empty.out, iov, 2, 0))
CALL(copy_file_range)
{
    int from = probe_file("hello"), to = probe_file("");
    long n = PROBE(copy_file_range(from, NULL, to, NULL, 5, 0));
    int error = errno;
    lseek(to, 0, SEEK_SET);
    probe_tell(n, error, probe_text(to));
    close(from);
    close(to);
}

/* A call about one file. */
#define ON_FILE(name, ...)                                                                                             \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        int fd = probe_file("hello");                                                                                  \
        struct flock lock = {.l_type = F_WRLCK};                                                                       \
        (void)lock;                                                                                                    \
        TELL(__VA_ARGS__, "");                                                                                         \
        close(fd);                                                                                                     \
    }
ON_FILE(fsync, fsync(fd))
ON_FILE(fdatasync, fdatasync(fd))
ON_FILE(ftruncate, ftruncate(fd, 10))
ON_FILE(ftruncate64, ftruncate64(fd, 10))
ON_FILE(posix_fallocate, posix_fallocate(fd, 0, 10))
ON_FILE(posix_fallocate64, posix_fallocate64(fd, 0, 10))
ON_FILE(fallocate, fallocate(fd, 0, 0, 10))
ON_FILE(fallocate64, fallocate64(fd, 0, 0, 10))
ON_FILE(close, close(fd))
ON_FILE(close_range, close_range((unsigned)fd, (unsigned)fd, 0))
ON_FILE(fcntl, fcntl(fd, F_SETLK, &lock))
ON_FILE(fcntl64, fcntl64(fd, F_OFD_SETLK, &lock))
ON_FILE(flock, flock(fd, LOCK_EX | LOCK_NB))
ON_FILE(lockf, lockf(fd, F_TLOCK, 0))
ON_FILE(lockf64, lockf64(fd, F_TLOCK, 0))
CALL(closefrom)
{
    int fd = fcntl(1, F_DUPFD, 900);
    TELL_VOID(closefrom(900), fcntl(fd, F_GETFD) < 0 ? "closed" : "open");
    close(fd);
}

/* A call that gives a descriptor. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
#define MAKES(name, ...)                                                                                               \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        sigset_t mask;                                                                                                 \
        sigemptyset(&mask);                                                                                            \
        long fd = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno;                                                                                             \
        probe_tell_some(fd, error, fd >= 0 && fcntl((int)fd, F_GETFD) >= 0 ? "open" : "");                             \
        if (fd > 2)                                                                                                    \
            close((int)fd);                                                                                            \
    }
/* NOLINTBEGIN(android-cloexec-*): it is these that are to be called */
MAKES(open, open("/dev/null", O_RDWR))
MAKES(open64, open64("/dev/null", O_RDWR))
MAKES(openat, openat(AT_FDCWD, "/dev/null", O_RDWR))
MAKES(openat64, openat64(AT_FDCWD, "/dev/null", O_RDWR))
MAKES(__open_2, __open_2("/dev/null", O_RDWR))
MAKES(__open64_2, __open64_2("/dev/null", O_RDWR))
MAKES(__openat_2, __openat_2(AT_FDCWD, "/dev/null", O_RDWR))
MAKES(__openat64_2, __openat64_2(AT_FDCWD, "/dev/null", O_RDWR))
MAKES(creat, creat("/dev/null", 0600))
MAKES(creat64, creat64("/dev/null", 0600))
MAKES(memfd_create, memfd_create("probe", 0))
MAKES(dup, dup(1))
MAKES(dup2, dup2(1, 901))
MAKES(dup3, dup3(1, 901, O_CLOEXEC))
MAKES(eventfd, eventfd(3, 0))
MAKES(timerfd_create, timerfd_create(CLOCK_MONOTONIC, 0))
MAKES(signalfd, signalfd(-1, &mask, 0))
MAKES(epoll_create, epoll_create(1))
MAKES(epoll_create1, epoll_create1(0))
MAKES(socket, socket(AF_UNIX, SOCK_STREAM, 0))
/* NOLINTEND(android-cloexec-*) */

#define MAKES_TWO(name, ...)                                                                                           \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        int fds[2] = {-1, -1};                                                                                         \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno;                                                                                             \
        bool open = fds[0] >= 0 && write(fds[1], "x", 1) == 1;                                                         \
        probe_tell(rc, error, open ? probe_text(fds[0]) : "");                                                         \
        close(fds[0]);                                                                                                 \
        close(fds[1]);                                                                                                 \
    }
MAKES_TWO(pipe, pipe(fds))
MAKES_TWO(pipe2, pipe2(fds, O_CLOEXEC))
MAKES_TWO(socketpair, socketpair(AF_UNIX, SOCK_STREAM, 0, fds))

CALL(eventfd_read)
{
    eventfd_t value = 0;
    int fd = eventfd(3, 0);
    set_waits(fd);
    long rc = PROBE(eventfd_read(fd, &value));
    probe_tell(rc, errno, value == 3 ? "three" : "");
    close(fd);
}
CALL(eventfd_write)
{
    eventfd_t value = 0;
    int fd = eventfd(1, 0);
    set_waits(fd);
    long rc = PROBE(eventfd_write(fd, 2));
    int error = errno;
    eventfd_read(fd, &value);
    probe_tell(rc, error, value == 3 ? "three" : "");
    close(fd);
}
#define TIMERFD(name, ...)                                                                                             \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        struct itimerspec value = {.it_value = {.tv_sec = 3600}}, left;                                                \
        int fd = timerfd_create(CLOCK_MONOTONIC, 0);                                                                   \
        (void)value;                                                                                                   \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno;                                                                                             \
        timerfd_gettime(fd, &left);                                                                                    \
        probe_tell(rc, error, left.it_value.tv_sec ? "armed" : "");                                                    \
        close(fd);                                                                                                     \
    }
TIMERFD(timerfd_settime, timerfd_settime(fd, 0, &value, NULL))
TIMERFD(timerfd_gettime, timerfd_gettime(fd, &value))

CALL(syscall)
{
    uint32_t word = 0;
    TELL(syscall(SYS_futex, &word, 129 /* wake, private */, 1), "");
}

/* System calls by number: one with all six arguments, two that make a process, a futex. */
static void syscalls(void)
{
    int fd = memfd_create("probe", MFD_CLOEXEC), status = 0;
    uint32_t word = 0;
    if (ftruncate(fd, 8192) || pwrite(fd, "second", 7, 4096) != 7)
        abort();
    const char *page = (const char *)PROBE(syscall(SYS_mmap, NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 4096));
    printf("mmap: %s\n", page == MAP_FAILED ? strerror(errno) : page);
    for (int i = 0; i < 2; i++) {
        long pid = PROBE(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
        if (pid == 0)
            _exit(7);
        int error = errno;
        printf("clone: %d\n", pid < 0 ? -error : waitpid((pid_t)pid, &status, 0) == pid ? WEXITSTATUS(status) : -1);
    }
    long rc = PROBE(syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0));
    printf("futex: %ld %d\n", rc, errno);
    fflush(stdout);
}

/* [-r] [-n] NAME[:COUNT]…: makes each call so often. Without a name, every call once. "old": the older versions in libc.
 * "syscalls": some of them by number. "left": what is left of a sleep. */
int main(int argc, char **argv)
{
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        raw |= strcmp(argv[at], "-r") == 0;
        never_waits |= strcmp(argv[at], "-n") == 0;
    }
    probe_end();
    if (at < argc && strcmp(argv[at], "old") == 0) {
        probe_old_versions();
        return 0;
    }
    if (at < argc && strcmp(argv[at], "left") == 0) {
        printf("left %ld\n", PROBE(sleep(5)));
        return 0;
    }
    if (at < argc && strcmp(argv[at], "syscalls") == 0) {
        syscalls();
        return 0;
    }
    for (const struct probe *const *p = __start_wedge_probes; at >= argc && p != __stop_wedge_probes; p++) {
        now = *p;
        now->call();
    }
    for (; at < argc; at++) {
        size_t length = strcspn(argv[at], ":");
        int count = argv[at][length] ? atoi(argv[at] + length + 1) : 1;
        now = NULL;
        for (const struct probe *const *p = __start_wedge_probes; p != __stop_wedge_probes; p++)
            if (strlen((*p)->name) == length && strncmp((*p)->name, argv[at], length) == 0)
                now = *p;
        if (!now) {
            fprintf(stderr, "no call of %s\n", argv[at]);
            return 2;
        }
        for (int i = 0; i < count; i++)
            now->call();
    }
    return 0;
}
