/* Workers that are groups of threads (threads.h). */
#include "pool/threads.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct wedge_group {
    struct wedge_pool *pool;
    uint32_t index, generation;
    int gone_fd; /* the seat's; open until the group is joined */
    int status; /* the thread's, read after it was joined */
    pthread_t thread; /* the worker's main thread */
};

static void say_gone(void *arg)
{
    const struct wedge_group *group = arg;
    uint64_t one = 1;
    while (write(group->gone_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

/* User code that runs here, an initializer or finalizer of the process, may end the thread. */
static void *group_main(void *arg)
{
    struct wedge_group *group = arg;
    group->status = WEDGE_POOL_EXIT_THREAD;
    pthread_cleanup_push(say_gone, group);
    group->status = wedge_pool_worker_live(group->pool, group->index + 1, group->generation, true);
    pthread_cleanup_pop(1);
    return NULL;
}

int wedge_group_start(struct wedge_pool *pool, uint32_t index, struct wedge_group **ret, int *ret_gone_fd)
{
    struct wedge_group *group = calloc(1, sizeof(*group));
    int rc = -ENOMEM;
    if (!group)
        return rc;
    *group = (struct wedge_group){.pool = pool, .index = index, .generation = pool->seats[index].generation};
    group->gone_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = group->gone_fd < 0 ? -errno : -pthread_create(&group->thread, NULL, group_main, group);
    if (rc == 0) {
        *ret = group;
        *ret_gone_fd = group->gone_fd;
        return 0;
    }
    if (group->gone_fd >= 0)
        close(group->gone_fd);
    free(group);
    return rc;
}

int wedge_group_join(struct wedge_group *group)
{
    pthread_join(group->thread, NULL);
    int status = group->status;
    free(group);
    return status;
}
