#include "detector/stacks/symbols.h"

#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "detector/elf/elf_debug.h"
#include "detector/elf/elf_symbols.h"
#include "detector/stacks/demangle.h"

#define DEPTH_MAX   64
#define DIES_MAX    4000000u /* looked at for one address */
#define UNITS_MAX   (1u << 20)
#define LOOKUPS_MAX (1u << 20)

/* What was found at an address, kept: threads of a pool all wait in the same places. */
struct wedge_elf_lookup {
    uint64_t address;
    size_t n;
    bool short_name; /* the outermost one's is not all of it: without the class or namespace that it is in */
    struct wedge_symbol symbols[WEDGE_SYMBOLS_INLINED_MAX + 1];
    UT_hash_handle hh;
};

/* Address ranges of compilation units, for files without .debug_aranges (clang writes none). */
struct unit_range {
    uint64_t lo, hi;
    Dwarf_Off die;
};
struct wedge_elf_units {
    struct unit_range *all;
    size_t n, cap;
};

/* The nest of functions around an address, outermost first: a subprogram and what is inlined in it. */
struct nest {
    Dwarf_Die dies[WEDGE_SYMBOLS_INLINED_MAX + 1];
    size_t n;
    unsigned looked_at;
};

bool wedge_symbols_is_libc(const char *module)
{
    static const char *const stems[] = {
        "libc",    "ld",      "ld-linux-x86-64", "libpthread", "libwedge-agent", "ld-musl-x86_64", "libc.musl-x86_64",
        "libasan", "libtsan", "liblsan",         "libubsan"};
    const char *base = strrchr(module, '/');
    base = base ? base + 1 : module;
    if (strcmp(base, "[vdso]") == 0)
        return true;
    for (size_t i = 0; i < sizeof(stems) / sizeof(stems[0]); i++) {
        size_t len = strlen(stems[i]);
        if (strncmp(base, stems[i], len) != 0)
            continue;
        /* libc.so.6, libc-2.31.so; not libcrypt.so. */
        if (strncmp(base + len, ".so", 3) == 0 || (base[len] == '-' && base[len + 1] >= '0' && base[len + 1] <= '9'))
            return true;
    }
    return false;
}

bool wedge_symbols_is_runtime(const char *module, const char *file, const char *function)
{
    static const char *const stems[] = {"libstdc++.so", "libc++.so", "libc++abi.so", "libgcc_s.so", "libstd-"};
    const char *base = strrchr(module, '/');
    base = base ? base + 1 : module;
    for (size_t i = 0; i < sizeof(stems) / sizeof(stems[0]); i++)
        if (strncmp(base, stems[i], strlen(stems[i])) == 0)
            return true;
    static const char *const names[] = {"std::", "core::", "alloc::", "<std::", "<core::", "<alloc::"};
    for (size_t i = 0; !file && function && i < sizeof(names) / sizeof(names[0]); i++)
        if (strncmp(function, names[i], strlen(names[i])) == 0)
            return true;
    /* A template's name has its result before it: "void std::__invoke_impl<…>(…)". */
    const char *std = !file && function ? strstr(function, " std::") : NULL;
    if (std && !memchr(function, '(', (size_t)(std - function)) && !memchr(function, '<', (size_t)(std - function)))
        return true;
    if (!file)
        return false;
    /* "/rustc/HASH/library/std/…", or with rust-src "…/rustlib/src/rust/library/std/…"; GCC's and LLVM's headers. */
    return (strncmp(file, "/rustc/", 7) == 0 && strstr(file, "/library/")) ||
           strstr(file, "/rustlib/src/rust/library/") || strstr(file, "/include/c++/") ||
           (strncmp(file, "/usr/include/", 13) == 0 && strstr(file, "/c++/"));
}

static bool add_range(struct wedge_elf_units *units, uint64_t lo, uint64_t hi, Dwarf_Off die)
{
    if (units->n == units->cap) {
        size_t cap = units->cap ? units->cap * 2 : 256;
        struct unit_range *all = realloc(units->all, cap * sizeof(*all));
        if (!all)
            return false;
        units->all = all;
        units->cap = cap;
    }
    units->all[units->n++] = (struct unit_range){lo, hi, die};
    return true;
}

static struct wedge_elf_units *read_units(Dwarf *dwarf)
{
    struct wedge_elf_units *units = calloc(1, sizeof(*units));
    Dwarf_CU *cu = NULL;
    Dwarf_Die die;
    uint8_t type;
    for (size_t i = 0; units && i < UNITS_MAX && dwarf_get_units(dwarf, cu, &cu, NULL, &type, &die, NULL) == 0; i++) {
        Dwarf_Addr base, lo, hi;
        ptrdiff_t at = 0;
        if (type != DW_UT_compile && type != DW_UT_skeleton)
            continue;
        for (unsigned ranges = 0; ranges < UNITS_MAX && (at = dwarf_ranges(&die, at, &base, &lo, &hi)) > 0; ranges++)
            if (lo < hi && !add_range(units, lo, hi, dwarf_dieoffset(&die)))
                return units;
    }
    return units;
}

