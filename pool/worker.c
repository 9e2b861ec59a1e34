/*
 * A worker: initializers, threads that take tasks, finalizers, and how it leaves. The same for both transports; what a
 * death at each point costs is the transport's matter. Most often it is a process of its own, single-threaded until
 * process_init is over; with workers=threads it is a group of threads in the parent, and the same code runs.
 *
 * Ways of leaving
 *   a thread by its age    life, life_tasks: after its task. The process leaves once all of its threads have.
 *   drained                closed and nothing queued, or a stop mark: each thread by itself
 *   leave_with(status)     the process is not well, or an initializer failed: no thread takes another task, each
 *                          finishes what it has in hand, and the process leaves when the last one has. Finalizers run
 *                          only where the status is ORDERLY. Who is still at it past die_limit is the keeper's to end.
 *   a thread is ended      by user code (pthread_exit): the same, and its task is LOST
 * It writes to nothing that the parent owns but its seat and its threads' records on the board.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include <wedge/point.h>

#include "pool/counters.h"
#include "pool/events.h"
#include "pool/helper.h"
#include "pool/pool.h"
#include "pool/slots.h"
#include "pool/zygote.h"

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

/*
 * User code that forks may come back twice: the classic is a child whose exec failed. The child has a copy of the thread, with
 * the same task in hand, and nobody knows of it: going on, it would write into a slot that is somebody else's by then. It
 * leaves. vfork(2) and posix_spawn(3) do not run the handler, and need not; clone(2) by hand does not either.
 */
static bool is_copy;

static void become_copy(void)
{
    is_copy = true;
}

static void leave_if_copy(const struct wedge_pool_worker *worker)
{
    if (is_copy && worker->zygote)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_COPY);
}

/* NAME.w1.t2: where it is too long for the kernel it is NAME that is cut, since the rest tells one from the other. */
static void name_after(const struct wedge_pool *pool, unsigned process, unsigned thread)
{
    char suffix[16];
    const char *name = pool->settings.name;
    bool plain = strcmp(name, "pool") == 0;
    if (thread)
        snprintf(suffix, sizeof(suffix), "w%u.t%u", process, thread);
    else
        snprintf(suffix, sizeof(suffix), "w%u", process);
    int room = (int)(sizeof(suffix) - 2 - strlen(suffix));
    wedge_pool_name_thread("%.*s%s%s", plain ? 0 : room, name, plain ? "" : ".", suffix);
}

#define GIVEN_UP                                                                                                       \
    (-0x57D7) /* limit_by=helper: it was left behind; not a value that a user's function returns by chance */

/* The user's functions that run once: what a helper thread is given. */
enum user_function { PROCESS_INIT, THREAD_INIT, THREAD_FINAL, PROCESS_FINAL };
static const char *const user_function_names[] = {"process_init", "thread_init", "thread_final", "process_final"};

struct user_call {
    const struct wedge_pool *pool;
    struct wedge_pool_place place;
    enum user_function function;
};

static bool is_final(enum user_function function)
{
    return function == THREAD_FINAL || function == PROCESS_FINAL;
}

static bool user_has(const struct wedge_pool *pool, enum user_function function)
{
    const struct wedge_pool_callbacks *callbacks = &pool->callbacks;
    return (function == PROCESS_INIT && callbacks->process_init) ||
           (function == THREAD_INIT && callbacks->thread_init) ||
           (function == THREAD_FINAL && callbacks->thread_final) ||
           (function == PROCESS_FINAL && callbacks->process_final);
}

/* The call itself, between its marks. The names are literals because a mark's must be. */
static int call_user(const void *arg)
{
    const struct user_call *call = arg;
    const struct wedge_pool_callbacks *callbacks = &call->pool->callbacks;
    const struct wedge_pool_settings *settings = &call->pool->settings;
    int64_t limit_ms = is_final(call->function) ? settings->final_limit_ms : settings->start_limit_ms;
    int rc = 0;
    limit_ms = limit_ms > 0 ? limit_ms : 0;
    switch (call->function) {
    case PROCESS_INIT:
        WEDGE_CALLBACK_BEGIN("process_init", callbacks->process_init, limit_ms);
        rc = callbacks->process_init(&call->place, callbacks->context);
        WEDGE_CALLBACK_END("process_init");
        break;
    case THREAD_INIT:
        WEDGE_CALLBACK_BEGIN("thread_init", callbacks->thread_init, limit_ms);
        rc = callbacks->thread_init(&call->place, callbacks->context);
        WEDGE_CALLBACK_END("thread_init");
        break;
    case THREAD_FINAL:
        WEDGE_CALLBACK_BEGIN("thread_final", callbacks->thread_final, limit_ms);
        callbacks->thread_final(&call->place, callbacks->context);
        WEDGE_CALLBACK_END("thread_final");
        break;
    case PROCESS_FINAL:
        WEDGE_CALLBACK_BEGIN("process_final", callbacks->process_final, limit_ms);
        callbacks->process_final(&call->place, callbacks->context);
        WEDGE_CALLBACK_END("process_final");
        break;
    }
    return rc;
}

