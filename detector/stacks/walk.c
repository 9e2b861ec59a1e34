#include "detector/stacks/walk.h"

#include <stdlib.h>
#include <string.h>

#include "detector/stacks/cfi.h"

#define BUILDS_MAX 512
#define FIRST_ROOM 64

struct kept {
    uint64_t key; /* offset in the image, twice, and one more where the pc is exact; plus one: 0 is a free place */
    struct wedge_cfi_row row;
};
struct wedge_walk_rows {
    struct wedge_walk_rows *next;
    struct wedge_build_id build_id;
    uint64_t lo, text_lo, text_hi, hdr, n_fdes; /* from the bias: the layout */
    struct kept *all; /* open addressing; room is a power of two, at most half of it taken */
    size_t n, room;
};

static struct wedge_walk_rows *builds; /* see the header: as long as the process */
static size_t n_builds, n_rows;

void wedge_walk_rows_free(struct wedge_walk_rows *rows)
{
    if (!rows)
        return;
    n_rows -= rows->n;
    free(rows->all);
    free(rows);
}

void wedge_walk_forget(void)
{
    while (builds) {
        struct wedge_walk_rows *rows = builds;
        builds = rows->next;
        wedge_walk_rows_free(rows);
    }
    n_builds = 0;
}

static bool is_of(const struct wedge_walk_rows *rows, const struct wedge_image *image)
{
    return wedge_build_id_equal(&rows->build_id, &image->build_id) && rows->lo == image->lo - image->bias &&
           rows->text_lo == image->text_lo - image->bias && rows->text_hi == image->text_hi - image->bias &&
           rows->hdr == image->hdr - image->bias && rows->n_fdes == image->n_fdes;
}

/* NULL: no memory. */
static struct wedge_walk_rows *rows_of(struct wedge_image *image)
{
    if (image->rows)
        return image->rows;
    struct wedge_walk_rows *rows = image->build_id.len ? builds : NULL;
    while (rows && !is_of(rows, image))
        rows = rows->next;
    if (!rows && (rows = calloc(1, sizeof(*rows)))) {
        rows->build_id = image->build_id;
        rows->lo = image->lo - image->bias;
        rows->text_lo = image->text_lo - image->bias;
        rows->text_hi = image->text_hi - image->bias;
        rows->hdr = image->hdr - image->bias;
        rows->n_fdes = image->n_fdes;
        image->rows_own = !image->build_id.len || n_builds == BUILDS_MAX;
        if (!image->rows_own) {
            rows->next = builds;
            builds = rows;
            n_builds++;
        }
    }
    image->rows = rows;
    return rows;
}

/* The place of `key`, or the free one where it belongs. */
static struct kept *find(const struct wedge_walk_rows *rows, uint64_t key)
{
    size_t at = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & (rows->room - 1);
    while (rows->all[at].key && rows->all[at].key != key)
        at = (at + 1) & (rows->room - 1);
    return &rows->all[at];
}

static bool grow(struct wedge_walk_rows *rows)
{
    struct wedge_walk_rows larger = {.room = rows->room ? 2 * rows->room : FIRST_ROOM};
    larger.all = calloc(larger.room, sizeof(*larger.all));
    if (!larger.all)
        return false;
    for (size_t i = 0; i < rows->room; i++)
        if (rows->all[i].key)
            *find(&larger, rows->all[i].key) = rows->all[i];
    free(rows->all);
    rows->all = larger.all;
    rows->room = larger.room;
    return true;
}

/* The row of a frame, worked out at first sight. What a signal handler returns to is no call: it has none. */
static void find_row(struct wedge_images *images, struct wedge_image *image, const struct wedge_unwind_frame *frame,
                     struct wedge_cfi_row *ret)
{
    struct wedge_walk_rows *rows = rows_of(image);
    uint64_t key = 2 * (frame->pc - image->bias) + frame->exact + 1;
    if (rows && rows->room) {
        const struct kept *kept = find(rows, key);
        if (kept->key) {
            *ret = kept->row;
            return;
        }
    }
    wedge_cfi_find(images->memory, image, frame->pc - !frame->exact, ret);
    ret->known &= !wedge_unwind_is_trampoline(images, frame->pc);
    if (!rows || !key || n_rows >= WEDGE_WALK_ROWS_MAX || (2 * (rows->n + 1) > rows->room && !grow(rows)))
        return;
    *find(rows, key) = (struct kept){key, *ret};
    rows->n++;
    n_rows++;
}

