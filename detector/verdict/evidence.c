/*
 * What the agent's record proves to nobody and makes evident: who reads a rwlock, who ever posted a semaphore or
 * signalled a condition, who took a semaphore and died, what was signalled before anybody waited.
 *
 * The record may be incomplete (calls inside of libc pass the agent by, a target may scribble on it), so that it never
 * takes a waker away from a proof: each one that it leaves out is marked WEDGE_WAKER_UNLESS_RECORD and counts where a
 * verdict is to be proved. It is used only where it is whole: every thread that the process ever had is there, no ring
 * was written over, and of a rwlock the lock itself counts as many readers.
 */
#include <stdio.h>
#include <string.h>

#include "detector/wait/wait.h"

enum { MOST_READERS = 16 };

struct record { /* of one process */
    const struct wedge_look *look;
    uint32_t slot;
    const struct wedge_arena_proc *proc;
};

static bool is_of(const struct record *r, const struct wedge_arena_thread *t)
{
    return t && t->gen && t->gen % 2 == 0 && t->proc == r->slot;
}

static const struct wedge_arena_thread *thread_at(const struct record *r, uint32_t i)
{
    return wedge_arena_at(r->look->options->arena, WEDGE_SEC_THREADS, i);
}

/* Every thread that ever checked in is there still. */
static bool has_all_threads(const struct record *r)
{
    const struct wedge_arena_copy *arena = r->look->options->arena;
    const struct wedge_arena_control *control = wedge_arena_at(arena, WEDGE_SEC_CONTROL, 0);
    const struct wedge_arena_header *header = (const void *)arena->data;
    uint32_t n = 0;
    if (!control || control->record != WEDGE_RECORD_CALLS || header->lost_threads)
        return false;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++)
        n += is_of(r, thread_at(r, i));
    return n && n == r->proc->threads;
}

/* With everything that it did. */
static bool is_whole(const struct record *r)
{
    const struct wedge_arena_copy *arena = r->look->options->arena;
    for (uint32_t i = 0; arena->rings && i < wedge_arena_count(WEDGE_SEC_THREADS); i++)
        if (is_of(r, thread_at(r, i)) && thread_at(r, i)->event_seq > wedge_arena_event_count(arena, i))
            return false;
    return arena->rings && has_all_threads(r);
}

static bool find_record(struct wedge_look *look, int thread, struct record *ret)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    *ret = (struct record){.look = look};
    /* By its address in one process: what several share has another one in each. */
    if (!look->options->arena || t->moved || look->threads[thread].shared || !t->wait.object.address)
        return false;
    ret->proc = wedge_arena_proc_of(look->options->arena, look->snapshot->procs[t->proc].pid, &ret->slot);
    return ret->proc != NULL;
}

/* What counted as a waker so far, or only as one by a signal, counts for a proof alone. */
static void leave_to_proof(struct wedge_look *look, int thread, unsigned flags)
{
    struct wedge_look_thread *own = &look->threads[thread];
    for (size_t i = 0; i < own->n_wakers; i++) {
        struct wedge_waker *w = &look->wakers[own->first_waker + i];
        if ((w->flags & flags) == flags)
            w->flags |= WEDGE_WAKER_UNLESS_RECORD;
    }
}

/* ---- rwlocks ---- */

/* A writer waits for every reader, and what waits behind the writer does as well. */
static void name_readers(struct wedge_look *look, int thread, const struct record *r)
{
    struct wedge_look_thread *own = &look->threads[thread];
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    const struct wedge_arena_thread *readers[MOST_READERS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *record = thread_at(r, i);
        for (unsigned h = 0; is_of(r, record) && h < WEDGE_HOLDS; h++) {
            const struct wedge_arena_hold *hold = &record->holds[h];
            if (hold->object != t->wait.object.address || !hold->shared || hold->kind != WEDGE_OBJECT_RWLOCK ||
                hold->state != WEDGE_HOLD_HOLD)
                continue;
            if (n == MOST_READERS)
                return;
            readers[n++] = record;
        }
    }
    if (!n || n != own->readers)
        return;
    leave_to_proof(look, thread, 0);
    for (uint32_t i = 0; i < n; i++) {
        int reader = readers[i]->ended ? -1 : wedge_look_thread_of(look, t->proc, readers[i]->tid);
        if (i)
            wedge_waker_add(look, thread, (uint16_t)i, WEDGE_TO_PROC, t->proc, WEDGE_WAKER_UNLESS_RECORD,
                            "may be a reader");
        if (reader < 0) {
            own->owner_dead = true;
            own->n_sets = own->n_sets > i + 1 ? own->n_sets : (uint16_t)(i + 1);
            continue;
        }
        wedge_waker_add(look, thread, (uint16_t)i, WEDGE_TO_THREAD, reader, 0, "reads it");
        if (own->owner < 0 || reader == thread)
            own->owner = reader;
    }
}

