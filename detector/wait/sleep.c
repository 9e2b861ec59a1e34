/*
 * Sleeps. A thread that sleeps on purpose is live however long it sleeps: it is no victim, and what waits for it will
 * be served.
 */
#include <sys/syscall.h>

#include "detector/wait/wait.h"

static void decode_sleep(struct wedge_look *look, int thread)
{
    wedge_wait_is(look, thread, WEDGE_WAIT_SLEEP, "the clock wakes it");
    look->snapshot->threads[thread].wait.earliest_ns = 0;
}

static const int sleeps[] = {SYS_nanosleep, SYS_clock_nanosleep, -1};
static const char *const sleep_wchans[] = {"hrtimer_nanosleep",
                                           "do_nanosleep",
                                           "common_nsleep",
                                           "clock_nanosleep",
                                           "alarm_timer_nsleep",
                                           "alarmtimer_do_nsleep",
                                           NULL};
const struct wedge_wait_ops wedge_wait_sleep = {
    .name = "sleep", .calls = sleeps, .wchans = sleep_wchans, .decode = decode_sleep};
