/*
 * Events: what happens to a pool, told to the user's `event` callback by the way that the setting `log` says.
 *
 *   direct   in the calling thread and process, under the process's own lock. Forking while another thread holds it gives
 *            a child in which it is never released; a signal handler that interrupts its holder waits for itself. That
 *            is the hazard of the report's item 3.1, and what `reported` does.
 *   reset    the same, and the lock is made anew in each forked child (a record that was half written stays so; locks of
 *            the user's own sink are not reset).
 *   queued   into a ring in shared memory (event_ring.h), from which one thread of the parent, which does nothing else,
 *            calls the user. A full ring drops and counts. Takes no lock and never waits, so that even a signal handler
 *            may say something, and whoever says it may be killed halfway.
 *
 * Nothing of the pool waits for the events' thread but destroy: it delivers what is left and waits for that up to
 * WEDGE_EVENTS_END_MS. A callback that has not returned by then is left to itself, in a thread that touches nothing of the
 * pool any more and ends when it returns; what it did not take is dropped.
 */
#ifndef WEDGE_POOL_EVENTS_H
#define WEDGE_POOL_EVENTS_H

#include <wedge/pool.h>

struct wedge_pool;

#define WEDGE_EVENTS_END_MS 5000

/* create: before the first fork. start: the thread, after it. destroy: after the last thread and worker; takes what create
 * left half made. Without an `event` callback they do nothing, as `tell`. */
int wedge_pool_events_create(struct wedge_pool *pool, struct wedge_pool_err *err);
int wedge_pool_events_start(struct wedge_pool *pool, struct wedge_pool_err *err);
void wedge_pool_events_destroy(struct wedge_pool *pool);
/* In a worker, first thing after its fork. */
void wedge_pool_events_in_child(struct wedge_pool *pool);
/* `process` from 1, 0 none. One line, at most 200 bytes of it kept. Any thread of any process of the pool; queued: in a
 * signal handler too (for %s, %c and integers), and errno stays as it was. */
void wedge_pool_tell(struct wedge_pool *pool, enum wedge_pool_event_kind kind, unsigned process, unsigned generation,
                     const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
