/*
 * The rows of OBJECTS: finding, making and retiring them, and what objects a define means.
 *
 * Two threads may make the same row at once (both use a static mutex first). Each claims a place in the window behind
 * the key's home by one compare-and-swap, then looks through the whole window: whoever finds the other complete
 * withdraws; of two incomplete ones the later in the window does. Both claims are sequentially consistent, so one of
 * the two sees the other. Every loop is bounded; a maker that died half-way costs its row.
 *
 * A private object of a process that is gone gives its row away when another looks for room.
 */
#include "faults/agent/object.h"

#include "faults/agent/object_internal.h"
#include "faults/agent/sys.h"

enum { WINDOW = 64, ATTEMPTS = 4, LINEAGE = 16, SETTLE_NS = 200000000 };

uint32_t agent_object_kept;
uint8_t agent_object_slots[WEDGE_ARENA_RULES];

/* The processes whose memory this one's is a copy of, oldest first, the last itself. Fork copies the list. */
static struct {
    uint32_t ordinal;
    uint64_t since_ns;
} lineage[LINEAGE];
static uint32_t depth;

struct key {
    uint64_t hash, number;
    uint32_t process;
    enum wedge_object_kind kind;
};

static bool of_tree(enum wedge_object_kind kind) /* the same number in each process */
{
    return kind == WEDGE_OBJECT_PROCESS || kind == WEDGE_OBJECT_SEMSET || kind == WEDGE_OBJECT_MSGQUEUE ||
           kind == WEDGE_OBJECT_SEGMENT;
}

static struct key make_key(enum wedge_object_kind kind, uint64_t number, uint32_t process)
{
    struct key key = {.number = number, .process = of_tree(kind) ? 0 : process, .kind = kind};
    key.hash = agent_mix(agent_mix(number ^ (uint64_t)kind << 56) + key.process) | 2; /* neither 0 nor GONE */
    return key;
}

/* Its place in the table. A multiplication: a division is dearer than all the rest of a look-up. */
static uint32_t home_of(const struct key *key)
{
    return (uint32_t)((key->hash >> 32) * agent_arena.n_objects >> 32);
}

static struct wedge_arena_object *row_at(uint32_t row)
{
    return &agent_arena.objects[row];
}

static bool is_complete(uint32_t gen)
{
    return gen && gen % 2 == 0;
}

static bool has_key(const struct wedge_arena_object *object, const struct key *key)
{
    return object->number == key->number && object->process == key->process && object->kind == key->kind;
}

/* Waits until whoever fills a row of this hash is done, a matter of nanoseconds unless that thread lost its processor;
 * false: it has not come to that, so the row is another's now, or its maker died. */
static bool settle(const struct wedge_arena_object *object, uint64_t hash)
{
    uint64_t until_ns = 0;
    for (uint32_t looks = 0;; looks++) {
        /* Partner: the release in publish. */
        if (is_complete(atomic_load_explicit(&object->gen, memory_order_acquire)))
            return atomic_load(&object->hash) == hash;
        if (atomic_load(&object->hash) != hash)
            return false;
        __builtin_ia32_pause();
        if (looks % 1024 != 1023)
            continue;
        uint64_t now = sys_now_ns();
        if (until_ns && now > until_ns)
            return false;
        until_ns = until_ns ? until_ns : now + SETTLE_NS;
    }
}

static uint32_t find(const struct key *key)
{
    uint32_t n = agent_arena.n_objects, at = home_of(key);
    for (uint32_t i = 0; i < WINDOW; i++, at = at + 1 == n ? 0 : at + 1) {
        struct wedge_arena_object *object = row_at(at);
        uint64_t hash = atomic_load_explicit(&object->hash, memory_order_acquire);
        if (hash == 0)
            break;
        if (hash == key->hash && settle(object, hash) && has_key(object, key))
            return at;
    }
    return AGENT_NONE;
}

