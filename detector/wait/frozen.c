/*
 * Frozen control groups. Version 2's freezer holds a thread on its way back from an interrupted call (state S, in
 * get_signal); version 1's, and the suspend of the machine, in the call itself (state D). Only whoever froze it thaws it.
 *
 * Source: kernel/cgroup/freezer.c, kernel/freezer.c; the state is cgroup.events (cgroup-v2.rst) or freezer.state
 * (freezer-subsystem.rst) in the group's folder, found by /proc/PID/cgroup and our own mounts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "detector/kernel/frozen.h"
#include "detector/kernel/lines.h"
#include "detector/wait/wait.h"

#define MOST_LIST_BYTES (1u << 20)

bool wedge_frozen_mount(const char *mountinfo, bool version1, char *ret, size_t size)
{
    for (const char *line = mountinfo, *next; *line; line = next) {
        char head[512], tail[1024], root[192], point[192], type[16], options[192];
        size_t len = wedge_line_copy(line, head, sizeof(head));
        const char *dash = memmem(line, len, " - ", 3);
        next = wedge_line_next(line, len);
        wedge_line_copy(dash ? dash : "", tail, sizeof(tail));
        if (sscanf(head, "%*d %*d %*s %191s %191s", root, point) != 2 || strcmp(root, "/") != 0 ||
            sscanf(tail, " - %15s %*s %191s", type, options) != 2)
            continue;
        bool is = version1 ? strcmp(type, "cgroup") == 0 && strstr(options, "freezer") : strcmp(type, "cgroup2") == 0;
        if (is && !strchr(point, '\\')) {
            snprintf(ret, size, "%s", point);
            return true;
        }
    }
    return false;
}

bool wedge_frozen_group(const char *cgroup, bool version1, char *ret, size_t size)
{
    for (const char *line = cgroup, *next; *line; line = next) {
        char head[32], controllers[128] = "";
        int at = 0;
        size_t len = wedge_line_copy(line, head, sizeof(head));
        const char *end = line + len;
        next = wedge_line_next(line, len);
        if (sscanf(head, "%*d:%n", &at) < 0 || !at)
            continue;
        const char *path = memchr(line + at, ':', len - (size_t)at);
        if (!path)
            continue;
        snprintf(controllers, sizeof(controllers), "%.*s", (int)(path - line) - at, line + at);
        if ((version1 ? strstr(controllers, "freezer") == NULL : *controllers != '\0') ||
            memmem(path, (size_t)(end - path), "/..", 3))
            continue;
        snprintf(ret, size, "%.*s", (int)(end - path - 1), path + 1);
        return true;
    }
    return false;
}

bool wedge_frozen_state(const char *text, bool version1)
{
    return version1 ? strncmp(text, "FROZEN", 6) == 0
                    : strncmp(text, "frozen 1", 8) == 0 || strstr(text, "\nfrozen 1") != NULL;
}

static bool is_frozen_as(pid_t pid, pid_t reader, bool version1)
{
    char *mounts = NULL, *groups = NULL, point[192], group[512], text[256];
    bool frozen = false;
    if (wedge_proc_read_all(0, 0, "self/mountinfo", MOST_LIST_BYTES, &mounts) > 0 &&
        wedge_proc_read_all(pid, reader, "cgroup", MOST_LIST_BYTES, &groups) > 0 &&
        wedge_frozen_mount(mounts, version1, point, sizeof(point)) &&
        wedge_frozen_group(groups, version1, group, sizeof(group))) {
        char path[1024];
        snprintf(path, sizeof(path), "%s%s/%s", point, group, version1 ? "freezer.state" : "cgroup.events");
        frozen = wedge_proc_read_file(path, text, sizeof(text)) > 0 && wedge_frozen_state(text, version1);
    }
    free(mounts);
    free(groups);
    return frozen;
}

bool wedge_wait_frozen(struct wedge_look *look, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_look_proc *own = &look->procs[t->proc];
    const char *wchan = look->threads[thread].wchan;
    bool held = strncmp(wchan, "get_signal", 10) == 0 || strncmp(wchan, "do_freezer_trap", 15) == 0;
    if (look->core || (t->state == 'S' ? !held : t->state != 'D'))
        return false;
    if (own->frozen == WEDGE_FROZEN_NOT_ASKED) {
        pid_t pid = look->snapshot->procs[t->proc].pid;
        wedge_look_note(look, pid, "control group");
        own->frozen = is_frozen_as(pid, own->reader, t->state == 'D') ? WEDGE_FROZEN : WEDGE_FROZEN_NOT;
    }
    if (own->frozen != WEDGE_FROZEN)
        return false;
    struct wedge_object *o = &look->snapshot->threads[thread].wait.object;
    snprintf(o->describe, sizeof(o->describe), "its control group to be thawed");
    wedge_wait_is(look, thread, WEDGE_WAIT_STOPPED, "its control group is frozen");
    wedge_waker_add(look, thread, 0, WEDGE_TO_OUTSIDE, -1, WEDGE_WAKER_UNLESS_RARE,
                    "whoever froze the control group may thaw it");
    wedge_waker_add(look, thread, 0, WEDGE_TO_TREE, -1, WEDGE_WAKER_BY_SIGNAL, "may thaw it");
    /* The threads of a process are frozen together: one set, not one each. */
    wedge_waker_add(look, thread, 0, WEDGE_TO_PROC, t->proc, 0, "is frozen with it");
    return true;
}
