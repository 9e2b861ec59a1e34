/*
 * wedge-pool-demo: a pool driven from the command line. It squares the numbers from 1 to --tasks, checks what comes
 * back, and says on one line what became of each task. The target of the pool's scenarios, and the example to read:
 *
 *   the user's functions      demo_process_init … demo_event
 *   putting and taking        put_some, take_some, put_all, hold
 *   the pool's life           make_pool, run, main
 *
 * Its own accounting is separate from the pool's: what was reported is counted by task, here.
 */
#include "pool/demo.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <wedge/point.h>

struct demo {
    struct demo_options options;
    struct wedge_pool *pool;
    int64_t until_ns; /* the deadline of everything */
    uint64_t numbers_max; /* of tasks that may be put */
    pid_t pid; /* of the pool's parent, which is the main program */
    _Atomic uint64_t next; /* the last number that a putter took */
    _Atomic uint64_t accepted;
    uint8_t *seen; /* by number: how often it was reported, at most 255 */
    uint64_t reported, twice, wrong;
    uint64_t outcomes[WEDGE_POOL_OUTCOMES];
    struct wedge_pool_stats stats; /* the pool's own figures, as they were last */
};

struct demo_answer {
    uint64_t number, square;
};

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    if (ms > 0)
        nanosleep(&pause, NULL);
}

/* The callbacks are named functions that a report can name; noinline keeps their frames. */
__attribute__((noinline)) static int demo_process_init(const struct wedge_pool_place *place, void *context)
{
    const struct demo *demo = context;
    (void)place;
    WEDGE_POINT("demo.process_init");
    pause_ms(demo->options.init_ms);
    return 0;
}

__attribute__((noinline)) static int demo_thread_init(const struct wedge_pool_place *place, void *context)
{
    const struct demo *demo = context;
    (void)place;
    WEDGE_POINT("demo.thread_init");
    pause_ms(demo->options.init_ms);
    return 0;
}

__attribute__((noinline)) static void demo_thread_final(const struct wedge_pool_place *place, void *context)
{
    const struct demo *demo = context;
    (void)place;
    WEDGE_POINT("demo.thread_final");
    pause_ms(demo->options.final_ms);
}

__attribute__((noinline)) static void demo_process_final(const struct wedge_pool_place *place, void *context)
{
    const struct demo *demo = context;
    (void)place;
    WEDGE_POINT("demo.process_final");
    pause_ms(demo->options.final_ms);
}

static bool is_every(uint64_t number, long every)
{
    return every > 0 && number % (uint64_t)every == 0;
}

__attribute__((noinline)) static int demo_task(struct wedge_pool_task *task, void *context)
{
    const struct demo_options *options = &((const struct demo *)context)->options;
    struct demo_answer answer;
    WEDGE_POINT("demo.task");
    if (task->bytes < sizeof(answer.number))
        return EINVAL;
    memcpy(&answer.number, task->data, sizeof(answer.number));
    pause_ms(options->task_ms);
    task->die = is_every(answer.number, options->die_every);
    if (task->die || is_every(answer.number, options->fail_every))
        return EIO;
    answer.square = answer.number * answer.number;
    task->result_bytes = sizeof(answer);
    if ((size_t)options->result_bytes > sizeof(answer))
        task->result_bytes = (size_t)options->result_bytes;
    if (task->result_bytes > task->result_room)
        return 0; /* the pool says so: -EMSGSIZE */
    memcpy(task->result, &answer, sizeof(answer));
    memset((char *)task->result + sizeof(answer), (int)(answer.number & 0xff), task->result_bytes - sizeof(answer));
    return 0;
}

