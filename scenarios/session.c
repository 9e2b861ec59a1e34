/*
 * The session's loop: a pidfd for the end of the command, a signalfd for what is sent to wedge, and a timer by which
 * the tree is sampled (quiet.h) and, when it pays, examined in a disposable child (reports/examine.h).
 */
#include "scenarios/session.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "faults/control.h"
#include "faults/launch.h"
#include "reports/examine.h"
#include "reports/report.h"
#include "scenarios/absent.h"
#include "scenarios/guard.h"
#include "scenarios/launch.h"
#include "scenarios/quiet.h"
#include "scenarios/reach.h"
#include "scenarios/tee.h"
#include "scenarios/tree.h"
#include "scenarios/verdict.h"

enum {
    EXAMINE_DEADLINE_MS = 10000,
    KILL_ROUNDS = 500,
    KILL_EMPTY = 3,
    MOST_FAILED = 3,
    DRAIN_MS = 2000,
    OUTPUT_TAIL_BYTES = 8192
};
/* Slots of 256 processes, half of them free at the beginning: enough for more than 6,000 new processes a second. */
#define RECYCLE_NS       (20 * WEDGE_NS_PER_MS)
#define PAUSE_NS         WEDGE_NS_PER_S /* longer than any timer is late on a busy machine */
#define KILL_NS          (10 * WEDGE_NS_PER_S)
#define ABSENT_NS        (250 * WEDGE_NS_PER_MS) /* between looks at the tree where nothing else looks at it */
#define DEFAULT_STALL_NS (30 * WEDGE_NS_PER_S)

struct state {
    const struct wedge_session *s;
    struct wedge_err *err;
    struct wedge_arena arena;
    bool agent; /* the arena is there and the command was given the agent */
    struct wedge_tee tees[2];
    pid_t root;
    struct wedge_guard guard; /* of session->end_all */
    int pidfd, sigfd;
    sigset_t old_mask;
    bool ended;
    int wstatus;
    int64_t began_ns, began_unix_ms, stall_ns;
    struct wedge_quiet quiet;
    struct wedge_tree tree; /* as it was last listed */
    bool listed, stale; /* somebody ran since then */
    uint64_t figure;
    struct wedge_history *history; /* of the examinations so far */
    /* A hang that is not acted upon at once has to last for the stall time. */
    char lasting[80]; /* its signature */
    int64_t lasting_since_ns;
    char reported[80]; /* signature of the last part reported */
    char acted[80]; /* and of the last part acted upon */
    int64_t ripe_at_ns; /* when what is to be acted upon will have lasted, so that it is looked at then; 0 nothing */
    int64_t ahead_ns; /* CLOCK_BOOTTIME less CLOCK_MONOTONIC: grows while the machine is suspended */
    int failed; /* examinations, for a reason that may pass */
    bool examined, unseen; /* an examination succeeded; one failed, and that was said */
    struct wedge_absent absent; /* processes without the agent */
    int64_t look_at_ns; /* when the tree is looked through for them */
    struct wedge_outcome *out;
    bool done;
};

static void note(const struct state *st, const char *text)
{
    if (st->s->on_note)
        st->s->on_note(st->s->arg, text);
}

enum { OWN = 4 }; /* wedge's own processes; itself stands last */
static size_t own_pids(const struct state *st, pid_t pids[OWN])
{
    size_t n = 0;
    for (int i = 0; i < 2; i++)
        if (st->tees[i].pid)
            pids[n++] = st->tees[i].pid;
    if (st->guard.pid > 0)
        pids[n++] = st->guard.pid;
    pids[n++] = getpid();
    return n;
}

/* The tree: what descends from wedge itself (it is the subreaper), or from the process attached to. */
static int list_tree(const struct state *st, struct wedge_tree *tree)
{
    pid_t own[OWN];
    size_t n = own_pids(st, own);
    if (st->s->attach) /* wedge may run below the process that it was told to watch: `wedge watch -p $$` */
        return wedge_tree_list(st->root, true, own, n, tree);
    return wedge_tree_list(getpid(), false, own, n - 1, tree);
}

