/* What the tests of deaths share: tasks that the test keeps in hand, and who has them. */
#ifndef WEDGE_POOL_TESTS_HELD_H
#define WEDGE_POOL_TESTS_HELD_H

#include <sys/types.h>

#include "pool/tests/util.h"

/* What tasks say (their pid), and the leave for them to go on: a byte each. */
struct pipes {
    int said[2], go[2];
};

/* square_callbacks with this task, over pipes that are there already, or over new ones. The tally begins anew. */
struct wedge_pool_callbacks held_by(const struct pipes *pipes, struct tally *tally,
                                    int (*task)(struct wedge_pool_task *, void *));
struct wedge_pool_callbacks held_callbacks(struct pipes *pipes, struct tally *tally,
                                           int (*task)(struct wedge_pool_task *, void *));
/* Task 1 says who has it and never ends; the others are squared. */
int first_is_held(struct wedge_pool_task *task, void *context);
/* Every task says who has it and never ends. */
int all_are_held(struct wedge_pool_task *task, void *context);
/* A process_init that says who begins. */
int say_init(const struct wedge_pool_place *place, void *context);

void say_pid(int fd);
pid_t parent_of(pid_t pid);
/* Until every thread of the process is stopped: SIGSTOP is not at work when kill returns. */
void wait_stopped(pid_t pid);

#endif
