/* The two kinds of a stream's lock (queue_lock.h). */
#include "pool/queue_lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

int wedge_queue_lock_init(struct wedge_queue_lock *lock, bool owned)
{
    pthread_mutexattr_t attr;
    lock->owned = owned;
    if (!owned)
        return sem_init(&lock->semaphore, 1, 1) < 0 ? -errno : 0;
    int rc = pthread_mutexattr_init(&attr);
    if (rc != 0)
        return -rc;
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    rc = pthread_mutex_init(&lock->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    return -rc;
}

static int take_semaphore(sem_t *semaphore, int64_t until_ns)
{
    struct timespec until = {.tv_sec = until_ns / WEDGE_NS_PER_S, .tv_nsec = until_ns % WEDGE_NS_PER_S};
    for (;;) {
        int rc = until_ns == INT64_MAX ? sem_wait(semaphore) : sem_clockwait(semaphore, CLOCK_MONOTONIC, &until);
        if (rc == 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

/* What the dead owner left is not the mutex's own matter: it is consistent as soon as the caller has been told. */
static int take_mutex(pthread_mutex_t *mutex, int64_t until_ns)
{
    struct timespec until = {.tv_sec = until_ns / WEDGE_NS_PER_S, .tv_nsec = until_ns % WEDGE_NS_PER_S};
    int rc = until_ns == INT64_MAX ? pthread_mutex_lock(mutex)
             : until_ns == 0       ? pthread_mutex_trylock(mutex)
                                   : pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until);
    if (rc == EOWNERDEAD) {
        pthread_mutex_consistent(mutex);
        return 1;
    }
    return rc == EBUSY ? -ETIMEDOUT : -rc;
}

int wedge_queue_lock_take(struct wedge_queue_lock *lock, int64_t until_ns)
{
    return lock->owned ? take_mutex(&lock->mutex, until_ns) : take_semaphore(&lock->semaphore, until_ns);
}

void wedge_queue_lock_give(struct wedge_queue_lock *lock)
{
    if (lock->owned)
        pthread_mutex_unlock(&lock->mutex);
    else
        sem_post(&lock->semaphore);
}

/* The word that glibc's pthread_mutex_lock sleeps on (nptl/pthread_mutex_lock.c): it looks again whatever woke it. */
void wedge_queue_lock_renew(struct wedge_queue_lock *lock)
{
    if (lock->owned)
        syscall(SYS_futex, &lock->mutex.__data.__lock, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void wedge_queue_lock_break(struct wedge_queue_lock *lock)
{
    if (lock->owned)
        wedge_queue_lock_renew(lock);
    else
        sem_post(&lock->semaphore);
}
