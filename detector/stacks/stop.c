#include "detector/stacks/stop.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"
#include "detector/kernel/proc.h"

#define ROUNDS_MAX    4 /* looks for threads that were born meanwhile */
#define IOVECS        64 /* stacks copied by one call */
#define WARM_BYTES    16384u
#define NAP_NS        1000000l
#define KILL_GRACE_MS 50
#define LANES_MAX     4
#define STOPS_EACH    4

/* A thread that we trace. */
struct held {
    pid_t tid;
    struct wedge_stop_thread *record; /* NULL: only stands still */
    enum { SEIZED, STOPPED, LET_GO } state;
    int signal; /* to be handed back */
    int64_t asked_ns;
};

struct tracer {
    struct wedge_stop *stop;
    struct held *held;
    size_t n, cap;
    size_t filled; /* bytes of copies so far: they lie one behind the other, on as few pages as can be */
    timer_t tick; /* ends a wait by SIGUSR1, which does nothing else */
};

static size_t round_page(size_t bytes)
{
    return (bytes + 4095) & ~(size_t)4095;
}

/* What a copy takes of the room for all. */
static size_t round_copy(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

size_t wedge_stop_bytes(size_t n, size_t room)
{
    if (n == 0 || n > WEDGE_STOP_THREADS_MAX || room > WEDGE_STOP_LARGEST_BYTES)
        return 0;
    return round_page(n * sizeof(struct wedge_stop_thread)) + n * round_page(room);
}

struct wedge_stop_thread *wedge_stop_lay_out(void *memory, size_t n, size_t room)
{
    struct wedge_stop_thread *threads = memory;
    uint8_t *data = (uint8_t *)memory + round_page(n * sizeof(*threads));
    for (size_t i = 0; i < n; i++) {
        threads[i].data = data + i * round_page(room);
        threads[i].room = room;
    }
    return threads;
}

struct wedge_stop_thread *wedge_stop_alloc(size_t n, size_t room)
{
    size_t bytes = wedge_stop_bytes(n, room);
    void *memory = bytes ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                         : MAP_FAILED;
    return memory == MAP_FAILED ? NULL : wedge_stop_lay_out(memory, n, room);
}

void wedge_stop_dispose(struct wedge_stop_thread *threads, size_t n, size_t room)
{
    if (threads)
        munmap(threads, wedge_stop_bytes(n, room));
}

/* The parent reads the record even when this child was killed halfway: what a state announces is there before it. */
static void announce(struct wedge_stop_thread *record, enum wedge_stop_state state)
{
    if (record)
        __atomic_store_n(&record->state, state, __ATOMIC_RELEASE);
}

static uint64_t start_ticks_of(pid_t pid)
{
    char text[1024];
    struct wedge_proc_stat stat;
    /* That of the leader alone: the process's own sums up the times of all its threads (fs/proc/array.c). */
    if (wedge_proc_read(pid, pid, "stat", text, sizeof(text)) <= 0 || wedge_proc_stat_parse(text, &stat))
        return 0;
    return stat.start_ticks;
}

/* Both lists are in order, as a rule: where the one before was found, the next stands behind it. */
static bool is_held(const struct tracer *tracer, pid_t tid, size_t *hint)
{
    for (size_t i = 0; i < tracer->n; i++) {
        size_t at = *hint + i < tracer->n ? *hint + i : *hint + i - tracer->n;
        if (tracer->held[at].tid == tid) {
            *hint = at + 1 < tracer->n ? at + 1 : 0;
            return true;
        }
    }
    return false;
}

static bool is_skipped(const struct wedge_stop *stop, pid_t tid)
{
    for (size_t i = 0; i < stop->n_threads; i++)
        if (stop->threads[i].tid == tid)
            return true;
    return false;
}

/* 0 or a negative errno. Seizing alone disturbs nobody. */
static int seize(struct tracer *tracer, pid_t tid, struct wedge_stop_thread *record)
{
    char text[1024];
    struct wedge_proc_stat stat;
    if (tracer->n == tracer->cap)
        return -E2BIG;
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
        int rc = -errno;
        /* EPERM also means that the thread has begun to end (ptrace_attach, exit_state). */
        if (rc == -EPERM && (wedge_proc_read(tracer->stop->pid, tid, "stat", text, sizeof(text)) <= 0 ||
                             wedge_proc_stat_parse(text, &stat) || stat.state == 'Z' || stat.state == 'X'))
            rc = -ESRCH;
        return rc;
    }
    tracer->held[tracer->n++] = (struct held){.tid = tid, .record = record, .state = SEIZED};
    return 0;
}

