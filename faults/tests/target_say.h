/* What the target programs of the tests share. */
#ifndef WEDGE_FAULTS_TESTS_TARGET_SAY_H
#define WEDGE_FAULTS_TESTS_TARGET_SAY_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One write a line, so that a kill leaves whole lines, and not through a wrapper: the tests inject faults into write. */
static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
    char line[128];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (syscall(SYS_write, 1, line, n) != n)
        abort();
}

static inline int number(char **argv, int i, int otherwise)
{
    return argv[i] ? atoi(argv[i]) : otherwise;
}

#endif
