/*
 * The program of docs/tutorial.md: one thread reads a file, the other waits for the number of its lines. It has a bug, and with --cured
 * it has it no longer. It knows nothing of wedge.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static const char *path;
static int cured, done, failed; /* the latter two under the lock */
static long lines;

static void finish(int error)
{
    pthread_mutex_lock(&lock);
    done = 1;
    failed = error;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void *take_in(void *unused)
{
    char block[64];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while ((n = read(fd, block, sizeof(block))) > 0)
        for (ssize_t i = 0; i < n; i++)
            lines += block[i] == '\n';
    if (n < 0) {
        fprintf(stderr, "intake: %s: %s\n", path, strerror(errno));
        if (cured)
            finish(1);
        return NULL; /* and nobody tells the one who waits */
    }
    finish(0);
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t reader;
    cured = argc > 2 && strcmp(argv[2], "--cured") == 0;
    path = argc > 1 ? argv[1] : "/dev/null";
    pthread_create(&reader, NULL, take_in, NULL);
    pthread_mutex_lock(&lock);
    while (!done)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    pthread_join(reader, NULL);
    printf("%ld lines\n", lines);
    return failed;
}
