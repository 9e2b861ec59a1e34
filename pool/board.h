/*
 * The board: everything about a pool that another process may read while the pool runs, and the few words by which
 * parent and workers control each other. Figures and states only; no task's bytes are here (those are the slots').
 *
 * It is one memfd of the parent, named "wedge-pool:NAME", mapped shared before the first fork. It has no name in any
 * file system, so it cannot be left behind; whoever may read /proc/PID/fd of the parent can map it read-only, and needs
 * no lock: each figure has one writer, or is changed by one atomic instruction, and is read by itself.
 *
 *   offset 0  struct wedge_board            header, settings, the parent's figures
 *             struct wedge_board_seat       [processes], at seats_at
 *             struct wedge_board_thread     [processes × (threads + 1)], at threads_at; [0] of each row is the process
 *
 * Who writes what
 *   header, settings     the parent, before the first fork; constant after it (`magic` is stored last)
 *   figures              the parent's threads, as noted
 *   seat                 the keeper before each fork, then that worker; pid and counts by the keeper alone
 *   thread               the keeper before each fork, then that worker's thread alone. Its counts go on over
 *                        generations: they are never reset, and a dead writer leaves them as they were.
 *
 * Layout is versioned (WEDGE_BOARD_VERSION): a reader refuses another one. Everything in it is hostile to a reader:
 * sizes and offsets are checked against the file's size before use (board_read.h). What its figures add up to: figures.h.
 */
#ifndef WEDGE_POOL_BOARD_H
#define WEDGE_POOL_BOARD_H

#include <stdatomic.h>
#include <stdint.h>

#include <wedge/pool.h>

#include "pool/histogram.h"
#include "pool/word.h"

#define WEDGE_BOARD_MAGIC   0x316c6f6f70676477ull /* "wdgpool1" */
#define WEDGE_BOARD_VERSION 1
#define WEDGE_BOARD_FD_NAME "wedge-pool:" /* and the pool's name: what /proc/PID/fd/N links to, after "/memfd:" */

/* Of a pool. ENDED is on the board alone: the last thing that destroy says. */
enum wedge_pool_phase {
    WEDGE_POOL_MADE,
    WEDGE_POOL_RUNNING,
    WEDGE_POOL_CLOSING,
    WEDGE_POOL_CLOSED,
    WEDGE_POOL_ENDED,
};

/* What a worker process says about itself. */
enum wedge_pool_stage { WEDGE_POOL_STARTING, WEDGE_POOL_READY, WEDGE_POOL_LEAVING };

/* What a thread is doing: the wait-for side of decision 10. Between its start and its leaving each thread of a
 * worker always has one of these with the time since when, so whatever it is stopped in, a limit applies. */
enum wedge_doing {
    WEDGE_DOING_NOTHING, /* not there: not started, or left */
    WEDGE_DOING_INIT, /* in the user's initializer */
    WEDGE_DOING_IDLE, /* looks for a task; since: its last look, renewed at least once a second */
    WEDGE_DOING_TASK, /* has the task `task` in hand, since its claim */
    WEDGE_DOING_FINAL, /* in the user's finalizer */
    WEDGE_DOING_COLLECT, /* the collector: in the user's function, with `task` */
    WEDGE_DOING_WAIT_RESULT, /* the collector or a taker: waits for a result */
    WEDGE_DOING_WAIT_ROOM, /* a put: waits for room; a stream's worker: for room for its result */
};

struct wedge_board_thread {
    _Atomic uint32_t doing; /* enum wedge_doing; stored after the three below (release) */
    uint32_t reserved;
    _Atomic int64_t since_ns; /* CLOCK_MONOTONIC */
    _Atomic int64_t until_ns; /* its limit or deadline; WEDGE_POOL_NEVER none */
    _Atomic uint64_t task; /* id, 0 none */
    _Atomic uint64_t finished; /* tasks whose result it handed in */
    struct wedge_histogram run; /* ns from claim to result */
} __attribute__((aligned(64)));

struct wedge_board_seat {
    _Atomic int32_t pid; /* 0: nobody. The keeper's */
    _Atomic uint32_t generation;
    _Atomic uint32_t stage; /* enum wedge_pool_stage */
    _Atomic uint32_t threads_ready; /* of `threads`; the one that completes them makes the worker READY */
    _Atomic uint32_t
        status; /* what it leaves with, WEDGE_POOL_EXIT_…; the first that is not ORDERLY stays. The worker's */
    uint32_t reserved;
    _Atomic int64_t started_ns; /* the fork */
    _Atomic int64_t
        drain_ns; /* since when: take no more tasks, finish what is in hand, leave (keeper or worker); 0: no */
} __attribute__((aligned(64)));

