/*
 * The keeper of `hardened`: a thread of the parent that starts, watches, ends and replaces workers, whether or not the
 * user calls anything. It never touches user code and never waits for anything but its epoll set.
 *
 *   epoll:  zygote's socket (forked, reaped, gone) · a pidfd per worker (dead) · timerfd (limits, back-off, at least
 *           every TICK_MS) · eventfd (close, end)
 *
 * After a death: what the worker held becomes LOST or TIMEOUT, everyone who sleeps is woken to look again, the worker
 * is reaped, and its seat is filled again until the pool is closed and nothing is queued (crew.h). Deaths in a row without
 * a finished task, none of them more than 10 s after the one before, delay the next start more and more; past
 * restart_limit × processes of them the breaker opens: nobody is started any more. Once nobody is left, and nobody can be
 * started, what is queued is reported and put refuses.
 *
 * Its work is done when the pool is closed (or ended), no seat is taken and nothing is queued. From then on nothing changes
 * the ledger but take. It stays as long as there is a collector with a limit: join waits for that one, perhaps for ever,
 * and nobody else would name it.
 *
 * Somebody may close the descriptors (closefrom(3) in the parent), or one of them. It cannot go on without; but it looks once a
 * tick, and ends the pool as one that is broken, so that nobody waits for ever.
 *
 * Cost when nothing happens: one turn each TICK_MS, which reads one record per worker thread and no slot.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "pool/alarms.h"
#include "pool/crew.h"
#include "pool/events.h"
#include "pool/limits.h"
#include "pool/pool.h"
#include "pool/slots.h"

#define TICK_MS 1000
#define EVENTS  16

/* epoll's data: a seat's index, or one of these. */
enum { SOURCE_ZYGOTE = 1 << 20, SOURCE_TIMER, SOURCE_KICK };

struct wedge_supervisor {
    struct wedge_crew crew; /* the thread's own */
    int epoll, timer; /* these three: -1 none */
    _Atomic int kick;
    struct wedge_file_id epoll_id, timer_id, kick_id;
    pthread_t thread;
    bool thread_started; /* the owner's */
    _Atomic uint32_t ending; /* end: kill everyone, start nobody, withdraw what is queued */
    _Atomic uint32_t finished; /* every worker has left, every task has its outcome */
    /* The rest is the thread's own. */
    int64_t files_ns; /* when it last looked whether its descriptors are its own */
    bool drained; /* closed, and nothing is queued: for good, since nothing is put any more */
    uint64_t slow_collect; /* the task of the last `collect` that was told of */
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

/* Looks at every seat: limits, ends, gaps. Returns the next time at which there is something to do. */
static int64_t tend_seats(struct wedge_pool *pool, int64_t now_ns)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    int64_t next_ns = now_ns + TICK_MS * WEDGE_NS_PER_MS, shortest_ns = wedge_limits_shortest_ns(pool);
    bool ending = atomic_load(&sup->ending);
    sup->drained = sup->drained || (atomic_load(&pool->board->closed) && !wedge_slots_any_queued(pool));
    bool wanted = !ending && !sup->drained;
    for (uint32_t i = 0; i < pool->settings.processes; i++) {
        const struct wedge_pool_seat *seat = &pool->seats[i];
        if (ending)
            wedge_crew_end_seat(&sup->crew, i);
        if (seat->phase == WEDGE_SEAT_ALIVE && !seat->condemned)
            next_ns = wedge_pool_earlier(next_ns, wedge_limits_tend(pool, i, sup->drained, now_ns));
        next_ns = wedge_pool_earlier(next_ns, wedge_crew_fill(&sup->crew, i, wanted, now_ns));
    }
    wedge_limits_collector(pool, &sup->slow_collect, now_ns);
    next_ns = wedge_pool_earlier(next_ns, wedge_slots_expire_queued(pool, now_ns));
    next_ns = wedge_pool_earlier(next_ns, wedge_crew_tend_zygote(&sup->crew, now_ns));
    /* A worker does not say when it claims or finalizes: what begins right after this look ends no sooner than this. */
    return shortest_ns == WEDGE_POOL_NEVER ? next_ns : wedge_pool_earlier(next_ns, now_ns + shortest_ns);
}

