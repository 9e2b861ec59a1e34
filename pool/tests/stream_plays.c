/* What the plays of the streams share (stream_plays.h). */
#include "pool/tests/stream_plays.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wedge/point.h>

#define BIG 100000 /* more than a pipe holds */

struct tally tally;
struct wedge_pool *pool;
int said[2], go[2], written[2];
pid_t parent;
const char *armed;
bool idle_holds;
struct wedge_pool_callbacks stuck;
struct shared *shared;

void say_pid(void)
{
    pid_t pid = getpid();
    ck_assert_int_eq(write(said[1], &pid, sizeof(pid)), sizeof(pid));
}

void wait_go(void)
{
    char byte;
    while (read(go[0], &byte, 1) < 0 && errno == EINTR)
        ;
}

void wait_dead(pid_t pid)
{
    siginfo_t info;
    ck_assert_int_eq(waitid(pid ? P_PID : P_ALL, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

void kill_worker(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    wait_dead(pid);
}

enum verdict all_reported(void)
{
    struct wedge_pool_stats stats;
    wedge_pool_stats(pool, &stats);
    return stats.reported == stats.accepted ? WELL : LOSES;
}

void start(const struct wedge_pool_callbacks *callbacks)
{
    struct wedge_pool_err err = {0};
    ck_assert_msg(wedge_pool_start(pool, callbacks, &err) == 0, "%s", err.message);
}

void put_some(unsigned n)
{
    for (uint64_t number = 1; number <= n; number++)
        ck_assert_int_eq(wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL), 0);
}

enum verdict join_and_count(void)
{
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    return all_reported();
}

int held_task(struct wedge_pool_task *task, void *context)
{
    if (task->place.generation > 0)
        return square_task(task, context);
    say_pid();
    wait_go();
    return square_task(task, context);
}

int always_held_task(struct wedge_pool_task *task, void *context)
{
    say_pid();
    wait_go();
    return square_task(task, context);
}

int big_task(struct wedge_pool_task *task, void *context)
{
    (void)context;
    memset(task->result, (int)task->id, BIG);
    task->result_bytes = BIG;
    return 0;
}

void count_collect(const struct wedge_pool_result *result, void *context)
{
    (void)result;
    (void)context;
}

int say_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    say_pid();
    return 0;
}

struct wedge_pool_callbacks callbacks_of(int (*task)(struct wedge_pool_task *, void *))
{
    return (struct wedge_pool_callbacks){.task = task, .collect = count_collect, .context = &tally};
}

void stuck_collect(const struct wedge_pool_result *result, void *context)
{
    (void)result;
    (void)context;
    say_pid();
    wait_go();
}

long say_in_workers(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() != parent && atomic_fetch_add(&shared->passes, 1) == 0)
        ck_assert_int_eq(write(written[1], "l", 1), 1);
    return 0;
}

void *put_in_thread(void *arg)
{
    uint64_t number = 1;
    (void)arg;
    wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL);
    return NULL;
}