/* ---- semaphores and conditions ---- */

struct tally { /* what one thread did to an object */
    uint32_t took, gave;
    uint64_t last_gave_ns;
};

static struct tally tally_of(const struct record *r, uint32_t slot, uint64_t object, uint32_t about)
{
    struct tally tally = {0};
    const struct wedge_arena_copy *arena = r->look->options->arena;
    for (uint32_t i = 0; i < wedge_arena_event_count(arena, slot); i++) {
        const struct wedge_arena_event *e = wedge_arena_event(arena, slot, i);
        if (!e || e->object != object || e->about != about || (int64_t)e->arg < 0)
            continue;
        tally.took += e->kind == WEDGE_EV_WAIT;
        tally.gave += e->kind == WEDGE_EV_WAKE;
        if (e->kind == WEDGE_EV_WAKE && e->when_ns > tally.last_gave_ns)
            tally.last_gave_ns = e->when_ns;
    }
    return tally;
}

/*
 * Whoever ever woke somebody there, at least one, is who might again. A condition that was signalled before this thread
 * waited there for the first time, and on which nobody else ever waited, was signalled to nobody.
 */
static void name_posters(struct wedge_look *look, int thread, const struct record *r, uint32_t about)
{
    struct wedge_look_thread *own = &look->threads[thread];
    struct wedge_thread *t = &look->snapshot->threads[thread];
    bool waited = false, any = false;
    uint64_t last_ns = 0;
    if (!is_whole(r))
        return;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *record = thread_at(r, i);
        if (!is_of(r, record))
            continue;
        struct tally tally = tally_of(r, i, t->wait.object.address, about);
        waited |= tally.took > 0;
        any |= tally.gave > 0;
        last_ns = tally.last_gave_ns > last_ns ? tally.last_gave_ns : last_ns;
    }
    /* Where others live it may as well wait, rightly, for what they would signal next. */
    own->missed = about == WEDGE_OBJECT_COND && !waited && last_ns && own->own_process_only;
    /* A handler may post as well, whichever thread it runs on. */
    if (!any || look->procs[t->proc].caught)
        return;
    leave_to_proof(look, thread, 0);
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *record = thread_at(r, i);
        int poster = is_of(r, record) && !record->ended ? wedge_look_thread_of(look, t->proc, record->tid) : -1;
        if (poster >= 0 && poster != thread && tally_of(r, i, t->wait.object.address, about).gave)
            wedge_waker_add(look, thread, 0, WEDGE_TO_THREAD, poster, 0, "woke somebody there before");
    }
}

/* ---- semaphores as locks ---- */

/* Where process `proc` of the snapshot has what lies at `offset` of that file; 0: it does not map it. */
static uint64_t address_in(struct wedge_look *look, int proc, const struct wedge_proc_map *file, uint64_t offset)
{
    const struct wedge_map_set *set = &look->procs[proc].maps;
    if (wedge_look_maps(look, proc))
        return 0;
    for (size_t i = 0; i < set->n; i++) {
        const struct wedge_proc_map *m = &set->maps[i];
        if (m->shared && m->inode == file->inode && m->dev_major == file->dev_major &&
            m->dev_minor == file->dev_minor && offset >= m->offset && offset - m->offset < m->end - m->start)
            return m->start + (offset - m->offset);
    }
    return 0;
}

/* Does the process live whose record this is, and not one that bears its number since? */
static bool lives(const struct record *r)
{
    const struct wedge_machine_proc *m = wedge_look_machine_of(r->look, r->proc->pid);
    uint32_t newest = r->slot;
    wedge_arena_proc_of(r->look->options->arena, r->proc->pid, &newest);
    return m && m->state != 'Z' && m->state != 'X' && newest == r->slot;
}

/*
 * Where the process of a record has it, 0 nowhere. One that is gone has no maps to ask for; forked, and never more than
 * that, it had everything where the one has it that it comes of. False: that cannot be told.
 */