/* Reaps re-parented descendants; the root's status is kept. */
static void reap(struct state *st)
{
    if (st->s->attach)
        return;
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == 0)
            return;
        int wstatus;
        if (waitpid(info.si_pid, &wstatus, 0) != info.si_pid)
            return;
        for (int i = 0; i < 2; i++)
            if (st->tees[i].pid == info.si_pid)
                st->tees[i].pid = 0;
        if (info.si_pid == st->guard.pid)
            st->guard.pid = 0;
        if (info.si_pid == st->root) {
            st->ended = true;
            st->wstatus = wstatus;
        }
    }
}

/* Ends the tree, and reaps what was ours. A tree that forks on is gone only when it was found empty again and again: one
 * process that forks and exits all the time is in hardly any list. */
static size_t kill_tree(struct state *st)
{
    pid_t own[OWN];
    size_t n = own_pids(st, own), left = 1;
    int64_t until_ns = wedge_clock_ns() + KILL_NS;
    if (st->s->attach)
        return wedge_tree_kill(st->root, true, own, n, KILL_ROUNDS);
    for (int empty = 0; empty < KILL_EMPTY && wedge_clock_ns() < until_ns;) {
        for (size_t alive = 1, tries = 0; alive && wedge_clock_ns() < until_ns; tries++) {
            alive = wedge_tree_kill_children(own, n - 1);
            reap(st);
            if (tries > KILL_ROUNDS) /* what does not die of it at once is not one that forks */
                nanosleep(&(struct timespec){.tv_nsec = WEDGE_NS_PER_MS}, NULL);
        }
        left = wedge_tree_kill(getpid(), false, own, n - 1, 1);
        reap(st);
        empty = left ? 0 : empty + 1;
    }
    return left;
}

static int prepare_agent(struct state *st, char ***ret_env)
{
    const struct wedge_session *s = st->s;
    int rc = wedge_arena_create(&st->arena, s->arena_bytes, s->plan ? wedge_plan_seed(s->plan) : 0, st->err);
    if (rc)
        return rc;
    rc = s->plan ? wedge_plan_install(s->plan, &st->arena, st->err) : 0;
    if (!rc && s->disarm)
        rc = wedge_control_disarm(&st->arena, s->disarm, st->err);
    struct wedge_arena_control *control = wedge_arena_live(&st->arena, WEDGE_SEC_CONTROL, 0);
    control->record = s->record;
    control->census = s->census;
    bool looked = !rc; /* at the command */
    if (!rc)
        rc = wedge_faults_environ(&st->arena, s->argv[0], ret_env, st->err);
    if (!rc) {
        st->agent = true;
        return 0;
    }
    wedge_arena_destroy(&st->arena);
    st->arena = (struct wedge_arena){.fd = -1};
    if (looked &&
        (rc == -ENOENT || rc == -EACCES || rc == -ENOEXEC)) { /* the command's fault, not the agent's: -ELIBACC */
        st->out->exec_errno = -rc;
        return 0;
    }
    if (!s->agent_optional || s->plan)
        return rc;
    char text[1200];
    note(st, wedge_err_text(st->err, text, sizeof(text)));
    return 0;
}

/* Who of the tree is not under the agent. `listed` NULL: the tree is listed here. It is looked through when it is time. */
static void look_for_absent(struct state *st, const struct wedge_tree *listed, bool last)
{
    struct wedge_tree tree;
    int64_t now = wedge_clock_ns();
    if (!st->agent)
        return;
    bool due = last || now >= st->look_at_ns;
    bool own = due && !listed && list_tree(st, &tree) == 0;
    if (due)
        st->look_at_ns = now + ABSENT_NS;
    wedge_absent_look(&st->absent, &st->arena, own ? &tree : due ? listed : NULL, last);
    if (own)
        wedge_tree_free(&tree);
}

/* Puts copiers between the command and where its streams go. One does for both where they go to the same place. */
static int start_tees(struct state *st, int fds[2])
{
    const int to[2] = {fds[0] >= 0 ? fds[0] : STDOUT_FILENO, fds[1] >= 0 ? fds[1] : STDERR_FILENO};
    int rc = 0;
    for (int i = 0; i < 2 && !rc; i++) {
        if (i == 1 && st->tees[0].ring && wedge_tee_is_same(to[0], to[1]))
            fds[1] = st->tees[0].input;
        else if (wedge_tee_is_open(to[i]) && !(rc = wedge_tee_start(&st->tees[i], to[i], st->err)))
            fds[i] = st->tees[i].input;
    }
    return rc;
}

