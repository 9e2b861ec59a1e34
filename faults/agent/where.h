/*
 * WHERE: functions by their names, patterns of paths.
 *
 * The ranges of a function are read from the files of the loaded modules, in the constructor and after dlopen, once
 * per module, into static memory; a pass only compares addresses. A module without .symtab tells its exported
 * functions alone; an inlined function has no range, and one that ends in a jump is not on the stack: neither is
 * found here. Parts that a compiler splits off (NAME.cold, NAME.part.0) count as the function.
 */
#ifndef WEDGE_FAULTS_AGENT_WHERE_H
#define WEDGE_FAULTS_AGENT_WHERE_H

#include "faults/agent/agent.h"

/* Whose function: the number of a list of ranges. */
#define AGENT_RANGES_CALLER 0u /* + number of the rule */
#define AGENT_RANGES_IN     WEDGE_ARENA_RULES /* + number of the rule */
#define AGENT_RANGES_DEFINE (2u * WEDGE_ARENA_RULES) /* + number of the define */
#define AGENT_RANGES_COUNT  (2u * WEDGE_ARENA_RULES + WEDGE_ARENA_DEFINES)

/* In the constructor: what can be worked out once. */
void agent_where_prepare(void);
void agent_where_begin(void);
extern uint8_t agent_path_arguments[WEDGE_FN_COUNT]; /* the parameter that is a path, from 1; 0 none */
/* Finds the functions of all rules and defines in the modules that were not there before; forgets modules that are
 * gone. System calls: open, fstat, mmap, munmap, close. From the constructor and after dlopen. */
void agent_where_resolve(void);
/* Does the return address lie in a function of that list? */
bool agent_is_in(uint32_t list, uint64_t return_address);
/* Is one of them on the stack of this pass, 64 frames deep? Microseconds. */
bool agent_stack_has(uint32_t list);
/* Does the address lie in a sanitizer's runtime, which stands before us and calls what the program called? Then the
 * program's own return address, `caller` if it is not to be had. Microseconds. False, and not needed, without lists. */
bool agent_is_runtime(uint64_t address);
extern _Atomic uint32_t agent_runtimes; /* how many pieces of such code there are, known only if there are lists */
uint64_t agent_caller_behind(uint64_t caller);
/* fnmatch(3) without flags, of a pattern of at most `size` bytes. */
bool agent_glob(const char *pattern, size_t size, const char *text);
/* fd= and argN, which need no more than the words of the call. */
bool agent_where_words(const struct wedge_arena_rule *rule, enum wedge_object_kind kind, uint64_t object,
                       const uint64_t *args, unsigned n_args);
/* All clauses of the rule's WHERE but in=, which costs more than what the rule asks otherwise. */
bool agent_where(const struct agent_here *here, uint32_t rule, struct agent_site *site);

#endif
