/*
 * Dispatch: which decoder a blocked thread belongs to, and what all decoders share.
 */
#include "detector/wait/wait.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "detector/core/core_look.h"
#include "detector/kernel/clocks.h"
#include "detector/look/alarm.h"

enum { MOST_WAKERS = 1 << 23 }; /* 200 MB: whoever waits for more than are remembered counts as running */

#define BIT(signal) (1ull << ((signal)-1))
/* Signals that a timer (setitimer, alarm) or a descriptor (SIGIO, SIGURG) raises without a thread that we could see. */
#define RAISED_UNSEEN (BIT(SIGALRM) | BIT(SIGIO) | BIT(SIGURG))

static const struct wedge_wait_ops *const all[] = {
    &wedge_wait_futex, &wedge_wait_descriptor, &wedge_wait_child,     &wedge_wait_poll,
    &wedge_wait_sleep, &wedge_wait_signal,     &wedge_wait_file_lock, &wedge_wait_open,
    &wedge_wait_queue, &wedge_wait_sysv,       &wedge_wait_async,     &wedge_wait_futex_any,
};

const char *wedge_wait_syscall_name(int number)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
        {SYS_read, "read"},
        {SYS_readv, "readv"},
        {SYS_write, "write"},
        {SYS_writev, "writev"},
        {SYS_pread64, "pread"},
        {SYS_preadv, "preadv"},
        {SYS_preadv2, "preadv2"},
        {SYS_pwrite64, "pwrite"},
        {SYS_pwritev, "pwritev"},
        {SYS_pwritev2, "pwritev2"},
        {SYS_sendfile, "sendfile"},
        {SYS_splice, "splice"},
        {SYS_tee, "tee"},
        {SYS_vmsplice, "vmsplice"},
        {SYS_futex, "futex"},
        {SYS_wait4, "wait4"},
        {SYS_waitid, "waitid"},
        {SYS_poll, "poll"},
        {SYS_ppoll, "ppoll"},
        {SYS_select, "select"},
        {SYS_pselect6, "pselect6"},
        {SYS_epoll_wait, "epoll_wait"},
        {SYS_epoll_pwait, "epoll_pwait"},
        {441, "epoll_pwait2"},
        {SYS_nanosleep, "nanosleep"},
        {SYS_clock_nanosleep, "clock_nanosleep"},
        {SYS_restart_syscall, "restart_syscall"},
        {SYS_pause, "pause"},
        {SYS_rt_sigsuspend, "rt_sigsuspend"},
        {SYS_rt_sigtimedwait, "rt_sigtimedwait"},
        {SYS_accept, "accept"},
        {SYS_accept4, "accept4"},
        {SYS_connect, "connect"},
        {SYS_recvfrom, "recvfrom"},
        {SYS_recvmsg, "recvmsg"},
        {SYS_recvmmsg, "recvmmsg"},
        {SYS_sendto, "sendto"},
        {SYS_sendmsg, "sendmsg"},
        {SYS_sendmmsg, "sendmmsg"},
        {SYS_flock, "flock"},
        {SYS_fcntl, "fcntl"},
        {SYS_semop, "semop"},
        {SYS_semtimedop, "semtimedop"},
        {SYS_msgrcv, "msgrcv"},
        {SYS_msgsnd, "msgsnd"},
        {SYS_mq_timedreceive, "mq_timedreceive"},
        {SYS_mq_timedsend, "mq_timedsend"},
        {SYS_io_getevents, "io_getevents"},
        {426, "io_uring_enter"},
        {SYS_openat, "openat"},
        {SYS_open, "open"},
        {437, "openat2"},
        {333, "io_pgetevents"},
        {SYS_fsync, "fsync"},
        {SYS_vfork, "vfork"},
        {435, "clone3"},
        {SYS_clone, "clone"},
        {449, "futex_waitv"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].number == number)
            return names[i].name;
    return "";
}

void wedge_wait_is(struct wedge_look *look, int thread, enum wedge_wait_class class, const char *reason)
{
    struct wedge_wait *wait = &look->snapshot->threads[thread].wait;
    wait->class = class;
    wait->reason = reason;
}

