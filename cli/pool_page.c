/* The page of `wedge pool` (pool_page.h). What a board says is another process's: names pass through wedge_text_plain. */
#include "cli/pool_page.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pool/alarms.h"

enum style { PLAIN, BOLD, ALARM, GOOD, DIM };
enum { BAR = 20 };

static void add(const struct wedge_pool_page *page, struct wedge_text *out, enum style style, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void add(const struct wedge_pool_page *page, struct wedge_text *out, enum style style, const char *fmt, ...)
{
    static const char *const codes[] = {"", "\033[1m", "\033[1;31m", "\033[32m", "\033[2m"};
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    bool styled = page->color && style != PLAIN;
    wedge_text_addf(out, "%s%s%s", styled ? codes[style] : "", text, styled ? "\033[0m" : "");
}

/* 12345678 as "12,345,678". Returns buf. */
static char *number(uint64_t n, char buf[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = '\0';
    return buf;
}

/* "870 ns", "3.1 min": in the largest unit of which there is one whole. Returns buf. */
static char *time_text(int64_t ns, char buf[32])
{
    static const struct {
        int64_t ns;
        const char *name;
    } units[] = {{86400000000000, "days"},
                 {3600000000000, "h"},
                 {60000000000, "min"},
                 {1000000000, "s"},
                 {1000000, "ms"},
                 {1000, "us"},
                 {1, "ns"}};
    size_t unit = 0;
    ns = ns < 0 ? 0 : ns;
    while (units[unit].ns > 1 && ns < units[unit].ns)
        unit++;
    double value = (double)ns / (double)units[unit].ns;
    snprintf(buf, 32, units[unit].ns > 1 && value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit].name);
    return buf;
}

bool wedge_pool_page_is_last(const struct wedge_pool_page *page)
{
    return !page->parent || atomic_load(&((struct wedge_board *)(uintptr_t)page->board)->phase) == WEDGE_POOL_ENDED;
}

static uint32_t phase_of(const struct wedge_pool_page *page)
{
    return atomic_load(&((struct wedge_board *)(uintptr_t)page->board)->phase);
}

static const char *state_of(const struct wedge_pool_page *page)
{
    if (phase_of(page) == WEDGE_POOL_ENDED)
        return "ended";
    if (!page->parent)
        return "its process is gone; last figures";
    if (page->figures->stats.broken)
        return "broken: nobody is left, and nobody is started";
    return wedge_phase_name(phase_of(page));
}

static const char *name_of(const struct wedge_pool_page *page, char *buf, size_t size)
{
    return wedge_text_plain(page->board->name, buf, size);
}

static void write_title(const struct wedge_pool_page *page, struct wedge_text *out)
{
    char name[160], preset[80], age[32];
    bool ill = wedge_pool_page_is_last(page) || page->figures->stats.broken;
    add(page, out, BOLD, "Pool %s", name_of(page, name, sizeof(name)));
    add(page, out, PLAIN,
        " (%s) of process %d, %s old: ", wedge_text_plain(page->board->preset, preset, sizeof(preset)),
        (int)page->board->parent_pid, time_text(page->now_ns - page->board->created_ns, age));
    add(page, out, ill ? ALARM : GOOD, "%s\n", state_of(page));
}

static void write_alarms(const struct wedge_pool_page *page, struct wedge_text *out)
{
    struct wedge_board *board = (struct wedge_board *)(uintptr_t)page->board;
    char text[128], since[32];
    for (int i = 0; i < WEDGE_ALARMS; i++) {
        int64_t since_ns = atomic_load(&board->alarms[i].since_ns);
        if (!(page->figures->stats.alarms & 1u << i))
            continue;
        add(page, out, ALARM, "ALARM  %s",
            wedge_alarm_text((enum wedge_alarm)i, &page->figures->stats, text, sizeof(text)));
        add(page, out, PLAIN, since_ns ? ", for %s\n" : "\n", time_text(page->now_ns - since_ns, since));
    }
}

static void write_tasks(const struct wedge_pool_page *page, struct wedge_text *out)
{
    const struct wedge_pool_stats *stats = &page->figures->stats;
    char a[32], b[32], c[32];
    add(page, out, PLAIN, "\n  Tasks      %s accepted, %s finished (%.1f %%), %s reported\n",
        number(stats->accepted, a), number(stats->finished, b), page->figures->share_finished * 100,
        number(stats->reported, c));
    add(page, out, PLAIN, "  Outcomes  ");
    for (int o = WEDGE_POOL_OK; o < WEDGE_POOL_OUTCOMES; o++)
        add(page, out, o > WEDGE_POOL_ERROR && stats->outcomes[o] ? ALARM : PLAIN, "%s %s %s",
            o > WEDGE_POOL_OK ? "," : "", wedge_pool_outcome_name((enum wedge_pool_outcome)o),
            number(stats->outcomes[o], a));
    unsigned filled = stats->queued < stats->queue ? stats->queued * BAR / stats->queue : BAR;
    add(page, out, PLAIN, "\n  Queue      [%.*s%.*s] %s of %s, at most %s so far\n", (int)filled,
        "####################", (int)(BAR - filled), "....................", number(stats->queued, a),
        number(stats->queue, b), number(stats->queue_high, c));
    add(page, out, PLAIN, "  Running    %u of %u threads\n", stats->running,
        page->board->processes * page->board->threads);
    add(page, out, PLAIN, "  Results    %s not taken", number(stats->results, a));
    if (stats->late)
        add(page, out, PLAIN, ", %s came late", number(stats->late, a));
    if (stats->dropped)
        add(page, out, ALARM, ", %s lost for want of room", number(stats->dropped, a));
    wedge_text_add(out, "\n");
}

/* "task 17 for 12 ms of 3.0 s", "idle for 3 ms", "not there". */
static char *does_text(const struct wedge_pool_page *page, const struct wedge_board_thread *thread, char *buf,
                       size_t size)
{
    struct wedge_board_activity does;
    char task[32] = "", since[32], limit[64] = "", of[32];
    wedge_board_activity(thread, &does);
    if (does.doing == WEDGE_DOING_NOTHING) {
        snprintf(buf, size, "%s", wedge_doing_name(WEDGE_DOING_NOTHING));
        return buf;
    }
    if (does.task)
        snprintf(task, sizeof(task), " %" PRIu64, does.task);
    if (does.until_ns != WEDGE_POOL_NEVER && does.until_ns > does.since_ns)
        snprintf(limit, sizeof(limit), " of %s", time_text(does.until_ns - does.since_ns, of));
    snprintf(buf, size, "%s%s for %s%s", wedge_doing_name(does.doing), task,
             time_text(page->now_ns - does.since_ns, since), limit);
    return buf;
}

/* "half in 3 ms, 90 % in 8 ms, 99 % in 20 ms, longest 31 ms". */
static void write_times(const struct wedge_pool_page *page, struct wedge_text *out, const char *what,
                        const struct wedge_times *times)
{
    char a[32], b[32], c[32], d[32];
    if (times->count == 0)
        return;
    add(page, out, PLAIN, "  %-10s half %s, 90 %% %s, 99 %% %s, longest %s\n", what,
        time_text((int64_t)wedge_times_at(times, 500), a), time_text((int64_t)wedge_times_at(times, 900), b),
        time_text((int64_t)wedge_times_at(times, 990), c), time_text((int64_t)times->longest_ns, d));
}

static void write_life(const struct wedge_pool_page *page, struct wedge_text *out)
{
    const struct wedge_pool_stats *stats = &page->figures->stats;
    char a[32], b[32], text[160];
    add(page, out, PLAIN, "  Workers    %u of %u alive; %s died, %s replaced\n", stats->workers_alive, stats->workers,
        number(stats->deaths, a), number(stats->replaced, b));
    if (!page->board->collects)
        add(page, out, PLAIN, "  Collector  none, the program takes the results\n");
    else if (stats->collector_alive)
        add(page, out, PLAIN, "  Collector  alive: %s\n", does_text(page, &page->board->collector, text, sizeof(text)));
    else
        add(page, out, phase_of(page) < WEDGE_POOL_CLOSING ? ALARM : PLAIN, "  Collector  not there\n");
    add(page, out, PLAIN, "  Puts       %u wait for room now, %s have waited\n", page->figures->putters_waiting,
        number(stats->put_waits, a));
    write_times(page, out, "  waited", &page->figures->put_wait);
    write_times(page, out, "Task time", &page->figures->run);
    if (page->figures->events || page->figures->events_lost) {
        add(page, out, PLAIN, "  Events     %s told", number(page->figures->events, a));
        add(page, out, page->figures->events_lost ? ALARM : PLAIN, ", %s lost\n",
            number(page->figures->events_lost, a));
    }
}

/* A line of the list of threads. */
struct row {
    uint32_t worker, thread;
    int weight; /* those that say most come first when not all are shown */
    int64_t since_ns;
};
enum { WEIGHT_RESTS, WEIGHT_TASK, WEIGHT_ELSE, WEIGHT_NOBODY };

static int weight_of(const struct wedge_board_thread *thread)
{
    uint32_t doing = atomic_load(&((struct wedge_board_thread *)(uintptr_t)thread)->doing);
    if (doing == WEDGE_DOING_NOTHING || doing == WEDGE_DOING_IDLE)
        return WEIGHT_RESTS;
    return doing == WEDGE_DOING_TASK ? WEIGHT_TASK : WEIGHT_ELSE;
}

/* The rows of one worker, in order; returns how many, at most 1 + threads. */
static uint32_t rows_of_seat(struct wedge_board *board, uint32_t index, struct row *rows)
{
    uint32_t n = 0;
    if (atomic_load(&wedge_board_seat(board, index)->pid) == 0) {
        rows[0] = (struct row){.worker = index, .weight = WEIGHT_NOBODY};
        return 1;
    }
    for (uint32_t t = 0; t <= board->threads; t++) {
        struct wedge_board_thread *thread = wedge_board_thread(board, index, t);
        if (t == 0 && atomic_load(&thread->doing) == WEDGE_DOING_NOTHING)
            continue; /* the process's own record: its initializer and finalizer */
        rows[n++] = (struct row){
            .worker = index, .thread = t, .weight = weight_of(thread), .since_ns = atomic_load(&thread->since_ns)};
    }
    return n;
}

static int by_place(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->worker != y->worker)
        return x->worker < y->worker ? -1 : 1;
    return (x->thread > y->thread) - (x->thread < y->thread);
}

