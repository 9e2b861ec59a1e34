/*
 * The inside of a pool: what its files share. The public side is <wedge/pool.h>.
 *
 * Two parts vary, each behind a struct of function pointers, chosen by the preset:
 *   transport  how tasks reach workers and results come back: `stream` (stream.c) or `slots` (slots.c);
 *   keeper     who starts, watches, replaces and ends workers: `looks` (looks.c), which acts only when the user
 *              calls something, or `supervisor` (supervisor.c), which acts by itself.
 * worker.c and results.c know neither.
 *
 * Who writes what. `struct wedge_pool` is the parent's; a worker has a copy from its fork and writes only to its
 * copy's transport (enter). What they share is the board (board.h) and the transport's own mapping.
 */
#ifndef WEDGE_POOL_POOL_H
#define WEDGE_POOL_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <wedge/pool.h>

#include "pool/alarms.h"
#include "pool/board.h"
#include "pool/file_id.h"
#include "pool/settings.h"
#include "pool/sleeper.h"
#include "pool/word.h"

/* Exit statuses of a worker that leaves by itself. */
#define WEDGE_POOL_EXIT_ORDERLY 0
#define WEDGE_POOL_EXIT_INIT    81 /* an initializer failed */
#define WEDGE_POOL_EXIT_SYSTEM  82 /* a thread or memory could not be had */
#define WEDGE_POOL_EXIT_ORPHAN  83 /* whoever forked it is gone */
/* 84 is WEDGE_POOL_EXIT_STOP: do not start it again. */
#define WEDGE_POOL_EXIT_UNWELL 85 /* leave=abrupt: it was not well (task.die) */
#define WEDGE_POOL_EXIT_THREAD 86 /* user code ended one of its threads */
#define WEDGE_POOL_EXIT_COPY                                                                                           \
    87 /* not a worker, but a process that user code in one forked, and that came back from there */

/* EMPTY -> ASKED (somebody forks) -> ALIVE -> REAPING (dead or being ended, its status awaited) -> EMPTY. */
enum wedge_pool_seat_phase { WEDGE_SEAT_EMPTY, WEDGE_SEAT_ASKED, WEDGE_SEAT_ALIVE, WEDGE_SEAT_REAPING };

/* A place for a worker, as its keeper sees it. Guarded by pool->lock. */
struct wedge_pool_seat {
    pid_t pid; /* 0: nobody */
    int pidfd; /* -1 without a pid. Readable once the process is gone; a pid alone may be someone else by then */
    struct wedge_file_id pidfd_id;
    uint32_t generation;
    int64_t started_ns;
    bool started_once;
    enum wedge_pool_seat_phase phase;
    /* The supervisor's alone: */
    int64_t suspected_ns; /* a thread has not looked for idle_limit; when that was seen first; 0: no */
    int64_t done_ns; /* closed, drained, and no task in its hands; when that was seen first; 0: no */
    int64_t term_ns; /* process_limit: SIGTERM was sent; 0: no */
    bool condemned; /* SIGKILL was sent, the death is awaited */
    bool unwatched; /* it could not be watched, and never began */
    bool excused; /* its end was our doing, by a limit on tasks or on age: no part of a crash loop */
    bool stopped; /* a worker left with WEDGE_POOL_EXIT_STOP: not filled again */
    pid_t reaped_pid; /* REAPING: whom the zygote is to reap */
    bool owed; /* the zygote could not be told (it has many orders to read): to be told again */
};

/* One thing that came out of a pool: a result, or a stop mark of a stream. */
struct wedge_pool_item {
    bool mark;
    struct wedge_pool_result result; /* data points into the transport until `release` */
    uint32_t slot;
    bool kept; /* the slot's owner may still write: reported, not to be released (ledger.h, EARLY) */
};

/* A worker, and in it each thread's hands. Private memory of the worker. */
struct wedge_pool_worker {
    struct wedge_pool *pool;
    struct wedge_pool_place place; /* thread 0 */
    bool grouped; /* workers=threads: it is a group of threads in the parent, which must not leave with it */
    pid_t zygote; /* hardened: whose child the process is, so long as that lives; 0 none */
    _Atomic uint32_t threads_left; /* that have ended */
    _Atomic uint32_t threads_given_up; /* limit_by=helper: whose initializer was left behind */
    struct wedge_word news; /* bumped by each thread that leaves */
};
struct wedge_pool_hand {
    struct wedge_pool_worker *worker;
    struct wedge_pool_place place;
    struct wedge_pool_task task; /* filled by get */
    uint8_t *buffer; /* the thread's, 2 × payload_bytes: task, result */
    uint64_t tasks; /* that it has run */
    int64_t until_ns; /* its `life` ends; WEDGE_POOL_NEVER none */
    bool leaves; /* by its own age, or with its process: not for a stop mark, and not because all is drained */
    uint32_t slot; /* slots: which, and the word it was claimed with */
    uint64_t claim;
    int64_t now_ns; /* slots: the last time that was read; 0 none yet */
    struct wedge_sleeper sleeper; /* slots: how its waits went */
};

