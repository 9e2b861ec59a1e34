#include "detector/elf_symbols.h"

#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#define SYMBOLS_MAX (1u << 24)
#define STEPS_MAX   64 /* symbols below an address that are looked at for one that reaches up to it */

struct wedge_elf_symbols {
    struct wedge_elf_symbol *all; /* by address, the better name first */
    size_t n, cap;
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

static void read_table(struct wedge_elf_symbols *symbols, Elf *elf, Elf_Scn *scn, const GElf_Shdr *shdr)
{
    Elf_Data *data = elf_getdata(scn, NULL);
    size_t entries = data ? data->d_size / sizeof(Elf64_Sym) : 0;
    for (size_t i = 1; i < entries && i < SYMBOLS_MAX; i++) {
        GElf_Sym sym;
        if (!gelf_getsym(data, (int)i, &sym))
            return;
        unsigned type = GELF_ST_TYPE(sym.st_info);
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || sym.st_shndx == SHN_UNDEF || sym.st_size == 0 ||
            sym.st_value + sym.st_size < sym.st_value)
            continue;
        const char *name = elf_strptr(elf, shdr->sh_link, sym.st_name);
        if (!name || !name[0])
            continue;
        struct wedge_elf_symbol symbol = {.address = sym.st_value,
                                          .size = sym.st_size,
                                          .name = name,
                                          .dynamic = shdr->sh_type == SHT_DYNSYM,
                                          .binding = GELF_ST_BIND(sym.st_info)};
        if (!add(symbols, &symbol))
            return;
    }
}

static void read_tables(struct wedge_elf_symbols *symbols, Elf *elf)
{
    for (Elf_Scn *scn = NULL; elf && (scn = elf_nextscn(elf, scn)) != NULL;) {
        GElf_Shdr shdr;
        if (gelf_getshdr(scn, &shdr) && (shdr.sh_type == SHT_SYMTAB || shdr.sh_type == SHT_DYNSYM))
            read_table(symbols, elf, scn, &shdr);
    }
}

struct wedge_elf_symbols *wedge_elf_symbols_read(Elf *elf, Elf *debug_elf)
{
    struct wedge_elf_symbols *symbols = calloc(1, sizeof(*symbols));
    if (!symbols)
        return NULL;
    read_tables(symbols, elf);
    read_tables(symbols, debug_elf);
    if (symbols->n)
        qsort(symbols->all, symbols->n, sizeof(symbols->all[0]), compare);
    return symbols;
}

void wedge_elf_symbols_free(struct wedge_elf_symbols *symbols)
{
    if (!symbols)
        return;
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
