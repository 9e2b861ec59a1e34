/* <wedge/pool.h> with a worker dying or stuck: what the hardened preset promises then. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/tests/held.h"
#include "pool/tests/pace.h"

static struct tally tally;

START_TEST(a_killed_workers_task_is_lost_and_the_worker_replaced)
{
    enum { N = 200 };
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2", "queue=8");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, first_is_held);
    struct wedge_pool_stats stats;
    bool iterate = _i;
    if (iterate)
        callbacks.collect = NULL;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, 1);
    pid_t pid = read_pid(pipes.said[0]);
    ck_assert_int_eq(parent_of(parent_of(pid)), getpid()); /* the zygote's child */
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    for (uint64_t number = 2; number <= N; number++) {
        struct wedge_pool_result result;
        uint64_t buffer;
        int rc;
        while ((rc = wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL)) == -ENOBUFS) {
            ck_assert_int_eq(wedge_pool_take(pool, &result, &buffer, sizeof(buffer), WEDGE_POOL_NEVER), 0);
            tally_add(&tally, &result);
        }
        ck_assert_int_eq(rc, 0);
    }
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    if (iterate)
        take_all(pool, &tally);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, N);
    ck_assert_int_eq(tally.outcome[1], WEDGE_POOL_LOST);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_LOST], 1);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], N - 1);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.deaths, 1);
    ck_assert_uint_le(stats.replaced, 1); /* drained first: nobody is needed */
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* The only worker dies with a task in hand and more queued: without a replacement nothing would go on. */
START_TEST(the_only_worker_is_replaced_after_close)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=1");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, first_is_held);
    struct wedge_pool_stats stats;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 5; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(kill(read_pid(pipes.said[0]), SIGKILL), 0);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, 5);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_LOST], 1);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.replaced, 1);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* Its pid once all of its threads look for tasks. */
static void say_ready(const struct wedge_pool_event *event, void *context)
{
    const struct tally *t = context;
    pid_t pid = event->pid;
    if (event->kind == WEDGE_POOL_EVENT_READY)
        ck_assert_int_eq(write(t->say_fd, &pid, sizeof(pid)), sizeof(pid));
}

/* In the stream an idle worker's death takes the reader lock with it; here it holds nothing. */
START_TEST(an_idle_workers_death_costs_nothing)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=2");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, square_task);
    callbacks.process_init = say_init;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    pid_t first = read_pid(pipes.said[0]);
    put_number(pool, 1);
    ck_assert_int_eq(kill(first, SIGKILL), 0);
    ck_assert_int_ne(read_pid(pipes.said[0]), first);
    put_number(pool, 2);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, 2);
    ck_assert_int_eq(tally.outcome[2], WEDGE_POOL_OK);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static int stuck_first_generation(const struct wedge_pool_place *place, void *context)
{
    const struct tally *t = context;
    char byte;
    if (place->generation == 0)
        return read(t->go_fd, &byte, 1) == 1 ? 0 : 1; /* nobody writes */
    return 0;
}

/* A limit that the stuck are past, and whoever starts well is not. */
static const char *start_limit(void)
{
    static char setting[32];
    snprintf(setting, sizeof(setting), "start_limit=%d", paced_ms(100));
    return setting;
}

/* Item 2.3 with its cure, in both presets; a: process initializer, b: thread initializer. */
START_TEST(a_stuck_initializer_is_ended_and_replaced)
{
    bool hardened = _i & 1, thread = _i & 2;
    struct pipes pipes;
    struct wedge_pool *pool =
        MAKE_POOL(hardened ? "hardened" : "reported", "processes=2", "threads=1", "queue=3", start_limit());
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, square_task);
    struct wedge_pool_stats stats;
    if (thread)
        callbacks.thread_init = stuck_first_generation;
    else
        callbacks.process_init = stuck_first_generation;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 10; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, 10);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], 10);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.deaths, 2);
    ck_assert_uint_ge(stats.replaced, 1); /* hardened: the first replacement may have drained the queue alone */
    ck_assert_uint_le(stats.replaced, 2);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* Nothing fills up, so that only join is there to look; the stop marks are still in the queue. */
START_TEST(reported_start_limit_holds_in_join)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("reported", "processes=2", "threads=1", start_limit());
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, square_task);
    callbacks.process_init = stuck_first_generation;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 5; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, 5);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static void stuck_final(const struct wedge_pool_place *place, void *context)
{
    const struct tally *t = context;
    char byte;
    (void)place;
    ck_assert_int_eq(read(t->go_fd, &byte, 1), 1); /* nobody writes */
}

static void stop_process(void *value)
{
    (void)value;
    kill(getpid(), SIGSTOP);
}

/* The thread stops its process when it has left the pool's code already: in the destructor of its own data. */
static int stop_at_the_end(const struct wedge_pool_place *place, void *context)
{
    pthread_key_t key;
    (void)place;
    return pthread_key_create(&key, stop_process) != 0 || pthread_setspecific(key, context) != 0;
}

