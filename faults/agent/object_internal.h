/* Between the rows (object.c), the table of descriptors (descriptor.c) and the calls (object_calls.c). */
#ifndef WEDGE_FAULTS_AGENT_OBJECT_INTERNAL_H
#define WEDGE_FAULTS_AGENT_OBJECT_INTERNAL_H

#include "faults/agent/object.h"
#include "faults/agent/where.h"

extern uint32_t agent_object_kept; /* kinds of which every object has a row, one bit each; others only if defined */

struct agent_making {
    enum wedge_define_made made;
    uint64_t caller;
    const char *path; /* NULL none */
    uint32_t flags; /* WEDGE_OBJECT_… */
    uint32_t defines; /* once counted */
    bool counted; /* the defines have been asked, which counts */
    uint32_t refs; /* kind FD */
    uint32_t luck; /* agent_object_luck; 0: found */
};
/* Which defines this object is, one bit each. Counts it for their nth. */
uint32_t agent_object_defines(const struct agent_making *making, enum wedge_object_kind kind);
/* A new row, or that of the same key which somebody else has just made. AGENT_NONE: no room, counted. */
uint32_t agent_object_new(const struct agent_here *here, enum wedge_object_kind kind, uint64_t number,
                          struct agent_making *making);
void agent_object_retire(uint32_t row);

void agent_object_forget_image(void); /* what exec has unmapped */
extern bool agent_object_follows; /* descriptors are followed */

/* descriptor.c */
uint32_t agent_descriptor_row(int64_t fd);
void agent_descriptors_born(void); /* a child has references of its own, whatever its parent was about to do */
uint32_t agent_descriptor_found(const struct agent_here *here, int64_t fd, uint64_t caller);

#endif