static void ask(struct tracer *tracer, size_t from)
{
    for (size_t i = from; i < tracer->n; i++) {
        tracer->held[i].asked_ns = wedge_clock_ns();
        /* ESRCH: it ended; the wait will say so. */
        ptrace(PTRACE_INTERRUPT, tracer->held[i].tid, NULL, NULL);
    }
}

/* Seizes the threads nobody asked for. Returns how many it found. */
static size_t seize_others(struct tracer *tracer)
{
    pid_t *tids;
    size_t n, found = 0, hint = 0;
    if (wedge_proc_list(tracer->stop->pid, WEDGE_STOP_THREADS_MAX, &tids, &n))
        return 0;
    for (size_t i = 0; i < n; i++)
        if (!is_held(tracer, tids[i], &hint) && !is_skipped(tracer->stop, tids[i]) && seize(tracer, tids[i], NULL) == 0)
            found++;
    free(tids);
    return found;
}

size_t wedge_stop_likely_bytes(const struct wedge_stop_thread *threads, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        size_t likely = threads[i].warm ? threads[i].warm : WARM_BYTES;
        if (threads[i].state == WEDGE_STOP_ASKED)
            bytes += round_copy(likely < threads[i].room ? likely : threads[i].room);
    }
    return round_page(bytes);
}

/* Touches the pages of the copies now, not while the process stands still. */
static void warm(const struct wedge_stop *stop)
{
    size_t bytes = wedge_stop_likely_bytes(stop->threads, stop->n_threads);
    if (bytes)
        madvise(stop->threads[0].data, bytes, MADV_POPULATE_WRITE);
}

static int seize_asked(struct tracer *tracer)
{
    struct wedge_stop *stop = tracer->stop;
    int first_error = -ESRCH;
    for (size_t i = 0; i < stop->n_threads; i++) {
        struct wedge_stop_thread *record = &stop->threads[i];
        if (record->state != WEDGE_STOP_ASKED || record->companion)
            continue;
        int rc = seize(tracer, record->tid, record);
        if (rc == 0)
            continue;
        record->error = rc;
        announce(record, rc == -ESRCH ? WEDGE_STOP_GONE : WEDGE_STOP_REFUSED);
        if (rc != -ESRCH)
            first_error = rc;
    }
    return tracer->n ? 0 : first_error;
}

static void read_registers(struct held *held)
{
    struct wedge_stop_thread *record = held->record;
    if (!record)
        return;
    struct iovec iov = {.iov_base = &record->regs, .iov_len = sizeof(record->regs)};
    if (ptrace(PTRACE_GETREGSET, held->tid, NT_PRSTATUS, &iov)) {
        record->error = -errno;
        announce(record, errno == ESRCH ? WEDGE_STOP_GONE : WEDGE_STOP_REFUSED);
    } else if (iov.iov_len != sizeof(record->regs)) {
        record->error = -ENOTSUP; /* a 32-bit program: its registers are another set */
        announce(record, WEDGE_STOP_REFUSED);
    } else {
        announce(record, WEDGE_STOP_STOPPED);
    }
}

