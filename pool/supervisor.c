/*
 * The keeper of `hardened`: a thread of the parent that starts, watches, ends and replaces workers, whether or not the
 * user calls anything. It never touches user code and never waits for anything but its epoll set.
 *
 *   epoll:  zygote's socket (forked, reaped, gone) · a pidfd per worker (dead) · timerfd (limits, back-off, at least
 *           every TICK_MS) · eventfd (close, end)
 *
 * After a death: what the worker held becomes LOST or TIMEOUT, everyone who sleeps is woken to look again, the worker
 * is reaped, and its seat is filled again until the pool is closed and nothing is queued. Deaths in a row without a
 * finished task, none of them more than CALM_MS after the one before, delay the next start more and more; past
 * restart_limit × processes of them the breaker opens: nobody is started any more, and once nobody is left what is queued is
 * reported and put refuses.
 *
 * It ends when the pool is closed (or ended), no seat is taken and nothing is queued. From then on nothing changes the
 * ledger but take.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/figures.h"
#include "pool/ledger.h"
#include "pool/pool.h"
#include "pool/seat.h"
#include "pool/slots.h"
#include "pool/zygote.h"

#define TICK_MS      1000
#define CALM_MS      10000
#define BACK_OFF_MS  5 /* doubled with each round of deaths, up to: */
#define BACK_OFF_MAX 1000
#define EVENTS       16

/* epoll's data: a seat's index, or one of these. */
enum { SOURCE_ZYGOTE = 1 << 20, SOURCE_TIMER, SOURCE_KICK };

struct wedge_supervisor {
    struct wedge_zygote zygote;
    int epoll, timer, kick;
    pthread_t thread;
    bool thread_started; /* the owner's */
    _Atomic uint32_t ending; /* end: kill everyone, start nobody, withdraw what is queued */
    _Atomic uint32_t finished; /* the thread is about to leave */
    /* The rest is the thread's own. */
    bool zygote_gone, breaker_open, died_starting;
    uint32_t streak; /* deaths in a row */
    uint64_t finished_at_death; /* wedge_board_finished then */
    int64_t last_death_ns, restart_ns;
};

