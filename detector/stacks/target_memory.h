/*
 * What a process has mapped, and that part of its memory that does not change: text, unwind tables, program headers.
 *
 * Reads go through one descriptor of /proc/PID/mem: it stays with the address space it was opened on, so neither an
 * exec nor a reused pid can make us read something else (they read as nothing). Writable memory is refused: it moves
 * on while we look, and what a stack held at the stop is in the copy (detector/stacks/stop.h).
 *
 * Over a core file (detector/core/core_file.h) all of it is constant.
 *
 * Blocking: like any read of another process's memory (a page may be served by userfaultfd); call in a disposable
 * child. Threads: one at a time.
 */
#ifndef WEDGE_DETECTOR_TARGET_MEMORY_H
#define WEDGE_DETECTOR_TARGET_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "detector/kernel/proc.h"

struct wedge_region { /* one line of maps */
    uint64_t start, end, offset, inode;
    unsigned dev_major, dev_minor;
    bool read, write, exec;
    bool deleted; /* the path has been unlinked; the suffix is cut from `path` */
    const char *path; /* unescaped; "[vdso]" and the like; "" anonymous */
};

struct wedge_regions {
    struct wedge_region *all; /* ascending, never overlapping */
    size_t n;
    char *text; /* what the paths point into */
};

#define WEDGE_REGIONS_MAX       (1u << 17) /* twice the kernel's own default limit */
#define WEDGE_REGIONS_BYTES_MAX (32u << 20)

/* Parses the text of a maps file. Takes `text` over (malloc) when it succeeds. -EINVAL: a line is not one of maps,
 * or out of order; -E2BIG; -ENOMEM. */
int wedge_regions_parse(char *text, size_t len, struct wedge_regions *ret);
/* Reads /proc/PID/task/TID/maps (a leader that has ended has an empty one: give a live thread). -ESRCH, -EACCES,
 * -E2BIG, those of the parse. */
int wedge_regions_read(pid_t pid, pid_t tid, struct wedge_regions *ret);
/* The same of lines that were parsed already (detector/kernel/proc.h), which may go. -EINVAL: out of order; -E2BIG; -ENOMEM. */
int wedge_regions_of(const struct wedge_proc_map *maps, size_t n, struct wedge_regions *ret);
void wedge_regions_free(struct wedge_regions *regions); /* takes NULL and empty */
/* The region that holds `address`, NULL none. */
const struct wedge_region *wedge_regions_find(const struct wedge_regions *regions, uint64_t address);

struct wedge_target_chunk;
struct wedge_core;
struct wedge_target_memory {
    int fd; /* /proc/PID/mem */
    struct wedge_core *core; /* in its place: a core file, of which nothing changes any more; NULL none */
    const struct wedge_regions *regions;
    struct wedge_target_chunk *chunks; /* what was read, by address */
    size_t cached_bytes;
    bool refused; /* a read met memory that may change, at `refused_at`; for whoever asks why an unwind ended */
    uint64_t refused_at;
};

/* `regions` must outlive it. -EACCES, -ESRCH, … from open(2). */
int wedge_target_memory_open(pid_t pid, pid_t tid, const struct wedge_regions *regions,
                             struct wedge_target_memory *ret);
void wedge_target_memory_close(struct wedge_target_memory *memory); /* takes NULL, and one that never opened (fd -1) */
/* The memory of a core file, whose regions it takes. Both must outlive it. */
void wedge_target_memory_core(struct wedge_core *core, struct wedge_target_memory *ret);
/* Reads `len` bytes of constant memory: all of them or false. */
bool wedge_target_memory_read(struct wedge_target_memory *memory, uint64_t address, void *buf, size_t len);
/* Is the address space still there? (Ended or replaced by exec: no.) `address` is one that was mapped. */
bool wedge_target_memory_alive(const struct wedge_target_memory *memory, uint64_t address);

#endif
