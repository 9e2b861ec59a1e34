/*
 * pidfds: readable once their process has ended.
 */
#include <stdio.h>
#include <string.h>

#include "detector/wait/descriptor.h"

static void wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    char text[1024];
    int pid = 0;
    const char *line = wedge_descriptor_info(look, wait, text, sizeof(text)) > 0 ? strstr(text, "\nPid:") : NULL;
    if (line && sscanf(line, "\nPid: %d", &pid) == 1 && pid > 0)
        wedge_descriptor_by_process(look, wait, pid, "must end");
    else
        wedge_descriptor_by_outside(look, wait, "the process of a pidfd is not known");
}

const struct wedge_descriptor_class wedge_descriptor_pidfd = {.kind = WEDGE_FD_PIDFD, .wakers = wakers};
