#include "detector/stacks/parcel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uthash.h>

enum kind { STRING = 1, THREAD, WANT, DONE, FAILED, ALIKE };

struct header {
    uint32_t kind, bytes;
};
struct thread_message {
    int32_t thread;
    uint32_t note, callback_function, n_frames;
};
struct frame_message {
    uint64_t pc, module_offset;
    uint32_t function, file, module, build_id;
    int32_t line;
    uint32_t flags; /* INLINED and so on */
};
struct alike_message {
    int32_t thread;
    uint32_t note, callback_function;
    int32_t like;
};
struct want_message {
    int32_t thread;
    uint32_t zero;
    uint64_t need;
};
struct proc_message {
    int32_t proc;
    uint32_t why;
};
enum { INLINED = 1, SIGNAL = 2, LIBC = 4, RUNTIME = 8, ALL_FLAGS = 15 };

/* ---- sending ---- */

struct wedge_parcel_string {
    UT_hash_handle hh;
    uint32_t number;
    char text[];
};

static void flush(struct wedge_parcel_sender *sender)
{
    for (size_t at = 0; at < sender->len && !sender->error;) {
        ssize_t n = write(sender->out, sender->buffer + at, sender->len - at);
        if (n > 0)
            at += (size_t)n;
        else if (n < 0 && errno != EINTR)
            sender->error = -errno;
    }
    sender->len = 0;
}

static void put(struct wedge_parcel_sender *sender, const void *data, size_t len)
{
    const uint8_t *from = data;
    while (len && !sender->error) {
        size_t part = sizeof(sender->buffer) - sender->len;
        part = len < part ? len : part;
        memcpy(sender->buffer + sender->len, from, part);
        sender->len += part;
        from += part;
        len -= part;
        if (sender->len == sizeof(sender->buffer))
            flush(sender);
    }
}

static void put_header(struct wedge_parcel_sender *sender, enum kind kind, size_t bytes)
{
    struct header header = {kind, (uint32_t)bytes};
    put(sender, &header, sizeof(header));
}

/* The number of a string, which goes out when it is new. */
static uint32_t string(struct wedge_parcel_sender *sender, const char *text)
{
    size_t len = text ? strnlen(text, WEDGE_PARCEL_STRING_MAX) : 0;
    struct wedge_parcel_string *known;
    if (!len)
        return 0;
    HASH_FIND(hh, sender->strings, text, len, known);
    if (known)
        return known->number;
    known = malloc(sizeof(*known) + len);
    if (!known) {
        sender->error = -ENOMEM;
        return 0;
    }
    memcpy(known->text, text, len);
    known->number = ++sender->n_strings;
    HASH_ADD(hh, sender->strings, text, len, known);
    put_header(sender, STRING, len);
    put(sender, text, len);
    return known->number;
}

/* A thread of this process with the same frames that went before; -1 none. */
static int find_alike(struct wedge_parcel_sender *sender, const struct wedge_thread *thread, int index)
{
    for (size_t i = 0; i < sender->n_recent && i < WEDGE_PARCEL_RECENT; i++)
        if (sender->recent[i].frames == thread->frames && sender->recent[i].n == thread->n_frames)
            return sender->recent[i].thread;
    size_t at = sender->n_recent++ % WEDGE_PARCEL_RECENT;
    sender->recent[at].frames = thread->frames;
    sender->recent[at].n = thread->n_frames;
    sender->recent[at].thread = index;
    return -1;
}

void wedge_parcel_send_thread(struct wedge_parcel_sender *sender, const struct wedge_thread *thread, int index)
{
    static struct frame_message frames[WEDGE_PARCEL_FRAMES_MAX];
    int like = thread->n_frames ? find_alike(sender, thread, index) : -1;
    if (like >= 0) {
        struct alike_message alike = {.thread = index,
                                      .note = string(sender, thread->stack_note),
                                      .callback_function = string(sender, thread->callback_function),
                                      .like = like};
        put_header(sender, ALIKE, sizeof(alike));
        put(sender, &alike, sizeof(alike));
        return;
    }
    size_t n = thread->n_frames < WEDGE_PARCEL_FRAMES_MAX ? thread->n_frames : WEDGE_PARCEL_FRAMES_MAX;
    for (size_t i = 0; i < n; i++) {
        const struct wedge_frame *f = &thread->frames[i];
        frames[i] = (struct frame_message){
            .pc = f->pc,
            .module_offset = f->module_offset,
            .function = string(sender, f->function),
            .file = string(sender, f->file),
            .module = string(sender, f->module),
            .build_id = string(sender, f->build_id),
            .line = f->line,
            .flags = (f->inlined ? INLINED : 0) | (f->signal ? SIGNAL : 0) | (f->libc ? LIBC : 0) |
                     (f->runtime ? RUNTIME : 0),
        };
    }
    struct thread_message message = {.thread = index,
                                     .note = string(sender, thread->stack_note),
                                     .callback_function = string(sender, thread->callback_function),
                                     .n_frames = (uint32_t)n};
    put_header(sender, THREAD, sizeof(message) + n * sizeof(frames[0]));
    put(sender, &message, sizeof(message));
    put(sender, frames, n * sizeof(frames[0]));
}

