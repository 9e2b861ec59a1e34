/*
 * One process's stacks, from the stop to the frames: what capture.h promises, put together from stop (the only part that
 * disturbs the process) and unwind. The names are capture_names.c's.
 *
 * Invariant: after wedge_capture_proc the process runs. What is read of it later is constant memory and files; the one
 * exception, a stack deeper than the copy, is a second short stop that is believed only when the thread has not moved.
 */
#include "detector/stacks/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "detector/core/core_file.h"
#include "detector/elf/elf_file.h"
#include "detector/kernel/proc.h"
#include "detector/stacks/capture_inside.h"
#include "detector/stacks/stop.h"
#include "detector/stacks/symbols.h"
#include "detector/stacks/target_memory.h"
#include "detector/stacks/unwind.h"

#define DEADLINE_MS       100
#define KERNEL_FRAMES_MAX 5

__attribute__((format(printf, 3, 4))) static void note_stack(struct wedge_capture *capture, struct wedge_thread *thread,
                                                             const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    thread->stack_note = obstack_copy0(&capture->snapshot->mem, text, strlen(text));
}

static char state_of(pid_t pid, pid_t tid)
{
    char text[1024];
    struct wedge_proc_stat stat;
    if (wedge_proc_read(pid, tid, "stat", text, sizeof(text)) <= 0 || wedge_proc_stat_parse(text, &stat))
        return 'X';
    return stat.state;
}

/* The maps and the memory by way of a thread that lives: a leader that has ended has neither. */
static int open_process(struct wedge_capture *capture, const struct wedge_capture_ask *ask)
{
    int rc = -ESRCH;
    for (size_t i = 0; i < capture->n && rc; i++) {
        pid_t tid = capture->threads[i].tid;
        rc = ask->n_maps ? wedge_regions_of(ask->maps, ask->n_maps, &capture->regions)
                         : wedge_regions_read(capture->proc->pid, tid, &capture->regions);
        if (rc == 0) {
            rc = wedge_target_memory_open(capture->proc->pid, tid, &capture->regions, &capture->memory);
            if (rc)
                wedge_regions_free(&capture->regions);
        }
        if (rc && rc != -ESRCH)
            break;
    }
    return rc == -EACCES ? -EPERM : rc;
}

static void choose_threads(struct wedge_capture *capture)
{
    for (size_t i = 0; i < capture->n; i++) {
        struct wedge_thread *thread = &capture->threads[i];
        struct wedge_stop_thread *copy = &capture->shared[i];
        copy->tid = thread->tid;
        copy->state = WEDGE_STOP_ASKED;
        /* Asleep since it was looked at, it uses this much of its stack. */
        const struct wedge_region *stack = thread->sp ? wedge_regions_find(&capture->regions, thread->sp) : NULL;
        copy->warm = stack ? (size_t)(stack->end - thread->sp) + WEDGE_STOP_RED_ZONE : 0;
        char state = thread->state == 'D' || thread->state == 'Z' || thread->state == 'X'
                         ? state_of(capture->proc->pid, thread->tid)
                         : thread->state;
        if (state == 'Z' || state == 'X') {
            copy->state = WEDGE_STOP_GONE;
        } else if (state == 'D') {
            /* It would not stop, and everyone else would wait for it. */
            copy->state = WEDGE_STOP_LATE;
        }
    }
}

/* Where in the kernel a thread is that does not stop: its stack there, innermost first, or for those who may not read
 * that (proc(5): CAP_SYS_ADMIN) the one function of wchan. "" neither. */
static const char *place_in_kernel(pid_t pid, pid_t tid, char *buf, size_t size)
{
    char text[4096];
    size_t len = 0;
    if (wedge_proc_read(pid, tid, "stack", text, sizeof(text)) <= 0 &&
        (wedge_proc_read(pid, tid, "wchan", text, sizeof(text)) <= 0 || strcmp(text, "0") == 0))
        return "";
    int functions = 0;
    for (char *line = text, *next; *line && functions < KERNEL_FRAMES_MAX; line = next) {
        next = line + strcspn(line, "\n");
        next += *next != 0;
        char *name = *line == '[' ? strchr(line, ']') : NULL; /* "[<0>] kernel_clone+0x1a2/0x410" */
        name = name ? name + 1 + strspn(name + 1, " ") : line;
        size_t n = strcspn(name, "+\n");
        if (n && len + n + 32 < size)
            len +=
                (size_t)snprintf(buf + len, size - len, "%s%.*s", functions++ ? ", called from " : ": ", (int)n, name);
    }
    return len ? buf : "";
}