/* Counts one result. A task's number travels as its meta, so that putters may put in any order. */
static void count(struct demo *demo, const struct wedge_pool_result *result)
{
    struct demo_answer answer;
    uint64_t number = (uintptr_t)result->meta;
    if (number == 0 || number > demo->numbers_max) {
        demo->wrong++;
        return;
    }
    if (demo->seen[number]) {
        demo->twice++;
        return;
    }
    demo->seen[number] = 1;
    demo->reported++;
    demo->outcomes[result->outcome]++;
    if (result->outcome != WEDGE_POOL_OK)
        return;
    if (result->bytes < sizeof(answer)) {
        demo->wrong++;
        return;
    }
    memcpy(&answer, result->data, sizeof(answer));
    if (answer.number != number || answer.square != number * number)
        demo->wrong++;
}

__attribute__((noinline)) static void demo_collect(const struct wedge_pool_result *result, void *context)
{
    struct demo *demo = context;
    WEDGE_POINT("demo.collect");
    count(demo, result);
    pause_ms(demo->options.collect_ms);
}

static void print_counts(const struct demo *demo);

/* What a program may do that is told of a function that does not return: leave, and say how far it came. */
_Noreturn static void give_up(struct demo *demo, const char *why)
{
    fprintf(stderr, "wedge-pool-demo: given up: %s\n", why);
    wedge_pool_stats(demo->pool, &demo->stats);
    print_counts(demo);
    _exit(STATUS_OK);
}

__attribute__((noinline)) static void demo_event(const struct wedge_pool_event *event, void *context)
{
    static const char *const kinds[] = {"?",      "ready", "left",       "died", "limit",   "init failed",
                                        "broken", "alarm", "alarm over", "lost", "started", "ending"};
    size_t kind = event->kind < sizeof(kinds) / sizeof(kinds[0]) ? (size_t)event->kind : 0;
    struct demo *demo = context;
    WEDGE_POINT("demo.event");
    if (demo->options.give_up && event->kind == WEDGE_POOL_EVENT_LIMIT && getpid() == demo->pid && !event->process)
        give_up(demo, event->text);
    if (!demo->options.events)
        return;
    if (event->process)
        fprintf(stderr, "event: %s: w%u generation %u: %s\n", kinds[kind], event->process, event->generation,
                event->text);
    else
        fprintf(stderr, "event: %s: %s\n", kinds[kind], event->text);
}

/* Takes up to --many results. 0, or what wedge_pool_take says. */
static int take_some(struct demo *demo, int64_t until_ns)
{
    struct wedge_pool_result results[DEMO_MANY_MAX];
    struct demo_answer answers[DEMO_MANY_MAX]; /* of a longer result its beginning will do */
    unsigned many = (unsigned)demo->options.many;
    int n = many == 1 ? wedge_pool_take(demo->pool, results, answers, sizeof(answers[0]), until_ns)
                      : wedge_pool_take_many(demo->pool, results, many, answers, sizeof(answers[0]), until_ns);
    if (many == 1 && n == 0)
        n = 1;
    for (int i = 0; i < n; i++)
        count(demo, &results[i]);
    return n < 0 ? n : 0;
}

/* Puts the numbers from `first` on, n of them. -ENOBUFS asks the one thread that both puts and takes to take first. */
static int put_some(struct demo *demo, uint64_t first, unsigned n)
{
    struct wedge_pool_input inputs[DEMO_MANY_MAX];
    size_t bytes = (size_t)demo->options.task_bytes > sizeof(first) ? (size_t)demo->options.task_bytes : sizeof(first);
    uint8_t *data = calloc(n, bytes);
    unsigned done = 0;
    int rc = data ? 0 : -ENOMEM;
    for (unsigned i = 0; data && i < n; i++) {
        uint64_t number = first + i;
        memcpy(data + i * bytes, &number, sizeof(number));
        inputs[i] = (struct wedge_pool_input){
            .data = data + i * bytes, .bytes = bytes, .meta = (void *)(uintptr_t)number}; // NOLINT: never looked at
    }
    while (rc >= 0 && done < n) {
        rc = wedge_pool_put_many(demo->pool, inputs + done, n - done, demo->until_ns);
        if (rc > 0) {
            atomic_fetch_add(&demo->accepted, (uint64_t)rc);
            done += (unsigned)rc;
        }
        if (rc == -ENOBUFS)
            rc = take_some(demo, demo->until_ns);
    }
    free(data);
    return rc < 0 ? rc : 0;
}

