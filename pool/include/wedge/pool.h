/*
 * <wedge/pool.h>: tasks run in many processes times many threads, with every way such a pool can hang as a setting.
 *
 * A parent process puts tasks (bytes) into a bounded queue; worker processes, each with several threads, take them,
 * run the user's function, and send the result back; the parent gets each result either in a collector thread of the
 * pool (callback `collect`) or by wedge_pool_take (iteration), not both.
 *
 * Three presets say how much of that can go wrong:
 *   reported   a byte stream between locks without owners, no supervisor, waits without a deadline: the library of the
 *              hang report as it was found. It can hang, and loses tasks with the worker that held them.
 *   proposed   the same with the report's own remedies, so that one sees what they leave open.
 *   hardened   slots in shared memory with a ledger, an independent supervisor, workers forked from a single-threaded
 *              zygote. Each accepted task is reported once, whatever dies. The default.
 * Single settings change one thing of a preset (wedge_pool_set).
 *
 * Life of a pool:  create -> set… -> start -> put… -> close -> join -> destroy
 *                                          \ take… (iteration) may stand anywhere from start to destroy
 * Between start and close a dead worker is replaced; `hardened` replaces it until the queue is drained.
 *
 * Times: every `until_ns` is an absolute CLOCK_MONOTONIC time in nanoseconds (clock_gettime(2)), one deadline that a
 * caller may hand to several calls in a row. WEDGE_POOL_NEVER means no deadline, 0 (any past time) "do not wait".
 *
 * Threads. create, set, start, close, join, shutdown and destroy: one thread at a time, none beside another on the
 * same pool. put and take: in `hardened` any thread of the process that started the pool, beside each other and
 * beside close; in the other presets put is for the thread that closes and joins, take for one thread. stats: any
 * thread at any time before destroy. Nothing here may be called in a signal handler, nor, in a process forked from
 * the parent by the user, on a pool that was started. start forks: call it while the process has one thread.
 *
 * Errors: a negative errno, and, where an `err` is given, a message that names the cause. Nothing prints or exits.
 */
#ifndef WEDGE_POOL_H
#define WEDGE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WEDGE_POOL_API __attribute__((visibility("default")))
#else
#define WEDGE_POOL_API
#endif

#define WEDGE_POOL_NEVER INT64_MAX

struct wedge_pool;

/* What went wrong, in words. `code` is the negative errno that the function returned. */
struct wedge_pool_err {
    int code;
    char message[256];
};

/* How a task ended. Each accepted task has exactly one outcome in `hardened`. */
enum wedge_pool_outcome {
    WEDGE_POOL_OK = 1, /* the task function returned 0 */
    WEDGE_POOL_ERROR, /* it returned something else (`code`), or its result did not fit (-EMSGSIZE) */
    WEDGE_POOL_LOST, /* its worker died with the task in hand */
    WEDGE_POOL_TIMEOUT, /* its worker was ended because the task was past `task_limit` */
    WEDGE_POOL_CANCELLED, /* withdrawn before any worker took it: shutdown, or no worker is left */
    WEDGE_POOL_INIT_FAILED, /* no worker got through its initializers; the task was never taken */
    WEDGE_POOL_OUTCOMES /* one more than the last */
};
/* The outcome as a word ("ok", "lost", …); "?" for anything else. Static, safe anywhere. */
WEDGE_POOL_API const char *wedge_pool_outcome_name(enum wedge_pool_outcome outcome);

/* Where a callback runs. process and thread count from 1, generation from 0 (how often the process was replaced). */
struct wedge_pool_place {
    unsigned process, generation, thread; /* thread 0: the process's main thread (process_init, process_final) */
};

/* A task in a worker's hand. The function reads data, writes at most result_room bytes to result and sets
 * result_bytes. Everything here belongs to the pool and is valid until the function returns. */
struct wedge_pool_task {
    uint64_t id; /* from 1, in the order of put */
    const void *data;
    size_t bytes;
    void *result;
    size_t result_room;
    size_t result_bytes; /* in: 0. Above result_room: the task becomes an ERROR with code -EMSGSIZE */
    struct wedge_pool_place place;
};

