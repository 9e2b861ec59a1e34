/*
 * What the detector found: processes, threads, what each waits for, who could wake it, and the verdicts.
 *
 * Made in one piece by wedge_detector_examine (detector/examine.h), usually in a disposable child, and turned into a
 * report by reports/. Everything a snapshot points to lives in its obstack and goes with wedge_snapshot_free. Texts
 * are as the target gave them (not yet escaped: each writer escapes for its medium), never NULL unless said so.
 * Indices refer to snapshot->procs[] and snapshot->threads[]; -1 none.
 */
#ifndef WEDGE_DETECTOR_MODEL_H
#define WEDGE_DETECTOR_MODEL_H

#include <obstack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* In the order in which a headline is chosen (proof.md, Choosing words). */
enum wedge_verdict_kind {
    WEDGE_VERDICT_SELF_DEADLOCK,
    WEDGE_VERDICT_ABANDONED_LOCK,
    WEDGE_VERDICT_LOCK_CYCLE,
    WEDGE_VERDICT_STUCK_CALLBACK,
    WEDGE_VERDICT_MUTUAL_BACKPRESSURE,
    WEDGE_VERDICT_ORPHANED_WAIT,
    WEDGE_VERDICT_CLOSED_WAIT,
    WEDGE_VERDICT_LOST_WAKEUP,
    WEDGE_VERDICT_STOPPED,
    WEDGE_VERDICT_LIVELOCK,
    WEDGE_VERDICT_CONTENTION,
    WEDGE_VERDICT_NO_PROGRESS,
    WEDGE_VERDICT_IDLE, /* from here on: no hang */
    WEDGE_VERDICT_RUNNING,
    WEDGE_VERDICT_FINISHED,
    WEDGE_VERDICT_COUNT
};
enum wedge_certainty { WEDGE_SUSPECTED, WEDGE_EVIDENT, WEDGE_PROVED };
enum wedge_scope { WEDGE_SCOPE_PART, WEDGE_SCOPE_WHOLE };

/* assumptions, a bit set */
#define WEDGE_ASSUME_NO_OUTSIDE_SIGNAL 1u
#define WEDGE_ASSUME_NO_OUTSIDE_KILL   2u
#define WEDGE_ASSUME_POSIX_OWNER       4u
#define WEDGE_ASSUME_COMPLETE_VIEW     8u

/* What a thread waits in. */
enum wedge_wait_class {
    WEDGE_WAIT_NONE, /* it runs, or what it does is not known: live */
    WEDGE_WAIT_UNKNOWN, /* blocked in something not known for certain: live */
    WEDGE_WAIT_MUTEX,
    WEDGE_WAIT_RWLOCK,
    WEDGE_WAIT_COND,
    WEDGE_WAIT_SEM,
    WEDGE_WAIT_BARRIER,
    WEDGE_WAIT_JOIN,
    WEDGE_WAIT_ONCE,
    WEDGE_WAIT_FUTEX, /* a futex word whose kind is not known; may be annotated (WEDGE_WAIT_BEGIN) */
    WEDGE_WAIT_PIPE_READ,
    WEDGE_WAIT_PIPE_WRITE,
    WEDGE_WAIT_SOCKET,
    WEDGE_WAIT_POLL,
    WEDGE_WAIT_CHILD, /* waitpid and its family */
    WEDGE_WAIT_FILE_LOCK,
    WEDGE_WAIT_SIGNAL, /* pause, sigsuspend, sigwait */
    WEDGE_WAIT_SLEEP, /* wakes by the clock alone */
    WEDGE_WAIT_HELD, /* held by a fault rule (the agent's block, delay, yield) */
    WEDGE_WAIT_STOPPED,
    WEDGE_WAIT_EVENT, /* eventfd, timerfd */
    WEDGE_WAIT_QUEUE, /* a message queue, POSIX or System V */
    WEDGE_WAIT_OUTSIDE, /* device, terminal, network, io_uring: the outside may end it */
    WEDGE_WAIT_CLASS_COUNT
};

