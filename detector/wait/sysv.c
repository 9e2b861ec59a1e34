/*
 * System V semaphores and message queues. They are known by number and nobody holds them: with a key, anyone who has
 * the right may come, and the outside may end the wait. One that was made without a key (IPC_PRIVATE) is the business
 * of those who were told its number: the tree, and whoever used it last. That a stranger was told it as well nobody can
 * rule out: evident at most.
 *
 * Values, and who was there last, come from semctl(2) and msgctl(2), which need the right to read and change nothing.
 * They speak of our own IPC namespace: what is in another is the outside's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "detector/wait/descriptor.h"

#define MOST_OPERATIONS 500 /* SEMOPM, by default */

union semun { /* semctl(2): the caller must define it */
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

struct question {
    struct wedge_descriptor_wait wait;
    int id;
    key_t key;
    pid_t last; /* who could end it and was there last; 0 nobody */
};

static bool is_our_namespace(const struct wedge_look *look, int proc)
{
    char ours[64] = "", theirs[64] = "";
    return wedge_proc_link(getpid(), 0, "ns/ipc", ours, sizeof(ours)) > 0 &&
           wedge_proc_link(look->snapshot->procs[proc].pid, look->procs[proc].reader, "ns/ipc", theirs,
                           sizeof(theirs)) > 0 &&
           strcmp(ours, theirs) == 0;
}

/* The first of the operations that cannot be done now, as the kernel tries them: each on what those before it left.
 * -1: all can be done. */
static int blocking_operation(const struct sembuf *ops, size_t n, int id)
{
    for (size_t i = 0; i < n; i++) {
        int value = semctl(id, ops[i].sem_num, GETVAL);
        if (value < 0)
            return -1;
        for (size_t k = 0; k < i; k++)
            if (ops[k].sem_num == ops[i].sem_num)
                value += ops[k].sem_op;
        if (ops[i].sem_op == 0 ? value != 0 : value + ops[i].sem_op < 0)
            return (int)i;
    }
    return -1;
}

static void ask_semaphore(struct wedge_look *look, struct question *q)
{
    const struct wedge_thread *t = &look->snapshot->threads[q->wait.thread];
    struct sembuf ops[MOST_OPERATIONS];
    struct semid_ds ds;
    size_t n = t->args[2];
    q->wait.class = WEDGE_WAIT_SEM;
    if (n > MOST_OPERATIONS || wedge_look_memory(look, t->proc, t->args[1], ops, n * sizeof(ops[0]))) {
        q->wait.ready = "its operations cannot be read";
        return;
    }
    if (semctl(q->id, 0, IPC_STAT, (union semun){.buf = &ds})) {
        wedge_descriptor_by_outside(look, &q->wait, "its semaphores may not be read");
        return;
    }
    int at = blocking_operation(ops, n, q->id);
    if (at < 0) {
        q->wait.ready = "its semaphore allows it: it is about to wake";
        return;
    }
    q->key = ds.sem_perm.__key;
    q->last = semctl(q->id, ops[at].sem_num, GETPID);
    q->wait.reason = ops[at].sem_op ? "somebody must add to it" : "somebody must bring it to 0";
    snprintf(q->wait.key, sizeof(q->wait.key), "sysv sem %d.%d", q->id, ops[at].sem_num);
    snprintf(q->wait.describe, sizeof(q->wait.describe), "System V semaphore %d of set %d (value %d)", ops[at].sem_num,
             q->id, semctl(q->id, ops[at].sem_num, GETVAL));
}

static void ask_messages(struct wedge_look *look, struct question *q)
{
    const struct wedge_thread *t = &look->snapshot->threads[q->wait.thread];
    bool receives = t->syscall == SYS_msgrcv;
    struct msqid_ds ds;
    q->wait.class = WEDGE_WAIT_QUEUE;
    q->wait.full = !receives;
    if (msgctl(q->id, IPC_STAT, &ds)) {
        wedge_descriptor_by_outside(look, &q->wait, "its message queue may not be read");
        return;
    }
    /* A receiver may want messages of another type than those that are there. */
    if (receives ? ds.msg_qnum > 0 && t->args[3] == 0
                 : ds.__msg_cbytes + t->args[2] <= ds.msg_qbytes && ds.msg_qnum + 1 <= ds.msg_qbytes) {
        q->wait.ready = "its queue allows it: it is about to wake";
        return;
    }
    q->key = ds.msg_perm.__key;
    q->last = receives ? ds.msg_lspid : ds.msg_lrpid;
    q->wait.reason = receives ? "somebody must send" : "somebody must receive";
    snprintf(q->wait.key, sizeof(q->wait.key), "sysv queue %d", q->id);
    snprintf(q->wait.describe, sizeof(q->wait.describe), "System V message queue %d (%lu messages, %lu of %lu bytes)",
             q->id, (unsigned long)ds.msg_qnum, (unsigned long)ds.__msg_cbytes, (unsigned long)ds.msg_qbytes);
}

/* Is anybody else of the tree alive? */
static bool has_company(const struct wedge_look *look, int proc)
{
    for (size_t i = 0; i < look->snapshot->n_procs; i++)
        if ((int)i != proc && look->snapshot->procs[i].in_tree && !look->procs[i].zombie)
            return true;
    return false;
}

static void add_wakers(struct wedge_look *look, struct question *q)
{
    const struct wedge_thread *t = &look->snapshot->threads[q->wait.thread];
    const struct wedge_machine_proc *last = q->last > 0 ? wedge_look_machine_of(look, q->last) : NULL;
    size_t used = strlen(q->wait.describe);
    if (q->last > 0 && q->last != look->snapshot->procs[t->proc].pid)
        snprintf(q->wait.describe + used, sizeof(q->wait.describe) - used, ", last used by %d%s", (int)q->last,
                 last ? "" : ", which is gone");
    if (q->key != IPC_PRIVATE) {
        wedge_descriptor_by_outside(look, &q->wait, "it has a key: anyone may come");
        return;
    }
    wedge_waker_add(look, q->wait.thread, 0, WEDGE_TO_TREE, -1, 0, "may know its number");
    q->wait.elsewhere = has_company(look, t->proc);
    if (last && !last->tree)
        wedge_descriptor_by_process(look, &q->wait, q->last, "used it last");
    wedge_descriptor_by_chance(look, &q->wait, "anyone who was told its number could end it");
}

static void decode(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_look_thread *own = &look->threads[thread];
    struct question q = {.wait = {.thread = thread}, .id = (int)t->args[0]};
    struct wedge_object *o = &t->wait.object;
    bool semaphore = t->syscall == SYS_semop || t->syscall == SYS_semtimedop;
    int64_t ns;
    q.wait.class = semaphore ? WEDGE_WAIT_SEM : WEDGE_WAIT_QUEUE;
    if (!is_our_namespace(look, t->proc))
        wedge_descriptor_by_outside(look, &q.wait, "it is in an IPC namespace of its own");
    else if (semaphore)
        ask_semaphore(look, &q);
    else
        ask_messages(look, &q);
    if (q.wait.ready) {
        wedge_wait_unknown(look, thread, q.wait.ready);
        return;
    }
    if (!q.wait.outside)
        add_wakers(look, &q);
    if (!*q.wait.describe)
        snprintf(q.wait.describe, sizeof(q.wait.describe), "System V %s %d", semaphore ? "semaphores" : "message queue",
                 q.id);
    memcpy(o->key, q.wait.key, sizeof(o->key));
    memcpy(o->describe, q.wait.describe, sizeof(o->describe));
    o->full = own->room = q.wait.full;
    own->shared = true;
    own->own_process_only = !q.wait.elsewhere;
    wedge_wait_is(look, thread, q.wait.class, q.wait.outside ? q.wait.outside : q.wait.reason);
    if (t->syscall == SYS_semtimedop && t->args[3]) {
        if (wedge_wait_timespec(look, thread, t->args[3], &ns))
            wedge_wait_for(look, thread, ns);
        else
            wedge_wait_in(look, thread, 0);
    }
    wedge_waker_add_signals(look, thread);
}

static const int calls[] = {SYS_semop, SYS_semtimedop, SYS_msgrcv, SYS_msgsnd, -1};
static const char *const wchans[] = {"__do_semtimedop", "do_semtimedop", "ksys_semtimedop",
                                     "do_msgrcv",       "do_msgsnd",     NULL};
const struct wedge_wait_ops wedge_wait_sysv = {.name = "sysv", .calls = calls, .wchans = wchans, .decode = decode};
