#include "detector/kernel/file_locks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "detector/kernel/lines.h"

#define MOST_LOCKS 65536
#define LINE_BYTES 256 /* no line of locks is longer */

static const struct {
    const char *word;
    enum wedge_file_lock_kind kind;
} kinds[] = {{"FLOCK", WEDGE_LOCK_FLOCK}, {"POSIX", WEDGE_LOCK_POSIX}, {"OFDLCK", WEDGE_LOCK_OFD}};

/* File systems whose locks are this kernel's business alone: nobody on another machine, and no server, holds one. */
static const char *const local_types[] = {"ext2", "ext3", "ext4", "xfs",   "btrfs", "tmpfs", "ramfs",    "overlay",
                                          "f2fs", "zfs",  "vfat", "exfat", "ntfs3", "jfs",   "bcachefs", "hugetlbfs"};

int wedge_file_lock_parse(const char *text, struct wedge_file_lock *ret)
{
    struct wedge_file_lock lock = {0};
    char copy[LINE_BYTES], kind[8], access[8], end[24];
    const char *line = copy;
    int at = 0;
    wedge_line_copy(text, copy, sizeof(copy));
    if (sscanf(line, "%" SCNu64 ": %n", &lock.id, &at) != 1 || !at)
        return -EBADMSG;
    line += at;
    if (strncmp(line, "-> ", 3) == 0) {
        lock.waits = true;
        line += 3;
    }
    if (sscanf(line, "%7s %*s %7s %d %" SCNx32 ":%" SCNx32 ":%" SCNu64 " %" SCNu64 " %23s", kind, access, &lock.pid,
               &lock.dev_major, &lock.dev_minor, &lock.inode, &lock.start, end) != 8)
        return -EBADMSG;
    lock.write = strcmp(access, "WRITE") == 0;
    if (!lock.write && strcmp(access, "READ") != 0)
        return -EBADMSG;
    lock.end = UINT64_MAX;
    if (strcmp(end, "EOF") != 0 && sscanf(end, "%" SCNu64, &lock.end) != 1)
        return -EBADMSG;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kind, kinds[i].word) == 0) {
            lock.kind = kinds[i].kind;
            *ret = lock;
            return 0;
        }
    return -EBADMSG;
}

int wedge_file_locks_parse(const char *text, struct wedge_file_lock **ret, size_t *ret_n)
{
    struct wedge_file_lock *locks = NULL;
    size_t n = 0, cap = 0;
    for (const char *line = text, *next; *line && n < MOST_LOCKS; line = next) {
        next = wedge_line_next(line, (size_t)(strchrnul(line, '\n') - line));
        if (n == cap) {
            cap = cap ? cap * 2 : 64;
            struct wedge_file_lock *more = realloc(locks, cap * sizeof(*locks));
            if (!more) {
                free(locks);
                return -ENOMEM;
            }
            locks = more;
        }
        n += wedge_file_lock_parse(line, &locks[n]) == 0;
    }
    *ret = locks;
    *ret_n = n;
    return 0;
}

bool wedge_file_lock_same(const struct wedge_file_lock *a, const struct wedge_file_lock *b)
{
    return a->kind == b->kind && a->write == b->write && a->pid == b->pid && a->dev_major == b->dev_major &&
           a->dev_minor == b->dev_minor && a->inode == b->inode && a->start == b->start && a->end == b->end;
}

/* ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELDS …] - TYPE SOURCE OPTIONS; blanks in paths are escaped. */
bool wedge_file_lock_mount(const char *mountinfo, int number, uint32_t *ret_major, uint32_t *ret_minor, bool *ret_local)
{
    for (const char *line = mountinfo, *next; *line; line = next) {
        int id;
        uint32_t major, minor;
        char head[LINE_BYTES], type[32];
        size_t len = wedge_line_copy(line, head, sizeof(head));
        next = wedge_line_next(line, len);
        if (sscanf(head, "%d %*d %" SCNu32 ":%" SCNu32 " ", &id, &major, &minor) != 3 || id != number)
            continue;
        const char *dash = memmem(line, len, " - ", 3);
        if (dash)
            wedge_line_copy(dash, head, sizeof(head));
        if (!dash || sscanf(head, " - %31s", type) != 1)
            return false;
        *ret_major = major;
        *ret_minor = minor;
        *ret_local = false;
        for (size_t i = 0; i < sizeof(local_types) / sizeof(local_types[0]); i++)
            *ret_local |= strcmp(type, local_types[i]) == 0;
        return true;
    }
    return false;
}
