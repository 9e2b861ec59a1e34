/*
 * Futex waits: what libc's objects look like from outside, and raw words.
 *
 *   op, val of the call          what it is, if the pc is in a known glibc        who ends it
 *   WAIT, 2                      mutex, word +0, owner +8, users +12, kind +16    the owner
 *   WAIT, TID | 0x80000000       robust mutex                                     word & 0x3fffffff
 *   LOCK_PI                      PI mutex                                         word & 0x3fffffff
 *   WAIT_BITSET shared, TID      pthread_join                                     the thread
 *   WAIT_BITSET, 2 or 3, for ever   rwlock, word +8 or +12, writer +24            the writer, or any thread
 *   anything else                condition, semaphore, barrier, once, raw         any thread that maps the word
 *
 * Measured on glibc 2.36; the layouts are in <bits/struct_mutex.h> and <bits/struct_rwlock.h> and have been the same
 * since 2.34. An owner is believed only if everything else in the object fits; otherwise the word is a raw futex, which
 * any thread may wake: the careful reading.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "detector/libc.h"
#include "detector/wait/wait.h"

enum { CMD_WAIT = 0, CMD_LOCK_PI = 6, CMD_WAIT_BITSET = 9, CMD_WAIT_REQUEUE_PI = 11, CMD_LOCK_PI2 = 13 };
#define OP_CMD      0x7fu
#define OP_PRIVATE  0x80u
#define OP_REALTIME 0x100u
#define TID_MASK    0x3fffffffu
#define WAITERS_BIT 0x80000000u

enum { KIND_TYPE = 3, KIND_RECURSIVE = 1, KIND_ERRORCHECK = 2, KIND_ROBUST = 16, KIND_PI = 32, KIND_SHARED = 128 };
#define KIND_KNOWN (3u | 16u | 32u | 64u | 128u | 256u | 512u)

#define LIBC_FIRST           34 /* 2.34: libpthread joined libc, the op values are as above */
#define LIBC_LAST            42
#define LIBC_COND_WITH_VALUE 41 /* from here on a condition's wait may carry any value */

struct mutex { /* the first 24 bytes of pthread_mutex_t on x86-64 */
    uint32_t lock, count;
    int32_t owner;
    uint32_t users;
    int32_t kind;
    int32_t spins_elision;
};
struct rwlock { /* pthread_rwlock_t on x86-64 */
    uint32_t readers, writers, wrphase_futex, writers_futex, pad3, pad4;
    int32_t cur_writer, shared;
    uint8_t elision, pad1[7];
    uint64_t pad2;
    uint32_t flags;
};

struct futex {
    uint64_t address;
    unsigned cmd, op;
    uint32_t val, word;
    bool timed;
    const struct wedge_proc_map *map;
    bool shared; /* seen by other processes */
    pid_t pid;
    int proc;
    uint64_t dev;
};

static bool read_memory(struct wedge_look *look, const struct futex *f, uint64_t address, void *buf, size_t size)
{
    return wedge_look_memory(look, f->proc, address, buf, size) == 0;
}

static void name_object(struct wedge_look *look, int thread, const struct futex *f, uint64_t address, const char *what)
{
    struct wedge_object *o = &look->snapshot->threads[thread].wait.object;
    o->address = address;
    if (f->shared)
        snprintf(o->key, sizeof(o->key), "shm %x:%x:%" PRIu64 "+0x%" PRIx64, f->map->dev_major, f->map->dev_minor,
                 f->map->inode, address - f->map->start + f->map->offset);
    else
        snprintf(o->key, sizeof(o->key), "pid %d 0x%" PRIx64, (int)f->pid, address);
    if (o->owner_tid)
        snprintf(o->describe, sizeof(o->describe), "%s at 0x%" PRIx64 " (owner %d)", what, address, o->owner_tid);
    else
        snprintf(o->describe, sizeof(o->describe), "%s%s at 0x%" PRIx64, f->shared ? "shared " : "", what, address);
}

