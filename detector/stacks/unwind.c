#include "detector/stacks/unwind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libunwind-x86_64.h>

#include "detector/stacks/symbols.h"
#include "detector/stacks/walk.h"

/* Exported by libunwind-x86_64 and not declared in its headers: searches a table of ours for the FDE of `ip`. */
extern int _Ux86_64_dwarf_search_unwind_table(unw_addr_space_t space, unw_word_t ip, unw_dyn_info_t *table,
                                              unw_proc_info_t *ret, int need_unwind_info, void *arg);

struct wedge_unwinder {
    struct wedge_images *images;
    int pid;
    unw_addr_space_t space;
    struct wedge_unwind_stack *stack; /* the one being unwound */
    bool missed; /* no unwind information for the pc last asked for */
    bool searching; /* in the tables */
    size_t omitted; /* in all */
    const char *reason;
    struct wedge_unwind_dwfl *dwfl;
    bool dwfl_tried;
};

bool wedge_unwind_read(struct wedge_images *images, struct wedge_unwind_stack *stack, uint64_t address, void *buf,
                       size_t len)
{
    for (size_t i = 0; i < stack->n_windows; i++) {
        const struct wedge_unwind_window *window = &stack->windows[i];
        if (address >= window->from && address - window->from < window->len &&
            len <= window->len - (address - window->from)) {
            memcpy(buf, window->data + (address - window->from), len);
            return true;
        }
    }
    if (wedge_target_memory_read(images->memory, address, buf, len))
        return true;
    stack->need = address;
    return false;
}

bool wedge_unwind_is_lacking(struct wedge_images *images, uint64_t need)
{
    const struct wedge_region *region = need ? wedge_regions_find(images->memory->regions, need) : NULL;
    return region && region->write;
}

bool wedge_unwind_is_text(struct wedge_images *images, uint64_t pc)
{
    const struct wedge_region *region = wedge_regions_find(images->memory->regions, pc - 1);
    return region && region->exec;
}

bool wedge_unwind_is_trampoline(struct wedge_images *images, uint64_t pc)
{
    static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};
    uint8_t bytes[sizeof(code)];
    return wedge_target_memory_read(images->memory, pc, bytes, sizeof(bytes)) && memcmp(bytes, code, sizeof(code)) == 0;
}

struct wedge_unwind_frame wedge_unwind_frame_at(const struct wedge_unwind_frame *before, uint64_t pc, bool signal)
{
    /* What a signal interrupted, and the trampoline itself, are no return addresses. */
    bool exact = !before || signal || before->signal;
    return (struct wedge_unwind_frame){.pc = pc, .signal = signal, .exact = exact};
}

static int find_proc_info(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t *ret, int need_unwind_info, void *arg)
{
    struct wedge_unwinder *unwinder = arg;
    struct wedge_image *image = wedge_images_find(unwinder->images, ip);
    if (!image || !image->searchable) {
        unwinder->missed = true;
        unwinder->reason = image ? image->unsearchable : "no module is mapped there";
        return -UNW_ENOINFO;
    }
    unw_dyn_info_t table = {
        .start_ip = image->text_lo,
        .end_ip = image->text_hi,
        .format = UNW_INFO_FORMAT_REMOTE_TABLE,
        .u.rti = {.segbase = image->hdr,
                  .table_data = image->table,
                  .table_len = image->n_fdes * 8 / sizeof(unw_word_t)},
    };
    uint64_t need = unwinder->stack ? unwinder->stack->need : 0;
    unwinder->searching = true;
    int rc = _Ux86_64_dwarf_search_unwind_table(space, ip, &table, ret, need_unwind_info, arg);
    unwinder->searching = false;
    if (unwinder->stack)
        unwinder->stack->need = need;
    if (rc < 0) {
        unwinder->missed = true;
        unwinder->reason = "its unwind information does not cover this function";
    }
    return rc;
}

static void put_unwind_info(unw_addr_space_t space, unw_proc_info_t *info, void *arg)
{
    /* What a search with need_unwind_info leaves in `unwind_info` lies in libunwind's own pool and goes with it. */
    (void)space, (void)info, (void)arg;
}

