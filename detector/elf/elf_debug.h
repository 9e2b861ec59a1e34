/*
 * Separate debug information of an ELF file:
 *
 *   by build-id    /usr/lib/debug/.build-id/ab/cd….debug                  the build-ids must be equal
 *   by name        .gnu_debuglink, beside the file, in .debug/ there,     the build-ids must be equal, or where one has
 *                  or below /usr/lib/debug                                none the checksum of the link must be right
 *   shared         what dwz moved into one file for several               by its build-id, likewise
 *
 * Nothing is asked of a network (debuginfod), and a file that is not certainly the right one is none.
 * Sources: gdb's manual, "Separate Debug Files"; dwz(1).
 */
#ifndef WEDGE_DETECTOR_ELF_DEBUG_H
#define WEDGE_DETECTOR_ELF_DEBUG_H

#include "detector/elf/elf_file.h"

/* Looks for its separate debug file, unless it has debug information of its own; nothing of it is read yet. */
void wedge_elf_debug(struct wedge_elf_file *file);
/* Its DWARF, from the file itself or from its debug file; NULL none. */
Dwarf *wedge_elf_dwarf(struct wedge_elf_file *file);
/* A descriptor of the separate debug file of a build, the caller's to close; -1 none. `ret_path` (malloc) may be
 * NULL. */
int wedge_elf_open_debug(const struct wedge_build_id *id, char **ret_path);

#endif
