/*
 * What a call does to objects: told by the kind and effect of the function tables, and for some functions by the table
 * here. A header of its own, so that a test holds the two together.
 */
#ifndef WEDGE_FAULTS_AGENT_OBJECT_ROLES_H
#define WEDGE_FAULTS_AGENT_OBJECT_ROLES_H

#include "base/rt/arena.h"

enum agent_object_role {
    NO_ROLE,
    USES, /* those behind it make, end or copy something */
    MAKES_DESCRIPTOR, /* which is the result */
    MAKES_PAIR, /* in an array, argument `at` */
    COPIES, /* argument 1 to the result */
    CONTROLS, /* fcntl: copies with some commands */
    CLOSES,
    CLOSES_RANGE,
    CLOSES_FROM,
    MAKES, /* what argument 1 points to */
    MAKES_THREAD, /* whose pthread_t argument 1 points to */
    MAKES_RESULT, /* what the result points to, or the identifier that it is */
    ENDS,
    REMOVES, /* a System V object, if argument `at` is IPC_RMID */
};
/* What the kind and the effect of a function do not tell. */
static const struct {
    const char *name;
    uint8_t role, made;
    uint8_t at; /* argument, from 1: see enum agent_object_role */
} agent_object_special[] = {
    {"pipe", MAKES_PAIR, WEDGE_MADE_PIPE, 1},
    {"pipe2", MAKES_PAIR, WEDGE_MADE_PIPE, 1},
    {"socketpair", MAKES_PAIR, WEDGE_MADE_SOCKET, 4},
    {"socket", MAKES_DESCRIPTOR, WEDGE_MADE_SOCKET, 0},
    {"accept", MAKES_DESCRIPTOR, WEDGE_MADE_SOCKET, 0},
    {"accept4", MAKES_DESCRIPTOR, WEDGE_MADE_SOCKET, 0},
    {"open", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"open64", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"__open_2", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"__open64_2", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"creat", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"creat64", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"openat", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"openat64", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"__openat_2", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"__openat64_2", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"shm_open", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"memfd_create", MAKES_DESCRIPTOR, WEDGE_MADE_FILE, 0},
    {"eventfd", MAKES_DESCRIPTOR, WEDGE_MADE_EVENTFD, 0},
    {"timerfd_create", MAKES_DESCRIPTOR, WEDGE_MADE_TIMERFD, 0},
    {"signalfd", MAKES_DESCRIPTOR, WEDGE_MADE_SIGNALFD, 0},
    {"epoll_create", MAKES_DESCRIPTOR, WEDGE_MADE_EPOLL, 0},
    {"epoll_create1", MAKES_DESCRIPTOR, WEDGE_MADE_EPOLL, 0},
    {"mq_open", MAKES_DESCRIPTOR, WEDGE_MADE_MQUEUE, 0},
    {"__mq_open_2", MAKES_DESCRIPTOR, WEDGE_MADE_MQUEUE, 0},
    {"dup", COPIES, 0, 0},
    {"dup2", COPIES, 0, 0},
    {"dup3", COPIES, 0, 0},
    {"fcntl", CONTROLS, 0, 0},
    {"fcntl64", CONTROLS, 0, 0},
    {"close_range", CLOSES_RANGE, 0, 0},
    {"closefrom", CLOSES_FROM, 0, 0},
    {"pthread_create", MAKES_THREAD, 0, 0},
    {"thrd_create", MAKES_THREAD, 0, 0},
    {"pthread_join", ENDS, 0, 0},
    {"pthread_timedjoin_np", ENDS, 0, 0},
    {"pthread_clockjoin_np", ENDS, 0, 0},
    {"pthread_tryjoin_np", ENDS, 0, 0},
    {"thrd_join", ENDS, 0, 0},
    {"sem_init", MAKES, 0, 2}, /* at: what says whether it is process-shared, a flag or attributes */
    {"pthread_spin_init", MAKES, 0, 2},
    {"pthread_mutex_init", MAKES, 0, 2},
    {"pthread_cond_init", MAKES, 0, 2},
    {"pthread_rwlock_init", MAKES, 0, 2},
    {"pthread_barrier_init", MAKES, 0, 2},
    {"semctl", REMOVES, 0, 3},
    {"msgctl", REMOVES, 0, 2},
    {"shmctl", REMOVES, 0, 2},
};

#endif
