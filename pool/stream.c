/*
 * The stream: the transport of `reported` and `proposed`. Two queues (queue.h), each fed by a thread of the process that
 * has something to send (feeder.h), and in the parent a table of what is not reported yet (running.h). A worker says
 * which message it took in `hands`, so that the parent knows what a dead one had.
 *
 * A result is reported when the table knows its task, and then it does not any more: what comes later about the same
 * task is dropped. With timeouts=repeated it is counted all the same, as the library of the hang report does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wedge/point.h>

#include "base/clock.h"
#include "pool/stream.h"
#include "pool/stream_inside.h"

#define HANDS_MIN 1024

static int stream_create(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    const struct wedge_pool_settings *settings = &pool->settings;
    uint32_t bound = wedge_pool_settings_queue(settings), hands = HANDS_MIN;
    struct wedge_stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the queues");
    pool->transport_data = stream;
    stream->tasks.read_fd = stream->tasks.write_fd = stream->results.read_fd = stream->results.write_fd = -1;
    pthread_mutex_init(&stream->put_lock, NULL);
    wedge_running_init(&stream->running);
    stream->body = malloc((size_t)settings->payload_bytes);
    if (!stream->body)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the queues");
    while (hands < 4 * bound) /* what is queued, in hand, and in the bounded results has a word of its own */
        hands *= 2;
    stream->hands_mask = hands - 1;
    bool named = settings->shared == WEDGE_POOL_MEMORY_NAMED;
    int rc = wedge_shared_create(&stream->queues_memory, NULL, sizeof(struct stream_queues));
    if (rc == 0)
        rc = wedge_shared_create(&stream->told_memory, named ? settings->name : NULL,
                                 sizeof(*stream->told) + hands * sizeof(stream->told->hands[0]));
    if (rc < 0)
        return wedge_pool_err_set(err, rc, "no shared memory for the queues: %s", strerror(-rc));
    struct stream_queues *queues = stream->queues_memory.map;
    stream->told = stream->told_memory.map;
    rc = wedge_queue_open(&stream->tasks, &queues->tasks, bound, settings);
    if (rc == 0)
        rc = wedge_queue_open(&stream->results, &queues->results,
                              settings->result_bound == WEDGE_POOL_RESULTS_GROW ? WEDGE_QUEUE_GROWS : bound, settings);
    if (rc < 0)
        return wedge_pool_err_set(err, rc, "the queues could not be opened: %s", strerror(-rc));
    stream->results.idle_holds = true; /* the setting is about workers; the results have one reader */
    wedge_feeder_init(&stream->task_feeder, &stream->tasks, NULL);
    wedge_feeder_init(&stream->result_feeder, &stream->results, NULL);
    return 0;
}

/* The workers are dead: their share of the locks is given back, a write in progress fails for want of a reader. */
static void stop_feeder(struct wedge_queue *queue, struct wedge_feeder *feeder)
{
    if (!feeder->made)
        return;
    if (queue->read_fd >= 0)
        close(queue->read_fd);
    queue->read_fd = -1;
    wedge_queue_lock_break(&queue->shared->writers);
    wedge_feeder_discard(feeder);
}

static void stream_destroy(struct wedge_pool *pool)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    if (!stream)
        return;
    stop_feeder(&stream->tasks, &stream->task_feeder);
    stop_feeder(&stream->results, &stream->result_feeder);
    wedge_queue_close(&stream->tasks);
    wedge_queue_close(&stream->results);
    wedge_shared_destroy(&stream->queues_memory);
    wedge_shared_destroy(&stream->told_memory);
    wedge_running_destroy(&stream->running);
    free(stream->body);
    free(stream);
    pool->transport_data = NULL;
}

/* A stop mark that still waits for an orphaned writers' lock is let go first. */
static void stream_cut(struct wedge_pool *pool)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    if (!stream || stream->results.write_fd < 0)
        return;
    wedge_queue_lock_break(&stream->results.shared->writers);
    wedge_feeder_discard(&stream->result_feeder);
    close(stream->results.write_fd);
    stream->results.write_fd = -1;
}

