/*
 * Presets and single settings. One table names each setting, whom it belongs to, and what it may be; everything that
 * refuses a value reads the table, so that a message cannot say something else than the check does.
 */
#include "pool/settings.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define HOUR_MS 3600000
#define DAY_MS  86400000

enum form { FORM_NUMBER, FORM_LIMIT, FORM_CHOICE, FORM_NAME };
enum scope { IN_STREAMS = 1, IN_HARDENED = 2, IN_ALL = 3 };

struct choice {
    const char *word;
    int64_t value;
};

static const struct choice auto_words[] = {{"auto", 0}, {NULL, 0}};
static const struct choice limit_words[] = {{"never", WEDGE_POOL_NO_LIMIT}, {NULL, 0}};
static const struct choice none_words[] = {{"none", WEDGE_POOL_NO_LIMIT}, {NULL, 0}};
static const struct choice leaves_words[] = {{"mark", WEDGE_POOL_LEAVES_MARK},
                                             {"no_workers", WEDGE_POOL_LEAVES_NO_WORKERS},
                                             {"accounted", WEDGE_POOL_LEAVES_ACCOUNTED},
                                             {"either", WEDGE_POOL_LEAVES_EITHER},
                                             {NULL, 0}};
/* The rest are enums of settings.h that count from 0. */
#define CHOICES2(name, a, b) static const struct choice name[] = {{a, 0}, {b, 1}, {NULL, 0}}
CHOICES2(bound_words, "bounded", "none");
CHOICES2(full_words, "wait", "drop");
CHOICES2(when_full_words, "wait", "caller");
CHOICES2(workers_words, "processes", "threads");
CHOICES2(task_end_words, "kill", "drain");
CHOICES2(timeouts_words, "repeated", "once");
CHOICES2(limit_by_words, "process", "helper");
CHOICES2(management_words, "wide", "narrow");
CHOICES2(dead_task_words, "forgotten", "lost");
CHOICES2(parent_death_words, "ignored", "leave");
CHOICES2(ask_error_words, "dead", "alive");
CHOICES2(leave_words, "abrupt", "in_order");
CHOICES2(close_by_words, "marks", "flag");
CHOICES2(steps_words, "first_error", "all");
CHOICES2(covers_words, "middle", "all");
CHOICES2(queue_lock_words, "semaphore", "owned");
CHOICES2(idle_reader_words, "yes", "no");
CHOICES2(shared_words, "unnamed", "named");
CHOICES2(alarms_words, "instant", "held");
static const struct choice log_words[] = {{"direct", 0}, {"reset", 1}, {"queued", 2}, {NULL, 0}};

struct field {
    const char *key;
    enum scope scope;
    enum form form;
    size_t offset;
    int64_t min, max; /* numbers and limits */
    const struct choice *words; /* what else is allowed, NULL nothing */
    /* What cures the hazard that `reported` has in it: what `hardened` says, where it has the setting. NULL: no hazard. */
    const char *cure;
};

