/*
 * A worker process: initializers, threads that take tasks, finalizers, and how it leaves. The same for both
 * transports; what a death at each point costs is the transport's matter.
 *
 * A worker is single-threaded until process_init is over, and writes to nothing that the parent owns but its seat.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wedge/point.h>

#include "pool/counters.h"
#include "pool/events.h"
#include "pool/pool.h"

void wedge_pool_name_thread(const char *fmt, ...)
{
    char name[16]; /* what the kernel keeps (prctl(2), PR_SET_NAME) */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    pthread_setname_np(pthread_self(), name);
}

int wedge_pool_thread(pthread_t *ret, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(ret, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

_Noreturn void wedge_pool_leave_process(int status)
{
    wedge_counters_save();
    _exit(status);
}

static int run_process_init(struct wedge_pool_worker *worker)
{
    const struct wedge_pool *pool = worker->pool;
    int64_t limit_ms = pool->settings.start_limit_ms;
    int rc;
    if (!pool->callbacks.process_init)
        return 0;
    WEDGE_CALLBACK_BEGIN("process_init", pool->callbacks.process_init, limit_ms > 0 ? limit_ms : 0);
    rc = pool->callbacks.process_init(&worker->place, pool->callbacks.context);
    WEDGE_CALLBACK_END("process_init");
    return rc;
}

static int run_thread_init(struct wedge_pool_hand *hand)
{
    const struct wedge_pool *pool = hand->worker->pool;
    int64_t limit_ms = pool->settings.start_limit_ms;
    int rc;
    if (!pool->callbacks.thread_init)
        return 0;
    WEDGE_CALLBACK_BEGIN("thread_init", pool->callbacks.thread_init, limit_ms > 0 ? limit_ms : 0);
    rc = pool->callbacks.thread_init(&hand->place, pool->callbacks.context);
    WEDGE_CALLBACK_END("thread_init");
    return rc;
}

/* Where the thread (0: the process) says what it does. */
static void says(const struct wedge_pool *pool, const struct wedge_pool_place *place, enum wedge_doing doing)
{
    wedge_board_does(wedge_board_thread(pool->board, place->process - 1, place->thread), doing, wedge_clock_ns(),
                     WEDGE_POOL_NEVER, 0);
}

static void run_thread_final(struct wedge_pool_hand *hand)
{
    const struct wedge_pool *pool = hand->worker->pool;
    int64_t limit_ms = pool->settings.final_limit_ms;
    if (!pool->callbacks.thread_final)
        return;
    says(pool, &hand->place, WEDGE_DOING_FINAL);
    WEDGE_CALLBACK_BEGIN("thread_final", pool->callbacks.thread_final, limit_ms > 0 ? limit_ms : 0);
    pool->callbacks.thread_final(&hand->place, pool->callbacks.context);
    WEDGE_CALLBACK_END("thread_final");
    says(pool, &hand->place, WEDGE_DOING_NOTHING);
}

static void run_process_final(struct wedge_pool_worker *worker)
{
    const struct wedge_pool *pool = worker->pool;
    int64_t limit_ms = pool->settings.final_limit_ms;
    if (!pool->callbacks.process_final)
        return;
    says(pool, &worker->place, WEDGE_DOING_FINAL);
    WEDGE_CALLBACK_BEGIN("process_final", pool->callbacks.process_final, limit_ms > 0 ? limit_ms : 0);
    pool->callbacks.process_final(&worker->place, pool->callbacks.context);
    WEDGE_CALLBACK_END("process_final");
    says(pool, &worker->place, WEDGE_DOING_NOTHING);
}

/* Runs the user's function on the task in hand and hands its result in. */
static void run_task(struct wedge_pool_hand *hand)
{
    const struct wedge_pool *pool = hand->worker->pool;
    int64_t limit_ms = pool->settings.task_limit_ms;
    enum wedge_pool_outcome outcome;
    int code;

    WEDGE_POINT("pool.worker.run");
    WEDGE_CALLBACK_BEGIN("task", pool->callbacks.task, limit_ms > 0 ? limit_ms : 0);
    code = pool->callbacks.task(&hand->task, pool->callbacks.context);
    WEDGE_CALLBACK_END("task");
    WEDGE_POINT("pool.worker.done");
    outcome = code == 0 ? WEDGE_POOL_OK : WEDGE_POOL_ERROR;
    if (hand->task.result_bytes > hand->task.result_room) {
        outcome = WEDGE_POOL_ERROR;
        code = -EMSGSIZE;
        hand->task.result_bytes = 0;
    }
    pool->transport->answer(hand, outcome, code);
}

/* The last thread that is initialized makes the worker ready. */
static void report_ready(const struct wedge_pool_hand *hand)
{
    const struct wedge_pool *pool = hand->worker->pool;
    struct wedge_board_seat *seat = wedge_board_seat(pool->board, hand->place.process - 1);
    if (pool->settings.hardened)
        says(pool, &hand->place, WEDGE_DOING_IDLE); /* start_limit ends, idle_limit begins */
    if (atomic_fetch_add(&seat->threads_ready, 1) + 1 != (uint32_t)pool->settings.threads)
        return;
    atomic_store(&seat->stage, WEDGE_POOL_READY);
    WEDGE_POINT("pool.worker.ready");
}

static void *thread_main(void *arg)
{
    struct wedge_pool_hand *hand = arg;
    struct wedge_pool *pool = hand->worker->pool;
    wedge_pool_name_thread("w%u.t%u", hand->place.process, hand->place.thread);
    if (run_thread_init(hand) != 0)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_INIT);
    report_ready(hand);
    while (pool->transport->get(hand) == 0) {
        WEDGE_POINT("pool.worker.got_task");
        run_task(hand);
    }
    run_thread_final(hand);
    pool->transport->thread_left(hand);
    return NULL;
}

/* One thread per hand; all of them, or the process leaves. */
static void run_threads(struct wedge_pool_worker *worker)
{
    const struct wedge_pool *pool = worker->pool;
    size_t n = (size_t)pool->settings.threads, payload = (size_t)pool->settings.payload_bytes;
    struct wedge_pool_hand *hands = calloc(n, sizeof(*hands));
    uint8_t *buffers = malloc(n * 2 * payload);
    pthread_t threads[WEDGE_POOL_THREADS_MAX];

    if (!hands || !buffers)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_SYSTEM);
    for (size_t i = 0; i < n; i++) {
        hands[i].worker = worker;
        hands[i].place = worker->place;
        hands[i].place.thread = (unsigned)i + 1;
        hands[i].buffer = buffers + i * 2 * payload;
        if (pthread_create(&threads[i], NULL, thread_main, &hands[i]) != 0)
            wedge_pool_leave_process(WEDGE_POOL_EXIT_SYSTEM);
    }
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    free(buffers);
    free(hands);
}

_Noreturn void wedge_pool_worker_run(struct wedge_pool *pool, uint32_t index, uint32_t generation)
{
    struct wedge_pool_worker worker = {.pool = pool, .place = {.process = index, .generation = generation}};
    wedge_role("worker", index, generation);
    wedge_pool_name_thread("w%u", index);
    wedge_pool_events_in_child(pool);
    WEDGE_POINT("pool.worker.start");
    if (pool->transport->enter(&worker) < 0)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_SYSTEM);
    if (run_process_init(&worker) != 0)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_INIT);
    run_threads(&worker);
    atomic_store(&wedge_board_seat(pool->board, index - 1)->stage, WEDGE_POOL_LEAVING);
    run_process_final(&worker);
    pool->transport->leave(&worker);
    wedge_pool_leave_process(WEDGE_POOL_EXIT_ORDERLY);
}
