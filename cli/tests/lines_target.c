/*
 * Prints numbered lines on both streams until its standard input ends, has children that print too, and exits with 7. Meanwhile
 * two of its threads are in a deadlock, a part that is proved again and again: wedge stops it for stacks each time it is still.
 */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EVERY = 40, STILL_NS = 500000000, STATUS = 7 };

static pthread_mutex_t locks[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static pthread_barrier_t both;

static void *deadlock(void *arg)
{
    long own = (long)arg;
    pthread_mutex_lock(&locks[own]);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&locks[!own]);
    return NULL;
}

/* A line at a time, past stdio: what was printed is with whoever reads it. */
static void line(int fd, const char *who, long number)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "%s %ld\n", who, number);
    if (write(fd, text, (size_t)len) != len)
        _exit(1);
}

static bool has_ended(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    char byte;
    return poll(&pollfd, 1, 0) == 1 && read(fd, &byte, 1) == 0;
}

int main(void)
{
    long i = 0;
    pthread_t threads[2];
    pthread_barrier_init(&both, NULL, 2);
    for (long k = 0; k < 2; k++)
        pthread_create(&threads[k], NULL, deadlock, (void *)k);
    while (i % EVERY || !has_ended(STDIN_FILENO)) {
        i++;
        line(STDOUT_FILENO, "out", i);
        line(STDERR_FILENO, "err", i);
        if (i % EVERY)
            continue;
        nanosleep(&(struct timespec){.tv_nsec = STILL_NS}, NULL);
        pid_t child = fork();
        if (child == 0) {
            line(STDOUT_FILENO, "child", i);
            _exit(STATUS);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != STATUS)
            _exit(2);
    }
    line(STDOUT_FILENO, "end", i);
    _exit(STATUS);
}
