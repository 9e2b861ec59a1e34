/* The coverage build's counters, which _exit would lose (gcc: __gcov_dump). Nothing in the other builds. */
#ifndef WEDGE_POOL_COUNTERS_H
#define WEDGE_POOL_COUNTERS_H

#ifdef WEDGE_COVERAGE
void __gcov_dump(void);
static inline void wedge_counters_save(void)
{
    __gcov_dump();
}
#else
static inline void wedge_counters_save(void) {}
#endif

#endif
