/*
 * A FUSE file system of one file, without libfuse: serves libslow.so until its owner runs code from it, and then takes
 * requests without ever answering one. Whoever opens or reads the file, or asks for its size, waits until the
 * connection is cut. Protocol: linux/fuse.h, version 7.31.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "detector/tests/programs/hostile.h"

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

/* Maps code of the file and has the server stop to answer; returns the code. */
static void (*map_slow(void))(void)
{
    char dir[] = "/tmp/wedge-hostile-XXXXXX", path[64], options[128];
    int enough[2];
    int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (dev < 0 || unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || !mkdtemp(dir) ||
        pipe2(enough, O_CLOEXEC | O_NONBLOCK))
        hostile_die("fuse");
    printf("clean %s\n", dir);
    fflush(stdout);
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", dev);
    if (mount("slow", dir, "fuse.slow", MS_NOSUID | MS_NODEV, options))
        hostile_die("mount");
    if (hostile_child() == 0) {
        serve_until(dev, enough[0]);
        hostile_ready();
        for (;;)
            pause();
    }
    close(dev); /* the connection is cut when the server ends, and so is every wait for it */
    snprintf(path, sizeof(path), "%s/libslow.so", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *text = mmap(NULL, FILE_BYTES, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    if (fd < 0 || text == MAP_FAILED || text[0] != content[0])
        hostile_die("libslow.so");
    close(fd);
    union {
        void *data;
        void (*fn)(void);
    } entry = {.data = text};
    if (write(enough[1], "e", 1) != 1)
        hostile_die("write");
    return entry.fn;
}

void hostile_fuse_text(void)
{
    map_slow()();
}

/* A thread that waits for its own lock, with such a file among what the process maps. */
void hostile_fuse_hang(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    map_slow();
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&lock);
}
