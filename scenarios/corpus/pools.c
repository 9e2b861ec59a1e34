/* Pools of processes: queues between them, and workers that die. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <wedge/point.h>

#include "scenarios/corpus/streams.h"

/* A queue between processes is a pipe that both sides have both ends of, since each may put and take. */
static int tasks[2], results[2];

static void make_queues(void)
{
    corpus_pipe(tasks);
    corpus_pipe(results);
}

/* A child puts a large result into the queue of its parent; a thread of the queue feeds it to the pipe, and the child leaves
 * when that has ended. The parent waits for the child to leave before it looks into the queue. */
static void *feed_result(void *arg)
{
    corpus_put(results[1], CORPUS_MUCH);
    return arg;
}

static void join_before_drain(void)
{
    make_queues();
    pid_t child = corpus_fork();
    if (child == 0) {
        corpus_join(corpus_thread(feed_result, NULL));
        _exit(0);
    }
    if (corpus_cured)
        corpus_take(results[0], CORPUS_MUCH);
    corpus_reap(child, false);
    if (!corpus_cured)
        corpus_take(results[0], CORPUS_MUCH);
}

/* At exit the queue waits for its feeder, which waits for the worker to take more; the worker, held up by something else,
 * waits for the order to leave, which comes later at exit. */
static int leave_order[2];
static pthread_t feeder;
static pid_t exit_worker;

static void *feed_tasks(void *arg)
{
    corpus_put(tasks[1], CORPUS_MUCH);
    return arg;
}
static void order_to_leave(void)
{
    corpus_send(leave_order[1], 0);
    corpus_reap(exit_worker, false);
}
static void join_feeder(void)
{
    corpus_join(feeder);
}

static void exit_joins_feeder(void)
{
    make_queues();
    corpus_pipe(leave_order);
    exit_worker = corpus_fork();
    if (exit_worker == 0) {
        int order;
        corpus_take(tasks[0], 1);
        corpus_receive(leave_order[0], &order);
        _exit(0);
    }
    feeder = corpus_thread(feed_tasks, NULL);
    atexit(order_to_leave);
    if (!corpus_cured)
        atexit(join_feeder); /* registered last, called first */
}

/* Stop marks are put into a bounded queue, one for each worker. The queue is full and every worker dead: nobody makes
 * room. Killed by the plan, each with its first task in hand. */
enum { ROOM = 2, WORKERS = 2 };

static void work_until_mark(sem_t *room, int index)
{
    int task;
    wedge_role("worker", (unsigned)index + 1, 0);
    while (corpus_receive(tasks[0], &task) && task) {
        sem_post(room);
        WEDGE_POINT("corpus.worker.task");
    }
    _exit(0);
}

/* Waits for room, and gives up once nobody is left to make it. */
static bool wait_while_workers_live(sem_t *room, const pid_t workers[WORKERS])
{
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        if (sem_timedwait(room, &until) == 0)
            return true;
        siginfo_t info;
        int living = 0;
        for (int i = 0; i < WORKERS; i++) {
            info.si_pid = 0;
            living += waitid(P_PID, (id_t)workers[i], &info, WEXITED | WNOHANG | WNOWAIT) == 0 && !info.si_pid;
        }
        if (!living)
            return false;
    }
}

