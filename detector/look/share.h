/*
 * The same small work many times over, on two processors where there are two: reading /proc takes longer than everything else
 * in a look, and two threads read it nearly twice as quickly.
 */
#ifndef WEDGE_DETECTOR_SHARE_H
#define WEDGE_DETECTOR_SHARE_H

#include <stddef.h>

/* Called once for each number below n, by either thread, in no order. It must not allocate. */
typedef void wedge_share_fn(void *arg, size_t i);

/* `threads`: 1 the caller alone, 2 with one besides, for work that is worth it. All is done when it returns, and nobody
 * touches `arg` any more; the other thread may not have come to its end, or to its beginning, on a busy machine. */
void wedge_share(int threads, size_t n, wedge_share_fn *work, void *arg);

#endif
