#include "detector/look/members.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More than that no environment of a program that was started by a shell has; a mark that stands behind it is not seen. */
#define MOST_ENVIRONMENT (256u << 10)

static struct wedge_machine_proc *find(const struct wedge_machine_proc *table, size_t n, pid_t pid)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (table[mid].pid < pid)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && table[low].pid == pid ? (struct wedge_machine_proc *)&table[low] : NULL;
}

static bool is_listed(const pid_t *list, size_t n, pid_t pid)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == pid)
            return true;
    return false;
}

/* Wedge's own: those named, the caller and its parent. A root is none, even if it is the caller's parent. */
static void mark_own(struct wedge_look *look)
{
    const pid_t self = getpid(), above = getppid();
    for (size_t i = 0; i < look->n_machine; i++) {
        struct wedge_machine_proc *p = &look->machine[i];
        p->blind = p->pid != look->options->root && (p->pid == self || (p->pid == above && p->pid > 1) ||
                                                     is_listed(look->options->blind, look->options->n_blind, p->pid));
    }
}

/* Orphans of the tree become children of wedge, which is their subreaper: they still belong to it. */
static bool is_adopted(const struct wedge_look *look, const struct wedge_machine_proc *p,
                       const struct wedge_machine_proc *root)
{
    return root && p->ppid == root->ppid && p->start_ticks >= root->start_ticks &&
           is_listed(look->options->blind, look->options->n_blind, p->ppid);
}

static bool is_beside(const struct wedge_look *look, const struct wedge_machine_proc *p,
                      const struct wedge_machine_proc *root)
{
    switch (look->options->members) {
    case WEDGE_MEMBERS_OF_GROUP:
        return p->pgrp == root->pgrp;
    case WEDGE_MEMBERS_OF_SESSION:
        return p->session == root->session;
    case WEDGE_MEMBERS_OF_USER:
        return !p->kernel && p->uid == look->options->user;
    case WEDGE_MEMBERS_OF_ROOT:
        break;
    }
    return is_adopted(look, p, root);
}

static void descend(struct wedge_look *look)
{
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < look->n_machine; i++) {
            struct wedge_machine_proc *p = &look->machine[i];
            if (p->tree || p->blind)
                continue;
            const struct wedge_machine_proc *parent = find(look->machine, look->n_machine, p->ppid);
            if (parent && parent->tree)
                again = p->tree = true;
            else if (parent && parent->blind && p->pid != look->options->root)
                again = p->blind = true;
        }
    }
}

/* ---- the run's mark ---- */

static const char *const marks[] = {"WEDGE_RUN=", "WEDGE_ARENA="};
enum { MARKS = sizeof(marks) / sizeof(marks[0]) };

static bool may_have_environment(const struct wedge_look *look, const struct wedge_machine_proc *p)
{
    return !p->kernel && p->state != 'Z' && p->state != 'X' &&
           !is_listed(look->options->skip, look->options->n_skip, p->pid);
}

/* The environment as it was when the process was executed; what it wrote over it since counts (proc(5)). */
static char *environment_of(struct wedge_look *look, const struct wedge_machine_proc *p, ssize_t *ret_len)
{
    char *text = NULL;
    if (!may_have_environment(look, p))
        return NULL;
    wedge_look_note(look, p->pid, "environment");
    *ret_len = wedge_proc_read_all(p->pid, 0, "environ", MOST_ENVIRONMENT, &text);
    if (*ret_len == 0)
        free(text);
    return *ret_len > 0 ? text : NULL;
}

/* The entry that begins with `name`, NULL none. */
static const char *entry_of(const char *text, ssize_t len, const char *name)
{
    for (const char *at = text; at < text + len; at += strlen(at) + 1)
        if (strncmp(at, name, strlen(name)) == 0)
            return at;
    return NULL;
}

/* A spawned child has its slot behind the value, after a colon. */
static bool is_entry(const char *entry, const char *wanted)
{
    size_t len = strlen(wanted);
    return strncmp(entry, wanted, len) == 0 && (!entry[len] || entry[len] == ':');
}

/* In the middle of an exec there is no environment: that says nothing, and is asked again in the next pass. */
static void read_mark(struct wedge_look *look, struct wedge_machine_proc *p, const char *const wanted[MARKS])
{
    ssize_t len = 0;
    char *text = environment_of(look, p, &len);
    if (text)
        p->mark = WEDGE_MARK_NONE;
    else
        look->marks_open |= len == 0 && may_have_environment(look, p);
    for (int i = 0; text && i < MARKS; i++) {
        const char *entry = wanted[i] ? entry_of(text, len, marks[i]) : NULL;
        if (entry && is_entry(entry, wanted[i]))
            p->mark = WEDGE_MARK_OF_RUN;
    }
    free(text);
}

/* Whoever carries a mark of the root's run, with its descendants. Without a mark of the root nobody is asked. */
static void add_marked(struct wedge_look *look, const struct wedge_machine_proc *root,
                       const struct wedge_machine_proc *old, size_t n_old)
{
    const char *wanted[MARKS] = {NULL};
    ssize_t len = 0;
    char *text = environment_of(look, root, &len);
    bool any = false;
    for (int i = 0; text && i < MARKS; i++) {
        wanted[i] = entry_of(text, len, marks[i]);
        any |= wanted[i] != NULL;
    }
    /* Of a run that we started nobody is older than its root; of another one we know only some process. */
    bool ours = is_listed(look->options->blind, look->options->n_blind, root->ppid);
    for (size_t i = 0; i < look->n_machine && any; i++) {
        struct wedge_machine_proc *p = &look->machine[i];
        const struct wedge_machine_proc *before = find(old, n_old, p->pid);
        if (p->tree || p->blind || (ours && p->start_ticks < root->start_ticks))
            continue;
        if (before && before->start_ticks == p->start_ticks && before->mark != WEDGE_MARK_UNKNOWN)
            p->mark = before->mark;
        else
            read_mark(look, p, wanted);
        p->tree = p->mark == WEDGE_MARK_OF_RUN;
    }
    free(text);
    if (any)
        descend(look);
}

int wedge_members_mark(struct wedge_look *look, const struct wedge_machine_proc *old, size_t n_old)
{
    bool of_user = look->options->members == WEDGE_MEMBERS_OF_USER, any = false;
    struct wedge_machine_proc *root = of_user ? NULL : find(look->machine, look->n_machine, look->options->root);
    if (!of_user && (!root || root->state == 'X'))
        return -ESRCH;
    mark_own(look);
    for (size_t i = 0; i < look->n_machine; i++) {
        struct wedge_machine_proc *p = &look->machine[i];
        p->tree = p == root || (!p->blind && is_beside(look, p, root));
        any |= p->tree;
    }
    descend(look);
    if (root)
        add_marked(look, root, old, n_old);
    return any ? 0 : -ESRCH;
}

const struct wedge_proc *wedge_members_root(const struct wedge_look *look)
{
    return look->options->members == WEDGE_MEMBERS_OF_USER ? NULL : &look->snapshot->procs[0];
}

bool wedge_members_is_top(const struct wedge_look *look, int proc)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    const struct wedge_machine_proc *parent = find(look->machine, look->n_machine, p->ppid);
    return p->in_tree && !(parent && parent->tree);
}
