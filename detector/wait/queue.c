/*
 * POSIX message queues. A receiver waits for a sender and a sender for a receiver, wherever on the machine they hold
 * the queue. While it has a name anyone may come: the outside. The kernel has no end of file here: whoever receives
 * from a queue that nobody can send to waits for ever.
 *
 * Source: mq_overview(7); a queue is a regular file of the file system mqueue, its descriptor's mode the one it was
 * opened with.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>

#include "detector/wait/descriptor.h"

static void decode(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_look_thread *own = &look->threads[thread];
    const struct wedge_look_proc *proc = &look->procs[t->proc];
    bool receives = t->syscall == SYS_mq_timedreceive;
    struct wedge_descriptor_wait wait = {.thread = thread, .want = receives ? WEDGE_WANT_READ : WEDGE_WANT_WRITE};
    struct wedge_object *o = &t->wait.object;
    char name[32], path[64] = "?";
    int64_t until;
    wait.fd = wedge_look_fds(look, t->proc) ? NULL : wedge_fds_find(proc->fds, proc->n_fds, (int)t->args[0]);
    if (!wait.fd) {
        wedge_wait_unknown(look, thread, "its descriptor cannot be looked up");
        return;
    }
    snprintf(name, sizeof(name), "fd/%d", wait.fd->number);
    wedge_proc_link(look->snapshot->procs[t->proc].pid, proc->reader, name, path, sizeof(path));
    snprintf(o->key, sizeof(o->key), "mq %" PRIx64 ":%" PRIu64, wait.fd->dev, wait.fd->inode);
    snprintf(o->describe, sizeof(o->describe), "%s message queue %s, descriptor %d", receives ? "empty" : "full", path,
             wait.fd->number);
    if (wait.fd->kind != WEDGE_FD_UNLINKED)
        wedge_descriptor_by_outside(look, &wait, "the message queue has a name: anyone may open it");
    wedge_descriptor_by_holders(look, &wait, wait.fd->dev, wait.fd->inode,
                                receives ? WEDGE_WANT_WRITE : WEDGE_WANT_READ,
                                receives ? "may send to the queue" : "may receive from the queue");
    wedge_descriptor_by_reopeners(look, &wait, wait.fd->dev, wait.fd->inode,
                                  receives ? WEDGE_WANT_WRITE : WEDGE_WANT_READ);
    wedge_descriptor_by_receivers(look, &wait);
    if (wedge_descriptor_is_hidden(look, wait.fd->dev, wait.fd->inode))
        wedge_descriptor_by_outside(look, &wait, "a process that may hold the queue cannot be read");
    own->n_sets = 1; /* also without anybody */
    own->assumptions |= WEDGE_ASSUME_COMPLETE_VIEW;
    o->full = own->room = !receives;
    own->shared = true;
    own->own_process_only = !wait.elsewhere;
    wedge_wait_is(look, thread, WEDGE_WAIT_QUEUE,
                  wait.outside ? wait.outside
                  : receives   ? "somebody must send"
                               : "somebody must receive");
    if (t->args[4] && wedge_wait_timespec(look, thread, t->args[4], &until))
        wedge_wait_until(look, thread, CLOCK_REALTIME, until);
    else if (t->args[4])
        wedge_wait_in(look, thread, 0);
    wedge_waker_add_signals(look, thread);
}

static const int calls[] = {SYS_mq_timedreceive, SYS_mq_timedsend, -1};
static const char *const wchans[] = {"wq_sleep", "do_mq_timed", NULL};
const struct wedge_wait_ops wedge_wait_queue = {.name = "queue", .calls = calls, .wchans = wchans, .decode = decode};
