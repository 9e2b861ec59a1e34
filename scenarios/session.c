/*
 * The session's loop: a pidfd for the end of the command, a signalfd for what is sent to wedge, and a timer by which
 * the tree is sampled (quiet.h) and, when it pays, examined in a disposable child (reports/examine.h).
 */
#include "scenarios/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "faults/launch.h"
#include "reports/examine.h"
#include "scenarios/session_state.h"

/* Slots of 256 processes, half of them free at the beginning: enough for more than 6,000 new processes a second. */
#define RECYCLE_NS       (20 * WEDGE_NS_PER_MS)
#define PAUSE_NS         WEDGE_NS_PER_S /* longer than any timer is late on a busy machine */
#define DEFAULT_STALL_NS (30 * WEDGE_NS_PER_S)

static int64_t boot_ahead_ns(void)
{
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return (int64_t)boot.tv_sec * WEDGE_NS_PER_S + boot.tv_nsec - wedge_clock_ns();
}

/* A pause of everything is no hang: the machine was suspended (only CLOCK_BOOTTIME counts on), the virtual machine
 * stood still or wedge was starved of the processor (we overslept by far), or wedge was stopped (SIGCONT).
 * `meant_ns` of the time since the last call were meant to be slept. Returns the time up to which that is known. */
static int64_t mind_pause(struct wedge_session_state *st, int64_t meant_ns, bool continued)
{
    int64_t ahead = boot_ahead_ns(), now = wedge_clock_ns(), overslept_ns = now - st->awake_ns - meant_ns;
    bool suspended = ahead - st->ahead_ns > PAUSE_NS;
    st->ahead_ns = ahead;
    st->awake_ns = now;
    if (!suspended && !continued && overslept_ns < PAUSE_NS)
        return now;
    wedge_quiet_paused(&st->quiet, now);
    st->lasting_since_ns = now;
    st->ripe_at_ns = st->ripe_at_ns ? now + st->stall_ns : 0;
    return now;
}

/* An examination, and what was done about a hang, took the time that they took, or a pause fell into it. For that long nobody saw
 * whether anything moved: it is no part of a standstill. */
static void mind_absence(struct wedge_session_state *st, int64_t began_ns)
{
    int64_t now = st->awake_ns = wedge_clock_ns(), absent_ns = now - began_ns;
    if (absent_ns < PAUSE_NS)
        return;
    wedge_quiet_absent(&st->quiet, absent_ns, now);
    st->lasting_since_ns = st->lasting_since_ns + absent_ns < now ? st->lasting_since_ns + absent_ns : now;
    int64_t latest_ns = now + st->stall_ns;
    if (st->ripe_at_ns)
        st->ripe_at_ns = st->ripe_at_ns + absent_ns < latest_ns ? st->ripe_at_ns + absent_ns : latest_ns;
}

int64_t wedge_session_now(struct wedge_session_state *st)
{
    return mind_pause(st, 0, false);
}

/* Signals sent to wedge are the command's: a terminal sends them to both already, kill(1) to us alone. */
static void take_signal(struct wedge_session_state *st, const struct signalfd_siginfo *info)
{
    int signo = (int)info->ssi_signo;
    if (signo == SIGCHLD) { /* an orphan of the command's, which is nobody's but ours to reap */
        wedge_session_reap(st);
        return;
    }
    bool from_terminal = info->ssi_code == SI_KERNEL;
    if (signo == SIGCONT) { /* whoever stopped us stopped the command, or did not: it is to go on as well */
        mind_pause(st, 0, true);
        if (!st->s->attach)
            kill(st->root, SIGCONT);
        return;
    }
    bool to_end = signo != SIGUSR1 && signo != SIGUSR2;
    st->out->interrupted_by = to_end ? signo : st->out->interrupted_by;
    /* Where the command is not the user's own to end gracefully, nor ours, there is nothing to wait for. */
    if (st->s->attach || (st->s->end_all && to_end)) {
        st->out->interrupted_by = signo;
        st->out->end = WEDGE_INTERRUPTED;
        st->done = true;
        return;
    }
    if (!from_terminal)
        kill(st->root, signo);
}

/* All that came: a SIGCONT behind another must be heard before anybody judges how long it was still. */
static void take_signals(struct wedge_session_state *st)
{
    struct signalfd_siginfo info;
    while (read(st->sigfd, &info, sizeof(info)) == sizeof(info))
        take_signal(st, &info);
}

