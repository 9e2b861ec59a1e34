/*
 * detector/stacks/walk against what it stands for: rows against libdw's reading of the same unwind information, for the
 * functions of this process and its libraries; whole stacks against libunwind's, for all programs of the tests of stacks.
 */
#include <check.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/elf/elf_file.h"
#include "detector/stacks/cfi.h"
#include "detector/stacks/stop.h"
#include "detector/stacks/unwind.h"
#include "detector/stacks/walk.h"
#include "detector/tests/stacks_harness.h"

#define PLACES_EACH 6 /* addresses asked for in each function */
#define PLACES_ALL  40000 /* and in each file */

/* ---- rows ---- */

static const int kept_numbers[WEDGE_CFI_KEPT] = {3, 6, 12, 13, 14, 15};
static const int base_numbers[WEDGE_CFI_REGISTERS] = {3, 6, 12, 13, 14, 15, 7};

/* Where the caller's value of a register lies, by libdw; false: it is no number from the frame's address. */
static bool rule_by_libdw(Dwarf_Frame *frame, int number, int32_t *ret)
{
    Dwarf_Op mem[3], *ops = NULL;
    size_t n = 0;
    ck_assert_int_eq(dwarf_frame_register(frame, number, mem, &ops, &n), 0);
    if (n == 0) /* "the same value", or not a word, which for these is the same by the ABI */
        *ret = WEDGE_CFI_SAME;
    else if (n == 1 && ops[0].atom == DW_OP_call_frame_cfa)
        *ret = 0;
    else if (n == 2 && ops[0].atom == DW_OP_call_frame_cfa && ops[1].atom == DW_OP_plus_uconst)
        *ret = (int32_t)(int64_t)ops[1].number;
    else
        return false;
    return true;
}

/* Says what libdw says, or nothing. */
static void check_row(const struct wedge_cfi_row *row, Dwarf_Frame *frame, uint64_t address)
{
    Dwarf_Op *ops = NULL;
    Dwarf_Addr start, end;
    size_t n = 0;
    bool signal = false;
    int32_t at;
    int ra = dwarf_frame_info(frame, &start, &end, &signal);
    ck_assert_int_eq(ra, 16);
    ck_assert(!signal);
    ck_assert_int_eq(dwarf_frame_cfa(frame, &ops, &n), 0);
    ck_assert_msg(n == 1 && ops[0].atom == DW_OP_bregx && (int)ops[0].number == base_numbers[row->base] &&
                      (int64_t)ops[0].number2 == row->base_offset,
                  "0x%lx: base %d%+d, libdw has %zu operations", (unsigned long)address, row->base, row->base_offset,
                  n);
    Dwarf_Op mem[3];
    ck_assert_int_eq(dwarf_frame_register(frame, 16, mem, &ops, &n), 0);
    ck_assert_int_eq(row->outermost, n == 0 && ops == mem);
    if (!row->outermost) {
        ck_assert(rule_by_libdw(frame, 16, &at));
        ck_assert_int_eq(at, row->return_at);
    }
    for (unsigned i = 0; i < WEDGE_CFI_KEPT; i++) {
        ck_assert_msg(rule_by_libdw(frame, kept_numbers[i], &at), "0x%lx: register %d", (unsigned long)address,
                      kept_numbers[i]);
        ck_assert_msg(at == row->kept_at[i], "0x%lx: register %d at %d, libdw has %d", (unsigned long)address,
                      kept_numbers[i], row->kept_at[i], at);
    }
}