/* A putter's share: whatever number comes next, until there are no more. */
static int put_all(struct demo *demo)
{
    unsigned many = (unsigned)demo->options.many;
    int rc = 0;
    while (rc == 0) {
        uint64_t first = atomic_fetch_add(&demo->next, many) + 1, last = (uint64_t)demo->options.tasks;
        if (first > last)
            return 0;
        rc = put_some(demo, first, first + many - 1 > last ? (unsigned)(last - first + 1) : many);
    }
    return rc;
}

static void *putter_main(void *arg)
{
    return (void *)(intptr_t)put_all(arg); // NOLINT: a number that travels as a pointer
}

/* The main thread is one of the putters. The first error of any. */
static int put_with_threads(struct demo *demo)
{
    pthread_t threads[DEMO_PUTTERS_MAX];
    long started = 0;
    while (started < demo->options.putters - 1 && pthread_create(&threads[started], NULL, putter_main, demo) == 0)
        started++;
    int rc = put_all(demo);
    for (long i = 0; i < started; i++) {
        void *said;
        pthread_join(threads[i], &said);
        if (rc == 0)
            rc = (int)(intptr_t)said;
    }
    return rc;
}

static void sleep_until(int64_t ns)
{
    const struct timespec until = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

/* When the n-th of `rate` a second is due, after the first. */
static int64_t due_ns(uint64_t n, uint64_t rate)
{
    return (int64_t)(n / rate * 1000000000 + n % rate * 1000000000 / rate);
}

/* Goes on putting at --rate for --hold; each task has its time, so that waiting and putting do not add up. */
static int hold(struct demo *demo)
{
    int64_t begin_ns = wedge_pool_after_ms(0), end_ns = begin_ns + demo->options.hold_ms * 1000000;
    uint64_t first = (uint64_t)demo->options.tasks + 1, rate = (uint64_t)demo->options.rate;
    int rc = 0;
    for (uint64_t n = 0; rc == 0 && rate > 0 && first + n <= demo->numbers_max; n++) {
        int64_t next_ns = begin_ns + due_ns(n, rate);
        if (next_ns >= end_ns || wedge_pool_after_ms(0) >= end_ns)
            break;
        sleep_until(next_ns);
        rc = put_some(demo, first + n, 1);
        while (rc == 0 && demo->options.iterate && take_some(demo, 0) == 0)
            ;
    }
    if (rc == 0)
        sleep_until(end_ns);
    return rc;
}

/* Everything between start and the last result. 0, or the first error; `err` says of what. */
static int run(struct demo *demo, struct wedge_pool_err *err)
{
    int put_rc = put_with_threads(demo);
    if (put_rc == 0 && demo->options.hold_ms > 0)
        put_rc = hold(demo);
    if (put_rc == 0 && demo->options.shutdown_ms >= 0) {
        int rc = wedge_pool_shutdown(demo->pool, wedge_pool_after_ms(demo->options.shutdown_ms), err);
        return demo->options.then_join ? wedge_pool_join(demo->pool, demo->until_ns, err) : rc;
    }
    while (put_rc == 0 && demo->options.by_count && demo->reported < atomic_load(&demo->accepted))
        put_rc = take_some(demo, demo->until_ns);
    int rc = wedge_pool_close(demo->pool, demo->until_ns);
    if (put_rc < 0 || rc < 0)
        snprintf(err->message, sizeof(err->message), "%s: %s", put_rc < 0 ? "put" : "close",
                 strerror(put_rc < 0 ? -put_rc : -rc));
    while (demo->options.iterate && rc == 0)
        rc = take_some(demo, demo->until_ns);
    if (rc == 0 || rc == -ENODATA)
        rc = wedge_pool_join(demo->pool, demo->until_ns, err);
    return put_rc < 0 ? put_rc : rc;
}

static void print_counts(const struct demo *demo)
{
    printf("counts: accepted=%" PRIu64 " reported=%" PRIu64, atomic_load(&demo->accepted), demo->reported);
    for (int i = WEDGE_POOL_OK; i < WEDGE_POOL_OUTCOMES; i++)
        printf(" %s=%" PRIu64, wedge_pool_outcome_name((enum wedge_pool_outcome)i), demo->outcomes[i]);
    printf(" twice=%" PRIu64, demo->twice);
    if (demo->options.figures)
        printf(" pool_reported=%" PRIu64 " replaced=%" PRIu64 " longest_put_ms=%" PRId64 " queue_alarms=%" PRIu64
               " workers_alarms=%" PRIu64 " finished_alarms=%" PRIu64,
               demo->stats.reported, demo->stats.replaced, demo->stats.put_wait_longest_ns / 1000000,
               demo->stats.alarm_times[0], demo->stats.alarm_times[1], demo->stats.alarm_times[2]);
    putchar('\n');
    fflush(stdout);
}

static int complain(const struct wedge_pool_err *err, int status)
{
    fprintf(stderr, "wedge-pool-demo: %s\n", err->message);
    return status;
}

/* A pool with the options' settings. Exit status; *ret set on 0. */
static int make_pool(const struct demo_options *options, struct wedge_pool **ret)
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

static void print_settings(const struct wedge_pool *pool)
{
    struct wedge_pool_setting setting;
    for (unsigned i = 0; wedge_pool_setting(pool, i, &setting) == 0; i++)
        printf("%s=%s\n", setting.key, setting.value);
}

/* From start to the last line. Exit status. */
static int run_pool(struct demo *demo)
{
    struct wedge_pool_err err = {0};
    int status = STATUS_OK;
    struct wedge_pool_callbacks callbacks = {.task = demo_task,
                                             .process_init = demo_process_init,
                                             .thread_init = demo_thread_init,
                                             .thread_final = demo_thread_final,
                                             .process_final = demo_process_final,
                                             .collect = demo->options.iterate ? NULL : demo_collect,
                                             .event = demo->options.events || demo->options.give_up ? demo_event : NULL,
                                             .context = demo};
    int rc = wedge_pool_start(demo->pool, &callbacks, &err);
    demo->until_ns = wedge_pool_after_ms(demo->options.deadline_ms);
    if (rc == 0)
        rc = run(demo, &err);
    if (rc < 0) {
        status = complain(&err, STATUS_WORK);
        if (rc == -ETIMEDOUT && demo->options.shutdown_ms < 0) /* what it settles is counted too */
            wedge_pool_shutdown(demo->pool, 0, NULL);
        while (demo->options.iterate && take_some(demo, 0) == 0)
            ;
    }
    wedge_pool_stats(demo->pool, &demo->stats);
    wedge_pool_destroy(demo->pool); /* the collector is gone after it: the counts are final */
    print_counts(demo);
    return demo->twice || demo->wrong ? STATUS_WRONG : status;
}

int main(int argc, char **argv)
{
    static struct demo demo;
    demo_options_parse(&demo.options, argc, argv);
    demo.pid = getpid();
    demo.numbers_max = (uint64_t)demo.options.tasks + (uint64_t)(demo.options.hold_ms * demo.options.rate / 1000) + 1;
    demo.seen = calloc(demo.numbers_max + 1, 1);
    if (!demo.seen)
        return STATUS_WORK;
    int status = make_pool(&demo.options, &demo.pool);
    if (status == STATUS_OK && demo.options.print_settings) {
        print_settings(demo.pool);
        wedge_pool_destroy(demo.pool);
    } else if (status == STATUS_OK) {
        status = run_pool(&demo);
    }
    free(demo.seen);
    return status;
}
