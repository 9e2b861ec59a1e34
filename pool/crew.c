/* Filling the seats and hearing of each end (crew.h). */
#include "pool/crew.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wedge/point.h>

#include "pool/events.h"
#include "pool/figures.h"
#include "pool/seat.h"
#include "pool/slots.h"

#define CALM_MS      10000
#define BACK_OFF_MS  5 /* doubled with each round of deaths, up to: */
#define BACK_OFF_MAX 1000
#define OWED_MS      10 /* until the zygote, which had too many orders to read, is told again */
#define SURE_MS      500 /* between the look that suspects the zygote and the one that is sure */

static bool in_threads(const struct wedge_crew *crew)
{
    return crew->pool->settings.workers == WEDGE_POOL_WORKERS_THREADS;
}

static uint32_t seats(const struct wedge_crew *crew)
{
    return (uint32_t)crew->pool->settings.processes;
}

int wedge_crew_start(struct wedge_crew *crew, struct wedge_pool *pool)
{
    crew->pool = pool;
    return in_threads(crew) ? 0 : wedge_zygote_start(pool, &crew->zygote);
}

void wedge_crew_end(struct wedge_crew *crew)
{
    if (crew->pool)
        wedge_zygote_end(&crew->zygote);
}

static void break_off(struct wedge_crew *crew, const char *why)
{
    if (!crew->breaker_open)
        wedge_pool_tell(crew->pool, WEDGE_POOL_EVENT_BROKEN, 0, 0, "no worker is started any more: %s", why);
    crew->breaker_open = true;
}

/* A death that was not in order. `excused`: it says nothing about whether the next one will live. */
static void count_death(struct wedge_crew *crew, bool excused)
{
    struct wedge_pool *pool = crew->pool;
    uint64_t finished = wedge_board_finished(pool->board);
    int64_t now_ns = wedge_clock_ns();
    atomic_fetch_add(&pool->board->deaths, 1);
    if (excused)
        return;
    if (finished != crew->finished_at_death || now_ns - crew->last_death_ns > CALM_MS * WEDGE_NS_PER_MS)
        crew->streak = 0;
    crew->finished_at_death = finished;
    crew->last_death_ns = now_ns;
    crew->streak++;
    uint32_t round = crew->streak / (seats(crew) + 1); /* 0 while each worker has died at most once */
    int64_t back_off_ms = round == 0 ? 0 : round > 8 ? BACK_OFF_MAX : BACK_OFF_MS << (round - 1);
    crew->restart_ns = now_ns + wedge_pool_earlier(back_off_ms, BACK_OFF_MAX) * WEDGE_NS_PER_MS;
    if (pool->settings.restart_limit >= 0 && crew->streak > (uint64_t)pool->settings.restart_limit * seats(crew))
        break_off(crew, "too many have died in a row and no task was finished (restart_limit)");
}

/* One that never began: the machine is short of processes, memory or descriptors. That takes longer to pass than a start
 * takes to fail: where others failed before, the next is tried after the longest pause, and restart_limit lasts seconds. */
static void count_unstarted(struct wedge_crew *crew)
{
    count_death(crew, false);
    if (crew->streak > seats(crew))
        crew->restart_ns = wedge_clock_ns() + BACK_OFF_MAX * WEDGE_NS_PER_MS;
}

/* Whether the zygote owes an answer for any seat but this one. */
static bool owes_others(const struct wedge_crew *crew, uint32_t index)
{
    for (uint32_t i = 0; i < seats(crew); i++) {
        const struct wedge_pool_seat *seat = &crew->pool->seats[i];
        if (i != index && (seat->phase == WEDGE_SEAT_ASKED || seat->phase == WEDGE_SEAT_REAPING))
            return true;
    }
    return false;
}

static bool waits_for_zygote(const struct wedge_crew *crew)
{
    return owes_others(crew, seats(crew));
}