static void note_late(struct wedge_capture *capture, struct wedge_thread *thread)
{
    char place[192];
    pid_t pid = capture->proc->pid;
    if (state_of(pid, thread->tid) == 'D')
        note_stack(capture, thread, "no stack: it did not stop, the kernel keeps it in uninterruptible sleep%s",
                   place_in_kernel(pid, thread->tid, place, sizeof(place)));
    else
        note_stack(capture, thread, "no stack: it did not stop in time");
}

/* The kernel's own answers of a call that it broke off, to be made anew or given up (include/linux/errno.h). */
static bool is_broken_off(int64_t answer)
{
    enum { ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516 };
    return answer == -EINTR || answer == -ERESTARTSYS || answer == -ERESTARTNOINTR || answer == -ERESTARTNOHAND ||
           answer == -ERESTART_RESTARTBLOCK;
}

/* Whether the stop broke off the very call that the look had seen. */
static void note_stop(struct wedge_thread *thread, const struct wedge_stop_thread *copy)
{
    const struct user_regs_struct *regs = &copy->regs;
    thread->stops = copy->stopped_ns > 0;
    if (copy->state == WEDGE_STOP_STOPPED || copy->state == WEDGE_STOP_COPIED) {
        bool same = regs->rip == thread->pc && regs->rsp == thread->sp && (int64_t)regs->orig_rax == thread->syscall;
        thread->stops = 1; /* also where the tracing child was killed before it could say so */
        thread->found = same && is_broken_off((int64_t)regs->rax) ? WEDGE_FOUND_ASLEEP : WEDGE_FOUND_AWAKE;
    } else if (copy->stopped_ns > 0 || (copy->state != WEDGE_STOP_GONE && copy->state != WEDGE_STOP_REFUSED)) {
        thread->found = WEDGE_FOUND_UNKNOWN;
    }
}

static void note_outcomes(struct wedge_capture *capture)
{
    struct wedge_snapshot *snapshot = capture->snapshot;
    for (size_t i = 0; i < capture->n; i++) {
        struct wedge_thread *thread = &capture->threads[i];
        const struct wedge_stop_thread *copy = &capture->copies[i];
        thread->stopped_ns = copy->stopped_ns;
        note_stop(thread, copy);
        snapshot->stopped_anything |= copy->stopped_ns > 0;
        if (copy->stopped_ns > snapshot->longest_stop_ns)
            snapshot->longest_stop_ns = copy->stopped_ns;
        switch (copy->state) {
        case WEDGE_STOP_GONE:
            note_stack(capture, thread, "no stack: the thread has ended");
            break;
        case WEDGE_STOP_REFUSED:
            note_stack(capture, thread, "no stack: %s",
                       copy->error == -ENOTSUP ? "it runs 32-bit code" : strerror(-copy->error));
            break;
        case WEDGE_STOP_LATE:
            note_late(capture, thread);
            break;
        case WEDGE_STOP_SKIPPED:
        case WEDGE_STOP_ASKED:
            note_stack(capture, thread, "no stack: the stop was cut short");
            break;
        case WEDGE_STOP_STOPPED:
        case WEDGE_STOP_COPIED:
            break;
        }
    }
}

static int explain(const struct wedge_proc *target, int rc, struct wedge_err *err)
{
    if (rc == -ESRCH)
        return wedge_err_set(err, rc, "process %d is gone", target->pid);
    if (rc != -EPERM)
        return wedge_err_set(err, rc, "cannot copy the stacks of process %d: %s", target->pid, strerror(-rc));
    wedge_err_set(err, rc, "process %d may not be traced", target->pid);
    wedge_err_remedy(err, "run as its owner or as root (see ptrace(2), PTRACE_MODE_ATTACH); a process that is traced "
                          "already (gdb, strace) cannot be traced again");
    return rc;
}

