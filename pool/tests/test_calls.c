/* put_many, take_many and the full queue, at their edges: the same in both transports, but where <wedge/pool.h> says otherwise. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/tests/util.h"

enum { DEADLINE_MS = 20000 };

static const char *const presets[] = {"hardened", "reported"};
static struct tally tally;
static int said[2], go[2];

static int held_task(struct wedge_pool_task *task, void *context)
{
    char byte = 'h';
    if (write(said[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
        return EIO;
    return square_task(task, context);
}

/* Iteration, one worker of one thread, room for two more; results grow where they can be full. */
static struct wedge_pool *start(const char *preset, int (*task)(struct wedge_pool_task *, void *))
{
    const struct wedge_pool_callbacks callbacks = {.task = task, .context = &tally};
    bool hardened = strcmp(preset, "hardened") == 0;
    struct wedge_pool *pool = MAKE_POOL(preset, "processes=1", "threads=1", "queue=2", "payload_bytes=64",
                                        hardened ? "slot_bytes=64" : "result_bound=none");
    struct wedge_pool_err err = {0};
    tally_init(&tally);
    make_pipe(said);
    make_pipe(go);
    ck_assert_msg(wedge_pool_start(pool, &callbacks, &err) == 0, "%s", err.message);
    return pool;
}

static void finish(struct wedge_pool *pool, unsigned tasks)
{
    struct wedge_pool_err err = {0};
    ck_assert_int_eq(wedge_pool_close(pool, wedge_pool_after_ms(DEADLINE_MS)), 0);
    take_all(pool, &tally);
    ck_assert_msg(wedge_pool_join(pool, wedge_pool_after_ms(DEADLINE_MS), &err) == 0, "%s", err.message);
    tally_check_each_once(&tally, tasks);
    wedge_pool_destroy(pool);
    check_no_child();
}

/* What there is room for is accepted, in order; the rest is untouched, and what kept it out is said by the next call. */
START_TEST(put_many_accepts_what_there_is_room_for)
{
    bool hardened = _i == 0;
    struct wedge_pool *pool = start(presets[_i], held_task);
    uint64_t numbers[] = {2, 3, 4, 5};
    struct wedge_pool_input inputs[4] = {0};
    int mark = 0; /* its address is a meta */
    for (int i = 0; i < 4; i++)
        inputs[i] = (struct wedge_pool_input){
            .data = &numbers[i], .bytes = sizeof(numbers[i]), .meta = i == 1 ? &mark : NULL, .id = 99};
    put_number(pool, 1);
    read_byte(said[0]); /* in hand: the queue is empty */
    ck_assert_int_eq(wedge_pool_put_many(pool, inputs, 4, wedge_pool_after_ms(50)), 2);
    ck_assert_uint_eq(inputs[0].id, 2);
    ck_assert_uint_eq(inputs[1].id, 3);
    ck_assert_uint_eq(inputs[2].id, 99);
    ck_assert_uint_eq(inputs[3].id, 99);
    ck_assert_int_eq(wedge_pool_put_many(pool, inputs + 2, 2, wedge_pool_after_ms(50)),
                     hardened ? -ENOBUFS : -ETIMEDOUT);
    ck_assert_int_eq(wedge_pool_put_many(pool, inputs, 0, 0), 0);
    ck_assert_int_eq(write(go[1], "ggg", 3), 3);
    for (int i = 0; i < 3; i++) {
        struct wedge_pool_result result;
        uint64_t buffer;
        ck_assert_int_eq(wedge_pool_take(pool, &result, &buffer, sizeof(buffer), wedge_pool_after_ms(DEADLINE_MS)), 0);
        ck_assert_ptr_eq(result.meta, result.id == 3 ? &mark : NULL);
        tally_add(&tally, &result);
    }
    finish(pool, 3);
}
END_TEST

/* One that is too large ends the list where it stands: what is behind it is not looked at. */
START_TEST(put_many_stops_at_one_that_is_too_large)
{
    struct wedge_pool *pool = start(presets[_i], square_task);
    uint64_t numbers[] = {1, 2};
    char large[65] = {0};
    struct wedge_pool_input inputs[] = {{.data = &numbers[0], .bytes = 8},
                                        {.data = large, .bytes = sizeof(large), .id = 99},
                                        {.data = &numbers[1], .bytes = 8, .id = 99}};
    ck_assert_int_eq(wedge_pool_put_many(pool, inputs, 3, wedge_pool_after_ms(DEADLINE_MS)), 1);
    ck_assert_uint_eq(inputs[2].id, 99);
    ck_assert_int_eq(wedge_pool_put_many(pool, inputs + 1, 2, wedge_pool_after_ms(DEADLINE_MS)), -EMSGSIZE);
    ck_assert_uint_eq(inputs[1].id, 99);
    ck_assert_int_eq(wedge_pool_put_many(pool, inputs + 2, 1, wedge_pool_after_ms(DEADLINE_MS)), 1);
    ck_assert_uint_eq(inputs[2].id, 2);
    finish(pool, 2);
}
END_TEST

