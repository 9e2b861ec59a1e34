/*
 * The keeper of `reported` and `proposed`: no supervisor. Workers are forked by whoever calls, and looked after only
 * when the user calls put, close or join (one look at entry of each): dead ones are reaped and, until the pool is
 * closed, replaced. Between two calls nobody looks.
 *
 * join waits for the workers one after the other, untimed unless the user gave a deadline or there is a start limit.
 * start_limit is the cure of item 2.3: put, close and join then wait no longer than that before they look again, and a
 * look ends and replaces a worker past it; after close too, for that worker has taken no stop mark.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/pool.h"
#include "pool/seat.h"
#include "pool/stream.h"

#define CLOSE_TRIES 10 /* per stop mark, where close_wait is set */

static void lock(struct wedge_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
}

static void unlock(struct wedge_pool *pool)
{
    pthread_mutex_unlock(&pool->lock);
}

/* Locked. Reaps the process in the seat when it has ended, or, with `wait`, once it has (it was killed). */
static void reap(struct wedge_pool *pool, uint32_t index, bool wait)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    siginfo_t info = {0};
    int rc;
    do
        rc = waitid(P_PIDFD, (id_t)seat->pidfd, &info, WEXITED | (wait ? 0 : WNOHANG));
    while (rc < 0 && errno == EINTR);
    if (rc == 0 && info.si_pid == 0)
        return; /* alive */
    /* ECHILD: the program ignores SIGCHLD or reaped it itself; gone all the same. */
    bool orderly = rc == 0 && info.si_code == CLD_EXITED && info.si_status == WEDGE_POOL_EXIT_ORDERLY;
    if (!orderly)
        atomic_fetch_add(&pool->board->deaths, 1);
    wedge_seat_clear(pool, index);
}

/* Locked. The next generation. The seat stays empty on an error, for the next look. */
static int fork_worker(struct wedge_pool *pool, uint32_t index)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    wedge_seat_prepare(pool, index);
    pid_t pid = fork();
    if (pid == 0)
        wedge_pool_worker_run(pool, index + 1, seat->generation);
    if (pid < 0)
        return -errno;
    int rc = wedge_seat_take(pool, index, pid);
    if (rc < 0) { /* no descriptor to be had: a worker that cannot be watched is not kept */
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    return rc;
}

static void looks_look(struct wedge_pool *pool)
{
    int64_t now_ns = wedge_clock_ns();
    lock(pool);
    for (uint32_t i = 0; i < pool->settings.processes; i++) {
        struct wedge_pool_seat *seat = &pool->seats[i];
        bool overdue = wedge_seat_start_limit_ns(pool, i) <= now_ns;
        if (overdue)
            wedge_seat_kill(seat);
        if (seat->pid)
            reap(pool, i, overdue);
        if (!seat->pid && (overdue || !wedge_pool_is_closed(pool)))
            fork_worker(pool, i);
    }
    unlock(pool);
    wedge_pool_alarms_look(pool, now_ns);
}

static int64_t looks_look_again_ns(struct wedge_pool *pool)
{
    return wedge_pool_settings_until(pool->settings.start_limit_ms);
}

static int looks_start(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    int rc = 0;
    lock(pool);
    for (uint32_t i = 0; rc == 0 && i < pool->settings.processes; i++)
        rc = fork_worker(pool, i);
    unlock(pool);
    return rc < 0 ? wedge_pool_err_set(err, rc, "a worker could not be started: %s", strerror(-rc)) : 0;
}

/* One stop mark. -ETIMEDOUT: the user's deadline. -EAGAIN: dropped after its tries. */
static int put_mark(struct wedge_pool *pool, int64_t until_ns)
{
    bool counted = pool->settings.close_wait_ms >= 0;
    for (int tries = 0; !counted || tries < CLOSE_TRIES; tries++) {
        int64_t try_ns = wedge_pool_settings_until(pool->settings.close_wait_ms);
        try_ns = wedge_pool_earlier(try_ns, looks_look_again_ns(pool));
        int rc = wedge_stream_put_mark(pool, wedge_pool_earlier(try_ns, until_ns));
        if (rc != -ETIMEDOUT)
            return rc;
        if (until_ns != WEDGE_POOL_NEVER && wedge_clock_ns() >= until_ns)
            return -ETIMEDOUT;
        looks_look(pool);
    }
    return -EAGAIN;
}

static int looks_close(struct wedge_pool *pool, int64_t until_ns)
{
    int64_t marks = pool->settings.processes * pool->settings.threads;
    int rc = 0;
    for (int64_t i = 0; i < marks && rc != -ETIMEDOUT; i++)
        rc = put_mark(pool, until_ns);
    wedge_stream_no_more_tasks(pool);
    return rc == -EAGAIN ? 0 : rc;
}

/* A process to wait for, 0 none; its descriptor too. Only the owner's thread clears seats, so both stay good. */
static pid_t first_worker(struct wedge_pool *pool, int *ret_pidfd)
{
    pid_t pid = 0;
    lock(pool);
    for (uint32_t i = 0; !pid && i < pool->settings.processes; i++) {
        pid = pool->seats[i].pid;
        *ret_pidfd = pool->seats[i].pidfd;
    }
    unlock(pool);
    return pid;
}

/* Until this worker has ended (left unreaped), or the time. */
static void wait_worker(pid_t pid, int pidfd, int64_t until_ns)
{
    if (until_ns == WEDGE_POOL_NEVER) {
        siginfo_t info;
        while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
            ;
        return;
    }
    int64_t left_ns = until_ns - wedge_clock_ns();
    struct timespec left = {.tv_sec = left_ns / WEDGE_NS_PER_S, .tv_nsec = left_ns % WEDGE_NS_PER_S};
    struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
    if (left_ns > 0)
        ppoll(&pfd, 1, &left, NULL);
}

static int looks_join(struct wedge_pool *pool, int64_t until_ns)
{
    int pidfd = -1;
    pid_t pid;
    while ((pid = first_worker(pool, &pidfd)) != 0) {
        if (until_ns != WEDGE_POOL_NEVER && wedge_clock_ns() >= until_ns)
            return -ETIMEDOUT;
        wait_worker(pid, pidfd, wedge_pool_earlier(until_ns, looks_look_again_ns(pool)));
        looks_look(pool);
    }
    return 0;
}

static bool looks_any_alive(struct wedge_pool *pool)
{
    bool alive = false;
    lock(pool);
    for (uint32_t i = 0; !alive && i < pool->settings.processes; i++)
        alive = wedge_seat_alive(&pool->seats[i]);
    unlock(pool);
    return alive;
}

static void looks_end(struct wedge_pool *pool)
{
    lock(pool);
    for (uint32_t i = 0; i < pool->settings.processes; i++)
        wedge_seat_kill(&pool->seats[i]);
    for (uint32_t i = 0; i < pool->settings.processes; i++)
        if (pool->seats[i].pid)
            reap(pool, i, true);
    unlock(pool);
}

static int looks_stop_collector(struct wedge_pool *pool)
{
    return wedge_stream_stop_collector(pool);
}

const struct wedge_pool_keeper wedge_pool_looks = {
    .start = looks_start,
    .look = looks_look,
    .look_again_ns = looks_look_again_ns,
    .close = looks_close,
    .join = looks_join,
    .any_alive = looks_any_alive,
    .end = looks_end,
    .stop_collector = looks_stop_collector,
};