static int get_dyn_info_list_addr(unw_addr_space_t space, unw_word_t *ret, void *arg)
{
    (void)space, (void)ret, (void)arg;
    return -UNW_ENOINFO;
}

static int access_mem(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write, void *arg)
{
    struct wedge_unwinder *unwinder = arg;
    (void)space;
    if (write)
        return -UNW_EREADONLYREG;
    if (wedge_unwind_read(unwinder->images, unwinder->stack, address, value, sizeof(*value)))
        return 0;
    if (!unwinder->searching)
        return -UNW_EINVAL;
    /* The tables name the personality of a function with landing pads (C++, Rust) by way of a pointer in .data, which is
     * no constant memory. libunwind reads it and gives the function up where it cannot; unwinding needs it not. */
    *value = 0;
    return 0;
}

static int access_reg(unw_addr_space_t space, unw_regnum_t reg, unw_word_t *value, int write, void *arg)
{
    const struct user_regs_struct *regs = &((struct wedge_unwinder *)arg)->stack->regs;
    const unsigned long long values[] = {
        [UNW_X86_64_RAX] = regs->rax, [UNW_X86_64_RDX] = regs->rdx, [UNW_X86_64_RCX] = regs->rcx,
        [UNW_X86_64_RBX] = regs->rbx, [UNW_X86_64_RSI] = regs->rsi, [UNW_X86_64_RDI] = regs->rdi,
        [UNW_X86_64_RBP] = regs->rbp, [UNW_X86_64_RSP] = regs->rsp, [UNW_X86_64_R8] = regs->r8,
        [UNW_X86_64_R9] = regs->r9,   [UNW_X86_64_R10] = regs->r10, [UNW_X86_64_R11] = regs->r11,
        [UNW_X86_64_R12] = regs->r12, [UNW_X86_64_R13] = regs->r13, [UNW_X86_64_R14] = regs->r14,
        [UNW_X86_64_R15] = regs->r15, [UNW_X86_64_RIP] = regs->rip,
    };
    (void)space;
    if (write)
        return -UNW_EREADONLYREG;
    if (reg < 0 || (size_t)reg >= sizeof(values) / sizeof(values[0]))
        return -UNW_EBADREG;
    *value = values[reg];
    return 0;
}

static int access_fpreg(unw_addr_space_t space, unw_regnum_t reg, unw_fpreg_t *value, int write, void *arg)
{
    (void)space, (void)reg, (void)value, (void)write, (void)arg;
    return -UNW_EBADREG; /* no frame is found by one */
}

static int resume(unw_addr_space_t space, unw_cursor_t *cursor, void *arg)
{
    (void)space, (void)cursor, (void)arg;
    return -UNW_EINVAL;
}

static int get_proc_name(unw_addr_space_t space, unw_word_t address, char *buf, size_t size, unw_word_t *offset,
                         void *arg)
{
    (void)space, (void)address, (void)buf, (void)size, (void)offset, (void)arg;
    return -UNW_ENOINFO; /* names come from symbols.c, never the nearest one */
}

/* Made at need: most stacks are walked without libunwind. NULL: no memory. */
static unw_addr_space_t space_of(struct wedge_unwinder *unwinder)
{
    static unw_accessors_t accessors = {
        .find_proc_info = find_proc_info,
        .put_unwind_info = put_unwind_info,
        .get_dyn_info_list_addr = get_dyn_info_list_addr,
        .access_mem = access_mem,
        .access_reg = access_reg,
        .access_fpreg = access_fpreg,
        .resume = resume,
        .get_proc_name = get_proc_name,
    };
    if (!unwinder->space) {
        unwinder->space = unw_create_addr_space(&accessors, 0);
        if (unwinder->space)
            unw_set_caching_policy(unwinder->space, UNW_CACHE_GLOBAL);
    }
    return unwinder->space;
}

int wedge_unwinder_new(struct wedge_images *images, int pid, struct wedge_unwinder **ret)
{
    struct wedge_unwinder *unwinder = calloc(1, sizeof(*unwinder));
    if (!unwinder)
        return -ENOMEM;
    unwinder->images = images;
    unwinder->pid = pid;
    *ret = unwinder;
    return 0;
}

