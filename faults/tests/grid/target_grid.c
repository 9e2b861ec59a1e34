/*
 * usage: target_grid FD serial|parallel
 *
 * Does what grid.h says and writes what it saw into the file FD, which it maps. What is not to be counted (looking at
 * the effect, the mapping) is done by bare system calls, past every wrapper.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wedge/point.h>

#include "faults/agent/sys.h"
#include "faults/tests/grid/grid.h"

static struct grid_map *map;
static bool parallel;
static int process_now;

struct ends {
    int pipe[2];
};

static int16_t bytes_in(const struct ends *ends)
{
    int bytes = -1;
    sys_call(SYS_ioctl, ends->pipe[0], FIONREAD, (long)&bytes, 0, 0, 0);
    return (int16_t)bytes;
}

static void empty(const struct ends *ends)
{
    char bytes[64];
    if (bytes_in(ends) > 0)
        sys_call(SYS_read, ends->pipe[0], (long)bytes, sizeof(bytes), 0, 0, 0);
}

static struct grid_seen carry(enum grid_op op, const struct ends *ends)
{
    char bytes[GRID_BYTES] = "bytes";
    struct iovec halves[2] = {{bytes, GRID_BYTES / 2}, {bytes + GRID_BYTES / 2, GRID_BYTES / 2}};
    struct grid_seen seen = {0};
    if (op == OP_READ || op == OP_READV)
        sys_call(SYS_write, ends->pipe[1], (long)bytes, GRID_BYTES, 0, 0, 0);
    errno = GRID_ERRNO;
    seen.value = (int32_t)(op == OP_WRITE    ? write(ends->pipe[1], bytes, GRID_BYTES)
                           : op == OP_WRITEV ? writev(ends->pipe[1], halves, 2)
                           : op == OP_READ   ? read(ends->pipe[0], bytes, GRID_BYTES)
                                             : readv(ends->pipe[0], halves, 2));
    seen.error = (int16_t)errno;
    seen.effect = bytes_in(ends);
    empty(ends);
    return seen;
}

static struct grid_seen semaphore(enum grid_op op, sem_t *sem)
{
    struct timespec past = {0};
    struct grid_seen seen = {0};
    int value = -1;
    sem_init(sem, 1, op == OP_POST ? 0 : 1);
    errno = GRID_ERRNO;
    seen.value = op == OP_POST      ? sem_post(sem)
                 : op == OP_TRYWAIT ? sem_trywait(sem)
                 : op == OP_WAIT    ? sem_wait(sem)
                                    : sem_timedwait(sem, &past);
    seen.error = (int16_t)errno;
    sem_getvalue(sem, &value);
    seen.effect = (int16_t)value;
    return seen;
}

static struct grid_seen other(enum grid_op op)
{
    struct timespec zero = {0}, now = {0};
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    struct grid_seen seen = {0};
    errno = GRID_ERRNO;
    switch (op) {
    case OP_SIGNAL:
        seen.value = pthread_cond_signal(&cond);
        break;
    case OP_BROADCAST:
        seen.value = pthread_cond_broadcast(&cond);
        break;
    case OP_YIELD:
        seen.value = sched_yield();
        break;
    case OP_SLEEP:
        seen.value = nanosleep(&zero, NULL);
        break;
    case OP_POLL:
        seen.value = poll(NULL, 0, 0);
        break;
    case OP_PPOLL:
        seen.value = ppoll(NULL, 0, &zero, NULL);
        break;
    case OP_CLOCK:
        seen.value = clock_gettime(CLOCK_MONOTONIC, &now);
        break;
    case OP_POINT:
        WEDGE_POINT("g.point");
        break;
    case OP_ASK:
        seen.value = WEDGE_ASK("g.ask");
        break;
    default:
        seen.value = WEDGE_ASK("g.other");
        break;
    }
    seen.error = (int16_t)errno;
    seen.effect = op == OP_CLOCK && (now.tv_sec || now.tv_nsec);
    return seen;
}

/* One thread's work: `segments` of SEGMENT calls, and what stands between them. */
struct worker {
    int thread;
    struct grid_thread *out;
    struct ends ends;
};

