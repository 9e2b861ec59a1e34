/* <wedge/pool.h> with someone dying: what the hardened preset promises then, and what the reported one loses. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/tests/pace.h"
#include "pool/tests/util.h"

static struct tally tally;

static void say_pid(int fd)
{
    pid_t pid = getpid();
    ck_assert_int_eq(write(fd, &pid, sizeof(pid)), sizeof(pid));
}

/* Task 1 says who has it and never ends; the others are squared. */
static int first_is_held(struct wedge_pool_task *task, void *context)
{
    const struct tally *t = context;
    char byte;
    if (task->id != 1)
        return square_task(task, context);
    say_pid(t->say_fd);
    return read(t->go_fd, &byte, 1) == 1 ? 0 : 1;
}

/* Every task says who has it and never ends. */
static int all_are_held(struct wedge_pool_task *task, void *context)
{
    const struct tally *t = context;
    char byte;
    (void)task;
    say_pid(t->say_fd);
    return read(t->go_fd, &byte, 1) == 1 ? 0 : 1;
}

struct pipes {
    int said[2], go[2];
};

/* Over pipes that are there already. */
static struct wedge_pool_callbacks held_by(const struct pipes *pipes, int (*task)(struct wedge_pool_task *, void *))
{
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    tally_init(&tally);
    tally.say_fd = pipes->said[1];
    tally.go_fd = pipes->go[0];
    callbacks.task = task;
    return callbacks;
}

static struct wedge_pool_callbacks held_callbacks(struct pipes *pipes, int (*task)(struct wedge_pool_task *, void *))
{
    make_pipe(pipes->said);
    make_pipe(pipes->go);
    return held_by(pipes, task);
}

static pid_t parent_of(pid_t pid)
{
    char path[64], line[512];
    int parent = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
    fclose(file);
    const char *after_name = strrchr(line, ')');
    ck_assert_ptr_nonnull(after_name);
    ck_assert_int_eq(sscanf(after_name, ") %*c %d", &parent), 1);
    return parent;
}

START_TEST(a_killed_workers_task_is_lost_and_the_worker_replaced)
{
    enum { N = 200 };
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2", "queue=8");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, first_is_held);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, first_is_held);
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

static int say_init(const struct wedge_pool_place *place, void *context)
{
    const struct tally *t = context;
    (void)place;
    say_pid(t->say_fd);
    return 0;
}

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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, square_task);
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

/* Item 1.1a with its cure: the dead workers' tasks are forgotten, and the collector leaves all the same. */
START_TEST(reported_forgets_a_dead_workers_task)
{
    struct pipes pipes;
    struct wedge_pool *pool =
        MAKE_POOL("reported", "processes=1", "threads=2", "collector_wait=20", "collector_leaves=no_workers");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, all_are_held);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, all_are_held);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, all_are_held);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, all_are_held);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, all_are_held);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, square_task);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, square_task);
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

/* Until every thread of the process is stopped: SIGSTOP is not at work when kill returns. */
static void wait_stopped(pid_t pid)
{
    char path[64], line[512];
    const char *after_name = NULL;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    do {
        FILE *file = fopen(path, "re");
        ck_assert_ptr_nonnull(file);
        ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
        fclose(file);
        after_name = strrchr(line, ')');
        ck_assert_ptr_nonnull(after_name);
    } while (after_name[2] != 'T'); /* it is a grandchild: there is nothing to wait on but its state */
}

/* Items 2.3c and d with their cure: join returns, nothing is lost that was finished. */
START_TEST(a_stuck_finalizer_is_ended)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2", "final_limit=100");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, square_task);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, first_is_held);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, square_task);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, square_task);
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
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, all_are_held);
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

/* Without the zygote nobody can be started: what it had is settled, and put refuses. */
START_TEST(the_zygotes_death_breaks_the_pool_and_hangs_nobody)
{
    enum { N = 6 };
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=1", "queue=4");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, all_are_held);
    struct wedge_pool_stats stats;
    uint64_t number = N + 1;
    int rc = 0;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t i = 1; i <= N; i++)
        put_number(pool, i);
    pid_t worker = read_pid(pipes.said[0]), zygote = parent_of(worker);
    read_pid(pipes.said[0]);
    ck_assert_int_eq(parent_of(zygote), getpid());
    ck_assert_int_eq(kill(zygote, SIGKILL), 0);
    while (rc == 0) /* room comes from the lost ones */
        rc = wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL);
    ck_assert_int_eq(rc, -ENOTRECOVERABLE);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.accepted, stats.reported);
    tally_check_each_once(&tally, (unsigned)stats.accepted);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_LOST], 2);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* The parent's only child so far. It was forked by this thread, which is what the kernel lists it by. */
