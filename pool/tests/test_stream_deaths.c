/*
 * The streams with somebody dying: what the settings that promise what the slots promise (docs/pool-settings.md) keep of it, and
 * what the reported preset loses.
 *
 * The first tests have workers die at the one instant that matters: while somebody else stands where the dead one's leavings are
 * told or mended. Whoever is to wait for another one waits for its word, so that the order is the same at any speed.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <wedge/point.h>

#include "base/tests/suite.h"
#include "pool/tests/held.h"
#include "pool/tests/pace.h"

#define CURES                                                                                                          \
    "queue_lock=owned", "dead_task=lost", "result_bound=none", "close_by=flag", "check=1", "collector_wait=20",        \
        "parent_death=leave"
#define JOIN_MS 15000 /* of a join that comes to its end in a fraction of a second */
#define BIG     100000 /* 25 packets: more than a pipe holds */

static struct tally tally;
static pid_t parent;
static int after_death[2]; /* readable once somebody has the readers' lock after the death */

/* Shared with the workers. */
static struct shared {
    atomic_uint died, followed, held;
} * shared;

static bool is_first(atomic_uint *what)
{
    return atomic_exchange(what, 1) == 0;
}

static long first_reader_dies(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() != parent && is_first(&shared->died))
        kill(getpid(), SIGKILL);
    return 0;
}

static long say_follows(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() != parent && atomic_load(&shared->died) && is_first(&shared->followed))
        ck_assert_int_eq(write(after_death[1], "f", 1), 1);
    return 0;
}

/* The parent's feeder, before it lets the writers' lock go. */
static long hold_feeder(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() == parent && is_first(&shared->held))
        read_byte(after_death[0]);
    return 0;
}

static void make_shared(void)
{
    parent = getpid();
    make_pipe(after_death);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    tally_init(&tally);
}

static struct wedge_pool *start(const struct wedge_pool_callbacks *callbacks)
{
    make_shared();
    struct wedge_pool *pool = MAKE_POOL("proposed", "processes=2", "threads=1", "payload_bytes=100000", CURES);
    ck_assert_int_eq(wedge_pool_start(pool, callbacks, NULL), 0);
    return pool;
}

static void end(struct wedge_pool *pool, unsigned tasks)
{
    struct wedge_pool_err err = {0};
    int rc = wedge_pool_join(pool, wedge_pool_after_ms(paced_ms(JOIN_MS)), &err);
    ck_assert_msg(rc == 0, "join: %s: %s", strerror(-rc), err.message);
    tally_check_each_once(&tally, tasks);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_LOST], 1);
    wedge_pool_destroy(pool);
    check_no_child();
    munmap(shared, sizeof(*shared));
}

/* The message is read, its reader dead, and its writer has not let go: nobody can tell yet that nothing of it is to come. */
START_TEST(a_reader_dies_before_its_writer_let_go)
{
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    arm_place("pool.reader.head", first_reader_dies);
    arm_place("pool.reader.locked", say_follows);
    arm_place("pool.feeder.written", hold_feeder);
    struct wedge_pool *pool = start(&callbacks);
    put_number(pool, 1);
    end(pool, 1);
}
END_TEST

/* As before, and an idle worker waits in the pipe alone, as it does where nothing but marks ends it: it does not look for itself.
 * The dead one's task had all the room that there is, and the next one gets it. */
START_TEST(who_could_not_settle_is_told)
{
    const uint64_t number = 2;
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    make_shared();
    arm_place("pool.reader.head", first_reader_dies);
    arm_place("pool.reader.locked", say_follows);
    arm_place("pool.feeder.written", hold_feeder);
    struct wedge_pool *pool = MAKE_POOL("reported", "processes=2", "threads=1", "queue=1", "queue_lock=owned",
                                        "dead_task=lost", "result_bound=none", "check=1", "parent_death=leave");
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, 1);
    int rc = wedge_pool_put(pool, &number, sizeof(number), wedge_pool_after_ms(paced_ms(JOIN_MS)), NULL);
    ck_assert_msg(rc == 0, "put: %s", strerror(-rc));
    wedge_pool_destroy(pool);
    check_no_child();
    munmap(shared, sizeof(*shared));
}
END_TEST

/* The reader dies after the first of a task's packets: what follows belongs to nobody, and it is the last that comes. */
START_TEST(a_reader_dies_within_a_message)
{
    static uint8_t data[BIG];
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    arm_place("pool.reader.head", first_reader_dies);
    struct wedge_pool *pool = start(&callbacks);
    ck_assert_int_eq(wedge_pool_put(pool, data, sizeof(data), WEDGE_POOL_NEVER, NULL), 0);
    end(pool, 1);
}
END_TEST

