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
/* The words of the choices, in the order in which settings.c names them; the first is 0. */
enum wedge_pool_bound { WEDGE_POOL_RESULTS_BOUNDED, WEDGE_POOL_RESULTS_GROW };
enum wedge_pool_full { WEDGE_POOL_FULL_WAIT, WEDGE_POOL_FULL_DROP };
enum wedge_pool_when_full { WEDGE_POOL_WHEN_FULL_WAIT, WEDGE_POOL_WHEN_FULL_CALLER };
enum wedge_pool_workers { WEDGE_POOL_WORKERS_PROCESSES, WEDGE_POOL_WORKERS_THREADS };
enum wedge_pool_task_end { WEDGE_POOL_TASK_END_KILL, WEDGE_POOL_TASK_END_DRAIN };
enum wedge_pool_timeouts { WEDGE_POOL_TIMEOUTS_REPEATED, WEDGE_POOL_TIMEOUTS_ONCE };
enum wedge_pool_limit_by { WEDGE_POOL_LIMIT_BY_PROCESS, WEDGE_POOL_LIMIT_BY_HELPER };
enum wedge_pool_management { WEDGE_POOL_MANAGEMENT_WIDE, WEDGE_POOL_MANAGEMENT_NARROW };
enum wedge_pool_dead_task { WEDGE_POOL_DEAD_TASK_FORGOTTEN, WEDGE_POOL_DEAD_TASK_LOST };
enum wedge_pool_parent_death { WEDGE_POOL_PARENT_DEATH_IGNORED, WEDGE_POOL_PARENT_DEATH_LEAVE };
enum wedge_pool_ask_error { WEDGE_POOL_ASK_ERROR_DEAD, WEDGE_POOL_ASK_ERROR_ALIVE };
enum wedge_pool_leave { WEDGE_POOL_LEAVE_ABRUPT, WEDGE_POOL_LEAVE_IN_ORDER };
enum wedge_pool_close_by { WEDGE_POOL_CLOSE_BY_MARKS, WEDGE_POOL_CLOSE_BY_FLAG };
enum wedge_pool_steps { WEDGE_POOL_STEPS_FIRST_ERROR, WEDGE_POOL_STEPS_ALL };
enum wedge_pool_covers { WEDGE_POOL_COVERS_MIDDLE, WEDGE_POOL_COVERS_ALL };
enum wedge_pool_queue_lock { WEDGE_POOL_QUEUE_LOCK_SEMAPHORE, WEDGE_POOL_QUEUE_LOCK_OWNED };
enum wedge_pool_idle_reader { WEDGE_POOL_IDLE_READER_HOLDS, WEDGE_POOL_IDLE_READER_FREE };
enum wedge_pool_memory { WEDGE_POOL_MEMORY_UNNAMED, WEDGE_POOL_MEMORY_NAMED };
enum wedge_pool_log { WEDGE_POOL_LOG_DIRECT, WEDGE_POOL_LOG_RESET, WEDGE_POOL_LOG_QUEUED };
enum wedge_pool_alarms { WEDGE_POOL_ALARMS_INSTANT, WEDGE_POOL_ALARMS_HELD };

struct wedge_pool_settings {
    const char *preset;
    bool hardened; /* slots, ledger, supervisor; else streams and looks */
    char name[32];
    /* All that follow are int64_t: one table in settings.c sets them. Limits in ms, or WEDGE_POOL_NO_LIMIT. */
    int64_t processes, threads;
    int64_t queue; /* tasks; 0 auto */
    int64_t payload_bytes, slot_bytes;
    int64_t arena_bytes; /* 0 auto */
    int64_t when_full, workers;
    int64_t life_tasks, life_ms, process_limit_ms, term_wait_ms, die_limit_ms, task_limit_ms, task_end, queue_limit_ms,
        timeouts;
    int64_t check_ms, start_limit_ms, final_limit_ms, limit_by, idle_limit_ms;
    int64_t restart_limit; /* WEDGE_POOL_NO_LIMIT none */
    int64_t management_lock, dead_task, parent_death, ask_error, leave;
    int64_t collector_wait_ms;
    int64_t collector_leaves; /* enum wedge_pool_leaves */
    int64_t collector_limit_ms, result_bound, result_put;
    int64_t close_by, close_wait_ms, shutdown_steps, shutdown_covers;
    int64_t queue_lock, idle_holds_reader, shared;
    int64_t log, alarms, alarm_hold_ms, alarm_floor;
};

/* Fills `err` (may be NULL) and returns `code`. */
int wedge_pool_err_set(struct wedge_pool_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The settings of a preset, NULL hardened. -EINVAL: there is none of that name. */
int wedge_pool_settings_init(struct wedge_pool_settings *ret, const char *preset, struct wedge_pool_err *err);
/* Applies "key=value"; changes nothing on -EINVAL. */
int wedge_pool_settings_set(struct wedge_pool_settings *settings, const char *key_value, struct wedge_pool_err *err);
/* What single settings cannot see: one that another makes impossible. -EINVAL names both, with their values. */
int wedge_pool_settings_check(const struct wedge_pool_settings *settings, struct wedge_pool_err *err);
/* The i-th, and its value as text. -ENOENT. */
int wedge_pool_settings_get(const struct wedge_pool_settings *settings, unsigned i, struct wedge_pool_setting *ret);

/* A setting that cures a hazard, and how these settings stand to it. */
struct wedge_pool_cure {
    const char *key, *value; /* "queue_lock", "owned" */
    char hazard[64]; /* its value without the cure: "semaphore" */
    bool is_limit; /* a time in ms: any other cures as well, sooner or later */
    bool on; /* these settings have it, and `reported` has not */
    bool fixed; /* not a setting of this preset: `hardened` has the cure by its design, streams have no such hazard */
};
/* The i-th of them, the one list of cures: each is what `hardened` says in place of `reported`. -ENOENT. */
int wedge_pool_settings_cure(const struct wedge_pool_settings *settings, unsigned i, struct wedge_pool_cure *ret);
/* Tasks the queue holds, `auto` resolved. */
uint32_t wedge_pool_settings_queue(const struct wedge_pool_settings *settings);
#define WEDGE_POOL_IDLE_LOOK_MS 1000
/*
 * hardened: how often a thread (from 1) that waits for a task looks without being woken. Once a second; in a large pool so
 * much more rarely that all first threads together, and all others together, look some 32 times a second: what an idle
 * pool costs does not grow with it. One thread per process is enough to see that the process is stopped (idle_limit).
 */
int64_t wedge_pool_idle_look_ms(const struct wedge_pool_settings *settings, uint32_t thread);
/* ms as an absolute deadline from now. */
int64_t wedge_pool_settings_until(int64_t limit_ms);

#endif
