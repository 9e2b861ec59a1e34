/* Putting a task into a slot: finding room, waiting for it, filling, showing (slots.h, slots_inside.h). */
#include <errno.h>
#include <string.h>

#include <wedge/point.h>

#include "pool/slots_inside.h"

#define PUT_BATCH   64 /* tasks reserved and published under one lock */
#define NAP_SLOTS   256 /* with so many slots a full queue lasts for longer than a nap */
#define WATCH_LOOKS 50 /* how long a put looks whether a spinning worker takes its task: about a µs */

/* Reserving. */

static bool any_used(struct wedge_slots *slots)
{
    for (uint32_t i = 0; i < slots->n; i++)
        if (wedge_ledger_state_of(atomic_load(&wedge_slot_at(slots, i)->word)) != WEDGE_LEDGER_FREE)
            return true;
    return false;
}

/* Locked. A slot in WRITING, or n. */
static uint32_t pop_free(struct wedge_slots *slots, struct wedge_slots_free *set)
{
    for (;;) {
        uint32_t n = atomic_load_explicit(&set->ready_n, memory_order_relaxed); /* the lock's */
        if (n == 0)
            n = wedge_bits_take(set->bits, set->words, &set->at, set->ready, 64);
        if (n == 0)
            return slots->n;
        uint32_t i = set->base + set->ready[--n];
        atomic_store(&set->ready_n, n); /* partner: room_look */
        if (wedge_ledger_reserve(&wedge_slot_at(slots, i)->word))
            return i;
    }
}

/* Locked. The slot's extent, where it needs one; `served`: nobody else may be served before. */
static bool take_extent(struct wedge_slots *slots, uint32_t i, size_t bytes, bool served)
{
    struct wedge_slots_places places = wedge_slots_places(slots, bytes);
    uint64_t at;
    if (places.task_extent + places.result_extent == 0)
        return true;
    if ((slots->turn_first && !served) ||
        !wedge_arena_take(&slots->arena, i, places.task_extent + places.result_extent, &at))
        return false;
    wedge_slot_at(slots, i)->arena_at = (uint32_t)(at / WEDGE_ARENA_ALIGN);
    return true;
}

/* Slots for the first of n inputs and as many of the others as there are. -EAGAIN: none. -ENOSPC: one, got[0], that has
 * no room in the arena yet. */
static int reserve_now(struct wedge_pool *pool, const struct wedge_pool_input *inputs, unsigned n, uint32_t *got)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    unsigned count = 0;
    bool room = true;
    wedge_slots_lock(slots);
    while (count < n && (got[count] = pop_free(slots, &slots->free)) < slots->n) {
        room = take_extent(slots, got[count], inputs[count].bytes, false);
        if (!room)
            break;
        count++;
    }
    wedge_sleeper_found(&slots->putters, count);
    uint32_t left = atomic_load_explicit(&slots->free.ready_n, memory_order_relaxed);
    wedge_slots_unlock(slots);
    if (left > 0) /* out of the bits, where a put that waits might look just then */
        wedge_word_tell(&slots->words->room, 1);
    if (room)
        return count ? (int)count : -EAGAIN;
    if (count == 0)
        return -ENOSPC;
    wedge_slots_free(pool, got[count]); /* the one without room: its turn comes with the next call */
    return (int)count;
}

/* Whether a task may be put: 1, 0 a fault says that there is no room, or a negative errno. "Full" is believed while a slot
 * is in use, so that something can end the wait. */
static int may_put(struct wedge_pool *pool)
{
    if (atomic_load(&pool->board->broken))
        return -ENOTRECOVERABLE;
    if (wedge_pool_is_closed(pool))
        return -EPIPE;
    int ask = WEDGE_ASK("pool.task.room");
    if (ask < 0)
        return ask;
    return !(ask == WEDGE_ASK_FULL && any_used(wedge_slots_of(pool)));
}