/* What was counted for the object that is gone. */
static void forget_counts(uint32_t row)
{
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        if (agent_object_slots[i] == AGENT_NO_SLOT)
            continue;
        uint64_t word =
            atomic_exchange(&agent_arena.object_counts[row * WEDGE_OBJECT_RULES + agent_object_slots[i]].word, 0);
        atomic_fetch_add_explicit(&agent_arena.rules[i].hits, word & WEDGE_OBJECT_HITS_MASK, memory_order_relaxed);
    }
}

void agent_object_retire(uint32_t row)
{
    struct wedge_arena_object *object = row_at(row);
    uint32_t gen = atomic_load(&object->gen);
    if (!is_complete(gen) || !atomic_compare_exchange_strong(&object->gen, &gen, gen + 1))
        return; /* somebody else does */
    forget_counts(row);
    atomic_store(&object->hash, WEDGE_OBJECT_GONE);
}

/* A private object of a process that is gone, or a description that nobody refers to? */
static bool is_orphan(const struct wedge_arena_object *object)
{
    if (object->kind == WEDGE_OBJECT_FD && is_complete(atomic_load(&object->gen)) && atomic_load(&object->refs) == 0)
        return true;
    if (!is_complete(atomic_load(&object->gen)) || of_tree(object->kind) ||
        object->creator_proc >= agent_arena.n_procs ||
        (atomic_load(&object->flags) & (WEDGE_OBJECT_SHARED | WEDGE_OBJECT_INHERITED)))
        return false;
    const struct wedge_arena_proc *proc = &agent_arena.procs[object->creator_proc];
    return proc->ordinal != object->process || atomic_load(&proc->gen) == 0 ||
           atomic_load(&proc->state) == WEDGE_PROC_EXITING;
}

/* The row is ours from here on, its generation odd. */
static bool claim(struct wedge_arena_object *object, uint64_t hash, bool orphans)
{
    uint64_t old = atomic_load(&object->hash);
    if (orphans && old > WEDGE_OBJECT_GONE && is_orphan(object)) {
        agent_object_retire((uint32_t)(object - agent_arena.objects));
        old = atomic_load(&object->hash);
    }
    if (old > WEDGE_OBJECT_GONE || !atomic_compare_exchange_strong(&object->hash, &old, hash))
        return false;
    atomic_fetch_or(&object->gen, 1);
    return true;
}

static void withdraw(struct wedge_arena_object *object)
{
    atomic_store(&object->hash, WEDGE_OBJECT_GONE);
}

/* Is another row of this key there, or about to be, that has the better right? *ret_row gets it. */
static bool has_rival(const struct key *key, uint32_t mine, uint32_t *ret_row)
{
    uint32_t n = agent_arena.n_objects, at = home_of(key);
    bool before = true;
    for (uint32_t i = 0; i < WINDOW; i++, at = at + 1 == n ? 0 : at + 1) {
        struct wedge_arena_object *object = row_at(at);
        if (at == mine) {
            before = false;
            continue;
        }
        if (atomic_load(&object->hash) != key->hash)
            continue;
        if (before && !is_complete(atomic_load(&object->gen))) { /* the earlier one has the right */
            *ret_row = at;
            return true;
        }
        if (settle(object, key->hash) && has_key(object, key)) {
            *ret_row = at;
            return true;
        }
    }
    return false;
}

/* One attempt; true: *ret_row is the answer, AGENT_NONE for no room. False: whoever had the better right withdrew. */
static bool try_claim(const struct key *key, uint32_t *ret_row, bool *ret_there)
{
    uint32_t n = agent_arena.n_objects, home = home_of(key), rival;
    *ret_row = AGENT_NONE;
    for (uint32_t i = 0; i < 2 * WINDOW; i++) { /* what nobody needs any more only where nothing is free */
        uint32_t at = (home + i % WINDOW) % n;
        struct wedge_arena_object *object = row_at(at);
        if (atomic_load(&object->hash) == key->hash && settle(object, key->hash) && has_key(object, key)) {
            *ret_row = at;
            *ret_there = true;
            return true;
        }
        if (!claim(object, key->hash, i >= WINDOW))
            continue;
        *ret_row = at;
        if (!has_rival(key, at, &rival))
            return true;
        withdraw(object);
        *ret_row = rival;
        *ret_there = settle(row_at(rival), key->hash) && has_key(row_at(rival), key);
        return *ret_there;
    }
    return true;
}

