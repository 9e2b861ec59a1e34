/* detector/sandbox: what a child that entered it still has, as /proc tells, and what it can still do. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/job.h"
#include "base/tests/suite.h"
#include "detector/elf/elf_file.h"
#include "detector/kernel/proc.h"
#include "detector/stacks/sandbox.h"

#define NOBODY     65534
#define DEADLINE   20000
#define DATA_BYTES ((uint64_t)64 << 20)
#define MAP_BYTES  ((uint64_t)256 << 20)

struct setup {
    int kept, dropped; /* descriptors */
    int go; /* the child waits for its end of file */
    pid_t tracee;
};

static int enter(const struct setup *setup, int out)
{
    const int keep[] = {-1, setup->kept, setup->go};
    struct wedge_sandbox sandbox = {.uid = geteuid() == 0 ? NOBODY : geteuid(),
                                    .gid = geteuid() == 0 ? NOBODY : getegid(),
                                    .out = out,
                                    .keep = keep,
                                    .n_keep = 3,
                                    .data_bytes = DATA_BYTES,
                                    .map_bytes = MAP_BYTES,
                                    .cpu_s = 10};
    return wedge_sandbox_enter(&sandbox);
}

/* ---- what it is ---- */

static int stay(void *arg, int out, struct wedge_job_note *note)
{
    const struct setup *setup = arg;
    char byte;
    pid_t self = getpid();
    (void)note;
    int rc = enter(setup, out);
    if (rc)
        return rc;
    if (write(out, &self, sizeof(self)) != sizeof(self))
        return -EIO;
    return read(setup->go, &byte, 1) == 0 ? 0 : -EIO;
}

static const char *line_of(const char *text, const char *key)
{
    static char line[256];
    const char *at = strstr(text, key);
    ck_assert_msg(at, "no line %s", key);
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
    return line;
}

struct watcher {
    int go; /* our end */
    const struct setup *setup;
    bool seen;
};

static int look_at(void *arg, const char *data, size_t len)
{
    struct watcher *watcher = arg;
    char text[8192], path[64];
    pid_t pid;
    ck_assert_uint_eq(len, sizeof(pid));
    memcpy(&pid, data, sizeof(pid));
    ck_assert_int_gt(wedge_proc_read(pid, 0, "status", text, sizeof(text)), 0);
    if (geteuid() == 0) {
        ck_assert_str_eq(line_of(text, "Uid:"), "Uid:\t65534\t65534\t65534\t65534");
        ck_assert_str_eq(line_of(text, "Gid:"), "Gid:\t65534\t65534\t65534\t65534");
        ck_assert_str_eq(line_of(text, "Groups:"), "Groups:\t ");
        /* What may be traced is its user's; what may not be dumped is root's (proc(5)). */
        struct stat st;
        snprintf(path, sizeof(path), "/proc/%d/mem", pid);
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_uint_eq(st.st_uid, 0);
    }
    ck_assert_str_eq(line_of(text, "CapPrm:"), "CapPrm:\t0000000000000000");
    ck_assert_str_eq(line_of(text, "CapEff:"), "CapEff:\t0000000000000000");
    ck_assert_str_eq(line_of(text, "NoNewPrivs:"), "NoNewPrivs:\t1");
    ck_assert_str_eq(line_of(text, "Seccomp:"), "Seccomp:\t2");
    ck_assert_int_gt(wedge_proc_read(pid, 0, "limits", text, sizeof(text)), 0);
    ck_assert_ptr_nonnull(strstr(line_of(text, "Max core file size"), " 0                    0 "));
    ck_assert_ptr_nonnull(strstr(line_of(text, "Max file size"), " 0                    0 "));
    ck_assert_ptr_null(strstr(line_of(text, "Max address space"), "unlimited"));
    /* Nothing open but what was to be kept: three descriptors, none of them the dropped one. */
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, watcher->setup->dropped);
    ck_assert_int_eq(readlink(path, text, sizeof(text)), -1);
    int n = 0;
    for (int fd = 0; fd < 256; fd++) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
        n += readlink(path, text, sizeof(text)) > 0;
    }
    /* Nobody of its own user looks into it (ptrace(2), PTRACE_MODE_READ). */
    ck_assert_int_eq(n, geteuid() == 0 ? 3 : 0);
    watcher->seen = true;
    close(watcher->go);
    return 0;
}

