/*
 * The arena: what launcher, agent and detector share. One memfd, made and sealed by wedge (base/arena.h), mapped
 * by every agent (faults/agent), read by wedge with pread into private memory (never followed unchecked: a target
 * may scribble on it).
 *
 * base/rt rules hold for everything here: no malloc, no stdio, no locks, nothing but loads and stores.
 *
 * Layout: one page of header, then the sections below, each `count` records of `stride` bytes at `offset`.
 *
 *   section   stride  written by                        read by
 *   CONTROL    192    wedge                             agents
 *   RULES     1024    wedge (once); counters: agents    agents, wedge
 *   DEFINES    256    wedge (once); counters: agents    agents, wedge
 *   NAMES       64    agents (insert only)              all
 *   PROCS      128    the process itself; free: wedge   all
 *   BIRTHS     256    who execs or spawns, for the      all
 *                     process slot of the same number
 *   THREADS    512    the thread itself; free: wedge    all
 *   OBJECTS    128    agents                            agents, wedge
 *   FIRINGS     64    the firing thread                 wedge
 *   COUNTS      16    the thread's or process's agent   agents, wedge
 *   OBJ_COUNTS   8    agents                            agents, wedge
 *   RINGS       64    the owning thread; ring i belongs to thread slot i, `ring_events` records each
 *
 * Publication: a record is complete before the word that announces it is stored with release: the generation of a
 * slot (odd while it is being written, even and non-zero when complete, 0 free), `seq` of a wait record and of an
 * event. A reader that finds an odd word twice says "torn: unknown" and goes on.
 * All times are CLOCK_MONOTONIC nanoseconds. All TIDs and PIDs are of the writer's own PID namespace.
 */
#ifndef WEDGE_BASE_RT_ARENA_H
#define WEDGE_BASE_RT_ARENA_H

#include <stdatomic.h>
#include <stdint.h>

#define WEDGE_ARENA_MAGIC 0x31616e6567646577ull /* "wedgena1" */
#define WEDGE_ARENA_ABI   2u

#define WEDGE_ARENA_RULES 128u /* in one arena, and in each row of COUNTS */

enum wedge_arena_section {
    WEDGE_SEC_CONTROL,
    WEDGE_SEC_RULES,
    WEDGE_SEC_DEFINES,
    WEDGE_SEC_NAMES,
    WEDGE_SEC_PROCS,
    WEDGE_SEC_BIRTHS,
    WEDGE_SEC_THREADS,
    WEDGE_SEC_OBJECTS,
    WEDGE_SEC_FIRINGS, /* struct wedge_arena_event: the firing of order i + 1, as far as they fit; never overwritten */
    WEDGE_SEC_COUNTS, /* hits of a rule, per thread slot, then per process slot: see struct wedge_arena_counts */
    WEDGE_SEC_OBJ_COUNTS, /* the same per object: see struct wedge_arena_object_counts */
    WEDGE_SEC_RINGS,
    WEDGE_SEC_COUNT
};

struct wedge_arena_span {
    uint64_t offset; /* bytes from the start of the arena, a multiple of 64 */
    uint32_t count; /* records */
    uint32_t stride; /* bytes a record */
};

/*
 * The processor's time-stamp counter as CLOCK_MONOTONIC: ns + ((counter - tsc) * mult >> 32), where `mult` is not 0.
 * Written by wedge alone, each time it looks after the run, so that an error of the rate does not add up; where the counter does
 * not run at one rate on all processors `mult` stays 0. `seq` is odd while it is written: whoever sees that, or
 * another one afterwards, asks the clock instead.
 */
struct wedge_arena_clock {
    _Atomic uint32_t seq;
    uint32_t reserved;
    _Atomic uint64_t tsc, ns, mult;
};

