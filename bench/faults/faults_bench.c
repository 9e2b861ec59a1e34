/*
 * What a call costs. usage: bench-faults sem|read|point THREADS CALLS   or   bench-faults start|start-cpu RUNS
 *
 * Prints one number: nanoseconds a call, or for `start` the median microseconds from before fork to after the end of
 * /bin/true, for `start-cpu` the microseconds on a processor of such a child, on average.
 *
 * The calls of a thread are timed in 500 short slices, and the figure is that below which a tenth of them lie: on a machine
 * that others use too, a slice in which somebody else had the processor, or its other half, says nothing of the call. With
 * several threads it is the slowest thread's.
 */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wedge/point.h>

enum { SLICES = 500, THREADS_MAX = 16, STARTS_MAX = 10000 };

static long calls;
static const char *mode;
static pthread_barrier_t all_there;

static double now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* That below which so much of them lies. */
static double quantile(double *of, int n, double part)
{
    qsort(of, (size_t)n, sizeof(*of), by_value);
    return of[(int)(n * part)];
}

struct room { /* a thread's own, on lines of its own */
    sem_t sem;
    char byte;
    int zero;
    double result;
} __attribute__((aligned(256)));

/* Returns how many calls of the function in question that was. */
static long slice(struct room *room)
{
    long n = calls / SLICES;
    if (strcmp(mode, "sem") == 0) {
        for (long i = 0; i < n / 2; i++) {
            sem_post(&room->sem);
            sem_trywait(&room->sem);
        }
        return n / 2 * 2;
    }
    if (strcmp(mode, "read") == 0) {
        for (long i = 0; i < n; i++)
            if (read(room->zero, &room->byte, 1) != 1)
                exit(3);
    } else {
        for (long i = 0; i < n; i++)
            WEDGE_POINT("bench.point");
    }
    return n;
}

static void *run(void *arg)
{
    struct room *room = arg;
    double of[SLICES];
    slice(room); /* warm */
    pthread_barrier_wait(&all_there);
    for (int i = 0; i < SLICES; i++) {
        double from = now_ns();
        long n = slice(room);
        of[i] = (now_ns() - from) / (double)n;
    }
    room->result = quantile(of, SLICES, 0.1);
    return NULL;
}

static int time_calls(int threads)
{
    static struct room rooms[THREADS_MAX];
    pthread_t all[THREADS_MAX];
    double slowest = 0;
    pthread_barrier_init(&all_there, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        sem_init(&rooms[i].sem, 0, 0);
        rooms[i].zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        if (rooms[i].zero < 0 || pthread_create(&all[i], NULL, run, &rooms[i]))
            return 1;
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(all[i], NULL);
        if (rooms[i].result > slowest)
            slowest = rooms[i].result;
    }
    printf("%.3f\n", slowest);
    return 0;
}

static int starts(int runs, bool by_cpu)
{
    static double of[STARTS_MAX];
    for (int i = 0; i < runs && i < STARTS_MAX; i++) {
        double from = now_ns();
        pid_t pid = fork();
        if (pid == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        int status;
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
            return 1;
        of[i] = (now_ns() - from) / 1e3;
    }
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    double cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    printf("%.2f\n", by_cpu ? cpu_us / runs : quantile(of, runs, 0.5));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strncmp(argv[1], "start", 5) == 0)
        return starts(atoi(argv[2]) < STARTS_MAX ? atoi(argv[2]) : STARTS_MAX, strcmp(argv[1], "start-cpu") == 0);
    int threads = argc == 4 ? atoi(argv[2]) : 0;
    if (threads < 1 || threads > THREADS_MAX || atol(argv[3]) < 2 * SLICES) {
        fprintf(stderr, "usage: bench-faults sem|read|point THREADS CALLS | start|start-cpu RUNS\n");
        return 2;
    }
    mode = argv[1];
    calls = atol(argv[3]);
    return time_calls(threads);
}