/* A compilation unit. With -gsplit-dwarf the file itself has the lines and the name of another one (.dwo), which has all
 * else; where that cannot be had, or is of another build (by its id, which libdw compares), both are the first. */
struct unit {
    Dwarf_Die outer, inner;
};

static bool find_die(struct wedge_elf_file *file, Dwarf *dwarf, uint64_t address, Dwarf_Die *ret)
{
    if (dwarf_addrdie(dwarf, address, ret))
        return true;
    if (!file->units)
        file->units = read_units(dwarf);
    for (size_t i = 0; file->units && i < file->units->n; i++) {
        const struct unit_range *range = &file->units->all[i];
        if (address >= range->lo && address < range->hi)
            return dwarf_offdie(dwarf, range->die, ret) != NULL;
    }
    return false;
}

/* The unit that holds `address`. */
static bool find_unit(struct wedge_elf_file *file, Dwarf *dwarf, uint64_t address, struct unit *ret)
{
    Dwarf_Die split = {0};
    uint8_t type = 0;
    if (!find_die(file, dwarf, address, &ret->outer))
        return false;
    ret->inner = ret->outer;
    if (dwarf_cu_info(ret->outer.cu, NULL, &type, NULL, &split, NULL, NULL, NULL) == 0 && type == DW_UT_skeleton &&
        split.addr)
        ret->inner = split;
    return true;
}

/* Descends to the innermost function that holds `address`, through scopes that have none of their own (namespaces,
 * classes, lexical blocks). */
static void descend(Dwarf_Die *parent, uint64_t address, int depth, struct nest *nest)
{
    Dwarf_Die child;
    if (depth == DEPTH_MAX || dwarf_child(parent, &child))
        return;
    do {
        size_t before = nest->n;
        if (nest->looked_at++ > DIES_MAX)
            return;
        switch (dwarf_tag(&child)) {
        case DW_TAG_subprogram:
        case DW_TAG_inlined_subroutine:
            if (dwarf_haspc(&child, address) <= 0)
                break;
            if (nest->n == sizeof(nest->dies) / sizeof(nest->dies[0]))
                return;
            nest->dies[nest->n++] = child;
            descend(&child, address, depth + 1, nest);
            return;
        case DW_TAG_lexical_block:
            if (dwarf_haspc(&child, address) == 0)
                break;
            descend(&child, address, depth + 1, nest);
            break;
        case DW_TAG_namespace:
        case DW_TAG_module:
        case DW_TAG_class_type:
        case DW_TAG_structure_type:
            descend(&child, address, depth + 1, nest);
            break;
        default:
            break;
        }
        if (nest->n > before)
            return;
    } while (dwarf_siblingof(&child, &child) == 0);
}

static const char *name_of(Dwarf_Die *die)
{
    Dwarf_Attribute attr;
    const char *name = NULL;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attr) ||
        dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attr))
        name = dwarf_formstring(&attr);
    /* A linkage name serves where the language has more to say than the plain one. */
    if (name && wedge_demangle_may(name))
        return name;
    const char *plain = dwarf_attr_integrate(die, DW_AT_name, &attr) ? dwarf_formstring(&attr) : NULL;
    return plain ? plain : name;
}