/* First page. Everything but the clock and the overflow counters is constant once the arena is handed out. */
struct wedge_arena_header {
    uint64_t magic;
    uint32_t abi;
    uint32_t header_bytes;
    uint64_t total_bytes;
    uint64_t nonce; /* also in WEDGE_ARENA: a stale descriptor number must not be taken for the arena */
    uint8_t run_id[16];
    char boot_id[40];
    uint64_t pidns_inode; /* of the launcher */
    int32_t launcher_pid;
    uint32_t ring_events; /* events per thread, a power of two */
    struct wedge_arena_span sections[WEDGE_SEC_COUNT];
    /* How often something did not fit. Any of them above zero lowers a verdict's certainty. */
    _Atomic uint32_t lost_procs, lost_threads, lost_names, lost_objects;
    _Atomic uint32_t lost_functions; /* modules, or ranges of functions that a plan names, without room in a process */
    _Atomic uint32_t lost_libraries; /* loaded so that their calls are not seen, where a rule names a function */
    _Atomic uint32_t lost_allocators; /* processes with an allocator of their own: no rule for malloc acts there */
    _Atomic uint32_t lost_census; /* passes that found no row in the census */
    _Alignas(64) struct wedge_arena_clock clock;
};

/* What is recorded beside the firings of rules and what a program says of itself (roles, waits, callbacks). */
enum wedge_record {
    WEDGE_RECORD_NOTHING,
    WEDGE_RECORD_PLACES, /* every point that is passed */
    WEDGE_RECORD_CALLS, /* and calls that take, give, wait or wake: events, waits, holds */
};

/* Which passes are counted in the census: see struct wedge_arena_census. */
enum wedge_census_of {
    WEDGE_CENSUS_NONE,
    WEDGE_CENSUS_CALLS, /* all but the malloc family's */
    WEDGE_CENSUS_HEAP, /* those too: the agent's second object is needed */
};

/* Control: one line of 64 bytes each. */
struct wedge_arena_control {
    _Atomic uint32_t epoch; /* its lowest bit says which row of `enabled` is current: many rules switch at once */
    _Atomic uint32_t quiesce; /* not 0: no fault from now on; also a futex: every held thread waits with it */
    /* Bumped (and FUTEX_WAKEd) at each fired rule, passed mark and release: what `yield` waits on. */
    _Atomic uint32_t released;
    uint32_t record; /* enum wedge_record; constant once the arena is handed out */
    uint64_t seed;
    uint32_t n_rules;
    _Atomic uint32_t checkins; /* processes that checked in so far: proc[N] */
    _Atomic uint64_t firings; /* faults fired so far: the firing order */
    _Atomic uint32_t yielders; /* threads that wait on `released`: nobody is woken when it is 0 */
    uint32_t census; /* enum wedge_census_of; constant like `record`, which is 0 with one */
    _Atomic uint64_t begun_ns; /* the first check-in, 0 before: what `time=` counts from */
    uint32_t n_defines;
    _Atomic uint32_t objects; /* rows of OBJECTS made so far */
    /* Second line: which rules are armed, one bit each, by epoch. wedge writes the row that is not current, then the
     * epoch. */
    _Atomic uint64_t enabled[2][WEDGE_ARENA_RULES / 64];
    _Atomic uint64_t vfork_alarms; /* 1: somebody called alarm() in its parent's memory, about to exec */
    uint64_t reserved3[3];
    /* Third line, reserved for virtual time and the controlled scheduler; zero today. */
    uint32_t clock_mode, sched_mode;
    uint64_t virtual_base, virtual_seq;
    uint32_t reserved1[10];
};

/* A name: of a point, mark, role, function or callback. Index 0 is never used ("no name"). Insert only: the hash
 * is claimed by one compare-and-swap on `state`, the text follows, `state` becomes READY with release. */
enum { WEDGE_NAME_FREE, WEDGE_NAME_WRITING, WEDGE_NAME_READY };
struct wedge_arena_name {
    _Atomic uint32_t state;
    _Atomic uint32_t passes; /* how often a place of this name was passed while armed: marks and `count` */
    char text[56];
};

#define WEDGE_ROLE_BYTES 24

enum wedge_proc_state {
    WEDGE_PROC_FREE,
    WEDGE_PROC_RUNNING, /* checked in */
    WEDGE_PROC_EXECED, /* about to become another program (see BIRTHS); RUNNING again when that checks in */
    WEDGE_PROC_EXITING, /* passed exit or _exit */
};