struct wedge_pool_transport {
    /* Parent, before any worker exists. `destroy` takes a half-made one, when no worker and no thread is left. */
    int (*create)(struct wedge_pool *pool, struct wedge_pool_err *err);
    void (*destroy)(struct wedge_pool *pool);
    /* Parent: accepts the first of n (at least 1) inputs, and of the others as many as it can at once; sets their ids.
     * Waits for the first alone. How many, or -ETIMEDOUT, -ENOBUFS, -ENOTRECOVERABLE, -EPIPE. Copies the data. What it
     * waited for room is added to *waited_ns. */
    int (*put)(struct wedge_pool *pool, struct wedge_pool_input *inputs, unsigned n, int64_t until_ns,
               int64_t *waited_ns);
    /* Parent: up to n (at least 1) items, each of which `release` gives back; waits for the first alone. How many, or
     * -ETIMEDOUT, -ENODATA when the source is gone. */
    int (*take)(struct wedge_pool *pool, struct wedge_pool_item *ret, unsigned n, int64_t until_ns);
    void (*release)(struct wedge_pool *pool, struct wedge_pool_item *item);
    /* Parent: whether a take now would find nothing. */
    bool (*empty)(struct wedge_pool *pool);
    /* Parent, every worker being dead: whoever is inside take comes back from it. Takes a half-made one. */
    void (*cut)(struct wedge_pool *pool);
    /* Parent, a shutdown's last step: throws away what is in the queues. NULL: there is no such step. */
    void (*drain)(struct wedge_pool *pool);
    /* Worker: once per process after the fork; 0 or -ENOMEM. */
    int (*enter)(struct wedge_pool_worker *worker);
    /* Worker's thread: 0 with hand->task filled, -ENODATA: leave. */
    int (*get)(struct wedge_pool_hand *hand);
    /* Worker's thread: hands the result in. */
    void (*answer)(struct wedge_pool_hand *hand, enum wedge_pool_outcome outcome, int code);
    /* Worker's thread that leaves in order; worker's main thread, all threads gone. */
    void (*thread_left)(struct wedge_pool_hand *hand);
    void (*leave)(struct wedge_pool_worker *worker);
};
extern const struct wedge_pool_transport wedge_pool_stream;
extern const struct wedge_pool_transport wedge_pool_slots;

struct wedge_pool_keeper {
    int (*start)(struct wedge_pool *pool, struct wedge_pool_err *err);
    /* At entry of put, close and join. How long that held the caller up, behind others or with work on workers; 0: not. */
    int64_t (*look)(struct wedge_pool *pool);
    /* How long put may sleep before the next look, as an absolute time. */
    int64_t (*look_again_ns)(struct wedge_pool *pool);
    /* A shutdown's first step: until no task is queued. 0, -ETIMEDOUT. NULL: there is no such step. */
    int (*drain)(struct wedge_pool *pool, int64_t until_ns);
    int (*close)(struct wedge_pool *pool, int64_t until_ns);
    /* Until every worker has left. 0, -ETIMEDOUT. */
    int (*join)(struct wedge_pool *pool, int64_t until_ns);
    /* Whether any worker lives or is about to. */
    bool (*any_alive)(struct wedge_pool *pool);
    /* Streams, once closed and with no worker left: tells the tasks that nobody will. Returns how many results it sent. */
    unsigned (*tell_rest)(struct wedge_pool *pool);
    /* Ends every worker, in bounded time, and starts none again. hardened: each task has an outcome after it. */
    void (*end)(struct wedge_pool *pool);
    /* Frees what it has, after `end` and with no thread of the pool left. NULL: nothing to free. */
    void (*destroy)(struct wedge_pool *pool);
    /* shutdown's last step for a collector that has not left: 0, or a negative errno when it cannot be reached. */
    int (*stop_collector)(struct wedge_pool *pool);
};
extern const struct wedge_pool_keeper wedge_pool_looks;
extern const struct wedge_pool_keeper wedge_pool_supervised;

