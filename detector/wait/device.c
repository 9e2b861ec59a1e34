/*
 * Everything that is read or written and has no class of its own: terminals, devices, watches on files, files of
 * special file systems. The outside ends such a wait; what it is, and which, is named.
 */
#include <stdio.h>
#include <string.h>

#include "detector/wait/descriptor.h"

static const struct {
    const char *link; /* what the descriptor's link begins with */
    const char *word;
    const char *reason;
} kinds[] = {
    {"/dev/pts/", "terminal", "somebody must type, or read, at the terminal"},
    {"/dev/tty", "terminal", "somebody must type, or read, at the terminal"},
    {"/dev/console", "terminal", "somebody must type, or read, at the terminal"},
    {"/dev/ptmx", "pseudo-terminal", "whoever uses the terminal may end it"},
    {"/dev/fuse", "FUSE device", "whoever uses the file system may end it"},
    {"/dev/", "device", "a device may end it"},
    {"anon_inode:inotify", "inotify", "a file that it watches may change"},
    {"anon_inode:[fanotify]", "fanotify", "a file that it watches may change"},
    {"anon_inode:[userfaultfd]", "userfaultfd", "a page may be touched"},
};

static void wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    int proc = look->snapshot->threads[wait->thread].proc;
    char name[32], link[64] = "";
    snprintf(name, sizeof(name), "fd/%d", wait->fd->number);
    wedge_proc_link(look->snapshot->procs[proc].pid, look->procs[proc].reader, name, link, sizeof(link));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strncmp(link, kinds[i].link, strlen(kinds[i].link)) != 0)
            continue;
        if (link[0] == '/')
            snprintf(wait->describe, sizeof(wait->describe), "%s %s, descriptor %d", kinds[i].word, link,
                     wait->fd->number);
        else
            snprintf(wait->describe, sizeof(wait->describe), "%s, descriptor %d", kinds[i].word, wait->fd->number);
        wedge_descriptor_by_outside(look, wait, kinds[i].reason);
        return;
    }
    wedge_descriptor_by_outside(look, wait, "something outside may end it");
}

const struct wedge_descriptor_class wedge_descriptor_device = {.kind = WEDGE_FD_OTHER, .wakers = wakers};
