/*
 * timerfds: readable once their time has come. One that is armed ends the wait by the clock; whoever has the same
 * descriptor may arm it, or arm it anew.
 *
 * Source: timerfd_create(2); proc(5): it_value in fdinfo is what is left, ticks what has come and was not read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "detector/wait/descriptor.h"

static void wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    char text[1024];
    uint64_t ticks, s, ns;
    unsigned flags;
    const char *line = wedge_descriptor_info(look, wait, text, sizeof(text)) > 0 ? strstr(text, "\nticks:") : NULL;
    if (!line || sscanf(line, "\nticks: %" SCNu64 "\nsettime flags: %o\nit_value: (%" SCNu64 ", %" SCNu64 ")", &ticks,
                        &flags, &s, &ns) != 4) {
        wedge_descriptor_by_outside(look, wait, "its timerfd cannot be read");
        return;
    }
    bool armed = s || ns;
    snprintf(wait->describe, sizeof(wait->describe), "timerfd, descriptor %d (%s)", wait->fd->number,
             armed ? "armed" : "not armed");
    wait->class = WEDGE_WAIT_EVENT;
    wait->reason = armed ? "the clock wakes it" : "somebody must arm it";
    if (ticks)
        wedge_descriptor_is_ready(wait, "its timer has expired: it is about to wake");
    if (armed)
        wedge_wait_in(look, wait->thread,
                      s > INT64_MAX / WEDGE_NS_PER_S - 1 ? INT64_MAX : (int64_t)(s * WEDGE_NS_PER_S + ns));
    if (flags & TFD_TIMER_CANCEL_ON_SET)
        wedge_descriptor_by_outside(look, wait, "a change of the clock ends it");
    wedge_descriptor_by_process(look, wait, look->snapshot->procs[look->snapshot->threads[wait->thread].proc].pid,
                                "may arm it");
    wedge_descriptor_by_sharers(look, wait, "may arm it");
    look->threads[wait->thread].assumptions |= WEDGE_ASSUME_COMPLETE_VIEW;
}

/* Here, and in older kernels. */
static const char *const wchans[] = {"wait_intr_irq", "timerfd", NULL};
const struct wedge_descriptor_class wedge_descriptor_timerfd = {
    .kind = WEDGE_FD_TIMERFD, .wchans = wchans, .wakers = wakers};
