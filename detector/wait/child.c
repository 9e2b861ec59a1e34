/*
 * waitpid and its family: the children that it asks for must end, and any of their threads may do that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "detector/kernel/fdinfo.h"
#include "detector/look/alarm.h"
#include "detector/wait/wait.h"

enum asked { ASKED_ALL, ASKED_PID, ASKED_GROUP, ASKED_OURS, ASKED_UNKNOWN }; /* OURS: by its number here */

/* The process behind a pidfd, by its number here; 0 gone or not to be seen. */
static pid_t process_of(struct wedge_look *look, const struct wedge_thread *t, int number)
{
    char name[32], text[1024];
    int pid = 0;
    snprintf(name, sizeof(name), "fdinfo/%d", number);
    ssize_t len =
        wedge_proc_read(look->snapshot->procs[t->proc].pid, look->procs[t->proc].reader, name, text, sizeof(text));
    return len > 0 && wedge_fdinfo_pid(text, &pid) && pid > 0 ? pid : 0;
}

static enum asked what_is_asked(struct wedge_look *look, const struct wedge_thread *t, pid_t own_group, pid_t *ret)
{
    if (t->syscall == SYS_wait4) {
        pid_t pid = (pid_t)t->args[0];
        *ret = pid > 0 ? pid : pid == 0 ? own_group : -pid;
        return pid == -1 ? ASKED_ALL : pid > 0 ? ASKED_PID : ASKED_GROUP;
    }
    *ret = (pid_t)t->args[1];
    if (!(t->args[3] & WEXITED))
        return ASKED_UNKNOWN;
    switch ((int)t->args[0]) {
    case P_ALL:
        return ASKED_ALL;
    case P_PID:
        return ASKED_PID;
    case P_PGID:
        *ret = *ret ? *ret : own_group;
        return ASKED_GROUP;
    case P_PIDFD:
        *ret = process_of(look, t, *ret);
        return *ret ? ASKED_OURS : ASKED_UNKNOWN;
    default:
        return ASKED_UNKNOWN;
    }
}

/* Numbers in the arguments are of the waiting process's own PID namespace, the `depth`-th of those that we see. A child is
 * in the same one or in one below it. */
static bool is_asked(struct wedge_look *look, int proc, enum asked asked, pid_t id, int depth)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    if (asked == ASKED_ALL)
        return true;
    if (asked == ASKED_OURS)
        return p->pid == id;
    for (int t = p->first_thread; t < p->first_thread + p->n_threads; t++) {
        const struct wedge_proc_status *status = &look->threads[t].status;
        const struct wedge_proc_ns *numbers = asked == ASKED_GROUP ? &status->groups : &status->tids;
        if (look->snapshot->threads[t].tid == p->pid)
            return depth <= numbers->n && numbers->numbers[depth - 1] == id;
    }
    return true; /* its leader was not read: it may be the one */
}

/* Is it below `self`? `known` keeps what was found of each process of the machine: each is asked once. */
static bool is_below(const struct wedge_look *look, pid_t self, size_t i, char *known)
{
    enum { NOT_ASKED, ON_THE_WAY, BELOW, ELSEWHERE };
    const struct wedge_machine_proc *m = &look->machine[i];
    size_t end = i;
    while (m && known[m - look->machine] == NOT_ASKED && m->ppid != self) {
        known[end = (size_t)(m - look->machine)] = ON_THE_WAY;
        m = wedge_look_machine_of(look, m->ppid);
    }
    bool below = m && (m->ppid == self || known[m - look->machine] == BELOW);
    char answer = below ? BELOW : ELSEWHERE;
    for (m = &look->machine[i]; m && known[m - look->machine] == ON_THE_WAY; m = wedge_look_machine_of(look, m->ppid))
        known[m - look->machine] = answer;
    known[end] = answer;
    return below;
}

/* Is it the first process of a PID namespace? Where nobody knows it is. */
static bool is_first(const struct wedge_look *look, int proc)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    for (int t = p->first_thread; t < p->first_thread + p->n_threads; t++)
        if (look->snapshot->threads[t].tid == p->pid)
            return look->threads[t].status.ns_tid == 1;
    return true;
}

/*
 * Whose parent ends becomes the child of the nearest process above that asked for such (PR_SET_CHILD_SUBREAPER, prctl(2)), or
 * of the first one of its PID namespace (pid_namespaces(7)), and its end ends the wait. Somebody has to end for that: nobody below
 * may live.
 */
