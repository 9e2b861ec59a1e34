/*
 * detector/graph on graphs made by hand: what is live, what is stuck with and without POSIX, which sets there are.
 *
 * Threads are numbered from 0 and belong to one process; an edge says that `from` waits for `to` in OR-set `set`.
 */
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"
#include "detector/verdict/graph.h"

#define MOST 8

static struct wedge_look look;
static struct wedge_snapshot snapshot;
static struct wedge_thread threads[MOST];
static struct wedge_look_thread own[MOST];
static struct wedge_proc procs[MOST];
static struct wedge_look_proc own_procs[MOST];
static struct wedge_waker wakers[64];
static struct wedge_graph graph;
static const struct wedge_examine options;

/* n threads, all of one process, all blocked without wakers. */
static void blocked(int n)
{
    memset(&look, 0, sizeof(look));
    memset(&snapshot, 0, sizeof(snapshot));
    memset(threads, 0, sizeof(threads));
    memset(own, 0, sizeof(own));
    memset(procs, 0, sizeof(procs));
    snapshot.threads = threads;
    snapshot.n_threads = (size_t)n;
    snapshot.procs = procs;
    snapshot.n_procs = 1;
    procs[0] = (struct wedge_proc){.n_threads = n, .in_tree = true};
    look = (struct wedge_look){
        .options = &options, .snapshot = &snapshot, .threads = own, .procs = own_procs, .wakers = wakers};
    for (int i = 0; i < n; i++) {
        threads[i].state = 'S';
        threads[i].wait.class = WEDGE_WAIT_FUTEX;
        threads[i].wait.earliest_ns = INT64_MAX;
        own[i].owner = -1;
        own[i].n_sets = 1;
    }
}

/* Edges are to be added in the order of their threads. */
static void edge(int from, int set, enum wedge_target target, int to, unsigned flags)
{
    struct wedge_look_thread *t = &own[from];
    if (!t->n_wakers)
        t->first_waker = look.n_wakers;
    wakers[look.n_wakers++] =
        (struct wedge_waker){.target = target, .to = to, .flags = flags, .set = (uint16_t)set, .why = "test"};
    t->n_wakers++;
    if (set >= t->n_sets)
        t->n_sets = (uint16_t)(set + 1);
}

static void running(int thread)
{
    threads[thread].state = 'R';
    threads[thread].wait.class = WEDGE_WAIT_NONE;
}

static void build(void)
{
    ck_assert_int_eq(wedge_graph_build(&look, &graph), 0);
}

static void teardown(void)
{
    wedge_graph_free(&graph);
}

START_TEST(test_a_cycle_and_who_waits_for_it)
{
    blocked(4);
    edge(0, 0, WEDGE_TO_THREAD, 1, 0);
    edge(1, 0, WEDGE_TO_THREAD, 2, 0);
    edge(2, 0, WEDGE_TO_THREAD, 1, 0);
    running(3);
    build();
    ck_assert(!graph.live[0] && !graph.live[1] && !graph.live[2] && graph.live[3]);
    ck_assert_uint_eq(graph.n_sets, 1);
    ck_assert_uint_eq(graph.sets[0].n_core, 2);
    ck_assert_int_eq(graph.sets[0].core[0], 1);
    ck_assert_int_eq(graph.sets[0].core[1], 2);
    ck_assert_uint_eq(graph.sets[0].n_members, 3);
    ck_assert_int_eq(graph.sets[0].members[2], 0);
    ck_assert(threads[3].live && !threads[0].live);
}
END_TEST

/* A chain that ends in somebody who runs, who has a near deadline, or in the outside, is live all along. */
START_TEST(test_a_chain_is_as_live_as_its_end)
{
    blocked(3);
    edge(0, 0, WEDGE_TO_THREAD, 1, 0);
    edge(1, 0, WEDGE_TO_THREAD, 2, 0);
    if (_i == 0)
        running(2);
    else if (_i == 1)
        threads[2].wait.earliest_ns = 1000;
    else if (_i == 2)
        edge(2, 0, WEDGE_TO_OUTSIDE, -1, 0);
    else if (_i == 3)
        threads[2].moved = true;
    else
        threads[2].wait.class = WEDGE_WAIT_UNKNOWN;
    build();
    for (int i = 0; i < 3; i++)
        ck_assert(graph.live[i] && graph.live_posix[i]);
    ck_assert_uint_eq(graph.n_sets, 0);
}
END_TEST

