#include "base/job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/load.h"
#include "base/text.h"

#define SLICE_NS  (100 * WEDGE_NS_PER_MS) /* how often a child that says nothing is looked at */
#define PAUSE_NS  WEDGE_NS_PER_S /* longer than any timer is late on a busy machine */
#define LATER_MAX 8 /* children that said enough, and are reaped later */
#define KILLED_NS (2 * WEDGE_NS_PER_S) /* for how long one that was killed is waited for */
#define ENDING_NS (5 * WEDGE_NS_PER_S) /* and one that is to end by itself */

/* What is known of a child that may be blocked. */
struct sleeper {
    pid_t pid;
    int64_t since_ns; /* all its threads have been seen asleep, and none ran; 0 one ran, or may */
    uint64_t ran; /* the sum of their schedstat then: time on a processor, time waiting for one, how often */
};

static struct wedge_job_note *own_note; /* of the job that this process is; NULL: of none */

static bool read_of_child(pid_t pid, const char *tid, const char *name, char *buf, size_t size)
{
    char path[320];
    snprintf(path, sizeof(path), "/proc/%d/task/%s/%s", (int)pid, tid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
    if (fd >= 0)
        close(fd);
    buf[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* A thread of the child sleeps; adds how far it ran. */
static bool is_asleep(pid_t pid, const char *tid, uint64_t *ran)
{
    char stat[256], numbers[96], *at = numbers;
    const char *name_end;
    if (!read_of_child(pid, tid, "schedstat", numbers, sizeof(numbers)) ||
        !read_of_child(pid, tid, "stat", stat, sizeof(stat)) || !(name_end = strrchr(stat, ')')))
        return false;
    for (int i = 0; i < 3; i++)
        *ran += strtoull(at, &at, 10);
    return name_end[1] == ' ' && (name_end[2] == 'S' || name_end[2] == 'D');
}

/* For how long all of its threads have been asleep: one that waits for another, which waits for a processor, is not blocked.
 * A kernel without schedstat: 0. */
static int64_t asleep_ns(struct sleeper *child, int64_t now)
{
    char path[48];
    uint64_t ran = 0;
    bool asleep = false;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)child->pid);
    DIR *tasks = opendir(path);
    for (const struct dirent *e; tasks && (e = readdir(tasks));)
        if (e->d_name[0] != '.' && !(asleep = is_asleep(child->pid, e->d_name, &ran)))
            break;
    if (tasks)
        closedir(tasks);
    if (!asleep || !child->since_ns || ran != child->ran)
        child->since_ns = asleep ? now : 0;
    child->ran = ran;
    return child->since_ns ? now - child->since_ns : 0;
}

/* How long its threads have run and, as far as is known, waited for a processor; the children that it waits for included. */
static void read_times(const struct wedge_job *job, struct wedge_job_times *ret)
{
    char path[48], numbers[96], stat[256], *end;
    const char *name_end;
    *ret = (struct wedge_job_times){.at_ns = wedge_clock_ns(), .queued_ns = job->note->queued_ns};
    snprintf(path, sizeof(path), "/proc/%d/task", (int)job->pid);
    DIR *tasks = opendir(path);
    for (const struct dirent *e; tasks && (e = readdir(tasks));) {
        if (e->d_name[0] == '.' || !read_of_child(job->pid, e->d_name, "schedstat", numbers, sizeof(numbers)) ||
            !read_of_child(job->pid, e->d_name, "stat", stat, sizeof(stat)))
            continue;
        ret->ran_ns += strtoll(numbers, &end, 10);
        ret->queued_ns += strtoll(end, NULL, 10);
        ret->runnable |= (name_end = strrchr(stat, ')')) && name_end[1] == ' ' && name_end[2] == 'R';
    }
    if (tasks)
        closedir(tasks);
}

/* How much longer it has waited for a processor than when it was asked last. Who still waits has none of that in his schedstat
 * (sched_info_arrive(), kernel/sched/stats.h): he waited for as long as he did not run. */
static int64_t time_in_queue(struct wedge_job *job)
{
    struct wedge_job_times before = job->times;
    read_times(job, &job->times);
    int64_t passed_ns = job->times.at_ns - before.at_ns, more_ns = job->times.queued_ns - job->counted_ns;
    int64_t idle_ns = job->times.runnable ? passed_ns - (job->times.ran_ns - before.ran_ns) : 0;
    more_ns = more_ns > idle_ns ? more_ns : idle_ns;
    more_ns = more_ns < 0 ? 0 : more_ns < passed_ns ? more_ns : passed_ns;
    job->counted_ns += more_ns;
    return more_ns;
}

static void put_off(struct wedge_job *job, int64_t by_ns)
{
    if (own_note) /* whoever waits for us waits for it */
        own_note->queued_ns += by_ns;
    int64_t most_ns = job->latest_ns - job->deadline_ns;
    by_ns = by_ns < most_ns ? by_ns : most_ns;
    job->deadline_ns += by_ns;
    job->paused_ns += by_ns;
}

/* Whether it sleeps in something that should take no time, and has for too long. */
static bool is_blocked(struct sleeper *child, const struct wedge_job_note *note, int64_t now)
{
    if (note->prompt)
        return asleep_ns(child, now) >= WEDGE_JOB_BLOCKED_MS * WEDGE_NS_PER_MS;
    child->since_ns = 0;
    return false;
}

/* What we did not mean to take: if it is much, everything stood still. */
static void mind_pause(struct wedge_job *job, struct sleeper *child, int64_t late_ns)
{
    if (late_ns <= PAUSE_NS)
        return;
    job->paused_ns += late_ns;
    job->deadline_ns += late_ns;
    job->latest_ns += late_ns;
    read_times(job, &job->times);
    job->counted_ns = job->times.queued_ns;
    child->since_ns = 0; /* it may not have been able to run either */
}

/* Reads until end of file, the taker's refusal, the deadline, or until the child is blocked. We ran at `seen_ns`. Each round
 * decides by the moment that it began at: whatever stops us later is told by the next one. */
static int collect(struct wedge_job *job, int64_t seen_ns, wedge_job_take_fn *take, void *arg)
{
    char buf[65536];
    struct sleeper child = {.pid = job->pid};
    for (int64_t slice_ns = 0;;) {
        int64_t now = wedge_clock_ns();
        mind_pause(job, &child, now - seen_ns - slice_ns);
        seen_ns = now;
        if (now - job->times.at_ns >= SLICE_NS || now >= job->deadline_ns)
            put_off(job, time_in_queue(job));
        int64_t left_ns = job->deadline_ns - now;
        if (left_ns <= 0 || is_blocked(&child, job->note, now))
            return -ETIMEDOUT;
        struct pollfd pfd = {.fd = job->from, .events = POLLIN};
        slice_ns = left_ns < SLICE_NS ? left_ns : SLICE_NS;
        int n = poll(&pfd, 1, (int)(slice_ns / WEDGE_NS_PER_MS) + 1);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n <= 0)
            continue;
        mind_pause(job, &child, wedge_clock_ns() - seen_ns - slice_ns);
        ssize_t got = read(job->from, buf, sizeof(buf));
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return -errno;
        int rc = got > 0 ? take(arg, buf, (size_t)got) : 0;
        if (rc)
            return rc;
        seen_ns = wedge_clock_ns(); /* what the taker took is no pause */
        slice_ns = 0;
    }
}

