/*
 * The slots: a task and the room for its result in one fixed place in shared memory, from put until its result was
 * taken. What happens to a slot is the ledger's (ledger.h); this file finds slots, moves bytes, and waits.
 *
 *           lock                     lock                    no lock                    no lock
 *   put:  free -> WRITING -> copy -> QUEUED + ring  . . .  ring -> CLAIMED -> run -> outcome + done bit  . . .
 *                                                                                                 take, release:
 *                                                                              done bit -> TAKEN -> FREE + free bit
 *
 * - There are queue + processes × threads slots. A slot is reserved for the result when the task is put, so a worker
 *   never waits for room and results cannot be full.
 * - Workers lock nothing: what they share with the parent changes by single atomic instructions, so a death at any
 *   instruction leaves it whole. The put lock lies in the parent's private memory.
 * - Where to look (ring, done bits, free bits) is a hint that a death may take along; the supervisor makes it again
 *   from the ledger (slots_keep.c). Each sleep ends by itself after WEDGE_SLOTS_LOOK_AGAIN_MS, and the supervisor wakes
 *   everyone after each death: a wake-up that a killed thread took with it delays, and never hangs.
 */
#include "pool/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <wedge/point.h>

#include "pool/annotate.h"
#include "pool/slots_inside.h"

#define PUT_BATCH   64 /* tasks reserved and published under one lock */
#define NAP_SLOTS   256 /* with so many slots a full queue lasts for longer than a nap */
#define WATCH_LOOKS 50 /* how long a put looks whether a spinning worker takes its task: about a µs */

static void lock(struct wedge_slots *slots)
{
    pthread_mutex_lock(&slots->lock);
}

static void unlock(struct wedge_slots *slots)
{
    pthread_mutex_unlock(&slots->lock);
}

