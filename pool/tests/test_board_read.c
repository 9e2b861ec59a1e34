/* Reading boards from outside: those of real pools, by each process of theirs, and those that somebody made up. */
#include "pool/board_read.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/figures.h"
#include "pool/tests/util.h"

enum { PROCESSES = 2, THREADS = 3 };
static const size_t threads_at = sizeof(struct wedge_board) + PROCESSES * sizeof(struct wedge_board_seat);
static const size_t whole = sizeof(struct wedge_board) + PROCESSES * sizeof(struct wedge_board_seat) +
                            PROCESSES * (THREADS + 1) * sizeof(struct wedge_board_thread);

/* A board as a pool of this version makes it, writable by the test. */
static struct wedge_board *make_file(const char *name, size_t bytes, int *ret_fd)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
    struct wedge_board *board = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(board, MAP_FAILED);
    *ret_fd = fd;
    return board;
}

static void fill_board(struct wedge_board *board)
{
    board->version = WEDGE_BOARD_VERSION;
    board->bytes_of_header = sizeof(*board);
    board->bytes_of_seat = sizeof(struct wedge_board_seat);
    board->bytes_of_thread = sizeof(struct wedge_board_thread);
    board->bytes = whole;
    board->seats_at = sizeof(*board);
    board->threads_at = threads_at;
    board->parent_pid = getpid();
    board->processes = PROCESSES;
    board->threads = THREADS;
    board->queue = 10;
    memcpy(board->name, "made-up", 8);
    atomic_store(&board->magic, WEDGE_BOARD_MAGIC);
}

static struct wedge_board_source find_one(pid_t pid)
{
    struct wedge_board_source sources[4];
    struct wedge_err err = {0};
    int n = wedge_boards_find(pid, sources, 4, &err);
    ck_assert_msg(n == 1, "%d: %s", n, err.message);
    return sources[0];
}

/* What makes a board none. A member by its offset, of 4 or 8 bytes. */
#define BAD(member, value)                                                                                             \
    {                                                                                                                  \
#member " " #value, offsetof(struct wedge_board, member), sizeof(((struct wedge_board *)0)->member),           \
            (uint64_t)(value)                                                                                          \
    }
static const struct {
    const char *what;
    size_t offset, size;
    uint64_t value;
} bad[] = {
    BAD(magic, 0),           BAD(magic, WEDGE_BOARD_MAGIC + 1),
    BAD(version, 0),         BAD(version, WEDGE_BOARD_VERSION + 1),
    BAD(bytes_of_header, 0), BAD(bytes_of_header, 64),
    BAD(bytes_of_seat, 1),   BAD(bytes_of_thread, UINT32_MAX),
    BAD(bytes, 0),           BAD(bytes, UINT64_MAX),
    BAD(seats_at, 0),        BAD(seats_at, UINT64_MAX - 7),
    BAD(threads_at, 8),      BAD(threads_at, UINT64_MAX),
    BAD(processes, 0),       BAD(processes, 1),
    BAD(processes, 257),     BAD(processes, UINT32_MAX),
    BAD(threads, 0),         BAD(threads, 4),
    BAD(threads, 65),        BAD(threads, UINT32_MAX),
};
#undef BAD

START_TEST(board_that_is_none_is_refused)
{
    struct wedge_err err = {0};
    struct wedge_board *copy = NULL;
    int fd;
    struct wedge_board *board = make_file("wedge-pool:bad", whole, &fd);
    fill_board(board);
    struct wedge_board_source source = find_one(getpid());
    ck_assert_int_eq(wedge_board_read(&source, &copy, &err), 0);
    ck_assert_str_eq(copy->name, "made-up");
    memcpy((char *)board + bad[_i].offset, &bad[_i].value, bad[_i].size);
    struct wedge_board *before = copy;
    ck_assert_msg(wedge_board_read(&source, &copy, &err) == -EPROTO, "%s was taken", bad[_i].what);
    ck_assert_ptr_eq(copy, before); /* what was read before stays */
    ck_assert_int_ne(err.message[0], 0);
    free(copy);
    wedge_board_source_close(&source);
}
END_TEST

