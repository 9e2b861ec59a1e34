/*
 * Which open file description a descriptor is: a table of this process, which fork copies by itself.
 *
 * An entry is 0 (not seen being made), UNKEPT (seen, and nobody asks for it), or a row with the low bits of its
 * generation, so that an entry that outlived its object is noticed, and which end of a pair it is. Whoever replaces
 * an entry, by one exchange, gives its reference up. A row without references stays as it is until somebody needs room:
 * who becomes another program takes it up again, and a child past our wrappers has references that nobody counted. A
 * process that ends gives all of its own up, and says so in each entry, so that what it still does finds its objects.
 * The references of a process that others killed stay: if it had inherited them, the row is lost to others, not taken
 * for another.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "faults/agent/object_internal.h"
#include "faults/agent/sys.h"

#define UNKEPT     UINT32_MAX
#define ROW_BITS   12u
#define ROW(entry) (((entry) & ((1u << ROW_BITS) - 1)) - 1)
#define END_BIT    (1u << ROW_BITS)
#define GEN_SHIFT  (ROW_BITS + 1)
#define GEN(gen)   ((gen) & ((1u << (32 - GEN_SHIFT - 1)) - 1)) /* never all ones: UNKEPT is no row */

#define LEFT_BIT (1u << 31) /* its reference is given up; in no generation's bits */

static _Atomic uint32_t table[AGENT_DESCRIPTORS];
static _Atomic uint32_t top; /* entries from here on were never used */

static uint32_t entry_of_gen(uint32_t row, uint32_t gen, unsigned end)
{
    return (row + 1) | (end ? END_BIT : 0) | GEN(gen) << GEN_SHIFT;
}

static uint32_t entry_of(uint32_t row, unsigned end)
{
    return entry_of_gen(row, atomic_load(&agent_arena.objects[row].gen), end);
}

static uint32_t row_of(uint32_t entry)
{
    if (!entry || entry == UNKEPT)
        return AGENT_NONE;
    uint32_t row = ROW(entry);
    uint32_t gen = atomic_load_explicit(&agent_arena.objects[row].gen, memory_order_acquire);
    return gen % 2 == 0 && GEN(gen) == (entry & ~LEFT_BIT) >> GEN_SHIFT ? row : AGENT_NONE;
}

static void give_up(uint32_t entry)
{
    uint32_t row = entry & LEFT_BIT ? AGENT_NONE : row_of(entry);
    if (row == AGENT_NONE)
        return;
    _Atomic uint32_t *refs = &agent_arena.objects[row].refs;
    uint32_t now = atomic_load(refs);
    while (now && !atomic_compare_exchange_weak(refs, &now, now - 1))
        ;
}

static void lose(void)
{
    atomic_fetch_add_explicit(&agent_arena.header->lost_objects, 1, memory_order_relaxed);
}

/* `entry` has its reference already. */
static void put(int64_t fd, uint32_t entry)
{
    if (fd < 0 || fd >= AGENT_DESCRIPTORS) {
        if (row_of(entry) != AGENT_NONE)
            lose();
        give_up(entry);
        return;
    }
    uint32_t most = atomic_load(&top);
    while (most <= (uint32_t)fd && !atomic_compare_exchange_weak(&top, &most, (uint32_t)fd + 1))
        ;
    give_up(atomic_exchange(&table[fd], entry));
}

uint32_t agent_descriptor_row(int64_t fd)
{
    if (fd < 0 || fd >= AGENT_DESCRIPTORS)
        return AGENT_NONE;
    return row_of(atomic_load(&table[fd]));
}

unsigned agent_descriptor_end(int fd)
{
    uint32_t entry = fd >= 0 && fd < AGENT_DESCRIPTORS ? atomic_load(&table[fd]) : 0;
    return row_of(entry) != AGENT_NONE && (entry & END_BIT);
}

/* The row for what was made, with `refs` references, if anybody asks for it. */
static uint32_t make(const struct agent_here *here, int64_t fd, struct agent_making *making, uint32_t refs)
{
    making->defines = agent_object_defines(making, WEDGE_OBJECT_FD);
    making->counted = true;
    making->refs = refs;
    if (!making->defines && !(agent_object_kept >> WEDGE_OBJECT_FD & 1))
        return AGENT_NONE;
    return agent_object_new(here, WEDGE_OBJECT_FD, (uint64_t)fd, making);
}

uint32_t agent_descriptor_made(const struct agent_here *here, int fd, enum wedge_define_made made, uint64_t caller,
                               const char *path)
{
    if (fd < 0 || agent_is_vfork_child(here))
        return AGENT_NONE;
    struct agent_making making = {
        .made = made, .caller = caller, .path = path, .luck = agent_object_luck(here, WEDGE_OBJECT_FD)};
    uint32_t row = make(here, fd, &making, 1);
    put(fd, row == AGENT_NONE ? UNKEPT : entry_of(row, 0));
    return row;
}

