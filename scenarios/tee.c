#include "scenarios/tee.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RING_BYTES = 65536 };

struct wedge_tee_ring {
    _Atomic uint64_t bytes; /* stored with release after the bytes themselves */
    _Atomic int error; /* that ended the copier; read once it was reaped */
    char data[RING_BYTES];
};

static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
            continue;
        }
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* Into a ring of `size` bytes that has held `before` so far; of more than it holds the last stay. */
static void put(char *ring, size_t size, uint64_t before, const char *data, size_t len)
{
    if (len > size) {
        before += len - size;
        data += len - size;
        len = size;
    }
    size_t at = before % size, first = size - at < len ? size - at : len;
    memcpy(ring + at, data, first);
    memcpy(ring, data + first, len - first);
}

/* What goes to the output: all, or the first and the last `keep` bytes. */
struct sink {
    int fd;
    size_t keep; /* 0: all */
    char *last; /* `keep` bytes, a ring */
    uint64_t first, after; /* bytes written at once; those that went into the ring */
};

static int take(struct sink *sink, const char *data, size_t len)
{
    if (!sink->last)
        return write_all(sink->fd, data, len);
    size_t now = sink->keep - sink->first < len ? sink->keep - sink->first : len;
    put(sink->last, sink->keep, sink->after, data + now, len - now);
    sink->first += now;
    sink->after += len - now;
    return write_all(sink->fd, data, now);
}

static int take_end(const struct sink *sink)
{
    if (!sink->after)
        return 0;
    size_t held = sink->after < sink->keep ? (size_t)sink->after : sink->keep;
    size_t at = sink->after < sink->keep ? 0 : sink->after % sink->keep;
    char said[96];
    int len =
        sink->after <= sink->keep
            ? 0
            : snprintf(said, sizeof(said), "\n[wedge: %" PRIu64 " bytes are left out here]\n", sink->after - held);
    int rc = write_all(sink->fd, said, (size_t)len);
    if (!rc)
        rc = write_all(sink->fd, sink->last + at, held - at);
    return rc ? rc : write_all(sink->fd, sink->last, at);
}

/* Ends when every writer closed, or when nobody reads the output: then the command meets the SIGPIPE it would have
 * met without us. */
static void copy(int in, struct sink *sink, struct wedge_tee_ring *ring)
{
    static char buf[RING_BYTES];
    uint64_t total = 0;
    for (;;) {
        ssize_t n = read(in, buf, sizeof(buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n > 0) {
            put(ring->data, RING_BYTES, total, buf, (size_t)n);
            total += (uint64_t)n;
            atomic_store_explicit(&ring->bytes, total, memory_order_release);
        }
        int rc = n > 0 ? take(sink, buf, (size_t)n) : take_end(sink);
        if (rc)
            atomic_store(&ring->error, rc == -EPIPE ? 0 : -rc);
        if (rc || n <= 0)
            _exit(rc != 0);
    }
}

static void copier(int in, int out, size_t keep_bytes, struct wedge_tee_ring *ring)
{
    struct sink sink = {.fd = 1, .keep = keep_bytes};
    prctl(PR_SET_NAME, "wedge-tee");
    const int ignored[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGTSTP, SIGTTOU};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    /* Any other descriptor, another stream's pipe above all, would keep somebody waiting for an end of file. */
    dup2(in, 0);
    dup2(out, 1);
    close_range(2, ~0u, 0);
    if (keep_bytes) {
        sink.last = mmap(NULL, keep_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (sink.last == MAP_FAILED)
            sink.last = NULL; /* then all of it: nothing is lost for want of memory */
    }
    copy(0, &sink, ring);
}

int wedge_tee_start(struct wedge_tee *tee, int output, size_t keep_bytes, struct wedge_err *err)
{
    int ends[2];
    struct wedge_tee_ring *ring = mmap(NULL, sizeof(*ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED)
        return wedge_err_set(err, -errno, "cannot map memory for the command's output: %s", strerror(errno));
    if (pipe2(ends, O_CLOEXEC)) {
        int rc = wedge_err_set(err, -errno, "cannot make a pipe for the command's output: %s", strerror(errno));
        munmap(ring, sizeof(*ring));
        return rc;
    }
    pid_t pid = fork();
    if (pid == 0) {
        /* dup2 onto 0 and 1 must not overwrite what it still needs. */
        int in = fcntl(ends[0], F_DUPFD, 3), out = fcntl(output, F_DUPFD, 3);
        copier(in, out, keep_bytes, ring);
    }
    int rc = pid < 0 ? wedge_err_set(err, -errno, "cannot fork: %s", strerror(errno)) : 0;
    close(ends[0]);
    if (rc) {
        close(ends[1]);
        munmap(ring, sizeof(*ring));
        return rc;
    }
    *tee = (struct wedge_tee){.pid = pid, .input = ends[1], .ring = ring};
    return 0;
}

bool wedge_tee_is_open(int output)
{
    if (output > STDERR_FILENO)
        return true;
    int flags = fcntl(output, F_GETFD);
    return flags >= 0 && !(flags & FD_CLOEXEC);
}

bool wedge_tee_is_same(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int wedge_tee_error(const struct wedge_tee *tee)
{
    return tee->ring ? atomic_load(&tee->ring->error) : 0;
}

uint64_t wedge_tee_bytes(const struct wedge_tee *tee)
{
    return tee->ring ? atomic_load_explicit(&tee->ring->bytes, memory_order_acquire) : 0;
}

char *wedge_tee_tail(const struct wedge_tee *tee, char *buf, size_t size)
{
    uint64_t total = wedge_tee_bytes(tee);
    size_t n = total < RING_BYTES ? (size_t)total : RING_BYTES;
    if (n > size - 1)
        n = size - 1;
    for (size_t i = 0; i < n; i++)
        buf[i] = tee->ring->data[(total - n + i) % RING_BYTES];
    buf[n] = 0;
    return buf;
}

void wedge_tee_drain(struct wedge_tee *tee, int wait_ms)
{
    if (!tee->pid)
        return;
    int fd = pidfd_open(tee->pid, 0);
    if (fd >= 0) {
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, wait_ms);
        close(fd);
    }
    if (waitpid(tee->pid, NULL, WNOHANG) == tee->pid)
        tee->pid = 0;
}

void wedge_tee_free(struct wedge_tee *tee)
{
    if (tee->ring)
        munmap(tee->ring, sizeof(*tee->ring));
    *tee = (struct wedge_tee){0};
}