START_TEST(board_of_another_size_is_refused)
{
    const size_t sizes[] = {
        0, 1, sizeof(struct wedge_board) - 1, sizeof(struct wedge_board), whole - 64, whole + 64, 1ull << 40};
    struct wedge_err err = {0};
    struct wedge_board *copy = NULL;
    int fd;
    struct wedge_board *board = make_file("wedge-pool:size", whole, &fd);
    fill_board(board);
    struct wedge_board_source source = find_one(getpid());
    ck_assert_int_eq(ftruncate(fd, (off_t)sizes[_i]),
                     0); /* nothing is sealed: a reader that mapped it would get SIGBUS */
    ck_assert_int_eq(wedge_board_read(&source, &copy, &err), -EPROTO);
    ck_assert_ptr_null(copy);
    wedge_board_source_close(&source);
}
END_TEST

/* Whatever stands in the rest is shown as something; with ASan this also says that nothing outside is read. */
START_TEST(board_of_noise_is_read_without_harm)
{
    struct wedge_err err = {0};
    struct wedge_board *copy = NULL;
    struct wedge_figures figures;
    int fd;
    struct wedge_board *board = make_file("wedge-pool:noise", whole, &fd);
    srand48(7);
    struct wedge_board_source source = {.fd = fd};
    int read = 0;
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < whole; i += 8) {
            uint64_t noise = (uint64_t)mrand48() << 32 ^ (uint64_t)mrand48();
            memcpy((char *)board + i, &noise, round % 3 ? 8 : 1);
        }
        fill_board(board);
        if (round % 2) /* a hole in the header, anywhere */
            ((char *)board)[lrand48() % 128] ^= (char)(1 << lrand48() % 8);
        memset(board->name, 'x', sizeof(board->name)); /* no end */
        if (wedge_board_read(&source, &copy, &err) < 0)
            continue;
        read++;
        wedge_board_figures(copy, &figures);
        ck_assert_uint_eq(strlen(copy->name), sizeof(copy->name) - 1);
        ck_assert_uint_le(figures.stats.workers_alive, PROCESSES);
        wedge_board_parent(&source, copy);
        for (uint32_t i = 0; i < copy->processes; i++)
            for (uint32_t t = 0; t <= copy->threads; t++) {
                struct wedge_board_activity does;
                wedge_board_activity(wedge_board_thread(copy, i, t), &does);
                ck_assert_ptr_nonnull(wedge_doing_name(does.doing));
            }
    }
    ck_assert_int_ge(read, 150);
    free(copy);
}
END_TEST

