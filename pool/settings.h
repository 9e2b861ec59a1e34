/* A pool's settings: what each preset says, and how one setting is changed by "key=value". */
#ifndef WEDGE_POOL_SETTINGS_H
#define WEDGE_POOL_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include <wedge/pool.h>

#define WEDGE_POOL_PROCESSES_MAX 256
#define WEDGE_POOL_THREADS_MAX   64
#define WEDGE_POOL_NO_LIMIT      (-1) /* a limit or wait of "never" */

enum wedge_pool_leaves { /* when the results end, beside their stop marks; bits */
                         WEDGE_POOL_LEAVES_MARK = 0,
                         WEDGE_POOL_LEAVES_NO_WORKERS = 1,
                         WEDGE_POOL_LEAVES_ACCOUNTED = 2,
                         WEDGE_POOL_LEAVES_EITHER = 3,
};
enum wedge_pool_bound { WEDGE_POOL_RESULTS_BOUNDED, WEDGE_POOL_RESULTS_GROW };
enum wedge_pool_full { WEDGE_POOL_FULL_WAIT, WEDGE_POOL_FULL_DROP };

struct wedge_pool_settings {
    const char *preset;
    bool hardened; /* slots, ledger, supervisor; else streams and looks */
    bool shutdown_all; /* shutdown runs every step whatever the one before it said (proposed) */
    int64_t processes, threads;
    int64_t queue; /* tasks; 0 auto */
    int64_t payload_bytes;
    int64_t collector_wait_ms, close_wait_ms, start_limit_ms, task_limit_ms, final_limit_ms,
        idle_limit_ms; /* or WEDGE_POOL_NO_LIMIT */
    int64_t restart_limit;
    int64_t collector_leaves; /* enum wedge_pool_leaves */
    int64_t result_bound; /* enum wedge_pool_bound */
    int64_t result_put; /* enum wedge_pool_full */
};

/* Fills `err` (may be NULL) and returns `code`. */
int wedge_pool_err_set(struct wedge_pool_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The settings of a preset, NULL hardened. -EINVAL: there is none of that name. */
int wedge_pool_settings_init(struct wedge_pool_settings *ret, const char *preset, struct wedge_pool_err *err);
/* Applies "key=value"; changes nothing on -EINVAL. */
int wedge_pool_settings_set(struct wedge_pool_settings *settings, const char *key_value, struct wedge_pool_err *err);
/* Tasks the queue holds, `auto` resolved. */
uint32_t wedge_pool_settings_queue(const struct wedge_pool_settings *settings);
/* ms as an absolute deadline from now. */
int64_t wedge_pool_settings_until(int64_t limit_ms);

#endif
