/*
 * The keeper of `reported` and `proposed`: no supervisor. Workers are forked by whoever calls, and looked after only
 * when the user calls something: at the entry of put, close and join, when one of them (or a take without a collector) has
 * waited for `check` or until some limit, and when join has seen a worker end or waits for the collector. Between two
 * calls nobody looks. `check` says how old the last look has to be; what is past a limit by then is looked at whatever
 * `check` says: each look notes when the first limit will be.
 *
 *   look   [lock] collect the dead and those past a limit -> end and reap them -> apply, collect the empty seats
 *          -> fork -> apply [unlock]
 *
 * management_lock=wide holds the lock all the while: everyone who puts waits behind a worker that dies slowly, or a
 * slow fork. narrow lets it go while it works. A seat that is worked on is claimed by its phase (REAPING, ASKED), so that of
 * two who look at the same time one finds nothing to do there.
 *
 * Who died is replaced until the pool is closed: for close_by=marks until the last mark is put, so that a worker that
 * starts meanwhile may take a mark which was counted for another one; for the flag until nothing is queued. Past its
 * start_limit a worker is replaced even then, for it has taken no mark.
 *
 * restart_limit: deaths in a row without a finished task, under CALM_MS apart. Past it nobody is replaced; once nobody
 * is left the pool is broken: put and close's marks are refused, join ends the results with a mark of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wedge/point.h>

#include "pool/events.h"
#include "pool/figures.h"
#include "pool/pool.h"
#include "pool/seat.h"
#include "pool/stream.h"

#define CLOSE_TRIES 10 /* per stop mark, where close_wait is set */
#define CALM_MS     10000

/* Guarded by the pool's lock, but for the first three. */
struct wedge_looks {
    struct wedge_word idle; /* bumped when somebody's work on seats is done */
    /* Before these nothing is past a limit: workers' and collect's; tasks'. Written by each look, read as hints. */
    _Atomic int64_t limit_ns, task_limit_ns;
    int64_t last_look_ns; /* 0: none yet */
    bool ending; /* nobody is to be forked any more */
    _Atomic bool all_left; /* join has seen the last worker leave */
    bool breaker_open, died_starting;
    uint64_t streak, finished_at_death;
    int64_t last_death_ns;
    uint64_t collect_told; /* the task whose `collect` was said to be past its limit */
    bool left[WEDGE_POOL_PROCESSES_MAX]; /* its last worker left in order and its marks may not be complete */
    bool refill[WEDGE_POOL_PROCESSES_MAX]; /* its last worker was ended past start_limit: it took no mark */
    bool retired[WEDGE_POOL_PROCESSES_MAX]; /* it said that it is not to be started again */
};

enum why { WHY_DEAD, WHY_AGE, WHY_START, WHY_FINAL };

struct work {
    uint32_t index;
    enum why why;
    siginfo_t info; /* of the dead; si_pid 0: someone else reaped it */
    pid_t pid; /* of the forked, or a negative errno */
};

static struct wedge_looks *looks_of(const struct wedge_pool *pool)
{
    return pool->keeper_data;
}

static void lock(struct wedge_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
}

static void unlock(struct wedge_pool *pool)
{
    pthread_mutex_unlock(&pool->lock);
}

static bool is_narrow(const struct wedge_pool *pool)
{
    return pool->settings.management_lock == WEDGE_POOL_MANAGEMENT_NARROW;
}

/* Locked. Until when dead workers are replaced. */
static bool wants_workers(struct wedge_pool *pool)
{
    const struct wedge_looks *looks = looks_of(pool);
    if (looks->ending || looks->breaker_open)
        return false;
    if (pool->settings.close_by == WEDGE_POOL_CLOSE_BY_FLAG && atomic_load(&pool->board->closed))
        return wedge_stream_wait_empty(pool, 0) < 0;
    return wedge_pool_phase_of(pool) != WEDGE_POOL_CLOSED;
}

