/*
 * Kills without mercy, and counts. Three ways, each seeded and bounded; a line per way says what happened.
 *
 *   workers N   one pool under load; N times, at a random instant, SIGKILL to a random worker
 *   zygote N    N pools under load; the zygote of each is killed at a random instant
 *   parent N    N processes with a pool under load, each killed at a random instant
 *
 * What has to hold: each accepted task is reported exactly once; an OK result is its task's own; LOST are at most as many
 * as the dead (those that a limit ended too) had threads; after a parent's death all that it started is gone within two seconds. A run that
 * hangs is ended by this program's own watch, which is a failure too: it says how far the pool came, and what `wedge dump`
 * makes of it. WEDGE_TORTURE_QUIET: seconds until then.
 *
 * usage: pool-torture (workers|zygote|parent) N [collector|iterate|takers [SEED [KEY=VALUE…]]]
 * iterate: whoever puts takes; takers: three threads take beside it. The first KEY may be `preset`.
 * The streams have neither zygote nor supervisor: their workers are the parent's own children, and are reaped by its looks. What
 * has to hold is the same, with the settings that promise it (docs/pool-settings.md): queue_lock=owned, dead_task=lost,
 * result_bound=none, close_by=flag, and `check` for looks while somebody waits; for `parent`: parent_death=leave. LOST have no bound
 * there: a result dies with its worker while it is in the feeder's list, and that has none.
 * With task_limit every 100th task takes 5 ms: what expires is reported while its owner is still at it.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <wedge/pool.h>

#include "pool/tests/pace.h"

#define IDS_MAX   (1u << 26) /* tasks of one pool; memory is taken as it is used */
#define QUIET_S   30 /* nothing reported and nothing killed for so long: it hangs */
#define GONE_MS   2000 /* how long a dead parent's processes may live */
#define PROCESSES 4
#define THREADS   2
#define BATCH     16
#define PIDS_MAX  64
#define TAKERS    3

struct torture {
    struct wedge_pool *pool;
    uint8_t *times; /* by task id */
    bool iterate, takers;
    pthread_mutex_t lock; /* what is counted */
    _Atomic uint64_t reported, kills;
    const char *_Atomic phase; /* what the main thread is at */
    _Atomic uint32_t done; /* the killer's: enough */
    int stop[2]; /* a pipe: its end of file ends the watch */
    uint64_t accepted, wrong, outcomes[WEDGE_POOL_OUTCOMES];
};

static uint64_t random_state;
static char *const *more_settings; /* from the command line, ended by NULL */
static bool slow_tasks;
static const char *preset = "hardened";
static bool streams;
static bool seeded_error; /* by WEDGE_TORTURE_ERROR: for the test that memcheck sees the workers */

/* splitmix64 */
static uint64_t random_next(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void sleep_ns(uint64_t ns)
{
    struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    nanosleep(&ts, NULL);
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "torture: %s\n", what);
    exit(1);
}

/* Branches on a byte that nobody set. */
static void touch_unset(void)
{
    char *volatile byte = malloc(1); /* volatile: the compiler is not to see what it is */
    if (byte && *byte == 77)
        sleep_ns(1);
    free(byte);
}

/* Some take no time, some 50 µs, some half a millisecond: deaths are to meet all of a worker's steps. */
static int square(struct wedge_pool_task *task, void *context)
{
    uint64_t number[2];
    (void)context;
    if (seeded_error)
        touch_unset();
    if (task->bytes != sizeof(number[0]))
        return EINVAL;
    memcpy(&number[0], task->data, sizeof(number[0]));
    if (number[0] % 100 == 0 && slow_tasks)
        sleep_ns(5000000);
    else if (number[0] % 8 == 0)
        sleep_ns(number[0] % 16 ? 50000 : 500000);
    number[1] = number[0] * number[0];
    memcpy(task->result, number, sizeof(number));
    task->result_bytes = sizeof(number);
    return 0;
}

static void count(const struct wedge_pool_result *result, void *context)
{
    struct torture *torture = context;
    uint64_t number[2] = {0};
    if (result->id == 0 || result->id >= IDS_MAX || torture->times[result->id]++ != 0)
        torture->wrong++;
    if (result->outcome == WEDGE_POOL_OK) {
        if (result->bytes == sizeof(number))
            memcpy(number, result->data, sizeof(number));
        torture->wrong += number[0] != result->id || number[1] != number[0] * number[0];
    }
    torture->outcomes[result->outcome]++;
    atomic_fetch_add(&torture->reported, 1);
}