/* What waitpid(2) said of a thread. */
static void take_status(struct held *held, pid_t got, int status)
{
    if (got == held->tid && WIFSTOPPED(status)) {
        /* PTRACE_EVENT_STOP is ours (or a group stop, which goes on by itself after the detach); anything else is
         * a signal on its way to the thread. */
        held->signal = status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
        held->state = STOPPED;
        read_registers(held);
    } else {
        held->state = LET_GO;
        announce(held->record, WEDGE_STOP_GONE);
    }
}

/* Collects what has stopped or ended. Returns how many are still awaited. */
static size_t collect(struct tracer *tracer)
{
    size_t awaited = 0;
    for (size_t i = 0; i < tracer->n; i++) {
        struct held *held = &tracer->held[i];
        int status = 0;
        if (held->state != SEIZED)
            continue;
        pid_t got = waitpid(held->tid, &status, __WALL | WNOHANG);
        if (got == 0)
            awaited++;
        else
            take_status(held, got, status);
    }
    return awaited;
}

/* Waits for all of them, or so long, from the one that was asked last on: as a rule it stops last, and the stops of the others do
 * not wake us meanwhile (child_wait_callback(), kernel/exit.c), each of which would take a processor from those still to come. A
 * tick that comes before we sleep is lost: there is another one. */
static void await_all(struct tracer *tracer, int64_t most_ns)
{
    const struct itimerspec ticks = {
        .it_value = {.tv_sec = most_ns / WEDGE_NS_PER_S, .tv_nsec = most_ns % WEDGE_NS_PER_S},
        .it_interval = {.tv_nsec = NAP_NS}};
    const struct itimerspec none = {0};
    bool in_time = most_ns > 0 && timer_settime(tracer->tick, 0, &ticks, NULL) == 0;
    for (size_t i = tracer->n; in_time && i-- > 0;) {
        struct held *held = &tracer->held[i];
        int status = 0;
        pid_t got = held->state == SEIZED ? waitpid(held->tid, &status, __WALL) : 0;
        in_time = got >= 0 || errno != EINTR;
        if (held->state == SEIZED && in_time)
            take_status(held, got, status);
    }
    timer_settime(tracer->tick, 0, &none, NULL);
}

/* What of the thread's memory to copy, and to where; false: nothing that is mapped. */
static bool choose_window(struct tracer *tracer, struct wedge_stop_thread *record)
{
    const struct wedge_stop *stop = tracer->stop;
    uint64_t sp = record->regs.rsp;
    uint64_t from = record->want_to ? record->want_from : sp - WEDGE_STOP_RED_ZONE;
    uint64_t to = record->want_to ? record->want_to : from + record->room;
    const struct wedge_region *region = wedge_regions_find(stop->regions, record->want_to ? from : sp);
    if (region) {
        from = from < region->start ? region->start : from;
        to = to > region->end ? region->end : to;
    } else {
        to = (sp | 4095) + 1; /* mapped since the look: its own page is there for certain */
    }
    if (to <= from)
        return false;
    record->from = from;
    record->len = to - from < record->room ? (size_t)(to - from) : record->room;
    /* Those before it have at most their own room: so does this one. */
    record->data = stop->threads[0].data + tracer->filled;
    tracer->filled += round_copy(record->len);
    return true;
}

/*
 * A stranger that shares this memory may keep its lock. process_vm_readv(2) would wait for that whatever happens (mmap_read_lock in
 * mm/process_vm_access.c), and what it stopped would stand with it; here SIGKILL ends the wait (mmap_read_lock_killable in
 * mm/memory.c), so that the deadline of the job does, and the kernel lets the target go. Measured on Linux 6.18.
 */
static void await_memory(const struct wedge_stop_thread *record)
{
    ptrace(PTRACE_PEEKDATA, record->tid, (void *)(uintptr_t)record->from, NULL);
}

