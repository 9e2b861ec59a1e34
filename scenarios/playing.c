#include "scenarios/playing.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenarios/session.h"

/* What a player says of one round. Nothing but these goes through its pipe, which ends when it does. */
struct word {
    int rc;
    struct wedge_err err; /* with rc < 0 */
    struct wedge_check_result result;
};

struct player {
    pid_t pid; /* 0: nobody */
    int fd;
    size_t check;
    long round; /* the one that is being played, from 1 */
};

struct state {
    const struct wedge_playing *p;
    struct wedge_err *err;
    struct player players[WEDGE_PLAYING_MOST];
    size_t next; /* check to begin */
    unsigned n; /* players */
    int signals; /* descriptor */
    sigset_t before; /* the mask of whoever called */
    sigset_t taken; /* signals that end it all */
    bool ending; /* begin no other */
    int signal; /* why, 0: not because of one */
    int rc; /* the first error */
};

static bool write_whole(int fd, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(fd, (const char *)data + done, bytes - done);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* The bytes read: fewer than asked for at the end. */
static size_t read_whole(int fd, void *data, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = read(fd, (char *)data + done, bytes - done);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    return done;
}

/* One that came while no session was there to hear it. */
static bool is_pending(const sigset_t *signals)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && sigandset(&pending, &pending, signals) == 0 && !sigisemptyset(&pending);
}

static const char *name_of(const struct wedge_playing_check *check)
{
    return check->name ? check->name : wedge_check_words[check->role];
}

static _Noreturn void play(const struct state *st, size_t number, int fd, pid_t parent)
{
    const struct wedge_playing_check *check = &st->p->checks[number];
    static struct word word; /* large */
    char dir[4096];
    struct wedge_runner_how how = {.dir = dir,
                                   .mask = st->p->mask ? st->p->mask : &st->before,
                                   .instead = check->instead,
                                   .stall_ns = st->p->stall_ns,
                                   .hangs_only = st->p->hangs_only};
    snprintf(dir, sizeof(dir), "%s/%s/%s", st->p->out_dir, check->scenario->name, name_of(check));
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    for (long round = 1; round <= st->p->rounds; round++) {
        memset(&word, 0, sizeof(word));
        word.rc = wedge_runner_play(check->scenario, check->role, &how, &word.result, &word.err);
        if (!write_whole(fd, &word, sizeof(word)) || word.rc || word.result.interrupted_by || is_pending(&st->taken))
            break;
    }
    _exit(0);
}

static int begin(struct state *st)
{
    int ends[2];
    struct player *player = st->players;
    while (player->pid)
        player++;
    if (pipe2(ends, O_CLOEXEC))
        return wedge_err_set(st->err, -errno, "cannot play a check: %s", strerror(errno));
    fflush(NULL); /* or the child would write it as well */
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        close(ends[0]);
        play(st, st->next, ends[1], parent);
    }
    int rc = -errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return wedge_err_set(st->err, rc, "cannot play a check: %s", strerror(-rc));
    }
    *player = (struct player){.pid = pid, .fd = ends[0], .check = st->next++, .round = 1};
    st->n++;
    return 0;
}

static void end_all(struct state *st, int number)
{
    st->ending = true;
    for (unsigned i = 0; i < WEDGE_PLAYING_MOST; i++)
        if (st->players[i].pid)
            kill(st->players[i].pid, number);
}

/* Ctrl-C at a terminal has reached the players as well, but a terminal that hangs up may tell the leader of its session alone; to
 * be told twice does them no harm. */
