/* wedge-pool-demo: what its command line says (demo_options.c), for demo.c. */
#ifndef WEDGE_POOL_DEMO_H
#define WEDGE_POOL_DEMO_H

#include <stdbool.h>

#include <wedge/pool.h>

enum { STATUS_OK = 0, STATUS_WRONG = 1, STATUS_USAGE = 2, STATUS_WORK = 3 };
#define DEMO_SETTINGS_MAX 64
#define DEMO_TASKS_MAX    10000000
#define DEMO_MANY_MAX     1024
#define DEMO_PUTTERS_MAX  64

struct demo_options {
    const char *preset;
    char settings[DEMO_SETTINGS_MAX][64]; /* "key=value", in order */
    int n_settings;
    long tasks, task_ms, deadline_ms; /* deadline_ms < 0: none */
    long task_bytes, result_bytes; /* 0: no more than the number, and its square */
    long init_ms, final_ms, collect_ms; /* how long each initializer, each finalizer, and collect take */
    long shutdown_ms; /* shutdown within so long, instead of close and join. < 0: no */
    long fail_every, die_every; /* each so many-th task fails; fails and says that its worker is not well. 0 none */
    long many, putters; /* tasks per put_many and take_many; threads that put */
    long hold_ms, rate; /* stay open so long, putting so many tasks a second. 0: no */
    bool iterate, by_count, events, print_settings;
    bool then_join; /* join after shutdown */
    bool figures; /* print the longest put and the alarms, too */
    bool give_up; /* leave once the collector is past its limit */
};

/* Fills the options from the command line. Ends the program on --help and on bad usage (STATUS_USAGE). */
void demo_options_parse(struct demo_options *ret, int argc, char **argv);

#endif
