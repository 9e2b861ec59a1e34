/*
 * Locks of libc, whose holder it writes down, and those inside of libc, whose holder it does not.
 *
 *   op, val of the call         what it is                                       who ends it
 *   WAIT, 2                     mutex, word +0, owner +8, users +12, kind +16    the owner
 *   WAIT_BITSET, 2, timed       the same with a deadline
 *   WAIT, TID | 0x80000000      robust mutex                                     word & 0x3fffffff
 *   LOCK_PI, LOCK_PI2           PI mutex                                         word & 0x3fffffff
 *   WAIT_BITSET, 0, own stack   PI mutex that the kernel refuses (it would deadlock): nobody, it sleeps for ever
 *   WAIT_BITSET, 2 or 3         rwlock, word +8 or +12, writer +24               the writer, or any thread
 *   WAIT, 2                     lock of a FILE {int lock, int count, void *owner}: owner is a struct pthread
 *   WAIT, 2                     low-level lock of libc (time zone, malloc, environment): a bare int
 *
 * Measured on glibc 2.36. The layouts are in <bits/struct_mutex.h>, <bits/struct_rwlock.h>, sysdeps/nptl/stdio-lock.h
 * and nptl/descr.h and have been the same since 2.34. An owner is believed only if everything else in the object fits.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "detector/wait/futex.h"

#define TID_MASK    0x3fffffffu
#define TID_MOST    (1 << 22) /* PID_MAX_LIMIT of 64-bit kernels, <linux/threads.h> */
#define WAITERS_BIT 0x80000000u

enum { KIND_TYPE = 3, KIND_RECURSIVE = 1, KIND_ERRORCHECK = 2, KIND_ADAPTIVE = 3 };
enum { KIND_ROBUST = 16, KIND_PI = 32, KIND_SHARED = 128 };
#define KIND_KNOWN (3u | 16u | 32u | 64u | 128u | 256u | 512u)

#define LIBC_COND_WITH_VALUE 41 /* from here on a condition's wait may carry any value */

struct mutex { /* pthread_mutex_t on x86-64 */
    uint32_t lock, count;
    int32_t owner;
    uint32_t users;
    int32_t kind;
    int16_t spins, elision;
    uint64_t previous, next; /* in the owner's list of robust ones */
};
struct rwlock { /* pthread_rwlock_t on x86-64 */
    uint32_t readers, writers, wrphase_futex, writers_futex, pad3, pad4;
    int32_t cur_writer, shared;
    uint8_t elision, pad1[7];
    uint64_t pad2;
    uint32_t flags;
};
struct file_lock { /* _IO_lock_t */
    uint32_t lock, count;
    uint64_t owner; /* struct pthread */
};
enum { PTHREAD_SELF_AT = 0x10, PTHREAD_TID_AT = 0x2d0 }; /* header.self and tid in struct pthread */

/* ---- owners ---- */

enum owner { OWNER_UNKNOWN, OWNER_THREAD, OWNER_GONE };

/* The process above `pid` that has a thread `tid`: then the lock was copied by fork, and its owner, who releases what he
 * has in his own memory, cannot release this copy (fork(2): only the calling thread is duplicated). 0: none. */
static pid_t find_above(struct wedge_look *look, pid_t pid, pid_t tid)
{
    for (int depth = 0; depth < 64; depth++) {
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, pid);
        char path[64];
        if (!m || m->ppid <= 0)
            return 0;
        pid = m->ppid;
        wedge_proc_path(pid, tid, "", path, sizeof(path));
        if (access(path, F_OK) == 0)
            return pid;
    }
    return 0;
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

/* Numbers in shared memory are of the PID namespace of whoever wrote them. Is there a process of another one among those who
 * map the lock, in which a second thread has this number? Then nobody can tell who it is. */
static bool is_ambiguous(struct wedge_look *look, const struct wedge_machine_end *maps, size_t n, pid_t tid, int found)
{
    int own = look->snapshot->threads[found].proc;
    for (size_t i = 0; i < n; i++) {
        int proc = wedge_look_proc_of(look, maps[i].pid), other = proc < 0 ? -1 : wedge_look_thread_of(look, proc, tid);
        if (other >= 0 && proc != own)
            return true;
    }
    return false;
}

