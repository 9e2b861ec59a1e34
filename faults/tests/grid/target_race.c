/*
 * usage: target_race THREADS ROUNDS
 *
 * Processes and threads that race for the same objects: two children, each with threads that post and take one
 * semaphore, lock one mutex and write into one pipe. How the threads interleave is nobody's to say; how many calls each
 * thread makes is fixed.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wedge/point.h>

enum { THREADS_MAX = 8 };

static int rounds;
static int ends[2];
static sem_t sem;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *work(void *arg)
{
    char byte = 0;
    for (int i = 0; i < rounds; i++) {
        sem_post(&sem);
        sem_trywait(&sem);
        if (pthread_mutex_lock(&mutex) == 0)
            pthread_mutex_unlock(&mutex);
        if (write(ends[1], &byte, 1) < 0)
            WEDGE_POINT("r.failed");
        WEDGE_POINT("r.round");
    }
    return arg;
}

static int child(int number, int threads)
{
    pthread_t all[THREADS_MAX];
    wedge_role("racer", number, 0);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&all[i], NULL, work, NULL))
            return 1;
    for (int i = 0; i < threads; i++)
        pthread_join(all[i], NULL);
    return 0;
}

int main(int argc, char **argv)
{
    int threads = argc == 3 ? atoi(argv[1]) : 0;
    rounds = argc == 3 ? atoi(argv[2]) : 0;
    if (threads < 1 || threads > THREADS_MAX || pipe(ends) || sem_init(&sem, 1, 0))
        return 2;
    pid_t pids[2];
    for (int i = 0; i < 2; i++)
        if ((pids[i] = fork()) == 0)
            _exit(child(i + 1, threads));
    for (int i = 0; i < 2; i++) {
        int status;
        if (pids[i] < 0 || waitpid(pids[i], &status, 0) != pids[i] || status)
            return 1;
    }
    return 0;
}
