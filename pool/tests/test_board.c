/* Histograms and what a board's figures add up to, against answers computed another way. */
#include "pool/figures.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"

START_TEST(steps_cover_every_time_once)
{
    for (uint32_t s = 0; s + 1 < WEDGE_HISTOGRAM_STEPS; s++) {
        uint64_t from = wedge_histogram_from(s), next = wedge_histogram_from(s + 1);
        ck_assert_uint_lt(from, next);
        ck_assert_uint_eq(wedge_histogram_step(from), s);
        ck_assert_uint_eq(wedge_histogram_step(next - 1), s);
        if (from >= 8)
            ck_assert_uint_le((next - from) * 8, from); /* an eighth */
    }
    ck_assert_uint_eq(wedge_histogram_step(UINT64_MAX), WEDGE_HISTOGRAM_STEPS - 1);
    ck_assert_uint_gt(wedge_histogram_from(WEDGE_HISTOGRAM_STEPS - 1), 30ull * 60 * 1000000000);
}
END_TEST

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

START_TEST(percentiles_are_right_to_an_eighth)
{
    enum { N = 5000 };
    static uint64_t values[N];
    static struct wedge_histogram halves[2];
    struct wedge_times times = {0};
    const uint32_t ranks[] = {1, 10, 500, 900, 990, 999, 1000};
    srand48(4711);
    for (int i = 0; i < N; i++) {
        values[i] = (uint64_t)(8 * exp2(drand48() * 30));
        wedge_histogram_add(&halves[i % 2], values[i]);
    }
    qsort(values, N, sizeof(values[0]), by_value);
    wedge_times_add(&times, &halves[0]);
    wedge_times_add(&times, &halves[1]);
    ck_assert_uint_eq(times.count, N);
    ck_assert_uint_eq(times.longest_ns, values[N - 1]);
    for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++) {
        uint64_t right = values[(N * ranks[i] + 999) / 1000 - 1], said = wedge_times_at(&times, ranks[i]);
        ck_assert_uint_ge(said, right);
        ck_assert_uint_le(said, right + right / 8);
    }
}
END_TEST

START_TEST(percentiles_of_few)
{
    static struct wedge_histogram h;
    struct wedge_times times = {0};
    ck_assert_uint_eq(wedge_times_at(&times, 500), 0);
    wedge_histogram_add_shared(&h, 1000);
    wedge_times_add(&times, &h);
    ck_assert_uint_eq(wedge_times_at(&times, 0), 1000); /* never more than the longest */
    ck_assert_uint_eq(wedge_times_at(&times, 500), 1000);
    ck_assert_uint_eq(times.sum_ns, 1000);
    wedge_histogram_add_shared(&h, UINT64_MAX / 2); /* beyond the last step */
    times = (struct wedge_times){0};
    wedge_times_add(&times, &h);
    ck_assert_uint_eq(wedge_times_at(&times, 1000), UINT64_MAX / 2);
}
END_TEST

/* A board of two processes with two threads each, in this process's memory. */
static struct wedge_board *make_board(void)
{
    size_t threads_at = sizeof(struct wedge_board) + 2 * sizeof(struct wedge_board_seat);
    size_t bytes = threads_at + 2 * 3 * sizeof(struct wedge_board_thread);
    struct wedge_board *board = aligned_alloc(64, bytes);
    ck_assert_ptr_nonnull(board);
    memset(board, 0, bytes);
    board->processes = 2;
    board->threads = 2;
    board->queue = 10;
    board->hardened = 1;
    board->collects = 1;
    board->seats_at = sizeof(*board);
    board->threads_at = threads_at;
    board->bytes = bytes;
    return board;
}