/* Only a take frees a slot, and nobody takes but the caller: it would wait for itself. */
static bool waits_for_itself(struct wedge_pool *pool)
{
    uint64_t taker = atomic_load(&wedge_slots_of(pool)->taker);
    return !pool->callbacks.collect && atomic_load(&pool->takers) == 0 &&
           (taker == 0 || taker == (uint64_t)pthread_self());
}

static bool past(int64_t until_ns)
{
    return until_ns != WEDGE_POOL_NEVER && wedge_clock_ns() >= until_ns;
}

static bool room_look(void *arg)
{
    struct wedge_pool *pool = arg;
    struct wedge_slots *slots = wedge_slots_of(pool);
    return wedge_bits_any(slots->free.bits, slots->free.words) || atomic_load(&slots->free.ready_n) != 0 ||
           atomic_load(&pool->board->broken) || wedge_pool_is_closed(pool);
}

/* Locked. */
static void leave_line(struct wedge_slots *slots, struct wedge_slots_turn *turn)
{
    struct wedge_slots_turn **at = &slots->turn_first;
    while (*at != turn)
        at = &(*at)->next;
    *at = turn->next;
    atomic_fetch_sub(&slots->turns, 1);
    if (slots->turn_end == &turn->next)
        slots->turn_end = at;
}

/*
 * Room in the arena for the slot in hand, in the order of coming: a large task is not starved by smaller ones behind it.
 * 1, or why not. Woken by whoever frees a slot with an extent, by whoever leaves the line, by the supervisor, by itself.
 */
static int wait_for_arena(struct wedge_pool *pool, uint32_t i, size_t bytes, int64_t until_ns)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_slots_turn turn = {0};
    int rc = 0;
    wedge_slots_lock(slots);
    *slots->turn_end = &turn;
    slots->turn_end = &turn.next;
    atomic_fetch_add(&slots->turns, 1); /* before the look: partner: wedge_slots_free, after its change */
    wedge_slots_unlock(slots);
    for (;;) {
        uint32_t seen = wedge_word_read(&slots->words->room);
        int may = may_put(pool);
        rc = may < 0 ? may : waits_for_itself(pool) ? -ENOBUFS : past(until_ns) ? -ETIMEDOUT : 0;
        wedge_slots_lock(slots);
        if (may > 0 && slots->turn_first == &turn && take_extent(slots, i, bytes, true))
            rc = 1;
        if (rc != 0)
            leave_line(slots, &turn);
        wedge_slots_unlock(slots);
        if (rc != 0)
            break;
        wedge_word_wait(&slots->words->room, seen, WEDGE_WAIT_FOR_ROOM,
                        wedge_pool_earlier(until_ns, wedge_pool_after_ms(WEDGE_SLOTS_LOOK_AGAIN_MS)));
    }
    wedge_word_bump(&slots->words->room, INT_MAX); /* the next in line */
    if (rc < 0)
        wedge_slots_free(pool, i);
    return rc;
}

/* reserve_now, where a task may be put; -EAGAIN with *ret_denied: there is room perhaps, but a fault denies it. */
static int try_reserve(struct wedge_pool *pool, const struct wedge_pool_input *inputs, unsigned n, uint32_t *got,
                       bool *ret_denied)
{
    int may = may_put(pool);
    *ret_denied = may == 0;
    if (may < 0)
        return may;
    return may == 0 ? -EAGAIN : reserve_now(pool, inputs, n, got);
}

