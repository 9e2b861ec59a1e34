/*
 * Images and unwind tables in a target's memory, over a copied stack: the input is what the memory holds.
 *
 * Also: rows that are kept give the frames that libunwind gives.
 *
 *   input = registers (17 × 8) · stack (512) · image, at IMAGE
 */
#include "detector/stacks/unwind.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/fuzz/fuzz.h"
#include "detector/elf/elf_file.h"
#include "detector/stacks/walk.h"

enum { IMAGE = 0x10000, STACK = 0x7000000, REGISTERS = 17 * 8, STACK_BYTES = 512 };

/*
 * What libunwind itself falls over (1.6 reads past its own array where DW_CFA_register names a register that there is not) is no
 * finding of ours: it only ever runs in the child without rights, whose end costs the stacks of one process
 * (detector/stacks/sandbox.h, test_hostile). Whatever else faults is one, and goes on to whoever had the signal before.
 */
static sigjmp_buf fell;
static volatile sig_atomic_t may_fall;
static struct sigaction before_segv, before_bus;

static void on_fault(int signo, siginfo_t *info, void *arg)
{
    const ucontext_t *context = arg;
    const struct sigaction *before = signo == SIGSEGV ? &before_segv : &before_bus;
    Dl_info where;
    if (may_fall && dladdr((void *)(uintptr_t)context->uc_mcontext.gregs[REG_RIP], &where) && where.dli_fname &&
        strstr(where.dli_fname, "libunwind-x86_64.so"))
        siglongjmp(fell, 1);
    sigaction(signo, before, NULL);
    if (before->sa_flags & SA_SIGINFO)
        before->sa_sigaction(signo, info, arg);
}

static void mind_faults(void)
{
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    static bool done;
    if (done || sigaction(SIGSEGV, &action, &before_segv) || sigaction(SIGBUS, &action, &before_bus))
        return;
    done = true;
}

static bool is_same(const struct wedge_unwind_stack *a, const struct wedge_unwind_stack *b)
{
    if (a->end != b->end || a->n_frames != b->n_frames || a->omitted != b->omitted)
        return false;
    for (size_t i = 0; i < a->n_frames; i++)
        if (a->frames[i].pc != b->frames[i].pc || a->frames[i].exact != b->frames[i].exact)
            return false;
    return true;
}

/* What the walk answers is what it answers again, from rows that it kept, and what libunwind finds. */
static void check_walk(struct wedge_images *images, struct wedge_unwinder *unwinder, struct wedge_unwind_stack *stack)
{
    static struct wedge_unwind_stack again;
    size_t omitted = 0;
    again = *stack;
    bool known = wedge_walk(images, stack, &omitted);
    omitted = 0;
    if (wedge_walk(images, &again, &omitted) != known || (known && !is_same(stack, &again)))
        abort();
    may_fall = 1;
    wedge_unwind_library(unwinder, stack);
    may_fall = 0;
    if (known && !is_same(stack, &again))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wedge_unwind_stack stack;
    struct user_regs_struct *regs = &stack.regs;
    struct wedge_unwinder *unwinder;
    uint64_t values[REGISTERS / 8];
    if (size < REGISTERS + STACK_BYTES)
        return 0;
    memcpy(values, data, sizeof(values));
    memset(&stack, 0, sizeof(stack));
    unsigned long long *const into[] = {&regs->rip, &regs->rsp, &regs->rbp, &regs->rbx, &regs->r12, &regs->r13,
                                        &regs->r14, &regs->r15, &regs->rax, &regs->rdx, &regs->rcx, &regs->rsi,
                                        &regs->rdi, &regs->r8,  &regs->r9,  &regs->r10, &regs->r11};
    for (size_t i = 0; i < sizeof(into) / sizeof(into[0]); i++)
        *into[i] = values[i];
    stack.windows[0] = (struct wedge_unwind_window){STACK, STACK_BYTES, data + REGISTERS};
    stack.n_windows = 1;

    size_t image_bytes = size - REGISTERS - STACK_BYTES;
    int fd = fuzz_file(NULL, 0); /* an address is an offset in it, as in /proc/PID/mem */
    if (ftruncate(fd, IMAGE) || pwrite(fd, data + REGISTERS + STACK_BYTES, image_bytes, IMAGE) < 0)
        return 0;
    struct wedge_region all[] = {
        {.start = IMAGE, .end = IMAGE + image_bytes + 1, .read = true, .exec = true, .inode = 1, .path = "/image"},
        {.start = STACK, .end = STACK + STACK_BYTES, .read = true, .write = true, .path = "[stack]"}};
    struct wedge_regions regions = {.all = all, .n = 2};
    struct wedge_target_memory memory = {.fd = fd, .regions = &regions};
    struct wedge_images images = {.memory = &memory};
    mind_faults();
    if (wedge_unwinder_new(&images, -1, &unwinder) == 0) {
        if (sigsetjmp(fell, 1) == 0) {
            check_walk(&images, unwinder, &stack);
            wedge_unwind_thorough(unwinder, &stack);
        }
        may_fall = 0;
        wedge_unwinder_free(unwinder);
    }
    wedge_elf_forget();
    wedge_images_free(&images);
    wedge_walk_forget();
    wedge_target_memory_close(&memory);
    return 0;
}