/* Claims a row for the key. AGENT_NONE: no room (counted). *ret_there: it is another's, complete. */
static uint32_t claim_row(const struct key *key, bool *ret_there)
{
    uint32_t row = AGENT_NONE;
    *ret_there = false;
    for (int i = 0; i < ATTEMPTS; i++)
        if (try_claim(key, &row, ret_there)) {
            if (row != AGENT_NONE)
                return row;
            break;
        }
    atomic_fetch_add_explicit(&agent_arena.header->lost_objects, 1, memory_order_relaxed);
    return AGENT_NONE;
}

static void fill(const struct agent_here *here, struct wedge_arena_object *object, const struct key *key,
                 const struct agent_making *making)
{
    object->number = key->number;
    object->process = key->process;
    object->kind = (uint8_t)key->kind;
    object->made = (uint8_t)making->made;
    object->creator_proc = here->proc_slot;
    object->creator_tid = here->thread ? here->thread->tid : 0;
    object->caller = making->caller;
    object->since_ns = sys_now_ns();
    object->holder.proc = object->waker.proc = 0;
    object->holder.tid = object->waker.tid = 0;
    object->holder.when_ns = object->waker.when_ns = 0;
    object->takes = object->wakes = object->full = object->empty = 0;
    object->refs = making->refs;
    object->files[0] = object->files[1] = 0;
    object->flags = (uint16_t)making->flags;
    object->defines = making->defines;
    object->luck = making->luck;
    atomic_fetch_add_explicit(&agent_arena.control->objects, 1, memory_order_relaxed);
}

uint32_t agent_object_luck(const struct agent_here *here, enum wedge_object_kind kind)
{
    _Static_assert(WEDGE_OBJECT_COUNT <= sizeof(here->thread->made) / sizeof(here->thread->made[0]), "one for each");
    if (!here->thread)
        return (uint32_t)here->proc->pedigree | 1;
    uint64_t nth = ++here->thread->made[kind];
    return (uint32_t)agent_mix(here->thread->luck ^ (nth << 8 | (uint64_t)kind)) | 1;
}

static void publish(struct wedge_arena_object *object)
{
    /* Partner: the acquire in settle, and wedge's copies. */
    atomic_fetch_add_explicit(&object->gen, 1, memory_order_release);
}

uint32_t agent_object_defines(const struct agent_making *making, enum wedge_object_kind kind)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < agent_arena.n_defines; i++) {
        struct wedge_arena_define *define = &agent_arena.defines[i];
        if (define->what != WEDGE_DEFINE_OBJECT || define->kind != kind ||
            (define->made != WEDGE_MADE_ANY && define->made != making->made) ||
            (define->function[0] && !agent_is_in(AGENT_RANGES_DEFINE + i, making->caller)) ||
            (define->exe[0] && (!making->path || !agent_glob(define->exe, sizeof(define->exe), making->path))))
            continue;
        uint32_t nth = atomic_fetch_add(&define->seen, 1) + 1;
        if (!define->nth || define->nth == nth)
            bits |= 1u << i;
    }
    return bits;
}

