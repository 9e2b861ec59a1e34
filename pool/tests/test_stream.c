/*
 * Each hazard of the streams and its cure. A play runs in a process of its own, which is the pool's parent, and ends with
 * a verdict. With the hazard it hangs in the call that the table names (or loses something, and says so); with one
 * setting more it comes to its end. What hangs is killed with its whole process group.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wedge/point.h>

#include "base/tests/suite.h"
#include "pool/tests/pace.h"
#include "pool/tests/util.h"

#define HANG_MS  400 /* how long a play is watched before what it waits in is looked at */
#define GRACE_MS 1000 /* of a shutdown: how far past its deadline it may go */
#define CURED_MS 20000
#define BIG      100000 /* more than a pipe holds */

enum verdict { WELL, LOSES, HANGS, ENDS }; /* ENDS: comes to its end, whatever was lost */

static struct tally tally;
static struct wedge_pool *pool;
static int said[2], go[2]; /* for tasks and callbacks: what they say, and the leave to go on */
static pid_t parent; /* the play's process */

/* Shared with the workers. */
static struct shared {
    atomic_uint passes; /* of the armed place, by those whom it is meant for */
} * shared;

static void say_pid(void)
{
    pid_t pid = getpid();
    ck_assert_int_eq(write(said[1], &pid, sizeof(pid)), sizeof(pid));
}

static void wait_go(void)
{
    char byte;
    while (read(go[0], &byte, 1) < 0 && errno == EINTR)
        ;
}

/* Until this child has ended; the pool reaps it. */
static void wait_dead(pid_t pid)
{
    siginfo_t info;
    ck_assert_int_eq(waitid(pid ? P_PID : P_ALL, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void kill_worker(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    wait_dead(pid);
}

static enum verdict all_reported(void)
{
    struct wedge_pool_stats stats;
    wedge_pool_stats(pool, &stats);
    return stats.reported == stats.accepted ? WELL : LOSES;
}

static void start(const struct wedge_pool_callbacks *callbacks)
{
    struct wedge_pool_err err = {0};
    ck_assert_msg(wedge_pool_start(pool, callbacks, &err) == 0, "%s", err.message);
}

static void put_some(unsigned n)
{
    for (uint64_t number = 1; number <= n; number++)
        ck_assert_int_eq(wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL), 0);
}

static enum verdict join_and_count(void)
{
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    return all_reported();
}

/* Held in the first generation alone: says who has it, and waits. */
static int held_task(struct wedge_pool_task *task, void *context)
{
    if (task->place.generation > 0)
        return square_task(task, context);
    say_pid();
    wait_go();
    return square_task(task, context);
}

static int always_held_task(struct wedge_pool_task *task, void *context)
{
    say_pid();
    wait_go();
    return square_task(task, context);
}

static int big_task(struct wedge_pool_task *task, void *context)
{
    (void)context;
    memset(task->result, (int)task->id, BIG);
    task->result_bytes = BIG;
    return 0;
}

static void count_collect(const struct wedge_pool_result *result, void *context)
{
    (void)result;
    (void)context;
}

static int say_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    say_pid();
    return 0;
}

static struct wedge_pool_callbacks callbacks_of(int (*task)(struct wedge_pool_task *, void *))
{
    return (struct wedge_pool_callbacks){.task = task, .collect = count_collect, .context = &tally};
}

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
static enum verdict killed_in_hand(void)
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
static enum verdict results_closed(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
    arm_place("pool.feeder.write", refuse_in_workers);
    start_with_a_collector_that_takes(&callbacks);
    put_some(2);
    return join_and_count();
}

static long kill_second_pass(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() != parent && atomic_fetch_add(&shared->passes, 1) == 1)
        kill(getpid(), SIGKILL);
    return 0;
}

static const char *armed; /* by the row */

/* A worker dies at the place, the second time that any comes by. */
static enum verdict killed_at_place(void)
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

static void stuck_collect(const struct wedge_pool_result *result, void *context)
{
    (void)result;
    (void)context;
    say_pid();
    wait_go();
}

static int written[2];
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
static enum verdict mark_drained(void)
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
static enum verdict full_and_dead(void)
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
static enum verdict both_full(void)
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
static enum verdict no_room_for_its_mark(void)
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
static enum verdict shutdown_with_a_backlog(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(always_held_task);
    start(&callbacks);
    put_some(3);
    read_pid(said[0]);
    ck_assert_int_eq(wedge_pool_shutdown(pool, wedge_pool_after_ms(30), NULL), -ETIMEDOUT);
    return WELL;
}

static long say_in_workers(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() != parent && atomic_fetch_add(&shared->passes, 1) == 0)
        ck_assert_int_eq(write(written[1], "l", 1), 1);
    return 0;
}