/* Everything before the stop but the memory for it. */
static int prepare(struct wedge_snapshot *snapshot, const struct wedge_capture_ask *ask, struct wedge_job_note *note,
                   struct wedge_capture **ret)
{
    struct wedge_proc *target = &snapshot->procs[ask->proc];
    struct wedge_capture *capture = calloc(1, sizeof(*capture));
    if (!capture)
        return -ENOMEM;
    capture->snapshot = snapshot;
    capture->proc = target;
    capture->threads = &snapshot->threads[target->first_thread];
    capture->n = target->n_threads > 0 ? (size_t)target->n_threads : 0;
    if (capture->n > WEDGE_STOP_THREADS_MAX)
        capture->n = WEDGE_STOP_THREADS_MAX;
    capture->deadline_ms = ask->deadline_ms > 0 ? ask->deadline_ms : DEADLINE_MS;
    capture->note = note;
    capture->memory.fd = -1;
    capture->images.memory = &capture->memory;
    wedge_capture_say(capture, "read what the process has mapped");
    int rc = open_process(capture, ask);
    if (!rc && !(capture->copies = calloc(capture->n + 1, sizeof(*capture->copies))))
        rc = -ENOMEM;
    if (rc) {
        wedge_capture_free(capture);
        return rc;
    }
    *ret = capture;
    return 0;
}

/* Memory that can be written here and in children, and with `ret_view` the same once more, which cannot be: a mapping of a
 * descriptor that is open for reading alone is never made writable (mprotect(2), EACCES). */
static void *map_copies(size_t bytes, uint8_t **ret_view)
{
    struct rlimit most;
    *ret_view = NULL;
    /* Beyond RLIMIT_FSIZE ftruncate(2) sends a signal. */
    int fd = getrlimit(RLIMIT_FSIZE, &most) || most.rlim_cur < bytes ? -1 : memfd_create("wedge-stacks", MFD_CLOEXEC);
    char path[48];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int to_read = fd < 0 || ftruncate(fd, (off_t)bytes) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *view = to_read < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ, MAP_SHARED, to_read, 0);
    void *memory = view == MAP_FAILED ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (view != MAP_FAILED && memory == MAP_FAILED)
        munmap(view, bytes);
    else if (view != MAP_FAILED)
        *ret_view = view;
    if (memory == MAP_FAILED)
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (to_read >= 0)
        close(to_read);
    if (fd >= 0)
        close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

/* One piece of memory for all of them; each has its pages. */
static int lay_out(struct wedge_capture_ask *asks, size_t n, bool with_view, struct wedge_capture_room *ret)
{
    size_t bytes = 0;
    uint8_t *view = NULL;
    for (size_t i = 0; i < n; i++)
        bytes += asks[i].capture ? wedge_stop_bytes(asks[i].capture->n, WEDGE_STOP_WINDOW_BYTES) : 0;
    if (!bytes)
        return 0;
    uint8_t *memory =
        with_view ? map_copies(bytes, &view)
                  : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!memory || memory == MAP_FAILED)
        return -ENOMEM;
    for (size_t i = 0, at = 0; i < n; i++) {
        struct wedge_capture *capture = asks[i].capture;
        size_t own = capture ? wedge_stop_bytes(capture->n, WEDGE_STOP_WINDOW_BYTES) : 0;
        if (!own)
            continue;
        capture->shared = wedge_stop_lay_out(memory + at, capture->n, WEDGE_STOP_WINDOW_BYTES);
        capture->view = view ? (struct wedge_stop_thread *)(void *)(view + at) : NULL;
        at += own;
        choose_threads(capture);
    }
    ret->memory = view ? memory : NULL;
    ret->bytes = bytes;
    return 0;
}

/* After the stop. */
static void take_over(struct wedge_capture *capture)
{
    memcpy(capture->copies, capture->shared, capture->n * sizeof(*capture->copies));
    note_outcomes(capture);
    for (size_t i = capture->n; i < (size_t)capture->proc->n_threads; i++)
        note_stack(capture, &capture->snapshot->threads[capture->proc->first_thread + (int)i],
                   "no stack: too many threads");
}

/* Has the child forked that begins early, which gets nothing that it could write on. */
static int begin_early(const struct wedge_capture_early *early, const struct wedge_capture_room *room)
{
    if (!early || !room->memory || madvise(room->memory, room->bytes, MADV_DONTFORK))
        return -1;
    int fd = early->begin(early->arg);
    madvise(room->memory, room->bytes, MADV_DOFORK);
    return fd;
}

static void tell(int fd, int number)
{
    /* There is room, and whoever does not read it any more is found out by his end. */
    ssize_t done = fd >= 0 ? write(fd, &number, sizeof(number)) : 0;
    (void)done;
}