void wedge_unwinder_free(struct wedge_unwinder *unwinder)
{
    if (!unwinder)
        return;
    wedge_unwind_dwfl_free(unwinder->dwfl);
    if (unwinder->space)
        unw_destroy_addr_space(unwinder->space);
    free(unwinder);
}

/* Does an instruction end at `pc` that calls? call rel32; call *r/m with each length of its operand. */
static bool is_behind_call(struct wedge_images *images, uint64_t pc)
{
    uint8_t code[7];
    if (!wedge_target_memory_read(images->memory, pc - sizeof(code), code, sizeof(code)))
        return true; /* not known not to be */
    if (code[2] == 0xe8)
        return true;
    for (size_t len = 2; len <= sizeof(code); len++) {
        const uint8_t *at = code + sizeof(code) - len;
        if (at[0] == 0xff && (at[1] & 0x38) == 0x10)
            return true;
    }
    return false;
}

/* Where the function begins that holds `pc`: by the unwind table, or where there is none by the symbols; 0 not known. */
static uint64_t function_start(struct wedge_unwinder *unwinder, uint64_t pc)
{
    unw_proc_info_t info = {0};
    uint64_t start;
    struct wedge_image *image = wedge_images_find(unwinder->images, pc);
    if (!image)
        return 0;
    if (image->searchable)
        return space_of(unwinder) && find_proc_info(unwinder->space, pc, &info, 0, unwinder) >= 0 ? info.start_ip : 0;
    struct wedge_elf_file *file = wedge_elf_of_image(unwinder->images, image, unwinder->pid);
    return file && wedge_symbols_begin(file, pc - image->bias, &start) ? start + image->bias : 0;
}

/*
 * Ends that look cut and are none.
 *
 * A program's entry: nobody called it, and where a return address would be lies the number of its arguments. (Like gdb's
 * "past-entry off".)
 *
 * A return address that no call left there: it is where a function begins, there is no information about what lies
 * before it, and no call either. Somebody put it on the stack, as makecontext(3) does with what is to run when a
 * coroutine ends: the stack begins there. (gdb and eu-stack have no name for such a frame.)
 */
static void settle(struct wedge_unwinder *unwinder, struct wedge_unwind_stack *stack)
{
    struct wedge_unwind_frame *last = &stack->frames[stack->n_frames - 1];
    uint64_t at = last->pc - !last->exact;
    const struct wedge_image *image = wedge_images_find(unwinder->images, at);
    if (!image)
        return;
    bool entry = stack->end == WEDGE_UNWIND_LOST && function_start(unwinder, at) == image->entry;
    bool put = stack->end == WEDGE_UNWIND_NO_INFO && !last->exact && !function_start(unwinder, at) &&
               function_start(unwinder, last->pc) == last->pc && !is_behind_call(unwinder->images, last->pc);
    if (!entry && !put)
        return;
    last->exact |= put;
    stack->end = WEDGE_UNWIND_COMPLETE;
    stack->reason = "";
}

static void fail(struct wedge_unwinder *unwinder, struct wedge_unwind_stack *stack, bool signal)
{
    /* Without information libunwind follows the frame pointer, which then is any number: what it wanted there says
     * nothing of the stack. */
    if (unwinder->missed && !signal)
        stack->need = 0;
    if (wedge_unwind_is_lacking(unwinder->images, stack->need))
        stack->end = WEDGE_UNWIND_NEED;
    else if (unwinder->missed)
        stack->end = WEDGE_UNWIND_NO_INFO;
    else
        stack->end = WEDGE_UNWIND_LOST;
    stack->reason = stack->end == WEDGE_UNWIND_NO_INFO ? unwinder->reason : "";
}

/* Where the nth frame goes, from 0: the last places are used again and again. */
static size_t place_of(size_t nth)
{
    return nth < WEDGE_UNWIND_FRAMES_MAX ? nth : WEDGE_UNWIND_INNER + (nth - WEDGE_UNWIND_INNER) % WEDGE_UNWIND_OUTER;
}

void wedge_unwind_begin(struct wedge_unwind_stack *stack)
{
    stack->frames[0] = (struct wedge_unwind_frame){.pc = stack->regs.rip, .exact = true};
    stack->n_frames = stack->omitted = stack->guessed = 0;
    stack->end = WEDGE_UNWIND_LOST;
    stack->need = 0;
    stack->reason = "";
}

