/*
 * detector/capture against the unwinders of other houses, on the same process: eu-stack has the same pcs frame by frame,
 * gdb the same functions and lines.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/tests/suite.h"
#include "detector/stacks/capture.h"
#include "detector/stacks/unwind.h"
#include "detector/tests/stacks_harness.h"

/* Not "frameless" and "coroutine", of which eu-stack tells frames that are none. */
static const char *const odd[] = {"tail", "alloca", "noreturn", "recursion", "nested", "fault", "clone", "jit", NULL};
static const struct {
    const char *name;
    const char *const *cases; /* NULL: all */
} programs[] = {
    {"stacks_target_plain", NULL},    {"stacks_target_o2", NULL},
    {"stacks_target_static", NULL},   {"stacks_target_static_pie", NULL},
    {"stacks_target_no_hdr", NULL},   {"stacks_target_debug_frame", NULL},
    {"stacks_target_stripped", NULL}, {"stacks_odd_o0", odd},
    {"stacks_odd_o2", odd},           {"stacks_odd_os", odd},
    {"stacks_odd_lto", odd},          {"stacks_odd_cf", odd},
    {"stacks_odd_static", odd},
};

struct oracle {
    pid_t tid;
    uint64_t pcs[WEDGE_UNWIND_FRAMES_MAX];
    size_t n;
};

/* "TID 123:" and then "#0  0x00007f… name" for each frame. */
static size_t ask_oracle(pid_t pid, struct oracle *oracles, size_t max)
{
    char line[4096];
    size_t n = 0;
    snprintf(line, sizeof(line), EU_STACK " -n %d -p %d 2>/dev/null", WEDGE_UNWIND_FRAMES_MAX, pid);
    FILE *out = popen(line, "re");
    ck_assert_ptr_nonnull(out);
    while (fgets(line, sizeof(line), out)) {
        pid_t tid;
        unsigned frame;
        unsigned long pc;
        if (sscanf(line, "TID %d:", &tid) == 1) {
            ck_assert_uint_lt(n, max);
            oracles[n++].tid = tid;
        } else if (n && sscanf(line, "#%u %lx", &frame, &pc) == 2) {
            ck_assert_uint_lt(oracles[n - 1].n, WEDGE_UNWIND_FRAMES_MAX);
            oracles[n - 1].pcs[oracles[n - 1].n++] = pc;
        }
    }
    pclose(out); /* not zero where a stack was longer than asked for */
    return n;
}