static struct wedge_stop stop_of(const struct wedge_capture_ask *ask, int tell_fd)
{
    const struct wedge_capture *capture = ask->capture;
    return (struct wedge_stop){.pid = capture->proc->pid,
                               .start_ticks = capture->proc->start_ticks,
                               .whole = true,
                               .deadline_ms = capture->deadline_ms,
                               .regions = &capture->regions,
                               .threads = capture->shared,
                               .n_threads = capture->n,
                               .tells = tell_fd >= 0,
                               .tell_fd = tell_fd,
                               .number = ask->proc};
}

int wedge_capture_prepare(struct wedge_snapshot *snapshot, struct wedge_capture_ask *asks, size_t n,
                          struct wedge_job_note *note, const struct wedge_capture_early *early,
                          struct wedge_capture_room *ret)
{
    struct wedge_capture_room room = {.tell_fd = -1};
    for (size_t i = 0; i < n; i++) {
        asks[i].capture = NULL;
        asks[i].rc = prepare(snapshot, &asks[i], note, &asks[i].capture);
    }
    int rc = lay_out(asks, n, early != NULL, &room);
    for (size_t i = 0; i < n && rc; i++) {
        wedge_capture_free(asks[i].capture);
        asks[i].capture = NULL;
        asks[i].rc = rc;
        explain(&snapshot->procs[asks[i].proc], rc, &asks[i].err);
    }
    if (!rc)
        room.tell_fd = begin_early(early, &room);
    *ret = room;
    return rc;
}

/* The snapshot may have moved since, and who has ended is not waited for. */
static void renew(struct wedge_capture *capture, struct wedge_snapshot *snapshot, const struct wedge_capture_ask *ask)
{
    capture->proc = &snapshot->procs[ask->proc];
    capture->threads = &snapshot->threads[capture->proc->first_thread];
    capture->deadline_ms = ask->deadline_ms > 0 ? ask->deadline_ms : DEADLINE_MS;
    choose_threads(capture);
}

int wedge_capture_stop(struct wedge_snapshot *snapshot, struct wedge_capture_ask *asks, size_t n,
                       struct wedge_job_note *note, const struct wedge_capture_room *room)
{
    struct wedge_stop *stops = calloc(n + 1, sizeof(*stops));
    int *rcs = calloc(n + 1, sizeof(*rcs)), rc = stops && rcs ? 0 : -ENOMEM;
    size_t n_stops = 0;
    for (size_t i = 0; i < n && !rc; i++)
        if (asks[i].capture) {
            renew(asks[i].capture, snapshot, &asks[i]);
            stops[n_stops++] = stop_of(&asks[i], room->tell_fd);
        }
    wedge_job_says(note, note ? note->pid : 0, "stop the processes to copy their stacks", false);
    if (!rc)
        rc = wedge_stop_run_all(stops, n_stops, rcs);
    for (size_t i = 0, at = 0; i < n; i++) {
        struct wedge_capture_ask *ask = &asks[i];
        if (!ask->capture)
            continue;
        ask->rc = rc ? rc : rcs[at++];
        if (ask->rc && ask->rc != -ETIMEDOUT) {
            wedge_capture_free(ask->capture);
            ask->capture = NULL;
            continue;
        }
        take_over(ask->capture);
        if (ask->rc)
            tell(room->tell_fd, ask->proc);
        ask->rc = 0;
    }
    tell(room->tell_fd, WEDGE_CAPTURE_ALL);
    for (size_t i = 0; i < n; i++)
        if (asks[i].rc)
            explain(&snapshot->procs[asks[i].proc], asks[i].rc, &asks[i].err);
    free(stops);
    free(rcs);
    return rc;
}

int wedge_capture_procs(struct wedge_snapshot *snapshot, struct wedge_capture_ask *asks, size_t n,
                        struct wedge_job_note *note, const struct wedge_capture_early *early)
{
    struct wedge_capture_room room;
    int rc = wedge_capture_prepare(snapshot, asks, n, note, early, &room);
    return rc ? rc : wedge_capture_stop(snapshot, asks, n, note, &room);
}

void wedge_capture_view_alone(struct wedge_capture *capture)
{
    capture->parents = (uintptr_t)capture->shared;
    capture->shared = NULL; /* not there: the place may be another's by now */
}