static enum owner find_owner(struct wedge_look *look, int thread, const struct wedge_futex *f, pid_t tid, int *ret)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    bool nested = look->threads[thread].status.ns_tid != t->tid;
    if (tid <= 0 || tid > TID_MOST)
        return OWNER_UNKNOWN;
    *ret = wedge_look_thread_of(look, t->proc, tid);
    int sharer = *ret < 0 ? wedge_wait_memory_sharer(look, t->proc) : -1;
    if (sharer >= 0)
        *ret = wedge_look_thread_of(look, sharer, tid);
    size_t n = 0;
    const struct wedge_machine_end *maps = f->shared ? wedge_look_mappings(look, f->dev, f->map->inode, &n) : NULL;
    if (*ret >= 0)
        return is_ambiguous(look, maps, n, tid, *ret) ? OWNER_UNKNOWN : alive_or_gone(look, *ret);
    for (size_t i = 0; i < n; i++) {
        int proc = wedge_look_proc_of(look, maps[i].pid);
        *ret = proc < 0 ? -1 : wedge_look_thread_of(look, proc, tid);
        if (*ret >= 0)
            return is_ambiguous(look, maps, n, tid, *ret) ? OWNER_UNKNOWN : alive_or_gone(look, *ret);
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, maps[i].pid);
        if (proc < 0 && !(m && m->blind))
            return OWNER_UNKNOWN; /* not read in this round */
    }
    /* A core file has every thread of its process, and of this machine it knows nothing. */
    if (look->core)
        return f->shared || !look->core_tids ? OWNER_UNKNOWN : OWNER_GONE;
    /* TIDs in memory are the target's; ours name other threads. */
    if (nested || (f->shared && look->hidden_mappings))
        return OWNER_UNKNOWN;
    if (!exists(tid))
        return OWNER_GONE;
    if (!f->shared)
        look->threads[thread].copied_from = find_above(look, f->pid, tid);
    return look->threads[thread].copied_from ? OWNER_GONE : OWNER_UNKNOWN;
}

struct lock { /* what was found out about the lock that a thread waits for */
    enum wedge_wait_class class;
    uint64_t base;
    const char *what;
    pid_t tid; /* its owner, as written in it */
    bool exact; /* no other thread may release it */
};

static void set_owner(struct wedge_look *look, int thread, const struct wedge_futex *f, const struct lock *lock,
                      enum owner found, int owner)
{
    struct wedge_look_thread *own = &look->threads[thread];
    look->snapshot->threads[thread].wait.object.owner_tid = lock->tid;
    wedge_futex_name(look, thread, f, lock->base, lock->what);
    own->shared = f->shared;
    if (found == OWNER_THREAD) {
        wedge_wait_is(look, thread, lock->class, "only its owner may release it");
        own->owner = owner;
        own->exact_owner = lock->exact;
        wedge_waker_add(look, thread, 0, WEDGE_TO_THREAD, owner, 0, "owns it");
    } else {
        wedge_wait_is(look, thread, lock->class,
                      own->copied_from ? "fork copied it, and its owner is not here" : "its owner is gone");
        own->owner_dead = true;
        own->n_sets = 1;
    }
    if (!lock->exact || found == OWNER_GONE) {
        own->assumptions |= WEDGE_ASSUME_POSIX_OWNER;
        wedge_futex_anyone(look, thread, f, WEDGE_WAKER_UNLESS_POSIX);
    }
}

static bool owned(struct wedge_look *look, int thread, const struct wedge_futex *f, const struct lock *lock)
{
    int owner = -1;
    enum owner found = find_owner(look, thread, f, lock->tid, &owner);
    if (found != OWNER_UNKNOWN)
        set_owner(look, thread, f, lock, found, owner);
    return found != OWNER_UNKNOWN;
}

/* ---- mutexes ---- */

/* What can be a mutex at all, locked by somebody: each field has few values that it can have (nptl/pthread_mutex_lock.c). */
static bool is_plausible(const struct mutex *m)
{
    unsigned kind = (unsigned)m->kind, type = kind & KIND_TYPE;
    bool listed = kind & KIND_ROBUST;
    return (kind & ~KIND_KNOWN) == 0 && m->users >= 1 && m->users < (1u << 30) &&
           (type == KIND_RECURSIVE || listed || kind & KIND_PI || m->count == 0) &&
           (type == KIND_ADAPTIVE || m->spins == 0) && (listed || (!m->previous && !m->next));
}

static bool read_mutex(struct wedge_look *look, const struct wedge_futex *f, struct mutex *ret)
{
    struct mutex again;
    return wedge_futex_memory(look, f, f->address, ret, sizeof(*ret)) &&
           wedge_look_memory_again(look, f->proc, f->address, &again, sizeof(again)) == 0 &&
           memcmp(ret, &again, sizeof(again)) == 0 && is_plausible(ret);
}