/* A source's path: as written, below the unit's directory when relative. */
static char *path_of(Dwarf_Die *unit, const char *name)
{
    Dwarf_Attribute attr;
    char *path = NULL;
    const char *dir = NULL;
    if (!name || !name[0])
        return NULL;
    if (name[0] != '/' && dwarf_attr(unit, DW_AT_comp_dir, &attr))
        dir = dwarf_formstring(&attr);
    if (!dir || !dir[0])
        return strdup(name);
    return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

/* Where the inlined function was called: the line of the frame around it. */
static void call_site(struct unit *unit, Dwarf_Die *inlined, struct wedge_symbol *outer)
{
    Dwarf_Attribute attr;
    Dwarf_Word line = 0, index = 0;
    Dwarf_Files *files;
    size_t n;
    if (dwarf_attr(inlined, DW_AT_call_line, &attr) && dwarf_formudata(&attr, &line) == 0 && line <= INT32_MAX)
        outer->line = (int)line;
    if (dwarf_attr(inlined, DW_AT_call_file, &attr) && dwarf_formudata(&attr, &index) == 0 &&
        dwarf_getsrcfiles(&unit->inner, &files, &n) == 0 && index < n)
        outer->file = path_of(&unit->outer, dwarf_filesrc(files, index, NULL, NULL));
}

static void innermost_line(Dwarf_Die *unit, uint64_t address, struct wedge_symbol *symbol)
{
    Dwarf_Line *line = dwarf_getsrc_die(unit, address);
    int number = 0;
    if (!line)
        return;
    symbol->file = path_of(unit, dwarf_linesrc(line, NULL, NULL));
    if (symbol->file && dwarf_lineno(line, &number) == 0 && number > 0)
        symbol->line = number;
}

/* Is there more to a name than DWARF says at once? A member of a local class or of a lambda's template has no linkage
 * name there. */
static bool may_be_short(Dwarf_Die *unit, const char *name)
{
    switch (dwarf_srclang(unit)) {
    case DW_LANG_C_plus_plus:
    case DW_LANG_C_plus_plus_03:
    case DW_LANG_C_plus_plus_11:
    case DW_LANG_C_plus_plus_14:
    case DW_LANG_Rust:
        return name && !wedge_demangle_may(name) && strcmp(name, "main") != 0;
    default:
        return false;
    }
}

static void from_dwarf(struct wedge_elf_file *file, uint64_t address, struct wedge_elf_lookup *lookup)
{
    Dwarf *dwarf = wedge_elf_dwarf(file);
    struct unit unit;
    struct nest *nest = dwarf && find_unit(file, dwarf, address, &unit) ? calloc(1, sizeof(*nest)) : NULL;
    if (!nest)
        return;
    descend(&unit.inner, address, 0, nest);
    innermost_line(&unit.outer, address, &lookup->symbols[0]);
    for (size_t i = 0; i < nest->n; i++) {
        Dwarf_Die *die = &nest->dies[nest->n - 1 - i]; /* innermost first */
        struct wedge_symbol *symbol = &lookup->symbols[i];
        const char *name = name_of(die);
        symbol->function = name ? wedge_demangle(name) : NULL;
        symbol->inlined = i + 1 < nest->n && dwarf_tag(die) == DW_TAG_inlined_subroutine;
        lookup->short_name = i + 1 == nest->n && may_be_short(&unit.inner, name);
        if (i + 1 < nest->n)
            call_site(&unit, die, &lookup->symbols[i + 1]);
    }
    lookup->n = nest->n ? nest->n : 1;
    free(nest);
}

static struct wedge_elf_symbols *symbols_of(struct wedge_elf_file *file)
{
    if (!file->symbols)
        file->symbols = wedge_elf_symbols_read(file->elf, file->debug_elf);
    return file->symbols;
}

bool wedge_symbols_elsewhere(struct wedge_elf_file *file, const char *name, uint64_t address, uint64_t *ret_address)
{
    struct wedge_elf_symbols *symbols = symbols_of(file);
    return symbols && wedge_elf_symbols_elsewhere(symbols, name, address, ret_address);
}

bool wedge_symbols_begin(struct wedge_elf_file *file, uint64_t address, uint64_t *ret_start)
{
    struct wedge_elf_symbols *symbols = symbols_of(file);
    struct wedge_elf_symbol symbol;
    if (!symbols || !wedge_elf_symbols_find(symbols, address, &symbol))
        return false;
    *ret_start = symbol.address;
    return true;
}

/* The outermost function's name by the symbol table: where DWARF has none or a part of one, and for the C library the name by which it
 * is called from outside. */
static void from_symbols(struct wedge_elf_file *file, uint64_t address, bool libc, struct wedge_elf_lookup *lookup)
{
    struct wedge_symbol *outermost = &lookup->symbols[lookup->n - 1];
    if (outermost->function && !libc && !lookup->short_name)
        return;
    struct wedge_elf_symbols *symbols = symbols_of(file);
    struct wedge_elf_symbol symbol;
    if (!symbols || !wedge_elf_symbols_find(symbols, address, &symbol) ||
        (outermost->function && !(lookup->short_name ? wedge_demangle_may(symbol.name) : symbol.dynamic)))
        return;
    char *name = wedge_demangle(symbol.name);
    if (!name)
        return;
    free((char *)outermost->function);
    outermost->function = name;
}

const struct wedge_symbol *wedge_symbols_at(struct wedge_elf_file *file, uint64_t address, bool libc, size_t *ret_n)
{
    struct wedge_elf_lookup *lookup;
    HASH_FIND(hh, file->lookups, &address, sizeof(address), lookup);
    if (!lookup) {
        if (HASH_COUNT(file->lookups) >= LOOKUPS_MAX)
            return NULL;
        lookup = calloc(1, sizeof(*lookup));
        if (!lookup)
            return NULL;
        lookup->address = address;
        lookup->n = 1;
        /* Names of the library are what it exports, and its lines are of no source that the reader has: what its debug
         * file says further is not worth the 30 ms that unpacking it takes (libc6-dbg 2.36). */
        if (libc)
            wedge_elf_debug(file);
        else
            from_dwarf(file, address, lookup);
        from_symbols(file, address, libc, lookup);
        HASH_ADD(hh, file->lookups, address, sizeof(lookup->address), lookup);
    }
    *ret_n = lookup->n;
    return lookup->symbols;
}

void wedge_symbols_forget(struct wedge_elf_file *file)
{
    struct wedge_elf_lookup *lookup, *next;
    HASH_ITER(hh, file->lookups, lookup, next)
    {
        HASH_DEL(file->lookups, lookup);
        for (size_t i = 0; i < sizeof(lookup->symbols) / sizeof(lookup->symbols[0]); i++) {
            free((char *)lookup->symbols[i].function);
            free((char *)lookup->symbols[i].file);
        }
        free(lookup);
    }
    wedge_elf_symbols_free(file->symbols);
    file->symbols = NULL;
    if (file->units)
        free(file->units->all);
    free(file->units);
    file->units = NULL;
}
