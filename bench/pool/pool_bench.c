/*
 * The pool's speed, one figure per call; bench/pool/run puts them beside their peers'.
 *
 *   pool_bench put N             tasks/s: one wedge_pool_put per task, collector, 2 × 2, queue 1000
 *   pool_bench many N            tasks/s: put_many in one thread, take_many in another
 *   pool_bench trip N [µS]       µs, median: one task at a time, put to result, by iteration; so long a rest before each
 *   pool_bench stream-put N      tasks/s as put, over the streams: preset reported
 *   pool_bench stream-trip N     µs as trip, over the streams
 *   pool_bench idle SECONDS      % of a core that a pool takes to which nobody puts
 *   pool_bench work P µS N       tasks/s with P processes × 1 thread and tasks that compute for so long
 *   pool_bench bare P µS N       the same tasks in P forked processes without a pool: what the machine has to give just now
 *
 * Prints the figure alone. A task gets 8 bytes and answers 8 bytes.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <wedge/pool.h>

#include "base/clock.h"

#define MANY 256 /* tasks per put_many, results per take_many */

static int64_t work_ns;
static const char *preset = "hardened";

static void check(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "pool_bench: %s: %s\n", what, strerror(-rc));
    exit(1);
}

static void compute(void)
{
    if (work_ns)
        for (int64_t until_ns = wedge_clock_ns() + work_ns; wedge_clock_ns() < until_ns;)
            ;
}

static int square(struct wedge_pool_task *task, void *context)
{
    uint64_t number;
    (void)context;
    memcpy(&number, task->data, sizeof(number));
    compute();
    number *= number;
    memcpy(task->result, &number, sizeof(number));
    task->result_bytes = sizeof(number);
    return 0;
}

static void count(const struct wedge_pool_result *result, void *context)
{
    uint64_t *sum = context, square;
    memcpy(&square, result->data, sizeof(square));
    *sum += square;
}

static struct wedge_pool *start(const char *processes, const char *threads, uint64_t *sum)
{
    struct wedge_pool_callbacks callbacks = {.task = square, .collect = sum ? count : NULL, .context = sum};
    struct wedge_pool_err err;
    struct wedge_pool *pool;
    check(wedge_pool_create(preset, &pool, &err), "create");
    check(wedge_pool_set(pool, processes, &err), "set");
    check(wedge_pool_set(pool, threads, &err), "set");
    check(wedge_pool_set(pool, "queue=1000", &err), "set");
    check(wedge_pool_start(pool, &callbacks, &err), "start");
    return pool;
}

/* All workers are there, so that no fork is in the figure. */
static void finish(struct wedge_pool *pool)
{
    check(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), "join");
    wedge_pool_destroy(pool);
}

static void right(uint64_t sum, uint64_t n)
{
    uint64_t want = 0;
    for (uint64_t i = 1; i <= n; i++)
        want += i * i;
    if (sum == want)
        return;
    fprintf(stderr, "pool_bench: results are wrong\n");
    exit(1);
}

static double put_all(const char *processes, const char *threads, uint64_t n)
{
    uint64_t sum = 0;
    struct wedge_pool *pool = start(processes, threads, &sum);
    int64_t begin_ns = wedge_clock_ns();
    for (uint64_t i = 1; i <= n; i++)
        check(wedge_pool_put(pool, &i, sizeof(i), WEDGE_POOL_NEVER, NULL), "put");
    check(wedge_pool_join(pool, WEDGE_POOL_NEVER, NULL), "join");
    int64_t end_ns = wedge_clock_ns();
    wedge_pool_destroy(pool);
    right(sum, n);
    return (double)n * 1e9 / (double)(end_ns - begin_ns);
}

struct feed {
    struct wedge_pool *pool;
    uint64_t n;
};

static void *feed_main(void *arg)
{
    struct feed *feed = arg;
    struct wedge_pool_input inputs[MANY];
    uint64_t numbers[MANY];
    for (uint64_t at = 1; at <= feed->n;) {
        unsigned some = feed->n - at + 1 < MANY ? (unsigned)(feed->n - at + 1) : MANY;
        for (unsigned i = 0; i < some; i++, at++) {
            numbers[i] = at;
            inputs[i] = (struct wedge_pool_input){.data = &numbers[i], .bytes = sizeof(numbers[i])};
        }
        for (unsigned done = 0; done < some;) {
            int rc = wedge_pool_put_many(feed->pool, inputs + done, some - done, WEDGE_POOL_NEVER);
            if (rc == -ENOBUFS) /* full before the first take: it will come */
                sched_yield();
            else
                check(rc, "put_many");
            done += rc > 0 ? (unsigned)rc : 0;
        }
    }
    wedge_pool_close(feed->pool, WEDGE_POOL_NEVER);
    return NULL;
}

