/*
 * The slots of the process and its threads: claimed by one compare-and-swap, filled, announced. Only wedge frees the
 * slots of a process that is gone; an image that exec has replaced frees those of its own earlier threads. The slot of
 * a thread that ended is left as it was, for the report, until somebody finds no free one and takes it over.
 */
#include "faults/agent/agent.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/rt/name.h"
#include "faults/agent/object.h"
#include "faults/agent/sys.h"

struct agent_page *agent_page;

/* Inherited over fork, unlike the page: tells a child whose it is. */
static uint32_t last_proc = AGENT_NONE;
static uint64_t program; /* inode of ours, 0 not known */
static uint32_t tid_offset; /* of the TID in libc's thread structure, 0 not known */

static __thread struct {
    uint32_t ordinal; /* of the process the slot was claimed in, 0 none */
    uint32_t slot; /* AGENT_NONE: none was left */
    uint32_t forking; /* ordinal of the child that is being made, 0 none: the child inherits it */
    uint32_t vforked; /* ordinal of the latest child that this thread has made by vfork, 0 none */
} self __attribute__((tls_model("initial-exec")));
_Static_assert(sizeof(self) <= 64, "static TLS is scarce");

/* splitmix64's finaliser: a bijection in which each input bit changes half of the output. */
uint64_t agent_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

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

static uint32_t claim(_Atomic uint32_t *first_gen, size_t stride, uint32_t count, uint32_t from)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = (from + i) % count, free = 0;
        _Atomic uint32_t *gen = (_Atomic uint32_t *)(void *)((uint8_t *)first_gen + slot * stride);
        if (atomic_load_explicit(gen, memory_order_relaxed) == 0 && atomic_compare_exchange_strong(gen, &free, 1))
            return slot;
    }
    return AGENT_NONE;
}

static void clear_counts(uint32_t row)
{
    struct wedge_arena_counts *counts = &agent_arena.counts[(size_t)row * WEDGE_ARENA_RULES];
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        uint64_t hits = atomic_exchange_explicit(&counts[i].hits, 0, memory_order_relaxed);
        if (hits) /* of whoever had the slot before */
            atomic_fetch_add_explicit(&agent_arena.rules[i].hits, hits, memory_order_relaxed);
        atomic_store_explicit(&counts[i].fired, 0, memory_order_relaxed);
    }
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
    uint32_t slot = claim(&agent_arena.threads[0].gen, sizeof(struct wedge_arena_thread), agent_arena.n_threads, from);
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
    clear_counts(slot);
    return slot;
}

void agent_announce_thread(uint32_t slot)
{
    struct wedge_arena_thread *thread = &agent_arena.threads[slot];
    thread->tid = own_tid();
    thread->since_ns = sys_now_ns();
    /* Partner: whoever reads the slot loads the generation with acquire and finds a complete record. */
    atomic_store_explicit(&thread->gen, 2, memory_order_release);
    atomic_fetch_add_explicit(&agent_arena.procs[thread->proc].threads, 1, memory_order_relaxed);
    self.slot = slot;
    self.ordinal = agent_page->ordinal;
}

void agent_end_thread(void)
{
    /* In a child of fork the slot is its parent's. */
    if (!agent_arena.ready || self.ordinal != agent_page->ordinal || self.slot == AGENT_NONE)
        return;
    struct wedge_arena_thread *thread = &agent_arena.threads[self.slot];
    self.slot = AGENT_NONE; /* what still runs on this thread passes through */
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
    if (self.ordinal == agent_page->ordinal) { /* a signal handler was here meanwhile and has announced us */
        if (slot != AGENT_NONE)
            agent_abandon_thread(slot);
        return;
    }
    if (slot == AGENT_NONE) {
        self.slot = AGENT_NONE;
        self.ordinal = agent_page->ordinal;
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
        const struct wedge_arena_rule *rule = &agent_arena.rules[i];
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
    }
    for (unsigned w = 0; w < AGENT_RULE_WORDS; w++)
        atomic_store_explicit(&agent_page->who[w], who[w], memory_order_relaxed);
}

