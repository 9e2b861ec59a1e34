/* A function that may never return, run in a thread of its own, for which one waits no longer than a limit. */
#ifndef WEDGE_POOL_HELPER_H
#define WEDGE_POOL_HELPER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Runs `run` with a copy of `bytes` bytes at `arg` and waits for it until `until_ns` (CLOCK_MONOTONIC). 0: *ret is what it
 * returned. -ETIMEDOUT: it is left behind, and goes on by itself; its copy is freed when it returns, if ever. -ENOMEM, or
 * a negative errno of pthread_create(3): it was not run. Not in a signal handler.
 */
int wedge_helper_run(int (*run)(const void *arg), const void *arg, size_t bytes, int64_t until_ns, int *ret);

#endif
