/*
 * vfork(2), and clone(2) with CLONE_VFORK as posix_spawn makes it: the caller stands until its child has executed
 * another program or ended. Only a signal that kills ends it before that (the kernel sleeps TASK_KILLABLE, which /proc
 * shows as D).
 *
 * The child is the one that still has the caller's memory (kcmp(2)): nothing else tells which of its children it is. What
 * has the same memory has the same futexes too: a private lock of the child's may be released by its parent.
 */
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "detector/look/kin.h"
#include "detector/wait/descriptor.h"

#define CLONE3 435

static void decode(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_object *o = &t->wait.object;
    struct wedge_descriptor_wait wait = {.thread = thread};
    pid_t self = look->snapshot->procs[t->proc].pid, child = 0;
    for (size_t i = 0; i < look->n_machine; i++) {
        const struct wedge_machine_proc *m = &look->machine[i];
        if (m->ppid != self || !wedge_kin_same(self, m->pid))
            continue;
        child = m->pid;
        wedge_descriptor_by_process(look, &wait, child, "must execute a program or end (vfork)");
    }
    if (!child) {
        wedge_wait_unknown(look, thread, "it is about to come back from vfork");
        return;
    }
    look->threads[thread].assumptions |= WEDGE_ASSUME_NO_OUTSIDE_KILL;
    snprintf(o->key, sizeof(o->key), "vfork %d", (int)child);
    snprintf(o->describe, sizeof(o->describe), "process %d to execute a program or to end", (int)child);
    wedge_wait_is(look, thread, WEDGE_WAIT_CHILD, "its child must execute a program or end (vfork)");
}

static const int calls[] = {SYS_vfork, SYS_clone, CLONE3, -1};
static const char *const wchans[] = {"kernel_clone", "_do_fork", "do_fork", "wait_for_vfork_done", NULL};
const struct wedge_wait_ops wedge_wait_vfork = {.name = "vfork", .calls = calls, .wchans = wchans, .decode = decode};

int wedge_wait_memory_sharer(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    if (!own->sharer_asked && !look->core) {
        int parent = wedge_look_proc_of(look, p->ppid);
        own->sharer_asked = true;
        own->sharer = parent >= 0 && wedge_kin_same(p->ppid, p->pid) == 1 ? parent + 1 : 0;
    }
    return own->sharer - 1;
}

/* Those who cannot be asked: a child may well be one; anybody else who came of the same fork(2) hardly ever is. True: there is one. */
static bool add_unknown(struct wedge_look *look, int thread, pid_t self, bool known, unsigned flags)
{
    const struct wedge_machine_proc *own = wedge_look_machine_of(look, self);
    bool any = false;
    for (size_t i = 0; own && i < look->n_machine; i++) {
        const struct wedge_machine_proc *m = &look->machine[i];
        bool child = m->ppid == self && wedge_kin_same(self, m->pid) < 0;
        bool twin = !known && m->stack && m->stack == own->stack;
        if (m == own || m->blind || m->state == 'Z' || m->state == 'X' || (!child && !twin))
            continue;
        any = true;
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, child ? flags : flags | WEDGE_WAKER_UNLESS_RARE,
                        child ? "a child that may have the same memory" : "nobody knows who has the same memory");
    }
    return any;
}

bool wedge_wait_memory_kin(struct wedge_look *look, int thread, int proc, unsigned flags)
{
    pid_t self = look->snapshot->procs[proc].pid;
    size_t n = 0;
    if (look->procs[proc].memory_alone || look->core)
        return false;
    const pid_t *kin = wedge_kin_of(look, self, &n);
    for (size_t i = 0; i < n; i++) {
        int other = kin[i] == self ? -1 : wedge_look_want(look, kin[i]);
        if (other >= 0)
            wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, other, flags, "has the same memory (clone)");
        else if (kin[i] != self)
            wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, flags, "somebody has the same memory");
    }
    bool any = add_unknown(look, thread, self, kin != NULL, flags) || n > 1;
    look->procs[proc].memory_alone = !any;
    return any;
}
