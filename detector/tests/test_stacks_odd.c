/*
 * detector/capture on stacks that are easily read wrongly (stacks_odd.c, stacks_bare.c): against what the target says
 * of itself; on a program that becomes another one; and against a program walked instruction by instruction.
 */
#include <alloca.h>
#include <check.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "detector/kernel/proc.h"
#include "detector/stacks/capture.h"
#include "detector/stacks/target_memory.h"
#include "detector/stacks/unwind.h"
#include "detector/tests/stacks_harness.h"

#define STEPS_MAX    60000
#define WINDOW       65536u
#define VDSO_SAMPLES 60

static void capture_all(struct wedge_snapshot *snapshot, pid_t pid)
{
    struct wedge_capture *capture;
    struct wedge_err err = {0};
    stacks_snapshot_init(snapshot, pid);
    int rc = wedge_capture_proc(snapshot, 0, 1000, NULL, &capture, &err);
    ck_assert_msg(rc == 0, "capture: %d, %s", rc, err.message);
    ck_assert_int_eq(wedge_capture_unwind(capture, &err), 0);
    wedge_capture_symbols(capture);
    wedge_capture_free(capture);
}

static const char *const builds[] = {"stacks_odd_o0", "stacks_odd_o2",  "stacks_odd_os",    "stacks_odd_lto",
                                     "stacks_odd_cf", "stacks_odd_now", "stacks_odd_static"};

/* Is every frame that was said there, in order, and no other one of the program's own? */
static void check_said(const struct wedge_thread *thread, const struct stacks_said *said, const char *build)
{
    size_t k = 0;
    for (size_t i = 0; i < thread->n_frames; i++) {
        const struct wedge_frame *f = &thread->frames[i];
        if (f->function && k < said->n && strcmp(f->function, said->frames[k].function) == 0 &&
            (!said->frames[k].line || said->frames[k].line == f->line))
            k++;
    }
    ck_assert_msg(k == said->n, "%s, %s: frame %s:%d is not there (%zu frames; %s)", build, said->name,
                  k < said->n ? said->frames[k].function : "", k < said->n ? said->frames[k].line : 0, thread->n_frames,
                  thread->stack_note);
}

static bool has_function(const struct wedge_thread *thread, const char *name)
{
    for (size_t i = 0; i < thread->n_frames; i++)
        if (thread->frames[i].function && strcmp(thread->frames[i].function, name) == 0)
            return true;
    return false;
}

