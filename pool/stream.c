/*
 * The stream: each direction a pipe of messages (a length and a body) between a reader lock and a writer lock, with a
 * count in shared memory that bounds it. It has what the library of the hang report has, its hazards included:
 *
 * - The locks are process-shared semaphores. They have no owner: whoever dies holding one holds it for ever. A thread
 *   that waits for a message holds the reader lock, so an idle worker always holds one.
 * - The pipe's ends stay open in every process, the parent included: a reader never sees an end of file, even
 *   when nobody is left to write.
 * - The count is raised before the message is in the pipe and lowered after it is out: a process that dies in between
 *   leaves room that never comes back.
 * - A deadline covers the wait for a message's beginning, not its body.
 *
 *   put: room? (count < bound, word `room`) -> feeder's list -> [writer lock] pipe
 *   take: [reader lock] pipe -> count - 1, bump `room` -> unlock
 *
 * `takers` counts threads that came to take. A question that is answered "full" by a fault is believed while someone
 * could still make room later: something is in the queue, or nobody has come to take yet (taking begins with a bump).
 * Otherwise the wait could end by nothing in the program, and the hang would be the fault's and not the pool's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <wedge/point.h>

#include "base/clock.h"
#include "pool/feeder.h"
#include "pool/pool.h"
#include "pool/stream.h"

enum { MESSAGE_TASK = 1, MESSAGE_RESULT, MESSAGE_MARK };

struct message {
    uint32_t bytes; /* of the body that follows */
    uint32_t kind;
    uint64_t id;
    int32_t outcome, code;
};

struct queue_shared {
    struct wedge_word room; /* bumped when a message was taken, and when a taker comes */
    _Atomic uint32_t count;
    _Atomic uint32_t takers;
    sem_t reader, writer; /* 1: free */
};

struct queue {
    struct queue_shared *shared;
    uint32_t bound; /* UINT32_MAX: grows */
    int read_fd, write_fd;
    struct wedge_feeder feeder; /* this process's */
};

struct wedge_stream {
    struct queue tasks, results;
    void *shared; /* both queue_shared */
    uint8_t *body; /* the taker's buffer, payload_bytes */
};

/* Whether waiting for room that a fault denied can end: see the head of this file. */
static bool believe_full(struct queue *queue)
{
    return atomic_load(&queue->shared->count) > 0 || atomic_load(&queue->shared->takers) == 0;
}

static bool reserve(struct queue *queue)
{
    uint32_t count = atomic_load(&queue->shared->count);
    while (count < queue->bound)
        if (atomic_compare_exchange_weak(&queue->shared->count, &count, count + 1))
            return true;
    return false;
}

/* The message's place in the count is reserved. */
static int send(struct queue *queue, const struct message *head, const void *body)
{
    int rc = wedge_feeder_add(&queue->feeder, head, sizeof(*head), body, head->bytes);
    if (rc < 0)
        atomic_fetch_sub(&queue->shared->count, 1);
    return rc;
}

static int task_room(struct queue *queue, int64_t until_ns)
{
    for (;;) {
        uint32_t seen = wedge_word_read(&queue->shared->room);
        int ask = WEDGE_ASK("pool.task.room");
        if (ask < 0)
            return ask;
        if (!(ask == WEDGE_ASK_FULL && believe_full(queue)) && reserve(queue))
            return 0;
        /* Woken by whoever takes a task; the deadline, if any, is the caller's. */
        if (wedge_word_wait(&queue->shared->room, seen, WEDGE_WAIT_FOR_ROOM, until_ns) == -ETIMEDOUT)
            return -ETIMEDOUT;
    }
}

/* `wait`: else a result without room is refused at once, with -ENOBUFS. */
static int result_room(struct queue *queue, bool wait)
{
    for (;;) {
        uint32_t seen = wedge_word_read(&queue->shared->room);
        int ask = WEDGE_ASK("pool.result.room");
        bool denied = ask == WEDGE_ASK_FULL && queue->bound != UINT32_MAX && believe_full(queue);
        if (!denied && reserve(queue))
            return 0;
        if (!wait)
            return -ENOBUFS;
        /* Woken by whoever takes a result: the collector, or the parent in wedge_pool_take. Nothing else. */
        wedge_word_wait(&queue->shared->room, seen, WEDGE_WAIT_FOR_ROOM, WEDGE_POOL_NEVER);
    }
}

/* Reads exactly `bytes`. -ENODATA: end of file. */
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

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / WEDGE_NS_PER_S, .tv_nsec = ns % WEDGE_NS_PER_S};
}

