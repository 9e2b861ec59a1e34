/*
 * The slots of the process and its threads: claimed by one compare-and-swap, filled, announced. Only wedge frees the
 * slots of a process that is gone; an image that exec has replaced frees those of its own earlier threads. The slot of
 * a thread that ended is left as it was, for the report, until somebody finds no free one and takes it over.
 */
#include "faults/agent/birth.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/rt/name.h"
#include "faults/agent/object.h"
#include "faults/agent/sys.h"

struct agent_page *agent_page;

/* Inherited over fork, unlike the page: tells a child whose it is. */
static uint32_t last_proc = AGENT_NONE;
static uint32_t tid_offset; /* of the TID in libc's thread structure, 0 not known */

__thread struct agent_self agent_self __attribute__((tls_model("initial-exec")));
_Static_assert(sizeof(agent_self) <= 64, "static TLS is scarce");

/* The TID as libc keeps it in its structure of the thread, which the thread pointer points to (the x86-64 ABI keeps
 * that pointer at %fs:0). */
static int32_t tid_of_libc(uint32_t offset)
{
    const char *thread;
    __asm__("mov %%fs:0, %0" : "=r"(thread));
    return *(const int32_t *)(const void *)(thread + offset);
}

static int32_t own_tid(void)
{
    if (tid_offset && !atomic_load_explicit(&agent_page->tid_by_call, memory_order_relaxed))
        return tid_of_libc(tid_offset);
    return sys_gettid();
}

/* glibc 2.36 keeps the TID at +0x2d0 of struct pthread; taken only if it agrees with the kernel now. It spares a system call per thread, which a sandbox might not allow. */
static void find_tid_offset(void)
{
    const uint32_t offset = 0x2d0;
    if (tid_of_libc(offset) == sys_gettid())
        tid_offset = offset;
}

/* The slot of a thread that ended, its generation odd and ours as after claim. */
static uint32_t take_over(uint32_t from)
{
    for (uint32_t i = 0; i < agent_arena.n_threads; i++) {
        uint32_t slot = (from + i) % agent_arena.n_threads, complete = 2;
        struct wedge_arena_thread *thread = &agent_arena.threads[slot];
        /* Partner: the release in agent_end_thread, the ended thread's last word here. */
        if (!atomic_load_explicit(&thread->ended, memory_order_acquire) ||
            !atomic_compare_exchange_strong(&thread->gen, &complete, 1))
            continue;
        if (atomic_load(&thread->ended))
            return slot;
        atomic_store(&thread->gen, 2); /* somebody was faster, and this is a live thread's by now */
    }
    return AGENT_NONE;
}

uint32_t agent_claim_thread(uint32_t proc_slot, uint32_t creator, uint32_t nth)
{
    static _Atomic uint32_t hint;
    uint32_t from = atomic_load_explicit(&hint, memory_order_relaxed);
    uint32_t slot =
        agent_claim(&agent_arena.threads[0].gen, sizeof(struct wedge_arena_thread), agent_arena.n_threads, from);
    if (slot == AGENT_NONE)
        slot = take_over(from);
    if (slot == AGENT_NONE) {
        atomic_fetch_add_explicit(&agent_arena.header->lost_threads, 1, memory_order_relaxed);
        return AGENT_NONE;
    }
    atomic_store_explicit(&hint, slot + 1, memory_order_relaxed);
    struct wedge_arena_thread *thread = &agent_arena.threads[slot];
    /* All but the generation, which is odd by now: nobody else writes here. */
    for (size_t i = sizeof(uint64_t); i < sizeof(*thread); i += sizeof(uint64_t))
        *(volatile uint64_t *)(void *)((uint8_t *)thread + i) = 0;
    thread->proc = proc_slot;
    thread->creator = creator;
    thread->nth_child = nth;
    thread->pedigree = creator == AGENT_NONE ? agent_mix(1) : agent_mix(agent_arena.threads[creator].pedigree + nth);
    thread->luck = agent_mix(agent_arena.procs[proc_slot].pedigree ^ thread->pedigree);
    agent_clear_counts(slot);
    return slot;
}

