/*
 * Slots of processes: found, claimed for one that is born, noted as about to become another program. What the process
 * itself keeps (its page, its threads) is in state.c, which calls these; see struct wedge_arena_birth for who claims what.
 * Everything in any thread, signal handler and forked child; system calls only where the name has `own` in it.
 */
#ifndef WEDGE_FAULTS_AGENT_BIRTH_H
#define WEDGE_FAULTS_AGENT_BIRTH_H

#include "faults/agent/agent.h"

extern uint64_t agent_program; /* inode of the program that runs, 0 not known */

/* One of `count` records whose generation is 0, now odd and ours; AGENT_NONE. */
uint32_t agent_claim(_Atomic uint32_t *first_gen, size_t stride, uint32_t count, uint32_t from);
void agent_clear_counts(uint32_t row);

struct agent_birth {
    int32_t pid; /* 0 not known yet */
    uint32_t parent, nth, state, ordinal;
    uint64_t start_ticks;
};
/* Claims and fills a slot. AGENT_NONE: none is left, which is counted. */
uint32_t agent_claim_process(const struct agent_birth *birth);
void agent_announce_process(uint32_t slot);
uint32_t agent_next_ordinal(void);

uint64_t agent_own_start_ticks(void); /* field 22 of /proc/self/stat, 0 not known; from the constructor */
/* The slot of a process by its number; what checked in before that process was born was an earlier one. Those two times
 * of `start_ticks` and `not_before` are 0 where they are not known. */
uint32_t agent_find_process(int32_t pid, uint64_t start_ticks, uint64_t not_before);
/* The slot that this program was born for, if somebody saw it being born. */
uint32_t agent_find_born(uint32_t given, int32_t pid, uint64_t start_ticks, uint32_t parent);

/* state.c: counts a child of the process, and which child by vfork the calling thread is or has made last. */
uint32_t agent_give_ordinal(const struct agent_here *here);
uint32_t agent_vfork_ordinal(void);

#endif
