/* poll and select beside shut descriptors. A select is made as the kernel makes it, of the same questions as a poll. */
#include <errno.h>
#include <sys/select.h>
#include <time.h>

#include "faults/agent/object_internal.h"
#include "faults/agent/real.h"
#include "faults/agent/shut.h"
#include "faults/agent/sys.h"

enum { MOST = AGENT_DESCRIPTORS }; /* questions that are copied to the stack; numbers from there on are not followed */

/* fills `asked` with what the kernel may be asked now. Returns whether something is left out. */
static bool ask(const struct pollfd *fds, size_t n, struct pollfd *asked)
{
    bool less = false;
    for (size_t i = 0; i < n; i++) {
        asked[i] = fds[i];
        asked[i].revents = 0;
        uint32_t row = agent_descriptor_row(fds[i].fd);
        if (AGENT_LIKELY(row == AGENT_NONE))
            continue;
        if (agent_arena.objects[row].made == WEDGE_MADE_EPOLL)
            less |= agent_shut_epoll_arrange(fds[i].fd);
        unsigned hidden = agent_shut_events(agent_shut_sides(fds[i].fd), (unsigned short)fds[i].events);
        asked[i].events = (short)(fds[i].events & ~hidden);
        less |= hidden != 0;
    }
    return less;
}

/* What the kernel said, without what has been shut meanwhile. Returns how many are ready; *ret_ended: one that was left
 * out has ended, so that it is worth asking in full. */
static int take(struct pollfd *fds, size_t n, const struct pollfd *asked, bool *ret_ended)
{
    int ready = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned short said = (unsigned short)asked[i].revents;
        fds[i].revents = 0;
        if (!said)
            continue;
        *ret_ended |= asked[i].events != fds[i].events;
        said &= (unsigned short)~agent_shut_events(agent_shut_sides(fds[i].fd), said);
        fds[i].revents = (short)said;
        ready += said != 0;
    }
    return ready;
}

static void restore_sets(const struct pollfd *fds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t row = agent_descriptor_row(fds[i].fd);
        if (row != AGENT_NONE && agent_arena.objects[row].made == WEDGE_MADE_EPOLL)
            agent_shut_epoll_restore(fds[i].fd);
    }
}

struct question {
    const struct pollfd *fds;
    size_t n;
};

/* The rule by which nothing of what is asked can come; AGENT_NONE: something can. */
static uint32_t all_shut(const void *arg)
{
    const struct question *question = arg;
    uint32_t by = AGENT_NONE;
    for (size_t i = 0; i < question->n; i++) {
        unsigned events = (unsigned short)question->fds[i].events, sides;
        if (question->fds[i].fd < 0)
            continue;
        sides = agent_shut_sides(question->fds[i].fd);
        if (!sides || !events || agent_shut_events(sides, events) != events)
            return AGENT_NONE;
        uint32_t row = agent_descriptor_row(question->fds[i].fd);
        by = agent_shut_by(row, sides & AGENT_SHUT_FULL ? AGENT_SHUT_FULL : AGENT_SHUT_EMPTY);
        if (by == AGENT_NONE)
            return by;
    }
    return by;
}

/* As ppoll(2), until a time of CLOCK_MONOTONIC. A look at nothing but shut descriptors is held as a call about one of
 * them is, with a record that says so. */
