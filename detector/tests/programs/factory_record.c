/* Cases about which the agent's record knows what nobody sees from outside. Beside each a thread lives on, so that by the
 * looks of it anybody might help. */
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static _Atomic bool done;

static void *live_on(void *arg)
{
    for (;;)
        factory_nap(5);
    return arg;
}
static void beside_a_live_one(void)
{
    pthread_t thread;
    factory_spawn(&thread, live_on, NULL);
    factory_ready();
}

static void *write_it(void *arg)
{
    pthread_rwlock_wrlock(&rwlock);
    return arg;
}
/* The only reader waits for the end of a writer. */
static void reader_joins(void)
{
    pthread_t writer;
    pthread_rwlock_rdlock(&rwlock);
    factory_spawn(&writer, write_it, NULL);
    beside_a_live_one();
    pthread_join(writer, NULL);
}

static void ignore(int number)
{
    (void)number;
}
/* The same where a handler might do anything. */
static void reader_and_handler(void)
{
    signal(SIGUSR1, ignore);
    reader_joins();
}

static void *read_and_write_it(void *arg)
{
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_wrlock(&rwlock);
    return arg;
}
/* One of two readers wants to write. */
static void reader_upgrades(void)
{
    pthread_t writer;
    pthread_rwlock_rdlock(&rwlock);
    factory_spawn(&writer, read_and_write_it, NULL);
    beside_a_live_one();
    pthread_join(writer, NULL);
}

static void *post_then_lock(void *arg)
{
    sem_post(&sem);
    while (!done)
        factory_nap(1);
    pthread_mutex_lock(&mutex);
    sem_post(&sem);
    return arg;
}
/* The one who posts needs a lock of the one who waits. */
static void poster_stuck(void)
{
    pthread_t poster;
    sem_init(&sem, 0, 0);
    pthread_mutex_lock(&mutex);
    factory_spawn(&poster, post_then_lock, NULL);
    sem_wait(&sem);
    done = true;
    beside_a_live_one();
    sem_wait(&sem);
}

/* The same where a handler might post. */
static void poster_and_handler(void)
{
    signal(SIGUSR1, ignore);
    poster_stuck();
}

static sem_t *between;

static void *post_between_then_lock(void *arg)
{
    sem_post(between);
    while (!done)
        factory_nap(1);
    pthread_mutex_lock(&mutex);
    return arg;
}
/* The same with a semaphore that another process has too: it posts when it likes. */
static void poster_and_process(void)
{
    pthread_t poster;
    between = factory_shared(sizeof(*between));
    sem_init(between, 1, 0);
    pthread_mutex_lock(&mutex);
    factory_spawn(&poster, post_between_then_lock, NULL);
    sem_wait(between);
    done = true;
    if (factory_child() == 0)
        live_on(NULL);
    factory_ready();
    sem_wait(between);
}

static void *take_and_end(void *arg)
{
    sem_wait(&sem);
    return arg;
}
/* A semaphore as a lock, whose holder has ended. */
static void taker_ended(void)
{
    pthread_t taker;
    sem_init(&sem, 0, 1);
    factory_spawn(&taker, take_and_end, NULL);
    pthread_join(taker, NULL);
    factory_ready();
    sem_wait(&sem);
}

/* A semaphore in shared memory as a lock: the child that had it is gone, and another one waits for it. The first was
 * not waited for, as whoever should look after it is busy. */
static void shared_taker_ended(void)
{
    sem_t *lock = factory_shared(sizeof(*lock));
    sem_init(lock, 1, 1);
    pid_t taker = factory_child();
    if (taker == 0) {
        sem_wait(lock);
        _exit(0);
    }
    siginfo_t ended;
    waitid(P_PID, (id_t)taker, &ended, WEXITED | WNOWAIT);
    pid_t other = factory_child();
    if (other == 0) {
        sem_wait(lock);
        _exit(0);
    }
    factory_ready();
    waitpid(other, NULL, 0);
}

static void *signal_and_end(void *arg)
{
    pthread_cond_signal(&cond);
    return arg;
}
/* Signalled before anybody waits, and nobody looks whether it was. */
static void signalled_early(void)
{
    pthread_t thread;
    factory_spawn(&thread, signal_and_end, NULL);
    pthread_join(thread, NULL);
    factory_ready();
    pthread_mutex_lock(&mutex);
    pthread_cond_wait(&cond, &mutex);
}

static void *wait_for_signal(void *arg)
{
    pthread_mutex_lock(&mutex);
    pthread_cond_wait(&cond, &mutex);
    return arg;
}
/* The same, and another thread waits for the end of the one that waits: it may have meant to signal after that. */
static void signalled_early_and_joined(void)
{
    pthread_t thread;
    factory_spawn(&thread, signal_and_end, NULL);
    pthread_join(thread, NULL);
    factory_spawn(&thread, wait_for_signal, NULL);
    factory_ready();
    pthread_join(thread, NULL);
}

const struct factory_case factory_record[] = {
    {"reader-joins", reader_joins, false},
    {"poster-stuck", poster_stuck, false},
    {"taker-ended", taker_ended, false},
    {"shared-taker-ended", shared_taker_ended, false},
    {"signalled-early", signalled_early, false},
    {"reader-upgrades", reader_upgrades, false},
    {"reader-and-handler", reader_and_handler, true},
    {"poster-and-handler", poster_and_handler, true},
    {"poster-and-process", poster_and_process, true},
    {"signalled-early-and-joined", signalled_early_and_joined, false},
    {NULL, NULL, false},
};
