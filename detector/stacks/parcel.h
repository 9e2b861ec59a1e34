/*
 * Frames on their way from the child that unwinds and names them (detector/stacks/stacks.h), which a hostile file may have
 * taken over, to the process that makes the report and believes none of it unchecked.
 *
 *   stream  = { header payload }           header: kind, bytes of payload
 *   STRING  = bytes without NUL            gets the next number, from 1; 0 stands for NULL or ""
 *   THREAD  = struct, frames               one thread's stack; its strings came before
 *   ALIKE   = struct                       one whose frames are those of a thread of the same process, which came before
 *   WANT    = struct                       more of a thread's stack is needed: answered on another pipe, then it goes on
 *   DONE    = process                      all of its threads came
 *   FAILED  = process, string              none will
 *
 * The taking side keeps: a thread of a process that was asked for, once, before its DONE; numbers of strings that came;
 * at most FRAMES_MAX frames, STRING_MAX bytes a string and TOTAL_MAX bytes in all. Anything else ends the child.
 */
#ifndef WEDGE_DETECTOR_PARCEL_H
#define WEDGE_DETECTOR_PARCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "detector/model.h"

#define WEDGE_PARCEL_FRAMES_MAX 8192u
#define WEDGE_PARCEL_STRING_MAX 8192u
#define WEDGE_PARCEL_TOTAL_MAX  (64u << 20)

struct wedge_parcel_string;
#define WEDGE_PARCEL_RECENT 8 /* threads that another one may be said to be alike to */
struct wedge_parcel_sender { /* zeroed but for `out` */
    int out;
    int error; /* the first negative errno; nothing is sent after it */
    uint32_t n_strings;
    struct wedge_parcel_string *strings;
    size_t n_recent; /* in all, of which the last ones are kept; none of a process that is done */
    struct {
        const struct wedge_frame *frames;
        size_t n;
        int thread;
    } recent[WEDGE_PARCEL_RECENT];
    size_t len;
    uint8_t buffer[1 << 16];
};
/* Threads that share their frames (the same array) share them when they have come, too.
 * Each ends the sending at the first error and remembers it. Thread and process: index in the snapshot. */
void wedge_parcel_send_thread(struct wedge_parcel_sender *sender, const struct wedge_thread *thread, int index);
void wedge_parcel_send_want(struct wedge_parcel_sender *sender, int thread, uint64_t need); /* flushes */
void wedge_parcel_send_done(struct wedge_parcel_sender *sender, int proc); /* flushes */
void wedge_parcel_send_failed(struct wedge_parcel_sender *sender, int proc, const char *why); /* flushes */

struct wedge_parcel_taker { /* zeroed but for snapshot, open, want, arg */
    struct wedge_snapshot *snapshot; /* frames and notes go there; strings into its obstack */
    bool *open; /* by process: asked for and neither done nor failed */
    bool *came; /* by thread */
    int (*want)(void *arg, int thread, uint64_t need); /* answers; a negative errno ends the child */
    void *arg;
    const char **strings;
    size_t n_strings, cap_strings;
    uint8_t *part; /* a message that has not come in full */
    size_t len, cap;
    uint64_t total;
};
/* Takes what came, of any length. 0 or a negative errno: -EBADMSG, -E2BIG, -ENOMEM, that of `want`. */
int wedge_parcel_take(struct wedge_parcel_taker *taker, const char *data, size_t len);
void wedge_parcel_taker_free(struct wedge_parcel_taker *taker); /* what it kept for itself: not the snapshot's */

#endif
