/*
 * Waits for a signal: pause, sigsuspend, sigwait and its kin, signalfd.
 *
 * A signal may come from anywhere: such a wait is the outside's. One that waits for SIGCHLD, and for nothing else but
 * what people send to end, stop or resize a program, waits for its children: a shell in `wait`, timeout(1), a
 * supervisor. It is ended by a child that ends or stops; that nobody outside sends it SIGTERM meanwhile is the
 * assumption that every wait with a handler rests on.
 *
 *   awaited:  pause, sigsuspend   caught and not blocked (the mask in /proc is the one that sigsuspend set)
 *             sigwait…            the set in its memory
 *             signalfd            sigmask of fdinfo
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "detector/kernel/fdinfo.h"
#include "detector/wait/descriptor.h"

#define BIT(signal) (1ull << ((signal)-1))
/* What is sent to a program from its terminal, its console or its service manager. */
#define ORDERS                                                                                                         \
    (BIT(SIGTERM) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGHUP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU) |            \
     BIT(SIGCONT) | BIT(SIGWINCH))

static int count_children(const struct wedge_look *look, pid_t pid, pid_t *ret_first)
{
    int n = 0;
    for (size_t i = 0; i < look->n_machine; i++)
        if (look->machine[i].ppid == pid && look->machine[i].state != 'Z') {
            *ret_first = n++ ? *ret_first : look->machine[i].pid;
        }
    return n;
}

/* Everyone who may raise one of the awaited signals. False: the outside may. */
static bool add_wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait, uint64_t awaited)
{
    const struct wedge_thread *t = &look->snapshot->threads[wait->thread];
    pid_t self = look->snapshot->procs[t->proc].pid, first = 0;
    int n = count_children(look, self, &first);
    if (!(awaited & BIT(SIGCHLD)) || awaited & ~(ORDERS | BIT(SIGCHLD)) || !n) {
        wedge_descriptor_by_outside(look, wait, "a signal may come from outside");
        return false;
    }
    for (size_t i = 0; i < look->n_machine; i++)
        if (look->machine[i].ppid == self)
            wedge_descriptor_by_process(look, wait, look->machine[i].pid, "must end (SIGCHLD)");
    /* Whoever lives may send one of them, or stop a child. */
    wedge_waker_add(look, wait->thread, wait->set, WEDGE_TO_TREE, -1, WEDGE_WAKER_BY_SIGNAL, "may signal it");
    look->threads[wait->thread].assumptions |= WEDGE_ASSUME_NO_OUTSIDE_SIGNAL | WEDGE_ASSUME_NO_OUTSIDE_KILL;
    wait->class = WEDGE_WAIT_SIGNAL;
    wait->reason = "a child must end (SIGCHLD)";
    snprintf(wait->key, sizeof(wait->key), "SIGCHLD of %d", (int)self);
    if (n == 1)
        snprintf(wait->describe, sizeof(wait->describe), "SIGCHLD, from the end of process %d", (int)first);
    else
        snprintf(wait->describe, sizeof(wait->describe), "SIGCHLD, from the end of one of %d processes", n);
    return true;
}

static void decode(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    const struct wedge_proc_status *status = &look->threads[thread].status;
    uint64_t awaited = status->sig_caught & ~status->sig_blocked;
    struct wedge_descriptor_wait wait = {.thread = thread};
    bool timed = t->syscall == SYS_rt_sigtimedwait && t->args[2];
    int64_t ns = 0;
    if (t->syscall == SYS_rt_sigtimedwait && wedge_look_memory(look, t->proc, t->args[0], &awaited, sizeof(awaited))) {
        wedge_wait_unknown(look, thread, "the signals that it waits for cannot be read");
        return;
    }
    if (!add_wakers(look, &wait, awaited))
        wedge_wait_is(look, thread, WEDGE_WAIT_SIGNAL, wait.outside);
    else
        wedge_wait_is(look, thread, WEDGE_WAIT_SIGNAL, wait.reason);
    struct wedge_object *o = &t->wait.object;
    memcpy(o->key, wait.key, sizeof(o->key));
    memcpy(o->describe, *wait.describe ? wait.describe : "a signal", *wait.describe ? sizeof(o->describe) : 9);
    if (timed && wedge_wait_timespec(look, thread, t->args[2], &ns))
        wedge_wait_for(look, thread, ns);
    else if (timed)
        wedge_wait_in(look, thread, 0);
    wedge_waker_add_signals(look, thread);
}

static const int calls[] = {SYS_pause, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, -1};
static const char *const wchans[] = {"__do_sys_pause", "__x64_sys_pause", "sys_pause",
                                     "sigsuspend",     "do_sigtimedwait", NULL};
const struct wedge_wait_ops wedge_wait_signal = {.name = "signal", .calls = calls, .wchans = wchans, .decode = decode};

static void wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    char text[1024];
    uint64_t awaited = 0;
    if (wedge_descriptor_info(look, wait, text, sizeof(text)) <= 0 || !wedge_fdinfo_signals(text, &awaited))
        wedge_descriptor_by_outside(look, wait, "its signals cannot be read");
    else
        add_wakers(look, wait, awaited);
}

static const char *const signalfd_wchans[] = {"signalfd", NULL};
const struct wedge_descriptor_class wedge_descriptor_signalfd = {
    .kind = WEDGE_FD_SIGNALFD, .wchans = signalfd_wchans, .wakers = wakers};
