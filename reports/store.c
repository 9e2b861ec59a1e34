#include "reports/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "reports/store_db.h"

static const char schema[] =
    "CREATE TABLE runs (id INTEGER PRIMARY KEY, started INTEGER NOT NULL, verb TEXT NOT NULL, complete INTEGER NOT "
    "NULL "
    "DEFAULT 0, exit INTEGER);"
    "CREATE TABLE checks (id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs(id), scenario TEXT NOT NULL, "
    "\"check\" TEXT NOT NULL, round INTEGER NOT NULL, status TEXT NOT NULL, verdict TEXT NOT NULL, certainty TEXT NOT "
    "NULL, "
    "scope TEXT NOT NULL, signature TEXT NOT NULL, seconds REAL NOT NULL, after_fault_ms INTEGER, message TEXT NOT "
    "NULL, "
    "files TEXT NOT NULL);"
    "CREATE INDEX checks_by_name ON checks (scenario, \"check\", id);"
    "PRAGMA user_version = 1;";

struct wedge_store {
    sqlite3 *db;
    sqlite3_stmt *add;
    int64_t run;
};

int wedge_store_failed(sqlite3 *db, struct wedge_err *err)
{
    const char *file = db ? sqlite3_db_filename(db, "main") : "runs.db";
    int rc = wedge_err_set(err, -EIO, "the run store %s: %s", file, db ? sqlite3_errmsg(db) : "no memory");
    switch (db ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM) { /* the low byte: https://sqlite.org/rescode.html */
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        wedge_err_remedy(err, "`sqlite3 %s .recover` saves what can be; without the file a new one is begun", file);
        break;
    case SQLITE_BUSY:
        wedge_err_remedy(err, "another program keeps it; wait for its end, or take another folder with -o");
        break;
    default:
        wedge_err_remedy(err, "take another folder with -o");
        break;
    }
    return rc;
}

/* SQLite follows links; what it is to open is made or looked at here first, by the rules of the other files. */
static int claim_file(const char *dir, bool make, struct wedge_err *err)
{
    char path[4200];
    struct stat st;
    snprintf(path, sizeof(path), "%s/runs.db", dir);
    int fd = open(path, (make ? O_RDWR | O_CREAT : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : 0;
    if (!rc && (fstat(fd, &st) || !S_ISREG(st.st_mode)))
        rc = -EIO;
    if (fd >= 0)
        close(fd);
    return rc ? wedge_err_set(err, rc, "cannot open %s: %s", path, rc == -EIO ? "not a regular file" : strerror(-rc))
              : 0;
}

static int version_of(sqlite3 *db)
{
    sqlite3_stmt *ask = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &ask, NULL) == SQLITE_OK && sqlite3_step(ask) == SQLITE_ROW)
        version = sqlite3_column_int(ask, 0);
    sqlite3_finalize(ask);
    return version;
}

/* Two that begin a store at the same time make one of it: who comes second sees the version once it has the lock. The change of
 * the journal's mode alone does not wait for a lock (SQLite has one itself by then, and calls no busy handler where that
 * could be a deadlock: https://sqlite.org/c3ref/busy_handler.html); who finds it taken goes on in the mode that there is,
 * which is as safe, and in the new one as soon as another has made the change. */