/* Field 22 of /proc/self/stat, 0 when it cannot be read. Only from the constructor: it opens a file. */
static uint64_t own_start_ticks(void)
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

/* The slot of a process by its number; what checked in before that process was born was an earlier one. Those two
 * times of `start_ticks` and `not_before` are 0 where they are not known. */
static uint32_t find_proc(int32_t pid, uint64_t start_ticks, uint64_t not_before)
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

struct birth {
    int32_t pid; /* 0 not known yet */
    uint32_t parent, nth, state, ordinal;
    uint64_t start_ticks;
};

/* Claims, fills and announces a slot. AGENT_NONE: none is left, which is counted. */
static uint32_t claim_process(const struct birth *birth)
{
    uint32_t slot = claim(&agent_arena.procs[0].gen, sizeof(struct wedge_arena_proc), agent_arena.n_procs, 0);
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
    proc->program = program;
    proc->pedigree = parent == AGENT_NONE ? agent_mix(2) : agent_mix(agent_arena.procs[parent].pedigree + birth->nth);
    proc->under = parent == AGENT_NONE ? 0 : agent_arena.procs[parent].under | agent_arena.procs[parent].defined;
    clear_counts(agent_arena.n_threads + slot);
    atomic_store_explicit(&agent_arena.births[slot].unnamed, 0, memory_order_relaxed);
    agent_arena.births[slot].path[0] = 0;
    atomic_store_explicit(&proc->state, birth->state, memory_order_relaxed);
    return slot;
}

static void announce_process(uint32_t slot)
{
    /* Partner: acquire loads of the generation. */
    atomic_store_explicit(&agent_arena.procs[slot].gen, 2, memory_order_release);
}

static uint32_t next_ordinal(void)
{
    return atomic_fetch_add(&agent_arena.control->checkins, 1) + 1;
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
    struct birth birth = {pid, parent, nth, WEDGE_PROC_RUNNING, 0, start_ticks};
    uint32_t slot = claim_process(&birth);
    if (slot == AGENT_NONE) {
        atomic_store_explicit(&agent_page->state, AGENT_LOST, memory_order_release);
        return;
    }
    agent_arena.procs[slot].ordinal = next_ordinal();
    announce_process(slot);
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
}

/* A process born by fork, by whatever way; its thread's TLS says which child it is if the fork was wrapped. */
static void check_in_child(void)
{
    uint32_t nth = self.forking;
    int32_t pid = sys_getpid();
    if (tid_offset && tid_of_libc(tid_offset) != sys_gettid())
        atomic_store_explicit(&agent_page->tid_by_call, 1, memory_order_relaxed);
    if (nth == 0 && last_proc != AGENT_NONE)
        nth = atomic_fetch_add_explicit(&agent_arena.procs[last_proc].children, 1, memory_order_relaxed) + 1;
    new_process(pid, last_proc, nth, 0);
    finish_check_in();
}

