#include "detector/tests/stacks_harness.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "detector/kernel/proc.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

#define PATIENCE_NS (20 * WEDGE_NS_PER_S) /* for things that take no time on an idle machine */

void stacks_path(const char *name, char *buf, size_t size)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    ck_assert_int_gt(len, 0);
    self[len] = 0;
    *strrchr(self, '/') = 0;
    ck_assert_int_lt(snprintf(buf, size, "%s/%s", self, name), (int)size);
}

char stacks_state(pid_t pid, pid_t tid, pid_t *ret_tracer)
{
    char text[8192];
    struct wedge_proc_stat stat;
    struct wedge_proc_status status;
    if (ret_tracer)
        *ret_tracer = 0;
    if (wedge_proc_read(pid, tid, "stat", text, sizeof(text)) <= 0 || wedge_proc_stat_parse(text, &stat))
        return 'X';
    if (ret_tracer && wedge_proc_read(pid, tid, "status", text, sizeof(text)) > 0 &&
        wedge_proc_status_parse(text, &status) == 0)
        *ret_tracer = status.tracer;
    return stat.state;
}

/* Waits for a fact that another process brings about. */
static void pause_until(int64_t deadline_ns, const char *what)
{
    struct timespec nap = {.tv_nsec = 500000};
    ck_assert_msg(wedge_clock_ns() < deadline_ns, "waited too long for %s", what);
    nanosleep(&nap, NULL);
}

static void wait_asleep(pid_t pid)
{
    int64_t deadline = wedge_clock_ns() + PATIENCE_NS;
    for (;;) {
        pid_t *tids;
        size_t n, asleep = 0;
        ck_assert_int_eq(wedge_proc_list(pid, STACKS_THREADS_MAX * 2, &tids, &n), 0);
        for (size_t i = 0; i < n; i++) {
            char state = stacks_state(pid, tids[i], NULL);
            asleep += state == 'S' || state == 'D' || state == 'Z'; /* a leader that has left */
        }
        free(tids);
        if (n && asleep == n)
            return;
        pause_until(deadline, "the target's threads to sleep");
    }
}

static void read_said(struct stacks_target *target)
{
    char line[256], inlined[16];
    while (fgets(line, sizeof(line), target->out)) {
        struct stacks_said *said = &target->said[target->n];
        if (strcmp(line, "ready\n") == 0)
            return;
        if (sscanf(line, "thread %d %31s %31s", &said->tid, said->name, said->libc) == 3) {
            ck_assert_uint_lt(++target->n, STACKS_THREADS_MAX);
            continue;
        }
        if (sscanf(line, "function %63s 0x%lx", target->function, &target->address) == 2)
            continue;
        said--;
        int got =
            sscanf(line, "frame %63s %d %15s", said->frames[said->n].function, &said->frames[said->n].line, inlined);
        ck_assert_msg(target->n && got >= 2, "the target said: %s", line);
        said->frames[said->n].inlined = got == 3;
        ck_assert_uint_lt(++said->n, STACKS_FRAMES_MAX);
    }
    ck_abort_msg("the target ended before it was ready");
}

void stacks_target_start(struct stacks_target *target, const char *program, const char *const *cases)
{
    char path[4096];
    const char *argv[16] = {program};
    int in[2], out[2];
    if (strchr(program, '/'))
        snprintf(path, sizeof(path), "%s", program);
    else
        stacks_path(program, path, sizeof(path));
    for (size_t i = 0; cases && cases[i]; i++) {
        ck_assert_uint_lt(i + 2, sizeof(argv) / sizeof(argv[0]));
        argv[i + 1] = cases[i];
    }
    memset(target, 0, sizeof(*target));
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    pid_t self = getpid();
    target->pid = fork();
    ck_assert_int_ge(target->pid, 0);
    if (target->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != self || dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0)
            _exit(127);
        execv(path, (char *const *)argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    target->in = in[1];
    target->out = fdopen(out[0], "r");
    ck_assert_ptr_nonnull(target->out);
    read_said(target);
    wait_asleep(target->pid);
}

void stacks_target_end(struct stacks_target *target)
{
    int status;
    close(target->in);
    ck_assert_int_eq(waitpid(target->pid, &status, 0), target->pid);
    fclose(target->out);
}

int stacks_target_ask(struct stacks_target *target)
{
    char line[64];
    int signals;
    ck_assert_int_eq(write(target->in, "ask\n", 4), 4);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), target->out));
    ck_assert_int_eq(sscanf(line, "signals %d", &signals), 1);
    return signals;
}

