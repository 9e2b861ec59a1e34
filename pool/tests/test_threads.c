/* workers=threads: the hardened pool in one process, for the tools that see one process (ThreadSanitizer, helgrind). */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/tests/util.h"

static struct tally tally;

static struct wedge_pool_callbacks callbacks_of(int (*task)(struct wedge_pool_task *, void *))
{
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    tally_init(&tally);
    callbacks.task = task;
    return callbacks;
}

static void join_and_destroy(struct wedge_pool *pool, struct wedge_pool_stats *ret)
{
    struct wedge_pool_err err = {0};
    ck_assert_msg(wedge_pool_join(pool, WEDGE_POOL_NEVER, &err) == 0, "%s", err.message);
    wedge_pool_stats(pool, ret);
    ck_assert_uint_eq(ret->accepted, ret->reported);
    wedge_pool_destroy(pool);
    check_no_child(); /* not even a zygote */
}

static int is_here(struct wedge_pool_task *task, void *context)
{
    uint64_t pid = (uint64_t)getpid(), parent;
    (void)context;
    memcpy(&parent, task->data, sizeof(parent));
    return pid == parent ? 0 : 1;
}

START_TEST(the_workers_are_in_the_parent)
{
    struct wedge_pool *pool = MAKE_POOL("hardened", "workers=threads", "processes=1", "threads=1");
    struct wedge_pool_callbacks callbacks = {.task = is_here};
    struct wedge_pool_result result;
    uint64_t pid = (uint64_t)getpid();
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    ck_assert_int_eq(wedge_pool_put(pool, &pid, sizeof(pid), WEDGE_POOL_NEVER, NULL), 0);
    ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(result.outcome, WEDGE_POOL_OK);
    struct wedge_pool_stats stats;
    join_and_destroy(pool, &stats);
}
END_TEST

enum { PUTTERS = 3, EACH = 150 };

/* The number is the task's id only for one putter: with more of them the square of what was put comes back. */
static int echo_task(struct wedge_pool_task *task, void *context)
{
    (void)context;
    memcpy(task->result, task->data, task->bytes);
    task->result_bytes = task->bytes;
    return 0;
}

static unsigned echoed[PUTTERS * EACH];

static void count_echo(const struct wedge_pool_result *result, void *context)
{
    uint64_t number;
    (void)context;
    ck_assert_uint_eq(result->bytes, sizeof(number));
    memcpy(&number, result->data, sizeof(number));
    ck_assert_uint_lt(number, PUTTERS * EACH);
    echoed[number]++;
}

struct putter {
    struct wedge_pool *pool;
    unsigned first;
    pthread_t thread;
};

static void *putter_main(void *arg)
{
    const struct putter *putter = arg;
    for (uint64_t number = putter->first; number < putter->first + EACH; number++)
        ck_assert_int_eq(wedge_pool_put(putter->pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL), 0);
    return NULL;
}

START_TEST(many_putters_many_workers_one_collector)
{
    struct wedge_pool *pool = MAKE_POOL("hardened", "workers=threads", "processes=2", "threads=2", "queue=16");
    struct wedge_pool_callbacks callbacks = {.task = echo_task, .collect = count_echo};
    struct wedge_pool_stats stats;
    struct putter putters[PUTTERS];
    memset(echoed, 0, sizeof(echoed));
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (unsigned i = 0; i < PUTTERS; i++) {
        putters[i] = (struct putter){.pool = pool, .first = i * EACH};
        ck_assert_int_eq(pthread_create(&putters[i].thread, NULL, putter_main, &putters[i]), 0);
    }
    for (unsigned i = 0; i < PUTTERS; i++)
        pthread_join(putters[i].thread, NULL);
    join_and_destroy(pool, &stats);
    ck_assert_uint_eq(stats.outcomes[WEDGE_POOL_OK], PUTTERS * EACH);
    for (unsigned i = 0; i < PUTTERS * EACH; i++)
        ck_assert_uint_eq(echoed[i], 1);
}
END_TEST

struct taker {
    struct wedge_pool *pool;
    unsigned taken;
    pthread_t thread;
};

static void *taker_main(void *arg)
{
    struct taker *taker = arg;
    struct wedge_pool_result result[4];
    uint64_t numbers[4];
    int n;
    while ((n = wedge_pool_take_many(taker->pool, result, 4, numbers, sizeof(numbers[0]), WEDGE_POOL_NEVER)) > 0)
        taker->taken += (unsigned)n;
    ck_assert_int_eq(n, -ENODATA);
    return NULL;
}