void wedge_parcel_send_want(struct wedge_parcel_sender *sender, int thread, uint64_t need)
{
    struct want_message message = {.thread = thread, .need = need};
    put_header(sender, WANT, sizeof(message));
    put(sender, &message, sizeof(message));
    flush(sender);
}

static void send_proc(struct wedge_parcel_sender *sender, enum kind kind, int proc, uint32_t why)
{
    struct proc_message message = {.proc = proc, .why = why};
    put_header(sender, kind, sizeof(message));
    put(sender, &message, sizeof(message));
    flush(sender);
    sender->n_recent = 0;
}

void wedge_parcel_send_done(struct wedge_parcel_sender *sender, int proc)
{
    send_proc(sender, DONE, proc, 0);
}

void wedge_parcel_send_failed(struct wedge_parcel_sender *sender, int proc, const char *why)
{
    send_proc(sender, FAILED, proc, string(sender, why));
}

/* ---- taking ---- */

static int take_string(struct wedge_parcel_taker *taker, const uint8_t *data, size_t len)
{
    if (len == 0 || len > WEDGE_PARCEL_STRING_MAX || memchr(data, 0, len))
        return -EBADMSG;
    if (taker->n_strings == taker->cap_strings) {
        size_t cap = taker->cap_strings ? taker->cap_strings * 2 : 1024;
        const char **more = realloc(taker->strings, cap * sizeof(*more));
        if (!more)
            return -ENOMEM;
        taker->strings = more;
        taker->cap_strings = cap;
    }
    taker->strings[taker->n_strings++] = obstack_copy0(&taker->snapshot->mem, data, (int)len);
    return 0;
}

/* `none` for 0; false for a number that no string has. */
static bool find(const struct wedge_parcel_taker *taker, uint32_t number, const char *none, const char **ret)
{
    if (number > taker->n_strings)
        return false;
    *ret = number ? taker->strings[number - 1] : none;
    return true;
}

static bool is_open(const struct wedge_parcel_taker *taker, int32_t proc)
{
    return proc >= 0 && (size_t)proc < taker->snapshot->n_procs && taker->open[proc];
}

static bool is_awaited(const struct wedge_parcel_taker *taker, int32_t thread)
{
    return thread >= 0 && (size_t)thread < taker->snapshot->n_threads && !taker->came[thread] &&
           is_open(taker, taker->snapshot->threads[thread].proc);
}

static int take_thread(struct wedge_parcel_taker *taker, const uint8_t *data, size_t len)
{
    struct thread_message message;
    if (len < sizeof(message))
        return -EBADMSG;
    memcpy(&message, data, sizeof(message));
    if (!is_awaited(taker, message.thread) || message.n_frames > WEDGE_PARCEL_FRAMES_MAX ||
        len - sizeof(message) != message.n_frames * sizeof(struct frame_message))
        return -EBADMSG;
    struct wedge_thread *thread = &taker->snapshot->threads[message.thread];
    const char *note, *callback;
    if (!find(taker, message.note, "", &note) || !find(taker, message.callback_function, NULL, &callback))
        return -EBADMSG;
    struct wedge_frame *frames = obstack_alloc(&taker->snapshot->mem, (int)(message.n_frames * sizeof(*frames)));
    for (uint32_t i = 0; i < message.n_frames; i++) {
        struct frame_message m;
        memcpy(&m, data + sizeof(message) + i * sizeof(m), sizeof(m));
        struct wedge_frame *f = &frames[i];
        *f = (struct wedge_frame){.pc = m.pc,
                                  .module_offset = m.module_offset,
                                  .line = m.line,
                                  .inlined = m.flags & INLINED,
                                  .signal = m.flags & SIGNAL,
                                  .libc = m.flags & LIBC,
                                  .runtime = m.flags & RUNTIME};
        if (m.line < 0 || (m.flags & ~(uint32_t)ALL_FLAGS) || !find(taker, m.function, NULL, &f->function) ||
            !find(taker, m.file, NULL, &f->file) || !find(taker, m.module, "", &f->module) ||
            !find(taker, m.build_id, "", &f->build_id))
            return -EBADMSG;
    }
    if (!*thread->stack_note) /* what the stop came to is known better here */
        thread->stack_note = note;
    thread->callback_function = callback;
    thread->frames = frames;
    thread->n_frames = message.n_frames;
    taker->came[message.thread] = true;
    return 0;
}

