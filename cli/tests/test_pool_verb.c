/*
 * `wedge pool` from outside: this program runs a pool and has the real wedge (WEDGE_BIN) look at it. With WEDGE_POOL_LOAD set it
 * also measures that being looked at costs a busy pool nothing that shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wedge/pool.h>

#include "base/clock.h"
#include "base/tests/suite.h"

enum { MOST_ARGS = 8, MOST_OUTPUT = 1 << 18 };

struct said {
    int status; /* exit status; 128 + the signal that ended it */
    char text[MOST_OUTPUT]; /* both streams, or what the terminal got */
    size_t len;
};
static struct said said;

/* A running wedge and where its output comes from. */
struct run {
    pid_t pid;
    int fd;
};

static const char *wedge_bin(void)
{
    const char *path = getenv("WEDGE_BIN");
    return path ? path : "(WEDGE_BIN is not set: run this by ctest)";
}

static _Noreturn void exec_wedge(const char *const *args)
{
    const char *argv[MOST_ARGS + 3] = {wedge_bin(), "pool"};
    for (int i = 0; args[i]; i++)
        argv[i + 2] = args[i];
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static struct run start(const char *const *args, void (*before)(void))
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(fds[1], 1);
        dup2(fds[1], 2);
        close(fds[0]);
        close(fds[1]);
        if (before)
            before();
        exec_wedge(args);
    }
    close(fds[1]);
    return (struct run){.pid = pid, .fd = fds[0]};
}

/* Reads on until `text` was said, or (NULL) until the end. False: the end came first. */
static bool read_until(const struct run *run, const char *text)
{
    while (!text || !strstr(said.text, text)) {
        struct pollfd pfd = {.fd = run->fd, .events = POLLIN};
        ck_assert_msg(poll(&pfd, 1, 20000) == 1, "nothing more is said; so far: %s", said.text);
        ssize_t n = read(run->fd, said.text + said.len, sizeof(said.text) - 1 - said.len);
        if (n <= 0) /* EIO: a terminal whose program has ended */
            return false;
        said.len += (size_t)n;
        said.text[said.len] = '\0';
    }
    return true;
}