/* Whether the zygote has been told; else, unless it is gone, it will be told again. */
static bool told_zygote(struct wedge_crew *crew, uint32_t index, enum wedge_zygote_op op, pid_t pid)
{
    struct wedge_pool_seat *seat = &crew->pool->seats[index];
    struct wedge_zygote_message order = {.op = op, .index = index, .generation = seat->generation, .pid = pid};
    if (!seat->owed && !owes_others(crew, index))
        crew->heard_ns = wedge_clock_ns(); /* its time to answer begins now */
    int rc = crew->zygote_gone ? -EPIPE : wedge_zygote_send(&crew->zygote, &order);
    seat->owed = rc == -EAGAIN;
    return rc == 0 || rc == -EAGAIN;
}

/* Its status is known, -1: nobody knows it. The seat can be filled again. */
static void seat_reaped(struct wedge_crew *crew, uint32_t index, int status)
{
    struct wedge_pool_seat *seat = &crew->pool->seats[index];
    wedge_seat_tell_end(crew->pool, index, status);
    seat->stopped = WIFEXITED(status) && WEXITSTATUS(status) == WEDGE_POOL_EXIT_STOP;
    seat->phase = WEDGE_SEAT_EMPTY;
    seat->reaped_pid = 0;
    if (seat->unwatched)
        count_unstarted(crew);
    else if (!wedge_seat_left_in_order(crew->pool, index, status))
        count_death(crew, seat->excused || seat->stopped);
    WEDGE_POINT("pool.supervisor.settled");
}

/* The process in this seat is gone: settle what it held, have it reaped. */
static void seat_died(struct wedge_crew *crew, uint32_t index)
{
    struct wedge_pool *pool = crew->pool;
    struct wedge_pool_seat *seat = &pool->seats[index];
    WEDGE_POINT("pool.supervisor.died");
    crew->died_starting = atomic_load(&wedge_board_seat(pool->board, index)->threads_ready) < pool->settings.threads;
    epoll_ctl(crew->epoll, EPOLL_CTL_DEL, seat->pidfd, NULL);
    int status = -1;
    if (crew->groups[index])
        status = W_EXITCODE(wedge_group_join(crew->groups[index]), 0);
    wedge_slots_condemn(pool, index + 1, seat->generation);
    seat->reaped_pid = seat->pid;
    wedge_seat_clear(pool, index);
    seat->phase = WEDGE_SEAT_REAPING;
    if (crew->groups[index] || !told_zygote(crew, index, WEDGE_ZYGOTE_REAP, seat->reaped_pid))
        seat_reaped(crew, index, status);
    crew->groups[index] = NULL;
}

void wedge_crew_seat_event(struct wedge_crew *crew, uint32_t index)
{
    const struct wedge_pool_seat *seat = &crew->pool->seats[index];
    if (seat->phase == WEDGE_SEAT_ALIVE && !wedge_seat_alive(crew->pool, index))
        seat_died(crew, index);
}

/* The worker is there; it waits at its gate, if it has one. 0, or -errno: it cannot be watched. */
static int seat_started(struct wedge_crew *crew, uint32_t index, pid_t pid, int gone_fd)
{
    struct wedge_pool_seat *seat = &crew->pool->seats[index];
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    seat->started_ns = wedge_clock_ns(); /* its life begins at the gate: a slow fork is not its initializers' doing */
    atomic_store(&wedge_board_seat(crew->pool->board, index)->started_ns, seat->started_ns);
    wedge_seat_sit(crew->pool, index, pid, gone_fd);
    seat->phase = WEDGE_SEAT_ALIVE;
    return epoll_ctl(crew->epoll, EPOLL_CTL_ADD, gone_fd, &event) < 0 ? -errno : 0;
}

