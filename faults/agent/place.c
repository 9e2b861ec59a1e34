/*
 * Places: finding them by the notes of every loaded object, arming them, and what passing one does.
 *
 * A note is trusted no further than it can be checked: its place must lie in a writable segment of the same object
 * and end in a NUL there. `reserved` of a place keeps the index of its name and two flags, so that a pass compares
 * no text.
 */
#include "faults/agent/agent.h"

#include <link.h>

#include "base/rt/name.h"
#include "faults/agent/sys.h"

#define PLACE_RULED  (1ull << 32) /* a rule names it */
#define PLACE_MARKED (1ull << 33) /* a condition counts its passes */

static void set_role(struct agent_here *here, const char *name, long index, long generation)
{
    agent_take_role(here->proc, name, (uint32_t)index, (uint32_t)generation);
    agent_match_process(here);
    struct wedge_arena_event event = {.kind = WEDGE_EV_ROLE, .arg = (uint64_t)index, .object = (uint64_t)generation};
    agent_event(here, &event);
    agent_life(here, WEDGE_WHAT_START, true);
}

static void set_callback(struct agent_here *here, uint32_t name, long function, long limit_ms)
{
    if (!here->thread)
        return;
    struct wedge_arena_callback *callback = &here->thread->callback;
    atomic_fetch_add_explicit(&callback->seq, 1, memory_order_acq_rel);
    callback->name = name;
    callback->function = (uint64_t)function;
    callback->limit_ms = (uint64_t)limit_ms;
    callback->since_ns = name ? sys_now_ns() : 0;
    atomic_fetch_add_explicit(&callback->seq, 1, memory_order_release);
}

static void begin_wait(struct agent_here *here, uint32_t name, long object, long kind, long holder)
{
    if (kind <= WEDGE_WAITING_NOT || kind >= WEDGE_WAITING_HELD)
        return;
    struct wedge_arena_wait what = {.kind = (uint16_t)kind,
                                    .object = (uint64_t)object,
                                    .deadline_ns = UINT64_MAX,
                                    .name = name,
                                    .holder = (int32_t)holder};
    agent_wait_begin(here, &what);
}

static void set_last_point(struct agent_here *here, uint32_t name, uint64_t caller)
{
    if (!here->thread)
        return;
    struct wedge_arena_event event = {.kind = WEDGE_EV_POINT, .name = name, .caller = caller};
    agent_event(here, &event);
    here->thread->last_point = name;
    here->thread->last_point_ns = event.when_ns;
}

static long ask_answer(const struct agent_site *site)
{
    switch (site->answer) {
    case AGENT_ANSWER_ERRNO:
        return -site->value;
    case AGENT_ANSWER_RETURN:
        return site->value;
    case AGENT_ANSWER_FULL:
        return WEDGE_ASK_FULL;
    case AGENT_ANSWER_EMPTY:
        return WEDGE_ASK_EMPTY;
    case AGENT_ANSWER_DROP:
        return WEDGE_ASK_DROP;
    default:
        return 0;
    }
}

static long pass(struct wedge_point *point, long a, long b, long c)
{
    struct agent_here here;
    if (!agent_find_here(&here))
        return 0;
    uint64_t word = __atomic_load_n(&point->reserved, __ATOMIC_RELAXED);
    uint32_t name = (uint32_t)word;
    struct agent_site site = {.name = name, .caller = (uint64_t)(uintptr_t)__builtin_return_address(0)};
    switch (point->kind) {
    case WEDGE_PLACE_ASK:
        site.asks = true;
        __attribute__((fallthrough));
    case WEDGE_PLACE_POINT:
        set_last_point(&here, name, site.caller);
        break;
    case WEDGE_PLACE_PROGRESS:
        if (here.thread)
            atomic_fetch_add_explicit(&here.thread->progress, (uint64_t)a, memory_order_relaxed);
        break;
    case WEDGE_PLACE_ROLE:
        set_role(&here, (const char *)a, b, c);
        break;
    case WEDGE_PLACE_WAIT_BEGIN:
        begin_wait(&here, name, a, b, c);
        site.object = (uint64_t)a;
        break;
    case WEDGE_PLACE_WAIT_END:
        agent_wait_end(agent_wait_annotated(&here));
        return 0;
    case WEDGE_PLACE_CALLBACK_BEGIN:
        set_callback(&here, name, a, b);
        site.object = (uint64_t)a;
        break;
    case WEDGE_PLACE_CALLBACK_END:
        set_callback(&here, 0, 0, 0);
        return 0;
    default:
        return 0;
    }
    if (name)
        atomic_fetch_add(&agent_arena.names[name].passes, 1);
    if (AGENT_UNLIKELY(agent_census) && name)
        agent_census_count(&here, WEDGE_CENSUS_PLACE + name, true, &site);
    if (word & PLACE_MARKED)
        agent_announce();
    if (word & PLACE_RULED) {
        uint64_t rules[AGENT_RULE_WORDS];
        agent_rules_at_place(name, rules);
        agent_hit(&here, rules, &site);
    }
    return ask_answer(&site);
}

