/*
 * epoll beside shut descriptors.
 *
 * An event says what the program gave with the descriptor, not which one it is: what epoll_ctl was told is kept, by set
 * and descriptor. While a thread of ours waits, a shut descriptor stands in the kernel's set without the events that
 * it must not show (arrange); when it leaves, as the program wants it (restore), so that a process that dies, or is
 * outside of epoll_wait, leaves nothing wrong behind for long:
 *
 *      as told --arrange, shut--> hidden --arrange, open--> as told
 *      as told --an event that was taken away--> owed --restore or arrange--> as told
 *      as told --event of EPOLLONESHOT given--> spent --epoll_ctl by the program--> as told
 *
 * Each change tells the kernel to look again and to report what is ready, so that an edge (EPOLLET) that was taken away
 * or hidden comes again.
 *
 * Limits: a set that was filled before exec, descriptors that libc or syscall(2) put into it, and, beside each other in
 * one set, descriptors with the same data, of which one is shut.
 */
#include <errno.h>
#include <string.h>

#include "faults/agent/object_internal.h"
#include "faults/agent/real.h"
#include "faults/agent/shut.h"
#include "faults/agent/sys.h"

enum { MEMBERS = 1024 };
/* seq: even complete, odd being written; a writer takes it by one compare-and-swap and gives up when somebody else has
 * it (it may be ourselves, below a signal handler). Everything else: by who has it. */
static struct member {
    _Atomic uint32_t seq;
    _Atomic uint32_t used;
    uint32_t row, gen; /* of the set */
    int set, fd; /* set: by the number that it was told with */
    uint32_t events;
    uint64_t data;
    _Atomic uint32_t hidden; /* events that the kernel is not asked for now */
    _Atomic uint32_t owed, spent;
} members[MEMBERS];
static _Atomic uint32_t top; /* members from here on were never used */

static bool begin(struct member *member)
{
    uint32_t seq = atomic_load(&member->seq);
    return seq % 2 == 0 && atomic_compare_exchange_strong(&member->seq, &seq, seq + 1);
}

static void end(struct member *member)
{
    atomic_fetch_add(&member->seq, 1);
}

static bool is_of(const struct member *member, uint32_t row)
{
    return row != AGENT_NONE && atomic_load_explicit(&member->used, memory_order_acquire) && member->row == row &&
           member->gen == atomic_load(&agent_arena.objects[row].gen);
}

static bool is_stale(const struct member *member)
{
    return !atomic_load(&member->used) || member->gen != atomic_load(&agent_arena.objects[member->row].gen);
}

/* The place of (set, fd), ours to write; `make`: a free one if there is none yet. */
static struct member *take(uint32_t row, int fd, bool make)
{
    uint32_t last = atomic_load(&top);
    for (uint32_t i = 0; i < last; i++)
        if (is_of(&members[i], row) && members[i].fd == fd)
            return begin(&members[i]) ? &members[i] : NULL;
    for (uint32_t i = 0; make && i < MEMBERS; i++)
        if (is_stale(&members[i]) && begin(&members[i])) {
            uint32_t most = atomic_load(&top);
            while (most <= i && !atomic_compare_exchange_weak(&top, &most, i + 1))
                ;
            if (is_stale(&members[i]))
                return &members[i];
            end(&members[i]);
        }
    if (make)
        atomic_fetch_add_explicit(&agent_arena.header->lost_objects, 1, memory_order_relaxed);
    return NULL;
}

void agent_shut_epoll_control(int set, int operation, int fd, const struct epoll_event *event)
{
    uint32_t row = agent_descriptor_row(set);
    if (row == AGENT_NONE)
        return;
    struct member *member = take(row, fd, operation == EPOLL_CTL_ADD || operation == EPOLL_CTL_MOD);
    if (!member)
        return;
    atomic_store(&member->used, 0);
    if (operation != EPOLL_CTL_DEL && event) {
        member->row = row;
        member->gen = atomic_load(&agent_arena.objects[row].gen);
        member->set = set;
        member->fd = fd;
        member->events = event->events;
        member->data = event->data.u64;
        atomic_store(&member->hidden, 0);
        atomic_store(&member->owed, 0);
        atomic_store(&member->spent, 0);
        atomic_store_explicit(&member->used, 1, memory_order_release);
    }
    end(member);
}

/* Tells the kernel; a descriptor that is no member any more is forgotten. */
static void tell(int set, struct member *member, uint32_t hidden)
{
    struct epoll_event event = {.events = member->events & ~hidden, .data.u64 = member->data};
    long rc;
    atomic_store(&member->owed, 0); /* before: what comes of it may be taken away at once by another thread */
    if (member->events & EPOLLEXCLUSIVE) { /* epoll_ctl(2): it cannot be changed */
        rc = sys_call(SYS_epoll_ctl, set, EPOLL_CTL_DEL, member->fd, (long)&event, 0, 0);
        if (rc == 0)
            rc = sys_call(SYS_epoll_ctl, set, EPOLL_CTL_ADD, member->fd, (long)&event, 0, 0);
    } else {
        rc = sys_call(SYS_epoll_ctl, set, EPOLL_CTL_MOD, member->fd, (long)&event, 0, 0);
    }
    if (rc)
        atomic_store(&member->used, 0);
    atomic_store(&member->hidden, hidden);
}