/* Sleeps until the child has ended, or so long. Without a pidfd (an old kernel, no descriptor left): a little. */
static void await_end(int pidfd, int64_t until_ns)
{
    int64_t left_ns = until_ns - wedge_clock_ns();
    struct timespec nap = {.tv_nsec = 200000};
    struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
    if (pidfd < 0)
        nanosleep(&nap, NULL);
    else if (left_ns > 0)
        poll(&pfd, 1, left_ns / WEDGE_NS_PER_MS < INT_MAX ? (int)(left_ns / WEDGE_NS_PER_MS) + 1 : INT_MAX);
}

/* Reaps the child; kills it first unless it has until the deadline to end by itself. SIGKILL reaches it wherever it
 * sleeps killably; a child in an unkillable sleep is left to init rather than waited for. */
static int reap(pid_t pid, int64_t deadline_ns, int *wstatus)
{
    int64_t killed_at = 0;
    int pidfd = -1, rc;
    for (bool tried = false;; tried = true) {
        pid_t got = waitpid(pid, wstatus, WNOHANG);
        rc = got == pid ? (killed_at ? -ETIMEDOUT : 0) : got < 0 && errno != EINTR ? -errno : 1;
        if (rc <= 0)
            break;
        int64_t now = wedge_clock_ns();
        if (!killed_at && now >= deadline_ns) {
            kill(pid, SIGKILL);
            killed_at = now;
        } else if (killed_at && now - killed_at > KILLED_NS) {
            rc = -ETIMEDOUT;
            break;
        }
        if (!tried)
            pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        await_end(pidfd, killed_at ? killed_at + KILLED_NS : deadline_ns);
    }
    if (pidfd >= 0)
        close(pidfd);
    return rc;
}

static struct {
    pid_t pid;
    bool by_itself; /* it may end in its own order */
} later[LATER_MAX];
static size_t n_later;

void wedge_job_settle(void)
{
    int wstatus;
    for (size_t i = 0; i < n_later; i++)
        reap(later[i].pid, later[i].by_itself ? wedge_clock_ns() + ENDING_NS : 0, &wstatus);
    n_later = 0;
}

static void child_main(wedge_job_fn *fn, void *arg, int out, pid_t parent, struct wedge_job_note *note)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    /* A Ctrl-C is the caller's to handle: it ends this child as it sees fit. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &pipe, NULL);
    /* A child of this child has a note of its own: it is trusted less, and must not write in this one. */
    madvise(note, sizeof(*note), MADV_DONTFORK);
    n_later = 0; /* those are the caller's */
    own_note = note;
    int rc = fn(arg, out, note);
    wedge_job_settle();
    _exit(rc == 0 ? 0 : rc < 0 && rc > -128 ? -rc : 1);
}

