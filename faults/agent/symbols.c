/*
 * The address ranges of functions that a plan names, from the symbol tables of the loaded modules' files.
 *
 * A file is mapped, checked at each step against its size and against the program headers in memory (it may have been
 * replaced since it was loaded), read once, and unmapped. Ranges are kept in one table of fixed size; each rule or
 * define has a list in it. One thread writes at a time (agent_where_resolve); readers take no lock: an entry is complete
 * before its list leads to it, and one whose module is gone is emptied and used again in the same list, never moved.
 */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "faults/agent/sys.h"
#include "faults/agent/where.h"

enum { RANGES = 1024, MODULES = 512, PATH_BYTES = 4096 };

static struct {
    _Atomic uintptr_t low, high; /* high 0: empty */
    uint32_t module; /* number in modules */
    uint32_t next; /* number of a range + 1, 0 the last */
} ranges[RANGES];
static uint32_t n_ranges;
static _Atomic uint32_t heads[AGENT_RANGES_COUNT]; /* number of a range + 1, 0 none */

static struct {
    const void *headers; /* where its program headers are in memory; NULL: free */
    uintptr_t base;
    uint64_t print; /* of its name and headers: another one may come to the same place */
    bool seen;
} modules[MODULES];

/* The lists that have a name, each with its name. */
static struct {
    const struct wedge_rule_function *rule; /* NULL: a define */
    uint32_t list;
} wanted[AGENT_RANGES_COUNT];
static uint32_t n_wanted;

static const char *wanted_module(uint32_t i)
{
    return wanted[i].rule ? wanted[i].rule->module : agent_arena.defines[wanted[i].list - AGENT_RANGES_DEFINE].module;
}

static const char *wanted_function(uint32_t i)
{
    return wanted[i].rule ? wanted[i].rule->function
                          : agent_arena.defines[wanted[i].list - AGENT_RANGES_DEFINE].function;
}

static void want(const struct wedge_rule_function *rule, uint32_t list)
{
    wanted[n_wanted].rule = rule;
    wanted[n_wanted++].list = list;
}

bool agent_is_in(uint32_t list, uint64_t return_address)
{
    uintptr_t at = return_address - 1; /* the call itself: what comes behind it may be another function */
    /* Partner: the release in add. */
    for (uint32_t i = atomic_load_explicit(&heads[list], memory_order_acquire); i; i = ranges[i - 1].next) {
        /* The same end twice: what lies between belongs to it, even if the entry is being used again. */
        uintptr_t high = atomic_load_explicit(&ranges[i - 1].high, memory_order_acquire);
        uintptr_t low = atomic_load_explicit(&ranges[i - 1].low, memory_order_acquire);
        if (at >= low && at < high && high == atomic_load_explicit(&ranges[i - 1].high, memory_order_relaxed))
            return true;
    }
    return false;
}

static void mark_found(uint32_t list)
{
    if (list >= AGENT_RANGES_DEFINE)
        atomic_store(&agent_arena.defines[list - AGENT_RANGES_DEFINE].found, 1);
    else if (list >= AGENT_RANGES_IN)
        atomic_fetch_or(&agent_arena.rules[list - AGENT_RANGES_IN].found, WEDGE_WHERE_IN);
    else
        atomic_fetch_or(&agent_arena.rules[list].found, WEDGE_WHERE_CALLER);
}

static void add(uint32_t list, uint32_t module, uintptr_t low, uintptr_t high)
{
    uint32_t empty = 0;
    for (uint32_t i = atomic_load(&heads[list]); i; i = ranges[i - 1].next) {
        if (atomic_load(&ranges[i - 1].high) == 0)
            empty = i;
        else if (ranges[i - 1].module == module && atomic_load(&ranges[i - 1].low) == low &&
                 atomic_load(&ranges[i - 1].high) == high)
            return; /* another name of it; one of a module that is gone by now may have been at the same place */
    }
    if (empty) {
        ranges[empty - 1].module = module;
        atomic_store(&ranges[empty - 1].low, low);
        atomic_store(&ranges[empty - 1].high, high);
        return;
    }
    if (n_ranges == RANGES) {
        atomic_fetch_add_explicit(&agent_arena.header->lost_functions, 1, memory_order_relaxed);
        return;
    }
    uint32_t at = n_ranges++;
    atomic_store(&ranges[at].low, low);
    atomic_store(&ranges[at].high, high);
    ranges[at].module = module;
    ranges[at].next = atomic_load(&heads[list]);
    atomic_store_explicit(&heads[list], at + 1, memory_order_release);
    mark_found(list);
}

static void forget(uint32_t module)
{
    modules[module].headers = NULL;
    for (uint32_t i = 0; i < n_ranges; i++)
        if (ranges[i].module == module)
            atomic_store(&ranges[i].high, 0);
}

struct file {
    const uint8_t *data;
    size_t size;
};