/* Where a record says that its bytes are, in the view. */
static uint8_t *in_view(const struct wedge_capture *capture, const uint8_t *data)
{
    return (uint8_t *)capture->view + ((uintptr_t)data - capture->parents);
}

void wedge_capture_make_room(struct wedge_capture *capture)
{
    size_t bytes = capture->n ? wedge_stop_likely_bytes(capture->view, capture->n) : 0;
    if (bytes)
        madvise(in_view(capture, capture->view[0].data), bytes, MADV_POPULATE_READ);
}

void wedge_capture_arrived(struct wedge_capture *capture)
{
    memcpy(capture->copies, capture->view, capture->n * sizeof(*capture->copies));
    for (size_t i = 0; i < capture->n; i++)
        capture->copies[i].data = in_view(capture, capture->copies[i].data);
}

int wedge_capture_proc(struct wedge_snapshot *snapshot, int proc, int deadline_ms, struct wedge_job_note *note,
                       struct wedge_capture **ret, struct wedge_err *err)
{
    struct wedge_capture_ask ask = {.proc = proc, .deadline_ms = deadline_ms};
    int rc = wedge_capture_procs(snapshot, &ask, 1, note, NULL);
    if (ask.rc || rc)
        return explain(&snapshot->procs[proc], ask.rc ? ask.rc : rc, err);
    *ret = ask.capture;
    return 0;
}

int wedge_capture_core(struct wedge_snapshot *snapshot, int proc, struct wedge_core *core, struct wedge_job_note *note,
                       struct wedge_capture **ret, struct wedge_err *err)
{
    struct wedge_proc *target = &snapshot->procs[proc];
    struct wedge_capture *capture = calloc(1, sizeof(*capture));
    if (!capture)
        return wedge_err_set(err, -ENOMEM, "no memory for the stacks of a core file");
    capture->snapshot = snapshot;
    capture->proc = target;
    capture->threads = &snapshot->threads[target->first_thread];
    capture->n = core->n_threads < (size_t)target->n_threads ? core->n_threads : (size_t)target->n_threads;
    capture->note = note;
    capture->core = core;
    capture->regions = core->regions;
    wedge_target_memory_core(core, &capture->memory);
    capture->images.memory = &capture->memory;
    capture->copies = calloc(capture->n + 1, sizeof(*capture->copies));
    if (!capture->copies) {
        wedge_capture_free(capture);
        return wedge_err_set(err, -ENOMEM, "no memory for the stacks of a core file");
    }
    for (size_t i = 0; i < capture->n; i++) {
        capture->copies[i].tid = core->threads[i].tid;
        capture->copies[i].regs = core->threads[i].regs;
        capture->copies[i].state = WEDGE_STOP_STOPPED;
    }
    *ret = capture;
    return 0;
}

/* Where the unwinder may go wrong if it moved: what the callee saves, and where it is. A thread whose call the first stop broke
 * off, and that was kept from a processor just before it made the call anew, stands on the instruction of that call (two bytes:
 * arch_do_signal_or_restart(), arch/x86/kernel/signal.c). */
static bool same_place(const struct user_regs_struct *a, const struct user_regs_struct *before)
{
    bool at_call = is_broken_off((int64_t)before->rax) && a->rip + 2 == before->rip;
    return (a->rip == before->rip || at_call) && a->rsp == before->rsp && a->rbp == before->rbp &&
           a->rbx == before->rbx && a->r12 == before->r12 && a->r13 == before->r13 && a->r14 == before->r14 &&
           a->r15 == before->r15;
}

