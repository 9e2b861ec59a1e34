/*
 * A core file: a process as it stood at one moment, with its threads' registers, its memory as far as it was written
 * down, and the list of files that were mapped.
 *
 *   core_file.c    header, notes: who, which threads, which files        (core(5), fs/binfmt_elf.c, gdb's gcore)
 *   core_memory.c  what was mapped, and bytes of it: from the core, or from a mapped file whose build-id is the one
 *                  that the core has in memory. No build-id, no file: text of another build would give wrong names.
 *
 * Nothing in the file is trusted: every number is bounded, what does not add up is left out, and a file that is cut
 * off is a shorter one. Blocking: reads regular files alone. Threads: one at a time.
 */
#ifndef WEDGE_DETECTOR_CORE_FILE_H
#define WEDGE_DETECTOR_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/err.h"
#include "detector/stacks/target_memory.h"

#define WEDGE_CORE_THREADS_MAX  16384u
#define WEDGE_CORE_SEGMENTS_MAX WEDGE_REGIONS_MAX
#define WEDGE_CORE_NOTES_MAX    (1u << 20)
#define WEDGE_CORE_FILES_BYTES  (32u << 20) /* the table of mapped files */

struct wedge_core_thread {
    pid_t tid; /* as the writer of the core saw it: gcore outside the process's PID namespace gives another number */
    int signal; /* that this thread was about to take; 0 none */
    struct user_regs_struct regs;
};

struct wedge_core_segment { /* a PT_LOAD */
    uint64_t start, bytes; /* in memory */
    uint64_t offset, file_bytes; /* in the core */
    bool read, write, exec;
};

struct wedge_core_mapping { /* one line of NT_FILE */
    uint64_t start, end, offset;
    const char *path; /* without " (deleted)" */
    bool deleted;
};

struct wedge_core_source { /* a mapped file, opened at need */
    const char *path;
    int fd; /* -1 not to be had, or another build */
    bool tried;
};

struct wedge_core {
    int fd;
    uint64_t bytes; /* of the file */
    bool cut; /* the file ends before its last segment does */
    uint64_t whole; /* bytes that it would have otherwise, as far as its segments tell */
    pid_t pid, ppid;
    uid_t uid;
    char comm[17], cmdline[81];
    int signal; /* that the process ended by; 0: none, as from gcore */
    uint64_t entry, vdso; /* from the auxiliary vector; 0 none */
    struct wedge_core_thread *threads; /* by tid */
    size_t n_threads;
    struct wedge_core_segment *segments; /* ascending, never overlapping */
    size_t n_segments;
    struct wedge_core_mapping *mappings; /* ascending, never overlapping */
    size_t n_mappings;
    char *names; /* what their paths point into */
    struct wedge_regions regions; /* both together, as maps would show them; the inode counts the paths from 1 */
    struct wedge_core_source *sources; /* by inode - 1 */
    size_t n_sources;
    const char *exe; /* path of the executable, "" not known */
    int exe_fd; /* the file that the caller named for it; -1 none */
};

/* Opens a core of a 64-bit x86 program. `exe` names the executable where the core's own path does not lead to it; NULL:
 * none given. -ENOENT, -EACCES …, -EINVAL (input: no core, of another machine, or `exe` is another build), -ENOMEM;
 * *err is set. */
int wedge_core_open(const char *path, const char *exe, struct wedge_core **ret, struct wedge_err *err);
/* The parser alone: takes `fd` over in any case. */
int wedge_core_parse(int fd, const char *name, struct wedge_core **ret, struct wedge_err *err);
void wedge_core_close(struct wedge_core *core); /* takes NULL */

/* How many of `len` bytes at `address` could be had, from the first on. */
size_t wedge_core_read(struct wedge_core *core, uint64_t address, void *buf, size_t len);
/* A descriptor of the file that a region is mapped from, the core's own; -1: none, or not certainly the same. */
int wedge_core_file_of(struct wedge_core *core, const struct wedge_region *region);

/* The descriptors that are open: of the core and of the files behind it. */
size_t wedge_core_descriptors(const struct wedge_core *core, int *ret, size_t room);

/* core_memory.c, for core_file.c: makes `regions` and `sources`. -ENOMEM. */
int wedge_core_map(struct wedge_core *core);
bool wedge_core_pread(const struct wedge_core *core, uint64_t offset, void *buf, size_t len); /* all of it or false */

#endif