static bool idle_holds;

/* An idle worker is killed: it held the readers' lock. */
static enum verdict idle_killed(void)
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
static enum verdict idle_past_its_limit(void)
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
static enum verdict iteration_waits_for_the_dead(void)
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
static enum verdict timed_out_again_and_again(void)
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

/* 1.3: tasks per thread 1, many workers recycled: a mark for each of them. */
static enum verdict marks_of_the_recycled(void)
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
static enum verdict marks_eaten_by_others(void)
{
    struct wedge_pool_callbacks callbacks = callbacks_of(held_in_second);
    start(&callbacks);
    for (int held = 0; held < 2; held += closed_or_readable_within(said[0], 20) ? (read_pid(said[0]), 1) : 0)
        put_some(1);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(write(go[1], "gg", 2), 2);
    return join_and_count();
}

static int stuck_init(const struct wedge_pool_place *place, void *context)
{
    (void)context;
    if (place->generation == 0)
        wait_go();
    return 0;
}
static void stuck_final(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    wait_go();
}
static struct wedge_pool_callbacks stuck; /* what the row wants stuck */

/* 2.3: a user's initializer or finalizer never returns. */
static enum verdict stuck_function(void)
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
static void *put_in_thread(void *arg)
{
    uint64_t number = 1;
    (void)arg;
    wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL);
    return NULL;
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
static enum verdict put_behind_a_look(void)
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

static int failing_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    return 5;
}

/* A crash loop: put forks for ever, and never finds room. */
static enum verdict crash_loop(void)
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

static int dying_task(struct wedge_pool_task *task, void *context)
{
    task->die = true;
    return big_task(task, context) == 0 ? 7 : 0;
}

/* 3.2a, b: a process that is not well leaves halfway through a record, with the lock. */
static enum verdict leaves_halfway(void)
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
static enum verdict forked_beside_the_log(void)
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
static enum verdict logs_in_a_handler(void)
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

#define IN_FUTEX SYS_futex
#define IN_POLL  SYS_poll
#define IN_PPOLL SYS_ppoll
#define IN_CHILD SYS_waitid
#define IN_READ  SYS_read
#define ANYWHERE (-1)