uint32_t agent_descriptors_made(const struct agent_here *here, const int ends[2], enum wedge_define_made made,
                                uint64_t caller)
{
    if (agent_is_vfork_child(here))
        return AGENT_NONE;
    struct agent_making making = {.made = made, .caller = caller, .luck = agent_object_luck(here, WEDGE_OBJECT_FD)};
    uint32_t row = make(here, ends[0], &making, 2);
    for (unsigned end = 0; end < 2; end++)
        put(ends[end], row == AGENT_NONE ? UNKEPT : entry_of(row, end));
    return row;
}

uint32_t agent_descriptor_found(const struct agent_here *here, int64_t fd, uint64_t caller)
{
    if (fd < 0)
        return AGENT_NONE;
    if (fd >= AGENT_DESCRIPTORS) {
        lose();
        return AGENT_NONE;
    }
    uint32_t old = atomic_load(&table[fd]);
    if (old == UNKEPT)
        return AGENT_NONE;
    struct agent_making making = {.caller = caller, .flags = WEDGE_OBJECT_FOUND};
    uint32_t row = make(here, fd, &making, 1), entry = row == AGENT_NONE ? UNKEPT : entry_of(row, 0);
    if (atomic_compare_exchange_strong(&table[fd], &old, entry)) {
        uint32_t most = atomic_load(&top);
        while (most <= (uint32_t)fd && !atomic_compare_exchange_weak(&top, &most, (uint32_t)fd + 1))
            ;
        return row;
    }
    give_up(entry); /* another thread found it first */
    return row_of(old);
}

void agent_descriptor_copied(const struct agent_here *here, int from, int to)
{
    if (to < 0 || from == to || agent_is_vfork_child(here))
        return;
    uint32_t entry = from >= 0 && from < AGENT_DESCRIPTORS ? atomic_load(&table[from]) : 0, row = row_of(entry);
    if (row != AGENT_NONE)
        atomic_fetch_add(&agent_arena.objects[row].refs, 1);
    put(to, row != AGENT_NONE ? entry & ~LEFT_BIT : entry == UNKEPT ? UNKEPT : 0);
}

void agent_descriptor_closed(const struct agent_here *here, int fd)
{
    if (fd < 0 || fd >= AGENT_DESCRIPTORS || !atomic_load(&table[fd]) || agent_is_vfork_child(here))
        return;
    give_up(atomic_exchange(&table[fd], 0));
}

void agent_descriptors_closed(const struct agent_here *here, unsigned first, unsigned last)
{
    unsigned end = atomic_load(&top);
    for (unsigned fd = first; fd < end && fd <= last; fd++)
        agent_descriptor_closed(here, (int)fd);
}

static void refer(bool more)
{
    uint32_t end = atomic_load(&top);
    for (uint32_t fd = 0; fd < end; fd++) {
        uint32_t entry = atomic_load(&table[fd]), row = row_of(entry);
        if (row == AGENT_NONE)
            continue;
        if (more) {
            atomic_fetch_or(&agent_arena.objects[row].flags, WEDGE_OBJECT_INHERITED);
            atomic_fetch_add(&agent_arena.objects[row].refs, 1);
        } else {
            give_up(entry);
        }
    }
}

void agent_objects_leave(void)
{
    uint32_t end = atomic_load(&top);
    struct agent_here here;
    if (!end || !agent_find_here(&here) || agent_is_vfork_child(&here))
        return;
    for (uint32_t fd = 0; fd < end; fd++) {
        uint32_t entry = atomic_load(&table[fd]);
        if (row_of(entry) != AGENT_NONE && !(entry & LEFT_BIT) &&
            atomic_compare_exchange_strong(&table[fd], &entry, entry | LEFT_BIT))
            give_up(entry);
    }
}

void agent_descriptors_born(void)
{
    uint32_t end = atomic_load(&top);
    for (uint32_t fd = 0; fd < end; fd++)
        if (atomic_load(&table[fd]) != UNKEPT) {
            uint32_t row = row_of(atomic_fetch_and(&table[fd], ~LEFT_BIT));
            if (row != AGENT_NONE) /* in the child of a bare clone nobody has said so */
                atomic_fetch_or(&agent_arena.objects[row].flags, WEDGE_OBJECT_INHERITED);
        }
}

void agent_objects_before_fork(void)
{
    refer(true);
}

void agent_objects_fork_failed(void)
{
    refer(false);
}

/*
 * Over exec. What the kernel knows a description by is its device and inode, which all eventfds, timerfds and the
 * like have in common: those are told by their number and process, which exec alone (not spawn) leaves as they are.
 */
