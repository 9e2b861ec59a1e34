/* The ring of events (event_ring.h). */
#include "pool/event_ring.h"

#include <errno.h>
#include <signal.h>

#include "base/clock.h"

#define CELLS WEDGE_EVENT_RING_CELLS

enum state { FREE, WRITING, READY, ABANDONED, RETURNED };

/* Bits of a word: state 3, pid 22 (the kernel's PID_MAX_LIMIT is 2^22), turn 39. */
static uint64_t make_word(enum state state, uint64_t turn, int32_t pid)
{
    return (uint64_t)state | ((uint64_t)(uint32_t)pid & 0x3fffff) << 3 | turn << 25;
}
static enum state state_of(uint64_t word)
{
    return (enum state)(word & 7);
}
static pid_t pid_of(uint64_t word)
{
    return (pid_t)(word >> 3 & 0x3fffff);
}
static uint64_t turn_of(uint64_t word)
{
    return word >> 25;
}

/* Acquire and release: see the header. */
static bool change(struct wedge_event_cell *cell, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(&cell->word, &from, to, memory_order_acq_rel, memory_order_acquire);
}

static uint64_t look(struct wedge_event_cell *cell)
{
    return atomic_load_explicit(&cell->word, memory_order_acquire);
}

/* Someone may have done it before. */
static void move_tail(struct wedge_event_ring *ring, uint64_t from)
{
    atomic_compare_exchange_strong_explicit(&ring->tail, &from, from + 1, memory_order_relaxed, memory_order_relaxed);
}

void wedge_event_ring_init(struct wedge_event_ring *ring)
{
    for (uint64_t i = 0; i < CELLS; i++)
        atomic_store_explicit(&ring->cells[i].word, make_word(FREE, i, 0), memory_order_relaxed); /* before the forks */
}

uint64_t wedge_event_ring_claim(struct wedge_event_ring *ring, int32_t pid)
{
    /* Each round that does not end here moves the tail, or finds that someone else did. */
    for (unsigned skipped = 0; skipped < CELLS;) {
        uint64_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        struct wedge_event_cell *cell = &ring->cells[at % CELLS];
        uint64_t word = look(cell);
        enum state state = state_of(word);
        bool out_of_service = state == ABANDONED || state == RETURNED;
        if (state == FREE && turn_of(word) == at) {
            if (!change(cell, word, make_word(WRITING, at, pid)))
                continue;
            move_tail(ring, at);
            return at;
        }
        if (!out_of_service && turn_of(word) < at)
            return WEDGE_EVENT_RING_FULL; /* not read yet; or the tail that was loaded is old, and the ring as good as full */
        skipped += out_of_service;
        move_tail(ring, at);
    }
    return WEDGE_EVENT_RING_FULL;
}

bool wedge_event_ring_publish(struct wedge_event_ring *ring, uint64_t position, int32_t pid)
{
    struct wedge_event_cell *cell = &ring->cells[position % CELLS];
    if (change(cell, make_word(WRITING, position, pid), make_word(READY, position, pid)))
        return true;
    change(cell, make_word(ABANDONED, position, pid), make_word(RETURNED, position, pid));
    return false;
}

/* No process of that number: it is gone and reaped, so nothing of it can still write. */
static bool is_dead(pid_t pid)
{
    int before = errno;
    bool dead = kill(pid, 0) < 0 && errno == ESRCH;
    errno = before;
    return dead;
}

/* The cell at the head is out of service. True: the reader has passed it. */
static bool pass_abandoned(struct wedge_event_ring *ring, struct wedge_event_reader *reader, uint64_t word)
{
    struct wedge_event_cell *cell = &ring->cells[reader->head % CELLS];
    bool skipped = atomic_load_explicit(&ring->tail, memory_order_relaxed) > reader->head;
    bool usable = state_of(word) == RETURNED || is_dead(pid_of(word));
    if (usable && !change(cell, word, make_word(FREE, skipped ? reader->head + CELLS : reader->head, 0)))
        return true; /* given back this moment: look again */
    if (!skipped)
        return usable; /* it stands for the next event now, or nobody has come by */
    reader->head++;
    return true;
}

/* The cell at the head is claimed and not whole. True: it was given up, or has become whole. */
static bool pass_writing(struct wedge_event_ring *ring, struct wedge_event_reader *reader, uint64_t word,
                         int64_t now_ns)
{
    struct wedge_event_cell *cell = &ring->cells[reader->head % CELLS];
    if (reader->busy_since_ns == 0)
        reader->busy_since_ns = now_ns;
    if (now_ns - reader->busy_since_ns < WEDGE_EVENT_PATIENCE_MS * WEDGE_NS_PER_MS && !is_dead(pid_of(word)))
        return false;
    if (change(cell, word, make_word(ABANDONED, reader->head, pid_of(word)))) {
        reader->torn++;
        reader->head++;
    }
    reader->busy_since_ns = 0;
    return true;
}

enum wedge_event_take wedge_event_ring_take(struct wedge_event_ring *ring, struct wedge_event_reader *reader,
                                            int64_t now_ns, struct wedge_event_record *ret)
{
    for (;;) {
        struct wedge_event_cell *cell = &ring->cells[reader->head % CELLS];
        uint64_t word = look(cell);
        switch (state_of(word)) {
        case READY:
            *ret = cell->record;
            ret->text[WEDGE_EVENT_TEXT] = '\0';
            atomic_store_explicit(&cell->word, make_word(FREE, reader->head + CELLS, 0), memory_order_release);
            reader->head++;
            reader->busy_since_ns = 0;
            return WEDGE_EVENT_TAKEN;
        case WRITING:
            if (!pass_writing(ring, reader, word, now_ns))
                return WEDGE_EVENT_BUSY;
            break;
        case FREE:
            if (atomic_load_explicit(&ring->tail, memory_order_relaxed) <= reader->head)
                return WEDGE_EVENT_NONE;
            /* Given back just as a claim skipped it. Whoever loaded the tail before that may still take it. */
            if (change(cell, word, make_word(FREE, reader->head + CELLS, 0)))
                reader->head++;
            break;
        default:
            if (!pass_abandoned(ring, reader, word))
                return WEDGE_EVENT_NONE;
        }
    }
}
