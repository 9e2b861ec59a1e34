/* <wedge/pool.h> without its zygote, or without the parent: nobody is left behind, and nobody hangs. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/tests/held.h"
#include "pool/tests/pace.h"

static struct tally tally;

/* Without the zygote nobody can be started: what it had is settled, and put refuses. */
START_TEST(the_zygotes_death_breaks_the_pool_and_hangs_nobody)
{
    enum { N = 6 };
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=1", "queue=4");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, all_are_held);
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

/* Longer than an idle_limit of two seconds takes, shorter than the one of a pool that does not heed the setting: ten. */
#define HEEDED_MS 9000

/* Stopped, it can neither start nor reap: it is ended when it owes an answer for idle_limit, and the pool is broken. */
START_TEST(a_stopped_zygote_is_ended)
{
    struct pipes pipes;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=1", "queue=4", "idle_limit=2000");
    struct wedge_pool_callbacks callbacks = held_callbacks(&pipes, &tally, all_are_held);
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
    struct wedge_pool_callbacks callbacks = held_by(pipes, &tally, variant == FORKING ? square_task : all_are_held);
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

static void fill(TCase *t)
{
    tcase_add_test(t, the_zygotes_death_breaks_the_pool_and_hangs_nobody);
    tcase_add_test(t, the_zygote_may_die_at_any_time);
    if (paced_ms(1) == 1) /* not under valgrind, which needs a descriptor itself to fork: ci/under says so */
        tcase_add_loop_test(t, a_short_shortage_breaks_nothing, 0, 2);
    tcase_add_test(t, a_stopped_zygote_is_ended);
    tcase_add_loop_test(t, a_dead_parent_leaves_nobody, HELD, PARENT_VARIANTS);
}

int main(void)
{
    return wedge_test_main("zygote", 30, fill);
}
