#include "detector/elf/elf_symbols.h"

#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#define SYMBOLS_MAX (1u << 24) /* of one table */
#define TABLES_MAX  16
#define BASE        (1u << 20)
#define STEPS_MAX   64 /* symbols below an address that are looked at for one that reaches up to it */
#define PROBES_MAX  256 /* for one name; a file with more of one hash is no honest one */
#define DIGIT_BITS  11
#define DIGITS      (1u << DIGIT_BITS)

struct place { /* of a function; everything else stands in its table. Packed: they are many, and moved twice */
    uint64_t address;
    uint32_t table : 8, index : 24;
} __attribute__((packed));
struct table {
    Elf *elf;
    const uint8_t *all; /* Elf64_Sym, where the file has them: not aligned, if it is no honest one */
    size_t n;
    size_t strings; /* the section that they lie in */
    bool dynamic;
};
struct exported {
    uint32_t table, index; /* index 0, which is no symbol: a free place */
};
struct wedge_elf_symbols {
    struct table tables[TABLES_MAX];
    uint32_t n_tables; /* a place with this one as its table is of the packed one */
    struct place *all; /* by address */
    size_t n, cap;
    Dwfl *packed; /* what the names of the packed table lie in; NULL none */
    Dwfl_Module *mod;
    struct exported *exports; /* by the hash of the name, open addressing; NULL not asked for yet */
    size_t exports_mask;
    bool exports_tried;
};

static size_t underscores(const char *name)
{
    return strspn(name, "_");
}

/* Order of preference among names of one place; a total order, so that the same file always gives the same name. */
static int compare_names(const struct wedge_elf_symbol *a, const struct wedge_elf_symbol *b)
{
    if (a->dynamic != b->dynamic)
        return a->dynamic ? -1 : 1;
    /* C++ and Rust names begin with _Z and _R: those are no private names. */
    size_t ua = a->name[1] == 'Z' || a->name[1] == 'R' ? 0 : underscores(a->name);
    size_t ub = b->name[1] == 'Z' || b->name[1] == 'R' ? 0 : underscores(b->name);
    if (ua != ub)
        return ua < ub ? -1 : 1;
    if (a->binding != b->binding) {
        if (a->binding == STB_GLOBAL || b->binding == STB_GLOBAL)
            return a->binding == STB_GLOBAL ? -1 : 1;
        return a->binding == STB_WEAK ? -1 : 1;
    }
    size_t la = strlen(a->name), lb = strlen(b->name);
    if (la != lb)
        return la < lb ? -1 : 1;
    return strcmp(a->name, b->name);
}

static bool add(struct wedge_elf_symbols *symbols, const struct place *place)
{
    if (symbols->n == symbols->cap) {
        size_t cap = symbols->cap ? symbols->cap * 2 : 4096;
        struct place *all = realloc(symbols->all, cap * sizeof(*all));
        if (!all)
            return false;
        symbols->all = all;
        symbols->cap = cap;
    }
    symbols->all[symbols->n++] = *place;
    return true;
}

static Elf64_Sym symbol_at(const struct table *table, size_t index)
{
    Elf64_Sym sym;
    memcpy(&sym, table->all + index * sizeof(sym), sizeof(sym));
    return sym;
}

static bool is_function(const Elf64_Sym *sym)
{
    unsigned type = ELF64_ST_TYPE(sym->st_info);
    return (type == STT_FUNC || type == STT_GNU_IFUNC) && sym->st_shndx != SHN_UNDEF && sym->st_size != 0 &&
           sym->st_value + sym->st_size >= sym->st_value;
}

/* False: no memory. */
static bool add_function(struct wedge_elf_symbols *symbols, const Elf64_Sym *sym, uint32_t table, size_t index)
{
    struct place place = {sym->st_value, table & 0xff, index & (SYMBOLS_MAX - 1)};
    return !is_function(sym) || add(symbols, &place);
}

/* All that its table says of one place; false: it has no name. */
static bool look_up(const struct wedge_elf_symbols *symbols, const struct place *place, struct wedge_elf_symbol *ret)
{
    GElf_Sym sym;
    bool dynamic = false;
    const char *name;
    if (place->table < symbols->n_tables) {
        const struct table *table = &symbols->tables[place->table];
        sym = symbol_at(table, place->index);
        dynamic = table->dynamic;
        name = elf_strptr(table->elf, table->strings, sym.st_name);
    } else {
        GElf_Addr address;
        name = dwfl_module_getsym_info(symbols->mod, (int)place->index, &sym, &address, NULL, NULL, NULL);
    }
    if (!name || !name[0])
        return false;
    *ret = (struct wedge_elf_symbol){.address = place->address,
                                     .size = sym.st_size,
                                     .name = name,
                                     .dynamic = dynamic,
                                     .binding = GELF_ST_BIND(sym.st_info)};
    return true;
}

