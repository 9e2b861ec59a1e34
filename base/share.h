/*
 * The same small work many times over, on two processors where one has nothing else to do: reading /proc takes longer than
 * everything else in a look, and two threads read it nearly twice as quickly. On a busy machine the second would be waited for.
 */
#ifndef WEDGE_BASE_SHARE_H
#define WEDGE_BASE_SHARE_H

#include <stdbool.h>
#include <stddef.h>

/* Called once for each number below n, by either thread, in no order. */
typedef void wedge_share_fn(void *arg, size_t i);

/* Works through all n, `piece` of them at a time; by the caller alone unless a processor is idle. All is done when it returns, and
 * nobody touches `arg` any more; the other thread may not have come to its end, or to its beginning. Blocks while the other
 * one does its last piece. To start it takes some 50 µs. */
void wedge_share(size_t n, size_t piece, wedge_share_fn *work, void *arg);
/* The same where the caller knows whether another thread is to help. */
void wedge_share_with(bool another, size_t n, size_t piece, wedge_share_fn *work, void *arg);

#endif
