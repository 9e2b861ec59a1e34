/* Figures as OpenMetrics (openmetrics.h). A family's samples of all pools stand together, as the format wants it. */
#include "pool/openmetrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "pool/alarms.h"

struct writer {
    const struct wedge_openmetrics_pool *pools;
    size_t n;
    struct wedge_text *out;
};

/* The labels that every sample has. What a hostile name may hold is escaped twice: as bytes, then for the quotes. */
static void labels(struct wedge_text *out, const struct wedge_openmetrics_pool *pool)
{
    char plain[4 * sizeof(pool->board->name)];
    wedge_text_add(out, "{pool=\"");
    for (const char *c = wedge_text_plain(pool->board->name, plain, sizeof(plain)); *c; c++) {
        if (*c == '"' || *c == '\\')
            wedge_text_add(out, "\\");
        wedge_text_add_bytes(out, c, 1);
    }
    wedge_text_addf(out, "\",pid=\"%d\"", (int)pool->board->parent_pid);
}

static void head(const struct writer *w, const char *name, const char *type, const char *unit, const char *help)
{
    wedge_text_addf(w->out, "# TYPE wedge_pool_%s %s\n", name, type);
    if (unit)
        wedge_text_addf(w->out, "# UNIT wedge_pool_%s %s\n", name, unit);
    wedge_text_addf(w->out, "# HELP wedge_pool_%s %s\n", name, help);
}

static void sample(const struct writer *w, const struct wedge_openmetrics_pool *pool, const char *name,
                   const char *suffix, double value)
{
    wedge_text_addf(w->out, "wedge_pool_%s%s", name, suffix);
    labels(w->out, pool);
    wedge_text_addf(w->out, "} %.17g\n", value);
}

/* Families with one sample per pool: where each one's figure lies. */
enum form { U32, U64, BOOL, SHARE };
static const struct family {
    const char *name, *help;
    enum form form;
    size_t offset; /* in struct wedge_figures */
} gauges[] =
    {
#define AT(member) offsetof(struct wedge_figures, member)
        {"queue_tasks", "Tasks that no worker has taken.", U32, AT(stats.queued)},
        {"queue_limit_tasks", "Tasks that the queue holds.", U32, AT(stats.queue)},
        {"queue_highest_tasks", "The most tasks that were ever queued at once.", U32, AT(stats.queue_high)},
        {"results_waiting", "Results that were handed in and not taken.", U32, AT(stats.results)},
        {"tasks_running", "Tasks in a worker's hand.", U32, AT(stats.running)},
        {"workers", "Worker processes wanted.", U32, AT(stats.workers)},
        {"workers_alive", "Worker processes believed alive.", U32, AT(stats.workers_alive)},
        {"puts_waiting", "Puts that wait for room now.", U32, AT(putters_waiting)},
        {"finished_ratio", "Share of the accepted tasks that workers have finished.", SHARE, AT(share_finished)},
        {"collector_alive", "1 while the pool's collector thread has not left, 0 without one.", BOOL,
         AT(stats.collector_alive)},
        {"closed", "1 once the pool takes no more tasks.", BOOL, AT(stats.closed)},
        {"broken", "1 once no worker is left and none is started any more.", BOOL, AT(stats.broken)},
},
  counters[] = {
      {"tasks_accepted", "Tasks that put accepted.", U64, AT(stats.accepted)},
      {"tasks_finished", "Results that workers handed in.", U64, AT(stats.finished)},
      {"results_late", "Results that came after their task was reported, and were dropped.", U64, AT(stats.late)},
      {"results_dropped", "Results that were lost for want of room.", U64, AT(stats.dropped)},
      {"worker_deaths", "Worker processes that did not leave in order.", U64, AT(stats.deaths)},
      {"worker_replacements", "Worker processes that took another one's place.", U64, AT(stats.replaced)},
      {"events", "Events that were delivered.", U64, AT(events)},
      {"events_lost", "Events that found no room, or whose writer died.", U64, AT(events_lost)},
#undef AT
};

