/*
 * A feeder: the thread that writes a process's messages into a pipe, so that whoever has a message never waits for the
 * pipe. The list before it has no bound of its own. It is started with the first message, in the process that has one.
 *
 *   add (any thread) -> list -> feeder thread: wedge_queue_write -> pipe
 *
 * What a process's feeder has not written when the process dies is gone with it.
 */
#ifndef WEDGE_POOL_FEEDER_H
#define WEDGE_POOL_FEEDER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/queue.h"

struct wedge_feeder_node; /* a message in the list, owned by the feeder */

struct wedge_feeder {
    pthread_mutex_t lock; /* guards the list, `stopping` and `writing` */
    pthread_cond_t more; /* signalled by add and stop */
    struct wedge_feeder_node *first, **last;
    bool stopping;
    bool writing; /* the thread has taken a message from the list and is not through with it */
    bool made; /* between init and discard; the owner's, which the feeder's thread does not touch */
    bool started; /* the thread exists and is to be joined */
    pthread_t thread;
    struct wedge_queue *queue; /* not owned */
    void (*written)(void); /* called in the feeder after each message, NULL nothing */
};

/* Prepares one, in the process that will use it (after its fork). Starts nothing. */
void wedge_feeder_init(struct wedge_feeder *feeder, struct wedge_queue *queue, void (*written)(void));
/* Copies `head` and its body to the end of the list. 0, or -ENOMEM or -EAGAIN (no thread to be had). */
int wedge_feeder_add(struct wedge_feeder *feeder, const struct wedge_message *head, const void *body);
/* Whether nothing is listed and nothing is being written: all that was added can be read, or was lost. */
bool wedge_feeder_idle(struct wedge_feeder *feeder);
/* No message follows: the thread leaves once all are written. Does not wait. */
void wedge_feeder_finish(struct wedge_feeder *feeder);
/* finish, and waits for the thread: as long as the pipe and the lock make it wait. */
void wedge_feeder_join(struct wedge_feeder *feeder);
/* Throws away what is not written, cuts off a write(2) in progress, and joins. A wait for the writers' lock is the caller's to
 * end (wedge_queue_lock_break). Takes one that was discarded before, or is all zero. */
void wedge_feeder_discard(struct wedge_feeder *feeder);

#endif
