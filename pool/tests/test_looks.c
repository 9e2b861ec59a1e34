/* Streams: when their keeper looks (looks.c), and what a put that had to wait is said to have waited. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "pool/tests/util.h"

static struct tally tally;
static int said[2], go[2];
static char limit_text[256];
static pid_t parent;

static void note_limit(const struct wedge_pool_event *event, void *context)
{
    (void)context;
    if (event->kind == WEDGE_POOL_EVENT_LIMIT && getpid() == parent)
        snprintf(limit_text, sizeof(limit_text), "%s", event->text);
}

/* Iteration; log=direct tells in the very call that looks. */
static struct wedge_pool_callbacks callbacks_of(int (*task)(struct wedge_pool_task *, void *))
{
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    tally_init(&tally);
    make_pipe(said);
    make_pipe(go);
    parent = getpid();
    callbacks.task = task;
    callbacks.collect = NULL;
    callbacks.event = note_limit;
    return callbacks;
}

static bool waits_for_go(void)
{
    char byte;
    return read(go[0], &byte, 1) == 1;
}

static int held_task(struct wedge_pool_task *task, void *context)
{
    ck_assert_int_eq(write(said[1], "h", 1), 1);
    return waits_for_go() ? square_task(task, context) : 1;
}

static void release(int n)
{
    for (; n > 0; n--)
        ck_assert_int_eq(write(go[1], "g", 1), 1);
}

static int stuck_at_first(const struct wedge_pool_place *place, void *context)
{
    (void)context;
    return place->generation == 0 && waits_for_go();
}

static int put_one(struct wedge_pool *pool, int64_t until_ns)
{
    uint64_t number = 1;
    return wedge_pool_put(pool, &number, sizeof(number), until_ns, NULL);
}

/* `check` says how often the workers are looked after, not when a limit ends: with an hour of it each limit is kept. */
START_TEST(a_process_limit_does_not_wait_for_a_check)
{
    struct wedge_pool *pool = MAKE_POOL("reported", "processes=1", "check=3600000", "process_limit=100", "queue=8");
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    ck_assert_int_eq(put_one(pool, 0), 0);
    ck_assert_str_eq(limit_text, "");
    usleep(110000); /* its age: past process_limit */
    ck_assert_int_eq(put_one(pool, 0), 0);
    ck_assert_str_eq(limit_text, "worker is past process_limit and is ended");
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

START_TEST(a_start_limit_does_not_wait_for_a_check)
{
    struct wedge_pool *pool =
        MAKE_POOL("reported", "processes=1", "threads=1", "check=3600000", "start_limit=100", "queue=1");
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    callbacks.process_init = stuck_at_first;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (int i = 0; i < 2; i++) /* the second finds no room: nobody takes the first */
        ck_assert_int_eq(put_one(pool, wedge_pool_after_ms(10000)), 0);
    ck_assert_str_eq(limit_text, "worker is past start_limit and is ended");
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

START_TEST(a_task_limit_does_not_wait_for_a_check)
{
    struct wedge_pool *pool = MAKE_POOL("reported", "processes=1", "threads=1", "check=3600000", "task_limit=100");
    struct wedge_pool_callbacks callbacks = callbacks_of(held_task);
    struct wedge_pool_result result;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    ck_assert_int_eq(put_one(pool, 0), 0);
    /* Waiting in vain is when a take looks. */
    ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, wedge_pool_after_ms(110)), -ETIMEDOUT);
    ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, wedge_pool_after_ms(10000)), 0);
    ck_assert_int_eq(result.outcome, WEDGE_POOL_TIMEOUT);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* What a put waited, in however many looks it did, whether it found room in the end or not; a stop mark is no put. */
START_TEST(a_put_that_waits_is_counted_once_and_whole)
{
    struct wedge_pool *pool = MAKE_POOL("reported", "processes=1", "threads=1", "queue=1", "check=10");
    struct wedge_pool_callbacks callbacks = callbacks_of(held_task);
    struct wedge_pool_stats stats;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    ck_assert_int_eq(put_one(pool, 0), 0);
    read_byte(said[0]); /* the first is in hand, the second in the queue */
    ck_assert_int_eq(put_one(pool, 0), 0);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.put_waits, 0);
    int64_t from_ns = wedge_clock_ns();
    ck_assert_int_eq(put_one(pool, wedge_pool_after_ms(100)), -ETIMEDOUT);
    int64_t took_ns = wedge_clock_ns() - from_ns;
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.put_waits, 1);
    ck_assert_int_ge(stats.put_wait_longest_ns, 90 * WEDGE_NS_PER_MS);
    ck_assert_int_le(stats.put_wait_longest_ns, took_ns);
    release(3);
    ck_assert_int_eq(wedge_pool_close(pool, wedge_pool_after_ms(10000)), 0);
    take_all(pool, &tally);
    ck_assert_int_eq(wedge_pool_join(pool, wedge_pool_after_ms(10000), NULL), 0);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.put_waits, 1);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static _Atomic pid_t behind; /* the thread that puts behind the look */
static pthread_t behind_thread;
static struct wedge_pool *the_pool;