static size_t round8(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

/* Where a task of so many bytes and its result lie. */
struct places {
    size_t task_extent; /* bytes of the extent that the task takes; 0: it lies in the slot */
    size_t result_extent; /* the same for its result */
    size_t result_offset; /* of a result in the slot */
};

static struct places places_of(const struct wedge_slots *slots, size_t bytes)
{
    struct places places = {.task_extent = bytes > slots->room ? (size_t)wedge_arena_round(bytes) : 0};
    places.result_offset = places.task_extent ? 0 : round8(bytes);
    if (slots->payload_bytes > 2 * slots->room - places.result_offset)
        places.result_extent = slots->payload_bytes;
    return places;
}

static uint8_t *task_at(const struct wedge_slots *slots, struct wedge_slot *slot, const struct places *places)
{
    return places->task_extent ? slots->arena_base + (size_t)slot->arena_at * WEDGE_ARENA_ALIGN : slot->body;
}

static uint8_t *result_at(const struct wedge_slots *slots, struct wedge_slot *slot, const struct places *places)
{
    if (!places->result_extent)
        return slot->body + places->result_offset;
    return slots->arena_base + (size_t)slot->arena_at * WEDGE_ARENA_ALIGN + places->task_extent;
}

/* Making and freeing. */

/* What the shared mapping holds, in this order. */
struct layout {
    size_t done, cells, slots, arena, bytes;
};

static struct layout lay_out(const struct wedge_slots *slots, uint64_t arena_bytes)
{
    struct layout at = {.done = sizeof(struct wedge_slots_words)};
    at.cells = at.done + slots->bits_words * sizeof(struct wedge_bits);
    at.slots = wedge_arena_round(at.cells + slots->ring.cap * sizeof(*slots->ring.cells));
    at.arena = at.slots + slots->n * slots->stride;
    at.bytes = at.arena + arena_bytes;
    return at;
}

/* The largest task and its result, and 64 of them where it is not set. -EINVAL: not even one fits. */
static int arena_bytes(const struct wedge_pool *pool, const struct wedge_slots *slots, uint64_t *ret)
{
    struct places large = places_of(slots, slots->payload_bytes), small = places_of(slots, 0);
    uint64_t one = wedge_arena_round(large.task_extent + large.result_extent);
    *ret = (uint64_t)pool->settings.arena_bytes & ~(uint64_t)(WEDGE_ARENA_ALIGN - 1);
    if (one == 0 && small.result_extent == 0)
        *ret = 0; /* each task and result lies in its slot */
    else if (*ret == 0)
        *ret = 64 * one;
    return *ret < one ? -EINVAL : 0;
}

static int free_create(struct wedge_slots_free *set, uint32_t base, uint32_t n)
{
    *set = (struct wedge_slots_free){.base = base, .words = wedge_bits_words(n)};
    if (n == 0)
        return 0;
    set->bits = aligned_alloc(_Alignof(struct wedge_bits), set->words * sizeof(*set->bits));
    if (!set->bits)
        return -ENOMEM;
    memset(set->bits, 0, set->words * sizeof(*set->bits));
    for (uint32_t i = 0; i < n; i++)
        wedge_bits_add(set->bits, i);
    return 0;
}

static int private_create(struct wedge_pool *pool, struct wedge_slots *slots, uint64_t arena)
{
    bool may_spin = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    slots->putters.may_spin = slots->takers.may_spin = may_spin;
    slots->turn_end = &slots->turn_first;
    WEDGE_ATOMICS(&slots->take_at, offsetof(struct wedge_slots, lock) - offsetof(struct wedge_slots, take_at));
    WEDGE_ATOMICS(&slots->putters, sizeof(slots->putters));
    slots->meta = calloc(slots->n, sizeof(*slots->meta));
    slots->listed = calloc(slots->bits_words, sizeof(*slots->listed));
    if (pool->settings.queue_limit_ms >= 0)
        slots->queued_ns = calloc(slots->n, sizeof(*slots->queued_ns));
    if (!slots->meta || !slots->listed || (pool->settings.queue_limit_ms >= 0 && !slots->queued_ns))
        return -ENOMEM;
    if (slots->queued_ns)
        WEDGE_ATOMICS(slots->queued_ns, slots->n * sizeof(*slots->queued_ns));
    int rc = free_create(&slots->free, 0, slots->n - slots->spares);
    if (rc == 0)
        rc = free_create(&slots->spare, slots->n - slots->spares, slots->spares);
    return rc < 0 ? rc : wedge_arena_create(&slots->arena, slots->n, arena);
}

static void map(struct wedge_pool *pool, struct wedge_slots *slots, uint8_t *at, struct layout layout)
{
    slots->map_bytes = layout.bytes;
    slots->words = (struct wedge_slots_words *)at; /* zeroed: every slot is FREE */
    slots->done = (struct wedge_bits *)(at + layout.done);
    slots->ring.cells = (_Atomic uint32_t *)(at + layout.cells);
    slots->ring.head = &pool->board->tasks_out;
    slots->ring.tail = &pool->board->tasks_in;
    slots->slots = at + layout.slots;
    slots->arena_base = at + layout.arena;
    pool->board->slots = slots->n;
    pool->board->slot_bytes = slots->stride;
    pool->board->arena_bytes = layout.bytes - layout.arena;
}

static int slots_create(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    const struct wedge_pool_settings *settings = &pool->settings;
    uint64_t arena;
    uint32_t workers = (uint32_t)(settings->processes * settings->threads);
    struct wedge_slots *slots = aligned_alloc(_Alignof(struct wedge_slots), sizeof(*slots));
    if (!slots)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the slots");
    memset(slots, 0, sizeof(*slots));
    pthread_mutex_init(&slots->lock, NULL);
    pool->transport_data = slots;
    slots->spares = settings->when_full == WEDGE_POOL_WHEN_FULL_CALLER ? workers : 0;
    slots->n = wedge_pool_settings_queue(settings) + workers + slots->spares;
    slots->bits_words = wedge_bits_words(slots->n);
    for (slots->ring.cap = 64; slots->ring.cap < 2 * slots->n;)
        slots->ring.cap *= 2;
    slots->payload_bytes = round8((size_t)settings->payload_bytes);
    slots->room = round8((size_t)settings->slot_bytes);
    if (slots->room > slots->payload_bytes)
        slots->room = slots->payload_bytes;
    slots->stride = wedge_arena_round(sizeof(struct wedge_slot) + 2 * slots->room);
    if (arena_bytes(pool, slots, &arena) < 0)
        return wedge_pool_err_set(err, -EINVAL,
                                  "arena_bytes: %lld do not hold one task and result of payload_bytes=%lld",
                                  (long long)settings->arena_bytes, (long long)settings->payload_bytes);
    struct layout layout = lay_out(slots, arena);
    void *at = mmap(NULL, layout.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return wedge_pool_err_set(err, -ENOMEM, "no shared memory: %u slots and the arena are %zu bytes", slots->n,
                                  layout.bytes);
    map(pool, slots, at, layout);
    WEDGE_ATOMICS(at, layout.slots); /* the slots' bytes are ordered by their words (ledger.c) */
    if (private_create(pool, slots, arena) < 0)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the slots");
    return 0;
}

static void slots_destroy(struct wedge_pool *pool)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    if (!slots)
        return;
    if (slots->words)
        munmap(slots->words, slots->map_bytes);
    wedge_arena_destroy(&slots->arena);
    pthread_mutex_destroy(&slots->lock);
    free(slots->free.bits);
    free(slots->spare.bits);
    free(slots->queued_ns);
    free(slots->listed);
    free(slots->meta);
    free(slots);
    pool->transport_data = NULL;
}

/* Putting: reserving. */

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
        if (set->ready_n == 0)
            set->ready_n = wedge_bits_take(set->bits, set->words, &set->at, set->ready, 64);
        if (set->ready_n == 0)
            return slots->n;
        uint32_t i = set->base + set->ready[--set->ready_n];
        if (wedge_ledger_reserve(&wedge_slot_at(slots, i)->word))
            return i;
    }
}

