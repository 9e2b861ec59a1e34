/* Pools of threads whose tasks wait: for other tasks, for a lock, for the pool. */
#include "scenarios/corpus/cases.h"

/* A pool as people write it. A task is done when its flag says so; `changed` is signalled for everything. */
struct task {
    void (*run)(struct task *task);
    bool done;
};
enum { MOST_TASKS = 8 };
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct task *waiting[MOST_TASKS]; /* a ring */
    unsigned put, taken, running;
    bool ending;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void submit(struct task *task)
{
    pthread_mutex_lock(&pool.lock);
    pool.waiting[pool.put++ % MOST_TASKS] = task;
    pthread_cond_broadcast(&pool.changed);
    pthread_mutex_unlock(&pool.lock);
}

/* Runs the next task, with the lock given up meanwhile; false: there is none. */
static bool run_next(void)
{
    if (pool.taken == pool.put)
        return false;
    struct task *task = pool.waiting[pool.taken++ % MOST_TASKS];
    pool.running++;
    pthread_mutex_unlock(&pool.lock);
    task->run(task);
    pthread_mutex_lock(&pool.lock);
    pool.running--;
    task->done = true;
    pthread_cond_broadcast(&pool.changed);
    return true;
}

static void *work(void *arg)
{
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        if (run_next())
            continue;
        if (pool.ending)
            break;
        pthread_cond_wait(&pool.changed, &pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
    return arg;
}

/* Waits for a task; with `help` it runs others meanwhile. */
static void await(const struct task *task, bool help)
{
    pthread_mutex_lock(&pool.lock);
    while (!task->done)
        if (!help || !run_next())
            pthread_cond_wait(&pool.changed, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

static void end_pool(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.ending = true;
    pthread_cond_broadcast(&pool.changed);
    pthread_mutex_unlock(&pool.lock);
}

static void do_part(struct task *task)
{
    (void)task;
}

/* Each of two tasks has both threads of the pool between them, and waits for a part that it gave to the same pool. */
static pthread_barrier_t both;

static void search_in_parts(struct task *task)
{
    struct task part = {.run = do_part};
    (void)task;
    pthread_barrier_wait(&both);
    submit(&part);
    await(&part, corpus_cured);
}

static void pool_starved(void)
{
    struct task searches[2] = {{.run = search_in_parts}, {.run = search_in_parts}};
    pthread_t threads[2];
    pthread_barrier_init(&both, NULL, 2);
    for (int i = 0; i < 2; i++)
        submit(&searches[i]);
    for (int i = 0; i < 2; i++)
        threads[i] = corpus_thread(work, NULL);
    for (int i = 0; i < 2; i++)
        await(&searches[i], false);
    end_pool();
    for (int i = 0; i < 2; i++)
        corpus_join(threads[i]);
}

/* Work is done in parts with a lock held. Who waits for a part helps with other tasks meanwhile, and one of them wants
 * the lock: the same thread has it, below. */
static pthread_mutex_t driver = PTHREAD_MUTEX_INITIALIZER;

static void drive_in_parts(struct task *task)
{
    struct task part = {.run = do_part};
    (void)task;
    pthread_mutex_lock(&driver);
    submit(&part);
    if (corpus_cured)
        pthread_mutex_unlock(&driver);
    await(&part, true);
    if (!corpus_cured)
        pthread_mutex_unlock(&driver);
}

static void lock_over_parts(void)
{
    struct task drives[2] = {{.run = drive_in_parts}, {.run = drive_in_parts}};
    for (int i = 0; i < 2; i++)
        submit(&drives[i]);
    pthread_t thread = corpus_thread(work, NULL);
    for (int i = 0; i < 2; i++)
        await(&drives[i], false);
    end_pool();
    corpus_join(thread);
}

/* A task shuts its own pool down, and so waits until no task runs. */
static void shut_down(struct task *task)
{
    (void)task;
    end_pool();
    pthread_mutex_lock(&pool.lock);
    while (!corpus_cured && pool.running)
        pthread_cond_wait(&pool.changed, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

static void pool_ends_itself(void)
{
    struct task last = {.run = shut_down};
    submit(&last);
    corpus_join(corpus_thread(work, NULL));
}

const struct corpus_case corpus_threads[] = {
    {"pool-starved", pool_starved},
    {"lock-over-parts", lock_over_parts},
    {"pool-ends-itself", pool_ends_itself},
    {NULL, NULL},
};