static int lock_reader(sem_t *reader, int64_t until_ns)
{
    struct timespec until = timespec_of(until_ns);
    for (;;) {
        int rc = until_ns == WEDGE_POOL_NEVER ? sem_wait(reader) : sem_clockwait(reader, CLOCK_MONOTONIC, &until);
        if (rc == 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

/* Until the pipe has something to read. Not called without a deadline: the read itself waits then. */
static int wait_readable(int fd, int64_t until_ns)
{
    for (;;) {
        int64_t left_ns = until_ns - wedge_clock_ns();
        struct timespec left = timespec_of(left_ns > 0 ? left_ns : 0);
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        int n = ppoll(&pfd, 1, &left, NULL);
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* One message, body to `body` (room for payload_bytes: no message is larger). */
static int receive(struct queue *queue, struct message *ret, void *body, int64_t until_ns)
{
    struct queue_shared *shared = queue->shared;
    int rc;
    atomic_fetch_add(&shared->takers, 1);
    if (atomic_load(&shared->count) == 0)
        wedge_word_bump(&shared->room, INT_MAX);
    rc = lock_reader(&shared->reader, until_ns);
    if (rc < 0)
        goto out;
    if (until_ns != WEDGE_POOL_NEVER)
        rc = wait_readable(queue->read_fd, until_ns);
    if (rc == 0)
        rc = read_all(queue->read_fd, ret, sizeof(*ret));
    if (rc == 0)
        rc = read_all(queue->read_fd, body, ret->bytes);
    if (rc == 0) {
        atomic_fetch_sub(&shared->count, 1);
        wedge_word_bump(&shared->room, INT_MAX);
    }
    sem_post(&shared->reader);
out:
    atomic_fetch_sub(&shared->takers, 1);
    return rc;
}

static int queue_open(struct queue *queue, struct queue_shared *shared, uint32_t bound)
{
    int fds[2];
    queue->shared = shared;
    queue->bound = bound;
    if (sem_init(&shared->reader, 1, 1) < 0 || sem_init(&shared->writer, 1, 1) < 0)
        return -errno;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    queue->read_fd = fds[0];
    queue->write_fd = fds[1];
    wedge_feeder_init(&queue->feeder, queue->write_fd, &shared->writer, NULL);
    return 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The workers are dead: their share of the locks is given back, a write in progress fails for want of a reader. */
static void queue_close(struct queue *queue)
{
    if (!queue->shared)
        return;
    close_fd(&queue->read_fd);
    sem_post(&queue->shared->writer);
    wedge_feeder_discard(&queue->feeder);
    close_fd(&queue->write_fd);
}

static void stream_destroy(struct wedge_pool *pool)
{
    struct wedge_stream *stream = pool->transport_data;
    if (!stream)
        return;
    queue_close(&stream->tasks);
    queue_close(&stream->results);
    if (stream->shared)
        munmap(stream->shared, 2 * sizeof(struct queue_shared));
    free(stream->body);
    free(stream);
    pool->transport_data = NULL;
}

static int stream_create(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    uint32_t bound = wedge_pool_settings_queue(&pool->settings);
    struct wedge_stream *stream = calloc(1, sizeof(*stream));
    int rc;
    if (!stream)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the queues");
    pool->transport_data = stream;
    stream->tasks.read_fd = stream->tasks.write_fd = stream->results.read_fd = stream->results.write_fd = -1;
    stream->body = malloc((size_t)pool->settings.payload_bytes);
    struct queue_shared *shared =
        mmap(NULL, 2 * sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !stream->body)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the queues");
    stream->shared = shared;
    rc = queue_open(&stream->tasks, &shared[0], bound);
    if (rc == 0)
        rc = queue_open(&stream->results, &shared[1],
                        pool->settings.result_bound == WEDGE_POOL_RESULTS_GROW ? UINT32_MAX : bound);
    if (rc < 0)
        return wedge_pool_err_set(err, rc, "the queues could not be opened: %s", strerror(-rc));
    return 0;
}

static int stream_put(struct wedge_pool *pool, struct wedge_pool_input *inputs, unsigned n, int64_t until_ns)
{
    (void)n; /* one at a time */
    struct wedge_stream *stream = pool->transport_data;
    struct message head = {.bytes = (uint32_t)inputs->bytes, .kind = MESSAGE_TASK};
    int rc = task_room(&stream->tasks, until_ns);
    if (rc < 0)
        return rc;
    inputs->id = head.id = wedge_pool_new_id(pool);
    rc = send(&stream->tasks, &head, inputs->data);
    return rc < 0 ? rc : 1;
}

int wedge_stream_put_mark(struct wedge_pool *pool, int64_t until_ns)
{
    struct wedge_stream *stream = pool->transport_data;
    struct message head = {.kind = MESSAGE_MARK};
    int rc = task_room(&stream->tasks, until_ns);
    return rc < 0 ? rc : send(&stream->tasks, &head, NULL);
}

void wedge_stream_no_more_tasks(struct wedge_pool *pool)
{
    struct wedge_stream *stream = pool->transport_data;
    wedge_feeder_finish(&stream->tasks.feeder);
}

int wedge_stream_stop_collector(struct wedge_pool *pool)
{
    struct wedge_stream *stream = pool->transport_data;
    struct message head = {.kind = MESSAGE_MARK, .code = 1};
    return reserve(&stream->results) ? send(&stream->results, &head, NULL) : -ENOBUFS;
}

/* A stop mark that still waits for an orphaned writer lock is let go first. */
static void stream_cut(struct wedge_pool *pool)
{
    struct wedge_stream *stream = pool->transport_data;
    if (!stream || stream->results.write_fd < 0)
        return;
    sem_post(&stream->results.shared->writer);
    wedge_feeder_discard(&stream->results.feeder);
    close_fd(&stream->results.write_fd);
}

static int stream_take(struct wedge_pool *pool, struct wedge_pool_item *ret, unsigned n, int64_t until_ns)
{
    (void)n; /* one at a time: there is one buffer */
    struct wedge_stream *stream = pool->transport_data;
    struct message head = {0};
    int rc = receive(&stream->results, &head, stream->body, until_ns);
    if (rc < 0)
        return rc;
    *ret = (struct wedge_pool_item){.mark = head.kind == MESSAGE_MARK};
    ret->result = (struct wedge_pool_result){.id = head.id,
                                             .outcome = (enum wedge_pool_outcome)head.outcome,
                                             .code = head.code,
                                             .data = stream->body,
                                             .bytes = head.bytes};
    return 1;
}

static void stream_release(struct wedge_pool *pool, struct wedge_pool_item *item)
{
    (void)pool; /* the one taker's buffer is used again by its next take */
    item->result.data = NULL;
}

static bool stream_empty(struct wedge_pool *pool)
{
    struct wedge_stream *stream = pool->transport_data;
    struct pollfd pfd = {.fd = stream->results.read_fd, .events = POLLIN};
    return poll(&pfd, 1, 0) == 0;
}

static void result_written(void)
{
    WEDGE_POINT("pool.worker.result_published");
}

/* The parent's feeders did not come along with the fork: the worker has its own, for results alone. */
static int stream_enter(struct wedge_pool_worker *worker)
{
    struct wedge_stream *stream = worker->pool->transport_data;
    wedge_feeder_init(&stream->results.feeder, stream->results.write_fd, &stream->results.shared->writer,
                      result_written);
    return 0;
}

static int stream_get(struct wedge_pool_hand *hand)
{
    struct wedge_pool *pool = hand->worker->pool;
    struct wedge_stream *stream = pool->transport_data;
    size_t payload = (size_t)pool->settings.payload_bytes;
    struct message head = {0};
    if (receive(&stream->tasks, &head, hand->buffer, WEDGE_POOL_NEVER) < 0 || head.kind == MESSAGE_MARK)
        return -ENODATA;
    hand->task = (struct wedge_pool_task){.id = head.id,
                                          .data = hand->buffer,
                                          .bytes = head.bytes,
                                          .result = hand->buffer + payload,
                                          .result_room = payload,
                                          .place = hand->place};
    return 0;
}

/* A message that finds no memory is lost with its room: the stream has no way to say so. */
static void send_result(struct wedge_pool *pool, const struct message *head, const void *body)
{
    struct wedge_stream *stream = pool->transport_data;
    if (result_room(&stream->results, pool->settings.result_put == WEDGE_POOL_FULL_WAIT) == 0)
        send(&stream->results, head, body);
}

static void stream_answer(struct wedge_pool_hand *hand, enum wedge_pool_outcome outcome, int code)
{
    struct message head = {.bytes = (uint32_t)hand->task.result_bytes,
                           .kind = MESSAGE_RESULT,
                           .id = hand->task.id,
                           .outcome = (int32_t)outcome,
                           .code = code};
    WEDGE_POINT("pool.worker.result_stored");
    send_result(hand->worker->pool, &head, hand->task.result);
}

/* The thread's own stop mark goes on to whoever takes the results: after all marks nothing more will come. */
static void stream_thread_left(struct wedge_pool_hand *hand)
{
    struct message head = {.kind = MESSAGE_MARK};
    if (!hand->leaves) /* by its age: it took no mark */
        send_result(hand->worker->pool, &head, NULL);
}

static void stream_leave(struct wedge_pool_worker *worker)
{
    struct wedge_stream *stream = worker->pool->transport_data;
    wedge_feeder_join(&stream->results.feeder);
}

const struct wedge_pool_transport wedge_pool_stream = {
    .create = stream_create,
    .destroy = stream_destroy,
    .put = stream_put,
    .take = stream_take,
    .release = stream_release,
    .empty = stream_empty,
    .cut = stream_cut,
    .enter = stream_enter,
    .get = stream_get,
    .answer = stream_answer,
    .thread_left = stream_thread_left,
    .leave = stream_leave,
};