/* Who only asks may do so between the two looks, if he is back at the second: suspected, and no more. */
START_TEST(test_asked_meanwhile)
{
    blocked(2);
    edge(0, 0, WEDGE_TO_THREAD, 1, 0);
    edge(1, 0, WEDGE_TO_THREAD, 0, 0);
    threads[1].wait.earliest_ns = 1000;
    threads[1].moved = true;
    own[1].came_back = _i != 0;
    own[1].inert = _i == 2 ? WEDGE_NOT_INERT : WEDGE_INERT_BY_LOOKS;
    build();
    for (int i = 0; i < 2; i++) {
        ck_assert(graph.live[i] && graph.live_posix[i]);
        ck_assert(graph.live_suspect[i] == (_i != 1));
    }
}
END_TEST

/* Who sleeps with a deadline and only asks again: by the record evident, by the looks of it suspected, proved never. */
START_TEST(test_only_asks)
{
    blocked(2);
    edge(0, 0, WEDGE_TO_THREAD, 1, 0);
    edge(1, 0, WEDGE_TO_THREAD, 0, 0);
    threads[1].wait.earliest_ns = 1000;
    own[1].inert = _i ? WEDGE_INERT_BY_RECORD : WEDGE_INERT_BY_LOOKS;
    build();
    for (int i = 0; i < 2; i++) {
        ck_assert(graph.live[i]);
        ck_assert(graph.live_posix[i] == !_i);
        ck_assert(!graph.live_suspect[i]);
    }
}
END_TEST

/* A process outside the tree is taken for a stray of the tree's own only if it is younger than the root and not its sibling, and
 * let a thread wait for several rounds: then that thread is suspected to be stuck, and not more. */
START_TEST(test_a_stray_outside)
{
    enum { STRAY, OLDER, SIBLING, OF_TREE, NEWS };
    blocked(2);
    procs[0].n_threads = 1;
    procs[0].start_ticks = 100;
    procs[0].ppid = 50;
    procs[1] = (struct wedge_proc){.first_thread = 1, .n_threads = 1, .start_ticks = 101, .ppid = 1};
    snapshot.n_procs = 2;
    threads[1].proc = 1;
    running(1);
    own[0].rounds = WEDGE_HISTORY_ROUNDS - (_i == NEWS);
    procs[1].start_ticks -= _i == OLDER ? 2 : 0;
    procs[1].ppid = _i == SIBLING ? 50 : 1;
    procs[1].in_tree = _i == OF_TREE;
    edge(0, 0, WEDGE_TO_PROC, 1, 0);
    build();
    ck_assert_int_eq(wedge_graph_aloof(&look, 0, &wakers[0]), _i == STRAY ? 1 : -1);
    ck_assert(graph.live[0] && graph.live_posix[0]);
    ck_assert(graph.live_suspect[0] == (_i != STRAY));
}
END_TEST

/* 0 has a deadline in two hours and nobody; 1 waits for 0; 2 for 0 and for 3, which waits for itself; 4 may be signalled
 * by 1; 5 waits for 3. */
START_TEST(test_until)
{
    const int64_t two_hours = 7200 * 1000000000ll;
    blocked(6);
    threads[0].wait.earliest_ns = two_hours;
    edge(1, 0, WEDGE_TO_THREAD, 0, 0);
    edge(2, 0, WEDGE_TO_THREAD, 0, 0);
    edge(2, 1, WEDGE_TO_THREAD, 3, 0);
    edge(3, 0, WEDGE_TO_THREAD, 3, 0);
    edge(4, 0, WEDGE_TO_THREAD, 1, WEDGE_WAKER_BY_SIGNAL | (_i ? WEDGE_WAKER_UNLESS_RARE : 0));
    edge(5, 0, WEDGE_TO_THREAD, 3, 0);
    build();
    const int64_t expected[] = {two_hours, two_hours, INT64_MAX, INT64_MAX, two_hours, INT64_MAX};
    for (int i = 0; i < 6; i++) {
        ck_assert(!graph.live[i]);
        ck_assert_int_eq(graph.until[i], expected[i]);
        ck_assert_int_eq(graph.until_posix[i], i == 4 && _i ? INT64_MAX : expected[i]);
    }
}
END_TEST

/* 0 has a deadline. 1 needs the outside, who may come now, and 0 as well; 2 waits for two that are dead, and may be
 * signalled by 0. */
