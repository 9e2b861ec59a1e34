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
    const char *culprit; /* a function on the stack of a culprit; NULL: not asked */
};
/* Kind, certainty, scope and victims, with nothing stopped for it. */
void hang_check_without_stacks(const struct hang *hang);
/* The words and the signature, the same for two programs. */
void hang_check_with_stacks(const struct hang *hang);
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