/* Locked. Whether this worker is to be ended, or has ended, and why. */
static bool has_ended(struct wedge_pool *pool, uint32_t index, int64_t now_ns, enum why *ret)
{
    const struct wedge_pool_seat *seat = &pool->seats[index];
    const struct wedge_pool_settings *settings = &pool->settings;
    bool by_process = settings->limit_by == WEDGE_POOL_LIMIT_BY_PROCESS;
    if (!wedge_seat_alive(pool, index))
        *ret = WHY_DEAD;
    else if (settings->process_limit_ms >= 0 &&
             now_ns - seat->started_ns > settings->process_limit_ms * WEDGE_NS_PER_MS)
        *ret = WHY_AGE;
    else if (by_process && wedge_seat_start_limit_ns(pool, index) <= now_ns)
        *ret = WHY_START;
    else if (by_process && wedge_seat_final_limit_ns(pool, index) <= now_ns)
        *ret = WHY_FINAL;
    else
        return false;
    return true;
}

/* Locked. Claims the seats whose worker ended or is to be ended. Returns how many. */
static uint32_t collect_ended(struct wedge_pool *pool, int64_t now_ns, struct work *work)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool->settings.processes; i++) {
        struct wedge_pool_seat *seat = &pool->seats[i];
        if (seat->phase != WEDGE_SEAT_ALIVE || !has_ended(pool, i, now_ns, &work[n].why))
            continue;
        seat->phase = WEDGE_SEAT_REAPING;
        work[n++].index = i;
    }
    return n;
}

/* Whether the process has ended, within the time. */
static bool ended_within(int pidfd, int64_t ms)
{
    struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
    int64_t until_ns = wedge_pool_settings_until(ms);
    int n;
    do
        n = poll(&pfd, 1, (int)wedge_pool_earlier((until_ns - wedge_clock_ns()) / WEDGE_NS_PER_MS + 1, INT_MAX));
    while (n < 0 && errno == EINTR && wedge_clock_ns() < until_ns);
    return n > 0;
}

static const char *const why_words[] = {
    [WHY_DEAD] = "", [WHY_AGE] = "process_limit", [WHY_START] = "start_limit", [WHY_FINAL] = "final_limit"};

/* Locked when wide. The seat is claimed: its process and descriptor stay as they are. */
static void end_worker(struct wedge_pool *pool, struct work *work)
{
    const struct wedge_pool_seat *seat = &pool->seats[work->index];
    int rc;
    if (work->why != WHY_DEAD)
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_LIMIT, work->index + 1, seat->generation,
                        "worker is past %s and is ended", why_words[work->why]);
    if (work->why == WHY_AGE)
        pidfd_send_signal(seat->pidfd, SIGTERM, NULL, 0);
    if (work->why != WHY_DEAD && !(work->why == WHY_AGE && ended_within(seat->pidfd, pool->settings.term_wait_ms)))
        wedge_seat_kill(seat);
    memset(&work->info, 0, sizeof(work->info));
    do
        rc = waitid(P_PIDFD, (id_t)seat->pidfd, &work->info, WEXITED);
    while (rc < 0 && errno == EINTR);
    /* ECHILD: the program ignores SIGCHLD or reaped it itself; gone all the same, and not known how. */
    if (rc < 0)
        work->info.si_pid = 0;
}

static bool is_orderly(const struct work *work)
{
    return work->info.si_pid != 0 && work->info.si_code == CLD_EXITED &&
           work->info.si_status == WEDGE_POOL_EXIT_ORDERLY;
}

/* Locked. A death that nobody asked for: of a crash loop, perhaps. */
static void count_death(struct wedge_pool *pool, int64_t now_ns)
{
    struct wedge_looks *looks = looks_of(pool);
    uint64_t finished = wedge_board_finished(pool->board);
    if (finished != looks->finished_at_death || now_ns - looks->last_death_ns > CALM_MS * WEDGE_NS_PER_MS)
        looks->streak = 0;
    looks->finished_at_death = finished;
    looks->last_death_ns = now_ns;
    looks->streak++;
    if (pool->settings.restart_limit >= 0 &&
        looks->streak > (uint64_t)(pool->settings.restart_limit * pool->settings.processes))
        looks->breaker_open = true;
}

