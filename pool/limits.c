/*
 * A worker's limits under a supervisor (limits.h).
 *
 *   start_limit    from the fork until READY           ended
 *   task_limit     from a claim to its result          the worker drains, then the task is a TIMEOUT; task_end=kill: ended
 *   die_limit      from the drain (a task that was not well, or the line above) until no thread has a task: ended
 *   final_limit    one finalizer                       ended
 *   idle_limit     a thread that looks for a task has not looked for so long: ended; a process that has nothing left to do
 *                  has not left by this and twice final_limit: ended
 *   process_limit  from the fork                       SIGTERM, term_wait, SIGKILL
 *
 * "Ended" is SIGKILL: whatever the process is stuck in, the kernel carries that out. With workers=threads nobody can be
 * ended; a task past its limit is reported all the same.
 */
#include "pool/limits.h"

#include <signal.h>

#include "pool/events.h"
#include "pool/seat.h"
#include "pool/slots.h"

#define SURE_MS 500 /* between the look that suspects a thread that does not look, and the one that is sure */

/* What one pass over a worker's threads shows. */
struct view {
    int64_t now_ns;
    int64_t next_ns; /* the earliest time at which something more will be due */
    int64_t idle_ns; /* the earliest `since` of those that look for a task, put off for those that look less often */
    int64_t final_ns; /* the earliest `since` of those in a finalizer; both: or NEVER */
    bool there; /* a thread does something */
    bool busy; /* a thread has a task in hand */
    bool expired; /* one of the tasks has just been reported as TIMEOUT */
    bool stale; /* a record says "task" long past the limit, and no such task is in hand: stopped in between */
};

static int64_t after_ms(int64_t since_ns, int64_t limit_ms)
{
    return since_ns == WEDGE_POOL_NEVER || limit_ms < 0 ? WEDGE_POOL_NEVER : since_ns + limit_ms * WEDGE_NS_PER_MS;
}

/* Whether that time is past; else it is one to wake up at. */
static bool is_past(struct view *view, int64_t at_ns)
{
    if (at_ns <= view->now_ns)
        return true;
    view->next_ns = wedge_pool_earlier(view->next_ns, at_ns);
    return false;
}

static void tell(struct wedge_pool *pool, uint32_t index, const char *what, const char *done)
{
    wedge_pool_tell(pool, WEDGE_POOL_EVENT_LIMIT, index + 1, pool->seats[index].generation, "%s; %s", what, done);
}

/* A task of the process has expired. It takes no other from here on: what is put by somebody who knows of it is not for a
 * process that is about to end. */
static void drain(struct wedge_pool *pool, uint32_t index, int64_t now_ns)
{
    int64_t not_yet = 0;
    pool->seats[index].excused = true; /* its end is of our making, and not a crash */
    if (atomic_compare_exchange_strong(&wedge_board_seat(pool->board, index)->drain_ns, &not_yet, now_ns))
        wedge_slots_wake_all(pool);
}

static void look_at_task(struct wedge_pool *pool, uint32_t index, uint32_t t, uint64_t task, int64_t since_ns,
                         struct view *view)
{
    int64_t limit_ms = pool->settings.task_limit_ms, at_ns = after_ms(since_ns, limit_ms);
    uint32_t generation = pool->seats[index].generation;
    if (!is_past(view, at_ns))
        return;
    int64_t slot = wedge_slots_expire(pool, index + 1, generation, t, task);
    if (slot >= 0) {
        view->expired = true;
        if (pool->settings.workers != WEDGE_POOL_WORKERS_THREADS)
            drain(pool, index, view->now_ns);
        wedge_slots_show_expired(pool, slot);
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_LIMIT, index + 1, generation,
                        "task_limit: task %llu has run for more than %lld ms in thread %u; it is a timeout",
                        (unsigned long long)task, (long long)limit_ms, t);
    } else if (pool->settings.idle_limit_ms >= 0) {
        view->stale = view->stale || is_past(view, after_ms(at_ns, pool->settings.idle_limit_ms));
    }
}

