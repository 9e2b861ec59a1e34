/*
 * The agent: preloaded into every process of a run. It looks a place or call up in the compiled rules of the arena,
 * writes down what it is about to do, and does it.
 *
 * Holds everywhere in here: no malloc, no stdio, no locks, no descriptor kept, errno untouched, nothing that a signal
 * handler or a forked child may not do. No recursion guard is needed, because the agent calls nothing it wraps: its
 * own system calls are made by sys.h. A siglongjmp or a cancellation out of a wrapped call therefore leaves nothing
 * behind but a wait record.
 *
 * Who is who. A process finds its slot through a page that fork wipes (MADV_WIPEONFORK), so that a child notices
 * itself however it was made:
 *
 *      wiped(0) --first pass in a new process--> CHECKING --slot claimed--> IN
 *         ^                                          \--no slot left--> LOST (passes through, counted)
 *         '---- fork, _Fork, clone ----------------------------------- from any state
 *
 * A thread keeps its slot's number in 16 bytes of initial-exec TLS together with the ordinal of the process it was
 * claimed in; another ordinal means that the TLS was inherited over a fork. A vfork child shares the page and the TLS
 * with its parent; on a thread that ever called vfork it is told apart by getpid before anything acts, and writes
 * nothing but a hit, and a slot of its own when it execs (birth.h). Elsewhere a pass makes no system call, so that a sandboxed process survives it.
 */
#ifndef WEDGE_FAULTS_AGENT_H
#define WEDGE_FAULTS_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <wedge/point.h>

#include "base/rt/arena.h"
#include "faults/functions.h"

#define AGENT_EXPORT      __attribute__((visibility("default")))
#define AGENT_LIKELY(x)   __builtin_expect(!!(x), 1)
#define AGENT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define AGENT_RULE_WORDS  2 /* bit sets over at most 128 rules */
#define AGENT_NONE        UINT32_MAX

/* splitmix64's finaliser: a bijection in which each input bit changes half of the output. */
static inline uint64_t agent_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

/* The mapped arena. Constant once `ready`; all zero when there is none. */
struct agent_arena {
    bool ready;
    uint8_t *base;
    struct wedge_arena_header *header;
    struct wedge_arena_control *control;
    struct wedge_arena_rule *rules;
    struct wedge_arena_define *defines;
    struct wedge_arena_name *names;
    struct wedge_arena_proc *procs;
    struct wedge_arena_birth *births;
    struct wedge_arena_thread *threads;
    struct wedge_arena_counts *counts;
    struct wedge_arena_object_counts *object_counts;
    struct wedge_arena_object *objects;
    struct wedge_arena_event *firings, *rings;
    uint32_t n_rules, n_defines, n_names, n_procs, n_threads, n_objects, n_firings, ring_events;
};
extern struct agent_arena agent_arena;

enum { AGENT_WIPED, AGENT_CHECKING, AGENT_IN, AGENT_LOST };
/* One page, wiped by fork. Written by check-in and by a change of role; read by every pass. */
struct agent_page {
    _Atomic uint32_t state;
    uint32_t proc, ordinal; /* constant once IN */
    _Atomic uint32_t exited; /* the rules for `exit` have had their pass */
    _Atomic uint64_t who[AGENT_RULE_WORDS]; /* rules whose WHO this process is, as far as its slot tells */
    _Atomic uint32_t tid_by_call; /* the TID in libc's thread structure is not to be trusted */
};
extern struct agent_page *agent_page;

/* What a thread knows of itself. */
struct agent_self {
    uint32_t ordinal; /* of the process the slot was claimed in, 0 none */
    uint32_t slot; /* AGENT_NONE: none was left */
    uint32_t forking; /* ordinal of the child that is being made, 0 none: the child inherits it */
    uint32_t vforked; /* ordinal of the latest child that this thread has made by vfork, 0 none */
};
extern __thread struct agent_self agent_self __attribute__((tls_model("initial-exec")));

struct agent_here { /* the thread that passes */
    struct wedge_arena_proc *proc;
    struct wedge_arena_thread *thread; /* NULL: no slot was left */
    uint32_t proc_slot, thread_slot;
};
/* Finds, or makes, the slots of the calling process and thread. False: pass through. */
bool agent_find_here(struct agent_here *ret);

