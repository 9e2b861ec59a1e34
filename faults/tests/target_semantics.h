/* Between the two files of the target program for the semantics of actions. */
#ifndef WEDGE_FAULTS_TESTS_TARGET_SEMANTICS_H
#define WEDGE_FAULTS_TESTS_TARGET_SEMANTICS_H

#include <errno.h>
#include <stdbool.h>
#include <time.h>

#include "faults/tests/target_say.h"

static inline void must(bool good)
{
    if (!good) {
        say("errno %d\n", errno);
        abort();
    }
}

static inline struct timespec in_ms(clockid_t clock, long ms)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    ts.tv_nsec += ms * 1000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;
    return ts;
}

/* target_semantics_once.c */
void mode_spurious(void);
void mode_corrupt(char **argv);
void mode_child(void);
void mode_stop(void);

#endif