/* Everyone who maps a shared word, or holds the file and could. `flags` go with each waker. */
static void add_sharers(struct wedge_look *look, int thread, const struct futex *f, unsigned flags)
{
    size_t n_maps, n_ends;
    bool others = false;
    const struct wedge_machine_end *maps = wedge_look_mappings(look, f->dev, f->map->inode, &n_maps);
    const struct wedge_machine_end *ends = wedge_look_ends(look, f->dev, f->map->inode, &n_ends);
    for (size_t i = 0; i < n_maps + n_ends; i++) {
        pid_t pid = i < n_maps ? maps[i].pid : ends[i - n_maps].pid;
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, pid);
        if (pid == f->pid || !m || m->blind)
            continue;
        others = true;
        int proc = wedge_look_want(look, pid);
        if (proc < 0 || look->procs[proc].skipped)
            wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, flags, "a process outside the tree maps it");
        else
            wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, proc, flags, "maps it");
    }
    wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, look->snapshot->threads[thread].proc, flags, "shares it");
    if (look->hidden_mappings || look->hidden_ends)
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, flags, "a process that may map it cannot be read");
    look->threads[thread].assumptions |= WEDGE_ASSUME_COMPLETE_VIEW;
    look->threads[thread].own_process_only = !others;
}

/* A file with a name, or a System V segment: anyone may come and map it. */
static bool is_open_to_all(const struct futex *f)
{
    return f->shared && (!f->map->deleted || strncmp(f->map->path, "/SYSV", 5) == 0);
}

static int alive_threads(const struct wedge_look *look, int proc)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    int n = 0;
    for (int i = p->first_thread; i < p->first_thread + p->n_threads; i++)
        n += look->snapshot->threads[i].state != 'Z' && look->snapshot->threads[i].state != 'X';
    return n;
}

/* Wakers of a word that any thread may wake. */
static void add_anyone(struct wedge_look *look, int thread, const struct futex *f, unsigned flags)
{
    int proc = look->snapshot->threads[thread].proc;
    if (is_open_to_all(f))
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, flags, "the memory has a name: anyone may map it");
    else if (f->shared)
        add_sharers(look, thread, f, flags);
    else {
        wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, proc, flags, "may wake it");
        look->threads[thread].own_process_only = alive_threads(look, proc) <= 1;
    }
    look->threads[thread].shared = f->shared;
}

static void raw(struct wedge_look *look, int thread, const struct futex *f)
{
    wedge_wait_is(look, thread, WEDGE_WAIT_FUTEX, "any thread that reaches the word may wake it");
    name_object(look, thread, f, f->address, "futex word");
    add_anyone(look, thread, f, 0);
    wedge_waker_add_signals(look, thread);
}

/* ---- owners ---- */

enum owner { OWNER_UNKNOWN, OWNER_THREAD, OWNER_GONE };

/* Is `tid` a thread of a process above `pid`? Then the lock was copied by fork, and its owner is not here. */
static bool is_thread_above(struct wedge_look *look, pid_t pid, pid_t tid)
{
    for (int depth = 0; depth < 64; depth++) {
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, pid);
        char path[64];
        if (!m || m->ppid <= 0)
            return false;
        pid = m->ppid;
        wedge_proc_path(pid, tid, "", path, sizeof(path));
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

/* /proc/TID answers for every thread of the machine, also for those it does not list. */
static bool exists(pid_t tid)
{
    char path[64];
    wedge_proc_path(tid, 0, "", path, sizeof(path));
    return access(path, F_OK) == 0;
}

/* A leader that has ended stays listed for as long as its process lives. */
static enum owner alive_or_gone(const struct wedge_look *look, int thread)
{
    char state = look->snapshot->threads[thread].state;
    return state == 'Z' || state == 'X' ? OWNER_GONE : OWNER_THREAD;
}

static enum owner find_owner(struct wedge_look *look, int thread, const struct futex *f, pid_t tid, int *ret)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    bool nested = look->threads[thread].status.ns_tid != t->tid;
    if (tid <= 0)
        return OWNER_UNKNOWN;
    *ret = wedge_look_thread_of(look, t->proc, tid);
    if (*ret >= 0)
        return alive_or_gone(look, *ret);
    size_t n = 0;
    const struct wedge_machine_end *maps = f->shared ? wedge_look_mappings(look, f->dev, f->map->inode, &n) : NULL;
    for (size_t i = 0; i < n; i++) {
        int proc = wedge_look_proc_of(look, maps[i].pid);
        *ret = proc < 0 ? -1 : wedge_look_thread_of(look, proc, tid);
        if (*ret >= 0)
            return alive_or_gone(look, *ret);
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, maps[i].pid);
        if (proc < 0 && m && !m->blind)
            return OWNER_UNKNOWN; /* not read in this round */
    }
    /* A core file has every thread of its process, and of this machine it knows nothing. */
    if (look->core)
        return f->shared || !look->core_tids ? OWNER_UNKNOWN : OWNER_GONE;
    /* TIDs in memory are the target's; ours name other threads. */
    if (nested || (f->shared && look->hidden_mappings))
        return OWNER_UNKNOWN;
    if (!exists(tid) || (!f->shared && is_thread_above(look, f->pid, tid)))
        return OWNER_GONE;
    return OWNER_UNKNOWN;
}