START_TEST(test_what_it_is)
{
    int go[2];
    struct wedge_job_result result;
    ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
    struct setup setup = {.kept = open("/dev/zero", O_RDONLY | O_CLOEXEC),
                          .dropped = open("/dev/zero", O_RDONLY | O_CLOEXEC),
                          .go = go[0]};
    struct watcher watcher = {.go = go[1], .setup = &setup};
    ck_assert_int_eq(wedge_job_stream(stay, &setup, DEADLINE, look_at, &watcher, &result), 0);
    ck_assert_int_eq(result.status, 0);
    ck_assert(watcher.seen);
    close(go[0]);
    close(setup.kept);
    close(setup.dropped);
}
END_TEST

/* ---- what it can do ---- */

static long try_open(const struct setup *s)
{
    (void)s;
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}
static long try_socket(const struct setup *s)
{
    (void)s;
    return socket(AF_UNIX, SOCK_STREAM, 0);
}
static long try_fork(const struct setup *s)
{
    (void)s;
    return fork();
}
static long try_exec(const struct setup *s)
{
    char name[] = "true", *argv[] = {name, NULL};
    (void)s;
    return execv("/bin/true", argv);
}
static long try_kill(const struct setup *s)
{
    return kill(s->tracee, SIGKILL);
}
static long try_ptrace(const struct setup *s)
{
    return ptrace(PTRACE_SEIZE, s->tracee, NULL, NULL);
}
static long try_memory(const struct setup *s)
{
    char byte;
    struct iovec local = {&byte, 1}, remote = {&byte, 1};
    return process_vm_readv(s->tracee, &local, 1, &remote, 1, 0);
}
static long try_write(const struct setup *s)
{
    return write(s->kept, "x", 1);
}
static long try_ioctl(const struct setup *s)
{
    return ioctl(s->kept, TIOCSTI, "x");
}
static long try_unlink(const struct setup *s)
{
    (void)s;
    return unlink("/tmp/wedge-no-such-file");
}
static long try_dumpable(const struct setup *s)
{
    (void)s;
    return prctl(PR_SET_DUMPABLE, 1);
}
static long try_x32(const struct setup *s)
{
    (void)s;
    return syscall(0x40000000 | SYS_getppid);
}
static long try_new_user(const struct setup *s)
{
    (void)s;
    return syscall(SYS_setresuid, 0, 0, 0);
}
static long try_userfault(const struct setup *s)
{
    (void)s;
    return syscall(SYS_userfaultfd, O_CLOEXEC);
}

static const struct forbidden {
    const char *name;
    long (*call)(const struct setup *s);
} forbidden[] = {
    {"open", try_open},     {"socket", try_socket},         {"fork", try_fork},     {"exec", try_exec},
    {"kill", try_kill},     {"ptrace", try_ptrace},         {"memory", try_memory}, {"write", try_write},
    {"ioctl", try_ioctl},   {"unlink", try_unlink},         {"x32", try_x32},       {"dumpable", try_dumpable},
    {"user", try_new_user}, {"userfaultfd", try_userfault},
};

static int try_one(void *arg, int out, struct wedge_job_note *note)
{
    const struct setup *setup = arg;
    (void)note;
    int rc = enter(setup, out);
    if (rc)
        return rc;
    const struct forbidden *what = &forbidden[setup->dropped];
    errno = 0;
    long got = what->call(setup);
    return got == -1 && errno == EPERM ? 0 : got == -1 && errno ? -errno : -EALREADY;
}

