/* Which objects are shut, and what the calls about them do: those that put, take and post. */
#include "faults/agent/shut.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include "faults/agent/object_internal.h"
#include "faults/agent/sys.h"

enum shut_role { NO_ROLE, PUTS, TAKES, BOTH, POLLS, SELECTS, EPOLL_WAITS, EPOLL_CONTROLS };
uint8_t agent_shut_roles[WEDGE_FN_COUNT];

#define NONE      WEDGE_EXTRA_NONE
#define DROP      WEDGE_EXTRA_DROP
#define SHORT     WEDGE_EXTRA_SHORT
#define SPURIOUS  WEDGE_EXTRA_SPURIOUS
#define FULL      WEDGE_EXTRA_FULL
#define EMPTY     WEDGE_EXTRA_EMPTY
#define CORRUPT   WEDGE_EXTRA_CORRUPT
#define NOT_AFTER WEDGE_EXTRA_NOT_AFTER
static const struct {
    uint8_t kind, extra;
} functions[WEDGE_FN_COUNT] = {
#define F(ret, name, family, style, extra, kind, ...) [WEDGE_FN_##name] = {WEDGE_OBJECT_##kind, extra},
#include "faults/functions/all.def"
#undef F
};
#undef NONE
#undef DROP
#undef SHORT
#undef SPURIOUS
#undef FULL
#undef EMPTY
#undef CORRUPT
#undef NOT_AFTER

/* What the tables do not tell: arguments, from 1, 0 none. */
static const struct how {
    uint8_t flags_at; /* with one of these bits the call does not wait */
    uint32_t flags;
    uint8_t until_at, clock_at; /* an absolute time, of CLOCK_REALTIME or of the clock told there */
    uint8_t other_at; /* a second descriptor, which is put into or, without `from`, taken from */
    bool never_waits, other_takes;
    int code; /* that it gives where it does not wait, 0: EAGAIN */
} hows[WEDGE_FN_COUNT] = {
    [WEDGE_FN_send] = {.flags_at = 4, .flags = MSG_DONTWAIT},
    [WEDGE_FN_sendto] = {.flags_at = 4, .flags = MSG_DONTWAIT},
    [WEDGE_FN_sendmsg] = {.flags_at = 3, .flags = MSG_DONTWAIT},
    [WEDGE_FN_sendmmsg] = {.flags_at = 4, .flags = MSG_DONTWAIT},
    [WEDGE_FN_recv] = {.flags_at = 4, .flags = MSG_DONTWAIT},
    [WEDGE_FN_recvfrom] = {.flags_at = 4, .flags = MSG_DONTWAIT},
    [WEDGE_FN___recv_chk] = {.flags_at = 5, .flags = MSG_DONTWAIT},
    [WEDGE_FN___recvfrom_chk] = {.flags_at = 5, .flags = MSG_DONTWAIT},
    [WEDGE_FN_recvmsg] = {.flags_at = 3, .flags = MSG_DONTWAIT},
    [WEDGE_FN_recvmmsg] = {.flags_at = 4, .flags = MSG_DONTWAIT},
    [WEDGE_FN_preadv2] = {.flags_at = 5, .flags = RWF_NOWAIT},
    [WEDGE_FN_preadv64v2] = {.flags_at = 5, .flags = RWF_NOWAIT},
    [WEDGE_FN_pwritev2] = {.flags_at = 5, .flags = RWF_NOWAIT},
    [WEDGE_FN_pwritev64v2] = {.flags_at = 5, .flags = RWF_NOWAIT},
    [WEDGE_FN_sendfile] = {.other_at = 2, .other_takes = true},
    [WEDGE_FN_sendfile64] = {.other_at = 2, .other_takes = true},
    [WEDGE_FN_splice] = {.flags_at = 6, .flags = SPLICE_F_NONBLOCK, .other_at = 3},
    [WEDGE_FN_tee] = {.flags_at = 4, .flags = SPLICE_F_NONBLOCK, .other_at = 2},
    [WEDGE_FN_vmsplice] = {.flags_at = 4, .flags = SPLICE_F_NONBLOCK},
    [WEDGE_FN_mq_timedsend] = {.until_at = 5, .code = 0},
    [WEDGE_FN_mq_timedreceive] = {.until_at = 5, .code = 0},
    [WEDGE_FN_sem_timedwait] = {.until_at = 2},
    [WEDGE_FN_sem_clockwait] = {.until_at = 3, .clock_at = 2},
    [WEDGE_FN_sem_trywait] = {.never_waits = true},
    [WEDGE_FN_sem_post] = {.never_waits = true, .code = EOVERFLOW},
    [WEDGE_FN_msgsnd] = {.flags_at = 4, .flags = IPC_NOWAIT},
    [WEDGE_FN_msgrcv] = {.flags_at = 5, .flags = IPC_NOWAIT, .code = ENOMSG},
};