void wedge_wait_unknown(struct wedge_look *look, int thread, const char *reason)
{
    wedge_wait_is(look, thread, WEDGE_WAIT_UNKNOWN, reason);
    look->threads[thread].n_wakers = 0;
    look->threads[thread].n_sets = 0;
    look->n_wakers = look->threads[thread].first_waker;
    wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, 0, reason);
}

void wedge_wait_outside(struct wedge_look *look, int thread, enum wedge_wait_class class, const char *reason)
{
    wedge_wait_is(look, thread, class, reason);
    wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, 0, reason);
}

void wedge_waker_add(struct wedge_look *look, int thread, uint16_t set, enum wedge_target target, int to,
                     unsigned flags, const char *why)
{
    struct wedge_look_thread *own = &look->threads[thread];
    if (look->n_wakers == look->cap_wakers) {
        size_t cap = look->cap_wakers ? look->cap_wakers * 2 : 256;
        struct wedge_waker *more = cap > MOST_WAKERS ? NULL : realloc(look->wakers, cap * sizeof(*more));
        if (!more) {
            /* A waker that cannot be remembered must not be forgotten. */
            look->snapshot->threads[thread].moved = true;
            return;
        }
        look->wakers = more;
        look->cap_wakers = cap;
    }
    look->wakers[look->n_wakers++] =
        (struct wedge_waker){.target = target, .to = to, .flags = flags, .set = set, .why = why};
    own->n_wakers++;
    if (!(flags & WEDGE_WAKER_BY_SIGNAL) && set >= own->n_sets)
        own->n_sets = (uint16_t)(set + 1);
}

void wedge_waker_add_pid(struct wedge_look *look, int thread, uint16_t set, pid_t pid, unsigned flags, const char *why)
{
    int proc = wedge_look_want(look, pid);
    if (proc < 0)
        wedge_waker_add(look, thread, set, WEDGE_TO_OUTSIDE, -1, flags, "a process outside the tree");
    else if (look->procs[proc].skipped)
        wedge_waker_add(look, thread, set, WEDGE_TO_OUTSIDE, -1, flags, "a process that could not be read");
    else
        wedge_waker_add(look, thread, set, WEDGE_TO_PROC, proc, flags, why);
}

void wedge_waker_add_signals(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    const struct wedge_look_proc *own = &look->procs[t->proc];
    t->wait.eintr = true;
    wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, t->proc, WEDGE_WAKER_BY_SIGNAL, "may signal or cancel it");
    look->threads[thread].assumptions |= WEDGE_ASSUME_NO_OUTSIDE_SIGNAL;
    if (!own->caught)
        return;
    wedge_waker_add(look, thread, 0, WEDGE_TO_TREE, -1, WEDGE_WAKER_BY_SIGNAL, "may send a signal that it handles");
    uint64_t unseen = own->caught & RAISED_UNSEEN;
    if (unseen == BIT(SIGALRM) && wedge_alarm_is_excluded(look, t->proc))
        unseen = 0;
    if (unseen)
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, WEDGE_WAKER_BY_SIGNAL | WEDGE_WAKER_UNLESS_ALARM,
                        "a timer may raise a signal that it handles (SIGALRM, SIGIO)");
    else if (own->timers_unknown)
        wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, WEDGE_WAKER_BY_SIGNAL | WEDGE_WAKER_UNLESS_ALARM,
                        "its timers cannot be read");
}

void wedge_wait_in(struct wedge_look *look, int thread, int64_t ns)
{
    int64_t *earliest = &look->snapshot->threads[thread].wait.earliest_ns;
    *earliest = ns < *earliest ? ns : *earliest;
}

/* Its moment by the clock of the process, which may be in another time namespace. False: nobody knows. */
static bool add_ahead(struct wedge_look *look, int thread, int64_t *now_ns)
{
    int proc = look->snapshot->threads[thread].proc;
    struct wedge_look_proc *own = &look->procs[proc];
    if (!own->clock_asked) {
        own->clock_asked = true;
        own->clock_unknown =
            wedge_clocks_ahead(look->snapshot->procs[proc].pid, own->reader, &own->clock_ahead_ns) != 0;
    }
    *now_ns += own->clock_ahead_ns;
    return !own->clock_unknown;
}

