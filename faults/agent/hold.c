/*
 * Holding a thread: block, delay, yield, and what waits for a shut object. The wait record is written before the first
 * sleep, so that a detector never takes a held thread for one that hangs by itself.
 *
 * What ends it: the release of the rule or a quiesce (both make rule.released odd, which block and delay sleep on), the
 * deadline of a delay, or the condition of a yield, which sleeps on control.released; that word moves at each firing,
 * mark and release. The word is read before the condition: a change in between makes the sleep return at once. A rule
 * that is armed again moves rule.released once more, so that a release is not lost on a thread that did not run
 * meanwhile.
 *
 * Signals are delivered while it lasts. A hold in a function that is a cancellation point is one itself, as the wait
 * in the function would be; at any other place a held thread is cancelled only where it allows that at any time. Who
 * is cancelled, or leaves by siglongjmp, never comes back here: the record is found left behind by agent_wait_check.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "faults/agent/agent.h"
#include "faults/agent/shut.h"
#include "faults/agent/sys.h"

/* libc delivers a cancellation to a thread by a signal only while its type is asynchronous: so for the sleep alone. */
static long sleep_on(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns, bool cancels)
{
    int type;
    if (cancels)
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    long rc = sys_futex_wait(word, value, until_ns);
    if (cancels)
        pthread_setcanceltype(type, &type);
    return rc;
}

static struct wedge_arena_wait *begin(const struct agent_here *here, uint32_t number, uint64_t deadline_ns,
                                      const struct agent_site *site)
{
    struct wedge_arena_wait what = {.kind = WEDGE_WAITING_HELD,
                                    .rule = (uint16_t)(number + 1),
                                    .object = site->object,
                                    .deadline_ns = deadline_ns,
                                    .name = site->name};
    atomic_fetch_add(&agent_arena.rules[number].holding, 1);
    struct wedge_arena_wait *wait = agent_wait_begin(here, &what);
    if (wait)
        agent_wait_frames[wait - here->thread->wait] = (uintptr_t)__builtin_frame_address(0);
    return wait;
}

static void end(const struct agent_here *here, uint32_t number, struct wedge_arena_wait *wait,
                const struct agent_site *site)
{
    atomic_fetch_sub(&agent_arena.rules[number].holding, 1);
    if (wait)
        agent_wait_frames[wait - here->thread->wait] = 0;
    agent_wait_end(wait);
    struct wedge_arena_event event = {
        .kind = WEDGE_EV_RELEASED, .rule = (uint16_t)(number + 1), .name = site->name, .object = site->object};
    agent_event(here, &event);
}

void agent_hold(const struct agent_here *here, uint32_t number, uint64_t deadline_ns,
                const struct wedge_rule_when *until, const struct agent_site *site)
{
    struct wedge_arena_rule *rule = &agent_arena.rules[number];
    struct wedge_arena_control *control = agent_arena.control;
    uint32_t armed = atomic_load(&rule->released);
    if (until)
        atomic_fetch_add(&control->yielders, 1);
    struct wedge_arena_wait *wait = begin(here, number, deadline_ns, site);
    while (armed % 2 == 0 && atomic_load(&rule->released) == armed && !atomic_load(&control->quiesce)) {
        uint32_t moved = atomic_load(&control->released);
        if (until && agent_condition(until))
            break;
        if (deadline_ns != UINT64_MAX && sys_now_ns() >= deadline_ns)
            break;
        if (until)
            sleep_on(&control->released, moved, deadline_ns, site->cancels);
        else
            sleep_on(&rule->released, armed, deadline_ns, site->cancels);
    }
    if (until)
        atomic_fetch_sub(&control->yielders, 1);
    end(here, number, wait, site);
}

/* Has this process a handler after which calls are not restarted? Which signal it was nobody says. */
static bool interrupts(void)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        uint64_t mask;
    } action;
    for (int s = 1; s <= 64; s++)
        if (s != 32 && s != 33 && /* libc's own */
            sys_call(SYS_rt_sigaction, s, 0, (long)&action, 8, 0, 0) == 0 && action.handler != SIG_DFL &&
            action.handler != SIG_IGN && !(action.flags & SA_RESTART))
            return true;
    return false;
}

static bool is_over(const struct agent_until *until, uint64_t *ret_left_ns)
{
    struct timespec ts;
    *ret_left_ns = UINT64_MAX;
    if (until->ns == UINT64_MAX)
        return false;
    sys_clock_gettime(until->clock, &ts);
    uint64_t now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
    *ret_left_ns = until->ns > now ? until->ns - now : 0;
    return *ret_left_ns == 0;
}

enum agent_hold_end agent_hold_while(const struct agent_here *here, const struct agent_site *site,
                                     uint32_t (*holds)(const void *), const void *arg, const struct agent_until *until,
                                     bool looks, bool ends)
{
    uint32_t number = holds(arg), first = number;
    enum agent_hold_end how = AGENT_HOLD_RELEASED;
    uint64_t left;
    if (number == AGENT_NONE)
        return how;
    is_over(until, &left);
    struct wedge_arena_wait *wait = begin(here, first, left == UINT64_MAX ? left : sys_now_ns() + left, site);
    while (number != AGENT_NONE) {
        /* Read before the question is asked again: a release in between makes the sleep return at once. */
        uint32_t armed = atomic_load(&agent_arena.rules[number].released), same = number;
        if ((number = holds(arg)) != same)
            continue;
        if (is_over(until, &left)) {
            how = AGENT_HOLD_TIMED_OUT;
            break;
        }
        if (looks && left > AGENT_SHUT_END_NS)
            left = AGENT_SHUT_END_NS;
        long rc = sleep_on(&agent_arena.rules[number].released, armed, left == UINT64_MAX ? left : sys_now_ns() + left,
                           site->cancels);
        if (rc == -EINTR && (ends || interrupts())) {
            how = AGENT_HOLD_INTERRUPTED;
            break;
        }
    }
    end(here, first, wait, site);
    return how;
}

void agent_quiesce(void)
{
    atomic_store(&agent_arena.control->quiesce, 1);
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        atomic_fetch_or(&agent_arena.rules[i].released, 1);
        sys_futex_wake_all(&agent_arena.rules[i].released);
    }
    atomic_fetch_add(&agent_arena.control->released, 1);
    sys_futex_wake_all(&agent_arena.control->released);
}
