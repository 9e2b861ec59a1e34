/*
 * ELF images as they lie in a process's memory: where each begins, what it covers, its build-id, and its table of
 * unwind information, checked before anyone relies on it.
 *
 * Nothing in an image is trusted: each number is bounded before it is used, and an image that does not add up has no
 * table. Reads constant memory alone (detector/stacks/target_memory.h), so the process may run meanwhile.
 */
#ifndef WEDGE_DETECTOR_ELF_IMAGE_H
#define WEDGE_DETECTOR_ELF_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "detector/stacks/target_memory.h"

#define WEDGE_BUILD_ID_MAX 64 /* bytes; 20 as a rule */

struct wedge_build_id {
    size_t len; /* 0: none */
    uint8_t bytes[WEDGE_BUILD_ID_MAX];
};
struct wedge_elf_file;
struct wedge_walk_rows;

struct wedge_image {
    const struct wedge_region *region; /* that of the ELF header: its path, device and inode are the image's */
    uint64_t bias; /* address in memory minus p_vaddr */
    uint64_t lo, hi; /* all of its PT_LOADs */
    uint64_t entry; /* where a program of its own begins; nobody's call led there */
    uint64_t text_lo, text_hi; /* those that are executable */
    struct wedge_build_id build_id;
    /* .eh_frame_hdr with a sorted table of the one encoding libunwind takes: its address, and that of the table. */
    bool searchable;
    uint64_t hdr, table, n_fdes;
    const char *unsearchable; /* why not; a word for a stack note */
    const char *text_path, *text_build_id; /* for frames, kept by the caller; NULL not yet */
    struct wedge_elf_file *file; /* opened at need, owned by the cache; NULL not yet or none */
    bool file_tried;
    struct wedge_walk_rows *rows; /* of detector/stacks/walk.h, at need; NULL not yet */
    bool rows_own; /* nobody shares them: they go with the image */
};

struct wedge_images {
    struct wedge_target_memory *memory;
    struct wedge_image **all;
    size_t n, cap;
};

/* The image whose text holds `pc`, read at first sight; NULL none (no module there, or not an ELF image). */
struct wedge_image *wedge_images_find(struct wedge_images *images, uint64_t pc);
void wedge_images_free(struct wedge_images *images); /* takes NULL and empty */

/* The GNU build-id among `len` bytes of notes with the given alignment (4 or 8); false none. */
bool wedge_build_id_in_notes(const uint8_t *notes, size_t len, size_t align, struct wedge_build_id *ret);
bool wedge_build_id_equal(const struct wedge_build_id *a, const struct wedge_build_id *b); /* none equals nothing */
/* Lower-case hex into `ret` (at least 2 * WEDGE_BUILD_ID_MAX + 1 bytes). */
void wedge_build_id_hex(const struct wedge_build_id *id, char *ret);

#endif
