/* Included before everything else of the corpus (-include): the same programs, in the order in which nothing hangs. A thread
 * runs to its end before the next line of who started it, and no barrier makes anyone meet. This is the run that a test
 * suite sees on a good day, and a tool for locks may still learn from it. Processes are not put into an order. */
#ifndef WEDGE_BENCH_COMPARE_LUCKY_H
#define WEDGE_BENCH_COMPARE_LUCKY_H

#include <pthread.h>

static inline int lucky_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    int error = pthread_create(ret, attr, fn, arg);
    return error ? error : pthread_join(*ret, NULL);
}

#define pthread_create                         lucky_create
#define pthread_join(thread, ret)              ((void)(thread), (void)(ret), 0) /* it has been */
#define pthread_barrier_init(barrier, attr, n) pthread_barrier_init(barrier, attr, 1)

#endif