static void add_orphans(struct wedge_look *look, int thread, pid_t self)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    unsigned flags = WEDGE_WAKER_BYSTANDER;
    char *known = NULL;
    bool asked = false;
    for (size_t i = 0; i < look->n_machine; i++) {
        const struct wedge_machine_proc *m = &look->machine[i];
        if (m->kernel || m->blind || m->ppid == self || m->pid == self || (m->state == 'Z' && m->threads <= 1))
            continue;
        known = known ? known : calloc(look->n_machine, 1);
        if (!known) {
            wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, 0, "whether it takes in orphans is not known");
            return;
        }
        if (!is_below(look, self, i, known))
            continue;
        if (!asked && !is_first(look, t->proc)) {
            if (!wedge_alarm_adopts(look, t->proc))
                break;
            flags |= WEDGE_WAKER_UNLESS_RARE;
        }
        asked = true;
        wedge_waker_add_pid(look, thread, 0, m->pid, flags, "may leave it an orphan, if it takes in such (prctl)");
    }
    free(known);
}

/* A child may go over into the group that is waited for (setpgid(2)), and end there; nothing tells whether it will. */
#define JOINS (WEDGE_WAKER_BYSTANDER | WEDGE_WAKER_UNLESS_RARE)
static const char may_join[] = "may join the group that is waited for (setpgid)";

static void decode(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    pid_t self = look->snapshot->procs[t->proc].pid, id = 0;
    int depth = look->threads[thread].status.tids.n, n = 0;
    bool seen = depth >= 1 && depth <= WEDGE_PROC_NAMESPACES;
    const struct wedge_proc_ns *groups = &look->threads[thread].status.groups;
    pid_t own_group = seen && groups->n == depth ? groups->numbers[depth - 1] : look->procs[t->proc].pgrp;
    enum asked asked = what_is_asked(look, t, own_group, &id);
    pid_t first = 0;
    if (asked == ASKED_UNKNOWN || !seen || (asked == ASKED_GROUP && groups->n != depth)) {
        wedge_wait_unknown(look, thread, "a wait for children that is not decoded");
        return;
    }
    /* Whoever traces may wait for its tracees, children or not. */
    if (wedge_look_traces(look, self)) {
        wedge_wait_unknown(look, thread, "it traces another process");
        return;
    }
    for (size_t i = 0; i < look->snapshot->n_procs; i++) {
        const struct wedge_proc *p = &look->snapshot->procs[i];
        if (p->ppid != self)
            continue;
        if (!is_asked(look, (int)i, asked, id, depth)) {
            if (asked == ASKED_GROUP)
                wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, (int)i, JOINS, may_join);
            continue;
        }
        if (look->procs[i].zombie) {
            wedge_wait_unknown(look, thread, "a child has ended already: it is about to wake");
            return;
        }
        first = n++ ? first : p->pid;
        wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, (int)i, 0, "must end");
    }
    /* Children that were not read: a waker pulled in from outside the tree has its own. */
    for (size_t i = 0; i < look->n_machine; i++) {
        const struct wedge_machine_proc *m = &look->machine[i];
        /* In an inner namespace their numbers are not known: any of them may be meant. */
        bool may = asked == ASKED_ALL || (depth > 1 && asked != ASKED_OURS) ||
                   (asked == ASKED_GROUP ? m->pgrp == id : m->pid == id);
        if (m->ppid != self || wedge_look_proc_of(look, m->pid) >= 0)
            continue;
        if (may) {
            wedge_waker_add_pid(look, thread, 0, m->pid, 0, "must end");
            first = n++ ? first : m->pid;
        } else if (asked == ASKED_GROUP) {
            wedge_waker_add_pid(look, thread, 0, m->pid, JOINS, may_join);
        }
    }
    if (n && (asked == ASKED_ALL || asked == ASKED_GROUP))
        add_orphans(look, thread, self);
    if (!n) {
        wedge_wait_unknown(look, thread, "it has no such child: it is about to wake");
        return;
    }
    struct wedge_object *o = &t->wait.object;
    wedge_wait_is(look, thread, WEDGE_WAIT_CHILD, "a child must end");
    if (n == 1) {
        snprintf(o->key, sizeof(o->key), "child %d", (int)first);
        snprintf(o->describe, sizeof(o->describe), "end of process %d", (int)first);
    } else {
        snprintf(o->key, sizeof(o->key), "children of %d", (int)self);
        snprintf(o->describe, sizeof(o->describe), "end of one of %d processes", n);
    }
    wedge_waker_add_signals(look, thread);
    look->threads[thread].assumptions |= WEDGE_ASSUME_NO_OUTSIDE_KILL;
}

static const int calls[] = {SYS_wait4, SYS_waitid, -1};
static const char *const wchans[] = {"do_wait", "kernel_wait", "do_waitid", "kernel_waitid", NULL};
const struct wedge_wait_ops wedge_wait_child = {.name = "child", .calls = calls, .wchans = wchans, .decode = decode};