#define AT(member) offsetof(struct wedge_pool_settings, member)
/* In the order of <wedge/pool.h>. */
static const struct field fields[] = {
    {"processes", IN_ALL, FORM_NUMBER, AT(processes), 1, WEDGE_POOL_PROCESSES_MAX, NULL, NULL},
    {"threads", IN_ALL, FORM_NUMBER, AT(threads), 1, WEDGE_POOL_THREADS_MAX, NULL, NULL},
    {"queue", IN_ALL, FORM_NUMBER, AT(queue), 1, 65536, auto_words, NULL},
    {"payload_bytes", IN_ALL, FORM_NUMBER, AT(payload_bytes), 8, 1048576, NULL, NULL},
    {"slot_bytes", IN_HARDENED, FORM_NUMBER, AT(slot_bytes), 16, 65536, NULL, NULL},
    {"arena_bytes", IN_HARDENED, FORM_NUMBER, AT(arena_bytes), 4096, 4294967296, auto_words, NULL},
    {"name", IN_ALL, FORM_NAME, AT(name), 0, 0, NULL, NULL},
    {"when_full", IN_ALL, FORM_CHOICE, AT(when_full), 0, 0, when_full_words, NULL},
    {"workers", IN_HARDENED, FORM_CHOICE, AT(workers), 0, 0, workers_words, NULL},
    {"life_tasks", IN_ALL, FORM_NUMBER, AT(life_tasks), 1, 1000000000, limit_words, NULL},
    {"life", IN_ALL, FORM_LIMIT, AT(life_ms), 1, DAY_MS, limit_words, NULL},
    {"process_limit", IN_ALL, FORM_LIMIT, AT(process_limit_ms), 1, DAY_MS, limit_words, NULL},
    {"term_wait", IN_ALL, FORM_LIMIT, AT(term_wait_ms), 1, HOUR_MS, NULL, NULL},
    {"die_limit", IN_ALL, FORM_LIMIT, AT(die_limit_ms), 1, HOUR_MS, limit_words, NULL},
    {"task_limit", IN_ALL, FORM_LIMIT, AT(task_limit_ms), 1, DAY_MS, limit_words, NULL},
    {"task_end", IN_HARDENED, FORM_CHOICE, AT(task_end), 0, 0, task_end_words, NULL},
    {"queue_limit", IN_HARDENED, FORM_LIMIT, AT(queue_limit_ms), 1, DAY_MS, limit_words, NULL},
    {"timeouts", IN_STREAMS, FORM_CHOICE, AT(timeouts), 0, 0, timeouts_words, "once"},
    {"check", IN_STREAMS, FORM_LIMIT, AT(check_ms), 1, HOUR_MS, limit_words, NULL},
    {"start_limit", IN_ALL, FORM_LIMIT, AT(start_limit_ms), 1, HOUR_MS, limit_words, "10000"},
    {"final_limit", IN_ALL, FORM_LIMIT, AT(final_limit_ms), 1, HOUR_MS, limit_words, "10000"},
    {"limit_by", IN_STREAMS, FORM_CHOICE, AT(limit_by), 0, 0, limit_by_words, NULL},
    {"idle_limit", IN_HARDENED, FORM_LIMIT, AT(idle_limit_ms), 2000, HOUR_MS, limit_words, "10000"},
    {"restart_limit", IN_ALL, FORM_NUMBER, AT(restart_limit), 1, 1000, none_words, "8"},
    {"management_lock", IN_STREAMS, FORM_CHOICE, AT(management_lock), 0, 0, management_words, "narrow"},
    {"dead_task", IN_STREAMS, FORM_CHOICE, AT(dead_task), 0, 0, dead_task_words, "lost"},
    {"parent_death", IN_STREAMS, FORM_CHOICE, AT(parent_death), 0, 0, parent_death_words, "leave"},
    {"ask_error", IN_STREAMS, FORM_CHOICE, AT(ask_error), 0, 0, ask_error_words, "alive"},
    {"leave", IN_ALL, FORM_CHOICE, AT(leave), 0, 0, leave_words, "in_order"},
    {"collector_wait", IN_STREAMS, FORM_LIMIT, AT(collector_wait_ms), 1, HOUR_MS, limit_words, "1000"},
    {"collector_leaves", IN_STREAMS, FORM_CHOICE, AT(collector_leaves), 0, 0, leaves_words, "either"},
    {"collector_limit", IN_ALL, FORM_LIMIT, AT(collector_limit_ms), 1, HOUR_MS, limit_words, "10000"},
    {"result_bound", IN_STREAMS, FORM_CHOICE, AT(result_bound), 0, 0, bound_words, "none"},
    {"result_put", IN_STREAMS, FORM_CHOICE, AT(result_put), 0, 0, full_words, NULL},
    {"close_by", IN_STREAMS, FORM_CHOICE, AT(close_by), 0, 0, close_by_words, "flag"},
    {"close_wait", IN_STREAMS, FORM_LIMIT, AT(close_wait_ms), 1, HOUR_MS, limit_words, "1000"},
    {"shutdown_steps", IN_STREAMS, FORM_CHOICE, AT(shutdown_steps), 0, 0, steps_words, "all"},
    {"shutdown_covers", IN_STREAMS, FORM_CHOICE, AT(shutdown_covers), 0, 0, covers_words, "all"},
    {"queue_lock", IN_STREAMS, FORM_CHOICE, AT(queue_lock), 0, 0, queue_lock_words, "owned"},
    {"idle_holds_reader", IN_STREAMS, FORM_CHOICE, AT(idle_holds_reader), 0, 0, idle_reader_words, "no"},
    {"shared", IN_STREAMS, FORM_CHOICE, AT(shared), 0, 0, shared_words, "unnamed"},
    {"log", IN_ALL, FORM_CHOICE, AT(log), 0, 0, log_words, "queued"},
    {"alarms", IN_ALL, FORM_CHOICE, AT(alarms), 0, 0, alarms_words, "held"},
    {"alarm_hold", IN_ALL, FORM_LIMIT, AT(alarm_hold_ms), 1, HOUR_MS, NULL, NULL},
    {"alarm_floor", IN_ALL, FORM_NUMBER, AT(alarm_floor), 0, 1000000, NULL, NULL},
};
#undef AT
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

