/* base/job: a disposable child comes back with bytes, an error, a signal or at its deadline, and never stays. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"
#include "base/tests/suite.h"

static int say(void *arg, int out, struct wedge_job_note *note)
{
    (void)note;
    const char *text = arg;
    return write(out, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
}
static int refuse(void *arg, int out, struct wedge_job_note *note)
{
    (void)arg;
    (void)out;
    (void)note;
    return -EPERM;
}
static int hang(void *arg, int out, struct wedge_job_note *note)
{
    (void)arg;
    (void)out;
    note->pid = 4711;
    note->step = "memory";
    while (pause() == -1)
        ;
    return 0;
}
static int block(void *arg, int out, struct wedge_job_note *note)
{
    wedge_job_says(note, 4711, "memory", true);
    return hang(arg, out, note);
}
/* It runs, now and then, and is not blocked. */
static int slow(void *arg, int out, struct wedge_job_note *note)
{
    wedge_job_says(note, 4711, "memory", true);
    for (int i = 0; i < 2 * WEDGE_JOB_BLOCKED_MS / 10; i++)
        usleep(10000);
    return say(arg, out, note);
}
/* Another thread of it runs, while this one waits for that. */
static void *run_on(void *arg)
{
    int64_t until = wedge_clock_ns() + 2 * WEDGE_JOB_BLOCKED_MS * WEDGE_NS_PER_MS;
    while (wedge_clock_ns() < until)
        ;
    return arg;
}
static int wait_for_thread(void *arg, int out, struct wedge_job_note *note)
{
    pthread_t thread;
    wedge_job_says(note, 4711, "memory", true);
    int rc = pthread_create(&thread, NULL, run_on, NULL);
    return rc ? -rc : pthread_join(thread, NULL) ? -EINVAL : say(arg, out, note);
}
/* All of its threads are blocked. */
static void *sleep_on(void *arg)
{
    while (pause() == -1)
        ;
    return arg;
}
static int block_all(void *arg, int out, struct wedge_job_note *note)
{
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, sleep_on, NULL);
    return rc ? -rc : block(arg, out, note);
}
/* Waits longer, in a step that may. */
static int wait_long(void *arg, int out, struct wedge_job_note *note)
{
    wedge_job_says(note, 4711, "stop", false);
    usleep(2 * WEDGE_JOB_BLOCKED_MS * 1000);
    return say(arg, out, note);
}
static int crash(void *arg, int out, struct wedge_job_note *note)
{
    (void)arg;
    (void)out;
    (void)note;
    kill(getpid(), SIGKILL);
    return 0;
}
static int flood(void *arg, int out, struct wedge_job_note *note)
{
    char block[4096] = {0};
    (void)arg;
    (void)note;
    while (write(out, block, sizeof(block)) >= 0)
        ;
    return -errno;
}
/* Closes its end, then stays: end of file alone must not make the caller believe that it ended. */
static int linger(void *arg, int out, struct wedge_job_note *note)
{
    close(out);
    return hang(arg, out, note);
}

