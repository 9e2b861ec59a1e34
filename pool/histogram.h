/*
 * A histogram of times: eight steps to each doubling, so that a percentile is right to within an eighth. One writer
 * (plain store of what it loaded), any number of readers, no lock; or several writers by wedge_histogram_add_shared.
 *
 *   step s counts values v with  wedge_histogram_from(s) <= v < wedge_histogram_from(s + 1)
 *
 * Below 8 ns a step is 1 ns; the last one, from 34 minutes on, takes all that is longer.
 */
#ifndef WEDGE_POOL_HISTOGRAM_H
#define WEDGE_POOL_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define WEDGE_HISTOGRAM_STEPS 312

struct wedge_histogram {
    _Atomic uint64_t sum_ns, longest_ns;
    _Atomic uint64_t counts[WEDGE_HISTOGRAM_STEPS];
};

static inline uint32_t wedge_histogram_step(uint64_t ns)
{
    if (ns < 8)
        return (uint32_t)ns;
    uint32_t top = 63 - (uint32_t)__builtin_clzll(ns); /* 3 or more */
    uint32_t step = (top - 2) * 8 + (uint32_t)(ns >> (top - 3) & 7);
    return step < WEDGE_HISTOGRAM_STEPS ? step : WEDGE_HISTOGRAM_STEPS - 1;
}

static inline uint64_t wedge_histogram_from(uint32_t step)
{
    return step < 8 ? step : (uint64_t)(8 + step % 8) << (step / 8 - 1);
}

/* The one writer's: relaxed, since a reader takes each count by itself. */
static inline void wedge_histogram_add(struct wedge_histogram *h, uint64_t ns)
{
    _Atomic uint64_t *count = &h->counts[wedge_histogram_step(ns)];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
    atomic_store_explicit(&h->sum_ns, atomic_load_explicit(&h->sum_ns, memory_order_relaxed) + ns,
                          memory_order_relaxed);
    if (ns > atomic_load_explicit(&h->longest_ns, memory_order_relaxed))
        atomic_store_explicit(&h->longest_ns, ns, memory_order_relaxed);
}

static inline void wedge_histogram_add_shared(struct wedge_histogram *h, uint64_t ns)
{
    uint64_t longest = atomic_load_explicit(&h->longest_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->counts[wedge_histogram_step(ns)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_ns, ns, memory_order_relaxed);
    while (ns > longest && !atomic_compare_exchange_weak_explicit(&h->longest_ns, &longest, ns, memory_order_relaxed,
                                                                  memory_order_relaxed))
        ;
}

/* Several histograms as a reader added them up. Plain memory, the reader's own. */
struct wedge_times {
    uint64_t count, sum_ns, longest_ns;
    uint64_t counts[WEDGE_HISTOGRAM_STEPS];
};

/* Counts are read one by one while writers go on: `count` is the sum of those that were read, whatever sum_ns says. */
static inline void wedge_times_add(struct wedge_times *times, const struct wedge_histogram *histogram)
{
    struct wedge_histogram *h = (struct wedge_histogram *)(uintptr_t)histogram; /* atomic_load wants it so */
    uint64_t longest_ns = atomic_load_explicit(&h->longest_ns, memory_order_relaxed);
    for (uint32_t i = 0; i < WEDGE_HISTOGRAM_STEPS; i++) {
        uint64_t n = atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        times->counts[i] += n;
        times->count += n;
    }
    times->sum_ns += atomic_load_explicit(&h->sum_ns, memory_order_relaxed);
    if (longest_ns > times->longest_ns)
        times->longest_ns = longest_ns;
}

/*
 * The time that `per_mille` of 1000 did not exceed: the end of the step in which that one lies, and never more than the
 * longest, so an eighth too long at most. 0 without any.
 */
static inline uint64_t wedge_times_at(const struct wedge_times *times, uint32_t per_mille)
{
    /* The rank, from 1, rounded up, without overflow for any count. */
    uint64_t rank = times->count / 1000 * per_mille + (times->count % 1000 * per_mille + 999) / 1000, seen = 0;
    if (times->count == 0)
        return 0;
    if (rank == 0)
        rank = 1;
    for (uint32_t i = 0; i < WEDGE_HISTOGRAM_STEPS - 1; i++) {
        seen += times->counts[i];
        if (seen >= rank) {
            uint64_t end_ns = wedge_histogram_from(i + 1) - 1;
            return end_ns < times->longest_ns ? end_ns : times->longest_ns;
        }
    }
    return times->longest_ns;
}

#endif