/* Those that carry bytes and that no rule can name for it, and those that look. */
static const struct {
    enum wedge_function function;
    enum shut_role role;
} special[] = {
    {WEDGE_FN_sendfile, PUTS},
    {WEDGE_FN_sendfile64, PUTS},
    {WEDGE_FN_splice, TAKES},
    {WEDGE_FN_tee, TAKES},
    {WEDGE_FN_vmsplice, BOTH},
    {WEDGE_FN_poll, POLLS},
    {WEDGE_FN___poll_chk, POLLS},
    {WEDGE_FN_ppoll, POLLS},
    {WEDGE_FN___ppoll_chk, POLLS},
    {WEDGE_FN_select, SELECTS},
    {WEDGE_FN_pselect, SELECTS},
    {WEDGE_FN_epoll_ctl, EPOLL_CONTROLS},
    {WEDGE_FN_epoll_wait, EPOLL_WAITS},
    {WEDGE_FN_epoll_pwait, EPOLL_WAITS},
    {WEDGE_FN_epoll_pwait2, EPOLL_WAITS},
};

void agent_shut_watch(uint64_t watched[WEDGE_RULE_FUNCTIONS_WORDS])
{
    uint32_t kinds = 0;
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        const struct wedge_arena_rule *rule = &agent_arena.rules[i];
        bool shuts = rule->action == WEDGE_ACT_FULL || rule->action == WEDGE_ACT_EMPTY;
        for (unsigned f = 0; shuts && rule->what == WEDGE_WHAT_FUNCTION && f < WEDGE_FN_COUNT; f++)
            if (rule->functions[f / 64] >> (f % 64) & 1)
                kinds |= 1u << functions[f].kind;
    }
    for (unsigned f = 0; f < WEDGE_FN_COUNT; f++)
        if (kinds >> functions[f].kind & 1)
            agent_shut_roles[f] = functions[f].extra & WEDGE_EXTRA_FULL    ? PUTS
                                  : functions[f].extra & WEDGE_EXTRA_EMPTY ? TAKES
                                                                           : NO_ROLE;
    for (size_t i = 0; (kinds >> WEDGE_OBJECT_FD & 1) && i < sizeof(special) / sizeof(special[0]); i++)
        agent_shut_roles[special[i].function] = (uint8_t)special[i].role;
    for (unsigned f = 0; f < WEDGE_FN_COUNT; f++)
        if (agent_shut_roles[f])
            watched[f / 64] |= 1ull << (f % 64);
}

static _Atomic uint32_t *side_of(uint32_t row, unsigned side)
{
    return side == AGENT_SHUT_FULL ? &agent_arena.objects[row].full : &agent_arena.objects[row].empty;
}

void agent_shut(const struct agent_here *here, uint32_t number, unsigned side, struct agent_site *site)
{
    uint32_t row = agent_site_object(here, site), armed = atomic_load(&agent_arena.rules[number].released);
    if (row != AGENT_NONE && armed % 2 == 0)
        atomic_store(side_of(row, side), WEDGE_OBJECT_SHUT(number, armed));
}

uint32_t agent_shut_by(uint32_t row, unsigned side)
{
    if (row >= agent_arena.n_objects)
        return AGENT_NONE;
    uint32_t word = atomic_load_explicit(side_of(row, side), memory_order_relaxed);
    if (AGENT_LIKELY(!word))
        return AGENT_NONE;
    uint32_t number = WEDGE_OBJECT_SHUT_RULE(word);
    if (number < agent_arena.n_rules && !atomic_load(&agent_arena.control->quiesce) &&
        WEDGE_OBJECT_SHUT(number, atomic_load(&agent_arena.rules[number].released)) == word)
        return number;
    atomic_compare_exchange_strong(side_of(row, side), &word, 0);
    return AGENT_NONE;
}

/* Is the other end closed, or is it no descriptor? */
static bool has_ended(int fd)
{
    struct pollfd end = {.fd = fd, .events = POLLRDHUP};
    return sys_call(SYS_poll, (long)&end, 1, 0, 0, 0, 0) > 0;
}