/* Locked. The slot's extent, where it needs one; `served`: nobody else may be served before. */
static bool take_extent(struct wedge_slots *slots, uint32_t i, size_t bytes, bool served)
{
    struct places places = places_of(slots, bytes);
    uint64_t at;
    if (places.task_extent + places.result_extent == 0)
        return true;
    if ((slots->turn_first && !served) ||
        !wedge_arena_take(&slots->arena, i, places.task_extent + places.result_extent, &at))
        return false;
    wedge_slot_at(slots, i)->arena_at = (uint32_t)(at / WEDGE_ARENA_ALIGN);
    return true;
}

void wedge_slots_free(struct wedge_pool *pool, uint32_t i)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_slots_free *set = i < slots->n - slots->spares ? &slots->free : &slots->spare;
    struct wedge_slot *slot = wedge_slot_at(slots, i);
    if (slots->arena.extents && slots->arena.extents[i].bytes) { /* the slot's owner's to read */
        lock(slots);
        wedge_arena_give(&slots->arena, i);
        unlock(slots);
    }
    if (!wedge_ledger_release(&slot->word))
        wedge_ledger_abandon(&slot->word);
    wedge_bits_add(set->bits, i - set->base);
    if (atomic_load(&slots->turns) !=
        0) /* partner: wait_for_arena. They and those who wait for a slot sleep on one word */
        wedge_word_bump(&slots->words->room, INT_MAX);
    else
        wedge_word_tell(&slots->words->room, 1);
}

/* Slots for the first of n inputs and as many of the others as there are. -EAGAIN: none. -ENOSPC: one, got[0], that has
 * no room in the arena yet. */