/* It counts only if the thread has not moved: the same registers, the same stack. */
bool wedge_capture_more(struct wedge_capture *capture, size_t thread, uint64_t need, struct wedge_unwind_window *ret)
{
    const struct wedge_region *region = capture->core ? NULL : wedge_regions_find(&capture->regions, need);
    if (thread >= capture->n || !region || !region->read || !region->write)
        return false;
    const struct wedge_stop_thread *before = &capture->copies[thread];
    struct wedge_stop_thread *more = wedge_stop_alloc(2, WEDGE_STOP_LARGEST_BYTES);
    if (!more || before->state != WEDGE_STOP_COPIED) {
        wedge_stop_dispose(more, 2, WEDGE_STOP_LARGEST_BYTES);
        return false;
    }
    more[0].tid = more[1].tid = before->tid;
    more[0].state = more[1].state = WEDGE_STOP_ASKED;
    more[0].want_from = need & ~(uint64_t)4095;
    more[0].want_to = more[0].want_from + WEDGE_STOP_LARGEST_BYTES;
    more[1].companion = true;
    more[1].want_from = before->regs.rsp;
    more[1].want_to = before->from + before->len;
    struct wedge_stop stop = {.pid = capture->proc->pid,
                              .start_ticks = capture->proc->start_ticks,
                              .deadline_ms = capture->deadline_ms,
                              .regions = &capture->regions,
                              .threads = more,
                              .n_threads = 2};
    wedge_stop_run(&stop);
    capture->threads[thread].stopped_ns += more[0].stopped_ns;
    capture->threads[thread].stops++;
    size_t below = (size_t)(before->regs.rsp - before->from);
    uint8_t *data = NULL;
    if (more[0].state == WEDGE_STOP_COPIED && more[1].state == WEDGE_STOP_COPIED &&
        same_place(&more[0].regs, &before->regs) && more[1].len == before->len - below &&
        memcmp(more[1].data, before->data + below, more[1].len) == 0)
        data = malloc(more[0].len);
    if (data) {
        memcpy(data, more[0].data, more[0].len);
        *ret = (struct wedge_unwind_window){more[0].from, more[0].len, data};
    }
    wedge_stop_dispose(more, 2, WEDGE_STOP_LARGEST_BYTES);
    return data;
}

void wedge_capture_delegate(struct wedge_capture *capture, struct wedge_job_note *note, wedge_capture_ask_fn *ask,
                            void *arg)
{
    capture->note = note;
    capture->ask = ask;
    capture->ask_arg = arg;
}

size_t wedge_capture_descriptors(const struct wedge_capture *capture, int *ret, size_t room)
{
    if (capture->core)
        return wedge_core_descriptors(capture->core, ret, room);
    if (!room || capture->memory.fd < 0)
        return 0;
    *ret = capture->memory.fd;
    return 1;
}

void wedge_capture_open_files(const struct wedge_capture *capture)
{
    if (!capture->core)
        wedge_elf_open_all(&capture->regions, capture->proc->pid);
}

static void note_end(struct wedge_capture *capture, struct wedge_thread *thread, const struct wedge_unwind_stack *stack,
                     bool moved)
{
    uint64_t last = stack->frames[stack->n_frames - 1].pc;
    struct wedge_image *image = wedge_images_find(&capture->images, last);
    const char *module = image ? image->region->path : "no module";
    switch (stack->end) {
    case WEDGE_UNWIND_COMPLETE:
        if (stack->omitted)
            note_stack(capture, thread, "%zu frames after the first %d are left out", stack->omitted,
                       WEDGE_UNWIND_INNER);
        else if (stack->guessed)
            note_stack(capture, thread, "the outermost %zu frames were found by frame pointers alone", stack->guessed);
        return;
    case WEDGE_UNWIND_LIMIT:
        note_stack(capture, thread, "cut after %zu frames", stack->n_frames + stack->omitted);
        return;
    case WEDGE_UNWIND_NEED:
        note_stack(capture, thread, "cut: %s 0x%" PRIx64,
                   capture->core ? "the core file does not hold the stack at"
                   : moved       ? "the thread moved on before the rest of its stack could be copied, at"
                                 : "the stack goes on where nothing could be copied, at",
                   stack->need);
        return;
    case WEDGE_UNWIND_NO_INFO:
        note_stack(capture, thread, "cut in %s: %s", module, stack->reason);
        return;
    case WEDGE_UNWIND_LOST:
        note_stack(capture, thread, "cut in %s: the stack does not fit its unwind information", module);
        return;
    }
}

/* The frames into the snapshot, with what the image alone tells of each. */
static void keep_frames(struct wedge_capture *capture, struct wedge_thread *thread,
                        const struct wedge_unwind_stack *stack)
{
    struct obstack *mem = &capture->snapshot->mem;
    struct wedge_frame *frames = obstack_alloc(mem, stack->n_frames * sizeof(*frames));
    for (size_t i = 0; i < stack->n_frames; i++) {
        const struct wedge_unwind_frame *frame = &stack->frames[i];
        struct wedge_image *image = wedge_images_find(&capture->images, frame->pc - !frame->exact);
        frames[i] = (struct wedge_frame){
            .pc = frame->pc, .signal = frame->signal, .exact = frame->exact, .module = "", .build_id = ""};
        if (!image)
            continue;
        if (!image->text_path) {
            char hex[2 * WEDGE_BUILD_ID_MAX + 1];
            wedge_build_id_hex(&image->build_id, hex);
            image->text_path = obstack_copy0(mem, image->region->path, strlen(image->region->path));
            image->text_build_id = obstack_copy0(mem, hex, strlen(hex));
        }
        frames[i].module = image->text_path;
        frames[i].build_id = image->text_build_id;
        frames[i].module_offset = stack->frames[i].pc - image->bias;
        frames[i].libc = wedge_symbols_is_libc(image->text_path);
    }
    thread->frames = frames;
    thread->n_frames = stack->n_frames;
}

