/*
 * What the agent lends to the object of the malloc family: its decision, and what it knows of the rules. Both are
 * built together and preloaded together; the version of the symbol keeps others off.
 */
#ifndef WEDGE_FAULTS_AGENT_INTERFACE_H
#define WEDGE_FAULTS_AGENT_INTERFACE_H

#include "faults/agent/agent.h"

struct wedge_agent_interface {
    const _Atomic uint64_t *armed; /* WEDGE_RULE_FUNCTIONS_WORDS words: functions that a rule names */
    __typeof__(agent_enter) *enter;
    __typeof__(agent_result) *result;
    __typeof__(agent_leave) *leave;
    void (*unreachable)(void); /* the process has an allocator before ours: rules for the family cannot act in it */
};
extern AGENT_EXPORT const struct wedge_agent_interface wedge_agent_interface;

#endif