struct wedge_pool {
    struct wedge_pool_settings settings;
    struct wedge_pool_callbacks callbacks;
    const struct wedge_pool_transport *transport;
    const struct wedge_pool_keeper *keeper;
    struct wedge_board *board; /* NULL before start */
    int board_fd;
    struct wedge_file_id board_fd_id;
    void *transport_data; /* struct wedge_stream or wedge_slots, the transport's own */
    struct wedge_events *events; /* log=queued with an `event` callback (events.c), else NULL */
    void *keeper_data; /* struct wedge_supervisor or wedge_looks */

    _Atomic uint32_t phase; /* enum wedge_pool_phase */
    _Atomic uint32_t putters; /* puts in progress; close (but by marks) waits for them: they do not block then */
    _Atomic uint64_t next_id;

    pthread_mutex_t lock; /* seats; never held while waiting for anything */
    struct wedge_pool_seat seats[WEDGE_POOL_PROCESSES_MAX];

    pthread_t collector;
    bool collector_started, collector_joined; /* the owner's */
    _Atomic uint32_t collector_left; /* its thread is about to end */
    _Atomic uint32_t collector_stop; /* destroy: leave at the next look */
    _Atomic uint32_t takers; /* threads inside wedge_pool_take */
    uint32_t marks_seen; /* streams; the one taker's */

    atomic_flag alarms_busy; /* someone looks at the alarms; owns what follows */
    struct wedge_alarms_state alarms;
};

/* board.c. create: -EMFILE, -ENOMEM. destroy takes none. */
int wedge_pool_board_create(struct wedge_pool *pool, struct wedge_pool_err *err);
void wedge_pool_board_destroy(struct wedge_pool *pool);

/* worker.c: whether this thread is to take no more tasks (life, life_tasks, its process leaves). Asked before each look
 * for a task; one load, a compare, and a clock where there is a `life`. */
bool wedge_pool_hand_leaves(struct wedge_pool_hand *hand);
/* worker.c: the life of a worker, in the calling thread and its own. Returns what it leaves with, WEDGE_POOL_EXIT_…, when
 * its threads are gone. */
int wedge_pool_worker_live(struct wedge_pool *pool, uint32_t index, uint32_t generation, bool grouped);
/* The same of a process, from just after its fork: it leaves with it. */
_Noreturn void wedge_pool_worker_run(struct wedge_pool *pool, uint32_t index, uint32_t generation);
/* worker.c: runs the user's function on the task in hand and hands its result in. */
void wedge_pool_run_task(struct wedge_pool_hand *hand);
/* worker.c: _exit, after the build's counters are saved, where it has any. */
_Noreturn void wedge_pool_leave_process(int status);
/* Names the calling thread for reports (pthread_setname_np, at most 15 bytes). */
void wedge_pool_name_thread(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Starts a thread of the pool's own with every signal blocked: the user's handlers run in the user's threads. */
int wedge_pool_thread(pthread_t *ret, void *(*run)(void *), void *arg);

/* put.c: this put, counted in `putters`, changes nothing more that close has to wait for. */
void wedge_pool_put_ends(struct wedge_pool *pool);

/* results.c */
/* Up to n results that are not reported yet; waits for the first. How many, -ETIMEDOUT, -ENODATA nothing more will come. */
int wedge_pool_results_next(struct wedge_pool *pool, struct wedge_pool_item *ret, unsigned n, int64_t until_ns);
/* Whether nothing more will come. */
bool wedge_pool_results_ended(struct wedge_pool *pool);
/* This one is reported now. */
void wedge_pool_results_count(struct wedge_pool *pool, const struct wedge_pool_item *item);
void wedge_pool_results_done(struct wedge_pool *pool, struct wedge_pool_item *item);
int wedge_pool_collector_start(struct wedge_pool *pool, struct wedge_pool_err *err);
int wedge_pool_collector_join(struct wedge_pool *pool, int64_t until_ns);

/* The next task's id. Taken once there is room, so that accepted ids have no gaps. */
static inline uint64_t wedge_pool_new_id(struct wedge_pool *pool)
{
    return atomic_fetch_add(&pool->next_id, 1) + 1;
}
static inline uint32_t wedge_pool_phase_of(const struct wedge_pool *pool)
{
    return atomic_load(&((struct wedge_pool *)(uintptr_t)pool)->phase);
}
/* After start. */
static inline void wedge_pool_set_phase(struct wedge_pool *pool, enum wedge_pool_phase phase)
{
    atomic_store(&pool->phase, (uint32_t)phase);
    atomic_store(&pool->board->phase, (uint32_t)phase);
}
static inline bool wedge_pool_is_closed(const struct wedge_pool *pool)
{
    return wedge_pool_phase_of(pool) >= WEDGE_POOL_CLOSING;
}
static inline int64_t wedge_pool_earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
