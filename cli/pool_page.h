/* A pool's figures as a page for people, and as JSON (wedge.pool/1). */
#ifndef WEDGE_CLI_POOL_PAGE_H
#define WEDGE_CLI_POOL_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/text.h"
#include "pool/figures.h"

enum { WEDGE_POOL_PAGE_ROWS = 20 }; /* of threads, unless all are wanted */

struct wedge_pool_page {
    const struct wedge_board *board; /* a reader's copy */
    const struct wedge_figures *figures; /* of it */
    int64_t now_ns; /* CLOCK_MONOTONIC when the copy was made */
    pid_t parent; /* 0: gone */
    pid_t found_in; /* a process that has the board open */
    bool color;
    bool all; /* threads; else those that say most, and the rest in one line */
};

/* The pool has ended: nothing on its board will change any more. */
bool wedge_pool_page_is_last(const struct wedge_pool_page *page);
/* Lines of up to 80 columns, as long as numbers stay within reason. */
void wedge_pool_page_write(const struct wedge_pool_page *page, struct wedge_text *out);
/* One line: name, process, state, queue, workers, alarms. */
void wedge_pool_page_line(const struct wedge_pool_page *page, struct wedge_text *out);
/* A new reference, NULL without memory. */
json_t *wedge_pool_page_json(const struct wedge_pool_page *page);

#endif
