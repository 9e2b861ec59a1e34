/* <wedge/pool.h> with nobody dying: both transports, both ways to get results, order of callbacks, refusals. */
#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/tests/pace.h"
#include "pool/tests/util.h"

static struct tally tally;

static const char *const presets[] = {"reported", "hardened"};
#define N_PRESETS 2
static const char *const all_presets[] = {"reported", "proposed", "hardened"};

START_TEST(collector_gets_each_task_once)
{
    enum { N = 600 };
    struct wedge_pool *pool = MAKE_POOL(presets[_i], "processes=2", "threads=3", "queue=16");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    tally_init(&tally);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= N; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, N);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], N);

    struct wedge_pool_stats stats;
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.accepted, N);
    ck_assert_uint_eq(stats.reported, N);
    ck_assert_uint_eq(stats.outcomes[WEDGE_POOL_OK], N);
    ck_assert_uint_eq(stats.deaths, 0);
    ck_assert_uint_eq(stats.replaced, 0);
    ck_assert_uint_eq(stats.workers_alive, 0);
    ck_assert(stats.closed && !stats.broken);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

START_TEST(iteration_gets_each_task_once)
{
    enum { N = 20 };
    struct wedge_pool *pool = MAKE_POOL(presets[_i], "processes=2", "threads=2", "queue=40");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    tally_init(&tally);
    callbacks.collect = NULL;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= N; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    take_all(pool, &tally);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, N);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* One thread puts and takes: it is told to take, instead of being left to wait for itself. */
START_TEST(hardened_asks_the_only_taker_to_take)
{
    enum { N = 100 };
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=2", "queue=2");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    struct wedge_pool_result result;
    unsigned asked = 0;
    uint64_t buffer;
    tally_init(&tally);
    callbacks.collect = NULL;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= N; number++) {
        int rc;
        while ((rc = wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL)) == -ENOBUFS) {
            asked++;
            ck_assert_int_eq(wedge_pool_take(pool, &result, &buffer, sizeof(buffer), WEDGE_POOL_NEVER), 0);
            tally_add(&tally, &result);
        }
        ck_assert_int_eq(rc, 0);
    }
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    take_all(pool, &tally);
    ck_assert_uint_ge(asked, N - 4); /* four slots: every put but the first four met a full pool */
    tally_check_each_once(&tally, N);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* Item 2.2: nobody takes, both queues fill, and then put's deadline is all there is. Growing results cure it. */
START_TEST(reported_fills_up_for_good)
{
    bool cured = _i;
    struct wedge_pool *pool = MAKE_POOL("reported", "processes=1", "threads=2", "queue=3",
                                        cured ? "result_bound=none" : "result_bound=bounded");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    uint64_t number;
    int rc = 0;
    tally_init(&tally);
    callbacks.collect = NULL;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (number = 1; rc == 0 && number <= 100; number++)
        rc = wedge_pool_put(pool, &number, sizeof(number), wedge_pool_after_ms(cured ? 10000 : 300), NULL);
    if (cured) {
        ck_assert_int_eq(rc, 0);
    } else {
        ck_assert_int_eq(rc, -ETIMEDOUT);
        ck_assert_uint_eq(number - 1, 3 + 3 + 2 + 1); /* both queues, two threads' hands, and the one refused */
        struct wedge_pool_result result;
        uint64_t buffer; /* a take makes room: it was full and not broken */
        ck_assert_int_eq(wedge_pool_take(pool, &result, &buffer, sizeof(buffer), WEDGE_POOL_NEVER), 0);
        ck_assert_int_eq(wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL), 0);
    }
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* The literal remedy of 1.4, result_put=drop: without room a result is lost, and the pool still ends. */
START_TEST(dropped_results_are_lost_and_join_returns)
{
    struct wedge_pool *pool = MAKE_POOL("proposed", "processes=1", "threads=1", "queue=2", "collector_wait=20");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    tally_init(&tally);
    callbacks.collect = NULL;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 30; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    take_all(pool, &tally);
    ck_assert_uint_eq(tally.reported, 2); /* what fits; the rest found no room */
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static int failing_task(struct wedge_pool_task *task, void *context)
{
    uint64_t number;
    memcpy(&number, task->data, sizeof(number));
    if (number == 2)
        return 7;
    if (number == 3) {
        task->result_bytes = task->result_room + 1;
        return 0;
    }
    return square_task(task, context);
}

START_TEST(an_error_is_a_result)
{
    struct wedge_pool *pool = MAKE_POOL(presets[_i], "processes=1", "threads=1");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    tally_init(&tally);
    callbacks.task = failing_task;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 4; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, 4);
    ck_assert_int_eq(tally.outcome[2], WEDGE_POOL_ERROR);
    ck_assert_int_eq(tally.code[2], 7);
    ck_assert_int_eq(tally.outcome[3], WEDGE_POOL_ERROR);
    ck_assert_int_eq(tally.code[3], -EMSGSIZE);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], 2);
    wedge_pool_destroy(pool);
}
END_TEST

