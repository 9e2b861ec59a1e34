/* detector/capture, on real processes: the frames of every kind of build, and that nothing is left stopped or lost. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"
#include "base/tests/suite.h"
#include "detector/kernel/proc.h"
#include "detector/stacks/capture.h"
#include "detector/tests/stacks_harness.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

#define KILLS    50
#define CAPTURES 100

static void capture_all(struct wedge_snapshot *snapshot, pid_t pid, int deadline_ms)
{
    struct wedge_capture *capture;
    struct wedge_err err = {0};
    stacks_snapshot_init(snapshot, pid);
    int rc = wedge_capture_proc(snapshot, 0, deadline_ms, NULL, &capture, &err);
    ck_assert_msg(rc == 0, "capture: %d, %s", rc, err.message);
    ck_assert_int_eq(wedge_capture_unwind(capture, &err), 0);
    wedge_capture_symbols(capture);
    wedge_capture_free(capture);
}

/* A thread's frames as text, for the message of a failed test. */
static const char *listing(const struct wedge_thread *thread)
{
    static char text[8192];
    size_t len = (size_t)snprintf(text, sizeof(text), "note '%s'", thread->stack_note);
    for (size_t i = 0; i < thread->n_frames && len < sizeof(text) - 256; i++) {
        const struct wedge_frame *f = &thread->frames[i];
        len +=
            (size_t)snprintf(text + len, 256, "\n #%zu %s%s%s %s:%d [%.60s+0x%lx]", i, f->function ? f->function : "?",
                             f->inlined ? " (inlined)" : "", f->signal ? " (signal)" : "", f->file ? f->file : "?",
                             f->line, f->module, (unsigned long)f->module_offset);
    }
    return text;
}

/* A frame may have no name at all: libc's own functions, where its debug file is not installed. */
static bool is_named(const struct wedge_frame *frame, const char *name)
{
    return frame->function && strcmp(frame->function, name) == 0;
}

static const struct variant {
    const char *program;
    bool libc_apart; /* libc is a module of its own, so its frames are told apart */
    bool names, lines;
    const char *note; /* part of every thread's note; NULL: no note at all */
} variants[] = {
    {"stacks_target_plain", true, true, true, NULL},
    {"stacks_target_o2", true, true, true, NULL},
    {"stacks_target_static", false, true, true, NULL},
    {"stacks_target_static_pie", false, true, true, NULL},
    {"stacks_target_no_hdr", true, true, true, NULL},
    {"stacks_target_debug_frame", true, true, true, NULL},
    {"stacks_target_no_cfi", true, true, false, "frame pointers"},
    {"stacks_target_stripped", true, false, false, NULL},
};

static bool is_like(const struct wedge_frame *frame, const struct stacks_said *said, size_t k,
                    const struct variant *variant)
{
    if (!variant->names)
        return frame->function == NULL;
    if (!frame->function || strcmp(frame->function, said->frames[k].function) != 0)
        return false;
    return !variant->lines || (frame->line == said->frames[k].line && frame->inlined == said->frames[k].inlined &&
                               strstr(frame->file, "stacks_target.c"));
}

/* The thread's frames outside libc are those it said, in order; without libc apart, they are among its frames. */
static void check_thread(const struct wedge_thread *thread, const struct stacks_said *said,
                         const struct variant *variant)
{
    size_t k = 0;
    bool libc_call = false;
    for (size_t i = 0; i < thread->n_frames; i++) {
        const struct wedge_frame *frame = &thread->frames[i];
        libc_call |= frame->libc && is_named(frame, said->libc);
        ck_assert_str_ne(frame->module, "");
        ck_assert_str_ne(frame->build_id, "");
        if (frame->libc || frame->signal)
            continue;
        while (!variant->lines && k < said->n && said->frames[k].inlined)
            k++; /* nothing can be known of it */
        if (k < said->n && is_like(frame, said, k, variant))
            k++;
        else
            ck_assert_msg(!variant->libc_apart, "%s: frame %zu is not expected (%s:%d is): %s", said->name, i,
                          k < said->n ? said->frames[k].function : "none", k < said->n ? said->frames[k].line : 0,
                          listing(thread));
    }
    ck_assert_msg(k == said->n, "%s: %zu of %zu frames: %s", said->name, k, said->n, listing(thread));
    ck_assert_msg(libc_call || !variant->libc_apart, "%s: %s is not there: %s", said->name, said->libc,
                  listing(thread));
    if (variant->note)
        ck_assert_msg(strstr(thread->stack_note, variant->note), "%s: %s", said->name, listing(thread));
    else
        ck_assert_msg(!thread->stack_note[0], "%s: %s", said->name, listing(thread));
    ck_assert_int_gt(thread->stopped_ns, 0);
}

