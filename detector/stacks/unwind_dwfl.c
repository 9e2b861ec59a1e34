/*
 * The thorough unwinder: libdwfl with our callbacks in place of ptrace. It takes unwind information from the file
 * where memory has no table (static programs, .eh_frame without .eh_frame_hdr, .debug_frame, the vDSO) and follows
 * frame pointers where there is none at all.
 *
 * Invariant: no file is opened but by elf_file.c, and libdwfl's own search for debug files, which may ask a network,
 * is never called.
 */
#include "detector/stacks/unwind.h"

#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "detector/elf/elf_debug.h"
#include "detector/elf/elf_file.h"

#define DWARF_REGS 17 /* rax rdx rcx rbx rsi rdi rbp rsp r8-r15, return address: x86-64 ABI, figure 3.36 */

struct wedge_unwind_dwfl {
    Dwfl *dwfl;
    struct wedge_images *images;
    int pid;
    struct wedge_unwind_stack *in; /* the one being unwound */
    struct wedge_unwind_stack *out; /* the frames so far */
    size_t exact; /* frames up to and with the first without unwind information */
    bool lost; /* a pc was no text */
};

/* libdwfl hands its callbacks no argument of ours, but keeps a pointer for each module: the image, with its session. */
struct tag {
    struct wedge_unwind_dwfl *session;
    struct wedge_image *image;
};

static int find_elf(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base, char **file_name, Elf **elf)
{
    struct tag *tag = *userdata;
    (void)mod, (void)name, (void)base;
    if (!tag)
        return -1;
    struct wedge_elf_file *file = wedge_elf_of_image(tag->session->images, tag->image, tag->session->pid);
    if (!file)
        return -1;
    *elf = elf_begin(-1, ELF_C_READ, file->elf); /* one more reference: libdwfl ends it */
    *file_name = file->path ? strdup(file->path) : NULL;
    return -1;
}

static int find_debuginfo(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base, const char *file_name,
                          const char *link, GElf_Word crc, char **ret_path)
{
    struct tag *tag = *userdata;
    (void)mod, (void)name, (void)base, (void)file_name, (void)link, (void)crc;
    struct wedge_elf_file *file = tag ? wedge_elf_of_image(tag->session->images, tag->image, tag->session->pid) : NULL;
    if (file)
        wedge_elf_debug(file);
    if (!file || !file->debug_path)
        return -1;
    *ret_path = strdup(file->debug_path);
    return wedge_elf_open_regular(AT_FDCWD, file->debug_path);
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
    (void)dwfl, (void)tid;
    *thread_arg = arg;
    return true;
}

static bool memory_read(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *ret, void *arg)
{
    struct wedge_unwind_dwfl *session = arg;
    (void)dwfl;
    return wedge_unwind_read(session->images, session->in, address, ret, sizeof(*ret));
}

static bool set_initial_registers(Dwfl_Thread *thread, void *arg)
{
    const struct user_regs_struct *regs = &((struct wedge_unwind_dwfl *)arg)->in->regs;
    const Dwarf_Word values[DWARF_REGS] = {
        regs->rax, regs->rdx, regs->rcx, regs->rbx, regs->rsi, regs->rdi, regs->rbp, regs->rsp, regs->r8,
        regs->r9,  regs->r10, regs->r11, regs->r12, regs->r13, regs->r14, regs->r15, regs->rip,
    };
    return dwfl_thread_state_registers(thread, 0, DWARF_REGS, values);
}

/* next_thread must be there for dwfl_attach_state; threads are asked for one by one. */
static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
    (void)dwfl, (void)arg, (void)thread_arg;
    return 0;
}