static void start(struct torture *torture)
{
    static const char *const settings[] = {"processes=4", "threads=2", "queue=64", "restart_limit=1000"};
    struct wedge_pool_callbacks callbacks = {
        .task = square, .collect = torture->iterate ? NULL : count, .context = torture};
    struct wedge_pool_err err;
    if (wedge_pool_create(preset, &torture->pool, &err) < 0)
        fail(err.message);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (wedge_pool_set(torture->pool, settings[i], &err) < 0)
            fail(err.message);
    for (char *const *more = more_settings; more && *more; more++)
        if (wedge_pool_set(torture->pool, *more, &err) < 0)
            fail(err.message);
    torture->times = mmap(NULL, IDS_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (torture->times == MAP_FAILED)
        fail("no memory");
    if (wedge_pool_start(torture->pool, &callbacks, &err) < 0)
        fail(err.message);
}

/* Takes what is there, or one. Returns what wedge_pool_take_many says. */
static int take(struct torture *torture, int64_t until_ns)
{
    struct wedge_pool_result results[BATCH];
    uint64_t buffers[BATCH][2];
    int n = wedge_pool_take_many(torture->pool, results, BATCH, buffers, sizeof(buffers[0]), until_ns);
    pthread_mutex_lock(&torture->lock);
    for (int i = 0; i < n; i++)
        count(&results[i], torture);
    pthread_mutex_unlock(&torture->lock);
    return n;
}

static void *taker_main(void *arg)
{
    while (take(arg, WEDGE_POOL_NEVER) > 0)
        ;
    return NULL;
}

/* Puts until the killer is done or the pool is broken. */
static void load(struct torture *torture)
{
    while (!atomic_load(&torture->done) && torture->accepted < IDS_MAX - BATCH) {
        uint64_t numbers[BATCH];
        struct wedge_pool_input inputs[BATCH];
        for (unsigned i = 0; i < BATCH; i++) {
            numbers[i] = torture->accepted + i + 1;
            inputs[i] = (struct wedge_pool_input){.data = &numbers[i], .bytes = sizeof(numbers[i])};
        }
        int n = wedge_pool_put_many(torture->pool, inputs, BATCH, WEDGE_POOL_NEVER);
        if (n == -ENOTRECOVERABLE)
            return;
        if (n == -ENOBUFS) { /* the other takers may have taken all that it could wait for */
            n = take(torture, torture->takers ? wedge_pool_after_ms(1) : WEDGE_POOL_NEVER);
            n = n < 0 && n != -ETIMEDOUT ? n : 0;
        }
        if (n < 0)
            fail(strerror(-n));
        torture->accepted += (uint64_t)n;
        while (streams && torture->iterate && take(torture, 0) > 0) /* their results grow */
            ;
    }
}

/* The direct children of a process with one thread, or of this one's thread `tid`. */
static int children(pid_t pid, pid_t tid, pid_t *ret)
{
    char path[64];
    int n = 0, child;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, tid);
    FILE *file = fopen(path, "re");
    while (file && n < PIDS_MAX && fscanf(file, "%d", &child) == 1)
        ret[n++] = child;
    if (file)
        fclose(file);
    return n;
}

/* SIGKILL to a process that is still that parent's child once its descriptor is held: never to a stranger. One that is dead
 * and not reaped yet does not count. */
static bool kill_child(pid_t parent, pid_t child)
{
    pid_t pids[PIDS_MAX];
    bool sent = false;
    int fd = pidfd_open(child, 0);
    struct pollfd dead = {.fd = fd, .events = POLLIN};
    int n = fd < 0 ? 0 : children(parent, parent, pids);
    for (int i = 0; i < n; i++)
        if (pids[i] == child && poll(&dead, 1, 0) == 0)
            sent = pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0;
    if (fd >= 0)
        close(fd);
    return sent;
}

static pid_t zygote_of_this(void)
{
    pid_t pids[PIDS_MAX];
    return children(getpid(), getpid(), pids) == 1 ? pids[0] : -1;
}

struct killer {
    struct torture *torture;
    uint64_t wanted;
    pid_t forker; /* the zygote; streams: this process, whose main thread forks */
    bool whole; /* the zygote itself, once */
};

