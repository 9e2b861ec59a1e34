/*
 * From an address to function, file and line, with the functions that were inlined there. What is not known stays
 * NULL: never the nearest name.
 */
#ifndef WEDGE_DETECTOR_SYMBOLS_H
#define WEDGE_DETECTOR_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "detector/elf/elf_file.h"

#define WEDGE_SYMBOLS_INLINED_MAX 16

struct wedge_symbol { /* one function at an address; texts are owned by the file's cache */
    const char *function; /* demangled; NULL not known */
    const char *file; /* NULL not known */
    int line; /* 0 not known */
    bool inlined; /* into the next one */
};

/* What lies at `address` (without the bias) of `file`: the innermost function first, at least one. `libc`: name it as
 * the library exports it ("read", not "__GI___libc_read"). The result is owned by the cache; NULL: no memory. */
const struct wedge_symbol *wedge_symbols_at(struct wedge_elf_file *file, uint64_t address, bool libc, size_t *ret_n);

/* Does `file` export a function `name` that does not hold `address`? Stores where it begins. */
bool wedge_symbols_elsewhere(struct wedge_elf_file *file, const char *name, uint64_t address, uint64_t *ret_address);

/* Where the function that holds `address` begins, by the symbol table; false: not known. */
bool wedge_symbols_begin(struct wedge_elf_file *file, uint64_t address, uint64_t *ret_start);

/* Frees what was learned of a file. */
void wedge_symbols_forget(struct wedge_elf_file *file);

/* Is a frame of the language's own library: libstdc++, libc++, Rust's std, core and alloc? By the module, or by where the
 * source lies (templates and what is inlined are in the program's own module), and where that is not known by the
 * name. `file` and `function` may be NULL. */
bool wedge_symbols_is_runtime(const char *module, const char *file, const char *function);

/* Is this module the C library, the dynamic linker, the vDSO, a sanitizer's runtime or the agent? */
bool wedge_symbols_is_libc(const char *module);

#endif
