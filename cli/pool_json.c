/* A pool's figures as JSON, wedge.pool/1 (pool_page.h). Times are nanoseconds, ages are counted back from the reading. */
#include "cli/pool_page.h"
#include "pool/alarms.h"

static json_t *times_json(const struct wedge_times *times)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "count", (json_int_t)times->count, "sum_ns",
                     (json_int_t)times->sum_ns, "p50_ns", (json_int_t)wedge_times_at(times, 500), "p90_ns",
                     (json_int_t)wedge_times_at(times, 900), "p99_ns", (json_int_t)wedge_times_at(times, 990),
                     "longest_ns", (json_int_t)times->longest_ns);
}

/* `limit_ns` is null without one. */
static json_t *activity_json(const struct wedge_pool_page *page, const struct wedge_board_thread *thread)
{
    struct wedge_board_activity does;
    wedge_board_activity(thread, &does);
    bool there = does.doing != WEDGE_DOING_NOTHING, limited = there && does.until_ns != WEDGE_POOL_NEVER;
    return json_pack("{s:s,s:I,s:o,s:I,s:I}", "does", wedge_doing_name(does.doing), "for_ns",
                     (json_int_t)(there ? page->now_ns - does.since_ns : 0), "limit_ns",
                     limited ? json_integer((json_int_t)(does.until_ns - does.since_ns)) : json_null(), "task",
                     (json_int_t)does.task, "finished", (json_int_t)does.finished);
}

static json_t *seat_json(const struct wedge_pool_page *page, struct wedge_board *board, uint32_t index)
{
    struct wedge_board_seat *seat = wedge_board_seat(board, index);
    json_t *threads = json_array();
    for (uint32_t t = 1; t <= board->threads; t++)
        json_array_append_new(threads, activity_json(page, wedge_board_thread(board, index, t)));
    return json_pack("{s:i,s:I,s:s,s:I,s:o,s:o}", "pid", (int)atomic_load(&seat->pid), "generation",
                     (json_int_t)atomic_load(&seat->generation), "stage", wedge_stage_name(atomic_load(&seat->stage)),
                     "age_ns", (json_int_t)(page->now_ns - atomic_load(&seat->started_ns)), "process",
                     activity_json(page, wedge_board_thread(board, index, 0)), "threads", threads);
}

static json_t *alarms_json(const struct wedge_pool_page *page, struct wedge_board *board)
{
    json_t *alarms = json_object();
    for (int i = 0; i < WEDGE_ALARMS; i++)
        json_object_set_new(alarms, wedge_alarm_name((enum wedge_alarm)i),
                            json_pack("{s:b,s:I}", "raised", (int)(page->figures->stats.alarms >> i & 1), "times",
                                      (json_int_t)atomic_load(&board->alarms[i].times)));
    return alarms;
}

json_t *wedge_pool_page_json(const struct wedge_pool_page *page)
{
    struct wedge_board *board = (struct wedge_board *)(uintptr_t)page->board;
    const struct wedge_pool_stats *s = &page->figures->stats;
    char name[160], preset[80];
    json_t *outcomes = json_object(), *seats = json_array();
    for (int o = WEDGE_POOL_OK; o < WEDGE_POOL_OUTCOMES; o++)
        json_object_set_new(outcomes, wedge_pool_outcome_name((enum wedge_pool_outcome)o),
                            json_integer((json_int_t)s->outcomes[o]));
    for (uint32_t i = 0; i < board->processes; i++)
        json_array_append_new(seats, seat_json(page, board, i));
    json_t *tasks =
        json_pack("{s:I,s:I,s:I,s:I,s:I,s:f,s:o}", "accepted", (json_int_t)s->accepted, "finished",
                  (json_int_t)s->finished, "reported", (json_int_t)s->reported, "late", (json_int_t)s->late, "dropped",
                  (json_int_t)s->dropped, "share_finished", page->figures->share_finished, "outcomes", outcomes);
    json_t *queue =
        json_pack("{s:I,s:I,s:I,s:I,s:I,s:o}", "tasks", (json_int_t)s->queued, "size", (json_int_t)s->queue, "highest",
                  (json_int_t)s->queue_high, "puts_waiting", (json_int_t)page->figures->putters_waiting,
                  "puts_that_waited", (json_int_t)s->put_waits, "put_wait", times_json(&page->figures->put_wait));
    json_t *workers =
        json_pack("{s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "wanted", (json_int_t)s->workers, "alive",
                  (json_int_t)s->workers_alive, "running", (json_int_t)s->running, "deaths", (json_int_t)s->deaths,
                  "replaced", (json_int_t)s->replaced, "task_run", times_json(&page->figures->run), "seats", seats);
    return json_pack("{s:s,s:s,s:i,s:b,s:s,s:b,s:I,s:I,s:o,s:o,s:o,s:{s:b,s:b,s:o},s:o,s:{s:I,s:I}}", "name",
                     wedge_text_plain(board->name, name, sizeof(name)), "preset",
                     wedge_text_plain(board->preset, preset, sizeof(preset)), "pid", (int)board->parent_pid,
                     "parent_lives", page->parent != 0, "phase", wedge_phase_name(atomic_load(&board->phase)), "broken",
                     (int)s->broken, "age_ns", (json_int_t)(page->now_ns - board->created_ns), "results_waiting",
                     (json_int_t)s->results, "tasks", tasks, "queue", queue, "workers", workers, "collector", "wanted",
                     (int)(board->collects != 0), "alive", (int)s->collector_alive, "activity",
                     activity_json(page, &board->collector), "alarms", alarms_json(page, board), "events", "told",
                     (json_int_t)page->figures->events, "lost", (json_int_t)page->figures->events_lost);
}
