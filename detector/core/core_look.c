/* The snapshot from a core file. */
#include "detector/core/core_look.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "detector/core/core_file.h"
#include "detector/wait/wait.h"

#define CALLS_END  1024 /* above all numbers of system calls */
#define CENTURY_NS (126ll * 365 * 86400 * WEDGE_NS_PER_S)

/* What a call that was interrupted by the stop returns inside the kernel, include/linux/errno.h: the thread was asleep
 * in it and would go back there. */
enum { RESTARTSYS = -512, RESTARTNOINTR = -513, RESTARTNOHAND = -514, RESTART_BLOCK = -516 };

/* glibc's struct pthread on x86-64: a pointer to itself, and the TID (2.34 to 2.36, measured; nptl/descr.h). */
#define PTHREAD_SELF 0x10
#define PTHREAD_TID  0x2d0

static bool is_asleep(struct wedge_core *core, const struct user_regs_struct *regs)
{
    static const uint8_t call[] = {0x0f, 0x05}; /* syscall */
    uint8_t code[sizeof(call)];
    long result = (long)regs->rax;
    if (regs->orig_rax >= CALLS_END)
        return false;
    if (result != RESTARTSYS && result != RESTARTNOINTR && result != RESTARTNOHAND && result != RESTART_BLOCK &&
        (result != -EINTR || regs->orig_rax == SYS_futex))
        return false;
    return wedge_core_read(core, regs->rip - sizeof(call), code, sizeof(code)) == sizeof(code) &&
           memcmp(code, call, sizeof(call)) == 0;
}

/* Do the owners that are recorded in memory go by the numbers that the core has? Not if gcore ran outside the
 * process's PID namespace. */
static bool has_own_number(struct wedge_core *core, const struct wedge_core_thread *thread)
{
    uint64_t base = thread->regs.fs_base, self;
    int32_t tid;
    return wedge_core_read(core, base + PTHREAD_SELF, &self, sizeof(self)) == sizeof(self) && self == base &&
           wedge_core_read(core, base + PTHREAD_TID, &tid, sizeof(tid)) == sizeof(tid) && tid == thread->tid;
}

static void add_thread(struct wedge_look *look, size_t i)
{
    struct wedge_core *core = look->core;
    const struct user_regs_struct *regs = &core->threads[i].regs;
    bool asleep = is_asleep(core, regs);
    look->threads[i] = (struct wedge_look_thread){.owner = -1};
    look->threads[i].status.ns_tid = core->threads[i].tid;
    look->core_tids &= has_own_number(core, &core->threads[i]);
    look->snapshot->threads[i] = (struct wedge_thread){
        .tid = core->threads[i].tid,
        .name = look->snapshot->procs[0].comm,
        .state = asleep ? 'S' : 'R',
        .syscall = asleep ? (int)regs->orig_rax : -1,
        .args = {regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9},
        .sp = regs->rsp,
        .pc = regs->rip,
        .callback = "",
        .last_point = "",
        .rule = -1,
        .stack_note = "",
        .wait = {.earliest_ns = INT64_MAX, .call = "", .reason = ""},
    };
}

/* Does the file that is mapped begin like a program or a library? Those are mapped privately; anything else with a
 * name, /dev/zero of a shared anonymous mapping included, may be seen by others. */
static bool is_image(struct wedge_core *core, uint64_t inode)
{
    char magic[SELFMAG];
    for (size_t i = 0; i < core->regions.n; i++) {
        const struct wedge_region *r = &core->regions.all[i];
        if (r->inode == inode && r->offset == 0 && wedge_core_read(core, r->start, magic, SELFMAG) == SELFMAG &&
            memcmp(magic, ELFMAG, SELFMAG) == 0)
            return true;
    }
    return false;
}

static int add_maps(struct wedge_look *look)
{
    struct wedge_core *core = look->core;
    struct wedge_map_set *set = &look->procs[0].maps;
    uint64_t last = 0;
    bool image = false;
    set->maps = calloc(core->regions.n + 1, sizeof(*set->maps));
    if (!set->maps)
        return -ENOMEM;
    for (size_t i = 0; i < core->regions.n; i++) {
        const struct wedge_region *r = &core->regions.all[i];
        if (r->inode && r->inode != last)
            image = is_image(core, r->inode);
        last = r->inode ? r->inode : last;
        set->maps[set->n++] = (struct wedge_proc_map){
            .start = r->start,
            .end = r->end,
            .offset = r->offset,
            .inode = r->inode,
            .executable = r->exec,
            .deleted = r->deleted,
            .path = r->path,
            /* Without the list of files nothing tells shared memory from other. */
            .shared = r->inode ? !image : !core->n_mappings,
        };
    }
    return 0;
}

