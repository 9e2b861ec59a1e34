#include "detector/stacks/cfi.h"

#include <dwarf.h>
#include <string.h>

#define ENTRY_MAX   4096u /* bytes of a CIE or FDE */
#define STATES_MAX  8 /* remembered one in another; compilers need one or two */
#define PCREL_DATA4 (DW_EH_PE_pcrel | DW_EH_PE_sdata4)
#define DWARF_RSP   7
#define DWARF_RA    16
#define UNSET       (INT32_MAX - 1)
#define UNDEFINED   (INT32_MAX - 2) /* of the return address: outermost */
#define FARTHEST    (INT32_MAX / 2) /* no frame is that large */

/* By DWARF's number: which of ours it is, or none. */
static const uint8_t registers[DWARF_RA] = {
    [0] = WEDGE_CFI_REGISTERS, [1] = WEDGE_CFI_REGISTERS, [2] = WEDGE_CFI_REGISTERS,  [3] = WEDGE_CFI_RBX,
    [4] = WEDGE_CFI_REGISTERS, [5] = WEDGE_CFI_REGISTERS, [6] = WEDGE_CFI_RBP,        [7] = WEDGE_CFI_RSP,
    [8] = WEDGE_CFI_REGISTERS, [9] = WEDGE_CFI_REGISTERS, [10] = WEDGE_CFI_REGISTERS, [11] = WEDGE_CFI_REGISTERS,
    [12] = WEDGE_CFI_R12,      [13] = WEDGE_CFI_R13,      [14] = WEDGE_CFI_R14,       [15] = WEDGE_CFI_R15,
};

struct bytes { /* a read past the end gives 0 and is remembered */
    const uint8_t *at, *end;
    bool bad;
};

struct state { /* as the instructions build it up */
    uint64_t base; /* DWARF's number */
    int64_t base_offset;
    int32_t return_at, kept_at[WEDGE_CFI_KEPT];
};

struct program {
    struct bytes bytes;
    uint64_t location, until; /* rows begin at `location`; that of `until` is wanted */
    int64_t data_unit;
    struct state now, initial; /* what the CIE says */
    struct state remembered[STATES_MAX];
    size_t n_remembered;
};

static bool take(struct bytes *bytes, void *buf, size_t len)
{
    if (bytes->bad || (size_t)(bytes->end - bytes->at) < len) {
        bytes->bad = true;
        memset(buf, 0, len);
        return false;
    }
    memcpy(buf, bytes->at, len);
    bytes->at += len;
    return true;
}

static uint8_t take_u8(struct bytes *bytes)
{
    uint8_t value;
    take(bytes, &value, sizeof(value));
    return value;
}

static uint32_t take_u32(struct bytes *bytes)
{
    uint32_t value;
    take(bytes, &value, sizeof(value));
    return value;
}

static uint64_t take_uleb(struct bytes *bytes)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint8_t byte = take_u8(bytes);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    bytes->bad = true;
    return 0;
}

static int64_t take_sleb(struct bytes *bytes)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint8_t byte = take_u8(bytes);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            bool negative = byte & 0x40;
            return (int64_t)(negative ? value | ~(uint64_t)0 << (shift + 7) : value);
        }
    }
    bytes->bad = true;
    return 0;
}

/* factor * unit, where both are of a size that honest tables have; else bad. */
static int64_t scaled(struct bytes *bytes, int64_t factor, int64_t unit)
{
    int64_t product;
    if (__builtin_mul_overflow(factor, unit, &product) || product >= FARTHEST || product <= -FARTHEST) {
        bytes->bad = true;
        return 0;
    }
    return product;
}

/* Where a register's rule is kept: NULL for one that no caller's frame is found by. Rules for rsp are none of ours: the
 * caller's is the frame's address by definition; nor those for a register behind the return address, such as xmm6, which only
 * functions of another ABI save: libunwind knows no place for it and gives up (UNW_EBADREG). */
static int32_t *rule_of(struct program *program, struct state *state, uint64_t number)
{
    if (number == DWARF_RA)
        return &state->return_at;
    if (number == DWARF_RSP || number > DWARF_RA)
        program->bytes.bad = true;
    else if (registers[number] < WEDGE_CFI_KEPT)
        return &state->kept_at[registers[number]];
    return NULL;
}

static void set_rule(struct program *program, uint64_t number, int64_t at)
{
    int32_t *rule = rule_of(program, &program->now, number);
    if (rule)
        *rule = (int32_t)at;
}

static void set_offset(struct program *program, uint64_t number, int64_t factor)
{
    set_rule(program, number, scaled(&program->bytes, factor, program->data_unit));
}