static int reserve_now(struct wedge_slots *slots, const struct wedge_pool_input *inputs, unsigned n, uint32_t *got)
{
    unsigned count = 0;
    bool room = true;
    lock(slots);
    while (count < n && (got[count] = pop_free(slots, &slots->free)) < slots->n) {
        room = take_extent(slots, got[count], inputs[count].bytes, false);
        if (!room)
            break;
        count++;
    }
    wedge_sleeper_found(&slots->putters, count);
    unlock(slots);
    if (room || count == 0)
        return !room ? -ENOSPC : count ? (int)count : -EAGAIN;
    struct wedge_slots_free *set = &slots->free; /* the one without room goes back: its turn comes with the next call */
    wedge_ledger_abandon(&wedge_slot_at(slots, got[count])->word);
    wedge_bits_add(set->bits, got[count]);
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
    return wedge_bits_any(slots->free.bits, slots->free.words) || atomic_load(&pool->board->broken) ||
           wedge_pool_is_closed(pool);
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
    lock(slots);
    *slots->turn_end = &turn;
    slots->turn_end = &turn.next;
    atomic_fetch_add(&slots->turns, 1); /* before the look: partner: wedge_slots_free, after its change */
    unlock(slots);
    for (;;) {
        uint32_t seen = wedge_word_read(&slots->words->room);
        int may = may_put(pool);
        rc = may < 0 ? may : waits_for_itself(pool) ? -ENOBUFS : past(until_ns) ? -ETIMEDOUT : 0;
        lock(slots);
        if (may > 0 && slots->turn_first == &turn && take_extent(slots, i, bytes, true))
            rc = 1;
        if (rc != 0)
            leave_line(slots, &turn);
        unlock(slots);
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
    return may == 0 ? -EAGAIN : reserve_now(wedge_slots_of(pool), inputs, n, got);
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
                   bool run_when_full, uint32_t *got)
{
    struct wedge_board *board = pool->board;
    bool denied;
    int rc = try_reserve(pool, inputs, n, got, &denied);
    if ((rc != -EAGAIN && rc != -ENOSPC) || (rc == -EAGAIN && run_when_full))
        return rc;
    int64_t begin_ns = wedge_clock_ns();
    atomic_fetch_add(&board->put_waits, 1);
    atomic_fetch_add(&board->putters_waiting, 1);
    rc = reserve_waiting(pool, inputs, n, until_ns, got, rc);
    atomic_fetch_sub(&board->putters_waiting, 1);
    wedge_histogram_add_shared(&board->put_wait, (uint64_t)(wedge_clock_ns() - begin_ns));
    return rc;
}

/* A slot in hand. */

/* Where this thread says what it does. */
static struct wedge_board_thread *record(const struct wedge_pool_hand *hand)
{
    struct wedge_pool *pool = hand->worker->pool;
    if (hand->place.process == 0)
        return &wedge_slots_of(pool)->caller;
    return wedge_board_thread(pool->board, hand->place.process - 1, hand->place.thread);
}

/* Makes the task in this slot the hand's; false: it is not queued, the number was an old one. hand->now_ns is the time. */
static bool claim(struct wedge_pool_hand *hand, uint32_t at)
{
    struct wedge_pool *pool = hand->worker->pool;
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_slot *slot = wedge_slot_at(slots, at);
    struct wedge_ledger_owner owner = {.worker = hand->place.process,
                                       .incarnation = hand->place.generation % WEDGE_LEDGER_INCARNATIONS,
                                       .thread = hand->place.thread};
    if (!wedge_ledger_claim(&slot->word, owner, &hand->claim))
        return false;
    WEDGE_POINT("pool.worker.claimed");
    int64_t limit_ms = pool->settings.task_limit_ms; /* on the board for readers; the supervisor goes by the setting */
    wedge_board_does(record(hand), WEDGE_DOING_TASK, hand->now_ns,
                     limit_ms >= 0 ? hand->now_ns + limit_ms * WEDGE_NS_PER_MS : WEDGE_POOL_NEVER, slot->id);
    wedge_sleeper_found(&hand->sleeper, 1);
    struct places places = places_of(slots, slot->bytes);
    hand->slot = at;
    hand->task = (struct wedge_pool_task){.id = slot->id,
                                          .data = task_at(slots, slot, &places),
                                          .bytes = slot->bytes,
                                          .result = result_at(slots, slot, &places),
                                          .result_room = (size_t)pool->settings.payload_bytes,
                                          .place = hand->place};
    return true;
}

/* Putting: filling and showing. */

static void fill(struct wedge_pool *pool, uint32_t i, const struct wedge_pool_input *input)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_slot *slot = wedge_slot_at(slots, i);
    struct places places = places_of(slots, input->bytes);
    slot->bytes = (uint32_t)input->bytes;
    slot->result_bytes = 0;
    slot->code = 0;
    slots->meta[i] = input->meta;
    WEDGE_POINT("pool.put.copying");
    if (input->bytes)
        memcpy(task_at(slots, slot, &places), input->data, input->bytes);
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
    lock(slots);
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
    unlock(slots);
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
    lock(slots);
    uint32_t at = pop_free(slots, &slots->spare);
    bool room = at < slots->n && take_extent(slots, at, input->bytes, false);
    unlock(slots);
    if (!room) {
        if (at < slots->n)
            wedge_slots_free(pool, at);
        return -EAGAIN;
    }
    fill(pool, at, input);
    lock(slots);
    wedge_slot_at(slots, at)->id = input->id = accept(pool, 1);
    unlock(slots);
    wedge_ledger_publish(&wedge_slot_at(slots, at)->word);
    hand.now_ns = wedge_clock_ns();
    if (claim(&hand, at)) /* else the supervisor saw it queued just now, and a worker has it */
        wedge_pool_run_task(&hand);
    return 1;
}

