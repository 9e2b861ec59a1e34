#include "detector/elf/elf_symbols.h"

#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#define SYMBOLS_MAX (1u << 24)
#define BASE        (1u << 20)
#define STEPS_MAX   64 /* symbols below an address that are looked at for one that reaches up to it */

struct wedge_elf_symbols {
    struct wedge_elf_symbol *all; /* by address, the better name first */
    size_t n, cap;
    Dwfl *packed; /* what the names of the packed table lie in; NULL none */
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

static int compare(const void *left, const void *right)
{
    const struct wedge_elf_symbol *a = left, *b = right;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return compare_names(a, b);
}

static bool add(struct wedge_elf_symbols *symbols, const struct wedge_elf_symbol *symbol)
{
    if (symbols->n == symbols->cap) {
        size_t cap = symbols->cap ? symbols->cap * 2 : 1024;
        struct wedge_elf_symbol *all = realloc(symbols->all, cap * sizeof(*all));
        if (!all)
            return false;
        symbols->all = all;
        symbols->cap = cap;
    }
    symbols->all[symbols->n++] = *symbol;
    return true;
}

static bool add_function(struct wedge_elf_symbols *symbols, const GElf_Sym *sym, const char *name, bool dynamic)
{
    unsigned type = GELF_ST_TYPE(sym->st_info);
    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || sym->st_shndx == SHN_UNDEF || sym->st_size == 0 ||
        sym->st_value + sym->st_size < sym->st_value || !name || !name[0])
        return true;
    struct wedge_elf_symbol symbol = {.address = sym->st_value,
                                      .size = sym->st_size,
                                      .name = name,
                                      .dynamic = dynamic,
                                      .binding = GELF_ST_BIND(sym->st_info)};
    return add(symbols, &symbol);
}

static void read_table(struct wedge_elf_symbols *symbols, Elf *elf, Elf_Scn *scn, const GElf_Shdr *shdr)
{
    Elf_Data *data = elf_getdata(scn, NULL);
    size_t entries = data ? data->d_size / sizeof(Elf64_Sym) : 0;
    for (size_t i = 1; i < entries && i < SYMBOLS_MAX; i++) {
        GElf_Sym sym;
        if (!gelf_getsym(data, (int)i, &sym))
            return;
        const char *name = elf_strptr(elf, shdr->sh_link, sym.st_name);
        if (!add_function(symbols, &sym, name, shdr->sh_type == SHT_DYNSYM))
            return;
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
    Dwfl_Module *mod = symbols->packed ? report_alone(symbols->packed, elf) : NULL;
    int n = mod ? dwfl_module_getsymtab(mod) : 0;
    for (int i = 1; i < n && (unsigned)i < SYMBOLS_MAX; i++) {
        GElf_Sym sym;
        GElf_Addr address;
        Elf *from = NULL;
        const char *name = dwfl_module_getsym_info(mod, i, &sym, &address, NULL, &from, NULL);
        Dwarf_Addr bias;
        /* The exported ones were read already, and only from there it is known that they are. */
        if (name && from != dwfl_module_getelf(mod, &bias) && !add_function(symbols, &sym, name, false))
            return;
    }
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
    if (symbols->n)
        qsort(symbols->all, symbols->n, sizeof(symbols->all[0]), compare);
    return symbols;
}

void wedge_elf_symbols_free(struct wedge_elf_symbols *symbols)
{
    if (!symbols)
        return;
    if (symbols->packed)
        dwfl_end(symbols->packed);
    free(symbols->all);
    free(symbols);
}

const struct wedge_elf_symbol *wedge_elf_symbols_find(const struct wedge_elf_symbols *symbols, uint64_t address)
{
    size_t lo = 0, hi = symbols->n;
    while (lo < hi) { /* to the first that begins above */
        size_t mid = lo + (hi - lo) / 2;
        if (symbols->all[mid].address <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    const struct wedge_elf_symbol *found = NULL;
    for (size_t steps = 0; lo > 0 && steps < STEPS_MAX; steps++) {
        const struct wedge_elf_symbol *symbol = &symbols->all[--lo];
        if (found && symbol->address != found->address)
            break;
        if (address - symbol->address < symbol->size)
            found = symbol; /* the last one at this place is the best name */
    }
    return found;
}

bool wedge_elf_symbols_exported(const struct wedge_elf_symbols *symbols, const char *name, uint64_t address,
                                uint64_t *ret_address, bool *ret_holds)
{
    bool found = false, holds = false;
    for (size_t i = 0; i < symbols->n; i++) {
        const struct wedge_elf_symbol *symbol = &symbols->all[i];
        if (!symbol->dynamic || strcmp(symbol->name, name) != 0)
            continue;
        if (!found)
            *ret_address = symbol->address;
        found = true;
        holds |= address >= symbol->address && address - symbol->address < symbol->size;
    }
    if (found)
        *ret_holds = holds;
    return found;
}