static void tell_end(struct wedge_pool *pool, const struct work *work)
{
    unsigned process = work->index + 1, generation = pool->seats[work->index].generation;
    if (is_orderly(work))
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_LEFT, process, generation, "worker left");
    else if (work->info.si_pid != 0 && work->info.si_code == CLD_EXITED)
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_DIED, process, generation, "worker left with status %d",
                        work->info.si_status);
    else if (work->info.si_pid != 0)
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_DIED, process, generation, "worker was ended by signal %d",
                        work->info.si_status);
    else
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_DIED, process, generation, "worker is gone");
}

/* Locked. The worker is reaped: the seat is empty, and asked for again where somebody is to follow. */
static void apply_end(struct wedge_pool *pool, const struct work *work, int64_t now_ns)
{
    struct wedge_looks *looks = looks_of(pool);
    struct wedge_pool_seat *seat = &pool->seats[work->index];
    bool starting = atomic_load(&wedge_board_seat(pool->board, work->index)->stage) == WEDGE_POOL_STARTING;
    wedge_stream_worker_gone(pool, work->index, seat->generation);
    wedge_seat_clear(pool, work->index);
    seat->phase = WEDGE_SEAT_EMPTY;
    looks->left[work->index] = is_orderly(work);
    if (is_orderly(work))
        return;
    looks->died_starting = starting;
    bool asked = work->info.si_code == CLD_EXITED && work->info.si_status == WEDGE_POOL_EXIT_STOP;
    atomic_fetch_add(&pool->board->deaths, 1);
    if (!asked && work->why != WHY_AGE)
        count_death(pool, now_ns);
    looks->refill[work->index] = work->why == WHY_START;
    if (asked) {
        bool all = true;
        looks->retired[work->index] = true;
        for (uint32_t i = 0; i < pool->settings.processes; i++)
            all = all && looks->retired[i];
        looks->breaker_open = looks->breaker_open || all;
    }
}

/* Locked. Claims the seats that are to be filled; those that stay empty are done with. Returns how many. */
static uint32_t collect_empty(struct wedge_pool *pool, struct work *work)
{
    struct wedge_looks *looks = looks_of(pool);
    bool wanted = wants_workers(pool), closed = wedge_pool_phase_of(pool) == WEDGE_POOL_CLOSED;
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool->settings.processes; i++) {
        struct wedge_pool_seat *seat = &pool->seats[i];
        bool refill = looks->refill[i] && !looks->ending && !looks->breaker_open;
        if (seat->phase != WEDGE_SEAT_EMPTY)
            continue; /* or claimed, by whoever looks at the same time */
        if ((wanted || refill) && !looks->retired[i]) {
            seat->phase = WEDGE_SEAT_ASKED;
            wedge_stream_worker_starts(pool, i);
            wedge_seat_prepare(pool, i);
            looks->left[i] = looks->refill[i] = false;
            work[n++].index = i;
        } else if (looks->left[i] && closed) {
            looks->left[i] = false;
            wedge_stream_complete_marks(pool, i, seat->generation);
        }
    }
    return n;
}

/* Locked when wide. The next generation. */
static void fork_worker(struct wedge_pool *pool, struct work *work)
{
    WEDGE_POINT("pool.looks.fork");
    work->pid = fork();
    if (work->pid == 0)
        wedge_pool_worker_run(pool, work->index + 1, pool->seats[work->index].generation);
    if (work->pid < 0)
        work->pid = -errno;
}