static int slots_put(struct wedge_pool *pool, struct wedge_pool_input *inputs, unsigned n, int64_t until_ns)
{
    uint32_t got[PUT_BATCH];
    bool run = pool->settings.when_full == WEDGE_POOL_WHEN_FULL_CALLER;
    n = n < PUT_BATCH ? n : PUT_BATCH;
    int rc = reserve(pool, inputs, n, until_ns, run, got);
    if (rc == -EAGAIN) {
        rc = run_here(pool, inputs);
        if (rc != -EAGAIN)
            return rc;
        rc = reserve(pool, inputs, n, until_ns, false, got);
    }
    for (int i = 0; i < rc; i++)
        fill(pool, got[i], &inputs[i]);
    if (rc > 0)
        publish(pool, inputs, got, (unsigned)rc);
    return rc;
}

/* Taking. */

/* What this slot has for a taker; false: nothing. */
static bool collect(struct wedge_pool *pool, uint32_t at, struct wedge_pool_item *ret)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_slot *slot = wedge_slot_at(slots, at);
    enum wedge_pool_outcome outcome;
    enum wedge_ledger_found found;
    uint64_t seen, id;
    void *meta;
    do { /* its owner or the supervisor may be faster, each once */
        seen = wedge_ledger_look(&slot->word);
        id = slot->id;
        meta = slots->meta[at];
        found = wedge_ledger_collect_seen(&slot->word, seen, &outcome);
    } while (found == WEDGE_LEDGER_CHANGED);
    if (found == WEDGE_LEDGER_SPARE)
        wedge_slots_free(pool, at);
    if (found != WEDGE_LEDGER_RESULT && found != WEDGE_LEDGER_EARLY)
        return false;
    *ret = (struct wedge_pool_item){.slot = at, .kept = found == WEDGE_LEDGER_EARLY};
    ret->result = (struct wedge_pool_result){.id = id, .meta = meta, .outcome = outcome};
    if (outcome == WEDGE_POOL_OK || outcome == WEDGE_POOL_ERROR) {
        struct places places = places_of(slots, slot->bytes);
        ret->result.code = slot->code;
        ret->result.data = result_at(slots, slot, &places);
        ret->result.bytes = slot->result_bytes;
    }
    return true;
}