static bool report_modules(struct wedge_unwind_dwfl *session)
{
    const struct wedge_regions *regions = session->images->memory->regions;
    dwfl_report_begin(session->dwfl);
    for (size_t i = 0; i < regions->n; i++) {
        if (!regions->all[i].exec)
            continue;
        struct wedge_image *image = wedge_images_find(session->images, regions->all[i].start);
        if (!image)
            continue;
        Dwfl_Module *mod = dwfl_report_module(session->dwfl, image->region->path, image->lo & ~(uint64_t)4095,
                                              (image->hi + 4095) & ~(uint64_t)4095);
        void **userdata = NULL;
        if (mod)
            dwfl_module_info(mod, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
        if (!userdata || *userdata)
            continue;
        struct tag *tag = malloc(sizeof(*tag));
        if (tag)
            *tag = (struct tag){session, image};
        *userdata = tag;
    }
    return dwfl_report_end(session->dwfl, NULL, NULL) == 0;
}

struct wedge_unwind_dwfl *wedge_unwind_dwfl_new(struct wedge_images *images, int pid)
{
    static const Dwfl_Callbacks files = {.find_elf = find_elf, .find_debuginfo = find_debuginfo};
    static const Dwfl_Thread_Callbacks threads = {
        .next_thread = next_thread,
        .get_thread = get_thread,
        .memory_read = memory_read,
        .set_initial_registers = set_initial_registers,
    };
    struct wedge_unwind_dwfl *session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    session->images = images;
    session->pid = pid;
    session->dwfl = dwfl_begin(&files);
    if (session->dwfl && report_modules(session) && dwfl_attach_state(session->dwfl, NULL, pid, &threads, session))
        return session;
    wedge_unwind_dwfl_free(session);
    return NULL;
}

static int free_tag(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base, void *arg)
{
    (void)mod, (void)name, (void)base, (void)arg;
    free(*userdata);
    *userdata = NULL;
    return DWARF_CB_OK;
}

void wedge_unwind_dwfl_free(struct wedge_unwind_dwfl *session)
{
    if (!session)
        return;
    if (session->dwfl) {
        dwfl_getmodules(session->dwfl, free_tag, NULL, 0);
        dwfl_end(session->dwfl);
    }
    free(session);
}

static bool covers(Dwarf_CFI *cfi, Dwarf_Addr address)
{
    Dwarf_Frame *frame = NULL;
    bool found = cfi && dwarf_cfi_addrframe(cfi, address, &frame) == 0;
    free(frame);
    return found;
}

/* Is there unwind information for the instruction before `pc` (at it, in an activation)? */
static bool has_information(struct wedge_unwind_dwfl *session, Dwarf_Addr pc, bool activation)
{
    Dwarf_Addr at = activation ? pc : pc - 1, bias = 0;
    Dwfl_Module *mod = dwfl_addrmodule(session->dwfl, at);
    if (!mod)
        return false;
    Dwarf_CFI *cfi = dwfl_module_eh_cfi(mod, &bias);
    if (covers(cfi, at - bias))
        return true;
    cfi = dwfl_module_dwarf_cfi(mod, &bias);
    return covers(cfi, at - bias);
}

static int add_frame(Dwfl_Frame *frame, void *arg)
{
    struct wedge_unwind_dwfl *session = arg;
    struct wedge_unwind_stack *out = session->out;
    Dwarf_Addr pc;
    bool activation;
    if (!dwfl_frame_pc(frame, &pc, &activation))
        return DWARF_CB_ABORT;
    if (out->n_frames && !wedge_unwind_is_text(session->images, pc)) {
        session->lost = true;
        return DWARF_CB_ABORT;
    }
    if (out->n_frames == WEDGE_UNWIND_FRAMES_MAX) {
        out->end = WEDGE_UNWIND_LIMIT;
        return DWARF_CB_ABORT;
    }
    out->frames[out->n_frames] = wedge_unwind_frame_at(out->n_frames ? &out->frames[out->n_frames - 1] : NULL, pc,
                                                       wedge_unwind_is_trampoline(session->images, pc));
    out->n_frames++;
    if (!session->exact && !has_information(session, pc, activation))
        session->exact = out->n_frames;
    return DWARF_CB_OK;
}

void wedge_unwind_dwfl_run(struct wedge_unwind_dwfl *session, struct wedge_unwind_stack *stack)
{
    struct wedge_unwind_stack *out = calloc(1, sizeof(*out));
    if (!out)
        return;
    session->in = stack;
    session->out = out;
    session->exact = 0;
    session->lost = false;
    uint64_t need_before = stack->need;
    stack->need = 0;
    out->end = WEDGE_UNWIND_LOST;
    int rc = dwfl_getthread_frames(session->dwfl, session->pid, add_frame, session);
    uint64_t need = stack->need;
    stack->need = need_before;
    /* A return address that could not be read is to libdwfl the end of the stack. */
    bool lacking = wedge_unwind_is_lacking(session->images, need);
    if (rc == 0)
        out->end = lacking ? WEDGE_UNWIND_NEED : WEDGE_UNWIND_COMPLETE;
    else if (out->end != WEDGE_UNWIND_LIMIT && !session->lost)
        out->end = lacking ? WEDGE_UNWIND_NEED : WEDGE_UNWIND_NO_INFO;
    /* A guess that leads to the thread's beginning, or beyond what was known, is worth showing: it is marked. */
    if (out->n_frames > stack->n_frames ||
        (out->n_frames == stack->n_frames && (rc == 0 || out->end == WEDGE_UNWIND_NEED))) {
        memcpy(stack->frames, out->frames, out->n_frames * sizeof(out->frames[0]));
        stack->n_frames = out->n_frames;
        stack->omitted = 0;
        stack->guessed = session->exact ? out->n_frames - session->exact : 0;
        stack->end = out->end;
        stack->need = need;
        if (out->end != WEDGE_UNWIND_NO_INFO)
            stack->reason = "";
        else if (!stack->reason[0])
            stack->reason = "it has no unwind information there";
    }
    free(out);
}
