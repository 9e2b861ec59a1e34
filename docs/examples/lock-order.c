/*
 * Two threads, two locks, opposite order: the smallest hang that wedge explains. It knows nothing of wedge.
 *
 *   gcc -g -pthread lock-order.c -o lock-order && wedge watch -- ./lock-order
 *
 * The barrier makes it certain: each thread has its first lock before either asks for its second.
 */
#include <pthread.h>
#include <stdio.h>

static pthread_mutex_t accounts = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t journal = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both_hold_one;

static void *transfer(void *unused)
{
    pthread_mutex_lock(&accounts);
    pthread_barrier_wait(&both_hold_one);
    pthread_mutex_lock(&journal);
    pthread_mutex_unlock(&journal);
    pthread_mutex_unlock(&accounts);
    return unused;
}

static void *audit(void *unused)
{
    pthread_mutex_lock(&journal);
    pthread_barrier_wait(&both_hold_one);
    pthread_mutex_lock(&accounts);
    pthread_mutex_unlock(&accounts);
    pthread_mutex_unlock(&journal);
    return unused;
}

int main(void)
{
    pthread_t threads[2];
    pthread_barrier_init(&both_hold_one, NULL, 2);
    pthread_create(&threads[0], NULL, transfer, NULL);
    pthread_create(&threads[1], NULL, audit, NULL);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    puts("transferred and audited");
    return 0;
}