static int watch(struct wedge_supervisor *sup, int fd, uint32_t source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};
    return epoll_ctl(sup->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void kick(struct wedge_supervisor *sup)
{
    uint64_t one = 1;
    while (write(sup->kick, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void lock(struct wedge_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
}

static void unlock(struct wedge_pool *pool)
{
    pthread_mutex_unlock(&pool->lock);
}

/* A death that was not in order, now. */
static void count_death(struct wedge_pool *pool, int64_t now_ns)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    uint64_t finished = wedge_board_finished(pool->board);
    uint32_t processes = (uint32_t)pool->settings.processes;
    atomic_fetch_add(&pool->board->deaths, 1);
    if (finished != sup->finished_at_death || now_ns - sup->last_death_ns > CALM_MS * WEDGE_NS_PER_MS)
        sup->streak = 0;
    sup->finished_at_death = finished;
    sup->last_death_ns = now_ns;
    sup->streak++;
    uint32_t round = sup->streak / (processes + 1); /* 0 while each worker has died at most once */
    int64_t back_off_ms = round == 0 ? 0 : round > 8 ? BACK_OFF_MAX : BACK_OFF_MS << (round - 1);
    sup->restart_ns = now_ns + wedge_pool_earlier(back_off_ms, BACK_OFF_MAX) * WEDGE_NS_PER_MS;
    if (sup->streak > (uint64_t)pool->settings.restart_limit * processes)
        sup->breaker_open = true;
}

/* The process in this seat is gone: settle what it held, have it reaped. */
static void seat_died(struct wedge_pool *pool, uint32_t index, int64_t now_ns)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    struct wedge_pool_seat *seat = &pool->seats[index];
    struct wedge_zygote_message order = {.op = WEDGE_ZYGOTE_REAP, .index = index, .pid = seat->pid};
    sup->died_starting = atomic_load(&wedge_board_seat(pool->board, index)->stage) == WEDGE_POOL_STARTING;
    epoll_ctl(sup->epoll, EPOLL_CTL_DEL, seat->pidfd, NULL);
    wedge_slots_condemn(pool, index + 1, seat->generation);
    lock(pool);
    wedge_seat_clear(pool, index);
    seat->phase = WEDGE_SEAT_REAPING;
    unlock(pool);
    if (sup->zygote_gone || wedge_zygote_send(&sup->zygote, &order) < 0) {
        seat->phase = WEDGE_SEAT_EMPTY;
        count_death(pool, now_ns);
    }
}

static void seat_spawned(struct wedge_pool *pool, const struct wedge_zygote_message *message, int64_t now_ns)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    struct wedge_pool_seat *seat = &pool->seats[message->index];
    int rc = message->pid < 0 ? message->pid : 0;
    lock(pool);
    if (rc == 0)
        rc = wedge_seat_take(pool, message->index, message->pid);
    seat->phase = rc == 0 ? WEDGE_SEAT_ALIVE : WEDGE_SEAT_EMPTY;
    unlock(pool);
    if (rc == 0)
        rc = watch(sup, seat->pidfd, message->index);
    if (rc == 0)
        return;
    /* No process, or no descriptor to watch it by: the machine is short of something. Tried again with back-off. */
    if (message->pid < 0) {
        count_death(pool, now_ns);
        return;
    }
    struct wedge_zygote_message order = {.op = WEDGE_ZYGOTE_END, .index = message->index, .pid = message->pid};
    lock(pool);
    wedge_seat_clear(pool, message->index);
    seat->phase = WEDGE_SEAT_REAPING;
    unlock(pool);
    wedge_zygote_send(&sup->zygote, &order); /* fails: its end of file follows */
}

/* The zygote's workers die with it (the kernel kills them); each pidfd says when. Nobody can be started any more. */
static void zygote_died(struct wedge_pool *pool)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    sup->zygote_gone = true;
    sup->breaker_open = true;
    epoll_ctl(sup->epoll, EPOLL_CTL_DEL, sup->zygote.sock, NULL);
    for (uint32_t i = 0; i < pool->settings.processes; i++)
        if (pool->seats[i].phase == WEDGE_SEAT_ASKED || pool->seats[i].phase == WEDGE_SEAT_REAPING)
            pool->seats[i].phase = WEDGE_SEAT_EMPTY; /* what it has not told of, has not begun (zygote.h) */
}

static void hear_zygote(struct wedge_pool *pool, int64_t now_ns)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    struct wedge_zygote_message message;
    int rc;
    while ((rc = wedge_zygote_receive(&sup->zygote, &message)) == 1) {
        if (message.op == WEDGE_ZYGOTE_SPAWNED) {
            seat_spawned(pool, &message, now_ns);
        } else {
            /* Settled at its death already, unless it could not be watched. */
            wedge_slots_condemn(pool, message.index + 1, pool->seats[message.index].generation);
            pool->seats[message.index].phase = WEDGE_SEAT_EMPTY;
            if (!WIFEXITED(message.status) || WEXITSTATUS(message.status) != WEDGE_POOL_EXIT_ORDERLY)
                count_death(pool, now_ns);
        }
    }
    if (rc < 0)
        zygote_died(pool);
}

/* Whether seats are to be filled: until closed and drained. */
static bool wants_workers(struct wedge_pool *pool)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    if (sup->breaker_open || atomic_load(&sup->ending))
        return false;
    return !atomic_load(&pool->board->closed) || wedge_slots_any_queued(pool);
}

static void ask_for(struct wedge_pool *pool, uint32_t index)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    struct wedge_pool_seat *seat = &pool->seats[index];
    lock(pool);
    wedge_seat_prepare(pool, index);
    seat->phase = WEDGE_SEAT_ASKED;
    unlock(pool);
    struct wedge_zygote_message order = {.op = WEDGE_ZYGOTE_SPAWN, .index = index, .generation = seat->generation};
    if (wedge_zygote_send(&sup->zygote, &order) < 0)
        seat->phase = WEDGE_SEAT_EMPTY; /* its end of file follows and settles the rest */
}