/* A file makes nobody wait: without room it is ENOSPC, with nothing to take it is at its end, and it is always ready. */
static bool is_file(int fd)
{
    struct stat st;
    struct statfs system; /* to stat(2) a message queue is a file too */
    return sys_call(SYS_fstat, fd, (long)&st, 0, 0, 0, 0) == 0 && S_ISREG(st.st_mode) &&
           sys_call(SYS_fstatfs, fd, (long)&system, 0, 0, 0, 0) == 0 && system.f_type != 0x19800202 /* mqueue */;
}

unsigned agent_shut_sides(int fd)
{
    uint32_t row = agent_descriptor_row(fd);
    if (AGENT_LIKELY(row == AGENT_NONE))
        return 0;
    unsigned sides = (agent_shut_by(row, AGENT_SHUT_FULL) != AGENT_NONE ? AGENT_SHUT_FULL : 0) |
                     (agent_shut_by(row, AGENT_SHUT_EMPTY) != AGENT_NONE ? AGENT_SHUT_EMPTY : 0);
    return sides && (has_ended(fd) || is_file(fd)) ? 0 : sides;
}

unsigned agent_shut_events(unsigned sides, unsigned events)
{
    unsigned hidden = 0;
    if (sides & AGENT_SHUT_FULL)
        hidden |= POLLOUT | POLLWRNORM | POLLWRBAND;
    if (sides & AGENT_SHUT_EMPTY)
        hidden |= POLLIN | POLLRDNORM | POLLRDBAND | POLLPRI;
    return events & hidden;
}

uint64_t agent_shut_left_ns(uint64_t deadline_ns, bool briefly)
{
    uint64_t left = UINT64_MAX;
    if (deadline_ns != UINT64_MAX) {
        uint64_t now = sys_now_ns();
        left = deadline_ns > now ? deadline_ns - now : 0;
    }
    return briefly && left > AGENT_SHUT_LOOK_NS ? AGENT_SHUT_LOOK_NS : left;
}

/* The kernel's signal set is 8 bytes; what is libc's own (a cancellation) gets through. */
void agent_shut_block_signals(struct agent_shut_signals *signals)
{
    uint64_t all = ~(3ull << 31);
    if (!signals->blocked && sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&signals->own, 8, 0, 0) == 0)
        signals->blocked = true;
}

void agent_shut_unblock_signals(struct agent_shut_signals *signals)
{
    if (signals->blocked)
        sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&signals->own, 0, 8, 0, 0);
    signals->blocked = false;
}

static uint64_t argument(const struct agent_call *call, unsigned at)
{
    return at && at <= call->site.n_args ? call->site.args[at - 1] : 0;
}

/* Does the call wait, where it is about this descriptor (below 0 none)? */
static bool waits(const struct agent_call *call, const struct how *how, int fd)
{
    if (how->never_waits || (argument(call, how->flags_at) & how->flags))
        return false;
    return fd < 0 || !(sys_call(SYS_fcntl, fd, F_GETFL, 0, 0, 0, 0) & O_NONBLOCK);
}

/* Until when it waits: *ret_code is what it gives then. False: a time that is none. */
static bool find_end(const struct agent_call *call, const struct how *how, int fd, unsigned side,
                     struct agent_until *ret, int *ret_code)
{
    *ret = (struct agent_until){.ns = UINT64_MAX};
    const struct timespec *until = (const struct timespec *)(uintptr_t)argument(call, how->until_at);
    if (until) {
        if (until->tv_nsec < 0 || until->tv_nsec >= 1000000000 || until->tv_sec < 0)
            return false;
        ret->clock = how->clock_at ? (clockid_t)argument(call, how->clock_at) : CLOCK_REALTIME;
        ret->ns = (uint64_t)until->tv_sec * 1000000000u + (uint64_t)until->tv_nsec;
        *ret_code = ETIMEDOUT;
        return true;
    }
    /* socket(7): with a time-out on the socket the call gives up with EAGAIN. */
    struct timeval most;
    socklen_t size = sizeof(most);
    int option = side == AGENT_SHUT_FULL ? SO_SNDTIMEO : SO_RCVTIMEO;
    if (fd < 0 || sys_call(SYS_getsockopt, fd, SOL_SOCKET, option, (long)&most, (long)&size, 0) ||
        (!most.tv_sec && !most.tv_usec))
        return true;
    ret->clock = CLOCK_MONOTONIC;
    ret->ns = sys_now_ns() + (uint64_t)most.tv_sec * 1000000000u + (uint64_t)most.tv_usec * 1000u;
    *ret_code = EAGAIN;
    return true;
}

