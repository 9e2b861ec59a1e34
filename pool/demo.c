/*
 * wedge-pool-demo: a pool driven from the command line. It squares the numbers from 1 to --tasks, checks what comes
 * back, and says on one line what became of each task. The target of the pool's scenarios, and the example to read.
 *
 * Its own accounting is separate from the pool's: what was reported is counted by task, here.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <wedge/point.h>
#include <wedge/pool.h>

enum { STATUS_OK = 0, STATUS_WRONG = 1, STATUS_USAGE = 2, STATUS_WORK = 3 };
#define SETTINGS_MAX 32
#define TASKS_MAX    10000000

struct options {
    const char *preset;
    char settings[SETTINGS_MAX][64];
    int n_settings;
    long tasks, task_ms, deadline_ms; /* deadline_ms < 0: none */
    int iterate;
};

struct demo {
    struct options options;
    uint8_t *seen; /* by task id: how often it was reported, at most 255 */
    uint64_t accepted, reported, twice, wrong;
    uint64_t outcomes[WEDGE_POOL_OUTCOMES];
};

struct demo_answer {
    uint64_t number, square;
};

/* The callbacks are named functions that a report can name; noinline keeps their frames. */
__attribute__((noinline)) static int demo_process_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    WEDGE_POINT("demo.process_init");
    return 0;
}

__attribute__((noinline)) static int demo_thread_init(const struct wedge_pool_place *place, void *context)
{
    (void)place;
    (void)context;
    WEDGE_POINT("demo.thread_init");
    return 0;
}

__attribute__((noinline)) static int demo_task(struct wedge_pool_task *task, void *context)
{
    const struct demo *demo = context;
    struct demo_answer answer;
    struct timespec pause = {.tv_sec = demo->options.task_ms / 1000, .tv_nsec = demo->options.task_ms % 1000 * 1000000};
    if (task->bytes != sizeof(answer.number))
        return EINVAL;
    memcpy(&answer.number, task->data, sizeof(answer.number));
    if (demo->options.task_ms > 0)
        nanosleep(&pause, NULL);
    answer.square = answer.number * answer.number;
    memcpy(task->result, &answer, sizeof(answer));
    task->result_bytes = sizeof(answer);
    return 0;
}

/* Counts one result. The number of a task is its id: one thread puts them, in order. */
static void count(struct demo *demo, const struct wedge_pool_result *result)
{
    struct demo_answer answer;
    if (result->id == 0 || result->id > (uint64_t)demo->options.tasks) {
        demo->wrong++;
        return;
    }
    if (demo->seen[result->id]) {
        demo->twice++;
        return;
    }
    demo->seen[result->id] = 1;
    demo->reported++;
    demo->outcomes[result->outcome]++;
    if (result->outcome != WEDGE_POOL_OK)
        return;
    if (result->bytes != sizeof(answer)) {
        demo->wrong++;
        return;
    }
    memcpy(&answer, result->data, sizeof(answer));
    if (answer.number != result->id || answer.square != result->id * result->id)
        demo->wrong++;
}

__attribute__((noinline)) static void demo_collect(const struct wedge_pool_result *result, void *context)
{
    count(context, result);
}

/* Takes one result. 0, or what wedge_pool_take says. */
static int take_one(struct wedge_pool *pool, struct demo *demo, int64_t until_ns)
{
    struct wedge_pool_result result;
    uint8_t buffer[sizeof(struct demo_answer)];
    int rc = wedge_pool_take(pool, &result, buffer, sizeof(buffer), until_ns);
    if (rc == 0)
        count(demo, &result);
    return rc;
}

/* Puts every task. -ENOBUFS asks the one thread that both puts and takes to take first. */
static int put_all(struct wedge_pool *pool, struct demo *demo, int64_t until_ns)
{
    for (uint64_t number = 1; number <= (uint64_t)demo->options.tasks; number++) {
        uint64_t id = 0;
        int rc;
        while ((rc = wedge_pool_put(pool, &number, sizeof(number), until_ns, &id)) == -ENOBUFS) {
            rc = take_one(pool, demo, until_ns);
            if (rc < 0)
                return rc;
        }
        if (rc < 0)
            return rc;
        demo->accepted++;
        if (id != number)
            demo->wrong++;
    }
    return 0;
}

/* Everything between start and the last result. 0, or the first error; `err` says of what. */
static int run(struct wedge_pool *pool, struct demo *demo, struct wedge_pool_err *err)
{
    int64_t until_ns = wedge_pool_after_ms(demo->options.deadline_ms);
    int put_rc = put_all(pool, demo, until_ns);
    int rc = wedge_pool_close(pool, until_ns);
    if (put_rc < 0 || rc < 0)
        snprintf(err->message, sizeof(err->message), "%s: %s", put_rc < 0 ? "put" : "close",
                 strerror(put_rc < 0 ? -put_rc : -rc));
    while (demo->options.iterate && rc == 0)
        rc = take_one(pool, demo, until_ns);
    if (rc == 0 || rc == -ENODATA)
        rc = wedge_pool_join(pool, until_ns, err);
    return put_rc < 0 ? put_rc : rc;
}

static void print_counts(const struct demo *demo)
{
    printf("counts: accepted=%" PRIu64 " reported=%" PRIu64, demo->accepted, demo->reported);
    for (int i = WEDGE_POOL_OK; i < WEDGE_POOL_OUTCOMES; i++)
        printf(" %s=%" PRIu64, wedge_pool_outcome_name((enum wedge_pool_outcome)i), demo->outcomes[i]);
    printf(" twice=%" PRIu64 "\n", demo->twice);
    fflush(stdout);
}