/* Item 1.1a with its cure: the dead workers' tasks are forgotten, and the collector leaves all the same. */
START_TEST(reported_forgets_a_dead_workers_task)
{
    struct pipes pipes;
    struct wedge_pool *pool =
        MAKE_POOL("reported", "processes=1", "threads=2", "collector_wait=20", "collector_leaves=no_workers");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, all_are_held);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 6; number++)
        put_number(pool, number);
    pid_t pid = read_pid(pipes.said[0]);
    ck_assert_int_eq(read_pid(pipes.said[0]), pid); /* both threads have one */
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    ck_assert_uint_eq(tally.reported, 0);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* What join says of the tasks of the dead is on its way to the results while no worker lives and the pipe is still empty: the
 * results do not end before it. Once with a taker that comes after join, once with a taker that needs no join. */
START_TEST(the_results_end_after_the_parents_last_word)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("proposed", "processes=1", "threads=2", "queue=64", "queue_lock=owned",
                                        "dead_task=lost", "collector_leaves=no_workers", "collector_wait=20");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, all_are_held);
    callbacks.collect = NULL;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 40; number++)
        put_number(pool, number);
    pid_t pid = read_pid(pipes.said[0]);
    ck_assert_int_eq(read_pid(pipes.said[0]), pid); /* both threads have one */
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    if (_i == 0)
        ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    take_all(pool, &tally);
    tally_check_each_once(&tally, 40);
    ck_assert_uint_ge(tally.outcomes[WEDGE_POOL_LOST], 2);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], 0);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static _Atomic long writes_left; /* until the pipe is full */
static int full_fd;

static long count_write(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (atomic_fetch_sub(&writes_left, 1) == 1)
        ck_assert_int_eq(write(full_fd, "f", 1), 1);
    return 0;
}

/* The parent's own words fill the pipe and nobody takes them: its feeder waits in write(2), and is not waited for. A pipe
 * holds 16 packets, or 64 KiB of messages of 32 bytes (pipe(7)): the write after those cannot end. */
START_TEST(destroy_needs_no_reader)
{
    struct pipes pipes;
    int full[2];
    struct wedge_pool *pool = MAKE_POOL("proposed", "processes=1", "threads=1", "queue=4000", "result_bound=none",
                                        "dead_task=lost", _i ? "queue_lock=owned" : "idle_holds_reader=no");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, all_are_held);
    callbacks.collect = NULL;
    make_pipe(full);
    full_fd = full[1];
    atomic_store(&writes_left, _i ? 17 : 2049);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 3900; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(kill(read_pid(pipes.said[0]), SIGKILL), 0);
    arm_place("pool.feeder.locked", count_write);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0); /* says what became of 3900 tasks */
    read_byte(full[0]);
    wedge_pool_destroy(pool);
    arm_place("pool.feeder.locked", NULL);
    check_no_child();
}
END_TEST

/* Item 1.1a itself: every worker is dead, and join's deadline is all there is. destroy cleans up even so. */
START_TEST(reported_collector_waits_for_the_dead)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("reported", "processes=1", "threads=1");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, all_are_held);
    struct wedge_pool_err err = {0};
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, 1);
    pid_t pid = read_pid(pipes.said[0]);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    int rc;
    do
        rc = wedge_pool_join(pool, wedge_pool_after_ms(100), &err);
    while (rc == -ETIMEDOUT && strstr(err.message, "workers have not left"));
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_msg(strstr(err.message, "the collector has not left; 1 task") != NULL, "%s", err.message);
    ck_assert_int_eq(wedge_pool_shutdown(pool, 0, &err), -ETIMEDOUT); /* its own mark reaches the collector */
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

START_TEST(reported_is_destroyed_while_it_hangs)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("reported", "processes=2", "threads=2", "queue=2");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, all_are_held);
    uint64_t number = 9;
    int rc = 0;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    while (rc == 0)
        rc = wedge_pool_put(pool, &number, sizeof(number), wedge_pool_after_ms(200), NULL);
    ck_assert_int_eq(rc, -ETIMEDOUT);
    wedge_pool_destroy(pool); /* workers in their tasks, the collector in its read */
    check_no_child();
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_test(t, a_reader_dies_before_its_writer_let_go);
    tcase_add_test(t, who_could_not_settle_is_told);
    tcase_add_test(t, a_reader_dies_within_a_message);
    tcase_add_test(t, reported_forgets_a_dead_workers_task);
    tcase_add_loop_test(t, destroy_needs_no_reader, 0, 2);
    tcase_add_loop_test(t, the_results_end_after_the_parents_last_word, 0, 2);
    tcase_add_test(t, reported_collector_waits_for_the_dead);
    tcase_add_test(t, reported_is_destroyed_while_it_hangs);
}

int main(void)
{
    return wedge_test_main("stream deaths", 60, fill);
}
