/* One hang of each kind of docs/verdicts.md: cc -g -pthread -I base/include docs/examples/hangs.c -o hangs */
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wedge/point.h>

static pthread_mutex_t a = PTHREAD_MUTEX_INITIALIZER, b = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t both;
static sem_t items;

static pthread_t start(void *(*function)(void *))
{
    pthread_t thread;
    pthread_create(&thread, NULL, function, NULL);
    return thread;
}

static void self_deadlock(void)
{
    pthread_mutex_lock(&a);
    pthread_mutex_lock(&a);
}

static void *lock_and_end(void *arg)
{
    pthread_mutex_lock(&a);
    return arg;
}
static void abandoned_lock(void)
{
    pthread_join(start(lock_and_end), NULL);
    pthread_mutex_lock(&a);
}

static void *lock_b_then_a(void *arg)
{
    pthread_mutex_lock(&b);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&a);
    return arg;
}
static void lock_cycle(void)
{
    pthread_barrier_init(&both, NULL, 2);
    pthread_mutex_lock(&a);
    start(lock_b_then_a);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&b);
}

static void fill(int fd)
{
    char block[4096] = "";
    while (write(fd, block, sizeof(block)) > 0)
        ;
}
static void mutual_backpressure(void)
{
    int there[2], back[2];
    if (pipe(there) || pipe(back))
        return;
    fill(fork() == 0 ? back[1] : there[1]);
}

static void orphaned_wait(void)
{
    int ends[2];
    char byte;
    if (pipe(ends) == 0 && read(ends[0], &byte, 1) < 0)
        perror("read");
}

static void *take_item(void *arg)
{
    sem_wait(&items);
    return arg;
}
static void closed_wait(void)
{
    sem_init(&items, 0, 0);
    pthread_join(start(take_item), NULL);
}

static void *signal_change(void *arg)
{
    pthread_cond_signal(&changed);
    return arg;
}
static void lost_wakeup(void)
{
    pthread_join(start(signal_change), NULL);
    pthread_mutex_lock(&a);
    pthread_cond_wait(&changed, &a); /* nobody looked whether it had changed already */
}

static void stopped(void)
{
    pid_t child = fork();
    if (child == 0)
        raise(SIGSTOP);
    else
        waitpid(child, NULL, 0);
}

static void livelock(void)
{
    WEDGE_PROGRESS(1);
    for (volatile long n = 0;; n++)
        ;
}

static void *work_with_lock(void *arg)
{
    pthread_mutex_lock(&a);
    pthread_barrier_wait(&both);
    for (int i = 0; i < 8; i++) {
        poll(NULL, 0, 500);
        WEDGE_PROGRESS(1);
    }
    pthread_mutex_unlock(&a);
    return arg;
}
static void contention(void)
{
    pthread_barrier_init(&both, NULL, 2);
    start(work_with_lock);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&a);
}

static void no_progress(void)
{
    WEDGE_PROGRESS(1);
    for (;;)
        poll(NULL, 0, 10);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *kind;
        void (*hang)(void);
    } hangs[] = {{"self-deadlock", self_deadlock}, {"abandoned-lock", abandoned_lock},
                 {"lock-cycle", lock_cycle},       {"mutual-backpressure", mutual_backpressure},
                 {"orphaned-wait", orphaned_wait}, {"closed-wait", closed_wait},
                 {"lost-wakeup", lost_wakeup},     {"stopped", stopped},
                 {"livelock", livelock},           {"contention", contention},
                 {"no-progress", no_progress}};
    for (size_t i = 0; argc == 2 && i < sizeof(hangs) / sizeof(hangs[0]); i++)
        if (strcmp(argv[1], hangs[i].kind) == 0)
            hangs[i].hang();
    return 0;
}