struct wedge_frame {
    uint64_t pc;
    uint64_t module_offset;
    const char *function; /* demangled; NULL: not known, never a guess */
    const char *file; /* NULL: not known */
    int line; /* 0 not known */
    const char *module; /* path or "[vdso]"; "" unknown */
    const char *build_id; /* hex; "" unknown */
    bool inlined; /* inlined into the next frame */
    bool signal; /* a signal frame */
    bool exact; /* pc is where it goes on, not the address behind a call */
    bool libc; /* of libc, ld.so, libpthread or the agent: not the program's own */
    bool
        runtime; /* of its language's own library (C++, Rust), inlined or not: nothing that the program's author wrote */
};

/* A thing waited for. Equal keys are the same object, across processes too. */
struct wedge_object {
    char key[80]; /* "pipe:[12345]", "shm 0:1:4711+0x40", "pid 77 0x55…", "tid 78", "rule f1" */
    char describe[160]; /* for people: "mutex at 0x… (owner 77)", "pipe, 65536 of 65536 bytes" */
    uint64_t address; /* in the waiting process; 0 none */
    int32_t owner_tid; /* recorded owner, in the target's terms, 0 none */
    bool full; /* a buffer that is full */
};

/* One possible waker. */
enum wedge_waker_kind {
    WEDGE_WAKER_THREAD, /* thread index */
    WEDGE_WAKER_DEAD, /* dead[] index */
    WEDGE_WAKER_RULE, /* only the plan: rule number */
    WEDGE_WAKER_SIGNAL, /* thread index: by a signal, a cancellation or EINTR, not by ending the wait itself */
    WEDGE_WAKER_OUTSIDE, /* `why` says who */
};
struct wedge_edge {
    int32_t from; /* thread */
    int32_t to; /* thread, dead[] or rule number; -1 for outside */
    enum wedge_waker_kind kind;
    bool all; /* AND: this waker is needed beside others; false: any one of an OR-set will do */
    uint16_t set; /* which OR-set of the wait */
    const char *why; /* "owns the mutex", "holds the write end", "may post" */
};

struct wedge_wait {
    enum wedge_wait_class class;
    const char *call; /* the system call's or, once stacks are known, the outermost libc function's name */
    struct wedge_object object;
    int64_t earliest_ns; /* earliest possible wake-up by the clock, from now; INT64_MAX none */
    bool eintr; /* a signal or a cancellation ends it */
    bool callback; /* inside a declared user's callback, see thread->callback */
    bool happened; /* what it waits for has happened already: the word it sleeps for is another one. A stop makes the
                    * kernel compare again, and the wait end: futex_wait() restarts, kernel/futex/waitwake.c */
    const char *reason; /* one clause: why it is live or cannot be */
};

struct wedge_thread {
    int proc;
    pid_t tid;
    const char *name; /* comm */
    char state; /* of /proc/…/stat */
    uint64_t switches, voluntary; /* how often it left the processor: in all, and by itself */
    int syscall; /* number, -1 running, -2 not readable */
    uint64_t args[6], sp, pc;
    struct wedge_wait wait;
    bool live; /* after the fixpoint */
    bool moved; /* changed between the passes */
    /* From the agent's record, else "" and 0. */
    const char *callback; /* "process_init" */
    const char *callback_function; /* its name, once symbols are known; NULL before */
    uint64_t callback_address;
    int64_t callback_since_ns; /* CLOCK_MONOTONIC */
    int64_t callback_limit_ms;
    const char *last_point;
    int rule; /* rule that holds it, -1 none */
    struct wedge_frame *frames; /* innermost first */
    size_t n_frames;
    const char *stack_note; /* why there is no stack or a cut one; "" fine */
    int64_t stopped_ns; /* how long it stood still for us; 0 never */
    unsigned stops; /* how often */
    /* What it was found in by the first of them: the wait that was looked at, anything else; or the stop was cut short. */
    enum { WEDGE_FOUND_ASLEEP, WEDGE_FOUND_AWAKE, WEDGE_FOUND_UNKNOWN } found;
};