START_TEST(many_takers_and_put_many)
{
    enum { N = 200, TAKERS = 2, BATCH = 8 };
    struct wedge_pool *pool = MAKE_POOL("hardened", "workers=threads", "processes=2", "threads=1", "queue=32");
    struct wedge_pool_callbacks callbacks = {.task = echo_task};
    struct taker takers[TAKERS];
    struct wedge_pool_stats stats;
    unsigned put = 0, taken = 0;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (int i = 0; i < TAKERS; i++) {
        takers[i] = (struct taker){.pool = pool};
        ck_assert_int_eq(pthread_create(&takers[i].thread, NULL, taker_main, &takers[i]), 0);
    }
    while (put < N) {
        uint64_t numbers[BATCH];
        struct wedge_pool_input inputs[BATCH];
        unsigned n = N - put < BATCH ? N - put : BATCH;
        for (unsigned i = 0; i < n; i++) {
            numbers[i] = put + i;
            inputs[i] = (struct wedge_pool_input){.data = &numbers[i], .bytes = sizeof(numbers[i])};
        }
        int rc = wedge_pool_put_many(pool, inputs, n, WEDGE_POOL_NEVER);
        ck_assert_msg(rc > 0 || rc == -ENOBUFS, "put_many: %d", rc); /* full, and no taker has come yet */
        put += rc > 0 ? (unsigned)rc : 0;
    }
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    for (int i = 0; i < TAKERS; i++) {
        pthread_join(takers[i].thread, NULL);
        taken += takers[i].taken;
    }
    ck_assert_uint_eq(taken, N);
    join_and_destroy(pool, &stats);
}
END_TEST

static _Atomic unsigned inits, finals;

static int count_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    atomic_fetch_add(&inits, 1);
    return 0;
}

static void count_final(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    atomic_fetch_add(&finals, 1);
}

/* Each thread runs three tasks: the workers are replaced all the time, and everyone who was initialized is finalized. */
START_TEST(workers_come_of_age_and_are_replaced)
{
    enum { N = 60 };
    struct wedge_pool *pool =
        MAKE_POOL("hardened", "workers=threads", "processes=2", "threads=2", "life_tasks=3", "queue=8");
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    struct wedge_pool_stats stats;
    atomic_store(&inits, 0);
    atomic_store(&finals, 0);
    callbacks.process_init = callbacks.thread_init = count_init;
    callbacks.process_final = callbacks.thread_final = count_final;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= N; number++)
        put_number(pool, number);
    join_and_destroy(pool, &stats);
    tally_check_each_once(&tally, N);
    ck_assert_uint_eq(stats.deaths, 0);
    ck_assert_uint_ge(stats.replaced, N / (2 * 3) - 2); /* a worker runs six tasks at most */
    ck_assert_uint_eq(atomic_load(&inits), atomic_load(&finals));
    ck_assert_uint_eq(atomic_load(&inits), 3 * (stats.replaced + 2));
}
END_TEST

static int die_on_fifth(struct wedge_pool_task *task, void *context)
{
    if (task->id % 5 != 0)
        return square_task(task, context);
    task->die = true;
    return 7;
}

START_TEST(an_unwell_worker_leaves_and_is_replaced)
{
    enum { N = 40 };
    struct wedge_pool *pool = MAKE_POOL("hardened", "workers=threads", "processes=2", "threads=2",
                                        _i ? "leave=abrupt" : "leave=in_order", "die_limit=10");
    struct wedge_pool_callbacks callbacks = callbacks_of(die_on_fifth);
    struct wedge_pool_stats stats;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= N; number++)
        put_number(pool, number);
    join_and_destroy(pool, &stats);
    tally_check_each_once(&tally, N);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_ERROR], N / 5);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], N - N / 5);
    ck_assert_int_eq(tally.code[5], 7);
    ck_assert_uint_ge(stats.replaced, 1);
    if (_i)
        ck_assert_uint_ge(stats.deaths, 1);
    else
        ck_assert_uint_eq(stats.deaths, 0);
}
END_TEST

static int fail_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    return 3;
}

static int stop_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    return WEDGE_POOL_STOP;
}

