/* <wedge/pool.h> with user code that ends what is not its own: its thread, its process in the middle of its work. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/tests/util.h"

static char last_death[256]; /* the text; written by the events' thread, read after destroy */

static void note_death(const struct wedge_pool_event *event, void *context)
{
    (void)context;
    if (event->kind == WEDGE_POOL_EVENT_DIED)
        snprintf(last_death, sizeof(last_death), "%s", event->text);
}

enum way { EXIT, UNDERSCORE_EXIT, PTHREAD_EXIT, REAL_TIME_SIGNAL, WAYS };
static const char *const way_texts[] = {"user code ended it", "user code ended it",
                                        "user code ended one of its threads", "(SIGRTMIN+2)"};
static enum way way;

static void end_in_some_way(void)
{
    if (way == EXIT)
        exit(0);
    if (way == UNDERSCORE_EXIT)
        _exit(0);
    if (way == PTHREAD_EXIT)
        pthread_exit(NULL);
    raise(SIGRTMIN + 2);
}

static int initializer_ends(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    end_in_some_way();
    return 0;
}

/* A worker that leaves with status 0 before it was to leave has died like any other: the breaker sees the crash loop. */
START_TEST(an_initializer_that_exits_is_a_crash_loop)
{
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2", "queue=4", "restart_limit=2");
    struct wedge_pool_callbacks callbacks = {.task = square_task, .event = note_death};
    struct wedge_pool_result result;
    struct wedge_pool_stats stats;
    uint64_t number = 1;
    int rc;
    way = (enum way)(_i / 2);
    if (_i % 2)
        callbacks.process_init = initializer_ends;
    else
        callbacks.thread_init = initializer_ends;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, number);
    rc = wedge_pool_take(pool, &result, NULL, 0, wedge_pool_after_ms(20000));
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(result.outcome, WEDGE_POOL_INIT_FAILED);
    ck_assert_int_eq(wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL), -ENOTRECOVERABLE);
    wedge_pool_stats(pool, &stats);
    ck_assert(stats.broken);
    ck_assert_uint_eq(stats.deaths, stats.replaced + 2);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    wedge_pool_destroy(pool);
    /* The main thread of a process that ends is the process's end. */
    bool whole_process = way == PTHREAD_EXIT && callbacks.process_init;
    ck_assert_msg(strstr(last_death, whole_process ? way_texts[EXIT] : way_texts[way]), "%s", last_death);
    check_no_child();
}
END_TEST

static int first_ends(struct wedge_pool_task *task, void *context)
{
    if (task->id == 1)
        end_in_some_way();
    return square_task(task, context);
}

/* Nothing else happens to the pool: it is not closed, and the task has no limit. */
START_TEST(a_task_that_ends_its_thread_is_lost)
{
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=2", "queue=4",
                                        _i < WAYS ? "workers=processes" : "workers=threads");
    struct wedge_pool_callbacks callbacks = {.task = first_ends, .event = note_death};
    struct wedge_pool_result result;
    struct wedge_pool_stats stats;
    uint64_t square = 0;
    way = _i < WAYS ? (enum way)_i : PTHREAD_EXIT;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, 1);
    ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, wedge_pool_after_ms(20000)), 0);
    ck_assert_int_eq(result.outcome, WEDGE_POOL_LOST);
    put_number(pool, 2);
    ck_assert_int_eq(wedge_pool_take(pool, &result, &square, sizeof(square), wedge_pool_after_ms(20000)), 0);
    ck_assert_int_eq(result.outcome, WEDGE_POOL_OK);
    ck_assert_uint_eq(square, 4);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.deaths, 1);
    ck_assert_uint_eq(stats.replaced, 1);
    wedge_pool_destroy(pool);
    ck_assert_msg(strstr(last_death, way_texts[way]), "%s", last_death);
    check_no_child();
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_loop_test(t, an_initializer_that_exits_is_a_crash_loop, 0, 2 * WAYS);
    tcase_add_loop_test(t, a_task_that_ends_its_thread_is_lost, 0, WAYS + 1);
}

int main(void)
{
    return wedge_test_main("user_code", 40, fill);
}