START_TEST(test_what_it_cannot)
{
    struct wedge_job_result result;
    pid_t tracee = fork();
    ck_assert_int_ge(tracee, 0);
    if (tracee == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    struct setup setup = {.kept = open("/dev/null", O_RDWR | O_CLOEXEC), .go = -1, .dropped = _i, .tracee = tracee};
    ck_assert_int_eq(wedge_job_run(try_one, &setup, DEADLINE, 1, &result), 0);
    ck_assert_msg(result.status == 0, "%s: %s, signal %d", forbidden[_i].name, strerror(-result.status), result.signal);
    wedge_job_result_free(&result);
    ck_assert_int_eq(waitpid(tracee, NULL, WNOHANG), 0); /* it lives */
    kill(tracee, SIGKILL);
    waitpid(tracee, NULL, 0);
    close(setup.kept);
}
END_TEST

/* What openat(2) does in the place of itself: regular files to read, and neither waits nor wakes anything. */
static int open_some(void *arg, int out, struct wedge_job_note *note)
{
    (void)arg;
    struct wedge_sandbox sandbox = {.uid = geteuid(),
                                    .gid = getegid(),
                                    .out = out,
                                    .data_bytes = DATA_BYTES,
                                    .map_bytes = MAP_BYTES,
                                    .cpu_s = 10,
                                    .open_regular = wedge_elf_open_regular};
    char byte;
    (void)note;
    int rc = wedge_sandbox_enter(&sandbox);
    if (rc)
        return rc;
    int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &byte, 1) != 1)
        return -ENOENT;
    close(fd);
    fd = openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_NOCTTY);
    if (fd < 0)
        return -EBADF;
    close(fd);
    static const struct {
        const char *path;
        int flags;
    } not_to_be_had[] = {{"fifo", O_RDONLY},         {"/dev/null", O_RDONLY},
                         {"/etc", O_RDONLY},         {"/wedge/no/such/file", O_RDONLY},
                         {"/etc/passwd", O_RDWR},    {"/etc/passwd", O_WRONLY | O_APPEND},
                         {"new", O_WRONLY | O_CREAT}};
    for (size_t i = 0; i < sizeof(not_to_be_had) / sizeof(not_to_be_had[0]); i++) {
        errno = 0;
        if (open(not_to_be_had[i].path, not_to_be_had[i].flags | O_CLOEXEC, 0600) != -1 || errno != EPERM)
            return -(int)(64 + i);
    }
    return access("new", F_OK) == -1 && errno == EPERM ? 0 : -EALREADY; /* and nothing else was opened up */
}

START_TEST(test_opens)
{
    struct wedge_job_result result;
    char dir[] = "/tmp/wedge-sandbox-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    ck_assert_int_eq(wedge_job_run(open_some, NULL, DEADLINE, 1, &result), 0);
    ck_assert_msg(result.status == 0, "%d, signal %d", result.status, result.signal);
    ck_assert_int_eq(access("new", F_OK), -1);
    wedge_job_result_free(&result);
    unlink("fifo");
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* What the work needs: memory up to the limit, a file by openat2, clocks. */
static int work(void *arg, int out, struct wedge_job_note *note)
{
    const struct setup *setup = arg;
    (void)note;
    int rc = enter(setup, out);
    if (rc)
        return rc;
    char *some = malloc(DATA_BYTES / 2);
    if (!some)
        return -ENOMEM;
    memset(some, 1, DATA_BYTES / 2);
    void *more = mmap(NULL, 2 * DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *most = mmap(NULL, 2 * MAP_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free(some);
    return more == MAP_FAILED && most == MAP_FAILED ? 0 : -EOVERFLOW;
}

START_TEST(test_memory)
{
    struct wedge_job_result result;
    struct setup setup = {.kept = -1, .go = -1};
    ck_assert_int_eq(wedge_job_run(work, &setup, DEADLINE, 1, &result), 0);
    ck_assert_msg(result.status == 0, "%s", strerror(-result.status));
    wedge_job_result_free(&result);
}
END_TEST

/* It goes with its parent: a change of user takes the kernel's promise of that back, and the sandbox renews it. */
START_TEST(test_dies_with_its_parent)
{
    int go[2], said[2];
    pid_t sandboxed;
    ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(said, O_CLOEXEC), 0);
    pid_t parent = fork();
    ck_assert_int_ge(parent, 0);
    if (parent == 0) {
        struct setup setup = {.kept = -1, .go = go[0]};
        pid_t child = fork();
        if (child == 0)
            _exit(-stay(&setup, said[1], NULL));
        waitpid(child, NULL, 0);
        _exit(0);
    }
    close(said[1]);
    ck_assert_int_eq(read(said[0], &sandboxed, sizeof(sandboxed)), sizeof(sandboxed));
    kill(parent, SIGKILL);
    ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
    struct pollfd end = {.fd = said[0], .events = POLLIN}; /* end of file: nobody can write any more */
    ck_assert_int_eq(poll(&end, 1, DEADLINE), 1);
    ck_assert_int_eq(read(said[0], &sandboxed, 1), 0);
    close(said[0]);
    close(go[0]);
    close(go[1]);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_what_it_is);
    tcase_add_loop_test(tcase, test_what_it_cannot, 0, sizeof(forbidden) / sizeof(forbidden[0]));
    tcase_add_test(tcase, test_opens);
    tcase_add_test(tcase, test_memory);
    tcase_add_test(tcase, test_dies_with_its_parent);
}

int main(void)
{
    return wedge_test_main("sandbox", 60, fill);
}
