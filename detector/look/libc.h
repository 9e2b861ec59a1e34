/*
 * Which C library a thread's program counter lies in. The tables of wait/futex.c hold for known versions of glibc
 * alone; anything else is a raw futex.
 *
 * The file is opened through the process that maps it, only if it is a regular one with the mapping's inode, and is
 * read here, in a disposable child.
 */
#ifndef WEDGE_DETECTOR_LIBC_H
#define WEDGE_DETECTOR_LIBC_H

#include "detector/look/look.h"

struct wedge_libc_cache; /* by inode; owned by the examination */
void wedge_libc_cache_free(struct wedge_libc_cache *cache); /* takes NULL */

struct wedge_libc_place {
    int minor; /* of the glibc 2.x that the address lies in; 0: in none, or in one of unknown version */
    bool by_syscall; /* in its function syscall(), through which others make futexes of their own */
};
struct wedge_libc_place wedge_libc_at(struct wedge_look *look, int proc, uint64_t pc);

#endif