static void restore(struct program *program, uint64_t number)
{
    int32_t *rule = rule_of(program, &program->now, number), *before = rule_of(program, &program->initial, number);
    if (rule)
        *rule = *before;
}

/* "Its value is not there any more": of the return address this is how the outermost function says what it is. */
static void set_undefined(struct program *program, uint64_t number)
{
    if (number == DWARF_RA)
        program->now.return_at = UNDEFINED;
    else if (rule_of(program, &program->now, number))
        program->bytes.bad = true;
}

static void advance(struct program *program, uint64_t units)
{
    program->location += units; /* of one byte, on x86 */
}

static void remember(struct program *program)
{
    if (program->n_remembered == STATES_MAX)
        program->bytes.bad = true;
    else
        program->remembered[program->n_remembered++] = program->now;
}

static void recall(struct program *program)
{
    if (!program->n_remembered)
        program->bytes.bad = true;
    else
        program->now = program->remembered[--program->n_remembered];
}

/* The instructions without a number in their low bits. */
static void run_extended(struct program *program, uint8_t op)
{
    struct bytes *bytes = &program->bytes;
    struct state *now = &program->now;
    uint64_t number;
    switch (op) {
    case DW_CFA_nop:
        break;
    case DW_CFA_advance_loc1:
        advance(program, take_u8(bytes));
        break;
    case DW_CFA_advance_loc2:
        number = take_u8(bytes);
        advance(program, number | (uint64_t)take_u8(bytes) << 8);
        break;
    case DW_CFA_advance_loc4:
        advance(program, take_u32(bytes));
        break;
    case DW_CFA_offset_extended:
        number = take_uleb(bytes);
        set_offset(program, number, (int64_t)take_uleb(bytes));
        break;
    case DW_CFA_offset_extended_sf:
        number = take_uleb(bytes);
        set_offset(program, number, take_sleb(bytes));
        break;
    case DW_CFA_restore_extended:
        restore(program, take_uleb(bytes));
        break;
    case DW_CFA_undefined:
        set_undefined(program, take_uleb(bytes));
        break;
    case DW_CFA_same_value:
        set_rule(program, take_uleb(bytes), WEDGE_CFI_SAME);
        break;
    case DW_CFA_remember_state:
        remember(program);
        break;
    case DW_CFA_restore_state:
        recall(program);
        break;
    case DW_CFA_def_cfa:
        now->base = take_uleb(bytes);
        now->base_offset = scaled(bytes, (int64_t)take_uleb(bytes), 1);
        break;
    case DW_CFA_def_cfa_sf:
        now->base = take_uleb(bytes);
        now->base_offset = scaled(bytes, take_sleb(bytes), program->data_unit);
        break;
    case DW_CFA_def_cfa_register:
        now->base = take_uleb(bytes);
        break;
    case DW_CFA_def_cfa_offset:
        now->base_offset = scaled(bytes, (int64_t)take_uleb(bytes), 1);
        break;
    case DW_CFA_def_cfa_offset_sf:
        now->base_offset = scaled(bytes, take_sleb(bytes), program->data_unit);
        break;
    case DW_CFA_GNU_args_size:
        take_uleb(bytes);
        break;
    default: /* expressions, values in other registers, absolute places */
        bytes->bad = true;
        break;
    }
}

/* Runs the instructions that stand before the first row above `until`. */
static void run(struct program *program)
{
    struct bytes *bytes = &program->bytes;
    while (!bytes->bad && bytes->at < bytes->end && program->location <= program->until) {
        uint8_t op = take_u8(bytes), low = op & 0x3f;
        switch (op & 0xc0) {
        case DW_CFA_advance_loc:
            advance(program, low);
            break;
        case DW_CFA_offset:
            set_offset(program, low, (int64_t)take_uleb(bytes));
            break;
        case DW_CFA_restore:
            restore(program, low);
            break;
        default:
            run_extended(program, op);
            break;
        }
    }
}

/* Reads a CIE or FDE, the part behind its length. */
static bool read_entry(struct wedge_target_memory *memory, const struct wedge_image *image, uint64_t address,
                       uint8_t *buf, struct bytes *ret)
{
    uint32_t len;
    if (address < image->lo || address >= image->hi || image->hi - address < sizeof(len) ||
        !wedge_target_memory_read(memory, address, &len, sizeof(len)) || len < 8 || len > ENTRY_MAX ||
        image->hi - address - sizeof(len) < len || !wedge_target_memory_read(memory, address + sizeof(len), buf, len))
        return false;
    *ret = (struct bytes){.at = buf, .end = buf + len};
    return true;
}

/*
 * Letters of a CIE, each with a piece of its data in the same order: z (how many bytes of data), R (how an FDE writes
 * addresses), P (another function, which nobody calls here), L (how an FDE writes another one). S is a signal frame, and
 * what else there may be means something else.
 */