/* Whether waiting for room is in vain: -EPIPE, -ENOTRECOVERABLE, else 0. Marks follow the tasks: they close with them. */
static int task_refused(const struct wedge_pool *pool)
{
    if (atomic_load(&pool->board->broken))
        return -ENOTRECOVERABLE;
    return pool->settings.close_by == WEDGE_POOL_CLOSE_BY_FLAG && wedge_pool_is_closed(pool) ? -EPIPE : 0;
}

/* `waited_ns`: a put's; NULL: nobody counts what this one waits. */
static int task_room(struct wedge_pool *pool, int64_t until_ns, int64_t *waited_ns)
{
    struct wedge_queue *queue = &wedge_stream_of(pool)->tasks;
    int64_t from_ns = 0;
    int rc;
    for (;;) {
        uint32_t seen = wedge_word_read(&queue->shared->room);
        rc = WEDGE_ASK("pool.task.room");
        if (rc >= 0 && !(rc == WEDGE_ASK_FULL && wedge_queue_believe_full(queue)) && wedge_queue_reserve(queue, false))
            rc = 1;
        else
            rc = rc < 0 ? rc : task_refused(pool);
        if (rc != 0)
            break;
        if (waited_ns && from_ns == 0) {
            from_ns = wedge_clock_ns();
            atomic_fetch_add(&pool->board->putters_waiting, 1);
        }
        /* Woken by whoever takes a task, by close, and by the keeper that gives up; the deadline is the caller's. */
        rc = wedge_word_wait(&queue->shared->room, seen, WEDGE_WAIT_FOR_ROOM, until_ns);
        if (rc == -ETIMEDOUT)
            break;
    }
    if (from_ns != 0) {
        atomic_fetch_sub(&pool->board->putters_waiting, 1);
        *waited_ns += wedge_clock_ns() - from_ns;
    }
    return rc < 0 ? rc : 0;
}

static void note_high(struct wedge_pool *pool)
{
    uint32_t count = wedge_queue_count(&wedge_stream_of(pool)->tasks), high = atomic_load(&pool->board->queue_high);
    while (count > high && !atomic_compare_exchange_weak(&pool->board->queue_high, &high, count))
        ;
}

/* Under put_lock, the message's place is reserved: ids, numbers and the list have one order. `input` NULL: a mark. */
static int list_task(struct wedge_pool *pool, struct wedge_pool_input *input)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    struct wedge_message head = {.kind = input ? WEDGE_MESSAGE_TASK : WEDGE_MESSAGE_MARK};
    struct wedge_running_task task = {.number = stream->last_number + 1};
    int rc = 0;
    if (input) {
        atomic_fetch_add(&pool->board->accepted, 1); /* before a result can come */
        head.bytes = (uint32_t)input->bytes;
        task.meta = input->meta;
        task.put_ns = wedge_clock_ns();
        task.id = head.id = wedge_pool_new_id(pool);
        rc = wedge_running_add(&stream->running, &task);
    }
    if (rc == 0)
        rc = wedge_feeder_add(&stream->task_feeder, &head, input ? input->data : NULL);
    if (rc == 0) {
        stream->last_number++;
    } else if (input) {
        wedge_running_remove(&stream->running, task.id, NULL);
        atomic_fetch_sub(&pool->next_id, 1);
        atomic_fetch_sub(&pool->board->accepted, 1);
    }
    if (rc == 0 && input)
        input->id = task.id;
    return rc;
}

static int send_task(struct wedge_pool *pool, struct wedge_pool_input *input, int64_t until_ns, int64_t *waited_ns)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    int rc = task_room(pool, until_ns, waited_ns);
    if (rc < 0)
        return rc;
    note_high(pool);
    if (input)
        atomic_fetch_add(&pool->board->tasks_in, 1);
    pthread_mutex_lock(&stream->put_lock);
    rc = list_task(pool, input);
    pthread_mutex_unlock(&stream->put_lock);
    if (rc < 0) {
        wedge_queue_unreserve(&stream->tasks);
        if (input)
            atomic_fetch_sub(&pool->board->tasks_in, 1);
    }
    return rc;
}

