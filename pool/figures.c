/* Adding up a board (figures.h). */
#include "pool/figures.h"

static const char *const outcome_names[WEDGE_POOL_OUTCOMES] = {
    [WEDGE_POOL_OK] = "ok",           [WEDGE_POOL_ERROR] = "error",         [WEDGE_POOL_LOST] = "lost",
    [WEDGE_POOL_TIMEOUT] = "timeout", [WEDGE_POOL_CANCELLED] = "cancelled", [WEDGE_POOL_INIT_FAILED] = "init_failed",
};

const char *wedge_pool_outcome_name(enum wedge_pool_outcome outcome)
{
    return outcome >= WEDGE_POOL_OK && outcome < WEDGE_POOL_OUTCOMES ? outcome_names[outcome] : "?";
}

static uint64_t get64(const _Atomic uint64_t *figure)
{
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)figure, memory_order_relaxed);
}

static uint32_t get32(const _Atomic uint32_t *figure)
{
    return atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)figure, memory_order_relaxed);
}

/* a - b of two figures that were read one after the other: never below 0. */
static unsigned left(uint64_t a, uint64_t b)
{
    uint64_t n = a > b ? a - b : 0;
    return n < UINT32_MAX ? (unsigned)n : UINT32_MAX;
}

uint64_t wedge_board_finished(const struct wedge_board *board)
{
    struct wedge_board *b = (struct wedge_board *)(uintptr_t)board;
    uint64_t sum = get64(&b->finished_by_caller);
    for (uint32_t i = 0; i < b->processes; i++)
        for (uint32_t t = 1; t <= b->threads; t++)
            sum += get64(&wedge_board_thread(b, i, t)->finished);
    return sum;
}

/* Tasks in hand, and whether anyone is there: of the seats that are taken. A dead worker's threads are left as they were. */
static void count_seat(struct wedge_board *board, uint32_t index, struct wedge_pool_stats *stats)
{
    if (atomic_load_explicit(&wedge_board_seat(board, index)->pid, memory_order_relaxed) == 0)
        return;
    stats->workers_alive++;
    for (uint32_t t = 1; t <= board->threads; t++)
        stats->running += get32(&wedge_board_thread(board, index, t)->doing) == WEDGE_DOING_TASK;
}

void wedge_board_stats(const struct wedge_board *board, struct wedge_pool_stats *ret)
{
    struct wedge_board *b = (struct wedge_board *)(uintptr_t)board; /* atomic_load wants it so; nothing is written */
    /* What is smaller is read first: what is reported was accepted, what came out of a queue went in. */
    uint64_t reported = get64(&b->reported), late = get64(&b->late);
    uint64_t results_out = get64(&b->results_out), tasks_out = get64(&b->tasks_out);
    struct wedge_pool_stats stats = {
        .reported = reported,
        .late = late,
        .finished = wedge_board_finished(b),
        .dropped = get64(&b->dropped),
        .deaths = get64(&b->deaths),
        .replaced = get64(&b->replaced),
        .workers = b->processes,
        .queue = b->queue,
        .queued = left(get64(&b->tasks_in), tasks_out),
        .queue_high = get32(&b->queue_high),
        .put_waits = get64(&b->put_waits),
        .put_wait_longest_ns = (int64_t)get64(&b->put_wait.longest_ns),
        .collector_alive = b->collects && get32(&b->collector.doing) != WEDGE_DOING_NOTHING,
        .closed = get32(&b->phase) >= WEDGE_POOL_CLOSING,
        .broken = get32(&b->broken) != 0,
    };
    for (int i = WEDGE_POOL_OK; i < WEDGE_POOL_OUTCOMES; i++)
        stats.outcomes[i] = get64(&b->outcomes[i]);
    for (uint32_t i = 0; i < b->processes; i++)
        count_seat(b, i, &stats);
    for (unsigned i = 0; i < WEDGE_ALARMS; i++) {
        stats.alarms |= get32(&b->alarms[i].raised) ? 1u << i : 0;
        stats.alarm_times[i] = get64(&b->alarms[i].times);
    }
    stats.results = b->hardened ? left(stats.finished + get64(&b->settled), reported + late)
                                : left(get64(&b->results_in), results_out);
    stats.accepted = get64(&b->accepted);
    *ret = stats;
}

void wedge_board_figures(const struct wedge_board *board, struct wedge_figures *ret)
{
    struct wedge_board *b = (struct wedge_board *)(uintptr_t)board;
    *ret = (struct wedge_figures){.putters_waiting = get32(&b->putters_waiting),
                                  .events = get64(&b->log_lines),
                                  .events_lost = get64(&b->log_dropped)};
    wedge_board_stats(b, &ret->stats);
    ret->share_finished =
        ret->stats.accepted > ret->stats.finished ? (double)ret->stats.finished / (double)ret->stats.accepted : 1;
    wedge_times_add(&ret->put_wait, &b->put_wait);
    for (uint32_t i = 0; i < b->processes; i++)
        for (uint32_t t = 1; t <= b->threads; t++)
            wedge_times_add(&ret->run, &wedge_board_thread(b, i, t)->run);
}

void wedge_board_activity(const struct wedge_board_thread *thread, struct wedge_board_activity *ret)
{
    struct wedge_board_thread *t = (struct wedge_board_thread *)(uintptr_t)thread;
    /* Acquire: with the release in wedge_board_does, the time and the task are those of this or of a newer one. */
    ret->doing = (enum wedge_doing)atomic_load_explicit(&t->doing, memory_order_acquire);
    ret->since_ns = atomic_load_explicit(&t->since_ns, memory_order_relaxed);
    ret->until_ns = atomic_load_explicit(&t->until_ns, memory_order_relaxed);
    ret->task = get64(&t->task);
    ret->finished = get64(&t->finished);
}

const char *wedge_doing_name(uint32_t doing)
{
    static const char *const names[] = {
        [WEDGE_DOING_NOTHING] = "not there",
        [WEDGE_DOING_INIT] = "initializer",
        [WEDGE_DOING_IDLE] = "idle",
        [WEDGE_DOING_TASK] = "task",
        [WEDGE_DOING_FINAL] = "finalizer",
        [WEDGE_DOING_COLLECT] = "collect",
        [WEDGE_DOING_WAIT_RESULT] = "waits for a result",
        [WEDGE_DOING_WAIT_ROOM] = "waits for room",
    };
    return doing < sizeof(names) / sizeof(names[0]) ? names[doing] : "?";
}

const char *wedge_stage_name(uint32_t stage)
{
    static const char *const names[] = {"starting", "ready", "leaving"};
    return stage < sizeof(names) / sizeof(names[0]) ? names[stage] : "?";
}

const char *wedge_phase_name(uint32_t phase)
{
    static const char *const names[] = {"starting", "running", "closing", "closed", "ended"};
    return phase < sizeof(names) / sizeof(names[0]) ? names[phase] : "?";
}