static double value_of(const struct family *family, const struct wedge_figures *figures)
{
    const void *at = (const char *)figures + family->offset;
    switch (family->form) {
    case U32:
        return *(const unsigned *)at;
    case U64:
        return (double)*(const uint64_t *)at;
    case BOOL:
        return *(const bool *)at;
    default:
        return *(const double *)at;
    }
}

static void write_families(const struct writer *w, const struct family *families, size_t n, const char *type,
                           const char *suffix)
{
    for (const struct family *f = families; f < families + n; f++) {
        head(w, f->name, type, NULL, f->help);
        for (size_t i = 0; i < w->n; i++)
            sample(w, &w->pools[i], f->name, suffix, value_of(f, &w->pools[i].figures));
    }
}

static void write_outcomes(const struct writer *w)
{
    head(w, "tasks_reported", "counter", NULL, "Tasks whose result was handed to the program, by outcome.");
    for (size_t i = 0; i < w->n; i++)
        for (int o = WEDGE_POOL_OK; o < WEDGE_POOL_OUTCOMES; o++) {
            wedge_text_add(w->out, "wedge_pool_tasks_reported_total");
            labels(w->out, &w->pools[i]);
            wedge_text_addf(w->out, ",outcome=\"%s\"} %" PRIu64 "\n",
                            wedge_pool_outcome_name((enum wedge_pool_outcome)o), w->pools[i].figures.stats.outcomes[o]);
        }
}

static void write_alarms(const struct writer *w)
{
    head(w, "alarm", "gauge", NULL, "1 while the pool raises this alarm.");
    for (size_t i = 0; i < w->n; i++)
        for (int a = 0; a < WEDGE_ALARMS; a++) {
            wedge_text_add(w->out, "wedge_pool_alarm");
            labels(w->out, &w->pools[i]);
            wedge_text_addf(w->out, ",alarm=\"%s\"} %u\n", wedge_alarm_name((enum wedge_alarm)a),
                            w->pools[i].figures.stats.alarms >> a & 1);
        }
}

/* Buckets end at each doubling from 1 µs on, where a step of the histogram ends too (histogram.h): exact, but for a time of
 * just that many nanoseconds, which counts above. */
enum { FIRST_DOUBLING = 10, LAST_DOUBLING = 40 };

static void write_histogram(const struct writer *w, const char *name, const char *help, size_t offset)
{
    head(w, name, "histogram", "seconds", help);
    for (size_t i = 0; i < w->n; i++) {
        const struct wedge_times *times = (const void *)((const char *)&w->pools[i].figures + offset);
        uint64_t below = 0;
        uint32_t step = 0;
        for (int doubling = FIRST_DOUBLING; doubling <= LAST_DOUBLING; doubling++) {
            for (; step < wedge_histogram_step(1ull << doubling); step++)
                below += times->counts[step];
            wedge_text_addf(w->out, "wedge_pool_%s_bucket", name);
            labels(w->out, &w->pools[i]);
            wedge_text_addf(w->out, ",le=\"%.10g\"} %" PRIu64 "\n", (double)(1ull << doubling) / 1e9, below);
        }
        wedge_text_addf(w->out, "wedge_pool_%s_bucket", name);
        labels(w->out, &w->pools[i]);
        wedge_text_addf(w->out, ",le=\"+Inf\"} %" PRIu64 "\n", times->count);
        sample(w, &w->pools[i], name, "_sum", (double)times->sum_ns / 1e9);
        sample(w, &w->pools[i], name, "_count", (double)times->count);
    }
}

void wedge_openmetrics_write(const struct wedge_openmetrics_pool *pools, size_t n, struct wedge_text *out)
{
    const struct writer w = {.pools = pools, .n = n, .out = out};
    write_families(&w, gauges, sizeof(gauges) / sizeof(gauges[0]), "gauge", "");
    write_families(&w, counters, sizeof(counters) / sizeof(counters[0]), "counter", "_total");
    write_outcomes(&w);
    write_alarms(&w);
    write_histogram(&w, "task_run_seconds", "How long tasks ran, from their claim to their result.",
                    offsetof(struct wedge_figures, run));
    write_histogram(&w, "put_wait_seconds", "How long the puts that were held up waited.",
                    offsetof(struct wedge_figures, put_wait));
    wedge_text_add(out, "# EOF\n");
}