int wedge_stream_put_mark(struct wedge_pool *pool, int64_t until_ns)
{
    WEDGE_POINT("pool.close.mark");
    return send_task(pool, NULL, until_ns, NULL);
}

void wedge_stream_no_more_tasks(struct wedge_pool *pool)
{
    wedge_feeder_finish(&wedge_stream_of(pool)->task_feeder);
}

void wedge_stream_wake(struct wedge_pool *pool)
{
    wedge_word_bump(&wedge_stream_of(pool)->tasks.shared->room, INT_MAX);
}

int wedge_stream_wait_empty(struct wedge_pool *pool, int64_t until_ns)
{
    struct wedge_queue *queue = &wedge_stream_of(pool)->tasks;
    for (;;) {
        uint32_t seen = wedge_word_read(&queue->shared->room);
        if (wedge_queue_count(queue) == 0)
            return 0;
        if (wedge_word_wait(&queue->shared->room, seen, WEDGE_WAIT_FOR_PEER, until_ns) == -ETIMEDOUT)
            return -ETIMEDOUT;
    }
}

/* The parent's own word among the results; it does not wait for room. */
static int post(struct wedge_pool *pool, const struct wedge_message *head, const void *body)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    wedge_queue_reserve(&stream->results, true);
    atomic_fetch_add(&pool->board->results_in, 1);
    int rc = wedge_feeder_add(&stream->result_feeder, head, body);
    if (rc < 0) {
        wedge_queue_unreserve(&stream->results);
        atomic_fetch_sub(&pool->board->results_in, 1);
    }
    return rc;
}

/* when_full=caller: the result of a task that a put ran itself. It does not wait for room: its caller may be the one
 * who makes it. */
void wedge_stream_answer_here(struct wedge_pool_hand *hand, enum wedge_pool_outcome outcome, int code)
{
    struct wedge_pool *pool = hand->worker->pool;
    struct wedge_message head = {.bytes = (uint32_t)hand->task.result_bytes,
                                 .kind = WEDGE_MESSAGE_RESULT,
                                 .id = hand->task.id,
                                 .outcome = (int32_t)outcome,
                                 .code = code};
    atomic_fetch_add(&pool->board->finished_by_caller, 1);
    post(pool, &head, hand->task.result);
}

/* The queue is full, and the task is run by its caller. No worker has it: its end is not the keeper's to tell. */
static int run_here(struct wedge_pool *pool, struct wedge_pool_input *input)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    struct wedge_running_task running = {.meta = input->meta, .put_ns = wedge_clock_ns(), .told_end = true};
    struct wedge_pool_worker worker = {.pool = pool};
    struct wedge_pool_hand hand = {.worker = &worker};
    uint8_t *result = malloc((size_t)pool->settings.payload_bytes);
    if (!result)
        return -ENOMEM;
    pthread_mutex_lock(&stream->put_lock);
    running.id = wedge_pool_new_id(pool);
    int rc = wedge_running_add(&stream->running, &running);
    if (rc < 0)
        atomic_fetch_sub(&pool->next_id, 1);
    else
        atomic_fetch_add(&pool->board->accepted, 1); /* before it is finished */
    pthread_mutex_unlock(&stream->put_lock);
    if (rc == 0) {
        input->id = running.id;
        hand.task = (struct wedge_pool_task){.id = running.id,
                                             .data = input->data,
                                             .bytes = input->bytes,
                                             .result = result,
                                             .result_room = (size_t)pool->settings.payload_bytes};
        wedge_pool_run_task(&hand);
    }
    free(result);
    return rc;
}

