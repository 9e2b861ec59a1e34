#include "base/job.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

static void child_main(wedge_job_fn *fn, void *arg, int out, pid_t parent, struct wedge_job_note *note)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    /* A Ctrl-C is the caller's to handle: it ends this child as it sees fit. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    /* A child of this child has a note of its own: it is trusted less, and must not write in this one. */
    madvise(note, sizeof(*note), MADV_DONTFORK);
    int rc = fn(arg, out, note);
    _exit(rc == 0 ? 0 : rc < 0 && rc > -128 ? -rc : 1);
}

/* Reads until end of file, the taker's refusal or the deadline. */
static int collect(int fd, int64_t deadline_ns, wedge_job_take_fn *take, void *arg)
{
    char buf[65536];
    for (;;) {
        int64_t left = deadline_ns - wedge_clock_ns();
        if (left <= 0)
            return -ETIMEDOUT;
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        int n = poll(&pfd, 1, (int)(left / WEDGE_NS_PER_MS) + 1);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n <= 0)
            continue;
        ssize_t got = read(fd, buf, sizeof(buf));
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return -errno;
        int rc = got > 0 ? take(arg, buf, (size_t)got) : 0;
        if (rc)
            return rc;
    }
}

/* Reaps the child; kills it first unless it has until the deadline to end by itself. SIGKILL reaches it wherever it
 * sleeps killably; a child in an unkillable sleep is left to init rather than waited for. */
static int reap(pid_t pid, int64_t deadline_ns, int *wstatus)
{
    int64_t killed_at = 0;
    for (;;) {
        pid_t got = waitpid(pid, wstatus, WNOHANG);
        if (got == pid)
            return killed_at ? -ETIMEDOUT : 0;
        if (got < 0 && errno != EINTR)
            return -errno;
        int64_t now = wedge_clock_ns();
        if (!killed_at && now >= deadline_ns) {
            kill(pid, SIGKILL);
            killed_at = now;
        } else if (killed_at && now - killed_at > 2 * WEDGE_NS_PER_S) {
            return -ETIMEDOUT;
        }
        struct timespec nap = {.tv_nsec = 200000};
        nanosleep(&nap, NULL);
    }
}

int wedge_job_stream(wedge_job_fn *fn, void *arg, int deadline_ms, wedge_job_take_fn *take, void *take_arg,
                     struct wedge_job_result *result)
{
    int64_t deadline = wedge_clock_ns() + deadline_ms * WEDGE_NS_PER_MS;
    int rc = 0;
    int ends[2];

    struct wedge_job_note *note = mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (note == MAP_FAILED)
        return -errno;
    if (pipe2(ends, O_CLOEXEC)) {
        rc = -errno;
        goto out;
    }
    pid_t self = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child_main(fn, arg, ends[1], self, note);
    }
    close(ends[1]);
    if (pid < 0) {
        rc = -errno;
        close(ends[0]);
        goto out;
    }

    memset(result, 0, sizeof(*result));
    int got = collect(ends[0], deadline, take, take_arg);
    close(ends[0]);
    int wstatus = 0;
    int ended = reap(pid, got ? 0 : deadline, &wstatus);
    if (got)
        result->status = got;
    else if (ended)
        result->status = ended;
    else if (WIFSIGNALED(wstatus))
        result->status = -ECHILD;
    else
        result->status = -WEXITSTATUS(wstatus);
    result->signal = !ended && WIFSIGNALED(wstatus) ? WTERMSIG(wstatus) : 0;
    result->last_pid = note->pid;
    result->last_step = note->step;
out:
    munmap(note, sizeof(*note));
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
