/* Condition variables and barriers: wake-ups that come too early, to the wrong one, or not at all. */
#include <stdatomic.h>
#include <wedge/point.h>

#include "scenarios/corpus/cases.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

/* An idle worker looks whether there is work before it takes the lock; the work and its signal come between look and
 * wait, and nobody ever signals again. */
static _Atomic bool work;

static void *give_work(void *arg)
{
    WEDGE_POINT("corpus.has_work");
    work = true;
    pthread_mutex_lock(&mutex);
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    WEDGE_POINT("corpus.signalled");
    return arg;
}

static void lost_wakeup(void)
{
    pthread_t giver = corpus_thread(give_work, NULL);
    bool seen = work;
    WEDGE_POINT("corpus.looked");
    pthread_mutex_lock(&mutex);
    while (corpus_cured ? !work : !seen) {
        pthread_cond_wait(&cond, &mutex);
        seen = work;
    }
    pthread_mutex_unlock(&mutex);
    corpus_join(giver);
}

/* A starter waits for its thread by a condition variable alone, without a word that says whether it has begun: the thread is
 * faster, and signals nobody. */
static bool begun;

static void *begin(void *arg)
{
    pthread_mutex_lock(&mutex);
    begun = true;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    WEDGE_POINT("corpus.begun");
    return arg;
}

static void signal_before_wait(void)
{
    pthread_t thread = corpus_thread(begin, NULL);
    WEDGE_POINT("corpus.started");
    pthread_mutex_lock(&mutex);
    if (!corpus_cured)
        pthread_cond_wait(&cond, &mutex);
    while (!begun)
        pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    corpus_join(thread);
}

/* The end of a pool is told by a "broadcast" that wakes one: the other workers sleep on, and join waits for them. */
static struct corpus_mark idle;
static bool ending;

static void *wait_for_end(void *arg)
{
    pthread_mutex_lock(&mutex);
    corpus_tell(&idle);
    while (!ending)
        pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    return arg;
}

static void one_signal_for_all(void)
{
    pthread_t workers[2];
    idle = corpus_mark();
    for (int i = 0; i < 2; i++)
        workers[i] = corpus_thread(wait_for_end, NULL);
    for (int i = 0; i < 2; i++)
        corpus_hear(&idle);
    pthread_mutex_lock(&mutex); /* given up by both in their waits alone */
    ending = true;
    if (corpus_cured)
        pthread_cond_broadcast(&cond);
    else
        pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 2; i++)
        corpus_join(workers[i]);
}

/* A method that holds a recursive mutex calls another that takes it again and waits for a change: the wait gives up one of
 * the two holds, and whoever would make the change never gets in. */
static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct corpus_mark waiting;
static int value;

static void *set_value(void *arg)
{
    corpus_hear(&waiting);
    pthread_mutex_lock(&recursive);
    value = 5;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&recursive);
    return arg;
}

static void wait_for_value(void)
{
    pthread_mutex_lock(&recursive);
    corpus_tell(&waiting);
    while (value != 5)
        pthread_cond_wait(&cond, &recursive);
    pthread_mutex_unlock(&recursive);
}

static void wait_under_recursive(void)
{
    waiting = corpus_mark();
    pthread_t setter = corpus_thread(set_value, NULL);
    if (!corpus_cured)
        pthread_mutex_lock(&recursive);
    wait_for_value();
    if (!corpus_cured)
        pthread_mutex_unlock(&recursive);
    corpus_join(setter);
}

/* Workers meet at a barrier for all of them before they begin. One was never started, which the caller did not see: it asked
 * whether the result is below zero. */
static pthread_barrier_t all_ready;
static pthread_mutex_t start = PTHREAD_MUTEX_INITIALIZER;

static void *meet(void *arg)
{
    pthread_mutex_lock(&start);
    pthread_mutex_unlock(&start);
    pthread_barrier_wait(&all_ready);
    return arg;
}

static void barrier_short(void)
{
    enum { WORKERS = 2 };
    pthread_t threads[WORKERS] = {0};
    unsigned n = 0;
    pthread_mutex_lock(&start);
    for (int i = 0; i < WORKERS; i++) {
        int rc = pthread_create(&threads[n], NULL, meet, NULL);
        if (corpus_cured ? rc == 0 : rc >= 0)
            n++;
    }
    pthread_barrier_init(&all_ready, NULL, n + 1);
    pthread_mutex_unlock(&start);
    pthread_barrier_wait(&all_ready);
    for (unsigned i = 0; i < n; i++)
        corpus_join(threads[i]);
}

const struct corpus_case corpus_conditions[] = {
    {"lost-wakeup", lost_wakeup},
    {"signal-before-wait", signal_before_wait},
    {"one-signal-for-all", one_signal_for_all},
    {"wait-under-recursive", wait_under_recursive},
    {"barrier-short", barrier_short},
    {NULL, NULL},
};
