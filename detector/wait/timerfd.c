/*
 * timerfds: readable once their time has come. One that is armed ends the wait by the clock; whoever has the same
 * descriptor may arm it, or arm it anew.
 *
 * Source: timerfd_create(2); proc(5): it_value in fdinfo is what is left, ticks what has come and was not read.
 */
#include <stdio.h>
#include <sys/timerfd.h>

#include "detector/kernel/fdinfo.h"
#include "detector/wait/descriptor.h"

static void wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    char text[1024];
    struct wedge_fdinfo_timer timer;
    if (wedge_descriptor_info(look, wait, text, sizeof(text)) <= 0 || !wedge_fdinfo_timer(text, &timer)) {
        wedge_descriptor_by_outside(look, wait, "its timerfd cannot be read");
        return;
    }
    bool armed = timer.left_ns > 0;
    snprintf(wait->describe, sizeof(wait->describe), "timerfd, descriptor %d (%s)", wait->fd->number,
             armed ? "armed" : "not armed");
    wait->class = WEDGE_WAIT_EVENT;
    wait->reason = armed ? "the clock wakes it" : "somebody must arm it";
    if (timer.ticks)
        wedge_descriptor_is_ready(wait, "its timer has expired: it is about to wake");
    if (armed)
        wedge_wait_in(look, wait->thread, timer.left_ns);
    if (timer.flags & TFD_TIMER_CANCEL_ON_SET)
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