static void check_target(struct stacks_target *target, const struct variant *variant)
{
    struct wedge_snapshot snapshot;
    capture_all(&snapshot, target->pid, 1000);
    for (size_t i = 0; i < target->n; i++)
        if (target->said[i].n && strcmp(target->said[i].name, "deep") != 0)
            check_thread(stacks_thread(&snapshot, target->said[i].tid), &target->said[i], variant);
    ck_assert(snapshot.stopped_anything);
    stacks_check_running(target->pid);
    ck_assert_int_eq(stacks_target_ask(target), 0);
    stacks_snapshot_done(&snapshot);
}

START_TEST(test_frames)
{
    struct stacks_target target;
    stacks_target_start(&target, variants[_i].program, NULL);
    check_target(&target, &variants[_i]);
    stacks_target_end(&target);
}
END_TEST

static void copy_file(const char *from, const char *to)
{
    char buf[65536];
    ssize_t got;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    ck_assert_int_ge(in, 0);
    ck_assert_int_ge(out, 0);
    while ((got = read(in, buf, sizeof(buf))) > 0)
        ck_assert_int_eq(write(out, buf, (size_t)got), got);
    close(in);
    close(out);
}

/* The file is gone, or another one has its name: the program in memory is what counts. */
START_TEST(test_deleted_or_replaced)
{
    char dir[] = "/tmp/wedge-capture-XXXXXX", path[64], other[64], from[4096];
    struct stacks_target target;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/program", dir);
    snprintf(other, sizeof(other), "%s/other", dir);
    stacks_path("stacks_target_o2", from, sizeof(from));
    copy_file(from, path);
    stacks_target_start(&target, path, NULL);
    stacks_path("stacks_target_stripped", from, sizeof(from));
    copy_file(from, other);
    ck_assert_int_eq(_i ? rename(other, path) : unlink(path), 0);
    check_target(&target, &variants[1]);
    stacks_target_end(&target);
    unlink(path);
    unlink(other);
    rmdir(dir);
}
END_TEST