int wedge_pool_err_set(struct wedge_pool_err *err, int code, const char *fmt, ...)
{
    if (!err)
        return code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    err->code = code;
    return code;
}

/* "1 to 64", "bounded or none", "1 to 65536 or auto": what a field allows, for messages. */
static void allowed(const struct field *field, char *buf, size_t size)
{
    size_t used = 0;
    const char *unit = field->form == FORM_LIMIT ? " ms" : "";
    if (field->form == FORM_NAME) {
        snprintf(buf, size, "1 to %zu of A-Z a-z 0-9 _ . -", sizeof(((struct wedge_pool_settings *)0)->name) - 1);
        return;
    }
    buf[0] = '\0';
    if (field->form != FORM_CHOICE)
        used = (size_t)snprintf(buf, size, "%lld to %lld%s", (long long)field->min, (long long)field->max, unit);
    for (const struct choice *word = field->words; word && word->word && used < size; word++)
        used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? " or " : "", word->word);
}

/* Decimal digits alone: no sign, no blank, no exponent. Saturates, so that a huge number is out of range. */
static int parse_number(const char *text, int64_t *ret)
{
    int64_t value = 0;
    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        if (value < INT64_MAX / 100)
            value = value * 10 + (*text - '0');
    }
    *ret = value;
    return 0;
}

static int parse_value(const struct field *field, const char *text, int64_t *ret)
{
    int64_t value;
    for (const struct choice *word = field->words; word && word->word; word++) {
        if (strcmp(word->word, text) == 0) {
            *ret = word->value;
            return 0;
        }
    }
    if (field->form == FORM_CHOICE || parse_number(text, &value) < 0)
        return -EINVAL;
    if (value < field->min || value > field->max)
        return -ERANGE;
    *ret = value;
    return 0;
}

static bool is_name(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
    return n > 0 && text[n] == '\0' && n < sizeof(((struct wedge_pool_settings *)0)->name);
}

/* Stores the value where it is allowed. */
static bool store(struct wedge_pool_settings *settings, const struct field *field, const char *text)
{
    char *at = (char *)settings + field->offset;
    int64_t value;
    if (field->form == FORM_NAME) {
        if (is_name(text))
            strcpy(at, text); /* is_name: it fits */
        return is_name(text);
    }
    if (parse_value(field, text, &value) < 0)
        return false;
    memcpy(at, &value, sizeof(value));
    return true;
}