#define BIG 200000

static int turn_bytes(struct wedge_pool_task *task, void *context)
{
    const uint8_t *from = task->data;
    uint8_t *to = task->result;
    (void)context;
    for (size_t i = 0; i < task->bytes; i++)
        to[i] = from[task->bytes - 1 - i];
    task->result_bytes = task->bytes;
    return 0;
}

/* Larger than a pipe (64 KiB): the whole message comes through, in pieces. */
START_TEST(big_payloads_come_whole)
{
    static uint8_t sent[BIG], got[BIG];
    struct wedge_pool *pool = MAKE_POOL(presets[_i], "processes=2", "threads=1", "payload_bytes=200000", "queue=4");
    struct wedge_pool_callbacks callbacks = {.task = turn_bytes};
    struct wedge_pool_result result;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (size_t i = 0; i < BIG; i++)
        sent[i] = (uint8_t)(i * 31 + i / 977);
    for (int round = 0; round < 3; round++) {
        memset(got, 0, sizeof(got));
        ck_assert_int_eq(wedge_pool_put(pool, sent, BIG, WEDGE_POOL_NEVER, NULL), 0);
        ck_assert_int_eq(wedge_pool_take(pool, &result, got, BIG, WEDGE_POOL_NEVER), 0);
        ck_assert_uint_eq(result.bytes, BIG);
        ck_assert_ptr_eq(result.data, got);
        for (size_t i = 0; i < BIG; i++)
            ck_assert_uint_eq(got[i], sent[BIG - 1 - i]);
    }
    ck_assert_int_eq(wedge_pool_put(pool, sent, BIG + 1, WEDGE_POOL_NEVER, NULL), -EMSGSIZE);
    /* cut to the buffer, and the whole length said */
    ck_assert_int_eq(wedge_pool_put(pool, sent, BIG, WEDGE_POOL_NEVER, NULL), 0);
    ck_assert_int_eq(wedge_pool_take(pool, &result, got, 5, WEDGE_POOL_NEVER), 0);
    ck_assert_uint_eq(result.bytes, BIG);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static void say(const struct tally *t, char byte)
{
    ck_assert_int_eq(write(t->say_fd, &byte, 1), 1);
}
static int say_process_init(const struct wedge_pool_place *place, void *context)
{
    say(context, place->thread == 0 && place->process == 1 && place->generation == 0 ? 'P' : '!');
    return 0;
}
static int say_thread_init(const struct wedge_pool_place *place, void *context)
{
    say(context, place->thread == 1 ? 'T' : '!');
    return 0;
}
static int say_task(struct wedge_pool_task *task, void *context)
{
    say(context, task->place.process == 1 && task->place.thread == 1 ? 'x' : '!');
    return square_task(task, context);
}
static void say_thread_final(const struct wedge_pool_place *place, void *context)
{
    say(context, place->thread == 1 ? 't' : '!');
}
static void say_process_final(const struct wedge_pool_place *place, void *context)
{
    say(context, place->thread == 0 ? 'p' : '!');
}

START_TEST(callbacks_come_in_order)
{
    struct wedge_pool *pool = MAKE_POOL(presets[_i], "processes=1", "threads=1");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    int fds[2];
    char said[16] = "";
    tally_init(&tally);
    make_pipe(fds);
    tally.say_fd = fds[1];
    callbacks.task = say_task;
    callbacks.process_init = say_process_init;
    callbacks.thread_init = say_thread_init;
    callbacks.thread_final = say_thread_final;
    callbacks.process_final = say_process_final;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, 1);
    put_number(pool, 2);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    ck_assert_int_eq(read(fds[0], said, sizeof(said) - 1), 6);
    ck_assert_str_eq(said, "PTxxtp");
    wedge_pool_destroy(pool);
}
END_TEST