void wedge_job_begins_now(struct wedge_job *job, int deadline_ms)
{
    job->times.at_ns = wedge_clock_ns();
    job->deadline_ns = job->times.at_ns + deadline_ms * WEDGE_NS_PER_MS;
    job->latest_ns = job->times.at_ns + WEDGE_JOB_STRETCH * (deadline_ms * WEDGE_NS_PER_MS);
}

int wedge_job_begin(wedge_job_fn *fn, void *arg, int deadline_ms, struct wedge_job *ret)
{
    struct wedge_job job = {0};
    int ends[2], rc;
    wedge_job_begins_now(&job, deadline_ms);
    job.note = mmap(NULL, sizeof(*job.note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (job.note == MAP_FAILED)
        return -errno;
    if (pipe2(ends, O_CLOEXEC)) {
        rc = -errno;
        goto fail;
    }
    pid_t self = getpid();
    job.pid = fork();
    if (job.pid == 0) {
        close(ends[0]);
        child_main(fn, arg, ends[1], self, job.note);
    }
    close(ends[1]);
    if (job.pid < 0) {
        rc = -errno;
        close(ends[0]);
        goto fail;
    }
    wedge_load_count_own_birth();
    job.from = ends[0];
    *ret = job;
    return 0;
fail:
    munmap(job.note, sizeof(*job.note));
    return rc;
}

static void end_job(struct wedge_job *job, int64_t seen_ns, wedge_job_take_fn *take, void *take_arg,
                    struct wedge_job_result *result)
{
    int wstatus = 0, ended = 0;
    memset(result, 0, sizeof(*result));
    int got = collect(job, seen_ns, take, take_arg);
    close(job->from);
    bool enough = got == WEDGE_JOB_ENOUGH || got == WEDGE_JOB_WHOLE;
    if (enough && n_later < LATER_MAX) {
        later[n_later].pid = job->pid;
        later[n_later++].by_itself = got == WEDGE_JOB_WHOLE;
    } else {
        ended = reap(job->pid,
                     got == WEDGE_JOB_WHOLE ? wedge_clock_ns() + ENDING_NS
                     : got                  ? 0
                                            : job->deadline_ns,
                     &wstatus);
    }
    if (enough)
        result->status = 0;
    else if (got)
        result->status = got;
    else if (ended)
        result->status = ended;
    else if (WIFSIGNALED(wstatus))
        result->status = -ECHILD;
    else
        result->status = -WEXITSTATUS(wstatus);
    result->signal = !enough && !ended && WIFSIGNALED(wstatus) ? WTERMSIG(wstatus) : 0;
    bool other = job->note->pid == 0 && job->note->other_pid != 0;
    result->last_pid = other ? job->note->other_pid : job->note->pid;
    result->last_step = other ? job->note->other_step : job->note->step;
    result->paused_ns = job->paused_ns;
    munmap(job->note, sizeof(*job->note));
}

void wedge_job_drop(struct wedge_job *job)
{
    int wstatus;
    kill(job->pid, SIGKILL);
    close(job->from);
    if (n_later < LATER_MAX) {
        later[n_later].pid = job->pid;
        later[n_later++].by_itself = false;
    } else {
        reap(job->pid, 0, &wstatus);
    }
    munmap(job->note, sizeof(*job->note));
}

void wedge_job_end(struct wedge_job *job, wedge_job_take_fn *take, void *take_arg, struct wedge_job_result *result)
{
    end_job(job, wedge_clock_ns(), take, take_arg, result);
}

int wedge_job_stream(wedge_job_fn *fn, void *arg, int deadline_ms, wedge_job_take_fn *take, void *take_arg,
                     struct wedge_job_result *result)
{
    struct wedge_job job = {0};
    int rc = wedge_job_begin(fn, arg, deadline_ms, &job);
    if (!rc)
        end_job(&job, job.times.at_ns, take, take_arg, result);
    return rc;
}

static int keep(void *arg, const char *data, size_t len)
{
    struct wedge_text *text = arg;
    wedge_text_add_bytes(text, data, len);
    return text->cut ? -E2BIG : 0;
}

int wedge_job_run(wedge_job_fn *fn, void *arg, int deadline_ms, size_t max_bytes, struct wedge_job_result *result)
{
    struct wedge_text text = WEDGE_TEXT_INIT(max_bytes);
    int rc = wedge_job_stream(fn, arg, deadline_ms, keep, &text, result);
    if (rc) {
        wedge_text_free(&text);
        return rc;
    }
    result->data = text.data;
    result->len = text.len;
    return 0;
}

void wedge_job_result_free(struct wedge_job_result *result)
{
    free(result->data);
    result->data = NULL;
    result->len = 0;
}