/* The run's mark, by which a daemon that has left everything else is known to be of this run (detector/look/members.h). */
static void mark_environment(void)
{
    uint64_t nonce = 0;
    char text[32];
    if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
        nonce = (uint64_t)wedge_clock_ns();
    snprintf(text, sizeof(text), "%016" PRIx64, nonce);
    setenv("WEDGE_RUN", text, 1);
}

static int start_command(struct state *st)
{
    const struct wedge_session *s = st->s;
    char **env = NULL;
    int fds[2] = {s->stdout_fd, s->stderr_fd}, rc = 0;
    mark_environment();
    if (s->agent && ((rc = prepare_agent(st, &env)) || st->out->exec_errno))
        return rc;
    if (!rc && s->copy_output)
        rc = start_tees(st, fds);
    if (!rc) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (s->end_all) /* without it all is as well, as long as nobody kills wedge */
            wedge_guard_start(&st->guard, getenv("WEDGE_RUN"));
        st->root = wedge_launch(s->argv, env, -1, fds[0], fds[1], &st->old_mask, &st->out->exec_errno);
        if (st->root < 0)
            rc = wedge_err_set(st->err, st->root, "cannot start %s: %s", s->argv[0], strerror(-st->root));
        else if (!st->out->exec_errno)
            wedge_guard_root(&st->guard, st->root);
    }
    for (int i = 0; i < 2 && s->copy_output; i++)
        if (st->tees[i].ring)
            close(st->tees[i].input);
    wedge_faults_environ_free(env);
    return rc;
}

static uint64_t progress_marks(const struct state *st)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; st->agent && i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *t = wedge_arena_live(&st->arena, WEDGE_SEC_THREADS, i);
        sum += atomic_load_explicit(&t->progress, memory_order_relaxed);
    }
    return sum;
}

/* For how long nothing moved, by the marks where the program has any; else, and only when the user gave a stall time,
 * by its output and its CPU time. */
static int64_t stalled_ns(struct state *st, const struct wedge_tree *tree, int64_t now)
{
    uint64_t marks = progress_marks(st);
    if (!marks && !st->s->stall_given)
        return 0;
    if (marks)
        return wedge_quiet_stalled_ns(&st->quiet, now, marks, 0);
    uint64_t bytes = wedge_tee_bytes(&st->tees[0]) + wedge_tee_bytes(&st->tees[1]);
    return wedge_quiet_stalled_ns(&st->quiet, now, bytes, wedge_tree_cpu_ns(tree));
}

/* What `run` points to stays until the next call. -ENOMEM: nothing is said of how far the plan reached. */
static int fill_run(struct state *st, struct wedge_report_run *run, char *tail)
{
    const struct wedge_session *s = st->s;
    struct wedge_reach *reach = &st->out->reach;
    int rc = wedge_reach_fill(reach, st->agent ? &st->arena : NULL, s->plan, &st->absent,
                              st->ended && st->out->end == WEDGE_ENDED);
    *run = (struct wedge_report_run){.verb = s->verb,
                                     .scenario = s->scenario,
                                     .command = s->argv,
                                     .started_ns = st->began_ns,
                                     .started_unix_ms = st->began_unix_ms,
                                     .duration_ms = (wedge_clock_ns() - st->began_ns) / WEDGE_NS_PER_MS,
                                     .seed = s->plan ? wedge_plan_seed(s->plan) : 0,
                                     .exit_status = st->out->exit_status,
                                     .signal = st->out->signal,
                                     .exec_errno = st->out->exec_errno,
                                     .output_tail = tail,
                                     .agent = st->agent,
                                     .injection = st->agent && !rc ? &reach->report : NULL};
    return rc;
}

/* The last output of both streams, standard error last. */
static char *output_tail(const struct state *st)
{
    char *both = malloc(2 * OUTPUT_TAIL_BYTES);
    if (!both)
        return NULL;
    both[0] = 0;
    size_t len = 0;
    for (int i = 0; i < 2; i++)
        if (st->tees[i].ring)
            len += strlen(wedge_tee_tail(&st->tees[i], both + len, OUTPUT_TAIL_BYTES));
    return both;
}