/* Items 2.3c and d with their cure: join returns, nothing is lost that was finished. */
START_TEST(a_stuck_finalizer_is_ended)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2", "final_limit=100");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, square_task);
    struct wedge_pool_stats stats;
    if (_i)
        callbacks.thread_final = stuck_final;
    else
        callbacks.process_final = stuck_final;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 10; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, 10);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], 10);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.deaths, 2);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static int failing_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    return 5;
}

START_TEST(a_crash_loop_is_broken)
{
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=1", "restart_limit=2");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    struct wedge_pool_stats stats;
    uint64_t number = 1;
    int rc = 0;
    tally_init(&tally);
    callbacks.process_init = failing_init;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (; rc == 0; number++) /* full after a while: then it is the breaker that ends the wait */
        rc = wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL);
    ck_assert_int_eq(rc, -ENOTRECOVERABLE);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    wedge_pool_stats(pool, &stats);
    ck_assert(stats.broken);
    ck_assert_uint_eq(stats.accepted, stats.reported);
    ck_assert_uint_gt(stats.accepted, 0);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_INIT_FAILED], stats.accepted);
    ck_assert_uint_ge(stats.deaths, 5);
    tally_check_each_once(&tally, (unsigned)stats.accepted);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

START_TEST(a_task_past_its_limit_times_out)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=1", "task_limit=100");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, first_is_held);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 5; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, 5);
    ck_assert_int_eq(tally.outcome[1], WEDGE_POOL_TIMEOUT);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], 4);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* Longer than an idle_limit of two seconds takes, shorter than the one of a pool that does not heed the setting: ten. */
#define HEEDED_MS 9000

/* A stopped worker looks alive to the kernel. Idle, it is ended when it has not looked for its limit: before queue_limit. */
START_TEST(a_stopped_worker_is_ended_and_replaced)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=2", "idle_limit=2000", "queue_limit=9000");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, square_task);
    struct wedge_pool_stats stats;
    callbacks.event = say_ready;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    pid_t pid = read_pid(pipes.said[0]);
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    wait_stopped(pid);
    for (uint64_t number = 1; number <= 5; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, 5);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], 5);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.deaths, 1);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* Nothing left to do, and it does not leave: stopped while it leaves, a worker is ended so that join returns. */
START_TEST(a_worker_stopped_while_it_leaves_is_ended)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=1", "idle_limit=2000", "final_limit=50");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, square_task);
    callbacks.thread_init = stop_at_the_end;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, 1);
    ck_assert_int_eq(wedge_pool_join(pool, wedge_pool_after_ms(paced_ms(HEEDED_MS)), NULL), 0);
    tally_check_each_once(&tally, 1);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

START_TEST(shutdown_settles_every_task)
{
    enum { N = 10 };
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=1");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, all_are_held);
    struct wedge_pool_err err = {0};
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= N; number++)
        put_number(pool, number);
    read_pid(pipes.said[0]);
    read_pid(pipes.said[0]);
    ck_assert_int_eq(wedge_pool_shutdown(pool, wedge_pool_after_ms(20), &err), -ETIMEDOUT);
    tally_check_each_once(&tally, N);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_LOST], 2);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_CANCELLED], N - 2);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* A worker is killed again and again under load, each time with a task in hand: the accounts stay right. */
START_TEST(accounts_hold_under_kills)
{
    enum { KILLS = 25, PER = 20 };
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2", "queue=8");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, square_task);
    struct wedge_pool_stats stats;
    uint64_t number = 0;
    callbacks.process_init = say_init;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (int i = 0; i < KILLS; i++) {
        pid_t pid = read_pid(pipes.said[0]);
        for (int k = 0; k < PER; k++)
            put_number(pool, ++number);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
    }
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, KILLS * PER);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK] + tally.outcomes[WEDGE_POOL_LOST], KILLS * PER);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_ge(stats.deaths, KILLS - 1); /* the last may have left in order before the signal */
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_loop_test(t, a_killed_workers_task_is_lost_and_the_worker_replaced, 0, 2);
    tcase_add_test(t, the_only_worker_is_replaced_after_close);
    tcase_add_test(t, an_idle_workers_death_costs_nothing);
    tcase_add_loop_test(t, a_stuck_initializer_is_ended_and_replaced, 0, 4);
    tcase_add_test(t, reported_start_limit_holds_in_join);
    tcase_add_loop_test(t, a_stuck_finalizer_is_ended, 0, 2);
    tcase_add_test(t, a_crash_loop_is_broken);
    tcase_add_test(t, a_task_past_its_limit_times_out);
    tcase_add_test(t, a_stopped_worker_is_ended_and_replaced);
    tcase_add_test(t, a_worker_stopped_while_it_leaves_is_ended);
    tcase_add_test(t, shutdown_settles_every_task);
    tcase_add_test(t, accounts_hold_under_kills);
}

int main(void)
{
    return wedge_test_main("deaths", 30, fill);
}
