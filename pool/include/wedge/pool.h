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
 * Memory (hardened): slots × B + arena_bytes of shared memory, B = 32 + 2 × the lesser of slot_bytes and payload_bytes,
 * rounded up to 64; slots = queue + processes × threads (twice that with when_full=caller); and at most 17 bytes a slot
 * and 1 KiB for finding them. All of it is taken by start: a task takes none, in no process.
 *
 * Threads. create, set, start, close, join, shutdown and destroy: one thread at a time, none beside another on the
 * same pool. put and put_many: any thread of the process that started the pool, beside each other and beside close.
 * take and take_many: in `hardened` any thread, in the other presets one. stats: any thread at any time before
 * destroy. destroy: when no other thread is in a call on the pool; in `hardened` close sends those in put away (-EPIPE), and
 * shutdown those in take too, once they have taken what there is (-ENODATA). Nothing here may be called in a signal
 * handler, nor, in a process forked from the parent by the user, on a pool that was started. start forks: call it while the
 * process has one thread.
 *
 * Processes. The zygote is a child of the caller: who waits for any child (waitpid(2) with -1) may get it, which does no
 * harm, or wait for it. It blocks all signals; workers have the caller's mask and dispositions as of start. So a signal to
 * the whole process group (Ctrl-C at a terminal) ends workers that do not ignore it, and they are replaced; to end in order,
 * ignore it around start, or in process_init. A handler set before start runs in the workers too. Whatever the caller has
 * open at start the zygote and the workers have open too. A change of user or group in process_init is no harm, nor is
 * closing every descriptor in a worker (closefrom(3)); in the parent that breaks the pool (`hardened`: within two seconds,
 * as if the zygote had died), and so does closing a single one of the pool's, as who closes a number twice may do: the
 * others stay open then, whose they are is not known. Not noticed is a number that is an eventfd, timerfd, epoll set or (before
 * Linux 6.9) pidfd of the caller's own by then; the streams notice none of this. What workers start themselves is not looked
 * after. A parent that is stopped (SIGSTOP) stops nothing else: workers go on with what is queued; limits that pass meanwhile
 * are looked at when it goes on.
 *
 * Figures are read from outside without disturbing anything: `wedge pool PID`, wedge-pool(1).
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
    WEDGE_POOL_TIMEOUT, /* past `task_limit` (it ran too long) or `queue_limit` (it waited too long) */
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
    /* in: false. Set together with a return other than 0, it is an error of the "graceful die" class: this worker
     * process is not well. It takes no more tasks, its other threads finish theirs within `die_limit`, it runs its
     * finalizers, leaves (`leave` says how), and is replaced. The task is an ERROR like any other. */
    bool die;
};

/* What an initializer returns when it makes no sense to try again: the process leaves with the exit status
 * WEDGE_POOL_EXIT_STOP and is not replaced. User code may leave with that status itself, _exit(2), to the same effect. */
#define WEDGE_POOL_STOP      (-0x57D6)
#define WEDGE_POOL_EXIT_STOP 84

/* One task for wedge_pool_put_many. */
struct wedge_pool_input {
    const void *data; /* copied */
    size_t bytes;
    void *meta; /* the caller's, handed back with the result, never looked at; it stays in the parent */
    uint64_t id; /* out: the task's id, when it was accepted */
};

struct wedge_pool_result {
    uint64_t id;
    void *meta; /* as given with the task; NULL from wedge_pool_put */
    enum wedge_pool_outcome outcome;
    int code; /* what the task function returned; 0 for outcomes without one */
    const void *data; /* collect: the pool's, until the callback returns. take: the caller's buffer */
    size_t bytes; /* of the result; more than the caller's buffer holds: cut to it, `bytes` says the whole */
};

