/* The store's file, for those who read and write it: store.c, store_history.c. */
#ifndef WEDGE_REPORTS_STORE_DB_H
#define WEDGE_REPORTS_STORE_DB_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/err.h"

/* Opens DIR/runs.db; `make` it where it is not there. The connection is the caller's. As of wedge_store_begin; -ENOENT without `make`. */
int wedge_store_open(const char *dir, bool make, sqlite3 **ret, struct wedge_err *err);
/* Says what SQLite says; `db` NULL: there was no memory for one. -EIO. */
int wedge_store_failed(sqlite3 *db, struct wedge_err *err);

#endif