/* state.c and birth.c */
/* Once, from the constructor. `slot`: that the parent has claimed for us, AGENT_NONE none named. */
void agent_check_in_image(uint32_t slot);
void agent_before_fork(struct agent_here *here); /* gives the child its ordinal */
void agent_after_fork(bool child);
uint32_t agent_claim_thread(uint32_t proc_slot, uint32_t creator, uint32_t nth); /* not yet announced; AGENT_NONE */
void agent_announce_thread(uint32_t slot); /* by the thread itself */
void agent_end_thread(void); /* the calling thread is about to end: others may have its slot */
void agent_abandon_thread(uint32_t slot); /* claimed, never announced */
void agent_match_process(const struct agent_here *here); /* fills agent_page->who */
void agent_before_vfork(const struct agent_here *here);
/* An exec by this process, or by a vfork child, which gets its slot here. Returns the slot, AGENT_NONE none. */
uint32_t agent_before_exec(const struct agent_here *here, enum wedge_birth_why why, const char *path);
void agent_exec_failed(const struct agent_here *here, uint32_t slot);
/* A child is about to be born inside libc, and with another program. `named`: it will be told its slot. */
uint32_t agent_before_spawn(const struct agent_here *here, enum wedge_birth_why why, const char *path, bool named);
void agent_after_spawn(uint32_t slot, int32_t pid); /* pid 0: not known; below: there is no child */
/* On its parent's memory the caller may not act in its parent's name. */
bool agent_is_vfork_child(const struct agent_here *here);

/* define.c: roles */
void agent_take_role(struct wedge_arena_proc *proc, const char *name, uint32_t index, uint32_t generation);
void agent_note_program(void); /* once, from the constructor */
void agent_define_process(const struct agent_here *here); /* by check-in: may give the process a role */

/* exec.c: what a new program is given */
extern char agent_arena_path[64]; /* by which it was opened */
void agent_note_environ(const char *arena, const char *preload); /* once, from the constructor: our own variables */
enum { AGENT_EXEC_ENTRIES = 1024, AGENT_EXEC_TEXT = 1024 };
struct agent_exec {
    enum wedge_birth_why why; /* the agent will not be there */
    size_t entries; /* that agent_exec_fill needs, with the NULL; 0: the environment serves as it is */
    char *const *env; /* as it was given, not NULL */
    const char *path; /* of the program, as far as it was found */
    bool set_preload, set_arena;
    char preload[AGENT_EXEC_TEXT], arena[128], found[AGENT_EXEC_TEXT];
};
/* Judges the program and the environment it shall have. `fd` and `path`: as of execveat(2); `search`: as execvp does.
 * `told`: the environment shall name a slot, so that it is filled anew. Reads files: only before an exec or spawn. */
void agent_exec_judge(struct agent_exec *ret, int fd, const char *path, bool search, char *const *env, bool told);
/* The environment into `room`, with our variables; `slot` AGENT_NONE: none is named. */
void agent_exec_fill(struct agent_exec *exec, uint32_t slot, char **room);

/* record.c: what the detector reads */
void agent_event(const struct agent_here *here, struct wedge_arena_event *event); /* fills tid, pid, when */
void agent_event_amend(uint64_t order, uint64_t arg); /* what became known of a firing afterwards */
struct wedge_arena_wait *agent_wait_begin(const struct agent_here *here, const struct wedge_arena_wait *what);
void agent_wait_end(struct wedge_arena_wait *wait); /* takes NULL */
uint64_t agent_now_ns(void); /* CLOCK_MONOTONIC, by the time-stamp counter where that can be trusted */
/* Ends what this thread has left behind: holds that it was cancelled in, or left by siglongjmp. */
void agent_wait_check(const struct agent_here *here);
void agent_wait_left(struct wedge_arena_thread *thread); /* all of them: the thread ends */
extern __thread uintptr_t agent_wait_frames[2]
    __attribute__((tls_model("initial-exec"))); /* of holds, by level; 0 none */
struct wedge_arena_wait *agent_wait_annotated(const struct agent_here *here); /* the one in progress, NULL none */