static int examine(struct state *st, int64_t stalled, bool always, json_t **ret)
{
    pid_t own[OWN];
    struct wedge_arena_copy copy = {0};
    struct wedge_report_run run;
    struct wedge_examine options = {.root = st->root,
                                    .blind = own,
                                    .n_blind = own_pids(st, own),
                                    .stacks = always ? WEDGE_STACKS_ALWAYS : WEDGE_STACKS_ON_HANG,
                                    .brief = !always,
                                    .history = st->history,
                                    .patience_ns = st->stall_ns,
                                    .stalled = stalled > 0,
                                    .stalled_ns = stalled};
    int rc = 0;
    if (st->agent) { /* copied by the examination itself, at the right moment */
        options.arena = &copy;
        options.live = &st->arena;
    }
    if (!rc)
        rc = wedge_report_examine(&options, EXAMINE_DEADLINE_MS, ret, st->err);
    if (st->agent)
        wedge_arena_copy_free(&copy);
    if (rc)
        return rc;
    char *tail = output_tail(st);
    fill_run(st, &run, tail);
    rc = wedge_report_set_run(*ret, &run);
    free(tail);
    return rc;
}

/* When the last rule fired, 0 none did. */
static int64_t last_fired_ns(const struct state *st)
{
    struct wedge_arena_copy copy;
    int64_t last = 0;
    if (!st->agent || wedge_arena_copy(&st->arena, false, &copy, NULL))
        return 0;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_FIRINGS); i++) {
        const struct wedge_arena_event *e = wedge_arena_firing(&copy, i);
        if (e && (int64_t)e->when_ns > last)
            last = (int64_t)e->when_ns;
    }
    wedge_arena_copy_free(&copy);
    return last;
}

static void take_report(struct state *st, json_t *report)
{
    json_decref(st->out->report);
    st->out->report = report;
}

/* What was asked for beside the report: before anything is killed. */
static void act(struct state *st, const struct wedge_act *what, const json_t *report)
{
    struct wedge_headline h = wedge_headline(report);
    struct wedge_tree tree = {0};
    struct wedge_act_scene scene = {.tree = &tree,
                                    .dir = st->s->dir ? st->s->dir : ".",
                                    .root = st->root,
                                    .kind = h.kind,
                                    .scope = h.scope,
                                    .mask = &st->old_mask,
                                    .on_note = st->s->on_note,
                                    .arg = st->s->arg};
    if (what->core && list_tree(st, &tree) == 0)
        wedge_act_cores(&scene);
    wedge_tree_free(&tree);
    if (what->command)
        wedge_act_command(&scene, what->command);
    if (what->kill) {
        st->out->still_alive = kill_tree(st);
    }
}

/* Before a tree is killed all of it is recorded, with every stack. A hang of the whole that is proved was looked at
 * so from the beginning (detector/examine.c); of another one this is a second look, believed if it says the same. */
static json_t *record_all(struct state *st, json_t *report)
{
    struct wedge_headline h = wedge_headline(report);
    json_t *full = NULL;
    if ((h.whole && h.proved) || examine(st, 0, true, &full))
        return report;
    struct wedge_headline again = wedge_headline(full);
    bool same = strcmp(again.kind, h.kind) == 0 && strcmp(again.signature, h.signature) == 0;
    json_decref(same ? report : full);
    return same ? full : report;
}

/* A hang that is acted upon, or the limit: report, then what was asked for. A command that we launched and are not
 * to end is waited for; of a process that we attached to nothing more is wanted. */
static void finish(struct state *st, enum wedge_session_end end, const struct wedge_act *what, json_t *report)
{
    if (what->kill && end == WEDGE_HUNG)
        report = record_all(st, report);
    int64_t fired = last_fired_ns(st);
    if (fired)
        st->out->verdict_after_fault_ns = wedge_clock_ns() - fired;
    st->out->end = end;
    take_report(st, report);
    if (st->s->on_report)
        st->s->on_report(st->s->arg, report, true);
    look_for_absent(st, NULL, true);
    act(st, what, report);
    st->done = what->kill || st->s->attach;
}

