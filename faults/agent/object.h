/*
 * Objects: which mutex, semaphore, pipe … a call is about, and since when. They are kept in the arena's OBJECTS, and
 * only those that the plan (a define, obj=, per=obj, full, empty) or the record of holders needs.
 *
 * Identity. An address is an object of its process; if it is process-shared (by its attribute or pshared argument) it
 * stays the same object in the children forked later, and otherwise a forked child has a copy, with its own counters
 * but the same defines. A descriptor is looked up in a private table that fork copies by itself. What was
 * made unseen (PTHREAD_MUTEX_INITIALIZER, a descriptor that was there) is made by its first use.
 *
 * Who may call what: everything in any thread, signal handler and forked child; nothing allocates, locks or makes a
 * system call, save where said. In a vfork child all of them do nothing and find what its parent would.
 * Limits: one shared object at two addresses is two objects; a descriptor received over a socket (SCM_RIGHTS) or
 * made by libc itself (fopen, popen) is not seen being made; a mutex whose memory is freed without a destroy is
 * taken for the one that a later owner of that memory initialises statically.
 */
#ifndef WEDGE_FAULTS_AGENT_OBJECT_H
#define WEDGE_FAULTS_AGENT_OBJECT_H

#include "faults/agent/agent.h"

#define AGENT_OBJECTS_MOST 4095 /* rows that an entry of the table of descriptors can tell apart */
#define AGENT_DESCRIPTORS  4096 /* numbers from here on are not followed: counted as lost_objects */

/* Which functions need a look at each call: makers, copiers and destroyers of the kinds that are kept, and for
 * addresses all who use them. Adds their bits. From the constructor, before agent_arm_functions tells wrappers. */
void agent_object_watch(uint64_t functions[WEDGE_RULE_FUNCTIONS_WORDS]);
/* By agent_enter and agent_leave, for functions with a role here: before the rules, when the effect is about to happen,
 * and with what it returned. */
extern uint8_t agent_object_roles[WEDGE_FN_COUNT]; /* 0: none */
void agent_object_before(struct agent_call *call);
void agent_object_effect(struct agent_call *call);
void agent_object_after(struct agent_call *call, int64_t result);

/* Which of a row's words in OBJ_COUNTS each rule counts in. */
#define AGENT_NO_SLOT 255u
extern uint8_t agent_object_slots[WEDGE_ARENA_RULES];

/* The luck of an object that this thread makes now: the same in each run in which the thread makes the same objects. */
uint32_t agent_object_luck(const struct agent_here *here, enum wedge_object_kind kind);

/* A row of OBJECTS, or AGENT_NONE: not kept, or no room was left (counted). */
uint32_t agent_object_made(const struct agent_here *here, enum wedge_object_kind kind, uint64_t number, bool shared,
                           uint64_t caller);
uint32_t agent_descriptor_made(const struct agent_here *here, int fd, enum wedge_define_made made, uint64_t caller,
                               const char *path);
/* Both ends of a pipe or a pair of sockets, one object. */
uint32_t agent_descriptors_made(const struct agent_here *here, const int ends[2], enum wedge_define_made made,
                                uint64_t caller);
void agent_descriptor_copied(const struct agent_here *here, int from, int to); /* `to` was closed if it was open */
/* Before the real close: afterwards the number may be another's. */
void agent_descriptor_closed(const struct agent_here *here, int fd);
void agent_descriptors_closed(const struct agent_here *here, unsigned first, unsigned last);
void agent_object_gone(const struct agent_here *here, enum wedge_object_kind kind, uint64_t number);

/* The row of what is there already. */
uint32_t agent_object_of(const struct agent_here *here, enum wedge_object_kind kind, uint64_t number);
/* The same; what is not there yet is made by this use. */
uint32_t agent_object_at(const struct agent_here *here, enum wedge_object_kind kind, uint64_t number, uint64_t caller);
/* Of the object that the pass is about, looked up once per pass. */
uint32_t agent_site_object(const struct agent_here *here, struct agent_site *site);
/* 1: the end of a pair that was given second (of a pipe the one to write to). */
unsigned agent_descriptor_end(int fd);

/* The process of that ordinal begins: by fork, or (`image`) by exec, which leaves nothing of what was. */
void agent_objects_born(uint32_t ordinal, uint64_t since_ns, bool image);
/* The process is about to end: its descriptors are no references any more. */
void agent_objects_leave(void);
/* Over fork: before it, by the parent; and when it failed. */
void agent_objects_before_fork(void);
void agent_objects_fork_failed(void);
/* Over exec, vfork and spawn: notes by which file each kept descriptor can be found again. System calls: fstat. */
void agent_objects_before_exec(void);
/* Over exec by the process itself: the same, and it has no references any more; and when that failed. */
void agent_objects_become(void);
void agent_objects_become_failed(void);
/* In the constructor of an image: takes up the descriptors that it inherited. System calls: fstat and such. */
void agent_objects_inherit(void);

#endif