static int stream_put(struct wedge_pool *pool, struct wedge_pool_input *inputs, unsigned n, int64_t until_ns,
                      int64_t *waited_ns)
{
    (void)n; /* one at a time */
    bool run = pool->settings.when_full == WEDGE_POOL_WHEN_FULL_CALLER;
    int rc = send_task(pool, inputs, run ? 0 : until_ns, run ? NULL : waited_ns);
    if (rc == 0)
        WEDGE_POINT("pool.put.published");
    if (run && rc == -ETIMEDOUT)
        rc = run_here(pool, inputs);
    return rc < 0 ? rc : 1;
}

int wedge_stream_stop_collector(struct wedge_pool *pool, bool force)
{
    struct wedge_message head = {.kind = WEDGE_MESSAGE_MARK, .code = 1};
    struct wedge_stream *stream = wedge_stream_of(pool);
    if (!force && wedge_queue_count(&stream->results) >= stream->results.bound)
        return -ENOBUFS;
    return post(pool, &head, NULL);
}

void wedge_stream_worker_starts(struct wedge_pool *pool, uint32_t index)
{
    atomic_store(&wedge_stream_of(pool)->told->forwarded[index], 0);
}

void wedge_stream_worker_gone(struct wedge_pool *pool, uint32_t index, uint32_t generation)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    uint32_t listed = atomic_load(&stream->results.shared->listed[index + 1]);
    atomic_store(&stream->gone[index], generation + 1);
    atomic_fetch_add(&pool->board->results_out, listed);
    wedge_queue_forget_writer(&stream->results, index + 1);
    atomic_store(&stream->results.shared->listed[index + 1], 0);
    wedge_queue_settle(&stream->results);
    /* Not while somebody reads: what he has in hand and has not said yet would count as taken by the dead. */
    if (stream->tasks.packets && wedge_queue_lock_take(&stream->tasks.shared->readers, 0) >= 0) {
        wedge_queue_settle(&stream->tasks);
        wedge_queue_lock_give(&stream->tasks.shared->readers);
    }
    wedge_queue_lock_renew(&stream->tasks.shared->readers); /* it may have taken a wake-up along */
    wedge_queue_lock_renew(&stream->results.shared->writers);
}

void wedge_stream_complete_marks(struct wedge_pool *pool, uint32_t index, uint32_t generation)
{
    struct wedge_message head = {.kind = WEDGE_MESSAGE_MARK, .id = index + 1, .outcome = (int32_t)generation};
    uint32_t sent = atomic_load(&wedge_stream_of(pool)->told->forwarded[index]);
    for (; sent < pool->settings.threads; sent++)
        post(pool, &head, NULL);
}

struct telling {
    struct wedge_pool *pool;
    int64_t now_ns, next_ns; /* next_ns: when the first of those that are not told yet gets past task_limit */
    enum wedge_pool_outcome outcome;
    unsigned told;
};

/* An end that found no memory stays untold, for the next look. */
static bool tell(struct telling *telling, const struct wedge_running_task *task, enum wedge_pool_outcome outcome)
{
    struct wedge_message head = {.kind = WEDGE_MESSAGE_RESULT, .id = task->id, .outcome = (int32_t)outcome};
    bool told = post(telling->pool, &head, NULL) == 0;
    telling->told += told;
    return told;
}

static void tell_timeout(struct wedge_running_task *task, void *context)
{
    struct telling *telling = context;
    const struct wedge_pool_settings *settings = &telling->pool->settings;
    bool again = settings->timeouts == WEDGE_POOL_TIMEOUTS_REPEATED;
    int64_t limit_ns = task->put_ns + settings->task_limit_ms * WEDGE_NS_PER_MS;
    if (telling->now_ns > limit_ns && (again || !task->told_timeout))
        task->told_timeout |= tell(telling, task, WEDGE_POOL_TIMEOUT);
    if (!task->told_timeout)
        telling->next_ns = wedge_pool_earlier(telling->next_ns, limit_ns);
}