/* The alarms of the hang report's section 6, in this order in `alarms`. */
enum wedge_alarm { WEDGE_ALARM_QUEUE, WEDGE_ALARM_WORKERS, WEDGE_ALARM_FINISHED, WEDGE_ALARMS };

struct wedge_board_alarm {
    _Atomic uint32_t raised; /* now */
    uint32_t reserved;
    _Atomic int64_t since_ns; /* when the condition began to hold; 0: it does not */
    _Atomic uint64_t times; /* raised so often */
};

struct wedge_board {
    /* Constant once `magic` is there. */
    _Atomic uint64_t magic;
    uint32_t version, bytes_of_header; /* sizeof(struct wedge_board) */
    uint64_t bytes, seats_at, threads_at; /* of the whole file; offsets into it */
    uint32_t bytes_of_seat, bytes_of_thread;
    int32_t parent_pid;
    uint32_t processes, threads, queue, hardened, collects; /* collects: there is a collector */
    int64_t created_ns;
    uint64_t slots, slot_bytes, arena_bytes; /* `hardened`: what the slots and the arena take; else 0 */
    char preset[16], name[32]; /* NUL-terminated */

    /* Control. */
    struct wedge_word news; /* bumped at each change that join waits for */
    _Atomic uint32_t phase; /* enum wedge_pool_phase: a copy for readers */
    _Atomic uint32_t
        closed; /* hardened, and close_by=flag: set after the last put is complete; workers then leave once drained */
    _Atomic uint32_t broken; /* nobody is started any more and nobody is left */

    /* The putters', each changed by one atomic instruction. A task is counted in `accepted` before any worker can have it. */
    _Atomic uint64_t accepted __attribute__((aligned(64)));
    _Atomic uint64_t put_waits; /* puts that were held up (<wedge/pool.h>) */
    _Atomic uint64_t finished_by_caller; /* when_full=caller: tasks that a put ran itself */
    _Atomic uint32_t putters_waiting;
    _Atomic uint32_t queue_high; /* most tasks ever queued at once */
    struct wedge_histogram put_wait; /* ns, of the puts that waited */

    /* Streams: what is in each queue. hardened: tasks_in and tasks_out are the ring's tail and head, whose
     * difference may be off by what was listed again after a death. */
    _Atomic uint64_t tasks_in __attribute__((aligned(64)));
    _Atomic uint64_t tasks_out __attribute__((aligned(64)));
    _Atomic uint64_t results_in __attribute__((aligned(64)));
    _Atomic uint64_t results_out __attribute__((aligned(64))); /* hardened: both unused; see wedge_figures */

    /* The takers' and the keeper's. */
    _Atomic uint64_t reported __attribute__((aligned(64))); /* handed to collect or by take */
    _Atomic uint64_t outcomes[WEDGE_POOL_OUTCOMES]; /* of the reported */
    _Atomic uint64_t settled; /* tasks that got their outcome from the parent: LOST, TIMEOUT, CANCELLED, … */
    _Atomic uint64_t late; /* results that came after their task was reported, and were dropped */
    _Atomic uint64_t dropped; /* streams: results lost for want of room (result_put=drop) */
    _Atomic uint64_t deaths, replaced; /* of worker processes; deaths: not in order */
    _Atomic uint64_t log_lines, log_dropped; /* events delivered; events lost for want of room */
    struct wedge_board_alarm alarms[WEDGE_ALARMS];
    struct wedge_board_thread collector; /* the collector's own record, or the last taker's */
};

static inline struct wedge_board_seat *wedge_board_seat(struct wedge_board *board, uint32_t index)
{
    return (struct wedge_board_seat *)((char *)board + board->seats_at) + index;
}
/* Thread from 1; 0: the process's own record. `index` of the seat, from 0. */
static inline struct wedge_board_thread *wedge_board_thread(struct wedge_board *board, uint32_t index, uint32_t thread)
{
    return (struct wedge_board_thread *)((char *)board + board->threads_at) + (uint64_t)index * (board->threads + 1) +
           thread;
}
/* By the record's one writer. A reader that sees `doing` sees its time and task, or newer ones. */
static inline void wedge_board_does(struct wedge_board_thread *thread, enum wedge_doing doing, int64_t since_ns,
                                    int64_t until_ns, uint64_t task)
{
    atomic_store_explicit(&thread->since_ns, since_ns, memory_order_relaxed);
    atomic_store_explicit(&thread->until_ns, until_ns, memory_order_relaxed);
    atomic_store_explicit(&thread->task, task, memory_order_release); /* with the supervisor's look (limits.c) */
    atomic_store_explicit(&thread->doing, (uint32_t)doing, memory_order_release);
}

#endif
