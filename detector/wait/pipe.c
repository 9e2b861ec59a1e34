/*
 * Pipes: a reader waits for a writer, a writer for a reader, wherever on the machine they are.
 *
 * A reader that sleeps on a pipe without a visible writer is no orphan: the kernel would have told it that the file
 * ends. Somebody has an end that we do not see, perhaps in flight in a message: outside. The same holds for writers.
 *
 * Whoever holds the other end is a waker whatever was asked for: closing it raises POLLHUP or POLLERR. Who holds the same end
 * could open the other one (proc(5)), or make the pipe larger (F_SETPIPE_SZ wakes writers, fs/pipe.c), and hardly ever does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "detector/wait/descriptor.h"

static void wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    const struct wedge_fd *fd = wait->fd;
    /* Polled without a wish, an end tells when the other one is gone. An end opened for both is asked for both. */
    bool reads = wait->want & WEDGE_WANT_READ || (!wait->want && fd->readable);
    bool writes = wait->want & WEDGE_WANT_WRITE || (!wait->want && fd->writable);
    if (wait->polled) { /* POLLOUT on a read end is never told, but that the writers are gone is */
        bool wrong_way = (!reads || !fd->readable) && (!writes || !fd->writable);
        reads = fd->readable && (reads || wrong_way);
        writes = fd->writable && (writes || wrong_way);
    }
    snprintf(wait->key, sizeof(wait->key), "pipe:[%" PRIu64 "]", fd->inode);
    snprintf(wait->describe, sizeof(wait->describe), "%s, descriptor %d (pipe:[%" PRIu64 "])",
             reads && writes ? "pipe"
             : reads         ? "empty pipe"
                             : "full pipe",
             fd->number, fd->inode);
    wait->class = reads ? WEDGE_WAIT_PIPE_READ : WEDGE_WAIT_PIPE_WRITE;
    wait->reason = reads ? "somebody must write" : "somebody must read";
    wait->full = writes && !reads;
    size_t n = 0;
    if (reads)
        n += wedge_descriptor_by_holders(look, wait, fd->dev, fd->inode, WEDGE_WANT_WRITE, "holds the write end");
    if (writes)
        n += wedge_descriptor_by_holders(look, wait, fd->dev, fd->inode, WEDGE_WANT_READ, "holds the read end");
    wedge_descriptor_by_reopeners(look, wait, fd->dev, fd->inode,
                                  (reads ? WEDGE_WANT_WRITE : 0) | (writes ? WEDGE_WANT_READ : 0));
    look->threads[wait->thread].assumptions |= WEDGE_ASSUME_COMPLETE_VIEW;
    if (!n)
        wedge_descriptor_by_outside(look, wait, "nobody is seen to hold the other end: incomplete view");
    else if (wedge_descriptor_is_hidden(look, fd->dev, fd->inode))
        wedge_descriptor_by_outside(look, wait, "a process that may hold the other end cannot be read");
    if (!wait->elsewhere && !wait->outside) {
        size_t used = strlen(wait->describe);
        snprintf(wait->describe + used, sizeof(wait->describe) - used, ", its other end held by the process itself");
    }
}

static const char *const wchans[] = {"pipe", NULL};
const struct wedge_descriptor_class wedge_descriptor_pipe = {.kind = WEDGE_FD_PIPE, .wchans = wchans, .wakers = wakers};