/* What is there, up to n. The next look begins behind where this one found something, so that none is passed over. */
static unsigned collect_some(struct wedge_pool *pool, struct wedge_pool_item *ret, unsigned n)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    uint32_t found[64], at = atomic_load_explicit(&slots->take_at, memory_order_relaxed); /* any value will do */
    unsigned count = 0, bits;
    while (count == 0 && (bits = wedge_bits_take(slots->done, slots->bits_words, &at, found, n < 64 ? n : 64)) > 0) {
        at = at + 1 < slots->bits_words ? at + 1 : 0;
        for (unsigned i = 0; i < bits; i++)
            __builtin_prefetch(wedge_slot_at(slots, found[i]), 1);
        for (unsigned i = 0; i < bits; i++)
            count += collect(pool, found[i], &ret[count]);
    }
    atomic_store_explicit(&slots->take_at, at, memory_order_relaxed);
    wedge_sleeper_found(&slots->takers, count);
    return count;
}

static bool done_look(void *arg)
{
    struct wedge_pool *pool = arg;
    struct wedge_slots *slots = wedge_slots_of(pool);
    return wedge_bits_any(slots->done, slots->bits_words) || wedge_pool_results_ended(pool);
}

/* Woken by a worker that finished, by the supervisor that condemned or withdrew, and by itself. */
static int slots_take(struct wedge_pool *pool, struct wedge_pool_item *ret, unsigned n, int64_t until_ns)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    uint64_t self = (uint64_t)pthread_self();
    if (atomic_load_explicit(&slots->taker, memory_order_relaxed) != self)
        atomic_store(&slots->taker, self);
    unsigned count = collect_some(pool, ret, n);
    if (count == 0 && until_ns != 0) {
        /* Many on their way will come in a moment: taken together they cost less. */
        bool burst = atomic_load(&pool->board->accepted) - atomic_load(&pool->board->reported) >= WEDGE_SLEEPER_BURST;
        wedge_sleeper_wait(&slots->takers, &slots->words->done, done_look, pool, burst, WEDGE_WAIT_FOR_ITEM, until_ns);
        count = collect_some(pool, ret, n);
    }
    return count ? (int)count : -ETIMEDOUT; /* perhaps early: the caller looks whether there is anything to wait for */
}

static void slots_release(struct wedge_pool *pool, struct wedge_pool_item *item)
{
    item->result.data = NULL;
    if (!item->kept)
        wedge_slots_free(pool, item->slot);
}

static bool slots_empty(struct wedge_pool *pool)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    for (uint32_t i = 0; i < slots->n; i++) {
        uint64_t word = atomic_load(&wedge_slot_at(slots, i)->word);
        if (wedge_ledger_is_outcome(word) || wedge_ledger_state_of(word) == WEDGE_LEDGER_EXPIRED)
            return false;
    }
    return true;
}

/* The worker's side. */

static int slots_enter(struct wedge_pool_worker *worker)
{
    (void)worker; /* the mapping came along with the fork, and nothing in it is this worker's alone */
    return 0;
}

static bool items_look(void *arg)
{
    struct wedge_pool_hand *hand = arg;
    struct wedge_pool *pool = hand->worker->pool;
    return wedge_ring_any(&wedge_slots_of(pool)->ring) || atomic_load(&pool->board->closed) ||
           wedge_pool_hand_leaves(hand);
}

/* A task's slot, if one is queued. */
static bool find(struct wedge_pool_hand *hand)
{
    struct wedge_slots *slots = wedge_slots_of(hand->worker->pool);
    uint32_t at;
    while (wedge_ring_pop(&slots->ring, &at)) {
        __builtin_prefetch(wedge_slot_at(slots, at), 1);
        if (claim(hand, at))
            return true;
    }
    return false;
}

/*
 * Woken by put, by close, by whoever makes the process leave, by the supervisor, and by itself. `closed` is read before the look: it
 * is set after the last put, so an empty look after it means that the queue stays empty (a number that a dead worker
 * took along is listed again, for those who come after).
 */
