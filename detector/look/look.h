/*
 * Looking: two passes over /proc for the processes below a root and for everyone who may wake one of them.
 *
 *   read all (pass A) -> decode waits and find wakers -> somebody new? read them too (still pass A), decode all anew
 *                                                     -> nobody: read all again (pass B)
 *
 * Invariant: every reading of pass A comes before every reading of memory, descriptors and mappings that counts, and these before
 * every reading of pass B. A thread that is the same in both passes (the same thread, never put on a processor, the
 * same call: detector/kernel/reading.h) was therefore asleep at one common moment with every other such thread. What differs is
 * `moved`, and moved is live.
 *
 * Everything here belongs to one examination and one thread.
 */
#ifndef WEDGE_DETECTOR_LOOK_H
#define WEDGE_DETECTOR_LOOK_H

#include "base/share.h"
#include "detector/examine.h"
#include "detector/kernel/fds.h"
#include "detector/kernel/proc.h"
#include "detector/kernel/reading.h"
#include "detector/model.h"

/* Who may end a wait. Groups stand for their threads, so that a process of a thousand threads needs no million edges.
 * THREAD and PROC: index in the snapshot. PROC leaves the waiting thread itself out. */
enum wedge_target { WEDGE_TO_THREAD, WEDGE_TO_PROC, WEDGE_TO_TREE, WEDGE_TO_OUTSIDE, WEDGE_TO_DEAD, WEDGE_TO_RULE };

#define WEDGE_WAKER_BY_SIGNAL 1u /* by EINTR, a handler or cancellation: alone enough, whatever the sets say */
/* Counts only where a verdict is to be proved; left out, the verdict is evident. */
#define WEDGE_WAKER_UNLESS_POSIX 2u /* another thread unlocks what it does not own */
#define WEDGE_WAKER_UNLESS_ALARM 4u /* a timer or a device that /proc does not show may raise a caught signal */
#define WEDGE_WAKER_UNLESS_RARE  16u /* what could happen and hardly ever does; `why` says it */
/* Somebody who could act only if he should have, unseen, what the wait is about: as long as he lives it is no hang, but
 * he is no party to one. */
#define WEDGE_WAKER_BYSTANDER     8u
#define WEDGE_WAKER_UNLESS_RECORD 32u /* by the agent's record it never did anything to the object */
#define WEDGE_WAKER_WEAK                                                                                               \
    (WEDGE_WAKER_UNLESS_POSIX | WEDGE_WAKER_UNLESS_ALARM | WEDGE_WAKER_UNLESS_RARE | WEDGE_WAKER_UNLESS_RECORD)

struct wedge_waker {
    enum wedge_target target;
    int32_t to;
    unsigned flags;
    uint16_t set;
    const char *why;
};

struct wedge_map_set {
    struct wedge_proc_map *maps; /* by address; paths point into text */
    size_t n;
    char *text;
};

struct wedge_look_proc {
    pid_t pgrp, tracer;
    pid_t reader; /* the thread through which its files are read: a leader that has ended shows none */
    uint64_t caught; /* signals with a handler, unblocked in some thread; libc's own two left out */
    int tasks; /* open between the passes: its list of threads; -1 not */
    bool skipped; /* the caller said so, or it cannot be read: outside */
    bool zombie; /* ended and not reaped */
    bool foreign; /* not a 64-bit x86 program: its calls are not ours to decode */
    bool clock_asked, clock_unknown;
    int64_t clock_ahead_ns; /* its CLOCK_MONOTONIC, of ours (detector/kernel/clocks.h) */
    bool timers_unknown;
    uint64_t timer_signals; /* that its POSIX timers send, libc's own left out */
    enum { WEDGE_ALARM_NOT_ASKED, WEDGE_ALARM_NONE, WEDGE_ALARM_POSSIBLE } alarm; /* detector/look/alarm.h */
    enum {
        WEDGE_SIGNALS_NOT_ASKED,
        WEDGE_SIGNALS_NONE,
        WEDGE_SIGNALS_ASKED_FOR
    } signals; /* for descriptors; the same */
    enum { WEDGE_FROZEN_NOT_ASKED, WEDGE_FROZEN_NOT, WEDGE_FROZEN } frozen; /* its control group; wait/frozen.c */
    bool memory_alone; /* nobody else lives in its memory; false: not asked */
    bool sharer_asked;
    int sharer; /* wedge_wait_memory_sharer + 1 */
    bool async; /* io_uring, AIO or KVM */
    bool fds_read, maps_read;
    int fds_error, maps_error;
    struct wedge_fd *fds;
    size_t n_fds;
    struct wedge_map_set maps;
    const struct wedge_sockets *sockets; /* of its network namespace; NULL not asked in this round */
};

