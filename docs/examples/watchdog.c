/*
 * A program with a watchdog of its own (wedge-detector(3)): two of its threads take two locks in opposite order, and the
 * watchdog says so and ends the program.
 *
 *   cc -g watchdog.c -o watchdog $(pkg-config --cflags --libs wedge-detector) && ./watchdog
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <wedge/detector.h>

static pthread_mutex_t account[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static pthread_barrier_t both;

static void on_hang(const struct wedge_result *result, void *arg)
{
    (void)arg;
    printf("%s, %s, of the %s: %s\n", wedge_result_kind(result), wedge_result_certainty(result),
           wedge_result_scope(result), wedge_result_summary(result));
    fflush(stdout);
    _Exit(3);
}

static void *transfer(void *from)
{
    int first = *(int *)from;
    pthread_mutex_lock(&account[first]);
    pthread_barrier_wait(&both); /* so that it goes wrong every time */
    pthread_mutex_lock(&account[1 - first]);
    pthread_mutex_unlock(&account[1 - first]);
    pthread_mutex_unlock(&account[first]);
    return NULL;
}

int main(void)
{
    struct wedge_watchdog_options options = {
        .size = sizeof(options), .flags = WEDGE_DETECT_STACKS, .check_ms = 100, .on_hang = on_hang};
    struct wedge_watchdog *watchdog;
    pthread_t threads[2];
    int from[2] = {0, 1};
    if (wedge_watchdog_start(&options, &watchdog)) {
        fprintf(stderr, "no watchdog\n");
        return EXIT_FAILURE;
    }
    pthread_barrier_init(&both, NULL, 2);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, transfer, &from[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    wedge_watchdog_stop(watchdog);
    return EXIT_SUCCESS;
}