static void no_child_left(void)
{
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

START_TEST(test_brings_back_bytes)
{
    char text[] = "seventeen";
    struct wedge_job_result r;
    ck_assert_int_eq(wedge_job_run(say, text, 5000, 100, &r), 0);
    ck_assert_int_eq(r.status, 0);
    ck_assert_uint_eq(r.len, 9);
    ck_assert_str_eq(r.data, "seventeen");
    wedge_job_result_free(&r);
    no_child_left();
}
END_TEST

START_TEST(test_brings_back_errors_and_signals)
{
    struct wedge_job_result r;
    ck_assert_int_eq(wedge_job_run(refuse, NULL, 5000, 100, &r), 0);
    ck_assert_int_eq(r.status, -EPERM);
    ck_assert_ptr_null(r.data);
    ck_assert_int_eq(wedge_job_run(crash, NULL, 5000, 100, &r), 0);
    ck_assert_int_eq(r.status, -ECHILD);
    ck_assert_int_eq(r.signal, SIGKILL);
    no_child_left();
}
END_TEST

START_TEST(test_deadline_names_the_cause)
{
    wedge_job_fn *const fns[] = {hang, linger};
    struct wedge_job_result r;
    int64_t before = wedge_clock_ns();
    ck_assert_int_eq(wedge_job_run(fns[_i], NULL, 50, 100, &r), 0);
    ck_assert_int_ge(wedge_clock_ns() - before, 50 * WEDGE_NS_PER_MS);
    ck_assert_int_eq(r.status, -ETIMEDOUT);
    ck_assert_int_eq(r.last_pid, 4711);
    ck_assert_str_eq(r.last_step, "memory");
    no_child_left();
}
END_TEST

START_TEST(test_what_blocks_is_ended_before_its_deadline)
{
    wedge_job_fn *const fns[] = {block, block_all};
    struct wedge_job_result r;
    int64_t before = wedge_clock_ns();
    ck_assert_int_eq(wedge_job_run(fns[_i], NULL, 50000, 100, &r), 0);
    ck_assert_int_ge(wedge_clock_ns() - before, WEDGE_JOB_BLOCKED_MS * WEDGE_NS_PER_MS);
    ck_assert_int_le(wedge_clock_ns() - before, 20000 * WEDGE_NS_PER_MS);
    ck_assert_int_eq(r.status, -ETIMEDOUT);
    ck_assert_int_eq(r.last_pid, 4711);
    no_child_left();
}
END_TEST

static void *block_elsewhere(void *arg)
{
    wedge_job_other_says(arg, 4242, "the other's");
    for (;;)
        pause();
    return NULL;
}

/* The first thread waits for the other one, and is at no process. */
static int wait_for_another(void *arg, int out, struct wedge_job_note *note)
{
    pthread_t thread;
    (void)arg, (void)out;
    wedge_job_says(note, 7, "its own", true);
    if (pthread_create(&thread, NULL, block_elsewhere, note))
        return -EAGAIN;
    wedge_job_says(note, 0, "its own", true);
    pthread_join(thread, NULL);
    return 0;
}

START_TEST(test_the_other_thread_is_the_cause_where_the_first_has_none)
{
    struct wedge_job_result result;
    ck_assert_int_eq(wedge_job_run(wait_for_another, NULL, 60000, 100, &result), 0);
    ck_assert_int_eq(result.status, -ETIMEDOUT);
    ck_assert_int_eq(result.last_pid, 4242);
    ck_assert_str_eq(result.last_step, "the other's");
    wedge_job_result_free(&result);
}
END_TEST

START_TEST(test_what_is_slow_or_may_wait_is_not_blocked)
{
    wedge_job_fn *const fns[] = {slow, wait_long, wait_for_thread};
    struct wedge_job_result r;
    ck_assert_int_eq(wedge_job_run(fns[_i], (char[]){"late"}, 50000, 100, &r), 0);
    ck_assert_int_eq(r.status, 0);
    ck_assert_str_eq(r.data, "late");
    wedge_job_result_free(&r);
    no_child_left();
}
END_TEST

struct paused {
    int started[2], go[2];
};
static int await_go(void *arg, int out, struct wedge_job_note *note)
{
    const struct paused *p = arg;
    char byte = 's';
    if (write(p->started[1], &byte, 1) != 1)
        return -errno;
    wedge_job_says(note, 4711, "memory", true);
    return read(p->go[0], &byte, 1) == 1 ? say((char[]){"late"}, out, note) : -errno;
}

/* Ctrl-Z stops wedge and its child: that takes nothing of the child's time, and the child was not blocked. */
START_TEST(test_time_in_which_it_was_stopped_does_not_count)
{
    enum { DEADLINE_MS = 3000 };
    struct paused p;
    struct wedge_job_result r;
    char byte;
    int status;
    ck_assert_int_eq(pipe(p.started) | pipe(p.go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        int rc = wedge_job_run(await_go, &p, DEADLINE_MS, 100, &r);
        _exit(rc ? 1 : r.status ? 2 : r.paused_ns < DEADLINE_MS * WEDGE_NS_PER_MS ? 3 : 0);
    }
    ck_assert_int_eq(read(p.started[0], &byte, 1), 1);
    ck_assert_int_eq(killpg(pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert(WIFSTOPPED(status));
    usleep((DEADLINE_MS + 500) * 1000); /* longer than it had */
    ck_assert_int_eq(write(p.go[1], "g", 1), 1); /* is there before it goes on */
    ck_assert_int_eq(killpg(pid, SIGCONT), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}
END_TEST

/* It needs a little of a processor that somebody else keeps nearly all of. */
static int starve(void *arg, int out, struct wedge_job_note *note)
{
    const cpu_set_t *one = arg;
    struct timespec ran = {0};
    wedge_job_says(note, 4711, "memory", true);
    if (sched_setaffinity(0, sizeof(*one), one) || sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}))
        return -errno;
    while (ran.tv_nsec < 20 * WEDGE_NS_PER_MS && ran.tv_sec == 0)
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ran);
    return say((char[]){"late"}, out, note);
}
static int starve_below(void *arg, int out, struct wedge_job_note *note)
{
    struct wedge_job_result r;
    int rc = wedge_job_run(starve, arg, 60000, 100, &r);
    wedge_job_result_free(&r);
    return rc ? rc : r.status ? r.status : say((char[]){"late"}, out, note);
}
static pid_t burn(const cpu_set_t *one)
{
    pid_t self = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != self || sched_setaffinity(0, sizeof(*one), one))
            _exit(1);
        for (;;)
            ;
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

/* Who waits for a processor, himself or in a child of his own, takes no time; but not for ever. */
START_TEST(test_time_in_the_queue_does_not_count)
{
    enum { DEADLINE_MS = 800 };
    wedge_job_fn *const fns[] = {starve, starve_below};
    struct wedge_job_result r;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    pid_t burner = burn(&one);
    int64_t before = wedge_clock_ns();
    ck_assert_int_eq(wedge_job_run(fns[_i], &one, DEADLINE_MS, 100, &r), 0);
    int64_t took_ms = (wedge_clock_ns() - before) / WEDGE_NS_PER_MS;
    if (r.status) {
        ck_assert_int_eq(r.status, -ETIMEDOUT);
        ck_assert_int_ge(took_ms, WEDGE_JOB_STRETCH * DEADLINE_MS);
        ck_assert_int_ge(r.paused_ns, (WEDGE_JOB_STRETCH - 1) * DEADLINE_MS * WEDGE_NS_PER_MS);
    } else {
        ck_assert_str_eq(r.data, "late");
    }
    wedge_job_result_free(&r);
    /* One that does not get to run does not get to die, either, and is not waited for. */
    kill(burner, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}
END_TEST

/* Says who it is, and then never ends by itself. */
static int say_and_hang(void *arg, int out, struct wedge_job_note *note)
{
    pid_t self = getpid();
    if (write(out, &self, sizeof(self)) != sizeof(self))
        return -errno;
    return hang(arg, out, note);
}
/* Says one byte, and once it was told to ends in its own order: its last act is another byte. */
struct order {
    int told[2], done[2];
};
static int say_and_end(void *arg, int out, struct wedge_job_note *note)
{
    const struct order *order = arg;
    char byte;
    (void)note;
    return write(out, "", 1) == 1 && read(order->told[0], &byte, 1) == 1 && write(order->done[1], "", 1) == 1 ? 0
                                                                                                              : -EIO;
}
static int whole(void *arg, const char *data, size_t len)
{
    (void)arg, (void)data, (void)len;
    return WEDGE_JOB_WHOLE;
}

START_TEST(test_whole_ends_by_itself)
{
    enum { KEPT = 8, N = 10 }; /* of so many the end is not waited for; all */
    struct order first, rest;
    char bytes[N + 1];
    ck_assert_int_eq(pipe2(first.told, O_CLOEXEC) | pipe2(first.done, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(pipe2(rest.told, O_CLOEXEC), 0);
    memcpy(rest.done, first.done, sizeof(rest.done));
    ck_assert_int_eq(write(rest.told[1], "..", N - KEPT), N - KEPT);
    for (size_t i = 0; i < N; i++) {
        struct wedge_job_result result = {.status = 1};
        ck_assert_int_eq(wedge_job_stream(say_and_end, i < KEPT ? &first : &rest, 20000, whole, NULL, &result), 0);
        ck_assert_int_eq(result.status, 0);
    }
    ck_assert_int_eq(write(first.told[1], "........", KEPT), KEPT);
    wedge_job_settle();
    ck_assert_int_eq(read(first.done[0], bytes, sizeof(bytes)), N);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    for (size_t i = 0; i < 2; i++) {
        close(first.told[i]);
        close(first.done[i]);
        close(rest.told[i]);
    }
}
END_TEST

static int enough(void *arg, const char *data, size_t len)
{
    ck_assert_uint_eq(len, sizeof(pid_t));
    memcpy(arg, data, len);
    return WEDGE_JOB_ENOUGH;
}

START_TEST(test_enough_is_settled_later)
{
    pid_t pids[12];
    for (size_t i = 0; i < 12; i++) { /* more than are kept: the others are ended at once */
        struct wedge_job_result result = {.status = 1};
        ck_assert_int_eq(wedge_job_stream(say_and_hang, NULL, 20000, enough, &pids[i], &result), 0);
        ck_assert_int_eq(result.status, 0);
    }
    wedge_job_settle();
    for (size_t i = 0; i < 12; i++)
        ck_assert_msg(kill(pids[i], 0) == -1 && errno == ESRCH, "child %zu is still there", i);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    wedge_job_settle();
}
END_TEST

START_TEST(test_what_is_dropped_is_settled_later)
{
    struct wedge_job jobs[12];
    for (size_t i = 0; i < 12; i++) {
        ck_assert_int_eq(wedge_job_begin(say_and_hang, NULL, 20000, &jobs[i]), 0);
        wedge_job_drop(&jobs[i]);
    }
    wedge_job_settle();
    for (size_t i = 0; i < 12; i++)
        ck_assert_msg(kill(jobs[i].pid, 0) == -1 && errno == ESRCH, "child %zu is still there", i);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

static int job_with_child(void *arg, int out, struct wedge_job_note *note)
{
    struct wedge_job_result result;
    pid_t pid = 0;
    (void)arg, (void)note;
    int rc = wedge_job_stream(say_and_hang, NULL, 20000, enough, &pid, &result);
    return rc ? rc : write(out, &pid, sizeof(pid)) == sizeof(pid) ? 0 : -errno;
}

START_TEST(test_a_job_settles_its_own)
{
    struct wedge_job_result result;
    pid_t pid;
    ck_assert_int_eq(wedge_job_run(job_with_child, NULL, 20000, 100, &result), 0);
    ck_assert_int_eq(result.status, 0);
    ck_assert_uint_eq(result.len, sizeof(pid));
    memcpy(&pid, result.data, sizeof(pid));
    ck_assert_msg(kill(pid, 0) == -1 && errno == ESRCH, "its child is still there");
    wedge_job_result_free(&result);
}
END_TEST

START_TEST(test_flood_is_bounded)
{
    struct wedge_job_result r;
    ck_assert_int_eq(wedge_job_run(flood, NULL, 20000, 1 << 20, &r), 0);
    ck_assert_int_eq(r.status, -E2BIG);
    ck_assert_uint_le(r.len, 1 << 20);
    wedge_job_result_free(&r);
    no_child_left();
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_brings_back_bytes);
    tcase_add_test(tcase, test_brings_back_errors_and_signals);
    tcase_add_loop_test(tcase, test_deadline_names_the_cause, 0, 2);
    if (WEDGE_TEST_MAY_SLEEP)
        tcase_add_loop_test(tcase, test_what_blocks_is_ended_before_its_deadline, 0, 2);
    tcase_add_loop_test(tcase, test_what_is_slow_or_may_wait_is_not_blocked, 0, 3);
    tcase_add_test(tcase, test_time_in_which_it_was_stopped_does_not_count);
    tcase_add_loop_test(tcase, test_time_in_the_queue_does_not_count, 0, 2);
    tcase_add_test(tcase, test_flood_is_bounded);
    tcase_add_test(tcase, test_whole_ends_by_itself);
    tcase_add_test(tcase, test_enough_is_settled_later);
    tcase_add_test(tcase, test_what_is_dropped_is_settled_later);
    tcase_add_test(tcase, test_the_other_thread_is_the_cause_where_the_first_has_none);
    tcase_add_test(tcase, test_a_job_settles_its_own);
}

int main(void)
{
    return wedge_test_main("job", 30, fill);
}