/* A handler's frames, the trampoline flagged, and what was interrupted; also from a stack of its own. */
START_TEST(test_signal_frames)
{
    static const char *const cases[] = {"handler", "altstack", NULL};
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    stacks_target_start(&target, "stacks_target_o2", cases);
    capture_all(&snapshot, target.pid, 1000);
    for (size_t i = 0; i < target.n; i++) {
        const struct wedge_thread *thread = stacks_thread(&snapshot, target.said[i].tid);
        size_t signals = 0;
        for (size_t k = 1; k + 1 < thread->n_frames; k++) {
            if (!thread->frames[k].signal)
                continue;
            signals++;
            ck_assert(is_named(&thread->frames[k - 1], "on_usr1"));
            ck_assert(thread->frames[k + 1].libc); /* inside raise */
        }
        ck_assert_msg(signals == 1, "%s", listing(thread));
    }
    ck_assert_uint_eq(target.n, 2);
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

/* Deeper than the first copy, and deeper than what is shown. */
START_TEST(test_deep_stacks)
{
    static const char *const cases[] = {"deep", "many", NULL};
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    stacks_target_start(&target, "stacks_target_plain", cases);
    capture_all(&snapshot, target.pid, 1000);
    const struct wedge_thread *deep = stacks_thread(&snapshot, target.said[0].tid);
    const struct wedge_thread *many = stacks_thread(&snapshot, target.said[1].tid);
    size_t n_deep = 0, n_many = 0;
    bool root = false, begun = false;
    for (size_t i = 0; i < deep->n_frames; i++) {
        n_deep += is_named(&deep->frames[i], "deep");
        if (is_named(&deep->frames[i], "in_deep"))
            root = deep->frames[i].line == target.said[0].frames[0].line;
    }
    ck_assert_msg(n_deep == 101 && root && !deep->stack_note[0], "%s", listing(deep));
    for (size_t i = 0; i < many->n_frames; i++) {
        n_many += is_named(&many->frames[i], "many");
        begun |= is_named(&many->frames[i], "in_many");
    }
    ck_assert_msg(n_many > 200 && strstr(many->stack_note, "are left out") && begun, "%s", listing(many));
    stacks_check_running(target.pid);
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

/* A program that stopped in the vDSO: single-stepped to there, then let go in a group stop. */
START_TEST(test_vdso_and_group_stop)
{
    struct wedge_snapshot snapshot;
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct timespec ts;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        clock_gettime(CLOCK_MONOTONIC, &ts); /* bound by now: the next call goes straight there */
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        for (;;)
            clock_gettime(CLOCK_MONOTONIC, &ts);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    bool there = false;
    for (int i = 0; i < 100000 && !there; i++) {
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSTOPPED(status));
        unsigned long rip = (unsigned long)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip), NULL);
        char line[64], maps[65536];
        ssize_t len = wedge_proc_read(pid, 0, "maps", maps, sizeof(maps));
        ck_assert_int_gt(len, 0);
        unsigned long start = 0, end = 0;
        for (char *at = maps; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
            if (sscanf(at, "%lx-%lx %*s %*s %*s %*s %63s", &start, &end, line) == 3 && strcmp(line, "[vdso]") == 0)
                break;
        there = rip > start + 64 && rip < end;
    }
    ck_assert_msg(there, "never came to the vDSO");
    ck_assert_int_eq(ptrace(PTRACE_DETACH, pid, NULL, (void *)(intptr_t)SIGSTOP), 0);
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert(WIFSTOPPED(status));
    capture_all(&snapshot, pid, 1000);
    const struct wedge_thread *thread = &snapshot.threads[0];
    ck_assert_uint_ge(thread->n_frames, 3);
    ck_assert_str_eq(thread->frames[0].module, "[vdso]");
    ck_assert(thread->frames[0].libc);
    bool caller = false;
    for (size_t i = 1; i < thread->n_frames; i++)
        caller |= thread->frames[i].function && strstr(thread->frames[i].function, "test_vdso_and_group_stop");
    ck_assert_msg(caller && !thread->stack_note[0], "%s", listing(thread));
    /* It was stopped before: so it is now, and nobody else stops it. */
    pid_t tracer;
    int64_t deadline = wedge_clock_ns() + 20 * WEDGE_NS_PER_S;
    /* Let go it goes back into its stop by itself, as soon as it has a processor: till then it counts as running. */
    while ((stacks_state(pid, pid, &tracer) != 'T' || tracer) && wedge_clock_ns() < deadline)
        sched_yield();
    ck_assert_int_eq(stacks_state(pid, pid, &tracer), 'T');
    ck_assert_int_eq(tracer, 0);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    stacks_snapshot_done(&snapshot);
}
END_TEST

/* A thread in uninterruptible sleep is left alone, the others are copied, and the stop ends in time. */
START_TEST(test_uninterruptible)
{
    static const char *const cases[] = {"read", "vfork", NULL};
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    struct wedge_capture *capture;
    struct wedge_err err;
    stacks_target_start(&target, "stacks_target_o2", cases);
    stacks_snapshot_init(&snapshot, target.pid);
    struct wedge_thread *stuck = (struct wedge_thread *)stacks_thread(&snapshot, target.said[1].tid);
    ck_assert_int_eq(stuck->state, 'D');
    if (_i)
        stuck->state = 'S'; /* as if it had gone to sleep after the look: it is waited for */
    ck_assert_int_eq(wedge_capture_proc(&snapshot, 0, 200, NULL, &capture, &err), 0);
    ck_assert_int_eq(wedge_capture_unwind(capture, &err), 0);
    wedge_capture_symbols(capture);
    wedge_capture_free(capture);
    ck_assert_msg(strstr(stuck->stack_note, "uninterruptible"), "%s", stuck->stack_note);
    if (geteuid() == 0) /* the kernel's own stack may be read: it is in vfork(2) */
        ck_assert_msg(strstr(stuck->stack_note, "fork") || strstr(stuck->stack_note, "clone"), "%s", stuck->stack_note);
    ck_assert_uint_eq(stuck->n_frames, 0);
    check_thread(stacks_thread(&snapshot, target.said[0].tid), &target.said[0], &variants[1]);
    stacks_check_running(target.pid);
    ck_assert_int_eq(stacks_state(target.pid, stuck->tid, NULL), 'D');
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

/* The capturing process dies while it holds the target: each time one sees the target stopped, then kills. A thread
 * that does not stop keeps the stop long enough to be sure of that. */
START_TEST(test_capturer_killed)
{
    static const char *const cases[] = {"read", "mutex", "vfork", NULL};
    struct stacks_target target;
    stacks_target_start(&target, "stacks_target_o2", cases);
    for (int i = 0; i < KILLS; i++) {
        int status;
        pid_t tracer = 0, child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            struct wedge_snapshot snapshot;
            struct wedge_capture *capture;
            struct wedge_err err;
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            stacks_snapshot_init(&snapshot, target.pid);
            for (size_t k = 0; k < snapshot.n_threads; k++)
                snapshot.threads[k].state = 'S';
            wedge_capture_proc(&snapshot, 0, 60000, NULL, &capture, &err);
            _exit(0);
        }
        while (stacks_state(target.pid, target.said[0].tid, &tracer) != 't')
            ck_assert_int_eq(waitpid(child, &status, WNOHANG), 0);
        ck_assert_int_ne(tracer, 0);
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        stacks_check_running(target.pid);
        ck_assert_int_eq(stacks_target_ask(&target), 0);
    }
    stacks_target_end(&target);
}
END_TEST

