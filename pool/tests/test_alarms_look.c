/* The alarms of pools that run: instant comes at a healthy start, held does not; each comes when it should, and goes. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "pool/tests/util.h"

/* What was told: each alarm's text goes into a pipe, with + for raised and - for over. */
struct listener {
    struct tally tally; /* first: it is what square_task and tally_collect expect */
    int said[2], go[2];
    unsigned limit; /* processes that stay */
};

static void init_listener(struct listener *listener)
{
    memset(listener, 0, sizeof(*listener));
    tally_init(&listener->tally);
    make_pipe(listener->said);
    make_pipe(listener->go);
}

static void hear(const struct wedge_pool_event *event, void *context)
{
    const struct listener *listener = context;
    char line[256];
    if (event->kind != WEDGE_POOL_EVENT_ALARM && event->kind != WEDGE_POOL_EVENT_ALARM_OVER)
        return;
    int n = snprintf(line, sizeof(line), "%c%s\n", event->kind == WEDGE_POOL_EVENT_ALARM ? '+' : '-', event->text);
    if (write(listener->said[1], line, (size_t)n) != n)
        abort();
}

/* The next alarm's line; "" when none comes within `ms`. */
static const char *next_alarm(struct listener *listener, int ms)
{
    static char line[256];
    struct pollfd pfd = {.fd = listener->said[0], .events = POLLIN};
    size_t len = 0;
    line[0] = '\0';
    if (poll(&pfd, 1, ms) != 1)
        return line;
    while (len + 1 < sizeof(line) && read(listener->said[0], &line[len], 1) == 1 && line[len] != '\n')
        len++;
    line[len] = '\0';
    return line;
}

/* Waits for an alarm's line that begins so; others may come before it. */
static void expect_alarm(struct listener *listener, const char *begin)
{
    const char *line;
    do {
        line = next_alarm(listener, 15000);
        ck_assert_msg(line[0] != '\0', "'%s' was not told", begin);
    } while (strncmp(line, begin, strlen(begin)) != 0);
}

static int hold_task(struct wedge_pool_task *task, void *context)
{
    const struct listener *listener = context;
    char byte;
    (void)task;
    return read(listener->go[0], &byte, 1) == 1 ? 0 : EIO;
}

static int short_task(struct wedge_pool_task *task, void *context)
{
    (void)task;
    (void)context;
    return usleep(1000); /* what the task is: a millisecond of work */
}

/* Puts `each` tasks whenever those before are finished, for so long. */
static void load(struct wedge_pool *pool, unsigned each, int64_t for_ms)
{
    int64_t until_ns = wedge_pool_after_ms(for_ms);
    struct wedge_pool_stats stats;
    struct wedge_pool_result result;
    while (wedge_clock_ns() < until_ns) {
        for (unsigned i = 0; i < each; i++)
            ck_assert_int_eq(wedge_pool_put(pool, "x", 1, WEDGE_POOL_NEVER, NULL), 0);
        for (unsigned i = 0; i < each; i++)
            ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, wedge_pool_after_ms(10000)), 0);
    }
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_gt(stats.accepted, 300); /* enough for the share to be an alarm's */
}

/* The same start and the same load: 150 tasks in hand at once, of a queue of 200. */
START_TEST(healthy_start_and_load)
{
    static struct listener listener;
    const bool held = _i == 0;
    init_listener(&listener);
    struct wedge_pool *pool =
        held ? MAKE_POOL("hardened", "processes=2", "queue=200", "alarm_hold=1000")
             : MAKE_POOL("reported", "processes=2", "queue=200", "result_bound=none", "check=never");
    struct wedge_pool_callbacks callbacks = {.task = short_task, .event = hear, .context = &listener};
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    load(pool, 150, held ? 4000 : 500);
    if (held)
        ck_assert_str_eq(next_alarm(&listener, 0), "");
    else
        expect_alarm(&listener, "+under 90 % of the tasks are finished");
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

START_TEST(tasks_that_hang)
{
    static struct listener listener;
    char go[128];
    init_listener(&listener);
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "queue=100", "alarm_hold=1000", "alarm_floor=50");
    struct wedge_pool_callbacks callbacks = {
        .task = hold_task, .event = hear, .collect = tally_collect, .context = &listener};
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    int64_t from_ns = wedge_clock_ns();
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(wedge_pool_put(pool, "x", 1, WEDGE_POOL_NEVER, NULL), 0);
    expect_alarm(&listener, "+the task queue is over 80 % full");
    ck_assert_int_ge(wedge_clock_ns() - from_ns, WEDGE_NS_PER_S); /* held: not at once */
    expect_alarm(&listener, "+under 90 % of the tasks are finished: 0 of 100");
    struct wedge_pool_stats stats;
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.alarms, 5);
    memset(go, 'g', sizeof(go));
    ck_assert_int_eq(write(listener.go[1], go, 100), 100);
    expect_alarm(&listener, "-"); /* both, in one look or in two */
    expect_alarm(&listener, "-");
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.alarms, 0);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static int stay_or_stop(const struct wedge_pool_place *place, void *context)
{
    const struct listener *listener = context;
    return place->process <= listener->limit ? 0 : WEDGE_POOL_STOP;
}

START_TEST(workers_that_stop)
{
    static struct listener listener;
    init_listener(&listener);
    listener.limit = 1;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=4", "alarm_hold=1000");
    struct wedge_pool_callbacks callbacks = {
        .task = square_task, .process_init = stay_or_stop, .event = hear, .context = &listener};
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    expect_alarm(&listener, "+fewer than half the workers live");
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, healthy_start_and_load, 0, 2);
    tcase_add_test(tcase, tasks_that_hang);
    tcase_add_test(tcase, workers_that_stop);
}

int main(void)
{
    return wedge_test_main("alarms_look", 60, fill);
}