static struct wedge_board_seat *board_seat(const struct wedge_pool_worker *worker)
{
    return wedge_board_seat(worker->pool->board, worker->place.process - 1);
}

/* Where the thread (0: the process) says what it does. */
static void says(const struct wedge_pool *pool, const struct wedge_pool_place *place, enum wedge_doing doing,
                 int64_t until_ns)
{
    wedge_board_does(wedge_board_thread(pool->board, place->process - 1, place->thread), doing, wedge_clock_ns(),
                     until_ns, 0);
}

/* limit_by=helper: past its limit the user's function is left behind in the thread that runs it. */
static int call_in_helper(struct wedge_pool *pool, const struct user_call *call, int64_t until_ns)
{
    int answer = 0;
    int rc = wedge_helper_run(call_user, call, sizeof(*call), until_ns, &answer);
    if (rc == 0)
        return answer;
    wedge_pool_tell(pool, WEDGE_POOL_EVENT_LIMIT, call->place.process, call->place.generation,
                    rc == -ETIMEDOUT ? "%s of thread %u is past its limit and is left behind in its helper thread"
                                     : "no helper thread could be had for %s of thread %u",
                    user_function_names[call->function], call->place.thread);
    return rc == -ETIMEDOUT ? GIVEN_UP : rc;
}

/* Runs one of the user's functions, if there is one. start_limit counts from the start of the process. */
static int run_user(const struct wedge_pool_worker *worker, const struct wedge_pool_place *place,
                    enum user_function function)
{
    struct wedge_pool *pool = worker->pool;
    const struct wedge_pool_settings *settings = &pool->settings;
    struct user_call call = {.pool = pool, .place = *place, .function = function};
    int64_t limit_ms = is_final(function) ? settings->final_limit_ms : settings->start_limit_ms;
    int64_t from_ns = is_final(function) ? wedge_clock_ns() : atomic_load(&board_seat(worker)->started_ns);
    int64_t until_ns = limit_ms < 0 ? WEDGE_POOL_NEVER : from_ns + limit_ms * WEDGE_NS_PER_MS;
    bool helper = !settings->hardened && settings->limit_by == WEDGE_POOL_LIMIT_BY_HELPER && limit_ms >= 0;
    if (!user_has(pool, function))
        return 0;
    says(pool, place, is_final(function) ? WEDGE_DOING_FINAL : WEDGE_DOING_INIT, until_ns);
    int rc = helper ? call_in_helper(pool, &call, until_ns) : call_user(&call);
    leave_if_copy(worker);
    says(pool, place, WEDGE_DOING_NOTHING, WEDGE_POOL_NEVER);
    if (rc != 0 && !is_final(function))
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_INIT_FAILED, place->process, place->generation, "%s of thread %u: %s %d",
                        user_function_names[function], place->thread,
                        rc == WEDGE_POOL_STOP ? "not to be started again, returned" : "failed with", rc);
    return rc;
}

static bool is_orderly(const struct wedge_pool_worker *worker)
{
    return atomic_load(&board_seat(worker)->status) == WEDGE_POOL_EXIT_ORDERLY;
}

/*
 * The process is to leave: none of its threads takes another task. Of several reasons the first one stays. A thread that
 * sleeps until a task comes is woken to see it; one of a stream cannot be, it sits in its read.
 */
static void leave_with(const struct wedge_pool_worker *worker, int status)
{
    struct wedge_board_seat *seat = board_seat(worker);
    uint32_t orderly = WEDGE_POOL_EXIT_ORDERLY;
    int64_t not_yet = 0;
    atomic_compare_exchange_strong(&seat->status, &orderly, (uint32_t)status);
    atomic_compare_exchange_strong(&seat->drain_ns, &not_yet, wedge_clock_ns());
    if (worker->pool->settings.hardened)
        wedge_slots_wake_all(worker->pool);
}