/*
 * A thread that should look for tasks and does not. Seen once it is suspected, seen again half a tick later it is
 * certain: when the whole program was frozen, this thread may be the first that runs again.
 */
static int64_t idle_limit_ns(struct wedge_pool *pool, uint32_t index, int64_t now_ns)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    int64_t limit_ns = wedge_seat_idle_limit_ns(pool, index);
    if (limit_ns > now_ns)
        seat->suspected_ns = 0;
    else if (seat->suspected_ns == 0)
        seat->suspected_ns = now_ns;
    return seat->suspected_ns ? seat->suspected_ns + TICK_MS / 2 * WEDGE_NS_PER_MS : limit_ns;
}

/* A process that has nothing left to do must leave: the time for one last look, and for both kinds of finalizers. */
static int64_t leave_limit_ns(struct wedge_pool *pool, uint32_t index, int64_t now_ns)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    const struct wedge_pool_settings *settings = &pool->settings;
    if (settings->idle_limit_ms < 0 || settings->final_limit_ms < 0 || !atomic_load(&pool->board->closed))
        return WEDGE_POOL_NEVER;
    if (seat->done_ns == 0 && !wedge_slots_any_queued(pool) && wedge_slots_owned(pool, index + 1) == 0)
        seat->done_ns = now_ns; /* for good: nothing is put any more */
    int64_t limit_ms = settings->idle_limit_ms + 2 * settings->final_limit_ms;
    return seat->done_ns ? seat->done_ns + limit_ms * WEDGE_NS_PER_MS : WEDGE_POOL_NEVER;
}

/* When this worker is to be ended: the first of its limits. */
static int64_t seat_limit_ns(struct wedge_pool *pool, uint32_t index, int64_t now_ns)
{
    int64_t limit_ns = wedge_seat_task_limit_ns(pool, index);
    if (atomic_load(&wedge_board_seat(pool->board, index)->stage) == WEDGE_POOL_STARTING)
        limit_ns = wedge_pool_earlier(limit_ns, wedge_seat_start_limit_ns(pool, index));
    else
        limit_ns = wedge_pool_earlier(limit_ns, leave_limit_ns(pool, index, now_ns));
    limit_ns = wedge_pool_earlier(limit_ns, idle_limit_ns(pool, index, now_ns));
    return wedge_pool_earlier(limit_ns, wedge_seat_final_limit_ns(pool, index));
}

/* What this worker's threads have had in hand for too long can be reported from now on. */
static void expire_tasks(struct wedge_pool *pool, uint32_t index, int64_t now_ns)
{
    if (wedge_seat_task_limit_ns(pool, index) > now_ns)
        return;
    for (uint32_t t = 1; t <= pool->settings.threads; t++)
        if (wedge_seat_thread_task_limit_ns(pool, index, t) <= now_ns)
            wedge_slots_expire(pool, index + 1, pool->seats[index].generation, t,
                               atomic_load(&wedge_board_thread(pool->board, index, t)->task));
}

/* Ends those past a limit, or all; fills empty seats. Returns the next time at which there is something to do. */
static int64_t tend_seats(struct wedge_pool *pool, int64_t now_ns)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    int64_t next_ns = now_ns + TICK_MS * WEDGE_NS_PER_MS;
    bool wanted = wants_workers(pool);
    for (uint32_t i = 0; i < pool->settings.processes; i++) {
        struct wedge_pool_seat *seat = &pool->seats[i];
        if (seat->phase == WEDGE_SEAT_ALIVE && !seat->condemned) {
            int64_t limit_ns = seat_limit_ns(pool, i, now_ns);
            expire_tasks(pool, i, now_ns);
            seat->condemned = atomic_load(&sup->ending) || limit_ns <= now_ns;
            if (seat->condemned)
                wedge_seat_kill(seat);
            else
                next_ns = wedge_pool_earlier(next_ns, limit_ns);
        }
        if (seat->phase == WEDGE_SEAT_EMPTY && wanted && now_ns >= sup->restart_ns)
            ask_for(pool, i);
        else if (seat->phase == WEDGE_SEAT_EMPTY && wanted)
            next_ns = wedge_pool_earlier(next_ns, sup->restart_ns);
    }
    /* A worker does not say when it claims or finalizes: what begins right after this look ends no sooner than this. */
    if (pool->settings.task_limit_ms >= 0)
        next_ns = wedge_pool_earlier(next_ns, now_ns + pool->settings.task_limit_ms * WEDGE_NS_PER_MS);
    if (pool->settings.final_limit_ms >= 0)
        next_ns = wedge_pool_earlier(next_ns, now_ns + pool->settings.final_limit_ms * WEDGE_NS_PER_MS);
    return next_ns;
}

