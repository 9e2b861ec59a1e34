/*
 * A FUSE file system of one file, without libfuse: serves libslow.so until it is told enough, and then takes
 * requests without ever answering one. Whoever opens, reads or writes the file, or asks for its size, waits until the
 * connection is cut. Protocol: linux/fuse.h, version 7.31.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "detector/tests/programs/hostile.h"

enum { LOCKED_S = 20 }; /* at the most */
enum { FILE_INODE = 2, FILE_BYTES = 4096, REQUEST_BYTES = 1 << 17 };

static uint8_t content[FILE_BYTES] = {0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7}; /* pause, again and again */

static void answer(int dev, const struct fuse_in_header *in, int error, const void *data, size_t len)
{
    uint8_t out[sizeof(struct fuse_out_header) + FILE_BYTES];
    struct fuse_out_header header = {.len = (uint32_t)(sizeof(header) + len), .error = error, .unique = in->unique};
    memcpy(out, &header, sizeof(header));
    if (len)
        memcpy(out + sizeof(header), data, len);
    if (write(dev, out, header.len) < 0 && errno != ENOENT)
        hostile_die("answer");
}

static struct fuse_attr attributes(uint64_t inode)
{
    struct fuse_attr attr = {.ino = inode, .nlink = 1, .mode = S_IFDIR | 0755, .blksize = 4096};
    if (inode == FILE_INODE) {
        attr.mode = S_IFREG | 0755;
        attr.size = FILE_BYTES;
    }
    return attr;
}

static void serve(int dev, const struct fuse_in_header *in, const void *body)
{
    switch (in->opcode) {
    case FUSE_INIT: {
        struct fuse_init_out out = {
            .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096, .max_readahead = 4096};
        answer(dev, in, 0, &out, sizeof(out));
        return;
    }
    case FUSE_LOOKUP: {
        struct fuse_entry_out out = {.nodeid = FILE_INODE, .attr = attributes(FILE_INODE)};
        answer(dev, in, strcmp(body, "libslow.so") == 0 ? 0 : -ENOENT, &out,
               strcmp(body, "libslow.so") == 0 ? sizeof(out) : 0);
        return;
    }
    case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr = attributes(in->nodeid)};
        answer(dev, in, 0, &out, sizeof(out));
        return;
    }
    case FUSE_OPEN:
    case FUSE_OPENDIR: {
        struct fuse_open_out out = {.fh = 1};
        answer(dev, in, 0, &out, sizeof(out));
        return;
    }
    case FUSE_READ:
        answer(dev, in, 0, content, FILE_BYTES);
        return;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        return;
    case FUSE_RELEASE:
    case FUSE_FLUSH:
        answer(dev, in, 0, NULL, 0);
        return;
    default:
        answer(dev, in, -ENOSYS, NULL, 0);
    }
}

static void serve_until(int dev, int enough)
{
    static _Alignas(8) uint8_t request[REQUEST_BYTES];
    char byte;
    fcntl(dev, F_SETFL, O_NONBLOCK);
    for (;;) {
        ssize_t n = read(dev, request, sizeof(request) - 1);
        if (n >= (ssize_t)sizeof(struct fuse_in_header)) {
            request[n] = 0;
            serve(dev, (const struct fuse_in_header *)(const void *)request, request + sizeof(struct fuse_in_header));
        } else if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOENT) {
            hostile_die("fuse");
        } else if (read(enough, &byte, 1) == 1) {
            return;
        } else {
            sched_yield();
        }
    }
}

struct slow {
    uint8_t *at; /* the file, mapped: code */
    int server; /* a socket */
};

static struct slow map_slow(int prot, int flags)
{
    char dir[] = "/tmp/wedge-hostile-XXXXXX", path[64], options[128];
    int ends[2];
    int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (dev < 0 || unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || !mkdtemp(dir) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        hostile_die("fuse");
    printf("clean %s\n", dir);
    fflush(stdout);
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", dev);
    if (mount("slow", dir, "fuse.slow", MS_NOSUID | MS_NODEV, options))
        hostile_die("mount");
    if (hostile_child() == 0) {
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        serve_until(dev, ends[0]);
        if (write(ends[0], "e", 1) != 1)
            hostile_die("write");
        alarm(LOCKED_S);
        for (;;)
            pause();
    }
    close(dev); /* the connection is cut when the server ends, and so is every wait for it */
    snprintf(path, sizeof(path), "%s/libslow.so", dir);
    int fd = open(path, ((unsigned)flags & MAP_SHARED ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    struct slow slow = {.at = mmap(NULL, FILE_BYTES, prot, flags, fd, 0), .server = ends[1]};
    if (fd < 0 || slow.at == MAP_FAILED || slow.at[0] != content[0])
        hostile_die("libslow.so");
    close(fd);
    return slow;
}

static void stop_answering(const struct slow *slow)
{
    char byte;
    if (write(slow->server, "e", 1) != 1 || read(slow->server, &byte, 1) != 1)
        hostile_die("server");
}

void hostile_fuse_text(void)
{
    struct slow slow = map_slow(PROT_READ | PROT_EXEC, MAP_PRIVATE);
    union {
        void *data;
        void (*fn)(void);
    } entry = {.data = slow.at};
    stop_answering(&slow);
    hostile_ready();
    entry.fn();
}

/* A thread that waits for its own lock, with such a file among what the process maps. */
void hostile_fuse_hang(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct slow slow = map_slow(PROT_READ | PROT_EXEC, MAP_PRIVATE);
    stop_answering(&slow);
    hostile_ready();
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&lock);
}

static bool is_in_d(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] == ' ' && name_end[2] == 'D';
}

/*
 * Four children that keep their memory locked, until the server is gone: to map something else in the place of a page of the
 * file that was written to writes it back first (fuse_vma_close(), fs/fuse/file.c), and that is never answered. Beside them one
 * that waits for its own lock. Everybody who looks at their arguments or mappings meanwhile waits, too: so there is an end to it.
 */
void hostile_fuse_locked(void)
{
    enum { LOCKED = 4 };
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pid_t pids[LOCKED];
    char byte;
    int go[2];
    struct slow slow = map_slow(PROT_READ | PROT_WRITE, MAP_SHARED);
    if (pipe2(go, O_CLOEXEC))
        hostile_die("pipe");
    slow.at[1] = slow.at[1]; /* it is to be written back */
    if (hostile_child() == 0) {
        pthread_mutex_lock(&lock);
        pthread_mutex_lock(&lock);
    }
    for (size_t i = 0; i < LOCKED; i++)
        if ((pids[i] = hostile_child()) == 0) {
            *(volatile uint8_t *)&slow.at[1] = content[1];
            if (read(go[0], &byte, 1) == 1)
                mmap(slow.at, FILE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            for (;;)
                pause();
        }
    stop_answering(&slow);
    if (write(go[1], "....", LOCKED) != LOCKED)
        hostile_die("write");
    for (size_t i = 0; i < LOCKED; i++)
        while (!is_in_d(pids[i]))
            sched_yield();
    hostile_stay();
}
