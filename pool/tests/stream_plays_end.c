/* Plays of how a stream comes to its end, or does not (stream_plays.h): items 1.1 to 1.4, and what marks and room have to do with it. */
#include "pool/tests/stream_plays.h"

#include <check.h>
#include <errno.h>
#include <unistd.h>

#include <wedge/point.h>

static int taking[2];
static atomic_bool takes;
static long say_takes(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() == parent && !atomic_exchange(&takes, true))
        ck_assert_int_eq(write(taking[1], "t", 1), 1);
    return 0;
}

/* The collector has looked whether to leave, and takes: before the first worker is gone, or it would see that. */
static void start_with_a_collector_that_takes(const struct wedge_pool_callbacks *callbacks)
{
    make_pipe(taking);
    arm_place("pool.result.take", say_takes);
    start(callbacks);
    read_byte(taking[0]);
}

/* 1.1a, and a dead worker's task: killed in hand, after close. */
enum verdict killed_in_hand(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(held_task);
    start_with_a_collector_that_takes(&callbacks);
    put_some(1);
    pid_t pid = read_pid(said[0]);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    kill_worker(pid);
    return join_and_count();
}

static long refuse_in_workers(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    return getpid() == parent ? 0 : -EPIPE;
}

/* 1.1b: the results' pipe is closed under the collector. */
enum verdict results_closed(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    arm_place("pool.feeder.write", refuse_in_workers);
    start_with_a_collector_that_takes(&callbacks);
    put_some(2);
    return join_and_count();
}

static long tell_written(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() == parent)
        ck_assert_int_eq(write(written[1], "w", 1), 1);
    return 0;
}

static long wait_written(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    for (int i = 0; i < 3; i++) /* the task, the worker's mark, the collector's */
        read_byte(written[0]);
    return 0;
}

/* 1.1c: the last step of shutdown takes the collector's mark, while that one is in the user's function. */
enum verdict mark_drained(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    callbacks.collect = stuck_collect;
    make_pipe(written);
    arm_place("pool.feeder.written", tell_written);
    arm_place("pool.shutdown.drain", wait_written);
    start(&callbacks);
    put_some(1);
    read_pid(said[0]);
    ck_assert_int_eq(wedge_pool_shutdown(pool, wedge_pool_after_ms(30), NULL), -ETIMEDOUT);
    ck_assert_int_eq(write(go[1], "g", 1), 1);
    return join_and_count();
}

static pid_t victim;
static long kill_victim(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (victim)
        kill_worker(victim);
    victim = 0;
    return 0;
}

/* 1.3a: the queue is full and every worker dead when the first mark is put. */
enum verdict full_and_dead(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(held_task);
    start(&callbacks);
    put_some(1);
    victim = read_pid(said[0]);
    put_some(2); /* the queue's bound */
    arm_place("pool.close.mark", kill_victim);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    return WELL;
}

/* 1.3b, 2.2: nobody takes; both queues are full. */
enum verdict both_full(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    uint64_t number = 1;
    int rc = 0;
    callbacks.collect = NULL;
    start(&callbacks);
    for (int i = 0; rc == 0 && i < 6; i++) /* two queues of two, one in hand, and the one that finds no room */
        rc = wedge_pool_put(pool, &number, sizeof(number), wedge_pool_after_ms(200), NULL);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    return WELL;
}

/* 1.4: no room for the collector's mark. */
enum verdict no_room_for_its_mark(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    callbacks.collect = stuck_collect;
    start(&callbacks);
    put_some(3); /* one in the collector's hands, two fill the results */
    read_pid(said[0]);
    struct wedge_pool_stats stats;
    do
        wedge_pool_stats(pool, &stats);
    while (stats.results < 2);
    return wedge_pool_shutdown(pool, wedge_pool_after_ms(30), NULL) == -ENOBUFS ? LOSES : WELL;
}

/* 1.4: a hung task and a backlog; the deadline does not reach the wait for an empty queue. */
enum verdict shutdown_with_a_backlog(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(always_held_task);
    start(&callbacks);
    put_some(3);
    read_pid(said[0]);
    ck_assert_int_eq(wedge_pool_shutdown(pool, wedge_pool_after_ms(30), NULL), -ETIMEDOUT);
    return WELL;
}

/* 1.3: tasks per thread 1, many workers recycled: a mark for each of them. */
enum verdict marks_of_the_recycled(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    start(&callbacks);
    for (int i = 0; i < 40; i++) {
        put_some(1);
        wait_dead(0);
    }
    return join_and_count();
}

/* Process 2 holds each task, process 1 none. */
static int held_in_second(struct wedge_pool_task *task, void *context)
{
    if (task->place.process == 2) {
        say_pid();
        wait_go();
    }
    return square_task(task, context);
}

/* Four marks for four threads, and the queue has room for one. Process 1 takes two of them and leaves; while the fourth waits
 * for room it is replaced, since close is not through, and its successor takes the other two, which were process 2's. */
enum verdict marks_eaten_by_others(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(held_in_second);
    start(&callbacks);
    for (int held = 0; held < 2; held += closed_or_readable_within(said[0], 20) ? (read_pid(said[0]), 1) : 0)
        put_some(1);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(write(go[1], "gg", 2), 2);
    return join_and_count();
}

static int failing_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    return 5;
}

/* A crash loop: put forks for ever, and never finds room. */
enum verdict crash_loop(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    uint64_t number = 1;
    int rc = 0;
    callbacks.process_init = failing_init;
    start(&callbacks);
    while (rc == 0)
        rc = wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL);
    ck_assert_int_eq(rc, -ENOTRECOVERABLE);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    return all_reported();
}
