#include "detector/kernel/clocks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "detector/kernel/proc.h"

enum { NAMESPACE_BYTES = 64 }; /* "time:[4026531834]" */

bool wedge_clocks_parse(const char *text, int64_t *ret_ns)
{
    int64_t seconds, ns;
    const int64_t most = INT64_MAX / WEDGE_NS_PER_S / 4; /* KTIME_SEC_MAX / 2 is what the kernel allows */
    const char *line = strstr(text, "monotonic");
    if (!line || sscanf(line, "monotonic %" SCNd64 " %" SCNd64, &seconds, &ns) != 2 || seconds > most ||
        seconds < -most || ns < 0 || ns >= WEDGE_NS_PER_S)
        return false;
    *ret_ns = seconds * WEDGE_NS_PER_S + ns;
    return true;
}

/* How far the clock of a namespace is ahead of the machine's, by a process in it. The file is about the one that its children
 * will be in (fs/proc/base.c), which is its own unless it has just made another. */
static int offset_of(pid_t pid, pid_t tid, const char *namespace, int64_t *ret_ns)
{
    char text[256], children[NAMESPACE_BYTES];
    ssize_t len = wedge_proc_link(pid, tid, "ns/time_for_children", children, sizeof(children));
    if (len > 0 && strcmp(children, namespace) != 0)
        return -EXDEV;
    if (len > 0)
        len = wedge_proc_read(pid, 0, "timens_offsets", text, sizeof(text));
    return len < 0 ? (int)len : wedge_clocks_parse(text, ret_ns) ? 0 : -EBADMSG;
}

int wedge_clocks_ahead(pid_t pid, pid_t tid, int64_t *ret_ns)
{
    char own[NAMESPACE_BYTES], its[NAMESPACE_BYTES];
    int64_t ours, theirs;
    ssize_t len = wedge_proc_link(getpid(), 0, "ns/time", own, sizeof(own));
    if (len == -ENOENT) { /* Linux 5.5 and before: there is one clock */
        *ret_ns = 0;
        return 0;
    }
    if (len > 0)
        len = wedge_proc_link(pid, tid, "ns/time", its, sizeof(its));
    if (len <= 0)
        return len < 0 ? (int)len : -EBADMSG;
    if (strcmp(own, its) == 0) {
        *ret_ns = 0;
        return 0;
    }
    int rc = offset_of(getpid(), 0, own, &ours);
    if (!rc)
        rc = offset_of(pid, tid, its, &theirs);
    if (!rc)
        *ret_ns = theirs - ours;
    return rc;
}
