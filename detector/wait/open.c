/*
 * Calls in which the outside alone ends the wait: open(2) of a FIFO, which waits for whoever opens the other end, and
 * waits for work that the kernel does by itself (AIO, io_uring).
 */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "detector/wait/wait.h"

#define MOST_PATH_SHOWN 96
#define OPENAT2         437
#define IO_PGETEVENTS   333
#define IO_URING_ENTER  426

/* A string of the target, as far as it can be read within its page. */
static void read_path(struct wedge_look *look, int thread, uint64_t address, char *buf, size_t size)
{
    uint64_t left = 4096 - address % 4096;
    size_t len = left < size - 1 ? (size_t)left : size - 1;
    memset(buf, 0, size);
    if (wedge_look_memory(look, look->snapshot->threads[thread].proc, address, buf, len))
        snprintf(buf, size, "?");
}

static void decode_open(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    char path[MOST_PATH_SHOWN];
    read_path(look, thread, t->args[t->syscall == SYS_open ? 0 : 1], path, sizeof(path));
    snprintf(t->wait.object.describe, sizeof(t->wait.object.describe), "the other end of FIFO %s", path);
    wedge_wait_outside(look, thread, WEDGE_WAIT_OUTSIDE, "anyone may open the other end of the FIFO");
    wedge_waker_add_signals(look, thread);
}

static const int opens[] = {SYS_open, SYS_openat, OPENAT2, -1};
static const char *const open_wchans[] = {"wait_for_partner", "fifo_open", NULL};
const struct wedge_wait_ops wedge_wait_open = {
    .name = "open", .calls = opens, .wchans = open_wchans, .decode = decode_open};

static void decode_async(struct wedge_look *look, int thread)
{
    struct wedge_object *o = &look->snapshot->threads[thread].wait.object;
    snprintf(o->describe, sizeof(o->describe), "work that the kernel does by itself");
    wedge_wait_outside(look, thread, WEDGE_WAIT_OUTSIDE, "the kernel ends it when its work is done");
    wedge_waker_add_signals(look, thread);
}

static const int asyncs[] = {SYS_io_getevents, IO_PGETEVENTS, IO_URING_ENTER, -1};
static const char *const anywhere[] = {"", NULL};
const struct wedge_wait_ops wedge_wait_async = {
    .name = "async", .calls = asyncs, .wchans = anywhere, .decode = decode_async};