/* Copies one batch. process_vm_readv(2) stops at the first address it cannot read: what came before counts. */
static void copy_batch(struct wedge_stop_thread **records, size_t n)
{
    struct iovec local[IOVECS], remote[IOVECS];
    if (n)
        await_memory(records[0]);
    for (size_t done = 0; done < n;) {
        size_t left = n - done;
        for (size_t i = 0; i < left; i++) {
            struct wedge_stop_thread *record = records[done + i];
            local[i] = (struct iovec){.iov_base = record->data, .iov_len = record->len};
            remote[i] = (struct iovec){.iov_base = (void *)(uintptr_t)record->from, .iov_len = record->len};
        }
        ssize_t got = process_vm_readv(records[done]->tid, local, left, remote, left, 0);
        size_t bytes = got > 0 ? (size_t)got : 0;
        while (done < n && bytes >= records[done]->len) {
            bytes -= records[done]->len;
            announce(records[done++], WEDGE_STOP_COPIED);
        }
        if (done == n)
            break;
        if (bytes || got <= 0 || left == 1) { /* this one is cut, or cannot be read at all; on with the next */
            records[done]->len = bytes;
            if (bytes)
                announce(records[done], WEDGE_STOP_COPIED);
            done++;
        }
    }
}

/* Puts a record whose window is known into the batch; a full batch is copied. */
static void add_to_batch(struct tracer *tracer, struct wedge_stop_thread *record, struct wedge_stop_thread **batch,
                         size_t *n)
{
    if (!choose_window(tracer, record))
        return;
    batch[(*n)++] = record;
    if (*n == IOVECS) {
        copy_batch(batch, *n);
        *n = 0;
    }
}

static void copy_and_let_go(struct tracer *tracer)
{
    const struct wedge_stop *stop = tracer->stop;
    struct wedge_stop_thread *batch[IOVECS];
    size_t n = 0;
    for (size_t i = 0; i < tracer->n; i++) {
        struct wedge_stop_thread *record = tracer->held[i].record;
        if (tracer->held[i].state != STOPPED || !record || record->state != WEDGE_STOP_STOPPED)
            continue;
        add_to_batch(tracer, record, batch, &n);
        if (record + 1 < stop->threads + stop->n_threads && record[1].companion)
            add_to_batch(tracer, record + 1, batch, &n);
    }
    copy_batch(batch, n);
    for (size_t i = 0; i < tracer->n; i++) {
        struct held *held = &tracer->held[i];
        if (held->state != STOPPED)
            continue;
        ptrace(PTRACE_DETACH, held->tid, NULL, (void *)(intptr_t)held->signal);
        held->state = LET_GO;
        if (held->record)
            held->record->stopped_ns = wedge_clock_ns() - held->asked_ns;
    }
}

/* Waits for all, but lets those that have stopped go on after a fifth of the time: one that is slow to stop must not
 * hold up the others. Who is not there in time wakes us by SIGCHLD, which the kernel sends the tracer at each stop and end. */
static int wait_and_copy(struct tracer *tracer)
{
    bool called = tracer->stop->during == NULL;
    int rc = 0;
    int64_t begin = wedge_clock_ns();
    int64_t deadline = begin + tracer->stop->deadline_ms * WEDGE_NS_PER_MS;
    int64_t settle = begin + tracer->stop->deadline_ms * WEDGE_NS_PER_MS / 5;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    await_all(tracer, settle - begin);
    for (;;) {
        size_t awaited = collect(tracer);
        int64_t now = wedge_clock_ns();
        if (!awaited || now >= settle) {
            rc = called ? rc : tracer->stop->during(tracer->stop->during_arg);
            called = true;
            copy_and_let_go(tracer);
        }
        if (!awaited || now >= deadline)
            break;
        struct timespec nap = {.tv_nsec = NAP_NS};
        sigtimedwait(&child, NULL, &nap);
    }
    for (size_t i = 0; i < tracer->n; i++)
        if (tracer->held[i].state == SEIZED)
            announce(tracer->held[i].record, WEDGE_STOP_LATE);
    return rc;
}