static int look(struct agent_call *call, struct pollfd *fds, size_t n, uint64_t deadline_ns, const sigset_t *mask)
{
    struct question question = {fds, n};
    struct agent_until until = {.ns = deadline_ns, .clock = CLOCK_MONOTONIC};
    struct pollfd *asked = __builtin_alloca((n + 1) * sizeof(*asked)); /* at most MOST */
    struct agent_shut_signals signals = {.blocked = false};
    bool in_full = false;
    int rc;
    if (!mask && agent_shut_left_ns(deadline_ns, false) > 0 && all_shut(&question) != AGENT_NONE &&
        agent_hold_while(&call->here, &call->site, all_shut, &question, &until, true, true) == AGENT_HOLD_INTERRUPTED) {
        errno = EINTR;
        return -1;
    }
    for (;;) {
        bool less = ask(fds, n, asked);
        if (less)
            agent_shut_block_signals(&signals);
        uint64_t left = agent_shut_left_ns(deadline_ns, less);
        struct timespec most = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
        rc = agent_real.ppoll(asked, n, left == UINT64_MAX ? NULL : &most,
                              mask              ? mask
                              : signals.blocked ? &signals.own
                                                : NULL);
        if (rc < 0)
            break;
        bool ended = false;
        rc = take(fds, n, asked, &ended);
        if (ended && !in_full) {
            in_full = true;
            continue;
        }
        if (rc || (deadline_ns != UINT64_MAX && sys_now_ns() >= deadline_ns))
            break;
    }
    if (signals.blocked)
        restore_sets(fds, n);
    agent_shut_unblock_signals(&signals);
    return rc;
}

/* False: no time at all, which the kernel refuses. */
static bool deadline_of(const struct timespec *timeout, uint64_t *ret)
{
    *ret = UINT64_MAX;
    if (!timeout)
        return true;
    if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000)
        return false;
    if (timeout->tv_sec < 1000000000) /* 30 years are for ever */
        *ret = sys_now_ns() + (uint64_t)timeout->tv_sec * 1000000000u + (uint64_t)timeout->tv_nsec;
    return true;
}

static bool too_many(size_t n)
{
    if (n <= MOST)
        return false;
    atomic_fetch_add_explicit(&agent_arena.header->lost_objects, 1, memory_order_relaxed);
    return true;
}

int64_t agent_shut_poll(struct agent_call *call)
{
    const uint64_t *args = call->site.args;
    struct pollfd *fds = (struct pollfd *)(uintptr_t)args[0];
    size_t n = args[1];
    const sigset_t *mask = NULL;
    const struct timespec *timeout = NULL;
    struct timespec ms;
    uint64_t deadline_ns;
    if (call->function == WEDGE_FN_ppoll || call->function == WEDGE_FN___ppoll_chk) {
        timeout = (const struct timespec *)(uintptr_t)args[2];
        mask = (const sigset_t *)(uintptr_t)args[3];
    } else if ((int)args[2] >= 0) {
        ms = (struct timespec){.tv_sec = (int)args[2] / 1000, .tv_nsec = (int)args[2] % 1000 * 1000000L};
        timeout = &ms;
    }
    if (!deadline_of(timeout, &deadline_ns) || too_many(n) || agent_is_vfork_child(&call->here))
        return agent_real.ppoll(fds, n, timeout, mask);
    return look(call, fds, n, deadline_ns, mask);
}

/* The events that the kernel takes for each of the three sets, fs/select.c. */
enum {
    IN = POLLRDNORM | POLLRDBAND | POLLIN,
    OUT = POLLWRBAND | POLLWRNORM | POLLOUT,
    IN_SET = IN | POLLHUP | POLLERR,
    OUT_SET = OUT | POLLERR,
    WORD = 8 * sizeof(unsigned long)
};

static bool is_in(const unsigned long *set, size_t fd)
{
    return set && (set[fd / WORD] >> (fd % WORD) & 1);
}

static int put(unsigned long *set, size_t fd, bool on)
{
    if (!set)
        return 0;
    set[fd / WORD] &= ~(1ul << (fd % WORD));
    set[fd / WORD] |= (unsigned long)on << (fd % WORD);
    return on;
}

