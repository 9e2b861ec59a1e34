/*
 * Whether a descriptor's number is still the file that it was: somebody else in the process may have closed it, and
 * have another file under it by now. Of files of the kernel's that have no inode of their own (epoll sets, timers, eventfds;
 * pidfds before Linux 6.9) one cannot be told from another.
 */
#ifndef WEDGE_POOL_FILE_ID_H
#define WEDGE_POOL_FILE_ID_H

#include <stdbool.h>
#include <sys/stat.h>

struct wedge_file_id {
    dev_t dev;
    ino_t ino;
};

/* All zero: it could not be asked. */
static inline struct wedge_file_id wedge_file_id_of(int fd)
{
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) < 0)
        return (struct wedge_file_id){0};
    return (struct wedge_file_id){.dev = stat.st_dev, .ino = stat.st_ino};
}

/* True also where it could not be asked before: what is not known is no reason to end a pool. */
static inline bool wedge_file_id_holds(const struct wedge_file_id *id, int fd)
{
    struct wedge_file_id is = wedge_file_id_of(fd);
    return id->ino == 0 || (is.dev == id->dev && is.ino == id->ino);
}

#endif
