/* One direction of a stream: its count, its locks, what goes through its pipe (queue.h). */
#include "pool/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <wedge/point.h>

#include "base/clock.h"

#define PACKET_BODY (PIPE_BUF - sizeof(struct wedge_message))

struct packet {
    struct wedge_message head;
    uint8_t body[PACKET_BODY];
};

int wedge_queue_open(struct wedge_queue *queue, struct wedge_queue_shared *shared, uint32_t bound,
                     const struct wedge_pool_settings *settings)
{
    bool owned = settings->queue_lock == WEDGE_POOL_QUEUE_LOCK_OWNED;
    int fds[2];
    *queue = (struct wedge_queue){.shared = shared,
                                  .bound = bound,
                                  .room_bytes = (uint32_t)settings->payload_bytes,
                                  .packets = owned,
                                  .idle_holds = settings->idle_holds_reader == WEDGE_POOL_IDLE_READER_HOLDS,
                                  .read_fd = -1,
                                  .write_fd = -1};
    int rc = wedge_queue_lock_init(&shared->readers, owned);
    if (rc == 0)
        rc = wedge_queue_lock_init(&shared->writers, owned);
    if (rc < 0)
        return rc;
    if (pipe2(fds, O_CLOEXEC | (owned ? O_DIRECT : 0)) < 0)
        return -errno;
    queue->read_fd = fds[0];
    queue->write_fd = fds[1];
    return 0;
}

void wedge_queue_close(struct wedge_queue *queue)
{
    if (queue->read_fd >= 0)
        close(queue->read_fd);
    if (queue->write_fd >= 0)
        close(queue->write_fd);
    queue->read_fd = queue->write_fd = -1;
}

bool wedge_queue_reserve(struct wedge_queue *queue, bool force)
{
    _Atomic uint32_t *listed = &queue->shared->listed[queue->process];
    uint64_t fill = atomic_load(&queue->shared->fill);
    atomic_fetch_add(listed, 1); /* first: a death in between gives one room too many back, and none is lost */
    while (force || (uint32_t)fill < queue->bound)
        if (atomic_compare_exchange_weak(&queue->shared->fill, &fill, fill + 1))
            return true;
    atomic_fetch_sub(listed, 1);
    return false;
}

/* Gives back the room of n messages. */
static void give_room(struct wedge_queue *queue, uint32_t n)
{
    uint64_t fill = atomic_load(&queue->shared->fill);
    while (n > 0 &&
           !atomic_compare_exchange_weak(&queue->shared->fill, &fill, fill - ((uint32_t)fill < n ? (uint32_t)fill : n)))
        ;
    wedge_word_bump(&queue->shared->room, INT_MAX);
}

void wedge_queue_unreserve(struct wedge_queue *queue)
{
    give_room(queue, 1);
    atomic_fetch_sub(&queue->shared->listed[queue->process], 1);
}

/* Number n is out of the pipe, and with it all before it. A number before one that was taken already changes nothing. */
static void took_number(struct wedge_queue *queue, uint32_t number)
{
    uint64_t fill = atomic_load(&queue->shared->fill), next;
    do {
        uint32_t count = (uint32_t)fill, since = number - (uint32_t)(fill >> 32);
        if ((int32_t)since <= 0)
            return;
        next = (uint64_t)number << 32 | (since < count ? count - since : 0);
    } while (!atomic_compare_exchange_weak(&queue->shared->fill, &fill, next));
    wedge_word_bump(&queue->shared->room, INT_MAX);
}

bool wedge_queue_believe_full(struct wedge_queue *queue)
{
    return wedge_queue_count(queue) > 0 || atomic_load(&queue->shared->takers) == 0;
}

