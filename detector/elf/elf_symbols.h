/*
 * Function symbols of an ELF file, by address. An address has a name only when it lies inside a symbol's own size:
 * the nearest symbol below is no name. A stripped file may carry a table of its inner functions, packed (.gnu_debugdata,
 * "MiniDebugInfo", gdb's manual): libdwfl unpacks it.
 *
 * Of a table of thousands a dozen addresses are asked for: the addresses are put in order once, names are looked at where one
 * is asked for.
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
 * underscores, global. False: none. */
bool wedge_elf_symbols_find(const struct wedge_elf_symbols *symbols, uint64_t address, struct wedge_elf_symbol *ret);
/* Is there an exported function `name` that does not hold `address`, in none of its versions? Stores where it (the lowest of
 * them) begins; false: there is none, or it does. */
bool wedge_elf_symbols_elsewhere(struct wedge_elf_symbols *symbols, const char *name, uint64_t address,
                                 uint64_t *ret_address);

#endif
