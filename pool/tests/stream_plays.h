/*
 * The plays of the streams' hazards (test_stream.c has the table). One runs in a process of its own, the pool's parent, and
 * says what became of it. What several need stands in stream_plays.c.
 */
#ifndef WEDGE_POOL_TESTS_STREAM_PLAYS_H
#define WEDGE_POOL_TESTS_STREAM_PLAYS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "pool/tests/util.h"

enum verdict { WELL, LOSES, HANGS, ENDS }; /* ENDS: comes to its end, whatever was lost */

/* The play's. */
extern struct tally tally;
extern struct wedge_pool *pool;
extern int said[2], go[2]; /* for tasks and callbacks: what they say, and the leave to go on */
extern int written[2]; /* for places; made by the play that uses it */
extern pid_t parent; /* its process */
extern const char *armed; /* the place that the row names */
extern bool idle_holds; /* an idle worker has the readers' lock */
extern struct wedge_pool_callbacks stuck; /* what the row wants stuck */

/* Shared with the workers. */
extern struct shared {
    atomic_uint passes; /* of the armed place, by those whom it is meant for */
} * shared;

void say_pid(void);
void wait_go(void);
/* Until this child has ended; the pool reaps it. */
void wait_dead(pid_t pid);
void kill_worker(pid_t pid);
enum verdict all_reported(void);
void start(const struct wedge_pool_callbacks *callbacks);
void put_some(unsigned n);
enum verdict join_and_count(void);
/* Held in the first generation alone: says who has it, and waits. */
int held_task(struct wedge_pool_task *task, void *context);
int always_held_task(struct wedge_pool_task *task, void *context);
int big_task(struct wedge_pool_task *task, void *context);
void count_collect(const struct wedge_pool_result *result, void *context);
int say_init(const struct wedge_pool_place *place, void *context);
struct wedge_pool_callbacks callbacks_of(int (*task)(struct wedge_pool_task *, void *));
void stuck_collect(const struct wedge_pool_result *result, void *context);
long say_in_workers(struct wedge_point *point, long a, long b, long c);
void *put_in_thread(void *arg);

/* stream_plays_end.c: close, join, shutdown and the collector. */
enum verdict killed_in_hand(void);
enum verdict results_closed(void);
enum verdict mark_drained(void);
enum verdict full_and_dead(void);
enum verdict both_full(void);
enum verdict no_room_for_its_mark(void);
enum verdict shutdown_with_a_backlog(void);
enum verdict marks_of_the_recycled(void);
enum verdict marks_eaten_by_others(void);
enum verdict crash_loop(void);

/* stream_plays_work.c: workers and the looks after them. */
enum verdict killed_at_place(void);
enum verdict idle_killed(void);
enum verdict idle_past_its_limit(void);
enum verdict iteration_waits_for_the_dead(void);
enum verdict timed_out_again_and_again(void);
enum verdict stuck_function(void);
enum verdict put_behind_a_look(void);
enum verdict leaves_halfway(void);
enum verdict forked_beside_the_log(void);
enum verdict logs_in_a_handler(void);
int stuck_init(const struct wedge_pool_place *place, void *context);
void stuck_final(const struct wedge_pool_place *place, void *context);

#endif