START_TEST(test_until_over_sets)
{
    const int64_t two_hours = 7200 * 1000000000ll;
    blocked(3);
    threads[0].wait.earliest_ns = two_hours;
    edge(1, 0, WEDGE_TO_OUTSIDE, -1, 0);
    edge(1, 1, WEDGE_TO_THREAD, 0, 0);
    edge(2, 0, WEDGE_TO_DEAD, -1, 0);
    edge(2, 1, WEDGE_TO_DEAD, -1, 0);
    edge(2, 0, WEDGE_TO_THREAD, 0, WEDGE_WAKER_BY_SIGNAL);
    build();
    for (int i = 0; i < 3; i++) {
        ck_assert(!graph.live[i]);
        ck_assert_int_eq(graph.until[i], two_hours);
        ck_assert_int_eq(graph.until_posix[i], two_hours);
    }
}
END_TEST

/* A chain, against the order of its threads. */
START_TEST(test_until_along_a_chain)
{
    const int64_t two_hours = 7200 * 1000000000ll;
    blocked(MOST);
    for (int i = 0; i + 1 < MOST; i++)
        edge(i, 0, WEDGE_TO_THREAD, i + 1, 0);
    threads[MOST - 1].wait.earliest_ns = two_hours;
    build();
    for (int i = 0; i < MOST; i++)
        ck_assert_int_eq(graph.until[i], two_hours);
}
END_TEST

/* 0 waits for its process (_i 0), or for the tree. 1 has a deadline; 2 is a worker of the kernel's without work, who lives and
 * is nobody; 3 has an earlier deadline, in a process outside the tree. */
START_TEST(test_until_of_groups)
{
    const int64_t hour = 3600 * 1000000000ll;
    blocked(4);
    snapshot.n_procs = 2;
    procs[0].n_threads = 3;
    procs[1] = (struct wedge_proc){.first_thread = 3, .n_threads = 1};
    threads[3].proc = 1;
    threads[1].wait.earliest_ns = 3 * hour;
    threads[3].wait.earliest_ns = 2 * hour;
    own[2].idle_worker = true;
    edge(0, 0, _i ? WEDGE_TO_TREE : WEDGE_TO_PROC, _i ? -1 : 0, 0);
    build();
    ck_assert(!graph.live[0] && !graph.live[1] && graph.live[2] && !graph.live[3]);
    ck_assert_int_eq(graph.until[0], 3 * hour);
}
END_TEST

/* Deadlines further than an hour away make nothing live. */
START_TEST(test_far_deadlines)
{
    blocked(2);
    edge(0, 0, WEDGE_TO_THREAD, 1, 0);
    threads[1].wait.earliest_ns = 3600ll * 1000000000 + (_i ? 0 : -1);
    build();
    ck_assert_int_eq(graph.live[0], !_i);
    ck_assert_int_eq(graph.live[1], !_i);
    ck_assert_uint_eq(graph.n_sets, (size_t)_i);
}
END_TEST

/* OR inside a set, AND between sets. */
START_TEST(test_or_and_and)
{
    blocked(3);
    running(2);
    edge(0, 0, WEDGE_TO_THREAD, 1, 0);
    edge(0, _i, WEDGE_TO_THREAD, 2, 0);
    build();
    ck_assert_int_eq(graph.live[0], _i == 0);
    ck_assert(!graph.live[1]);
}
END_TEST

START_TEST(test_a_signal_ends_any_wait)
{
    blocked(3);
    running(2);
    edge(0, 0, WEDGE_TO_THREAD, 1, 0);
    edge(0, 1, WEDGE_TO_THREAD, 1, 0);
    edge(0, 0, WEDGE_TO_TREE, -1, WEDGE_WAKER_BY_SIGNAL);
    build();
    ck_assert(graph.live[0] && !graph.live[1]);
}
END_TEST

/* A waker that only a program outside POSIX needs keeps from proof, not from evidence. */
START_TEST(test_weak_wakers)
{
    blocked(3);
    running(2);
    edge(0, 0, WEDGE_TO_THREAD, 1, 0);
    edge(0, 0, WEDGE_TO_PROC, 0, WEDGE_WAKER_UNLESS_POSIX);
    edge(1, 0, WEDGE_TO_THREAD, 0, 0);
    build();
    ck_assert(graph.live[0] && graph.live[1]);
    ck_assert(!graph.live_posix[0] && !graph.live_posix[1]);
    ck_assert_uint_eq(graph.n_sets, 1);
    ck_assert_uint_eq(graph.sets[0].n_core, 2);
}
END_TEST