static bool is_rwlock_at(struct wedge_look *look, const struct wedge_futex *f, uint64_t base, struct rwlock *l)
{
    return wedge_futex_memory(look, f, base, l, sizeof(*l)) && l->flags <= 2 &&
           (l->shared != 0) == !(f->op & WEDGE_FUTEX_PRIVATE) && l->elision <= 1 && l->pad2 == 0 && l->pad3 == 0 &&
           l->pad4 == 0 && (l->wrphase_futex | l->writers_futex) <= 3 && l->readers;
}

static bool is_mutex(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    struct mutex m;
    struct rwlock l;
    if (!read_mutex(look, f, &m))
        return false;
    unsigned kind = (unsigned)m.kind, type = kind & KIND_TYPE;
    struct lock lock = {.class = WEDGE_WAIT_MUTEX, .base = f->address, .exact = true};
    bool waits = f->cmd == WEDGE_FUTEX_WAIT || (f->cmd == WEDGE_FUTEX_WAIT_BITSET && f->timed);
    if (kind & (KIND_ROBUST | KIND_PI)) {
        lock.what = kind & KIND_PI ? "PI mutex" : "robust mutex";
        lock.tid = (pid_t)(m.lock & TID_MASK);
        bool fits = kind & KIND_PI ? f->cmd == WEDGE_FUTEX_LOCK_PI || f->cmd == WEDGE_FUTEX_LOCK_PI2
                                   : waits && f->val & WAITERS_BIT && (m.lock & TID_MASK) == (f->val & TID_MASK);
        return fits && owned(look, thread, f, &lock);
    }
    /* INT_MAX and INT_MAX - 1: inconsistent, not recoverable. */
    if (!waits || f->val != 2 || m.lock != 2 || m.owner >= INT_MAX - 1 ||
        ((f->op & WEDGE_FUTEX_PRIVATE) == 0) != ((kind & KIND_SHARED) != 0))
        return false;
    if (f->timed && (is_rwlock_at(look, f, f->address - 8, &l) || is_rwlock_at(look, f, f->address - 12, &l)))
        return false;
    lock.exact = type == KIND_RECURSIVE || type == KIND_ERRORCHECK;
    lock.tid = m.owner;
    lock.what = type == KIND_RECURSIVE    ? "recursive mutex"
                : type == KIND_ERRORCHECK ? "error-checking mutex"
                : type == KIND_ADAPTIVE   ? "adaptive mutex"
                                          : "mutex";
    return owned(look, thread, f, &lock);
}

/*
 * The kernel refuses a PI lock that would close a circle (EDEADLK) or whose owner is gone (ESRCH). For a mutex of normal
 * type glibc then sleeps for ever on a word of pthread_mutex_lock's own frame (nptl/pthread_mutex_lock.c: "Delay the
 * thread indefinitely"), which is the innermost but one; a semaphore on the stack of its user lies further up. Measured
 * at sp + 0x54. Which mutex it was is in a register alone.
 */
static bool is_refused(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    enum { INNERMOST = 0x80 };
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_look_thread *own = &look->threads[thread];
    if (f->cmd != WEDGE_FUTEX_WAIT_BITSET || f->timed || f->val || f->word || f->address < t->sp ||
        f->address - t->sp >= INNERMOST)
        return false;
    wedge_wait_is(look, thread, WEDGE_WAIT_MUTEX, "the kernel refused it the lock, and it sleeps for ever");
    wedge_futex_name(look, thread, f, f->address, "PI mutex, which the kernel refuses: it sleeps on its own stack,");
    own->refused = true;
    own->n_sets = 1;
    own->assumptions |= WEDGE_ASSUME_POSIX_OWNER;
    wedge_futex_anyone(look, thread, f, WEDGE_WAKER_UNLESS_POSIX);
    return true;
}

/* ---- rwlocks ---- */

static bool is_rwlock(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    struct rwlock at8, at12;
    if (f->cmd != WEDGE_FUTEX_WAIT_BITSET || (f->val != 2 && f->val != 3) || f->libc >= LIBC_COND_WITH_VALUE)
        return false;
    bool first = is_rwlock_at(look, f, f->address - 8, &at8), second = is_rwlock_at(look, f, f->address - 12, &at12);
    if (first == second)
        return false;
    const struct rwlock *l = first ? &at8 : &at12;
    const struct lock lock = {
        .class = WEDGE_WAIT_RWLOCK, .base = f->address - (first ? 8 : 12), .what = "rwlock", .tid = l->cur_writer};
    if (l->cur_writer && owned(look, thread, f, &lock))
        return true;
    look->threads[thread].readers = l->cur_writer ? 0 : l->readers >> 3;
    char what[48] = "rwlock";
    if (l->readers >> 3 && !l->cur_writer)
        snprintf(what, sizeof(what), "rwlock with %" PRIu32 " reader%s", l->readers >> 3,
                 l->readers >> 3 == 1 ? "" : "s");
    wedge_wait_is(look, thread, WEDGE_WAIT_RWLOCK, "its readers are not recorded: any thread may be one");
    wedge_futex_name(look, thread, f, lock.base, what);
    wedge_futex_anyone(look, thread, f, 0);
    return true;
}