/* As pselect(2). `count` numbers stand in one of the sets. */
static int look_at_sets(struct agent_call *call, size_t n, size_t count, unsigned long *sets[3], uint64_t deadline_ns,
                        const sigset_t *mask)
{
    struct pollfd *fds = __builtin_alloca((count + 1) * sizeof(*fds)); /* at most MOST */
    size_t at = 0;
    int rc, bits = 0;
    for (size_t fd = 0; fd < n; fd++) {
        int events =
            (is_in(sets[0], fd) ? IN : 0) | (is_in(sets[1], fd) ? OUT : 0) | (is_in(sets[2], fd) ? POLLPRI : 0);
        if (events && at < count)
            fds[at++] = (struct pollfd){.fd = (int)fd, .events = (short)events};
    }
    while ((rc = look(call, fds, at, deadline_ns, mask)) > 0) {
        for (size_t i = 0; i < at; i++) {
            int said = fds[i].revents;
            if (said & POLLNVAL) {
                errno = EBADF;
                return -1;
            }
            bits |= said & ((fds[i].events & IN ? IN_SET : 0) | (fds[i].events & OUT ? OUT_SET : 0) |
                            (fds[i].events & POLLPRI));
        }
        if (bits)
            break;
        for (size_t i = 0; i < at; i++) /* ready for what a select does not ask: asked no more */
            if (fds[i].revents)
                fds[i].fd = -1 - fds[i].fd;
    }
    if (rc < 0)
        return rc;
    int ready = 0;
    for (size_t i = 0; i < at; i++) {
        size_t fd = (size_t)(fds[i].fd < 0 ? -1 - fds[i].fd : fds[i].fd);
        int said = rc > 0 && fds[i].fd >= 0 ? fds[i].revents : 0;
        ready += put(sets[0], fd, (fds[i].events & IN) && (said & IN_SET));
        ready += put(sets[1], fd, (fds[i].events & OUT) && (said & OUT_SET));
        ready += put(sets[2], fd, (fds[i].events & POLLPRI) && (said & POLLPRI));
    }
    return ready;
}

static int64_t select_really(struct agent_call *call)
{
    const uint64_t *args = call->site.args;
    fd_set *sets[3];
    for (int i = 0; i < 3; i++)
        sets[i] = (fd_set *)(uintptr_t)args[1 + i];
    if (call->function == WEDGE_FN_pselect)
        return agent_real.pselect((int)args[0], sets[0], sets[1], sets[2], (const struct timespec *)(uintptr_t)args[4],
                                  (const sigset_t *)(uintptr_t)args[5]);
    return agent_real.select((int)args[0], sets[0], sets[1], sets[2], (struct timeval *)(uintptr_t)args[4]);
}

int64_t agent_shut_select(struct agent_call *call)
{
    const uint64_t *args = call->site.args;
    unsigned long *sets[3];
    struct timespec ts, *timeout = (struct timespec *)(uintptr_t)args[4];
    struct timeval *tv = NULL;
    size_t count = 0;
    uint64_t deadline_ns;
    for (int i = 0; i < 3; i++)
        sets[i] = (unsigned long *)(uintptr_t)args[1 + i];
    if ((int)args[0] < 0 || agent_is_vfork_child(&call->here))
        return select_really(call);
    if (call->function == WEDGE_FN_select && timeout) {
        tv = (struct timeval *)(uintptr_t)args[4];
        ts = (struct timespec){.tv_sec = tv->tv_sec + tv->tv_usec / 1000000, .tv_nsec = tv->tv_usec % 1000000 * 1000};
        timeout = &ts;
    }
    for (size_t fd = 0; fd < (size_t)(int)args[0]; fd++)
        count += is_in(sets[0], fd) || is_in(sets[1], fd) || is_in(sets[2], fd);
    if (!deadline_of(timeout, &deadline_ns) || too_many(count))
        return select_really(call);
    int rc = look_at_sets(call, args[0], count, sets, deadline_ns,
                          call->function == WEDGE_FN_pselect ? (const sigset_t *)(uintptr_t)args[5] : NULL);
    if (tv && deadline_ns != UINT64_MAX) { /* select(2): Linux tells what was left */
        uint64_t left = agent_shut_left_ns(deadline_ns, false);
        *tv = (struct timeval){.tv_sec = (time_t)(left / 1000000000u),
                               .tv_usec = (suseconds_t)(left % 1000000000u / 1000u)};
    }
    return rc;
}
