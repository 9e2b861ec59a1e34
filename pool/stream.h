/* What the keeper of a stream needs beyond the transport's interface: its marks. Parent only. */
#ifndef WEDGE_POOL_STREAM_H
#define WEDGE_POOL_STREAM_H

#include "pool/pool.h"

/* One stop mark to the tasks: the worker thread that takes it leaves. -ETIMEDOUT: no room until then. */
int wedge_stream_put_mark(struct wedge_pool *pool, int64_t until_ns);
/* No task or mark follows: the parent's feeder leaves once all are written. */
void wedge_stream_no_more_tasks(struct wedge_pool *pool);
/* A mark that ends the results at once, without waiting: -ENOBUFS when the results are full. */
int wedge_stream_stop_collector(struct wedge_pool *pool);

#endif
