/* The alarms' judgement over a table of looks, in virtual time. */
#include "pool/alarms.h"

#include <check.h>
#include <string.h>

#include "base/clock.h"
#include "base/tests/suite.h"

#define HOLD_NS (5 * WEDGE_NS_PER_S)

static const struct wedge_alarms_rules held = {.held = true, .hold_ns = HOLD_NS, .floor = 100};
static const struct wedge_alarms_rules instant = {.hold_ns = HOLD_NS, .floor = 100};

enum { Q = 1 << WEDGE_ALARM_QUEUE, W = 1 << WEDGE_ALARM_WORKERS, F = 1 << WEDGE_ALARM_FINISHED };

/* A healthy idle pool of four workers and a queue of 100; each case changes what it is about. */
static struct wedge_pool_stats healthy(void)
{
    return (struct wedge_pool_stats){.workers = 4, .workers_alive = 4, .queue = 100};
}

static unsigned look(const struct wedge_alarms_rules *rules, const struct wedge_pool_stats *stats, double at_s,
                     struct wedge_alarms_state *state)
{
    unsigned raised = 0;
    wedge_alarms_judge(rules, stats, (int64_t)((1000 + at_s) * (double)WEDGE_NS_PER_S), state);
    for (int i = 0; i < WEDGE_ALARMS; i++)
        raised |= state->alarms[i].raised ? 1u << i : 0;
    return raised;
}

/* Edges of the three conditions, as one look of `instant` sees them. */
static const struct {
    const char *what;
    unsigned queued, alive, workers;
    uint64_t accepted, finished;
    unsigned raised;
} edges[] = {
    {"nothing there", 0, 4, 4, 0, 0, 0},
    {"queue at 80 %", 80, 4, 4, 0, 0, 0},
    {"queue over 80 %", 81, 4, 4, 0, 0, Q},
    {"half the workers", 0, 2, 4, 0, 0, 0},
    {"under half", 0, 1, 4, 0, 0, W},
    {"two of five", 0, 2, 5, 0, 0, W},
    {"none of one", 0, 0, 1, 0, 0, W},
    {"a hundred, none finished", 0, 4, 4, 100, 0, 0},
    {"one more", 0, 4, 4, 101, 0, F},
    {"90 %", 0, 4, 4, 1000, 900, 0},
    {"under 90 %", 0, 4, 4, 1000, 899, F},
    {"more finished than accepted, as the report found it", 0, 4, 4, 106, 157, 0},
    {"all of them", 100, 0, 4, 500, 0, Q | W | F},
};

START_TEST(instant_is_the_condition)
{
    struct wedge_alarms_state state = {0};
    struct wedge_pool_stats stats = healthy();
    stats.queued = edges[_i].queued;
    stats.workers_alive = edges[_i].alive;
    stats.workers = edges[_i].workers;
    stats.accepted = edges[_i].accepted;
    stats.finished = edges[_i].finished;
    ck_assert_msg(look(&instant, &stats, 0, &state) == edges[_i].raised, "%s", edges[_i].what);
    stats = healthy();
    ck_assert_msg(look(&instant, &stats, 0.001, &state) == 0, "%s: not over", edges[_i].what);
}
END_TEST

START_TEST(instant_fires_at_a_healthy_start)
{
    struct wedge_alarms_state state = {0};
    struct wedge_pool_stats stats = healthy();
    stats.accepted = 120; /* what 4 × 2 threads and a full queue hold, a moment after start */
    stats.finished = 12;
    stats.queued = 100;
    ck_assert_uint_eq(look(&instant, &stats, 0.01, &state), Q | F);
}
END_TEST

/* Two minutes of the report's production pool: 32 threads, a queue of 1,000 that the producer keeps as full as it can
 * for the first, then at half; tasks of `task_s`. */
