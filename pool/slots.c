/*
 * The slots: a task and the room for its result in one fixed place in shared memory, from put until its result was
 * taken. What happens to a slot is the ledger's (ledger.h); this file finds slots, moves bytes, and waits.
 *
 * - There are queue + processes × threads slots. A slot is reserved for the result when the task is put, so a worker
 *   never waits for room and results cannot be full.
 * - Nothing is locked. Who finds a slot takes it by the ledger's swap; the cursors only say where to begin to look.
 * - Three words: `items` (a task was queued; workers sleep on it), `done` (a result is there; takers sleep on it),
 *   `room` (a slot was freed; put sleeps on it). Each sleep ends by itself after LOOK_AGAIN_MS, and the supervisor wakes
 *   everyone after each death: a wake-up that a killed thread took with it delays, and never hangs.
 */
#include "pool/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <wedge/point.h>

#include "pool/annotate.h"
#include "pool/ledger.h"

#define LOOK_AGAIN_MS 1000

struct slot {
    wedge_ledger_word word;
    uint64_t id;
    uint32_t bytes, result_bytes;
    int32_t code;
} __attribute__((aligned(64)));

struct slots_shared {
    struct wedge_word items, done, room;
    _Atomic uint32_t put_at, claim_at, take_at; /* hints: where the next look begins */
    struct slot slots[]; /* n of them, then n × 2 × payload_bytes */
};

struct wedge_slots {
    struct slots_shared *shared;
    uint8_t *payloads;
    size_t map_bytes, payload_bytes;
    uint32_t n;
};

static uint8_t *task_bytes(const struct wedge_slots *slots, uint32_t i)
{
    return slots->payloads + (size_t)i * 2 * slots->payload_bytes;
}

static uint8_t *result_bytes(const struct wedge_slots *slots, uint32_t i)
{
    return task_bytes(slots, i) + slots->payload_bytes;
}

