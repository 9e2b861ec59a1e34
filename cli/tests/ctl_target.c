/*
 * A target for test_ctl. Obeys lines on standard input and answers each with one line:
 *   once    dup() once: "0" or the errno
 *   both    dup() and dup2() in turn, once each: "A B"
 *   hold    a thread calls sched_yield() and then answers "through"; answered at once with "holding"
 *   load N  N threads call dup() until the next line; then "calls C failed F"
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wedge/point.h>

enum { MOST = 8 };
static atomic_bool stop;
static atomic_ulong calls, failed;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *text)
{
    pthread_mutex_lock(&output);
    puts(text);
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

static __attribute__((noinline)) int try_dup(void)
{
    int fd = dup(STDIN_FILENO);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static void *load(void *arg)
{
    unsigned long n = 0, bad = 0;
    while (!atomic_load(&stop)) {
        n++;
        bad += try_dup() != 0;
    }
    atomic_fetch_add(&calls, n);
    atomic_fetch_add(&failed, bad);
    return arg;
}

static void *hold(void *arg)
{
    sched_yield();
    say("through");
    return arg;
}

int main(void)
{
    pthread_t threads[MOST];
    char line[64], text[80];
    int n;
    while (fgets(line, sizeof(line), stdin)) {
        if (strcmp(line, "once\n") == 0) {
            WEDGE_POINT("once"); /* a plan says point:once */
            snprintf(text, sizeof(text), "%d", try_dup());
            say(text);
        } else if (strcmp(line, "both\n") == 0) {
            int first = try_dup(), second = dup2(STDIN_FILENO, 100) < 0 ? errno : 0;
            snprintf(text, sizeof(text), "%d %d", first, second);
            say(text);
        } else if (strcmp(line, "hold\n") == 0) {
            pthread_create(&threads[0], NULL, hold, NULL);
            pthread_detach(threads[0]);
            say("holding");
        } else if (sscanf(line, "load %d", &n) == 1 && n > 0 && n <= MOST) {
            for (int i = 0; i < n; i++)
                pthread_create(&threads[i], NULL, load, NULL);
            say("loading");
            if (!fgets(line, sizeof(line), stdin))
                return 1;
            atomic_store(&stop, true);
            for (int i = 0; i < n; i++)
                pthread_join(threads[i], NULL);
            snprintf(text, sizeof(text), "calls %lu failed %lu", atomic_load(&calls), atomic_load(&failed));
            say(text);
        }
    }
    return 0;
}