/* The heaviest first, of these the longest at it. */
static int by_weight(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    if (x->since_ns != y->since_ns && x->weight != WEIGHT_RESTS)
        return x->since_ns < y->since_ns ? -1 : 1;
    return by_place(a, b);
}

static void write_row(const struct wedge_pool_page *page, struct wedge_board *board, const struct row *row,
                      struct wedge_text *out)
{
    struct wedge_board_seat *s = wedge_board_seat(board, row->worker);
    struct wedge_board_thread *thread = wedge_board_thread(board, row->worker, row->thread);
    char place[24], finished[32], age[32], does[160];
    if (row->weight == WEIGHT_NOBODY) {
        add(page, out, ALARM, "  w%-7u %7s %7s %3u %s\n", row->worker + 1, "-", "-", atomic_load(&s->generation),
            "nobody is there");
        return;
    }
    snprintf(place, sizeof(place), row->thread ? "w%u.t%u" : "w%u", row->worker + 1, row->thread);
    add(page, out, PLAIN, "  %-8s %7d %7s %3u %-8s %9s ", place, (int)atomic_load(&s->pid),
        time_text(page->now_ns - atomic_load(&s->started_ns), age), atomic_load(&s->generation),
        wedge_stage_name(atomic_load(&s->stage)), row->thread ? number(atomic_load(&thread->finished), finished) : "");
    add(page, out, row->weight == WEIGHT_RESTS ? DIM : PLAIN, "%s\n", does_text(page, thread, does, sizeof(does)));
}

