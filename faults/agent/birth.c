/* See birth.h. Only wedge frees the slot of a process that was there; one that was claimed for nobody is given back. */
#include "faults/agent/birth.h"

#include <fcntl.h>

#include "faults/agent/sys.h"

uint64_t agent_program;

uint32_t agent_claim(_Atomic uint32_t *first_gen, size_t stride, uint32_t count, uint32_t from)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = (from + i) % count, free = 0;
        _Atomic uint32_t *gen = (_Atomic uint32_t *)(void *)((uint8_t *)first_gen + slot * stride);
        if (atomic_load_explicit(gen, memory_order_relaxed) == 0 && atomic_compare_exchange_strong(gen, &free, 1))
            return slot;
    }
    return AGENT_NONE;
}

void agent_clear_counts(uint32_t row)
{
    struct wedge_arena_counts *counts = &agent_arena.counts[(size_t)row * WEDGE_ARENA_RULES];
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        uint64_t hits = atomic_exchange_explicit(&counts[i].hits, 0, memory_order_relaxed);
        if (hits) /* of whoever had the slot before */
            atomic_fetch_add_explicit(&agent_arena.rules[i].hits, hits, memory_order_relaxed);
        atomic_store_explicit(&counts[i].fired, 0, memory_order_relaxed);
    }
}