/* What the agent knows of alarm() and setitimer(), which the kernel shows nobody. */
enum wedge_alarms {
    WEDGE_ALARMS_NONE,
    WEDGE_ALARMS_CALLED,
    WEDGE_ALARMS_UNKNOWN, /* it was a program without the agent before */
};
struct wedge_arena_proc { /* 128 bytes */
    _Atomic uint32_t gen;
    _Atomic uint32_t state;
    int32_t pid;
    uint32_t parent; /* slot of the parent, UINT32_MAX none */
    uint64_t start_ticks; /* /proc/PID/stat field 22 of the process; 0: not known, to be filled by wedge */
    uint32_t nth_child; /* nth fork of that parent, from 1 */
    uint32_t exec_count;
    _Atomic uint32_t children; /* forks so far */
    _Atomic uint32_t role_seq; /* odd while the role is being written */
    char role[WEDGE_ROLE_BYTES];
    uint32_t role_index, role_gen;
    uint64_t since_ns; /* check-in */
    uint64_t pedigree; /* hash of the fork ordinals from the root: what chance is drawn from */
    _Atomic uint32_t threads; /* threads checked in so far */
    uint32_t killed_by_rule; /* rule number + 1, written before the kill */
    uint32_t ordinal; /* nth process of the tree by check-in, from 1; 0: born, not checked in */
    /* One bit for each define of processes: it is one, it was counted as a match, it descends from one. */
    uint32_t defined, counted, under;
    _Atomic uint32_t alarms; /* enum wedge_alarms; kept over exec, as an alarm is (execve(2)) */
    uint64_t program; /* inode of the program that checked in, 0 not known: what a raw execve becomes is another */
};

/*
 * Which program a process is about to become: written before the exec or spawn, so that a program which never checks
 * in (static, set-user-ID, without our variables) has a name. Valid while the process's state is EXECED. What is born
 * by spawn, system or popen has its slot from its parent, with PID 0 until somebody knows it:
 *
 *      fork, clone:     the child claims its slot (RUNNING) --exec--> EXECED --check-in--> RUNNING
 *      vfork:           the child claims its slot before its exec: EXECED --check-in--> RUNNING
 *      posix_spawn:     the parent claims it (EXECED, PID 0) and names it in the child's WEDGE_ARENA
 *      system, popen:   the parent claims it; the child finds it as one of its parent's (UNNAMED), first come first
 */
/* Why the agent will not be in it. */
enum wedge_birth_why {
    WEDGE_BIRTH_FITS,
    WEDGE_BIRTH_STATIC,
    WEDGE_BIRTH_MACHINE, /* not for x86-64 */
    WEDGE_BIRTH_LOADER, /* another libc's loader */
    WEDGE_BIRTH_DAMAGED,
    WEDGE_BIRTH_SETID, /* set-user-ID, set-group-ID: ld.so ignores LD_PRELOAD */
    WEDGE_BIRTH_CAPABILITIES, /* of the file: the same */
    WEDGE_BIRTH_UNREADABLE,
    WEDGE_BIRTH_NO_ROOM, /* our variables did not fit into its environment */
    WEDGE_BIRTH_SHUT, /* its user may not open the arena, or it sees no /proc */
    WEDGE_BIRTH_OTHER, /* its environment names another arena */
    WEDGE_BIRTH_COUNT
};
struct wedge_arena_birth { /* 256 bytes */
    uint32_t why; /* enum wedge_birth_why */
    _Atomic uint32_t unnamed; /* 1: the child does not know its slot; 2: and its parent waits for it no more */
    char path[248]; /* of the program, as given or as found in PATH; NUL-terminated, cut */
};

/* What a thread waits for, two levels (a signal handler may wait inside a wait). */
enum wedge_wait_kind {
    WEDGE_WAITING_NOT = 0,
    /* 1 to 15: WEDGE_WAIT_FOR_… of <wedge/point.h>, annotated by the program */
    WEDGE_WAITING_HELD = 16, /* the agent holds the thread: action block, delay or yield; `rule` says which */
    WEDGE_WAITING_CALL = 17, /* inside a libc call that may wait; `name`: its function's number + 1 */
};
struct wedge_arena_wait { /* 40 bytes */
    _Atomic uint32_t seq; /* odd while being written; even and waiting when kind is not 0 */
    uint16_t kind;
    uint16_t rule; /* rule number + 1 for HELD, else 0 */
    uint64_t object; /* address in the process; 0 none */
    uint64_t since_ns;
    uint64_t deadline_ns; /* UINT64_MAX: none; of CALL 0: not known */
    uint32_t name; /* index in NAMES, but for CALL */
    int32_t holder; /* TID, 0 unknown */
};

