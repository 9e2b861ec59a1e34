#include "detector/core/core_write.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "detector/kernel/proc.h"
#include "detector/stacks/stop.h"
#include "detector/stacks/target_memory.h"

#define PAGE             4096u
#define BLOCK            (256u << 10)
#define MOST_SEGMENTS    60000u /* e_phnum has 16 bits, elf(5) */
#define LARGEST_SEGMENT  (64ull << 30) /* a larger one is address space, not memory: a shadow, a reserve */
#define MOST_NOTE_BYTES  (64u << 20)
#define MOST_SMAPS_BYTES (64u << 20)
#define PRESENT          (3ull << 62) /* present or swapped, Documentation/admin-guide/mm/pagemap.rst */

struct segment {
    uint64_t start, bytes, file_bytes;
    unsigned flags;
};

struct notes {
    uint8_t *data;
    size_t n, cap;
    bool failed;
};

struct writer {
    const struct wedge_core_order *order;
    struct wedge_stop stop;
    pid_t reader; /* a thread that lives */
    struct mark {
        uint64_t start; /* of a mapping */
        bool hidden; /* it is not to be dumped */
        bool written; /* it has pages of its own, though it may be read-only now (RELRO) */
    } * marks; /* ascending */
    size_t n_marks;
    struct wedge_regions regions;
    struct segment *segments;
    size_t n_segments;
    struct notes notes;
    int memory, pagemap;
    int64_t deadline_ns;
};

/* ---- what to write ---- */

static int add_mark(struct writer *w, uint64_t start)
{
    if ((w->n_marks & (w->n_marks - 1)) == 0) { /* a power of two: full */
        struct mark *more = realloc(w->marks, (w->n_marks ? 2 * w->n_marks : 1) * sizeof(*more));
        if (!more)
            return -ENOMEM;
        w->marks = more;
    }
    w->marks[w->n_marks++] = (struct mark){.start = start};
    return 0;
}

/* From smaps, proc(5): pages of its own (Anonymous), MADV_DONTDUMP (dd) and devices (io) in VmFlags. */
static int read_marks(struct writer *w)
{
    char *text = NULL;
    ssize_t len = wedge_proc_read_all(w->order->pid, w->reader, "smaps", MOST_SMAPS_BYTES, &text);
    uint64_t from, to;
    unsigned long kib;
    int rc = len < 0 ? (int)len : 0;
    for (char *line = text, *next; line && *line && !rc; line = next) {
        next = line + strcspn(line, "\n");
        if (*next)
            *next++ = '\0';
        struct mark *last = w->n_marks ? &w->marks[w->n_marks - 1] : NULL;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2)
            rc = add_mark(w, from);
        else if (last && sscanf(line, "Anonymous: %lu", &kib) == 1)
            last->written = kib > 0;
        else if (last && strncmp(line, "VmFlags:", 8) == 0)
            last->hidden = strstr(line, " dd") || strstr(line, " io");
    }
    free(text);
    return rc;
}

/* A mapping that came since smaps was read has no mark. */
static struct mark mark_of(const struct writer *w, uint64_t start)
{
    size_t low = 0, high = w->n_marks;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (w->marks[mid].start < start)
            low = mid + 1;
        else
            high = mid;
    }
    return low < w->n_marks && w->marks[low].start == start ? w->marks[low] : (struct mark){0};
}

/* How much of a mapping core(5) writes by default (coredump_filter 0x33). */
static uint64_t wanted_bytes(const struct writer *w, const struct wedge_region *r)
{
    uint64_t bytes = r->end - r->start;
    char magic[SELFMAG];
    const struct mark mark = mark_of(w, r->start);
    bool anonymous =
        r->inode == 0 || r->deleted || strncmp(r->path, "/memfd:", 7) == 0 || strncmp(r->path, "/SYSV", 5) == 0;
    if (!r->read || mark.hidden || strcmp(r->path, "[vvar]") == 0 || strcmp(r->path, "[vsyscall]") == 0 ||
        strncmp(r->path, "[vvar_", 6) == 0)
        return 0;
    if (anonymous || r->write || mark.written)
        return bytes <= LARGEST_SEGMENT ? bytes : 0;
    if (r->offset == 0 && pread(w->memory, magic, SELFMAG, (off_t)r->start) == SELFMAG &&
        memcmp(magic, ELFMAG, SELFMAG) == 0)
        return PAGE;
    return 0;
}

