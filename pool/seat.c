/* Seats and the processes in them (seat.h). */
#include "pool/seat.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <unistd.h>

void wedge_seat_init(struct wedge_pool_seat *seat)
{
    *seat = (struct wedge_pool_seat){.pidfd = -1};
}

void wedge_seat_prepare(struct wedge_pool *pool, uint32_t index)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    if (seat->started_once) {
        seat->generation++;
        atomic_fetch_add(&pool->replaced, 1);
    }
    seat->started_once = true;
    seat->condemned = false;
    seat->suspected_ns = seat->done_ns = 0;
    seat->started_ns = wedge_clock_ns();
    atomic_store(&pool->shared->seats[index].threads_ready, 0);
    for (int64_t i = 0; i <= pool->settings.threads; i++) {
        atomic_store(&pool->shared->seats[index].looked_ns[i], 0);
        atomic_store(&pool->shared->seats[index].final_since_ns[i], 0);
    }
    atomic_store(&pool->shared->seats[index].stage, WEDGE_POOL_STARTING);
}

int wedge_seat_take(struct wedge_pool_seat *seat, pid_t pid)
{
    int fd = pidfd_open(pid, 0); /* close-on-exec by itself (pidfd_open(2)) */
    if (fd < 0)
        return -errno;
    seat->pid = pid;
    seat->pidfd = fd;
    return 0;
}

bool wedge_seat_alive(const struct wedge_pool_seat *seat)
{
    struct pollfd pfd = {.fd = seat->pidfd, .events = POLLIN};
    return seat->pid != 0 && poll(&pfd, 1, 0) == 0;
}

void wedge_seat_kill(const struct wedge_pool_seat *seat)
{
    if (seat->pid != 0)
        pidfd_send_signal(seat->pidfd, SIGKILL, NULL, 0);
}

void wedge_seat_clear(struct wedge_pool_seat *seat)
{
    if (seat->pidfd >= 0)
        close(seat->pidfd);
    seat->pidfd = -1;
    seat->pid = 0;
}

int64_t wedge_seat_start_limit_ns(struct wedge_pool *pool, uint32_t index)
{
    const struct wedge_pool_seat *seat = &pool->seats[index];
    int64_t limit_ms = pool->settings.start_limit_ms;
    if (seat->pid == 0 || limit_ms < 0 || atomic_load(&pool->shared->seats[index].stage) != WEDGE_POOL_STARTING)
        return WEDGE_POOL_NEVER;
    return seat->started_ns + limit_ms * WEDGE_NS_PER_MS;
}

/* The first of the times, where it is not 0, plus the limit. */
static int64_t first_past(const struct wedge_pool *pool, _Atomic int64_t *since, int64_t limit_ms)
{
    int64_t first_ns = WEDGE_POOL_NEVER;
    for (int64_t i = 0; limit_ms >= 0 && i <= pool->settings.threads; i++) {
        int64_t since_ns = atomic_load(&since[i]);
        if (since_ns != 0)
            first_ns = wedge_pool_earlier(first_ns, since_ns + limit_ms * WEDGE_NS_PER_MS);
    }
    return first_ns;
}

int64_t wedge_seat_final_limit_ns(struct wedge_pool *pool, uint32_t index)
{
    return first_past(pool, pool->shared->seats[index].final_since_ns, pool->settings.final_limit_ms);
}

int64_t wedge_seat_idle_limit_ns(struct wedge_pool *pool, uint32_t index)
{
    return first_past(pool, pool->shared->seats[index].looked_ns, pool->settings.idle_limit_ms);
}
