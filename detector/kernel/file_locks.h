/*
 * The kernel's list of file locks: who holds one, and which one somebody waits for.
 *
 *   1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF          /proc/locks: held by what 4711 opened
 *   1: -> FLOCK  ADVISORY  WRITE 4712 fe:00:1234 0 EOF       4712 waits for lock 1
 *   1:  -> OFDLCK ADVISORY  WRITE -1 fe:00:1234 0 EOF        and this one behind it, for the same
 *   lock:	1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF   /proc/PID/fdinfo/FD, in every process that has the lock
 *
 * The pid is that of whoever took the lock, who may be gone: flock and OFD locks belong to every holder of the open
 * file description, fcntl's to the process. The device is the file system's own (s_dev), which stat(2) need not say.
 * Source: proc(5), fs/locks.c (lock_get_status, __show_fd_locks).
 */
#ifndef WEDGE_DETECTOR_FILE_LOCKS_H
#define WEDGE_DETECTOR_FILE_LOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum wedge_file_lock_kind { WEDGE_LOCK_FLOCK, WEDGE_LOCK_POSIX, WEDGE_LOCK_OFD };

struct wedge_file_lock {
    uint64_t id; /* of the lock held, in this reading of the list */
    enum wedge_file_lock_kind kind;
    bool waits; /* waits for lock `id` */
    bool write;
    pid_t pid; /* -1: of nobody (OFD) */
    uint32_t dev_major, dev_minor;
    uint64_t inode, start, end; /* end UINT64_MAX: that of the file, however it grows */
};

/* Parses a line of the list, or what follows "lock:" of fdinfo. -EBADMSG: it is none of these (a lease). */
int wedge_file_lock_parse(const char *line, struct wedge_file_lock *ret);
/* Parses a whole list, leaving out what is not of these kinds; freed by the caller. -ENOMEM. */
int wedge_file_locks_parse(const char *text, struct wedge_file_lock **ret, size_t *ret_n);
/* Two lines about one lock: all but the id and whether it waits. */
bool wedge_file_lock_same(const struct wedge_file_lock *a, const struct wedge_file_lock *b);

/* The device and, if it keeps locks on this machine alone, true in *ret_local of the mount `number` in a mountinfo
 * (proc(5)). False: there is no such mount. */
bool wedge_file_lock_mount(const char *mountinfo, int number, uint32_t *ret_major, uint32_t *ret_minor,
                           bool *ret_local);

#endif