START_TEST(files_that_are_no_boards_are_not_opened)
{
    struct wedge_board_source sources[2];
    struct wedge_err err = {0};
    int fd = memfd_create("wedge-poo:l", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(wedge_boards_find(getpid(), sources, 2, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.remedy, "wedge pool"));
}
END_TEST

START_TEST(process_that_is_not_there)
{
    struct wedge_board_source source;
    struct wedge_err err = {0};
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(wedge_boards_find(pid, &source, 1, &err), -ESRCH);
    ck_assert_ptr_nonnull(strstr(err.message, "there is no process"));
}
END_TEST

/* Root reads everybody; a test that runs as root becomes someone else. */
START_TEST(process_of_someone_else)
{
    struct wedge_board_source source;
    struct wedge_err err = {0};
    pid_t target = getpid(), pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(3);
        int rc = wedge_boards_find(geteuid() == 65534 ? target : 1, &source, 1, &err);
        _exit(rc == -EACCES && strstr(err.remedy, "root") ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

enum { READS = 20000 };

/* A pool at its fastest: each task is accepted and then finished, by the last thread on the board. */
static _Noreturn void count_for_ever(struct wedge_board *board)
{
    struct wedge_board_thread *thread = wedge_board_thread(board, PROCESSES - 1, THREADS);
    for (;;) {
        atomic_fetch_add(&board->accepted, 1);
        atomic_fetch_add(&thread->finished, 1);
    }
}

/* The figures are copied one after the other while the pool goes on; none of what is finished was never accepted. */
START_TEST(what_is_finished_was_accepted)
{
    struct wedge_board_source source = {0};
    struct wedge_board *copy = NULL;
    struct wedge_figures figures = {0};
    struct wedge_err err = {0};
    unsigned wrong = 0;
    struct wedge_board *board = make_file("wedge-pool-1", whole, &source.fd);
    fill_board(board);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        count_for_ever(board);
    for (int i = 0; i < READS; i++) {
        ck_assert_int_eq(wedge_board_read(&source, &copy, &err), 0);
        wedge_board_figures(copy, &figures);
        wrong += figures.stats.finished > figures.stats.accepted;
    }
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_gt(figures.stats.finished, 0); /* it was counted meanwhile */
    free(copy);
    close(source.fd);
    munmap(board, whole);
}
END_TEST

/* Tells its worker's pid, then waits to be let go. */
static int hold_task(struct wedge_pool_task *task, void *context)
{
    const struct tally *tally = context;
    pid_t pid = getpid();
    char byte;
    (void)task;
    if (write(tally->say_fd, &pid, sizeof(pid)) != sizeof(pid))
        return EIO;
    return read(tally->go_fd, &byte, 1) == 1 ? 0 : EIO;
}

static void check_in_step(const struct wedge_pool *pool, const struct wedge_board *board)
{
    struct wedge_pool_stats inside;
    struct wedge_figures outside;
    wedge_pool_stats(pool, &inside);
    wedge_board_figures(board, &outside);
    ck_assert_uint_eq(inside.accepted, outside.stats.accepted);
    ck_assert_uint_eq(inside.finished, outside.stats.finished);
    ck_assert_uint_eq(inside.reported, outside.stats.reported);
    ck_assert_uint_eq(inside.running, outside.stats.running);
    ck_assert_uint_eq(inside.queued, outside.stats.queued);
    ck_assert_uint_eq(inside.results, outside.stats.results);
    ck_assert_uint_eq(inside.workers_alive, outside.stats.workers_alive);
    ck_assert_int_eq(memcmp(inside.outcomes, outside.stats.outcomes, sizeof(inside.outcomes)), 0);
}

static const char *const presets[] = {"hardened", "reported"};

/* One worker of one thread with a task in hand and two more queued: a quiet point, at which all figures are known. */
START_TEST(pool_is_read_from_outside)
{
    struct tally tally;
    struct wedge_err err = {0};
    struct wedge_board *board = NULL;
    struct wedge_figures figures;
    struct wedge_board_activity does;
    int say[2], go[2];
    tally_init(&tally);
    make_pipe(say);
    make_pipe(go);
    tally.say_fd = say[1];
    tally.go_fd = go[0];
    struct wedge_pool *pool = MAKE_POOL(presets[_i], "processes=1", "threads=1", "name=outside");
    struct wedge_pool_callbacks callbacks = {.task = hold_task, .context = &tally};
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(wedge_pool_put(pool, "x", 1, WEDGE_POOL_NEVER, NULL), 0);
    pid_t worker = read_pid(say[0]);
    struct wedge_board_source source = find_one(getpid()), same = find_one(worker);
    ck_assert(source.ino == same.ino && source.dev == same.dev);
    wedge_board_source_close(&same);
    ck_assert_int_eq(wedge_board_read(&source, &board, &err), 0);
    wedge_board_figures(board, &figures);
    ck_assert_str_eq(board->name, "outside");
    ck_assert_str_eq(board->preset, presets[_i]);
    ck_assert_int_eq(board->parent_pid, getpid());
    ck_assert_uint_eq(figures.stats.accepted, 3);
    ck_assert_uint_eq(figures.stats.running, 1);
    ck_assert_uint_eq(figures.stats.queued, 2);
    ck_assert_uint_eq(figures.stats.workers_alive, 1);
    ck_assert_int_eq(atomic_load(&wedge_board_seat(board, 0)->pid), worker);
    wedge_board_activity(wedge_board_thread(board, 0, 1), &does);
    ck_assert(does.doing == WEDGE_DOING_TASK && does.task == 1 && does.since_ns > board->created_ns);
    check_in_step(pool, board);
    ck_assert_int_eq(wedge_board_parent(&source, board), getpid());
    ck_assert_int_eq(write(go[1], "ggg", 3), 3);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    take_all(pool, &tally);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    ck_assert_int_eq(wedge_board_read(&source, &board, &err), 0);
    wedge_board_figures(board, &figures);
    ck_assert_uint_eq(figures.stats.finished, 3);
    ck_assert_uint_eq(figures.run.count, 3);
    ck_assert_uint_gt(figures.run.longest_ns, 0);
    ck_assert_double_eq(figures.share_finished, 1);
    check_in_step(pool, board);
    wedge_pool_destroy(pool); /* what is open stays readable, and says so */
    ck_assert_int_eq(wedge_board_read(&source, &board, &err), 0);
    ck_assert_uint_eq(atomic_load(&board->phase), WEDGE_POOL_ENDED);
    wedge_board_source_close(&source);
    ck_assert_int_eq(wedge_boards_find(getpid(), &same, 1, &err), -ENOENT);
    free(board);
    check_no_child();
}
END_TEST

START_TEST(several_pools_of_one_process_are_all_found)
{
    struct tally tally;
    struct wedge_board_source sources[8], all[64];
    struct wedge_err err = {0};
    struct wedge_pool *pools[3];
    const char *const names[] = {"name=one", "name=two", "name=three"};
    tally_init(&tally);
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    for (int i = 0; i < 3; i++) {
        pools[i] = MAKE_POOL("hardened", "processes=1", names[i]);
        ck_assert_int_eq(wedge_pool_start(pools[i], &callbacks, NULL), 0);
    }
    ck_assert_int_eq(wedge_boards_find(getpid(), sources, 8, &err), 3);
    for (int i = 0; i < 3; i++) {
        struct wedge_board *board = NULL;
        ck_assert_int_eq(wedge_board_read(&sources[i], &board, &err), 0);
        ck_assert_str_eq(board->name, names[i] + 5);
        free(board);
        wedge_board_source_close(&sources[i]);
    }
    ck_assert_int_eq(wedge_boards_find(getpid(), sources, 2, &err), 2); /* no more than there is room for */
    wedge_board_source_close(&sources[0]);
    wedge_board_source_close(&sources[1]);
    int n = wedge_boards_find_all(all, 64, &err), mine = 0; /* others may run pools now */
    for (int i = 0; i < n; i++) {
        struct wedge_board *board = NULL;
        if (wedge_board_read(&all[i], &board, &err) == 0)
            mine += board->parent_pid == getpid();
        free(board);
        wedge_board_source_close(&all[i]);
    }
    ck_assert(mine == 3 || n == 64);
    for (int i = 0; i < 3; i++)
        wedge_pool_destroy(pools[i]);
}
END_TEST

/* Runs a pool until the pipe is closed; says when it is there. */
static _Noreturn void run_contained_pool(int say, int go)
{
    struct tally tally;
    char byte;
    tally_init(&tally);
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1");
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    int rc = wedge_pool_start(pool, &callbacks, NULL);
    if (write(say, rc == 0 ? "+" : "-", 1) == 1 && read(go, &byte, 1) >= 0)
        wedge_pool_destroy(pool);
    _exit(0);
}

/* A parent that is number 1 in its own namespace of numbers, as in a container: found, and known to live. A process between
 * makes the namespace: whoever has done that cannot be checked for leaks. */
START_TEST(pool_in_a_container)
{
    struct wedge_err err = {0};
    struct wedge_board *board = NULL;
    int say[2], go[2], number[2];
    make_pipe(say);
    make_pipe(go);
    make_pipe(number);
    pid_t between = fork(), parent;
    ck_assert_int_ge(between, 0);
    if (between == 0) {
        close(go[1]);
        parent = unshare(CLONE_NEWPID) == 0 ? fork() : -1;
        if (parent == 0)
            run_contained_pool(say[1], go[0]);
        if (write(number[1], &parent, sizeof(parent)) == (ssize_t)sizeof(parent) && parent > 0)
            waitpid(parent, NULL, 0);
        _exit(0);
    }
    parent = read_pid(number[0]);
    if (parent < 0)
        return; /* only root may */
    ck_assert_int_eq(read_byte(say[0]), '+');
    struct wedge_board_source source = find_one(parent);
    ck_assert_int_eq(wedge_board_read(&source, &board, &err), 0);
    ck_assert_int_eq(board->parent_pid, 1);
    ck_assert_int_eq(wedge_board_parent(&source, board), parent);
    close(go[1]);
    ck_assert_int_eq(waitpid(between, NULL, 0), between);
    ck_assert_int_eq(wedge_board_read(&source, &board, &err), 0);
    ck_assert_uint_eq(atomic_load(&board->phase), WEDGE_POOL_ENDED);
    ck_assert_int_eq(wedge_board_parent(&source, board), 0);
    wedge_board_source_close(&source);
    free(board);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, board_that_is_none_is_refused, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_loop_test(tcase, board_of_another_size_is_refused, 0, 7);
    tcase_add_test(tcase, board_of_noise_is_read_without_harm);
    tcase_add_test(tcase, files_that_are_no_boards_are_not_opened);
    tcase_add_test(tcase, process_that_is_not_there);
    tcase_add_test(tcase, process_of_someone_else);
    tcase_add_test(tcase, what_is_finished_was_accepted);
    tcase_add_loop_test(tcase, pool_is_read_from_outside, 0, 2);
    tcase_add_test(tcase, pool_in_a_container);
    tcase_add_test(tcase, several_pools_of_one_process_are_all_found);
}

int main(void)
{
    return wedge_test_main("board_read", 30, fill);
}