/* WANT before the call that takes, HOLD after it, RELEASING before the call that gives back: a death between
 * taking and recording blames the right thread. In a wait for a condition its mutex is WANT. What a thread takes twice
 * it has twice.
 * A semaphore has no owner, and is a lock if each gives back what he took: HOLD as long as a thread has taken it, once;
 * GAVE for good once it put in what it had not taken out. These make way for locks, and `sems_lost` is set then. */
enum { WEDGE_HOLD_FREE, WEDGE_HOLD_WANT, WEDGE_HOLD_HOLD, WEDGE_HOLD_RELEASING, WEDGE_HOLD_GAVE };
struct wedge_arena_hold { /* 16 bytes */
    _Atomic uint64_t object;
    _Atomic uint32_t state;
    uint16_t kind; /* enum wedge_object_kind */
    uint16_t shared; /* 1: others may have it at the same time: a reader */
};
#define WEDGE_HOLDS 12

struct wedge_arena_callback { /* 32 bytes: a user's function in progress */
    _Atomic uint32_t seq; /* odd while being written */
    uint32_t name; /* index in NAMES; 0: none in progress */
    uint64_t function; /* address */
    uint64_t since_ns;
    uint64_t limit_ms; /* 0 none */
};

struct wedge_arena_thread { /* 512 bytes */
    _Atomic uint32_t gen;
    int32_t tid;
    uint32_t proc; /* slot of the process */
    uint32_t creator; /* slot of the creating thread, UINT32_MAX: first thread of its process */
    uint32_t nth_child; /* nth thread of its creator, from 1: creation order is not global */
    _Atomic uint32_t children;
    uint64_t pedigree;
    uint64_t since_ns;
    _Atomic uint32_t event_seq; /* events written so far; event i is at i & (ring_events - 1) */
    _Atomic uint32_t ended; /* 1: the thread has left its slot; it stays readable until another one needs it */
    struct wedge_arena_wait wait[2];
    struct wedge_arena_hold holds[WEDGE_HOLDS];
    struct wedge_arena_callback callback;
    uint32_t last_point; /* index in NAMES; 0 none. Points are recorded when armed or when record is on */
    uint32_t last_rule; /* last rule fired on this thread, number + 1 */
    _Atomic uint64_t progress; /* sum of WEDGE_PROGRESS */
    uint64_t last_point_ns;
    uint64_t luck; /* hash of both pedigrees, the process's and the thread's: what chance per thread is drawn from */
    uint8_t sched[32]; /* a controlled scheduler's: gate futex, priority, step, pending call and object */
    uint16_t made[16]; /* objects of each kind that this thread was seen to make */
    uint8_t vtime[32]; /* virtual time's: now, wake at */
    uint64_t named[WEDGE_ARENA_RULES / 64]; /* rules whose thread= is this thread's name; the agent's alone */
    uint32_t named_at; /* as of which change of a name in its process; 0: not known yet */
    uint32_t sems_lost; /* 1: of some semaphores it is not in holds any more what it did to them */
    uint8_t reserved[8];
};

/* How often a rule was hit and fired on one thread slot or in one process slot (per=thread, per=proc). Row i is of
 * thread slot i; the rows of the process slots follow those of the threads; a row has one entry per rule. The owner
 * of the slot clears its row before it announces the slot, and adds what was there to the rules. All hits of a rule
 * are therefore its own and those of all rows: wedge_arena_rule_hits. */
struct wedge_arena_counts {
    _Atomic uint64_t hits, fired;
};

/* The same for a rule with per=obj: one word, hits below, firings (for max=) above. Row i of OBJECTS has
 * WEDGE_OBJECT_RULES of them, the first for the first rule of the plan that counts per object, and so on; whoever
 * retires the object clears them likewise. */
#define WEDGE_OBJECT_RULES     8u
#define WEDGE_OBJECT_HITS_BITS 44u
#define WEDGE_OBJECT_HITS_MASK ((1ull << WEDGE_OBJECT_HITS_BITS) - 1)
#define WEDGE_OBJECT_FIRED_MAX ((1u << (64 - WEDGE_OBJECT_HITS_BITS)) - 1) /* the most that max= can be */
struct wedge_arena_object_counts {
    _Atomic uint64_t word;
};