int wedge_pool_settings_init(struct wedge_pool_settings *ret, const char *preset, struct wedge_pool_err *err)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    /* `reported`: no limit anywhere, and each choice its first word. */
    struct wedge_pool_settings s = {
        .preset = "reported",
        .name = "pool",
        .processes = cpus < 1                          ? 1
                     : cpus > WEDGE_POOL_PROCESSES_MAX ? WEDGE_POOL_PROCESSES_MAX
                                                       : cpus,
        .threads = 2,
        .payload_bytes = 256,
        .slot_bytes = 256,
        .life_tasks = WEDGE_POOL_NO_LIMIT,
        .life_ms = WEDGE_POOL_NO_LIMIT,
        .process_limit_ms = WEDGE_POOL_NO_LIMIT,
        .term_wait_ms = 1000,
        .die_limit_ms = 5000,
        .task_limit_ms = WEDGE_POOL_NO_LIMIT,
        .queue_limit_ms = WEDGE_POOL_NO_LIMIT,
        .check_ms = WEDGE_POOL_NO_LIMIT,
        .start_limit_ms = WEDGE_POOL_NO_LIMIT,
        .final_limit_ms = WEDGE_POOL_NO_LIMIT,
        .idle_limit_ms = WEDGE_POOL_NO_LIMIT,
        .restart_limit = WEDGE_POOL_NO_LIMIT,
        .collector_wait_ms = WEDGE_POOL_NO_LIMIT,
        .collector_limit_ms = WEDGE_POOL_NO_LIMIT,
        .close_wait_ms = WEDGE_POOL_NO_LIMIT,
        .alarm_hold_ms = 5000,
        .alarm_floor = 100,
    };
    if (!preset || strcmp(preset, "hardened") == 0) {
        s.preset = "hardened";
        s.hardened = true;
        for (size_t i = 0; i < N_FIELDS; i++)
            if (fields[i].cure && fields[i].scope & IN_HARDENED)
                store(&s, &fields[i], fields[i].cure);
    } else if (strcmp(preset, "proposed") == 0) {
        s.preset = "proposed";
        s.start_limit_ms = 10000;
        s.final_limit_ms = 10000;
        s.limit_by = WEDGE_POOL_LIMIT_BY_HELPER;
        s.management_lock = WEDGE_POOL_MANAGEMENT_NARROW;
        s.collector_wait_ms = 1000;
        s.collector_leaves = WEDGE_POOL_LEAVES_EITHER;
        s.close_wait_ms = 1000;
        s.result_put = WEDGE_POOL_FULL_DROP;
        s.shutdown_steps = WEDGE_POOL_STEPS_ALL;
        s.log = WEDGE_POOL_LOG_RESET;
    } else if (strcmp(preset, "reported") != 0) {
        return wedge_pool_err_set(err, -EINVAL, "preset: '%.40s' is none; one of reported, proposed, hardened", preset);
    }
    *ret = s;
    return 0;
}

int wedge_pool_settings_set(struct wedge_pool_settings *settings, const char *key_value, struct wedge_pool_err *err)
{
    const char *equals = strchr(key_value, '=');
    if (!equals || equals == key_value)
        return wedge_pool_err_set(err, -EINVAL, "'%.60s': not of the form key=value", key_value);
    size_t key_len = (size_t)(equals - key_value);
    for (size_t i = 0; i < N_FIELDS; i++) {
        const struct field *field = &fields[i];
        char range[128];
        if (strlen(field->key) != key_len || strncmp(field->key, key_value, key_len) != 0)
            continue;
        if (!(field->scope & (settings->hardened ? IN_HARDENED : IN_STREAMS)))
            return wedge_pool_err_set(err, -EINVAL, "%s: not a setting of preset %s", field->key, settings->preset);
        if (!store(settings, field, equals + 1)) {
            allowed(field, range, sizeof(range));
            return wedge_pool_err_set(err, -EINVAL, "%s: '%.40s' is not allowed; %s", field->key, equals + 1, range);
        }
        return 0;
    }
    return wedge_pool_err_set(err, -EINVAL, "%.*s: no such setting", (int)(key_len > 60 ? 60 : key_len), key_value);
}

/* Limits of workers that are threads of the parent: nobody can be ended there (<wedge/pool.h>, `workers`). */
static int check_threads(const struct wedge_pool_settings *s, struct wedge_pool_err *err)
{
    if (s->process_limit_ms >= 0)
        return wedge_pool_err_set(err, -EINVAL, "process_limit: %lld is not allowed with workers=threads; never",
                                  (long long)s->process_limit_ms);
    if (s->task_end == WEDGE_POOL_TASK_END_DRAIN)
        return wedge_pool_err_set(err, -EINVAL, "task_end: 'drain' is not allowed with workers=threads; kill");
    return 0;
}