void agent_announce_thread(uint32_t slot)
{
    struct wedge_arena_thread *thread = &agent_arena.threads[slot];
    thread->tid = own_tid();
    thread->since_ns = sys_now_ns();
    agent_note_name(thread);
    /* Partner: whoever reads the slot loads the generation with acquire and finds a complete record. */
    atomic_store_explicit(&thread->gen, 2, memory_order_release);
    atomic_fetch_add_explicit(&agent_arena.procs[thread->proc].threads, 1, memory_order_relaxed);
    agent_self.slot = slot;
    agent_self.ordinal = agent_page->ordinal;
}

void agent_end_thread(void)
{
    /* In a child of fork the slot is its parent's. */
    if (!agent_arena.ready || agent_self.ordinal != agent_page->ordinal || agent_self.slot == AGENT_NONE)
        return;
    struct wedge_arena_thread *thread = &agent_arena.threads[agent_self.slot];
    agent_wait_left(thread);
    agent_self.slot = AGENT_NONE; /* what still runs on this thread passes through */
    atomic_store_explicit(&thread->ended, 1, memory_order_release);
}

void agent_abandon_thread(uint32_t slot)
{
    atomic_store_explicit(&agent_arena.threads[slot].gen, 0, memory_order_release);
}

/* The slot of this thread, which no pthread_create of ours announced: the first thread of a process, or one made by
 * clone, or before the agent was ready. */
static void announce_found_thread(void)
{
    int32_t tid = own_tid(), pid = agent_arena.procs[agent_page->proc].pid;
    uint32_t nth = 0, creator = AGENT_NONE;
    if (tid != pid) {
        nth = atomic_load_explicit(&agent_arena.procs[agent_page->proc].threads, memory_order_relaxed) + 1;
    }
    uint32_t slot = agent_claim_thread(agent_page->proc, creator, nth);
    if (agent_self.ordinal == agent_page->ordinal) { /* a signal handler was here meanwhile and has announced us */
        if (slot != AGENT_NONE)
            agent_abandon_thread(slot);
        return;
    }
    if (slot == AGENT_NONE) {
        agent_self.slot = AGENT_NONE;
        agent_self.ordinal = agent_page->ordinal;
        return;
    }
    agent_announce_thread(slot);
}

static uint64_t bit(uint32_t rule)
{
    return 1ull << (rule % 64);
}

static bool same_text(const char *a, const char *b, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        if (a[i] != b[i])
            return false;
        if (!a[i])
            return true;
    }
    return true;
}

void agent_match_process(const struct agent_here *here)
{
    uint64_t who[AGENT_RULE_WORDS] = {0};
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        struct wedge_arena_rule *rule = &agent_arena.rules[i];
        const struct wedge_arena_proc *proc = here->proc;
        bool match = false;
        switch (rule->who) {
        case WEDGE_WHO_ANY:
        case WEDGE_WHO_THREAD: /* the thread's name is looked at when it passes */
            match = true;
            break;
        case WEDGE_WHO_ROOT:
            match = here->proc_slot == 0;
            break;
        case WEDGE_WHO_PROC:
            match = proc->ordinal == rule->role_index;
            break;
        case WEDGE_WHO_ROLE:
            match = proc->role[0] && same_text(proc->role, rule->role, WEDGE_ROLE_BYTES) &&
                    (rule->role_index == 0 || rule->role_index == proc->role_index) &&
                    (rule->role_gen < 0 || (uint32_t)rule->role_gen == proc->role_gen);
            break;
        default:
            break;
        }
        if (match)
            who[i / 64] |= bit(i);
        if (match && rule->who != WEDGE_WHO_THREAD)
            atomic_fetch_or(&rule->found, WEDGE_FOUND_WHO);
    }
    for (unsigned w = 0; w < AGENT_RULE_WORDS; w++)
        atomic_store_explicit(&agent_page->who[w], who[w], memory_order_relaxed);
}

