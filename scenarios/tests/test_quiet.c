/* scenarios/quiet: when an examination is due, and what counts as standing still. Time is given, nothing sleeps. */
#include "scenarios/quiet.h"

#include "base/tests/suite.h"

#define MS 1000000ll

START_TEST(test_due_as_soon_as_still)
{
    struct wedge_quiet q;
    wedge_quiet_start(&q, 0);
    ck_assert(!wedge_quiet_sample(&q, 20 * MS, 1));
    ck_assert(!wedge_quiet_sample(&q, 50 * MS, 2));
    ck_assert(wedge_quiet_sample(&q, 70 * MS, 2));
}
END_TEST

START_TEST(test_pauses_double_and_are_bounded)
{
    struct wedge_quiet q;
    wedge_quiet_start(&q, 0);
    int64_t now = 0, last = 0, gap = 0;
    int examined = 0;
    for (; now < 60000 * MS; now += q.tick_ns) {
        if (!wedge_quiet_sample(&q, now, 7))
            continue;
        ck_assert_int_le(now - last, WEDGE_QUIET_PAUSE_MAX_NS + WEDGE_QUIET_TICK_MAX_NS);
        if (examined > 1)
            ck_assert_int_ge(now - last + WEDGE_QUIET_TICK_MAX_NS, gap);
        gap = now - last;
        last = now;
        examined++;
        wedge_quiet_examined(&q, now, now + MS, MS);
    }
    ck_assert_int_ge(examined, 10);
    ck_assert_int_le(examined, 25);
}
END_TEST

START_TEST(test_never_still_is_examined_rarely)
{
    struct wedge_quiet q;
    wedge_quiet_start(&q, 0);
    int examined = 0;
    uint64_t activity = 0;
    for (int64_t now = 0; now < 60000 * MS; now += q.tick_ns)
        if (wedge_quiet_sample(&q, now, ++activity)) {
            examined++;
            wedge_quiet_examined(&q, now, now + MS, MS);
        }
    ck_assert_int_ge(examined, 8);
    ck_assert_int_le(examined, 12);
}
END_TEST

START_TEST(test_a_slow_examination_is_not_repeated_at_once)
{
    struct wedge_quiet q;
    wedge_quiet_start(&q, 0);
    wedge_quiet_sample(&q, 20 * MS, 1);
    ck_assert(wedge_quiet_sample(&q, 40 * MS, 1));
    wedge_quiet_examined(&q, 40 * MS, 140 * MS, 100 * MS);
    ck_assert(!wedge_quiet_sample(&q, 1100 * MS, 1));
    ck_assert(wedge_quiet_sample(&q, 1150 * MS, 1));
}
END_TEST

START_TEST(test_stall_counts_from_the_last_move)
{
    struct wedge_quiet q;
    wedge_quiet_start(&q, 0);
    ck_assert_int_eq(wedge_quiet_stalled_ns(&q, 100 * MS, 5, 0), 0);
    ck_assert_int_eq(wedge_quiet_stalled_ns(&q, 400 * MS, 5, 0), 300 * MS);
    ck_assert_int_eq(wedge_quiet_stalled_ns(&q, 500 * MS, 6, 0), 0);
    /* Where CPU counts: a busy tree moves, housekeeping does not. */
    ck_assert_int_eq(wedge_quiet_stalled_ns(&q, 1000 * MS, 6, 400 * MS), 0);
    ck_assert_int_eq(wedge_quiet_stalled_ns(&q, 3000 * MS, 6, 401 * MS), 2000 * MS);
}
END_TEST

/* A clock that jumps by an hour while a look goes on: neither has anything stood still for an hour, nor is the next look hours
 * away. And one that was noticed already is not put off into the future. */
START_TEST(test_what_nobody_saw_counts_for_nothing)
{
    const int64_t hour = 3600 * 1000 * MS;
    struct wedge_quiet q;
    wedge_quiet_start(&q, 0);
    wedge_quiet_stalled_ns(&q, 100 * MS, 5, 0);
    wedge_quiet_sample(&q, 20 * MS, 1);
    wedge_quiet_sample(&q, 40 * MS, 1);
    wedge_quiet_examined(&q, 400 * MS, 400 * MS + hour, 10 * MS);
    wedge_quiet_absent(&q, hour, 400 * MS + hour);
    ck_assert_int_eq(wedge_quiet_stalled_ns(&q, 600 * MS + hour, 5, 0), 500 * MS);
    ck_assert_int_le(q.examine_at_ns, 400 * MS + hour + 10 * WEDGE_QUIET_PAUSE_MAX_NS);
    ck_assert_int_le(q.longest_still_ns, 400 * MS);
    wedge_quiet_paused(&q, 700 * MS + hour);
    wedge_quiet_absent(&q, hour, 800 * MS + hour);
    ck_assert_int_eq(wedge_quiet_stalled_ns(&q, 900 * MS + hour, 5, 0), 100 * MS);
}
END_TEST