/* Signals that arrive at the moment of a stop are delivered, each of them. */
START_TEST(test_signals_are_not_lost)
{
    static const char *const cases[] = {"crowd", NULL};
    struct stacks_target target;
    stacks_target_start(&target, "stacks_target_o2", cases);
    pid_t sender = fork();
    ck_assert_int_ge(sender, 0);
    if (sender == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 0; i < 2000; i++) {
            struct timespec nap = {.tv_nsec = 20000};
            while (sigqueue(target.pid, SIGRTMIN, (union sigval){0}))
                nanosleep(&nap, NULL);
            nanosleep(&nap, NULL);
        }
        _exit(0);
    }
    for (int i = 0; i < CAPTURES; i++) {
        struct wedge_snapshot snapshot;
        struct wedge_capture *capture;
        struct wedge_err err;
        stacks_snapshot_init(&snapshot, target.pid);
        ck_assert_int_eq(wedge_capture_proc(&snapshot, 0, 1000, NULL, &capture, &err), 0);
        wedge_capture_free(capture);
        stacks_snapshot_done(&snapshot);
    }
    int status;
    ck_assert_int_eq(waitpid(sender, &status, 0), sender);
    stacks_check_running(target.pid);
    ck_assert_int_eq(stacks_target_ask(&target), 2000);
    stacks_target_end(&target);
}
END_TEST

/* The target ends in the middle: killed (0) or by itself (1). Whatever is told is told without a crash or a wait. */
START_TEST(test_target_ends_meanwhile)
{
    static const char *const cases[] = {"crowd", NULL};
    for (int i = 0; i < 20; i++) {
        struct stacks_target target;
        stacks_target_start(&target, "stacks_target_o2", cases);
        int begun[2], status;
        ck_assert_int_eq(pipe(begun), 0);
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            int rc = 0;
            for (int k = 0; rc == 0 && k < 10000; k++) {
                struct wedge_snapshot snapshot;
                struct wedge_capture *capture;
                struct wedge_err err;
                char state = stacks_state(target.pid, target.pid, NULL);
                if (state == 'X' || state == 'Z' || !stacks_snapshot_try(&snapshot, target.pid))
                    _exit(0);
                rc = wedge_capture_proc(&snapshot, 0, 1000, NULL, &capture, &err);
                if (rc == 0 && write(begun[1], "b", 1) == 1) {
                    wedge_capture_unwind(capture, &err);
                    wedge_capture_symbols(capture);
                    wedge_capture_free(capture);
                }
                stacks_snapshot_done(&snapshot);
            }
            _exit(rc == -ESRCH ? 0 : -rc);
        }
        char byte;
        close(begun[1]);
        for (int k = 0; k <= i % 4; k++) /* at different moments */
            ck_assert_int_eq(read(begun[0], &byte, 1), 1);
        if (_i)
            ck_assert_int_eq(write(target.in, "exit\n", 5), 5);
        else
            kill(target.pid, SIGKILL);
        stacks_target_end(&target);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the capturer ended with 0x%x", status);
        close(begun[0]);
    }
}
END_TEST

