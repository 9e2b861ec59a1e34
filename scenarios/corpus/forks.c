/* fork in a program with threads: the child has the locks of all of them, and one thread. */
#include <unistd.h>

#include "scenarios/corpus/cases.h"

/* A worker is forked while another thread writes to the log: in the child the log's lock is taken for ever. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct corpus_mark logging, forked;

static void *write_log(void *arg)
{
    pthread_mutex_lock(&log_lock);
    corpus_tell(&logging);
    corpus_hear(&forked);
    pthread_mutex_unlock(&log_lock);
    return arg;
}
static void take_log(void)
{
    pthread_mutex_lock(&log_lock);
}
static void leave_log(void)
{
    pthread_mutex_unlock(&log_lock);
}

static void forked_log_lock(void)
{
    logging = corpus_mark();
    forked = corpus_mark();
    if (corpus_cured)
        pthread_atfork(take_log, leave_log, leave_log);
    pthread_t writer = corpus_thread(write_log, NULL);
    corpus_hear(&logging);
    if (corpus_cured) /* fork itself now waits until the log is free */
        corpus_tell(&forked);
    pid_t worker = corpus_fork();
    if (worker == 0) {
        pthread_mutex_lock(&log_lock);
        pthread_mutex_unlock(&log_lock);
        _exit(0);
    }
    if (!corpus_cured)
        corpus_tell(&forked);
    corpus_join(writer);
    corpus_reap(worker, false);
}

const struct corpus_case corpus_forks[] = {
    {"forked-log-lock", forked_log_lock},
    {NULL, NULL},
};
