/*
 * What /proc/loadavg says in a few microseconds. Source: loadavg_proc_show in fs/proc/loadavg.c.
 */
#ifndef WEDGE_BASE_LOAD_H
#define WEDGE_BASE_LOAD_H

#include <stdbool.h>
#include <stdint.h>

struct wedge_load {
    unsigned long running; /* threads of the machine that run or would like to, the caller's among them */
    /* The last number that was given to a process or thread of the caller's PID namespace, or of one below it: alloc_pid in
     * kernel/pid.c counts through the numbers, and comes to the same one again only after all the others. Not to one that was
     * born with a chosen number (set_tid of clone3(2), root's alone). */
    unsigned long last_born;
};

/* False: not to be had. A container may show a file of its own in the place of the kernel's (lxcfs): nothing that is mounted
 * there is opened, so that it does not block. */
bool wedge_load_read(struct wedge_load *ret);

/* How many processes and threads were born since the machine began, in every namespace and whatever their numbers: total_forks of
 * kernel/fork.c, in /proc/stat. Some 20 µs, with hundreds of processors a few ms. 0: not to be had, for the same reasons. */
uint64_t wedge_load_births(void);
/* Those of them that were this process's own doing: what jobs (base/job.h) and wedge_share made. Neither more nor less, so that
 * who subtracts them knows of all others. Any thread. */
void wedge_load_count_own_birth(void);
uint64_t wedge_load_own_births(void);

#endif
