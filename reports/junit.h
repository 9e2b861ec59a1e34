/*
 * JUnit for CI systems: one testsuite, one testcase per check. The file on disk is whole and well-formed at every
 * moment: it is written anew as each case comes and at the end. Until then it has a last testcase, an error, that says so:
 * what a killed run leaves does not pass for a good one.
 */
#ifndef WEDGE_REPORTS_JUNIT_H
#define WEDGE_REPORTS_JUNIT_H

#include "base/err.h"

enum wedge_junit_status { WEDGE_JUNIT_PASSED, WEDGE_JUNIT_FAILED, WEDGE_JUNIT_ERROR, WEDGE_JUNIT_SKIPPED };

struct wedge_junit_case { /* texts are copied, escaped by the writer */
    const char *name, *classname;
    double seconds;
    enum wedge_junit_status status;
    const char *message; /* NULL none: why it failed, or what was seen */
    const char *details; /* NULL none: several lines */
};

struct wedge_junit;

/* Begins `dir`/junit.xml (made if need be). */
int wedge_junit_open(const char *dir, const char *suite, struct wedge_junit **ret, struct wedge_err *err);
int wedge_junit_add(struct wedge_junit *junit, const struct wedge_junit_case *result, struct wedge_err *err);
/* Writes the whole and frees, also when it fails. `missing`: why something that was asked for is not in it, an error; NULL nothing
 * is. Takes a NULL junit. */
int wedge_junit_close(struct wedge_junit *junit, const char *missing, struct wedge_err *err);

#endif
