/* What the pool's tests share: a pool with settings, results counted by task, and proof that no process is left. */
#ifndef WEDGE_POOL_TESTS_UTIL_H
#define WEDGE_POOL_TESTS_UTIL_H

#include <stdint.h>
#include <sys/types.h>

#include <wedge/pool.h>

#define TEST_TASKS_MAX 4096

/* What came back; `times` by task id. Written by the collector, read after join; or by the test's own takes. */
struct tally {
    unsigned times[TEST_TASKS_MAX + 1];
    enum wedge_pool_outcome outcome[TEST_TASKS_MAX + 1];
    int code[TEST_TASKS_MAX + 1];
    unsigned outcomes[WEDGE_POOL_OUTCOMES];
    unsigned reported, wrong;
    /* For tasks that the test wants in hand or stuck; see tests. Each -1 unless used. */
    int say_fd, go_fd;
};

void tally_init(struct tally *tally);
/* Counts a result; an OK one must hold the square of its id. */
void tally_add(struct tally *tally, const struct wedge_pool_result *result);
/* Each of the tasks 1 to n was reported exactly once, and none was wrong. */
void tally_check_each_once(const struct tally *tally, unsigned n);

/* Makes a pool of a preset with settings (NULL-terminated); fails the test otherwise. */
struct wedge_pool *make_pool(const char *preset, const char *const *settings);
#define MAKE_POOL(preset, ...) make_pool(preset, (const char *const[]){__VA_ARGS__, NULL})

/* Callbacks: task squares its number (8 bytes), collect counts into the tally, which is the context. */
struct wedge_pool_callbacks square_callbacks(struct tally *tally);
int square_task(struct wedge_pool_task *task, void *context);
void tally_collect(const struct wedge_pool_result *result, void *context);

/* Puts the next number (it must become the task's id) without a deadline. */
void put_number(struct wedge_pool *pool, uint64_t number);
/* Takes until -ENODATA into the tally. */
void take_all(struct wedge_pool *pool, struct tally *tally);

/* Reads one byte or one pid from a pipe; fails the test after ten seconds (pace.h). */
char read_byte(int fd);
pid_t read_pid(int fd);
/* Waits until the pipe's every writer is gone; whether that was within `ms`. */
int closed_within(int fd, int ms);
/* Waits until the pipe has something to read, or every writer is gone; whether that was within `ms`. */
int closed_or_readable_within(int fd, int ms);
void make_pipe(int fds[2]);

/* Has the place of this name (<wedge/point.h>) in libwedge-pool call `handler`, in this process and those it forks from now
 * on; what it returns is the answer to a WEDGE_ASK. NULL: nothing. Fails the test when there is no such place. */
struct wedge_point;
void arm_place(const char *name, long (*handler)(struct wedge_point *point, long a, long b, long c));

/* The process has no child left, running or not. */
void check_no_child(void);

/* The number of the system call that a process's main thread, or a thread, is in; -1 it runs. */
long waits_in(pid_t tid);

#endif