bool wedge_pool_hand_leaves(struct wedge_pool_hand *hand)
{
    const struct wedge_pool_settings *settings = &hand->worker->pool->settings;
    /* Relaxed: the keeper's may come late by one task. A sibling's does not to whoever was put after its result (acquired
     * with the task). Who set it wakes those who sleep (leave_with, the keeper). */
    hand->leaves = hand->leaves ||
                   atomic_load_explicit(&board_seat(hand->worker)->drain_ns, memory_order_relaxed) != 0 ||
                   (settings->life_tasks >= 0 && hand->tasks >= (uint64_t)settings->life_tasks) ||
                   (hand->until_ns != WEDGE_POOL_NEVER && wedge_clock_ns() >= hand->until_ns);
    return hand->leaves;
}

/* Until every other thread of the process has left, or die_limit. Woken by each thread that leaves. */
static bool others_have_left(struct wedge_pool_worker *worker)
{
    uint32_t others = (uint32_t)worker->pool->settings.threads - 1;
    int64_t until_ns = wedge_pool_settings_until(worker->pool->settings.die_limit_ms);
    for (;;) {
        uint32_t seen = wedge_word_read(&worker->news);
        if (atomic_load(&worker->threads_left) == others)
            return true;
        if (wedge_clock_ns() >= until_ns)
            return false;
        wedge_word_wait(&worker->news, seen, WEDGE_WAIT_FOR_PEER, until_ns);
    }
}

static void sleep_until(int64_t until_ns)
{
    struct timespec until = {.tv_sec = until_ns / WEDGE_NS_PER_S, .tv_nsec = until_ns % WEDGE_NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

/*
 * leave=abrupt, as the library of the report does it: the limit is waited for in full, whether or not the others are
 * through, and then the process is gone, with whatever it had in its hands and its buffers.
 */
static void leave_abruptly(const struct wedge_pool_hand *hand)
{
    struct wedge_pool_worker *worker = hand->worker;
    int64_t limit_ms = worker->pool->settings.die_limit_ms;
    says(worker->pool, &hand->place, WEDGE_DOING_NOTHING, WEDGE_POOL_NEVER);
    leave_with(worker, WEDGE_POOL_EXIT_UNWELL);
    if (limit_ms < 0)
        others_have_left(worker);
    else
        sleep_until(wedge_pool_settings_until(limit_ms));
    if (!worker->grouped)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_UNWELL);
}

/*
 * leave=in_order. Under a supervisor nothing remains to be done: this thread leaves like the others, who is past
 * die_limit is ended from outside. In a stream there is nobody to do that, and a thread that waits for a task cannot be
 * woken: this thread waits for the others, and past die_limit it leaves without them.
 */
static void leave_in_order(struct wedge_pool_hand *hand)
{
    struct wedge_pool_worker *worker = hand->worker;
    says(worker->pool, &hand->place, WEDGE_DOING_NOTHING, WEDGE_POOL_NEVER);
    leave_with(worker, WEDGE_POOL_EXIT_ORDERLY);
    hand->leaves = true;
    if (worker->pool->settings.hardened || others_have_left(worker))
        return;
    run_user(worker, &hand->place, THREAD_FINAL);
    worker->pool->transport->thread_left(hand);
    run_user(worker, &worker->place, PROCESS_FINAL);
    worker->pool->transport->leave(worker);
    wedge_pool_leave_process(WEDGE_POOL_EXIT_ORDERLY);
}

/* Runs the user's function on the task in hand and hands its result in. */
void wedge_pool_run_task(struct wedge_pool_hand *hand)
{
    const struct wedge_pool *pool = hand->worker->pool;
    int64_t limit_ms = pool->settings.task_limit_ms;
    bool abrupt = pool->settings.leave == WEDGE_POOL_LEAVE_ABRUPT;
    enum wedge_pool_outcome outcome;
    int code;

    WEDGE_POINT("pool.worker.run");
    WEDGE_CALLBACK_BEGIN("task", pool->callbacks.task, limit_ms > 0 ? limit_ms : 0);
    code = pool->callbacks.task(&hand->task, pool->callbacks.context);
    WEDGE_CALLBACK_END("task");
    leave_if_copy(hand->worker);
    WEDGE_POINT("pool.worker.done");
    bool unwell = code != 0 && hand->task.die && hand->place.process != 0; /* 0: a put runs it, there is no worker */
    outcome = code == 0 ? WEDGE_POOL_OK : WEDGE_POOL_ERROR;
    if (hand->task.result_bytes > hand->task.result_room) {
        outcome = WEDGE_POOL_ERROR;
        code = -EMSGSIZE;
        hand->task.result_bytes = 0;
    }
    if (unwell && pool->settings.hardened) /* before it can be known: what is put then is not for this process */
        leave_with(hand->worker, abrupt ? WEDGE_POOL_EXIT_UNWELL : WEDGE_POOL_EXIT_ORDERLY);
    pool->transport->answer(hand, outcome, code);
    WEDGE_POINT("pool.worker.answered");
    hand->tasks++;
    if (unwell && abrupt)
        leave_abruptly(hand);
    else if (unwell)
        leave_in_order(hand);
}

/* An initializer failed: the process leaves, at once in a stream, else once the other threads are through. */
static void initializer_failed(const struct wedge_pool_worker *worker, int code)
{
    int status = code == WEDGE_POOL_STOP ? WEDGE_POOL_EXIT_STOP : WEDGE_POOL_EXIT_INIT;
    if (!worker->pool->settings.hardened)
        wedge_pool_leave_process(status);
    leave_with(worker, status);
}

/* The thread's initializer, and what is said of it: the last thread that is through makes the worker ready. */
static bool thread_starts(struct wedge_pool_hand *hand)
{
    struct wedge_pool_worker *worker = hand->worker;
    struct wedge_pool *pool = worker->pool;
    uint32_t threads = (uint32_t)pool->settings.threads;
    int rc = run_user(worker, &hand->place, THREAD_INIT);
    if (rc == GIVEN_UP) {
        if (atomic_fetch_add(&worker->threads_given_up, 1) + 1 == threads)
            initializer_failed(worker, rc); /* nobody is left to take a task */
    } else if (rc != 0) {
        initializer_failed(worker, rc);
        return false;
    }
    if (rc == 0 && pool->settings.hardened)
        says(pool, &hand->place, WEDGE_DOING_IDLE, WEDGE_POOL_NEVER); /* start_limit ends, idle_limit begins */
    hand->until_ns = wedge_pool_settings_until(pool->settings.life_ms);
    if (atomic_fetch_add(&board_seat(worker)->threads_ready, 1) + 1 == threads) {
        atomic_store(&board_seat(worker)->stage, WEDGE_POOL_READY);
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_READY, hand->place.process, hand->place.generation, "ready");
        WEDGE_POINT("pool.worker.ready");
    }
    return rc == 0;
}

