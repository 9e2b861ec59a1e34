/* Mutexes and reader-writer locks: who takes what while having what. */
#include "scenarios/corpus/cases.h"

/* Two readers of a cache find an entry missing, and each wants to write it without letting go of its read lock first: each
 * waits for the other to stop reading. */
static pthread_rwlock_t cache = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t both_read;

static void *fill_entry(void *arg)
{
    pthread_rwlock_rdlock(&cache);
    pthread_barrier_wait(&both_read);
    if (corpus_cured)
        pthread_rwlock_unlock(&cache);
    pthread_rwlock_wrlock(&cache);
    pthread_rwlock_unlock(&cache);
    return arg;
}

static void rwlock_upgrade(void)
{
    pthread_barrier_init(&both_read, NULL, 2);
    pthread_t other = corpus_thread(fill_entry, NULL);
    fill_entry(NULL);
    corpus_join(other);
}

const struct corpus_case corpus_locks[] = {
    {"rwlock-upgrade", rwlock_upgrade},
    {NULL, NULL},
};