/* What the rows that are not shown do: "… 492 more: 12 busy, 480 idle (--all)". */
static void write_rest(const struct wedge_pool_page *page, struct wedge_board *board, const struct row *rows, size_t n,
                       struct wedge_text *out)
{
    static const struct {
        enum wedge_doing doing;
        const char *text;
    } kinds[] = {{WEDGE_DOING_TASK, "busy"},
                 {WEDGE_DOING_IDLE, "idle"},
                 {WEDGE_DOING_INIT, "starting"},
                 {WEDGE_DOING_FINAL, "leaving"},
                 {WEDGE_DOING_WAIT_ROOM, "without room"},
                 {WEDGE_DOING_NOTHING, "absent"}};
    size_t counts[sizeof(kinds) / sizeof(kinds[0])] = {0};
    const char *before = ": ";
    char text[32];
    for (size_t i = 0; i < n; i++) {
        uint32_t doing = atomic_load(&wedge_board_thread(board, rows[i].worker, rows[i].thread)->doing);
        for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
            counts[k] += doing == kinds[k].doing;
    }
    add(page, out, PLAIN, "  … %s more", number(n, text));
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        if (counts[k]) {
            add(page, out, PLAIN, "%s%s %s", before, number(counts[k], text), kinds[k].text);
            before = ", ";
        }
    add(page, out, PLAIN, " (--all)\n");
}

