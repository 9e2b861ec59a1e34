/*
 * The inside of a session (scenarios/session.h), shared by its files alone:
 *
 *   session.c          the loop: what is waited for, signals, pauses of the machine
 *   session_start.c    the arena, the copiers of output, the command
 *   session_tree.c     who belongs to it: listed, sampled, reaped, killed
 *   session_examine.c  when an examination is made, and that it may fail
 *   session_judge.c    what a report means: reported, acted upon, or waited for
 *   session_end.c      the outcome
 *
 * One thread; every function but wedge_session_run takes the state of the one session that runs.
 */
#ifndef WEDGE_SCENARIOS_SESSION_STATE_H
#define WEDGE_SCENARIOS_SESSION_STATE_H

#include <signal.h>

#include "base/arena.h"
#include "base/clock.h"
#include "faults/ended.h"
#include "reports/report.h"
#include "scenarios/absent.h"
#include "scenarios/guard.h"
#include "scenarios/quiet.h"
#include "scenarios/session.h"
#include "scenarios/tee.h"
#include "scenarios/tree.h"

enum { WEDGE_SESSION_OWN = 4 }; /* wedge's own processes at most */

struct wedge_session_state {
    const struct wedge_session *s;
    struct wedge_err *err;
    struct wedge_arena arena;
    bool agent; /* the arena is there and the command was given the agent */
    struct wedge_tee tees[2];
    pid_t root;
    struct wedge_guard guard; /* of session->end_all */
    int pidfd, sigfd;
    struct wedge_ended *who_ended; /* for the plan's ended(); NULL it has none */
    sigset_t old_mask; /* wedge's own, as it was */
    sigset_t command_mask;
    bool ended;
    int wstatus;
    int64_t began_ns, began_unix_ms, stall_ns;
    struct wedge_quiet quiet;
    int64_t self_cpu_ns; /* of this process, up to which the quiet one has been told */
    struct wedge_tree tree; /* as it was last listed */
    bool listed, stale; /* somebody ran since then */
    unsigned long listed_born; /* the last number given to a process before a list that nobody ran beside; 0 none */
    uint64_t figure;
    struct wedge_history *history; /* of the examinations so far */
    /* A hang that is not acted upon at once has to last for the stall time. */
    char lasting[80]; /* its signature */
    int64_t lasting_since_ns;
    char reported[80]; /* signature of the last part reported */
    char acted[80]; /* and of the last part acted upon */
    int64_t ripe_at_ns; /* when what is to be acted upon will have lasted, so that it is looked at then; 0 nothing */
    int64_t awake_ns; /* when a pause was last looked for; since then nothing was done that takes long */
    int64_t ahead_ns; /* CLOCK_BOOTTIME less CLOCK_MONOTONIC: grows while the machine is suspended */
    int failed; /* examinations, for a reason that may pass */
    bool examined, unseen; /* an examination succeeded; one failed, and that was said */
    struct wedge_absent absent; /* processes without the agent */
    int64_t look_at_ns; /* when the tree is looked through for them */
    struct wedge_outcome *out;
    bool done;
};

/* Tells whoever ran the session what it does. */
void wedge_session_note(const struct wedge_session_state *st, const char *text);

/* wedge's own processes; itself stands last. */
size_t wedge_session_own_pids(const struct wedge_session_state *st, pid_t pids[WEDGE_SESSION_OWN]);
/* The tree: what descends from wedge itself (it is the subreaper), or from the process attached to. -errno. */
int wedge_session_list_tree(const struct wedge_session_state *st, struct wedge_tree *tree);
/* A figure that changes when anything of the tree moves; st->tree is listed anew when it has to be. -errno. */
int wedge_session_sample(struct wedge_session_state *st, uint64_t *ret);
/* Reaps re-parented descendants; the root's status is kept. */
void wedge_session_reap(struct wedge_session_state *st);
/* Ends the tree, and reaps what was ours. Returns how many remain. */
size_t wedge_session_kill_tree(struct wedge_session_state *st);
/* Who of the tree is not under the agent. `listed` NULL: the tree is listed here. It is looked through when it is time. */
void wedge_session_look_for_absent(struct wedge_session_state *st, const struct wedge_tree *listed, bool last);

/* Starts the command; st->out->exec_errno says that it cannot be executed. 0, or -errno with *st->err set. */
int wedge_session_start(struct wedge_session_state *st);
/* Takes hold of the command, or of the process attached to. 0, or -errno with *st->err set. */
int wedge_session_attach(struct wedge_session_state *st);

/* The time. A pause of everything until now was noticed, before anybody judges by it how long something stood still. */
int64_t wedge_session_now(struct wedge_session_state *st);
/* Samples the tree and, when it pays, examines it. 0, or -errno: the session cannot go on. */
int wedge_session_tick(struct wedge_session_state *st);
/* The limit: a last examination, with every stack, and the end. */
int wedge_session_limit_passed(struct wedge_session_state *st);
/* Of whom stacks are taken: of who takes part in a hang, unless that ends a wait; of who takes part; of all. */
enum wedge_session_stacks { WEDGE_SESSION_GENTLE, WEDGE_SESSION_PARTIES, WEDGE_SESSION_ALL };
/* Examines. `stalled`: for how long nothing moved, 0 not known. -errno. */
int wedge_session_examine(struct wedge_session_state *st, int64_t stalled, enum wedge_session_stacks of, json_t **ret);

/* What an examination means. Takes the report over. */
void wedge_session_judge(struct wedge_session_state *st, json_t *report, bool stalled, int64_t now);
/* A hang that is acted upon, or the limit: report, then what was asked for. Takes the report over. */
void wedge_session_finish(struct wedge_session_state *st, enum wedge_session_end end, const struct wedge_act *what,
                          json_t *report);

/* What `run` points to stays until the next call. -ENOMEM: nothing is said of how far the plan reached. */
int wedge_session_fill_run(struct wedge_session_state *st, struct wedge_report_run *run, char *tail);
/* The last output of both streams, standard error last; NULL no memory. The caller frees it. */
char *wedge_session_output_tail(const struct wedge_session_state *st);
/* The outcome of a session whose loop has ended: what remains of the command is ended where it is to be. -errno. */
int wedge_session_close_books(struct wedge_session_state *st);

#endif