/* Each of these would otherwise be a limit that never comes, or a put that never finds room. */
int wedge_pool_settings_check(const struct wedge_pool_settings *s, struct wedge_pool_err *err)
{
    long long life = s->life_ms, hard = s->process_limit_ms, both = 2 * s->payload_bytes;
    if (s->hardened && s->arena_bytes && s->payload_bytes > s->slot_bytes && s->arena_bytes < both)
        return wedge_pool_err_set(
            err, -EINVAL,
            "arena_bytes: %lld is not allowed with payload_bytes=%lld and slot_bytes=%lld; at least "
            "%lld, a task and its result, or auto",
            (long long)s->arena_bytes, (long long)s->payload_bytes, (long long)s->slot_bytes, both);
    if (life >= 0 && hard >= 0 && life >= hard)
        return wedge_pool_err_set(err, -EINVAL, "life: %lld is not allowed with process_limit=%lld; below it, or never",
                                  life, hard);
    if (s->hardened && s->workers == WEDGE_POOL_WORKERS_THREADS)
        return check_threads(s, err);
    return 0;
}

/* A value as it would be given. */
static void value_text(const struct wedge_pool_settings *settings, const struct field *field, char *buf, size_t size)
{
    const char *at = (const char *)settings + field->offset;
    int64_t value = 0;
    if (field->form == FORM_NAME) {
        snprintf(buf, size, "%s", at);
        return;
    }
    memcpy(&value, at, sizeof(value));
    snprintf(buf, size, "%lld", (long long)value);
    for (const struct choice *word = field->words; word && word->word; word++)
        if (word->value == value)
            snprintf(buf, size, "%s", word->word);
}

int wedge_pool_settings_get(const struct wedge_pool_settings *settings, unsigned i, struct wedge_pool_setting *ret)
{
    if (i >= N_FIELDS)
        return -ENOENT;
    const struct field *field = &fields[i];
    *ret = (struct wedge_pool_setting){.key = field->key};
    allowed(field, ret->allowed, sizeof(ret->allowed));
    if (field->scope & (settings->hardened ? IN_HARDENED : IN_STREAMS))
        value_text(settings, field, ret->value, sizeof(ret->value));
    else
        strcpy(ret->value, "-");
    return 0;
}

int wedge_pool_settings_cure(const struct wedge_pool_settings *settings, unsigned i, struct wedge_pool_cure *ret)
{
    struct wedge_pool_settings reported;
    char now[sizeof(ret->hazard)];
    unsigned at = 0;
    for (unsigned left = i;; at++) {
        if (at >= N_FIELDS)
            return -ENOENT;
        if (fields[at].cure && left-- == 0)
            break;
    }
    const struct field *field = &fields[at];
    wedge_pool_settings_init(&reported, "reported", NULL);
    *ret = (struct wedge_pool_cure){.key = field->key,
                                    .value = field->cure,
                                    .is_limit = field->form == FORM_LIMIT,
                                    .fixed = !(field->scope & (settings->hardened ? IN_HARDENED : IN_STREAMS))};
    value_text(&reported, field, ret->hazard, sizeof(ret->hazard));
    value_text(settings, field, now, sizeof(now));
    ret->on = ret->fixed ? settings->hardened : strcmp(now, ret->hazard) != 0;
    if (strcmp(ret->hazard, field->cure) == 0) /* only a setting of one's own takes away what `reported` has */
        snprintf(ret->hazard, sizeof(ret->hazard), "%s", field->words[1].word);
    return 0;
}

uint32_t wedge_pool_settings_queue(const struct wedge_pool_settings *settings)
{
    return (uint32_t)(settings->queue ? settings->queue : settings->processes * settings->threads * 3 + 30);
}

int64_t wedge_pool_idle_look_ms(const struct wedge_pool_settings *settings, uint32_t thread)
{
    int64_t sharers = settings->processes * (thread == 1 ? 1 : settings->threads);
    return sharers <= 32 ? WEDGE_POOL_IDLE_LOOK_MS : sharers * WEDGE_POOL_IDLE_LOOK_MS / 32;
}

int64_t wedge_pool_settings_until(int64_t limit_ms)
{
    int64_t now = wedge_clock_ns();
    if (limit_ms < 0 || limit_ms > (INT64_MAX - now) / WEDGE_NS_PER_MS)
        return WEDGE_POOL_NEVER;
    return now + limit_ms * WEDGE_NS_PER_MS;
}