static int choose_segments(struct writer *w)
{
    uint64_t left = w->order->max_bytes;
    size_t n = w->regions.n < MOST_SEGMENTS ? w->regions.n : MOST_SEGMENTS;
    w->segments = calloc(n + 1, sizeof(*w->segments));
    if (!w->segments)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct wedge_region *r = &w->regions.all[i];
        uint64_t bytes = wanted_bytes(w, r);
        bytes = bytes <= left ? bytes : 0;
        left -= bytes;
        w->segments[w->n_segments++] =
            (struct segment){.start = r->start,
                             .bytes = r->end - r->start,
                             .file_bytes = bytes,
                             .flags = (r->read ? PF_R : 0u) | (r->write ? PF_W : 0u) | (r->exec ? PF_X : 0u)};
    }
    return 0;
}

/* ---- notes ---- */

static void grow(struct notes *notes, const void *data, size_t bytes)
{
    size_t padded = (bytes + 3) & ~(size_t)3;
    if (notes->failed || notes->n + padded > MOST_NOTE_BYTES) {
        notes->failed = true;
        return;
    }
    if (notes->n + padded > notes->cap) {
        size_t cap = notes->cap ? notes->cap : 65536;
        while (cap < notes->n + padded)
            cap *= 2;
        uint8_t *more = realloc(notes->data, cap);
        if (!more) {
            notes->failed = true;
            return;
        }
        notes->data = more;
        notes->cap = cap;
    }
    memcpy(notes->data + notes->n, data, bytes);
    memset(notes->data + notes->n + bytes, 0, padded - bytes);
    notes->n += padded;
}

static void add_note(struct notes *notes, unsigned type, const void *data, size_t bytes)
{
    const Elf64_Nhdr header = {.n_namesz = 5, .n_descsz = (Elf64_Word)bytes, .n_type = type};
    grow(notes, &header, sizeof(header));
    grow(notes, "CORE", 5);
    grow(notes, data, bytes);
}

/* The leader first: readers take the first thread for the current one. */
static void add_threads(struct writer *w, const struct wedge_proc_stat *stat)
{
    for (int others = 0; others <= 1; others++)
        for (size_t i = 0; i < w->stop.n_threads; i++) {
            const struct wedge_stop_thread *t = &w->stop.threads[i];
            struct elf_prstatus status = {.pr_pid = t->tid, .pr_ppid = stat->ppid, .pr_pgrp = stat->pgrp};
            if (t->state != WEDGE_STOP_STOPPED || (t->tid != w->order->pid) != (others == 1))
                continue;
            status.pr_sid = stat->session;
            memcpy(&status.pr_reg, &t->regs, sizeof(status.pr_reg));
            add_note(&w->notes, NT_PRSTATUS, &status, sizeof(status));
        }
}

static void add_process(struct writer *w, const struct wedge_proc_stat *stat)
{
    struct elf_prpsinfo info = {.pr_sname = stat->state, .pr_pid = stat->pid, .pr_ppid = stat->ppid};
    char text[4096], *auxv = NULL;
    info.pr_pgrp = stat->pgrp;
    info.pr_sid = stat->session;
    snprintf(info.pr_fname, sizeof(info.pr_fname), "%s", stat->comm);
    ssize_t len = wedge_proc_read(w->order->pid, w->reader, "cmdline", text, sizeof(text));
    for (ssize_t i = 0; i + 1 < len; i++)
        text[i] = text[i] ? text[i] : ' ';
    snprintf(info.pr_psargs, sizeof(info.pr_psargs), "%s", len > 0 ? text : "");
    add_note(&w->notes, NT_PRPSINFO, &info, sizeof(info));
    len = wedge_proc_read_all(w->order->pid, w->reader, "auxv", 65536, &auxv);
    if (len > 0)
        add_note(&w->notes, NT_AUXV, auxv, (size_t)len);
    free(auxv);
}

