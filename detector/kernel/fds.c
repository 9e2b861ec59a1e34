#include "detector/kernel/fds.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "detector/kernel/proc.h"

#define MOST_FDS 65536

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), m = strlen(with);
    return n >= m && strcmp(s + n - m, with) == 0;
}

/* What the link says. A path that needs the inode's type to be judged comes back as FIFO or UNLINKED candidates. */
static enum wedge_fd_kind kind_of_link(const char *link)
{
    static const struct {
        const char *text;
        enum wedge_fd_kind kind;
    } table[] = {
        {"pipe:[", WEDGE_FD_PIPE},
        {"socket:[", WEDGE_FD_SOCKET},
        {"anon_inode:[eventfd]", WEDGE_FD_EVENTFD},
        {"anon_inode:[eventpoll]", WEDGE_FD_EPOLL},
        {"anon_inode:[timerfd]", WEDGE_FD_TIMERFD},
        {"anon_inode:[signalfd]", WEDGE_FD_SIGNALFD},
        {"anon_inode:[pidfd]", WEDGE_FD_PIDFD},
        {"pidfd:[", WEDGE_FD_PIDFD},
        {"anon_inode:[io_uring]", WEDGE_FD_ASYNC},
        {"anon_inode:kvm-", WEDGE_FD_ASYNC},
        {"/dev/kvm", WEDGE_FD_ASYNC},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (starts(link, table[i].text))
            return table[i].kind;
    return WEDGE_FD_OTHER;
}

/* A number that no file system has. */
uint64_t wedge_fds_device(enum wedge_fd_kind kind)
{
    return UINT64_MAX - (uint64_t)kind;
}

bool wedge_fds_is_keyed(enum wedge_fd_kind kind)
{
    return kind == WEDGE_FD_PIPE || kind == WEDGE_FD_FIFO || kind == WEDGE_FD_SOCKET || kind == WEDGE_FD_UNLINKED ||
           kind == WEDGE_FD_FILE;
}

/* Reads descriptor `name` of the open folder `dir`. A descriptor closed meanwhile is left out: false. */
static bool read_one(int dir, const char *name, struct wedge_fd *ret)
{
    char link[512];
    struct stat st;
    ssize_t len = readlinkat(dir, name, link, sizeof(link) - 1);
    if (len < 0)
        return false;
    link[len] = '\0';
    struct wedge_fd fd = {.number = (int)strtol(name, NULL, 10), .kind = kind_of_link(link)};
    /* The link's own permission bits are the mode of opening (proc(5)). */
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return false;
    fd.readable = st.st_mode & S_IRUSR;
    fd.writable = st.st_mode & S_IWUSR;
    /* sem_open(3) and shm_open(3) make files in /dev/shm; else there are devices in /dev. */
    bool file = !starts(link, "/dev/") || starts(link, "/dev/shm/") || starts(link, "/dev/hugepages/");
    bool path = link[0] == '/' && file && !starts(link, "/proc/") && !starts(link, "/sys/");
    if (fd.kind == WEDGE_FD_PIPE || path) {
        struct statx sx;
        /* DONT_SYNC: a file of a network or user-space file system must not make us wait. */
        if (statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO | STATX_NLINK, &sx)) {
            *ret = fd;
            return fd.kind != WEDGE_FD_PIPE;
        }
        if (fd.kind != WEDGE_FD_PIPE && S_ISFIFO(sx.stx_mode))
            fd.kind = sx.stx_nlink == 0 ? WEDGE_FD_PIPE : WEDGE_FD_FIFO;
        else if (fd.kind != WEDGE_FD_PIPE && S_ISREG(sx.stx_mode) && (sx.stx_nlink == 0 || ends(link, " (deleted)")))
            fd.kind = WEDGE_FD_UNLINKED;
        else if (fd.kind != WEDGE_FD_PIPE && S_ISREG(sx.stx_mode))
            fd.kind = WEDGE_FD_FILE;
        if (fd.kind != WEDGE_FD_OTHER) {
            fd.dev = (uint64_t)sx.stx_dev_major << 32 | sx.stx_dev_minor;
            fd.inode = sx.stx_ino;
        }
    } else if (fd.kind != WEDGE_FD_OTHER) {
        fd.dev = wedge_fds_device(fd.kind);
        fd.inode = fd.kind == WEDGE_FD_SOCKET ? strtoull(link + strlen("socket:["), NULL, 10) : 0;
    }
    *ret = fd;
    return true;
}

static int compare_fds(const void *a, const void *b)
{
    const struct wedge_fd *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

int wedge_fds_read(pid_t pid, pid_t tid, struct wedge_fd **ret, size_t *ret_n)
{
    char path[64];
    wedge_proc_path(pid, tid, "fd", path, sizeof(path));
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    struct wedge_fd *fds = NULL;
    size_t n = 0, cap = 0;
    int rc = 0;
    errno = 0;
    for (struct dirent *e; !rc && (e = readdir(dir));) {
        struct wedge_fd fd;
        if (!isdigit((unsigned char)e->d_name[0]) || !read_one(dirfd(dir), e->d_name, &fd))
            continue;
        if (n == MOST_FDS) {
            rc = -EOVERFLOW;
        } else if (n == cap) {
            cap = cap ? cap * 2 : 32;
            struct wedge_fd *more = realloc(fds, cap * sizeof(*fds));
            if (!more)
                rc = -ENOMEM;
            else
                fds = more;
        }
        if (!rc)
            fds[n++] = fd;
    }
    closedir(dir);
    if (rc) {
        free(fds);
        return rc;
    }
    if (n)
        qsort(fds, n, sizeof(*fds), compare_fds);
    *ret = fds;
    *ret_n = n;
    return 0;
}

const struct wedge_fd *wedge_fds_find(const struct wedge_fd *fds, size_t n, int number)
{
    struct wedge_fd key = {.number = number};
    return n ? bsearch(&key, fds, n, sizeof(*fds), compare_fds) : NULL;
}

const char *wedge_fds_word(enum wedge_fd_kind kind)
{
    static const char *const words[] = {
        [WEDGE_FD_OTHER] = "device",
        [WEDGE_FD_PIPE] = "pipe",
        [WEDGE_FD_FIFO] = "named FIFO",
        [WEDGE_FD_SOCKET] = "socket",
        [WEDGE_FD_EVENTFD] = "eventfd",
        [WEDGE_FD_EPOLL] = "epoll set",
        [WEDGE_FD_TIMERFD] = "timerfd",
        [WEDGE_FD_SIGNALFD] = "signalfd",
        [WEDGE_FD_PIDFD] = "pidfd",
        [WEDGE_FD_ASYNC] = "asynchronous device",
        [WEDGE_FD_UNLINKED] = "unlinked file",
        [WEDGE_FD_FILE] = "file",
    };
    return words[kind];
}