static void finish(const struct run *run)
{
    int status;
    read_until(run, NULL);
    close(run->fd);
    ck_assert_int_eq(waitpid(run->pid, &status, 0), run->pid);
    said.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void forget(void)
{
    said.len = 0;
    said.text[0] = '\0';
}

#define WEDGE_POOL(...) wedge_pool((const char *const[]){__VA_ARGS__, NULL}, NULL)
static void wedge_pool(const char *const *args, void (*before)(void))
{
    forget();
    struct run run = start(args, before);
    finish(&run);
}

static void check_says(const char *text)
{
    ck_assert_msg(strstr(said.text, text), "'%s' is not in: %s", text, said.text);
}

/* A pool at a quiet point: one worker with two threads, one task in hand in each, three queued of a queue of six. */
struct held {
    struct wedge_pool *pool;
    int say[2], go[2];
    pid_t worker;
    char self[16], worker_text[16];
};

static int hold_task(struct wedge_pool_task *task, void *context)
{
    const struct held *held = context;
    pid_t pid = getpid();
    char byte;
    (void)task;
    if (write(held->say[1], &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
        return EIO;
    return read(held->go[0], &byte, 1) == 1 ? 0 : EIO;
}

static void hold_pool_of(struct held *held, const char *threads, int in_hand)
{
    const char *const settings[] = {"processes=1", threads, "queue=6", "name=held", "task_limit=3600000"};
    struct wedge_pool_callbacks callbacks = {.task = hold_task, .context = held};
    ck_assert_int_eq(pipe(held->say) | pipe(held->go), 0);
    ck_assert_int_eq(wedge_pool_create(NULL, &held->pool, NULL), 0);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        ck_assert_int_eq(wedge_pool_set(held->pool, settings[i], NULL), 0);
    ck_assert_int_eq(wedge_pool_start(held->pool, &callbacks, NULL), 0);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(wedge_pool_put(held->pool, "x", 1, WEDGE_POOL_NEVER, NULL), 0);
    for (int i = 0; i < in_hand; i++)
        ck_assert_int_eq(read(held->say[0], &held->worker, sizeof(pid_t)), (ssize_t)sizeof(pid_t));
    snprintf(held->self, sizeof(held->self), "%d", (int)getpid());
    snprintf(held->worker_text, sizeof(held->worker_text), "%d", (int)held->worker);
}

static void hold_pool(struct held *held)
{
    hold_pool_of(held, "threads=2", 2);
}

static void let_go(struct held *held)
{
    ck_assert_int_eq(write(held->go[1], "ggggg", 5), 5);
    wedge_pool_destroy(held->pool);
}

static const struct {
    const char *args[MOST_ARGS];
    int status;
    const char *says;
} misuses[] = {
    {{"x"}, 2, "'x' is not a process number"},
    {{"0"}, 2, "'0' is not a process number"},
    {{"-5"}, 2, ""},
    {{"1", "2"}, 2, "one process at a time"},
    {{"--watch"}, 2, "--watch needs a process"},
    {{"--watch=0", "1"}, 2, "--watch takes a duration"},
    {{"--watch=soon", "1"}, 2, "--watch takes a duration"},
    {{"--json", "--openmetrics"}, 2, "exclude each other"},
    {{"--watch", "--json", "1"}, 2, "exclude each other"},
    {{"--all"}, 2, "--all is for the page of a process"},
    {{"--all", "--json", "1"}, 2, "--all is for the page of a process"},
    {{"--bogus"}, 2, "unrecognized option"},
    {{"999999999"}, 3, "there is no process 999999999; `wedge pool` without a number lists"},
    {{"1"}, 3, ""}, /* no pool, or not permitted */
};

START_TEST(misuse_is_told)
{
    wedge_pool(misuses[_i].args, NULL);
    ck_assert_msg(said.status == misuses[_i].status, "status %d, not %d: %s", said.status, misuses[_i].status,
                  said.text);
    check_says(misuses[_i].says);
}
END_TEST

/* No line is longer than a terminal is wide. */
static void check_width(void)
{
    for (const char *line = said.text; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n'))
        ck_assert_msg(strcspn(line, "\n") <= 80, "a line of %zu: %.120s", strcspn(line, "\n"), line);
}

START_TEST(page_says_the_figures)
{
    static struct held held;
    hold_pool(&held);
    WEDGE_POOL(_i ? held.worker_text : held.self);
    ck_assert_int_eq(said.status, 0);
    check_says("Pool held (hardened) of process ");
    check_says(": running\n");
    check_says("5 accepted, 0 finished (0.0 %), 0 reported");
    check_says("[##########..........] 3 of 6");
    check_says("2 of 2 threads");
    check_says("1 of 1 alive");
    check_says("none, the program takes the results");
    check_says("w1.t1 ");
    check_says("w1.t2 ");
    check_says(" task 1 for ");
    check_says(" task 2 for ");
    check_says(" of 1.0 h\n");
    ck_assert_ptr_null(strchr(said.text, '\033'));
    check_width();
    WEDGE_POOL("--color=always", held.self);
    ck_assert_ptr_nonnull(strchr(said.text, '\033'));
    WEDGE_POOL("--openmetrics", held.self);
    check_says("wedge_pool_tasks_running{pool=\"held\",pid=\"");
    ck_assert_str_eq(said.text + said.len - 6, "# EOF\n");
    WEDGE_POOL("--json", held.self);
    check_says("\"schema\": \"wedge.pool/1\"");
    check_says("\"accepted\": 5");
    check_says("\"limit_ns\": 3600000000000");
    WEDGE_POOL("-q");
    ck_assert_int_eq(said.status, 0);
    check_says(held.self);
    check_width();
    let_go(&held);
}
END_TEST

static int times_said(const char *text)
{
    int n = 0;
    for (const char *at = said.text; (at = strstr(at, text)); at++)
        n++;
    return n;
}

/* A page is a page, however many threads there are: those that do something come first, the others are counted. */
START_TEST(a_large_pool_is_folded)
{
    static struct held held;
    hold_pool_of(&held, "threads=40", 5);
    WEDGE_POOL(held.self);
    ck_assert_int_eq(said.status, 0);
    ck_assert_int_eq(times_said("\n  w1.t"), 19);
    ck_assert_int_eq(times_said(" task "), 5);
    check_says("  … 21 more: ");
    check_says(" (--all)\n");
    check_width();
    WEDGE_POOL("--all", held.self);
    ck_assert_int_eq(times_said("\n  w1.t"), 40);
    ck_assert_int_eq(times_said("--all"), 0);
    WEDGE_POOL("--json", held.self);
    ck_assert_int_eq(times_said("\"limit_ns\": 3600000000000"), 5);
    let_go(&held);
}
END_TEST

/* Pages come until the pool has ended, and the last one says so. */
START_TEST(watch_ends_with_the_pool)
{
    static struct held held;
    hold_pool(&held);
    forget();
    struct run run = start((const char *const[]){"--watch=20ms", held.self, NULL}, NULL);
    ck_assert(read_until(&run, ": running"));
    forget();
    ck_assert(read_until(&run, ": running")); /* again */
    let_go(&held);
    finish(&run);
    ck_assert_int_eq(said.status, 0);
    check_says(": ended\n");
}
END_TEST

START_TEST(watch_ends_with_the_process)
{
    static struct held held;
    int up[2];
    char pid_text[16];
    ck_assert_int_eq(pipe(up), 0);
    pid_t parent = fork();
    if (parent == 0) {
        hold_pool(&held);
        ck_assert_int_eq(write(up[1], "u", 1), 1);
        pause();
        _exit(1);
    }
    ck_assert_int_eq(read(up[0], pid_text, 1), 1);
    snprintf(pid_text, sizeof(pid_text), "%d", (int)parent);
    forget();
    struct run run = start((const char *const[]){"--watch=20ms", pid_text, NULL}, NULL);
    ck_assert(read_until(&run, ": running"));
    kill(parent, SIGKILL);
    ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
    finish(&run);
    ck_assert_int_eq(said.status, 0);
    check_says("its process is gone; last figures");
}
END_TEST

/* In a terminal of ten lines each page stands over the one before, and Ctrl-C is how one leaves. */
START_TEST(watch_fits_its_terminal)
{
    static struct held held;
    struct winsize size = {.ws_row = 10, .ws_col = 80};
    struct run run;
    hold_pool(&held);
    forget();
    run.pid = forkpty(&run.fd, NULL, NULL, &size);
    ck_assert_int_ge(run.pid, 0);
    if (run.pid == 0)
        exec_wedge((const char *const[]){"--watch=20ms", held.self, NULL});
    ck_assert(read_until(&run, "too low for the rest"));
    forget();
    ck_assert(read_until(&run, "too low for the rest"));
    forget();
    ck_assert(read_until(&run, "too low for the rest"));
    const char *page = strstr(said.text, "\033[H");
    ck_assert_ptr_nonnull(page);
    unsigned lines = 0;
    for (const char *c = page; c < strstr(page, "too low"); c++)
        lines += *c == '\n';
    ck_assert_uint_eq(lines, 9);
    ck_assert_int_eq(write(run.fd, "\003", 1), 1); /* what Ctrl-C sends: the terminal makes SIGINT of it */
    finish(&run);
    ck_assert_int_eq(said.status, 0);
    let_go(&held);
}
END_TEST

/* Any of the calls by which one process touches another ends the caller. */
static void forbid_touching(void)
{
#define FORBID(name)                                                                                                   \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        FORBID(ptrace),
        FORBID(process_vm_readv),
        FORBID(process_vm_writev),
        FORBID(pidfd_getfd),
        FORBID(pidfd_send_signal),
        FORBID(tkill),
        FORBID(tgkill),
        FORBID(rt_sigqueueinfo),
        FORBID(futex_waitv),
        FORBID(pwrite64),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kill, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), /* signal 0 asks whether it is there */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* which would trace its own process */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(99);
}

START_TEST(reading_touches_nobody)
{
    static struct held held;
    hold_pool(&held);
    wedge_pool((const char *const[]){held.self, NULL}, forbid_touching);
    ck_assert_msg(said.status == 0, "status %d: %s", said.status, said.text);
    check_says("2 of 2 threads");
    wedge_pool((const char *const[]){NULL}, forbid_touching);
    ck_assert_int_eq(said.status, 0);
    let_go(&held);
}
END_TEST

/* Parent, zygote and worker cannot be read by another user: said, with what to do. */
START_TEST(other_users_are_refused)
{
    static struct held held;
    if (geteuid() != 0)
        return; /* only root can become another user; test_board_read has the other half */
    hold_pool(&held);
    forget();
    struct run run;
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    run = (struct run){.pid = fork(), .fd = fds[0]};
    if (run.pid == 0) {
        dup2(fds[1], 1);
        dup2(fds[1], 2);
        /* Opened before: the build may lie where this user may not go. */
        int bin = open(wedge_bin(), O_RDONLY | O_CLOEXEC);
        char *const argv[] = {(char *)(uintptr_t) "wedge", (char *)(uintptr_t) "pool", held.self, NULL};
        if (bin < 0 || setgid(65534) != 0 || setuid(65534) != 0)
            _exit(99);
        fexecve(bin, argv, environ);
        _exit(98);
    }
    close(fds[1]);
    finish(&run);
    ck_assert_int_eq(said.status, 3);
    check_says("not permitted to read process");
    check_says("ask as its user or as root");
    let_go(&held);
}
END_TEST

static int no_task(struct wedge_pool_task *task, void *context)
{
    (void)task;
    (void)context;
    return 0;
}

static void ignore_result(const struct wedge_pool_result *result, void *context)
{
    (void)result;
    (void)context;
}

/* Tasks a second for half a second. */
static double rate(struct wedge_pool *pool)
{
    int64_t from_ns = wedge_clock_ns(), now_ns = from_ns;
    uint64_t n = 0;
    for (; now_ns - from_ns < WEDGE_NS_PER_S / 2; now_ns = wedge_clock_ns())
        for (int i = 0; i < 100; i++, n++)
            ck_assert_int_eq(wedge_pool_put(pool, "x", 1, WEDGE_POOL_NEVER, NULL), 0);
    return (double)n * 1e9 / (double)(now_ns - from_ns);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Rounds in turn, one beside a reader that looks ten times a second. The bound is generous: the machine has others. */
START_TEST(reading_slows_nobody_down)
{
    enum { ROUNDS = 15 };
    struct wedge_pool *pool;
    double ratios[ROUNDS];
    char self[16];
    struct wedge_pool_callbacks callbacks = {.task = no_task, .collect = ignore_result};
    ck_assert_int_eq(wedge_pool_create(NULL, &pool, NULL), 0);
    ck_assert_int_eq(wedge_pool_set(pool, "processes=2", NULL), 0);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    snprintf(self, sizeof(self), "%d", (int)getpid());
    rate(pool);
    for (int i = 0; i < ROUNDS; i++) {
        double alone = rate(pool);
        forget();
        struct run run = start((const char *const[]){"--watch=100ms", self, NULL}, NULL);
        ck_assert(read_until(&run, ": running"));
        ratios[i] = rate(pool) / alone;
        kill(run.pid, SIGINT);
        finish(&run);
        ck_assert_int_eq(said.status, 0);
    }
    wedge_pool_destroy(pool);
    qsort(ratios, ROUNDS, sizeof(ratios[0]), by_value);
    printf("beside a reader: %.3f of the rate alone (median; %.3f to %.3f)\n", ratios[ROUNDS / 2], ratios[0],
           ratios[ROUNDS - 1]);
    ck_assert_double_ge(ratios[ROUNDS / 2], 0.8);
}
END_TEST

static void fill(TCase *tcase)
{
    if (getenv("WEDGE_POOL_LOAD")) {
        tcase_add_test(tcase, reading_slows_nobody_down);
        return;
    }
    tcase_add_loop_test(tcase, misuse_is_told, 0, sizeof(misuses) / sizeof(misuses[0]));
    tcase_add_loop_test(tcase, page_says_the_figures, 0, 2);
    tcase_add_test(tcase, a_large_pool_is_folded);
    tcase_add_test(tcase, watch_ends_with_the_pool);
    tcase_add_test(tcase, watch_ends_with_the_process);
    tcase_add_test(tcase, watch_fits_its_terminal);
    tcase_add_test(tcase, reading_touches_nobody);
    tcase_add_test(tcase, other_users_are_refused);
}

int main(void)
{
    return wedge_test_main("pool_verb", 60, fill);
}