/* A register of the frame that the walk has come to: still in a register, or somewhere on the stack, from where it is read
 * only if it is needed. */
struct value {
    bool stored;
    uint64_t at; /* the value itself, or its address */
};

struct walk {
    struct wedge_images *images;
    struct wedge_unwind_stack *stack;
    struct value values[WEDGE_CFI_REGISTERS];
    struct wedge_image *image; /* of the last frame: most often that of the next one */
};

static void begin(struct walk *walk)
{
    const struct user_regs_struct *regs = &walk->stack->regs;
    walk->values[WEDGE_CFI_RBX].at = regs->rbx;
    walk->values[WEDGE_CFI_RBP].at = regs->rbp;
    walk->values[WEDGE_CFI_R12].at = regs->r12;
    walk->values[WEDGE_CFI_R13].at = regs->r13;
    walk->values[WEDGE_CFI_R14].at = regs->r14;
    walk->values[WEDGE_CFI_R15].at = regs->r15;
    walk->values[WEDGE_CFI_RSP].at = regs->rsp;
}

static bool value_of(struct walk *walk, unsigned which, uint64_t *ret)
{
    const struct value *value = &walk->values[which];
    *ret = value->at;
    return !value->stored || wedge_unwind_read(walk->images, walk->stack, value->at, ret, sizeof(*ret));
}

/* Before the row of its address is known. */
static struct wedge_image *image_of(struct walk *walk, const struct wedge_unwind_frame *frame)
{
    uint64_t at = frame->pc - !frame->exact;
    if (!walk->image || at < walk->image->text_lo || at >= walk->image->text_hi)
        walk->image = wedge_images_find(walk->images, at);
    return walk->image && walk->image->searchable ? walk->image : NULL;
}

enum step { CALLER, OUTERMOST, CUT, NOT_KNOWN };

/* To the caller of `frame`: its pc into *ret. */
static enum step step(struct walk *walk, const struct wedge_unwind_frame *frame, uint64_t *ret)
{
    struct wedge_image *image = image_of(walk, frame);
    struct wedge_cfi_row row;
    uint64_t base, pc;
    if (!image)
        return NOT_KNOWN;
    find_row(walk->images, image, frame, &row);
    if (!row.known)
        return NOT_KNOWN;
    walk->stack->need = 0;
    bool had = value_of(walk, row.base, &base);
    if (had && row.outermost)
        return OUTERMOST;
    if (!had || !wedge_unwind_read(walk->images, walk->stack,
                                   base + (uint64_t)(row.base_offset + (int64_t)row.return_at), &pc, sizeof(pc)))
        return wedge_unwind_is_lacking(walk->images, walk->stack->need) ? CUT : NOT_KNOWN;
    uint64_t address = base + (uint64_t)(int64_t)row.base_offset;
    if (address <= walk->values[WEDGE_CFI_RSP].at)
        return NOT_KNOWN; /* the caller's frame lies above, unless the stack was changed or something is wrong */
    for (unsigned i = 0; i < WEDGE_CFI_KEPT; i++)
        if (row.kept_at[i] != WEDGE_CFI_SAME)
            walk->values[i] = (struct value){.stored = true, .at = address + (uint64_t)(int64_t)row.kept_at[i]};
    walk->values[WEDGE_CFI_RSP].at = address;
    *ret = pc;
    return wedge_unwind_is_text(walk->images, pc) ? CALLER : NOT_KNOWN;
}

bool wedge_walk(struct wedge_images *images, struct wedge_unwind_stack *stack, size_t *omitted)
{
    struct walk walk = {.images = images, .stack = stack};
    const struct wedge_unwind_frame *frame = NULL;
    size_t before = *omitted;
    uint64_t pc = stack->regs.rip;
    enum step next = CALLER;
    begin(&walk);
    wedge_unwind_begin(stack);
    while (next == CALLER && (frame = wedge_unwind_add(stack, frame, pc, false, omitted)))
        next = step(&walk, frame, &pc);
    wedge_unwind_straighten(stack);
    if (frame && (next == OUTERMOST || next == CUT)) {
        stack->end = next == CUT ? WEDGE_UNWIND_NEED : WEDGE_UNWIND_COMPLETE;
        return true;
    }
    *omitted = before;
    return false;
}