/* A thread that only times out and asks again (detector/verdict/history.h): its deadline makes it live no more. */
enum wedge_inert { WEDGE_NOT_INERT, WEDGE_INERT_BY_RECORD, WEDGE_INERT_BY_LOOKS };

struct wedge_look_thread {
    struct wedge_proc_status status;
    char wchan[WEDGE_WCHAN_BYTES]; /* "" or "0" when the kernel does not say */
    struct wedge_kept kept; /* files are open between the passes alone */
    size_t first_waker, n_wakers;
    uint16_t n_sets;
    bool held; /* by a fault rule */
    bool idle_worker; /* a thread of the kernel's for io_uring that has no work: it does nothing by itself */
    bool handed; /* what it waits for is memory that a descriptor may bring to others */
    bool exact_owner; /* the owner is recorded so that no other thread may unlock */
    int32_t owner; /* thread index of the recorded owner of what it waits for, -1 none */
    bool owner_dead; /* a recorded owner that is gone */
    pid_t dead_owner; /* its process, 0: not known */
    pid_t copied_from; /* the process that has the recorded owner of a lock that fork copied, 0 none */
    bool refused; /* the kernel refused it a PI lock: it would have closed a circle */
    bool missed; /* by the record it was signalled before anybody waited */
    uint32_t readers; /* of a rwlock, by its own count */
    bool own_process_only; /* nobody but its own process is left to end the wait */
    bool shared; /* what it waits for is visible to other processes */
    /* From earlier examinations, 0 without: how many found it in this very sleep and for how long that has lasted; time on a
     * processor and in the queue for one since the tree's last progress, and how long ago that was (0: not looked at). */
    uint32_t rounds;
    int64_t asleep_ns, ran_ns, queued_ns, use_span_ns;
    bool
        restless; /* asleep in both passes, and put on a processor soon after: asked only of a tree that makes no progress */
    enum wedge_inert inert;
    bool came_back; /* it moved, and at the second look was where it had been at the first */
    bool room; /* it waits for room in a full buffer */
    unsigned assumptions;
};

/* One process of the machine, known by its stat line alone. */
struct wedge_machine_proc {
    pid_t pid, ppid, pgrp, session;
    uint64_t start_ticks, stack; /* the top of its first stack, 0 not known */
    char state;
    long threads;
    bool kernel;
    bool tree;
    bool blind; /* wedge's own */
    uid_t uid; /* only where all of a user are looked at */
    enum { WEDGE_MARK_UNKNOWN, WEDGE_MARK_NONE, WEDGE_MARK_OF_RUN } mark; /* in its environment */
};
struct wedge_machine_end { /* a descriptor that somebody holds (all kinds but OTHER), or a shared mapping */
    uint64_t dev, inode;
    pid_t pid;
    int number; /* one of its numbers there; where the inode is no identity (WEDGE_FD_…), one entry for each */
    bool readable, writable, mapping;
};

struct wedge_core;
/* A socket in which descriptors are on their way. */
struct wedge_carrier {
    uint64_t inode;
    bool perhaps; /* nobody can tell who sent them, and it is a stranger's */
};

struct wedge_look {
    const struct wedge_examine *options;
    struct wedge_job_note *note;
    struct wedge_snapshot *snapshot;
    struct wedge_look_proc *procs; /* parallel to snapshot->procs */
    struct wedge_look_thread *threads; /* parallel to snapshot->threads */
    size_t cap_procs, cap_threads;
    long spare_files; /* descriptors that may still be kept from pass A for pass B */

    struct wedge_look_index *index; /* of the snapshot's processes by pid; NULL: not made */
    struct wedge_machine_proc *machine; /* by pid */
    size_t n_machine;
    struct wedge_machine_end *ends, *mappings; /* by (dev, inode); made when first asked for in a round */
    size_t n_ends, cap_ends, n_mappings, cap_mappings;
    bool ends_read, mappings_read, carriers_read;
    struct wedge_carrier *carriers;
    size_t n_carriers, cap_carriers;
    pid_t *tracers; /* of each process of the machine, 0 none; made when first asked for in a round */
    bool tracers_read;
    bool hidden_carriers; /* that could not be found out */
    struct wedge_sockets *sockets; /* of each network namespace that was asked for in this round */
    bool hidden_ends, hidden_mappings; /* a process of the tree could not be read */
    bool hidden_above; /* a process above the root could not */
    bool hidden_elsewhere; /* some process outside the tree could not */

    pid_t *wanted; /* processes outside the tree to be read in the next round */
    size_t n_wanted, cap_wanted;
    bool found_new;

    struct wedge_kin *kin; /* who has whose memory; kin.c. Made when first asked for in a round */
    struct wedge_look_block *blocks; /* memory that was read in this round; memory.c */

