/* Condition variables, barriers and semaphores: wake-ups that come too early, to the wrong one, or not at all. */
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

const struct corpus_case corpus_conditions[] = {
    {"lost-wakeup", lost_wakeup},
    {NULL, NULL},
};