static uint64_t file_of(uint32_t fd)
{
    struct stat st = {0};
    if (sys_call(SYS_fstat, fd, (long)&st, 0, 0, 0, 0))
        return 0;
    if (!(st.st_mode & S_IFMT))
        return agent_mix(agent_mix(agent_page->ordinal) + fd) | 1;
    return agent_mix(agent_mix(st.st_dev) + st.st_ino) | 1;
}

void agent_objects_before_exec(void)
{
    uint32_t end = agent_arena.ready ? atomic_load(&top) : 0;
    struct agent_here here;
    if (!end || !agent_find_here(&here) || agent_is_vfork_child(&here))
        return; /* a vfork child has other descriptors than the table says, which is its parent's; that one was here */
    for (uint32_t fd = 0; fd < end; fd++) {
        uint32_t entry = atomic_load(&table[fd]), row = row_of(entry);
        uint64_t file = row == AGENT_NONE ? 0 : file_of(fd);
        if (file) {
            atomic_store(&agent_arena.objects[row].files[entry & END_BIT ? 1 : 0], file);
            atomic_fetch_or(&agent_arena.objects[row].flags, WEDGE_OBJECT_INHERITED | WEDGE_OBJECT_EXECED);
        }
    }
}

void agent_objects_become(void)
{
    agent_objects_before_exec();
    agent_objects_leave();
}

void agent_objects_become_failed(void)
{
    uint32_t end = atomic_load(&top);
    struct agent_here here;
    if (!end || !agent_find_here(&here) || agent_is_vfork_child(&here))
        return;
    for (uint32_t fd = 0; fd < end; fd++) {
        uint32_t entry = atomic_load(&table[fd]), row = row_of(entry);
        if (row == AGENT_NONE || !(entry & LEFT_BIT))
            continue;
        atomic_fetch_add(&agent_arena.objects[row].refs, 1);
        if (!atomic_compare_exchange_strong(&table[fd], &entry, entry & ~LEFT_BIT))
            atomic_fetch_sub(&agent_arena.objects[row].refs, 1); /* closed meanwhile */
    }
}

static void take_up(uint32_t fd)
{
    uint64_t file = file_of(fd);
    uint32_t best = AGENT_NONE, best_gen = 0;
    unsigned end = 0;
    for (uint32_t i = 0; file && i < agent_arena.n_objects; i++) {
        struct wedge_arena_object *object = &agent_arena.objects[i];
        uint32_t gen = atomic_load_explicit(&object->gen, memory_order_acquire);
        if (!gen || gen % 2 || object->kind != WEDGE_OBJECT_FD)
            continue;
        for (unsigned e = 0; e < 2; e++)
            /* A file that was opened twice: the one that had this number when it was made is likelier. */
            if (atomic_load(&object->files[e]) == file && (best == AGENT_NONE || object->number == fd)) {
                best = i;
                best_gen = gen;
                end = e;
            }
    }
    if (best == AGENT_NONE)
        return;
    long flags = sys_call(SYS_fcntl, fd, F_GETFL, 0, 0, 0, 0);
    if (agent_arena.objects[best].made == WEDGE_MADE_PIPE) /* both ends have one inode */
        end = flags >= 0 && (flags & O_ACCMODE) == O_WRONLY;
    /* If the row was given away since, the entry's generation is an old one, and gives no reference up. */
    atomic_fetch_add(&agent_arena.objects[best].refs, 1);
    if (atomic_load(&agent_arena.objects[best].gen) != best_gen)
        atomic_fetch_sub(&agent_arena.objects[best].refs, 1);
    put(fd, entry_of_gen(best, best_gen, end));
}

/* The descriptors of this process by /proc, else the first thousand. */
void agent_objects_inherit(void)
{
    if (atomic_load(&agent_arena.control->objects) == 0)
        return; /* nobody has made one yet */
    agent_object_forget_image();
    if (!agent_object_follows)
        return;
    struct {
        uint64_t ino, off;
        unsigned short len;
        unsigned char type;
        char name[];
    } * entry;
    char buf[2048] __attribute__((aligned(8))) = {0};
    long dir = sys_call(SYS_openat, AT_FDCWD, (long)"/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 0, 0), n;
    for (uint32_t fd = 0; dir < 0 && fd < 1024; fd++)
        take_up(fd);
    while (dir >= 0 && (n = sys_call(SYS_getdents64, dir, (long)buf, sizeof(buf), 0, 0, 0)) > 0)
        for (long at = 0; at < n; at += entry->len) {
            entry = (void *)(buf + at);
            uint32_t fd = 0;
            const char *digit = entry->name;
            for (; *digit >= '0' && *digit <= '9' && fd < 100000000; digit++)
                fd = fd * 10 + (uint32_t)(*digit - '0');
            if (digit > entry->name && !*digit && fd != dir)
                take_up(fd);
        }
    if (dir >= 0)
        sys_call(SYS_close, dir, 0, 0, 0, 0, 0);
}
