/* The first pass: processes with their threads, into the snapshot. */
#include "detector/look/gather.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "detector/elf/elf_file.h"
#include "detector/kernel/reading.h"

#define LIBC_SIGNALS (3ull << 31) /* 32 and 33: cancellation and setxid, glibc's own */

static int room_for_threads(struct wedge_look *look, size_t more)
{
    struct wedge_snapshot *s = look->snapshot;
    if (s->n_threads + more <= look->cap_threads)
        return 0;
    size_t cap = look->cap_threads ? look->cap_threads : 64;
    while (cap < s->n_threads + more)
        cap *= 2;
    struct wedge_thread *threads = realloc(s->threads, cap * sizeof(*threads));
    if (threads)
        s->threads = threads;
    struct wedge_look_thread *own = realloc(look->threads, cap * sizeof(*own));
    if (own)
        look->threads = own;
    if (!threads || !own)
        return -ENOMEM;
    look->cap_threads = cap;
    return 0;
}

static int room_for_proc(struct wedge_look *look)
{
    struct wedge_snapshot *s = look->snapshot;
    if (s->n_procs < look->cap_procs)
        return 0;
    size_t cap = look->cap_procs ? look->cap_procs * 2 : 16;
    struct wedge_proc *procs = realloc(s->procs, cap * sizeof(*procs));
    if (procs)
        s->procs = procs;
    struct wedge_look_proc *own = realloc(look->procs, cap * sizeof(*own));
    if (own)
        look->procs = own;
    if (!procs || !own)
        return -ENOMEM;
    look->cap_procs = cap;
    return 0;
}

static void add_thread(struct wedge_look *look, int proc, pid_t tid, const struct wedge_reading *r)
{
    struct wedge_snapshot *s = look->snapshot;
    size_t i = s->n_threads++;
    struct wedge_look_thread *own = &look->threads[i];
    *own = (struct wedge_look_thread){.status = r->status, .kept = r->kept, .owner = -1};
    memcpy(own->wchan, r->wchan, sizeof(own->wchan));
    s->threads[i] = (struct wedge_thread){
        .proc = proc,
        .tid = tid,
        .name = wedge_look_text(look, r->status.comm),
        .state = r->status.state,
        .switches = r->status.switches,
        .voluntary = r->status.voluntary,
        .syscall = r->call.number,
        .sp = r->call.sp,
        .pc = r->call.pc,
        .callback = "",
        .last_point = "",
        .rule = -1,
        .stack_note = "",
        .wait = {.earliest_ns = INT64_MAX, .call = "", .reason = ""},
    };
    memcpy(s->threads[i].args, r->call.args, sizeof(r->call.args));
    s->procs[proc].n_threads++;
    uint64_t caught = r->status.sig_caught & ~r->status.sig_blocked & ~LIBC_SIGNALS;
    look->procs[proc].caught |= caught;
    s->procs[proc].catches_signals |= caught != 0;
}

/* 32-bit programs number their calls differently; what is no x86-64 ELF is not decoded. */
static bool is_foreign(pid_t pid, pid_t tid)
{
    unsigned char ident[20];
    int fd = wedge_elf_open_link(tid ? tid : pid, "exe");
    if (fd < 0)
        return true;
    ssize_t got = pread(fd, ident, sizeof(ident), 0);
    close(fd);
    return got != sizeof(ident) || memcmp(ident, ELFMAG, SELFMAG) != 0 || ident[EI_CLASS] != ELFCLASS64 ||
           ident[18] != EM_X86_64 || ident[19] != 0;
}

static void read_facts(struct wedge_look *look, struct wedge_proc *p, struct wedge_look_proc *own)
{
    char text[WEDGE_PROC_PATH_BYTES];
    wedge_look_note(look, p->pid, "executable");
    if (wedge_proc_link(p->pid, own->reader, "exe", text, sizeof(text)) > 0)
        p->exe = wedge_look_text(look, text);
    own->foreign = is_foreign(p->pid, own->reader);
    wedge_look_note(look, p->pid, "arguments");
    ssize_t len = wedge_proc_read(p->pid, own->reader, "cmdline", text, 1024);
    for (ssize_t i = 0; i < len; i++)
        if (text[i] == '\0')
            text[i] = i + 1 < len ? ' ' : '\0';
    if (len > 0)
        p->cmdline = wedge_look_text(look, text);
    wedge_look_note(look, p->pid, "timers");
    char *timers = NULL;
    if (wedge_proc_read_all(p->pid, 0, "timers", 1 << 20, &timers) < 0)
        own->timers_unknown = true;
    else
        p->armed_timer = wedge_proc_timers_parse(timers, &own->timer_signals);
    own->timer_signals &= ~LIBC_SIGNALS;
    free(timers);
}

static bool is_skipped(const struct wedge_look *look, pid_t pid)
{
    for (size_t i = 0; i < look->options->n_skip; i++)
        if (look->options->skip[i] == pid)
            return true;
    return false;
}