static bool any_seat_taken(struct wedge_pool *pool)
{
    for (uint32_t i = 0; i < pool->settings.processes; i++)
        if (pool->seats[i].phase != WEDGE_SEAT_EMPTY)
            return true;
    return false;
}

/* With nobody left and nobody to come, what is queued gets its outcome. Returns whether all is over. */
static bool settle(struct wedge_pool *pool)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    bool nobody = !any_seat_taken(pool);
    if (atomic_load(&sup->ending))
        wedge_slots_withdraw(pool, WEDGE_POOL_CANCELLED);
    if (nobody && sup->breaker_open) {
        atomic_store(&pool->board->broken, 1);
        wedge_slots_withdraw(pool, sup->died_starting ? WEDGE_POOL_INIT_FAILED : WEDGE_POOL_CANCELLED);
    }
    return nobody && atomic_load(&pool->board->closed) && !wedge_slots_any_queued(pool);
}

static void arm(struct wedge_supervisor *sup, int64_t at_ns)
{
    struct itimerspec its = {.it_value = {.tv_sec = at_ns / WEDGE_NS_PER_S, .tv_nsec = at_ns % WEDGE_NS_PER_S}};
    timerfd_settime(sup->timer, TFD_TIMER_ABSTIME, &its, NULL);
}

static void handle(struct wedge_pool *pool, uint32_t source)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    uint64_t count;
    ssize_t n = 0;
    if (source == SOURCE_ZYGOTE)
        hear_zygote(pool, wedge_clock_ns());
    else if (source == SOURCE_TIMER)
        n = read(sup->timer, &count, sizeof(count));
    else if (source == SOURCE_KICK)
        n = read(sup->kick, &count, sizeof(count));
    else if (pool->seats[source].phase == WEDGE_SEAT_ALIVE && !wedge_seat_alive(&pool->seats[source]))
        seat_died(pool, source, wedge_clock_ns());
    (void)n; /* both are non-blocking; nothing there is nothing to do */
}

static void *supervisor_main(void *arg)
{
    struct wedge_pool *pool = arg;
    struct wedge_supervisor *sup = pool->keeper_data;
    wedge_pool_name_thread("supervisor");
    for (;;) {
        struct epoll_event events[EVENTS];
        int64_t next_ns = tend_seats(pool, wedge_clock_ns());
        if (settle(pool))
            break;
        wedge_pool_alarms_look(pool, wedge_clock_ns());
        arm(sup, next_ns);
        int n = epoll_wait(sup->epoll, events, EVENTS, TICK_MS);
        for (int i = 0; i < n; i++)
            handle(pool, events[i].data.u32);
    }
    wedge_zygote_end(&sup->zygote);
    atomic_store(&sup->finished, 1);
    wedge_slots_wake_all(pool);
    return NULL;
}