static double many(uint64_t n)
{
    struct feed feed = {.pool = start("processes=2", "threads=2", NULL), .n = n};
    struct wedge_pool_result results[MANY];
    uint64_t squares[MANY], sum = 0;
    pthread_t thread;
    int rc;
    int64_t begin_ns = wedge_clock_ns();
    check(-pthread_create(&thread, NULL, feed_main, &feed), "thread");
    do {
        rc = wedge_pool_take_many(feed.pool, results, MANY, squares, sizeof(squares[0]), wedge_pool_after_ms(10000));
        for (int i = 0; i < rc; i++)
            sum += squares[i];
    } while (rc > 0);
    int64_t end_ns = wedge_clock_ns();
    if (rc != -ENODATA)
        check(rc, "take_many");
    pthread_join(thread, NULL);
    finish(feed.pool);
    right(sum, n);
    return (double)n * 1e9 / (double)(end_ns - begin_ns);
}

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double trip(uint64_t n, long rest_us)
{
    const struct timespec rest = {.tv_nsec = rest_us * 1000};
    struct wedge_pool *pool = start("processes=2", "threads=2", NULL);
    int64_t *took_ns = calloc(n, sizeof(*took_ns));
    struct wedge_pool_result result;
    uint64_t square;
    for (uint64_t i = 0; i < n; i++) {
        if (rest_us)
            nanosleep(&rest, NULL);
        int64_t begin_ns = wedge_clock_ns();
        check(wedge_pool_put(pool, &i, sizeof(i), WEDGE_POOL_NEVER, NULL), "put");
        check(wedge_pool_take(pool, &result, &square, sizeof(square), WEDGE_POOL_NEVER), "take");
        took_ns[i] = wedge_clock_ns() - begin_ns;
    }
    finish(pool);
    qsort(took_ns, n, sizeof(*took_ns), by_value);
    int64_t median_ns = took_ns[n / 2];
    free(took_ns);
    return (double)median_ns / 1e3;
}

static double cpu_s(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Start and end are in it: a pool that never existed takes the same, so that is subtracted. */
static double idle_cpu_s(int64_t ms)
{
    uint64_t sum = 0;
    double before_s = cpu_s(RUSAGE_SELF) + cpu_s(RUSAGE_CHILDREN);
    struct wedge_pool *pool = start("processes=2", "threads=2", &sum);
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * WEDGE_NS_PER_MS};
    nanosleep(&rest, NULL);
    finish(pool);
    return cpu_s(RUSAGE_SELF) + cpu_s(RUSAGE_CHILDREN) - before_s;
}

static double bare(long processes, uint64_t n)
{
    int64_t begin_ns = wedge_clock_ns();
    for (long i = 0; i < processes; i++) {
        if (fork() != 0)
            continue;
        for (uint64_t at = 0; at < n / (uint64_t)processes; at++)
            compute();
        _exit(0);
    }
    while (wait(NULL) > 0)
        ;
    int64_t end_ns = wedge_clock_ns();
    return (double)n * 1e9 / (double)(end_ns - begin_ns);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    double figure;
    if (strncmp(mode, "stream-", strlen("stream-")) == 0) {
        preset = "reported"; /* it waits for room where `proposed` drops a result: all are wanted here */
        mode += strlen("stream-");
    }
    if (strcmp(mode, "put") == 0 && argc == 3) {
        figure = put_all("processes=2", "threads=2", strtoull(argv[2], NULL, 10));
    } else if (strcmp(mode, "many") == 0 && argc == 3) {
        figure = many(strtoull(argv[2], NULL, 10));
    } else if (strcmp(mode, "trip") == 0 && (argc == 3 || argc == 4)) {
        figure = trip(strtoull(argv[2], NULL, 10), argc == 4 ? strtol(argv[3], NULL, 10) : 0);
    } else if (strcmp(mode, "idle") == 0 && argc == 3) {
        int64_t ms = strtoll(argv[2], NULL, 10) * 1000;
        figure = (idle_cpu_s(ms) - idle_cpu_s(50)) / (double)ms * 1e5;
    } else if (strcmp(mode, "work") == 0 && argc == 5) {
        char processes[32];
        snprintf(processes, sizeof(processes), "processes=%.10s", argv[2]);
        work_ns = strtoll(argv[3], NULL, 10) * 1000;
        figure = put_all(processes, "threads=1", strtoull(argv[4], NULL, 10));
    } else if (strcmp(mode, "bare") == 0 && argc == 5) {
        work_ns = strtoll(argv[3], NULL, 10) * 1000;
        figure = bare(strtol(argv[2], NULL, 10), strtoull(argv[4], NULL, 10));
    } else {
        fprintf(stderr, "usage: pool_bench [stream-]put N | many N | [stream-]trip N [µs] | idle SECONDS | work|bare "
                        "PROCESSES µS N\n");
        return 2;
    }
    printf("%.3f\n", figure);
    return 0;
}