void wedge_wait_until(struct wedge_look *look, int thread, int clock, int64_t ns)
{
    struct timespec now;
    if (look->core) {
        wedge_core_look_deadline(look, thread, ns);
        return;
    }
    clock_gettime(clock, &now);
    int64_t now_ns = (int64_t)now.tv_sec * WEDGE_NS_PER_S + now.tv_nsec;
    if (clock == CLOCK_MONOTONIC && !add_ahead(look, thread, &now_ns))
        now_ns = INT64_MAX;
    wedge_wait_in(look, thread, ns > now_ns ? ns - now_ns : 0);
}

int64_t wedge_wait_age_ns(const struct wedge_proc *p)
{
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    int64_t now = (int64_t)boot.tv_sec * WEDGE_NS_PER_S + boot.tv_nsec;
    int64_t start = (int64_t)(p->start_ticks * (uint64_t)(WEDGE_NS_PER_S / sysconf(_SC_CLK_TCK)));
    return now > start ? now - start : 0;
}

void wedge_wait_for(struct wedge_look *look, int thread, int64_t ns)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    if (look->core) {
        wedge_core_look_deadline(look, thread, ns);
        return;
    }
    int64_t age = wedge_wait_age_ns(&look->snapshot->procs[t->proc]) + WEDGE_NS_PER_S;
    wedge_wait_in(look, thread, ns > age ? ns - age : 0);
}

bool wedge_wait_timespec(struct wedge_look *look, int thread, uint64_t address, int64_t *ret_ns)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    int64_t value[2];
    if (wedge_look_memory(look, t->proc, address, value, sizeof(value)) || value[0] < 0 || value[1] < 0 ||
        value[1] >= WEDGE_NS_PER_S)
        return false;
    *ret_ns = value[0] >= INT64_MAX / WEDGE_NS_PER_S - 1 ? INT64_MAX : value[0] * WEDGE_NS_PER_S + value[1];
    return true;
}

static bool is_call_of(const struct wedge_wait_ops *ops, int call)
{
    for (const int *c = ops->calls; *c >= 0; c++)
        if (*c == call)
            return true;
    return false;
}

static bool is_told(const char *wchan)
{
    return *wchan && strcmp(wchan, "0") != 0;
}

/* A place that the kernel does not tell is no proof of another one; one that is another is. */
static bool is_wchan_of(const struct wedge_wait_ops *ops, const char *wchan)
{
    if (!is_told(wchan))
        return true;
    for (const char *const *w = ops->wchans; *w; w++)
        if (strncmp(wchan, *w, strlen(*w)) == 0)
            return true;
    return false;
}

static bool is_known_wait(const struct wedge_wait_ops *ops, int call, const char *wchan)
{
    return is_call_of(ops, call) && is_told(wchan) && is_wchan_of(ops, wchan);
}

/* After a stop, some calls show as restart_syscall with the arguments of the one before: the kernel function in
 * which the thread sleeps says which decoder may look at them. */
static const struct wedge_wait_ops *restarted(const char *wchan)
{
    static const struct wedge_wait_ops *const may[] = {&wedge_wait_futex, &wedge_wait_poll, &wedge_wait_sleep};
    if (!is_told(wchan))
        return NULL;
    for (size_t i = 0; i < sizeof(may) / sizeof(may[0]); i++)
        if (is_wchan_of(may[i], wchan))
            return may[i];
    return NULL;
}

static void decode_blocked(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    const char *wchan = look->threads[thread].wchan;
    const struct wedge_wait_ops *ops = NULL;
    if (look->core && t->syscall != SYS_futex) {
        wedge_core_look_wait(look, thread);
        return;
    }
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && !ops; i++)
        if (is_call_of(all[i], t->syscall))
            ops = all[i];
    if (!ops && t->syscall == SYS_restart_syscall)
        ops = restarted(wchan);
    if (!ops)
        wedge_wait_unknown(look, thread, "a system call that is not decoded");
    else if (!is_wchan_of(ops, wchan))
        wedge_wait_unknown(look, thread, "it sleeps in another place of the kernel than its call would");
    else {
        ops->decode(look, thread);
        /* seccomp_unotify(2), userfaultfd(2): asleep, in a call that is known, and ended by somebody else. */
        if (!is_told(wchan) && !look->core)
            wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, WEDGE_WAKER_BY_SIGNAL | WEDGE_WAKER_UNLESS_RARE,
                            "the kernel does not say where it sleeps");
    }
}