static int supervised_start(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    struct wedge_supervisor *sup = calloc(1, sizeof(*sup));
    int rc;
    if (!sup)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the supervisor");
    pool->keeper_data = sup;
    sup->epoll = sup->timer = sup->kick = -1;
    rc = wedge_zygote_start(pool, &sup->zygote); /* first: it must not inherit what follows */
    if (rc < 0)
        return wedge_pool_err_set(err, rc, "the zygote could not be started: %s", strerror(-rc));
    sup->epoll = epoll_create1(EPOLL_CLOEXEC);
    sup->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    sup->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = sup->epoll < 0 || sup->timer < 0 || sup->kick < 0 ? -errno : 0;
    if (rc == 0)
        rc = watch(sup, sup->zygote.sock, SOURCE_ZYGOTE);
    if (rc == 0)
        rc = watch(sup, sup->timer, SOURCE_TIMER);
    if (rc == 0)
        rc = watch(sup, sup->kick, SOURCE_KICK);
    if (rc == 0)
        rc = wedge_pool_thread(&sup->thread, supervisor_main, pool);
    sup->thread_started = rc == 0;
    return rc < 0 ? wedge_pool_err_set(err, rc, "the supervisor could not be started: %s", strerror(-rc)) : 0;
}

static void supervised_look(struct wedge_pool *pool)
{
    (void)pool; /* it looks by itself */
}

static int64_t supervised_look_again_ns(struct wedge_pool *pool)
{
    (void)pool;
    return WEDGE_POOL_NEVER;
}

/* Waits for puts in progress: they refuse as soon as they look, and copy at most payload_bytes before that. */
static int supervised_close(struct wedge_pool *pool, int64_t until_ns)
{
    (void)until_ns; /* nothing here waits for a worker or for the user */
    for (;;) {
        uint32_t seen = wedge_word_read(&pool->board->news);
        if (atomic_load(&pool->putters) == 0)
            break;
        wedge_slots_wake_all(pool);
        wedge_word_wait(&pool->board->news, seen, WEDGE_WAIT_FOR_PEER, wedge_pool_after_ms(10));
    }
    atomic_store(&pool->board->closed, 1);
    wedge_slots_wake_all(pool);
    kick(pool->keeper_data);
    return 0;
}

/* Woken by the supervisor when it is finished. */
static int supervised_join(struct wedge_pool *pool, int64_t until_ns)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    for (;;) {
        uint32_t seen = wedge_word_read(&pool->board->news);
        if (atomic_load(&sup->finished))
            return 0;
        if (until_ns != WEDGE_POOL_NEVER && wedge_clock_ns() >= until_ns)
            return -ETIMEDOUT;
        wedge_word_wait(&pool->board->news, seen, WEDGE_WAIT_FOR_PEER,
                        wedge_pool_earlier(until_ns, wedge_pool_after_ms(TICK_MS)));
    }
}

static bool supervised_any_alive(struct wedge_pool *pool)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    return atomic_load(&sup->finished) == 0;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* SIGKILL is the kernel's to carry out: this takes as long as the last worker takes to die. */
static void supervised_end(struct wedge_pool *pool)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    if (!sup)
        return;
    atomic_store(&sup->ending, 1);
    if (wedge_pool_phase_of(pool) != WEDGE_POOL_CLOSED) {
        wedge_pool_set_phase(pool, WEDGE_POOL_CLOSED);
        atomic_store(&pool->board->closed, 1);
    }
    if (sup->thread_started) {
        kick(sup);
        pthread_join(sup->thread, NULL);
        sup->thread_started = false;
    }
}

static void supervised_destroy(struct wedge_pool *pool)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    if (!sup)
        return;
    wedge_zygote_end(&sup->zygote); /* start failed halfway; else it is gone */
    close_fd(sup->epoll);
    close_fd(sup->timer);
    close_fd(sup->kick);
    free(sup);
    pool->keeper_data = NULL;
}

static int supervised_stop_collector(struct wedge_pool *pool)
{
    (void)pool; /* after `end` the accounts are complete, and the collector leaves by them */
    return 0;
}

const struct wedge_pool_keeper wedge_pool_supervised = {
    .start = supervised_start,
    .look = supervised_look,
    .look_again_ns = supervised_look_again_ns,
    .close = supervised_close,
    .join = supervised_join,
    .any_alive = supervised_any_alive,
    .end = supervised_end,
    .destroy = supervised_destroy,
    .stop_collector = supervised_stop_collector,
};