static bool read_augmentation(struct bytes *bytes, const uint8_t *letters, size_t n)
{
    uint64_t len = take_uleb(bytes);
    bool plain = false;
    if (bytes->bad || n == 0 || letters[0] != 'z' || len > (size_t)(bytes->end - bytes->at))
        return false;
    struct bytes data = {.at = bytes->at, .end = bytes->at + len};
    for (size_t i = 1; i < n; i++) {
        uint8_t encoding = take_u8(&data);
        uint32_t unused;
        if (letters[i] == 'R')
            plain = encoding == PCREL_DATA4;
        else if (letters[i] == 'P' && (encoding & 0x07) == DW_EH_PE_udata4) /* or sdata4 */
            take(&data, &unused, sizeof(unused));
        else if (letters[i] != 'L')
            return false;
    }
    bytes->at += len;
    return plain && !data.bad;
}

static bool run_cie(struct wedge_target_memory *memory, const struct wedge_image *image, uint64_t address,
                    struct program *program)
{
    uint8_t buf[ENTRY_MAX];
    struct bytes *bytes = &program->bytes;
    if (!read_entry(memory, image, address, buf, bytes) || take_u32(bytes) != 0)
        return false;
    uint8_t version = take_u8(bytes);
    const uint8_t *letters = bytes->at, *nul = memchr(letters, 0, (size_t)(bytes->end - letters));
    if ((version != 1 && version != 3) || !nul)
        return false;
    bytes->at = nul + 1;
    uint64_t code_unit = take_uleb(bytes);
    program->data_unit = take_sleb(bytes);
    uint64_t return_register = version == 1 ? take_u8(bytes) : take_uleb(bytes);
    if (code_unit != 1 || return_register != DWARF_RA || !read_augmentation(bytes, letters, (size_t)(nul - letters)))
        return false;
    /* Nothing in a CIE advances: all of it holds from the function's beginning. */
    program->location = program->until = 0;
    program->initial = program->now;
    run(program);
    program->initial = program->now;
    return !bytes->bad && program->location == 0 && !program->n_remembered;
}

/* The FDE of the last function that begins at or below `address`; 0 none. */
static uint64_t find_fde(struct wedge_target_memory *memory, const struct wedge_image *image, uint64_t address)
{
    uint64_t lo = 0, hi = image->n_fdes, fde = 0;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        int32_t entry[2];
        if (!wedge_target_memory_read(memory, image->table + mid * sizeof(entry), entry, sizeof(entry)))
            return 0;
        if (image->hdr + (uint64_t)(int64_t)entry[0] <= address) {
            fde = image->hdr + (uint64_t)(int64_t)entry[1];
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return fde;
}

static bool is_row(const struct state *state)
{
    return state->base < DWARF_RA && registers[state->base] < WEDGE_CFI_REGISTERS && state->base_offset != UNSET &&
           state->return_at != UNSET && state->return_at != WEDGE_CFI_SAME;
}

void wedge_cfi_find(struct wedge_target_memory *memory, const struct wedge_image *image, uint64_t address,
                    struct wedge_cfi_row *ret)
{
    uint8_t buf[ENTRY_MAX];
    struct bytes fde;
    struct program program = {.now = {.base = DWARF_RA, .base_offset = UNSET, .return_at = UNSET}};
    *ret = (struct wedge_cfi_row){.known = false};
    for (size_t i = 0; i < WEDGE_CFI_KEPT; i++)
        program.now.kept_at[i] = WEDGE_CFI_SAME;
    uint64_t at = image->searchable ? find_fde(memory, image, address) : 0;
    if (!at || !read_entry(memory, image, at, buf, &fde))
        return;
    uint64_t back = take_u32(&fde), begin = at + 8 + (uint64_t)(int64_t)(int32_t)take_u32(&fde), size = take_u32(&fde);
    if (fde.bad || back == 0 || back > at || size > INT32_MAX || address - begin >= size ||
        !run_cie(memory, image, at + 4 - back, &program))
        return;
    uint64_t skipped = take_uleb(&fde); /* its augmentation data */
    if (fde.bad || skipped > (size_t)(fde.end - fde.at))
        return;
    fde.at += skipped;
    program.bytes = fde;
    program.location = begin;
    program.until = address;
    run(&program);
    const struct state *state = &program.now;
    if (program.bytes.bad || !is_row(state))
        return;
    *ret = (struct wedge_cfi_row){.known = true,
                                  .outermost = state->return_at == UNDEFINED,
                                  .base = registers[state->base],
                                  .base_offset = (int32_t)state->base_offset,
                                  .return_at = state->return_at};
    memcpy(ret->kept_at, state->kept_at, sizeof(ret->kept_at));
}
