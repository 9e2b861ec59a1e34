/* How it went before: read from the store one round after the other, in the order of scenario, check and time. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "reports/report.h"
#include "reports/store.h"
#include "reports/store_db.h"

/* What is gathered of one check of one scenario. */
struct gathered {
    char *scenario, *check;
    double *seconds;
    size_t rounds, room, runs, passed, failed, invalid;
    json_t *verdicts, *signatures; /* word: how often */
    int64_t run, since; /* the last round's; of the last change */
    size_t changes;
    bool good, within; /* the last round passed; it changed within one run */
};

static bool is_asked_for(char *const *patterns, const char *name)
{
    const char *slash = strrchr(name, '/');
    if (!patterns || !patterns[0])
        return true;
    for (; *patterns; patterns++)
        if (fnmatch(*patterns, name, 0) == 0 || (slash && fnmatch(*patterns, slash + 1, 0) == 0))
            return true;
    return false;
}

static void count(json_t *words, const char *word)
{
    json_object_set_new(words, word, json_integer(json_integer_value(json_object_get(words, word)) + 1));
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Writes down what was gathered and begins anew. */
static int close_group(struct gathered *g, json_t *checks)
{
    static const char *const trends[] = {"steady", "broke", "mended", "flaky"};
    if (!g->rounds)
        return 0;
    qsort(g->seconds, g->rounds, sizeof(double), by_size);
    int trend = !g->changes ? 0 : g->changes > 1 || g->within ? 3 : g->good ? 2 : 1;
    json_t *check = json_pack("{s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:O,s:I,s:{s:f,s:f,s:f},s:s,s:o}", "scenario",
                              wedge_report_string(g->scenario), "check", g->check, "rounds", (json_int_t)g->rounds,
                              "runs", (json_int_t)g->runs, "passed", (json_int_t)g->passed, "failed",
                              (json_int_t)g->failed, "invalid", (json_int_t)g->invalid, "verdicts", g->verdicts,
                              "signatures", (json_int_t)json_object_size(g->signatures), "seconds", "least",
                              g->seconds[0], "median", g->seconds[g->rounds / 2], "most", g->seconds[g->rounds - 1],
                              "trend", trends[trend], "since", g->changes ? json_integer(g->since) : json_null());
    return json_array_append_new(checks, check) ? -ENOMEM : 0;
}

static void free_group(struct gathered *g)
{
    free(g->scenario);
    free(g->check);
    free(g->seconds);
    json_decref(g->verdicts);
    json_decref(g->signatures);
    *g = (struct gathered){0};
}

static int take_round(struct gathered *g, sqlite3_stmt *row)
{
    const char *status = (const char *)sqlite3_column_text(row, 3),
               *verdict = (const char *)sqlite3_column_text(row, 4);
    const char *signature = (const char *)sqlite3_column_text(row, 5);
    int64_t run = sqlite3_column_int64(row, 2);
    bool good = strcmp(status, "passed") == 0;
    if (g->rounds == g->room) {
        size_t room = g->room ? 2 * g->room : 64;
        double *more = reallocarray(g->seconds, room, sizeof(*more));
        if (!more)
            return -ENOMEM;
        g->seconds = more;
        g->room = room;
    }
    if (g->rounds && good != g->good) {
        g->changes++;
        g->since = run;
        g->within |= run == g->run;
    }
    g->runs += !g->rounds || run != g->run;
    g->seconds[g->rounds++] = sqlite3_column_double(row, 6);
    g->good = good;
    g->run = run;
    g->passed += good;
    g->failed += strcmp(status, "failed") == 0;
    g->invalid += strcmp(status, "invalid") == 0;
    count(g->verdicts, verdict);
    if (*signature)
        count(g->signatures, signature);
    return 0;
}

/* A row of another check ends the group before. */
static int take_row(struct gathered *g, sqlite3_stmt *row, json_t *checks)
{
    const char *scenario = (const char *)sqlite3_column_text(row, 0),
               *check = (const char *)sqlite3_column_text(row, 1);
    int rc = 0;
    if (!g->scenario || strcmp(g->scenario, scenario) != 0 || strcmp(g->check, check) != 0) {
        rc = close_group(g, checks);
        free_group(g);
        *g = (struct gathered){.scenario = strdup(scenario),
                               .check = strdup(check),
                               .verdicts = json_object(),
                               .signatures = json_object()};
        if (!g->scenario || !g->check || !g->verdicts || !g->signatures)
            return -ENOMEM;
    }
    return rc ? rc : take_round(g, row);
}

static int read_checks(sqlite3 *db, const char *verb, int64_t first, char *const *patterns, json_t *checks)
{
    struct gathered group = {0};
    sqlite3_stmt *ask = NULL;
    int rc = sqlite3_prepare_v2(
                 db,
                 "SELECT scenario, \"check\", run, status, verdict, signature, seconds FROM checks WHERE "
                 "run >= ?1 AND run IN (SELECT id FROM runs WHERE verb = ?2) ORDER BY scenario, \"check\", id",
                 -1, &ask, NULL)
                 ? -EIO
                 : 0;
    int step = SQLITE_DONE;
    if (!rc && (sqlite3_bind_int64(ask, 1, first) || sqlite3_bind_text(ask, 2, verb, -1, SQLITE_STATIC)))
        rc = -EIO;
    while (!rc && (step = sqlite3_step(ask)) == SQLITE_ROW)
        if (is_asked_for(patterns, (const char *)sqlite3_column_text(ask, 0)))
            rc = take_row(&group, ask, checks);
    if (!rc)
        rc = step == SQLITE_DONE ? close_group(&group, checks) : -EIO;
    free_group(&group);
    sqlite3_finalize(ask);
    return rc;
}

/* The newest first. `*ret_first`: the oldest of them. */
static int read_runs(sqlite3 *db, const char *verb, long most, json_t *runs, int64_t *ret_first)
{
    sqlite3_stmt *ask = NULL;
    int step = SQLITE_DONE;
    int rc =
        sqlite3_prepare_v2(db,
                           "SELECT id, started, verb, complete, exit, (SELECT COUNT(*) FROM checks WHERE run = "
                           "runs.id), (SELECT COUNT(*) FROM checks WHERE run = runs.id AND status = 'passed') FROM "
                           "runs WHERE verb = ?2 ORDER BY id DESC LIMIT ?1",
                           -1, &ask, NULL)
            ? -EIO
            : 0;
    if (!rc && (sqlite3_bind_int64(ask, 1, most) || sqlite3_bind_text(ask, 2, verb, -1, SQLITE_STATIC)))
        rc = -EIO;
    while (!rc && (step = sqlite3_step(ask)) == SQLITE_ROW) {
        char started[32];
        time_t when = (time_t)sqlite3_column_int64(ask, 1);
        struct tm tm;
        strftime(started, sizeof(started), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&when, &tm));
        *ret_first = sqlite3_column_int64(ask, 0);
        json_t *run = json_pack(
            "{s:I,s:s,s:s,s:b,s:o,s:I,s:I}", "id", (json_int_t)*ret_first, "started", started, "verb",
            (const char *)sqlite3_column_text(ask, 2), "complete", sqlite3_column_int(ask, 3), "exit",
            sqlite3_column_type(ask, 4) == SQLITE_NULL ? json_null() : json_integer(sqlite3_column_int(ask, 4)),
            "checks", (json_int_t)sqlite3_column_int64(ask, 5), "passed", (json_int_t)sqlite3_column_int64(ask, 6));
        rc = json_array_append_new(runs, run) ? -ENOMEM : 0;
    }
    sqlite3_finalize(ask);
    return rc ? rc : step == SQLITE_DONE ? 0 : -EIO;
}

int wedge_store_history(const char *dir, const char *verb, long most, char *const *patterns, json_t **ret,
                        struct wedge_err *err)
{
    sqlite3 *db;
    int64_t first = 0;
    int rc = wedge_store_open(dir, false, &db, err);
    if (rc)
        return rc;
    json_t *runs = json_array(), *checks = json_array();
    /* Both by one look: a run may be writing. */
    rc = runs && checks ? 0 : -ENOMEM;
    if (!rc && sqlite3_exec(db, "BEGIN", NULL, NULL, NULL))
        rc = -EIO;
    if (!rc)
        rc = read_runs(db, verb, most, runs, &first);
    if (!rc)
        rc = read_checks(db, verb, first, patterns, checks);
    if (!rc) {
        *ret = json_pack("{s:s,s:O,s:O}", "schema", "wedge.history/1", "runs", runs, "checks", checks);
        rc = *ret ? 0 : -ENOMEM;
    }
    if (rc == -EIO)
        wedge_store_failed(db, err);
    else if (rc)
        wedge_err_set(err, rc, "no memory for the history");
    json_decref(runs);
    json_decref(checks);
    sqlite3_close(db);
    return rc;
}