struct wedge_proc {
    pid_t pid, ppid;
    uint64_t start_ticks;
    uid_t uid;
    gid_t gid;
    char state;
    const char *comm, *exe, *cmdline; /* arguments joined by blanks */
    bool in_tree; /* of the root's tree; others were pulled in as possible wakers */
    bool agent; /* checked in with the agent */
    const char *role; /* "" none */
    int role_index, role_gen;
    int first_thread, n_threads; /* in snapshot->threads */
    bool catches_signals; /* a handler for a signal that is unblocked in some thread (libc's own excluded) */
    bool armed_timer;
    const char *note; /* what could not be read; "" nothing */
};

/* A process that is gone, known from the agent's record. */
struct wedge_dead {
    pid_t pid;
    const char *role;
    int role_index, role_gen;
    const char *last_point; /* last of its threads' */
    const char *how; /* "killed by rule f3 (SIGKILL)", "exited", "gone" */
    int rule; /* -1 none */
};

struct wedge_verdict {
    enum wedge_verdict_kind kind;
    enum wedge_certainty certainty;
    enum wedge_scope scope;
    unsigned assumptions;
    const char *reason; /* why it is not proved, or by what rule it is: one clause */
    const char *summary; /* one or two sentences naming threads, functions, lines, objects and the cause */
    const char *signature; /* "sig1:…", "sig1:…:weak" */
    const char *signature_roles;
    int *victims; /* threads */
    size_t n_victims;
    int *culprits; /* threads that could have acted and cannot */
    size_t n_culprits;
    int *dead; /* dead[] that could have acted */
    size_t n_dead;
    int64_t stuck_until_ns; /* from now; INT64_MAX for ever */
};

struct wedge_fault { /* a rule of the plan and what became of it */
    const char *id, *text;
    int line;
    uint64_t hits, fired;
    bool must_fire;
    bool held_now;
};
struct wedge_firing {
    int rule;
    uint64_t order;
    int64_t when_ns; /* CLOCK_MONOTONIC */
    pid_t pid, tid;
    const char *role; /* "" none */
    int role_index, role_gen;
    const char *place;
};

struct wedge_snapshot {
    struct obstack mem;
    int64_t taken_ns; /* CLOCK_MONOTONIC, between the passes */
    pid_t root;
    struct wedge_proc *procs;
    size_t n_procs;
    struct wedge_thread *threads;
    size_t n_threads;
    struct wedge_dead *dead;
    size_t n_dead;
    struct wedge_edge *edges;
    size_t n_edges;
    struct wedge_verdict *verdicts; /* headline first; at least one */
    size_t n_verdicts;
    struct wedge_fault *faults;
    size_t n_faults;
    struct wedge_firing *firings; /* in firing order */
    size_t n_firings;
    bool stopped_anything;
    int64_t longest_stop_ns;
    const char *complete; /* what the view lacks; "" nothing */
    uint64_t progress; /* sum of the agents' progress marks */
};

void wedge_snapshot_free(struct wedge_snapshot *snapshot); /* takes NULL */

/* "lock-cycle" and so on; the words of design.md. NULL-terminated lists for parsers. */
extern const char *const wedge_verdict_words[WEDGE_VERDICT_COUNT + 1];
extern const char *const wedge_certainty_words[]; /* suspected, evident, proved */
extern const char *const wedge_scope_words[]; /* part, whole */
extern const char *const wedge_wait_words[WEDGE_WAIT_CLASS_COUNT + 1];
bool wedge_verdict_is_hang(enum wedge_verdict_kind kind); /* a hang or a stall: all before IDLE */

#endif