static const struct row {
    const char *item;
    enum verdict (*play)(void);
    const char *place; /* armed */
    struct wedge_pool_callbacks stuck;
    const char *settings[6];
    const char *cure;
    enum verdict ill, cured;
    long waits_in; /* the system call that the parent's main thread hangs in */
    const char *preset, *hazard; /* where it is not `reported` that has the hazard: the one setting that makes it */
} rows[] = {
    {"1.1a", killed_in_hand, NULL, {0}, {"collector_wait=20"}, "collector_leaves=no_workers", HANGS, ENDS, IN_FUTEX},
    {"1.1b", results_closed, NULL, {0}, {"collector_wait=20"}, "collector_leaves=no_workers", HANGS, ENDS, IN_FUTEX},
    {"1.1c", mark_drained, NULL, {0}, {"collector_wait=20"}, "collector_leaves=no_workers", HANGS, ENDS, IN_FUTEX},
/* The report's cure has two parts, a deadline and a condition: without either of them it is none. */
#define ONE_SETTING(item, play, hazard)                                                                                \
    {                                                                                                                  \
        item, play, NULL, {0}, {NULL}, NULL, HANGS, ENDS, IN_FUTEX, "proposed", hazard                                 \
    }
    ONE_SETTING("1.1a", killed_in_hand, "collector_wait=never"),
    ONE_SETTING("1.1a", killed_in_hand, "collector_leaves=mark"),
    ONE_SETTING("1.1b", results_closed, "collector_wait=never"),
    ONE_SETTING("1.1b", results_closed, "collector_leaves=mark"),
    ONE_SETTING("1.1c", mark_drained, "collector_leaves=mark"),
    {"1.3a", full_and_dead, NULL, {0}, {"queue=2"}, "close_wait=20", HANGS, WELL, IN_FUTEX},
    {"1.3b", both_full, NULL, {0}, {"queue=2"}, "result_bound=none", HANGS, WELL, IN_FUTEX},
    {"recycled",
     marks_of_the_recycled,
     NULL,
     {0},
     {"life_tasks=1", "queue=33"},
     "close_by=flag",
     HANGS,
     WELL,
     IN_FUTEX},
    {"eaten",
     marks_eaten_by_others,
     NULL,
     {0},
     {"processes=2", "threads=2", "queue=1", "check=10"},
     "close_by=flag",
     HANGS,
     WELL,
     IN_PPOLL},
    {"1.4 full", no_room_for_its_mark, NULL, {0}, {"queue=2"}, "shutdown_steps=all", LOSES, WELL, ANYWHERE},
    {"1.4 late", shutdown_with_a_backlog, NULL, {0}, {NULL}, "shutdown_covers=all", HANGS, WELL, IN_FUTEX},
    {"2.1a",
     put_behind_a_look,
     NULL,
     {0},
     {"process_limit=100", "term_wait=3600000"},
     "management_lock=narrow",
     HANGS,
     WELL,
     IN_FUTEX},
    {"2.1b", put_behind_a_look, "pool.looks.fork", {0}, {NULL}, "management_lock=narrow", HANGS, WELL, IN_FUTEX},
    {"2.3a", stuck_function, NULL, {.process_init = stuck_init}, {"queue=2"}, "start_limit=80", HANGS, WELL, IN_FUTEX},
    {"2.3b", stuck_function, NULL, {.thread_init = stuck_init}, {"queue=2"}, "start_limit=80", HANGS, WELL, IN_FUTEX},
    {"2.3c",
     stuck_function,
     NULL,
     {.thread_final = stuck_final},
     {"collector_wait=20", "collector_leaves=no_workers"},
     "final_limit=80",
     HANGS,
     WELL,
     IN_CHILD},
    {"2.3d", stuck_function, NULL, {.process_final = stuck_final}, {NULL}, "final_limit=80", HANGS, WELL, IN_CHILD},
    {"3.1a",
     forked_beside_the_log,
     NULL,
     {0},
     {"management_lock=narrow", "idle_holds_reader=no"},
     "log=reset",
     HANGS,
     WELL,
     IN_CHILD},
    {"3.1b",
     logs_in_a_handler,
     "direct",
     {0},
     {"process_limit=100", "term_wait=3600000"},
     "log=queued",
     HANGS,
     WELL,
     IN_POLL},
    {"3.2ab",
     leaves_halfway,
     "abrupt",
     {0},
     {"payload_bytes=100000", "die_limit=50"},
     "leave=in_order",
     HANGS,
     WELL,
     IN_READ},
    {"idle", idle_killed, NULL, {0}, {"processes=2"}, "queue_lock=owned", HANGS, WELL, IN_CHILD},
    {"idle", idle_killed, NULL, {0}, {"processes=2"}, "idle_holds_reader=no", HANGS, WELL, IN_CHILD},
    {"hard life", idle_past_its_limit, NULL, {0}, {NULL}, "queue_lock=owned", HANGS, WELL, ANYWHERE},
    {"dead task", iteration_waits_for_the_dead, NULL, {0}, {NULL}, "dead_task=lost", HANGS, WELL, IN_READ},
    {"57 of 6",
     timed_out_again_and_again,
     NULL,
     {0},
     {"threads=2", "task_limit=100", "result_bound=none"},
     "timeouts=once",
     LOSES,
     WELL,
     ANYWHERE},
    {"crash loop",
     crash_loop,
     NULL,
     {0},
     {"queue=2", "check=10", "dead_task=lost"},
     "restart_limit=3",
     HANGS,
     WELL,
     ANYWHERE},
#define KILLED_AT(place)                                                                                               \
    {                                                                                                                  \
        place, killed_at_place, place, {0}, {"processes=2", "payload_bytes=100000", "dead_task=lost"},                 \
            "queue_lock=owned", HANGS, WELL, ANYWHERE                                                                  \
    }
    KILLED_AT("pool.reader.locked"),
    KILLED_AT("pool.reader.head"),
    KILLED_AT("pool.feeder.locked"),
    KILLED_AT("pool.feeder.head"),
    KILLED_AT("pool.feeder.written"),
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static _Noreturn void play(const struct row *row, bool cured, int done_fd)
{
    parent = getpid();
    setpgid(0, 0);
    signal(SIGTERM, SIG_DFL); /* the test runner's handler is not the workers' */
    tally_init(&tally);
    make_pipe(said);
    make_pipe(go);
    armed = row->place;
    stuck = row->stuck;
    const char *cure = cured && row->cure ? row->cure : "", *change = cured ? row->cure : row->hazard;
    idle_holds = strcmp(cure, "idle_holds_reader=no") != 0;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (strcmp(cure, "leave=in_order") == 0 || strcmp(cure, "log=queued") == 0)
        armed = NULL;
    pool = MAKE_POOL(row->preset ? row->preset : "reported", "processes=1", "threads=1");
    for (int i = 0; i < 6 && row->settings[i]; i++)
        ck_assert_int_eq(wedge_pool_set(pool, row->settings[i], NULL), 0);
    if (change)
        ck_assert_int_eq(wedge_pool_set(pool, change, NULL), 0);
    char verdict = (char)('0' + row->play());
    ck_assert_int_eq(write(done_fd, &verdict, 1), 1);
    kill(0, SIGKILL); /* what a play leaves behind goes with it */
    _exit(1);
}

START_TEST(hazard_and_cure)
{
    const struct row *row = &rows[_i / 2];
    bool cured = _i % 2;
    enum verdict expected = cured ? row->cured : row->ill, got = HANGS;
    char byte = 0;
    long in = -1;
    int done[2];
    make_pipe(done);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        play(row, cured, done[1]);
    setpgid(pid, pid); /* here as well: whichever comes first */
    close(done[1]);
    /* A shutdown that goes past its deadline is over before it is called a hang. */
    int hang_ms = row->play == mark_drained || row->play == shutdown_with_a_backlog ? HANG_MS + GRACE_MS : HANG_MS;
    int limit_ms = expected == HANGS ? hang_ms : CURED_MS;
    bool over = closed_or_readable_within(done[0], paced_ms(limit_ms));
    in = waits_in(pid);
    /* On a slow machine a play that will hang may still be on its way there; what hangs stays where it is. */
    for (int ms = limit_ms;
         !over && expected == HANGS && row->waits_in != ANYWHERE && in != row->waits_in && ms < CURED_MS;
         ms += hang_ms) {
        over = closed_or_readable_within(done[0], paced_ms(hang_ms));
        in = waits_in(pid);
    }
    if (over) {
        got = read(done[0], &byte, 1) == 1 ? (enum verdict)(byte - '0') : (enum verdict)99;
        if (expected == ENDS && got != (enum verdict)99)
            got = ENDS;
    }
    kill(-pid, SIGKILL);
    waitpid(pid, NULL, 0);
    const char *change = cured ? row->cure : row->hazard;
    ck_assert_msg(got == expected, "%s%s%s: verdict %d, expected %d; in system call %ld", row->item,
                  change ? " with " : "", change ? change : "", got, expected, in);
    if (expected == HANGS && row->waits_in != ANYWHERE)
        ck_assert_msg(in == row->waits_in, "%s: hangs in system call %ld, expected %ld", row->item, in, row->waits_in);
}
END_TEST

/* A process that removes the file when nobody has the write end of `alive` any more: when this test was killed, too. */
static pid_t guard_file(const char *path, const int alive[2])
{
    char byte;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid != 0)
        return pid;
    setsid(); /* who kills the test kills its group */
    close(alive[1]);
    while (read(alive[0], &byte, 1) < 0 && errno == EINTR)
        ;
    unlink(path);
    _exit(0);
}

