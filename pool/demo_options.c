/*
 * The demo's command line. Each setting of the pool is an option of its own: `--start-limit=500` is `--set
 * start_limit=500`. They are made from the library's own table, so a new setting is an option without a line here.
 */
#include <argp.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/demo.h"

enum {
    OPT_PRESET = 1000,
    OPT_SET,
    OPT_TASKS,
    OPT_RESULTS,
    OPT_TASK,
    OPT_DEADLINE,
    OPT_TASK_BYTES,
    OPT_RESULT_BYTES,
    OPT_INIT,
    OPT_FINAL,
    OPT_COLLECT,
    OPT_SHUTDOWN,
    OPT_FAIL,
    OPT_DIE,
    OPT_MANY,
    OPT_PUTTERS,
    OPT_HOLD,
    OPT_RATE,
    OPT_EVENTS,
    OPT_THEN_JOIN,
    OPT_GIVE_UP,
    OPT_PRINT,
    OPT_FIGURES,
    OPT_SETTING /* and, one more for each, those that follow */
};

static const struct argp_option own_options[] = {
    {"preset", OPT_PRESET, "NAME", 0, "reported, proposed or hardened (default)", 1},
    {"set", OPT_SET, "KEY=VALUE", 0, "A single setting; may be given again", 1},
    {"print-settings", OPT_PRINT, NULL, 0, "Print each setting as it would be, and leave", 1},
    {"tasks", OPT_TASKS, "N", 0, "Tasks (default 12)", 2},
    {"task-ms", OPT_TASK, "MS", 0, "How long a task takes (default 0)", 2},
    {"task-bytes", OPT_TASK_BYTES, "N", 0, "Size of a task (default 8, no less)", 2},
    {"result-bytes", OPT_RESULT_BYTES, "N", 0, "Size of a result (default 16, no less)", 2},
    {"init-ms", OPT_INIT, "MS", 0, "How long each initializer takes (default 0)", 2},
    {"final-ms", OPT_FINAL, "MS", 0, "How long each finalizer takes (default 0)", 2},
    {"collect-ms", OPT_COLLECT, "MS", 0, "How long the collector takes for a result (default 0)", 2},
    {"fail-every", OPT_FAIL, "N", 0, "Every Nth task fails", 2},
    {"die-every", OPT_DIE, "N", 0, "Every Nth task fails and says that its worker is not well", 2},
    {"putters", OPT_PUTTERS, "N", 0, "Threads that put (default 1: the main thread)", 3},
    {"many", OPT_MANY, "N", 0, "Put and take so many at once (default 1)", 3},
    {"results", OPT_RESULTS, "HOW", 0,
     "collector (default), iterate: put all, then take; count: take as many as were put, then close", 3},
    {"deadline-ms", OPT_DEADLINE, "MS", 0, "One deadline for all of it, then shutdown (default none)", 3},
    {"shutdown-ms", OPT_SHUTDOWN, "MS", 0, "Shut down within so long when all is put, instead of close and join", 3},
    {"hold", OPT_HOLD, "MS", 0, "Go on putting for so long: something to look at with 'wedge pool'", 3},
    {"rate", OPT_RATE, "N", 0, "Tasks a second while holding (default 100)", 3},
    {"then-join", OPT_THEN_JOIN, NULL, 0, "After --shutdown-ms join, whatever shutdown said", 3},
    {"events", OPT_EVENTS, NULL, 0, "Print the pool's events to standard error", 3},
    {"figures", OPT_FIGURES, NULL, 0, "Count the longest put and the alarms, too", 3},
    {"give-up", OPT_GIVE_UP, NULL, 0, "Count and leave once the pool tells that the collector is past its limit", 3},
};
#define N_OWN (sizeof(own_options) / sizeof(own_options[0]))

/* The settings' names as options, with '-' for '_'. argp keeps pointers into them. */
static char setting_names[DEMO_SETTINGS_MAX][32], setting_docs[DEMO_SETTINGS_MAX][144];
static const char *setting_keys[DEMO_SETTINGS_MAX];
static struct argp_option option_table[N_OWN + DEMO_SETTINGS_MAX + 2];

static void make_table(void)
{
    struct wedge_pool *pool;
    struct wedge_pool_setting setting;
    struct argp_option *next = option_table + N_OWN;
    memcpy(option_table, own_options, sizeof(own_options));
    if (wedge_pool_create(NULL, &pool, NULL) < 0)
        return; /* no memory: --set still works */
    *next++ = (struct argp_option){.doc = "Settings of the pool, wedge-pool(3):", .group = 4};
    for (unsigned i = 0; i < DEMO_SETTINGS_MAX && wedge_pool_setting(pool, i, &setting) == 0; i++) {
        snprintf(setting_names[i], sizeof(setting_names[i]), "%s", setting.key);
        for (char *at = setting_names[i]; *at; at++)
            *at = *at == '_' ? '-' : *at;
        snprintf(setting_docs[i], sizeof(setting_docs[i]), "%s", setting.allowed);
        setting_keys[i] = setting.key;
        *next++ = (struct argp_option){
            .name = setting_names[i], .key = OPT_SETTING + (int)i, .arg = "X", .doc = setting_docs[i], .group = 4};
    }
    wedge_pool_destroy(pool);
}