/*
 * An object that calls are about, 128 bytes: a mutex, a semaphore, an open file description … Kept only where the plan
 * or the record needs it. Rows stand at the place of their hash or a few behind; `hash` 0 was never used.
 *
 *      free(hash 0 | GONE) --one CAS on hash--> being filled(gen odd) --> complete(gen even) --> gone(gen odd, GONE)
 *
 * A pair (row, gen) therefore names one object for ever. What lies in private memory is another object in each
 * process: a forked child's is a COPY, with the same defines; what is process-shared and was made before the fork is
 * one.
 */
#define WEDGE_OBJECT_SHARED    1u /* process-shared: also of those that its process forks */
#define WEDGE_OBJECT_FOUND     2u /* no call was seen to make it: `caller` was the first to use it */
#define WEDGE_OBJECT_COPY      4u /* in the memory of a forked child: what it is was taken from the parent's */
#define WEDGE_OBJECT_INHERITED 8u /* a descriptor of it was open over a fork */
#define WEDGE_OBJECT_EXECED    16u /* or over an exec */
#define WEDGE_OBJECT_GONE      1ull /* value of `hash`: the row is free; others are above */
/* The rule and its `released` when it shut the object: another value of that by now means that the object is open, so
 * that a release opens all objects of its rule at once. */
#define WEDGE_OBJECT_SHUT(rule, released) ((uint32_t)(released) << 8 | ((uint32_t)(rule) + 1))
#define WEDGE_OBJECT_SHUT_RULE(word)      (((word)&0xffu) - 1u)
struct wedge_arena_mark { /* who did something to it last; tid 0: nobody yet */
    _Atomic uint32_t proc; /* process slot */
    _Atomic int32_t tid;
    _Atomic uint64_t when_ns;
};
struct wedge_arena_object {
    _Atomic uint64_t hash;
    _Atomic uint32_t gen;
    uint8_t kind, made; /* enum wedge_object_kind, wedge_define_made */
    _Atomic uint16_t flags; /* WEDGE_OBJECT_… */
    uint64_t number; /* address or identifier; of kind FD the number it was made with */
    uint32_t process; /* ordinal of the process whose address it is; 0: the same in the whole tree */
    _Atomic uint32_t defines; /* which defines it is, one bit each */
    uint32_t creator_proc; /* process slot */
    int32_t creator_tid;
    uint64_t caller; /* return address of the call that made it, in the creator */
    uint64_t since_ns;
    struct wedge_arena_mark holder, waker;
    _Atomic uint32_t takes, wakes; /* counts: calls that took it or took from it, that gave it back or put into it */
    _Atomic uint32_t full, empty; /* WEDGE_OBJECT_SHUT by which rule for those who put, who take; 0 not */
    _Atomic uint32_t refs; /* kind FD: descriptors of it in the tree, as far as seen; 0: its row is free if needed */
    uint32_t luck; /* who made it, as which of its kind: what chance per object is drawn from; 0: it was found */
    _Atomic uint64_t files[2]; /* kind FD: by which each end is found again behind exec; 0 not known */
};

enum wedge_event_kind {
    WEDGE_EV_NONE,
    WEDGE_EV_FIRED, /* a rule is about to act: rule, name */
    WEDGE_EV_RELEASED, /* a held thread goes on: rule */
    WEDGE_EV_POINT, /* a point was passed: name */
    WEDGE_EV_ROLE, /* the process took a role */
    WEDGE_EV_FORK, /* arg: nth child */
    WEDGE_EV_EXIT,
    WEDGE_EV_PROGRESS, /* arg: n */
    /* A call has returned that took, gave back, waited for or woke its object. name: the function's number + 1; arg:
     * what it returned, or a negative errno; about: enum wedge_object_kind; when_ns: when it began. */
    WEDGE_EV_TAKE,
    WEDGE_EV_GIVE,
    WEDGE_EV_WAIT,
    WEDGE_EV_WAKE,
};
struct wedge_arena_event { /* 64 bytes */
    _Atomic uint32_t seq; /* number of the event + 1, stored with release last */
    uint16_t kind;
    uint16_t rule; /* rule number + 1 */
    uint64_t when_ns;
    uint64_t order; /* fired rules: place in the global firing order, from 1; else 0 */
    uint64_t object;
    uint64_t arg;
    uint64_t caller; /* return address */
    uint32_t name;
    int32_t tid;
    int32_t pid;
    union {
        uint32_t hit; /* FIRED: at which hit of those counted there (its lowest bits); else 0 */
        uint32_t about; /* TAKE to WAKE: enum wedge_object_kind */
    };
};

