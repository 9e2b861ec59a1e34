/*
 * The streams with the settings that promise what the slots promise (docs/pool-settings.md), and workers that die at the one
 * instant that matters: while somebody else stands where the dead one's leavings are told or mended. Whoever is to wait for
 * another one waits for its word, so that the order is the same at any speed. Each accepted task is reported once, and join returns.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <wedge/point.h>

#include "base/tests/suite.h"
#include "pool/tests/pace.h"
#include "pool/tests/util.h"

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

static struct wedge_pool *start(const struct wedge_pool_callbacks *callbacks)
{
    parent = getpid();
    make_pipe(after_death);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    struct wedge_pool *pool = MAKE_POOL("proposed", "processes=2", "threads=1", "payload_bytes=100000", CURES);
    tally_init(&tally);
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

static void fill(TCase *t)
{
    tcase_add_test(t, a_reader_dies_before_its_writer_let_go);
    tcase_add_test(t, a_reader_dies_within_a_message);
}

int main(void)
{
    return wedge_test_main("stream deaths", 60, fill);
}