static void mark_into_full_queue(void)
{
    make_queues();
    sem_t *room = corpus_shared_sem(ROOM);
    pid_t workers[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        if ((workers[i] = corpus_fork()) == 0)
            work_until_mark(room, i);
    for (int n = 0; n < ROOM + WORKERS + WORKERS; n++) { /* the last WORKERS are marks */
        if (!corpus_cured)
            sem_wait(room);
        else if (!wait_while_workers_live(room, workers))
            break;
        corpus_send(tasks[1], n < ROOM + WORKERS);
    }
    for (int i = 0; i < WORKERS; i++)
        waitpid(workers[i], NULL, 0);
}

/* A worker is killed while the feeder writes it a large task. The pool sees it and ends itself: it waits for the feeder,
 * which nobody reads for and which gets no error either, since the pool has the other end of the pipe too. */
static void *feed_large_task(void *arg)
{
    static const char block[4096];
    signal(SIGPIPE, SIG_IGN);
    for (size_t done = 0; done < CORPUS_MUCH; done += sizeof(block))
        if (write(tasks[1], block, sizeof(block)) < 0) {
            if (errno != EPIPE)
                corpus_die("write");
            break;
        }
    return arg;
}

static void feeder_without_reader(void)
{
    make_queues();
    pid_t worker = corpus_fork();
    if (worker == 0) {
        corpus_take(tasks[0], 1);
        corpus_crash();
    }
    pthread_t large = corpus_thread(feed_large_task, NULL);
    corpus_reap(worker, true);
    if (corpus_cured)
        close(tasks[0]);
    corpus_join(large);
}

/* Readers of a queue take its lock and wait for a task with it. One is killed there: the lock has no owner who could be
 * found dead, and the next worker waits for it. */
struct channel {
    sem_t *lock;
    pthread_mutex_t *robust; /* the cure */
};

static void take_lock(const struct channel *channel)
{
    if (!corpus_cured)
        sem_wait(channel->lock);
    else if (pthread_mutex_lock(channel->robust) == EOWNERDEAD)
        pthread_mutex_consistent(channel->robust);
}
static void give_lock(const struct channel *channel)
{
    if (corpus_cured)
        pthread_mutex_unlock(channel->robust);
    else
        sem_post(channel->lock);
}

static void serve_channel(const struct channel *channel, bool dies)
{
    int task;
    wedge_role("worker", 1, dies ? 0 : 1);
    take_lock(channel);
    if (dies)
        corpus_crash();
    corpus_receive(tasks[0], &task);
    give_lock(channel);
    corpus_send(results[1], task);
    _exit(0);
}

static void killed_with_lock(void)
{
    int result;
    make_queues();
    struct channel channel = {corpus_shared_sem(1), corpus_shared_mutex(PTHREAD_MUTEX_NORMAL, true)};
    for (int generation = 0; generation < 2; generation++) {
        pid_t worker = corpus_fork();
        if (worker == 0)
            serve_channel(&channel, generation == 0);
        if (generation == 0) {
            corpus_reap(worker, true);
            continue;
        }
        corpus_send(tasks[1], 1);
        corpus_receive(results[0], &result);
        corpus_reap(worker, false);
    }
}

/* A pool kills a worker whose task is past its limit. But the worker had just ended it, and waits for the next one with the
 * queue's lock: what is killed is all readers. */
static void serve_until_told(const sem_t *lock, const int queue[2], const struct corpus_mark *idle)
{
    int task;
    for (;;) {
        if (!corpus_cured)
            sem_wait((sem_t *)lock);
        if (idle)
            corpus_tell(idle);
        if (!corpus_receive(queue[0], &task) || task == 0)
            _exit(0);
        if (!corpus_cured)
            sem_post((sem_t *)lock);
        corpus_send(results[1], task);
    }
}

static void limit_kills_reader(void)
{
    int result, own[2][2];
    make_queues();
    sem_t *lock = corpus_shared_sem(1);
    struct corpus_mark idle = corpus_mark();
    pid_t workers[2];
    for (int i = 0; i < 2; i++) {
        corpus_pipe(own[i]);
        if ((workers[i] = corpus_fork()) == 0) {
            wedge_role("worker", (unsigned)i + 1, 0);
            serve_until_told(lock, corpus_cured ? own[i] : tasks, i == 0 ? &idle : NULL);
        }
        if (i == 0)
            corpus_hear(&idle); /* it is the one who reads */
    }
    kill(workers[0], SIGKILL);
    corpus_reap(workers[0], true);
    for (int task = 1; task >= 0; task--) {
        corpus_send(corpus_cured ? own[1][1] : tasks[1], task);
        if (task)
            corpus_receive(results[0], &result);
    }
    corpus_reap(workers[1], false);
}

/* A worker is killed with a task in hand and replaced. The new one waits for tasks, the caller for the result of the one
 * that nobody has any more. */
static void task_of_the_dead(void)
{
    int task, result;
    make_queues();
    for (int generation = 0; generation < 2; generation++) {
        pid_t worker = corpus_fork();
        if (worker == 0) {
            wedge_role("worker", 1, (unsigned)generation);
            while (corpus_receive(tasks[0], &task) && task) {
                if (generation == 0)
                    corpus_crash();
                corpus_send(results[1], task);
            }
            _exit(0);
        }
        if (generation == 0) {
            corpus_send(tasks[1], 7);
            corpus_reap(worker, true);
            if (corpus_cured)
                corpus_send(results[1], -7); /* lost, and reported */
            continue;
        }
        corpus_receive(results[0], &result);
        corpus_send(tasks[1], 0);
        corpus_reap(worker, false);
    }
}

/* Each worker leaves after two tasks. A pool that counts the idle ones by results starts nobody in the place of the one
 * that left: by its count somebody is idle. */
static pid_t start_limited_worker(void)
{
    int task;
    pid_t worker = corpus_fork();
    if (worker == 0) {
        for (int n = 0; n < 2; n++) {
            corpus_receive(tasks[0], &task);
            corpus_send(results[1], task);
        }
        corpus_send(results[1], 0); /* "I leave" */
        _exit(0);
    }
    return worker;
}

static void idle_token_stale(void)
{
    int result, idle = 0;
    make_queues();
    for (int task = 1; task <= 4; task++)
        corpus_send(tasks[1], task);
    pid_t worker = start_limited_worker();
    for (int got = 0; got < 4;) {
        corpus_receive(results[0], &result);
        got += result > 0;
        idle += result > 0;
        if (result)
            continue;
        corpus_reap(worker, false);
        if (idle > 0 && !corpus_cured)
            idle--; /* "somebody is there" */
        else
            worker = start_limited_worker();
    }
    corpus_receive(results[0], &result);
    corpus_reap(worker, false);
}

/* The pool is killed. Its workers have both ends of the queue, so that it does not end for them: they live on, and whoever
 * reads the job's output waits with them. */
static void parent_killed(void)
{
    int output[2], task;
    corpus_pipe(output);
    pid_t pool = corpus_fork();
    if (pool == 0) {
        make_queues();
        for (int i = 0; i < 2; i++)
            if (fork() == 0) { /* not a child that ends with its parent */
                wedge_role("worker", (unsigned)i + 1, 0);
                if (corpus_cured)
                    close(tasks[1]);
                while (corpus_receive(tasks[0], &task))
                    corpus_put(output[1], 1);
                _exit(0);
            }
        corpus_crash();
    }
    close(output[1]);
    corpus_reap(pool, true);
    corpus_drain(output[0]);
}

/* A worker that is not ready within its limit is killed and started again. What it has to load takes longer than that: it will
 * never be ready, and the pool never still. */
enum { START_LIMIT_MS = 100, STARTS = 5 };

static pid_t start_slow_worker(void)
{
    pid_t worker = corpus_fork();
    if (worker == 0) {
        struct pollfd nothing = {.fd = -1};
        poll(&nothing, 1, 100 * START_LIMIT_MS); /* it loads */
        corpus_send(results[1], 0);
        _exit(0);
    }
    return worker;
}

static void start_over_limit(void)
{
    make_queues();
    WEDGE_PROGRESS(1);
    for (int starts = 0; !corpus_cured || starts < STARTS; starts++) {
        struct pollfd ready = {.fd = results[0], .events = POLLIN};
        pid_t worker = start_slow_worker();
        if (poll(&ready, 1, START_LIMIT_MS) > 0) {
            WEDGE_PROGRESS(1);
            starts = 0;
        }
        kill(worker, SIGKILL);
        corpus_reap(worker, true);
    }
}

const struct corpus_case corpus_pools[] = {
    {"join-before-drain", join_before_drain},
    {"exit-joins-feeder", exit_joins_feeder},
    {"mark-into-full-queue", mark_into_full_queue},
    {"feeder-without-reader", feeder_without_reader},
    {"killed-with-lock", killed_with_lock},
    {"limit-kills-reader", limit_kills_reader},
    {"task-of-the-dead", task_of_the_dead},
    {"idle-token-stale", idle_token_stale},
    {"parent-killed", parent_killed},
    {"start-over-limit", start_over_limit},
    {NULL, NULL},
};