/* What the thread does is read first: the time and the task are its own or newer ones. They belong together where the time
 * was the same before and after the task was read; else the thread has just begun something. */
static void look_at_thread(struct wedge_pool *pool, uint32_t index, uint32_t t, struct view *view)
{
    struct wedge_board_thread *thread = wedge_board_thread(pool->board, index, t);
    uint32_t doing = atomic_load_explicit(&thread->doing, memory_order_acquire); /* with wedge_board_does */
    int64_t since_ns = atomic_load_explicit(&thread->since_ns, memory_order_relaxed);
    uint64_t task = atomic_load_explicit(&thread->task, memory_order_acquire); /* with wedge_board_does */
    bool whole = atomic_load_explicit(&thread->since_ns, memory_order_relaxed) == since_ns;
    view->there = view->there || doing != WEDGE_DOING_NOTHING;
    if (doing == WEDGE_DOING_IDLE)
        view->idle_ns = wedge_pool_earlier(
            view->idle_ns, after_ms(since_ns, wedge_pool_idle_look_ms(&pool->settings, t) - WEDGE_POOL_IDLE_LOOK_MS));
    if (doing == WEDGE_DOING_FINAL)
        view->final_ns = wedge_pool_earlier(view->final_ns, since_ns);
    if (doing != WEDGE_DOING_TASK)
        return;
    view->busy = true;
    if (whole)
        look_at_task(pool, index, t, task, since_ns, view);
}

/* Suspected once, sure half a tick later: when the whole machine stood still, the supervisor may be the first to run. */
static bool has_not_looked(struct wedge_pool *pool, uint32_t index, struct view *view)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    if (!is_past(view, after_ms(view->idle_ns, pool->settings.idle_limit_ms))) {
        seat->suspected_ns = 0;
        return false;
    }
    if (seat->suspected_ns == 0)
        seat->suspected_ns = view->now_ns;
    return is_past(view, after_ms(seat->suspected_ns, SURE_MS));
}

/* A process that has nothing left to do must leave: the time for one last look, and for both kinds of finalizers. An
 * abrupt one sits out its die_limit first. */
static bool has_not_left(struct wedge_pool *pool, uint32_t index, bool drained, int64_t drain_ns, struct view *view)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    const struct wedge_pool_settings *settings = &pool->settings;
    bool abrupt = drain_ns != 0 && settings->leave == WEDGE_POOL_LEAVE_ABRUPT;
    bool done = !view->busy && (drained || drain_ns != 0 || !view->there);
    if (!done)
        seat->done_ns = 0;
    else if (seat->done_ns == 0)
        seat->done_ns = view->now_ns;
    if (!done || settings->idle_limit_ms < 0 || settings->final_limit_ms < 0 || (abrupt && settings->die_limit_ms < 0))
        return false;
    int64_t limit_ms = settings->idle_limit_ms + 2 * settings->final_limit_ms;
    return is_past(view, after_ms(seat->done_ns, limit_ms + (abrupt ? settings->die_limit_ms : 0)));
}

/* Which limit ends the worker now; NULL none. A limit that is not reached yet is noted as a time to wake up at. */
static const char *limit_that_ends(struct wedge_pool *pool, uint32_t index, bool drained, struct view *view)
{
    const struct wedge_pool_settings *settings = &pool->settings;
    const struct wedge_pool_seat *seat = &pool->seats[index];
    struct wedge_board_seat *board_seat = wedge_board_seat(pool->board, index);
    int64_t drain_ns = atomic_load(&board_seat->drain_ns);
    bool starting = atomic_load(&board_seat->stage) == WEDGE_POOL_STARTING;
    bool abrupt = settings->leave == WEDGE_POOL_LEAVE_ABRUPT; /* it leaves by itself then, at die_limit sharp */
    const char *limit = NULL;
    if (starting && is_past(view, after_ms(seat->started_ns, settings->start_limit_ms)))
        limit = "start_limit: not ready in time";
    if (!starting && has_not_left(pool, index, drained, drain_ns, view))
        limit = "idle_limit: has nothing left to do and does not leave";
    if (has_not_looked(pool, index, view))
        limit = "idle_limit: has not looked for a task";
    if (is_past(view, after_ms(view->final_ns, settings->final_limit_ms)))
        limit = "final_limit: a finalizer does not return";
    if (drain_ns != 0 && view->busy && settings->die_limit_ms >= 0 &&
        is_past(view, after_ms(drain_ns, settings->die_limit_ms + (abrupt ? SURE_MS : 0))))
        limit = "die_limit: is to leave, and a task does not end";
    if (view->stale && drain_ns == 0)
        limit = "task_limit: stopped between two tasks";
    if (view->expired && settings->task_end == WEDGE_POOL_TASK_END_KILL)
        limit = "task_limit: a task does not end";
    return limit;
}