/* A worker that cannot be watched is not let through its gate: it has done nothing, and is reaped as if it had died. */
static void seat_spawned(struct wedge_crew *crew, const struct wedge_zygote_message *message,
                         const struct wedge_zygote_fds *fds)
{
    struct wedge_pool *pool = crew->pool;
    uint32_t index = message->index;
    struct wedge_pool_seat *seat = &pool->seats[index];
    if (message->pid < 0) {
        seat->phase = WEDGE_SEAT_EMPTY;
        count_unstarted(crew);
        return;
    }
    if (fds->pidfd >= 0 && fds->gate >= 0 && seat_started(crew, index, message->pid, fds->pidfd) == 0) {
        wedge_zygote_gate(fds->gate, true);
        return;
    }
    wedge_zygote_gate(fds->gate, false);
    if (seat->phase == WEDGE_SEAT_ALIVE)
        wedge_seat_clear(pool, index);
    else if (fds->pidfd >= 0)
        close(fds->pidfd);
    seat->unwatched = true;
    seat->phase = WEDGE_SEAT_REAPING;
    seat->reaped_pid = message->pid;
    told_zygote(crew, index, WEDGE_ZYGOTE_REAP, message->pid); /* fails: its end of file follows */
}

/*
 * Its workers die with it (the kernel kills them), and each pidfd says when. Who was asked for and is not known of has
 * not come through its gate, and never will. Who is being reaped was settled when it died.
 */
static void zygote_died(struct wedge_crew *crew)
{
    struct wedge_pool_seat *seat = crew->pool->seats;
    crew->zygote_gone = true;
    epoll_ctl(crew->epoll, EPOLL_CTL_DEL, crew->zygote.sock, NULL);
    break_off(crew, "the zygote is gone");
    for (uint32_t i = 0; i < seats(crew); i++) {
        if (seat[i].phase == WEDGE_SEAT_REAPING)
            seat_reaped(crew, i, -1);
        else if (seat[i].phase == WEDGE_SEAT_ASKED)
            seat[i].phase = WEDGE_SEAT_EMPTY;
        seat[i].owed = false;
    }
}

void wedge_crew_hear_zygote(struct wedge_crew *crew)
{
    struct wedge_zygote_message message;
    struct wedge_zygote_fds fds;
    int rc;
    while ((rc = wedge_zygote_receive(&crew->zygote, &message, &fds)) == 1) {
        crew->heard_ns = wedge_clock_ns();
        if (message.op == WEDGE_ZYGOTE_SPAWNED)
            seat_spawned(crew, &message, &fds);
        else
            seat_reaped(crew, message.index, message.status);
    }
    if (rc < 0)
        zygote_died(crew);
}

/* Stopped, or stuck in the kernel: nobody can be started or reaped. Ended, it is like any zygote that died. */
int64_t wedge_crew_tend_zygote(struct wedge_crew *crew, int64_t now_ns)
{
    int64_t limit_ms = crew->pool->settings.idle_limit_ms;
    int64_t limit_ns = crew->heard_ns + limit_ms * WEDGE_NS_PER_MS;
    if (crew->zygote.pid == 0 || crew->zygote_gone || limit_ms < 0)
        return WEDGE_POOL_NEVER;
    if (!waits_for_zygote(crew))
        crew->heard_ns = now_ns;
    if (!waits_for_zygote(crew) || limit_ns > now_ns) {
        crew->suspected_ns = 0;
        return WEDGE_POOL_NEVER; /* seen at the next tick */
    }
    if (crew->suspected_ns == 0)
        crew->suspected_ns = now_ns;
    if (now_ns < crew->suspected_ns + SURE_MS * WEDGE_NS_PER_MS)
        return crew->suspected_ns + SURE_MS * WEDGE_NS_PER_MS;
    wedge_pool_tell(crew->pool, WEDGE_POOL_EVENT_LIMIT, 0, 0,
                    "idle_limit: the zygote has not answered for %lld ms; it is ended, and its workers with it",
                    (long long)limit_ms);
    wedge_zygote_kill(&crew->zygote);
    crew->heard_ns = now_ns;
    return WEDGE_POOL_NEVER;
}

static void ask_for(struct wedge_crew *crew, uint32_t index)
{
    struct wedge_pool *pool = crew->pool;
    struct wedge_pool_seat *seat = &pool->seats[index];
    int gone_fd;
    wedge_seat_prepare(pool, index);
    if (!in_threads(crew)) {
        seat->phase = told_zygote(crew, index, WEDGE_ZYGOTE_SPAWN, 0) ? WEDGE_SEAT_ASKED : WEDGE_SEAT_EMPTY;
        return; /* not told: its end of file follows and settles the rest */
    }
    int rc = wedge_group_start(pool, index, &crew->groups[index], &gone_fd);
    if (rc < 0)
        count_unstarted(crew);
    else
        seat_started(crew, index, getpid(), gone_fd); /* not watched for want of memory: seen at the next tick */
}