/* rule.c */
void agent_rules_prepare(void); /* in the constructor: what can be worked out once */
uint64_t agent_rule_luck(uint32_t rule); /* that of the seed and the rule, after that */
enum agent_answer_kind {
    AGENT_ANSWER_NONE,
    AGENT_ANSWER_ERRNO,
    AGENT_ANSWER_RETURN,
    AGENT_ANSWER_DROP,
    AGENT_ANSWER_SHORT,
    AGENT_ANSWER_SPURIOUS,
    AGENT_ANSWER_FULL,
    AGENT_ANSWER_EMPTY,
    AGENT_ANSWER_CORRUPT,
};
struct agent_site { /* what is passed */
    uint32_t name; /* index in NAMES, 0 none */
    uint64_t object; /* address or number it is about, 0 none */
    uint64_t caller;
    const uint64_t *args; /* of a call, `n_args` of them, sign-extended; valid while the wrapper runs */
    unsigned n_args;
    unsigned path; /* the argument that is a path, from 1; 0 none */
    enum wedge_object_kind kind; /* of `object` */
    uint64_t counted; /* the hit was counted already, as this one: quick.h; 0 no */
    uint32_t row; /* of `object` in OBJECTS + 1, once looked up; see agent_site_object */
    bool asks; /* an answer can be given */
    bool after; /* the effect has happened */
    bool cancels; /* the call is a cancellation point */
    enum agent_answer_kind answer; /* given by the first rule that fired with one */
    int64_t value;
    uint64_t order; /* CORRUPT: of the firing */
};
/* Counts a hit of each of `rules` (a bit set) that this process is WHO of, and lets those act that fire. May not
 * return (kill, exit), may block (delay, block, yield). */
void agent_hit(const struct agent_here *here, const uint64_t rules[AGENT_RULE_WORDS], struct agent_site *site);
void agent_rules_at_place(uint32_t name, uint64_t ret_rules[AGENT_RULE_WORDS]);
void agent_rules_for_life(enum wedge_rule_what what, bool by_role, uint64_t ret_rules[AGENT_RULE_WORDS]);
bool agent_condition(const struct wedge_rule_when *when);
void agent_announce(void); /* something that a `yield` may wait for has happened */
void agent_life(const struct agent_here *here, enum wedge_rule_what what, bool by_role); /* start, exit */
void agent_born(const struct agent_here *here); /* rules for `start`, of a process or an image */
void agent_exit(void); /* rules for `exit`, once per process */

/* thread=: the name of the calling thread, whose slot this is; and that this thread, or another one, has a new one. */
void agent_note_name(struct wedge_arena_thread *thread);
void agent_name_changed(bool own);

/* hold.c */
void agent_hold(const struct agent_here *here, uint32_t rule, uint64_t deadline_ns, const struct wedge_rule_when *until,
                const struct agent_site *site);
/* As long as `holds` names a rule; it is asked anew after each sleep, and where it `looks` for itself every
 * AGENT_SHUT_END_NS. `ends`: any handler ends it, as one does a poll, not only one without SA_RESTART. */
struct agent_until {
    uint64_t ns; /* UINT64_MAX: none */
    clockid_t clock;
};
enum agent_hold_end { AGENT_HOLD_RELEASED, AGENT_HOLD_TIMED_OUT, AGENT_HOLD_INTERRUPTED };
enum agent_hold_end agent_hold_while(const struct agent_here *here, const struct agent_site *site,
                                     uint32_t (*holds)(const void *), const void *arg, const struct agent_until *until,
                                     bool looks, bool ends);
void agent_quiesce(void);

/* cancel.c */
extern const bool agent_cancels[WEDGE_FN_COUNT];

/* place.c */
void agent_arm_places(void);

/* call.c: the record of calls */
struct agent_call;
void agent_note_alarm(const struct agent_here *here); /* before the call */
void agent_miss_alarm(void); /* the same where nobody is known yet: noted with the next check-in */
void agent_note_missed_alarm(struct wedge_arena_proc *proc);
extern uint8_t agent_recorded[WEDGE_FN_COUNT]; /* how; 0: not */
void agent_record_watch(uint64_t functions[WEDGE_RULE_FUNCTIONS_WORDS]); /* adds those that are to be recorded */
void agent_record_before(struct agent_call *call); /* the effect is about to happen */
void agent_record_after(struct agent_call *call, int64_t result);

/* census.c */
extern bool agent_census;
void agent_census_begin(void); /* once, from the constructor */
void agent_census_modules(void); /* something was loaded */
/* `what`: see struct wedge_arena_census. */
void agent_census_count(const struct agent_here *here, uint32_t what, bool with_role, struct agent_site *site);

