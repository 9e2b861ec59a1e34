/*
 * Giving up rights before files are read that a hostile target wrote: ELF, DWARF and unwind tables go through libelf,
 * libdw and libunwind, which were not written for an enemy. Whoever takes one of them over has then what the target had
 * itself, and less.
 *
 * After wedge_sandbox_enter the process has
 *   - the target's user and group, no supplementary groups, no capability (as root; any other user keeps its own)
 *   - no_new_privs, and nobody of that user may trace it or read its memory
 *   - a filter of system calls (seccomp): memory, reads, openat2, and writing to `out`. Everything else fails with
 *     EPERM. openat(2) is how libelf and libdw open files whose names stand in other files (.dwo, alternative debug
 *     files), and such a name may lead to a FIFO, a device, a terminal: it is caught (SIGSYS), and for reading
 *     `open_regular` is done in its place, which opens nothing of the kind (detector/elf/elf_file.c)
 *   - limits of memory, of CPU time, no core file, no file written, no new process
 *   - no descriptor but those it was told to keep
 */
#ifndef WEDGE_DETECTOR_SANDBOX_H
#define WEDGE_DETECTOR_SANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct wedge_sandbox {
    uid_t uid;
    gid_t gid;
    int out; /* the one descriptor that may be written to; kept */
    const int *keep; /* descriptors that stay open, in any order; -1 is passed over */
    size_t n_keep;
    uint64_t data_bytes; /* how much its own memory may grow */
    uint64_t map_bytes; /* and its mappings in all */
    unsigned cpu_s;
    int (*open_regular)(int dirfd, const char *path); /* a descriptor or -1; NULL: openat(2) fails too */
};

/* For a child of base/job.h with one thread; there is no way back. 0, or a negative errno when something could not be
 * given up: then nothing may be parsed. Does not block. */
int wedge_sandbox_enter(const struct wedge_sandbox *sandbox);

#endif
