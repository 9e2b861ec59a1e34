/*
 * The session's tree: listed with wedge's own processes left out, sampled, reaped and killed.
 */
#include "scenarios/session_state.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/load.h"

enum { KILL_ROUNDS = 500, KILL_EMPTY = 3 };
#define KILL_NS   (10 * WEDGE_NS_PER_S)
#define ABSENT_NS (250 * WEDGE_NS_PER_MS) /* between looks at the tree where nothing else looks at it */

void wedge_session_note(const struct wedge_session_state *st, const char *text)
{
    if (st->s->on_note)
        st->s->on_note(st->s->arg, text);
}

size_t wedge_session_own_pids(const struct wedge_session_state *st, pid_t pids[WEDGE_SESSION_OWN])
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
int wedge_session_list_tree(const struct wedge_session_state *st, struct wedge_tree *tree)
{
    pid_t own[WEDGE_SESSION_OWN];
    size_t n = wedge_session_own_pids(st, own);
    if (st->s->attach) /* wedge may run below the process that it was told to watch: `wedge watch -p $$` */
        return wedge_tree_list(st->root, true, own, n, tree);
    return wedge_tree_list(getpid(), false, own, n - 1, tree);
}

/* Reaps re-parented descendants; the root's status is kept. */
void wedge_session_reap(struct wedge_session_state *st)
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
size_t wedge_session_kill_tree(struct wedge_session_state *st)
{
    pid_t own[WEDGE_SESSION_OWN];
    size_t n = wedge_session_own_pids(st, own), left = 1;
    int64_t until_ns = wedge_clock_ns() + KILL_NS;
    if (st->s->attach)
        return wedge_tree_kill(st->root, true, own, n, KILL_ROUNDS);
    for (int empty = 0; empty < KILL_EMPTY && wedge_clock_ns() < until_ns;) {
        for (size_t alive = 1, tries = 0; alive && wedge_clock_ns() < until_ns; tries++) {
            alive = wedge_tree_kill_children(own, n - 1);
            wedge_session_reap(st);
            if (tries > KILL_ROUNDS) /* what does not die of it at once is not one that forks */
                nanosleep(&(struct timespec){.tv_nsec = WEDGE_NS_PER_MS}, NULL);
        }
        left = wedge_tree_kill(getpid(), false, own, n - 1, 1);
        wedge_session_reap(st);
        empty = left ? 0 : empty + 1;
    }
    return left;
}

/* Who of the tree is not under the agent. `listed` NULL: the tree is listed here. It is looked through when it is time. */
void wedge_session_look_for_absent(struct wedge_session_state *st, const struct wedge_tree *listed, bool last)
{
    struct wedge_tree tree;
    int64_t now = wedge_clock_ns();
    if (!st->agent)
        return;
    bool due = last || now >= st->look_at_ns;
    bool own = due && !listed && wedge_session_list_tree(st, &tree) == 0;
    if (due)
        st->look_at_ns = now + ABSENT_NS;
    wedge_absent_look(&st->absent, &st->arena, own ? &tree : due ? listed : NULL, last);
    if (own)
        wedge_tree_free(&tree);
}

/* A figure that changes when anything of the tree moves. It is asked of the processes that are known: who is new has a
 * parent that ran, so that the tree is listed anew, which costs a look at the whole machine, only when those that ran
 * since the last list stand still again, and somebody was born anywhere. */
int wedge_session_sample(struct wedge_session_state *st, uint64_t *ret)
{
    uint64_t figure = st->listed ? wedge_tree_activity(&st->tree) : 0;
    bool same = st->listed && figure == st->figure;
    bool due = !st->listed || (same && st->stale);
    struct wedge_load load = {0};
    bool counted = due && wedge_load_read(&load);
    if (due && counted && load.last_born == st->listed_born) { /* nobody was */
        st->stale = false;
        due = false;
    }
    if (due) {
        struct wedge_tree tree;
        int rc = wedge_session_list_tree(st, &tree);
        if (rc)
            return rc;
        wedge_tree_free(&st->tree);
        st->tree = tree;
        /* Whoever ran while the list was made may have a child that is not in it. */
        uint64_t after = wedge_tree_activity(&st->tree);
        st->stale = !st->listed || after != figure;
        st->listed_born = st->stale || !counted ? 0 : load.last_born;
        st->listed = true;
        figure = after;
    } else if (!same) {
        st->stale = true;
    }
    *ret = st->figure = figure;
    return 0;
}