START_TEST(figures_are_those_of_the_parts)
{
    struct wedge_board *board = make_board();
    struct wedge_figures figures;
    atomic_store(&board->accepted, 200);
    atomic_store(&board->tasks_in, 200);
    atomic_store(&board->tasks_out, 193);
    atomic_store(&board->reported, 180);
    atomic_store(&board->outcomes[WEDGE_POOL_OK], 178);
    atomic_store(&board->outcomes[WEDGE_POOL_LOST], 2);
    atomic_store(&board->settled, 3);
    atomic_store(&board->late, 1);
    atomic_store(&board->finished_by_caller, 4);
    atomic_store(&board->alarms[WEDGE_ALARM_WORKERS].raised, 1);
    atomic_store(&board->phase, WEDGE_POOL_CLOSING);
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t t = 1; t <= 2; t++) {
            wedge_board_does(wedge_board_thread(board, i, t), WEDGE_DOING_TASK, 5, 9, 77);
            atomic_store(&wedge_board_thread(board, i, t)->finished, 46);
            wedge_histogram_add(&wedge_board_thread(board, i, t)->run, 100);
        }
    atomic_store(&wedge_board_seat(board, 0)->pid,
                 4711); /* the other seat is empty: what its threads had is not running */
    wedge_board_does(&board->collector, WEDGE_DOING_WAIT_RESULT, 1, 2, 0);
    wedge_board_figures(board, &figures);
    ck_assert_uint_eq(figures.stats.queued, 7);
    ck_assert_uint_eq(figures.stats.queue, 10);
    ck_assert_uint_eq(figures.stats.finished, 4 * 46 + 4);
    ck_assert_uint_eq(figures.stats.running, 2);
    ck_assert_uint_eq(figures.stats.workers, 2);
    ck_assert_uint_eq(figures.stats.workers_alive, 1);
    ck_assert_uint_eq(figures.stats.results, 188 + 3 - 180 - 1);
    ck_assert_uint_eq(figures.stats.outcomes[WEDGE_POOL_LOST], 2);
    ck_assert_uint_eq(figures.stats.alarms, 1 << WEDGE_ALARM_WORKERS);
    ck_assert(figures.stats.collector_alive && figures.stats.closed && !figures.stats.broken);
    ck_assert_double_eq(figures.share_finished, 188.0 / 200);
    ck_assert_uint_eq(figures.run.count, 4);
    ck_assert_uint_eq(wedge_times_at(&figures.run, 990), 100);
    struct wedge_board_activity activity;
    wedge_board_activity(wedge_board_thread(board, 1, 2), &activity);
    ck_assert(activity.doing == WEDGE_DOING_TASK && activity.since_ns == 5 && activity.until_ns == 9);
    ck_assert(activity.task == 77 && activity.finished == 46);
    free(board);
}
END_TEST

/* Counts that were read at different moments never give a negative size. */
START_TEST(figures_that_do_not_fit_are_zero)
{
    struct wedge_board *board = make_board();
    struct wedge_pool_stats stats;
    atomic_store(&board->tasks_out, 5);
    atomic_store(&board->reported, 9);
    wedge_board_stats(board, &stats);
    ck_assert_uint_eq(stats.queued, 0);
    ck_assert_uint_eq(stats.results, 0);
    atomic_store(&board->tasks_in, UINT64_MAX);
    wedge_board_stats(board, &stats);
    ck_assert_uint_eq(stats.queued, UINT32_MAX);
    free(board);
}
END_TEST

START_TEST(names_of_what_is_not_known)
{
    ck_assert_str_eq(wedge_doing_name(WEDGE_DOING_TASK), "task");
    ck_assert_str_eq(wedge_doing_name(4000000000u), "?");
    ck_assert_str_eq(wedge_stage_name(WEDGE_POOL_LEAVING), "leaving");
    ck_assert_str_eq(wedge_stage_name(77), "?");
    ck_assert_str_eq(wedge_phase_name(WEDGE_POOL_ENDED), "ended");
    ck_assert_str_eq(wedge_phase_name(77), "?");
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, steps_cover_every_time_once);
    tcase_add_test(tcase, percentiles_are_right_to_an_eighth);
    tcase_add_test(tcase, percentiles_of_few);
    tcase_add_test(tcase, figures_are_those_of_the_parts);
    tcase_add_test(tcase, figures_that_do_not_fit_are_zero);
    tcase_add_test(tcase, names_of_what_is_not_known);
}

int main(void)
{
    return wedge_test_main("board", 20, fill);
}
