#include "detector/stacks/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* What malloc, libelf, libdw, libunwind and the reading of files need, measured with strace -f on the tests of stacks
 * (glibc 2.36, elfutils 0.188, libunwind 1.6.2); sigaltstack is AddressSanitizer's. `write` is looked at more closely,
 * in the filter. */
static const unsigned allowed[] = {SYS_read,
                                   SYS_pread64,
                                   SYS_fstat,
                                   SYS_newfstatat,
                                   SYS_statx,
                                   SYS_lseek,
                                   SYS_close,
                                   SYS_openat2,
                                   SYS_mmap,
                                   SYS_munmap,
                                   SYS_mremap,
                                   SYS_mprotect,
                                   SYS_madvise,
                                   SYS_brk,
                                   SYS_exit,
                                   SYS_exit_group,
                                   SYS_rt_sigprocmask,
                                   SYS_rt_sigreturn,
                                   SYS_futex,
                                   SYS_clock_gettime,
                                   SYS_clock_nanosleep,
                                   SYS_getrandom,
                                   SYS_sysinfo,
                                   SYS_getpid,
                                   SYS_fcntl,
                                   SYS_sigaltstack};
enum { ALLOWED = sizeof(allowed) / sizeof(allowed[0]), MOST_OPS = 2 * ALLOWED + 16 };

#define BY_SECCOMP 1 /* SYS_SECCOMP of the kernel's asm-generic/siginfo.h, which glibc 2.36 does not name */
static int (*open_regular)(int dirfd, const char *path);

#define LOAD(field)             BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define JUMP_EQ(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define ANSWER(action)          BPF_STMT(BPF_RET | BPF_K, (action))