static pid_t only_child(void)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)gettid());
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%d", &pid), 1);
    fclose(file);
    return pid;
}

/*
 * The zygote is killed while it starts workers, a little later each time, and whoever it leaves behind is reaped at once:
 * a pid that the supervisor hears of may be nobody's by then. A worker that it does not know must not take a task.
 */
START_TEST(the_zygote_may_die_at_any_time)
{
    enum { TIMES = 60, N = 4 };
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    for (int i = 0; i < TIMES; i++) {
        struct wedge_pool *pool = MAKE_POOL("hardened", "processes=3", "threads=1", "queue=4", "life_tasks=1");
        struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
        struct wedge_pool_stats stats;
        uint64_t number = 1;
        tally_init(&tally);
        ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
        pid_t zygote = only_child();
        int rc = 0;
        for (int k = 0; rc == 0 && k < i; k++, number++) /* later each time */
            rc = wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL);
        ck_assert_int_eq(rc, 0);
        ck_assert_int_eq(kill(zygote, SIGKILL), 0);
        for (; rc == 0; number++) {
            rc = wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL);
            waitpid(-1, NULL, WNOHANG | __WNOTHREAD); /* orphans; this thread's own child is the zygote alone */
        }
        ck_assert_int_eq(rc, -ENOTRECOVERABLE);
        ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
        wedge_pool_stats(pool, &stats);
        ck_assert_uint_eq(stats.accepted, stats.reported);
        tally_check_each_once(&tally, (unsigned)stats.accepted);
        wedge_pool_destroy(pool);
        while (waitpid(-1, NULL, 0) > 0)
            ;
    }
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 0), 0); /* for the next one, where tests are not forked */
}
END_TEST

/* The zygote, or the parent, has no descriptor left for two seconds: nobody can be started, and no pool breaks for that. */
START_TEST(a_short_shortage_breaks_nothing)
{
    enum { N = 6 };
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=1", "life_tasks=1");
    struct wedge_pool_callbacks callbacks = {.task = square_task};
    struct wedge_pool_stats stats;
    struct wedge_pool_result result;
    struct rlimit had, none;
    uint64_t square;
    int64_t until_ns;
    int rc, taken = 0;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, 1); /* its result says that the zygote has got through its own start */
    ck_assert_int_eq(wedge_pool_take(pool, &result, &square, sizeof(square), wedge_pool_after_ms(20000)), 0);
    pid_t pid = _i ? getpid() : only_child();
    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, NULL, &had), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = had.rlim_max};
    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, &none, NULL), 0);
    for (uint64_t number = 2; number <= N + 1; number++)
        put_number(pool, number);
    until_ns = wedge_pool_after_ms(2000);
    for (; (rc = wedge_pool_take(pool, &result, &square, sizeof(square), until_ns)) == 0; taken++)
        ck_assert_int_eq(result.outcome, WEDGE_POOL_OK); /* of those who were started before */
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, &had, NULL), 0);
    until_ns = wedge_pool_after_ms(20000);
    for (; taken < N && wedge_pool_take(pool, &result, &square, sizeof(square), until_ns) == 0; taken++)
        ck_assert_int_eq(result.outcome, WEDGE_POOL_OK);
    ck_assert_int_eq(taken, N);
    ck_assert_int_eq(wedge_pool_join(pool, until_ns, NULL), 0);
    wedge_pool_stats(pool, &stats);
    ck_assert(!stats.broken);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* Stopped, it can neither start nor reap: it is ended when it owes an answer for idle_limit, and the pool is broken. */
START_TEST(a_stopped_zygote_is_ended)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=1", "queue=4", "idle_limit=2000");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, all_are_held);
    uint64_t number = 1;
    int rc = 0;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, number++);
    pid_t worker = read_pid(pipes.said[0]), zygote = parent_of(worker);
    ck_assert_int_eq(kill(zygote, SIGSTOP), 0);
    wait_stopped(zygote);
    ck_assert_int_eq(kill(worker, SIGKILL), 0);
    int64_t until_ns = wedge_pool_after_ms(paced_ms(HEEDED_MS));
    for (; rc == 0; number++)
        rc = wedge_pool_put(pool, &number, sizeof(number), until_ns, NULL);
    ck_assert_int_eq(rc, -ENOTRECOVERABLE);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    tally_check_each_once(&tally, (unsigned)number - 2);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_LOST], 1);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