/* `count` things of `size` bytes at `offset`, NULL if they do not lie in the file. */
static const void *part(const struct file *file, uint64_t offset, uint64_t size, uint64_t count)
{
    if (offset > file->size || offset % 8 || (size && (file->size - offset) / size < count))
        return NULL;
    return file->data + offset;
}

static bool is_loaded(const struct file *file, const struct dl_phdr_info *info)
{
    const Elf64_Ehdr *header = part(file, 0, sizeof(*header), 1);
    if (!header || __builtin_memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
        header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum != info->dlpi_phnum)
        return false;
    const Elf64_Phdr *headers = part(file, header->e_phoff, sizeof(*headers), header->e_phnum);
    return headers && __builtin_memcmp(headers, info->dlpi_phdr, sizeof(*headers) * header->e_phnum) == 0;
}

static const Elf64_Shdr *symbol_table(const struct file *file, const Elf64_Shdr **ret_strings)
{
    const Elf64_Ehdr *header = (const void *)file->data;
    const Elf64_Shdr *sections = header->e_shentsize == sizeof(*sections)
                                     ? part(file, header->e_shoff, sizeof(*sections), header->e_shnum)
                                     : NULL;
    const Elf64_Shdr *found = NULL;
    for (unsigned i = 0; sections && header->e_shoff && i < header->e_shnum; i++)
        if (sections[i].sh_type == SHT_SYMTAB || (sections[i].sh_type == SHT_DYNSYM && !found))
            found = &sections[i];
    if (!found || found->sh_link >= header->e_shnum || found->sh_entsize != sizeof(Elf64_Sym))
        return NULL;
    *ret_strings = &sections[found->sh_link];
    return found;
}

/* Is the symbol the function, or a part of it, or a version of it? */
static bool is_name(const char *symbol, const char *end, const char *name)
{
    while (symbol < end && *name && *symbol == *name) {
        symbol++;
        name++;
    }
    return !*name && symbol < end && (*symbol == 0 || *symbol == '.' || *symbol == '@');
}

static void read_symbols(const struct file *file, uint32_t module, uintptr_t base, const uint32_t *matching, uint32_t n)
{
    const Elf64_Shdr *strings, *table = symbol_table(file, &strings);
    const Elf64_Sym *symbols = table ? part(file, table->sh_offset, 1, table->sh_size) : NULL;
    const char *text = table && strings->sh_offset <= file->size && strings->sh_size <= file->size - strings->sh_offset
                           ? (const char *)file->data + strings->sh_offset
                           : NULL;
    for (uint64_t i = 0; symbols && text && i < table->sh_size / sizeof(*symbols); i++) {
        const Elf64_Sym *symbol = &symbols[i];
        if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx == SHN_UNDEF || !symbol->st_size ||
            symbol->st_name >= strings->sh_size)
            continue;
        for (uint32_t w = 0; w < n; w++)
            if (is_name(text + symbol->st_name, text + strings->sh_size, wanted_function(matching[w])))
                add(wanted[matching[w]].list, module, base + symbol->st_value,
                    base + symbol->st_value + symbol->st_size);
    }
}

static void read_module(const struct dl_phdr_info *info, uint32_t module, const char *path, const uint32_t *matching,
                        uint32_t n)
{
    long fd = sys_call(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0, 0, 0);
    if (fd < 0)
        return;
    struct stat st = {0};
    long data = -1;
    if (sys_call(SYS_fstat, fd, (long)&st, 0, 0, 0, 0) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
        data = sys_call(SYS_mmap, 0, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    sys_call(SYS_close, fd, 0, 0, 0, 0, 0);
    if (data <= 0 && data > -4096)
        return;
    struct file file = {.data = (const uint8_t *)data, .size = (size_t)st.st_size};
    if (is_loaded(&file, info))
        read_symbols(&file, module, info->dlpi_addr, matching, n);
    sys_call(SYS_munmap, data, st.st_size, 0, 0, 0, 0);
}

static bool is_text(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static const char *last_component(const char *path)
{
    const char *last = path;
    for (; *path; path++)
        if (*path == '/')
            last = path + 1;
    return last;
}

/* Our own functions are called by nobody whom a plan could mean, and have the names of what they wrap. */
static bool is_agent(const struct dl_phdr_info *info)
{
    uintptr_t own = (uintptr_t)&agent_is_in;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD &&
            own - (info->dlpi_addr + info->dlpi_phdr[i].p_vaddr) < info->dlpi_phdr[i].p_memsz)
            return true;
    return false;
}

/* AddressSanitizer's runtime must stand first among the preloaded, so that its wrappers are who calls ours. The code of
 * such modules; one that is loaded for good, with the program. */
enum { RUNTIMES = 8 };
static struct {
    uintptr_t low, high;
} runtimes[RUNTIMES];
_Atomic uint32_t agent_runtimes;

bool agent_is_runtime(uint64_t address)
{
    uint32_t n = atomic_load_explicit(&agent_runtimes, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++)
        if (address >= runtimes[i].low && address < runtimes[i].high)
            return true;
    return false;
}

static void note_runtime(const struct dl_phdr_info *info, const char *name)
{
    static const char *const prefixes[] = {"libasan.", "libhwasan.", "liblsan.", "libtsan.", "libclang_rt."};
    bool is_one = false;
    for (unsigned p = 0; p < sizeof(prefixes) / sizeof(prefixes[0]); p++) {
        unsigned n = 0;
        while (prefixes[p][n] && prefixes[p][n] == name[n])
            n++;
        is_one |= !prefixes[p][n];
    }
    for (int i = 0; is_one && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uint32_t n = atomic_load(&agent_runtimes);
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X) || n == RUNTIMES)
            continue;
        runtimes[n].low = info->dlpi_addr + header->p_vaddr;
        runtimes[n].high = runtimes[n].low + header->p_memsz;
        atomic_store_explicit(&agent_runtimes, n + 1, memory_order_release);
    }
}