int64_t wedge_stream_tell_timeouts(struct wedge_pool *pool, int64_t now_ns)
{
    struct telling telling = {.pool = pool, .now_ns = now_ns, .next_ns = WEDGE_POOL_NEVER};
    if (pool->settings.task_limit_ms < 0)
        return WEDGE_POOL_NEVER;
    telling.next_ns = now_ns + pool->settings.task_limit_ms * WEDGE_NS_PER_MS; /* of what is put from now on */
    wedge_running_each(&wedge_stream_of(pool)->running, tell_timeout, &telling);
    return telling.next_ns > now_ns ? telling.next_ns : now_ns + WEDGE_NS_PER_MS; /* there was no memory to tell it */
}

/* Taken by a worker that is dead, or by one that died before it could say so: then its word is of a number before. */
static bool is_lost(const struct wedge_stream *stream, const struct wedge_running_task *task)
{
    uint64_t word = atomic_load(&stream->told->hands[task->number & stream->hands_mask]);
    uint32_t process = (uint32_t)word >> 16, by = (uint32_t)(word >> 32);
    if (!wedge_queue_taken(&stream->tasks, task->number) || (int32_t)(by - task->number) > 0)
        return false;
    return by != task->number || (int16_t)((uint16_t)atomic_load(&stream->gone[process - 1]) - (uint16_t)word) > 0;
}

static void tell_lost(struct wedge_running_task *task, void *context)
{
    struct telling *telling = context;
    if (!task->told_end && is_lost(wedge_stream_of(telling->pool), task))
        task->told_end = tell(telling, task, WEDGE_POOL_LOST);
}

unsigned wedge_stream_tell_lost(struct wedge_pool *pool)
{
    struct telling telling = {.pool = pool};
    wedge_running_each(&wedge_stream_of(pool)->running, tell_lost, &telling);
    return telling.told;
}

static void tell_rest(struct wedge_running_task *task, void *context)
{
    struct telling *telling = context;
    bool taken = wedge_queue_taken(&wedge_stream_of(telling->pool)->tasks, task->number);
    if (!task->told_end)
        task->told_end = tell(telling, task, taken ? WEDGE_POOL_LOST : telling->outcome);
}

unsigned wedge_stream_tell_rest(struct wedge_pool *pool, enum wedge_pool_outcome outcome)
{
    struct telling telling = {.pool = pool, .outcome = outcome};
    wedge_running_each(&wedge_stream_of(pool)->running, tell_rest, &telling);
    return telling.told;
}

/* Whether this mark was the last that was waited for. A newer generation's begin anew: the older worker was replaced. */
static bool count_mark(struct wedge_pool *pool, const struct wedge_message *head)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    uint32_t all = (uint32_t)(pool->settings.processes * pool->settings.threads), sum = 0;
    if (head->code == 0 && head->id >= 1 && head->id <= (uint64_t)pool->settings.processes) {
        struct seat_marks *marks = &stream->marks[head->id - 1];
        if (marks->generation != (uint32_t)head->outcome)
            *marks = (struct seat_marks){.generation = (uint32_t)head->outcome};
        marks->n++;
    }
    for (uint32_t i = 0; i < pool->settings.processes; i++)
        sum += stream->marks[i].n;
    if (head->code == 0 && sum < all)
        return false;
    /* Who has left wrote his results before his mark. What is not reported now will be by the parent alone, and its own
     * mark comes after that. */
    if (head->code == 0 && pool->settings.dead_task == WEDGE_POOL_DEAD_TASK_LOST &&
        wedge_running_count(&stream->running) > 0) {
        wedge_stream_tell_rest(pool, WEDGE_POOL_CANCELLED);
        return wedge_stream_stop_collector(pool, true) < 0;
    }
    pool->marks_seen = all;
    return true;
}

