/* A target for test_call_record: what it takes, waits for and wakes is printed with its addresses; see each case. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, other = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem, full;
static sigjmp_buf out;

static long long now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void say_all(void)
{
    printf("mutex=%p other=%p rwlock=%p cond=%p sem=%p full=%p now=%lld\n", (void *)&mutex, (void *)&other,
           (void *)&rwlock, (void *)&cond, (void *)&sem, (void *)&full, now());
    fflush(stdout);
}

/* One call of each kind, then a death that runs nothing. */
static void events(void)
{
    int ends[2];
    char byte = 'x';
    if (pipe(ends))
        return;
    say_all();
    pthread_mutex_lock(&mutex);
    pthread_mutex_trylock(&mutex); /* EBUSY */
    pthread_mutex_unlock(&mutex);
    sem_post(&sem);
    sem_wait(&sem);
    sem_trywait(&sem); /* EAGAIN */
    (void)!write(ends[1], &byte, 1);
    (void)!read(ends[0], &byte, 1);
    pthread_cond_signal(&cond);
    kill(getpid(), SIGKILL);
}

static void *reader(void *arg)
{
    pthread_rwlock_rdlock(&rwlock);
    pthread_mutex_lock(&other);
    pthread_cond_wait(&cond, &other);
    return arg;
}

/* The first thread holds a mutex and reads twice; another reads and waits for a condition. */
static void holds(void)
{
    pthread_t thread;
    say_all();
    pthread_mutex_lock(&mutex);
    pthread_mutex_lock(&other);
    pthread_mutex_unlock(&other);
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_rdlock(&rwlock);
    pthread_create(&thread, NULL, reader, NULL);
    sem_wait(&full);
}

/* A semaphore that it has taken, one that it took and gave back, one that it gave; at a word from outside so many more
 * that there is room for a lock only if one of these makes way. */
static void semaphores(void)
{
    static sem_t taken, back, many[20];
    char word;
    sem_init(&taken, 0, 1);
    sem_init(&back, 0, 1);
    sem_wait(&taken);
    sem_wait(&back);
    sem_post(&back);
    sem_post(&sem);
    say_all();
    printf("taken=%p back=%p\n", (void *)&taken, (void *)&back);
    fflush(stdout);
    if (read(0, &word, 1) != 1)
        return;
    for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++)
        sem_post(&many[i]);
    pthread_mutex_lock(&mutex);
    sem_wait(&full);
}

static void leave(int signal)
{
    (void)signal;
    siglongjmp(out, 1);
}

static void post(int signal)
{
    (void)signal;
    sem_post(&sem);
    sem_wait(&sem);
}

/* Out of a read by siglongjmp, many times; then a wait whose handler waits and posts too. */
static void jumps(void)
{
    int ends[2];
    char byte;
    if (pipe(ends))
        return;
    signal(SIGALRM, leave);
    for (volatile int i = 0; i < 20; i++) { /* kept over the jump (setjmp(3)) */
        if (sigsetjmp(out, 1) == 0) {
            ualarm(1000, 1000);
            (void)!read(ends[0], &byte, 1);
        }
    }
    ualarm(0, 0);
    signal(SIGALRM, SIG_IGN);
    struct sigaction action = {.sa_handler = post, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    say_all();
    sem_wait(&full);
}

static void *cancelled(void *arg)
{
    sem_wait(&full);
    return arg;
}

/* None that ever comes. */
static void arm(const char *how)
{
    const struct itimerval far = {.it_value = {.tv_sec = 3600}};
    if (strcmp(how, "alarm") == 0)
        alarm(3600);
    else if (strcmp(how, "setitimer") == 0)
        setitimer(ITIMER_REAL, &far, NULL);
    else
        syscall(SYS_setitimer, ITIMER_REAL, &far, NULL);
    say_all();
    sem_wait(&full);
}

static void cancels(void)
{
    pthread_t thread;
    say_all();
    for (int i = 0; i < 20; i++) {
        pthread_create(&thread, NULL, cancelled, NULL);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
    sem_wait(&full);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    sem_init(&sem, 0, 0);
    sem_init(&full, 0, 0);
    if (strcmp(what, "events") == 0)
        events();
    else if (strcmp(what, "holds") == 0)
        holds();
    else if (strcmp(what, "semaphores") == 0)
        semaphores();
    else if (strcmp(what, "jumps") == 0)
        jumps();
    else if (strcmp(what, "cancels") == 0)
        cancels();
    else
        arm(what);
    return 0;
}