static int block_signals(const struct wedge_pool_place *place, void *context)
{
    sigset_t all;
    (void)place;
    (void)context;
    sigfillset(&all);
    return sigprocmask(SIG_SETMASK, &all, NULL);
}

enum { HELD, BLOCKED, FORKING, STREAM, PARENT_VARIANTS };

/* The parent: never returns. FORKING: its zygote forks all the time, since each worker leaves after one task. */
static _Noreturn void parent_main(const struct pipes *pipes, int variant)
{
    struct wedge_pool_callbacks callbacks = held_by(pipes, variant == FORKING ? square_task : all_are_held);
    struct wedge_pool *pool = variant == STREAM
                                  ? MAKE_POOL("reported", "processes=2", "threads=2", "parent_death=leave")
                              : variant == FORKING ? MAKE_POOL("hardened", "processes=2", "threads=1", "life_tasks=1")
                                                   : MAKE_POOL("hardened", "processes=2", "threads=2");
    struct wedge_pool_result result;
    if (variant == BLOCKED)
        callbacks.process_init = block_signals;
    callbacks.collect = NULL;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= 4; number++)
        put_number(pool, number);
    for (uint64_t number = 5; variant == FORKING; number++) {
        ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, WEDGE_POOL_NEVER), 0);
        if (number == 20)
            say_pid(pipes->said[1]);
        put_number(pool, number);
    }
    wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL);
    _exit(1); /* not reached: the tasks never end */
}

/* Every process of the pool has the write end of `alive`: it is closed when the last of them is gone. */
START_TEST(a_dead_parent_leaves_nobody)
{
    int alive[2];
    for (int i = 0; i < (_i == FORKING ? 20 : 1); i++) {
        struct pipes pipes = {0};
        make_pipe(pipes.said);
        make_pipe(pipes.go);
        make_pipe(alive);
        pid_t parent = fork();
        ck_assert_int_ge(parent, 0);
        if (parent == 0) {
            close(alive[0]);
            parent_main(&pipes, _i);
        }
        close(alive[1]);
        for (int said = 0; said < (_i == FORKING ? 1 : 4); said++)
            read_pid(pipes.said[0]);
        ck_assert(!closed_within(alive[0], 0));
        ck_assert_int_eq(kill(parent, SIGKILL), 0);
        ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
        ck_assert_msg(closed_within(alive[0], paced_ms(_i == STREAM ? 1000 : 2000)),
                      "a process of the pool outlived its parent");
        close(alive[0]);
    }
}
END_TEST

/* A worker is killed again and again under load, each time with a task in hand: the accounts stay right. */
START_TEST(accounts_hold_under_kills)
{
    enum { KILLS = 25, PER = 20 };
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2", "queue=8");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, square_task);
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
    tcase_add_test(t, reported_forgets_a_dead_workers_task);
    tcase_add_loop_test(t, destroy_needs_no_reader, 0, 2);
    tcase_add_loop_test(t, the_results_end_after_the_parents_last_word, 0, 2);
    tcase_add_test(t, reported_collector_waits_for_the_dead);
    tcase_add_test(t, reported_is_destroyed_while_it_hangs);
    tcase_add_loop_test(t, a_stuck_initializer_is_ended_and_replaced, 0, 4);
    tcase_add_test(t, reported_start_limit_holds_in_join);
    tcase_add_loop_test(t, a_stuck_finalizer_is_ended, 0, 2);
    tcase_add_test(t, a_crash_loop_is_broken);
    tcase_add_test(t, a_task_past_its_limit_times_out);
    tcase_add_test(t, a_stopped_worker_is_ended_and_replaced);
    tcase_add_test(t, a_worker_stopped_while_it_leaves_is_ended);
    tcase_add_test(t, shutdown_settles_every_task);
    tcase_add_test(t, the_zygotes_death_breaks_the_pool_and_hangs_nobody);
    tcase_add_test(t, the_zygote_may_die_at_any_time);
    if (paced_ms(1) == 1) /* not under valgrind, which needs a descriptor itself to fork: ci/under says so */
        tcase_add_loop_test(t, a_short_shortage_breaks_nothing, 0, 2);
    tcase_add_test(t, a_stopped_zygote_is_ended);
    tcase_add_loop_test(t, a_dead_parent_leaves_nobody, HELD, PARENT_VARIANTS);
    tcase_add_test(t, accounts_hold_under_kills);
}

int main(void)
{
    return wedge_test_main("deaths", 30, fill);
}