/*
 * The census stands where the rings are otherwise: first the modules, then a hash of rows over the rest. Insert only:
 * `hash` is claimed by one compare-and-swap, the row filled, `state` stored READY with release; `count` is right from
 * the claim on. A place is what is passed, from where (module and offset in it), about which object (its kind and the
 * site that made it), in which role.
 */
#define WEDGE_CENSUS_MODULES 512u
#define WEDGE_CENSUS_PLACE   0x10000u /* `what`: number of a function + 1, or of a place's name from here on, or … */
#define WEDGE_CENSUS_START   0x20000u
#define WEDGE_CENSUS_EXIT    0x20001u
struct wedge_arena_module { /* 256 bytes */
    _Atomic uint32_t state; /* as of a name */
    uint32_t reserved;
    char path[248]; /* as the loader gives it; NUL-terminated, cut */
};
struct wedge_arena_census { /* 64 bytes */
    _Atomic uint64_t hash; /* of all that follows but the count; 0 free */
    _Atomic uint32_t state; /* WEDGE_NAME_READY: complete */
    uint32_t what;
    uint64_t offset; /* of the return address */
    uint32_t module; /* number + 1; 0 not known */
    uint32_t role; /* index in NAMES; 0 none */
    uint64_t made_offset;
    uint32_t made_module; /* 0: nobody was seen to make it */
    uint8_t kind, made; /* enum wedge_object_kind, wedge_define_made */
    uint16_t reserved0;
    _Atomic uint64_t count;
    uint64_t reserved1;
};
/* How many rows fit where `events` events would. */
static inline uint32_t wedge_census_rows(uint32_t events)
{
    uint32_t modules = WEDGE_CENSUS_MODULES * (uint32_t)(sizeof(struct wedge_arena_module) / 64);
    return events > modules ? events - modules : 0;
}
_Static_assert(sizeof(struct wedge_arena_module) == 256, "module");
_Static_assert(sizeof(struct wedge_arena_census) == 64, "census row");
_Static_assert(sizeof(struct wedge_arena_header) <= 4096, "header is one page");
_Static_assert(sizeof(struct wedge_arena_control) == 192, "control is three lines");
_Static_assert(sizeof(struct wedge_arena_name) == 64, "name is a line");
_Static_assert(sizeof(struct wedge_arena_proc) == 128, "process slot");
_Static_assert(sizeof(struct wedge_arena_birth) == 256, "birth");
_Static_assert(sizeof(struct wedge_arena_wait) == 40, "wait record");
_Static_assert(sizeof(struct wedge_arena_thread) == 512, "thread slot");
_Static_assert(sizeof(struct wedge_arena_object) == 128, "object");
_Static_assert(sizeof(struct wedge_arena_event) == 64, "event is a line");

/* What a call is about. */
enum wedge_object_kind {
    WEDGE_OBJECT_NONE,
    WEDGE_OBJECT_FD, /* an open file description; in calls its number in the process */
    WEDGE_OBJECT_MUTEX, /* from here on addresses, up to WORD */
    WEDGE_OBJECT_COND,
    WEDGE_OBJECT_RWLOCK,
    WEDGE_OBJECT_BARRIER,
    WEDGE_OBJECT_SPIN,
    WEDGE_OBJECT_ONCE,
    WEDGE_OBJECT_SEM,
    WEDGE_OBJECT_WORD, /* a futex word that no library object is known to own */
    WEDGE_OBJECT_MAPPING,
    WEDGE_OBJECT_THREAD, /* pthread_t */
    WEDGE_OBJECT_PROCESS, /* PID */
    WEDGE_OBJECT_SEMSET, /* System V: identifiers of the kernel */
    WEDGE_OBJECT_MSGQUEUE,
    WEDGE_OBJECT_SEGMENT,
    WEDGE_OBJECT_COUNT
};

/*
 * A `define` of the plan, 256 bytes: a role that processes get by what they are, or a set of objects by where they were
 * made. Texts are NUL-terminated, "" any; patterns are of fnmatch(3) without flags.
 */
