/*
 * The run store, DIR/runs.db (SQLite): what each check of each run came to, so that a result can be compared with last week's.
 *
 * Written as a run goes, one transaction a check, in WAL mode (sqlite.org/wal.html): whoever is killed at any instant leaves a store that opens and has
 * each check that was told. With synchronous=NORMAL a loss of power may take the last of them, never the store. A store belongs to one
 * thread; a child of fork must leave it alone (sqlite.org/howtocorrupt.html, 2.6).
 */
#ifndef WEDGE_REPORTS_STORE_H
#define WEDGE_REPORTS_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct wedge_store;

struct wedge_store_check { /* texts are copied */
    const char *scenario, *check, *status, *verdict, *certainty, *scope, *signature, *message, *files;
    long round;
    double seconds;
    int64_t verdict_after_fault_ms; /* -1 none */
};

/* Opens or makes the store of a folder that is there, and begins a run. Waits up to 5 s for whoever writes. -EIO, -ELOOP (a link stands
 * in its place), -EPROTO (made by another version). */
int wedge_store_begin(const char *dir, const char *verb, struct wedge_store **ret, struct wedge_err *err);
int wedge_store_add(struct wedge_store *store, const struct wedge_store_check *check, struct wedge_err *err);
/* The run's last word: until then it counts as one that was killed. */
int wedge_store_end(struct wedge_store *store, bool complete, int exit_status, struct wedge_err *err);
void wedge_store_free(struct wedge_store *store); /* takes NULL */

/*
 * How it went before: wedge.history/1, of the last `most` runs of a verb ("run", "run --ablate=reported"). {schema, runs: [{id, started, verb, complete, exit (null: killed, or still
 * running), checks, passed}], checks: [{scenario, check, rounds, runs, passed, failed, invalid, verdicts: {verdict: n}, signatures, seconds:
 * {least, median, most}, trend, since (the run of the last change, null none)}]}.
 *
 * trend: steady (never changed), broke and mended (changed once, between two runs), flaky (more often, or within one run).
 * `patterns` are of fnmatch(3), matched with the name and with what stands behind its folder; NULL or empty: all. -ENOENT: no store there.
 */
int wedge_store_history(const char *dir, const char *verb, long most, char *const *patterns, json_t **ret,
                        struct wedge_err *err);

#endif