static void *killer_main(void *arg)
{
    struct killer *killer = arg;
    struct torture *torture = killer->torture;
    pid_t pids[PIDS_MAX];
    if (killer->whole) {
        sleep_ns(random_next() % ((uint64_t)paced_ms(20) * 1000000));
        kill(killer->forker, SIGKILL); /* the pool's child, which nobody reaps before destroy */
        atomic_fetch_add(&torture->kills, 1);
        return NULL;
    }
    while (atomic_load(&torture->kills) < killer->wanted) {
        sleep_ns(random_next() % 1500000);
        int n = children(killer->forker, killer->forker, pids);
        if (n > 0 && kill_child(killer->forker, pids[random_next() % (uint64_t)n]))
            atomic_fetch_add(&torture->kills, 1);
    }
    atomic_store(&torture->done, 1);
    return NULL;
}

/* Who waits for whom here, on stderr. A shell does it, so that it works in whatever state this process is. */
static void dump(void)
{
    char script[512];
    snprintf(script, sizeof(script),
             "folder=$(mktemp -d) && timeout 60 %s dump -o \"$folder\" %d >&2; rm -rf \"$folder\"", WEDGE_PROGRAM,
             (int)getpid());
    if (system(script) != 0)
        fprintf(stderr, "torture: nobody could say who waits for whom\n");
}

/* Nothing has moved for so long. */
static _Noreturn void tell_hang(struct torture *torture)
{
    struct wedge_pool_stats stats;
    wedge_pool_stats(torture->pool, &stats);
    fprintf(stderr,
            "torture: it hangs: in %s, %llu accepted, %llu reported, %llu kills; %u queued, %u running, %u results, %u "
            "of %u "
            "workers, %llu deaths\n",
            atomic_load(&torture->phase), (unsigned long long)stats.accepted, (unsigned long long)stats.reported,
            (unsigned long long)atomic_load(&torture->kills), stats.queued, stats.running, stats.results,
            stats.workers_alive, stats.workers, (unsigned long long)stats.deaths);
    dump();
    _exit(1);
}

/* The program's own watch: it needs nothing from the pool. */
static void *watch_main(void *arg)
{
    struct torture *torture = arg;
    struct pollfd pfd = {.fd = torture->stop[0], .events = POLLIN};
    const char *quiet = getenv("WEDGE_TORTURE_QUIET");
    int quiet_ms = (quiet ? atoi(quiet) : QUIET_S) * 1000;
    uint64_t last = UINT64_MAX;
    do {
        uint64_t now = atomic_load(&torture->reported) + atomic_load(&torture->kills);
        if (now == last)
            tell_hang(torture);
        last = now;
    } while (poll(&pfd, 1, quiet_ms) == 0);
    return NULL;
}

/* Everything between start and destroy, and the accounts. Returns how many tasks were lost. */
static uint64_t run(struct torture *torture, uint64_t kills, bool whole)
{
    struct killer killer = {.torture = torture, .wanted = kills, .whole = whole};
    struct wedge_pool_err err;
    struct wedge_pool_stats stats;
    pthread_t killing, watching, taking[TAKERS];
    pthread_mutex_init(&torture->lock, NULL);
    atomic_store(&torture->phase, "load");
    start(torture);
    killer.forker = streams ? getpid() : zygote_of_this();
    if (killer.forker < 0)
        fail("the pool has not exactly one child");
    if (pipe(torture->stop) < 0 || pthread_create(&watching, NULL, watch_main, torture) != 0 ||
        pthread_create(&killing, NULL, killer_main, &killer) != 0)
        fail("no thread");
    for (int i = 0; torture->takers && i < TAKERS; i++)
        if (pthread_create(&taking[i], NULL, taker_main, torture) != 0)
            fail("no thread");
    load(torture);
    atomic_store(&torture->phase, "the last kills");
    pthread_join(killing, NULL);
    atomic_store(&torture->phase, "close");
    wedge_pool_close(torture->pool, WEDGE_POOL_NEVER);
    atomic_store(&torture->phase, "take");
    if (torture->iterate)
        taker_main(torture);
    for (int i = 0; torture->takers && i < TAKERS; i++)
        pthread_join(taking[i], NULL);
    atomic_store(&torture->phase, "join");
    if (wedge_pool_join(torture->pool, WEDGE_POOL_NEVER, &err) < 0)
        fail(err.message);
    if (streams && torture->iterate) /* what join said of the tasks of the dead */
        taker_main(torture);
    wedge_pool_stats(torture->pool, &stats);
    wedge_pool_destroy(torture->pool);
    close(torture->stop[1]);
    pthread_join(watching, NULL);
    close(torture->stop[0]);
    for (uint64_t id = 1; id <= torture->accepted; id++)
        torture->wrong += torture->times[id] != 1;
    uint64_t lost = torture->outcomes[WEDGE_POOL_LOST];
    uint64_t dead = whole ? PROCESSES + stats.deaths : stats.deaths; /* the zygote takes its workers along */
    bool too_many = streams ? torture->outcomes[WEDGE_POOL_OK] == 0 : lost > dead * THREADS;
    if (torture->wrong || stats.accepted != torture->accepted || stats.reported != torture->accepted ||
        torture->reported != torture->accepted || too_many) {
        fprintf(stderr, "torture: wrong=%llu accepted=%llu/%llu reported=%llu/%llu lost=%llu of at most %llu\n",
                (unsigned long long)torture->wrong, (unsigned long long)torture->accepted,
                (unsigned long long)stats.accepted, (unsigned long long)torture->reported,
                (unsigned long long)stats.reported, (unsigned long long)lost, (unsigned long long)dead * THREADS);
        exit(1);
    }
    munmap(torture->times, IDS_MAX);
    return lost;
}

