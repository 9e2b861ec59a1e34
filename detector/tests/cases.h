/*
 * Tables over the factory's cases: what must be said of a hang, and of a program that only looks like one. Each check
 * ends the test when something else is said.
 */
#ifndef WEDGE_DETECTOR_TESTS_CASES_H
#define WEDGE_DETECTOR_TESTS_CASES_H

#include <check.h>

#include "detector/tests/harness.h"

struct hang {
    const char *name; /* of the factory's case */
    enum wedge_verdict_kind kind;
    enum wedge_certainty certainty;
    enum wedge_scope scope;
    size_t victims;
    const char *call; /* of the first victim: the outermost libc function; NULL: it is in none */
    const char *words; /* in the summary */
    const char *culprit; /* "f|g": each culprit is in one of these functions; NULL: nobody is left to blame */
};
/* Kind, certainty, scope, victims and how many culprits, with nothing stopped for it. */
void hang_check_without_stacks(const struct hang *hang);
/* The words, the culprit and the signature, the same for two programs. */
void hang_check_with_stacks(const struct hang *hang);

/* Each culprit is in one of the functions, and each function has one. */
void cases_check_culprits(const char *name, const char *culprit, const struct wedge_snapshot *s);

/* How many times each case is to be tried: WEDGE_CASES_REPEAT in the environment, 1 without. */
int cases_repeats(void);
/* Lines for ci/twenty, in the file that WEDGE_CASES_TABLE names: so many tries are to come of a case; one was right. `how`
 * says what was tried of it. */
void cases_asked(const char *how, const char *name, int tries);
void cases_right(const char *how, const char *name, const struct wedge_verdict *v, const char *culprit);
/* Examines until the hang has this many victims: a set may still be growing when it is first seen (a thread on its
 * way into its wait). */
struct wedge_snapshot *examine_until_all(pid_t pid, size_t victims, enum wedge_stacks stacks);

struct healthy {
    const char *name;
    bool may_be_evident; /* the rules say so much and no more: posix-owner, a caught SIGALRM */
    enum wedge_wait_class waits; /* some thread must have been seen in this wait, else nothing was tested */
};
/* Examined many times while it runs: never a hang, or where the rules allow it never a proved one. */
void healthy_check(const struct healthy *healthy);

/* A test binary of one family: every hang with and without stacks, every healthy case, and what `more` adds (NULL:
 * nothing). Returns main's exit status. */
int cases_main(const char *suite, const struct hang *hangs, size_t n_hangs, const struct healthy *healthy,
               size_t n_healthy, void (*more)(TCase *));

#endif
