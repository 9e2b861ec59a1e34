/*
 * A feeder: the thread that writes a process's messages into a pipe, so that whoever has a message never waits for the
 * pipe. The list before it has no bound of its own. It is started with the first message, in the process that has one.
 *
 *   add (any thread) -> list -> feeder thread: lock `writer`, write(2), unlock -> pipe
 *
 * `writer` is a process-shared semaphore used as a lock: it has no owner. A process killed between its wait and its
 * post takes the lock with it, and every other feeder of that pipe then waits for ever. This is the hazard that the
 * stream is there to show.
 */
#ifndef WEDGE_POOL_FEEDER_H
#define WEDGE_POOL_FEEDER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wedge_feeder_node; /* a message in the list, owned by the feeder */

struct wedge_feeder {
    pthread_mutex_t lock; /* guards the list and `stopping` */
    pthread_cond_t more; /* signalled by add and stop */
    struct wedge_feeder_node *first, **last;
    bool stopping;
    bool started; /* the thread exists and is to be joined */
    pthread_t thread;
    int fd; /* the pipe's write end, not owned */
    sem_t *writer; /* the pipe's writer lock, in shared memory */
    void (*written)(void); /* called in the feeder after each message, NULL nothing */
};

/* Prepares one, in the process that will use it (after its fork). Starts nothing. */
void wedge_feeder_init(struct wedge_feeder *feeder, int fd, sem_t *writer, void (*written)(void));
/* Copies `head` and `body` as one message to the end of the list. 0, or -ENOMEM or -EAGAIN (no thread to be had). */
int wedge_feeder_add(struct wedge_feeder *feeder, const void *head, size_t head_bytes, const void *body,
                     size_t body_bytes);
/* No message follows: the thread leaves once all are written. Does not wait. */
void wedge_feeder_finish(struct wedge_feeder *feeder);
/* finish, and waits for the thread: as long as the pipe and the lock make it wait. */
void wedge_feeder_join(struct wedge_feeder *feeder);
/* Throws away what is not written, then joins. The caller has seen to it that a write in progress
 * fails. Takes one that was discarded before, or is all zero. */
void wedge_feeder_discard(struct wedge_feeder *feeder);

#endif
