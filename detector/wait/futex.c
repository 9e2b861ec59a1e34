/*
 * Futex waits: which word a thread sleeps on, who reaches it, until when.
 *
 * Which object of libc the word belongs to is asked of futex_lock.c and futex_object.c, and only where the call was
 * made by glibc's own code of a version that is known. Everything else is a raw futex, which any thread that reaches
 * the word may wake: Rust's locks, C++20's atomics, musl and hand-made ones look the same.
 *
 * A word that is not what the thread sleeps for any more: what it waits for has happened, and nobody told it. Where
 * nobody is left to tell it either, that is a lost wake-up.
 */
#include "detector/wait/futex.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "detector/kernel/linked.h"
#include "detector/look/libc.h"

#define OP_CMD     0x7fu
#define LIBC_FIRST 34 /* 2.34: libpthread joined libc, the objects are as they are since */
#define LIBC_LAST  42

bool wedge_futex_memory(struct wedge_look *look, const struct wedge_futex *f, uint64_t address, void *buf, size_t size)
{
    return wedge_look_memory(look, f->proc, address, buf, size) == 0;
}

void wedge_futex_name(struct wedge_look *look, int thread, const struct wedge_futex *f, uint64_t address,
                      const char *what)
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

/* Everyone who maps this, or holds the file and could. True: another process does. */
static bool add_sharers(struct wedge_look *look, int thread, pid_t self, const struct wedge_proc_map *map,
                        struct wedge_linked_file file, unsigned flags)
{
    size_t n_maps, n_ends;
    bool others = false;
    const struct wedge_machine_end *maps =
        wedge_look_mappings(look, (uint64_t)map->dev_major << 32 | map->dev_minor, map->inode, &n_maps);
    const struct wedge_machine_end *ends = wedge_look_ends(look, file.dev, file.inode, &n_ends);
    for (size_t i = 0; i < n_maps + n_ends; i++) {
        pid_t pid = i < n_maps ? maps[i].pid : ends[i - n_maps].pid;
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, pid);
        if (pid == self || (m && m->blind))
            continue; /* who was born since the list was read is in none */
        others = true;
        int proc = wedge_look_want(look, pid);
        if (proc < 0 || look->procs[proc].skipped)
            wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, flags, "a process outside the tree maps it");
        else
            wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, proc, flags, "maps it");
    }
    if (look->hidden_mappings || look->hidden_ends)
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, flags, "a process that may map it cannot be read");
    look->threads[thread].assumptions |= WEDGE_ASSUME_COMPLETE_VIEW;
    return others;
}

/* A file with a name, or a System V segment: anyone may come and map it, and is added as a waker. Where nobody knows whether
 * it has one: hardly ever. True: anyone; else *ret_file is the file. */
static bool add_comers(struct wedge_look *look, int thread, const struct wedge_futex *f,
                       const struct wedge_proc_map *map, unsigned flags, const char *why,
                       struct wedge_linked_file *ret_file)
{
    pid_t reader = look->procs[f->proc].reader;
    enum wedge_linked linked = WEDGE_LINKED;
    *ret_file = (struct wedge_linked_file){0};
    if (map->deleted && strncmp(map->path, "/SYSV", 5) != 0)
        linked = look->core ? WEDGE_LINKED_NOT : wedge_linked_map(reader ? reader : f->pid, map, ret_file);
    if (linked == WEDGE_LINKED)
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, flags, why);
    else if (linked == WEDGE_LINKED_PERHAPS)
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, flags | WEDGE_WAKER_UNLESS_RARE,
                        "its memory is a file that may have another name, by which anyone may map it");
    return linked == WEDGE_LINKED;
}

int wedge_futex_alive(const struct wedge_look *look, int proc)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    int n = 0;
    for (int i = p->first_thread; i < p->first_thread + p->n_threads; i++)
        n += look->snapshot->threads[i].state != 'Z' && look->snapshot->threads[i].state != 'X';
    return n;
}

void wedge_futex_anyone(struct wedge_look *look, int thread, const struct wedge_futex *f, unsigned flags)
{
    struct wedge_look_thread *own = &look->threads[thread];
    struct wedge_linked_file file;
    own->shared = f->shared;
    if (f->shared && add_comers(look, thread, f, f->map, flags, "the memory has a name: anyone may map it", &file)) {
        own->own_process_only = false;
    } else if (f->shared) {
        own->own_process_only = !add_sharers(look, thread, f->pid, f->map, file, flags);
        wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, f->proc, flags, "shares it");
        own->handed =
            strcmp(f->map->path, "/dev/zero") != 0; /* that has no descriptor (mm/shmem.c, shmem_zero_setup) */
        if (own->handed)
            own->own_process_only &= !wedge_waker_add_receivers(look, thread, 0, flags);
    } else {
        int sharer = wedge_wait_memory_sharer(look, f->proc);
        wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, f->proc, flags, "may wake it");
        if (sharer >= 0)
            wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, sharer, flags, "has the same memory (vfork)");
        bool by_kin = wedge_wait_memory_kin(look, thread, f->proc, flags);
        own->own_process_only = sharer < 0 && !by_kin && wedge_futex_alive(look, f->proc) <= 1;
    }
}