/* What happens to a pool, for logs and alarms. */
enum wedge_pool_event_kind {
    WEDGE_POOL_EVENT_READY = 1, /* a worker got through its initializers */
    WEDGE_POOL_EVENT_LEFT, /* a worker left in order */
    WEDGE_POOL_EVENT_DIED, /* a worker is gone, not in order */
    WEDGE_POOL_EVENT_LIMIT, /* a limit passed, `text` says which, and what is done about it */
    WEDGE_POOL_EVENT_INIT_FAILED,
    WEDGE_POOL_EVENT_BROKEN, /* no worker is started any more and none is left */
    WEDGE_POOL_EVENT_ALARM, /* one of the three alarms, raised: wedge-pool(1) */
    WEDGE_POOL_EVENT_ALARM_OVER,
    WEDGE_POOL_EVENT_LOST_EVENTS, /* so many events before this one found no room, or their writer died halfway */
    WEDGE_POOL_EVENT_STARTED, /* a worker was forked and is about to run its initializers */
    WEDGE_POOL_EVENT_ENDING /* how close and shutdown get on, where they have to try again or go without */
};
struct wedge_pool_event {
    enum wedge_pool_event_kind kind;
    int64_t time_ns; /* CLOCK_REALTIME */
    unsigned process, generation; /* 0: not of one worker */
    int pid; /* of the process that says it */
    const char *text; /* one line, without its end; valid until the callback returns */
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
 *   event           what happens to the pool; setting `log` says where it runs. queued: in a thread of the parent that
 *                   does nothing else. direct, reset: in whatever process and thread it happens, under a lock.
 * Order in a worker: process_init, thread_init (each thread), task…, thread_final, process_final. A worker that is
 * killed runs no finalizer. Callbacks must not call functions of the pool, save that `collect` and `event` may call
 * stats. An initializer that returns anything but 0 ends its worker, which is replaced like any that died.
 * User code that ends its process (exit, even with 0) or its thread (pthread_exit) in the middle of its work is a death too: in
 * `hardened` the tasks in hand are LOST; of a thread that ends alone, once its siblings are through, at most die_limit.
 * A process that user code forks is to end there (_exit, exec). In `hardened` one that comes back from it, as after an exec that
 * failed, leaves with the status 87; the answer is that of the worker.
 */
struct wedge_pool_callbacks {
    int (*task)(struct wedge_pool_task *task, void *context);
    int (*process_init)(const struct wedge_pool_place *place, void *context);
    int (*thread_init)(const struct wedge_pool_place *place, void *context);
    void (*thread_final)(const struct wedge_pool_place *place, void *context);
    void (*process_final)(const struct wedge_pool_place *place, void *context);
    void (*collect)(const struct wedge_pool_result *result, void *context);
    void (*event)(const struct wedge_pool_event *event, void *context);
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
 *   key               reported     proposed     hardened    values
 * Shape
 *   processes         number of CPUs                        1 to 256
 *   threads           2            2            2           1 to 64, per process
 *   queue             processes × threads × 3 + 30          1 to 65536 tasks, or auto
 *   payload_bytes     256          256          256         8 to 1048576: the largest task and the largest result
 *   slot_bytes        -            -            256         16 to 65536: a task and a result up to this lie in their
 *                                                           slot, larger ones in the arena
 *   arena_bytes       -            -            auto        4096 to 4294967296, or auto: room for 64 tasks and results
 *                                                           of payload_bytes; 0 where slot_bytes suffices
 *   name              pool         pool         pool        1 to 31 of [A-Za-z0-9_.-]: processes and threads are
 *                                                           named NAME.w1, NAME.w1.t2 (cut to 15); `pool`: w1.t2
 *   when_full         wait         wait         wait        wait: put waits for room; caller: put runs the task itself,
 *                                                           see wedge_pool_put
 *   workers           -            -            processes   processes; threads: the workers are threads of the parent,
 *                                                           for debuggers and sanitizers. Nobody is ended past a limit,
 *                                                           and shutdown and destroy wait for what is in hand
 * Life
 *   life_tasks        never        never        never       never, 1 to 1000000000: tasks after which a thread leaves
 *   life              never        never        never       never, 1 to 86400000: age at which a thread leaves. A
 *                                                           process whose threads have all left is replaced
 *   process_limit     never        never        never       never, 1 to 86400000: hard life. A process of this age is
 *                                                           ended (SIGTERM, `term_wait`, SIGKILL) and replaced
 *   term_wait         1000         1000         1000        1 to 3600000
 *   die_limit         5000         5000         5000        never, 1 to 3600000: how long a process that is not well
 *                                                           (task.die) waits for its other threads
 *   task_limit        never        never        never       never, 1 to 86400000. hardened: a task that runs longer is
 *                                                           a TIMEOUT at once, its process is ended (`task_end`) and
 *                                                           replaced. Streams: counted from put, looked at in looks;
 *                                                           the worker goes on
 *   task_end          -            -            kill        kill: the task's siblings are LOST; drain: they may finish
 *                                                           within die_limit, then kill
 *   queue_limit       -            -            never       never, 1 to 86400000: a task that no worker took by then
 *                                                           is a TIMEOUT
 *   timeouts          repeated     repeated     -           repeated: a task past its limit is reported at each look
 *                                                           until its report was taken, and counted each time; once
 * Looking after workers
 *   check             never        never        -           never, 1 to 3600000: how often put, while it waits, looks
 *                                                           after the workers. Each call looks once at its entry, if
 *                                                           the last look is that old; never: always, and then no more.
 *                                                           A limit below is looked at when it passes, whatever this is
 *   start_limit       never        10000        10000       never, 1 to 3600000: for the initializers of one process
 *   final_limit       never        10000        10000       never, 1 to 3600000: for one finalizer
 *   limit_by          process      helper       -           process: past start_limit or final_limit the worker is
 *                                                           ended and replaced, what it held is LOST; helper: each
 *                                                           user function runs in a helper thread, which is left
 *                                                           behind when its limit passes, and the worker goes on
 *                                                           without that thread
 *   idle_limit        -            -            10000       never, 2000 to 3600000: a thread that waits for a task looks
 *                                                           once a second (more rarely in a pool of over 32); the
 *                                                           process of one that has not for so much longer (it was
 *                                                           stopped) is ended, and so is one that has not left by this
 *                                                           and twice final_limit once it had nothing left to do, and
 *                                                           a zygote that has not answered for so long
 *   restart_limit     none         none         8           none, 1 to 1000: times `processes`, so many deaths in a row
 *                                                           with no task finished and under 10 s between them end the
 *                                                           replacing. Who is ended by process_limit or task_limit, or
 *                                                           asked not to be started again, does not count here. Who
 *                                                           cannot be started (no processes, memory or descriptors)
 *                                                           does; hardened: it is then tried about once a second.
 *                                                           Streams: what is queued is then never taken; put is refused,
 *                                                           join ends the results itself, and with dead_task=lost what
 *                                                           is left is told: LOST if it was taken, else INIT_FAILED or
 *                                                           CANCELLED
 *   management_lock   wide         narrow       -           wide: the lock is held while the dead are reaped and workers
 *                                                           forked; narrow: to collect, and to apply
 *   dead_task         forgotten    forgotten    -           forgotten; lost: what a dead worker had in hand is LOST. With
 *                                                           queue_lock=semaphore and collector_leaves=no_workers or
 *                                                           either the results may end before that is said
 *   parent_death      ignored      ignored      -           ignored; leave: workers leave when the parent is gone
 *   ask_error         dead         dead         -           what an error while asking whether a worker lives means: dead:
 *                                                           its end is waited for; alive: it is asked again at the next
 *                                                           look
 *   leave             abrupt       abrupt       in_order    of a process that is not well: abrupt: _exit(2) at once, after
 *                                                           die_limit; in_order: finalizers run, results are handed in
 * Results
 *   collector_wait    never        1000         -           never, 1 to 3600000: how long one take of a result waits
 *                                                           before it looks whether to leave
 *   collector_leaves  mark         either       -           mark: when each worker thread's stop mark has come;
 *                                                           no_workers: also when closed and no worker lives;
 *                                                           accounted: also when closed and all accepted are reported;
 *                                                           either: the last two
 *   collector_limit   never        never        10000       never, 1 to 3600000: a `collect` that takes longer is named
 *                                                           in an event, while join waits for it too; it is never ended
 *   result_bound      bounded      bounded      -           bounded: as many results as `queue`; none: results grow
 *   result_put        wait         drop         -           wait for room; drop: a result without room is lost
 * Closing
 *   close_by          marks        marks        -           marks: one stop mark per thread of every worker ever started,
 *                                                           through the queue; flag: workers see it when drained
 *   close_wait        never        1000         -           never, 1 to 3600000: per stop mark and try; 10 tries, then dropped
 *   shutdown_steps    first_error  all          -           first_error: the clean-up ends at the first error; all
 *   shutdown_covers   middle       middle       -           middle: the deadline does not reach close; all
 * Locks and memory of the streams
 *   queue_lock        semaphore    semaphore    -           semaphore: no owner, lost with whoever dies holding it;
 *                                                           owned: robust, repaired by the next
 *   idle_holds_reader yes          yes          -           yes: a worker that waits for a task holds the reader lock; no
 *   shared            unnamed      unnamed      -           unnamed; named: what workers tell the parent lies in a file of
 *                                                           /dev/shm, wedge-NAME-PID-N, removed by destroy: whoever kills
 *                                                           the parent leaves it there
 * Log and alarms
 *   log               direct       reset        queued      how events reach `event`: direct; reset: direct, and the
 *                                                           lock is made anew in each forked child; queued: through
 *                                                           shared memory, one writer; without room they are counted
 *   alarms            instant      instant      held        instant: while the condition holds; held: once it held for
 *                                                           alarm_hold, over once it has not for as long; what they
 *                                                           mean: wedge-pool(1)
 *   alarm_hold        5000         5000         5000        1 to 3600000
 *   alarm_floor       100          100          100         0 to 1000000: accepted tasks under which "under 90 % are
 *                                                           finished" is no alarm
 */
WEDGE_POOL_API int wedge_pool_set(struct wedge_pool *pool, const char *key_value, struct wedge_pool_err *err);

/* A setting as wedge_pool_set takes it: for programs that offer all of them, and to say what a pool was set to. */
struct wedge_pool_setting {
    const char *key; /* static */
    char allowed[128]; /* "1 to 64", "wait or caller" */
    char value[64]; /* as it is now; "-": not a setting of this pool's preset */
};
/* The i-th setting, from 0, in the order above. -ENOENT: there are no more. Safe in any thread before start, and after. */
WEDGE_POOL_API int wedge_pool_setting(const struct wedge_pool *pool, unsigned i, struct wedge_pool_setting *ret);

/*
 * Makes the shared memory, forks the workers (hardened: the zygote, which does) and starts the pool's own threads.
 * `callbacks` is copied. Errors: -EINVAL no task function, or settings that contradict each other (arena_bytes below one
 * task and result of payload_bytes; life not below process_limit; workers=threads with process_limit or
 * task_end=drain), -EBUSY started before, -EAGAIN and -ENOMEM of fork(2),
 * mmap(2), pipe(2) or pthread_create(3); after an error the pool can only be destroyed. Does not wait for workers.
 */
WEDGE_POOL_API int wedge_pool_start(struct wedge_pool *pool, const struct wedge_pool_callbacks *callbacks,
                                    struct wedge_pool_err *err);

/*
 * Accepts a task: copies `bytes` bytes of `data` and waits for room until `until_ns`. *ret_id (may be NULL) gets the
 * task's id. Blocks until there is room or the deadline; in `reported` without a deadline nothing else ends the wait.
 * Errors, nothing accepted: -EMSGSIZE more than payload_bytes, -ETIMEDOUT, -EPIPE closed or not started,
 * -ENOTRECOVERABLE broken (workers die as fast as they start: restart_limit), -ENOBUFS (hardened, iteration) full, nobody
 * is inside take, and the last who was is the calling thread, or nobody was yet: it would wait for itself, and is told so
 * before the deadline. Take some first. Of several threads that put and take one is always told so; the others wait for that
 * one, which must therefore go on taking, or let another thread, while they put.
 *
 * when_full=caller: a put that finds the queue full runs the task function in the calling thread instead of waiting, with
 * `place` all 0, where no limit ends it, and returns 0 once it is through. The result is handed out like any other, once, to
 * collect (not from within put) or by take. hardened: up to processes × threads such results may wait to be taken; with
 * more of them put waits, or fails, as above.
 */
WEDGE_POOL_API int wedge_pool_put(struct wedge_pool *pool, const void *data, size_t bytes, int64_t until_ns,
                                  uint64_t *ret_id);

/*
 * Accepts up to n tasks in order, as put does, but wakes and counts once for many. Returns how many were accepted, from
 * the first on (inputs[i].id is set for those), or a negative errno of wedge_pool_put when that is none. Fewer than n:
 * the next one met that error; call again with the rest to hear it. Those that were not accepted are left as they
 * were. n 0 returns 0.
 */
WEDGE_POOL_API int wedge_pool_put_many(struct wedge_pool *pool, struct wedge_pool_input *inputs, unsigned n,
                                       int64_t until_ns);

/*
 * Iteration: the next result, in any order. At most `room` bytes of it are copied to `buffer` (NULL with 0).
 * Errors: -ETIMEDOUT, -ENODATA nothing more will come (closed and all reported; `reported`: all stop marks came),
 * -EINVAL the pool has a collector or was not started. In `reported` without a deadline it waits for ever for a task
 * whose worker was killed.
 */
WEDGE_POOL_API int wedge_pool_take(struct wedge_pool *pool, struct wedge_pool_result *ret, void *buffer, size_t room,
                                   int64_t until_ns);

/*
 * Up to n results at once: waits as take does for the first, and adds what is there already. Result i is copied to
 * buffer + i × room_each; buffer NULL: to nowhere. Returns how many, at least 1, or a negative errno of wedge_pool_take.
 * n 0: -EINVAL.
 */
WEDGE_POOL_API int wedge_pool_take_many(struct wedge_pool *pool, struct wedge_pool_result *ret, unsigned n,
                                        void *buffer, size_t room_each, int64_t until_ns);

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
 * Streams wait for an empty queue first, without a deadline unless shutdown_covers=all; -ENOBUFS (no room for the
 * collector's mark) ends it there with shutdown_steps=first_error; when it was cut short, its last step throws away what
 * is in both queues, results that nobody took included.
 */
WEDGE_POOL_API int wedge_pool_shutdown(struct wedge_pool *pool, int64_t until_ns, struct wedge_pool_err *err);

/* Kills and reaps what is left, frees everything. NULL is allowed. Waits for a `collect` callback in progress. log=queued:
 * delivers the events that are left, for at most 5 s; an `event` callback that has not returned by then is left in its thread
 * and called no more, so what it uses must live on. */
WEDGE_POOL_API void wedge_pool_destroy(struct wedge_pool *pool);

/* Figures. At every quiet point of `hardened` accepted = reported + in flight. */
struct wedge_pool_stats {
    uint64_t accepted, reported; /* reported: handed to collect or by take */
    uint64_t outcomes[WEDGE_POOL_OUTCOMES]; /* reported, by outcome */
    uint64_t finished; /* results handed in by workers */
    uint64_t late; /* results that came after their task was reported, and were dropped */
    uint64_t dropped; /* streams, result_put=drop: results lost for want of room */
    uint64_t deaths, replaced; /* worker processes */
    unsigned workers, workers_alive; /* processes wanted, and those believed alive at the last look */
    unsigned queue, queued, queue_high; /* tasks the queue holds; those no worker has taken; the most there were */
    unsigned running; /* tasks in a worker's hand */
    unsigned results; /* results not taken */
    uint64_t put_waits; /* puts that were held up, whether they found room in the end or not: for want of room; in the
                         * streams also by a look after workers, their own or the one they waited behind. put_many: one
                         * for each task or batch of it that was held up */
    int64_t put_wait_longest_ns; /* all that one of them was held up */
    unsigned alarms; /* those raised now, as bits: 1 the queue, 2 the workers, 4 the share finished */
    uint64_t alarm_times[3]; /* how often each was raised, in that order */
    bool collector_alive; /* there is one, and it has not left */
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
