/* detector/capture against eu-stack, an unwinder of another house: the same pcs, frame by frame. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/tests/suite.h"
#include "detector/capture.h"
#include "detector/tests/stacks_harness.h"
#include "detector/unwind.h"

static const char *const programs[] = {"stacks_target_plain",      "stacks_target_o2",     "stacks_target_static",
                                       "stacks_target_static_pie", "stacks_target_no_hdr", "stacks_target_debug_frame",
                                       "stacks_target_stripped"};

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
    stacks_target_start(&target, programs[_i], NULL);
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
        for (size_t k = 0; k < oracles[i].n; k++)
            ck_assert_msg(thread->frames[k].pc == oracles[i].pcs[k], "thread %d, frame %zu: 0x%lx, eu-stack has 0x%lx",
                          thread->tid, k, (unsigned long)thread->frames[k].pc, (unsigned long)oracles[i].pcs[k]);
    }
    stacks_check_running(target.pid);
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_same_frames, 0, sizeof(programs) / sizeof(programs[0]));
}

int main(void)
{
    return wedge_test_main("stacks_oracle", 60, fill);
}
