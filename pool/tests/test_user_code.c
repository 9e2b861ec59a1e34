/* <wedge/pool.h> with user code that ends what is not its own: its thread, its process in the middle of its work. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/tests/util.h"

static char last_death[256]; /* the text; written by the events' thread, read after destroy */

static void note_death(const struct wedge_pool_event *event, void *context)
{
    (void)context;
    if (event->kind == WEDGE_POOL_EVENT_DIED)
        snprintf(last_death, sizeof(last_death), "%s", event->text);
}

enum way { EXIT, UNDERSCORE_EXIT, PTHREAD_EXIT, REAL_TIME_SIGNAL, WAYS };
static const char *const way_texts[] = {"user code ended it", "user code ended it",
                                        "user code ended one of its threads", "(SIGRTMIN+2)"};
static enum way way;

static bool main_thread_ends; /* in the worker that does it */

/*
 * Asked by LeakSanitizer, where the build has it, before a process ends (sanitizer/lsan_interface.h). A main thread that has
 * ended takes along its stack, from which this process's copies of the pool and of Check's were reachable: they are found
 * as leaks, and the worker's status would be the sanitizer's.
 */
int __lsan_is_turned_off(void); /* NOLINT(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
__attribute__((visibility("default"))) int
__lsan_is_turned_off(void) /* NOLINT(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
{
    return main_thread_ends;
}

static void end_in_some_way(void)
{
    if (way == EXIT)
        exit(0);
    if (way == UNDERSCORE_EXIT)
        _exit(0);
    if (way == PTHREAD_EXIT) {
        main_thread_ends = gettid() == getpid();
        pthread_exit(NULL);
    }
    raise(SIGRTMIN + 2);
}

static int initializer_ends(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    end_in_some_way();
    return 0;
}

/* A worker that leaves with status 0 before it was to leave has died like any other: the breaker sees the crash loop. */
START_TEST(an_initializer_that_exits_is_a_crash_loop)
{
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2", "queue=4", "restart_limit=2");
    struct wedge_pool_callbacks callbacks = {.task = square_task, .event = note_death};
    struct wedge_pool_result result;
    struct wedge_pool_stats stats;
    uint64_t number = 1;
    int rc;
    way = (enum way)(_i / 2);
    if (_i % 2)
        callbacks.process_init = initializer_ends;
    else
        callbacks.thread_init = initializer_ends;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, number);
    rc = wedge_pool_take(pool, &result, NULL, 0, wedge_pool_after_ms(20000));
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(result.outcome, WEDGE_POOL_INIT_FAILED);
    ck_assert_int_eq(wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL), -ENOTRECOVERABLE);
    wedge_pool_stats(pool, &stats);
    ck_assert(stats.broken);
    ck_assert_uint_eq(stats.deaths, stats.replaced + 2);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    wedge_pool_destroy(pool);
    /* The main thread of a process that ends is the process's end. */
    bool whole_process = way == PTHREAD_EXIT && callbacks.process_init;
    ck_assert_msg(strstr(last_death, whole_process ? way_texts[EXIT] : way_texts[way]), "%s", last_death);
    check_no_child();
}
END_TEST

static int first_ends(struct wedge_pool_task *task, void *context)
{
    if (task->id == 1)
        end_in_some_way();
    return square_task(task, context);
}

/* Nothing else happens to the pool: it is not closed, and the task has no limit. */
START_TEST(a_task_that_ends_its_thread_is_lost)
{
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=2", "queue=4",
                                        _i < WAYS ? "workers=processes" : "workers=threads");
    struct wedge_pool_callbacks callbacks = {.task = first_ends, .event = note_death};
    struct wedge_pool_result result;
    struct wedge_pool_stats stats;
    uint64_t square = 0;
    way = _i < WAYS ? (enum way)_i : PTHREAD_EXIT;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    put_number(pool, 1);
    ck_assert_int_eq(wedge_pool_take(pool, &result, NULL, 0, wedge_pool_after_ms(20000)), 0);
    ck_assert_int_eq(result.outcome, WEDGE_POOL_LOST);
    put_number(pool, 2);
    ck_assert_int_eq(wedge_pool_take(pool, &result, &square, sizeof(square), wedge_pool_after_ms(20000)), 0);
    ck_assert_int_eq(result.outcome, WEDGE_POOL_OK);
    ck_assert_uint_eq(square, 4);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), 0);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.deaths, 1);
    ck_assert_uint_eq(stats.replaced, 1);
    wedge_pool_destroy(pool);
    ck_assert_msg(strstr(last_death, way_texts[way]), "%s", last_death);
    check_no_child();
}
END_TEST