/* A beat ten times a second, and 30 ms for a look. */
START_TEST(test_a_beating_program_costs_little)
{
    struct wedge_quiet q;
    wedge_quiet_start(&q, 0);
    int64_t cost = 0, now = 0;
    for (; now < 600000 * MS; now += q.tick_ns)
        if (wedge_quiet_sample(&q, now, (uint64_t)(now / (100 * MS)))) {
            wedge_quiet_examined(&q, now, now + 30 * MS, 30 * MS);
            cost += 30 * MS;
        }
    ck_assert_int_ge(cost, WEDGE_QUIET_ALLOWED_NS);
    ck_assert_int_le(cost, now / WEDGE_QUIET_SHARE + WEDGE_QUIET_ALLOWED_NS + 30 * MS);
    /* Now it stops: that is found out soon, whatever was spent. */
    q.allowed_ns = -1000 * MS;
    int64_t stopped = now;
    while (!wedge_quiet_sample(&q, now, 1))
        now += q.tick_ns;
    ck_assert_int_le(now - stopped, 500 * MS);
    /* And is not looked at for ever after. */
    int examined = 0;
    for (int64_t end = now + 60000 * MS; now < end; now += q.tick_ns)
        if (wedge_quiet_sample(&q, now, 1)) {
            q.allowed_ns = -1000 * MS;
            wedge_quiet_examined(&q, now, now + 30 * MS, 30 * MS);
            examined++;
        }
    ck_assert_int_ge(examined, 5);
    ck_assert_int_le(examined, 12);
}
END_TEST

/* The same beat; the clocks of a thousand threads take as long to ask as a sample costs here, and once ten times as long. */
static void what_all_costs(int64_t sample_ns, int64_t *ret_looks, int64_t *ret_all, int64_t *ret_took)
{
    struct wedge_quiet q;
    wedge_quiet_start(&q, 0);
    int64_t looks = 0, samples = 0, now = 0;
    for (; now < 1800000 * MS; now += q.tick_ns) {
        bool due = wedge_quiet_sample(&q, now, (uint64_t)(now / (100 * MS)));
        samples += sample_ns;
        wedge_quiet_used(&q, sample_ns);
        if (due) {
            wedge_quiet_examined(&q, now, now + 30 * MS, 30 * MS);
            looks += 30 * MS;
        }
    }
    *ret_looks = looks;
    *ret_all = looks + samples;
    *ret_took = now;
}

START_TEST(test_the_share_is_that_of_all)
{
    int64_t looks, all, took;
    what_all_costs(3 * MS / 20, &looks, &all, &took);
    ck_assert_int_le(all, took / WEDGE_QUIET_SHARE + WEDGE_QUIET_ALLOWED_NS + 30 * MS);
    ck_assert_int_ge(all, took / WEDGE_QUIET_SHARE);
    /* Where sampling alone costs more than the share, looks have most of it none the less. */
    what_all_costs(5 * MS, &looks, &all, &took);
    const int64_t share = took / WEDGE_QUIET_SHARE, left = share - share / WEDGE_QUIET_SAMPLING;
    ck_assert_int_ge(looks, left);
    ck_assert_int_le(looks, left + WEDGE_QUIET_ALLOWED_NS + 30 * MS);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_the_share_is_that_of_all);
    tcase_add_test(tcase, test_what_nobody_saw_counts_for_nothing);
    tcase_add_test(tcase, test_a_beating_program_costs_little);
    tcase_add_test(tcase, test_due_as_soon_as_still);
    tcase_add_test(tcase, test_pauses_double_and_are_bounded);
    tcase_add_test(tcase, test_never_still_is_examined_rarely);
    tcase_add_test(tcase, test_a_slow_examination_is_not_repeated_at_once);
    tcase_add_test(tcase, test_stall_counts_from_the_last_move);
}

int main(void)
{
    return wedge_test_main("quiet", 10, fill);
}