int wedge_look_open_tasks(pid_t pid)
{
    char path[64];
    wedge_proc_path(pid, 0, "task", path, sizeof(path));
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void wedge_gather_close(struct wedge_look_proc *own)
{
    if (own->tasks >= 0)
        close(own->tasks);
    own->tasks = -1;
}

/* A process that is being read, and its threads. */
struct fresh {
    const struct wedge_machine_proc *machine;
    int tasks;
    size_t first, n; /* in the threads */
};
struct fresh_thread {
    int tasks, rc;
    pid_t tid;
    bool keep;
    struct wedge_reading reading;
};
struct gathering {
    struct fresh *procs;
    struct fresh_thread *threads;
    size_t n_procs, n_threads, cap_threads;
};

/* Lists the threads of one process. A process that ends under our hands is left out: 0. */
static int list_one(struct gathering *g, const struct wedge_machine_proc *m)
{
    pid_t *tids = NULL;
    size_t n = 0;
    int tasks = wedge_look_open_tasks(m->pid);
    if (tasks < 0)
        return 0;
    if (wedge_proc_list_at(tasks, WEDGE_LOOK_MOST_THREADS, &tids, &n)) {
        close(tasks);
        return 0;
    }
    size_t cap = g->cap_threads ? g->cap_threads : 64;
    while (cap < g->n_threads + n)
        cap *= 2;
    struct fresh_thread *more = cap == g->cap_threads ? g->threads : realloc(g->threads, cap * sizeof(*more));
    if (!more) {
        close(tasks);
        free(tids);
        return -ENOMEM;
    }
    g->threads = more;
    g->cap_threads = cap;
    g->procs[g->n_procs++] = (struct fresh){m, tasks, g->n_threads, n};
    for (size_t i = 0; i < n; i++) {
        struct fresh_thread *t = &g->threads[g->n_threads++];
        t->tasks = tasks;
        t->tid = tids[i];
        t->reading.call_error = 0;
        t->reading.kept = (struct wedge_kept){.call_file = -1, .pulse_file = -1};
    }
    free(tids);
    return 0;
}

/* wedge_share_fn */
static void read_one(void *arg, size_t i)
{
    struct fresh_thread *t = &((struct gathering *)arg)->threads[i];
    t->rc = wedge_reading_first(t->tasks, t->tid, t->keep, &t->reading);
}

/* Adds the threads of the process that was added last. Those that ended under our hands are left out. */
static void add_threads(struct wedge_look *look, int index, const struct fresh_thread *threads, size_t n)
{
    struct wedge_proc *p = &look->snapshot->procs[index];
    struct wedge_look_proc *own = &look->procs[index];
    for (size_t i = 0; i < n; i++) {
        const struct wedge_reading *r = &threads[i].reading;
        pid_t tid = threads[i].tid;
        int rc = threads[i].rc;
        if (rc == -EACCES || rc == -EPERM || r->call_error == -EPERM || r->call_error == -EACCES)
            p->note = "its calls may not be read (no permission)";
        if (rc)
            continue;
        if (r->status.state != 'Z' && r->status.state != 'X')
            own->reader = tid == p->pid || own->reader == p->pid ? p->pid : tid;
        if (tid == p->pid) {
            p->comm = wedge_look_text(look, r->status.comm);
            p->state = r->status.state;
        }
        p->uid = r->status.uid;
        p->gid = r->status.gid;
        look->spare_files -= r->kept.call_file >= 0 ? 2 : 0;
        own->tracer = r->status.tracer;
        add_thread(look, index, tid, r);
    }
}

static int add_proc(struct wedge_look *look, const struct fresh *fresh, const struct fresh_thread *threads)
{
    struct wedge_snapshot *s = look->snapshot;
    const struct wedge_machine_proc *m = fresh->machine;
    int rc = room_for_proc(look);
    if (rc || (rc = room_for_threads(look, fresh->n)) != 0)
        return rc;
    int index = (int)s->n_procs++;
    struct wedge_proc *p = &s->procs[index];
    struct wedge_look_proc *own = &look->procs[index];
    *own = (struct wedge_look_proc){.pgrp = m->pgrp, .tasks = fresh->tasks, .skipped = is_skipped(look, m->pid)};
    *p = (struct wedge_proc){
        .pid = m->pid,
        .ppid = m->ppid,
        .start_ticks = m->start_ticks,
        .state = m->state,
        .comm = "",
        .exe = "",
        .cmdline = "",
        .in_tree = m->tree,
        .role = "",
        .note = own->skipped ? "could not be read in time" : "",
        .first_thread = (int)s->n_threads,
    };
    add_threads(look, index, threads + fresh->first, fresh->n);
    if (look->spare_files > 0)
        look->spare_files--;
    else
        wedge_gather_close(own);
    own->zombie = (p->state == 'Z' || p->state == 'X') && fresh->n <= 1;
    if (!own->skipped && !own->zombie)
        read_facts(look, p, own);
    return 0;
}

void wedge_gather_room(long n)
{
    int fd = open("/", O_PATH | O_CLOEXEC);
    int high = fd < 0 || n > INT_MAX ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, (int)n); /* fails past the limit: no harm */
    if (high >= 0)
        close(high);
    if (fd >= 0)
        close(fd);
}

int wedge_gather(struct wedge_look *look, const struct wedge_machine_proc *const *wanted, size_t n)
{
    struct gathering g = {.procs = calloc(n + 1, sizeof(*g.procs))};
    size_t added = 0;
    int rc = g.procs ? 0 : -ENOMEM;
    for (size_t i = 0; i < n && !rc; i++)
        rc = list_one(&g, wanted[i]);
    /* Of each thread two files stay open, of each process one; as long as there are any. */
    for (size_t i = 0; i < g.n_threads && !rc; i++)
        g.threads[i].keep = look->spare_files >= (long)(2 * (i + 1) + g.n_procs);
    if (!rc) {
        wedge_gather_room((long)(2 * g.n_threads + 2 * g.n_procs + look->snapshot->n_threads));
        wedge_look_share(look, g.n_threads, read_one, &g);
    }
    for (; added < g.n_procs && !rc; added++)
        rc = add_proc(look, &g.procs[added], g.threads);
    for (size_t i = added; i < g.n_procs; i++) /* without memory */
        close(g.procs[i].tasks);
    for (size_t i = added < g.n_procs ? g.procs[added].first : g.n_threads; i < g.n_threads; i++)
        wedge_reading_close(&g.threads[i].reading.kept);
    free(g.procs);
    free(g.threads);
    return rc;
}