/* As where an exec fails and the child returns what it would return to its caller. Comes back in both. */
static int forks(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0 && way == PTHREAD_EXIT)
        pthread_exit(NULL);
    if (pid == 0)
        return 1;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 87 ? 0 : 2;
}

static int initializer_forks(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    return forks();
}

static int task_forks(struct wedge_pool_task *task, void *context)
{
    int rc = forks();
    return rc ? rc : square_task(task, context);
}

START_TEST(what_a_task_forks_does_not_come_back)
{
    enum { N = 20 };
    static struct tally tally;
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2");
    struct wedge_pool_callbacks callbacks = {.task = task_forks, .event = note_death};
    struct wedge_pool_stats stats;
    tally_init(&tally);
    way = _i % 2 ? PTHREAD_EXIT : EXIT;
    if (_i / 2)
        callbacks.task = square_task, callbacks.thread_init = initializer_forks;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (uint64_t number = 1; number <= N; number++)
        put_number(pool, number);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    take_all(pool, &tally);
    tally_check_each_once(&tally, N);
    ck_assert_uint_eq(tally.outcomes[WEDGE_POOL_OK], N);
    ck_assert_int_eq(wedge_pool_join(pool, wedge_pool_after_ms(20000), NULL), 0);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.deaths, 0);
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

/* A terminal and a service manager signal the whole process group. The parent has a handler, set after start. */
static void ignore_signal(int signal)
{
    (void)signal;
}

START_TEST(a_signal_to_the_process_group_costs_the_workers_alone)
{
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    int signal = signals[_i];
    struct sigaction action = {.sa_handler = ignore_signal};
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=1");
    struct wedge_pool_callbacks callbacks = {.task = square_task};
    struct wedge_pool_stats stats;
    struct wedge_pool_result result;
    int64_t until_ns = wedge_pool_after_ms(20000);
    uint64_t square;
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    ck_assert_int_eq(setpgid(0, 0), 0);
    /* The workers': Check's own handler of SIGINT kills the whole group, the test too; and who started the test may have
     * the signal ignored or blocked. */
    sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    sigaction(signal, &action, NULL);
    put_number(pool, 1);
    ck_assert_int_eq(wedge_pool_take(pool, &result, &square, sizeof(square), until_ns), 0);
    ck_assert_int_eq(kill(0, signal), 0);
    do /* a task that one of them had taken as it died is lost */
        ck_assert_int_eq(wedge_pool_put(pool, &(uint64_t){2}, sizeof(uint64_t), until_ns, NULL), 0);
    while (wedge_pool_take(pool, &result, &square, sizeof(square), until_ns) == 0 && result.outcome == WEDGE_POOL_LOST);
    ck_assert_int_eq(result.outcome, WEDGE_POOL_OK);
    ck_assert_int_eq(wedge_pool_join(pool, until_ns, NULL), 0);
    wedge_pool_stats(pool, &stats);
    ck_assert(!stats.broken);
    ck_assert_uint_ge(stats.deaths, 1); /* it was told, and did not heed it */
    wedge_pool_destroy(pool);
    check_no_child();
}
END_TEST

enum { EVERY = -1, NO_SUCH = 77 };

/* The descriptors of this process, as bits. */
static uint64_t descriptors(void)
{
    uint64_t open = 0;
    for (int fd = 0; fd < 64; fd++)
        open |= (uint64_t)(fcntl(fd, F_GETFD) >= 0) << fd;
    return open;
}

