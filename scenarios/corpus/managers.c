/* Threads of one process that manage a pool: what they hold while they wait, and what they leave undone. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <unistd.h>

#include "scenarios/corpus/streams.h"

static pthread_mutex_t shutdown_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;

/* Whoever submits wakes the manager by a byte in a pipe, with the lock held. The manager takes the lock to read them:
 * when the pipe is full, each waits for the other. */
static int wakeups[2];

static void *manage(void *arg)
{
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&shutdown_lock);
    corpus_drain_ready(wakeups[0]);
    pthread_mutex_unlock(&shutdown_lock);
    return arg;
}

static void wakeup_pipe_full(void)
{
    corpus_pipe(wakeups);
    pthread_barrier_init(&both, NULL, 2);
    int room = fcntl(wakeups[1], F_SETPIPE_SZ, 4096);
    fcntl(wakeups[0], F_SETFL, O_NONBLOCK);
    if (corpus_cured)
        fcntl(wakeups[1], F_SETFL, O_NONBLOCK); /* it is awake if there is a byte */
    pthread_t manager = corpus_thread(manage, NULL);
    pthread_mutex_lock(&shutdown_lock);
    pthread_barrier_wait(&both);
    for (int i = 0; i <= room; i++)
        if (write(wakeups[1], "", 1) != 1 && errno != EAGAIN)
            corpus_die("write");
    pthread_mutex_unlock(&shutdown_lock);
    corpus_join(manager);
}

/* The manager ends the pool with the lock held, and waits for the queue's feeder; which has met a task that it cannot write,
 * and takes the lock to say so. */
static pthread_mutex_t error_lock = PTHREAD_MUTEX_INITIALIZER;

static void *report_bad_task(void *arg)
{
    pthread_mutex_t *lock = corpus_cured ? &error_lock : &shutdown_lock;
    pthread_barrier_wait(&both);
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return arg;
}

static void join_under_lock(void)
{
    pthread_barrier_init(&both, NULL, 2);
    pthread_t feeder = corpus_thread(report_bad_task, NULL);
    pthread_mutex_lock(&shutdown_lock);
    pthread_barrier_wait(&both);
    corpus_join(feeder);
    pthread_mutex_unlock(&shutdown_lock);
}

/* The thread that hands out results meets one that cannot be decoded, and ends. Who waits for a result waits on. */
static pthread_mutex_t outcome_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t outcome_there = PTHREAD_COND_INITIALIZER;
static int outcomes;
static int encoded[2];

static void *hand_out(void *arg)
{
    int result;
    while (corpus_receive(encoded[0], &result)) {
        if (result < 0 && !corpus_cured)
            return NULL; /* an exception that nobody catches */
        pthread_mutex_lock(&outcome_lock);
        outcomes++;
        pthread_cond_signal(&outcome_there);
        pthread_mutex_unlock(&outcome_lock);
    }
    return arg;
}

static void undecodable_result(void)
{
    corpus_pipe(encoded);
    pthread_t handler = corpus_thread(hand_out, NULL);
    corpus_send(encoded[1], -1);
    pthread_mutex_lock(&outcome_lock);
    while (outcomes == 0)
        pthread_cond_wait(&outcome_there, &outcome_lock);
    pthread_mutex_unlock(&outcome_lock);
    close(encoded[1]);
    corpus_join(handler);
}

/* A launcher takes from the queue of workers that are ready. The starter of the only one gives up after its time, and says
 * so to nobody: the error would have been told by the launcher. */
static sem_t ready;
static struct corpus_mark asked;

static void *start_worker(void *arg)
{
    corpus_hear(&asked);
    /* initialization is past its limit */
    if (corpus_cured)
        sem_post(&ready); /* a failure is an answer too */
    return arg;
}

static void launcher_waits(void)
{
    sem_init(&ready, 0, 0);
    asked = corpus_mark();
    pthread_t starter = corpus_thread(start_worker, NULL);
    corpus_tell(&asked);
    sem_wait(&ready);
    corpus_join(starter);
}

/* Each request takes a connection, and one more within it. With as many requests as connections everyone has one and waits
 * for another. */
enum { CONNECTIONS = 2 };
static sem_t connections;

static void *request(void *arg)
{
    sem_wait(&connections);
    pthread_barrier_wait(&both);
    if (corpus_cured) {
        sem_post(&connections); /* one at a time */
        sem_wait(&connections);
        sem_post(&connections);
        return arg;
    }
    sem_wait(&connections);
    sem_post(&connections);
    sem_post(&connections);
    return arg;
}

static void nested_checkout(void)
{
    pthread_t threads[CONNECTIONS];
    sem_init(&connections, 0, CONNECTIONS);
    pthread_barrier_init(&both, NULL, CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++)
        threads[i] = corpus_thread(request, NULL);
    for (int i = 0; i < CONNECTIONS; i++)
        corpus_join(threads[i]);
}

/* A checkout takes the pool's lock, then the connection's, to see whether it still works; who looks after a connection takes
 * them the other way round. */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER, connection_lock = PTHREAD_MUTEX_INITIALIZER;

static void take_both(pthread_mutex_t *first, pthread_mutex_t *second)
{
    pthread_mutex_lock(first);
    if (!corpus_cured)
        pthread_barrier_wait(&both);
    pthread_mutex_lock(second);
    pthread_mutex_unlock(second);
    pthread_mutex_unlock(first);
}

static void *look_after_connection(void *arg)
{
    if (corpus_cured)
        take_both(&pool_lock, &connection_lock);
    else
        take_both(&connection_lock, &pool_lock);
    return arg;
}

static void check_out(void)
{
    take_both(&pool_lock, &connection_lock);
}

static void pool_against_connection(void)
{
    pthread_barrier_init(&both, NULL, 2);
    pthread_t keeper = corpus_thread(look_after_connection, NULL);
    check_out();
    corpus_join(keeper);
}

const struct corpus_case corpus_managers[] = {
    {"wakeup-pipe-full", wakeup_pipe_full},
    {"join-under-lock", join_under_lock},
    {"undecodable-result", undecodable_result},
    {"launcher-waits", launcher_waits},
    {"nested-checkout", nested_checkout},
    {"pool-against-connection", pool_against_connection},
    {NULL, NULL},
};