/* Threads of the kernel's that do what a process asked for by io_uring. Asleep in these functions they wait for work
 * (io_uring/io-wq.c, sqpoll.c), and what they show of a call is their maker's; anywhere else they are at work. */
static bool is_idle_worker(const struct wedge_look_thread *own)
{
    return strcmp(own->wchan, "io_wq_worker") == 0 || strcmp(own->wchan, "io_sq_thread") == 0;
}

static void decode(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_look_thread *own = &look->threads[thread];
    const struct wedge_look_proc *proc = &look->procs[t->proc];
    own->first_waker = look->n_wakers;
    t->wait.call = wedge_wait_syscall_name(t->syscall);
    if (t->state == 'Z' || t->state == 'X')
        wedge_wait_is(look, thread, WEDGE_WAIT_NONE, "it has ended");
    else if (proc->skipped)
        wedge_wait_unknown(look, thread, "its process could not be read in time");
    else if (t->state == 'T') {
        wedge_wait_is(look, thread, WEDGE_WAIT_STOPPED, "it is stopped by a signal");
        own->assumptions |= WEDGE_ASSUME_NO_OUTSIDE_SIGNAL;
        wedge_waker_add(look, thread, 0, WEDGE_TO_TREE, -1, WEDGE_WAKER_BY_SIGNAL, "may continue it");
        /* The threads of a process stop together: one set, not one each. */
        wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, t->proc, 0, "is stopped with it");
    } else if (own->status.tracer || t->state == 't')
        wedge_wait_unknown(look, thread, "it is traced: its tracer decides");
    else if (own->status.dumping)
        /* It shows the call in which the signal found it, and sleeps in the pipe of the machine's handler for core files (core(5);
         * do_coredump in fs/coredump.c), which looks like a read of any pipe. */
        wedge_wait_unknown(look, thread, "its process is writing a core file, and will end");
    else if (wedge_wait_frozen(look, thread))
        return;
    else if (t->state == 'S' && is_idle_worker(own)) {
        own->idle_worker = look->procs[t->proc].async = true;
        wedge_wait_outside(look, thread, WEDGE_WAIT_OUTSIDE, "a thread of the kernel's for io_uring, without work");
    } else if (t->state == 'R')
        wedge_wait_is(look, thread, WEDGE_WAIT_NONE, "it runs");
    else if (t->state == 'D' && is_known_wait(&wedge_wait_vfork, t->syscall, own->wchan) && !proc->foreign)
        wedge_wait_vfork.decode(look, thread);
    else if (t->state == 'D')
        wedge_wait_unknown(look, thread, "it sleeps uninterruptibly");
    else if (t->state != 'S' || t->syscall < 0)
        wedge_wait_unknown(look, thread, t->syscall == -2 ? "its call may not be read" : "it is in no system call");
    else if (proc->foreign)
        wedge_wait_unknown(look, thread, "no 64-bit x86 program");
    else if ((own->status.sig_pending | own->status.sig_shared_pending) & ~own->status.sig_blocked)
        wedge_wait_unknown(look, thread, "a signal is pending");
    else if (!wedge_wait_held(look, thread)) {
        decode_blocked(look, thread);
        wedge_wait_annotate(look, thread);
        wedge_wait_evidence(look, thread);
    }
}

static int copy_record(const struct wedge_look *look)
{
    struct wedge_arena_copy *copy = look->options->arena;
    if (!copy || !look->options->live)
        return 0;
    wedge_arena_copy_free(copy);
    return wedge_arena_copy(look->options->live, true, copy, NULL);
}

int wedge_wait_decode(struct wedge_look *look)
{
    int rc = copy_record(look);
    if (rc)
        return rc;
    wedge_wait_annotate_procs(look);
    /* Processes that run without a thread we see (io_uring, AIO, KVM) are known from descriptors and mappings. */
    for (size_t i = 0; i < look->snapshot->n_procs; i++) {
        if (look->procs[i].zombie || look->procs[i].skipped)
            continue;
        wedge_look_fds(look, (int)i);
        wedge_look_maps(look, (int)i);
    }
    for (size_t i = 0; i < look->snapshot->n_threads; i++)
        decode(look, (int)i);
    return 0;
}