/* The last thing a thread does, whether it returns or is ended (pthread_exit, pthread_cancel). */
static void thread_ends(struct wedge_pool_hand *hand)
{
    struct wedge_pool_worker *worker = hand->worker;
    says(worker->pool, &hand->place, WEDGE_DOING_NOTHING, WEDGE_POOL_NEVER);
    atomic_fetch_add(&worker->threads_left, 1);
    wedge_word_bump(&worker->news, INT_MAX);
}

/* User code has ended the thread: what it had in hand is lost with it, which is known once the process is gone. The others
 * may finish theirs; in a stream they cannot be woken for it. */
static void thread_was_ended(void *arg)
{
    struct wedge_pool_hand *hand = arg;
    leave_if_copy(hand->worker);
    if (!hand->worker->pool->settings.hardened)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_THREAD);
    leave_with(hand->worker, WEDGE_POOL_EXIT_THREAD);
    thread_ends(hand);
}

static void *thread_main(void *arg)
{
    struct wedge_pool_hand *hand = arg;
    struct wedge_pool_worker *worker = hand->worker;
    const struct wedge_pool *pool = worker->pool;
    name_after(pool, hand->place.process, hand->place.thread);
    pthread_cleanup_push(thread_was_ended, hand);
    if (thread_starts(hand)) {
        while (!wedge_pool_hand_leaves(hand) && pool->transport->get(hand) == 0) {
            WEDGE_POINT("pool.worker.got_task");
            wedge_pool_run_task(hand);
        }
        if (is_orderly(worker))
            run_user(worker, &hand->place, THREAD_FINAL);
        pool->transport->thread_left(hand);
    }
    pthread_cleanup_pop(0);
    thread_ends(hand);
    return NULL;
}

