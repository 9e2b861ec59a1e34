/*
 * What the agent's record adds: threads held by a fault rule, waits that the program annotated, roles, callbacks and
 * last points.
 *
 * The record is older than the passes and a target may scribble on it: it gives words, and one fact, that a thread is
 * held by a rule; and that is believed only where the thread sleeps on a word of a memfd that it shares, as held
 * threads do.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include <wedge/point.h>

#include "base/clock.h"
#include "detector/wait/wait.h"

static const struct wedge_arena_thread *record_of(const struct wedge_look *look, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    if (!look->options->arena)
        return NULL;
    return wedge_arena_thread_of(look->options->arena, look->snapshot->procs[t->proc].pid, t->tid, NULL);
}

/* The innermost wait that is complete, NULL none. What the kernel says of a call is newer than the record of it. */
static const struct wedge_arena_wait *wait_of(const struct wedge_arena_thread *record)
{
    for (int level = 1; level >= 0; level--) {
        const struct wedge_arena_wait *wait = &record->wait[level];
        uint32_t seq = wait->seq;
        if (seq && seq % 2 == 0 && wait->kind != WEDGE_WAITING_NOT && wait->kind != WEDGE_WAITING_CALL)
            return wait;
    }
    return NULL;
}

/* A bounded copy of a role, which the target may have left without an end. */
static const char *role_text(struct wedge_look *look, const char *role)
{
    char text[WEDGE_ROLE_BYTES + 1];
    memcpy(text, role, WEDGE_ROLE_BYTES);
    text[WEDGE_ROLE_BYTES] = '\0';
    return wedge_look_text(look, text);
}

static void annotate_thread(struct wedge_look *look, struct wedge_thread *t, const struct wedge_arena_thread *record)
{
    struct wedge_arena_copy *arena = look->options->arena;
    uint32_t seq = record->callback.seq;
    t->last_point = wedge_look_text(look, wedge_arena_text(arena, record->last_point));
    if (seq % 2 == 0 && record->callback.name) {
        t->callback = wedge_look_text(look, wedge_arena_text(arena, record->callback.name));
        t->callback_address = record->callback.function;
        t->callback_since_ns = (int64_t)record->callback.since_ns;
        t->callback_limit_ms = (int64_t)record->callback.limit_ms;
        t->wait.callback = *t->callback != '\0';
    }
}

void wedge_wait_annotate_procs(struct wedge_look *look)
{
    struct wedge_arena_copy *arena = look->options->arena;
    for (size_t i = 0; arena && i < look->snapshot->n_procs; i++) {
        struct wedge_proc *p = &look->snapshot->procs[i];
        const struct wedge_arena_proc *record = wedge_arena_proc_of(arena, p->pid, NULL);
        if (!record)
            continue;
        p->agent = true;
        uint32_t seq = record->role_seq;
        if (seq % 2 == 0) {
            p->role = role_text(look, record->role);
            p->role_index = (int)record->role_index;
            p->role_gen = (int)record->role_gen;
        }
    }
    for (size_t i = 0; arena && i < look->snapshot->n_threads; i++) {
        const struct wedge_arena_thread *record = record_of(look, (int)i);
        if (record)
            annotate_thread(look, &look->snapshot->threads[i], record);
    }
}

bool wedge_wait_held(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_look_thread *own = &look->threads[thread];
    const struct wedge_arena_thread *record = record_of(look, thread);
    const struct wedge_arena_wait *wait = record ? wait_of(record) : NULL;
    if (!wait || wait->kind != WEDGE_WAITING_HELD || !wait->rule || t->syscall != SYS_futex)
        return false;
    int rule = wait->rule - 1;
    const struct wedge_arena_rule *r = wedge_arena_at(look->options->arena, WEDGE_SEC_RULES, (uint32_t)rule);
    const struct wedge_proc_map *map = wedge_look_map_at(look, t->proc, t->args[0]);
    if (!r || !map || !map->shared || !map->deleted || strncmp(map->path, "/memfd:", 7) != 0)
        return false;
    struct wedge_object *o = &t->wait.object;
    char id[WEDGE_RULE_ID_BYTES + 1];
    memcpy(id, r->id, WEDGE_RULE_ID_BYTES);
    id[WEDGE_RULE_ID_BYTES] = '\0';
    snprintf(o->key, sizeof(o->key), "rule %s", id);
    snprintf(o->describe, sizeof(o->describe), "release of rule %s", id);
    t->rule = rule;
    own->held = true;
    const char *place = wedge_arena_text(look->options->arena, wait->name);
    if (*place)
        t->wait.call = wedge_look_text(look, place);
    if (r->released % 2) {
        wedge_wait_unknown(look, thread, "its rule was released");
        return true;
    }
    wedge_wait_is(look, thread, WEDGE_WAIT_HELD, "a fault rule holds it");
    wedge_waker_add(look, thread, 0, WEDGE_TO_RULE, rule, 0, "holds it");
    if (r->action == WEDGE_ACT_YIELD &&
        r->until.kind == WEDGE_WHEN_ENDED) /* maybe it has ended, and is not counted yet */
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, 0, "wedge itself counts who has ended");
    else if (r->action == WEDGE_ACT_YIELD)
        wedge_waker_add(look, thread, 0, WEDGE_TO_TREE, -1, 0, "may make its condition true");
    if (r->action == WEDGE_ACT_FULL || r->action == WEDGE_ACT_EMPTY) /* wedge-plan(5): it counts as open again then */
        wedge_waker_add(look, thread, 0, WEDGE_TO_TREE, -1, 0, "may close the other end, or destroy it");
    if (wait->deadline_ns != UINT64_MAX) {
        int64_t left = (int64_t)wait->deadline_ns - wedge_clock_ns();
        t->wait.earliest_ns = left > 0 ? left : 0;
    }
    return true;
}

void wedge_wait_annotate(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    const struct wedge_arena_thread *record = record_of(look, thread);
    const struct wedge_arena_wait *wait = record ? wait_of(record) : NULL;
    struct wedge_object *o = &t->wait.object;
    if (!wait || t->wait.class != WEDGE_WAIT_FUTEX)
        return;
    if (wait->kind == WEDGE_WAIT_FOR_ROOM) {
        o->full = look->threads[thread].room = true;
        snprintf(o->describe, sizeof(o->describe), "room in a full buffer (0x%" PRIx64 ")", wait->object);
    } else if (wait->kind == WEDGE_WAIT_FOR_ITEM) {
        snprintf(o->describe, sizeof(o->describe), "an item in an empty buffer (0x%" PRIx64 ")", wait->object);
    }
}
