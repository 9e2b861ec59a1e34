/*
 * The slots: a task and the room for its result in one fixed place in shared memory, from put until its result was
 * taken. What happens to a slot is the ledger's (ledger.h); this file and slots_put.c find slots, move bytes,
 * and wait.
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
#include <unistd.h>

#include <wedge/point.h>

#include "pool/annotate.h"
#include "pool/slots_inside.h"

#define PARENT_NAP_NS                                                                                                  \
    250000 /* a putter or taker naps for no longer: with slow tasks each takes a CPU from the workers */

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
    struct wedge_slots_places large = wedge_slots_places(slots, slots->payload_bytes),
                              small = wedge_slots_places(slots, 0);
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
    slots->putters.nap_most_ns = slots->takers.nap_most_ns = PARENT_NAP_NS;
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
    slots->payload_bytes = wedge_slots_round8((size_t)settings->payload_bytes);
    slots->room = wedge_slots_round8((size_t)settings->slot_bytes);
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

/* Taking. */

void wedge_slots_free(struct wedge_pool *pool, uint32_t i)
{
    struct wedge_slots *slots = wedge_slots_of(pool);
    struct wedge_slots_free *set = i < slots->n - slots->spares ? &slots->free : &slots->spare;
    struct wedge_slot *slot = wedge_slot_at(slots, i);
    if (slots->arena.extents && slots->arena.extents[i].bytes) { /* the slot's owner's to read */
        wedge_slots_lock(slots);
        wedge_arena_give(&slots->arena, i);
        wedge_slots_unlock(slots);
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
        struct wedge_slots_places places = wedge_slots_places(slots, slot->bytes);
        ret->result.code = slot->code;
        ret->result.data = wedge_slots_result(slots, slot, &places);
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

/* Where this thread says what it does. */
static struct wedge_board_thread *record(const struct wedge_pool_hand *hand)
{
    struct wedge_pool *pool = hand->worker->pool;
    if (hand->place.process == 0)
        return &wedge_slots_of(pool)->caller;
    return wedge_board_thread(pool->board, hand->place.process - 1, hand->place.thread);
}

/* Makes the task in this slot the hand's; false: it is not queued, the number was an old one. hand->now_ns is the time. */
bool wedge_slots_claim(struct wedge_pool_hand *hand, uint32_t at)
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
    struct wedge_slots_places places = wedge_slots_places(slots, slot->bytes);
    hand->slot = at;
    hand->task = (struct wedge_pool_task){.id = slot->id,
                                          .data = wedge_slots_task(slots, slot, &places),
                                          .bytes = slot->bytes,
                                          .result = wedge_slots_result(slots, slot, &places),
                                          .result_room = (size_t)pool->settings.payload_bytes,
                                          .place = hand->place};
    return true;
}

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
        WEDGE_POINT("pool.worker.popped"); /* a death here takes the number along */
        if (wedge_slots_claim(hand, at))
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
    bool waited = false;
    int64_t look_again_ms = wedge_pool_idle_look_ms(&pool->settings, hand->place.thread);
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
        /* The kernel's own order to die with the zygote may have been taken back (zygote.h). Not asked where a task came. */
        if (waited && hand->worker->zygote && getppid() != hand->worker->zygote)
            wedge_pool_leave_process(WEDGE_POOL_EXIT_ORPHAN);
        wedge_sleeper_wait(&hand->sleeper, &slots->words->items, items_look, hand, false, WEDGE_WAIT_FOR_ITEM,
                           wedge_pool_earlier(hand->until_ns, wedge_pool_after_ms(look_again_ms)));
        WEDGE_POINT("pool.worker.woken");
        idle = false;
        waited = true;
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
    .put = wedge_slots_put,
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