/* One process. 0, a negative errno; *ret_clean: nothing of it is still traced. */
static int trace_one(struct wedge_stop *stop, struct held *held, size_t cap, timer_t tick, bool *ret_clean)
{
    struct tracer tracer = {.stop = stop, .held = held, .cap = cap, .tick = tick};
    *ret_clean = false;
    warm(stop);
    int rc = seize_asked(&tracer);
    if (rc)
        return rc;
    /* Now that it is ours no thread's id can be reused: is it the process that was meant? */
    if (stop->start_ticks && start_ticks_of(stop->pid) != stop->start_ticks)
        return -ESRCH;
    ask(&tracer, 0);
    for (int round = 0; stop->whole && round < ROUNDS_MAX; round++) {
        size_t before = tracer.n;
        if (!seize_others(&tracer))
            break;
        ask(&tracer, before);
    }
    rc = wait_and_copy(&tracer);
    *ret_clean = true;
    for (size_t i = 0; i < tracer.n; i++)
        *ret_clean &= tracer.held[i].state == LET_GO;
    return rc;
}

struct progress { /* shared with the tracing child */
    size_t at; /* the one that it is at, or is to begin with */
    int rcs[];
};
/* What one tracing child after the other works through: every `step`th of the stops, from `first` on. */
struct lane {
    struct wedge_stop *stops;
    size_t first, step, n; /* n: of the lane */
    struct progress *progress;
    struct wedge_job job;
    bool begun, hasty; /* hasty: its end is not waited for once everything is let go */
};

static struct wedge_stop *stop_of(const struct lane *lane, size_t i)
{
    return &lane->stops[lane->first + i * lane->step];
}

static int limit_ms(const struct wedge_stop *stop)
{
    return 2 * stop->deadline_ms + KILL_GRACE_MS;
}

static void on_tick(int signal)
{
    (void)signal;
}

/* A timer that sends a signal. Not setitimer(): whoever calls that is never proved stuck (detector/look/alarm.h), and this is
 * linked into programs. */
static int make_timer(int signal, timer_t *ret)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    return timer_create(CLOCK_MONOTONIC, &event, ret) ? -errno : 0;
}

/* The tracing child. Whatever it still holds at its end, the kernel lets go of: so it ends as soon as something did not
 * come to its stop, and another one goes on. */
static int trace(void *arg, int out, struct wedge_job_note *note)
{
    struct lane *lane = arg;
    size_t cap = WEDGE_STOP_THREADS_MAX;
    const struct sigaction tick_action = {.sa_handler = on_tick}; /* no SA_RESTART */
    sigset_t child;
    bool clean = true;
    signal(SIGCHLD, SIG_DFL); /* an ignored SIGCHLD would not be sent */
    /* The alarm is what ends us when one process takes too long; nobody's handler or mask may be in its way. */
    signal(SIGALRM, SIG_DFL);
    sigemptyset(&child);
    sigaddset(&child, SIGALRM);
    sigaddset(&child, SIGUSR1);
    sigaction(SIGUSR1, &tick_action, NULL);
    sigprocmask(SIG_UNBLOCK, &child, NULL);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    timer_t timer, tick;
    int rc = make_timer(SIGALRM, &timer);
    if (!rc)
        rc = make_timer(SIGUSR1, &tick);
    if (rc)
        return rc;
    struct held *held = malloc(cap * sizeof(*held));
    if (!held)
        return -ENOMEM;
    for (size_t i = lane->progress->at; i < lane->n && clean; i++) {
        struct wedge_stop *stop = stop_of(lane, i);
        int ms = limit_ms(stop);
        struct itimerspec limit = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};
        wedge_job_says(note, stop->pid, "stop the process to copy its stacks", false);
        timer_settime(timer, 0, &limit, NULL);
        lane->progress->rcs[i] = trace_one(stop, held, cap, tick, &clean);
        if (stop->tells && !lane->progress->rcs[i] &&
            write(stop->tell_fd, &stop->number, sizeof(stop->number)) != sizeof(stop->number))
            lane->progress->rcs[i] = -errno;
        __atomic_store_n(&lane->progress->at, i + 1, __ATOMIC_RELEASE);
    }
    if (lane->hasty && clean && write(out, "", 1) != 1)
        return -errno;
    return 0;
}

