#include "base/load.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_of_proc(const char *name)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS};
    int dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
    if (dir >= 0)
        close(dir);
    return fd;
}

bool wedge_load_read(struct wedge_load *ret)
{
    struct wedge_load load;
    char text[128];
    int fd = open_of_proc("loadavg");
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    text[len > 0 ? len : 0] = '\0';
    if (sscanf(text, "%*s %*s %*s %lu/%*u %lu", &load.running, &load.last_born) != 2)
        return false;
    *ret = load;
    return true;
}

static _Atomic uint64_t own_births; /* relaxed: who reads it has made them, or waited for who did */

void wedge_load_count_own_birth(void)
{
    atomic_fetch_add_explicit(&own_births, 1, memory_order_relaxed);
}

uint64_t wedge_load_own_births(void)
{
    return atomic_load_explicit(&own_births, memory_order_relaxed);
}

uint64_t wedge_load_births(void)
{
    enum { MOST_BYTES = 1 << 22 }; /* the line of interrupts before it grows with the processors */
    char text[8192];
    const char *found = NULL;
    size_t kept = 0, total = 0;
    int fd = open_of_proc("stat");
    ssize_t n;
    while (fd >= 0 && !found && total < MOST_BYTES && (n = read(fd, text + kept, sizeof(text) - 1 - kept)) > 0) {
        text[kept + (size_t)n] = '\0';
        total += (size_t)n;
        found = strstr(text, "\nprocesses ");
        if (found && strchr(found + 1, '\n'))
            break;
        /* The rest of its line may come with the next. */
        found = NULL;
        size_t len = kept + (size_t)n;
        kept = len < 64 ? len : 64;
        memmove(text, text + len - kept, kept);
    }
    if (fd >= 0)
        close(fd);
    return found ? strtoull(found + strlen("\nprocesses "), NULL, 10) : 0;
}
