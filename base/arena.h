/*
 * The arena from wedge's side: make it, hand it to a child, read it. The layout is base/rt/arena.h.
 *
 * Wedge never follows the live mapping for anything it believes: it takes a private copy (pread) and checks each
 * index and text against it.
 */
#ifndef WEDGE_BASE_ARENA_H
#define WEDGE_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rt/arena.h"

/* The environment variable by which an agent finds it: "PID:FD:NONCE(hex)", opened as /proc/PID/fd/FD. */
#define WEDGE_ARENA_ENV "WEDGE_ARENA"

struct wedge_arena {
    int fd; /* memfd, close-on-exec, sealed against growing and shrinking */
    size_t bytes;
    uint8_t *live; /* shared mapping: for rules, control and slots that wedge writes */
    char env[96]; /* the value of WEDGE_ARENA */
    uint64_t tsc, ns; /* both clocks at one moment, when it was made; 0 where the counter is not to be trusted */
};

/* Makes an arena of `bytes` (0: 8 MiB), allocated in full. Errors: -ENOMEM, -ENOSPC, the memfd's. */
int wedge_arena_create(struct wedge_arena *ret, size_t bytes, uint64_t seed, struct wedge_err *err);
/* Maps an arena that another process made: `path` is /proc/PID/fd/N. Errors: open's (-EACCES, -EPERM: no right to look
 * into that process), -EBADMSG: not an arena, -EPROTO: of another build of wedge. */
int wedge_arena_open(struct wedge_arena *ret, const char *path, struct wedge_err *err);
void wedge_arena_destroy(struct wedge_arena *arena); /* takes NULL and half-made */

static inline struct wedge_arena_header *wedge_arena_header(const struct wedge_arena *arena)
{
    return (struct wedge_arena_header *)(void *)arena->live;
}
/* Record `i` of a section in the live mapping. Offsets and strides are those wedge laid out, not the header's. */
void *wedge_arena_live(const struct wedge_arena *arena, enum wedge_arena_section section, uint32_t i);

/* Sets the header's clock (struct wedge_arena_clock) by the clocks of now. Called again now and then by who made it. */
void wedge_arena_set_clock(const struct wedge_arena *arena);

/* How often rule number `rule` was hit so far, in the whole tree. Counted where the hits are (per thread, process,
 * object), so that they share no counter; summed here. A thousand loads. */
uint64_t wedge_arena_rule_hits(const struct wedge_arena *arena, uint32_t rule);

/* Finds or inserts a name; returns its index, 0 when the table is full or the name too long. */
uint32_t wedge_arena_name(const struct wedge_arena *arena, const char *text);

/* A private copy, of everything but the rings unless `rings`. Free with wedge_arena_copy_free. */
struct wedge_arena_copy {
    uint8_t *data;
    size_t bytes;
    bool rings;
};
int wedge_arena_copy(const struct wedge_arena *arena, bool rings, struct wedge_arena_copy *ret, struct wedge_err *err);
void wedge_arena_copy_free(struct wedge_arena_copy *copy);

/* Records of a copy, NULL past the end. Stride and offset are the constants of this build, whatever the copy says. */
const void *wedge_arena_at(const struct wedge_arena_copy *copy, enum wedge_arena_section section, uint32_t i);
uint32_t wedge_arena_count(enum wedge_arena_section section);
uint64_t wedge_arena_copy_hits(const struct wedge_arena_copy *copy, uint32_t rule); /* as wedge_arena_rule_hits */
/* The text of a name, "" for 0 or an unusable index; NUL-terminated within the copy. */
const char *wedge_arena_text(struct wedge_arena_copy *copy, uint32_t name);
/* The slot of a running process by its pid (of the launcher's namespace), NULL none. */
const struct wedge_arena_proc *wedge_arena_proc_of(const struct wedge_arena_copy *copy, int32_t pid,
                                                   uint32_t *ret_slot);
/* The slot of a thread by pid and tid, NULL none. */
const struct wedge_arena_thread *wedge_arena_thread_of(const struct wedge_arena_copy *copy, int32_t pid, int32_t tid,
                                                       uint32_t *ret_slot);
/* How many events a thread slot's ring keeps at most that were written so far. */
uint32_t wedge_arena_event_count(const struct wedge_arena_copy *copy, uint32_t thread_slot);
/* Event i (0 oldest kept) of a thread slot's ring; NULL past the end or torn. Needs `rings`. */
const struct wedge_arena_event *wedge_arena_event(const struct wedge_arena_copy *copy, uint32_t thread_slot,
                                                  uint32_t i);
/* Of a census: row i, NULL past the end or not complete, and the path of a module (number + 1), "" none. Need `rings`. */
const struct wedge_arena_census *wedge_arena_census_row(const struct wedge_arena_copy *copy, uint32_t i, bool *ret_end);
const char *wedge_arena_census_module(struct wedge_arena_copy *copy, uint32_t module);
/* The firing of order i + 1, kept however much a thread's ring was written over since; NULL when it did not happen,
 * is torn, or did not fit (see wedge_arena_count(WEDGE_SEC_FIRINGS)). Needs no rings. */
const struct wedge_arena_event *wedge_arena_firing(const struct wedge_arena_copy *copy, uint32_t i);

#endif
