/* The table of tasks that are not reported yet (running.h). */
#include "pool/running.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PLACES_FIRST 64

void wedge_running_init(struct wedge_running *running)
{
    memset(running, 0, sizeof(*running));
    pthread_mutex_init(&running->lock, NULL);
}

void wedge_running_destroy(struct wedge_running *running)
{
    free(running->tasks);
    running->tasks = NULL;
    running->places = running->taken = 0;
}

/* Where the task of this id is, or would be. Ids count up, so that neighbours do not collide. */
static uint32_t place_of(const struct wedge_running *running, uint64_t id)
{
    uint32_t mask = running->places - 1, at = (uint32_t)id & mask;
    while (running->tasks[at].id != 0 && running->tasks[at].id != id)
        at = (at + 1) & mask;
    return at;
}

static int grow(struct wedge_running *running)
{
    struct wedge_running bigger = {.places = running->places ? 2 * running->places : PLACES_FIRST};
    bigger.tasks = calloc(bigger.places, sizeof(*bigger.tasks));
    if (!bigger.tasks)
        return -ENOMEM;
    for (uint32_t i = 0; i < running->places; i++)
        if (running->tasks[i].id)
            bigger.tasks[place_of(&bigger, running->tasks[i].id)] = running->tasks[i];
    free(running->tasks);
    running->tasks = bigger.tasks;
    running->places = bigger.places;
    return 0;
}

int wedge_running_add(struct wedge_running *running, const struct wedge_running_task *task)
{
    int rc = 0;
    pthread_mutex_lock(&running->lock);
    if (2 * (running->taken + 1) > running->places)
        rc = grow(running);
    if (rc == 0) {
        running->tasks[place_of(running, task->id)] = *task;
        running->taken++;
    }
    pthread_mutex_unlock(&running->lock);
    return rc;
}

/* Frees a place; those behind it that would have liked to be there move up. */
static void free_place(struct wedge_running *running, uint32_t hole)
{
    uint32_t mask = running->places - 1;
    for (uint32_t at = (hole + 1) & mask; running->tasks[at].id != 0; at = (at + 1) & mask) {
        uint32_t home = (uint32_t)running->tasks[at].id & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue; /* its home lies behind the hole */
        running->tasks[hole] = running->tasks[at];
        hole = at;
    }
    running->tasks[hole].id = 0;
    running->taken--;
}

bool wedge_running_remove(struct wedge_running *running, uint64_t id, struct wedge_running_task *ret)
{
    bool found = false;
    pthread_mutex_lock(&running->lock);
    if (running->places && id) {
        uint32_t at = place_of(running, id);
        found = running->tasks[at].id == id;
        if (found && ret)
            *ret = running->tasks[at];
        if (found)
            free_place(running, at);
    }
    pthread_mutex_unlock(&running->lock);
    return found;
}

uint32_t wedge_running_count(struct wedge_running *running)
{
    pthread_mutex_lock(&running->lock);
    uint32_t taken = running->taken;
    pthread_mutex_unlock(&running->lock);
    return taken;
}

void wedge_running_each(struct wedge_running *running, void (*see)(struct wedge_running_task *task, void *context),
                        void *context)
{
    pthread_mutex_lock(&running->lock);
    for (uint32_t i = 0; i < running->places; i++)
        if (running->tasks[i].id)
            see(&running->tasks[i], context);
    pthread_mutex_unlock(&running->lock);
}