static bool arrange(int set, bool all_open)
{
    uint32_t row = agent_descriptor_row(set), last = atomic_load(&top);
    bool less = false;
    for (uint32_t i = 0; row != AGENT_NONE && i < last; i++) {
        struct member *member = &members[i];
        if (!is_of(member, row) || atomic_load(&member->spent))
            continue;
        uint32_t hidden = all_open ? 0 : agent_shut_events(agent_shut_sides(member->fd), member->events & 0xffff);
        less |= hidden != 0;
        if ((hidden == atomic_load(&member->hidden) && (hidden || !atomic_load(&member->owed))) || !begin(member))
            continue;
        if (is_of(member, row))
            tell(set, member, hidden);
        end(member);
    }
    return less;
}

bool agent_shut_epoll_arrange(int set)
{
    return arrange(set, false);
}

void agent_shut_epoll_restore(int set)
{
    arrange(set, true);
}

/*
 * A call about this descriptor was refused. Who was told EAGAIN waits for the next edge, and a kernel that has had room
 * all the time would give none, whether somebody looks while it is shut or not: so it is made to report now. Whoever
 * looks already finds it shut, and looks again.
 */
void agent_shut_epoll_refused(uint32_t row)
{
    uint32_t last = atomic_load(&top);
    for (uint32_t i = 0; i < last; i++) {
        struct member *member = &members[i];
        if (!atomic_load_explicit(&member->used, memory_order_acquire) || !(member->events & EPOLLET) ||
            agent_descriptor_row(member->fd) != row || atomic_load(&member->spent) || atomic_load(&member->hidden) ||
            !is_of(member, agent_descriptor_row(member->set)))
            continue;
        atomic_store(&member->owed, 1);
        if (!begin(member))
            continue; /* another thread tells the kernel just now */
        if (!atomic_load(&member->hidden))
            tell(member->set, member, 0);
        end(member);
    }
}

/* What of an event is of shut descriptors alone; notes what is owed, or spent. */
static uint32_t hidden_of(uint32_t row, const struct epoll_event *event)
{
    uint32_t last = atomic_load(&top), hidden = UINT32_MAX;
    struct member *found = NULL;
    for (uint32_t i = 0; i < last; i++) {
        if (!is_of(&members[i], row) || members[i].data != event->data.u64)
            continue;
        found = &members[i];
        hidden &= agent_shut_events(agent_shut_sides(found->fd), event->events & 0xffff);
        if (hidden)
            atomic_store(&found->owed, 1);
        if (event->events & ~hidden)
            atomic_store(&found->spent, (found->events & EPOLLONESHOT) != 0);
    }
    return found ? hidden : 0;
}

/* Takes away what must not be shown; returns how many are left. */
static int filter(int set, struct epoll_event *events, int n)
{
    uint32_t row = agent_descriptor_row(set);
    int kept = 0;
    for (int i = 0; row != AGENT_NONE && i < n; i++) {
        struct epoll_event event = events[i];
        event.events &= ~hidden_of(row, &event);
        if (event.events)
            events[kept++] = event;
    }
    return row == AGENT_NONE ? n : kept;
}

static bool deadline_of(const struct agent_call *call, uint64_t *ret)
{
    const uint64_t *args = call->site.args;
    const struct timespec *timeout = (const struct timespec *)(uintptr_t)args[3];
    *ret = UINT64_MAX;
    if (call->function != WEDGE_FN_epoll_pwait2) {
        if ((int)args[3] >= 0)
            *ret = sys_now_ns() + (uint64_t)(int)args[3] * 1000000u;
        return true;
    }
    if (!timeout)
        return true;
    if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000)
        return false;
    if (timeout->tv_sec < 1000000000)
        *ret = sys_now_ns() + (uint64_t)timeout->tv_sec * 1000000000u + (uint64_t)timeout->tv_nsec;
    return true;
}

int64_t agent_shut_epoll(struct agent_call *call)
{
    const uint64_t *args = call->site.args;
    int set = (int)args[0], n = (int)args[2], rc;
    struct epoll_event *events = (struct epoll_event *)(uintptr_t)args[1];
    const sigset_t *mask = call->function == WEDGE_FN_epoll_wait ? NULL : (const sigset_t *)(uintptr_t)args[4];
    struct agent_shut_signals signals = {.blocked = false};
    uint64_t deadline_ns;
    if (!deadline_of(call, &deadline_ns))
        return agent_real.epoll_pwait2(set, events, n, (const struct timespec *)(uintptr_t)args[3], mask);
    if (agent_is_vfork_child(&call->here))
        return agent_real.epoll_pwait(set, events, n, (int)args[3], mask);
    for (;;) {
        bool less = agent_shut_epoll_arrange(set);
        if (less)
            agent_shut_block_signals(&signals);
        uint64_t left = agent_shut_left_ns(deadline_ns, less), ms = (left + 999999) / 1000000;
        rc = agent_real.epoll_pwait(set, events, n,
                                    left == UINT64_MAX ? -1
                                    : ms > INT32_MAX   ? INT32_MAX
                                                       : (int)ms,
                                    mask              ? mask
                                    : signals.blocked ? &signals.own
                                                      : NULL);
        if (rc > 0)
            rc = filter(set, events, rc);
        if (rc || (deadline_ns != UINT64_MAX && sys_now_ns() >= deadline_ns))
            break;
    }
    agent_shut_epoll_restore(set);
    agent_shut_unblock_signals(&signals);
    return rc;
}
