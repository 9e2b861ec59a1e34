/*
 * The worker's side of a stream: taking a task, handing its result in, leaving.
 *
 * A thread without a task waits in the pipe or for its lock, for ever where only a stop mark can make it leave; else it
 * comes back now and then to look (look_ms).
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include <wedge/point.h>

#include "pool/events.h"
#include "pool/stream_inside.h"

#define LOOK_MS      500 /* for its age, and for a process that is not well: nobody waits for that */
#define FLAG_LOOK_MS 50 /* for close_by=flag: join waits for it */

static struct wedge_pool_worker *term_worker; /* the handler's; set before it is installed */

/* The library of the hang report logs here, in a signal handler: item 3.1b. Then the signal does what it does. */
static void on_term(int signal_number)
{
    wedge_pool_tell(term_worker->pool, WEDGE_POOL_EVENT_LEFT, term_worker->place.process, term_worker->place.generation,
                    "SIGTERM received");
    raise(signal_number); /* SA_RESETHAND and SA_NODEFER: the default action now */
}

static void result_written(void)
{
    WEDGE_POINT("pool.worker.result_published");
}

/* The parent's feeders did not come along with the fork: the worker has its own, for results alone. */
int wedge_stream_enter(struct wedge_pool_worker *worker)
{
    const struct wedge_pool *pool = worker->pool;
    struct wedge_stream *stream = wedge_stream_of(pool);
    stream->tasks.process = stream->results.process = worker->place.process;
    wedge_feeder_init(&stream->result_feeder, &stream->results, result_written);
    if (pool->callbacks.event && pool->settings.log != WEDGE_POOL_LOG_QUEUED) {
        struct sigaction action = {.sa_handler = on_term, .sa_flags = SA_RESETHAND | SA_NODEFER};
        term_worker = worker;
        sigaction(SIGTERM, &action, NULL);
    }
    wedge_pool_tell(worker->pool, WEDGE_POOL_EVENT_STARTED, worker->place.process, worker->place.generation,
                    "worker starts");
    return 0;
}

static struct wedge_board_thread *record_of(const struct wedge_pool_hand *hand)
{
    return wedge_board_thread(hand->worker->pool->board, hand->place.process - 1, hand->place.thread);
}

/* Under the readers' lock: from here on the task is this process's. */
static void take_task(void *context, const struct wedge_message *head)
{
    struct wedge_pool_hand *hand = context;
    struct wedge_pool *pool = hand->worker->pool;
    struct wedge_stream *stream = wedge_stream_of(pool);
    if (head->kind != WEDGE_MESSAGE_TASK)
        return;
    wedge_board_does(record_of(hand), WEDGE_DOING_TASK, wedge_clock_ns(), WEDGE_POOL_NEVER, head->id);
    atomic_store(&stream->told->hands[head->number & stream->hands_mask],
                 wedge_stream_hand(head->number, hand->place.process, hand->place.generation));
    atomic_fetch_add(&pool->board->tasks_out, 1);
}

/* How long an idle thread may wait before it looks; negative: for ever. */
static int64_t look_ms(const struct wedge_pool_settings *settings)
{
    if (settings->close_by == WEDGE_POOL_CLOSE_BY_FLAG)
        return FLAG_LOOK_MS;
    return settings->life_ms >= 0 || settings->leave == WEDGE_POOL_LEAVE_IN_ORDER ? LOOK_MS : -1;
}

/* close_by=flag: what was put before the flag has all been taken. */
static bool is_drained(const struct wedge_pool *pool)
{
    return pool->settings.close_by == WEDGE_POOL_CLOSE_BY_FLAG && atomic_load(&pool->board->closed) &&
           wedge_queue_count(&wedge_stream_of(pool)->tasks) == 0;
}

int wedge_stream_get(struct wedge_pool_hand *hand)
{
    struct wedge_pool *pool = hand->worker->pool;
    struct wedge_stream *stream = wedge_stream_of(pool);
    size_t payload = (size_t)pool->settings.payload_bytes;
    struct wedge_message head = {0};
    int rc = -ETIMEDOUT;
    wedge_board_does(record_of(hand), WEDGE_DOING_IDLE, wedge_clock_ns(), WEDGE_POOL_NEVER, 0);
    while (rc == -ETIMEDOUT && !is_drained(pool) && !wedge_pool_hand_leaves(hand))
        rc = wedge_queue_receive(&stream->tasks, &head, hand->buffer, NULL,
                                 wedge_pool_settings_until(look_ms(&pool->settings)), take_task, hand);
    if (rc < 0 || head.kind == WEDGE_MESSAGE_MARK) {
        wedge_board_does(record_of(hand), WEDGE_DOING_NOTHING, 0, WEDGE_POOL_NEVER, 0);
        return -ENODATA;
    }
    hand->task = (struct wedge_pool_task){.id = head.id,
                                          .data = hand->buffer,
                                          .bytes = head.bytes,
                                          .result = hand->buffer + payload,
                                          .result_room = payload,
                                          .place = hand->place};
    return 0;
}