/* After a first try that came to `rc`. Woken by whoever frees a slot, by the supervisor, and by itself. */
static int reserve_waiting(struct wedge_pool *pool, const struct wedge_pool_input *inputs, unsigned n, int64_t until_ns,
                           uint32_t *got, int rc)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_word *room = &slots->words->room;
    bool denied = false;
    for (;;) {
        if (rc == -ENOSPC)
            rc = wait_for_arena(pool, got[0], inputs[0].bytes, until_ns);
        if (rc != -EAGAIN)
            break;
        uint32_t seen = wedge_word_read(room);
        rc = try_reserve(pool, inputs, n, got, &denied);
        if (rc != -EAGAIN)
            continue;
        if (waits_for_itself(pool) || past(until_ns)) {
            rc = waits_for_itself(pool) ? -ENOBUFS : -ETIMEDOUT;
            break;
        }
        int64_t look_ns = wedge_pool_earlier(until_ns, wedge_pool_after_ms(WEDGE_SLOTS_LOOK_AGAIN_MS));
        if (denied) /* a look for room would find it at once, and the next try would be denied again */
            wedge_word_wait(room, seen, WEDGE_WAIT_FOR_ROOM, look_ns);
        else
            wedge_sleeper_wait(&slots->putters, room, room_look, pool, slots->n >= NAP_SLOTS, WEDGE_WAIT_FOR_ROOM,
                               look_ns);
    }
    return rc; /* it has looked after each wake-up: none is lost with it */
}

/* -EAGAIN: full, and the caller is to run the first task. */
static int reserve(struct wedge_pool *pool, const struct wedge_pool_input *inputs, unsigned n, int64_t until_ns,
                   bool run_when_full, uint32_t *got, int64_t *waited_ns)
{
    struct wedge_board *board = pool->board;
    bool denied;
    int rc = try_reserve(pool, inputs, n, got, &denied);
    if ((rc != -EAGAIN && rc != -ENOSPC) || (rc == -EAGAIN && run_when_full))
        return rc;
    int64_t begin_ns = wedge_clock_ns();
    atomic_fetch_add(&board->putters_waiting, 1);
    rc = reserve_waiting(pool, inputs, n, until_ns, got, rc);
    atomic_fetch_sub(&board->putters_waiting, 1);
    *waited_ns += wedge_clock_ns() - begin_ns;
    return rc;
}

/* Filling and showing. */

static void fill(struct wedge_pool *pool, uint32_t i, const struct wedge_pool_input *input)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_slot *slot = wedge_slot_at(slots, i);
    struct wedge_slots_places places = wedge_slots_places(slots, input->bytes);
    slot->bytes = (uint32_t)input->bytes;
    slot->result_bytes = 0;
    slot->code = 0;
    slots->meta[i] = input->meta;
    WEDGE_POINT("pool.put.copying");
    if (input->bytes)
        memcpy(wedge_slots_task(slots, slot, &places), input->data, input->bytes);
    if (slots->queued_ns)
        atomic_store_explicit(&slots->queued_ns[i], wedge_clock_ns(),
                              memory_order_relaxed); /* published with the word */
}

/* Locked. Ids for n tasks, which count as accepted from here on: nobody can report one before. The first of them. */
static uint64_t accept(struct wedge_pool *pool, unsigned n)
{
    uint64_t last = atomic_load_explicit(&pool->next_id, memory_order_relaxed) + n;
    atomic_store_explicit(&pool->next_id, last, memory_order_relaxed);
    atomic_store_explicit(&pool->board->accepted, last, memory_order_relaxed); /* partner: the ledger's publish */
    return last - n + 1;
}

/* Wakes workers for n tasks. Where one is on the watch it takes the task within a moment, and nobody need be woken;
 * `tail` is the ring's after them. */
static void tell_workers(struct wedge_slots *slots, uint64_t tail, unsigned n)
{
    struct wedge_word *items = &slots->words->items;
    for (int i = 0; i < WATCH_LOOKS && wedge_word_sleeps(items); i++) {
        if (atomic_load_explicit(&items->spin_until_ns, memory_order_relaxed) == 0)
            break;
        if (atomic_load(slots->ring.head) >= tail)
            return;
        __builtin_ia32_pause();
    }
    wedge_word_tell(items, (int)n);
}

