/*
 * Function symbols of an ELF file, by address. An address has a name only when it lies inside a symbol's own size:
 * the nearest symbol below is no name. A stripped file may carry a table of its inner functions, packed (.gnu_debugdata,
 * "MiniDebugInfo", gdb's manual): libdwfl unpacks it.
 */
#ifndef WEDGE_DETECTOR_ELF_SYMBOLS_H
#define WEDGE_DETECTOR_ELF_SYMBOLS_H

#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wedge_elf_symbols;

/* Reads the tables of `elf` and, where there is one, of its separate debug file (may be NULL). Both must live as long
 * as the result: names point into them. NULL: no memory. Tables that make no sense are left out. */
struct wedge_elf_symbols *wedge_elf_symbols_read(Elf *elf, Elf *debug_elf);
void wedge_elf_symbols_free(struct wedge_elf_symbols *symbols); /* takes NULL */

struct wedge_elf_symbol {
    uint64_t address, size; /* as in the file: without the bias */
    const char *name; /* may carry a version: name@VERSION */
    bool dynamic; /* exported */
    uint8_t binding;
};
/* The symbol that holds `address`; of several at the same place the one people know: exported, without leading
 * underscores, global. NULL none. */
const struct wedge_elf_symbol *wedge_elf_symbols_find(const struct wedge_elf_symbols *symbols, uint64_t address);
/* Is there an exported function `name`, and does it (or one of its versions) hold `address`? Stores where it begins;
 * false: there is none. */
bool wedge_elf_symbols_exported(const struct wedge_elf_symbols *symbols, const char *name, uint64_t address,
                                uint64_t *ret_address, bool *ret_holds);

#endif
