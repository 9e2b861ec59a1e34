/* Clocks. Async-signal-safe, no errors on Linux for these clocks. */
#ifndef WEDGE_BASE_CLOCK_H
#define WEDGE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define WEDGE_NS_PER_MS 1000000ll
#define WEDGE_NS_PER_S  1000000000ll

/* CLOCK_MONOTONIC in nanoseconds: does not count while the machine is suspended. */
static inline int64_t wedge_clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * WEDGE_NS_PER_S + ts.tv_nsec;
}

#endif
