/*
 * What /proc/loadavg says in a few microseconds. Source: loadavg_proc_show in fs/proc/loadavg.c.
 */
#ifndef WEDGE_BASE_LOAD_H
#define WEDGE_BASE_LOAD_H

#include <stdbool.h>

struct wedge_load {
    unsigned long running; /* threads of the machine that run or would like to, the caller's among them */
    /* The last number that was given to a process or thread of the caller's PID namespace, or of one below it: alloc_pid in
     * kernel/pid.c counts through the numbers, and comes to the same one again only after all the others. */
    unsigned long last_born;
};

/* False: not to be had. A container may show a file of its own in the place of the kernel's (lxcfs): nothing that is mounted
 * there is opened, so that it does not block. */
bool wedge_load_read(struct wedge_load *ret);

#endif