static int loop(struct wedge_session_state *st)
{
    int rc = 0;
    int64_t looked_ns = st->awake_ns = wedge_clock_ns();
    while (!rc && !st->done && !st->ended) {
        struct pollfd fds[3] = {{.fd = st->pidfd, .events = POLLIN},
                                {.fd = st->sigfd, .events = POLLIN},
                                {.fd = wedge_ended_fd(st->who_ended), .events = POLLIN}};
        int64_t pause = st->s->detect ? st->quiet.tick_ns : st->agent ? RECYCLE_NS : WEDGE_NS_PER_S;
        if (!st->s->detect)
            wedge_session_look_for_absent(st, NULL, false);
        if (st->agent)
            wedge_arena_set_clock(&st->arena);
        if (st->agent && wedge_faults_recycle(&st->arena) > 0 && pause > RECYCLE_NS)
            pause = RECYCLE_NS; /* processes come and go fast */
        if (st->s->limit_ns && st->out->end != WEDGE_LIMIT) {
            int64_t left = st->began_ns + st->s->limit_ns - wedge_clock_ns();
            pause = left < pause ? (left > 0 ? left : 0) : pause;
        }
        int64_t asleep_ns = wedge_clock_ns();
        /* What wakes it in between, such as a child's end, is no reason to look earlier, nor later. */
        pause = looked_ns + pause > asleep_ns ? looked_ns + pause - asleep_ns : 0;
        int n = ppoll(fds, 3, &(struct timespec){.tv_sec = pause / WEDGE_NS_PER_S, .tv_nsec = pause % WEDGE_NS_PER_S},
                      NULL);
        if (n < 0 && errno != EINTR)
            return wedge_err_set(st->err, -errno, "cannot wait for the command: %s", strerror(errno));
        mind_pause(st, pause, false);
        if (n > 0 && fds[2].revents)
            wedge_ended_look(st->who_ended);
        if (n > 0 && fds[1].revents)
            take_signals(st);
        if (n > 0 && fds[0].revents) {
            wedge_session_reap(st);
            st->ended = true;
            break;
        }
        if (n > 0 && wedge_clock_ns() - asleep_ns < pause)
            continue;
        looked_ns = wedge_clock_ns();
        if (st->s->limit_ns && st->out->end != WEDGE_LIMIT && looked_ns - st->began_ns >= st->s->limit_ns)
            rc = wedge_session_limit_passed(st);
        else if (st->s->detect)
            rc = wedge_session_tick(st);
        mind_absence(st, looked_ns);
    }
    return rc;
}

/* A signal that is ignored and blocked is kept nonetheless, since it may be unblocked with another disposition (signal(7), kernel's
 * sig_ignored()), and a signalfd would tell of it: so it is not asked for. */
void wedge_session_ends(sigset_t *ret)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action;
    sigemptyset(ret);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (sigaction(ends[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(ret, ends[i]);
}

static int open_fds(struct wedge_session_state *st)
{
    sigset_t taken;
    wedge_session_ends(&taken);
    const int signals[] = {SIGUSR1, SIGUSR2, SIGCONT, SIGCHLD};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaddset(&taken, signals[i]);
    sigprocmask(SIG_BLOCK, &taken, &st->old_mask);
    st->command_mask = st->s->mask ? *st->s->mask : st->old_mask;
    st->sigfd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    return st->sigfd < 0 ? wedge_err_set(st->err, -errno, "cannot take signals: %s", strerror(errno)) : 0;
}

int wedge_session_run(const struct wedge_session *session, struct wedge_outcome *ret, struct wedge_err *err)
{
    struct timespec now;
    struct wedge_outcome out = {.end = WEDGE_ENDED, .exit_status = -1, .verdict_after_fault_ns = -1};
    struct wedge_session_state st = {
        .s = session, .err = err, .out = &out, .pidfd = -1, .sigfd = -1, .arena = {.fd = -1}};
    clock_gettime(CLOCK_REALTIME, &now);
    st.began_ns = wedge_clock_ns();
    st.began_unix_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / WEDGE_NS_PER_MS;
    st.stall_ns = session->stall_ns ? session->stall_ns : DEFAULT_STALL_NS;
    st.ahead_ns = boot_ahead_ns();
    wedge_quiet_start(&st.quiet, st.began_ns);
    st.history = wedge_history_new(); /* without one some suspicions are not raised */

    int rc = open_fds(&st);
    if (!rc && !session->attach)
        rc = wedge_session_start(&st);
    if (!rc && out.exec_errno)
        out.end = WEDGE_NO_EXEC;
    else if (!rc && !(rc = wedge_session_attach(&st)))
        rc = loop(&st);
    if (rc && st.root > 0 && !session->attach && !out.exec_errno)
        wedge_session_kill_tree(&st);
    if (!rc && st.agent && session->on_end)
        session->on_end(session->arg, &st.arena);
    if (!rc)
        rc = wedge_session_close_books(&st);
    for (int i = 0; i < 2; i++) {
        wedge_tee_drain(&st.tees[i], 0);
        wedge_tee_free(&st.tees[i]);
    }
    wedge_guard_end(&st.guard);
    wedge_ended_free(st.who_ended);
    wedge_history_free(st.history);
    if (st.pidfd >= 0)
        close(st.pidfd);
    if (st.sigfd >= 0)
        close(st.sigfd);
    if (st.arena.fd >= 0)
        wedge_arena_destroy(&st.arena);
    wedge_tree_free(&st.tree);
    sigprocmask(SIG_SETMASK, &st.old_mask, NULL);
    if (rc)
        wedge_outcome_free(&out);
    else
        *ret = out;
    return rc;
}

void wedge_outcome_free(struct wedge_outcome *outcome)
{
    json_decref(outcome->report);
    wedge_reach_free(&outcome->reach);
    free(outcome->output);
    outcome->report = NULL;
    outcome->output = NULL;
}
