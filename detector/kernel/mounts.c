#include "detector/kernel/mounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "detector/kernel/lines.h"
#include "detector/kernel/proc.h"

#define MOST_BYTES   (4u << 20)
#define MOST_DEVICES 64

static struct device {
    unsigned minor;
    bool served;
} devices[MOST_DEVICES];
static size_t n_devices;

/* ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [FIELDS] - TYPE SOURCE OPTIONS; blanks in paths are written \040. */
bool wedge_mounts_parse(const char *text, unsigned dev_major, unsigned dev_minor)
{
    for (const char *line = text, *next; *line; line = next) {
        unsigned major, minor;
        char head[64]; /* the numbers that it begins with */
        size_t len = wedge_line_copy(line, head, sizeof(head));
        const char *type = memmem(line, len, " - ", 3);
        next = wedge_line_next(line, len);
        if (type && sscanf(head, "%*d %*d %u:%u ", &major, &minor) == 2 && major == dev_major && minor == dev_minor) {
            type += 3;
            if (strncmp(type, "fuse", 4) == 0 && (type[4] == ' ' || type[4] == '.'))
                return true;
        }
    }
    return false;
}

bool wedge_mounts_is_served(pid_t pid, unsigned dev_major, unsigned dev_minor)
{
    char *text = NULL;
    if (dev_major != 0)
        return false;
    for (size_t i = 0; i < n_devices; i++)
        if (devices[i].minor == dev_minor)
            return devices[i].served;
    /* What cannot be told is taken for one. */
    bool served = wedge_proc_read_all(pid, 0, "mountinfo", MOST_BYTES, &text) < 0 ||
                  wedge_mounts_parse(text, dev_major, dev_minor);
    free(text);
    if (n_devices < MOST_DEVICES)
        devices[n_devices++] = (struct device){dev_minor, served};
    return served;
}
