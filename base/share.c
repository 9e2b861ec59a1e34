#include "base/share.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/load.h"

enum { STACK_BYTES = 256 << 10 };

struct share {
    _Atomic size_t next; /* relaxed: what was done is handed over by the lock */
    size_t n, piece;
    wedge_share_fn *work;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t idle; /* the other thread is no longer busy */
    bool busy;
    int users; /* of this structure; the last one frees it */
};

static void run(struct share *share)
{
    size_t from;
    while ((from = atomic_fetch_add_explicit(&share->next, share->piece, memory_order_relaxed)) < share->n)
        for (size_t i = from; i < share->n && i < from + share->piece; i++)
            share->work(share->arg, i);
}

/* Unlocks. */
static void leave(struct share *share)
{
    bool last = --share->users == 0;
    pthread_mutex_unlock(&share->lock);
    if (!last)
        return;
    pthread_cond_destroy(&share->idle);
    pthread_mutex_destroy(&share->lock);
    free(share);
}

/* The other thread. It may come when all is done: then `arg` is not its to touch. */
static void *help(void *arg)
{
    struct share *share = arg;
    pthread_mutex_lock(&share->lock);
    share->busy = atomic_load_explicit(&share->next, memory_order_relaxed) < share->n;
    bool late = !share->busy;
    pthread_mutex_unlock(&share->lock);
    if (!late)
        run(share);
    pthread_mutex_lock(&share->lock);
    share->busy = false;
    pthread_cond_signal(&share->idle);
    leave(share);
    return NULL;
}

/* Does one of the processors that we may use have nothing to do? */
static bool is_one_idle(void)
{
    cpu_set_t cpus;
    struct wedge_load load;
    return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) > 1 && wedge_load_read(&load) &&
           load.running < (unsigned long)CPU_COUNT(&cpus);
}

/* Without memory for a thread the caller does it all. */
static bool start(struct share *share)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    if (pthread_attr_init(&attr))
        return false;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the caller's */
    int rc = pthread_create(&thread, &attr, help, share);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc == 0)
        wedge_load_count_own_birth();
    return rc == 0;
}

void wedge_share(size_t n, size_t piece, wedge_share_fn *work, void *arg)
{
    wedge_share_with(n > piece && is_one_idle(), n, piece, work, arg);
}

void wedge_share_with(bool another, size_t n, size_t piece, wedge_share_fn *work, void *arg)
{
    struct share *share = another ? calloc(1, sizeof(*share)) : NULL;
    if (!share) {
        for (size_t i = 0; i < n; i++)
            work(arg, i);
        return;
    }
    share->n = n;
    share->piece = piece;
    share->work = work;
    share->arg = arg;
    share->users = 2;
    pthread_mutex_init(&share->lock, NULL);
    pthread_cond_init(&share->idle, NULL);
    bool helped = start(share);
    run(share);
    pthread_mutex_lock(&share->lock);
    while (share->busy) /* until the other thread has done the piece that it took last */
        pthread_cond_wait(&share->idle, &share->lock);
    share->users -= !helped;
    leave(share);
}