struct wedge_pool_result {
    uint64_t id;
    enum wedge_pool_outcome outcome;
    int code; /* what the task function returned; 0 for outcomes without one */
    const void *data; /* collect: the pool's, until the callback returns. take: the caller's buffer */
    size_t bytes; /* of the result; more than the caller's buffer holds: cut to it, `bytes` says the whole */
};

/*
 * The user's functions; `context` is handed to each. All but `task` may be NULL.
 *   task            in a worker's thread, many at a time. Not 0: the outcome is ERROR.
 *   process_init    once in each worker process, before its threads exist. Not 0: the process leaves.
 *   thread_init     once in each worker thread, before its first task. Not 0: the process leaves.
 *   thread_final    in each thread that leaves in order, after its last task.
 *   process_final   once in each process that leaves in order, after its threads are gone.
 *   collect         in the pool's collector thread in the parent, once per result, one at a time. Its presence
 *                   chooses the collector; wedge_pool_take is then refused.
 * Order in a worker: process_init, thread_init (each thread), task…, thread_final, process_final. A worker that is
 * killed runs no finalizer. Callbacks must not call functions of the pool, save that `collect` may call stats.
 */
struct wedge_pool_callbacks {
    int (*task)(struct wedge_pool_task *task, void *context);
    int (*process_init)(const struct wedge_pool_place *place, void *context);
    int (*thread_init)(const struct wedge_pool_place *place, void *context);
    void (*thread_final)(const struct wedge_pool_place *place, void *context);
    void (*process_final)(const struct wedge_pool_place *place, void *context);
    void (*collect)(const struct wedge_pool_result *result, void *context);
    void *context;
};

/*
 * Makes a pool with the settings of a preset ("reported", "proposed", "hardened"; NULL: hardened). Starts nothing.
 * *ret is owned by the caller: wedge_pool_destroy. Errors: -EINVAL no such preset, -ENOMEM. Does not block.
 */
WEDGE_POOL_API int wedge_pool_create(const char *preset, struct wedge_pool **ret, struct wedge_pool_err *err);

/*
 * Changes one setting, written "key=value". Only before start (-EBUSY). -EINVAL: no such setting, not a setting of
 * this preset, or a value that is not allowed; the message names the key, the value and what is allowed.
 * Limits and waits are milliseconds, or `never`.
 *
 *   key               reported   proposed   hardened   values
 *   processes         number of CPUs                   1 to 256
 *   threads           2          2          2          1 to 64, per process
 *   queue             processes × threads × 3 + 30     1 to 65536 tasks, or auto
 *   payload_bytes     256        256        256        8 to 1048576: the largest task and the largest result
 *   collector_wait    never      1000       -          never, 1 to 3600000: how long one take of a result waits
 *                                                      before it looks whether to leave
 *   collector_leaves  mark       either     -          mark: when each worker thread's stop mark has come;
 *                                                      no_workers: also when closed and no worker lives;
 *                                                      accounted: also when closed and all accepted are reported;
 *                                                      either: the last two
 *   close_wait        never      1000       -          never, 1 to 3600000: per stop mark and try; 10 tries, then dropped
 *   result_bound      bounded    bounded    -          bounded: as many results as `queue`; none: results grow
 *   result_put        wait       drop       -          wait for room; drop: a result without room is lost
 *   start_limit       never      never      10000      never, 1 to 3600000: past it a worker that is not ready is
 *                                                      ended and replaced
 *   task_limit        -          -          never      never, 1 to 3600000: past it a task's process is ended and
 *                                                      replaced, the task a TIMEOUT, its siblings LOST
 *   final_limit       -          -          10000      never, 1 to 3600000: past it in a finalizer a worker is ended;
 *                                                      what its other threads had in hand is LOST
 *   idle_limit        -          -          10000      never, 2000 to 3600000: a thread that waits for a task looks once
 *                                                      a second; the process of one that has not for so long (it
 *                                                      was stopped) is ended, and so is one that has not left by
 *                                                      this and twice final_limit after the last task was taken
 *   restart_limit     -          -          8          1 to 1000: times `processes`, so many deaths in a row with
 *                                                      no task finished and under 10 s between them end the replacing
 */
WEDGE_POOL_API int wedge_pool_set(struct wedge_pool *pool, const char *key_value, struct wedge_pool_err *err);