/* ---- locks inside of libc ---- */

/* The owner is believed if it is a struct pthread: it points to itself. Only its owner may release it, as the lock is
 * recursive. The TID of a thread that has ended is 0, once it is joined -1 (nptl/pthread_join_common.c), for as long as
 * no other one has taken over its stack. */
static bool is_file_lock(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    struct file_lock l;
    uint64_t self = 0;
    int32_t tid = 0;
    if (!(f->op & WEDGE_FUTEX_PRIVATE) || !wedge_futex_memory(look, f, f->address, &l, sizeof(l)) || l.lock != 2 ||
        l.count < 1 || l.count > (1u << 20) || l.owner % 16 ||
        !wedge_futex_memory(look, f, l.owner + PTHREAD_SELF_AT, &self, sizeof(self)) || self != l.owner ||
        !wedge_futex_memory(look, f, l.owner + PTHREAD_TID_AT, &tid, sizeof(tid)))
        return false;
    const struct lock lock = {
        .class = WEDGE_WAIT_MUTEX, .base = f->address, .what = "lock of a FILE", .tid = tid, .exact = true};
    if (tid > 0)
        return owned(look, thread, f, &lock);
    set_owner(look, thread, f, &lock, OWNER_GONE, -1);
    return true;
}

/* Is the thread inside of a signal handler? The kernel leaves the handler's return address on the stack, which leads to
 * "mov $15, %rax; syscall" (sigreturn(2)). */
static bool is_in_handler(struct wedge_look *look, int thread)
{
    enum { DEEP = 32768, PIECE = 4096 };
    static const unsigned char restorer[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    uint64_t words[PIECE / 8], last = 0;
    for (uint64_t at = t->sp; at < t->sp + DEEP; at += PIECE) {
        if (wedge_look_memory(look, t->proc, at, words, sizeof(words)))
            return false;
        for (size_t i = 0; i < PIECE / 8; i++) {
            unsigned char code[sizeof(restorer)];
            const struct wedge_proc_map *map = words[i] == last ? NULL : wedge_look_map_at(look, t->proc, words[i]);
            last = words[i];
            if (map && map->executable && wedge_look_memory(look, t->proc, words[i], code, sizeof(code)) == 0 &&
                memcmp(code, restorer, sizeof(code)) == 0)
                return true;
        }
    }
    return false;
}

/*
 * Nobody writes down who has a low-level lock; it is some thread of the process, inside of libc. Where there is no
 * other thread it is either this one itself, in what a signal handler interrupted, or one that was not taken along by
 * fork.
 */
static bool is_low_level(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    struct wedge_look_thread *own = &look->threads[thread];
    if (!(f->op & WEDGE_FUTEX_PRIVATE) || f->word != 2)
        return false;
    wedge_wait_is(look, thread, WEDGE_WAIT_MUTEX, "whichever thread has it is not recorded");
    wedge_futex_name(look, thread, f, f->address, "lock inside of libc");
    wedge_futex_anyone(look, thread, f, 0);
    if (own->own_process_only && is_in_handler(look, thread))
        own->owner = thread;
    else if (own->own_process_only)
        own->owner_dead = true;
    return true;
}

bool wedge_futex_is_lock(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    if (f->cmd == WEDGE_FUTEX_LOCK_PI || f->cmd == WEDGE_FUTEX_LOCK_PI2)
        return is_mutex(look, thread, f);
    if (f->cmd == WEDGE_FUTEX_WAIT_BITSET)
        return is_mutex(look, thread, f) || is_rwlock(look, thread, f) || is_refused(look, thread, f);
    /* A mutex whose owner is not known is no low-level lock: it has one. */
    struct mutex m;
    bool may_be_bare =
        f->val == 2 && !f->timed && !read_mutex(look, f, &m) && !wedge_futex_is_barrier(look, f, NULL, NULL);
    return is_mutex(look, thread, f) ||
           (may_be_bare && (is_file_lock(look, thread, f) || is_low_level(look, thread, f)));
}
