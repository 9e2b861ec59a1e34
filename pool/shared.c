/* Making and removing a stream's shared memory (shared.h). */
#include "pool/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_MAX 1000 /* pools of one process at one time, and stale files that live processes still hold */

/* Removes a file that nobody holds: whoever made it is dead, and so is everyone who had it from there. */
static void remove_stale(const char *name)
{
    int fd = shm_open(name, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        shm_unlink(name);
    close(fd);
}

static int make_file(struct wedge_shared *shared, const char *title)
{
    for (int n = 0; n < NAMES_MAX; n++) {
        snprintf(shared->name, sizeof(shared->name), "/wedge-%s-%d-%d", title, (int)getpid(), n);
        remove_stale(shared->name);
        /* The lock goes along with each fork and lasts until the last process that has the descriptor is gone. */
        int fd = shm_open(shared->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        int rc = -errno;
        if (fd >= 0)
            close(fd);
        else if (rc != -EEXIST)
            return rc;
    }
    return -EEXIST;
}

int wedge_shared_create(struct wedge_shared *ret, const char *title, size_t bytes)
{
    struct wedge_shared shared = {.bytes = bytes, .fd = -1, .maker = getpid()};
    int rc = 0;
    if (title) {
        shared.fd = make_file(&shared, title);
        if (shared.fd < 0)
            return shared.fd;
        rc = ftruncate(shared.fd, (off_t)bytes) < 0 ? -errno : 0;
    }
    if (rc == 0) {
        shared.map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (title ? 0 : MAP_ANONYMOUS), shared.fd, 0);
        rc = shared.map == MAP_FAILED ? -errno : 0;
    }
    if (rc < 0) {
        shared.map = NULL;
        wedge_shared_destroy(&shared);
        return rc;
    }
    *ret = shared;
    return 0;
}

void wedge_shared_destroy(struct wedge_shared *shared)
{
    if (shared->map)
        munmap(shared->map, shared->bytes);
    if (shared->name[0] && shared->maker == getpid())
        shm_unlink(shared->name);
    if (shared->name[0])
        close(shared->fd);
    *shared = (struct wedge_shared){.fd = -1};
}