static void read_table(struct wedge_elf_symbols *symbols, Elf *elf, Elf_Scn *scn, const GElf_Shdr *shdr)
{
    Elf_Data *data = elf_getdata(scn, NULL);
    size_t n = data && data->d_buf ? data->d_size / sizeof(Elf64_Sym) : 0;
    /* As libelf hands it out: in the machine's own form, and aligned. */
    if (!n || data->d_type != ELF_T_SYM || gelf_getclass(elf) != ELFCLASS64 || symbols->n_tables == TABLES_MAX)
        return;
    uint32_t number = symbols->n_tables++;
    struct table *table = &symbols->tables[number];
    *table =
        (struct table){elf, data->d_buf, n < SYMBOLS_MAX ? n : SYMBOLS_MAX, shdr->sh_link, shdr->sh_type == SHT_DYNSYM};
    for (size_t i = 1; i < table->n; i++) {
        Elf64_Sym sym = symbol_at(table, i);
        if (!add_function(symbols, &sym, number, i))
            break;
    }
}

static bool read_tables(struct wedge_elf_symbols *symbols, Elf *elf)
{
    bool full = false;
    for (Elf_Scn *scn = NULL; elf && (scn = elf_nextscn(elf, scn)) != NULL;) {
        GElf_Shdr shdr;
        if (gelf_getshdr(scn, &shdr) && (shdr.sh_type == SHT_SYMTAB || shdr.sh_type == SHT_DYNSYM))
            read_table(symbols, elf, scn, &shdr);
        full |= scn && shdr.sh_type == SHT_SYMTAB;
    }
    return full;
}

/* ---- the packed table ---- */

static int find_elf(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base, char **file_name, Elf **elf)
{
    (void)mod, (void)name, (void)base, (void)file_name;
    *elf = elf_begin(-1, ELF_C_READ, *userdata);
    return -1;
}

static int find_debuginfo(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base, const char *file_name,
                          const char *link, GElf_Word crc, char **ret_path)
{
    (void)mod, (void)userdata, (void)name, (void)base, (void)file_name, (void)link, (void)crc, (void)ret_path;
    return -1;
}

static bool has_packed(Elf *elf)
{
    size_t strings;
    if (elf_getshdrstrndx(elf, &strings))
        return false;
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(elf, scn)) != NULL;) {
        GElf_Shdr shdr;
        const char *name = gelf_getshdr(scn, &shdr) ? elf_strptr(elf, strings, shdr.sh_name) : NULL;
        if (name && strcmp(name, ".gnu_debugdata") == 0)
            return true;
    }
    return false;
}

static Dwfl_Module *report_alone(Dwfl *dwfl, Elf *elf)
{
    GElf_Addr lo = UINT64_MAX, hi = 0;
    size_t n = 0;
    void **userdata = NULL;
    elf_getphdrnum(elf, &n);
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr phdr;
        if (!gelf_getphdr(elf, (int)i, &phdr) || phdr.p_type != PT_LOAD)
            continue;
        lo = phdr.p_vaddr < lo ? phdr.p_vaddr : lo;
        hi = phdr.p_vaddr + phdr.p_memsz > hi ? phdr.p_vaddr + phdr.p_memsz : hi;
    }
    if (lo >= hi || hi > UINT64_MAX / 2)
        return NULL;
    dwfl_report_begin(dwfl);
    /* Anywhere but at 0, which libdwfl takes for "not loaded": what is asked for is the file's own addresses. */
    Dwfl_Module *mod = dwfl_report_module(dwfl, "packed", BASE + (lo & ~(GElf_Addr)4095), BASE + hi);
    if (mod)
        dwfl_module_info(mod, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
    if (userdata)
        *userdata = elf;
    return dwfl_report_end(dwfl, NULL, NULL) == 0 && userdata ? mod : NULL;
}

static void read_packed(struct wedge_elf_symbols *symbols, Elf *elf)
{
    static const Dwfl_Callbacks callbacks = {.find_elf = find_elf, .find_debuginfo = find_debuginfo};
    symbols->packed = dwfl_begin(&callbacks);
    symbols->mod = symbols->packed ? report_alone(symbols->packed, elf) : NULL;
    int n = symbols->mod ? dwfl_module_getsymtab(symbols->mod) : 0;
    for (int i = 1; i < n && (unsigned)i < SYMBOLS_MAX; i++) {
        GElf_Sym sym;
        GElf_Addr address;
        Elf *from = NULL;
        Dwarf_Addr bias;
        const char *name = dwfl_module_getsym_info(symbols->mod, i, &sym, &address, NULL, &from, NULL);
        /* The exported ones were read already, and only from there it is known that they are. */
        if (name && from != dwfl_module_getelf(symbols->mod, &bias) &&
            !add_function(symbols, &sym, symbols->n_tables, (size_t)i))
            return;
    }
}

/* By address, digit by digit from the lowest (radix sort): of 20,000 symbols (libc6-dbg) a tenth of what a comparing sort
 * takes. False: no memory. */