static bool lasted(struct state *st, const struct wedge_headline *h, int64_t now)
{
    if (strcmp(st->lasting, h->signature) != 0) {
        snprintf(st->lasting, sizeof(st->lasting), "%s", h->signature);
        st->lasting_since_ns = now;
    }
    return now - st->lasting_since_ns >= st->stall_ns;
}

/* A proved hang of a part that has lasted: once, unless its words change. */
static bool act_on_part(struct state *st, const struct wedge_headline *h, json_t *report)
{
    const struct wedge_act *what = &st->s->on_part;
    if ((!what->core && !what->kill && !what->command) || strcmp(st->acted, h->signature) == 0)
        return false;
    snprintf(st->acted, sizeof(st->acted), "%s", h->signature);
    if (what->kill)
        finish(st, WEDGE_HUNG, what, report);
    else
        act(st, what, report);
    return what->kill;
}

/* What an examination means. Takes the report over. */
static void judge(struct state *st, json_t *report, bool stalled, int64_t now)
{
    struct wedge_headline h = wedge_headline(report);
    if (!h.hang) {
        st->lasting[0] = 0;
        st->ripe_at_ns = 0;
        if (st->out->end == WEDGE_HUNG) { /* it was reported, and dissolved after all */
            st->out->end = WEDGE_ENDED;
            take_report(st, NULL);
        }
        json_decref(report);
        return;
    }
    bool lasts = (!h.whole || !h.proved) && lasted(st, &h, now);
    bool waits = !lasts && (!h.whole || !h.proved);
    st->ripe_at_ns = waits ? st->lasting_since_ns + st->stall_ns : 0;
    bool evident = strcmp(h.certainty, "evident") == 0;
    if (h.whole && (h.proved || stalled || (lasts && evident && st->s->act_on_evident))) {
        if (st->out->end == WEDGE_HUNG)
            json_decref(report);
        else
            finish(st, WEDGE_HUNG, &st->s->on_hang, report);
        return;
    }
    /* What is not acted upon is reported once, unless its words change. */
    bool contention = strcmp(h.kind, "contention") == 0; /* has lasted, else it would not be said */
    bool worth = lasts || contention || (!h.whole && h.proved);
    if (worth && strcmp(st->reported, h.signature) != 0) {
        snprintf(st->reported, sizeof(st->reported), "%s", h.signature);
        take_report(st, json_incref(report));
        if (st->s->on_report)
            st->s->on_report(st->s->arg, report, false);
    }
    if (!h.whole && h.proved && lasts && act_on_part(st, &h, report))
        return;
    json_decref(report);
}

/* An examination that failed says nothing about the command: it goes on, and the next one may do better. A process
 * that was only attached to in order to be looked at is another matter. */
static int unexamined(struct state *st, int rc)
{
    char why[1200], text[1300];
    if (rc == -ESRCH) /* it ended meanwhile; the pidfd says so too */
        return 0;
    /* On a busy machine one may take too long; that the next one does as well is unlikely. */
    bool may_pass = (rc == -ETIMEDOUT || rc == -ECHILD) && ++st->failed < MOST_FAILED;
    if (st->s->attach && !st->examined && !may_pass)
        return rc;
    if (!st->unseen) {
        snprintf(text, sizeof(text), "the command runs on, but could not be examined: %s",
                 wedge_err_text(st->err, why, sizeof(why)));
        note(st, text);
    }
    st->unseen = true;
    return 0;
}

/* A figure that changes when anything of the tree moves. It is asked of the processes that are known: who is new has a
 * parent that ran, so that the tree is listed anew, which costs a look at the whole machine, only when those that ran
 * since the last list stand still again. */
static int sample_tree(struct state *st, uint64_t *ret)
{
    uint64_t figure = st->listed ? wedge_tree_activity(&st->tree) : 0;
    bool same = st->listed && figure == st->figure;
    if (!st->listed || (same && st->stale)) {
        struct wedge_tree tree;
        int rc = list_tree(st, &tree);
        if (rc)
            return rc;
        wedge_tree_free(&st->tree);
        st->tree = tree;
        /* Whoever ran while the list was made may have a child that is not in it. */
        uint64_t after = wedge_tree_activity(&st->tree);
        st->stale = !st->listed || after != figure;
        st->listed = true;
        figure = after;
    } else if (!same) {
        st->stale = true;
    }
    *ret = st->figure = figure;
    return 0;
}