uint32_t agent_object_new(const struct agent_here *here, enum wedge_object_kind kind, uint64_t number,
                          struct agent_making *making)
{
    static _Atomic uint64_t unnamed; /* rows of descriptors are never looked for by hash: spread them */
    bool descriptor = kind == WEDGE_OBJECT_FD, there;
    struct key key = make_key(kind, number, agent_page->ordinal);
    if (descriptor)
        key.hash = agent_mix(key.hash + atomic_fetch_add(&unnamed, 1)) | 2;
    uint32_t row = claim_row(&key, &there);
    if (row == AGENT_NONE || there)
        return row;
    if (!making->counted)
        making->defines = agent_object_defines(making, kind);
    fill(here, row_at(row), &key, making);
    publish(row_at(row));
    return row;
}

/*
 * Which row an address was found in last: a row's number and the low bits of its generation, by which an entry that
 * outlived the object is noticed. Of this process: emptied when a child begins, whose objects others are.
 */
enum { RECENT = 256, RECENT_ROW_BITS = 12 };
_Static_assert(AGENT_OBJECTS_MOST < 1 << RECENT_ROW_BITS, "a row fits");
static _Atomic uint32_t recent[RECENT];

static _Atomic uint32_t *recent_of(enum wedge_object_kind kind, uint64_t number)
{
    return &recent[(number + kind) * 0x9e3779b97f4a7c15ull >> 56];
}

static uint32_t recall(enum wedge_object_kind kind, uint64_t number)
{
    uint32_t entry = atomic_load_explicit(recent_of(kind, number), memory_order_relaxed);
    uint32_t row = entry & ((1u << RECENT_ROW_BITS) - 1);
    const struct wedge_arena_object *object = row_at(row);
    uint32_t gen = atomic_load_explicit(&object->gen, memory_order_acquire);
    return is_complete(gen) && (gen << RECENT_ROW_BITS | row) == entry && object->number == number &&
                   object->kind == kind
               ? row
               : AGENT_NONE;
}

static uint32_t remember(enum wedge_object_kind kind, uint64_t number, uint32_t row)
{
    uint32_t gen = atomic_load_explicit(&row_at(row)->gen, memory_order_relaxed);
    atomic_store_explicit(recent_of(kind, number), gen << RECENT_ROW_BITS | row, memory_order_relaxed);
    return row;
}

static bool is_kept(enum wedge_object_kind kind)
{
    return agent_object_kept >> kind & 1;
}

/* A part of a mapping is not another mapping, and a process is not made by waiting for it. */
static bool can_be_found(enum wedge_object_kind kind)
{
    return kind != WEDGE_OBJECT_MAPPING && kind != WEDGE_OBJECT_PROCESS;
}

uint32_t agent_object_of(const struct agent_here *here, enum wedge_object_kind kind, uint64_t number)
{
    if (kind == WEDGE_OBJECT_FD)
        return agent_descriptor_row((int64_t)number);
    if (!is_kept(kind) || !agent_arena.n_objects || (!number && !of_tree(kind)))
        return AGENT_NONE;
    uint32_t known = recall(kind, number);
    if (AGENT_LIKELY(known != AGENT_NONE))
        return known;
    for (uint32_t at = depth; at-- > 0;) {
        struct key key = make_key(kind, number, lineage[at].ordinal);
        uint32_t row = find(&key);
        if (row == AGENT_NONE) {
            if (of_tree(kind))
                break;
            continue;
        }
        const struct wedge_arena_object *object = row_at(row);
        if (of_tree(kind))
            return remember(kind, number, row);
        if (at + 1 == depth) {
            if (object->since_ns >= lineage[0].since_ns)
                return remember(kind, number, row);
            continue; /* of the image that exec replaced */
        }
        if (object->since_ns > lineage[at + 1].since_ns)
            continue; /* made after our branch left */
        if (atomic_load(&object->flags) & WEDGE_OBJECT_SHARED)
            return remember(kind, number, row);
        struct agent_making copy = {.made = object->made,
                                    .caller = object->caller,
                                    .flags = (atomic_load(&object->flags) & WEDGE_OBJECT_FOUND) | WEDGE_OBJECT_COPY,
                                    .defines = atomic_load(&object->defines),
                                    .luck = object->luck,
                                    .counted = true};
        return agent_is_vfork_child(here) ? row : agent_object_new(here, kind, number, &copy);
    }
    return AGENT_NONE;
}

