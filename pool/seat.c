/* Seats and the processes in them (seat.h). */
#include "pool/seat.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/events.h"

void wedge_seat_init(struct wedge_pool_seat *seat)
{
    *seat = (struct wedge_pool_seat){.pidfd = -1};
}

void wedge_seat_prepare(struct wedge_pool *pool, uint32_t index)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    if (seat->started_once) {
        seat->generation++;
        atomic_fetch_add(&pool->board->replaced, 1);
    }
    seat->started_once = true;
    seat->condemned = seat->unwatched = seat->excused = seat->owed = false;
    seat->suspected_ns = seat->done_ns = seat->term_ns = 0;
    seat->started_ns = wedge_clock_ns();
    atomic_store(&wedge_board_seat(pool->board, index)->generation, seat->generation);
    atomic_store(&wedge_board_seat(pool->board, index)->drain_ns, 0);
    atomic_store(&wedge_board_seat(pool->board, index)->status, WEDGE_POOL_EXIT_ORDERLY);
    atomic_store(&wedge_board_seat(pool->board, index)->started_ns, seat->started_ns);
    atomic_store(&wedge_board_seat(pool->board, index)->threads_ready, 0);
    for (int64_t i = 0; i <= pool->settings.threads; i++) {
        wedge_board_does(wedge_board_thread(pool->board, index, (uint32_t)i), WEDGE_DOING_NOTHING, 0, WEDGE_POOL_NEVER,
                         0);
    }
    atomic_store(&wedge_board_seat(pool->board, index)->stage, WEDGE_POOL_STARTING);
}

void wedge_seat_sit(struct wedge_pool *pool, uint32_t index, pid_t pid, int pidfd)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    seat->pid = pid;
    seat->pidfd = pidfd;
    seat->pidfd_id = wedge_file_id_of(pidfd);
    atomic_store(&wedge_board_seat(pool->board, index)->pid, pid);
}

int wedge_seat_take(struct wedge_pool *pool, uint32_t index, pid_t pid)
{
    int fd = pidfd_open(pid, 0); /* close-on-exec by itself (pidfd_open(2)) */
    if (fd < 0)
        return -errno;
    wedge_seat_sit(pool, index, pid, fd);
    return 0;
}

bool wedge_seat_alive(const struct wedge_pool *pool, uint32_t index)
{
    const struct wedge_pool_seat *seat = &pool->seats[index];
    struct pollfd pfd = {.fd = seat->pidfd, .events = POLLIN};
    if (seat->pid == 0)
        return false;
    int n = poll(&pfd, 1, 0);
    if (n < 0) /* no memory for it (poll(2)), say */
        return pool->settings.hardened || pool->settings.ask_error == WEDGE_POOL_ASK_ERROR_ALIVE;
    /* A number that somebody has closed says nothing, and dead is only who is said to be. */
    return n == 0 || (pfd.revents & POLLNVAL);
}

void wedge_seat_signal(const struct wedge_pool_seat *seat, int signal)
{
    if (seat->pid != 0)
        pidfd_send_signal(seat->pidfd, signal, NULL, 0);
}

void wedge_seat_kill(const struct wedge_pool_seat *seat)
{
    wedge_seat_signal(seat, SIGKILL);
}

void wedge_seat_clear(struct wedge_pool *pool, uint32_t index)
{
    struct wedge_pool_seat *seat = &pool->seats[index];
    atomic_store(&wedge_board_seat(pool->board, index)->pid, 0);
    if (seat->pidfd >= 0)
        close(seat->pidfd);
    seat->pidfd = -1;
    seat->pid = 0;
}

static const char *exit_in_words(int status)
{
    switch (status) {
    case WEDGE_POOL_EXIT_INIT:
        return ", an initializer failed";
    case WEDGE_POOL_EXIT_SYSTEM:
        return ", a thread or memory could not be had";
    case WEDGE_POOL_EXIT_ORPHAN:
        return ", its parent was gone";
    case WEDGE_POOL_EXIT_STOP:
        return ", not to be started again";
    case WEDGE_POOL_EXIT_UNWELL:
        return ", a task said that it is not well";
    case WEDGE_POOL_EXIT_THREAD:
        return ", user code ended one of its threads (pthread_exit?)";
    case WEDGE_POOL_EXIT_ORDERLY:
        return ", before it was to leave: user code ended it (exit?)";
    default:
        return "";
    }
}

bool wedge_seat_left_in_order(struct wedge_pool *pool, uint32_t index, int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == WEDGE_POOL_EXIT_ORDERLY &&
           atomic_load(&wedge_board_seat(pool->board, index)->stage) == WEDGE_POOL_LEAVING;
}

/* "9 (SIGKILL)"; a real-time signal has no such name. */
static void name_signal(int signal, char *ret, size_t bytes)
{
    const char *abbreviation = sigabbrev_np(signal);
    if (abbreviation)
        snprintf(ret, bytes, "%d (SIG%s)", signal, abbreviation);
    else
        snprintf(ret, bytes, "%d (SIGRTMIN+%d)", signal, signal - SIGRTMIN);
}

void wedge_seat_tell_end(struct wedge_pool *pool, uint32_t index, int status)
{
    uint32_t generation = pool->seats[index].generation;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    char signal[32];
    name_signal(WIFSIGNALED(status) ? WTERMSIG(status) : 0, signal, sizeof(signal));
    if (WIFSIGNALED(status))
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_DIED, index + 1, generation, "killed by signal %s", signal);
    else if (!WIFEXITED(status))
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_DIED, index + 1, generation, "gone, nobody knows how");
    else if (wedge_seat_left_in_order(pool, index, status))
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_LEFT, index + 1, generation, "left in order");
    else
        wedge_pool_tell(pool, WEDGE_POOL_EVENT_DIED, index + 1, generation, "exit status %d%s", code,
                        exit_in_words(code));
}

int64_t wedge_seat_start_limit_ns(struct wedge_pool *pool, uint32_t index)
{
    const struct wedge_pool_seat *seat = &pool->seats[index];
    int64_t limit_ms = pool->settings.start_limit_ms;
    if (seat->pid == 0 || limit_ms < 0 ||
        atomic_load(&wedge_board_seat(pool->board, index)->stage) != WEDGE_POOL_STARTING)
        return WEDGE_POOL_NEVER;
    return seat->started_ns + limit_ms * WEDGE_NS_PER_MS;
}

int64_t wedge_seat_final_limit_ns(struct wedge_pool *pool, uint32_t index)
{
    int64_t limit_ms = pool->settings.final_limit_ms, first_ns = WEDGE_POOL_NEVER;
    for (uint32_t t = 0; limit_ms >= 0 && t <= pool->settings.threads; t++) {
        struct wedge_board_thread *thread = wedge_board_thread(pool->board, index, t);
        int64_t since_ns = atomic_load(&thread->since_ns);
        bool does = atomic_load(&thread->doing) == WEDGE_DOING_FINAL && atomic_load(&thread->since_ns) == since_ns;
        if (does)
            first_ns = wedge_pool_earlier(first_ns, since_ns + limit_ms * WEDGE_NS_PER_MS);
    }
    return first_ns;
}
