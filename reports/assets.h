/* The parts of the HTML page that are the same in every report: the files of reports/html, inside the program. */
#ifndef WEDGE_REPORTS_ASSETS_H
#define WEDGE_REPORTS_ASSETS_H

#include <stddef.h>

struct wedge_asset {
    const char *name; /* "report.css" */
    const char *data; /* not NUL-terminated */
    size_t len;
};

/* NULL: no such part. */
const struct wedge_asset *wedge_asset_find(const char *name, size_t name_len);

#endif
