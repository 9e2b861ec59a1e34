/*
 * Debug information that a program's own file names and does not hold (-gsplit-dwarf), through the whole examination: the
 * child without rights reads it, and no name in a file leads it to anything but a regular one of the same build.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "detector/examine.h"
#include "detector/tests/stacks_harness.h"

#define BUILD    STACKS_CC " -D_GNU_SOURCE -g -O2 -fomit-frame-pointer -pthread -gsplit-dwarf "
#define LIMIT_NS (8 * WEDGE_NS_PER_S) /* less than reading a FIFO would be given */

static const struct {
    const char *name, *recipe; /* run beside the program */
    bool inlined; /* what was inlined is known */
} cases[] = {
    {"as built", BUILD "-o program " STACKS_SOURCE, true},
    {"DWARF 4", BUILD "-gdwarf-4 -o program " STACKS_SOURCE, true},
    {"gone", BUILD "-o program " STACKS_SOURCE " && rm *.dwo", false},
    {"no regular file", BUILD "-o program " STACKS_SOURCE " && f=$(ls *.dwo) && rm $f && mkfifo $f", false},
    {"a device", BUILD "-o program " STACKS_SOURCE " && f=$(ls *.dwo) && ln -sf /dev/zero $f", false},
    {"of another build",
     BUILD "-o program " STACKS_SOURCE " && f=$(ls *.dwo) && mv $f kept && " BUILD
           "-O0 -fno-inline -o program " STACKS_SOURCE " && mv $f other && " BUILD "-o program " STACKS_SOURCE
           " && mv other $f",
     false},
    {"nonsense", BUILD "-o program " STACKS_SOURCE " && f=$(ls *.dwo) && head -c 5000 program >$f", false},
};

/* Every frame that the thread said, with its line; without those that were inlined where they cannot be known. */
static void check_thread(const struct wedge_thread *thread, const struct stacks_said *said, bool inlined)
{
    size_t k = 0, wanted = 0, found = 0;
    ck_assert_str_eq(thread->stack_note, "");
    for (size_t i = 0; i < said->n; i++)
        wanted += inlined || !said->frames[i].inlined;
    for (size_t i = 0; i < thread->n_frames; i++) {
        const struct wedge_frame *f = &thread->frames[i];
        if (f->libc || !f->function)
            continue;
        ck_assert(f->line > 0 && f->file); /* the lines are in the program's own file */
        while (k < said->n && said->frames[k].inlined && !inlined)
            k++;
        if (k == said->n || strcmp(f->function, said->frames[k].function) != 0)
            continue;
        ck_assert_int_eq(f->inlined, said->frames[k].inlined);
        found += !inlined || f->line == said->frames[k].line;
        k++;
    }
    ck_assert_msg(found == wanted, "%s: %zu of %zu frames", said->name, found, wanted);
}

START_TEST(test_split)
{
    static const char *const wanted[] = {"read", "poll", NULL};
    struct stacks_target target;
    struct wedge_snapshot *snapshot = NULL;
    struct wedge_err err = {0};
    char path[64];
    stacks_in_folder("rm -rf *");
    stacks_in_folder(cases[_i].recipe);
    snprintf(path, sizeof(path), "%s/program", stacks_folder);
    stacks_target_start(&target, path, wanted);
    struct wedge_examine options = {.root = target.pid, .stacks = WEDGE_STACKS_ALWAYS};
    int64_t begin = wedge_clock_ns();
    ck_assert_msg(wedge_detector_examine(&options, NULL, &snapshot, &err) == 0, "%s", err.message);
    ck_assert_int_lt(wedge_clock_ns() - begin, LIMIT_NS);
    bool any = false;
    for (size_t i = 0; i < target.n; i++) {
        check_thread(stacks_thread(snapshot, target.said[i].tid), &target.said[i], cases[_i].inlined);
        for (size_t k = 0; k < target.said[i].n; k++)
            any |= target.said[i].frames[k].inlined;
    }
    ck_assert(any); /* something was inlined: the cases differ */
    wedge_snapshot_free(snapshot);
    stacks_target_end(&target);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_unchecked_fixture(tcase, stacks_make_folder, stacks_remove_folder);
    tcase_add_loop_test(tcase, test_split, 0, sizeof(cases) / sizeof(cases[0]));
}

int main(void)
{
    return wedge_test_main("split_dwarf", 60, fill);
}