const struct wedge_unwind_frame *wedge_unwind_add(struct wedge_unwind_stack *stack,
                                                  const struct wedge_unwind_frame *before, uint64_t pc, bool signal,
                                                  size_t *omitted)
{
    size_t n = stack->n_frames + stack->omitted;
    if (n == WEDGE_UNWIND_FRAMES_MAX + WEDGE_UNWIND_OMITTED_MAX ||
        (n >= WEDGE_UNWIND_FRAMES_MAX && *omitted == WEDGE_UNWIND_OMITTED_ALL))
        return NULL;
    struct wedge_unwind_frame *frame = &stack->frames[place_of(n)];
    *frame = wedge_unwind_frame_at(before, pc, signal);
    if (n < WEDGE_UNWIND_FRAMES_MAX) {
        stack->n_frames = n + 1;
    } else {
        stack->omitted++;
        ++*omitted;
    }
    return frame;
}

void wedge_unwind_straighten(struct wedge_unwind_stack *stack)
{
    struct wedge_unwind_frame outer[WEDGE_UNWIND_OUTER];
    size_t total = stack->n_frames + stack->omitted;
    if (!stack->omitted)
        return;
    for (size_t i = 0; i < WEDGE_UNWIND_OUTER; i++)
        outer[i] = stack->frames[place_of(total - WEDGE_UNWIND_OUTER + i)];
    memcpy(stack->frames + WEDGE_UNWIND_INNER, outer, sizeof(outer));
}

/* Steps to the end. `missed` and `need` are of the last step. */
static void step_through(struct wedge_unwinder *unwinder, struct wedge_unwind_stack *stack, unw_cursor_t *cursor)
{
    const struct wedge_unwind_frame *frame = NULL;
    for (;;) {
        unw_word_t pc;
        if (unw_get_reg(cursor, UNW_REG_IP, &pc) < 0)
            return;
        if (frame && !wedge_unwind_is_text(unwinder->images, pc))
            return; /* what looked like a return address is none */
        /* Not unw_is_signal_frame: that is true of the frame after the trampoline. */
        bool signal = wedge_unwind_is_trampoline(unwinder->images, pc);
        frame = wedge_unwind_add(stack, frame, pc, signal, &unwinder->omitted);
        if (!frame) {
            stack->end = WEDGE_UNWIND_LIMIT;
            return;
        }
        unwinder->missed = false;
        stack->need = 0;
        int rc = unw_step(cursor);
        /* Where it has no information libunwind follows the frame pointer and calls that a success. */
        if (rc < 0 || (unwinder->missed && !signal)) {
            fail(unwinder, stack, signal);
            return;
        }
        if (rc == 0) {
            stack->end = WEDGE_UNWIND_COMPLETE;
            return;
        }
    }
}

void wedge_unwind_library(struct wedge_unwinder *unwinder, struct wedge_unwind_stack *stack)
{
    unw_cursor_t cursor;
    unwinder->stack = stack;
    wedge_unwind_begin(stack);
    if (space_of(unwinder) && unw_init_remote(&cursor, unwinder->space, unwinder) >= 0)
        step_through(unwinder, stack, &cursor);
    if (!stack->n_frames)
        stack->n_frames = 1;
    wedge_unwind_straighten(stack);
    settle(unwinder, stack);
}

void wedge_unwind_fast(struct wedge_unwinder *unwinder, struct wedge_unwind_stack *stack)
{
    if (!wedge_walk(unwinder->images, stack, &unwinder->omitted))
        wedge_unwind_library(unwinder, stack);
}

void wedge_unwind_thorough(struct wedge_unwinder *unwinder, struct wedge_unwind_stack *stack)
{
    if (!unwinder->dwfl_tried) {
        unwinder->dwfl_tried = true;
        unwinder->dwfl = wedge_unwind_dwfl_new(unwinder->images, unwinder->pid);
    }
    if (unwinder->dwfl)
        wedge_unwind_dwfl_run(unwinder->dwfl, stack);
    settle(unwinder, stack);
}