/* Closes the nth of those that the pool has opened. False: there are not as many. */
static bool close_nth(uint64_t before, int n)
{
    uint64_t opened = descriptors() & ~before;
    for (; n > 0; n--)
        opened &= opened - 1;
    return opened != 0 && close(__builtin_ctzll(opened)) == 0;
}

/* In a process of its own: Check has descriptors too. What it says by its status: 0, or the step that failed. */
static int closes(const char *workers, int which)
{
    uint64_t before = descriptors();
    struct wedge_pool_callbacks callbacks = {.task = square_task};
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2", workers);
    struct wedge_pool_result result;
    struct wedge_pool_stats stats;
    int64_t until_ns = wedge_pool_after_ms(10000);
    uint64_t number = 1;
    int rc;
    if (wedge_pool_start(pool, &callbacks, NULL) < 0)
        return 1;
    if (wedge_pool_put(pool, &number, sizeof(number), until_ns, NULL) < 0 ||
        wedge_pool_take(pool, &result, NULL, 0, until_ns) < 0)
        return 2;
    if (which == EVERY)
        closefrom(3);
    else if (!close_nth(before, which))
        return NO_SUCH;
    do
        rc = wedge_pool_put(pool, &number, sizeof(number), until_ns, NULL);
    while (rc == 0 && wedge_pool_take(pool, &result, NULL, 0, until_ns) == 0);
    if (rc != -ENOTRECOVERABLE)
        return 3;
    if (wedge_pool_join(pool, until_ns, NULL) < 0)
        return 4;
    while (wedge_pool_take(pool, &result, NULL, 0, until_ns) == 0)
        ;
    wedge_pool_stats(pool, &stats);
    if (stats.accepted != stats.reported || !stats.broken)
        return 5;
    wedge_pool_destroy(pool);
    return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : 6;
}

static int status_of_closing(const char *workers, int which)
{
    int status;
    pid_t parent = fork();
    if (parent == 0) {
        alarm(30); /* what it is about: it would wait for ever */
        _exit(closes(workers, which));
    }
    ck_assert_int_eq(waitpid(parent, &status, 0), parent);
    ck_assert_msg(WIFEXITED(status), "descriptor %d: killed by signal %d", which, WTERMSIG(status));
    return WEXITSTATUS(status);
}

START_TEST(a_parent_that_closes_every_descriptor_breaks_the_pool)
{
    ck_assert_int_eq(status_of_closing(_i ? "workers=threads" : "workers=processes", EVERY), 0);
}
END_TEST

/* Each of them alone: a number that was closed twice, and was the pool's the second time. The first is the board's memory, for
 * readers outside: nothing depends on it. */
START_TEST(a_parent_that_closes_one_descriptor_breaks_the_pool)
{
    const char *workers = _i ? "workers=threads" : "workers=processes";
    int n = 1, status;
    for (; (status = status_of_closing(workers, n)) != NO_SUCH; n++)
        ck_assert_msg(status == 0, "descriptor %d: step %d", n, status);
    ck_assert_int_ge(
        n, _i ? 5 : 7); /* epoll set, timer, eventfd, one for each worker, of whom one has answered; the zygote's two */
}
END_TEST

/* The board's number is the caller's by the time of destroy. */
START_TEST(destroy_closes_no_file_of_others)
{
    uint64_t before = descriptors();
    struct wedge_pool *pool = MAKE_POOL(_i ? "proposed" : "hardened", "processes=1", "threads=1");
    struct wedge_pool_callbacks callbacks = {.task = square_task};
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    int fd = __builtin_ctzll(descriptors() & ~before);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(open("/dev/zero", O_RDONLY | O_CLOEXEC), fd);
    wedge_pool_destroy(pool);
    ck_assert_int_eq(close(fd), 0);
    check_no_child();
}
END_TEST

/* The supervisor notices what was closed while this one has its only result, and waits for it; how much of the processor does
 * that take? */
