/* Processes that are killed in the middle of something that they share. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include <wedge/point.h>

#include "scenarios/corpus/cases.h"

/* Two workers sleep on a semaphore that counts the queue's items. One item comes, one worker is woken, and killed before it
 * takes the item: the count is spent, the item lies there, and the other worker sleeps on. */
static sem_t *items, *taken;
static int *queue;

static void take_item(void)
{
    while (sem_wait(items) && errno == EINTR)
        ;
    WEDGE_POINT("corpus.woken");
    if (*queue)
        sem_post(taken);
    *queue = 0;
}

static void woken_worker_killed(void)
{
    items = corpus_shared_sem(0);
    taken = corpus_shared_sem(0);
    queue = corpus_shared(sizeof(*queue));
    for (int i = 0; i < 2; i++)
        if (corpus_fork() == 0) {
            wedge_role("worker", i + 1, 0);
            take_item();
            _exit(0);
        }
    *queue = 1;
    sem_post(items);
    if (corpus_reap(-1, true) && corpus_cured) /* what it was woken for may lie there still */
        sem_post(items);
    while (sem_wait(taken) && errno == EINTR)
        ;
}

/* A reader of a database in shared memory is killed while it waits for a change by a condition variable, and started again. The
 * writer's second signal never returns: until glibc 2.41 (nptl/pthread_cond_common.c) a signal waits for all who slept in the
 * older half of the waiters to have left it. */
static pthread_mutex_t *changes_lock;
static pthread_cond_t *changed;
static int *changes;
static struct corpus_mark reading;

static void read_changes(int from)
{
    pthread_mutex_lock(changes_lock);
    corpus_tell(&reading);
    while (*changes == from)
        pthread_cond_wait(changed, changes_lock);
    pthread_mutex_unlock(changes_lock);
}

static pid_t start_reader(void)
{
    int from = *changes;
    pid_t reader = corpus_fork();
    if (reader == 0) {
        read_changes(from);
        _exit(0);
    }
    corpus_hear(&reading);
    /* It has the lock, which its wait gives up; then it goes to sleep. */
    pthread_mutex_lock(changes_lock);
    pthread_mutex_unlock(changes_lock);
    while (!corpus_is_asleep(reader))
        sched_yield();
    return reader;
}

static void change(void)
{
    pthread_mutex_lock(changes_lock);
    ++*changes;
    pthread_cond_signal(changed);
    pthread_mutex_unlock(changes_lock);
}

static void condition_waiter_killed(void)
{
    changes_lock = corpus_shared_mutex(PTHREAD_MUTEX_NORMAL, false);
    changed = corpus_shared_cond();
    changes = corpus_shared(sizeof(*changes));
    reading = corpus_mark();
    pid_t reader = start_reader();
    kill(reader, SIGKILL);
    corpus_reap(reader, true);
    if (corpus_cured) /* nobody waits: it can be made anew */
        corpus_init_cond(changed);
    change();
    reader = start_reader();
    change();
    corpus_reap(reader, false);
}

/* The first process to open a segment sets it up, and the others look again and again whether it is done. The first is
 * killed before it says so. */
struct segment {
    _Atomic pid_t owner; /* who sets it up; -1 when that is done */
};

static void open_segment(struct segment *segment)
{
    pid_t nobody = 0;
    if (atomic_compare_exchange_strong(&segment->owner, &nobody, getpid())) {
        WEDGE_POINT("corpus.initialising");
        segment->owner = -1;
    }
    WEDGE_PROGRESS(1);
    while (segment->owner != -1) {
        pid_t owner = segment->owner;
        if (corpus_cured && kill(owner, 0) && errno == ESRCH) /* it is dead: another does it */
            segment->owner = -1;
        sched_yield();
    }
}

static void initialiser_killed(void)
{
    struct segment *segment = corpus_shared(sizeof(*segment));
    pid_t first = corpus_fork();
    if (first == 0) {
        wedge_role("opener", 1, 0);
        open_segment(segment);
        _exit(0);
    }
    corpus_reap(first, true);
    open_segment(segment);
}

const struct corpus_case corpus_deaths[] = {
    {"woken-worker-killed", woken_worker_killed},
    {"condition-waiter-killed", condition_waiter_killed},
    {"initialiser-killed", initialiser_killed},
    {NULL, NULL},
};
