/*
 * The second pass: which threads are as they were, and whether somebody came or went meanwhile.
 *
 *   births so far -> first pass, with lists of processes and threads -> waits -> lists again -> threads again -> births so far
 *
 * Invariant: whoever lived at the moment that the passes have in common is in the first lists, or was found to be missing
 * there. The second lists show whoever was being made when the first were read, by a thread that was asleep when it was
 * read itself. Who came later than the second lists, and may be gone again, is found by the number of births; where that
 * has moved, or is not to be had, the lists are read a third time, after the threads.
 *
 * Births are those of the kernel's own count (base/load.h), our own left out.
 */
#include "detector/look/compare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/load.h"
#include "detector/look/machine.h"

uint64_t wedge_compare_last_born(void)
{
    struct wedge_load load;
    return wedge_load_read(&load) ? load.last_born : 0;
}

/* But for those who are ours, which nobody has to look at. 0 not known. */
static uint64_t births_of_others(void)
{
    uint64_t births = wedge_load_births();
    return births ? births - wedge_load_own_births() : 0;
}

void wedge_compare_begin(struct wedge_look *look)
{
    look->last_born = wedge_compare_last_born();
    look->births = births_of_others();
}

bool wedge_compare_is_barren(const struct wedge_look *look)
{
    return look->births && look->births == births_of_others();
}

/* Is every process of the tree in the snapshot, whoever could not be read included? */
static bool has_all(const struct wedge_look *look)
{
    size_t missing = 0;
    for (size_t i = 0; i < look->n_machine; i++)
        missing += look->machine[i].tree;
    for (size_t i = 0; i < look->snapshot->n_procs; i++)
        missing -= look->snapshot->procs[i].in_tree;
    return missing == 0;
}

/* Nobody was born since the beginning, and nobody can have become a member otherwise. */
static bool is_barren(const struct wedge_look *look)
{
    return look->options->members == WEDGE_MEMBERS_OF_ROOT && !look->marks_open && has_all(look) &&
           wedge_compare_is_barren(look);
}

/* wedge_share_fn: has the thread moved? */
static void compare_thread(void *arg, size_t i)
{
    struct wedge_look *look = arg;
    struct wedge_thread *t = &look->snapshot->threads[i];
    struct wedge_proc_syscall call = {.number = t->syscall, .sp = t->sp, .pc = t->pc};
    /* One that has ended will not come back, and holds nobody up. */
    if (t->moved || t->state == 'Z' || t->state == 'X')
        return;
    memcpy(call.args, t->args, sizeof(call.args));
    int kept = look->procs[t->proc].tasks,
        tasks = kept >= 0 ? kept : wedge_look_open_tasks(look->snapshot->procs[t->proc].pid);
    enum wedge_again again = wedge_reading_again(tasks, t->tid, &call, &look->threads[i].kept);
    t->moved = again != WEDGE_AGAIN_SAME;
    look->threads[i].came_back = again == WEDGE_AGAIN_BACK;
    wedge_reading_close(&look->threads[i].kept); /* here, where two can do it */
    if (kept < 0 && tasks >= 0)
        close(tasks);
}

/* The thread list of the process is still that of pass A. */
static bool is_same_list(const struct wedge_look *look, size_t proc, int tasks)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    pid_t *tids = NULL;
    size_t n = 0;
    if (wedge_proc_list_at(tasks, WEDGE_LOOK_MOST_THREADS, &tids, &n))
        return p->n_threads == 0;
    bool same = n == (size_t)p->n_threads;
    for (size_t i = 0; i < n && same; i++)
        same = tids[i] == look->snapshot->threads[p->first_thread + (int)i].tid;
    free(tids);
    return same;
}

/* Compares the list of threads with that of the first pass. */
static void compare_list(struct wedge_look *look, size_t proc)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    int kept = look->procs[proc].tasks, tasks = kept >= 0 ? kept : wedge_look_open_tasks(p->pid);
    bool same = is_same_list(look, proc, tasks);
    for (int i = p->first_thread; i < p->first_thread + p->n_threads && !same; i++) {
        look->snapshot->threads[i].moved = true;
        look->threads[i].came_back = false;
    }
    look->tree_changed |= !same && p->in_tree && !p->n_threads;
    if (kept < 0 && tasks >= 0)
        close(tasks);
}

/* The processes of the tree are still those of pass A: one that came meanwhile was never looked at. */
static int compare_tree(struct wedge_look *look)
{
    size_t tree = 0, known = 0;
    int rc = wedge_machine_read(look, true);
    if (rc)
        return rc;
    for (size_t i = 0; i < look->n_machine; i++)
        tree += look->machine[i].tree;
    for (size_t i = 0; i < look->snapshot->n_procs; i++) {
        const struct wedge_proc *p = &look->snapshot->procs[i];
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, p->pid);
        known += p->in_tree && m && m->tree && m->start_ticks == p->start_ticks;
        look->tree_changed |= p->in_tree && !m;
    }
    look->tree_changed |= tree != known;
    return 0;
}

/* A process that was born since the first list and is gone again before the last one would be in neither; meanwhile it
 * may have had a lock, and have been about to give it back. Who exists now, between the passes, is in this list; who is
 * born later has a parent that ran. */
static int notice_births(struct wedge_look *look)
{
    pid_t *pids = NULL;
    size_t n = 0;
    bool born = false;
    int rc = wedge_proc_list(0, WEDGE_MACHINE_MOST, &pids, &n);
    for (size_t i = 0; i < n && !rc && !born; i++)
        born = pids[i] != look->own_child && !wedge_look_machine_of(look, pids[i]);
    free(pids);
    return rc ? rc : born ? compare_tree(look) : 0;
}

int wedge_compare(struct wedge_look *look)
{
    int rc = notice_births(look);
    if (rc)
        return rc;
    for (size_t i = 0; i < look->snapshot->n_procs; i++)
        compare_list(look, i);
    wedge_look_share(look, look->snapshot->n_threads, compare_thread, look);
    if (is_barren(look))
        return 0;
    for (size_t i = 0; i < look->snapshot->n_procs; i++)
        compare_list(look, i);
    return compare_tree(look);
}
