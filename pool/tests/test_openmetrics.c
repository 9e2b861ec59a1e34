/* The OpenMetrics text: its grammar, that counts agree, and what a hostile name does to it. */
#include "pool/openmetrics.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"

static struct wedge_board *make_board(const char *name)
{
    size_t threads_at = sizeof(struct wedge_board) + sizeof(struct wedge_board_seat);
    size_t bytes = threads_at + 2 * sizeof(struct wedge_board_thread);
    struct wedge_board *board = aligned_alloc(64, bytes);
    ck_assert_ptr_nonnull(board);
    memset(board, 0, bytes);
    board->processes = board->threads = 1;
    board->queue = 10;
    board->seats_at = sizeof(*board);
    board->threads_at = threads_at;
    board->bytes = bytes;
    board->parent_pid = 4711;
    snprintf(board->name, sizeof(board->name), "%s", name);
    atomic_store(&board->accepted, 12);
    atomic_store(&board->outcomes[WEDGE_POOL_LOST], 2);
    for (uint64_t ns = 1; ns < 1ull << 50; ns *= 3)
        wedge_histogram_add(&wedge_board_thread(board, 0, 1)->run, ns);
    return board;
}

static char *write_pools(const char *const *names, size_t n)
{
    struct wedge_openmetrics_pool pools[4] = {0};
    struct wedge_text text = WEDGE_TEXT_INIT(1 << 20);
    for (size_t i = 0; i < n; i++) {
        pools[i].board = make_board(names[i]);
        wedge_board_figures(pools[i].board, &pools[i].figures);
    }
    wedge_openmetrics_write(pools, n, &text);
    ck_assert(!text.cut);
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)pools[i].board);
    return text.data;
}

START_TEST(figures_stand_there)
{
    char *text = write_pools((const char *const[]){"a"}, 1);
    ck_assert_ptr_nonnull(strstr(text, "# TYPE wedge_pool_tasks_accepted counter\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nwedge_pool_tasks_accepted_total{pool=\"a\",pid=\"4711\"} 12\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "\nwedge_pool_tasks_reported_total{pool=\"a\",pid=\"4711\",outcome=\"lost\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nwedge_pool_queue_limit_tasks{pool=\"a\",pid=\"4711\"} 10\n"));
    ck_assert_ptr_nonnull(strstr(text, "# UNIT wedge_pool_task_run_seconds seconds\n"));
    ck_assert_str_eq(text + strlen(text) - strlen("\n# EOF\n"), "\n# EOF\n");
    free(text);
}
END_TEST

START_TEST(buckets_rise_to_the_count)
{
    char *text = write_pools((const char *const[]){"a"}, 1);
    unsigned long long last = 0, count = 0, n;
    int buckets = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (sscanf(line, "wedge_pool_task_run_seconds_bucket{pool=\"a\",pid=\"4711\",le=\"%*[^\"]\"} %llu", &n) == 1) {
            ck_assert_uint_ge(n, last);
            last = n;
            buckets++;
        }
        sscanf(line, "wedge_pool_task_run_seconds_count{pool=\"a\",pid=\"4711\"} %llu", &count);
    }
    ck_assert_int_eq(buckets, 32);
    ck_assert_uint_eq(count, 32); /* the powers of 3 below 2^50 */
    ck_assert_uint_eq(last, count);
    free(text);
}
END_TEST

START_TEST(families_stand_together)
{
    char *text = write_pools((const char *const[]){"a", "b"}, 2);
    char *a = strstr(text, "wedge_pool_queue_tasks{pool=\"a\""), *b = strstr(text, "wedge_pool_queue_tasks{pool=\"b\"");
    ck_assert(a && b);
    ck_assert_ptr_eq(strchr(a, '\n') + 1, b);
    ck_assert_ptr_null(strstr(strstr(text, "# TYPE wedge_pool_workers gauge") + 1, "# TYPE wedge_pool_workers gauge"));
    free(text);
}
END_TEST

START_TEST(no_pool_is_an_exposition_too)
{
    char *text = write_pools(NULL, 0);
    ck_assert_ptr_nonnull(strstr(text, "# EOF\n"));
    free(text);
}
END_TEST

START_TEST(hostile_name_stays_inside_its_quotes)
{
    char *text = write_pools((const char *const[]){"x\"} 1\nevil{a=\"\\\033[2J"}, 1);
    ck_assert_ptr_null(strstr(text, "\nevil"));
    ck_assert_ptr_null(strchr(text, '\033'));
    ck_assert_ptr_nonnull(strstr(text, "{pool=\"x\\\"} 1\\\\x0aevil{a=\\\"\\\\\\\\x1b[2J\",pid=\"4711\"}"));
    free(text);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, figures_stand_there);
    tcase_add_test(tcase, buckets_rise_to_the_count);
    tcase_add_test(tcase, families_stand_together);
    tcase_add_test(tcase, no_pool_is_an_exposition_too);
    tcase_add_test(tcase, hostile_name_stays_inside_its_quotes);
}

int main(void)
{
    return wedge_test_main("openmetrics", 20, fill);
}