START_TEST(test_odd)
{
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    const char *build = builds[_i];
    bool debug = strcmp(build, "stacks_odd_o0") == 0, fixed = strcmp(build, "stacks_odd_static") == 0;
    stacks_target_start(&target, build, NULL);
    capture_all(&snapshot, target.pid);
    ck_assert_uint_ge(target.n, 10);
    for (size_t i = 0; i < target.n; i++) {
        const struct stacks_said *said = &target.said[i];
        const struct wedge_thread *thread = stacks_thread(&snapshot, said->tid);
        const char *note = thread->stack_note;
        check_said(thread, said, build);
        if (strcmp(said->name, "recursion") == 0) /* its beginning is there, where libunwind alone gets through */
            ck_assert_msg(fixed ? strstr(note, "cut after 256 frames") != NULL
                                : strstr(note, "are left out") && has_function(thread, "in_recursion"),
                          "%s", note);
        else if (strcmp(said->name, "jit") == 0) /* nothing describes the code: its frame pointer was followed */
            ck_assert_msg(strstr(note, "by frame pointers alone"), "%s", note);
        else if (strcmp(said->name, "frameless") ==
                 0) /* nor has it one: what follows is not told, or told as a guess */
            ck_assert_msg(strstr(note, debug ? "by frame pointers alone" : "cut"), "%s", note);
        else
            ck_assert_msg(!note[0], "%s, %s: %s", build, said->name, note);
        if (strcmp(said->name, "tail") == 0 && !debug)
            ck_assert(!has_function(thread, "jumps_on")); /* it left no frame, and none is made up */
    }
    stacks_check_running(target.pid);
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

/* It said that it was ready before it ended. */
static void await_end_of_leader(pid_t pid)
{
    const int64_t deadline = wedge_clock_ns() + 20 * WEDGE_NS_PER_S;
    for (char state = 0; state != 'Z';) {
        char text[1024];
        struct wedge_proc_stat stat;
        ck_assert_int_gt(wedge_proc_read(pid, 0, "stat", text, sizeof(text)), 0);
        ck_assert_int_eq(wedge_proc_stat_parse(text, &stat), 0);
        state = stat.state;
        ck_assert_msg(wedge_clock_ns() < deadline, "the main thread is in state %c", state);
        sched_yield();
    }
}

/* The process lives on without its main thread. */
START_TEST(test_leader_gone)
{
    static const char *const cases[] = {"tail", "alloca", "leave", NULL};
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    stacks_target_start(&target, "stacks_odd_o2", cases);
    await_end_of_leader(target.pid);
    capture_all(&snapshot, target.pid);
    ck_assert_msg(strstr(stacks_thread(&snapshot, target.pid)->stack_note, "has ended"), "%s",
                  stacks_thread(&snapshot, target.pid)->stack_note);
    for (size_t i = 0; i < target.n; i++)
        check_said(stacks_thread(&snapshot, target.said[i].tid), &target.said[i], "leader gone");
    kill(target.pid, SIGKILL);
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

/* Another program by the time its stacks are unwound: no frame of the old one gets a name of the new one. */
START_TEST(test_executes_meanwhile)
{
    static const char *const cases[] = {"tail", NULL};
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    struct wedge_capture *capture;
    struct wedge_err err;
    char comm[64] = "";
    stacks_target_start(&target, "stacks_odd_o2", cases);
    stacks_snapshot_init(&snapshot, target.pid);
    ck_assert_int_eq(wedge_capture_proc(&snapshot, 0, 1000, NULL, &capture, &err), 0);
    ck_assert_int_eq(write(target.in, "exec\n", 5), 5);
    int64_t deadline = wedge_clock_ns() + 20 * WEDGE_NS_PER_S;
    while (strcmp(comm, "sleep\n") != 0 && wedge_clock_ns() < deadline)
        wedge_proc_read(target.pid, 0, "comm", comm, sizeof(comm));
    ck_assert_str_eq(comm, "sleep\n");
    ck_assert_int_eq(wedge_capture_unwind(capture, &err), 0);
    wedge_capture_symbols(capture);
    wedge_capture_free(capture);
    for (size_t i = 0; i < snapshot.n_threads; i++) {
        for (size_t k = 0; k < snapshot.threads[i].n_frames; k++)
            ck_assert_ptr_null(snapshot.threads[i].frames[k].function);
        ck_assert_msg(strstr(snapshot.threads[i].stack_note, "executed another program"), "%s",
                      snapshot.threads[i].stack_note);
    }
    kill(target.pid, SIGKILL);
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

static const struct {
    const char *program, *note;
} bare[] = {{"stacks_bare", ""}, {"stacks_bare_no_cfi", "frame pointers"}};

START_TEST(test_bare)
{
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    stacks_target_start(&target, bare[_i].program, NULL);
    capture_all(&snapshot, target.pid);
    const struct wedge_thread *thread = stacks_thread(&snapshot, target.said[0].tid);
    check_said(thread, &target.said[0], bare[_i].program);
    ck_assert_msg(has_function(thread, "_start"), "%zu frames, %s", thread->n_frames, thread->stack_note);
    if (bare[_i].note[0])
        ck_assert_msg(strstr(thread->stack_note, bare[_i].note), "%s", thread->stack_note);
    else
        ck_assert_str_eq(thread->stack_note, "");
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

/* Its registers are another set: that is said, and nothing else. */
START_TEST(test_32_bit)
{
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    char path[4096], line[4200];
    stacks_path("stacks_32", path, sizeof(path));
    snprintf(line, sizeof(line), "%s </dev/null >/dev/null 2>&1", path);
    if (WEXITSTATUS(system(line)) == 126)
        return; /* a kernel without 32-bit programs */
    stacks_target_start(&target, "stacks_32", NULL);
    capture_all(&snapshot, target.pid);
    ck_assert_msg(strstr(snapshot.threads[0].stack_note, "32-bit"), "%s", snapshot.threads[0].stack_note);
    ck_assert_uint_eq(snapshot.threads[0].n_frames, 0);
    stacks_check_running(target.pid);
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

/* A thread that never leaves clock_gettime for long: each sample is a whole stack, and one at least was taken in the
 * kernel's page. */
START_TEST(test_vdso_samples)
{
    static const char *const cases[] = {"vdso", NULL};
    char path[4096], line[256];
    int in[2], out[2], samples = 0;
    pid_t tid;
    ck_assert_int_eq(pipe(in), 0);
    ck_assert_int_eq(pipe(out), 0);
    stacks_path("stacks_odd_o2", path, sizeof(path));
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        execl(path, "stacks_odd", cases[0], (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *said = fdopen(out[0], "r");
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), said));
    ck_assert_int_eq(sscanf(line, "thread %d", &tid), 1);
    for (int i = 0; i < VDSO_SAMPLES; i++) {
        struct wedge_snapshot snapshot;
        capture_all(&snapshot, pid);
        const struct wedge_thread *thread = stacks_thread(&snapshot, tid);
        ck_assert_msg(has_function(thread, "in_vdso") && !thread->stack_note[0], "%zu frames from %s, %s",
                      thread->n_frames, thread->frames[0].module, thread->stack_note);
        if (strcmp(thread->frames[0].module, "[vdso]") == 0) {
            samples++;
            ck_assert(thread->frames[0].function && strstr(thread->frames[0].function, "clock_gettime"));
        }
        stacks_snapshot_done(&snapshot);
    }
    ck_assert_int_gt(samples, 0);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    fclose(said);
    close(in[0]);
    close(in[1]);
}
END_TEST

/* ---- every instruction of a walk ---- */

static __attribute__((noinline, noclone)) int walked(int n)
{
    struct timespec now;
    volatile char *room = alloca((size_t)n); /* cppcheck-suppress allocaCalled ; it is what is tested */
    clock_gettime(CLOCK_MONOTONIC, &now); /* the vDSO */
    for (int i = 0; i < n; i++)
        room[i] = (char)now.tv_nsec;
    return (int)getsid(0) + room[n / 2]; /* bound at its first call: through the linkage table and the dynamic linker */
}

static __attribute__((noinline, noclone)) int walk(void)
{
    raise(SIGSTOP);
    int sum = walked(40);
    raise(SIGSTOP);
    return sum;
}

static bool is_of_walk(uint64_t pc)
{
    return pc - (uint64_t)(uintptr_t)walk < 512;
}

struct walk {
    pid_t pid;
    struct wedge_regions regions;
    struct wedge_target_memory memory;
    struct wedge_images images;
    struct wedge_unwinder *unwinder;
    struct wedge_unwind_stack stack;
    uint8_t window[WINDOW];
};

static void walk_open(struct walk *walk)
{
    ck_assert_int_eq(wedge_regions_read(walk->pid, walk->pid, &walk->regions), 0);
    ck_assert_int_eq(wedge_target_memory_open(walk->pid, walk->pid, &walk->regions, &walk->memory), 0);
    walk->images.memory = &walk->memory;
    ck_assert_int_eq(wedge_unwinder_new(&walk->images, walk->pid, &walk->unwinder), 0);
}

static void walk_close(struct walk *walk)
{
    wedge_unwinder_free(walk->unwinder);
    wedge_images_free(&walk->images);
    wedge_target_memory_close(&walk->memory);
    wedge_regions_free(&walk->regions);
    free(walk);
}

/* Unwinds the thread where it stands: by libunwind alone, or with the other one behind it. */
static void unwind_here(struct walk *walk, bool thorough)
{
    struct iovec local = {walk->window, WINDOW}, remote;
    ck_assert_int_eq(ptrace(PTRACE_GETREGS, walk->pid, NULL, &walk->stack.regs), 0);
    uint64_t from = walk->stack.regs.rsp - 128;
    const struct wedge_region *region = wedge_regions_find(&walk->regions, walk->stack.regs.rsp);
    ck_assert_ptr_nonnull(region);
    remote = (struct iovec){(void *)(uintptr_t)from, region->end - from < WINDOW ? region->end - from : WINDOW};
    ssize_t got = process_vm_readv(walk->pid, &local, 1, &remote, 1, 0);
    ck_assert_int_gt(got, 0);
    walk->stack.windows[0] = (struct wedge_unwind_window){from, (size_t)got, walk->window};
    walk->stack.n_windows = 1;
    wedge_unwind_fast(walk->unwinder, &walk->stack);
    if (thorough && (walk->stack.end == WEDGE_UNWIND_NO_INFO || walk->stack.end == WEDGE_UNWIND_LOST))
        wedge_unwind_thorough(walk->unwinder, &walk->stack);
}

/* How many frames lie around the first one of walk(); 0 when it is not there. */
static size_t around_walk(const struct wedge_unwind_stack *stack)
{
    for (size_t i = 0; i < stack->n_frames; i++)
        if (is_of_walk(stack->frames[i].pc))
            return stack->n_frames - i - 1;
    return 0;
}

START_TEST(test_every_instruction)
{
    struct walk *w = calloc(1, sizeof(*w));
    uint64_t outer[WEDGE_UNWIND_FRAMES_MAX];
    size_t n_outer, steps = 0;
    bool vdso = false, linker = false;
    int status;
    ck_assert_ptr_nonnull(w);
    w->pid = fork();
    ck_assert_int_ge(w->pid, 0);
    if (w->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        _exit(walk() & 1);
    }
    ck_assert_int_eq(waitpid(w->pid, &status, 0), w->pid);
    walk_open(w);
    unwind_here(w, true);
    n_outer = around_walk(&w->stack);
    ck_assert_uint_gt(n_outer, 0);
    for (size_t i = 0; i < n_outer; i++)
        outer[i] = w->stack.frames[w->stack.n_frames - n_outer + i].pc;
    for (;;) {
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, w->pid, NULL, NULL), 0);
        ck_assert_int_eq(waitpid(w->pid, &status, 0), w->pid);
        ck_assert_msg(WIFSTOPPED(status), "0x%x", status);
        if (WSTOPSIG(status) == SIGSTOP)
            break;
        ck_assert_uint_lt(++steps, STEPS_MAX);
        unwind_here(w, true);
        uint64_t pc = w->stack.regs.rip;
        const struct wedge_region *region = wedge_regions_find(&w->regions, pc);
        vdso |= region && strcmp(region->path, "[vdso]") == 0;
        linker |= region && strstr(region->path, "/ld-linux");
        ck_assert_msg(w->stack.end == WEDGE_UNWIND_COMPLETE && !w->stack.guessed && around_walk(&w->stack) == n_outer,
                      "after %zu steps, at 0x%lx in %s: %zu frames, end %d, %zu guessed, %zu of %zu around", steps,
                      (unsigned long)pc, region ? region->path : "?", w->stack.n_frames, (int)w->stack.end,
                      w->stack.guessed, around_walk(&w->stack), n_outer);
        for (size_t i = 0; i < n_outer; i++)
            ck_assert_uint_eq(w->stack.frames[w->stack.n_frames - n_outer + i].pc, outer[i]);
    }
    ck_assert_uint_gt(steps, 300);
    ck_assert(vdso);
    ck_assert(linker);
    kill(w->pid, SIGKILL);
    ck_assert_int_eq(waitpid(w->pid, &status, 0), w->pid);
    walk_close(w);
}
END_TEST

/* Most functions of C++ have landing pads, whose table leads into .data: libunwind alone goes through them. */
START_TEST(test_landing_pads)
{
    struct walk *w = calloc(1, sizeof(*w));
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    int status;
    ck_assert_ptr_nonnull(w);
    stacks_target_start(&target, "stacks_cxx", NULL);
    capture_all(&snapshot, target.pid);
    const struct wedge_thread *thread = stacks_thread(&snapshot, target.pid);
    size_t k = 0;
    for (size_t i = 0; i < thread->n_frames && k < target.said[0].n; i++)
        k += thread->frames[i].function && strncmp(thread->frames[i].function, target.said[0].frames[k].function,
                                                   strlen(target.said[0].frames[k].function)) == 0;
    ck_assert_msg(k == target.said[0].n && !thread->stack_note[0], "%zu of %zu, %s", k, target.said[0].n,
                  thread->stack_note);
    stacks_snapshot_done(&snapshot);

    w->pid = target.pid;
    ck_assert_int_eq(ptrace(PTRACE_SEIZE, w->pid, NULL, NULL), 0);
    ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, w->pid, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(w->pid, &status, 0), w->pid);
    walk_open(w);
    unwind_here(w, false);
    ck_assert_msg(w->stack.end == WEDGE_UNWIND_COMPLETE && w->stack.n_frames > 6, "end %d after %zu frames: %s",
                  (int)w->stack.end, w->stack.n_frames, w->stack.reason);
    walk_close(w);
    kill(target.pid, SIGKILL);
    stacks_target_end(&target);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_landing_pads);
    tcase_add_loop_test(tcase, test_odd, 0, sizeof(builds) / sizeof(builds[0]));
    tcase_add_test(tcase, test_leader_gone);
    tcase_add_test(tcase, test_executes_meanwhile);
    tcase_add_loop_test(tcase, test_bare, 0, sizeof(bare) / sizeof(bare[0]));
    tcase_add_test(tcase, test_32_bit);
    tcase_add_test(tcase, test_vdso_samples);
    tcase_add_test(tcase, test_every_instruction);
}

int main(void)
{
    return wedge_test_main("stacks_odd", 60, fill);
}