void stacks_snapshot_init(struct wedge_snapshot *snapshot, pid_t pid)
{
    ck_assert(stacks_snapshot_try(snapshot, pid));
}

bool stacks_snapshot_try(struct wedge_snapshot *snapshot, pid_t pid)
{
    char text[1024];
    struct wedge_proc_stat stat;
    pid_t *tids;
    size_t n;
    if (wedge_proc_read(pid, 0, "stat", text, sizeof(text)) <= 0 || wedge_proc_stat_parse(text, &stat) ||
        wedge_proc_list(pid, STACKS_THREADS_MAX * 2, &tids, &n))
        return false;
    memset(snapshot, 0, sizeof(*snapshot));
    obstack_init(&snapshot->mem);
    snapshot->root = pid;
    snapshot->n_procs = 1;
    snapshot->procs = obstack_alloc(&snapshot->mem, sizeof(*snapshot->procs));
    memset(snapshot->procs, 0, sizeof(*snapshot->procs));
    snapshot->procs[0].pid = pid;
    snapshot->procs[0].start_ticks = stat.start_ticks;
    snapshot->procs[0].n_threads = (int)n;
    snapshot->n_threads = n;
    snapshot->threads = obstack_alloc(&snapshot->mem, n * sizeof(*snapshot->threads));
    memset(snapshot->threads, 0, n * sizeof(*snapshot->threads));
    for (size_t i = 0; i < n; i++) {
        snapshot->threads[i].tid = tids[i];
        snapshot->threads[i].state = stacks_state(pid, tids[i], NULL);
        snapshot->threads[i].stack_note = "";
    }
    free(tids);
    return true;
}

void stacks_snapshot_done(struct wedge_snapshot *snapshot)
{
    obstack_free(&snapshot->mem, NULL);
}

const struct wedge_thread *stacks_thread(const struct wedge_snapshot *snapshot, pid_t tid)
{
    for (size_t i = 0; i < snapshot->n_threads; i++)
        if (snapshot->threads[i].tid == tid)
            return &snapshot->threads[i];
    ck_abort_msg("thread %d is not in the snapshot", tid);
}

void stacks_check_running(pid_t pid)
{
    int64_t deadline = wedge_clock_ns() + PATIENCE_NS;
    pid_t *tids;
    size_t n;
    ck_assert_int_eq(wedge_proc_list(pid, STACKS_THREADS_MAX * 2, &tids, &n), 0);
    ck_assert_uint_gt(n, 0);
    for (size_t i = 0; i < n; i++) {
        pid_t tracer;
        char state;
        while (state = stacks_state(pid, tids[i], &tracer), tracer)
            pause_until(deadline, "the tracer to let go");
        /* The letting go and the waking of the thread are not one step of the kernel's. */
        while (state == 't') {
            pause_until(deadline, "a thread to leave its stop");
            state = stacks_state(pid, tids[i], NULL);
        }
        ck_assert_msg(state != 'T' && state != 'X', "thread %d of %d is left in state %c", tids[i], pid, state);
    }
    free(tids);
}

char stacks_folder[] = "/tmp/wedge-stacks-XXXXXX";

void stacks_make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(stacks_folder));
}

void stacks_remove_folder(void)
{
    char line[64];
    snprintf(line, sizeof(line), "rm -rf %s", stacks_folder);
    ck_assert_int_eq(system(line), 0);
}

void stacks_in_folder(const char *recipe)
{
    char line[4096];
    ck_assert_int_lt(snprintf(line, sizeof(line), "cd %s && (%s) 2>/dev/null", stacks_folder, recipe),
                     (int)sizeof(line));
    ck_assert_msg(system(line) == 0, "%s", recipe);
}