/* "Any thread of the process": itself does not count, another one does. */
START_TEST(test_groups)
{
    blocked(2);
    edge(0, 0, WEDGE_TO_PROC, 0, 0);
    edge(1, 0, WEDGE_TO_PROC, 0, 0);
    if (_i)
        running(1);
    build();
    ck_assert_int_eq(graph.live[0], _i);
    ck_assert_uint_eq(graph.n_sets, _i ? 0 : 1);
    if (!_i)
        ck_assert_uint_eq(graph.sets[0].n_core, 2);
}
END_TEST

START_TEST(test_an_armed_timer_is_live)
{
    blocked(1);
    edge(0, 0, WEDGE_TO_PROC, 0, WEDGE_WAKER_BY_SIGNAL);
    procs[0].armed_timer = _i;
    build();
    ck_assert_int_eq(graph.live[0], _i);
}
END_TEST

/* The dead wake nobody, and are no victims. */
START_TEST(test_the_dead)
{
    blocked(2);
    edge(0, 0, WEDGE_TO_THREAD, 1, 0);
    threads[1].state = 'Z';
    build();
    ck_assert(!graph.live[0]);
    ck_assert_uint_eq(graph.n_sets, 1);
    ck_assert_uint_eq(graph.sets[0].n_members, 1);
    ck_assert_int_eq(graph.sets[0].members[0], 0);
}
END_TEST

START_TEST(test_two_sets)
{
    blocked(5);
    edge(0, 0, WEDGE_TO_THREAD, 1, 0);
    edge(1, 0, WEDGE_TO_THREAD, 0, 0);
    edge(2, 0, WEDGE_TO_THREAD, 3, 0);
    edge(3, 0, WEDGE_TO_THREAD, 2, 0);
    edge(4, 0, WEDGE_TO_THREAD, 0, 0);
    edge(4, 0, WEDGE_TO_THREAD, 2, 0);
    build();
    ck_assert_uint_eq(graph.n_sets, 2);
    ck_assert_uint_eq(graph.sets[0].n_members + graph.sets[1].n_members, 5);
}
END_TEST

/* The tree was not the same in both passes: whoever came was never looked at, so nothing is claimed. */
START_TEST(test_a_changed_tree_proves_nothing)
{
    blocked(1);
    look.tree_changed = true;
    build();
    ck_assert(graph.live[0] && graph.live_posix[0]);
    ck_assert_uint_eq(graph.n_sets, 0);
}
END_TEST

/* Of all a user's processes some always come and go: those who came may send signals, and can do nothing else. */
START_TEST(test_a_changed_user_sends_signals_alone)
{
    static const struct wedge_examine of_user = {.members = WEDGE_MEMBERS_OF_USER};
    blocked(2);
    look.options = &of_user;
    look.tree_changed = true;
    edge(1, 0, WEDGE_TO_TREE, -1, WEDGE_WAKER_BY_SIGNAL);
    build();
    ck_assert(!graph.live[0]);
    ck_assert(graph.live[1]);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, test_a_cycle_and_who_waits_for_it);
    tcase_add_loop_test(tcase, test_asked_meanwhile, 0, 3);
    tcase_add_loop_test(tcase, test_only_asks, 0, 2);
    tcase_add_loop_test(tcase, test_a_stray_outside, 0, 5);
    tcase_add_loop_test(tcase, test_until, 0, 2);
    tcase_add_test(tcase, test_until_over_sets);
    tcase_add_test(tcase, test_until_along_a_chain);
    tcase_add_loop_test(tcase, test_until_of_groups, 0, 2);
    tcase_add_loop_test(tcase, test_a_chain_is_as_live_as_its_end, 0, 5);
    tcase_add_loop_test(tcase, test_far_deadlines, 0, 2);
    tcase_add_loop_test(tcase, test_or_and_and, 0, 2);
    tcase_add_test(tcase, test_a_signal_ends_any_wait);
    tcase_add_test(tcase, test_weak_wakers);
    tcase_add_loop_test(tcase, test_groups, 0, 2);
    tcase_add_loop_test(tcase, test_an_armed_timer_is_live, 0, 2);
    tcase_add_test(tcase, test_the_dead);
    tcase_add_test(tcase, test_two_sets);
    tcase_add_test(tcase, test_a_changed_tree_proves_nothing);
    tcase_add_test(tcase, test_a_changed_user_sends_signals_alone);
}

int main(void)
{
    return wedge_test_main("graph", 30, fill);
}