static int take_alike(struct wedge_parcel_taker *taker, const uint8_t *data, size_t len)
{
    struct alike_message message;
    const char *note, *callback;
    if (len != sizeof(message))
        return -EBADMSG;
    memcpy(&message, data, sizeof(message));
    struct wedge_thread *all = taker->snapshot->threads;
    if (!is_awaited(taker, message.thread) || message.like < 0 || (size_t)message.like >= taker->snapshot->n_threads ||
        !taker->came[message.like] || all[message.like].proc != all[message.thread].proc ||
        !find(taker, message.note, "", &note) || !find(taker, message.callback_function, NULL, &callback))
        return -EBADMSG;
    struct wedge_thread *thread = &all[message.thread];
    if (!*thread->stack_note) /* what the stop came to is known better here */
        thread->stack_note = note;
    thread->callback_function = callback;
    thread->frames = all[message.like].frames;
    thread->n_frames = all[message.like].n_frames;
    taker->came[message.thread] = true;
    return 0;
}

static int take_want(struct wedge_parcel_taker *taker, const uint8_t *data, size_t len)
{
    struct want_message message;
    if (len != sizeof(message))
        return -EBADMSG;
    memcpy(&message, data, sizeof(message));
    return is_awaited(taker, message.thread) ? taker->want(taker->arg, message.thread, message.need) : -EBADMSG;
}

static int take_proc(struct wedge_parcel_taker *taker, enum kind kind, const uint8_t *data, size_t len)
{
    struct proc_message message;
    const char *why;
    if (len != sizeof(message))
        return -EBADMSG;
    memcpy(&message, data, sizeof(message));
    if (!is_open(taker, message.proc) || !find(taker, message.why, "it could not be unwound", &why))
        return -EBADMSG;
    const struct wedge_proc *p = &taker->snapshot->procs[message.proc];
    for (int t = p->first_thread; t < p->first_thread + p->n_threads; t++) {
        if (kind == DONE && !taker->came[t])
            return -EBADMSG;
        if (kind == FAILED)
            taker->snapshot->threads[t].stack_note = why;
    }
    taker->open[message.proc] = false;
    return 0;
}

static int take_message(struct wedge_parcel_taker *taker, uint32_t kind, const uint8_t *data, size_t len)
{
    switch (kind) {
    case STRING:
        return take_string(taker, data, len);
    case THREAD:
        return take_thread(taker, data, len);
    case ALIKE:
        return take_alike(taker, data, len);
    case WANT:
        return take_want(taker, data, len);
    case DONE:
    case FAILED:
        return take_proc(taker, (enum kind)kind, data, len);
    default:
        return -EBADMSG;
    }
}

enum { MESSAGE_MAX = sizeof(struct thread_message) + WEDGE_PARCEL_FRAMES_MAX * sizeof(struct frame_message) };

/* Keeps `len` bytes until the rest of their message comes. */
static int keep(struct wedge_parcel_taker *taker, const uint8_t *data, size_t len)
{
    if (taker->len + len > taker->cap) {
        size_t cap = taker->cap ? taker->cap : 1 << 17;
        while (cap < taker->len + len)
            cap *= 2;
        uint8_t *more = realloc(taker->part, cap);
        if (!more)
            return -ENOMEM;
        taker->part = more;
        taker->cap = cap;
    }
    memcpy(taker->part + taker->len, data, len);
    taker->len += len;
    return 0;
}

int wedge_parcel_take(struct wedge_parcel_taker *taker, const char *data, size_t len)
{
    size_t at = 0;
    taker->total += len;
    if (taker->total > WEDGE_PARCEL_TOTAL_MAX)
        return -E2BIG;
    if (!taker->came && !(taker->came = calloc(taker->snapshot->n_threads + 1, sizeof(*taker->came))))
        return -ENOMEM;
    int rc = keep(taker, (const uint8_t *)data, len);
    while (!rc && taker->len - at >= sizeof(struct header)) {
        struct header header;
        memcpy(&header, taker->part + at, sizeof(header));
        if (header.bytes > MESSAGE_MAX)
            return -EBADMSG;
        if (taker->len - at - sizeof(header) < header.bytes)
            break;
        rc = take_message(taker, header.kind, taker->part + at + sizeof(header), header.bytes);
        at += sizeof(header) + header.bytes;
    }
    if (rc)
        return rc;
    memmove(taker->part, taker->part + at, taker->len - at);
    taker->len -= at;
    return 0;
}

void wedge_parcel_taker_free(struct wedge_parcel_taker *taker)
{
    free(taker->strings);
    free(taker->part);
    free(taker->came);
    taker->strings = NULL;
    taker->part = NULL;
    taker->came = NULL;
}