/* Locked. The seat stays empty on an error, for the next look. */
static int apply_fork(struct wedge_pool *pool, const struct work *work)
{
    struct wedge_pool_seat *seat = &pool->seats[work->index];
    int rc = work->pid < 0 ? work->pid : wedge_seat_take(pool, work->index, work->pid);
    seat->phase = rc < 0 ? WEDGE_SEAT_EMPTY : WEDGE_SEAT_ALIVE;
    if (work->pid > 0 && rc < 0) { /* no descriptor to be had: a worker that cannot be watched is not kept */
        kill(work->pid, SIGKILL);
        while (waitpid(work->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    return rc;
}

/* Locked. Nobody is started any more and nobody is left: said once. */
static void look_broken(struct wedge_pool *pool)
{
    struct wedge_looks *looks = looks_of(pool);
    if (!looks->breaker_open || atomic_load(&pool->board->broken))
        return;
    for (uint32_t i = 0; i < pool->settings.processes; i++)
        if (pool->seats[i].phase != WEDGE_SEAT_EMPTY)
            return;
    atomic_store(&pool->board->broken, 1);
    wedge_stream_wake(pool);
    wedge_pool_tell(pool, WEDGE_POOL_EVENT_BROKEN, 0, 0, "no worker is started any more");
}

/* Locked. */
static void look_collector(struct wedge_pool *pool, int64_t now_ns)
{
    struct wedge_looks *looks = looks_of(pool);
    struct wedge_board_thread *collector = &pool->board->collector;
    int64_t limit_ms = pool->settings.collector_limit_ms, since_ns = atomic_load(&collector->since_ns);
    uint64_t task = atomic_load(&collector->task);
    if (limit_ms < 0 || atomic_load(&collector->doing) != WEDGE_DOING_COLLECT || task == looks->collect_told ||
        now_ns - since_ns <= limit_ms * WEDGE_NS_PER_MS)
        return;
    looks->collect_told = task;
    wedge_pool_tell(pool, WEDGE_POOL_EVENT_LIMIT, 0, 0, "collect of task %llu is past collector_limit: %lld ms",
                    (unsigned long long)task, (long long)((now_ns - since_ns) / WEDGE_NS_PER_MS));
}

/* Locked. When `collect` gets past its limit: the call that goes on, if nothing was said of it yet, or the next one. */
static int64_t collector_limit_ns(const struct wedge_pool *pool)
{
    const struct wedge_board_thread *collector = &pool->board->collector;
    int64_t limit_ms = pool->settings.collector_limit_ms, since_ns = atomic_load(&collector->since_ns);
    if (!pool->callbacks.collect || limit_ms < 0)
        return WEDGE_POOL_NEVER;
    if (atomic_load(&collector->doing) == WEDGE_DOING_COLLECT &&
        atomic_load(&collector->task) != looks_of(pool)->collect_told)
        return since_ns + limit_ms * WEDGE_NS_PER_MS;
    return wedge_pool_settings_until(limit_ms);
}

/* Locked. The first time at which a worker or `collect` can be past a limit; never just now, so that nobody spins. */
static int64_t next_limit_ns(struct wedge_pool *pool)
{
    const struct wedge_pool_settings *settings = &pool->settings;
    /* What begins after this look: a start, a finalizer. */
    int64_t first_ns = wedge_pool_earlier(wedge_pool_settings_until(settings->start_limit_ms),
                                          wedge_pool_settings_until(settings->final_limit_ms));
    first_ns = wedge_pool_earlier(first_ns, wedge_pool_settings_until(settings->process_limit_ms));
    first_ns = wedge_pool_earlier(first_ns, collector_limit_ns(pool));
    for (uint32_t i = 0; i < settings->processes; i++) {
        const struct wedge_pool_seat *seat = &pool->seats[i];
        if (seat->phase != WEDGE_SEAT_ALIVE)
            continue;
        if (settings->process_limit_ms >= 0)
            first_ns = wedge_pool_earlier(first_ns, seat->started_ns + settings->process_limit_ms * WEDGE_NS_PER_MS);
        if (settings->limit_by != WEDGE_POOL_LIMIT_BY_PROCESS)
            continue; /* those who are past it are left to their helpers */
        first_ns = wedge_pool_earlier(first_ns, wedge_seat_start_limit_ns(pool, i));
        first_ns = wedge_pool_earlier(first_ns, wedge_seat_final_limit_ns(pool, i));
    }
    int64_t soon_ns = wedge_clock_ns() + WEDGE_NS_PER_MS;
    return first_ns > soon_ns ? first_ns : soon_ns;
}

/* Locked. Lets the lock go for the work on claimed seats, and takes it again. */
static void work_begins(struct wedge_pool *pool)
{
    if (!is_narrow(pool))
        return;
    unlock(pool);
    WEDGE_POINT("pool.looks.collected");
}
static void work_ends(struct wedge_pool *pool)
{
    if (is_narrow(pool))
        lock(pool);
}

/* Locked. Fills empty seats; 0, or the first error. *worked is set when there were any. */
static int fill_seats(struct wedge_pool *pool, bool *worked)
{
    struct work work[WEDGE_POOL_PROCESSES_MAX];
    uint32_t n = collect_empty(pool, work);
    int first = 0;
    if (n == 0)
        return 0;
    *worked = true;
    work_begins(pool);
    for (uint32_t i = 0; i < n; i++)
        fork_worker(pool, &work[i]);
    work_ends(pool);
    for (uint32_t i = 0; i < n; i++) {
        int rc = apply_fork(pool, &work[i]);
        first = first ? first : rc;
    }
    return first;
}

/* Locked. *worked is set when somebody had ended, or was ended. */
static void empty_seats(struct wedge_pool *pool, int64_t now_ns, bool *worked)
{
    struct work work[WEDGE_POOL_PROCESSES_MAX];
    uint32_t n = collect_ended(pool, now_ns, work);
    if (n == 0)
        return;
    *worked = true;
    work_begins(pool);
    for (uint32_t i = 0; i < n; i++) {
        end_worker(pool, &work[i]);
        tell_end(pool, &work[i]);
    }
    work_ends(pool);
    for (uint32_t i = 0; i < n; i++)
        apply_end(pool, &work[i], now_ns);
}

/* Locked. Whether a call's entry is to look: the last look is `check` old, or something may be past a limit. */
static bool is_due(const struct wedge_pool *pool, int64_t now_ns)
{
    const struct wedge_looks *looks = looks_of(pool);
    int64_t check_ms = pool->settings.check_ms;
    return check_ms < 0 || now_ns - looks->last_look_ns >= check_ms * WEDGE_NS_PER_MS ||
           now_ns >= atomic_load(&looks->limit_ns) || now_ns >= atomic_load(&looks->task_limit_ns);
}

/* How long the caller was held up: behind another one's look, or with work of its own on seats. 0: it was not. */
static int64_t look(struct wedge_pool *pool, bool force)
{
    struct wedge_looks *looks = looks_of(pool);
    int64_t from_ns = wedge_clock_ns(), now_ns = from_ns;
    bool held_up = pthread_mutex_trylock(&pool->lock) != 0;
    if (held_up) {
        lock(pool);
        now_ns = wedge_clock_ns();
    }
    if (!force && !is_due(pool, now_ns)) {
        unlock(pool);
        return now_ns - from_ns;
    }
    looks->last_look_ns = now_ns;
    WEDGE_POINT("pool.looks.locked");
    empty_seats(pool, now_ns, &held_up);
    fill_seats(pool, &held_up);
    look_broken(pool);
    look_collector(pool, now_ns);
    atomic_store(&looks->limit_ns, next_limit_ns(pool));
    unlock(pool);
    wedge_word_bump(&looks->idle, INT_MAX);
    atomic_store(&looks->task_limit_ns, wedge_stream_tell_timeouts(pool, now_ns));
    if (pool->settings.dead_task == WEDGE_POOL_DEAD_TASK_LOST && atomic_load(&pool->board->deaths) > 0)
        wedge_stream_tell_lost(pool);
    wedge_pool_alarms_look(pool, now_ns);
    return held_up ? wedge_clock_ns() - from_ns : 0;
}

static int64_t looks_look(struct wedge_pool *pool)
{
    return look(pool, false);
}

/* `check`, or a limit: one that nobody would look at limits nothing. */
static int64_t looks_look_again_ns(struct wedge_pool *pool)
{
    struct wedge_looks *looks = looks_of(pool);
    int64_t limit_ns = wedge_pool_earlier(atomic_load(&looks->limit_ns), atomic_load(&looks->task_limit_ns));
    return wedge_pool_earlier(wedge_pool_settings_until(pool->settings.check_ms), limit_ns);
}

static int looks_start(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    struct wedge_looks *looks = calloc(1, sizeof(*looks));
    if (!looks)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the workers' keeper");
    pool->keeper_data = looks;
    bool worked = false;
    lock(pool);
    int rc = fill_seats(pool, &worked);
    looks->last_look_ns = wedge_clock_ns();
    atomic_store(&looks->limit_ns, next_limit_ns(pool));
    atomic_store(&looks->task_limit_ns, wedge_pool_settings_until(pool->settings.task_limit_ms));
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
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_ENDING, 0, 0, "no room for a stop mark, try %d", tries + 1);
        look(pool, true);
    }
    wedge_pool_tell(pool, WEDGE_POOL_EVENT_ENDING, 0, 0, "a stop mark is dropped");
    return -EAGAIN;
}

/* As many as there were threads ever started: those of the workers that are gone are too many, and fill the queue. */
static int close_by_marks(struct wedge_pool *pool, int64_t until_ns)
{
    int64_t marks = (pool->settings.processes + (int64_t)atomic_load(&pool->board->replaced)) * pool->settings.threads;
    int rc = 0;
    for (int64_t i = 0; i < marks && rc != -ETIMEDOUT && rc != -ENOTRECOVERABLE; i++)
        rc = put_mark(pool, until_ns);
    return rc == -EAGAIN || rc == -ENOTRECOVERABLE ? 0 : rc;
}

/* The flag comes after the last put: who waits for room is refused, who has some is let through. */
static int close_by_flag(struct wedge_pool *pool, int64_t until_ns)
{
    int rc = 0;
    wedge_stream_wake(pool);
    while (rc == 0) {
        uint32_t seen = wedge_word_read(&pool->board->news);
        if (atomic_load(&pool->putters) == 0)
            break;
        rc = wedge_word_wait(&pool->board->news, seen, WEDGE_WAIT_FOR_PEER, until_ns);
    }
    atomic_store(&pool->board->closed, 1);
    return rc;
}

static int looks_close(struct wedge_pool *pool, int64_t until_ns)
{
    int rc = pool->settings.close_by == WEDGE_POOL_CLOSE_BY_FLAG ? close_by_flag(pool, until_ns)
                                                                 : close_by_marks(pool, until_ns);
    wedge_stream_no_more_tasks(pool);
    return rc;
}

/* A process to wait for, 0 none, and a descriptor of it that is the caller's. */
static pid_t first_worker(struct wedge_pool *pool, int *ret_pidfd)
{
    pid_t pid = 0;
    lock(pool);
    for (uint32_t i = 0; !pid && i < pool->settings.processes; i++) {
        pid = pool->seats[i].pid;
        *ret_pidfd = pid ? fcntl(pool->seats[i].pidfd, F_DUPFD_CLOEXEC, 0) : -1;
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

/* Nobody is left and nobody follows: says what became of the tasks that no worker will report. */
static unsigned looks_tell_rest(struct wedge_pool *pool)
{
    bool broken = atomic_load(&pool->board->broken);
    bool started = !looks_of(pool)->died_starting;
    if (pool->settings.dead_task != WEDGE_POOL_DEAD_TASK_LOST)
        return 0;
    return wedge_stream_tell_rest(pool, broken && !started ? WEDGE_POOL_INIT_FAILED : WEDGE_POOL_CANCELLED);
}

static void all_have_left(struct wedge_pool *pool)
{
    atomic_store(&looks_of(pool)->all_left, true);
    looks_tell_rest(pool);
    if (atomic_load(&pool->board->broken))
        wedge_stream_stop_collector(pool, true);
}

/* collector_limit: nobody else would say that `collect` does not return while join waits for the collector. Without that
 * limit the wait is left to join itself. Woken by the collector that leaves. */
static int watch_collector(struct wedge_pool *pool, int64_t until_ns)
{
    while (pool->collector_started && !pool->collector_joined && pool->settings.collector_limit_ms >= 0) {
        uint32_t seen = wedge_word_read(&pool->board->news);
        int64_t now_ns = wedge_clock_ns();
        if (atomic_load(&pool->collector_left))
            break;
        if (now_ns >= until_ns)
            return -ETIMEDOUT;
        lock(pool);
        look_collector(pool, now_ns);
        int64_t again_ns = collector_limit_ns(pool);
        unlock(pool);
        /* Told just when its limit was reached to the nanosecond it would be looked at again at once. */
        again_ns = again_ns > now_ns ? again_ns : now_ns + WEDGE_NS_PER_MS;
        wedge_word_wait(&pool->board->news, seen, WEDGE_WAIT_FOR_PEER, wedge_pool_earlier(until_ns, again_ns));
    }
    return 0;
}

static int looks_join(struct wedge_pool *pool, int64_t until_ns)
{
    int pidfd = -1;
    pid_t pid;
    while ((pid = first_worker(pool, &pidfd)) != 0) {
        bool late = until_ns != WEDGE_POOL_NEVER && wedge_clock_ns() >= until_ns;
        if (!late)
            wait_worker(pid, pidfd, wedge_pool_earlier(until_ns, looks_look_again_ns(pool)));
        close(pidfd);
        if (late)
            return -ETIMEDOUT;
        look(pool, true);
    }
    all_have_left(pool);
    return watch_collector(pool, until_ns);
}

static bool looks_any_alive(struct wedge_pool *pool)
{
    lock(pool);
    /* Closed by the flag, with tasks left: the dead are replaced at the next look. */
    bool alive = pool->settings.close_by == WEDGE_POOL_CLOSE_BY_FLAG && atomic_load(&pool->board->closed) &&
                 !atomic_load(&looks_of(pool)->all_left) && wants_workers(pool);
    for (uint32_t i = 0; !alive && i < pool->settings.processes; i++)
        alive = pool->seats[i].phase == WEDGE_SEAT_ASKED || wedge_seat_alive(pool, i);
    unlock(pool);
    return alive;
}

/* Locked. */
static bool any_claimed(const struct wedge_pool *pool)
{
    for (uint32_t i = 0; i < pool->settings.processes; i++)
        if (pool->seats[i].phase == WEDGE_SEAT_ASKED || pool->seats[i].phase == WEDGE_SEAT_REAPING)
            return true;
    return false;
}

static void looks_end(struct wedge_pool *pool)
{
    struct wedge_looks *looks = looks_of(pool);
    if (!looks)
        return;
    lock(pool);
    looks->ending = true;
    while (any_claimed(pool)) { /* woken by whoever is at work on them, when that one is done */
        uint32_t seen = wedge_word_read(&looks->idle);
        unlock(pool);
        wedge_word_wait(&looks->idle, seen, WEDGE_WAIT_FOR_PEER, WEDGE_POOL_NEVER);
        lock(pool);
    }
    for (uint32_t i = 0; i < pool->settings.processes; i++)
        wedge_seat_kill(&pool->seats[i]);
    for (uint32_t i = 0; i < pool->settings.processes; i++) {
        struct work work = {.index = i, .why = WHY_DEAD};
        if (pool->seats[i].phase != WEDGE_SEAT_ALIVE)
            continue;
        end_worker(pool, &work);
        apply_end(pool, &work, wedge_clock_ns());
    }
    unlock(pool);
}

static void looks_destroy(struct wedge_pool *pool)
{
    free(pool->keeper_data);
    pool->keeper_data = NULL;
}

/* What the library waits for before it closes. Looks as put does while it waits. */
static int looks_drain(struct wedge_pool *pool, int64_t until_ns)
{
    for (;;) {
        int rc = wedge_stream_wait_empty(pool, wedge_pool_earlier(until_ns, looks_look_again_ns(pool)));
        if (rc == 0 || atomic_load(&pool->board->broken))
            return 0;
        if (until_ns != WEDGE_POOL_NEVER && wedge_clock_ns() >= until_ns)
            return -ETIMEDOUT;
        look(pool, true);
    }
}

/* After `end`, with whatever the workers had written taken first: the pipe keeps the order. */
static int looks_stop_collector(struct wedge_pool *pool)
{
    if (pool->settings.dead_task == WEDGE_POOL_DEAD_TASK_LOST)
        wedge_stream_tell_rest(pool, WEDGE_POOL_CANCELLED);
    return wedge_stream_stop_collector(pool, false);
}

const struct wedge_pool_keeper wedge_pool_looks = {
    .start = looks_start,
    .look = looks_look,
    .look_again_ns = looks_look_again_ns,
    .drain = looks_drain,
    .close = looks_close,
    .join = looks_join,
    .any_alive = looks_any_alive,
    .tell_rest = looks_tell_rest,
    .end = looks_end,
    .destroy = looks_destroy,
    .stop_collector = looks_stop_collector,
};