static int prepare(sqlite3 *db, struct wedge_err *err)
{
    sqlite3_busy_timeout(db, 5000);
    int wal = sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    if ((wal && wal != SQLITE_BUSY) ||
        sqlite3_exec(db, "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE", NULL, NULL, NULL))
        return wedge_store_failed(db, err);
    int rc = 0, made = version_of(db) ? SQLITE_OK : sqlite3_exec(db, schema, NULL, NULL, NULL);
    if (made == SQLITE_OK && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    if (made != SQLITE_ERROR) /* there are such tables, and no version: wedge_store_open says whose they are not */
        rc = wedge_store_failed(db, err);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int wedge_store_open(const char *dir, bool make, sqlite3 **ret, struct wedge_err *err)
{
    char path[4200];
    sqlite3 *db = NULL;
    int rc = claim_file(dir, make, err);
    if (rc)
        return rc;
    snprintf(path, sizeof(path), "%s/runs.db", dir);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL))
        rc = wedge_store_failed(db, err);
    if (!rc && make)
        rc = prepare(db, err);
    sqlite3_busy_timeout(db, 5000);
    if (!rc && version_of(db) != 1) {
        rc = wedge_err_set(err, -EPROTO, "the run store %s was not made by this version of wedge", path);
        wedge_err_remedy(err, "move it away; a new one is begun");
    }
    if (rc)
        sqlite3_close(db);
    else
        *ret = db;
    return rc;
}

int wedge_store_begin(const char *dir, const char *verb, struct wedge_store **ret, struct wedge_err *err)
{
    static const char add[] = "INSERT INTO checks (run, scenario, \"check\", round, status, verdict, certainty, scope, "
                              "signature, seconds, after_fault_ms, message, files) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, "
                              "?8, ?9, ?10, ?11, ?12, ?13)";
    struct wedge_store *s = calloc(1, sizeof(*s));
    sqlite3_stmt *begin = NULL;
    if (!s)
        return wedge_err_set(err, -ENOMEM, "no memory for the run store");
    int rc = wedge_store_open(dir, true, &s->db, err);
    if (!rc && (sqlite3_prepare_v2(s->db, "INSERT INTO runs (started, verb) VALUES (?1, ?2)", -1, &begin, NULL) ||
                sqlite3_bind_int64(begin, 1, (sqlite3_int64)time(NULL)) ||
                sqlite3_bind_text(begin, 2, verb, -1, SQLITE_STATIC) || sqlite3_step(begin) != SQLITE_DONE ||
                sqlite3_prepare_v2(s->db, add, -1, &s->add, NULL)))
        rc = wedge_store_failed(s->db, err);
    sqlite3_finalize(begin);
    if (rc) {
        wedge_store_free(s);
        return rc;
    }
    s->run = sqlite3_last_insert_rowid(s->db);
    *ret = s;
    return 0;
}

int wedge_store_add(struct wedge_store *s, const struct wedge_store_check *c, struct wedge_err *err)
{
    const struct {
        int place;
        const char *text;
    } texts[] = {{2, c->scenario}, {3, c->check},     {5, c->status},   {6, c->verdict}, {7, c->certainty},
                 {8, c->scope},    {9, c->signature}, {12, c->message}, {13, c->files}};
    bool failed = false;
    sqlite3_reset(s->add);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        failed |= sqlite3_bind_text(s->add, texts[i].place, texts[i].text ? texts[i].text : "", -1, SQLITE_STATIC) != 0;
    failed |= sqlite3_bind_int64(s->add, 1, s->run) || sqlite3_bind_int64(s->add, 4, c->round) ||
              sqlite3_bind_double(s->add, 10, c->seconds);
    failed |= c->verdict_after_fault_ms < 0 ? sqlite3_bind_null(s->add, 11)
                                            : sqlite3_bind_int64(s->add, 11, c->verdict_after_fault_ms);
    if (failed || sqlite3_step(s->add) != SQLITE_DONE)
        return wedge_store_failed(s->db, err);
    sqlite3_reset(s->add); /* or its lock is kept */
    return 0;
}

int wedge_store_end(struct wedge_store *s, bool complete, int exit_status, struct wedge_err *err)
{
    char text[128];
    snprintf(text, sizeof(text), "UPDATE runs SET complete = %d, exit = %d WHERE id = %lld", complete, exit_status,
             (long long)s->run);
    return sqlite3_exec(s->db, text, NULL, NULL, NULL) ? wedge_store_failed(s->db, err) : 0;
}

void wedge_store_free(struct wedge_store *s)
{
    if (!s)
        return;
    sqlite3_finalize(s->add);
    sqlite3_close(s->db);
    free(s);
}
