/*
 * One direction of a stream: a pipe of messages between a lock of its readers and a lock of its writers, with a count in
 * shared memory that bounds it.
 *
 *   send     room? (count < bound, word `room`) -> feeder's list -> [writers' lock] pipe
 *   receive  [readers' lock] pipe -> count - 1, bump `room` -> unlock
 *
 * It has what the library of the hang report has, its hazards included, and a cure for each:
 *
 * - A thread that waits for a message holds the readers' lock, so an idle worker always holds one; `idle_holds` false:
 *   it waits for the pipe without the lock, and takes the lock when there is something.
 * - The locks are semaphores without an owner, or robust mutexes (queue_lock.h).
 * - A message is a length and a body in a byte stream: past PIPE_BUF they are written one after the other, up to it by
 *   one write(2), which a death cannot divide (pipe(7)). Who dies between the two, or halfway through a body, tears the
 *   message: whoever reads takes what follows for the rest of it, and a deadline for the beginning does not end
 *   the wait for the body. Under owned locks the pipe keeps packets (O_DIRECT) of at most PIPE_BUF, each written and
 *   read whole or not at all, and each says which message it is of and where in it. A reader that finds the start of
 *   another message knows that the one before is torn, and skips it; one that finds the middle of a message whose reader died
 *   skips to the next start. Nothing needs to be known about what the dead had done.
 * - The count is raised before the message is in the pipe and lowered after it is out: a process that dies between
 *   leaves room that never comes back. Messages are numbered as they are written, and `fill` holds the number of the last
 *   that was taken beside the count, in one word: taking number n gives back the room of all since the last one taken,
 *   those included that went with the dead. What a dead process had listed and not written is known by `listed`. A death
 *   between two steps that belong together gives one room too many back, never one too few: the queue then holds one more than its
 *   bound until it is empty the next time.
 * - The number of what a dead reader took is told by the next message that is taken. Where none follows, the next
 *   reader is told of the death by the lock and settles: an empty pipe means that all that was written is out of it. While a
 *   writer is at work that cannot be known; the writer then finds `unsettled` when it is through, and writes a packet which says
 *   so (WEDGE_MESSAGE_NOTHING), since that is what the reader waits for.
 * - The pipe's ends stay open in every process, the parent included: a reader never sees an end of file, even when
 *   nobody is left to write.
 *
 * `takers` counts threads that came to take. A question that is answered "full" by a fault is believed while someone
 * could still make room later: something is in the queue, or nobody has come to take yet (taking begins with a bump).
 * Otherwise the wait could end by nothing in the program, and the hang would be the fault's and not the pool's.
 *
 * Who may call what: receive and its kin any thread of any process, beside each other and beside write; write the feeders;
 * settle and forget_writer the keeper alone.
 */
#ifndef WEDGE_POOL_QUEUE_H
#define WEDGE_POOL_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/queue_lock.h"
#include "pool/settings.h"
#include "pool/word.h"

#define WEDGE_QUEUE_GROWS UINT32_MAX /* a bound that is none */

/* NOTHING is no message: one packet, which says that all up to its number are out of the pipe. */
enum wedge_message_kind { WEDGE_MESSAGE_TASK = 1, WEDGE_MESSAGE_RESULT, WEDGE_MESSAGE_MARK, WEDGE_MESSAGE_NOTHING };

struct wedge_message {
    uint32_t bytes; /* of the body that follows */
    uint32_t kind; /* enum wedge_message_kind */
    uint64_t id;
    int32_t outcome, code;
    uint32_t number; /* set by write: 1, 2, … in the order of the pipe; wraps */
    uint32_t offset; /* packets: of this one's part of the body */
};

struct wedge_queue_shared {
    struct wedge_word room; /* bumped when a message was taken, and when a taker comes */
    _Atomic uint64_t fill; /* number of the last message taken << 32 | count */
    _Atomic uint32_t takers;
    _Atomic uint32_t written; /* number of the last message begun; under the writers' lock */
    _Atomic uint32_t unsettled; /* somebody wanted to settle and could not, for a writer was at work */
    struct wedge_queue_lock readers, writers;
    _Atomic uint32_t listed[WEDGE_POOL_PROCESSES_MAX + 1]; /* by process, 0 the parent: counted, not yet begun */
};

/* The message that a reader is in the middle of. */
struct wedge_queue_part {
    bool begun;
    uint32_t got; /* bytes of the body */
    struct wedge_message head;
};

struct wedge_queue {
    struct wedge_queue_shared *shared;
    uint32_t bound;
    uint32_t process; /* who this copy belongs to: index into `listed` */
    uint32_t room_bytes; /* of every reader's body */
    bool packets, idle_holds;
    int read_fd, write_fd;
};

/* Before the first fork. `shared` is zero. 0 or a negative errno; close takes what is half made. */
int wedge_queue_open(struct wedge_queue *queue, struct wedge_queue_shared *shared, uint32_t bound,
                     const struct wedge_pool_settings *settings);
void wedge_queue_close(struct wedge_queue *queue);

static inline uint32_t wedge_queue_count(const struct wedge_queue *queue)
{
    return (uint32_t)atomic_load(&queue->shared->fill);
}
/* Whether a message of this number, or a later one, was taken. */
static inline bool wedge_queue_taken(const struct wedge_queue *queue, uint32_t number)
{
    return (int32_t)((uint32_t)(atomic_load(&queue->shared->fill) >> 32) - number) >= 0;
}

/* Counts one message in: false, there is no room. `force`: room or not. */
bool wedge_queue_reserve(struct wedge_queue *queue, bool force);
/* Takes back what reserve counted, for a message that is not written. */
void wedge_queue_unreserve(struct wedge_queue *queue);
/* Whether waiting for room that a fault denied can end: see the head of this file. */
bool wedge_queue_believe_full(struct wedge_queue *queue);

/* Writes a counted message, in the feeder: waits for the lock and for the pipe. -errno of write(2): it is not there. */
int wedge_queue_write(struct wedge_queue *queue, const struct wedge_message *head, const void *body);

/* Told under the readers' lock that this head was read, before its number counts as taken: whose it is from now on. */
typedef void wedge_queue_taker(void *context, const struct wedge_message *head);
/*
 * Reads one message, its body to `body` (room for payload_bytes: no message is larger). `part` is the caller's, zero
 * at first, and kept by one that comes back after -ETIMEDOUT with the same body; NULL: once it begun, the deadline does
 * not reach the rest. `took` may be NULL. 0, -ETIMEDOUT, -ENODATA (end of file), -EBADMSG (what was
 * read is no message: a torn one came before it), or -errno of read(2).
 */
int wedge_queue_receive(struct wedge_queue *queue, struct wedge_message *ret, void *body, struct wedge_queue_part *part,
                        int64_t until_ns, wedge_queue_taker *took, void *context);
/* Whether the pipe has something to read now; not what is in a feeder's list. */
bool wedge_queue_readable(const struct wedge_queue *queue);

/* Owned locks, after a death: what was begun and is not in the pipe any more has been taken. What cannot be known now, a
 * writer tells as soon as it is through. */
void wedge_queue_settle(struct wedge_queue *queue);
/* Owned locks: this process (from 1) is dead; what it had listed gives its room back. */
void wedge_queue_forget_writer(struct wedge_queue *queue, uint32_t process);

#endif