#define WEDGE_ARENA_DEFINES 32u
enum wedge_define_what { WEDGE_DEFINE_PROCESS = 1, WEDGE_DEFINE_OBJECT };
/* How an open file description came to be, for objects of kind FD. */
enum wedge_define_made {
    WEDGE_MADE_ANY,
    WEDGE_MADE_PIPE,
    WEDGE_MADE_SOCKET, /* socket, socketpair, accept */
    WEDGE_MADE_FILE, /* open and its kin; fopen is libc's own and not seen */
    WEDGE_MADE_EVENTFD,
    WEDGE_MADE_TIMERFD,
    WEDGE_MADE_SIGNALFD,
    WEDGE_MADE_EPOLL,
    WEDGE_MADE_MQUEUE,
};
struct wedge_arena_define {
    char name[WEDGE_ROLE_BYTES];
    uint32_t what; /* enum wedge_define_what */
    uint32_t kind; /* objects: enum wedge_object_kind */
    uint32_t made; /* objects of kind FD: enum wedge_define_made */
    uint32_t nth; /* the nth of those that match, in the whole tree, in the order in which they were made; 0 all */
    uint32_t of; /* processes: descendants of the define with this number + 1; 0: of the root */
    _Atomic uint32_t seen; /* matches so far */
    char module[40], function[56]; /* objects: made by a call in this function; module "" any */
    char exe[80]; /* processes: pattern of the executable's path; objects: of the opened path */
    char comm[16]; /* processes: the name of the first thread */
    _Atomic uint32_t found; /* objects: a module of some process has that function */
    uint8_t reserved[12];
};
_Static_assert(sizeof(struct wedge_arena_define) == 256, "define");

/*
 * A compiled rule, 1,024 bytes. Compiled by faults/plan, matched by the agent with nothing but comparisons.
 * Numbers are places in the table from 0; `id` is the plan's own word.
 */
#define WEDGE_RULE_ID_BYTES 16
enum wedge_rule_who { WEDGE_WHO_ANY, WEDGE_WHO_ROOT, WEDGE_WHO_ROLE, WEDGE_WHO_PROC, WEDGE_WHO_THREAD };
enum wedge_rule_what { WEDGE_WHAT_PLACE, WEDGE_WHAT_FUNCTION, WEDGE_WHAT_START, WEDGE_WHAT_EXIT };
enum wedge_rule_per { WEDGE_PER_THREAD, WEDGE_PER_PROC, WEDGE_PER_OBJ, WEDGE_PER_TREE };
enum wedge_rule_action {
    WEDGE_ACT_KILL, /* arg: signal, to the process */
    WEDGE_ACT_EXIT, /* arg: status, by _exit */
    WEDGE_ACT_STOP, /* SIGSTOP to the process */
    WEDGE_ACT_ERRNO, /* arg: errno */
    WEDGE_ACT_RETURN, /* arg: value */
    WEDGE_ACT_SHORT, /* arg: bytes */
    WEDGE_ACT_DELAY, /* arg: ns */
    WEDGE_ACT_BLOCK, /* until released */
    WEDGE_ACT_DROP,
    WEDGE_ACT_SPURIOUS,
    WEDGE_ACT_FULL,
    WEDGE_ACT_EMPTY,
    WEDGE_ACT_YIELD, /* until the condition `until` holds */
    WEDGE_ACT_CORRUPT,
    WEDGE_ACT_QUIESCE,
};
enum wedge_rule_when_kind { WEDGE_WHEN_ALWAYS, WEDGE_WHEN_FIRED, WEDGE_WHEN_MARK, WEDGE_WHEN_ENDED };
struct wedge_rule_when { /* fired(ID[,N]), mark(NAME[,N]) or ended(ROLE[,N]): true once the count is reached */
    uint32_t kind;
    uint32_t ref; /* FIRED: rule number; MARK: index in NAMES; ENDED: likewise, of WEDGE_ENDED_NAME */
    uint32_t count; /* at least this often, 1 by default */
    uint32_t reserved;
};
/* The name under which wedge counts, in `passes`, the processes of a role that have ended (faults/ended.h): this and
 * ROLE, ROLE[N], ROLE.gen=N or ROLE[N].gen=N. No place can have it. */