/* NT_FILE: count, page size, (start, end, offset in pages) each, then the paths (fs/binfmt_elf.c, fill_files_note). */
static void add_files(struct writer *w)
{
    struct notes table = {0};
    uint64_t head[2] = {0, PAGE};
    for (size_t i = 0; i < w->regions.n; i++)
        head[0] += w->regions.all[i].inode != 0;
    grow(&table, head, sizeof(head));
    for (size_t i = 0; i < w->regions.n; i++) {
        const struct wedge_region *r = &w->regions.all[i];
        const uint64_t row[3] = {r->start, r->end, r->offset / PAGE};
        if (r->inode)
            grow(&table, row, sizeof(row));
    }
    size_t paths = 0, at = 0;
    for (size_t i = 0; i < w->regions.n; i++)
        paths += w->regions.all[i].inode ? strlen(w->regions.all[i].path) + 1 : 0;
    char *text = malloc(paths + 1);
    for (size_t i = 0; text && i < w->regions.n; i++)
        if (w->regions.all[i].inode)
            at = (size_t)(stpcpy(text + at, w->regions.all[i].path) - text) + 1;
    if (text)
        grow(&table, text, paths);
    if (text && !table.failed) /* the padding is part of neither reader's count */
        add_note(&w->notes, NT_FILE, table.data, sizeof(head) + head[0] * 24 + paths);
    free(text);
    free(table.data);
}

/* ---- the file ---- */

static int write_at(int fd, const void *data, size_t len, uint64_t at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, (const char *)data + done, len - done, (off_t)(at + done));
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static bool is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* One block: only pages that are there and hold something. Where pagemap cannot be read all of them are. */
static int copy_block(const struct writer *w, uint64_t from, size_t bytes, uint64_t at)
{
    static uint8_t data[BLOCK];
    uint64_t map[BLOCK / PAGE];
    size_t pages = bytes / PAGE;
    ssize_t known = w->pagemap < 0 ? -1 : pread(w->pagemap, map, pages * 8, (off_t)(from / PAGE * 8));
    for (size_t i = 0; i < pages; i++) {
        size_t run = i;
        while (run < pages && (known != (ssize_t)(pages * 8) || map[run] & PRESENT))
            run++;
        if (run == i)
            continue;
        ssize_t got = pread(w->memory, data, (run - i) * PAGE, (off_t)(from + i * PAGE));
        for (size_t k = 0; got > 0 && k < (size_t)got / PAGE; k++) {
            int rc = is_zero(data + k * PAGE) ? 0 : write_at(w->order->fd, data + k * PAGE, PAGE, at + (i + k) * PAGE);
            if (rc)
                return rc;
        }
        i = got > 0 && (size_t)got / PAGE < run - i ? i + (size_t)got / PAGE : run;
    }
    return 0;
}

static int write_memory(const struct writer *w, uint64_t at)
{
    for (size_t i = 0; i < w->n_segments; i++) {
        const struct segment *s = &w->segments[i];
        for (uint64_t done = 0; done < s->file_bytes; done += BLOCK) {
            uint64_t left = s->file_bytes - done;
            int rc = copy_block(w, s->start + done, left < BLOCK ? (size_t)left : BLOCK, at + done);
            if (!rc && wedge_clock_ns() > w->deadline_ns)
                rc = -ETIMEDOUT;
            if (rc)
                return rc;
        }
        at += s->file_bytes;
    }
    return ftruncate(w->order->fd, (off_t)at) ? -errno : 0;
}

static int write_headers(const struct writer *w, uint64_t *ret_memory_at)
{
    size_t n = w->n_segments + 1;
    Elf64_Phdr *p = calloc(n, sizeof(*p));
    uint64_t notes_at = sizeof(Elf64_Ehdr) + n * sizeof(*p);
    uint64_t at = (notes_at + w->notes.n + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    Elf64_Ehdr e = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                    .e_type = ET_CORE,
                    .e_machine = EM_X86_64,
                    .e_version = EV_CURRENT,
                    .e_phoff = sizeof(e),
                    .e_ehsize = sizeof(e),
                    .e_phentsize = sizeof(*p),
                    .e_phnum = (Elf64_Half)n};
    if (!p)
        return -ENOMEM;
    *ret_memory_at = at;
    p[0] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = notes_at, .p_filesz = w->notes.n, .p_align = 4};
    for (size_t i = 0; i < w->n_segments; i++) {
        const struct segment *s = &w->segments[i];
        p[i + 1] = (Elf64_Phdr){.p_type = PT_LOAD,
                                .p_flags = s->flags,
                                .p_offset = at,
                                .p_vaddr = s->start,
                                .p_filesz = s->file_bytes,
                                .p_memsz = s->bytes,
                                .p_align = PAGE};
        at += s->file_bytes;
    }
    int rc = write_at(w->order->fd, &e, sizeof(e), 0);
    if (!rc)
        rc = write_at(w->order->fd, p, n * sizeof(*p), sizeof(e));
    if (!rc)
        rc = write_at(w->order->fd, w->notes.data, w->notes.n, notes_at);
    free(p);
    return rc;
}