/* FUTEX_REQUEUE may have moved who sleeps without the private flag to any word that its process shares, and
 * /proc/…/syscall still shows the first one (futex(2)): who maps any of that memory may wake it. glibc's own code
 * moves nobody since 2.25. Memory that is only read is left out, for it can hold no word that changes, and the agent's,
 * to which it moves nobody. */
static void add_requeued(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    const struct wedge_map_set *set = &look->procs[f->proc].maps;
    uint64_t dev = 0, inode = 0;
    for (size_t i = 0; i < set->n; i++) {
        const struct wedge_proc_map *map = &set->maps[i];
        uint64_t own_dev = (uint64_t)map->dev_major << 32 | map->dev_minor;
        if (!map->shared || !map->writable || !map->inode ||
            (map->deleted && strcmp(map->path, "/memfd:wedge-arena") == 0) || (own_dev == dev && map->inode == inode) ||
            map == f->map)
            continue;
        dev = own_dev;
        inode = map->inode;
        struct wedge_linked_file file;
        if (!add_comers(look, thread, f, map, 0, "it may have been moved to memory that has a name", &file) &&
            add_sharers(look, thread, f->pid, map, file, 0))
            look->threads[thread].own_process_only = false;
    }
}

static void raw(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    wedge_wait_is(look, thread, WEDGE_WAIT_FUTEX, "any thread that reaches the word may wake it");
    wedge_futex_name(look, thread, f, f->address, "futex word");
    wedge_futex_anyone(look, thread, f, 0);
    if (!f->libc && !(f->op & WEDGE_FUTEX_PRIVATE))
        add_requeued(look, thread, f);
    wedge_waker_add_signals(look, thread);
}

static void read_deadline(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    int64_t ns = 0;
    if (!wedge_wait_timespec(look, thread, look->snapshot->threads[thread].args[3], &ns))
        look->snapshot->threads[thread].wait.earliest_ns = 0;
    else if (f->cmd == WEDGE_FUTEX_WAIT)
        wedge_wait_for(look, thread, ns);
    else
        wedge_wait_until(
            look, thread,
            f->cmd == WEDGE_FUTEX_LOCK_PI || f->op & WEDGE_FUTEX_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, ns);
}

/* Fills in where the word is and what it says. False: the wait is live, and why was said. */
static bool find_word(struct wedge_look *look, int thread, struct wedge_futex *f)
{
    f->map = wedge_look_map_at(look, f->proc, f->address);
    if (!f->map || !wedge_futex_memory(look, f, f->address, &f->word, sizeof(f->word))) {
        wedge_wait_unknown(look, thread, "its futex word cannot be read");
        return false;
    }
    /* A page of a file that is private and only read stays the file's (get_futex_key in kernel/futex/core.c): who writes to
     * the file may wake who sleeps there. */
    f->shared = !(f->op & WEDGE_FUTEX_PRIVATE) && (f->map->shared || (!f->map->writable && f->map->inode));
    f->dev = (uint64_t)f->map->dev_major << 32 | f->map->dev_minor;
    if (!f->shared || f->map->inode)
        return true;
    wedge_wait_unknown(look, thread, "shared memory that cannot be named");
    return false;
}

/* A sleeper whose word has changed. A PI lock's word is the kernel's, and a word that was not compared tells nothing. */
static void note_change(struct wedge_look *look, int thread, const struct wedge_futex *f)
{
    struct wedge_object *o = &look->snapshot->threads[thread].wait.object;
    bool compared = f->cmd == WEDGE_FUTEX_WAIT || f->cmd == WEDGE_FUTEX_WAIT_BITSET;
    size_t used = strlen(o->describe);
    if (!compared || f->word == f->val || look->snapshot->threads[thread].wait.class == WEDGE_WAIT_UNKNOWN)
        return;
    look->snapshot->threads[thread].wait.happened = true;
    snprintf(o->describe + used, sizeof(o->describe) - used, " (which is %" PRIu32 " and no longer %" PRIu32 ")",
             f->word, f->val);
}