uint32_t agent_object_at(const struct agent_here *here, enum wedge_object_kind kind, uint64_t number, uint64_t caller)
{
    uint32_t row = agent_object_of(here, kind, number);
    if (row != AGENT_NONE || !is_kept(kind) || !can_be_found(kind) || agent_is_vfork_child(here))
        return row;
    if (kind == WEDGE_OBJECT_FD)
        return agent_descriptor_found(here, (int64_t)number, caller);
    if ((!number && !of_tree(kind)) || !agent_arena.n_objects)
        return AGENT_NONE;
    struct agent_making making = {.caller = caller, .flags = WEDGE_OBJECT_FOUND};
    return agent_object_new(here, kind, number, &making);
}

uint32_t agent_object_made(const struct agent_here *here, enum wedge_object_kind kind, uint64_t number, bool shared,
                           uint64_t caller)
{
    if (!is_kept(kind) || !agent_arena.n_objects || (!number && !of_tree(kind)) || agent_is_vfork_child(here))
        return AGENT_NONE;
    struct key key = make_key(kind, number, agent_page->ordinal);
    uint32_t luck = agent_object_luck(here, kind);
    uint32_t old = find(&key); /* what was at this address is no more */
    if (old != AGENT_NONE && of_tree(kind))
        return old; /* such as semget of what is there */
    if (old != AGENT_NONE)
        agent_object_retire(old);
    struct agent_making making = {.caller = caller, .luck = luck, .flags = shared ? WEDGE_OBJECT_SHARED : 0};
    return agent_object_new(here, kind, number, &making);
}

void agent_object_gone(const struct agent_here *here, enum wedge_object_kind kind, uint64_t number)
{
    if (!is_kept(kind) || kind == WEDGE_OBJECT_FD || agent_is_vfork_child(here))
        return;
    uint32_t row = agent_object_of(here, kind, number);
    if (row != AGENT_NONE)
        agent_object_retire(row);
}

uint32_t agent_site_object(const struct agent_here *here, struct agent_site *site)
{
    if (site->row)
        return site->row == AGENT_NONE ? AGENT_NONE : site->row - 1;
    uint32_t row = AGENT_NONE;
    if (AGENT_LIKELY(site->kind != WEDGE_OBJECT_FD && agent_arena.n_objects))
        row = recall(site->kind, site->object); /* most often, and the way there is long */
    if (AGENT_UNLIKELY(row == AGENT_NONE))
        row = agent_object_at(here, site->kind, site->object, site->caller);
    site->row = row == AGENT_NONE ? AGENT_NONE : row + 1;
    return row;
}

void agent_object_forget_image(void)
{
    for (uint32_t i = 0; i < agent_arena.n_objects; i++) {
        const struct wedge_arena_object *object = row_at(i);
        if (is_complete(atomic_load_explicit(&object->gen, memory_order_acquire)) &&
            object->process == agent_page->ordinal && object->kind != WEDGE_OBJECT_FD &&
            !(atomic_load(&object->flags) & WEDGE_OBJECT_SHARED)) /* children may have those still */
            agent_object_retire(i);
    }
}

void agent_objects_born(uint32_t ordinal, uint64_t since_ns, bool image)
{
    for (uint32_t i = 0; i < RECENT; i++)
        atomic_store_explicit(&recent[i], 0, memory_order_relaxed);
    agent_descriptors_born();
    if (image)
        depth = 0;
    for (uint32_t i = 2; depth == LINEAGE && i < LINEAGE; i++) /* the eldest but one is forgotten */
        lineage[i - 1] = lineage[i];
    depth -= depth == LINEAGE;
    lineage[depth].ordinal = ordinal;
    lineage[depth].since_ns = since_ns;
    depth++;
}