static unsigned healthy_load(const struct wedge_alarms_rules *rules, double task_s, double fill_first)
{
    struct wedge_alarms_state state = {0};
    struct wedge_pool_stats stats = {.workers = 16, .queue = 1000};
    unsigned ever = 0;
    for (int second = 0; second < 120; second++) {
        double at_s = second;
        double fill = at_s < 4 ? fill_first : 0.5;
        stats.workers_alive = at_s < 2 ? (unsigned)(at_s * 8) : 16;
        stats.finished = at_s < 2 ? 0 : (uint64_t)((at_s - 2) / task_s * 32);
        stats.queued = (unsigned)(fill * 1000);
        stats.accepted = stats.finished + 32 + stats.queued;
        ever |= look(rules, &stats, at_s, &state);
    }
    return ever;
}

START_TEST(held_is_silent_on_a_healthy_start_and_load)
{
    ck_assert_uint_eq(healthy_load(&held, 0.001, 1), 0);
    ck_assert_uint_eq(healthy_load(&held, 0.32, 1), 0); /* 100 a second: the share is under 90 % for 45 s */
    ck_assert_uint_eq(healthy_load(&held, 1, 1), 0);
    ck_assert_uint_eq(healthy_load(&instant, 0.32, 1), Q | W | F); /* the same, as it was found */
}
END_TEST

/* A condition that begins at 10 s and ends at `end_s`; when it was raised and when it was over. */
static void span(unsigned bit, double end_s, double *ret_raised, double *ret_over)
{
    struct wedge_alarms_state state = {0};
    *ret_raised = *ret_over = -1;
    for (int half = 0; half < 120; half++) {
        double at_s = half / 2.0;
        struct wedge_pool_stats stats = healthy();
        bool ill = at_s >= 10 && at_s < end_s;
        stats.queued = ill && bit == Q ? 90 : 10;
        stats.workers_alive = ill && bit == W ? 1 : 4;
        stats.accepted = 1000;
        stats.finished = ill && bit == F ? 500 : 1000;
        unsigned raised = look(&held, &stats, at_s, &state);
        ck_assert_uint_eq(raised & ~bit, 0);
        if (raised && *ret_raised < 0)
            *ret_raised = at_s;
        if (!raised && *ret_raised >= 0 && *ret_over < 0)
            *ret_over = at_s;
    }
}

START_TEST(held_waits_and_lets_go_after_a_hold)
{
    const unsigned bits[] = {Q, W};
    double raised, over;
    for (int i = 0; i < 2; i++) {
        span(bits[i], 14.5, &raised, &over);
        ck_assert_double_lt(raised, 0); /* shorter than a hold */
        span(bits[i], 30, &raised, &over);
        ck_assert_double_eq(raised, 15);
        ck_assert_double_eq(over, 35);
    }
}
END_TEST

START_TEST(held_does_not_flap)
{
    struct wedge_alarms_state state = {0};
    unsigned changes = 0, before = 0;
    for (int second = 0; second < 600; second++) {
        double at_s = second;
        struct wedge_pool_stats stats = healthy();
        stats.queued = (int)at_s % 2 || (at_s > 100 && at_s < 200) ? 81 : 80;
        unsigned raised = look(&held, &stats, at_s, &state);
        changes += raised != before;
        before = raised;
    }
    ck_assert_uint_eq(changes, 1); /* in the steady stretch; what hovers after it neither ends nor renews it */
    ck_assert_uint_eq(before, Q);
}
END_TEST

/* Fed until 20 s, then nothing finishes any more; it goes on at 60 s. */
START_TEST(held_finds_a_pool_that_stands_still)
{
    struct wedge_alarms_state state = {0};
    struct wedge_pool_stats stats = healthy();
    double raised_s = -1, over_s = -1;
    for (int second = 0; second < 120; second++) {
        double at_s = second;
        if (at_s <= 20 || at_s > 60)
            stats.finished += 10;
        stats.accepted = at_s <= 60 ? 300 : 300 + (uint64_t)(at_s - 60) * 5;
        unsigned raised = look(&held, &stats, at_s, &state);
        if (raised & F && raised_s < 0)
            raised_s = at_s;
        if (!(raised & F) && raised_s >= 0 && over_s < 0)
            over_s = at_s;
    }
    ck_assert_double_ge(raised_s, 25);
    ck_assert_double_le(raised_s, 20 + 3 * 5); /* up to one hold until it shows in the pace, one to hold */
    ck_assert_double_gt(over_s, 60);
    ck_assert_double_le(over_s, 60 + 3 * 5);
}
END_TEST