static bool owned(struct wedge_look *look, int thread, const struct futex *f, enum wedge_wait_class class,
                  uint64_t base, const char *what, pid_t tid, bool exact)
{
    struct wedge_look_thread *own = &look->threads[thread];
    int owner = -1;
    enum owner found = find_owner(look, thread, f, tid, &owner);
    if (found == OWNER_UNKNOWN)
        return false;
    look->snapshot->threads[thread].wait.object.owner_tid = tid;
    name_object(look, thread, f, base, what);
    own->shared = f->shared;
    if (found == OWNER_THREAD) {
        wedge_wait_is(look, thread, class, "only its owner may release it");
        own->owner = owner;
        own->exact_owner = exact;
        wedge_waker_add(look, thread, 0, WEDGE_TO_THREAD, owner, 0, "owns it");
    } else {
        wedge_wait_is(look, thread, class, "its owner is gone");
        own->owner_dead = true;
        own->n_sets = 1;
    }
    if (!exact || found == OWNER_GONE) {
        own->assumptions |= WEDGE_ASSUME_POSIX_OWNER;
        add_anyone(look, thread, f, WEDGE_WAKER_UNLESS_POSIX);
    }
    return true;
}

static bool is_mutex(struct wedge_look *look, int thread, const struct futex *f)
{
    struct mutex m, again;
    if (!read_memory(look, f, f->address, &m, sizeof(m)) || !read_memory(look, f, f->address, &again, sizeof(again)) ||
        memcmp(&m, &again, sizeof(m)) != 0)
        return false;
    unsigned kind = (unsigned)m.kind, type = kind & KIND_TYPE;
    bool plausible = (kind & ~KIND_KNOWN) == 0 && m.users >= 1 && m.users < (1u << 30);
    if (!plausible)
        return false;
    if (kind & (KIND_ROBUST | KIND_PI)) {
        bool fits = kind & KIND_PI
                        ? f->cmd == CMD_LOCK_PI || f->cmd == CMD_LOCK_PI2
                        : f->cmd == CMD_WAIT && f->val & WAITERS_BIT && (m.lock & TID_MASK) == (f->val & TID_MASK);
        return fits && owned(look, thread, f, WEDGE_WAIT_MUTEX, f->address,
                             kind & KIND_PI ? "PI mutex" : "robust mutex", (pid_t)(m.lock & TID_MASK), true);
    }
    if (f->cmd != CMD_WAIT || f->val != 2 || m.lock != 2 || m.owner == INT_MAX || m.owner == INT_MAX - 1 ||
        ((f->op & OP_PRIVATE) == 0) != ((kind & KIND_SHARED) != 0))
        return false;
    bool exact = type == KIND_RECURSIVE || type == KIND_ERRORCHECK;
    const char *what = type == KIND_RECURSIVE    ? "recursive mutex"
                       : type == KIND_ERRORCHECK ? "error-checking mutex"
                                                 : "mutex";
    return owned(look, thread, f, WEDGE_WAIT_MUTEX, f->address, what, m.owner, exact);
}

static bool is_rwlock_at(struct wedge_look *look, const struct futex *f, uint64_t base, struct rwlock *l)
{
    return read_memory(look, f, base, l, sizeof(*l)) && l->flags <= 2 && (l->shared != 0) == !(f->op & OP_PRIVATE) &&
           l->elision <= 1 && l->pad2 == 0 && l->pad3 == 0 && l->pad4 == 0 &&
           (l->wrphase_futex | l->writers_futex) <= 3;
}

