/*
 * What a stop does to the wait of a thread. No state; any thread may call these.
 */
#ifndef WEDGE_DETECTOR_DISTURB_H
#define WEDGE_DETECTOR_DISTURB_H

#include "detector/model.h"

/* When a stop and a continuation end the call that this thread waits in although no signal is handled: "always", or under
 * which condition, which cannot be seen from outside. NULL: the kernel restarts it. */
const char *wedge_stop_sees_eintr(const struct wedge_thread *t);

/* Does a stop end this wait for certain? */
bool wedge_stop_ends_wait(const struct wedge_thread *t);

#endif