static int on_said(void *arg, const char *data, size_t len)
{
    (void)arg, (void)data, (void)len;
    return WEDGE_JOB_ENOUGH;
}

/* Goes on where the child before left off. 0 or a negative errno: there is no child. */
static int begin_lane(struct lane *lane)
{
    int64_t all_ms = KILL_GRACE_MS;
    for (size_t i = lane->progress->at; i < lane->n; i++)
        all_ms += limit_ms(stop_of(lane, i));
    int rc = wedge_job_begin(trace, lane, all_ms < INT_MAX / 2 ? (int)all_ms : INT_MAX / 2, &lane->job);
    lane->begun = !rc;
    return rc;
}

static void end_lane(struct lane *lane)
{
    struct wedge_job_result result;
    wedge_job_end(&lane->job, on_said, NULL, &result);
    bool timed_out = result.status == -ETIMEDOUT || (result.status == -ECHILD && result.signal == SIGALRM);
    int rc = timed_out ? -ETIMEDOUT : result.status;
    /* It ended at one of them, which is then through with. */
    if (rc && lane->progress->at < lane->n)
        lane->progress->rcs[lane->progress->at++] = rc;
    lane->begun = false;
}

/* As many at once as there are processors for, but for no fewer than some stops each: a child costs as much as one. */
static size_t count_lanes(size_t n)
{
    cpu_set_t set;
    size_t cpus = sched_getaffinity(0, sizeof(set), &set) ? 1 : (size_t)CPU_COUNT(&set);
    size_t lanes = n / STOPS_EACH;
    lanes = lanes < cpus ? lanes : cpus;
    return lanes < 1 ? 1 : lanes < LANES_MAX ? lanes : LANES_MAX;
}

static int run_lanes(struct lane *lanes, size_t n)
{
    int rc = 0;
    bool more = true;
    while (more) {
        more = false;
        for (size_t i = 0; i < n && !rc; i++)
            if (lanes[i].progress->at < lanes[i].n)
                rc = begin_lane(&lanes[i]);
        for (size_t i = 0; i < n; i++) {
            if (lanes[i].begun)
                end_lane(&lanes[i]);
            more |= !rc && lanes[i].progress->at < lanes[i].n;
        }
    }
    return rc;
}

static int run_all(struct wedge_stop *stops, size_t n, bool hasty, int *ret_rcs)
{
    struct lane lanes[LANES_MAX] = {0};
    size_t n_lanes = count_lanes(n), most = n / n_lanes + 1;
    size_t each = round_page(sizeof(struct progress) + most * sizeof(int));
    char *shared = mmap(NULL, n_lanes * each, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    for (size_t i = 0; i < n_lanes; i++)
        lanes[i] = (struct lane){.stops = stops,
                                 .first = i,
                                 .step = n_lanes,
                                 .n = (n + n_lanes - 1 - i) / n_lanes,
                                 .progress = (struct progress *)(void *)(shared + i * each),
                                 .hasty = hasty};
    int rc = run_lanes(lanes, n_lanes);
    for (size_t i = 0; i < n && !rc; i++)
        ret_rcs[i] = lanes[i % n_lanes].progress->rcs[i / n_lanes];
    munmap(shared, n_lanes * each);
    return rc;
}

int wedge_stop_run_all(struct wedge_stop *stops, size_t n, int *ret_rcs)
{
    return run_all(stops, n, true, ret_rcs);
}

int wedge_stop_run(struct wedge_stop *stop)
{
    int own = 0, rc = run_all(stop, 1, false, &own);
    return rc ? rc : own;
}