static void end(struct wedge_pool *pool, uint32_t index, const char *limit)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    seat->condemned = true;
    tell(pool, index, limit, "the worker is ended");
    wedge_seat_kill(seat);
}

/* Hard life: asked to go, then made to. */
static void tend_age(struct wedge_pool *pool, uint32_t index, struct view *view)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    if (!is_past(view, after_ms(seat->started_ns, pool->settings.process_limit_ms)))
        return;
    if (seat->term_ns == 0) {
        seat->term_ns = view->now_ns;
        seat->excused = true;
        tell(pool, index, "process_limit: has come of age", "SIGTERM is sent, and SIGKILL after term_wait");
        wedge_seat_signal(seat, SIGTERM);
    }
    if (is_past(view, after_ms(seat->term_ns, pool->settings.term_wait_ms)))
        end(pool, index, "term_wait: has not left after SIGTERM");
}

int64_t wedge_limits_tend(struct wedge_pool *pool, uint32_t index, bool drained, int64_t now_ns)
{
    struct view view = {
        .now_ns = now_ns, .next_ns = WEDGE_POOL_NEVER, .idle_ns = WEDGE_POOL_NEVER, .final_ns = WEDGE_POOL_NEVER};
    for (uint32_t t = 0; t <= pool->settings.threads; t++)
        look_at_thread(pool, index, t, &view);
    if (pool->settings.workers == WEDGE_POOL_WORKERS_THREADS)
        return view.next_ns;
    const char *limit = limit_that_ends(pool, index, drained, &view);
    if (limit)
        end(pool, index, limit);
    else
        tend_age(pool, index, &view);
    return view.next_ns;
}

int64_t wedge_limits_shortest_ns(const struct wedge_pool *pool)
{
    const struct wedge_pool_settings *settings = &pool->settings;
    const int64_t limits_ms[] = {settings->task_limit_ms, settings->final_limit_ms, settings->die_limit_ms,
                                 pool->callbacks.collect ? settings->collector_limit_ms : WEDGE_POOL_NO_LIMIT};
    int64_t shortest_ns = WEDGE_POOL_NEVER;
    for (size_t i = 0; i < sizeof(limits_ms) / sizeof(limits_ms[0]); i++)
        shortest_ns = wedge_pool_earlier(shortest_ns, after_ms(0, limits_ms[i]));
    return shortest_ns;
}

void wedge_limits_collector(struct wedge_pool *pool, uint64_t *told, int64_t now_ns)
{
    struct wedge_board_thread *collector = &pool->board->collector;
    int64_t limit_ms = pool->settings.collector_limit_ms;
    if (!pool->callbacks.collect || atomic_load(&collector->doing) != WEDGE_DOING_COLLECT)
        return;
    int64_t since_ns = atomic_load(&collector->since_ns);
    uint64_t task = atomic_load(&collector->task);
    if (after_ms(since_ns, limit_ms) > now_ns || task == *told)
        return;
    *told = task;
    wedge_pool_tell(pool, WEDGE_POOL_EVENT_LIMIT, 0, 0,
                    "collector_limit: collect has had task %llu for more than %lld ms; it is not ended",
                    (unsigned long long)task, (long long)limit_ms);
}