static bool is_rwlock(struct wedge_look *look, int thread, const struct futex *f, int libc)
{
    struct rwlock at8, at12;
    if (f->cmd != CMD_WAIT_BITSET || (f->val != 2 && f->val != 3) || f->timed || libc >= LIBC_COND_WITH_VALUE)
        return false;
    bool first = is_rwlock_at(look, f, f->address - 8, &at8), second = is_rwlock_at(look, f, f->address - 12, &at12);
    if (first == second)
        return false;
    const struct rwlock *l = first ? &at8 : &at12;
    uint64_t base = f->address - (first ? 8 : 12);
    if (l->cur_writer && owned(look, thread, f, WEDGE_WAIT_RWLOCK, base, "rwlock", l->cur_writer, false))
        return true;
    wedge_wait_is(look, thread, WEDGE_WAIT_RWLOCK, "its readers are not recorded: any thread may be one");
    name_object(look, thread, f, base, "rwlock");
    add_anyone(look, thread, f, 0);
    return true;
}

/* pthread_join: the kernel clears the TID word when the thread ends, and wakes it as a shared futex. */
static bool is_join(struct wedge_look *look, int thread, const struct futex *f)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    if (f->cmd != CMD_WAIT_BITSET || f->op & OP_PRIVATE || f->timed || f->map->shared || f->word != f->val ||
        f->val > INT_MAX)
        return false;
    int target = wedge_look_thread_of(look, t->proc, (pid_t)f->val);
    if (target < 0 || target == thread)
        return false;
    struct wedge_object *o = &look->snapshot->threads[thread].wait.object;
    wedge_wait_is(look, thread, WEDGE_WAIT_JOIN, "it waits for a thread to end");
    snprintf(o->key, sizeof(o->key), "tid %d", (int)look->snapshot->threads[target].tid);
    snprintf(o->describe, sizeof(o->describe), "end of thread %d", (int)look->snapshot->threads[target].tid);
    o->address = f->address;
    wedge_waker_add(look, thread, 0, WEDGE_TO_THREAD, target, 0, "must end");
    wedge_waker_add_signals(look, thread);
    return true;
}

static void read_deadline(struct wedge_look *look, int thread, const struct futex *f)
{
    int64_t ns = 0;
    if (!wedge_wait_timespec(look, thread, look->snapshot->threads[thread].args[3], &ns))
        look->snapshot->threads[thread].wait.earliest_ns = 0;
    else if (f->cmd == CMD_WAIT)
        wedge_wait_for(look, thread, ns);
    else
        wedge_wait_until(look, thread, f->cmd == CMD_LOCK_PI || f->op & OP_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC,
                         ns);
}

static void decode(struct wedge_look *look, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    struct futex f = {
        .address = t->args[0],
        .op = (unsigned)t->args[1],
        .cmd = (unsigned)t->args[1] & OP_CMD,
        .val = (uint32_t)t->args[2],
        .timed = t->args[3] != 0,
        .pid = look->snapshot->procs[t->proc].pid,
        .proc = t->proc,
        .map = wedge_look_map_at(look, t->proc, t->args[0]),
    };
    bool known_cmd = f.cmd == CMD_WAIT || f.cmd == CMD_WAIT_BITSET || f.cmd == CMD_LOCK_PI || f.cmd == CMD_LOCK_PI2;
    if (!known_cmd || (f.op & ~(OP_CMD | OP_PRIVATE | OP_REALTIME))) {
        wedge_wait_unknown(look, thread, "a futex operation that is not decoded");
        return;
    }
    if (!f.map || !read_memory(look, &f, f.address, &f.word, sizeof(f.word))) {
        wedge_wait_unknown(look, thread, "its futex word cannot be read");
        return;
    }
    f.shared = !(f.op & OP_PRIVATE) && f.map->shared;
    f.dev = (uint64_t)f.map->dev_major << 32 | f.map->dev_minor;
    if (f.shared && !f.map->inode) {
        wedge_wait_unknown(look, thread, "shared memory that cannot be named");
        return;
    }
    int libc = wedge_libc_version_at(look, t->proc, t->pc);
    bool known = libc >= LIBC_FIRST && libc <= LIBC_LAST;
    if (!known || !(is_mutex(look, thread, &f) || is_join(look, thread, &f) || is_rwlock(look, thread, &f, libc)))
        raw(look, thread, &f);
    if (f.timed)
        read_deadline(look, thread, &f);
}

static const int calls[] = {SYS_futex, -1};
static const char *const wchans[] = {"futex_", "rt_mutex_", "__rt_mutex_", NULL};
const struct wedge_wait_ops wedge_wait_futex = {.name = "futex", .calls = calls, .wchans = wchans, .decode = decode};
