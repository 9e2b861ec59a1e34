/* Cases with vfork: a child that lives in its parent's memory, and a parent that stands until it is out of it. */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detector/tests/factory.h"

static char byte;
static int ends[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The child waits for a message from its parent. */
static void vfork_pipe(void)
{
    factory_pipe(ends);
    factory_ready();
    pid_t pid = vfork();
    if (pid == 0)
        _exit(read(ends[0], &byte, 1) == 1);
}

/* The child wants a lock that its parent has: the same lock, in the same memory. */
static void vfork_own_lock(void)
{
    pthread_mutex_lock(&lock);
    factory_ready();
    pid_t pid = vfork();
    if (pid == 0) {
        pthread_mutex_lock(&lock);
        _exit(0);
    }
}

static void vfork_slow(void)
{
    factory_ready();
    for (;;) {
        pid_t pid = vfork();
        if (pid == 0) {
            factory_nap(20);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
}

/* Another thread of the parent releases the lock that the child waits for. To somebody who takes the child's memory for
 * a copy, as fork makes one, its owner would be gone. */
static void *hold_now_and_then(void *arg)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        factory_nap(20);
        pthread_mutex_unlock(&lock);
        factory_nap(5);
    }
    return arg;
}
static void vfork_and_lock(void)
{
    pthread_t thread;
    factory_spawn(&thread, hold_now_and_then, NULL);
    factory_ready();
    for (;;) {
        pid_t pid = vfork();
        if (pid == 0) {
            pthread_mutex_lock(&lock);
            pthread_mutex_unlock(&lock);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
}

const struct factory_case factory_vfork[] = {
    {"vfork-pipe", vfork_pipe, false},
    {"vfork-own-lock", vfork_own_lock, false},
    {"vfork-slow", vfork_slow, true},
    {"vfork-and-lock", vfork_and_lock, true},
    {NULL, NULL, false},
};