static int slots_get(struct wedge_pool_hand *hand)
{
    struct wedge_pool *pool = hand->worker->pool;
    struct wedge_slots *slots = wedge_slots_of(pool);
    bool idle = hand->now_ns != 0; /* answer has said so */
    hand->sleeper.may_spin = slots->takers.may_spin;
    for (;;) {
        bool closed = atomic_load(&pool->board->closed) != 0, leaves = wedge_pool_hand_leaves(hand);
        if (!idle) {
            hand->now_ns = wedge_clock_ns();
            wedge_board_does(record(hand), WEDGE_DOING_IDLE, hand->now_ns, WEDGE_POOL_NEVER, 0);
        }
        if (!leaves && find(hand))
            return 0;
        if (closed || leaves) {
            wedge_board_does(record(hand), WEDGE_DOING_NOTHING, 0, WEDGE_POOL_NEVER, 0);
            wedge_word_tell(&slots->words->items, 1); /* whoever woke this one meant any: it has not looked */
            return -ENODATA;
        }
        wedge_sleeper_wait(&hand->sleeper, &slots->words->items, items_look, hand, false, WEDGE_WAIT_FOR_ITEM,
                           wedge_pool_after_ms(WEDGE_SLOTS_LOOK_AGAIN_MS));
        WEDGE_POINT("pool.worker.woken");
        idle = false;
    }
}

/* The question about room is asked, so that a plan's rule meets the same places in every preset; its answer cannot
 * matter: this result's room was reserved when its task was put. */
static void slots_answer(struct wedge_pool_hand *hand, enum wedge_pool_outcome outcome, int code)
{
    struct wedge_pool *pool = hand->worker->pool;
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_slot *slot = wedge_slot_at(slots, hand->slot);
    struct wedge_board_thread *thread = record(hand);
    int64_t claimed_ns = hand->now_ns;
    bool late;
    (void)WEDGE_ASK("pool.result.room");
    slot->code = code;
    slot->result_bytes = (uint32_t)hand->task.result_bytes;
    WEDGE_POINT("pool.worker.result_stored");
    hand->now_ns = wedge_clock_ns(); /* the only time that is read per task: the next claim is dated by it too */
    wedge_board_does(thread, WEDGE_DOING_IDLE, hand->now_ns, WEDGE_POOL_NEVER, 0); /* before the claim ends */
    if (!wedge_ledger_finish(&slot->word, hand->claim, outcome, &late))
        return; /* cannot be: a claim is taken away only after its process is gone (ledger.h) */
    if (late)
        atomic_fetch_add(&pool->board->late, 1);
    WEDGE_POINT("pool.worker.result_published");
    wedge_histogram_add(&thread->run, (uint64_t)(hand->now_ns - claimed_ns));
    if (hand->place.process == 0)
        atomic_fetch_add(&pool->board->finished_by_caller, 1);
    else
        atomic_store_explicit(&thread->finished, atomic_load_explicit(&thread->finished, memory_order_relaxed) + 1,
                              memory_order_relaxed);
    wedge_slots_tell_done(slots, hand->slot, 1);
    WEDGE_POINT("pool.worker.result_told");
}

static void slots_thread_left(struct wedge_pool_hand *hand)
{
    (void)hand; /* nobody waits for a mark: the accounts say when all is done */
}

static void slots_leave(struct wedge_pool_worker *worker)
{
    (void)worker; /* nothing is on its way: what was finished is published */
}

static void slots_cut(struct wedge_pool *pool)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    if (slots && slots->words)
        wedge_slots_wake_all(pool);
}

const struct wedge_pool_transport wedge_pool_slots = {
    .create = slots_create,
    .destroy = slots_destroy,
    .put = slots_put,
    .take = slots_take,
    .release = slots_release,
    .empty = slots_empty,
    .cut = slots_cut,
    .enter = slots_enter,
    .get = slots_get,
    .answer = slots_answer,
    .thread_left = slots_thread_left,
    .leave = slots_leave,
};
