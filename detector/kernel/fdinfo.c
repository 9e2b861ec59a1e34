#include "detector/kernel/fdinfo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "detector/kernel/lines.h"

#define LINE_BYTES 192 /* longer than any of them */

/* What follows a name that begins a line, at `text` or behind it. NULL: no such line. */
static const char *after(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = text; (at = strstr(at, name)); at += len)
        if (at == text || at[-1] == '\n')
            return at + len;
    return NULL;
}

/* The line of that name. */
static bool line_of(const char *text, const char *name, char line[LINE_BYTES])
{
    const char *at = after(text, name);
    if (at)
        wedge_line_copy(at, line, LINE_BYTES);
    return at != NULL;
}

int wedge_fdinfo_member(const char **at, struct wedge_fdinfo_member *ret)
{
    char line[LINE_BYTES];
    struct wedge_fdinfo_member member;
    const char *here = after(*at, "tfd:");
    if (!here)
        return 0;
    *at = here + wedge_line_copy(here, line, sizeof(line));
    const char *inode = strstr(line, "ino:");
    if (sscanf(line, " %d events: %" SCNx32, &member.number, &member.events) != 2 || !inode ||
        sscanf(inode, "ino:%" SCNx64, &member.inode) != 1)
        return -EBADMSG;
    *ret = member;
    return 1;
}

bool wedge_fdinfo_timer(const char *text, struct wedge_fdinfo_timer *ret)
{
    char line[LINE_BYTES];
    struct wedge_fdinfo_timer timer = {0};
    uint64_t s, ns;
    if (!line_of(text, "ticks:", line) || sscanf(line, " %" SCNu64, &timer.ticks) != 1 ||
        !line_of(text, "settime flags:", line) || sscanf(line, " %o", &timer.flags) != 1 ||
        !line_of(text, "it_value:", line) || sscanf(line, " (%" SCNu64 ", %" SCNu64 ")", &s, &ns) != 2 ||
        ns >= WEDGE_NS_PER_S)
        return false;
    timer.left_ns = s >= INT64_MAX / WEDGE_NS_PER_S ? INT64_MAX : (int64_t)(s * WEDGE_NS_PER_S + ns);
    *ret = timer;
    return true;
}

bool wedge_fdinfo_event(const char *text, uint64_t *ret_count, int *ret_id)
{
    char line[LINE_BYTES];
    uint64_t count;
    if (!line_of(text, "eventfd-count:", line) || sscanf(line, " %" SCNx64, &count) != 1)
        return false;
    if (!line_of(text, "eventfd-id:", line) || sscanf(line, " %d", ret_id) != 1)
        *ret_id = -1;
    *ret_count = count;
    return true;
}

bool wedge_fdinfo_signals(const char *text, uint64_t *ret_mask)
{
    char line[LINE_BYTES];
    return line_of(text, "sigmask:", line) && sscanf(line, " %" SCNx64, ret_mask) == 1;
}

bool wedge_fdinfo_pid(const char *text, int *ret_pid)
{
    char line[LINE_BYTES];
    return line_of(text, "Pid:", line) && sscanf(line, " %d", ret_pid) == 1;
}

bool wedge_fdinfo_inode(const char *text, uint64_t *ret_inode, int *ret_mount)
{
    char line[LINE_BYTES];
    uint64_t inode;
    int mount;
    if (!line_of(text, "ino:", line) || sscanf(line, " %" SCNu64, &inode) != 1 || !line_of(text, "mnt_id:", line) ||
        sscanf(line, " %d", &mount) != 1)
        return false;
    *ret_inode = inode;
    *ret_mount = mount;
    return true;
}

long wedge_fdinfo_inside(const char *text)
{
    const char *at = after(text, "scm_fds:");
    if (!at)
        at = after(text, "UserFiles:");
    return at ? strtol(at, NULL, 10) : 0;
}

const char *wedge_fdinfo_lock(const char **at)
{
    const char *here = after(*at, "lock:");
    if (here)
        *at = here;
    return here;
}