/* seccomp(2): the number means nothing before the architecture is known, and x32 shares that of x86-64. */
static int filter_calls(const struct wedge_sandbox *sandbox)
{
    struct sock_filter ops[MOST_OPS];
    unsigned short n = 0;
    ops[n++] = (struct sock_filter)LOAD(arch);
    ops[n++] = (struct sock_filter)JUMP_EQ(AUDIT_ARCH_X86_64, 1, 0);
    ops[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_KILL_PROCESS);
    ops[n++] = (struct sock_filter)LOAD(nr); /* an x32 call has bit 30 set: none of the list */
    for (size_t i = 0; i < ALLOWED; i++) {
        ops[n++] = (struct sock_filter)JUMP_EQ(allowed[i], 0, 1);
        ops[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    }
    if (sandbox->open_regular) {
        ops[n++] = (struct sock_filter)JUMP_EQ(SYS_openat, 0, 1);
        ops[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_TRAP);
    }
    ops[n++] = (struct sock_filter)JUMP_EQ(SYS_write, 0, 3);
    ops[n++] = (struct sock_filter)LOAD(args[0]);
    ops[n++] = (struct sock_filter)JUMP_EQ((unsigned)sandbox->out, 0, 1);
    ops[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    ops[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {.len = n, .filter = ops};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

/* In the place of openat(2), inside of the call: the thread is in libdw's open(), and holds no lock of the C library. What the
 * handler leaves in rax is what the call returns (seccomp(2), SECCOMP_RET_TRAP). */
static void on_open(int signal, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    int before = errno, fd = -1;
    (void)signal;
    bool reading = (regs[REG_RDX] & (O_ACCMODE | O_CREAT | O_TRUNC)) == O_RDONLY;
    if (info->si_code == BY_SECCOMP && info->si_syscall == SYS_openat && reading)
        fd = open_regular((int)regs[REG_RDI], (const char *)(uintptr_t)regs[REG_RSI]);
    regs[REG_RAX] = fd >= 0 ? fd : -EPERM;
    errno = before;
}

static int catch_opens(int (*open)(int dirfd, const char *path))
{
    struct sigaction action = {.sa_sigaction = on_open, .sa_flags = SA_SIGINFO};
    sigset_t trap;
    open_regular = open;
    sigemptyset(&trap);
    sigaddset(&trap, SIGSYS);
    return sigaction(SIGSYS, &action, NULL) || sigprocmask(SIG_UNBLOCK, &trap, NULL) ? -errno : 0;
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* Closes all but `out` and what is kept. Returns the highest that is open, or a negative errno. */
static int close_others(const struct wedge_sandbox *sandbox)
{
    size_t n = 0;
    int *keep = malloc((sandbox->n_keep + 1) * sizeof(*keep));
    unsigned from = 0;
    int rc = 0;
    if (!keep)
        return -ENOMEM;
    keep[n++] = sandbox->out;
    for (size_t i = 0; i < sandbox->n_keep; i++)
        if (sandbox->keep[i] >= 0)
            keep[n++] = sandbox->keep[i];
    qsort(keep, n, sizeof(*keep), compare_ints);
    for (size_t i = 0; i < n && !rc; i++) {
        unsigned fd = (unsigned)keep[i];
        if (fd > from && close_range(from, fd - 1, 0))
            rc = -errno;
        from = fd + 1;
    }
    if (!rc && close_range(from, ~0u, 0))
        rc = -errno;
    int highest = keep[n - 1];
    free(keep);
    return rc ? rc : highest;
}

/* The order matters: whoever has given up his user cannot give up groups. */
static int change_user(const struct wedge_sandbox *sandbox)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    memset(none, 0, sizeof(none));
    if (geteuid() == 0) {
        /* In a user namespace of one user there are no others to become, and groups may not be set (user_namespaces(7)). */
        if (setgroups(0, NULL) && (errno != EPERM || sandbox->uid != 0))
            return -errno;
        if (sandbox->uid != 0 && (setresgid(sandbox->gid, sandbox->gid, sandbox->gid) ||
                                  setresuid(sandbox->uid, sandbox->uid, sandbox->uid)))
            return -errno;
    }
    return syscall(SYS_capset, &header, none) ? -errno : 0;
}

static int limit(int what, uint64_t most)
{
    struct rlimit now, next;
    if (getrlimit((__rlimit_resource_t)what, &now))
        return -errno;
    next.rlim_max = now.rlim_max < most ? now.rlim_max : most;
    next.rlim_cur = now.rlim_cur < next.rlim_max ? now.rlim_cur : next.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &next) ? -errno : 0;
}

/* Counted from what there is: a sanitizer's shadow alone is terabytes. statm: pages in all, …, data and stack (proc(5)). */
static int limit_memory(const struct wedge_sandbox *sandbox)
{
    unsigned long all, data;
    char text[256];
    ssize_t len = -1;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = read(fd, text, sizeof(text) - 1);
        close(fd);
    }
    if (len <= 0)
        return -EIO;
    text[len] = 0;
    if (sscanf(text, "%lu %*u %*u %*u %*u %lu", &all, &data) != 2)
        return -EIO;
    uint64_t page = (uint64_t)getpagesize();
    int rc = limit(RLIMIT_DATA, data * page + sandbox->data_bytes);
    return rc ? rc : limit(RLIMIT_AS, all * page + sandbox->map_bytes);
}

int wedge_sandbox_enter(const struct wedge_sandbox *sandbox)
{
    pid_t parent = getppid();
    int rc = limit_memory(sandbox);
    int highest = rc ? rc : close_others(sandbox);
    if (highest < 0)
        return highest;
    if ((rc = limit(RLIMIT_CPU, sandbox->cpu_s)) || (rc = limit(RLIMIT_CORE, 0)) || (rc = limit(RLIMIT_FSIZE, 0)) ||
        (rc = limit(RLIMIT_NPROC, 0)) || (rc = limit(RLIMIT_NOFILE, (uint64_t)highest + 16)))
        return rc;
    rc = change_user(sandbox);
    if (rc)
        return rc;
    /* A change of user takes back the wish to die with the parent (prctl(2), PR_SET_PDEATHSIG). */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -errno;
    if (getppid() != parent)
        return -ESRCH;
    rc = sandbox->open_regular ? catch_opens(sandbox->open_regular) : 0;
    return rc ? rc : filter_calls(sandbox);
}