uint64_t agent_own_start_ticks(void)
{
    char text[1024];
    long fd = sys_call(SYS_openat, AT_FDCWD, (long)"/proc/self/stat", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        return 0;
    long n = sys_call(SYS_read, fd, (long)text, sizeof(text), 0, 0, 0);
    sys_call(SYS_close, fd, 0, 0, 0, 0, 0);
    long i = n - 1;
    while (i > 0 && text[i] != ')') /* the name before it may hold anything */
        i--;
    if (i <= 0)
        return 0;
    uint64_t ticks = 0;
    int field = 2;
    for (; i < n && field <= 22; i++) {
        if (text[i] == ' ')
            field++;
        else if (field == 22 && text[i] >= '0' && text[i] <= '9')
            ticks = ticks * 10 + (uint64_t)(text[i] - '0');
    }
    return ticks;
}

/* When the process was born, by its start in ticks of 10 ms since boot; 0 not known. */
static uint64_t began_ns(uint64_t start_ticks)
{
    struct timespec boot = {0};
    uint64_t now = sys_now_ns();
    sys_clock_gettime(CLOCK_BOOTTIME, &boot);
    uint64_t booted = (uint64_t)boot.tv_sec * 1000000000u + (uint64_t)boot.tv_nsec, start = start_ticks * 10000000u;
    return start_ticks == 0 || start > booted || booted - start > now ? 0 : now - (booted - start);
}

uint32_t agent_find_process(int32_t pid, uint64_t start_ticks, uint64_t not_before)
{
    uint32_t best = AGENT_NONE;
    if (pid <= 0) /* a parent outside our PID namespace; and a slot may wait for its number */
        return AGENT_NONE;
    for (uint32_t i = 0; i < agent_arena.n_procs; i++) {
        const struct wedge_arena_proc *proc = &agent_arena.procs[i];
        uint32_t gen = atomic_load_explicit(&proc->gen, memory_order_acquire);
        if (gen == 0 || gen % 2 || proc->pid != pid)
            continue;
        if (start_ticks && proc->start_ticks ? proc->start_ticks != start_ticks
                                             : proc->since_ns + 20000000u < not_before) /* two ticks */
            continue;
        if (best == AGENT_NONE || proc->since_ns > agent_arena.procs[best].since_ns)
            best = i;
    }
    return best;
}

uint32_t agent_claim_process(const struct agent_birth *birth)
{
    uint32_t slot = agent_claim(&agent_arena.procs[0].gen, sizeof(struct wedge_arena_proc), agent_arena.n_procs, 0);
    if (slot == AGENT_NONE) {
        atomic_fetch_add_explicit(&agent_arena.header->lost_procs, 1, memory_order_relaxed);
        return AGENT_NONE;
    }
    struct wedge_arena_proc *proc = &agent_arena.procs[slot];
    uint32_t parent = birth->parent;
    for (size_t i = sizeof(uint64_t); i < sizeof(*proc); i += sizeof(uint64_t))
        *(volatile uint64_t *)(void *)((uint8_t *)proc + i) = 0;
    proc->pid = birth->pid;
    proc->parent = parent;
    proc->nth_child = birth->nth;
    proc->start_ticks = birth->start_ticks;
    proc->since_ns = sys_now_ns();
    proc->ordinal = birth->ordinal;
    proc->program = agent_program;
    proc->pedigree = parent == AGENT_NONE ? agent_mix(2) : agent_mix(agent_arena.procs[parent].pedigree + birth->nth);
    proc->under = parent == AGENT_NONE ? 0 : agent_arena.procs[parent].under | agent_arena.procs[parent].defined;
    agent_clear_counts(agent_arena.n_threads + slot);
    atomic_store_explicit(&agent_arena.births[slot].unnamed, 0, memory_order_relaxed);
    agent_arena.births[slot].path[0] = 0;
    atomic_store_explicit(&proc->state, birth->state, memory_order_relaxed);
    return slot;
}

void agent_announce_process(uint32_t slot)
{
    /* Partner: acquire loads of the generation. */
    atomic_store_explicit(&agent_arena.procs[slot].gen, 2, memory_order_release);
}

uint32_t agent_next_ordinal(void)
{
    return atomic_fetch_add(&agent_arena.control->checkins, 1) + 1;
}

static bool is_waiting(uint32_t slot)
{
    const struct wedge_arena_proc *proc = &agent_arena.procs[slot];
    uint32_t gen = atomic_load_explicit(&proc->gen, memory_order_acquire);
    return gen && gen % 2 == 0 && atomic_load_explicit(&proc->state, memory_order_relaxed) == WEDGE_PROC_EXECED;
}

/* Our parent writes our number there too, once posix_spawn has told it. */
static bool take_pid(uint32_t slot, int32_t pid, bool by_parent)
{
    int32_t none = 0;
    return __atomic_compare_exchange_n(&agent_arena.procs[slot].pid, &none, pid, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE) ||
           (!by_parent && none == pid);
}

uint32_t agent_find_born(uint32_t given, int32_t pid, uint64_t start_ticks, uint32_t parent)
{
    /* Inherited past a program without the agent it may be named to the wrong one: then it has a number by now, or
     * not our parent. */
    if (given < agent_arena.n_procs && is_waiting(given) &&
        (agent_arena.procs[given].pid == pid || (parent != AGENT_NONE && agent_arena.procs[given].parent == parent)) &&
        take_pid(given, pid, false))
        return given;
    uint32_t slot = agent_find_process(pid, start_ticks, began_ns(start_ticks));
    if (slot != AGENT_NONE || parent == AGENT_NONE)
        return slot;
    for (;;) { /* ends: a slot that another takes first has a number then */
        uint32_t first = AGENT_NONE;
        for (uint32_t i = 0; i < agent_arena.n_procs; i++) {
            const struct wedge_arena_proc *proc = &agent_arena.procs[i];
            if (is_waiting(i) && proc->pid == 0 && proc->parent == parent &&
                atomic_load_explicit(&agent_arena.births[i].unnamed, memory_order_relaxed) == 1 &&
                (first == AGENT_NONE || proc->nth_child < agent_arena.procs[first].nth_child))
                first = i;
        }
        if (first == AGENT_NONE || take_pid(first, pid, true))
            return first;
    }
}

static void write_birth(uint32_t slot, enum wedge_birth_why why, const char *path, uint32_t unnamed)
{
    struct wedge_arena_birth *birth = &agent_arena.births[slot];
    size_t i = 0;
    birth->why = why;
    for (; path && path[i] && i < sizeof(birth->path) - 1; i++)
        birth->path[i] = path[i];
    birth->path[i] = 0;
    atomic_store_explicit(&birth->unnamed, unnamed, memory_order_relaxed);
}

uint32_t agent_before_exec(const struct agent_here *here, enum wedge_birth_why why, const char *path)
{
    uint32_t slot = here->proc_slot;
    bool vforked = agent_is_vfork_child(here);
    if (vforked) {
        struct agent_birth birth = {sys_getpid(), slot, agent_vfork_ordinal(), WEDGE_PROC_EXECED, 0, 0};
        if ((slot = agent_claim_process(&birth)) == AGENT_NONE)
            return AGENT_NONE;
    }
    write_birth(slot, why, path, 0);
    if (vforked)
        agent_announce_process(slot);
    else /* Partner: wedge reads the birth of what it sees EXECED. */
        atomic_store_explicit(&here->proc->state, WEDGE_PROC_EXECED, memory_order_release);
    return slot;
}

void agent_exec_failed(const struct agent_here *here, uint32_t slot)
{
    if (slot == here->proc_slot)
        atomic_store_explicit(&here->proc->state, WEDGE_PROC_RUNNING, memory_order_release);
    else if (slot != AGENT_NONE)
        atomic_store_explicit(&agent_arena.procs[slot].gen, 0, memory_order_release);
}

uint32_t agent_before_spawn(const struct agent_here *here, enum wedge_birth_why why, const char *path, bool named)
{
    struct agent_birth birth = {0, here->proc_slot, agent_give_ordinal(here), WEDGE_PROC_EXECED, 0, 0};
    uint32_t slot = agent_claim_process(&birth);
    if (slot == AGENT_NONE)
        return AGENT_NONE;
    write_birth(slot, why, path, named ? 0 : 1);
    agent_announce_process(slot);
    return slot;
}

void agent_after_spawn(uint32_t slot, int32_t pid)
{
    uint32_t one = 1;
    if (slot == AGENT_NONE)
        return;
    struct wedge_arena_proc *proc = &agent_arena.procs[slot];
    if (proc->parent != agent_page->proc || !is_waiting(slot)) /* it has been there, ended, and the slot is another's */
        return;
    if (pid > 0)
        take_pid(slot, pid, true);
    else if (pid < 0)
        atomic_store_explicit(&proc->gen, 0, memory_order_release);
    else /* nobody who comes later is it */
        atomic_compare_exchange_strong(&agent_arena.births[slot].unnamed, &one, 2);
}