/* By the breaker, and by workers that ask not to be started again; in process_init and in thread_init. */
START_TEST(no_worker_gets_through_its_initializer)
{
    bool stop = _i & 1;
    struct wedge_pool *pool =
        MAKE_POOL("hardened", "workers=threads", "processes=2", "threads=2", "queue=4", "restart_limit=1");
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    struct wedge_pool_stats stats;
    uint64_t number = 1;
    int rc;
    if (_i & 2)
        callbacks.process_init = stop ? stop_init : fail_init;
    else
        callbacks.thread_init = stop ? stop_init : fail_init;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    do
        rc = wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL);
    while (rc == 0);
    ck_assert_int_eq(rc, -ENOTRECOVERABLE);
    join_and_destroy(pool, &stats);
    ck_assert(stats.broken);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_INIT_FAILED], stats.accepted);
    if (stop)
        ck_assert_uint_eq(stats.deaths, 2); /* each seat once */
}
END_TEST

/* Waits for a byte that the test writes. */
static int gated_task(struct wedge_pool_task *task, void *context)
{
    const struct tally *t = context;
    char byte = 's';
    ck_assert_int_eq(write(t->say_fd, &byte, 1), 1);
    ck_assert_int_eq(read(t->go_fd, &byte, 1), 1);
    return square_task(task, context);
}

enum { HELD_OF = 8 };
static int go_write_fd; /* the other end of tally.go_fd */

static void *release_when_cancelled(void *arg)
{
    struct wedge_pool_stats stats;
    do {
        wedge_pool_stats(arg, &stats);
        sched_yield();
    } while (stats.outcomes[WEDGE_POOL_CANCELLED] < HELD_OF - 2);
    ck_assert_int_eq(write(go_write_fd, "gg", 2), 2);
    return NULL;
}

/* Nobody can be killed: what is in hand is waited for, what is queued is not. */
START_TEST(shutdown_waits_for_what_is_in_hand)
{
    int said[2], go[2];
    struct wedge_pool *pool = MAKE_POOL("hardened", "workers=threads", "processes=2", "threads=1");
    struct wedge_pool_callbacks callbacks = callbacks_of(gated_task);
    struct wedge_pool_err err = {0};
    pthread_t thread;
    make_pipe(said);
    make_pipe(go);
    tally.go_fd = go[0];
    tally.say_fd = said[1];
    go_write_fd = go[1];
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= HELD_OF; number++)
        put_number(pool, number);
    read_byte(said[0]);
    read_byte(said[0]);
    ck_assert_int_eq(pthread_create(&thread, NULL, release_when_cancelled, pool), 0);
    ck_assert_int_eq(wedge_pool_shutdown(pool, 0, &err), -ETIMEDOUT);
    pthread_join(thread, NULL);
    tally_check_each_once(&tally, HELD_OF);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], 2);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static void release_on_timeout(const struct wedge_pool_result *result, void *context)
{
    tally_add(context, result);
    if (result->outcome == WEDGE_POOL_TIMEOUT)
        ck_assert_int_eq(write(go_write_fd, "g", 1), 1);
}

static int first_is_gated(struct wedge_pool_task *task, void *context)
{
    const struct tally *t = context;
    char byte;
    if (task->id == 1)
        ck_assert_int_eq(read(t->go_fd, &byte, 1), 1);
    return square_task(task, context);
}

/* The task is reported while it runs; its result, which comes after, is dropped and counted. */
START_TEST(a_late_result_is_dropped_and_counted)
{
    enum { N = 10 };
    int go[2];
    struct wedge_pool *pool = MAKE_POOL("hardened", "workers=threads", "processes=1", "threads=2", "task_limit=50");
    struct wedge_pool_callbacks callbacks = callbacks_of(first_is_gated);
    struct wedge_pool_stats stats;
    callbacks.collect = release_on_timeout;
    make_pipe(go);
    tally.go_fd = go[0];
    go_write_fd = go[1];
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= N; number++)
        put_number(pool, number);
    join_and_destroy(pool, &stats);
    tally_check_each_once(&tally, N);
    ck_assert_int_eq(tally.outcome[1], WEDGE_POOL_TIMEOUT);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], N - 1);
    ck_assert_uint_eq(stats.late, 1);
    ck_assert_uint_eq(stats.deaths, 0);
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_test(t, the_workers_are_in_the_parent);
    tcase_add_test(t, many_putters_many_workers_one_collector);
    tcase_add_test(t, many_takers_and_put_many);
    tcase_add_test(t, workers_come_of_age_and_are_replaced);
    tcase_add_loop_test(t, an_unwell_worker_leaves_and_is_replaced, 0, 2);
    tcase_add_loop_test(t, no_worker_gets_through_its_initializer, 0, 4);
    tcase_add_test(t, shutdown_waits_for_what_is_in_hand);
    tcase_add_test(t, a_late_result_is_dropped_and_counted);
}

int main(void)
{
    return wedge_test_main("threads", 60, fill);
}