static void unwind_thread(struct wedge_capture *capture, struct wedge_unwinder *unwinder, size_t i,
                          struct wedge_unwind_stack *stack)
{
    const struct wedge_stop_thread *copy = &capture->copies[i];
    bool moved = false;
    stack->regs = copy->regs;
    stack->windows[0] = (struct wedge_unwind_window){copy->from, copy->len, copy->data};
    stack->n_windows = copy->state == WEDGE_STOP_COPIED;
    for (;;) {
        wedge_unwind_fast(unwinder, stack);
        if (stack->end == WEDGE_UNWIND_NO_INFO || stack->end == WEDGE_UNWIND_LOST)
            wedge_unwind_thorough(unwinder, stack);
        if (stack->end != WEDGE_UNWIND_NEED || !stack->n_windows || stack->n_windows == WEDGE_UNWIND_WINDOWS_MAX)
            break;
        wedge_capture_say(capture, "stop a thread again to copy the rest of its stack");
        struct wedge_unwind_window *more = &stack->windows[stack->n_windows];
        moved = !(capture->ask ? capture->ask(capture->ask_arg, capture, i, stack->need, more)
                               : wedge_capture_more(capture, i, stack->need, more));
        if (moved)
            break;
        stack->n_windows++;
    }
    note_end(capture, &capture->threads[i], stack, moved);
    keep_frames(capture, &capture->threads[i], stack);
    for (size_t k = 1; k < stack->n_windows; k++)
        free((uint8_t *)stack->windows[k].data);
}

/* Its memory went with an exec or with its end, and the tables in it: what was copied cannot be read any more. */
static bool is_another_program(struct wedge_capture *capture)
{
    size_t i = 0;
    while (i < capture->regions.n && !capture->regions.all[i].read)
        i++;
    if (capture->core || i == capture->regions.n ||
        wedge_target_memory_alive(&capture->memory, capture->regions.all[i].start))
        return false;
    for (i = 0; i < capture->n; i++)
        if (!capture->threads[i].stack_note[0])
            note_stack(capture, &capture->threads[i],
                       "no stack: the process ended or executed another program before it could be unwound");
    return true;
}

int wedge_capture_unwind(struct wedge_capture *capture, struct wedge_err *err)
{
    struct wedge_unwinder *unwinder = NULL;
    struct wedge_unwind_stack *stack = calloc(1, sizeof(*stack));
    int rc = -ENOMEM;
    wedge_capture_say(capture, "read the process's unwind tables");
    if (!stack || wedge_unwinder_new(&capture->images, capture->proc->pid, &unwinder))
        goto out;
    rc = 0;
    if (is_another_program(capture))
        goto out;
    for (size_t i = 0; i < capture->n; i++) {
        enum wedge_stop_state state = capture->copies[i].state;
        if (state == WEDGE_STOP_STOPPED || state == WEDGE_STOP_COPIED)
            unwind_thread(capture, unwinder, i, stack);
    }
out:
    wedge_unwinder_free(unwinder);
    free(stack);
    return rc ? wedge_err_set(err, rc, "no memory to unwind the stacks of process %d", capture->proc->pid) : 0;
}

void wedge_capture_free(struct wedge_capture *capture)
{
    if (!capture)
        return;
    wedge_images_free(&capture->images);
    wedge_target_memory_close(&capture->memory);
    if (!capture->core)
        wedge_regions_free(&capture->regions);
    wedge_stop_dispose(capture->shared, capture->n, WEDGE_STOP_WINDOW_BYTES);
    wedge_stop_dispose(capture->view, capture->n, WEDGE_STOP_WINDOW_BYTES);
    free(capture->copies);
    free(capture);
}