static void enter_process(uint32_t slot, bool image)
{
    uint64_t none = 0;
    atomic_compare_exchange_strong(&agent_arena.control->begun_ns, &none, agent_arena.procs[slot].since_ns);
    agent_page->proc = last_proc = slot;
    agent_page->ordinal = agent_arena.procs[slot].ordinal;
    agent_objects_born(agent_page->ordinal, image ? sys_now_ns() : agent_arena.procs[slot].since_ns, image);
}

/* A process that nobody has announced. The page is CHECKING and ours. */
static void new_process(int32_t pid, uint32_t parent, uint32_t nth, uint64_t start_ticks)
{
    struct agent_birth birth = {pid, parent, nth, WEDGE_PROC_RUNNING, 0, start_ticks};
    uint32_t slot = agent_claim_process(&birth);
    if (slot == AGENT_NONE) {
        atomic_store_explicit(&agent_page->state, AGENT_LOST, memory_order_release);
        return;
    }
    agent_arena.procs[slot].ordinal = agent_next_ordinal();
    agent_announce_process(slot);
    enter_process(slot, false);
}

static void finish_check_in(void)
{
    if (atomic_load_explicit(&agent_page->state, memory_order_relaxed) == AGENT_LOST)
        return;
    struct agent_here here = {.proc = &agent_arena.procs[agent_page->proc], .proc_slot = agent_page->proc};
    agent_define_process(&here);
    agent_match_process(&here);
    /* Partner: the acquire in agent_find_here; all of the page is valid behind it. */
    atomic_store_explicit(&agent_page->state, AGENT_IN, memory_order_release);
    agent_note_missed_alarm(&agent_arena.procs[agent_page->proc]);
}

/* A process born by fork, by whatever way; its thread's TLS says which child it is if the fork was wrapped. */
static void check_in_child(void)
{
    uint32_t nth = agent_self.forking;
    int32_t pid = sys_getpid();
    if (tid_offset && tid_of_libc(tid_offset) != sys_gettid())
        atomic_store_explicit(&agent_page->tid_by_call, 1, memory_order_relaxed);
    if (nth == 0 && last_proc != AGENT_NONE)
        nth = atomic_fetch_add_explicit(&agent_arena.procs[last_proc].children, 1, memory_order_relaxed) + 1;
    new_process(pid, last_proc, nth, 0);
    finish_check_in();
}

static void fill_here(struct agent_here *ret)
{
    ret->proc_slot = agent_page->proc;
    ret->proc = &agent_arena.procs[ret->proc_slot];
    ret->thread_slot = agent_self.slot;
    ret->thread = agent_self.slot == AGENT_NONE ? NULL : &agent_arena.threads[agent_self.slot];
}

/* Not by way of agent_find_here itself, which would save registers for it at each pass. */
__attribute__((noinline, cold)) static bool find_newcomer(struct agent_here *ret)
{
    if (!agent_arena.ready)
        return false;
    uint32_t state = atomic_load_explicit(&agent_page->state, memory_order_acquire);
    bool born = false;
    if (state == AGENT_WIPED) {
        if (!atomic_compare_exchange_strong(&agent_page->state, &state, AGENT_CHECKING))
            return false; /* another thread of the new process is at it, or a handler of ours interrupted it */
        check_in_child();
        state = atomic_load_explicit(&agent_page->state, memory_order_relaxed);
        born = true;
    }
    if (state != AGENT_IN)
        return false;
    if (agent_self.ordinal != agent_page->ordinal)
        announce_found_thread();
    fill_here(ret);
    if (born)
        agent_born(ret);
    return true;
}

bool agent_find_here(struct agent_here *ret)
{
    if (AGENT_UNLIKELY(!agent_arena.ready) ||
        AGENT_UNLIKELY(atomic_load_explicit(&agent_page->state, memory_order_acquire) != AGENT_IN) ||
        AGENT_UNLIKELY(agent_self.ordinal != agent_page->ordinal))
        return find_newcomer(ret);
    fill_here(ret);
    return true;
}