#define WEDGE_ENDED_NAME           "!"
#define WEDGE_RULE_FUNCTIONS_WORDS 6 /* bit set over the agent's function table: at most 384 functions */

/* WHERE: which clauses a rule has; all of them must hold. */
#define WEDGE_WHERE_OBJ    1u /* obj=: `object` */
#define WEDGE_WHERE_FD     2u /* fd=: `fd` */
#define WEDGE_WHERE_PATH   4u /* path=: `path`, a pattern of fnmatch(3) without flags, of the path given to the call */
#define WEDGE_WHERE_CALLER 8u /* caller=: the call's return address lies in this function */
#define WEDGE_WHERE_IN     16u /* in=: this function is on the stack */
#define WEDGE_WHERE_ARG    32u /* argN<op>V: `args` */
/* What of a rule was met with in some process: else it may be misspelled, and the run proves nothing. */
#define WEDGE_FOUND_PLACE 0x100u /* a loaded module has the place */
#define WEDGE_FOUND_AFTER 0x200u /* the mark of after= */
#define WEDGE_FOUND_UNTIL 0x400u /* the mark of until= */
#define WEDGE_FOUND_WHO   0x800u /* a process, or a thread that came by, was this WHO */
enum wedge_arg_op { WEDGE_ARG_EQ, WEDGE_ARG_NE, WEDGE_ARG_LT, WEDGE_ARG_LE, WEDGE_ARG_GT, WEDGE_ARG_GE, WEDGE_ARG_HAS };
#define WEDGE_RULE_ARGS 4
struct wedge_rule_arg {
    uint32_t index; /* of the argument, from 1 */
    uint32_t op; /* enum wedge_arg_op, signed; HAS: all bits of value are set */
    int64_t value;
};
struct wedge_rule_function { /* module "" any; a module is matched by the last component of its path */
    char module[40], function[56];
};

struct wedge_arena_rule {
    char id[WEDGE_RULE_ID_BYTES];
    uint32_t who, role_index; /* role_index 0: any; PROC: the nth process of the tree, by check-in, from 1 */
    int32_t role_gen; /* -1 any */
    uint32_t what;
    char role[WEDGE_ROLE_BYTES]; /* WHO_ROLE, or comm for WHO_THREAD */
    uint64_t functions[WEDGE_RULE_FUNCTIONS_WORDS];
    uint32_t place; /* index in NAMES */
    uint32_t per;
    uint64_t nth_from, nth_to, every; /* hits counted from 1; nth_to 0: no end; nth_from 0: no nth given */
    uint64_t max; /* firings, per `per`; 0 no limit */
    uint64_t chance; /* of 2^64: p; UINT64_MAX always */
    struct wedge_rule_when after;
    uint64_t time_ns; /* not before this long after the run began; 0 none */
    uint32_t action, after_effect;
    int64_t arg;
    struct wedge_rule_when until;
    uint32_t must_fire; /* nth, after or time given: an unfired rule makes the run invalid */
    uint32_t line; /* in the plan */
    _Atomic uint32_t released; /* odd: let go of what it holds, and act no more; armed again it is even; a futex */
    _Atomic uint32_t holding; /* threads held now */
    /* Both counters of per=tree in one step, where `max` makes one depend on the other. */
    _Alignas(16) _Atomic uint64_t hits; /* of per=tree, and of rows that were cleared: see wedge_arena_rule_hits */
    _Atomic uint64_t admitted; /* firings let through by `max` of per=tree */
    _Atomic uint64_t fired;
    char text[192]; /* the plan's line, cut */
    _Atomic uint64_t misplaced; /* would have answered at a place that cannot be answered: not counted as fired */
    uint32_t where; /* WEDGE_WHERE_… */
    uint32_t object; /* OBJ: number of the define */
    int32_t fd; /* FD */
    uint32_t n_args; /* ARG */
    struct wedge_rule_arg args[WEDGE_RULE_ARGS];
    char path[96];
    struct wedge_rule_function caller, in;
    _Atomic uint32_t found; /* WEDGE_WHERE_CALLER, _IN: a module of some process has that function; WEDGE_FOUND_… */
    uint8_t reserved[204];
};
_Static_assert(sizeof(struct wedge_arena_rule) == 1024, "rule");

#endif