/* With nobody left and nobody to come, what is queued gets its outcome. Returns whether all is over. */
static bool settle(struct wedge_pool *pool)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    bool nobody = !wedge_crew_any(&sup->crew);
    if (atomic_load(&sup->ending))
        wedge_slots_withdraw(pool, WEDGE_POOL_CANCELLED);
    if (nobody && !wedge_crew_can_grow(&sup->crew)) {
        if (atomic_exchange(&pool->board->broken, 1) == 0)
            wedge_pool_tell(pool, WEDGE_POOL_EVENT_BROKEN, 0, 0, "no worker is left, and none is started");
        wedge_slots_withdraw(pool, sup->crew.died_starting ? WEDGE_POOL_INIT_FAILED : WEDGE_POOL_CANCELLED);
    }
    return nobody && atomic_load(&pool->board->closed) && !wedge_slots_any_queued(pool);
}

static void arm(struct wedge_supervisor *sup, int64_t at_ns)
{
    struct itimerspec its = {.it_value = {.tv_sec = at_ns / WEDGE_NS_PER_S, .tv_nsec = at_ns % WEDGE_NS_PER_S}};
    timerfd_settime(sup->timer, TFD_TIMER_ABSTIME, &its, NULL);
}

static void handle(struct wedge_supervisor *sup, uint32_t source)
{
    uint64_t count;
    ssize_t n = 0;
    if (source == SOURCE_ZYGOTE)
        wedge_crew_hear_zygote(&sup->crew);
    else if (source == SOURCE_TIMER)
        n = read(sup->timer, &count, sizeof(count));
    else if (source == SOURCE_KICK)
        n = read(sup->kick, &count, sizeof(count));
    else
        wedge_crew_seat_event(&sup->crew, source);
    (void)n; /* both are non-blocking; nothing there is nothing to do */
}

/* Once a tick: a number that somebody has closed may be a file of his own at any time, and is not to be used then. */
static bool has_its_files(struct wedge_supervisor *sup)
{
    int64_t now_ns = wedge_clock_ns();
    if (now_ns < sup->files_ns + TICK_MS * WEDGE_NS_PER_MS)
        return true;
    sup->files_ns = now_ns;
    return wedge_file_id_holds(&sup->epoll_id, sup->epoll) && wedge_file_id_holds(&sup->timer_id, sup->timer) &&
           wedge_file_id_holds(&sup->kick_id, sup->kick) && wedge_crew_has_its_files(&sup->crew);
}

/* The numbers may be other files' by now: none is used again. */
static void forget_files(struct wedge_supervisor *sup)
{
    sup->epoll = sup->timer = -1;
    atomic_store(&sup->kick, -1);
}

static void go_blind(struct wedge_supervisor *sup)
{
    forget_files(sup);
    wedge_crew_blinded(&sup->crew);
}

/* All is over but what the collector has still to hand out. Until that one has left, or `end`. */
static void watch_collector(struct wedge_pool *pool)
{
    struct wedge_supervisor *sup = pool->keeper_data;
    int64_t limit_ns = pool->settings.collector_limit_ms * WEDGE_NS_PER_MS;
    while (pool->callbacks.collect && limit_ns >= 0 && !atomic_load(&sup->ending) &&
           !atomic_load(&pool->collector_left)) {
        struct epoll_event events[EVENTS];
        uint32_t seen = wedge_word_read(&pool->board->news);
        int64_t now_ns = wedge_clock_ns();
        wedge_limits_collector(pool, &sup->slow_collect, now_ns);
        if (sup->epoll < 0) { /* blinded: the collector bumps the word when it leaves, `end` does too */
            wedge_word_wait(&pool->board->news, seen, WEDGE_WAIT_FOR_PEER,
                            now_ns + wedge_pool_earlier(limit_ns, TICK_MS * WEDGE_NS_PER_MS));
            continue;
        }
        arm(sup, now_ns + wedge_pool_earlier(limit_ns, TICK_MS * WEDGE_NS_PER_MS));
        int n = epoll_wait(sup->epoll, events, EVENTS, 2 * TICK_MS); /* as in supervisor_main */
        if (n < 0 && errno != EINTR)
            forget_files(sup);
        for (int i = 0; i < n; i++)
            handle(sup, events[i].data.u32);
    }
}

