/*
 * Finding and reading the boards of pools in other processes. The reader opens files and reads them, nothing else: it
 * stops nobody, takes no lock, and maps nothing, so a pool cannot notice it, and a file that shrinks under it is a short
 * read and no signal.
 *
 * A process shows its open files in /proc/PID/fd; a board is one whose link reads "/memfd:wedge-pool:NAME (deleted)"
 * (board.h), in the parent as in every worker, which inherited it. Reading it takes what ptrace(2) calls PTRACE_MODE_READ:
 * the same user, or root.
 *
 * Everything in a board is hostile: each read gets a copy of the whole, whose header is checked against the file's size
 * and against itself before anything is computed from it, and which nobody can change any more. Strings are ended,
 * enums may hold anything (figures.h names them "?"). A figure of eight bytes is copied at once by every copy that the
 * kernel has on 64-bit machines; a page shows each as of its own instant, as wedge_pool_stats does.
 */
#ifndef WEDGE_POOL_BOARD_READ_H
#define WEDGE_POOL_BOARD_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "pool/board.h"

/* An open board. Own it: wedge_board_source_close. */
struct wedge_board_source {
    int fd; /* -1 none */
    dev_t dev;
    ino_t ino;
    pid_t found_in;
};

/*
 * The pools of process `pid`: those whose board it has open, or, if it has none, its parent, or that one's parent (a worker
 * or a zygote that closed its own). Opens up to `max`. Returns how many, or a negative errno with *err filled: -ESRCH no
 * such process, -EACCES not permitted, -ENOENT it has no pool.
 */
int wedge_boards_find(pid_t pid, struct wedge_board_source *ret, size_t max, struct wedge_err *err);
/* All pools in processes that may be read, each once. -EACCES: /proc cannot be read. None is no error. */
int wedge_boards_find_all(struct wedge_board_source *ret, size_t max, struct wedge_err *err);
void wedge_board_source_close(struct wedge_board_source *source);

/*
 * A copy of the board as it is now. *board is the copy from last time or NULL, owned by the caller, to be freed with free().
 * Errors: -EPROTO it is none, or of another version, or contradicts itself; -EIO, -ENOMEM. *board stays as it was then.
 */
int wedge_board_read(const struct wedge_board_source *source, struct wedge_board **board, struct wedge_err *err);

/* The parent named by a board that was read, by the number that it has here, if it lives and still has that board open; else 0.
 * One that may not be looked at counts if its number is in use. One in a container, which knows itself by another number,
 * is known where it is the process that the board was found in. */
pid_t wedge_board_parent(const struct wedge_board_source *source, const struct wedge_board *board);

#endif