/* The queue's end: lost tasks are never finished, and when all else is done that shows. */
START_TEST(held_finds_lost_tasks_once_all_else_is_done)
{
    struct wedge_alarms_state state = {0};
    struct wedge_pool_stats stats = healthy();
    unsigned raised = 0;
    stats.accepted = 1000;
    stats.finished = 850;
    for (int at_s = 0; at_s <= 11; at_s++)
        raised = look(&held, &stats, at_s, &state);
    ck_assert_uint_eq(raised, F);
}
END_TEST

START_TEST(held_lets_workers_leave_a_closed_pool)
{
    struct wedge_alarms_state closed = {0}, busy = {0};
    struct wedge_pool_stats stats = healthy();
    unsigned left = 0, with_work = 0;
    stats.workers_alive = 0;
    stats.closed = true;
    for (int second = 0; second <= 20; second++) {
        double at_s = second;
        stats.queued = 0;
        left |= look(&held, &stats, at_s, &closed);
        stats.queued = 5;
        with_work |= look(&held, &stats, at_s, &busy);
    }
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_eq(with_work, W);
}
END_TEST

START_TEST(judge_says_what_changed)
{
    struct wedge_alarms_state state = {0};
    struct wedge_pool_stats stats = healthy();
    ck_assert_uint_eq(wedge_alarms_judge(&instant, &stats, 1, &state), 0);
    stats.queued = 100;
    ck_assert_uint_eq(wedge_alarms_judge(&instant, &stats, 2, &state), Q);
    ck_assert_int_eq(state.alarms[WEDGE_ALARM_QUEUE].holds_since_ns, 2);
    ck_assert_uint_eq(wedge_alarms_judge(&instant, &stats, 3, &state), 0);
    ck_assert_int_eq(state.alarms[WEDGE_ALARM_QUEUE].holds_since_ns, 2);
    stats.queued = 0;
    stats.workers_alive = 0;
    ck_assert_uint_eq(wedge_alarms_judge(&instant, &stats, 4, &state), Q | W);
    ck_assert_int_eq(state.alarms[WEDGE_ALARM_QUEUE].holds_since_ns, 0);
}
END_TEST

START_TEST(texts_say_the_figures)
{
    struct wedge_pool_stats stats = {
        .queue = 42, .queued = 40, .workers = 4, .workers_alive = 1, .accepted = 200, .finished = 100};
    char buf[128];
    ck_assert_str_eq(wedge_alarm_text(WEDGE_ALARM_QUEUE, &stats, buf, sizeof(buf)),
                     "the task queue is over 80 % full: 40 of 42");
    ck_assert_str_eq(wedge_alarm_text(WEDGE_ALARM_WORKERS, &stats, buf, sizeof(buf)),
                     "fewer than half the workers live: 1 of 4");
    ck_assert_str_eq(wedge_alarm_text(WEDGE_ALARM_FINISHED, &stats, buf, sizeof(buf)),
                     "under 90 % of the tasks are finished: 100 of 200");
    ck_assert_str_eq(wedge_alarm_name(WEDGE_ALARM_FINISHED), "finished");
    ck_assert_str_eq(wedge_alarm_name(WEDGE_ALARMS), "?");
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, instant_is_the_condition, 0, sizeof(edges) / sizeof(edges[0]));
    tcase_add_test(tcase, instant_fires_at_a_healthy_start);
    tcase_add_test(tcase, held_is_silent_on_a_healthy_start_and_load);
    tcase_add_test(tcase, held_waits_and_lets_go_after_a_hold);
    tcase_add_test(tcase, held_does_not_flap);
    tcase_add_test(tcase, held_finds_a_pool_that_stands_still);
    tcase_add_test(tcase, held_finds_lost_tasks_once_all_else_is_done);
    tcase_add_test(tcase, held_lets_workers_leave_a_closed_pool);
    tcase_add_test(tcase, judge_says_what_changed);
    tcase_add_test(tcase, texts_say_the_figures);
}

int main(void)
{
    return wedge_test_main("alarms", 20, fill);
}
