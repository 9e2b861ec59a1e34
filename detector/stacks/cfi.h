/*
 * One row of a function's unwind information: how, with the pc at one address, the caller's frame is found.
 *
 *     table of .eh_frame_hdr ──binary search──> FDE ──> CIE
 *     CIE's instructions, then the FDE's up to the address ──> row
 *
 * Only what compilers write for nearly every function is a row: the frame's address is a register plus a number, and what the
 * caller had in its registers is still there or lies at a number from that address. Signal frames, expressions, unknown
 * encodings and whatever does not add up are no row; libunwind or libdwfl deals with them (detector/stacks/unwind.h). So
 * this never guesses, and never fails.
 *
 * Sources: LSB 5.0 core, "Exception Frames"; DWARF 5, section 6.4; x86-64 ABI, figure 3.36 (numbers of registers).
 */
#ifndef WEDGE_DETECTOR_CFI_H
#define WEDGE_DETECTOR_CFI_H

#include <stdbool.h>
#include <stdint.h>

#include "detector/elf/elf_image.h"

/* The registers that a frame's address is counted from: those that a function keeps for its caller, and rsp. */
enum wedge_cfi_register {
    WEDGE_CFI_RBX,
    WEDGE_CFI_RBP,
    WEDGE_CFI_R12,
    WEDGE_CFI_R13,
    WEDGE_CFI_R14,
    WEDGE_CFI_R15,
    WEDGE_CFI_KEPT, /* so many; rsp itself is never stored: the caller's is the frame's address */
    WEDGE_CFI_RSP = WEDGE_CFI_KEPT,
    WEDGE_CFI_REGISTERS,
};

#define WEDGE_CFI_SAME INT32_MAX /* not stored: it has the caller's value */

struct wedge_cfi_row {
    bool known; /* else: no row, ask another unwinder */
    bool outermost; /* nobody called this function */
    uint8_t base; /* enum wedge_cfi_register: the frame's address is this plus base_offset */
    int32_t base_offset;
    int32_t return_at; /* where the return address lies, from the frame's address */
    int32_t kept_at[WEDGE_CFI_KEPT]; /* where the caller's value lies, or WEDGE_CFI_SAME */
};

/* The row for the instruction at `address`, which is in the text of `image`. Reads constant memory; blocks like that. */
void wedge_cfi_find(struct wedge_target_memory *memory, const struct wedge_image *image, uint64_t address,
                    struct wedge_cfi_row *ret);

#endif