static uint64_t fingerprint(const struct dl_phdr_info *info)
{
    uint64_t print = info->dlpi_phnum;
    for (const char *at = info->dlpi_name; at && *at; at++)
        print = agent_mix(print ^ (uint8_t)*at);
    for (int i = 0; i < info->dlpi_phnum; i++)
        print = agent_mix(agent_mix(print ^ info->dlpi_phdr[i].p_vaddr) ^ info->dlpi_phdr[i].p_memsz);
    return print;
}

static int visit_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    uint32_t at = MODULES, matching[AGENT_RANGES_COUNT], n = 0;
    uint64_t print = fingerprint(info);
    char self[PATH_BYTES];
    (void)size;
    (void)arg;
    for (uint32_t i = 0; i < MODULES; i++) {
        if (modules[i].headers == info->dlpi_phdr && modules[i].base == info->dlpi_addr && modules[i].print == print) {
            modules[i].seen = true;
            return 0;
        }
        if (!modules[i].headers && at == MODULES)
            at = i;
    }
    if (is_agent(info))
        return 0;
    if (at == MODULES) {
        atomic_fetch_add_explicit(&agent_arena.header->lost_functions, 1, memory_order_relaxed);
        return 0;
    }
    modules[at].headers = info->dlpi_phdr;
    modules[at].base = info->dlpi_addr;
    modules[at].print = print;
    modules[at].seen = true;
    const char *path = info->dlpi_name;
    if (!path || !*path) {
        path = "/proc/self/exe";
        long len = sys_call(SYS_readlink, (long)path, (long)self, sizeof(self) - 1, 0, 0, 0);
        self[len > 0 ? len : 0] = 0;
    }
    const char *name = last_component(path == info->dlpi_name ? path : self);
    note_runtime(info, name);
    for (uint32_t i = 0; i < n_wanted; i++)
        if (!wanted_module(i)[0] || is_text(wanted_module(i), name))
            matching[n++] = i;
    if (n)
        read_module(info, at, path, matching, n);
    return 0;
}

static void resolve_once(void)
{
    for (uint32_t i = 0; i < MODULES; i++)
        modules[i].seen = false;
    dl_iterate_phdr(visit_module, NULL);
    for (uint32_t i = 0; i < MODULES; i++)
        if (modules[i].headers && !modules[i].seen)
            forget(i);
}

/*
 * One thread at a time, without a lock: whoever comes while another is at it leaves it to that one to look again, and
 * may make its library's first calls before that. The
 * upper half of the word is the process: a child that was forked meanwhile has nobody at it.
 */
void agent_where_resolve(void)
{
    static _Atomic uint64_t asked;
    uint64_t process = (uint64_t)agent_page->ordinal << 32, now = atomic_load(&asked), mine;
    if (!n_wanted)
        return;
    do
        mine = (now >> 32 == agent_page->ordinal ? now : process) + 1;
    while (!atomic_compare_exchange_weak(&asked, &now, mine));
    if (mine != process + 1)
        return;
    do {
        mine = atomic_load(&asked);
        resolve_once();
    } while (!atomic_compare_exchange_strong(&asked, &mine, process));
}

void agent_where_begin(void)
{
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        const struct wedge_arena_rule *rule = &agent_arena.rules[i];
        if ((rule->where & WEDGE_WHERE_CALLER) && rule->caller.function[0])
            want(&rule->caller, AGENT_RANGES_CALLER + i);
        if ((rule->where & WEDGE_WHERE_IN) && rule->in.function[0])
            want(&rule->in, AGENT_RANGES_IN + i);
    }
    for (uint32_t i = 0; i < agent_arena.n_defines; i++)
        if (agent_arena.defines[i].what == WEDGE_DEFINE_OBJECT && agent_arena.defines[i].function[0])
            want(NULL, AGENT_RANGES_DEFINE + i);
    agent_where_resolve();
}
