/*
 * Objects that a rule has shut: `full`, no room for those who put into it; `empty`, nothing for those who take from it.
 * The word in the object's row (arena.h) names the rule, so that every process that has the object sees it, and the
 * release of the rule, or a quiesce, opens all of its objects by itself.
 *
 * Who would wait is held by the agent, or gets what the call gives when it must not wait, or when its time is over.
 * Those who look (poll, select, epoll) are not told that a shut descriptor is ready; what else they look at goes on.
 * A descriptor whose other end is closed counts as open again: the call then says so by itself, as it would of a pipe
 * that is full indeed. While something is shut, a look lasts AGENT_SHUT_LOOK_NS at most, which is how late a release is
 * noticed there; a hold wakes at the release at once, and notices a closed end every AGENT_SHUT_END_NS.
 *
 * Safe in threads, signal handlers and forked children; system calls only where something is shut.
 */
#ifndef WEDGE_FAULTS_AGENT_SHUT_H
#define WEDGE_FAULTS_AGENT_SHUT_H

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

#include "faults/agent/agent.h"

#define AGENT_SHUT_LOOK_NS 5000000u
#define AGENT_SHUT_END_NS  20000000u
#define AGENT_SHUT_FULL    1u
#define AGENT_SHUT_EMPTY   2u

/* Which functions must look whether their object is shut. Adds their bits. From the constructor. */
void agent_shut_watch(uint64_t functions[WEDGE_RULE_FUNCTIONS_WORDS]);
extern uint8_t agent_shut_roles[WEDGE_FN_COUNT]; /* 0: none */
/* The action. */
void agent_shut(const struct agent_here *here, uint32_t rule, unsigned side, struct agent_site *site);
/* The rule that has shut this side of the row, AGENT_NONE none. */
uint32_t agent_shut_by(uint32_t row, unsigned side);
/* Before the effect of a function with a role: holds the thread, or answers. */
void agent_shut_hold(struct agent_call *call);
/* Makes the call itself, if it is one that looks, and answers with what it gave. */
void agent_shut_look(struct agent_call *call);

/* Sides of a descriptor that are shut and not ended. */
unsigned agent_shut_sides(int fd);
/* The events among `events` that a descriptor with these sides shut must not show. */
unsigned agent_shut_events(unsigned sides, unsigned events);

/* All signals of the thread are kept back save while it looks, so that none falls between two looks unnoticed. */
struct agent_shut_signals {
    bool blocked;
    sigset_t own; /* valid while blocked */
};
void agent_shut_block_signals(struct agent_shut_signals *signals);
void agent_shut_unblock_signals(struct agent_shut_signals *signals);
/* How long a look may last: until `deadline_ns` (UINT64_MAX none), `briefly` AGENT_SHUT_LOOK_NS at most. */
uint64_t agent_shut_left_ns(uint64_t deadline_ns, bool briefly);

/* shut_poll.c, shut_epoll.c: the calls themselves. */
int64_t agent_shut_poll(struct agent_call *call);
int64_t agent_shut_select(struct agent_call *call);
int64_t agent_shut_epoll(struct agent_call *call);
void agent_shut_epoll_control(int set, int operation, int fd, const struct epoll_event *event);
void agent_shut_epoll_refused(uint32_t row); /* a call about a descriptor of this row was told not to wait */
/* Tells the kernel not to report what is shut, and to report again what is not any more. Returns whether something is
 * left out now. */
bool agent_shut_epoll_arrange(int set);
void agent_shut_epoll_restore(int set); /* the set is as the program wants it again */

#endif