START_TEST(test_refusals)
{
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    struct wedge_capture *capture = NULL;
    struct wedge_err err = {0};
    static const char *const cases[] = {"read", NULL};
    stacks_target_start(&target, "stacks_target_o2", cases);
    stacks_snapshot_init(&snapshot, target.pid);

    /* Another process by now. */
    snapshot.procs[0].start_ticks++;
    ck_assert_int_eq(wedge_capture_proc(&snapshot, 0, 100, NULL, &capture, &err), -ESRCH);
    ck_assert_int_eq(err.code, -ESRCH);
    snapshot.procs[0].start_ticks--;

    /* Traced by someone else. */
    int ready[2];
    char byte;
    ck_assert_int_eq(pipe(ready), 0);
    pid_t tracer = fork();
    ck_assert_int_ge(tracer, 0);
    if (tracer == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (size_t i = 0; i < snapshot.n_threads; i++)
            if (ptrace(PTRACE_SEIZE, snapshot.threads[i].tid, NULL, NULL))
                _exit(1);
        if (write(ready[1], "r", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(wedge_capture_proc(&snapshot, 0, 100, NULL, &capture, &err), -EPERM);
    ck_assert_ptr_nonnull(strstr(err.remedy, "traced"));
    kill(tracer, SIGKILL);
    ck_assert_int_eq(waitpid(tracer, NULL, 0), tracer);
    close(ready[0]);

    /* Gone. */
    stacks_target_end(&target);
    ck_assert_int_eq(wedge_capture_proc(&snapshot, 0, 100, NULL, &capture, &err), -ESRCH);
    ck_assert_ptr_null(capture);
    wedge_capture_free(NULL);
    stacks_snapshot_done(&snapshot);
}
END_TEST

enum { MOST_THREADS = 64 };

/* One target more, as process `i` of `all`. */
static void start_one(struct stacks_target *target, struct wedge_snapshot *own, struct wedge_snapshot *all, int i)
{
    static const char *const cases[] = {"read", NULL};
    stacks_target_start(target, "stacks_target_o2", cases);
    stacks_snapshot_init(own, target->pid);
    all->procs[i] = own->procs[0];
    all->procs[i].first_thread = (int)all->n_threads;
    ck_assert_uint_le(all->n_threads + own->n_threads, MOST_THREADS);
    memcpy(all->threads + all->n_threads, own->threads, own->n_threads * sizeof(*own->threads));
    all->n_threads += own->n_threads;
}

/* Several at once: each has its own result, whatever became of the one before. */
START_TEST(test_several)
{
    enum { N = 4, GONE = 1, OTHER = 2 };
    struct stacks_target targets[N];
    struct wedge_snapshot snapshots[N], all = {.n_procs = N};
    struct wedge_proc procs[N];
    struct wedge_thread threads[MOST_THREADS];
    struct wedge_capture_ask asks[N];
    obstack_init(&all.mem);
    all.procs = procs;
    all.threads = threads;
    for (int i = 0; i < N; i++) {
        start_one(&targets[i], &snapshots[i], &all, i);
        asks[i] = (struct wedge_capture_ask){.proc = i, .deadline_ms = 1000};
    }
    stacks_target_end(&targets[GONE]);
    procs[OTHER].start_ticks++;
    ck_assert_int_eq(wedge_capture_procs(&all, asks, N, NULL, NULL), 0);
    for (int i = 0; i < N; i++) {
        bool had = i != GONE && i != OTHER;
        ck_assert_int_eq(asks[i].rc, had ? 0 : -ESRCH);
        ck_assert_int_eq(asks[i].capture != NULL, had);
        ck_assert_int_eq(asks[i].err.code, had ? 0 : -ESRCH);
        for (int t = 0; had && t < procs[i].n_threads; t++)
            ck_assert_int_gt(threads[procs[i].first_thread + t].stopped_ns, 0);
        if (had)
            ck_assert_int_eq(wedge_capture_unwind(asks[i].capture, NULL), 0);
        for (int t = 0; had && t < procs[i].n_threads; t++)
            ck_assert_uint_gt(threads[procs[i].first_thread + t].n_frames, 2);
        wedge_capture_free(asks[i].capture);
        stacks_snapshot_done(&snapshots[i]);
        if (i != GONE)
            stacks_target_end(&targets[i]);
    }
    obstack_free(&all.mem, NULL);
}
END_TEST

/* The child that begins early, of two processes and one that is gone. */
enum { EARLY = 3, EARLY_GONE = 1 };
struct early {
    struct wedge_snapshot *all;
    struct wedge_capture_ask *asks;
    int numbers[2], frames[2];
    pid_t child;
};

/* The copies are mapped once, and not to be made writable. */
static bool is_read_only(void)
{
    char line[512];
    int n = 0;
    bool ok = true;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof(line), maps)) {
        char *end;
        if (!strstr(line, "memfd:wedge-stacks"))
            continue;
        uintptr_t from = strtoull(line, &end, 16), to = strtoull(end + 1, &end, 16);
        ok &= strncmp(end, " r--s", 5) == 0 && mprotect((void *)from, to - from, PROT_READ | PROT_WRITE) == -1 &&
              errno == EACCES;
        n++;
    }
    if (maps)
        fclose(maps);
    return ok && n == 1;
}

static void unwind_early(struct early *e)
{
    int number;
    bool ok = is_read_only();
    for (int i = 0; i < EARLY; i++)
        if (e->asks[i].capture)
            wedge_capture_view_alone(e->asks[i].capture);
    close(e->numbers[1]);
    while (read(e->numbers[0], &number, sizeof(number)) == sizeof(number) && number != WEDGE_CAPTURE_ALL) {
        struct wedge_capture *capture = e->asks[number].capture;
        const struct wedge_thread *thread = &e->all->threads[e->all->procs[number].first_thread];
        wedge_capture_warm(capture);
        wedge_capture_arrived(capture);
        int said[2] = {number, ok && wedge_capture_unwind(capture, NULL) == 0 ? (int)thread->n_frames : -1};
        if (write(e->frames[1], said, sizeof(said)) != sizeof(said))
            break;
    }
    _exit(0);
}

static int begin_early(void *arg)
{
    struct early *e = arg;
    ck_assert_int_eq(pipe2(e->numbers, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(e->frames, O_CLOEXEC), 0);
    e->child = fork();
    ck_assert_int_ge(e->child, 0);
    if (e->child == 0)
        unwind_early(e);
    return e->numbers[1];
}

START_TEST(test_early)
{
    struct stacks_target targets[EARLY];
    struct wedge_snapshot snapshots[EARLY], all = {.n_procs = EARLY};
    struct wedge_proc procs[EARLY];
    struct wedge_thread threads[MOST_THREADS];
    struct wedge_capture_ask asks[EARLY];
    struct early e = {.all = &all, .asks = asks};
    const struct wedge_capture_early early = {begin_early, &e};
    int said[2], status;
    obstack_init(&all.mem);
    all.procs = procs;
    all.threads = threads;
    for (int i = 0; i < EARLY; i++) {
        start_one(&targets[i], &snapshots[i], &all, i);
        asks[i] = (struct wedge_capture_ask){.proc = i, .deadline_ms = 1000};
    }
    procs[EARLY_GONE].start_ticks++;
    ck_assert_int_eq(wedge_capture_procs(&all, asks, EARLY, NULL, &early), 0);
    close(e.numbers[1]);
    close(e.frames[1]);
    ck_assert_int_eq(waitpid(e.child, &status, 0), e.child);
    ck_assert_int_eq(status, 0);
    bool came[EARLY] = {false};
    while (read(e.frames[0], said, sizeof(said)) == sizeof(said)) {
        ck_assert(said[0] >= 0 && said[0] < EARLY && !came[said[0]]);
        came[said[0]] = true;
        ck_assert_int_gt(said[1], 2);
        /* The parent's own are the same. */
        ck_assert_int_eq(wedge_capture_unwind(asks[said[0]].capture, NULL), 0);
        ck_assert_int_eq((int)threads[procs[said[0]].first_thread].n_frames, said[1]);
    }
    for (int i = 0; i < EARLY; i++) {
        ck_assert_int_eq(came[i], i != EARLY_GONE);
        ck_assert_int_eq(asks[i].rc, i == EARLY_GONE ? -ESRCH : 0);
        wedge_capture_free(asks[i].capture);
        stacks_snapshot_done(&snapshots[i]);
        stacks_target_end(&targets[i]);
    }
    close(e.numbers[0]);
    close(e.frames[0]);
    obstack_free(&all.mem, NULL);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_several);
    tcase_add_test(tcase, test_early);
    tcase_add_loop_test(tcase, test_frames, 0, sizeof(variants) / sizeof(variants[0]));
    tcase_add_loop_test(tcase, test_deleted_or_replaced, 0, 2);
    tcase_add_test(tcase, test_signal_frames);
    tcase_add_test(tcase, test_deep_stacks);
    tcase_add_test(tcase, test_vdso_and_group_stop);
    tcase_add_loop_test(tcase, test_uninterruptible, 0, 2);
    tcase_add_test(tcase, test_capturer_killed);
    tcase_add_test(tcase, test_signals_are_not_lost);
    tcase_add_loop_test(tcase, test_target_ends_meanwhile, 0, 2);
    tcase_add_test(tcase, test_refusals);
}

int main(void)
{
    return wedge_test_main("capture", 60, fill);
}