static void write_threads(const struct wedge_pool_page *page, struct wedge_board *board, struct wedge_text *out)
{
    struct row *rows = calloc((size_t)board->processes * (board->threads + 1), sizeof(*rows));
    size_t n = 0, shown;
    if (!rows) {
        out->cut = true;
        return;
    }
    for (uint32_t i = 0; i < board->processes; i++)
        n += rows_of_seat(board, i, rows + n);
    shown = page->all || n <= WEDGE_POOL_PAGE_ROWS ? n : WEDGE_POOL_PAGE_ROWS - 1;
    if (shown < n)
        qsort(rows, n, sizeof(*rows), by_weight);
    for (size_t i = 0; i < shown; i++)
        write_row(page, board, &rows[i], out);
    if (shown < n)
        write_rest(page, board, rows + shown, n - shown, out);
    free(rows);
}

void wedge_pool_page_write(const struct wedge_pool_page *page, struct wedge_text *out)
{
    struct wedge_board *board = (struct wedge_board *)(uintptr_t)page->board;
    write_title(page, out);
    write_alarms(page, out);
    write_tasks(page, out);
    write_life(page, out);
    add(page, out, BOLD, "\n  %-8s %7s %7s %3s %-8s %9s %s\n", "Thread", "PID", "Age", "Gen", "State", "Finished",
        "Does");
    write_threads(page, board, out);
}

void wedge_pool_page_line(const struct wedge_pool_page *page, struct wedge_text *out)
{
    const struct wedge_pool_stats *stats = &page->figures->stats;
    char name[160], queue[48], workers[48];
    snprintf(queue, sizeof(queue), "%u/%u", stats->queued, stats->queue);
    snprintf(workers, sizeof(workers), "%u/%u", stats->workers_alive, stats->workers);
    add(page, out, PLAIN, "%7d %-12.12s %-8s %9s %7s %6.1f %% ", (int)(page->parent ? page->parent : page->found_in),
        name_of(page, name, sizeof(name)), page->parent ? wedge_phase_name(phase_of(page)) : "orphaned", queue, workers,
        page->figures->share_finished * 100);
    for (int i = 0; i < WEDGE_ALARMS; i++)
        if (stats->alarms & 1u << i)
            add(page, out, ALARM, "%s%s", stats->alarms & ((1u << i) - 1) ? " " : "",
                wedge_alarm_name((enum wedge_alarm)i));
    add(page, out, PLAIN, "%s\n", stats->alarms ? "" : "-");
}
