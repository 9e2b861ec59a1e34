/* How long a test waits, where everything takes longer: under valgrind ci/under says how much, in WEDGE_TEST_PACE. */
#ifndef WEDGE_POOL_TESTS_PACE_H
#define WEDGE_POOL_TESTS_PACE_H

#include <stdlib.h>

static inline int paced_ms(int ms)
{
    const char *pace = getenv("WEDGE_TEST_PACE");
    int factor = pace ? atoi(pace) : 1;
    return factor > 1 ? ms * factor : ms;
}

#endif