bool agent_find_here(struct agent_here *ret)
{
    if (AGENT_UNLIKELY(!agent_arena.ready))
        return false;
    uint32_t state = atomic_load_explicit(&agent_page->state, memory_order_acquire);
    bool born = false;
    if (AGENT_UNLIKELY(state == AGENT_WIPED)) {
        if (!atomic_compare_exchange_strong(&agent_page->state, &state, AGENT_CHECKING))
            return false; /* another thread of the new process is at it, or a handler of ours interrupted it */
        check_in_child();
        state = atomic_load_explicit(&agent_page->state, memory_order_relaxed);
        born = true;
    }
    if (AGENT_UNLIKELY(state != AGENT_IN))
        return false;
    if (AGENT_UNLIKELY(self.ordinal != agent_page->ordinal))
        announce_found_thread();
    ret->proc_slot = agent_page->proc;
    ret->proc = &agent_arena.procs[ret->proc_slot];
    ret->thread_slot = self.slot;
    ret->thread = self.slot == AGENT_NONE ? NULL : &agent_arena.threads[self.slot];
    if (AGENT_UNLIKELY(born))
        agent_born(ret);
    return true;
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

/* The slot that this program was born for, if somebody saw it being born; see struct wedge_arena_birth. */
static uint32_t find_own(uint32_t given, int32_t pid, uint64_t start_ticks, uint32_t parent)
{
    /* Inherited past a program without the agent it may be named to the wrong one: then it has a number by now, or
     * not our parent. */
    if (given < agent_arena.n_procs && is_waiting(given) &&
        (agent_arena.procs[given].pid == pid || (parent != AGENT_NONE && agent_arena.procs[given].parent == parent)) &&
        take_pid(given, pid, false))
        return given;
    uint32_t slot = find_proc(pid, start_ticks, began_ns(start_ticks));
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
    uint64_t ticks = own_start_ticks();
    struct stat st = {0};
    find_tid_offset();
    if (sys_call(SYS_stat, (long)"/proc/self/exe", (long)&st, 0, 0, 0, 0) == 0)
        program = st.st_ino;
    atomic_store_explicit(&agent_page->state, AGENT_CHECKING, memory_order_relaxed);
    uint32_t parent = find_proc((int32_t)sys_call(SYS_getppid, 0, 0, 0, 0, 0, 0), 0, 0), nth = 0;
    uint32_t slot = find_own(given, pid, ticks, parent);
    if (slot == AGENT_NONE) {
        if (parent != AGENT_NONE)
            nth = atomic_fetch_add_explicit(&agent_arena.procs[parent].children, 1, memory_order_relaxed) + 1;
        new_process(pid, parent, nth, ticks);
    } else { /* the same process behind exec, its role too; or born by spawn or vfork */
        struct wedge_arena_proc *proc = &agent_arena.procs[slot];
        if (atomic_load_explicit(&proc->threads, memory_order_relaxed))
            free_threads(slot);
        atomic_fetch_add_explicit(&proc->gen, 1, memory_order_acq_rel);
        proc->start_ticks = ticks;
        proc->exec_count++;
        proc->program = program;
        if (proc->ordinal == 0) {
            proc->ordinal = next_ordinal();
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
static uint32_t give_ordinal(const struct agent_here *here)
{
    uint32_t nth = atomic_fetch_add_explicit(&here->proc->children, 1, memory_order_relaxed) + 1;
    struct wedge_arena_event event = {.kind = WEDGE_EV_FORK, .arg = nth};
    agent_event(here, &event);
    return nth;
}

void agent_before_vfork(const struct agent_here *here)
{
    self.vforked = give_ordinal(here);
}

bool agent_is_vfork_child(const struct agent_here *here)
{
    return AGENT_UNLIKELY(self.vforked) && sys_getpid() != here->proc->pid;
}

void agent_before_fork(struct agent_here *here)
{
    self.forking = give_ordinal(here);
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
        struct birth birth = {sys_getpid(), slot, self.vforked, WEDGE_PROC_EXECED, 0, 0};
        if ((slot = claim_process(&birth)) == AGENT_NONE)
            return AGENT_NONE;
    }
    write_birth(slot, why, path, 0);
    if (vforked)
        announce_process(slot);
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
    struct birth birth = {0, here->proc_slot, give_ordinal(here), WEDGE_PROC_EXECED, 0, 0};
    uint32_t slot = claim_process(&birth);
    if (slot == AGENT_NONE)
        return AGENT_NONE;
    write_birth(slot, why, path, named ? 0 : 1);
    announce_process(slot);
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

void agent_after_fork(bool child)
{
    struct agent_here here;
    if (child)
        agent_find_here(&here); /* checks in now, with the ordinal still set, if no earlier pass did */
    self.forking = 0;
}
