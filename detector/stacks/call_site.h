/*
 * What a call instruction called, by name: for functions that hand over to another with a jump and so leave no frame
 * (sem_wait jumps to an internal function, and a stack shows only that one).
 *
 * Decodes the call before a return address, follows it through the linkage table, and reads the name off the
 * relocation of the slot. No guess: a call through a pointer has no name here.
 */
#ifndef WEDGE_DETECTOR_CALL_SITE_H
#define WEDGE_DETECTOR_CALL_SITE_H

#include <stdint.h>

#include "detector/elf/elf_file.h"
#include "detector/elf/elf_image.h"

/* The symbol that the call before `return_pc`, in `image` with its `file`, goes to through the linkage table; owned by
 * the file. NULL: not such a call. */
const char *wedge_call_site_name(struct wedge_images *images, const struct wedge_image *image,
                                 struct wedge_elf_file *file, uint64_t return_pc);

#endif