static bool find_address(struct wedge_look *look, struct record r, const struct wedge_proc_map *file, uint64_t offset,
                         uint64_t *ret_address)
{
    enum { MOST_ANCESTORS = 64 };
    for (int depth = 0; depth < MOST_ANCESTORS; depth++) {
        if (lives(&r)) {
            int proc = wedge_look_proc_of(look, r.proc->pid);
            if (proc < 0 || look->procs[proc].skipped)
                return false;
            *ret_address = address_in(look, proc, file, offset);
            return true;
        }
        if (r.proc->exec_count)
            return false;
        r.slot = r.proc->parent;
        r.proc = wedge_arena_at(look->options->arena, WEDGE_SEC_PROCS, r.slot);
        if (!r.proc || !r.proc->gen || r.proc->gen % 2 || r.proc->state == WEDGE_PROC_FREE)
            return false;
    }
    return false;
}

enum use { UNUSED, TAKEN, GIVEN, UNKNOWN };
/* What one thread did to a semaphore. */
static enum use use_of(const struct wedge_arena_thread *record, uint64_t object)
{
    enum use use = record->sems_lost ? UNKNOWN : UNUSED;
    for (unsigned h = 0; h < WEDGE_HOLDS; h++) {
        const struct wedge_arena_hold *hold = &record->holds[h];
        if (hold->object == object && hold->kind == WEDGE_OBJECT_SEM && hold->state != WEDGE_HOLD_FREE)
            use = hold->state == WEDGE_HOLD_HOLD && use == UNUSED ? TAKEN : GIVEN;
    }
    return use;
}

/* Of one process: false when it is no lock, or that cannot be told. */
static bool find_taker(struct wedge_look *look, const struct record *r, uint64_t address, pid_t *ret_gone)
{
    int proc = lives(r) ? wedge_look_proc_of(look, r->proc->pid) : -1;
    if (address && !has_all_threads(r))
        return false;
    for (uint32_t i = 0; address && i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *record = thread_at(r, i);
        if (!is_of(r, record))
            continue;
        enum use use = use_of(record, address);
        int thread = proc < 0 || record->ended ? -1 : wedge_look_thread_of(look, proc, record->tid);
        bool lives_on = thread >= 0 && look->snapshot->threads[thread].state != 'Z';
        if (use == UNKNOWN || use == GIVEN || (use == TAKEN && lives_on))
            return false;
        if (use == TAKEN)
            *ret_gone = r->proc->pid;
    }
    return true;
}

/*
 * A semaphore that each gave back who had taken it is a lock, and a thread that took it and is gone has it still. That is
 * a matter of words: who may post it is asked of the kernel, not of the record.
 */
static void name_taker(struct wedge_look *look, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    bool shared = look->threads[thread].shared;
    const struct wedge_proc_map *file = shared ? wedge_look_map_at(look, t->proc, t->wait.object.address) : NULL;
    uint64_t offset = file ? t->wait.object.address - file->start + file->offset : 0;
    struct record r = {.look = look};
    pid_t gone = 0;
    if (!shared && (!find_record(look, thread, &r) || !find_taker(look, &r, t->wait.object.address, &gone)))
        return;
    for (; file && r.slot < wedge_arena_count(WEDGE_SEC_PROCS); r.slot++) {
        uint64_t address = 0;
        r.proc = wedge_arena_at(look->options->arena, WEDGE_SEC_PROCS, r.slot);
        if (!r.proc || !r.proc->gen || r.proc->gen % 2 || r.proc->state == WEDGE_PROC_FREE)
            continue;
        if (!find_address(look, r, file, offset, &address) || !find_taker(look, &r, address, &gone))
            return;
    }
    look->threads[thread].owner_dead |= gone != 0;
    look->threads[thread].dead_owner = shared ? gone : 0;
}

void wedge_wait_evidence(struct wedge_look *look, int thread)
{
    struct record r;
    enum wedge_wait_class class = look->snapshot->threads[thread].wait.class;
    if (class == WEDGE_WAIT_SEM && look->options->arena && !look->snapshot->threads[thread].moved)
        name_taker(look, thread);
    if ((class != WEDGE_WAIT_RWLOCK && class != WEDGE_WAIT_SEM && class != WEDGE_WAIT_COND &&
         class != WEDGE_WAIT_JOIN) ||
        look->threads[thread].owner >= 0 || !find_record(look, thread, &r))
        return;
    /* Without a handler nothing but a cancellation ends it beside the end of the thread that it waits for. */
    if (class == WEDGE_WAIT_JOIN && !look->procs[look->snapshot->threads[thread].proc].caught && is_whole(&r))
        leave_to_proof(look, thread, WEDGE_WAKER_BY_SIGNAL);
    if (class == WEDGE_WAIT_JOIN)
        return;
    if (class == WEDGE_WAIT_RWLOCK)
        name_readers(look, thread, &r);
    else
        name_posters(look, thread, &r, class == WEDGE_WAIT_SEM ? WEDGE_OBJECT_SEM : WEDGE_OBJECT_COND);
}
