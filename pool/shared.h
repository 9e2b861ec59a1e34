/* Memory that a stream's processes share: without a name, or, as a library of POSIX semaphores has it, with one. */
#ifndef WEDGE_POOL_SHARED_H
#define WEDGE_POOL_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct wedge_shared {
    void *map; /* NULL: none */
    size_t bytes;
    int fd; /* named: holds the file's lock while any process that has it lives; else -1 */
    pid_t maker; /* only that process removes the name */
    char name[80]; /* "" without one */
};

/*
 * Zeroed memory, mapped shared. `title` NULL: anonymous. Else a file in /dev/shm named wedge-TITLE-PID-N, which is
 * there until wedge_shared_destroy: a killed maker leaves it behind. A file of that name from a dead process is no
 * obstacle: nobody holds its lock, and it is removed. 0 or a negative errno.
 */
int wedge_shared_create(struct wedge_shared *ret, const char *title, size_t bytes);
/* Takes one that is all zero, or was destroyed. */
void wedge_shared_destroy(struct wedge_shared *shared);

#endif