/* In the tracing child, while all threads stand still. */
static int write_core(void *arg)
{
    struct writer *w = arg;
    char text[1024], path[64];
    struct wedge_proc_stat stat;
    uint64_t memory_at = 0;
    wedge_proc_path(w->order->pid, w->reader, "mem", path, sizeof(path));
    w->memory = open(path, O_RDONLY | O_CLOEXEC);
    wedge_proc_path(w->order->pid, w->reader, "pagemap", path, sizeof(path));
    w->pagemap = open(path, O_RDONLY | O_CLOEXEC);
    if (w->memory < 0)
        return -errno;
    if (wedge_proc_read(w->order->pid, 0, "stat", text, sizeof(text)) < 0 || wedge_proc_stat_parse(text, &stat))
        return -ESRCH;
    int rc = wedge_regions_read(w->order->pid, w->reader, &w->regions);
    if (!rc)
        rc = choose_segments(w);
    if (rc)
        return rc;
    add_process(w, &stat);
    add_threads(w, &stat);
    add_files(w);
    if (w->notes.failed)
        return -ENOMEM;
    rc = write_headers(w, &memory_at);
    return rc ? rc : write_memory(w, memory_at);
}

static const char *why(int rc)
{
    switch (rc) {
    case -ESRCH:
        return "it has ended";
    case -EPERM:
        return "it may not be traced";
    case -ETIMEDOUT:
        return "it did not stop, or could not be written, in time";
    case -ENOTSUP:
        return "it is not a 64-bit x86 program";
    default:
        return strerror(-rc);
    }
}

static int list_threads(struct writer *w)
{
    pid_t *tids = NULL;
    size_t n = 0;
    int rc = wedge_proc_list(w->order->pid, WEDGE_STOP_THREADS_MAX, &tids, &n);
    if (rc)
        return rc == -ENOENT ? -ESRCH : rc;
    w->stop.threads = wedge_stop_alloc(n, 0);
    w->stop.n_threads = w->stop.threads ? n : 0;
    for (size_t i = 0; i < w->stop.n_threads; i++) {
        w->stop.threads[i].tid = tids[i];
        w->stop.threads[i].state = WEDGE_STOP_ASKED;
    }
    /* A leader that has ended shows neither memory nor maps; the youngest is the least likely to be it. */
    w->reader = tids[n - 1];
    free(tids);
    return w->stop.threads ? 0 : -ENOMEM;
}

int wedge_core_write(const struct wedge_core_order *order, struct wedge_err *err)
{
    struct writer w = {.order = order, .memory = -1, .pagemap = -1};
    w.deadline_ns = wedge_clock_ns() + order->deadline_ms * WEDGE_NS_PER_MS;
    w.stop = (struct wedge_stop){.pid = order->pid,
                                 .start_ticks = order->start_ticks,
                                 .whole = true,
                                 .deadline_ms = order->deadline_ms,
                                 .regions = &w.regions,
                                 .during = write_core,
                                 .during_arg = &w};
    int rc = list_threads(&w);
    if (!rc)
        rc = read_marks(&w);
    if (!rc)
        rc = wedge_stop_run(&w.stop);
    bool any = false, foreign = false;
    for (size_t i = 0; i < w.stop.n_threads && !rc; i++) {
        any |= w.stop.threads[i].state == WEDGE_STOP_STOPPED;
        foreign |= w.stop.threads[i].error == -ENOTSUP;
    }
    rc = rc ? rc : any ? 0 : foreign ? -ENOTSUP : -ETIMEDOUT;
    wedge_stop_dispose(w.stop.threads, w.stop.n_threads, 0);
    free(w.marks);
    return rc ? wedge_err_set(err, rc, "no core of process %d: %s", (int)order->pid, why(rc)) : 0;
}