static void *supervisor_main(void *arg)
{
    struct wedge_pool *pool = arg;
    struct wedge_supervisor *sup = pool->keeper_data;
    wedge_pool_name_thread("supervisor");
    for (;;) {
        struct epoll_event events[EVENTS];
        uint32_t seen = wedge_word_read(&pool->board->news);
        if (sup->epoll >= 0 && !has_its_files(sup))
            go_blind(sup);
        int64_t next_ns = tend_seats(pool, wedge_clock_ns());
        if (settle(pool))
            break;
        wedge_pool_alarms_look(pool, wedge_clock_ns());
        if (sup->epoll < 0) { /* blinded: only close and end are left to come, and both bump the word */
            wedge_word_wait(&pool->board->news, seen, WEDGE_WAIT_FOR_PEER, wedge_pool_after_ms(TICK_MS));
            continue;
        }
        /* An alarm is raised by the look after its hold: a hold below a tick is looked at as often. */
        arm(sup, wedge_pool_earlier(next_ns, wedge_pool_after_ms(pool->settings.alarm_hold_ms)));
        /* The timer is armed, within TICK_MS. It is gone with the rest where somebody closed them all: twice that. */
        int n = epoll_wait(sup->epoll, events, EVENTS, 2 * TICK_MS);
        if (n < 0 && errno != EINTR)
            go_blind(sup);
        for (int i = 0; i < n; i++)
            handle(sup, events[i].data.u32);
    }
    wedge_crew_end(&sup->crew);
    atomic_store(&sup->finished, 1);
    wedge_slots_wake_all(pool);
    watch_collector(pool);
    return NULL;
}

static int supervised_start(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    struct wedge_supervisor *sup = calloc(1, sizeof(*sup));
    int rc;
    if (!sup)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the supervisor");
    pool->keeper_data = sup;
    sup->epoll = sup->timer = -1;
    atomic_init(&sup->kick, -1);
    rc = wedge_crew_start(&sup->crew, pool); /* first: it must not inherit what follows */
    if (rc < 0)
        return wedge_pool_err_set(err, rc, "the zygote could not be started: %s", strerror(-rc));
    sup->epoll = epoll_create1(EPOLL_CLOEXEC);
    sup->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    sup->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = sup->epoll < 0 || sup->timer < 0 || sup->kick < 0 ? -errno : 0;
    sup->crew.epoll = sup->epoll;
    sup->epoll_id = wedge_file_id_of(sup->epoll);
    sup->timer_id = wedge_file_id_of(sup->timer);
    sup->kick_id = wedge_file_id_of(sup->kick);
    if (rc == 0 && sup->crew.zygote.pid != 0)
        rc = watch(sup, sup->crew.zygote.sock, SOURCE_ZYGOTE);
    if (rc == 0)
        rc = watch(sup, sup->timer, SOURCE_TIMER);
    if (rc == 0)
        rc = watch(sup, sup->kick, SOURCE_KICK);
    if (rc == 0)
        rc = wedge_pool_thread(&sup->thread, supervisor_main, pool);
    sup->thread_started = rc == 0;
    return rc < 0 ? wedge_pool_err_set(err, rc, "the supervisor could not be started: %s", strerror(-rc)) : 0;
}

static int64_t supervised_look(struct wedge_pool *pool)
{
    (void)pool; /* it looks by itself */
    return 0;
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
        wedge_word_bump(&pool->board->news, INT_MAX);
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
    wedge_crew_end(&sup->crew); /* start failed halfway; else it is gone */
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
