/*
 * The symbols and the build-id of an ELF file, without libelf: for questions that have to be answered with wedge's own
 * rights while a verdict is made (does it call alarm? where is syscall? is it the file that a core is of?). Everything else about ELF files is asked in the
 * child that has given its rights up (detector/stacks/sandbox.h).
 *
 * A 64-bit little-endian x86 file alone. Each number is bounded by the file's size before it is used, and at most
 * WEDGE_ELF_NAMES_MAX_BYTES are read. Blocks like a read of the file. Fuzzed: detector/fuzz/elf_names.c.
 */
#ifndef WEDGE_DETECTOR_ELF_NAMES_H
#define WEDGE_DETECTOR_ELF_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "detector/elf/elf_image.h"

#define WEDGE_ELF_NAMES_MAX_BYTES (32u << 20) /* of a table of symbols, and of its strings */

struct wedge_elf_name {
    const char *text; /* goes with the call */
    uint64_t address, size;
    bool defined;
};
/* False: no more. */
typedef bool wedge_elf_name_fn(void *arg, const struct wedge_elf_name *name);

/* Goes through the first table of this type (SHT_DYNSYM, SHT_SYMTAB). 0; -ENOENT: the file has none; -EBADMSG: it does
 * not add up, -E2BIG, -ENOMEM: nothing can be said about what else it has. */
int wedge_elf_names_read(int fd, uint32_t type, wedge_elf_name_fn *fn, void *arg);
/* The GNU build-id in the notes that are mapped with the program. False: none, or it does not add up. */
bool wedge_elf_names_build_id(int fd, struct wedge_build_id *ret);
/* Where the byte at `address` lies in the file; 0 nowhere. */
uint64_t wedge_elf_names_offset(int fd, uint64_t address);

#endif