static void publish(struct wedge_pool *pool, struct wedge_pool_input *inputs, const uint32_t *got, unsigned n)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_ring *ring = &slots->ring;
    wedge_slots_lock(slots);
    uint64_t tail = atomic_load_explicit(ring->tail, memory_order_relaxed); /* ours alone */
    if (tail + n - slots->head_seen > ring->cap)
        slots->head_seen = atomic_load(ring->head);
    if (tail + n - slots->head_seen > ring->cap) {
        wedge_slots_purge_ring(slots);
        tail = atomic_load_explicit(ring->tail, memory_order_relaxed);
    }
    uint64_t id = accept(pool, n);
    for (unsigned k = 0; k < n; k++) {
        struct wedge_slot *slot = wedge_slot_at(slots, got[k]);
        slot->id = inputs[k].id = id + k;
        wedge_ledger_publish(&slot->word);
        wedge_ring_lay(ring, tail++, got[k]);
    }
    wedge_ring_show(ring, tail);
    if (tail - slots->head_seen > atomic_load_explicit(&pool->board->queue_high, memory_order_relaxed)) {
        slots->head_seen = atomic_load(ring->head); /* looked at only when it could matter: its line is the workers' */
        if (tail - slots->head_seen > atomic_load_explicit(&pool->board->queue_high, memory_order_relaxed))
            atomic_store_explicit(&pool->board->queue_high, (uint32_t)(tail - slots->head_seen), memory_order_relaxed);
    }
    wedge_slots_unlock(slots);
    WEDGE_POINT("pool.put.published");
    tell_workers(slots, tail, n);
}

/* The queue is full, and the first task is run here, in a slot of its own kind: its result waits like any other. -EAGAIN:
 * there is no such slot either. */
static int run_here(struct wedge_pool *pool, struct wedge_pool_input *input)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_pool_worker worker = {.pool = pool};
    struct wedge_pool_hand hand = {.worker = &worker};
    wedge_slots_lock(slots);
    uint32_t at = pop_free(slots, &slots->spare);
    bool room = at < slots->n && take_extent(slots, at, input->bytes, false);
    wedge_slots_unlock(slots);
    if (!room) {
        if (at < slots->n)
            wedge_slots_free(pool, at);
        return -EAGAIN;
    }
    fill(pool, at, input);
    wedge_slots_lock(slots);
    wedge_slot_at(slots, at)->id = input->id = accept(pool, 1);
    wedge_slots_unlock(slots);
    wedge_ledger_publish(&wedge_slot_at(slots, at)->word);
    hand.now_ns = wedge_clock_ns();
    if (!wedge_slots_claim(&hand, at))
        return 1; /* the supervisor saw it queued just now, and a worker has it */
    wedge_pool_put_ends(pool); /* it is accepted: close does not wait for the user's function */
    wedge_pool_run_task(&hand);
    atomic_fetch_add(&pool->putters, 1); /* put ends once more */
    return 1;
}

int wedge_slots_put(struct wedge_pool *pool, struct wedge_pool_input *inputs, unsigned n, int64_t until_ns,
                    int64_t *waited_ns)
{
    uint32_t got[PUT_BATCH];
    bool run = pool->settings.when_full == WEDGE_POOL_WHEN_FULL_CALLER;
    n = n < PUT_BATCH ? n : PUT_BATCH;
    got[0] = 0; /* set wherever it is used, which clang's analyzer cannot see */
    int rc = reserve(pool, inputs, n, until_ns, run, got, waited_ns);
    if (rc == -EAGAIN) {
        rc = run_here(pool, inputs);
        if (rc != -EAGAIN)
            return rc;
        rc = reserve(pool, inputs, n, until_ns, false, got, waited_ns);
    }
    for (int i = 0; i < rc; i++)
        fill(pool, got[i], &inputs[i]);
    if (rc > 0)
        publish(pool, inputs, got, (unsigned)rc);
    return rc;
}