/* 3.2c: what a killed parent leaves in /dev/shm; destroy leaves nothing, and what is stale is no obstacle. */
START_TEST(a_killed_parent_leaves_a_file)
{
    bool named = _i == 0;
    char path[64];
    int ready[2], guarded[2], alive[2];
    make_pipe(ready);
    make_pipe(guarded);
    make_pipe(alive);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
        setpgid(0, 0);
        close(guarded[1]);
        read_byte(guarded[0]);
        pool = MAKE_POOL("reported", "processes=1", "name=test-stream", named ? "shared=named" : "shared=unnamed");
        start(&callbacks);
        snprintf(path, sizeof(path), "/dev/shm/wedge-test-stream-%d-0", (int)getpid());
        ck_assert_int_eq(access(path, F_OK), named ? 0 : -1);
        wedge_pool_destroy(pool);
        ck_assert_int_eq(access(path, F_OK), -1);
        FILE *stale = fopen(path, "we"); /* of a process that is dead and had this pid */
        ck_assert_ptr_nonnull(stale);
        fclose(stale);
        pool = MAKE_POOL("reported", "processes=1", "name=test-stream", named ? "shared=named" : "shared=unnamed");
        start(&callbacks);
        if (!named)
            unlink(path);
        ck_assert_int_eq(write(ready[1], "r", 1), 1);
        kill(0, SIGKILL);
    }
    snprintf(path, sizeof(path), "/dev/shm/wedge-test-stream-%d-0", (int)pid);
    pid_t guard = guard_file(path, alive);
    ck_assert_int_eq(write(guarded[1], "g", 1), 1);
    ck_assert_int_eq(read_byte(ready[0]), 'r');
    waitpid(pid, NULL, 0);
    ck_assert_int_eq(access(path, F_OK), named ? 0 : -1);
    close(alive[1]);
    waitpid(guard, NULL, 0);
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_loop_test(t, hazard_and_cure, 0, 2 * N_ROWS);
    tcase_add_loop_test(t, a_killed_parent_leaves_a_file, 0, 2);
}

int main(void)
{
    return wedge_test_main("stream", 60, fill);
}