/* CPU time of this process and of the children that it waited for. */
static int64_t own_cpu_ns(void)
{
    struct rusage self = {0}, children = {0};
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    return ((int64_t)self.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_utime.tv_sec +
            children.ru_stime.tv_sec) *
               WEDGE_NS_PER_S +
           ((int64_t)self.ru_utime.tv_usec + self.ru_stime.tv_usec + children.ru_utime.tv_usec +
            children.ru_stime.tv_usec) *
               1000;
}

static int tick(struct state *st)
{
    json_t *report;
    uint64_t figure;
    reap(st);
    if (st->ended || sample_tree(st, &figure))
        return 0;
    int64_t now = wedge_clock_ns();
    bool due = wedge_quiet_sample(&st->quiet, now, figure);
    int64_t stalled = stalled_ns(st, &st->tree, now);
    look_for_absent(st, st->stale ? NULL : &st->tree, false);
    bool is_stalled = stalled >= st->stall_ns, ripe = st->ripe_at_ns && now >= st->ripe_at_ns;
    if (!due && !ripe && !(is_stalled && now >= st->quiet.examine_at_ns))
        return 0;
    int64_t cpu_before = own_cpu_ns();
    int rc = examine(st, is_stalled ? stalled : 0, false, &report);
    wedge_quiet_examined(&st->quiet, now, wedge_clock_ns(), own_cpu_ns() - cpu_before);
    if (rc)
        return unexamined(st, rc);
    st->examined = true;
    judge(st, report, is_stalled, wedge_clock_ns());
    return 0;
}

static int64_t boot_ahead_ns(void)
{
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return (int64_t)boot.tv_sec * WEDGE_NS_PER_S + boot.tv_nsec - wedge_clock_ns();
}

/* A pause of everything is no hang: the machine was suspended (only CLOCK_BOOTTIME counts on), the virtual machine
 * stood still or wedge was starved of the processor (we overslept by far), or wedge was stopped (SIGCONT). */
static void mind_pause(struct state *st, int64_t overslept_ns, bool continued)
{
    int64_t ahead = boot_ahead_ns(), now = wedge_clock_ns();
    bool suspended = ahead - st->ahead_ns > PAUSE_NS;
    st->ahead_ns = ahead;
    if (!suspended && !continued && overslept_ns < PAUSE_NS)
        return;
    wedge_quiet_paused(&st->quiet, now);
    st->lasting_since_ns = now;
    st->ripe_at_ns = st->ripe_at_ns ? now + st->stall_ns : 0;
}

/* Signals sent to wedge are the command's: a terminal sends them to both already, kill(1) to us alone. */
static void take_signal(struct state *st, const struct signalfd_siginfo *info)
{
    int signo = (int)info->ssi_signo;
    if (signo == SIGCHLD) { /* an orphan of the command's, which is nobody's but ours to reap */
        reap(st);
        return;
    }
    bool from_terminal = info->ssi_code == SI_KERNEL;
    if (signo == SIGCONT) { /* whoever stopped us stopped the command, or did not: it is to go on as well */
        mind_pause(st, 0, true);
        if (!st->s->attach)
            kill(st->root, SIGCONT);
        return;
    }
    bool to_end = signo != SIGUSR1 && signo != SIGUSR2;
    st->out->interrupted_by = to_end ? signo : st->out->interrupted_by;
    /* Where the command is not the user's own to end gracefully, nor ours, there is nothing to wait for. */
    if (st->s->attach || (st->s->end_all && to_end)) {
        st->out->interrupted_by = signo;
        st->out->end = WEDGE_INTERRUPTED;
        st->done = true;
        return;
    }
    if (!from_terminal)
        kill(st->root, signo);
}

/* All that came: a SIGCONT behind another must be heard before anybody judges how long it was still. */
static void take_signals(struct state *st)
{
    struct signalfd_siginfo info;
    while (read(st->sigfd, &info, sizeof(info)) == sizeof(info))
        take_signal(st, &info);
}

