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

enum form { FORM_NUMBER, FORM_LIMIT, FORM_CHOICE };
enum scope { IN_STREAMS = 1, IN_HARDENED = 2, IN_ALL = 3 };

struct choice {
    const char *word;
    int64_t value;
};

static const struct choice queue_words[] = {{"auto", 0}, {NULL, 0}};
static const struct choice leaves_words[] = {{"mark", WEDGE_POOL_LEAVES_MARK},
                                             {"no_workers", WEDGE_POOL_LEAVES_NO_WORKERS},
                                             {"accounted", WEDGE_POOL_LEAVES_ACCOUNTED},
                                             {"either", WEDGE_POOL_LEAVES_EITHER},
                                             {NULL, 0}};
static const struct choice bound_words[] = {
    {"bounded", WEDGE_POOL_RESULTS_BOUNDED}, {"none", WEDGE_POOL_RESULTS_GROW}, {NULL, 0}};
static const struct choice full_words[] = {{"wait", WEDGE_POOL_FULL_WAIT}, {"drop", WEDGE_POOL_FULL_DROP}, {NULL, 0}};
static const struct choice limit_words[] = {{"never", WEDGE_POOL_NO_LIMIT}, {NULL, 0}};

struct field {
    const char *key;
    enum scope scope;
    enum form form;
    size_t offset;
    int64_t min, max; /* numbers and limits */
    const struct choice *words; /* what else is allowed, NULL nothing */
};

#define AT(member) offsetof(struct wedge_pool_settings, member)
static const struct field fields[] = {
    {"processes", IN_ALL, FORM_NUMBER, AT(processes), 1, WEDGE_POOL_PROCESSES_MAX, NULL},
    {"threads", IN_ALL, FORM_NUMBER, AT(threads), 1, WEDGE_POOL_THREADS_MAX, NULL},
    {"queue", IN_ALL, FORM_NUMBER, AT(queue), 1, 65536, queue_words},
    {"payload_bytes", IN_ALL, FORM_NUMBER, AT(payload_bytes), 8, 1048576, NULL},
    {"collector_wait", IN_STREAMS, FORM_LIMIT, AT(collector_wait_ms), 1, HOUR_MS, limit_words},
    {"collector_leaves", IN_STREAMS, FORM_CHOICE, AT(collector_leaves), 0, 0, leaves_words},
    {"close_wait", IN_STREAMS, FORM_LIMIT, AT(close_wait_ms), 1, HOUR_MS, limit_words},
    {"result_bound", IN_STREAMS, FORM_CHOICE, AT(result_bound), 0, 0, bound_words},
    {"result_put", IN_STREAMS, FORM_CHOICE, AT(result_put), 0, 0, full_words},
    {"start_limit", IN_ALL, FORM_LIMIT, AT(start_limit_ms), 1, HOUR_MS, limit_words},
    {"task_limit", IN_HARDENED, FORM_LIMIT, AT(task_limit_ms), 1, HOUR_MS, limit_words},
    {"final_limit", IN_HARDENED, FORM_LIMIT, AT(final_limit_ms), 1, HOUR_MS, limit_words},
    {"idle_limit", IN_HARDENED, FORM_LIMIT, AT(idle_limit_ms), 2000, HOUR_MS, limit_words},
    {"restart_limit", IN_HARDENED, FORM_NUMBER, AT(restart_limit), 1, 1000, NULL},
};
#undef AT

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

int wedge_pool_settings_init(struct wedge_pool_settings *ret, const char *preset, struct wedge_pool_err *err)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct wedge_pool_settings s = {
        .preset = "hardened",
        .processes = cpus < 1                          ? 1
                     : cpus > WEDGE_POOL_PROCESSES_MAX ? WEDGE_POOL_PROCESSES_MAX
                                                       : cpus,
        .threads = 2,
        .payload_bytes = 256,
        .collector_wait_ms = WEDGE_POOL_NO_LIMIT,
        .close_wait_ms = WEDGE_POOL_NO_LIMIT,
        .start_limit_ms = WEDGE_POOL_NO_LIMIT,
        .task_limit_ms = WEDGE_POOL_NO_LIMIT,
        .final_limit_ms = WEDGE_POOL_NO_LIMIT,
        .idle_limit_ms = WEDGE_POOL_NO_LIMIT,
        .restart_limit = 8,
    };
    if (!preset || strcmp(preset, "hardened") == 0) {
        s.hardened = true;
        s.start_limit_ms = 10000;
        s.final_limit_ms = 10000;
        s.idle_limit_ms = 10000;
    } else if (strcmp(preset, "reported") == 0) {
        s.preset = "reported";
    } else if (strcmp(preset, "proposed") == 0) {
        s.preset = "proposed";
        s.shutdown_all = true;
        s.collector_wait_ms = 1000;
        s.collector_leaves = WEDGE_POOL_LEAVES_EITHER;
        s.close_wait_ms = 1000;
        s.result_put = WEDGE_POOL_FULL_DROP;
    } else {
        return wedge_pool_err_set(err, -EINVAL, "preset: '%.40s' is none; one of reported, proposed, hardened", preset);
    }
    *ret = s;
    return 0;
}

/* "1 to 64", "bounded or none", "1 to 65536 or auto": what a field allows, for messages. */
static void allowed(const struct field *field, char *buf, size_t size)
{
    size_t used = 0;
    const char *unit = field->form == FORM_LIMIT ? " ms" : "";
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

int wedge_pool_settings_set(struct wedge_pool_settings *settings, const char *key_value, struct wedge_pool_err *err)
{
    const char *equals = strchr(key_value, '=');
    if (!equals || equals == key_value)
        return wedge_pool_err_set(err, -EINVAL, "'%.60s': not of the form key=value", key_value);
    size_t key_len = (size_t)(equals - key_value);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const struct field *field = &fields[i];
        char range[128];
        int64_t value;
        if (strlen(field->key) != key_len || strncmp(field->key, key_value, key_len) != 0)
            continue;
        if (!(field->scope & (settings->hardened ? IN_HARDENED : IN_STREAMS)))
            return wedge_pool_err_set(err, -EINVAL, "%s: not a setting of preset %s", field->key, settings->preset);
        if (parse_value(field, equals + 1, &value) < 0) {
            allowed(field, range, sizeof(range));
            return wedge_pool_err_set(err, -EINVAL, "%s: '%.40s' is not allowed; %s", field->key, equals + 1, range);
        }
        memcpy((char *)settings + field->offset, &value, sizeof(value));
        return 0;
    }
    return wedge_pool_err_set(err, -EINVAL, "%.*s: no such setting", (int)(key_len > 60 ? 60 : key_len), key_value);
}

uint32_t wedge_pool_settings_queue(const struct wedge_pool_settings *settings)
{
    return (uint32_t)(settings->queue ? settings->queue : settings->processes * settings->threads * 3 + 30);
}

int64_t wedge_pool_settings_until(int64_t limit_ms)
{
    int64_t now = wedge_clock_ns();
    if (limit_ms < 0 || limit_ms > (INT64_MAX - now) / WEDGE_NS_PER_MS)
        return WEDGE_POOL_NEVER;
    return now + limit_ms * WEDGE_NS_PER_MS;
}