int64_t wedge_crew_fill(struct wedge_crew *crew, uint32_t index, bool wanted, int64_t now_ns)
{
    struct wedge_pool_seat *seat = &crew->pool->seats[index];
    if (seat->owed) {
        bool reap = seat->phase == WEDGE_SEAT_REAPING;
        told_zygote(crew, index, reap ? WEDGE_ZYGOTE_REAP : WEDGE_ZYGOTE_SPAWN, reap ? seat->reaped_pid : 0);
    }
    if (crew->groups[index])
        wedge_crew_seat_event(crew, index);
    if (seat->phase == WEDGE_SEAT_EMPTY && wanted && !seat->stopped && !crew->breaker_open) {
        if (now_ns < crew->restart_ns)
            return crew->restart_ns;
        ask_for(crew, index);
    }
    return seat->owed ? now_ns + OWED_MS * WEDGE_NS_PER_MS : WEDGE_POOL_NEVER;
}

void wedge_crew_end_seat(struct wedge_crew *crew, uint32_t index)
{
    struct wedge_pool_seat *seat = &crew->pool->seats[index];
    int64_t not_yet = 0;
    if (seat->phase != WEDGE_SEAT_ALIVE || seat->condemned)
        return;
    seat->condemned = seat->excused = true;
    if (!in_threads(crew))
        wedge_seat_kill(seat);
    else if (atomic_compare_exchange_strong(&wedge_board_seat(crew->pool->board, index)->drain_ns, &not_yet,
                                            wedge_clock_ns()))
        wedge_slots_wake_all(crew->pool);
}

bool wedge_crew_has_its_files(const struct wedge_crew *crew)
{
    const struct wedge_zygote *zygote = &crew->zygote;
    bool has = zygote->pid == 0 || (wedge_file_id_holds(&zygote->pidfd_id, zygote->pidfd) &&
                                    wedge_file_id_holds(&zygote->sock_id, zygote->sock));
    for (uint32_t i = 0; has && i < seats(crew); i++) {
        const struct wedge_pool_seat *seat = &crew->pool->seats[i];
        has = seat->phase != WEDGE_SEAT_ALIVE || wedge_file_id_holds(&seat->pidfd_id, seat->pidfd);
    }
    return has;
}

/* The zygote is a child, and can be waited for without a descriptor. The kernel has killed its workers when it is a zombie. */
void wedge_crew_blinded(struct wedge_crew *crew)
{
    struct wedge_pool_seat *seat = crew->pool->seats;
    crew->epoll = -1;
    crew->zygote_gone = true;
    break_off(crew, "the pool's descriptors were closed in the parent");
    wedge_zygote_end_blindly(&crew->zygote);
    for (uint32_t i = 0; i < seats(crew); i++) {
        if (crew->groups[i])
            wedge_crew_end_seat(crew, i);
        seat[i].pidfd = -1;
        seat[i].owed = false;
        if (seat[i].phase == WEDGE_SEAT_ALIVE)
            seat_died(crew, i);
        else if (seat[i].phase == WEDGE_SEAT_REAPING)
            seat_reaped(crew, i, -1);
        seat[i].phase = WEDGE_SEAT_EMPTY;
    }
}

bool wedge_crew_any(const struct wedge_crew *crew)
{
    for (uint32_t i = 0; i < seats(crew); i++)
        if (crew->pool->seats[i].phase != WEDGE_SEAT_EMPTY)
            return true;
    return false;
}

bool wedge_crew_can_grow(const struct wedge_crew *crew)
{
    for (uint32_t i = 0; i < seats(crew); i++)
        if (!crew->pool->seats[i].stopped)
            return !crew->breaker_open;
    return false;
}