int wedge_core_look(struct wedge_look *look, int (*decode)(struct wedge_look *), struct wedge_err *err)
{
    struct wedge_snapshot *s = look->snapshot;
    struct wedge_core *core = look->core;
    s->procs = calloc(1, sizeof(*s->procs));
    s->threads = calloc(core->n_threads, sizeof(*s->threads));
    look->procs = calloc(1, sizeof(*look->procs));
    look->threads = calloc(core->n_threads, sizeof(*look->threads));
    if (!s->procs || !s->threads || !look->procs || !look->threads)
        return wedge_err_set(err, -ENOMEM, "no memory for a core file of %zu threads", core->n_threads);
    s->n_procs = 1;
    s->procs[0] = (struct wedge_proc){
        .pid = core->pid,
        .ppid = core->ppid,
        .uid = core->uid,
        .state = 'S',
        .comm = wedge_look_text(look, core->comm),
        .exe = wedge_look_text(look, core->exe),
        .cmdline = wedge_look_text(look, core->cmdline),
        .in_tree = true,
        .role = "",
        .n_threads = (int)core->n_threads,
        .note = core->signal ? wedge_look_textf(look, "from a core file; it ended by signal %d", core->signal)
                             : "from a core file",
    };
    /* Descriptors are not there; a handler may be, and a timer that raises its signal. */
    look->procs[0] = (struct wedge_look_proc){.reader = core->pid,
                                              .caught = ~0ull >> 33,
                                              .timers_unknown = true,
                                              .fds_read = true,
                                              .fds_error = -ENOENT,
                                              .maps_read = true};
    look->ends_read = look->mappings_read = true;
    look->hidden_ends = look->hidden_mappings = true;
    look->core_tids = true;
    s->n_threads = core->n_threads;
    for (size_t i = 0; i < core->n_threads; i++)
        add_thread(look, i);
    s->taken_ns = wedge_clock_ns();
    int rc = add_maps(look);
    if (!rc)
        rc = decode(look);
    return rc ? wedge_err_set(err, rc, "cannot look at the core file: %s", strerror(-rc)) : 0;
}

void wedge_core_look_wait(struct wedge_look *look, int thread)
{
    static const int by_descriptor[] = {SYS_read,    SYS_readv,   SYS_write,      SYS_writev,      SYS_accept,
                                        SYS_accept4, SYS_connect, SYS_recvfrom,   SYS_recvmsg,     SYS_sendto,
                                        SYS_sendmsg, SYS_flock,   SYS_epoll_wait, SYS_epoll_pwait, SYS_fcntl};
    struct wedge_thread *t = &look->snapshot->threads[thread];
    if (t->syscall == SYS_nanosleep || t->syscall == SYS_clock_nanosleep || t->syscall == SYS_restart_syscall) {
        wedge_wait_is(look, thread, t->syscall == SYS_restart_syscall ? WEDGE_WAIT_UNKNOWN : WEDGE_WAIT_SLEEP,
                      "it waits for the clock");
        t->wait.earliest_ns = 0;
        return;
    }
    for (size_t i = 0; i < sizeof(by_descriptor) / sizeof(by_descriptor[0]); i++)
        if (by_descriptor[i] == t->syscall)
            snprintf(t->wait.object.describe, sizeof(t->wait.object.describe), "descriptor %d", (int)t->args[0]);
    wedge_wait_outside(look, thread, WEDGE_WAIT_OUTSIDE, "what it waits for is not in a core file");
}

void wedge_core_look_deadline(struct wedge_look *look, int thread, int64_t ns)
{
    look->snapshot->threads[thread].wait.earliest_ns = ns > CENTURY_NS ? INT64_MAX : 0;
}

const char *wedge_core_look_cut(struct wedge_look *look)
{
    const double mib = 1024.0 * 1024.0;
    const struct wedge_core *core = look->core;
    return core->cut ? wedge_look_textf(look, "the core file is cut off: %.1f of %.1f MiB are there",
                                        (double)core->bytes / mib, (double)core->whole / mib)
                     : NULL;
}

const char *wedge_core_look_lacks(struct wedge_look *look)
{
    struct wedge_core *core = look->core;
    const struct wedge_region *region = core->entry ? wedge_regions_find(&core->regions, core->entry) : NULL;
    char exe[600] = "";
    if (region && region->inode && wedge_core_file_of(core, region) < 0)
        snprintf(exe, sizeof(exe), "; %.500s is gone or another build by now: name the right one with --exe",
                 core->exe);
    const char *cut = wedge_core_look_cut(look);
    return wedge_look_textf(look, "a core file has no descriptors, children, timers and other processes%s%s%s%s",
                            cut ? "; " : "", cut ? cut : "",
                            core->n_mappings ? "" : "; it does not name the files that were mapped", exe);
}
