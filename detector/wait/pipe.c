/*
 * Pipes: a reader waits for a writer, a writer for a reader, wherever on the machine they are.
 *
 * A reader that sleeps on a pipe without a visible writer is no orphan: the kernel would have told it that the file
 * ends. Somebody has an end that we do not see, perhaps in flight in a message: outside. The same holds for writers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "detector/wait/wait.h"

/* The root has the pipe as a standard stream: whoever is above it gave it that, and may have the other end. */
static bool is_standard_stream(struct wedge_look *look, uint64_t dev, uint64_t inode)
{
    const struct wedge_look_proc *root = &look->procs[0];
    if (wedge_look_fds(look, 0))
        return true;
    for (int number = 0; number <= 2; number++) {
        const struct wedge_fd *fd = wedge_fds_find(root->fds, root->n_fds, number);
        if (fd && fd->kind == WEDGE_FD_PIPE && fd->dev == dev && fd->inode == inode)
            return true;
    }
    return false;
}

bool wedge_wait_pipe_ends(struct wedge_look *look, int thread, uint64_t dev, uint64_t inode,
                          enum wedge_wait_class class, bool *ret_own_only)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    pid_t self = look->snapshot->procs[t->proc].pid;
    bool writers = class == WEDGE_WAIT_PIPE_READ, any = false, own_only = true;
    size_t n;
    const struct wedge_machine_end *ends = wedge_look_ends(look, dev, inode, &n);
    for (size_t i = 0; i < n; i++) {
        if (!(writers ? ends[i].writable : ends[i].readable))
            continue;
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, ends[i].pid);
        any = true;
        own_only &= ends[i].pid == self;
        if (m && m->blind)
            wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, 0, "whoever runs wedge holds the other end");
        else
            wedge_waker_add_pid(look, thread, 0, ends[i].pid, writers ? "holds the write end" : "holds the read end");
    }
    look->threads[thread].assumptions |= WEDGE_ASSUME_COMPLETE_VIEW;
    if (!any)
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, 0,
                        "nobody is seen to hold the other end: incomplete view");
    bool hidden = look->hidden_ends || (look->hidden_above && is_standard_stream(look, dev, inode));
    if (any && hidden)
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, 0,
                        "a process that may hold the other end cannot be read");
    *ret_own_only = any && own_only;
    return any && !hidden;
}

static void decode(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    const struct wedge_look_proc *own = &look->procs[t->proc];
    bool reads = t->syscall == SYS_read || t->syscall == SYS_readv;
    int number = (int)t->args[0];
    if (wedge_look_fds(look, t->proc)) {
        wedge_wait_unknown(look, thread, "its descriptors may not be read");
        return;
    }
    const struct wedge_fd *fd = wedge_fds_find(own->fds, own->n_fds, number);
    if (!fd) {
        wedge_wait_unknown(look, thread, "its descriptor is not there");
        return;
    }
    struct wedge_object *o = &t->wait.object;
    bool is_pipe = fd->kind == WEDGE_FD_PIPE;
    const char *wchan = look->threads[thread].wchan;
    if (!is_pipe) {
        snprintf(o->describe, sizeof(o->describe), "%s, descriptor %d", wedge_fds_word(fd->kind), number);
        wedge_wait_outside(look, thread,
                           fd->kind == WEDGE_FD_SOCKET     ? WEDGE_WAIT_SOCKET
                           : fd->kind == WEDGE_FD_SIGNALFD ? WEDGE_WAIT_SIGNAL
                                                           : WEDGE_WAIT_OUTSIDE,
                           "something outside may end it");
        return;
    }
    if (*wchan && strcmp(wchan, "0") != 0 && !strstr(wchan, "pipe")) {
        wedge_wait_unknown(look, thread, "it sleeps in another place of the kernel than its call would");
        return;
    }
    enum wedge_wait_class class = reads ? WEDGE_WAIT_PIPE_READ : WEDGE_WAIT_PIPE_WRITE;
    bool own_only;
    snprintf(o->key, sizeof(o->key), "pipe:[%" PRIu64 "]", fd->inode);
    snprintf(o->describe, sizeof(o->describe), "%s, descriptor %d (pipe:[%" PRIu64 "])",
             reads ? "empty pipe" : "full pipe", number, fd->inode);
    o->full = look->threads[thread].room = !reads;
    look->threads[thread].shared = true;
    wedge_wait_is(look, thread, class, reads ? "somebody must write" : "somebody must read");
    if (wedge_wait_pipe_ends(look, thread, fd->dev, fd->inode, class, &own_only))
        look->threads[thread].own_process_only = own_only;
    wedge_waker_add_signals(look, thread);
}

static const int calls[] = {SYS_read, SYS_readv, SYS_write, SYS_writev, -1};
/* Any place of the kernel will do here: what is no pipe is the outside's, and for a pipe decode looks again. */
static const char *const wchans[] = {"", NULL};
const struct wedge_wait_ops wedge_wait_pipe = {.name = "pipe", .calls = calls, .wchans = wchans, .decode = decode};