/* A process with a pool under load, for as long as it lives. Whoever it starts holds `alive` too. */
static _Noreturn void be_parent(bool iterate)
{
    struct torture torture = {.iterate = iterate};
    start(&torture);
    load(&torture);
    _exit(1);
}

static void kill_parents(uint64_t n, bool iterate)
{
    for (uint64_t i = 0; i < n; i++) {
        int alive[2];
        char byte;
        if (pipe(alive) < 0)
            fail("pipe");
        pid_t pid = fork();
        if (pid == 0) {
            close(alive[0]);
            be_parent(iterate);
        }
        close(alive[1]);
        sleep_ns(random_next() % ((uint64_t)paced_ms(30) * 1000000)); /* from before its first fork to full load */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        struct pollfd pfd = {.fd = alive[0], .events = POLLIN};
        if (poll(&pfd, 1, paced_ms(GONE_MS)) != 1 || read(alive[0], &byte, 1) != 0)
            fail("two seconds after its parent, something still lives");
        close(alive[0]);
    }
}

int main(int argc, char **argv)
{
    bool takers = argc > 3 && strcmp(argv[3], "takers") == 0;
    bool iterate = takers || (argc > 3 && strcmp(argv[3], "iterate") == 0);
    const char *way = argc > 1 ? argv[1] : "";
    uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 0, lost = 0, tasks = 0, timeouts = 0;
    random_state = argc > 4 ? strtoull(argv[4], NULL, 0) : 0x5eed;
    if (argc > 5 && strncmp(argv[5], "preset=", strlen("preset=")) == 0) {
        preset = argv[5] + strlen("preset=");
        streams = strcmp(preset, "hardened") != 0;
        argv++, argc--;
    }
    seeded_error = getenv("WEDGE_TORTURE_ERROR") != NULL;
    more_settings = argc > 5 ? argv + 5 : NULL;
    for (int i = 5; i < argc; i++)
        slow_tasks |= strncmp(argv[i], "task_limit=", strlen("task_limit=")) == 0;
    if (n == 0 || (strcmp(way, "workers") != 0 && strcmp(way, "zygote") != 0 && strcmp(way, "parent") != 0)) {
        fprintf(stderr,
                "usage: pool-torture (workers|zygote|parent) N [collector|iterate|takers [SEED [KEY=VALUE…]]]\n");
        return 2;
    }
    if (strcmp(way, "parent") == 0) {
        kill_parents(n, iterate);
        printf("torture: parent: %llu kills, nothing was left behind\n", (unsigned long long)n);
        return 0;
    }
    if (strcmp(way, "workers") == 0) {
        struct torture torture = {.iterate = iterate, .takers = takers};
        lost = run(&torture, n, false);
        tasks = torture.accepted;
        timeouts = torture.outcomes[WEDGE_POOL_TIMEOUT];
    } else {
        for (uint64_t i = 0; i < n; i++) {
            struct torture torture = {.iterate = iterate, .takers = takers};
            lost += run(&torture, 1, true);
            tasks += torture.accepted;
        }
    }
    printf("torture: %s: %llu kills, %llu tasks, %llu of them lost, %llu past their limit, each reported once\n", way,
           (unsigned long long)n, (unsigned long long)tasks, (unsigned long long)lost, (unsigned long long)timeouts);
    return 0;
}