static void take_signal(struct state *st)
{
    struct signalfd_siginfo info;
    if (read(st->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    st->signal = st->signal ? st->signal : (int)info.ssi_signo;
    end_all(st, (int)info.ssi_signo);
}

static void tell(struct state *st, const struct player *player, const struct wedge_check_result *result)
{
    if (result->interrupted_by) { /* by us, or by a signal to the player alone; nothing is known of the check */
        st->signal = st->signal || st->ending ? st->signal : result->interrupted_by;
        st->ending = true;
        return;
    }
    int rc = st->rc ? 0 : st->p->ended(st->p->context, player->check, player->round, result, st->err);
    if (rc < 0)
        st->rc = rc;
    if (rc && !st->ending)
        end_all(st, SIGTERM);
}

/* A check that could not be played: the end of all, or one that is invalid. */
static void tell_unplayed(struct state *st, const struct player *player, const struct wedge_err *err)
{
    struct wedge_check_result result = {.status = WEDGE_CHECK_INVALID, .verdict_after_fault_ns = -1};
    if (!st->p->keep_going && !st->rc) {
        *st->err = *err;
        st->rc = err->code ? err->code : -EIO;
        end_all(st, SIGTERM);
    }
    if (!st->p->keep_going)
        return;
    wedge_err_text(err, result.message, sizeof(result.message));
    tell(st, player, &result);
}

static void leave(struct state *st, struct player *player)
{
    int wstatus = 0;
    close(player->fd);
    while (waitpid(player->pid, &wstatus, 0) < 0 && errno == EINTR)
        ;
    player->pid = 0;
    st->n--;
}

static void take_word(struct state *st, struct player *player)
{
    static struct word word; /* large */
    size_t got = read_whole(player->fd, &word, sizeof(word));
    if (got == sizeof(word) && word.rc == 0) {
        tell(st, player, &word.result);
        if (player->round++ < st->p->rounds && !word.result.interrupted_by)
            return;
    } else if (got == sizeof(word)) {
        tell_unplayed(st, player, &word.err);
    } else if (!st->ending) {
        struct wedge_err lost;
        wedge_err_set(&lost, -EIO, "whoever played %s %s ended without a word",
                      st->p->checks[player->check].scenario->name, name_of(&st->p->checks[player->check]));
        tell_unplayed(st, player, &lost);
    }
    leave(st, player);
}

/* Woken by a word of a player, by its end, and by a signal. */
static int wait_for_words(struct state *st)
{
    struct pollfd fds[WEDGE_PLAYING_MOST + 1] = {{.fd = st->signals, .events = POLLIN}};
    for (unsigned i = 0; i < WEDGE_PLAYING_MOST; i++)
        fds[i + 1] = (struct pollfd){.fd = st->players[i].pid ? st->players[i].fd : -1, .events = POLLIN};
    if (poll(fds, WEDGE_PLAYING_MOST + 1, -1) < 0)
        return errno == EINTR ? 0 : wedge_err_set(st->err, -errno, "cannot wait for the checks: %s", strerror(errno));
    if (fds[0].revents)
        take_signal(st);
    for (unsigned i = 0; i < WEDGE_PLAYING_MOST; i++)
        if (fds[i + 1].revents)
            take_word(st, &st->players[i]);
    return 0;
}

int wedge_playing_all(const struct wedge_playing *playing, struct wedge_playing_end *ret, struct wedge_err *err)
{
    struct state st = {.p = playing, .err = err};
    int rc = 0;
    wedge_session_ends(&st.taken);
    sigprocmask(SIG_BLOCK, &st.taken, &st.before);
    st.signals = signalfd(-1, &st.taken, SFD_CLOEXEC);
    if (st.signals < 0) {
        rc = wedge_err_set(err, -errno, "cannot watch for signals: %s", strerror(errno));
        goto out;
    }
    while (!rc && (st.n || (st.next < playing->n && !st.ending && !st.rc))) {
        while (!rc && st.n < playing->at_once && st.next < playing->n && !st.ending && !st.rc)
            rc = begin(&st);
        if (!rc && st.n)
            rc = wait_for_words(&st);
    }
    for (unsigned i = 0; i < WEDGE_PLAYING_MOST; i++) /* after an error of our own */
        if (st.players[i].pid) {
            kill(st.players[i].pid, SIGTERM);
            leave(&st, &st.players[i]);
        }
    close(st.signals);
    rc = rc ? rc : st.rc;
out:
    *ret = (struct wedge_playing_end){.whole = !rc && st.next == playing->n && !st.ending, .signal = st.signal};
    sigprocmask(SIG_SETMASK, &st.before, NULL);
    return rc;
}