/* No room for a result's bytes is no reason not to hand it out: `bytes` says how many there were. */
START_TEST(take_many_needs_no_buffer)
{
    struct wedge_pool *pool = start(presets[_i], square_task);
    struct wedge_pool_result results[4];
    uint64_t id_sum = 0;
    int taken = 0;
    ck_assert_int_eq(wedge_pool_take_many(pool, results, 0, NULL, 0, 0), -EINVAL);
    ck_assert_int_eq(wedge_pool_take_many(pool, results, 4, NULL, 0, wedge_pool_after_ms(10)), -ETIMEDOUT);
    put_number(pool, 1);
    put_number(pool, 2);
    while (taken < 2) {
        /* Room without a buffer is none, either. */
        int rc = wedge_pool_take_many(pool, results, 4, NULL, taken ? 8 : 0, wedge_pool_after_ms(DEADLINE_MS));
        ck_assert_int_gt(rc, 0);
        for (int i = 0; i < rc; i++) {
            ck_assert_uint_eq(results[i].bytes, 8);
            ck_assert_ptr_null(results[i].data);
            id_sum += results[i].id;
        }
        taken += rc;
    }
    ck_assert_uint_eq(id_sum, 3);
    ck_assert_int_eq(wedge_pool_close(pool, wedge_pool_after_ms(DEADLINE_MS)), 0);
    ck_assert_int_eq(wedge_pool_take_many(pool, results, 4, NULL, 0, WEDGE_POOL_NEVER), -ENODATA);
    ck_assert_int_eq(wedge_pool_put_many(pool, NULL, 0, 0), 0);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static void *take_one(void *pool)
{
    struct wedge_pool_result result;
    uint64_t buffer;
    ck_assert_int_eq(wedge_pool_take(pool, &result, &buffer, sizeof(buffer), wedge_pool_after_ms(DEADLINE_MS)), 0);
    tally_add(&tally, &result);
    return NULL;
}

/* -ENOBUFS is for the one who took last, or when nobody has: the others wait for that one. */
START_TEST(who_took_last_is_asked_to_take)
{
    struct wedge_pool *pool = start("hardened", square_task);
    uint64_t number = 4;
    pthread_t thread;
    for (uint64_t i = 1; i <= 3; i++)
        put_number(pool, i);
    ck_assert_int_eq(wedge_pool_put(pool, &number, 8, WEDGE_POOL_NEVER, NULL), -ENOBUFS);
    ck_assert_int_eq(pthread_create(&thread, NULL, take_one, pool), 0);
    pthread_join(thread, NULL);
    put_number(pool, 4);
    number = 5;
    ck_assert_int_eq(wedge_pool_put(pool, &number, 8, wedge_pool_after_ms(30), NULL), -ETIMEDOUT);
    take_one(pool);
    put_number(pool, 5);
    ck_assert_int_eq(wedge_pool_put(pool, &number, 8, WEDGE_POOL_NEVER, NULL), -ENOBUFS);
    finish(pool, 5);
}
END_TEST

enum { EACH = 300, BOTH = 2 * EACH };
static pthread_mutex_t tally_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned put_by_all;

/* What is there now, counted. */
static void take_now(struct wedge_pool *pool)
{
    struct wedge_pool_result result;
    int rc = wedge_pool_take(pool, &result, NULL, 0, 0);
    ck_assert_msg(rc == 0 || rc == -ETIMEDOUT, "%d", rc);
    pthread_mutex_lock(&tally_lock);
    if (rc == 0)
        tally.times[result.id]++;
    tally.reported += rc == 0;
    pthread_mutex_unlock(&tally_lock);
}

static unsigned taken_by_all(void)
{
    pthread_mutex_lock(&tally_lock);
    unsigned n = tally.reported;
    pthread_mutex_unlock(&tally_lock);
    return n;
}

/* Puts, takes when it is asked to, and once it has put all goes on taking as long as the other may wait for it. */
static void *put_and_take(void *pool)
{
    int64_t until_ns = wedge_pool_after_ms(DEADLINE_MS);
    for (uint64_t number = 1; number <= EACH;) {
        int rc = wedge_pool_put(pool, &number, sizeof(number), until_ns, NULL);
        ck_assert_msg(rc == 0 || rc == -ENOBUFS, "%d", rc);
        number += rc == 0;
        if (rc == -ENOBUFS)
            take_now(pool);
    }
    atomic_fetch_add(&put_by_all, EACH);
    while (atomic_load(&put_by_all) < BOTH || taken_by_all() < BOTH) {
        ck_assert_int_lt(wedge_pool_after_ms(0), until_ns);
        take_now(pool);
    }
    return NULL;
}

/* Two that both put and take: one of them is always the one that is asked, so they never wait for each other. */
START_TEST(two_that_put_and_take_do_not_wait_for_each_other)
{
    struct wedge_pool *pool = start("hardened", square_task);
    pthread_t threads[2];
    atomic_store(&put_by_all, 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, put_and_take, pool), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    finish(pool, BOTH);
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_loop_test(t, put_many_accepts_what_there_is_room_for, 0, 2);
    tcase_add_loop_test(t, put_many_stops_at_one_that_is_too_large, 0, 2);
    tcase_add_loop_test(t, take_many_needs_no_buffer, 0, 2);
    tcase_add_test(t, who_took_last_is_asked_to_take);
    tcase_add_test(t, two_that_put_and_take_do_not_wait_for_each_other);
}

int main(void)
{
    return wedge_test_main("calls", 60, fill);
}
