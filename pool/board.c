/* Making the board, and what its figures add up to (board.h). */
#include "pool/board.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
    pool->board_fd = fd;
    fill_header(pool, pool->board, bytes, threads_at);
    atomic_store(&pool->board->magic, WEDGE_BOARD_MAGIC);
    return 0;
}

void wedge_pool_board_destroy(struct wedge_pool *pool)
{
    if (!pool->board)
        return;
    close(pool->board_fd);
    munmap(pool->board, pool->board->bytes);
    pool->board = NULL;
}

uint64_t wedge_board_finished(struct wedge_board *board)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < board->processes; i++)
        for (uint32_t t = 1; t <= board->threads; t++)
            sum += atomic_load_explicit(&wedge_board_thread(board, i, t)->finished, memory_order_relaxed);
    return sum;
}

static uint64_t get64(const _Atomic uint64_t *figure)
{
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)figure, memory_order_relaxed);
}

/* a - b of two figures that were read one after the other: never below 0. */
static unsigned left(uint64_t a, uint64_t b)
{
    return a > b ? (unsigned)(a - b) : 0;
}

void wedge_board_stats(const struct wedge_board *board, struct wedge_pool_stats *ret)
{
    struct wedge_board *b = (struct wedge_board *)(uintptr_t)board; /* atomic_load wants it so; nothing is written */
    struct wedge_pool_stats stats = {
        .reported = get64(&b->reported), /* before accepted: what is reported was accepted */
        .finished = wedge_board_finished(b),
        .late = get64(&b->late),
        .dropped = get64(&b->dropped),
        .deaths = get64(&b->deaths),
        .replaced = get64(&b->replaced),
        .workers = b->processes,
        .queued = left(get64(&b->tasks_in), get64(&b->tasks_out)),
        .queue_high = atomic_load(&b->queue_high),
        .put_waits = get64(&b->put_waits),
        .put_wait_longest_ns = (int64_t)get64(&b->put_wait.longest_ns),
        .closed = atomic_load(&b->phase) >= WEDGE_POOL_CLOSING,
        .broken = atomic_load(&b->broken) != 0,
    };
    for (int i = WEDGE_POOL_OK; i < WEDGE_POOL_OUTCOMES; i++)
        stats.outcomes[i] = get64(&b->outcomes[i]);
    for (uint32_t i = 0; i < b->processes; i++) {
        stats.workers_alive += atomic_load(&wedge_board_seat(b, i)->pid) != 0;
        for (uint32_t t = 1; t <= b->threads; t++)
            stats.running += atomic_load(&wedge_board_thread(b, i, t)->doing) == WEDGE_DOING_TASK;
    }
    stats.results = b->hardened ? left(stats.finished + get64(&b->settled), stats.reported + stats.late)
                                : left(get64(&b->results_in), get64(&b->results_out));
    stats.accepted = get64(&b->accepted);
    *ret = stats;
}