static long number(struct argp_state *state, const char *name, const char *arg, long max)
{
    char *end;
    errno = 0;
    long value = strtol(arg, &end, 10);
    if (errno || end == arg || *end || value < 0 || value > max)
        argp_error(state, "--%s: '%s' is not allowed; 0 to %ld", name, arg, max);
    return value;
}

static void set(struct argp_state *state, struct demo_options *options, const char *key, const char *value)
{
    if (options->n_settings == DEMO_SETTINGS_MAX)
        argp_error(state, "more than %d settings", DEMO_SETTINGS_MAX);
    char *at = options->settings[options->n_settings++];
    int n = snprintf(at, sizeof(options->settings[0]), "%s%s%s", key, *key ? "=" : "", value);
    if (n >= (int)sizeof(options->settings[0]))
        argp_error(state, "'%.40s…': too long for a setting", value);
}

/* The options whose argument is a number. */
static const struct {
    int key;
    const char *name;
    long max;
    size_t offset;
} numbers[] = {
#define AT(member) offsetof(struct demo_options, member)
    {OPT_TASKS, "tasks", DEMO_TASKS_MAX, AT(tasks)},
    {OPT_TASK, "task-ms", 3600000, AT(task_ms)},
    {OPT_DEADLINE, "deadline-ms", 86400000, AT(deadline_ms)},
    {OPT_TASK_BYTES, "task-bytes", 1048576, AT(task_bytes)},
    {OPT_RESULT_BYTES, "result-bytes", 1048576, AT(result_bytes)},
    {OPT_INIT, "init-ms", 3600000, AT(init_ms)},
    {OPT_FINAL, "final-ms", 3600000, AT(final_ms)},
    {OPT_COLLECT, "collect-ms", 3600000, AT(collect_ms)},
    {OPT_SHUTDOWN, "shutdown-ms", 86400000, AT(shutdown_ms)},
    {OPT_FAIL, "fail-every", DEMO_TASKS_MAX, AT(fail_every)},
    {OPT_DIE, "die-every", DEMO_TASKS_MAX, AT(die_every)},
    {OPT_MANY, "many", DEMO_MANY_MAX, AT(many)},
    {OPT_PUTTERS, "putters", DEMO_PUTTERS_MAX, AT(putters)},
    {OPT_HOLD, "hold", 86400000, AT(hold_ms)},
    {OPT_RATE, "rate", 1000000, AT(rate)},
#undef AT
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct demo_options *options = state->input;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (numbers[i].key == key) {
            long value = number(state, numbers[i].name, arg, numbers[i].max);
            memcpy((char *)options + numbers[i].offset, &value, sizeof(value));
            return 0;
        }
    }
    if (key >= OPT_SETTING && key < OPT_SETTING + DEMO_SETTINGS_MAX) {
        set(state, options, setting_keys[key - OPT_SETTING], arg);
        return 0;
    }
    switch (key) {
    case OPT_PRESET:
        options->preset = arg;
        return 0;
    case OPT_SET:
        set(state, options, "", arg);
        return 0;
    case OPT_RESULTS:
        if (strcmp(arg, "collector") != 0 && strcmp(arg, "iterate") != 0 && strcmp(arg, "count") != 0)
            argp_error(state, "--results: '%s' is not allowed; collector, iterate or count", arg);
        options->iterate = strcmp(arg, "collector") != 0;
        options->by_count = strcmp(arg, "count") == 0;
        return 0;
    case OPT_EVENTS:
        options->events = true;
        return 0;
    case OPT_FIGURES:
        options->figures = true;
        return 0;
    case OPT_THEN_JOIN:
        options->then_join = true;
        return 0;
    case OPT_GIVE_UP:
        options->give_up = true;
        return 0;
    case OPT_PRINT:
        options->print_settings = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': no arguments are expected", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void demo_options_parse(struct demo_options *ret, int argc, char **argv)
{
    static const struct argp argp = {option_table,
                                     parse,
                                     NULL,
                                     "Runs a pool on small tasks and counts what became of each.\v"
                                     "Example: wedge-pool-demo --preset=hardened --tasks=1000 --start-limit=500",
                                     NULL,
                                     NULL,
                                     NULL};
    *ret =
        (struct demo_options){.tasks = 12, .deadline_ms = -1, .shutdown_ms = -1, .many = 1, .putters = 1, .rate = 100};
    make_table();
    set(NULL, ret, "processes", "2");
    set(NULL, ret, "threads", "2");
    argp_err_exit_status = STATUS_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, ret);
    if (ret->many == 0)
        ret->many = 1;
    if (ret->putters == 0)
        ret->putters = 1;
}