static int limit_passed(struct state *st)
{
    json_t *report;
    struct wedge_report_run run;
    int64_t ran = wedge_clock_ns() - st->began_ns;
    int rc = examine(st, ran, true, &report);
    if (rc == -ESRCH)
        return 0;
    if (rc) {
        if ((rc = unexamined(st, rc)))
            return rc;
        char *tail = output_tail(st);
        fill_run(st, &run, tail);
        report = wedge_report_new(&run, NULL);
        free(tail);
        if (!report)
            return wedge_err_set(st->err, -ENOMEM, "no memory for the report");
    }
    finish(st, WEDGE_LIMIT, &st->s->on_hang, report);
    return 0;
}

static int loop(struct state *st)
{
    int rc = 0;
    int64_t looked_ns = wedge_clock_ns();
    while (!rc && !st->done && !st->ended) {
        struct pollfd fds[2] = {{.fd = st->pidfd, .events = POLLIN}, {.fd = st->sigfd, .events = POLLIN}};
        int64_t pause = st->s->detect ? st->quiet.tick_ns : st->agent ? RECYCLE_NS : WEDGE_NS_PER_S;
        if (!st->s->detect)
            look_for_absent(st, NULL, false);
        if (st->agent)
            wedge_arena_set_clock(&st->arena);
        if (st->agent && wedge_faults_recycle(&st->arena) > 0 && pause > RECYCLE_NS)
            pause = RECYCLE_NS; /* processes come and go fast */
        if (st->s->limit_ns && st->out->end != WEDGE_LIMIT) {
            int64_t left = st->began_ns + st->s->limit_ns - wedge_clock_ns();
            pause = left < pause ? (left > 0 ? left : 0) : pause;
        }
        int64_t asleep_ns = wedge_clock_ns();
        /* What wakes it in between, such as a child's end, is no reason to look earlier, nor later. */
        pause = looked_ns + pause > asleep_ns ? looked_ns + pause - asleep_ns : 0;
        int n = ppoll(fds, 2, &(struct timespec){.tv_sec = pause / WEDGE_NS_PER_S, .tv_nsec = pause % WEDGE_NS_PER_S},
                      NULL);
        if (n < 0 && errno != EINTR)
            return wedge_err_set(st->err, -errno, "cannot wait for the command: %s", strerror(errno));
        mind_pause(st, wedge_clock_ns() - asleep_ns - pause, false);
        if (n > 0 && fds[1].revents)
            take_signals(st);
        if (n > 0 && fds[0].revents) {
            reap(st);
            st->ended = true;
            break;
        }
        if (n > 0 && wedge_clock_ns() - asleep_ns < pause)
            continue;
        looked_ns = wedge_clock_ns();
        if (st->s->limit_ns && st->out->end != WEDGE_LIMIT && looked_ns - st->began_ns >= st->s->limit_ns)
            rc = limit_passed(st);
        else if (st->s->detect)
            rc = tick(st);
    }
    return rc;
}

static void take_status(struct state *st)
{
    struct wedge_outcome *out = st->out;
    if (!st->ended || st->s->attach)
        return;
    if (WIFEXITED(st->wstatus))
        out->exit_status = WEXITSTATUS(st->wstatus);
    if (WIFSIGNALED(st->wstatus))
        out->signal = WTERMSIG(st->wstatus);
}

/* The report of a command that ended by itself: its faults, from the agent's record. */
static json_t *report_of_the_end(const struct state *st, const struct wedge_report_run *run)
{
    struct wedge_arena_copy copy = {0};
    struct wedge_snapshot *recalled = NULL;
    if (st->agent && wedge_arena_copy(&st->arena, false, &copy, NULL) == 0)
        wedge_detector_recall(&copy, &recalled, NULL);
    json_t *report = wedge_report_new(run, recalled);
    wedge_snapshot_free(recalled);
    wedge_arena_copy_free(&copy);
    return report;
}

