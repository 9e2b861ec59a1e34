/*
 * The ELF files behind images: opened without trust, matched to what is in memory, kept for all threads and
 * processes of one examination.
 *
 * Only regular files are opened, never through a name the target could point elsewhere without being found out: a
 * file counts when it is the very one that is mapped (the kernel's own link says so) or when its build-id is the one in
 * memory. Separate debug files are found by build-id under /usr/lib/debug/.build-id and nowhere else, and nothing is
 * fetched from a network.
 *
 * The cache is one per process and lives as long as it does, or until wedge_elf_forget: an examination is made in a
 * disposable child. Threads: one at a time.
 */
#ifndef WEDGE_DETECTOR_ELF_FILE_H
#define WEDGE_DETECTOR_ELF_FILE_H

#include <elfutils/libdw.h>
#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "detector/elf/elf_image.h"
#include "detector/kernel/proc.h"

#define WEDGE_ELF_FILES_MAX        512
#define WEDGE_ELF_COPIED_MAX_BYTES (64u << 20) /* larger ones are mapped, not copied */
#define WEDGE_ELF_MAX_BYTES        ((uint64_t)4 << 30) /* larger ones are left alone */

struct wedge_elf_symbols; /* elf_symbols.c */
struct wedge_elf_units; /* symbols.c */
struct wedge_elf_lookup;

struct wedge_elf_file {
    struct wedge_elf_file *next;
    struct wedge_build_id build_id;
    uint64_t inode;
    unsigned dev_major, dev_minor;
    char *path; /* as the process has it mapped; where a debug file is named, it lies beside it */
    char *debug_path; /* of debug_elf */
    Elf *elf;
    Elf *debug_elf; /* separate debug file, NULL none or not yet looked for */
    Dwarf *dwarf; /* the file's own or the debug file's, NULL none */
    Dwarf *alt; /* what a dwz-compressed `dwarf` refers to */
    bool debug_tried, dwarf_tried;
    struct wedge_elf_symbols *symbols; /* made at need */
    struct wedge_elf_units *units;
    struct wedge_elf_lookup *lookups;
};

/* Opens the files behind all executable mappings of a process, through the kernel's own links, with the rights that the
 * caller has now and is about to give up; nothing is read. May block on the server of a FUSE file. */
void wedge_elf_open_all(const struct wedge_regions *regions, int pid);
/* The descriptors of these that nobody took yet. */
size_t wedge_elf_list_opened(int *ret_fds, size_t room);

/* The file behind an image of process `pid`; NULL when it cannot be had or is another one by now. Owned by the
 * cache. */
struct wedge_elf_file *wedge_elf_of_image(struct wedge_images *images, struct wedge_image *image, int pid);
/* Forgets all files and what was learned of them: images that had one must not be used any more. */
void wedge_elf_forget(void);
/* The whole file as an Elf that needs no descriptor; takes `fd` over. NULL: no ELF file, or too large. */
Elf *wedge_elf_read(int fd);
void wedge_elf_drop(Elf *elf); /* ends one of wedge_elf_read with the memory under it; takes NULL */
/* The build-id that a file's own notes give. */
bool wedge_elf_build_id(Elf *elf, struct wedge_build_id *ret);
/* Opens `path` below `dirfd` if it is a regular file: never blocks on a FIFO, never wakes a device. -1 else. */
int wedge_elf_open_regular(int dirfd, const char *path);
/* Opens what a link of /proc/TID leads to ("exe") if it is a regular file that no process serves (detector/kernel/mounts.h):
 * while a verdict is made nobody may be waited for. -1 else. */
int wedge_elf_open_link(pid_t tid, const char *file);
/* Opens the very file that thread or process `tid` has mapped there, if it is a regular one; -1 else. */
int wedge_elf_open_mapped(pid_t tid, const struct wedge_proc_map *map);

#endif
