/*
 * A bounded ring of events in shared memory: any thread of any process of the pool writes, one thread of the parent reads.
 * Nothing in it is a lock, nobody waits to write, and a writer may be killed or stopped at any instruction.
 *
 * Each cell has one 64-bit word that changes by compare-and-swap alone: state, the pid of the writer, and the turn, which
 * is the position (counted from 0 for ever) that the cell stands for now. Cell i stands for i, i + N, i + 2N, …
 *
 *              writer                 writer                reader
 *   FREE(p) ----------> WRITING(p,pid) ------> READY(p,pid) ------> FREE(p + N)
 *      ^                      | reader: the writer is dead, or has been at it for PATIENCE_MS
 *      |                      v                writer, after all
 *      |                ABANDONED(p,pid) ---------------------> RETURNED(p,pid)
 *      |                      | reader, when it comes by again      |
 *      +----------------------+- and the writer is dead ------------+
 *
 * - The claim itself says whose the cell is: there is no instant at which a cell is taken and nobody knows by whom.
 * - `tail` is where the next claim is tried. It is moved on by whoever sees that its cell is claimed, so a writer that
 *   dies right after its claim leaves nothing undone for the others.
 * - A writer that was passed over may still be alive and write: its cell stays out of service until it gives it back
 *   or is dead. So no text is ever written by two. Claims and the reader skip such a cell.
 * - A thread's own events have rising positions, and are read in that order.
 * - Full: the cell at `tail` is not FREE. The event is dropped, which the caller counts.
 *
 * Memory order: publish releases the record, the reader's look acquires it; the reader's FREE releases the copy it made,
 * the next claim acquires that. The tail carries nothing: relaxed.
 *
 * claim and publish: any thread, in signal handlers too. take: one thread at a time. None of them blocks.
 */
#ifndef WEDGE_POOL_EVENT_RING_H
#define WEDGE_POOL_EVENT_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define WEDGE_EVENT_RING_CELLS  1024
#define WEDGE_EVENT_TEXT        200 /* bytes of an event's text that are kept */
#define WEDGE_EVENT_PATIENCE_MS 250 /* a record takes a microsecond to write */
#define WEDGE_EVENT_RING_FULL   UINT64_MAX

struct wedge_event_record {
    int64_t time_ns;
    uint32_t kind, process, generation;
    int32_t pid;
    char text[WEDGE_EVENT_TEXT + 1]; /* NUL-terminated */
};

struct wedge_event_cell {
    _Atomic uint64_t word;
    struct wedge_event_record record; /* whoever has it WRITING; the reader in READY */
} __attribute__((aligned(64)));

struct wedge_event_ring {
    _Atomic uint64_t tail __attribute__((aligned(64)));
    struct wedge_event_cell cells[WEDGE_EVENT_RING_CELLS];
};

/* Of the one reader, in its own memory; zeroed at first. */
struct wedge_event_reader {
    uint64_t head; /* the next position */
    int64_t busy_since_ns; /* the cell there is being written; seen first then; 0: it is not */
    uint64_t torn; /* passed over */
};

void wedge_event_ring_init(struct wedge_event_ring *ring);
/* A position, or WEDGE_EVENT_RING_FULL. */
uint64_t wedge_event_ring_claim(struct wedge_event_ring *ring, int32_t pid);
static inline struct wedge_event_record *wedge_event_ring_record(struct wedge_event_ring *ring, uint64_t position)
{
    return &ring->cells[position % WEDGE_EVENT_RING_CELLS].record;
}
/* The record is whole. False: it took too long and was passed over. */
bool wedge_event_ring_publish(struct wedge_event_ring *ring, uint64_t position, int32_t pid);

enum wedge_event_take { WEDGE_EVENT_NONE, WEDGE_EVENT_TAKEN, WEDGE_EVENT_BUSY /* someone is at it: come again soon */ };
enum wedge_event_take wedge_event_ring_take(struct wedge_event_ring *ring, struct wedge_event_reader *reader,
                                            int64_t now_ns, struct wedge_event_record *ret);

#endif