static void decode(struct wedge_look *look, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_futex f = {
        .address = t->args[0],
        .op = (unsigned)t->args[1],
        .cmd = (unsigned)t->args[1] & OP_CMD,
        .val = (uint32_t)t->args[2],
        .timed = t->args[3] != 0,
        .pid = look->snapshot->procs[t->proc].pid,
        .proc = t->proc,
    };
    bool known_cmd = f.cmd == WEDGE_FUTEX_WAIT || f.cmd == WEDGE_FUTEX_WAIT_BITSET || f.cmd == WEDGE_FUTEX_LOCK_PI ||
                     f.cmd == WEDGE_FUTEX_LOCK_PI2;
    if (!known_cmd || (f.op & ~(OP_CMD | WEDGE_FUTEX_PRIVATE | WEDGE_FUTEX_REALTIME))) {
        wedge_wait_unknown(look, thread, "a futex operation that is not decoded");
        return;
    }
    if (!find_word(look, thread, &f))
        return;
    struct wedge_libc_place place = wedge_libc_at(look, t->proc, t->pc);
    f.libc = place.minor >= LIBC_FIRST && place.minor <= LIBC_LAST && !place.by_syscall ? place.minor : 0;
    if (!f.libc || !(wedge_futex_is_lock(look, thread, &f) || wedge_futex_is_object(look, thread, &f)))
        raw(look, thread, &f);
    /* Other libraries than glibc (musl) move sleepers from word to word. */
    if (place.minor)
        note_change(look, thread, &f);
    if (f.timed)
        read_deadline(look, thread, &f);
}

static const int calls[] = {SYS_futex, -1};
static const char *const wchans[] = {"futex_", "rt_mutex_", "__rt_mutex_", NULL};
const struct wedge_wait_ops wedge_wait_futex = {.name = "futex", .calls = calls, .wchans = wchans, .decode = decode};

/* ---- futex_waitv(2), since Linux 5.16: any of up to 128 words ---- */

#define WAITV           449
#define WAITV_MOST      128
#define WAITV_SIZE_MASK 3u /* FUTEX2_SIZE_U32 is 2, the only size there is */
struct waitv { /* struct futex_waitv of <linux/futex.h> */
    uint64_t val, address;
    uint32_t flags, reserved;
};

static void decode_any(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    struct waitv words[WAITV_MOST];
    size_t n = t->args[1];
    int64_t ns = 0;
    if (!n || n > WAITV_MOST || t->args[2] ||
        wedge_look_memory(look, t->proc, t->args[0], words, n * sizeof(words[0]))) {
        wedge_wait_unknown(look, thread, "the words that it waits for cannot be read");
        return;
    }
    bool alone = true;
    for (size_t i = 0; i < n; i++) {
        struct wedge_futex f = {.address = words[i].address,
                                .op = words[i].flags & WEDGE_FUTEX_PRIVATE,
                                .pid = look->snapshot->procs[t->proc].pid,
                                .proc = t->proc};
        if (words[i].flags & ~(WAITV_SIZE_MASK | WEDGE_FUTEX_PRIVATE) || (words[i].flags & WAITV_SIZE_MASK) != 2) {
            wedge_wait_unknown(look, thread, "a futex operation that is not decoded");
            return;
        }
        if (!find_word(look, thread, &f))
            return;
        wedge_wait_is(look, thread, WEDGE_WAIT_FUTEX, "any thread that reaches one of the words may wake it");
        wedge_futex_name(look, thread, &f, f.address, "futex word");
        wedge_futex_anyone(look, thread, &f, 0);
        if (!(f.op & WEDGE_FUTEX_PRIVATE))
            add_requeued(look, thread, &f);
        alone &= look->threads[thread].own_process_only;
    }
    look->threads[thread].own_process_only = alone;
    snprintf(t->wait.object.key, sizeof(t->wait.object.key), "words of %d", (int)t->tid);
    snprintf(t->wait.object.describe, sizeof(t->wait.object.describe), "one of %zu futex words", n);
    wedge_waker_add_signals(look, thread);
    if (t->args[3] && wedge_wait_timespec(look, thread, t->args[3], &ns))
        wedge_wait_until(look, thread, t->args[4] == CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, ns);
    else if (t->args[3])
        t->wait.earliest_ns = 0;
}

static const int any_calls[] = {WAITV, -1};
const struct wedge_wait_ops wedge_wait_futex_any = {
    .name = "futex_waitv", .calls = any_calls, .wchans = wchans, .decode = decode_any};