/* A result of a task that was reported before, or never was. What the parent said itself does not count as late. */
static void drop_result(struct wedge_pool *pool, const struct wedge_message *head)
{
    if (head->outcome == WEDGE_POOL_LOST || head->outcome == WEDGE_POOL_CANCELLED ||
        head->outcome == WEDGE_POOL_INIT_FAILED)
        return;
    atomic_fetch_add(&pool->board->late, 1);
    if (pool->settings.task_limit_ms >= 0 && pool->settings.timeouts == WEDGE_POOL_TIMEOUTS_REPEATED)
        atomic_fetch_add(&pool->board->reported, 1);
}

/* Without a collector, waiting in vain is when the library of the hang report looks after its workers. */
static int stream_take(struct wedge_pool *pool, struct wedge_pool_item *ret, unsigned n, int64_t until_ns)
{
    (void)n; /* one at a time: there is one buffer */
    struct wedge_stream *stream = wedge_stream_of(pool);
    for (;;) {
        struct wedge_message head = {0};
        struct wedge_running_task task = {0};
        int rc = WEDGE_ASK("pool.result.take");
        if (rc >= 0)
            rc = wedge_queue_receive(&stream->results, &head, stream->body, &stream->part, until_ns, NULL, NULL);
        if (rc == -ETIMEDOUT && !pool->callbacks.collect)
            pool->keeper->look(pool);
        if (rc < 0)
            return rc;
        atomic_fetch_add(&pool->board->results_out, 1);
        if (head.kind == WEDGE_MESSAGE_MARK && !count_mark(pool, &head))
            continue;
        *ret = (struct wedge_pool_item){.mark = head.kind == WEDGE_MESSAGE_MARK};
        ret->result.code = ret->mark ? 1 : head.code; /* of a mark: it was the last */
        if (ret->mark)
            return 1;
        if (!wedge_running_remove(&stream->running, head.id, &task)) {
            drop_result(pool, &head);
            continue;
        }
        ret->result = (struct wedge_pool_result){.id = head.id,
                                                 .meta = task.meta,
                                                 .outcome = (enum wedge_pool_outcome)head.outcome,
                                                 .code = head.code,
                                                 .data = stream->body,
                                                 .bytes = head.bytes};
        return 1;
    }
}

static void stream_release(struct wedge_pool *pool, struct wedge_pool_item *item)
{
    (void)pool; /* the one taker's buffer is used again by its next take */
    item->result.data = NULL;
}

static bool stream_empty(struct wedge_pool *pool)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    /* The parent's own word first: once written it is readable. Under a semaphore it may wait for ever for the dead. */
    if (pool->settings.queue_lock == WEDGE_POOL_QUEUE_LOCK_OWNED && !wedge_feeder_idle(&stream->result_feeder))
        return false;
    return !wedge_queue_readable(&stream->results);
}

/* What shutdown's last step of the library does: empties both queues, whatever is in them. */
static void stream_drain(struct wedge_pool *pool)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    struct wedge_message head;
    WEDGE_POINT("pool.shutdown.drain");
    uint8_t *body = malloc((size_t)pool->settings.payload_bytes); /* the taker's may be in the user's hands */
    if (!body)
        return;
    struct wedge_queue_part part = {0};
    while (wedge_queue_receive(&stream->tasks, &head, body, &part, 0, NULL, NULL) == 0)
        atomic_fetch_add(&pool->board->tasks_out, head.kind == WEDGE_MESSAGE_TASK);
    part = (struct wedge_queue_part){0};
    while (wedge_queue_receive(&stream->results, &head, body, &part, 0, NULL, NULL) == 0)
        atomic_fetch_add(&pool->board->results_out, 1);
    free(body);
}

const struct wedge_pool_transport wedge_pool_stream = {
    .create = stream_create,
    .destroy = stream_destroy,
    .put = stream_put,
    .take = stream_take,
    .release = stream_release,
    .empty = stream_empty,
    .cut = stream_cut,
    .drain = stream_drain,
    .enter = wedge_stream_enter,
    .get = wedge_stream_get,
    .answer = wedge_stream_answer,
    .thread_left = wedge_stream_thread_left,
    .leave = wedge_stream_leave,
};
