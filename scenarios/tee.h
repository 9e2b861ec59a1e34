/*
 * A stream of the command on its way through: a process of its own copies it on to where it was going, counts the
 * bytes, and keeps the last ones for the report. It ends at end of file, so it outlives wedge: when wedge is killed
 * the command goes on as it was.
 */
#ifndef WEDGE_SCENARIOS_TEE_H
#define WEDGE_SCENARIOS_TEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct wedge_tee_ring;
struct wedge_tee {
    pid_t pid; /* 0: none */
    int input; /* the end for the command to write to; close it after the launch */
    struct wedge_tee_ring *ring;
};

/* Starts a copy to `output` (kept open by the copier alone). `keep_bytes`: of a stream longer than twice that arrive the first and the last so many,
 * these at end of file, and between them a line that says how much is left out; 0: all of it. */
int wedge_tee_start(struct wedge_tee *tee, int output, size_t keep_bytes, struct wedge_err *err);
/* Is there anything to copy to? A standard stream that is closed, or closes at exec, the command finds closed: it
 * must see that itself. */
bool wedge_tee_is_open(int output);
/* Do both lead to the same file, pipe or device? Then one copier keeps the order in which they were written to. */
bool wedge_tee_is_same(int a, int b);
/* Why the output stopped arriving, a positive errno; 0: it arrives, or its reader left (then the command met SIGPIPE,
 * as it would have without us). */
int wedge_tee_error(const struct wedge_tee *tee);
uint64_t wedge_tee_bytes(const struct wedge_tee *tee); /* so far */
/* The last bytes, at most size - 1, NUL-terminated; returns buf. */
char *wedge_tee_tail(const struct wedge_tee *tee, char *buf, size_t size);
/* Waits until everything was copied (end of file), at most `wait_ms`, and reaps the copier if it ended. */
void wedge_tee_drain(struct wedge_tee *tee, int wait_ms);
void wedge_tee_free(struct wedge_tee *tee);

#endif
