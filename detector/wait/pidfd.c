/*
 * pidfds: readable once their process has ended.
 */
#include <stdio.h>
#include <string.h>

#include "detector/kernel/fdinfo.h"
#include "detector/wait/descriptor.h"

/* "Pid: -1" of fdinfo: it has ended and was reaped; 0: it is of a PID namespace that we do not see (pidfd_open(2)). */
static void wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    char text[1024];
    int pid = 0;
    const struct wedge_machine_proc *m = NULL;
    if (wedge_descriptor_info(look, wait, text, sizeof(text)) > 0 && wedge_fdinfo_pid(text, &pid) && pid > 0)
        m = wedge_look_machine_of(look, pid);
    if (pid < 0 || (m && m->state == 'Z' && m->threads <= 1))
        wedge_descriptor_is_ready(wait, "its process has ended: it is about to wake");
    else if (!m)
        wedge_descriptor_by_outside(look, wait, "the process of a pidfd is not known");
    else
        wedge_descriptor_by_process(look, wait, pid, "must end");
}

const struct wedge_descriptor_class wedge_descriptor_pidfd = {.kind = WEDGE_FD_PIDFD, .wakers = wakers};