static bool sort(struct wedge_elf_symbols *symbols)
{
    struct place *from = symbols->all, *to = malloc((symbols->n + 1) * sizeof(*to));
    size_t n = symbols->n;
    uint64_t all = 0;
    if (!to)
        return false;
    for (size_t i = 0; i < n; i++)
        all |= from[i].address;
    for (unsigned shift = 0; shift < 64 && all >> shift; shift += DIGIT_BITS) {
        size_t at[DIGITS] = {0}, begin = 0;
        for (size_t i = 0; i < n; i++)
            at[from[i].address >> shift & (DIGITS - 1)]++;
        for (size_t d = 0; d < DIGITS; d++) {
            size_t count = at[d];
            at[d] = begin;
            begin += count;
        }
        for (size_t i = 0; i < n; i++)
            to[at[from[i].address >> shift & (DIGITS - 1)]++] = from[i];
        struct place *swap = from;
        from = to;
        to = swap;
    }
    free(to);
    symbols->all = from;
    symbols->cap = symbols->n;
    return true;
}

struct wedge_elf_symbols *wedge_elf_symbols_read(Elf *elf, Elf *debug_elf)
{
    struct wedge_elf_symbols *symbols = calloc(1, sizeof(*symbols));
    if (!symbols)
        return NULL;
    bool full = read_tables(symbols, elf);
    full |= read_tables(symbols, debug_elf);
    if (!full && has_packed(elf))
        read_packed(symbols, elf);
    if (!sort(symbols)) {
        wedge_elf_symbols_free(symbols);
        return NULL;
    }
    return symbols;
}

void wedge_elf_symbols_free(struct wedge_elf_symbols *symbols)
{
    if (!symbols)
        return;
    if (symbols->packed)
        dwfl_end(symbols->packed);
    free(symbols->all);
    free(symbols->exports);
    free(symbols);
}

/* How many begin at or below the address. */
static size_t count_below(const struct wedge_elf_symbols *symbols, uint64_t address)
{
    size_t lo = 0, hi = symbols->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (symbols->all[mid].address <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool wedge_elf_symbols_find(const struct wedge_elf_symbols *symbols, uint64_t address, struct wedge_elf_symbol *ret)
{
    bool found = false;
    size_t at = count_below(symbols, address);
    for (size_t steps = 0; at > 0 && steps < STEPS_MAX; steps++) {
        const struct place *place = &symbols->all[--at];
        struct wedge_elf_symbol symbol;
        if (found && place->address != ret->address)
            break;
        if (look_up(symbols, place, &symbol) && address - symbol.address < symbol.size &&
            (!found || compare_names(&symbol, ret) < 0)) {
            *ret = symbol;
            found = true;
        }
    }
    return found;
}

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 5381;
    for (; *name; name++)
        hash = hash * 33 + (uint8_t)*name;
    return hash ^ hash >> 15;
}

static void index_exports(struct wedge_elf_symbols *symbols)
{
    size_t room = 64, n = 0;
    symbols->exports_tried = true;
    for (uint32_t t = 0; t < symbols->n_tables; t++)
        n += symbols->tables[t].dynamic ? symbols->tables[t].n : 0;
    while (room < 2 * n)
        room *= 2;
    symbols->exports = calloc(room, sizeof(*symbols->exports));
    if (!symbols->exports)
        return;
    symbols->exports_mask = room - 1;
    for (uint32_t t = 0; t < symbols->n_tables; t++) {
        const struct table *table = &symbols->tables[t];
        for (size_t i = 1; table->dynamic && i < table->n; i++) {
            Elf64_Sym sym = symbol_at(table, i);
            const char *name = is_function(&sym) ? elf_strptr(table->elf, table->strings, sym.st_name) : NULL;
            if (!name || !name[0])
                continue;
            size_t at = hash_of(name) & symbols->exports_mask, probes = 0;
            while (probes++ < PROBES_MAX && symbols->exports[at].index)
                at = (at + 1) & symbols->exports_mask;
            if (!symbols->exports[at].index)
                symbols->exports[at] = (struct exported){t, (uint32_t)i};
        }
    }
}

bool wedge_elf_symbols_elsewhere(struct wedge_elf_symbols *symbols, const char *name, uint64_t address,
                                 uint64_t *ret_address)
{
    bool found = false;
    uint64_t lowest = 0;
    if (!symbols->exports_tried)
        index_exports(symbols);
    if (!symbols->exports)
        return false;
    size_t at = hash_of(name) & symbols->exports_mask;
    for (size_t probes = 0; probes < PROBES_MAX && symbols->exports[at].index; probes++) {
        const struct exported *one = &symbols->exports[at];
        const struct table *table = &symbols->tables[one->table];
        Elf64_Sym sym = symbol_at(table, one->index);
        const char *its = elf_strptr(table->elf, table->strings, sym.st_name);
        at = (at + 1) & symbols->exports_mask;
        if (!its || strcmp(its, name) != 0)
            continue;
        if (address - sym.st_value < sym.st_size)
            return false;
        if (!found || sym.st_value < lowest)
            lowest = sym.st_value;
        found = true;
    }
    if (found)
        *ret_address = lowest;
    return found;
}
