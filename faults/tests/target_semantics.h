/* Between the files of the target program for the semantics of actions. */
#ifndef WEDGE_FAULTS_TESTS_TARGET_SEMANTICS_H
#define WEDGE_FAULTS_TESTS_TARGET_SEMANTICS_H

#include <errno.h>
#include <mqueue.h>
#include <semaphore.h>
#include <stdbool.h>
#include <time.h>

#include "faults/tests/target_say.h"

static inline void must(bool good)
{
    if (!good) {
        say("errno %d\n", errno);
        abort();
    }
}

static inline struct timespec in_ms(clockid_t clock, long ms)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    ts.tv_nsec += ms * 1000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;
    return ts;
}

/* Waits for the test. */
static inline void await_byte(void)
{
    char byte;
    long n;
    do
        n = syscall(SYS_read, 0, &byte, 1L);
    while (n < 0 && errno == EINTR);
}

/*
 * target_semantics_ops.c: both ends of everything; each has something to take, and room.
 */
extern int pipe_of[2], pair[2];
extern mqd_t queue;
extern sem_t sem;
extern bool dontwait; /* of send: MSG_DONTWAIT */
extern char in[16];
void set_up(bool nonblocking);
void tear_down(void);
int queue_open(int ends[2]);
void give_flag(int fd, bool nonblocking);
long run_op(const char *name); /* what the call returned, or -errno */
void mode_op(char **argv);

/* target_semantics_once.c */
void mode_spurious(void);
void mode_corrupt(char **argv);
void mode_child(void);
void mode_stop(void);

#endif