static void *put_behind(void *arg)
{
    (void)arg;
    atomic_store(&behind, (pid_t)syscall(SYS_gettid));
    ck_assert_int_eq(put_one(the_pool, WEDGE_POOL_NEVER), 0);
    return NULL;
}

static void *release_when_main_waits(void *arg)
{
    int64_t until_ns = wedge_pool_after_ms(10000);
    (void)arg;
    while (waits_in(getpid()) != SYS_futex)
        ck_assert_int_lt(wedge_clock_ns(), until_ns);
    release(2);
    return NULL;
}

/* Its mark waits for room, and gets it: no put has waited. */
START_TEST(a_stop_mark_that_waits_is_no_put)
{
    struct wedge_pool *pool = MAKE_POOL("reported", "processes=1", "threads=1", "queue=1");
    struct wedge_pool_callbacks callbacks = callbacks_of(held_task);
    struct wedge_pool_stats stats;
    pthread_t thread;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    ck_assert_int_eq(put_one(pool, 0), 0);
    read_byte(said[0]);
    ck_assert_int_eq(put_one(pool, 0), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, release_when_main_waits, NULL), 0);
    ck_assert_int_eq(wedge_pool_close(pool, wedge_pool_after_ms(10000)), 0);
    pthread_join(thread, NULL);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.put_waits, 0);
    ck_assert_int_eq(stats.put_wait_longest_ns, 0);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

enum { SLOW_MS = 100 };

/* A slow start, under the lock: another put comes while it goes on, and waits for the rest of it. */
static long start_slowly(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    ck_assert_int_eq(pthread_create(&behind_thread, NULL, put_behind, NULL), 0);
    int64_t until_ns = wedge_pool_after_ms(10000);
    while (atomic_load(&behind) == 0 || waits_in(atomic_load(&behind)) != SYS_futex)
        ck_assert_int_lt(wedge_clock_ns(), until_ns);
    usleep(SLOW_MS * 1000);
    return 0;
}

static int say_pid(const struct wedge_pool_place *place, void *context)
{
    pid_t pid = getpid();
    (void)place;
    (void)context;
    return write(said[1], &pid, sizeof(pid)) != sizeof(pid);
}

/* Item 2.1: the put that looks after a dead worker, and the one that waits for the lock behind it. */
START_TEST(a_wait_behind_the_management_lock_is_a_puts_wait)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    struct wedge_pool_stats stats;
    struct wedge_pool_result result;
    siginfo_t info;
    the_pool = MAKE_POOL("reported", "processes=1", "threads=1", "queue=8", "queue_lock=owned");
    callbacks.process_init = say_pid;
    ck_assert_int_eq(wedge_pool_start(the_pool, &callbacks, NULL), 0);
    pid_t pid = read_pid(said[0]);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    arm_place("pool.looks.fork", start_slowly);
    ck_assert_int_eq(put_one(the_pool, WEDGE_POOL_NEVER), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(wedge_pool_take(the_pool, &result, NULL, 0, wedge_pool_after_ms(10000)), 0);
    ck_assert_int_eq(pthread_join(behind_thread, NULL), 0);
    wedge_pool_stats(the_pool, &stats);
    ck_assert_uint_eq(stats.put_waits, 2);
    ck_assert_int_ge(stats.put_wait_longest_ns, SLOW_MS * WEDGE_NS_PER_MS);
    wedge_pool_destroy(the_pool);
    check_no_child();
}
END_TEST

static unsigned published; /* how often the place was passed, and every figure was as it must be */

/* A put that has shown its task and not returned: what a worker has finished was accepted. */
static long look_at_figures(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    int64_t until_ns = wedge_pool_after_ms(10000);
    struct wedge_pool_stats stats;
    do {
        ck_assert_int_lt(wedge_clock_ns(), until_ns);
        wedge_pool_stats(the_pool, &stats);
    } while (stats.finished < published + 1);
    ck_assert_uint_eq(stats.accepted, published + 1);
    published++;
    return 0;
}

START_TEST(what_is_finished_was_accepted)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    struct wedge_pool_stats stats;
    the_pool = MAKE_POOL("reported", "processes=1", "threads=1");
    published = 0;
    arm_place("pool.put.published", look_at_figures);
    ck_assert_int_eq(wedge_pool_start(the_pool, &callbacks, NULL), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(put_one(the_pool, WEDGE_POOL_NEVER), 0);
    ck_assert_uint_eq(published, 3);
    wedge_pool_stats(the_pool, &stats);
    ck_assert_uint_eq(stats.accepted, 3);
    wedge_pool_destroy(the_pool);
    check_no_child();
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_test(t, a_process_limit_does_not_wait_for_a_check);
    tcase_add_test(t, a_start_limit_does_not_wait_for_a_check);
    tcase_add_test(t, a_task_limit_does_not_wait_for_a_check);
    tcase_add_test(t, a_put_that_waits_is_counted_once_and_whole);
    tcase_add_test(t, a_stop_mark_that_waits_is_no_put);
    tcase_add_test(t, a_wait_behind_the_management_lock_is_a_puts_wait);
    tcase_add_test(t, what_is_finished_was_accepted);
}

int main(void)
{
    return wedge_test_main("looks", 40, fill);
}