static void fail(struct agent_call *call, int code)
{
    call->site.answer = AGENT_ANSWER_ERRNO;
    call->site.value = code;
}

struct look {
    uint32_t row, gen;
    unsigned side;
    int fd;
};

static uint32_t still_shut(const void *arg)
{
    const struct look *look = arg;
    /* Closed or destroyed meanwhile: the call itself knows what to say. */
    if (atomic_load(&agent_arena.objects[look->row].gen) != look->gen ||
        (look->fd >= 0 && (agent_descriptor_row(look->fd) != look->row || has_ended(look->fd))))
        return AGENT_NONE;
    return agent_shut_by(look->row, look->side);
}

/* Goes on once the side is open. False: the call has its answer. */
static bool pass_side(struct agent_call *call, uint32_t row, unsigned side, int fd)
{
    const struct how *how = &hows[call->function];
    if (AGENT_LIKELY(row == AGENT_NONE || agent_shut_by(row, side) == AGENT_NONE))
        return true;
    struct look look = {.row = row, .gen = atomic_load(&agent_arena.objects[row].gen), .side = side, .fd = fd};
    if (agent_is_vfork_child(&call->here) || still_shut(&look) == AGENT_NONE)
        return true;
    if (fd >= 0 && is_file(fd)) {
        call->site.answer = side == AGENT_SHUT_FULL ? AGENT_ANSWER_ERRNO : AGENT_ANSWER_RETURN;
        call->site.value = side == AGENT_SHUT_FULL ? ENOSPC : 0;
        return false;
    }
    struct agent_until until;
    int code = how->code ? how->code : EAGAIN;
    if (!waits(call, how, fd)) {
        if (fd >= 0)
            agent_shut_epoll_refused(row);
        fail(call, code);
        return false;
    }
    if (!find_end(call, how, fd, side, &until, &code))
        return true;
    switch (agent_hold_while(&call->here, &call->site, still_shut, &look, &until, fd >= 0, false)) {
    case AGENT_HOLD_TIMED_OUT:
        fail(call, code);
        return false;
    case AGENT_HOLD_INTERRUPTED:
        fail(call, EINTR);
        return false;
    default:
        return true;
    }
}

static void pass_sides(struct agent_call *call, unsigned sides)
{
    bool descriptor = call->site.kind == WEDGE_OBJECT_FD;
    int fd = descriptor ? (int)call->site.object : -1;
    uint32_t row = descriptor ? agent_descriptor_row(fd) : agent_site_object(&call->here, &call->site);
    const struct how *how = &hows[call->function];
    if (((sides & AGENT_SHUT_FULL) && !pass_side(call, row, AGENT_SHUT_FULL, fd)) ||
        ((sides & AGENT_SHUT_EMPTY) && !pass_side(call, row, AGENT_SHUT_EMPTY, fd)) || !how->other_at)
        return;
    fd = (int)argument(call, how->other_at);
    pass_side(call, agent_descriptor_row(fd), how->other_takes ? AGENT_SHUT_EMPTY : AGENT_SHUT_FULL, fd);
}

/* The call was made here: it shall return that. */
static void made(struct agent_call *call, int64_t result)
{
    result = agent_leave(call, result);
    call->site.answer = AGENT_ANSWER_RETURN;
    call->site.value = result;
}

void agent_shut_hold(struct agent_call *call)
{
    switch ((enum shut_role)agent_shut_roles[call->function]) {
    case PUTS:
        pass_sides(call, AGENT_SHUT_FULL);
        break;
    case TAKES:
        pass_sides(call, AGENT_SHUT_EMPTY);
        break;
    case BOTH: /* vmsplice(2): by which end it is */
        pass_sides(call, agent_descriptor_end((int)call->site.object) ? AGENT_SHUT_FULL : AGENT_SHUT_EMPTY);
        break;
    default:
        break;
    }
}

void agent_shut_look(struct agent_call *call)
{
    switch ((enum shut_role)agent_shut_roles[call->function]) {
    case POLLS:
        made(call, agent_shut_poll(call));
        break;
    case SELECTS:
        made(call, agent_shut_select(call));
        break;
    case EPOLL_WAITS:
        made(call, agent_shut_epoll(call));
        break;
    default:
        break;
    }
}