static void takes_seconds(const struct wedge_pool_result *result, void *context)
{
    (void)result;
    (void)context;
    poll(NULL, 0, 4000); /* it is what join waits for; the supervisor looks every two seconds */
}
static int waits_blindly(void)
{
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=1");
    struct wedge_pool_callbacks callbacks = {.task = square_task, .collect = takes_seconds};
    struct rusage used;
    uint64_t number = 1;
    if (wedge_pool_start(pool, &callbacks, NULL) < 0)
        return 1;
    if (wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, NULL) < 0)
        return 1;
    closefrom(3);
    if (wedge_pool_join(pool, wedge_pool_after_ms(20000), NULL) < 0)
        return 2;
    wedge_pool_destroy(pool);
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec > 0 || used.ru_utime.tv_usec + used.ru_stime.tv_usec > 400000
               ? 3
               : 0;
}

START_TEST(without_descriptors_it_does_not_spin)
{
    int status;
    pid_t parent = fork();
    if (parent == 0) {
        alarm(30);
        _exit(waits_blindly());
    }
    ck_assert_int_eq(waitpid(parent, &status, 0), parent);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* What the kernel does of itself where a process changes its user: the order to die with its parent is gone. */
static int said[2];

static int say_and_wait(int wait)
{
    pid_t pid = getpid();
    int rc = write(said[1], &pid, sizeof(pid)) == sizeof(pid) ? 0 : 1;
    while (rc == 0 && wait)
        pause();
    return rc;
}

static int init_takes_the_order_back(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    return prctl(PR_SET_PDEATHSIG, 0);
}

static int says_and_is_stuck(struct wedge_pool_task *task, void *context)
{
    (void)task;
    (void)context;
    return say_and_wait(1);
}

/* As a change of the user in a task does: in every thread. */
static int takes_the_order_back_in_a_task(struct wedge_pool_task *task, void *context)
{
    (void)task;
    (void)context;
    if (geteuid() != 0 || setresuid(65534, 65534, 65534) < 0) /* not root: it stays as it is, and so does the order */
        errno = 0;
    return say_and_wait(0);
}

START_TEST(a_worker_that_changed_its_user_dies_with_the_parent)
{
    make_pipe(said);
    pid_t parent = fork();
    if (parent == 0) {
        struct wedge_pool *pool = MAKE_POOL("hardened", "processes=1", "threads=1");
        struct wedge_pool_callbacks callbacks = {.task = says_and_is_stuck, .process_init = init_takes_the_order_back};
        if (_i)
            callbacks = (struct wedge_pool_callbacks){.task = takes_the_order_back_in_a_task};
        if (wedge_pool_start(pool, &callbacks, NULL) < 0)
            _exit(1);
        put_number(pool, 1);
        pause();
    }
    read_pid(said[0]);
    close(said[1]);
    ck_assert_int_eq(kill(parent, SIGKILL), 0);
    ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
    ck_assert(closed_within(said[0], 10000));
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_loop_test(t, an_initializer_that_exits_is_a_crash_loop, 0, 2 * WAYS);
    tcase_add_loop_test(t, a_task_that_ends_its_thread_is_lost, 0, WAYS + 1);
    tcase_add_loop_test(t, what_a_task_forks_does_not_come_back, 0, 4);
    tcase_add_loop_test(t, a_signal_to_the_process_group_costs_the_workers_alone, 0, 3);
    tcase_add_loop_test(t, a_parent_that_closes_every_descriptor_breaks_the_pool, 0, 2);
    tcase_add_loop_test(t, a_parent_that_closes_one_descriptor_breaks_the_pool, 0, 2);
    tcase_add_loop_test(t, destroy_closes_no_file_of_others, 0, 2);
    tcase_add_test(t, without_descriptors_it_does_not_spin);
    tcase_add_loop_test(t, a_worker_that_changed_its_user_dies_with_the_parent, 0, 2);
}

int main(void)
{
    return wedge_test_main("user_code", 40, fill);
}