static int close_books(struct state *st)
{
    struct wedge_outcome *out = st->out;
    struct wedge_report_run run;
    take_status(st);
    if (out->end == WEDGE_ENDED)
        look_for_absent(st, NULL, true);
    if (st->s->end_all && !st->s->attach && st->root > 0) {
        out->still_alive = kill_tree(st);
    }
    int64_t until_ns = wedge_clock_ns() + DRAIN_MS * WEDGE_NS_PER_MS;
    for (int i = 0; i < 2; i++) {
        int64_t left_ms = (until_ns - wedge_clock_ns()) / WEDGE_NS_PER_MS;
        wedge_tee_drain(&st->tees[i], left_ms > 0 ? (int)left_ms : 0);
        out->output_error = out->output_error ? out->output_error : wedge_tee_error(&st->tees[i]);
    }
    out->duration_ns = wedge_clock_ns() - st->began_ns;
    out->output = output_tail(st);
    if (!out->output || fill_run(st, &run, out->output))
        return wedge_err_set(st->err, -ENOMEM, "no memory for the report");
    if (!out->report && !(out->report = report_of_the_end(st, &run)))
        return wedge_err_set(st->err, -ENOMEM, "no memory for the report");
    return out->end == WEDGE_ENDED ? wedge_report_set_run(out->report, &run) : 0;
}

static int open_fds(struct state *st)
{
    sigset_t taken;
    sigemptyset(&taken);
    const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGCHLD};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaddset(&taken, signals[i]);
    sigprocmask(SIG_BLOCK, &taken, &st->old_mask);
    st->sigfd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    return st->sigfd < 0 ? wedge_err_set(st->err, -errno, "cannot take signals: %s", strerror(errno)) : 0;
}

static int attach(struct state *st)
{
    if (st->s->attach)
        st->root = st->s->attach;
    st->pidfd = pidfd_open(st->root, 0);
    if (st->pidfd >= 0)
        return 0;
    wedge_err_set(st->err, -errno, "no process %d: %s", st->root, strerror(errno));
    return wedge_err_remedy(st->err, "`ps -e` shows the processes there are");
}

int wedge_session_run(const struct wedge_session *session, struct wedge_outcome *ret, struct wedge_err *err)
{
    struct timespec now;
    struct wedge_outcome out = {.end = WEDGE_ENDED, .exit_status = -1, .verdict_after_fault_ns = -1};
    struct state st = {.s = session, .err = err, .out = &out, .pidfd = -1, .sigfd = -1, .arena = {.fd = -1}};
    clock_gettime(CLOCK_REALTIME, &now);
    st.began_ns = wedge_clock_ns();
    st.began_unix_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / WEDGE_NS_PER_MS;
    st.stall_ns = session->stall_ns ? session->stall_ns : DEFAULT_STALL_NS;
    st.ahead_ns = boot_ahead_ns();
    wedge_quiet_start(&st.quiet, st.began_ns);
    st.history = wedge_history_new(); /* without one some suspicions are not raised */

    int rc = open_fds(&st);
    if (!rc && !session->attach)
        rc = start_command(&st);
    if (!rc && out.exec_errno)
        out.end = WEDGE_NO_EXEC;
    else if (!rc && !(rc = attach(&st)))
        rc = loop(&st);
    if (rc && st.root > 0 && !session->attach && !out.exec_errno) {
        kill_tree(&st);
    }
    if (!rc && st.agent && session->on_end)
        session->on_end(session->arg, &st.arena);
    if (!rc)
        rc = close_books(&st);
    for (int i = 0; i < 2; i++) {
        wedge_tee_drain(&st.tees[i], 0);
        wedge_tee_free(&st.tees[i]);
    }
    wedge_guard_end(&st.guard);
    wedge_history_free(st.history);
    if (st.pidfd >= 0)
        close(st.pidfd);
    if (st.sigfd >= 0)
        close(st.sigfd);
    if (st.arena.fd >= 0)
        wedge_arena_destroy(&st.arena);
    wedge_tree_free(&st.tree);
    sigprocmask(SIG_SETMASK, &st.old_mask, NULL);
    if (rc)
        wedge_outcome_free(&out);
    else
        *ret = out;
    return rc;
}

void wedge_outcome_free(struct wedge_outcome *outcome)
{
    json_decref(outcome->report);
    wedge_reach_free(&outcome->reach);
    free(outcome->output);
    outcome->report = NULL;
    outcome->output = NULL;
}