/* `wait`: else a result without room is refused at once, with -ENOBUFS. */
static int result_room(struct wedge_queue *queue, bool wait)
{
    for (;;) {
        uint32_t seen = wedge_word_read(&queue->shared->room);
        int ask = WEDGE_ASK("pool.result.room");
        bool denied = ask == WEDGE_ASK_FULL && queue->bound != WEDGE_QUEUE_GROWS && wedge_queue_believe_full(queue);
        if (!denied && wedge_queue_reserve(queue, false))
            return 0;
        if (!wait)
            return -ENOBUFS;
        /* Woken by whoever takes a result: the collector, or the parent in wedge_pool_take. Nothing else. */
        wedge_word_wait(&queue->shared->room, seen, WEDGE_WAIT_FOR_ROOM, WEDGE_POOL_NEVER);
    }
}

/* A message that finds no memory is lost: the stream has no way to say so. */
static void send_result(struct wedge_pool *pool, const struct wedge_message *head, const void *body)
{
    struct wedge_stream *stream = wedge_stream_of(pool);
    if (result_room(&stream->results, pool->settings.result_put == WEDGE_POOL_FULL_WAIT) < 0) {
        atomic_fetch_add(&pool->board->dropped, head->kind == WEDGE_MESSAGE_RESULT);
        return;
    }
    atomic_fetch_add(&pool->board->results_in, 1);
    if (wedge_feeder_add(&stream->result_feeder, head, body) < 0) {
        wedge_queue_unreserve(&stream->results);
        atomic_fetch_sub(&pool->board->results_in, 1);
    }
}

void wedge_stream_answer(struct wedge_pool_hand *hand, enum wedge_pool_outcome outcome, int code)
{
    if (hand->place.process == 0) {
        wedge_stream_answer_here(hand, outcome, code);
        return;
    }
    struct wedge_board_thread *record = record_of(hand);
    struct wedge_message head = {.bytes = (uint32_t)hand->task.result_bytes,
                                 .kind = WEDGE_MESSAGE_RESULT,
                                 .id = hand->task.id,
                                 .outcome = (int32_t)outcome,
                                 .code = code};
    int64_t now_ns = wedge_clock_ns();
    WEDGE_POINT("pool.worker.result_stored");
    wedge_histogram_add(&record->run, (uint64_t)(now_ns - atomic_load(&record->since_ns)));
    wedge_board_does(record, WEDGE_DOING_WAIT_ROOM, now_ns, WEDGE_POOL_NEVER, hand->task.id);
    send_result(hand->worker->pool, &head, hand->task.result);
    atomic_fetch_add(&record->finished, 1);
}

/* Whether somebody may follow a worker that leaves now: until the pool is closed, by the flag until it is drained too. */
static bool is_replaced(const struct wedge_pool *pool)
{
    return atomic_load(&pool->board->phase) != WEDGE_POOL_CLOSED ||
           (pool->settings.close_by == WEDGE_POOL_CLOSE_BY_FLAG && !is_drained(pool));
}

/* The thread's own mark to whoever takes the results (stream.h). One that leaves by its age sends none while it may be
 * replaced; where it was not after all, the keeper does. */
void wedge_stream_thread_left(struct wedge_pool_hand *hand)
{
    struct wedge_pool *pool = hand->worker->pool;
    struct wedge_message head = {
        .kind = WEDGE_MESSAGE_MARK, .id = hand->place.process, .outcome = (int32_t)hand->place.generation};
    if (hand->leaves && is_replaced(pool))
        return;
    atomic_fetch_add(&wedge_stream_of(pool)->told->forwarded[hand->place.process - 1], 1);
    send_result(pool, &head, NULL);
}

void wedge_stream_leave(struct wedge_pool_worker *worker)
{
    wedge_feeder_join(&wedge_stream_of(worker->pool)->result_feeder);
}