START_TEST(calls_out_of_order_are_refused)
{
    struct wedge_pool *pool = MAKE_POOL(presets[_i], "processes=1", "threads=1");
    struct wedge_pool_callbacks none = {0}, callbacks = square_callbacks(&tally);
    struct wedge_pool_result result;
    struct wedge_pool_err err = {0};
    uint64_t number = 1;
    tally_init(&tally);
    ck_assert_int_eq(wedge_pool_put(pool, &number, sizeof(number), 0, NULL), -EPIPE);
    ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, 0), -EINVAL);
    ck_assert_int_eq(wedge_pool_close(pool, 0), -EPIPE);
    ck_assert_int_eq(wedge_pool_join(pool, 0, &err), -EPIPE);
    ck_assert_int_eq(wedge_pool_shutdown(pool, 0, &err), -EPIPE);
    ck_assert_int_eq(wedge_pool_start(pool, &none, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "task"));
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, &err), 0);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, &err), -EBUSY);
    ck_assert_int_eq(wedge_pool_set(pool, "threads=3", &err), -EBUSY);
    ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, 0), -EINVAL); /* it has a collector */
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL), -EPIPE);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    ck_assert_int_eq(wedge_pool_shutdown(pool, 0, NULL), 0);
    wedge_pool_destroy(pool);
    wedge_pool_destroy(NULL);
    check_no_child();
}
END_TEST

/* Says that it has the task, then waits for leave to go on. */
static int held_task(struct wedge_pool_task *task, void *context)
{
    const struct tally *t = context;
    char byte;
    say(t, 'x');
    ck_assert_int_eq(read(t->go_fd, &byte, 1), 1);
    return square_task(task, context);
}

START_TEST(deadlines_are_kept)
{
    struct wedge_pool *pool = MAKE_POOL(presets[_i], "processes=1", "threads=1", "queue=1");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    struct wedge_pool_result result;
    int said[2], go[2];
    uint64_t buffer;
    tally_init(&tally);
    make_pipe(said);
    make_pipe(go);
    tally.say_fd = said[1];
    tally.go_fd = go[0];
    callbacks.collect = NULL;
    callbacks.task = held_task;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    ck_assert_int_eq(wedge_pool_take(pool, &result, &buffer, sizeof(buffer), wedge_pool_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(wedge_pool_take(pool, &result, &buffer, sizeof(buffer), 0), -ETIMEDOUT);
    put_number(pool, 1);
    ck_assert_int_eq(read_byte(said[0]), 'x');
    ck_assert_int_eq(wedge_pool_take(pool, &result, &buffer, sizeof(buffer), wedge_pool_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(write(go[1], "g", 1), 1);
    ck_assert_int_eq(wedge_pool_take(pool, &result, &buffer, sizeof(buffer), WEDGE_POOL_NEVER), 0);
    ck_assert_uint_eq(result.id, 1);
    ck_assert_uint_eq(buffer, 1);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(wedge_pool_take(pool, &result, &buffer, sizeof(buffer), WEDGE_POOL_NEVER), -ENODATA);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

START_TEST(join_says_what_it_waited_for)
{
    struct wedge_pool *pool = MAKE_POOL(presets[_i], "processes=1", "threads=1");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    struct wedge_pool_err err = {0};
    int said[2], go[2];
    tally_init(&tally);
    make_pipe(said);
    make_pipe(go);
    tally.say_fd = said[1];
    tally.go_fd = go[0];
    callbacks.task = held_task;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, 1);
    ck_assert_int_eq(read_byte(said[0]), 'x');
    ck_assert_int_eq(wedge_pool_join(pool, wedge_pool_after_ms(20), &err), -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(err.message, "workers have not left; 1 task"));
    ck_assert_int_eq(write(go[1], "g", 1), 1);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, &err), 0);
    tally_check_each_once(&tally, 1);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static void held_collect(const struct wedge_pool_result *result, void *context)
{
    struct tally *t = context;
    char byte;
    tally_add(t, result);
    say(t, 'c');
    ck_assert_int_eq(read(t->go_fd, &byte, 1), 1);
}

START_TEST(join_names_a_stuck_collector)
{
    struct wedge_pool *pool = MAKE_POOL(presets[_i], "processes=1", "threads=1");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    struct wedge_pool_err err = {0};
    int said[2], go[2], rc;
    tally_init(&tally);
    make_pipe(said);
    make_pipe(go);
    tally.say_fd = said[1];
    tally.go_fd = go[0];
    callbacks.collect = held_collect;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, 1);
    ck_assert_int_eq(read_byte(said[0]), 'c');
    /* The worker may need longer than the deadline to leave: until it has, that is what join names. */
    do
        rc = wedge_pool_join(pool, wedge_pool_after_ms(50), &err);
    while (rc == -ETIMEDOUT && strstr(err.message, "workers have not left"));
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_msg(strstr(err.message, "collect callback has been running") != NULL, "%s", err.message);
    ck_assert_int_eq(write(go[1], "g", 1), 1);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, &err), 0);
    wedge_pool_destroy(pool);
}
END_TEST

