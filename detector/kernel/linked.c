#include "detector/kernel/linked.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MOST_NAMES 65536

/* A file that lay in /dev/shm itself, where sem_open and shm_open put theirs. */
static bool was_in_shm(const char *path)
{
    static const char shm[] = "/dev/shm/";
    return strncmp(path, shm, sizeof(shm) - 1) == 0 && !strchr(path + sizeof(shm) - 1, '/');
}

/* Memory that is a file to the kernel alone (mm/shmem.c): it is made without a name, and never gets one. */
static bool is_nameless(const char *path)
{
    return strcmp(path, "/dev/zero") == 0 || strncmp(path, "/memfd:", 7) == 0;
}

/* Is there a file of this number in the process's own /dev/shm? */
static enum wedge_linked look_through(pid_t pid, const struct wedge_proc_map *map)
{
    char path[64];
    struct stat st;
    enum wedge_linked found = WEDGE_LINKED_NOT;
    snprintf(path, sizeof(path), "/proc/%d/root/dev/shm", (int)pid);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir && fd >= 0)
        close(fd);
    if (!dir)
        return WEDGE_LINKED_PERHAPS;
    if (fstat(fd, &st) || major(st.st_dev) != map->dev_major || minor(st.st_dev) != map->dev_minor)
        found = WEDGE_LINKED_PERHAPS;
    for (int n = 0; found == WEDGE_LINKED_NOT; n++) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (e && e->d_ino == map->inode)
            found = WEDGE_LINKED;
        else if (n == MOST_NAMES || (!e && errno))
            found = WEDGE_LINKED_PERHAPS;
        else if (!e)
            break;
    }
    closedir(dir);
    return found;
}

enum wedge_linked wedge_linked_map(pid_t pid, const struct wedge_proc_map *map, struct wedge_linked_file *ret)
{
    char path[96];
    struct statx sx;
    *ret = (struct wedge_linked_file){(uint64_t)map->dev_major << 32 | map->dev_minor, map->inode};
    if (!map->deleted)
        return WEDGE_LINKED;
    /* Who follows this link needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN in the first user namespace
     * (fs/proc/base.c, proc_map_files_get_link). */
    snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, map->start, map->end);
    if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO | STATX_NLINK, &sx) == 0 &&
        sx.stx_mask & STATX_NLINK) {
        *ret = (struct wedge_linked_file){(uint64_t)sx.stx_dev_major << 32 | sx.stx_dev_minor, sx.stx_ino};
        return sx.stx_nlink ? WEDGE_LINKED : WEDGE_LINKED_NOT;
    }
    if (is_nameless(map->path))
        return WEDGE_LINKED_NOT;
    return was_in_shm(map->path) ? look_through(pid, map) : WEDGE_LINKED_PERHAPS;
}
