/* Plays of a stream's workers (stream_plays.h): killed, idle, stuck, forked, looked after; items 2.1, 2.3, 3.1, 3.2 and those beyond the report. */
#include "pool/tests/stream_plays.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <wedge/point.h>

#include "pool/tests/pace.h"

static long kill_second_pass(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() != parent && atomic_fetch_add(&shared->passes, 1) == 1)
        kill(getpid(), SIGKILL);
    return 0;
}

/* A worker dies at the place, the second time that any comes by. */
enum verdict killed_at_place(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(big_task);
    struct wedge_pool_stats stats;
    arm_place(armed, kill_second_pass);
    start(&callbacks);
    do { /* until a look has seen it */
        put_some(1);
        wedge_pool_stats(pool, &stats);
    } while (stats.deaths == 0);
    return join_and_count();
}

/* An idle worker is killed: it held the readers' lock. */
enum verdict idle_killed(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    callbacks.process_init = say_init;
    make_pipe(written);
    arm_place("pool.reader.locked", say_in_workers);
    start(&callbacks);
    pid_t first = read_pid(said[0]), second = read_pid(said[0]);
    if (idle_holds)
        read_byte(written[0]);
    kill_worker(first);
    kill_worker(second);
    put_some(3);
    return join_and_count();
}

/* The pool's own hard limit does the same to a worker that waits for a task. */
enum verdict idle_past_its_limit(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    int limit_ms = paced_ms(100); /* in which a worker must get something done */
    char setting[32];
    snprintf(setting, sizeof(setting), "process_limit=%d", limit_ms);
    ck_assert_int_eq(wedge_pool_set(pool, setting, NULL), 0);
    make_pipe(written);
    arm_place("pool.reader.locked", say_in_workers);
    start(&callbacks);
    read_byte(written[0]);
    usleep((useconds_t)limit_ms * 1500); /* its age, not an order */
    put_some(3);
    return join_and_count();
}

/* A dead worker's task is never reported; iteration without a deadline waits for it. */
enum verdict iteration_waits_for_the_dead(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(held_task);
    struct wedge_pool_result result;
    callbacks.collect = NULL;
    start(&callbacks);
    put_some(1);
    kill_worker(read_pid(said[0]));
    put_some(1);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, WEDGE_POOL_NEVER), 0);
    return all_reported();
}

/* "Finished 57 of 6": every look tells the time-out again while the collector is busy. */
enum verdict timed_out_again_and_again(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(held_task);
    callbacks.collect = stuck_collect;
    start(&callbacks);
    put_some(2); /* one thread each */
    read_pid(said[0]);
    read_pid(said[0]);
    ck_assert_int_eq(write(go[1], "g", 1), 1);
    read_pid(said[0]); /* the collector has the first */
    usleep(120000); /* the other's age: past task_limit */
    put_some(5);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(write(go[1], "g", 1), 1);
    return join_and_count();
}

int stuck_init(const struct wedge_pool_place *place, void *context)
{
    (void)context;
    if (place->generation == 0)
        wait_go();
    return 0;
}

void stuck_final(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    wait_go();
}

/* 2.3: a user's initializer or finalizer never returns. */
enum verdict stuck_function(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    callbacks.process_init = stuck.process_init;
    callbacks.thread_init = stuck.thread_init;
    callbacks.thread_final = stuck.thread_final;
    callbacks.process_final = stuck.process_final;
    start(&callbacks);
    put_some(8);
    return join_and_count();
}

static int deaf_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    signal(SIGTERM, SIG_IGN);
    say_pid();
    return 0;
}

static long hold_in_parent(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() == parent && atomic_fetch_add(&shared->passes, 1) == 0) {
        say_pid();
        wait_go();
    }
    return 0;
}

static void say_limit(const struct wedge_pool_event *event, void *context)
{
    (void)context;
    if (event->kind == WEDGE_POOL_EVENT_LIMIT && getpid() == parent)
        say_pid();
}

/* 2.1: a put that has nothing to do with it waits while another one looks after a worker; a: it dies slowly, b: its
 * successor starts slowly. */
enum verdict put_behind_a_look(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    pthread_t thread;
    uint64_t number = 1;
    callbacks.process_init = deaf_init;
    callbacks.event = say_limit;
    start(&callbacks);
    pid_t pid = read_pid(said[0]);
    if (armed) {
        kill_worker(pid);
        arm_place(armed, hold_in_parent);
    } else {
        usleep(150000); /* its age: past process_limit */
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, put_in_thread, NULL), 0);
    ck_assert_int_eq(read_pid(said[0]), parent); /* the other one is at it */
    ck_assert_int_eq(wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL), 0);
    return WELL;
}

static int dying_task(struct wedge_pool_task *task, void *context)
{
    task->die = true;
    return big_task(task, context) == 0 ? 7 : 0;
}

/* 3.2a, b: a process that is not well leaves halfway through a record, with the lock. */
enum verdict leaves_halfway(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(dying_task);
    struct wedge_pool_result result;
    callbacks.collect = NULL;
    start(&callbacks);
    put_some(1);
    if (armed) /* abrupt: nobody takes before it is gone */
        wait_dead(0);
    ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, WEDGE_POOL_NEVER), 0);
    return all_reported();
}

static void block_on_alarm(const struct wedge_pool_event *event, void *context)
{
    (void)context;
    if (event->kind == WEDGE_POOL_EVENT_ALARM && getpid() == parent && atomic_fetch_add(&shared->passes, 1) == 0) {
        ck_assert_int_eq(write(written[1], "a", 1), 1); /* the other one forks now */
        read_byte(go[0]);
    }
}

static long fork_beside_the_log(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    say_pid();
    read_byte(written[0]);
    return 0;
}

/* In the parent, after the fork: who is in the log may go on. */
static void let_go(void)
{
    if (getpid() == parent)
        ck_assert_int_eq(write(go[1], "g", 1), 1);
}

/* 3.1a: a worker is forked while another thread is in the log. */
enum verdict forked_beside_the_log(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    pthread_t thread;
    uint64_t number = 1;
    make_pipe(written);
    callbacks.event = block_on_alarm;
    callbacks.process_init = say_init;
    start(&callbacks);
    kill_worker(read_pid(said[0]));
    arm_place("pool.looks.fork", fork_beside_the_log);
    ck_assert_int_eq(pthread_atfork(NULL, let_go, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, put_in_thread, NULL), 0);
    ck_assert_int_eq(read_pid(said[0]), parent); /* about to fork */
    ck_assert_int_eq(wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL), 0); /* raises the alarm */
    pthread_join(thread, NULL);
    return join_and_count();
}

static void block_in_worker(const struct wedge_pool_event *event, void *context)
{
    (void)context;
    if (event->kind != WEDGE_POOL_EVENT_STARTED || getpid() == parent)
        return;
    say_pid();
    wait_go();
}

/* 3.1b: the worker's main thread is in the log when SIGTERM comes, whose handler logs. */
enum verdict logs_in_a_handler(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    callbacks.event = block_in_worker;
    start(&callbacks);
    if (armed) /* in the worker's own process */
        read_pid(said[0]);
    usleep(150000); /* its age: past process_limit */
    put_some(1);
    return WELL;
}