/* This process, looked at from inside. */
struct self {
    struct wedge_regions regions;
    struct wedge_target_memory memory;
    struct wedge_images images;
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Asks at the first byte, the last one and some between them of each function that the image's table lists. */
static void check_image(struct self *self, struct wedge_image *image, size_t *asked, size_t *known)
{
    struct wedge_elf_file *file = wedge_elf_of_image(&self->images, image, getpid());
    Dwarf_CFI *cfi = file ? dwarf_getcfi_elf(file->elf) : NULL;
    uint32_t random = 4711;
    size_t here = 0;
    ck_assert_msg(cfi != NULL, "%s", image->region->path);
    for (uint64_t i = 0; i < image->n_fdes && here < PLACES_ALL; i++) {
        int32_t entry[2], next[2] = {0};
        ck_assert(wedge_target_memory_read(&self->memory, image->table + i * 8, entry, sizeof(entry)));
        uint64_t begin = image->hdr + (uint64_t)(int64_t)entry[0], end = image->text_hi;
        if (i + 1 < image->n_fdes) {
            ck_assert(wedge_target_memory_read(&self->memory, image->table + (i + 1) * 8, next, sizeof(next)));
            end = image->hdr + (uint64_t)(int64_t)next[0];
        }
        for (int k = 0; k < PLACES_EACH && begin < end; k++, here++) {
            uint64_t at = k == 0 ? begin : k == 1 ? end - 1 : begin + next_random(&random) % (end - begin);
            struct wedge_cfi_row row;
            Dwarf_Frame *frame = NULL;
            wedge_cfi_find(&self->memory, image, at, &row);
            int rc = dwarf_cfi_addrframe(cfi, at - image->bias, &frame);
            ck_assert_msg(!row.known || rc == 0, "0x%lx: libdw knows of no function there", (unsigned long)at);
            if (row.known)
                check_row(&row, frame, at - image->bias);
            *asked += rc == 0;
            *known += row.known;
            free(frame);
        }
    }
    dwarf_cfi_end(cfi);
}

START_TEST(test_rows)
{
    static struct self self;
    size_t asked = 0, known = 0, images = 0;
    ck_assert_int_eq(wedge_regions_read(getpid(), getpid(), &self.regions), 0);
    ck_assert_int_eq(wedge_target_memory_open(getpid(), getpid(), &self.regions, &self.memory), 0);
    self.images.memory = &self.memory;
    for (size_t i = 0; i < self.regions.n; i++) {
        if (!self.regions.all[i].exec || !self.regions.all[i].inode)
            continue;
        struct wedge_image *image = wedge_images_find(&self.images, self.regions.all[i].start);
        if (!image || !image->searchable)
            continue;
        check_image(&self, image, &asked, &known);
        images++;
    }
    ck_assert_uint_ge(images, 5); /* the test, libc, the linker, libdw, libunwind, … */
    ck_assert_uint_gt(asked, 10000);
    ck_assert_msg(known > asked / 100 * 97, "%zu of %zu", known, asked);
    wedge_elf_forget();
    wedge_images_free(&self.images);
    wedge_target_memory_close(&self.memory);
    wedge_regions_free(&self.regions);
}
END_TEST

/* ---- stacks ---- */

static const struct {
    const char *name;
    bool rows; /* its stacks are such as compilers write, and in reach of the table */
} programs[] = {
    {"stacks_target_plain", true},   {"stacks_target_o2", true},
    {"stacks_target_static", false}, {"stacks_target_static_pie", false},
    {"stacks_target_no_hdr", false}, {"stacks_target_debug_frame", false},
    {"stacks_target_no_cfi", false}, {"stacks_target_stripped", true},
    {"stacks_odd_o0", true},         {"stacks_odd_o2", true},
    {"stacks_odd_os", true},         {"stacks_odd_lto", true},
    {"stacks_odd_cf", true},         {"stacks_odd_now", true},
    {"stacks_odd_static", false},    {"stacks_cxx", true},
    {"stacks_bare", false},
};

static void check_same(const struct wedge_unwind_stack *one, const struct wedge_unwind_stack *other, int tid)
{
    ck_assert_msg(one->n_frames == other->n_frames && one->omitted == other->omitted,
                  "thread %d: %zu frames, libunwind has %zu", tid, one->n_frames, other->n_frames);
    for (size_t i = 0; i < one->n_frames; i++)
        ck_assert_msg(one->frames[i].pc == other->frames[i].pc && one->frames[i].exact == other->frames[i].exact &&
                          one->frames[i].signal == other->frames[i].signal,
                      "thread %d, frame %zu: 0x%lx, libunwind has 0x%lx", tid, i, (unsigned long)one->frames[i].pc,
                      (unsigned long)other->frames[i].pc);
    ck_assert_int_eq(one->end, other->end);
    ck_assert_uint_eq(one->end == WEDGE_UNWIND_NEED ? one->need : 0, other->end == WEDGE_UNWIND_NEED ? other->need : 0);
}

/* Each thread by rows, by rows that are kept by now, and by libunwind; and with all but a piece of its stack missing. */
static size_t compare_threads(struct wedge_images *images, const struct wedge_stop *stop)
{
    static struct wedge_unwind_stack walked, library;
    struct wedge_unwinder *unwinder;
    size_t known = 0, omitted = 0;
    ck_assert_int_eq(wedge_unwinder_new(images, stop->pid, &unwinder), 0);
    for (size_t i = 0; i < 2 * stop->n_threads; i++) {
        const struct wedge_stop_thread *copy = &stop->threads[i / 2];
        ck_assert_int_eq(copy->state, WEDGE_STOP_COPIED);
        memset(&walked, 0, sizeof(walked));
        walked.regs = copy->regs;
        walked.windows[0] =
            (struct wedge_unwind_window){copy->from, i % 2 ? copy->len : WEDGE_STOP_RED_ZONE + 64, copy->data};
        walked.n_windows = 1;
        library = walked;
        wedge_unwind_library(unwinder, &library);
        for (int k = 0; k < 2; k++) {
            bool ours = wedge_walk(images, &walked, &omitted);
            if (ours)
                check_same(&walked, &library, copy->tid);
            known += ours && k && i % 2;
        }
    }
    wedge_unwinder_free(unwinder);
    return known;
}

START_TEST(test_stacks)
{
    struct stacks_target target;
    struct wedge_regions regions;
    struct wedge_target_memory memory;
    stacks_target_start(&target, programs[_i].name, NULL);
    ck_assert_int_eq(wedge_regions_read(target.pid, target.pid, &regions), 0);
    ck_assert_int_eq(wedge_target_memory_open(target.pid, target.pid, &regions, &memory), 0);
    struct wedge_stop stop = {.pid = target.pid, .whole = true, .deadline_ms = 1000, .regions = &regions};
    struct wedge_snapshot snapshot;
    stacks_snapshot_init(&snapshot, target.pid);
    stop.n_threads = snapshot.n_threads;
    stop.threads = wedge_stop_alloc(stop.n_threads, WEDGE_STOP_WINDOW_BYTES);
    ck_assert_ptr_nonnull(stop.threads);
    for (size_t i = 0; i < stop.n_threads; i++) {
        stop.threads[i].tid = snapshot.threads[i].tid;
        stop.threads[i].state = WEDGE_STOP_ASKED;
    }
    ck_assert_int_eq(wedge_stop_run(&stop), 0);
    struct wedge_images images = {.memory = &memory};
    size_t known = compare_threads(&images, &stop);
    if (programs[_i].rows)
        ck_assert_msg(known >= stop.n_threads / 3, "%zu of %zu", known, stop.n_threads);
    wedge_images_free(&images);
    wedge_walk_forget();
    wedge_stop_dispose(stop.threads, stop.n_threads, WEDGE_STOP_WINDOW_BYTES);
    wedge_target_memory_close(&memory);
    wedge_regions_free(&regions);
    kill(target.pid, SIGKILL); /* not all of them end with their input */
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_rows);
    tcase_add_loop_test(tcase, test_stacks, 0, sizeof(programs) / sizeof(programs[0]));
}

int main(void)
{
    return wedge_test_main("walk", 60, fill);
}