enum {
    OPT_PRESET = 1000,
    OPT_SET,
    OPT_PROCESSES,
    OPT_THREADS,
    OPT_TASKS,
    OPT_QUEUE,
    OPT_RESULTS,
    OPT_TASK,
    OPT_DEADLINE
};

static const struct argp_option option_table[] = {
    {"preset", OPT_PRESET, "NAME", 0, "reported, proposed or hardened (default)", 0},
    {"set", OPT_SET, "KEY=VALUE", 0, "A single setting; may be given again", 0},
    {"processes", OPT_PROCESSES, "N", 0, "Worker processes (default 2)", 0},
    {"threads", OPT_THREADS, "N", 0, "Threads of each (default 2)", 0},
    {"tasks", OPT_TASKS, "N", 0, "Tasks (default 12)", 0},
    {"queue", OPT_QUEUE, "N", 0, "Bound of the task queue (default auto)", 0},
    {"results", OPT_RESULTS, "HOW", 0, "collector (default), or iterate: put all, then take", 0},
    {"task-ms", OPT_TASK, "MS", 0, "How long a task takes (default 0)", 0},
    {"deadline-ms", OPT_DEADLINE, "MS", 0, "One deadline for all of it, then shutdown (default none)", 0},
    {0},
};

static long number(struct argp_state *state, const char *name, const char *arg, long max)
{
    char *end;
    errno = 0;
    long value = strtol(arg, &end, 10);
    if (errno || end == arg || *end || value < 0 || value > max)
        argp_error(state, "--%s: '%s' is not allowed; 0 to %ld", name, arg, max);
    return value;
}

static void setting(struct argp_state *state, struct options *options, const char *key, const char *value)
{
    if (options->n_settings == SETTINGS_MAX)
        argp_error(state, "more than %d settings", SETTINGS_MAX);
    char *at = options->settings[options->n_settings++];
    int n = snprintf(at, sizeof(options->settings[0]), "%s%s%s", key, *key ? "=" : "", value);
    if (n >= (int)sizeof(options->settings[0]))
        argp_error(state, "'%.40s…': too long for a setting", value);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case OPT_PRESET:
        options->preset = arg;
        return 0;
    case OPT_SET:
        setting(state, options, "", arg);
        return 0;
    case OPT_PROCESSES:
        setting(state, options, "processes", arg);
        return 0;
    case OPT_THREADS:
        setting(state, options, "threads", arg);
        return 0;
    case OPT_QUEUE:
        setting(state, options, "queue", arg);
        return 0;
    case OPT_TASKS:
        options->tasks = number(state, "tasks", arg, TASKS_MAX);
        return 0;
    case OPT_TASK:
        options->task_ms = number(state, "task-ms", arg, 3600000);
        return 0;
    case OPT_DEADLINE:
        options->deadline_ms = number(state, "deadline-ms", arg, 86400000);
        return 0;
    case OPT_RESULTS:
        if (strcmp(arg, "collector") != 0 && strcmp(arg, "iterate") != 0)
            argp_error(state, "--results: '%s' is not allowed; collector or iterate", arg);
        options->iterate = strcmp(arg, "iterate") == 0;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': no arguments are expected", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int complain(const struct wedge_pool_err *err, int status)
{
    fprintf(stderr, "wedge-pool-demo: %s\n", err->message);
    return status;
}

/* A pool with the options' settings. Exit status; *ret set on 0. */
static int make_pool(const struct options *options, struct wedge_pool **ret)
{
    struct wedge_pool_err err = {0};
    struct wedge_pool *pool;
    if (wedge_pool_create(options->preset, &pool, &err) < 0)
        return complain(&err, STATUS_USAGE);
    for (int i = 0; i < options->n_settings; i++) {
        if (wedge_pool_set(pool, options->settings[i], &err) < 0) {
            wedge_pool_destroy(pool);
            return complain(&err, STATUS_USAGE);
        }
    }
    *ret = pool;
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {option_table,
                                     parse,
                                     NULL,
                                     "Runs a pool on small tasks and counts what became of each.\v"
                                     "Example: wedge-pool-demo --preset=hardened --tasks=1000 --set start_limit=500",
                                     NULL,
                                     NULL,
                                     NULL};
    static struct demo demo = {.options = {.tasks = 12, .deadline_ms = -1}};
    struct wedge_pool_err err = {0};
    struct wedge_pool *pool;
    int status;

    argp_err_exit_status = STATUS_USAGE;
    setting(NULL, &demo.options, "processes", "2");
    setting(NULL, &demo.options, "threads", "2");
    argp_parse(&argp, argc, argv, 0, NULL, &demo.options);
    demo.seen = calloc((size_t)demo.options.tasks + 1, 1);
    if (!demo.seen)
        return STATUS_WORK;
    status = make_pool(&demo.options, &pool);
    if (status != STATUS_OK) {
        free(demo.seen);
        return status;
    }
    struct wedge_pool_callbacks callbacks = {.task = demo_task,
                                             .process_init = demo_process_init,
                                             .thread_init = demo_thread_init,
                                             .collect = demo.options.iterate ? NULL : demo_collect,
                                             .context = &demo};
    int rc = wedge_pool_start(pool, &callbacks, &err);
    if (rc == 0)
        rc = run(pool, &demo, &err);
    if (rc < 0) {
        status = complain(&err, STATUS_WORK);
        if (rc == -ETIMEDOUT) /* what it settles is counted too */
            wedge_pool_shutdown(pool, 0, NULL);
        while (demo.options.iterate && take_one(pool, &demo, 0) == 0)
            ;
    }
    wedge_pool_destroy(pool); /* the collector is gone after it: the counts are final */
    print_counts(&demo);
    if (demo.twice || demo.wrong)
        status = STATUS_WRONG;
    free(demo.seen);
    return status;
}