/* The threads of the image before are gone. */
static void free_threads(uint32_t slot)
{
    for (uint32_t i = 0; i < agent_arena.n_threads; i++) {
        /* A slot with an odd generation may be in another process's hands by now. */
        struct wedge_arena_thread *thread = &agent_arena.threads[i];
        uint32_t complete = 2;
        if (thread->proc == slot && atomic_compare_exchange_strong(&thread->gen, &complete, 1))
            atomic_store(&thread->gen, *(volatile uint32_t *)&thread->proc == slot ? 0 : 2); /* taken over between */
    }
}

void agent_check_in_image(uint32_t given)
{
    int32_t pid = sys_getpid();
    uint64_t ticks = agent_own_start_ticks();
    struct stat st = {0};
    find_tid_offset();
    if (sys_call(SYS_stat, (long)"/proc/self/exe", (long)&st, 0, 0, 0, 0) == 0)
        agent_program = st.st_ino;
    atomic_store_explicit(&agent_page->state, AGENT_CHECKING, memory_order_relaxed);
    uint32_t parent = agent_find_process((int32_t)sys_call(SYS_getppid, 0, 0, 0, 0, 0, 0), 0, 0), nth = 0;
    uint32_t slot = agent_find_born(given, pid, ticks, parent);
    if (slot == AGENT_NONE) {
        if (parent != AGENT_NONE)
            nth = atomic_fetch_add_explicit(&agent_arena.procs[parent].children, 1, memory_order_relaxed) + 1;
        new_process(pid, parent, nth, ticks);
        /* Whoever made it did so unseen, but for the first: what it was before may have left an alarm to it. */
        if (atomic_load_explicit(&agent_page->state, memory_order_relaxed) != AGENT_LOST &&
            agent_arena.procs[agent_page->proc].ordinal != 1)
            agent_arena.procs[agent_page->proc].alarms = WEDGE_ALARMS_UNKNOWN;
    } else { /* the same process behind exec, its role too; or born by spawn or vfork */
        struct wedge_arena_proc *proc = &agent_arena.procs[slot];
        /* Between what was announced and this there may have been a program that the agent was not in. */
        if (proc->alarms == WEDGE_ALARMS_NONE &&
            (agent_arena.births[slot].why != WEDGE_BIRTH_FITS ||
             atomic_load_explicit(&proc->state, memory_order_relaxed) != WEDGE_PROC_EXECED))
            proc->alarms = WEDGE_ALARMS_UNKNOWN;
        if (atomic_load_explicit(&proc->threads, memory_order_relaxed))
            free_threads(slot);
        atomic_fetch_add_explicit(&proc->gen, 1, memory_order_acq_rel);
        proc->start_ticks = ticks;
        proc->exec_count++;
        proc->program = agent_program;
        if (proc->ordinal == 0) {
            proc->ordinal = agent_next_ordinal();
            proc->since_ns = sys_now_ns();
        }
        atomic_store_explicit(&proc->threads, 0, memory_order_relaxed);
        atomic_store_explicit(&proc->state, WEDGE_PROC_RUNNING, memory_order_relaxed);
        atomic_fetch_add_explicit(&proc->gen, 1, memory_order_release);
        enter_process(slot, true);
    }
    finish_check_in();
}

/* Whose child, in which order. */
uint32_t agent_give_ordinal(const struct agent_here *here)
{
    uint32_t nth = atomic_fetch_add_explicit(&here->proc->children, 1, memory_order_relaxed) + 1;
    struct wedge_arena_event event = {.kind = WEDGE_EV_FORK, .arg = nth};
    agent_event(here, &event);
    return nth;
}

void agent_before_vfork(const struct agent_here *here)
{
    agent_self.vforked = agent_give_ordinal(here);
}

uint32_t agent_vfork_ordinal(void)
{
    return agent_self.vforked;
}

bool agent_is_vfork_child(const struct agent_here *here)
{
    return AGENT_UNLIKELY(agent_self.vforked) && sys_getpid() != here->proc->pid;
}

void agent_before_fork(struct agent_here *here)
{
    agent_self.forking = agent_give_ordinal(here);
}

void agent_after_fork(bool child)
{
    struct agent_here here;
    if (child)
        agent_find_here(&here); /* checks in now, with the ordinal still set, if no earlier pass did */
    agent_self.forking = 0;
}