    struct wedge_waker *wakers;
    size_t n_wakers, cap_wakers;
    uint64_t last_born, births; /* compare.c */
    bool marks_open; /* a process of the machine could not be asked for the run's mark, and might have it */
    bool tree_changed; /* a process of the tree came or went between the passes */
    struct wedge_libc_cache *libcs;
    struct wedge_alarm_cache *alarms;
    pid_t own_child; /* begun between the passes, and not reaped before they are over; 0 none */
    struct wedge_stacking *stacks; /* begun before the verdict (detector/stacks/stacks.h); NULL not */
    struct wedge_core *core; /* looked at in the place of /proc (detector/core/core_look.h); NULL none */
    bool core_tids; /* its threads bear the numbers that they have in their own memory */
    size_t *cores; /* parallel to snapshot->verdicts: how many victims are the set's core; the snapshot's */
};

/* Looks twice. `decode` is called once per round, between the passes, to fill waits and wakers. Returns 0, -ESRCH
 * (no such root), -EPERM (its calls may not be read), -ENOEXEC (it is the kernel's), -ENOMEM. */
int wedge_look_twice(struct wedge_look *look, int (*decode)(struct wedge_look *), struct wedge_err *err);
void wedge_look_free(struct wedge_look *look); /* what is not the snapshot's */

/* Is it nobody: the thread that waits for this examination (options->blind_thread), or the kernel's, without work? */
bool wedge_look_is_blind(const struct wedge_look *look, int thread);
/* Index of a process or thread of the snapshot, -1 none. */
int wedge_look_proc_of(const struct wedge_look *look, pid_t pid);
int wedge_look_thread_of(const struct wedge_look *look, int proc, pid_t ns_tid);
const struct wedge_machine_proc *wedge_look_machine_of(const struct wedge_look *look, pid_t pid);
/* The process's index if it was read in this round; else -1, and it will be read in the next one (if there is room). */
int wedge_look_want(struct wedge_look *look, pid_t pid);

/* Descriptors and mappings of a process of the snapshot, read once a round. Negative errno when unreadable. */
int wedge_look_fds(struct wedge_look *look, int proc);
/* Reads those of the whole tree now, on two processors where one is idle: for who will ask for most of them. In the child of a
 * job alone, whose note says for either thread at which process it is; elsewhere it does nothing. */
void wedge_look_ahead(struct wedge_look *look);
/* Reads `size` bytes at `address` of process `proc`, by a thread that lives: a leader that has ended has no memory. What was
 * read in this round already is not read anew. 0, or a negative errno. Again: the same bytes at a later moment than those of
 * the first (that a word did not change in between says that it was not read in the middle of a change). */
int wedge_look_memory(struct wedge_look *look, int proc, uint64_t address, void *buf, size_t size);
int wedge_look_memory_again(struct wedge_look *look, int proc, uint64_t address, void *buf, size_t size);
void wedge_memory_forget(struct wedge_look *look); /* what was read */
int wedge_look_maps(struct wedge_look *look, int proc);
const struct wedge_proc_map *wedge_look_map_at(struct wedge_look *look, int proc, uint64_t address);
/* Everyone on the machine who holds a descriptor keyed (dev, inode) as in detector/kernel/fds.h, or maps file (dev, inode): a
 * slice of a table, by pid. */
const struct wedge_machine_end *wedge_look_ends(struct wedge_look *look, uint64_t dev, uint64_t inode, size_t *ret_n);
/* The sockets of the network namespace of a process (detector/kernel/sockets.h), read once a round; NULL: no memory. */
const struct wedge_sockets *wedge_look_sockets(struct wedge_look *look, int proc);
/* Sockets with descriptors in their queue (SCM_RIGHTS): whoever can receive from them may get an end that nobody is
 * seen to hold. Those between two strangers, neither of whom is looked at, are left out. */
const struct wedge_carrier *wedge_look_carriers(struct wedge_look *look, size_t *ret_n);
/* Processes that are looked at, and ran meanwhile, could have handed each other descriptors. Asked after the passes. */
bool wedge_look_has_couriers(struct wedge_look *look);
const struct wedge_machine_end *wedge_look_mappings(struct wedge_look *look, uint64_t dev, uint64_t inode,
                                                    size_t *ret_n);

/* Does process `pid` trace another one, as far as that can be seen? */
bool wedge_look_traces(struct wedge_look *look, pid_t pid);

/* Copies of texts in the snapshot's obstack. */
const char *wedge_look_text(struct wedge_look *look, const char *text);
const char *wedge_look_textf(struct wedge_look *look, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define WEDGE_LOOK_MOST_THREADS 65536 /* of a process */
/* wedge_share with what is worth it; not in a look that is to cost little, and need not be quick. `work` must not allocate. */
void wedge_look_share(const struct wedge_look *look, size_t n, wedge_share_fn *work, void *arg);
/* /proc/PID/task, or -1. */
int wedge_look_open_tasks(pid_t pid);

void wedge_look_note(struct wedge_look *look, pid_t pid, const char *step);

#endif