/* One thread per hand. One that cannot be had ends the worker. */
static void run_threads(struct wedge_pool_worker *worker)
{
    const struct wedge_pool *pool = worker->pool;
    size_t n = (size_t)pool->settings.threads, payload = (size_t)pool->settings.payload_bytes, started = 0;
    struct wedge_pool_hand *hands = calloc(n, sizeof(*hands));
    uint8_t *buffers = malloc(n * 2 * payload);
    pthread_t threads[WEDGE_POOL_THREADS_MAX];

    for (; hands && buffers && started < n; started++) {
        struct wedge_pool_hand *hand = &hands[started];
        hand->worker = worker;
        hand->place = worker->place;
        hand->place.thread = (unsigned)started + 1;
        hand->buffer = buffers + started * 2 * payload;
        if (pthread_create(&threads[started], NULL, thread_main, hand) != 0)
            break;
    }
    if (started < n) {
        if (!pool->settings.hardened)
            wedge_pool_leave_process(WEDGE_POOL_EXIT_SYSTEM);
        leave_with(worker, WEDGE_POOL_EXIT_SYSTEM);
    }
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(buffers);
    free(hands);
}

int wedge_pool_worker_live(struct wedge_pool *pool, uint32_t index, uint32_t generation, bool grouped)
{
    struct wedge_pool_worker worker = {.pool = pool,
                                       .place = {.process = index, .generation = generation},
                                       .grouped = grouped,
                                       .zygote = pool->settings.hardened && !grouped ? getppid() : 0};
    name_after(pool, index, 0);
    WEDGE_POINT("pool.worker.start");
    if (worker.zygote)
        is_copy = false; /* the pool may be one of a copy's own; a group's threads would all write it at once */
    if (worker.zygote && pthread_atfork(NULL, NULL, become_copy) != 0)
        return WEDGE_POOL_EXIT_SYSTEM;
    if (pool->transport->enter(&worker) < 0)
        return WEDGE_POOL_EXIT_SYSTEM;
    int rc = run_user(&worker, &worker.place, PROCESS_INIT);
    if (worker.zygote)
        wedge_zygote_die_with(worker.zygote);
    if (rc != 0)
        return rc == WEDGE_POOL_STOP ? WEDGE_POOL_EXIT_STOP : WEDGE_POOL_EXIT_INIT;
    run_threads(&worker);
    atomic_store(&board_seat(&worker)->stage, WEDGE_POOL_LEAVING);
    WEDGE_POINT("pool.worker.leaving");
    if (is_orderly(&worker))
        run_user(&worker, &worker.place, PROCESS_FINAL);
    pool->transport->leave(&worker);
    return (int)atomic_load(&board_seat(&worker)->status);
}

/* parent_death=leave. The kernel's own signal (PR_SET_PDEATHSIG) would come when the thread that forked ends, which may be
 * long before its process; a pidfd tells of the process. Woken by the parent's end, and by nothing else. */
static void *watch_parent(void *arg)
{
    struct pollfd pfd = {.fd = (int)(intptr_t)arg, .events = POLLIN};
    wedge_pool_name_thread("parent-watch");
    while (poll(&pfd, 1, -1) < 0 && errno == EINTR)
        ;
    wedge_pool_leave_process(WEDGE_POOL_EXIT_ORPHAN);
}

static void leave_with_parent(const struct wedge_pool *pool)
{
    pthread_t thread;
    int fd = pidfd_open(pool->board->parent_pid, 0);
    /* Asked after the descriptor was opened: it is the parent's own, and not that of a process that came later. */
    if (fd < 0 || getppid() != pool->board->parent_pid)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_ORPHAN);
    if (wedge_pool_thread(&thread, watch_parent, (void *)(intptr_t)fd) < 0)
        wedge_pool_leave_process(WEDGE_POOL_EXIT_SYSTEM);
    pthread_detach(thread);
}

_Noreturn void wedge_pool_worker_run(struct wedge_pool *pool, uint32_t index, uint32_t generation)
{
    wedge_role("worker", index, generation);
    wedge_pool_events_in_child(pool);
    if (!pool->settings.hardened && pool->settings.parent_death == WEDGE_POOL_PARENT_DEATH_LEAVE)
        leave_with_parent(pool);
    wedge_pool_leave_process(wedge_pool_worker_live(pool, index, generation, false));
}