/* Of a name that the plan may have: what a pass of it means, which the rules are told that some module has it. */
static uint64_t flags_of(uint32_t name)
{
    uint64_t flags = 0;
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        struct wedge_arena_rule *rule = &agent_arena.rules[i];
        uint32_t found = 0;
        if (rule->what == WEDGE_WHAT_PLACE && rule->place == name)
            found |= WEDGE_FOUND_PLACE;
        if (rule->after.kind == WEDGE_WHEN_MARK && rule->after.ref == name)
            found |= WEDGE_FOUND_AFTER;
        if (rule->until.kind == WEDGE_WHEN_MARK && rule->until.ref == name)
            found |= WEDGE_FOUND_UNTIL;
        if (!found)
            continue;
        flags |= (found & WEDGE_FOUND_PLACE ? PLACE_RULED : 0) |
                 (found & (WEDGE_FOUND_AFTER | WEDGE_FOUND_UNTIL) ? PLACE_MARKED : 0);
        atomic_fetch_or(&rule->found, found);
    }
    return flags;
}

static void arm(struct wedge_point *point)
{
    bool record = agent_arena.control->record != 0 || agent_census;
    bool plain = point->kind == WEDGE_PLACE_POINT || point->kind == WEDGE_PLACE_ASK;
    /* What tells who a process is and what it waits for is wanted always; points and asks when named or recorded. */
    uint32_t name = wedge_rt_name(agent_arena.names, agent_arena.n_names, point->name, record || !plain);
    uint64_t flags = name ? flags_of(name) : 0;
    if (name == 0 && record)
        atomic_fetch_add_explicit(&agent_arena.header->lost_names, 1, memory_order_relaxed);
    if (plain && !record && !flags)
        return;
    __atomic_store_n(&point->reserved, name | flags, __ATOMIC_RELAXED);
    __atomic_store_n(&point->handler, pass, __ATOMIC_RELEASE);
}

/* Is [at, at+size) in a loaded segment of `info` that is writable (or, with `read`, readable)? Returns the bytes up
 * to the segment's end, 0 no. */
static size_t room(const struct dl_phdr_info *info, uintptr_t at, bool writable)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD && (header->p_flags & (writable ? PF_W : PF_R)) && at >= begin &&
            at - begin < header->p_memsz)
            return header->p_memsz - (at - begin);
    }
    return 0;
}

static void visit_note(const struct dl_phdr_info *info, const char *desc)
{
    int64_t distance;
    __builtin_memcpy(&distance, desc, sizeof(distance));
    struct wedge_point *point = (struct wedge_point *)((uintptr_t)desc + (uintptr_t)distance);
    size_t left = room(info, (uintptr_t)point, true);
    if (left <= sizeof(*point) || (uintptr_t)point % 8 || point->abi != 1)
        return;
    for (size_t i = 0; i < left - sizeof(*point); i++)
        if (!point->name[i]) {
            arm(point);
            return;
        }
}

static int visit_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t base = info->dlpi_addr + header->p_vaddr;
        if (header->p_type != PT_NOTE || room(info, base, false) < header->p_memsz)
            continue;
        size_t align = header->p_align == 8 ? 8 : 4, at = 0;
        while (at + sizeof(ElfW(Nhdr)) <= header->p_memsz) {
            const ElfW(Nhdr) *note = (const void *)(base + at);
            size_t name = at + sizeof(*note), desc = name + (((size_t)note->n_namesz + align - 1) & ~(align - 1));
            size_t next = desc + (((size_t)note->n_descsz + align - 1) & ~(align - 1));
            if (desc + note->n_descsz > header->p_memsz || next <= at)
                break;
            if (note->n_namesz == 6 && note->n_descsz == 8 && note->n_type == 1 &&
                __builtin_memcmp((const void *)(base + name), "wedge", 6) == 0)
                visit_note(info, (const char *)(base + desc));
            at = next;
        }
    }
    return 0;
}

void agent_arm_places(void)
{
    dl_iterate_phdr(visit_object, NULL);
}