static int slots_create(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    struct wedge_slots *slots = calloc(1, sizeof(*slots));
    if (!slots)
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the slots");
    pool->transport_data = slots;
    slots->n =
        wedge_pool_settings_queue(&pool->settings) + (uint32_t)(pool->settings.processes * pool->settings.threads);
    slots->payload_bytes = ((size_t)pool->settings.payload_bytes + 7) & ~(size_t)7;
    size_t head_bytes = sizeof(struct slots_shared) + slots->n * sizeof(struct slot);
    slots->map_bytes = head_bytes + (size_t)slots->n * 2 * slots->payload_bytes;
    void *map = mmap(NULL, slots->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return wedge_pool_err_set(err, -ENOMEM, "no shared memory: %u slots are %zu bytes", slots->n, slots->map_bytes);
    slots->shared = map; /* zeroed: every slot is FREE */
    WEDGE_ATOMICS(map, sizeof(struct slots_shared));
    slots->payloads = (uint8_t *)map + head_bytes;
    return 0;
}

static void slots_destroy(struct wedge_pool *pool)
{
    struct wedge_slots *slots = pool->transport_data;
    if (!slots)
        return;
    if (slots->shared)
        munmap(slots->shared, slots->map_bytes);
    free(slots);
    pool->transport_data = NULL;
}

/* From the hint once around. Returns the slot for which `try` succeeded, or n. */
static uint32_t find(struct wedge_slots *slots, _Atomic uint32_t *hint, bool (*try)(struct slot *slot, void *arg),
                     void *arg)
{
    uint32_t start = atomic_load_explicit(hint, memory_order_relaxed); /* a hint: any value will do */
    for (uint32_t i = 0; i < slots->n; i++) {
        uint32_t at = (start + i) % slots->n;
        if (try(&slots->shared->slots[at], arg)) {
            atomic_store_explicit(hint, (at + 1) % slots->n, memory_order_relaxed);
            return at;
        }
    }
    return slots->n;
}

static bool try_reserve(struct slot *slot, void *arg)
{
    (void)arg;
    return wedge_ledger_reserve(&slot->word);
}

static bool any_used(struct wedge_slots *slots)
{
    for (uint32_t i = 0; i < slots->n; i++)
        if (wedge_ledger_state_of(atomic_load(&slots->shared->slots[i].word)) != WEDGE_LEDGER_FREE)
            return true;
    return false;
}

/*
 * A slot for a task, in WRITING. A "full" that a fault answers is believed while a slot is in use, so that something
 * can end the wait. Woken by take (room), by the supervisor, and by itself.
 */
static int reserve(struct wedge_pool *pool, int64_t until_ns, uint32_t *ret)
{
    struct wedge_slots *slots = pool->transport_data;
    for (;;) {
        uint32_t seen = wedge_word_read(&slots->shared->room);
        if (atomic_load(&pool->board->broken))
            return -ENOTRECOVERABLE;
        if (wedge_pool_is_closed(pool))
            return -EPIPE;
        int ask = WEDGE_ASK("pool.task.room");
        if (ask < 0)
            return ask;
        if (!(ask == WEDGE_ASK_FULL && any_used(slots))) {
            *ret = find(slots, &slots->shared->put_at, try_reserve, NULL);
            if (*ret < slots->n)
                return 0;
        }
        if (!pool->callbacks.collect && atomic_load(&pool->takers) == 0)
            return -ENOBUFS; /* only a take frees a slot, and nobody is taking */
        int64_t look_ns = wedge_pool_earlier(until_ns, wedge_pool_after_ms(LOOK_AGAIN_MS));
        if (wedge_word_wait(&slots->shared->room, seen, WEDGE_WAIT_FOR_ROOM, look_ns) == -ETIMEDOUT &&
            until_ns != WEDGE_POOL_NEVER && wedge_clock_ns() >= until_ns)
            return -ETIMEDOUT;
    }
}

static int slots_put(struct wedge_pool *pool, struct wedge_pool_input *inputs, unsigned n, int64_t until_ns)
{
    (void)n;
    struct wedge_slots *slots = pool->transport_data;
    uint32_t at;
    int rc = reserve(pool, until_ns, &at);
    if (rc < 0)
        return rc;
    struct slot *slot = &slots->shared->slots[at];
    inputs->id = slot->id = wedge_pool_new_id(pool);
    slot->bytes = (uint32_t)inputs->bytes;
    slot->result_bytes = 0;
    slot->code = 0;
    if (inputs->bytes)
        memcpy(task_bytes(slots, at), inputs->data, inputs->bytes);
    atomic_fetch_add(&pool->board->accepted, 1); /* before anyone can report it */
    wedge_ledger_publish(&slot->word);
    wedge_word_bump(&slots->shared->items, 1);
    return 1;
}

struct collected {
    enum wedge_pool_outcome outcome;
    enum wedge_ledger_found found;
};

static bool try_collect(struct slot *slot, void *arg)
{
    struct collected *collected = arg;
    do {
        collected->found = wedge_ledger_collect(&slot->word, &collected->outcome);
        if (collected->found == WEDGE_LEDGER_SPARE)
            wedge_ledger_release(&slot->word);
    } while (collected->found == WEDGE_LEDGER_SPARE);
    return collected->found != WEDGE_LEDGER_NOTHING;
}

/* Woken by a worker that finished, by the supervisor that condemned or withdrew, and by itself. */
static int slots_take(struct wedge_pool *pool, struct wedge_pool_item *ret, unsigned n, int64_t until_ns)
{
    (void)n;
    struct wedge_slots *slots = pool->transport_data;
    uint32_t seen = wedge_word_read(&slots->shared->done);
    struct collected collected;
    uint32_t at = find(slots, &slots->shared->take_at, try_collect, &collected);
    if (at == slots->n) {
        wedge_word_wait(&slots->shared->done, seen, WEDGE_WAIT_FOR_ITEM, until_ns);
        at = find(slots, &slots->shared->take_at, try_collect, &collected);
        if (at == slots->n)
            return -ETIMEDOUT; /* perhaps early: the caller looks whether there is anything to wait for */
    }
    const struct slot *slot = &slots->shared->slots[at];
    bool ran = collected.outcome == WEDGE_POOL_OK || collected.outcome == WEDGE_POOL_ERROR;
    *ret = (struct wedge_pool_item){.slot = at, .kept = collected.found == WEDGE_LEDGER_EARLY};
    ret->result = (struct wedge_pool_result){.id = slot->id,
                                             .outcome = collected.outcome,
                                             .code = ran ? slot->code : 0,
                                             .data = result_bytes(slots, at),
                                             .bytes = ran ? slot->result_bytes : 0};
    return 1;
}

static void slots_release(struct wedge_pool *pool, struct wedge_pool_item *item)
{
    struct wedge_slots *slots = pool->transport_data;
    item->result.data = NULL;
    if (item->kept)
        return;
    wedge_ledger_release(&slots->shared->slots[item->slot].word);
    wedge_word_bump(&slots->shared->room, 1);
}

static bool slots_empty(struct wedge_pool *pool)
{
    const struct wedge_slots *slots = pool->transport_data;
    for (uint32_t i = 0; i < slots->n; i++) {
        uint64_t word = atomic_load(&slots->shared->slots[i].word);
        if (wedge_ledger_is_outcome(word) || wedge_ledger_state_of(word) == WEDGE_LEDGER_EXPIRED)
            return false;
    }
    return true;
}

static int slots_enter(struct wedge_pool_worker *worker)
{
    (void)worker; /* the mapping came along with the fork, and nothing in it is this worker's alone */
    return 0;
}

static bool try_claim(struct slot *slot, void *arg)
{
    struct wedge_pool_hand *hand = arg;
    struct wedge_ledger_owner owner = {.worker = hand->place.process,
                                       .incarnation = hand->place.generation % WEDGE_LEDGER_INCARNATIONS,
                                       .thread = hand->place.thread};
    return wedge_ledger_claim(&slot->word, owner, &hand->claim);
}

/* Where this thread says what it does. */
static struct wedge_board_thread *record(const struct wedge_pool_hand *hand)
{
    return wedge_board_thread(hand->worker->pool->board, hand->place.process - 1, hand->place.thread);
}

/* Woken by put, by close, by the supervisor, and by itself. `closed` is read before the look: it is set after the last
 * put, so an empty look after it means that the queue stays empty. */
static int slots_get(struct wedge_pool_hand *hand)
{
    struct wedge_pool *pool = hand->worker->pool;
    struct wedge_slots *slots = pool->transport_data;
    for (;;) {
        uint32_t seen = wedge_word_read(&slots->shared->items);
        bool closed = atomic_load(&pool->board->closed) != 0;
        if (wedge_pool_hand_leaves(hand)) {
            wedge_board_does(record(hand), WEDGE_DOING_NOTHING, 0, WEDGE_POOL_NEVER, 0);
            return -ENODATA;
        }
        wedge_board_does(record(hand), WEDGE_DOING_IDLE, wedge_clock_ns(), WEDGE_POOL_NEVER, 0);
        hand->slot = find(slots, &slots->shared->claim_at, try_claim, hand);
        if (hand->slot < slots->n)
            break;
        if (closed) {
            wedge_board_does(record(hand), WEDGE_DOING_NOTHING, 0, WEDGE_POOL_NEVER, 0);
            return -ENODATA;
        }
        wedge_word_wait(&slots->shared->items, seen, WEDGE_WAIT_FOR_ITEM, wedge_pool_after_ms(LOOK_AGAIN_MS));
    }
    struct slot *slot = &slots->shared->slots[hand->slot];
    wedge_board_does(record(hand), WEDGE_DOING_TASK, wedge_clock_ns(), WEDGE_POOL_NEVER, slot->id);
    hand->task = (struct wedge_pool_task){.id = slot->id,
                                          .data = task_bytes(slots, hand->slot),
                                          .bytes = slot->bytes,
                                          .result = result_bytes(slots, hand->slot),
                                          .result_room = (size_t)pool->settings.payload_bytes,
                                          .place = hand->place};
    return 0;
}

/* The question about room is asked, so that a plan's rule meets the same places in every preset; its answer cannot
 * matter: this result's room was reserved when its task was put. */
static void slots_answer(struct wedge_pool_hand *hand, enum wedge_pool_outcome outcome, int code)
{
    struct wedge_pool *pool = hand->worker->pool;
    struct wedge_slots *slots = pool->transport_data;
    struct slot *slot = &slots->shared->slots[hand->slot];
    (void)WEDGE_ASK("pool.result.room");
    slot->code = code;
    slot->result_bytes = (uint32_t)hand->task.result_bytes;
    WEDGE_POINT("pool.worker.result_stored");
    struct wedge_board_thread *thread = record(hand);
    bool late;
    wedge_board_does(thread, WEDGE_DOING_IDLE, wedge_clock_ns(), WEDGE_POOL_NEVER, 0); /* before the claim ends */
    if (!wedge_ledger_finish(&slot->word, hand->claim, outcome, &late))
        return; /* cannot be: a claim is taken away only after its process is gone (ledger.h) */
    if (late)
        atomic_fetch_add(&pool->board->late, 1);
    WEDGE_POINT("pool.worker.result_published");
    atomic_fetch_add_explicit(&thread->finished, 1, memory_order_relaxed);
    wedge_word_bump(&slots->shared->done, 1);
}

static void slots_thread_left(struct wedge_pool_hand *hand)
{
    (void)hand; /* nobody waits for a mark: the accounts say when all is done */
}

static void slots_leave(struct wedge_pool_worker *worker)
{
    (void)worker; /* nothing is on its way: what was finished is published */
}

void wedge_slots_wake_all(struct wedge_pool *pool)
{
    struct wedge_slots *slots = pool->transport_data;
    wedge_word_bump(&slots->shared->items, INT_MAX);
    wedge_word_bump(&slots->shared->done, INT_MAX);
    wedge_word_bump(&slots->shared->room, INT_MAX);
    wedge_word_bump(&pool->board->news, INT_MAX);
}

static void slots_cut(struct wedge_pool *pool)
{
    struct wedge_slots *slots = pool->transport_data;
    if (slots && slots->shared)
        wedge_slots_wake_all(pool);
}

void wedge_slots_condemn(struct wedge_pool *pool, uint32_t worker, uint32_t incarnation)
{
    struct wedge_slots *slots = pool->transport_data;
    enum wedge_ledger_state state;
    for (uint32_t i = 0; i < slots->n; i++)
        if (wedge_ledger_condemn(&slots->shared->slots[i].word, worker, incarnation, &state) &&
            state != WEDGE_LEDGER_SPENT)
            atomic_fetch_add(&pool->board->settled, 1);
    wedge_slots_wake_all(pool);
}

bool wedge_slots_expire(struct wedge_pool *pool, uint32_t worker, uint32_t incarnation, uint32_t thread, uint64_t task)
{
    struct wedge_slots *slots = pool->transport_data;
    struct wedge_ledger_owner owner = {.worker = worker, .incarnation = incarnation, .thread = thread};
    for (uint32_t i = 0; i < slots->n; i++) {
        struct slot *slot = &slots->shared->slots[i];
        struct wedge_ledger_owner has = wedge_ledger_owner_of(atomic_load(&slot->word));
        WEDGE_TAKES_OVER(&slot->word); /* the id is constant while someone owns the slot */
        if (has.worker == worker && has.thread == thread && slot->id == task &&
            wedge_ledger_expire(&slot->word, owner)) {
            atomic_fetch_add(&pool->board->settled, 1);
            wedge_word_bump(&slots->shared->done, INT_MAX);
            return true;
        }
    }
    return false;
}

void wedge_slots_withdraw(struct wedge_pool *pool, enum wedge_pool_outcome outcome)
{
    struct wedge_slots *slots = pool->transport_data;
    for (uint32_t i = 0; i < slots->n; i++)
        if (wedge_ledger_withdraw(&slots->shared->slots[i].word, outcome))
            atomic_fetch_add(&pool->board->settled, 1);
    wedge_slots_wake_all(pool);
}

bool wedge_slots_any_queued(struct wedge_pool *pool)
{
    struct wedge_slots *slots = pool->transport_data;
    for (uint32_t i = 0; i < slots->n; i++)
        if (wedge_ledger_state_of(atomic_load(&slots->shared->slots[i].word)) == WEDGE_LEDGER_QUEUED)
            return true;
    return false;
}

uint32_t wedge_slots_owned(struct wedge_pool *pool, uint32_t worker)
{
    struct wedge_slots *slots = pool->transport_data;
    uint32_t owned = 0;
    for (uint32_t i = 0; i < slots->n; i++) {
        uint64_t word = atomic_load(&slots->shared->slots[i].word);
        owned += wedge_ledger_is_owned(word) && wedge_ledger_owner_of(word).worker == worker;
    }
    return owned;
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