START_TEST(outcomes_have_names)
{
    ck_assert_str_eq(wedge_pool_outcome_name(WEDGE_POOL_OK), "ok");
    ck_assert_str_eq(wedge_pool_outcome_name(WEDGE_POOL_INIT_FAILED), "init_failed");
    ck_assert_str_eq(wedge_pool_outcome_name((enum wedge_pool_outcome)0), "?");
    ck_assert_str_eq(wedge_pool_outcome_name(WEDGE_POOL_OUTCOMES), "?");
}
END_TEST

/* What a process has of the kernel. */
struct possessions {
    int descriptors, mappings;
    long resident_kib; /* 0: not told, see below */
};

static int count_entries(const char *folder)
{
    DIR *dir = opendir(folder);
    int n = 0;
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static struct possessions possessions(void)
{
    struct possessions has = {.descriptors = count_entries("/proc/self/fd")};
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re"), *status = fopen("/proc/self/status", "re");
    ck_assert(maps && status);
    while (fgets(line, sizeof(line), maps))
        has.mappings += strchr(line, '\n') != NULL;
    while (fgets(line, sizeof(line), status))
        if (strncmp(line, "VmRSS:", 6) == 0)
            has.resident_kib = strtol(line + 6, NULL, 10);
    fclose(maps);
    fclose(status);
    if (mallinfo2().uordblks ==
        0) /* not glibc's heap: sanitizers and valgrind keep what is freed, and look for leaks themselves */
        has.resident_kib = 0;
    return has;
}

/* One whole life: every task reported, every process gone. */
static void live_once(const char *preset, bool iterate)
{
    enum { N = 20 };
    struct wedge_pool *pool = MAKE_POOL(preset, "processes=2", "threads=2", "queue=40");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    tally_init(&tally);
    if (iterate)
        callbacks.collect = NULL;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= N; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    if (iterate)
        take_all(pool, &tally);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, N);
    wedge_pool_destroy(pool);
}

/*
 * A life leaves nothing behind in the parent: what it has after the tenth it has after the last. A mapping or a page for each
 * would be 90 of them; the bounds are for what an allocator does by itself. WEDGE_TEST_CYCLES: how many, for longer runs.
 */
START_TEST(a_life_leaves_nothing_behind)
{
    enum { FIRST = 10, MAPPINGS_BOUND = 20 };
    const char *more = getenv("WEDGE_TEST_CYCLES");
    int cycles = more ? atoi(more) : paced_ms(1) > 1 ? FIRST + 5 : 100;
    for (int i = 0; i < FIRST; i++)
        live_once(all_presets[_i / 2], _i % 2);
    struct possessions before = possessions();
    for (int i = FIRST; i < cycles; i++)
        live_once(all_presets[_i / 2], _i % 2);
    struct possessions after = possessions();
    ck_assert_int_eq(after.descriptors, before.descriptors);
    ck_assert_int_lt(after.mappings, before.mappings + MAPPINGS_BOUND);
    if (before.resident_kib > 0)
        ck_assert_int_lt(after.resident_kib, before.resident_kib + 2 * (cycles - FIRST));
    check_no_child();
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_loop_test(t, collector_gets_each_task_once, 0, N_PRESETS);
    tcase_add_loop_test(t, iteration_gets_each_task_once, 0, N_PRESETS);
    tcase_add_test(t, hardened_asks_the_only_taker_to_take);
    tcase_add_loop_test(t, reported_fills_up_for_good, 0, 2);
    tcase_add_test(t, dropped_results_are_lost_and_join_returns);
    tcase_add_loop_test(t, an_error_is_a_result, 0, N_PRESETS);
    tcase_add_loop_test(t, big_payloads_come_whole, 0, N_PRESETS);
    tcase_add_loop_test(t, callbacks_come_in_order, 0, N_PRESETS);
    tcase_add_loop_test(t, calls_out_of_order_are_refused, 0, N_PRESETS);
    tcase_add_loop_test(t, deadlines_are_kept, 0, N_PRESETS);
    tcase_add_loop_test(t, join_says_what_it_waited_for, 0, N_PRESETS);
    tcase_add_loop_test(t, join_names_a_stuck_collector, 0, N_PRESETS);
    tcase_add_test(t, outcomes_have_names);
    tcase_add_loop_test(t, a_life_leaves_nothing_behind, 0, 6);
}

int main(void)
{
    return wedge_test_main("pool", 30, fill);
}