static void begin(struct worker *worker, int thread)
{
    worker->thread = thread;
    worker->out = &map->processes[process_now].threads[thread];
    worker->out->tid = sys_gettid();
    if (sys_call(SYS_pipe2, (long)worker->ends.pipe, 0, 0, 0, 0, 0))
        _exit(99);
}

static void end(struct worker *worker)
{
    for (int i = 0; i < 2; i++)
        sys_call(SYS_close, worker->ends.pipe[i], 0, 0, 0, 0, 0);
}

static void segment(struct worker *worker)
{
    for (int i = 0; i < SEGMENT; i++) {
        enum grid_op op = grid_op(process_now, worker->thread, worker->out->begun);
        worker->out->begun++;
        struct grid_seen seen = op <= OP_READV       ? carry(op, &worker->ends)
                                : op <= OP_TIMEDWAIT ? semaphore(op, &worker->out->sem)
                                                     : other(op);
        worker->out->seen[worker->out->done++] = seen;
    }
}

static void start(pthread_t *thread, void *(*run)(void *))
{
    if (pthread_create(thread, NULL, run, NULL))
        _exit(99);
}

static void *gamma_thread(void *arg)
{
    struct worker worker;
    pthread_setname_np(pthread_self(), "gamma");
    begin(&worker, T_GAMMA);
    segment(&worker);
    end(&worker);
    return arg;
}

static void *alpha_thread(void *arg)
{
    struct worker worker;
    pthread_t gamma;
    pthread_setname_np(pthread_self(), "alpha");
    begin(&worker, T_ALPHA);
    segment(&worker);
    start(&gamma, gamma_thread);
    pthread_join(gamma, NULL);
    segment(&worker);
    end(&worker);
    return arg;
}

static void *beta_thread(void *arg)
{
    struct worker worker;
    pthread_setname_np(pthread_self(), "beta");
    begin(&worker, T_BETA);
    segment(&worker);
    end(&worker);
    return arg;
}

static void threads(void)
{
    pthread_t alpha, beta;
    start(&alpha, alpha_thread);
    if (!parallel)
        pthread_join(alpha, NULL);
    start(&beta, beta_thread);
    if (parallel)
        pthread_join(alpha, NULL);
    pthread_join(beta, NULL);
}

static void child(int process);

static void process(void)
{
    struct worker worker;
    begin(&worker, T_MAIN);
    segment(&worker);
    if (process_now == P_HELPER)
        wedge_role("helper", 1, 0);
    else if (process_now != P_ROOT)
        wedge_role("worker", process_now == P_WORKER2 ? 2 : 1, process_now == P_AGAIN ? 1 : 0);
    segment(&worker);
    threads();
    segment(&worker);
    if (process_now == P_ROOT) {
        child(P_WORKER1);
        child(P_WORKER2);
        child(P_AGAIN);
    } else if (process_now == P_WORKER2) {
        child(P_HELPER);
    } else if (process_now == P_HELPER) {
        wedge_role("helper", 1, 1);
    }
    segment(&worker);
    end(&worker);
}

static void child(int number)
{
    pid_t pid = fork();
    if (pid == 0) {
        process_now = number;
        process();
        if (number % 2)
            exit(GRID_STATUS + number);
        _exit(GRID_STATUS + number);
    }
    map->processes[number].pid = pid;
    if (pid < 0 || waitpid(pid, &map->processes[number].status, 0) != pid)
        _exit(99);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 98;
    long at = sys_call(SYS_mmap, 0, sizeof(*map), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[1]), 0);
    if (at <= 0 && at > -4096)
        return 98;
    map = (struct grid_map *)at;
    parallel = strcmp(argv[2], "parallel") == 0;
    process();
    return GRID_STATUS;
}
