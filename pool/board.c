/* Making the board, and ending it (board.h). */
#include "pool/board.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/annotate.h"
#include "pool/pool.h"

/* A sealed size: a reader that mapped it never finds the file shorter than its mapping. */
static int make_file(const char *name, size_t bytes)
{
    char title[64];
    snprintf(title, sizeof(title), WEDGE_BOARD_FD_NAME "%s", name);
    int fd = memfd_create(title, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)bytes) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}

static void fill_header(const struct wedge_pool *pool, struct wedge_board *board, size_t bytes, size_t threads_at)
{
    const struct wedge_pool_settings *settings = &pool->settings;
    board->version = WEDGE_BOARD_VERSION;
    board->bytes_of_header = sizeof(struct wedge_board);
    board->bytes = bytes;
    board->seats_at = sizeof(struct wedge_board);
    board->threads_at = threads_at;
    board->bytes_of_seat = sizeof(struct wedge_board_seat);
    board->bytes_of_thread = sizeof(struct wedge_board_thread);
    board->parent_pid = getpid();
    board->processes = (uint32_t)settings->processes;
    board->threads = (uint32_t)settings->threads;
    board->queue = wedge_pool_settings_queue(settings);
    board->hardened = settings->hardened;
    board->collects = pool->callbacks.collect != NULL;
    board->created_ns = wedge_clock_ns();
    snprintf(board->preset, sizeof(board->preset), "%s", settings->preset);
    snprintf(board->name, sizeof(board->name), "%s", settings->name);
}

int wedge_pool_board_create(struct wedge_pool *pool, struct wedge_pool_err *err)
{
    size_t processes = (size_t)pool->settings.processes, threads = (size_t)pool->settings.threads;
    size_t threads_at = sizeof(struct wedge_board) + processes * sizeof(struct wedge_board_seat);
    size_t bytes = threads_at + processes * (threads + 1) * sizeof(struct wedge_board_thread);
    int fd = make_file(pool->settings.name, bytes);
    if (fd < 0)
        return wedge_pool_err_set(err, fd, "no memory for the figures: %s", strerror(-fd));
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        close(fd);
        return wedge_pool_err_set(err, -ENOMEM, "no memory for the figures");
    }
    pool->board = map;
    WEDGE_ATOMICS(map, bytes);
    pool->board_fd = fd;
    pool->board_fd_id = wedge_file_id_of(fd);
    fill_header(pool, pool->board, bytes, threads_at);
    atomic_store(&pool->board->magic, WEDGE_BOARD_MAGIC);
    return 0;
}

void wedge_pool_board_destroy(struct wedge_pool *pool)
{
    if (!pool->board)
        return;
    atomic_store(&pool->board->phase, WEDGE_POOL_ENDED); /* for whoever has it open from outside */
    if (wedge_file_id_holds(&pool->board_fd_id, pool->board_fd))
        close(pool->board_fd);
    munmap(pool->board, pool->board->bytes);
    pool->board = NULL;
}
