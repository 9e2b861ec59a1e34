/*
 * detector/elf_debug: debug information in a file of its own, as binutils and dwz make them, found where it is meant to
 * be; and one that is not certainly the right one is none.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/stacks/capture.h"
#include "detector/tests/stacks_harness.h"

enum known { NOTHING, NAMES, LINES };

#define SPLIT   "objcopy --only-keep-debug program program.debug && strip program && "
#define NO_ID   "objcopy -R .note.gnu.build-id program && "
#define LINK(f) "objcopy --add-gnu-debuglink=" f " program"

static const struct {
    const char *name, *recipe; /* of what is done to `program`, in its folder; `other` is another build of it */
    enum known known;
} cases[] = {
    {"stripped", "strip program", NOTHING},
    {"beside it", SPLIT LINK("program.debug"), LINES},
    {"in .debug", SPLIT LINK("program.debug") " && mkdir .debug && mv program.debug .debug", LINES},
    {"by checksum", NO_ID SPLIT LINK("program.debug"), LINES},
    {"wrong checksum", NO_ID SPLIT LINK("program.debug") " && echo >>program.debug", NOTHING},
    {"no regular file", SPLIT LINK("program.debug") " && rm program.debug && mkfifo program.debug", NOTHING},
    {"of another build", SPLIT "objcopy --only-keep-debug other other.debug && " LINK("other.debug"), NOTHING},
    {"compressed in place", "objcopy --compress-debug-sections program", LINES},
    {"compressed beside it", SPLIT "objcopy --compress-debug-sections program.debug && " LINK("program.debug"), LINES},
    {"link without a file", SPLIT LINK("program.debug") " && rm program.debug", NOTHING},
    {"packed symbols",
     "objcopy --only-keep-debug program packed && objcopy -S -w --keep-symbol='*' packed && xz packed && strip program "
     "&& "
     "objcopy --add-section .gnu_debugdata=packed.xz program",
     NAMES},
    {"packed nonsense", "strip program && objcopy --add-section .gnu_debugdata=other program", NOTHING},
    {"shared by dwz",
     SPLIT LINK("program.debug") " && objcopy --only-keep-debug other other.debug && "
                                 "dwz -m shared.debug -M shared.debug program.debug other.debug && "
                                 "readelf -SW program.debug | grep -q gnu_debugaltlink",
     LINES},
    {"shared and lost",
     SPLIT LINK("program.debug") " && objcopy --only-keep-debug other other.debug && "
                                 "dwz -m shared.debug -M shared.debug program.debug other.debug && rm shared.debug",
     NAMES},
};

START_TEST(test_debug_files)
{
    static const char *const wanted[] = {"read", "poll", NULL};
    char from[4096], line[9000], path[64];
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    struct wedge_capture *capture;
    struct wedge_err err;
    stacks_in_folder("rm -rf * .debug");
    stacks_path("stacks_target_o2", from, sizeof(from));
    snprintf(line, sizeof(line), "cp %s program", from);
    stacks_in_folder(line);
    stacks_path("stacks_target_plain", from, sizeof(from));
    snprintf(line, sizeof(line), "cp %s other", from);
    stacks_in_folder(line);
    stacks_in_folder(cases[_i].recipe);
    snprintf(path, sizeof(path), "%s/program", stacks_folder);
    stacks_target_start(&target, path, wanted);
    stacks_snapshot_init(&snapshot, target.pid);
    ck_assert_int_eq(wedge_capture_proc(&snapshot, 0, 1000, NULL, &capture, &err), 0);
    ck_assert_int_eq(wedge_capture_unwind(capture, &err), 0);
    wedge_capture_symbols(capture);
    wedge_capture_free(capture);
    for (size_t t = 0; t < target.n; t++) {
        const struct stacks_said *said = &target.said[t];
        const struct wedge_thread *thread = stacks_thread(&snapshot, said->tid);
        size_t k = 0;
        ck_assert_str_eq(thread->stack_note, "");
        for (size_t i = 0; i < thread->n_frames; i++) {
            const struct wedge_frame *f = &thread->frames[i];
            if (f->libc)
                continue;
            if (cases[_i].known == NOTHING)
                ck_assert_msg(!f->function && !f->file && f->module_offset, "%s: %s", cases[_i].name, f->function);
            /* Without lines what was inlined is not known of either. */
            while (k < said->n && said->frames[k].inlined && cases[_i].known == NAMES)
                k++;
            if (k < said->n && f->function && strcmp(f->function, said->frames[k].function) == 0)
                k += cases[_i].known == NAMES || f->line == said->frames[k].line;
        }
        ck_assert_msg(k == (cases[_i].known == NOTHING ? 0 : said->n), "%s, %s: %zu of %zu frames", cases[_i].name,
                      said->name, k, said->n);
    }
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_unchecked_fixture(tcase, stacks_make_folder, stacks_remove_folder);
    tcase_add_loop_test(tcase, test_debug_files, 0, sizeof(cases) / sizeof(cases[0]));
}

int main(void)
{
    return wedge_test_main("elf_debug", 60, fill);
}
