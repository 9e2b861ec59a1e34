/*
 * The census: how often each place where a fault could go was passed, by call site, object and role. Counted in a hash
 * in the arena that all processes share: a row is claimed by one compare-and-swap on its key, counted in by whoever
 * finds it, and filled by whoever claimed it. Nobody waits: a row whose claimer died before it was READY is left out.
 *
 * An address becomes a module and an offset by a table of the process's own, which grows when a library is loaded and
 * is never shortened: the youngest entry that holds an address counts.
 */
#include <link.h>

#include "base/rt/name.h"
#include "faults/agent/object.h"
#include "faults/agent/object_internal.h"
#include "faults/agent/sys.h"

enum { MODULES = 512, WINDOW = 64, PATH_BYTES = sizeof(((struct wedge_arena_module *)0)->path) };

bool agent_census;

static struct {
    uintptr_t low, high, base;
    uint32_t row; /* of the arena's modules + 1 */
} modules[MODULES];
static _Atomic uint32_t n_modules;
static uint64_t image_since_ns; /* objects that are older were made in another image */

static struct wedge_arena_module *module_rows(void)
{
    return (void *)agent_arena.rings;
}

static struct wedge_arena_census *census_rows(void)
{
    return (void *)(module_rows() + WEDGE_CENSUS_MODULES);
}

static uint32_t n_rows(void)
{
    return wedge_census_rows(agent_arena.n_threads * agent_arena.ring_events);
}

static bool is_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* The row of a path, + 1; 0: there is no room. Two that come at once may make two, which wedge takes for one. */
static uint32_t module_row(const char *path)
{
    struct wedge_arena_module *rows = module_rows();
    for (uint32_t i = 0; i < WEDGE_CENSUS_MODULES; i++) {
        uint32_t state = atomic_load_explicit(&rows[i].state, memory_order_acquire);
        if (state == WEDGE_NAME_READY && is_same(rows[i].path, path))
            return i + 1;
        if (state != WEDGE_NAME_FREE || !atomic_compare_exchange_strong(&rows[i].state, &state, WEDGE_NAME_WRITING))
            continue;
        size_t n = 0;
        for (; n < PATH_BYTES - 1 && path[n]; n++)
            rows[i].path[n] = path[n];
        rows[i].path[n] = 0;
        atomic_store_explicit(&rows[i].state, WEDGE_NAME_READY, memory_order_release);
        return i + 1;
    }
    return 0;
}

static int visit(struct dl_phdr_info *info, size_t size, void *arg)
{
    uintptr_t low = UINTPTR_MAX, high = 0;
    char own[PATH_BYTES] = "";
    const char *path = info->dlpi_name;
    uint32_t n = atomic_load(&n_modules);
    (void)size;
    (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
            continue;
        uintptr_t begin = info->dlpi_addr + header->p_vaddr;
        low = begin < low ? begin : low;
        high = begin + header->p_memsz > high ? begin + header->p_memsz : high;
    }
    for (uint32_t i = 0; i < n; i++)
        if (modules[i].low == low && modules[i].high == high && modules[i].base == info->dlpi_addr)
            return 0;
    if (low >= high || n == MODULES)
        return 0;
    if (!path || !*path) {
        long length = sys_call(SYS_readlink, (long)"/proc/self/exe", (long)own, sizeof(own) - 1, 0, 0, 0);
        own[length > 0 ? length : 0] = 0;
        path = own;
    }
    modules[n].low = low;
    modules[n].high = high;
    modules[n].base = info->dlpi_addr;
    modules[n].row = module_row(path);
    atomic_store_explicit(&n_modules, n + 1, memory_order_release);
    return 0;
}

void agent_census_begin(void)
{
    agent_census = agent_arena.control->census != 0;
    if (!agent_census)
        return;
    image_since_ns = sys_now_ns();
    agent_census_modules();
}

/* Two threads that load libraries at once may each lose the other's: the addresses have no module then. */
void agent_census_modules(void)
{
    if (agent_census)
        dl_iterate_phdr(visit, NULL);
}

static uint32_t locate(uint64_t address, uint64_t *ret_offset)
{
    for (uint32_t i = atomic_load_explicit(&n_modules, memory_order_acquire); address && i-- > 0;)
        if (address >= modules[i].low && address < modules[i].high) {
            *ret_offset = address - modules[i].base;
            return modules[i].row;
        }
    *ret_offset = 0;
    return 0;
}

/* What the object is and where it was made, as far as that was seen. */
static void describe(const struct agent_here *here, struct agent_site *site, struct wedge_arena_census *to)
{
    to->kind = (uint8_t)site->kind;
    uint32_t row = site->kind != WEDGE_OBJECT_NONE && agent_object_kept >> site->kind & 1 && !agent_is_vfork_child(here)
                       ? agent_site_object(here, site)
                       : AGENT_NONE;
    if (row == AGENT_NONE)
        return;
    const struct wedge_arena_object *object = &agent_arena.objects[row];
    to->made = object->made;
    if (!(atomic_load(&object->flags) & WEDGE_OBJECT_FOUND) && object->since_ns >= image_since_ns)
        to->made_module = locate(object->caller, &to->made_offset);
}

void agent_census_count(const struct agent_here *here, uint32_t what, bool with_role, struct agent_site *site)
{
    struct wedge_arena_census key = {.what = what};
    const struct wedge_arena_proc *proc = here->proc;
    key.module = locate(site->caller, &key.offset);
    if (with_role && proc->role[0])
        key.role = wedge_rt_name(agent_arena.names, agent_arena.n_names, proc->role, true);
    describe(here, site, &key);
    uint64_t hash = agent_mix(key.what | (uint64_t)key.module << 32);
    hash = agent_mix(hash ^ key.offset);
    hash = agent_mix(hash ^ (key.role | (uint64_t)key.kind << 32 | (uint64_t)key.made << 40));
    hash = agent_mix(agent_mix(hash ^ key.made_module) ^ key.made_offset) | 1;
    uint32_t n = n_rows(), at = (uint32_t)((hash >> 32) * n >> 32);
    for (uint32_t i = 0; i < WINDOW; i++, at = at + 1 == n ? 0 : at + 1) {
        struct wedge_arena_census *row = &census_rows()[at];
        uint64_t old = atomic_load_explicit(&row->hash, memory_order_relaxed);
        bool mine = old == 0 && atomic_compare_exchange_strong(&row->hash, &old, hash);
        if (!mine && old != hash)
            continue;
        atomic_fetch_add_explicit(&row->count, 1, memory_order_relaxed);
        if (!mine)
            return;
        row->what = key.what;
        row->offset = key.offset;
        row->module = key.module;
        row->role = key.role;
        row->made_offset = key.made_offset;
        row->made_module = key.made_module;
        row->kind = key.kind;
        row->made = key.made;
        /* Partner: wedge reads a copy and takes rows that are READY. */
        atomic_store_explicit(&row->state, WEDGE_NAME_READY, memory_order_release);
        return;
    }
    atomic_fetch_add_explicit(&agent_arena.header->lost_census, 1, memory_order_relaxed);
}