/* Writes all of it. -EPIPE: no reader is left (SIGPIPE is blocked in the pool's threads). *ret_done: bytes written. */
static int write_all(int fd, const void *data, size_t bytes, size_t *ret_done)
{
    const uint8_t *at = data;
    while (bytes > 0) {
        ssize_t n = write(fd, at, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        bytes -= (size_t)n;
        *ret_done += (size_t)n;
    }
    return 0;
}

static int write_stream(struct wedge_queue *queue, const struct wedge_message *head, const void *body, size_t *ret_done)
{
    struct packet whole = {.head = *head};
    if (head->bytes <= PACKET_BODY) {
        if (head->bytes)
            memcpy(whole.body, body, head->bytes);
        return write_all(queue->write_fd, &whole, sizeof(*head) + head->bytes, ret_done);
    }
    int rc = write_all(queue->write_fd, head, sizeof(*head), ret_done);
    WEDGE_POINT("pool.feeder.head");
    return rc < 0 ? rc : write_all(queue->write_fd, body, head->bytes, ret_done);
}

static int write_packets(struct wedge_queue *queue, const struct wedge_message *head, const void *body,
                         size_t *ret_done)
{
    struct packet packet = {.head = *head};
    size_t at = 0;
    int rc;
    do {
        size_t n = head->bytes - at < PACKET_BODY ? head->bytes - at : PACKET_BODY;
        packet.head.offset = (uint32_t)at;
        if (n)
            memcpy(packet.body, (const uint8_t *)body + at, n);
        rc = write_all(queue->write_fd, &packet, sizeof(packet.head) + n, ret_done);
        at += n;
        if (at < head->bytes)
            WEDGE_POINT("pool.feeder.head");
    } while (rc == 0 && at < head->bytes);
    return rc;
}

/* Somebody wanted to settle while this one wrote, and waits in the pipe by now: there he is told. */
static void tell_unsettled(struct wedge_queue *queue)
{
    struct wedge_message head = {.kind = WEDGE_MESSAGE_NOTHING};
    size_t done = 0;
    wedge_queue_lock_take(&queue->shared->writers, INT64_MAX);
    if (atomic_exchange(&queue->shared->unsettled, 0)) {
        head.number = atomic_load(&queue->shared->written);
        write_packets(queue, &head, NULL, &done);
    }
    wedge_queue_lock_give(&queue->shared->writers);
}

int wedge_queue_write(struct wedge_queue *queue, const struct wedge_message *head, const void *body)
{
    struct wedge_queue_shared *shared = queue->shared;
    struct wedge_message numbered = *head;
    size_t done = 0;
    /* A dead writer needs no repair: what it left is skipped by whoever reads it. */
    wedge_queue_lock_take(&shared->writers, INT64_MAX);
    WEDGE_POINT("pool.feeder.locked");
    int rc = WEDGE_ASK("pool.feeder.write");
    if (rc == 0) {
        numbered.number = atomic_fetch_add(&shared->written, 1) + 1;
        atomic_fetch_sub(&shared->listed[queue->process], 1); /* in this order: as in reserve */
        rc =
            queue->packets ? write_packets(queue, &numbered, body, &done) : write_stream(queue, &numbered, body, &done);
        if (rc < 0 && done == 0) { /* nothing of it is there: the number is free again */
            atomic_fetch_sub(&shared->written, 1);
            give_room(queue, 1);
        }
    } else {
        wedge_queue_unreserve(queue);
        rc = rc < 0 ? rc : -EIO;
    }
    WEDGE_POINT("pool.feeder.written");
    wedge_queue_lock_give(&shared->writers);
    /* Partner of settle, who says so before he looks for the lock: either he got it, or it is seen here. */
    while (atomic_load(&shared->unsettled))
        tell_unsettled(queue);
    return rc;
}

bool wedge_queue_readable(const struct wedge_queue *queue)
{
    struct pollfd pfd = {.fd = queue->read_fd, .events = POLLIN};
    return poll(&pfd, 1, 0) != 0;
}

/* Until the pipe has something to read, or the time. Woken by a writer, and by the last writer's end. */
static int wait_readable(const struct wedge_queue *queue, int64_t until_ns)
{
    for (;;) {
        int64_t left_ns = until_ns == INT64_MAX ? 0 : until_ns - wedge_clock_ns();
        struct timespec left = {.tv_sec = left_ns > 0 ? left_ns / WEDGE_NS_PER_S : 0,
                                .tv_nsec = left_ns > 0 ? left_ns % WEDGE_NS_PER_S : 0};
        struct pollfd pfd = {.fd = queue->read_fd, .events = POLLIN};
        int n = ppoll(&pfd, 1, until_ns == INT64_MAX ? NULL : &left, NULL);
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* Reads exactly `bytes` of a byte stream. -ENODATA: end of file. */
static int read_all(int fd, void *data, size_t bytes)
{
    uint8_t *at = data;
    while (bytes > 0) {
        ssize_t n = read(fd, at, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* A function of its own: who waits here waits for the rest of what somebody began (item 3.2b). */
__attribute__((noinline)) static int read_body(const struct wedge_queue *queue, const struct wedge_message *head,
                                               void *body)
{
    int rc = -EBADMSG;
    if (head->bytes <= queue->room_bytes)
        rc = read_all(queue->read_fd, body, head->bytes);
    __asm__ volatile(""); /* or a compiler that ends in a jump takes the frame away */
    return rc;
}

static int read_packet(int fd, struct packet *ret, size_t *ret_bytes)
{
    ssize_t n;
    do
        n = read(fd, ret, sizeof(*ret));
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -errno : -ENODATA;
    if ((size_t)n < sizeof(ret->head))
        return -EBADMSG; /* none of ours: someone else wrote into the pipe */
    *ret_bytes = (size_t)n - sizeof(ret->head);
    return 0;
}

/* The next start makes what was begun a torn message; the middle of one whose start was not seen is skipped. */
static void add_packet(struct wedge_queue_part *part, const struct packet *packet, size_t bytes, uint8_t *body,
                       uint32_t room)
{
    bool follows = part->begun && packet->head.number == part->head.number && packet->head.offset == part->got;
    if (packet->head.offset == 0)
        *part = (struct wedge_queue_part){
            .begun = packet->head.kind != WEDGE_MESSAGE_NOTHING && packet->head.bytes <= room, .head = packet->head};
    else if (!follows)
        *part = (struct wedge_queue_part){0};
    if (!part->begun || bytes > part->head.bytes - part->got)
        return;
    memcpy(body + part->got, packet->body, bytes);
    part->got += (uint32_t)bytes;
}

static int read_packets(struct wedge_queue *queue, struct wedge_message *ret, uint8_t *body,
                        struct wedge_queue_part *kept, int64_t until_ns)
{
    struct wedge_queue_part own = {0}, *part = kept ? kept : &own;
    struct packet packet;
    size_t bytes = 0;
    for (bool first = true;; first = false) { /* for the first one lock_readable has waited */
        bool limited = !first && (kept || !part->begun) && until_ns != INT64_MAX;
        int rc = limited ? wait_readable(queue, until_ns) : 0;
        if (rc == 0)
            rc = read_packet(queue->read_fd, &packet, &bytes);
        if (rc < 0)
            return rc;
        add_packet(part, &packet, bytes, body, queue->room_bytes);
        WEDGE_POINT("pool.reader.head");
        if (part->begun && part->got == part->head.bytes)
            break;
        /* The end of a message whose beginning died with its reader, or a settling: it is all out of the pipe. */
        if (!part->begun && packet.head.offset + bytes == packet.head.bytes)
            took_number(queue, packet.head.number);
    }
    *ret = part->head;
    *part = (struct wedge_queue_part){0};
    return 0;
}

/* The readers' lock, with something to read where there is a deadline or the lock is not to be held while idle. */
static int lock_readable(struct wedge_queue *queue, int64_t until_ns)
{
    struct wedge_queue_lock *lock = &queue->shared->readers;
    for (;;) {
        int rc = queue->idle_holds ? 0 : wait_readable(queue, until_ns);
        if (rc == 0)
            rc = wedge_queue_lock_take(lock, until_ns);
        if (rc < 0)
            return rc;
        if (rc > 0)
            WEDGE_POINT("pool.reader.repairs");
        if (rc > 0 || atomic_load(&queue->shared->unsettled))
            wedge_queue_settle(queue);
        WEDGE_POINT("pool.reader.locked");
        if (!queue->idle_holds && !wedge_queue_readable(queue)) { /* another was faster */
            wedge_queue_lock_give(lock);
            continue;
        }
        rc = until_ns != INT64_MAX ? wait_readable(queue, until_ns) : 0;
        if (rc < 0)
            wedge_queue_lock_give(lock);
        return rc;
    }
}

int wedge_queue_receive(struct wedge_queue *queue, struct wedge_message *ret, void *body, struct wedge_queue_part *part,
                        int64_t until_ns, wedge_queue_taker *took, void *context)
{
    struct wedge_queue_shared *shared = queue->shared;
    int rc;
    atomic_fetch_add(&shared->takers, 1);
    if (wedge_queue_count(queue) == 0)
        wedge_word_bump(&shared->room, INT_MAX);
    rc = lock_readable(queue, until_ns);
    if (rc < 0)
        goto out;
    if (queue->packets) {
        rc = read_packets(queue, ret, body, part, until_ns);
    } else {
        rc = read_all(queue->read_fd, ret, sizeof(*ret));
        WEDGE_POINT("pool.reader.head");
        if (rc == 0)
            rc = read_body(queue, ret, body);
    }
    if (rc == 0 && took)
        took(context, ret);
    if (rc == 0)
        took_number(queue, ret->number);
    wedge_queue_lock_give(&shared->readers);
out:
    atomic_fetch_sub(&shared->takers, 1);
    return rc;
}

void wedge_queue_settle(struct wedge_queue *queue)
{
    struct wedge_queue_shared *shared = queue->shared;
    if (!queue->packets)
        return;
    atomic_store(&shared->unsettled, 1); /* before the look for the lock: see wedge_queue_write */
    if (wedge_queue_lock_take(&shared->writers, 0) < 0)
        return;
    atomic_store(&shared->unsettled, 0); /* who dies from here on holds the readers' lock: the next one settles */
    /* No writer: written cannot change. A reader that has just emptied the pipe counts what we count, once. */
    if (!wedge_queue_readable(queue))
        took_number(queue, atomic_load(&shared->written));
    wedge_queue_lock_give(&shared->writers);
}

void wedge_queue_forget_writer(struct wedge_queue *queue, uint32_t process)
{
    if (queue->packets)
        give_room(queue, atomic_exchange(&queue->shared->listed[process], 0));
}
