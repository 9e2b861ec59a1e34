/*
 * Unwinding over a copy: from the registers and the copied stack of a thread to the pcs of its frames.
 *
 *   rows that are kept (detector/stacks/walk.h) ──all the way──> done
 *        │ a frame that is no plain call's: a signal's, an expression
 *        v
 *   libunwind with our accessors ──all the way──> done
 *        │ no table it can search (none, static, only .debug_frame), or it lost its way
 *        v
 *   libdwfl over the same copy: the file's .eh_frame and .debug_frame, then the chain of frame pointers
 *
 * Invariant: memory that changes is read from the copy alone; what the copy lacks ends the stack and is named (`need`),
 * so that the caller may copy more. A frame that was only guessed (frame pointers) is counted in `guessed`.
 */
#ifndef WEDGE_DETECTOR_UNWIND_H
#define WEDGE_DETECTOR_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

#include "detector/elf/elf_image.h"

#define WEDGE_UNWIND_FRAMES_MAX 256
/* Of a deeper stack, as far as libunwind goes it: the innermost and the outermost, for who began a recursion tells as
 * much as where it is. */
#define WEDGE_UNWIND_OUTER       64
#define WEDGE_UNWIND_INNER       (WEDGE_UNWIND_FRAMES_MAX - WEDGE_UNWIND_OUTER)
#define WEDGE_UNWIND_OMITTED_MAX 32768 /* of one stack; a stack that leads in circles ends there */
#define WEDGE_UNWIND_OMITTED_ALL (1u << 18) /* of all stacks of a process */
#define WEDGE_UNWIND_WINDOWS_MAX 3

struct wedge_unwind_window { /* copied bytes of [from, from + len) */
    uint64_t from;
    size_t len;
    const uint8_t *data;
};

struct wedge_unwind_frame {
    uint64_t pc;
    bool signal; /* the trampoline that a signal handler returns to */
    bool exact; /* the pc itself is where it is or goes on; else it is behind a call, and what counts is before it */
};

enum wedge_unwind_end {
    WEDGE_UNWIND_COMPLETE, /* to where the thread began */
    WEDGE_UNWIND_LIMIT, /* too many frames */
    WEDGE_UNWIND_NEED, /* the copy does not reach to `need` */
    WEDGE_UNWIND_NO_INFO, /* no unwind information at the last pc */
    WEDGE_UNWIND_LOST, /* the unwind information does not fit the stack */
};

struct wedge_unwind_stack { /* one thread's: regs and windows in, the rest out */
    struct user_regs_struct regs;
    struct wedge_unwind_window windows[WEDGE_UNWIND_WINDOWS_MAX];
    size_t n_windows;
    struct wedge_unwind_frame frames[WEDGE_UNWIND_FRAMES_MAX];
    size_t n_frames;
    size_t omitted; /* frames left out after the first WEDGE_UNWIND_INNER */
    size_t guessed; /* how many of them lie beyond the first pc without unwind information */
    enum wedge_unwind_end end;
    uint64_t need; /* NEED: the address */
    const char *reason; /* NO_INFO: what the image at the last pc lacks; "" otherwise */
};

struct wedge_unwinder; /* of one process: libunwind's address space and, once needed, libdwfl's session */

/* `images` must outlive it; `pid` is for opening the files that are mapped. -ENOMEM. */
int wedge_unwinder_new(struct wedge_images *images, int pid, struct wedge_unwinder **ret);
void wedge_unwinder_free(struct wedge_unwinder *unwinder); /* takes NULL */
/* By rows, or else with libunwind. At least the pc of the registers is always a frame. */
void wedge_unwind_fast(struct wedge_unwinder *unwinder, struct wedge_unwind_stack *stack);
void wedge_unwind_library(struct wedge_unwinder *unwinder, struct wedge_unwind_stack *stack); /* with libunwind alone */
/* With libdwfl. Replaces the frames of *stack only when it comes further. */
void wedge_unwind_thorough(struct wedge_unwinder *unwinder, struct wedge_unwind_stack *stack);

/* Of unwind.c for unwind_dwfl.c: a read from the windows or constant memory, all bytes or false; sets `need`. */
bool wedge_unwind_read(struct wedge_images *images, struct wedge_unwind_stack *stack, uint64_t address, void *buf,
                       size_t len);
/* Is what could not be read at `need` a piece of stack that more copying would bring? Else what led there was no stack. */
bool wedge_unwind_is_lacking(struct wedge_images *images, uint64_t need);
bool wedge_unwind_is_text(struct wedge_images *images, uint64_t pc); /* may a call have returned to there? */
/* mov $15, %rax; syscall: what a signal handler returns to, in every libc (rt_sigreturn, x86-64 ABI of the kernel). */
bool wedge_unwind_is_trampoline(struct wedge_images *images, uint64_t pc);

/* For whoever steps: no frame yet; one more (its place holds until straightened; NULL: too many, of this stack or by *omitted
 * of all); and at the end the frames in their order. */
void wedge_unwind_begin(struct wedge_unwind_stack *stack);
const struct wedge_unwind_frame *wedge_unwind_add(struct wedge_unwind_stack *stack,
                                                  const struct wedge_unwind_frame *before, uint64_t pc, bool signal,
                                                  size_t *omitted);
void wedge_unwind_straighten(struct wedge_unwind_stack *stack);

/* The frame at `pc`; `before` is the one that it called, NULL: it is the innermost. */
struct wedge_unwind_frame wedge_unwind_frame_at(const struct wedge_unwind_frame *before, uint64_t pc, bool signal);

/* unwind_dwfl.c: the thorough way, a session of its own. */
struct wedge_unwind_dwfl;
struct wedge_unwind_dwfl *wedge_unwind_dwfl_new(struct wedge_images *images, int pid); /* NULL: not to be had */
void wedge_unwind_dwfl_free(struct wedge_unwind_dwfl *session); /* takes NULL */
void wedge_unwind_dwfl_run(struct wedge_unwind_dwfl *session, struct wedge_unwind_stack *stack);

#endif