START_TEST(test_same_frames)
{
    static struct oracle oracles[STACKS_THREADS_MAX];
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    struct wedge_capture *capture;
    struct wedge_err err;
    stacks_target_start(&target, programs[_i].name, programs[_i].cases);
    stacks_snapshot_init(&snapshot, target.pid);
    ck_assert_int_eq(wedge_capture_proc(&snapshot, 0, 1000, NULL, &capture, &err), 0);
    ck_assert_int_eq(wedge_capture_unwind(capture, &err), 0);
    wedge_capture_free(capture);
    memset(oracles, 0, sizeof(oracles));
    size_t n = ask_oracle(target.pid, oracles, STACKS_THREADS_MAX);
    ck_assert_uint_eq(n, snapshot.n_threads);
    for (size_t i = 0; i < n; i++) {
        const struct wedge_thread *thread = stacks_thread(&snapshot, oracles[i].tid);
        ck_assert_uint_ge(oracles[i].n, 3);
        ck_assert_msg(thread->n_frames == oracles[i].n, "thread %d: %zu frames, eu-stack has %zu", thread->tid,
                      thread->n_frames, oracles[i].n);
        bool deep = strstr(thread->stack_note, "are left out");
        for (size_t k = 0; k < (deep ? WEDGE_UNWIND_INNER : oracles[i].n); k++)
            ck_assert_msg(thread->frames[k].pc == oracles[i].pcs[k], "thread %d, frame %zu: 0x%lx, eu-stack has 0x%lx",
                          thread->tid, k, (unsigned long)thread->frames[k].pc, (unsigned long)oracles[i].pcs[k]);
    }
    stacks_check_running(target.pid);
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

/* ---- gdb ---- */

/* gdb makes up the frames of calls in tail position out of DWARF's call sites; here they are none. It does not demangle
 * in a C program. */
static const char *const named[] = {"alloca", "noreturn", "nested", "fault", "clone", NULL};
static const char *const plain[] = {"read", "sem", "mutex", "cond", "poll", "handler", "altstack", "deep", NULL};
static const struct {
    const char *name, *source;
    const char *const *cases;
} named_programs[] = {
    {"stacks_odd_o2", "stacks_odd.c", named},
    {"stacks_odd_static", "stacks_odd.c", named},
    {"stacks_target_debug_frame", "stacks_target.c", plain},
};

/* "#3  0x… in name (args) at path/source.c:12", the address only where it is no line's first: function and line. */
static bool parse_gdb(const char *line, const char *source, char *function, size_t size, int *ret_line)
{
    const char *at = strstr(line, " at "), *place = at ? strstr(at, source) : NULL;
    unsigned frame;
    int skip = 0;
    if (!place || sscanf(line, "#%u %n", &frame, &skip) != 1 || sscanf(place + strlen(source), ":%d", ret_line) != 1)
        return false;
    line += skip;
    if (strncmp(line, "0x", 2) == 0)
        line = strstr(line, " in ") + 4;
    size_t len = strcspn(line, " (");
    ck_assert_uint_lt(len, size);
    memcpy(function, line, len);
    function[len] = 0;
    return true;
}

/* The next frame of the program's own source from `from` on. */
static size_t next_own(const struct wedge_thread *thread, size_t from, const char *source)
{
    while (from < thread->n_frames && (!thread->frames[from].file || !strstr(thread->frames[from].file, source)))
        from++;
    return from;
}

START_TEST(test_same_names)
{
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    struct wedge_capture *capture;
    struct wedge_err err;
    const char *source = named_programs[_i].source;
    char line[4096], function[256];
    const struct wedge_thread *thread = NULL;
    size_t at = 0, frames = 0, threads = 0;
    stacks_target_start(&target, named_programs[_i].name, named_programs[_i].cases);
    stacks_snapshot_init(&snapshot, target.pid);
    ck_assert_int_eq(wedge_capture_proc(&snapshot, 0, 1000, NULL, &capture, &err), 0);
    ck_assert_int_eq(wedge_capture_unwind(capture, &err), 0);
    wedge_capture_symbols(capture);
    wedge_capture_free(capture);
    snprintf(
        line, sizeof(line),
        "gdb -nx -batch -iex 'set debuginfod enabled off' -ex 'set backtrace limit 250' -p %d -ex 'thread apply all "
        "bt' 2>/dev/null",
        target.pid);
    FILE *out = popen(line, "re");
    ck_assert_ptr_nonnull(out);
    while (fgets(line, sizeof(line), out)) {
        const char *lwp = strncmp(line, "Thread ", 7) == 0 ? strstr(line, "LWP ") : NULL;
        int number;
        if (lwp) {
            if (thread) /* no frame more than gdb has */
                ck_assert_uint_ge(next_own(thread, at, source), thread->stack_note[0] ? 0 : thread->n_frames);
            thread = stacks_thread(&snapshot, (pid_t)strtol(lwp + 4, NULL, 10));
            at = 0;
            threads++;
        }
        if (!thread || !parse_gdb(line, source, function, sizeof(function), &number))
            continue;
        at = next_own(thread, at, source);
        if (at == thread->n_frames && thread->stack_note[0])
            continue; /* cut, and says so */
        ck_assert_msg(at < thread->n_frames, "thread %d: gdb has %s:%d beyond ours", thread->tid, function, number);
        ck_assert_msg(strcmp(thread->frames[at].function, function) == 0 && thread->frames[at].line == number,
                      "thread %d, frame %zu: %s:%d, gdb has %s:%d", thread->tid, at, thread->frames[at].function,
                      thread->frames[at].line, function, number);
        at++;
        frames++;
    }
    pclose(out);
    ck_assert_uint_eq(threads, snapshot.n_threads);
    ck_assert_uint_gt(frames, 10);
    stacks_check_running(target.pid);
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_same_names, 0, sizeof(named_programs) / sizeof(named_programs[0]));
    tcase_add_loop_test(tcase, test_same_frames, 0, sizeof(programs) / sizeof(programs[0]));
}

int main(void)
{
    return wedge_test_main("stacks_oracle", 60, fill);
}
