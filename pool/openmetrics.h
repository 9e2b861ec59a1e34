/*
 * Pools' figures as OpenMetrics text 1.0 (the specification of that name, also RFC-draft openmetrics), for a scrape or for
 * a file that Prometheus' node exporter picks up. Names begin with wedge_pool_; each sample has the labels `pool`
 * and `pid` (the parent's). docs/man/wedge-pool.1.scd lists them; pool/prometheus/wedge-pool.rules.yml uses them.
 */
#ifndef WEDGE_POOL_OPENMETRICS_H
#define WEDGE_POOL_OPENMETRICS_H

#include <stddef.h>

#include "base/text.h"
#include "pool/figures.h"

struct wedge_openmetrics_pool {
    const struct wedge_board *board; /* a reader's copy */
    struct wedge_figures figures; /* of that board */
};

/* Appends the whole exposition, with its end mark, of n pools. */
void wedge_openmetrics_write(const struct wedge_openmetrics_pool *pools, size_t n, struct wedge_text *out);

#endif
