/*
 * Plans: which faults happen, to whom, where and when. A plan is text (one line is one fault), is checked in full
 * before anything runs, and is compiled into the rules of the arena, which the agent matches with comparisons alone.
 *
 * What the agent cannot do is refused here with the place in the text and what is possible instead; nothing is
 * accepted and then ignored. The language is described beside its parser, in faults/plan.c.
 */
#ifndef WEDGE_FAULTS_PLAN_H
#define WEDGE_FAULTS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "faults/functions.h"

struct wedge_plan;

/* Parses `text` (NUL-terminated). `file` is the name for messages, NULL: "plan". On success the caller owns *ret
 * (wedge_plan_free). -EINVAL with file, line and column; -ENOMEM. Does not block; one plan per call, no state. */
int wedge_plan_parse(const char *file, const char *text, struct wedge_plan **ret, struct wedge_err *err);
void wedge_plan_free(struct wedge_plan *plan); /* takes NULL */

size_t wedge_plan_count(const struct wedge_plan *plan); /* rules */
const char *wedge_plan_id(const struct wedge_plan *plan, size_t i); /* of rule i; NULL past the end */
const char *wedge_plan_text(const struct wedge_plan *plan, size_t i); /* its line, cut at 191 bytes; NULL */
bool wedge_plan_must_fire(const struct wedge_plan *plan, size_t i); /* unfired makes the run invalid */
/* That rule need not fire, nor be able to. false: there is none. */
bool wedge_plan_excuse(struct wedge_plan *plan, const char *id);
bool wedge_plan_has_seed(const struct wedge_plan *plan);
uint64_t wedge_plan_seed(const struct wedge_plan *plan); /* 0 when none is given */

/* Writes rules, names and seed (where the plan gives one) into an arena that no process uses yet. -ENOSPC when the
 * name table is full. */
int wedge_plan_install(const struct wedge_plan *plan, const struct wedge_arena *arena, struct wedge_err *err);

/*
 * What an action at a function says about a program that it breaks: see faults/plan_legality.c. Pure, for the listings,
 * the census and the search.
 */
enum wedge_legality { WEDGE_LEGAL, WEDGE_ENVIRONMENTAL, WEDGE_ILLEGAL };
extern const char *const wedge_legality_words[]; /* by enum wedge_legality, then NULL */
/* Is the action possible at the function at all, by the tables? */
bool wedge_plan_allows(enum wedge_function function, enum wedge_rule_action action);
/* `arg` is that of the compiled rule: an errno, a value, …; it counts for errno and return alone. Of a possible action. */
enum wedge_legality wedge_plan_legality(enum wedge_function function, enum wedge_rule_action action, int64_t arg);
/* Of rule i (which must exist): the worst of its functions, which *ret_function is then; WEDGE_FN_COUNT when the rule
 * names none. */
enum wedge_legality wedge_plan_rule_legality(const struct wedge_plan *plan, size_t i,
                                             enum wedge_function *ret_function);

/* The words of the language, NULL-terminated, for listings. */
extern const char *const wedge_plan_actions[];
/* What a function is about, as a plan would say it: "descriptor", "mutex", …, "no object". */
const char *wedge_plan_kind_word(enum wedge_object_kind kind);

#endif