/* wrap.c */
extern _Atomic uint64_t agent_armed[WEDGE_RULE_FUNCTIONS_WORDS]; /* functions that a rule names */
extern uint64_t agent_function_rules[WEDGE_FN_COUNT][AGENT_RULE_WORDS]; /* that act before the effect */
extern uint64_t agent_function_rules_after[WEDGE_FN_COUNT][AGENT_RULE_WORDS];
void agent_arm_functions(void);
void agent_unreachable_library(void); /* one is loaded whose calls do not come to the wrappers */
void agent_resolve(void); /* finds the real functions; idempotent */
extern void (*agent_gcov_dump)(void); /* of a coverage build of the target, NULL none */

struct agent_call {
    struct agent_here here;
    struct agent_site site;
    enum wedge_function function;
    bool known; /* here is filled */
    bool recorded; /* agent_record_before was called, agent_record_after is to be */
    struct wedge_arena_wait *wait;
    struct wedge_arena_hold *hold;
    uint64_t began_ns;
};
static inline bool agent_is_armed(enum wedge_function function)
{
    return atomic_load_explicit(&agent_armed[function / 64], memory_order_relaxed) >> (function % 64) & 1;
}
/* Before the effect. True: the call is answered, return agent_result. An answer `short` is left to the wrapper. `args`
 * must stay valid until agent_leave. */
bool agent_enter(struct agent_call *call, enum wedge_function function, void *caller, uint64_t object,
                 const uint64_t *args, unsigned n_args);
/* The same where agent_quick_pass was asked first. */
bool agent_enter_counted(struct agent_call *call, enum wedge_function function, void *caller, uint64_t object,
                         const uint64_t *args, unsigned n_args, uint64_t counted);
int64_t agent_result(const struct agent_call *call, int64_t dropped);
/* The words of an argument list of at most eight, for agent_site.args, and how many they are. */
#define AGENT_WORD(x)                                 ((uint64_t)(uintptr_t)(x))
#define AGENT_WORDS(...)                              AGENT_PICK(0, ##__VA_ARGS__, W8, W7, W6, W5, W4, W3, W2, W1, W0, 0)(__VA_ARGS__)
#define AGENT_COUNT(...)                              AGENT_PICK(0, ##__VA_ARGS__, N8, N7, N6, N5, N4, N3, N2, N1, N0, 0)
#define AGENT_PICK(z, a, b, c, d, e, f, g, h, n, ...) AGENT_##n
#define AGENT_N0                                      0
#define AGENT_N1                                      1
#define AGENT_N2                                      2
#define AGENT_N3                                      3
#define AGENT_N4                                      4
#define AGENT_N5                                      5
#define AGENT_N6                                      6
#define AGENT_N7                                      7
#define AGENT_N8                                      8
#define AGENT_W0()                                    0
#define AGENT_W1(a)                                   AGENT_WORD(a)
#define AGENT_W2(a, ...)                              AGENT_WORD(a), AGENT_W1(__VA_ARGS__)
#define AGENT_W3(a, ...)                              AGENT_WORD(a), AGENT_W2(__VA_ARGS__)
#define AGENT_W4(a, ...)                              AGENT_WORD(a), AGENT_W3(__VA_ARGS__)
#define AGENT_W5(a, ...)                              AGENT_WORD(a), AGENT_W4(__VA_ARGS__)
#define AGENT_W6(a, ...)                              AGENT_WORD(a), AGENT_W5(__VA_ARGS__)
#define AGENT_W7(a, ...)                              AGENT_WORD(a), AGENT_W6(__VA_ARGS__)
#define AGENT_W8(a, ...)                              AGENT_WORD(a), AGENT_W7(__VA_ARGS__)
/* After it: returns what the call shall return. */
int64_t agent_leave(struct agent_call *call, int64_t result);

/* falsify.c: spurious and corrupt */
bool agent_is_wait(const struct agent_site *site); /* of a raw system call: does it wait as a futex does? */
/* Makes the call instead of its wrapper, where that is what the answer means, and answers with what it gave. */
void agent_falsify(struct agent_call *call);
void agent_falsify_taken(struct agent_call *call, int64_t result); /* after the effect */

#endif