/*
 * Makes the shared memory, forks the workers (hardened: the zygote, which does) and starts the pool's own threads.
 * `callbacks` is copied. Errors: -EINVAL no task function, -EBUSY started before, -EAGAIN and -ENOMEM of fork(2),
 * mmap(2), pipe(2) or pthread_create(3); after an error the pool can only be destroyed. Does not wait for workers.
 */
WEDGE_POOL_API int wedge_pool_start(struct wedge_pool *pool, const struct wedge_pool_callbacks *callbacks,
                                    struct wedge_pool_err *err);

/*
 * Accepts a task: copies `bytes` bytes of `data` and waits for room until `until_ns`. *ret_id (may be NULL) gets the
 * task's id. Blocks until there is room or the deadline; in `reported` without a deadline nothing else ends the wait.
 * Errors, nothing accepted: -EMSGSIZE more than payload_bytes, -ETIMEDOUT, -EPIPE closed or not started,
 * -ENOTRECOVERABLE broken (hardened: workers die as fast as they start), -ENOBUFS (hardened, iteration) full, and
 * nobody but the caller could make room: take results first.
 */
WEDGE_POOL_API int wedge_pool_put(struct wedge_pool *pool, const void *data, size_t bytes, int64_t until_ns,
                                  uint64_t *ret_id);

/*
 * Iteration: the next result, in any order. At most `room` bytes of it are copied to `buffer` (NULL with 0).
 * Errors: -ETIMEDOUT, -ENODATA nothing more will come (closed and all reported; `reported`: all stop marks came),
 * -EINVAL the pool has a collector or was not started. In `reported` without a deadline it waits for ever for a task
 * whose worker was killed.
 */
WEDGE_POOL_API int wedge_pool_take(struct wedge_pool *pool, struct wedge_pool_result *ret, void *buffer, size_t room,
                                   int64_t until_ns);

/*
 * No task is accepted from here on; workers leave once the queue is empty. Closing twice is no error. hardened: sets
 * a flag, waits for no worker. Streams: puts one stop mark per worker thread, each of which needs room in the queue.
 * Errors: -EPIPE not started, -ETIMEDOUT (streams; some marks were not put, those that follow are dropped).
 */
WEDGE_POOL_API int wedge_pool_close(struct wedge_pool *pool, int64_t until_ns);

/*
 * Closes, and waits until every worker and the collector have left: with a collector every task that will be
 * reported has been. `err` says what was waited for: -ETIMEDOUT. Results not taken stay takable until destroy.
 */
WEDGE_POOL_API int wedge_pool_join(struct wedge_pool *pool, int64_t until_ns, struct wedge_pool_err *err);

/*
 * Joins until the deadline, then ends what is left: workers are killed, in `hardened` what they held is LOST and what
 * was queued CANCELLED, and both are reported. 0: everything had finished by itself; -ETIMEDOUT: it was cut short.
 * In `reported` the deadline does not reach close, and -ENOBUFS (no room for the collector's mark) ends it there.
 */
WEDGE_POOL_API int wedge_pool_shutdown(struct wedge_pool *pool, int64_t until_ns, struct wedge_pool_err *err);

/* Kills and reaps what is left, frees everything. NULL is allowed. Waits for a `collect` callback in progress. */
WEDGE_POOL_API void wedge_pool_destroy(struct wedge_pool *pool);

/* Figures. At every quiet point of `hardened` accepted = reported + in flight. */
struct wedge_pool_stats {
    uint64_t accepted, reported; /* reported: handed to collect or by take */
    uint64_t outcomes[WEDGE_POOL_OUTCOMES]; /* reported, by outcome */
    uint64_t deaths, replaced; /* worker processes */
    unsigned workers, workers_alive; /* processes wanted, and those believed alive at the last look */
    bool closed, broken;
};
/* Copies the figures, each read by itself. Does not block. */
WEDGE_POOL_API void wedge_pool_stats(const struct wedge_pool *pool, struct wedge_pool_stats *ret);

/* now + ms, for the deadlines above; WEDGE_POOL_NEVER for a negative ms. Safe anywhere. */
WEDGE_POOL_API int64_t wedge_pool_after_ms(int64_t ms);

#ifdef __cplusplus
}
#endif
#endif
