/*
 * The program of the grid test, as both sides know it: which process makes which thread makes which calls. The target
 * does it and writes down what each call told it; the oracle works out, from the plan and wedge-plan(5) alone, what
 * each call must tell.
 *
 *      root ── main, then alpha (which makes gamma), then beta
 *       ├── worker[1].gen=0    each of them likewise
 *       ├── worker[2].gen=0
 *       │    └── helper[1].gen=0, later .gen=1
 *       └── worker[1].gen=1
 *
 * One process runs at a time; one thread too, unless the target is told to let alpha and beta run side by side.
 */
#ifndef WEDGE_FAULTS_TESTS_GRID_H
#define WEDGE_FAULTS_TESTS_GRID_H

#include <semaphore.h>
#include <stdint.h>

enum grid_op {
    OP_WRITE,
    OP_WRITEV,
    OP_READ,
    OP_READV,
    OP_POST,
    OP_TRYWAIT,
    OP_WAIT,
    OP_TIMEDWAIT,
    OP_SIGNAL,
    OP_BROADCAST,
    OP_YIELD,
    OP_SLEEP,
    OP_POLL,
    OP_PPOLL,
    OP_CLOCK,
    OP_POINT,
    OP_ASK,
    OP_OTHER, /* a second place that asks */
    OP_COUNT
};

enum grid_proc { P_ROOT, P_WORKER1, P_WORKER2, P_HELPER, P_AGAIN, PROCS };
enum grid_thread_name { T_MAIN, T_ALPHA, T_GAMMA, T_BETA, THREADS };
enum { SEGMENT = 12, SEGMENTS = 4, OPS_MAX = SEGMENT * SEGMENTS, GRID_ERRNO = 77, GRID_BYTES = 8, GRID_STATUS = 20 };

struct grid_seen {
    int32_t value;
    int16_t error; /* errno after it, which was GRID_ERRNO before */
    int16_t effect; /* what the call did: bytes or count that are there, or left, behind it */
};

struct grid_thread {
    sem_t sem; /* shared, so that what a killed thread did to it can be seen */
    uint32_t begun, done; /* calls */
    int32_t tid;
    struct grid_seen seen[OPS_MAX];
};

struct grid_process {
    int32_t pid; /* 0: was not made */
    int32_t status; /* of wait, by its parent */
    struct grid_thread threads[THREADS];
};

struct grid_map {
    struct grid_process processes[PROCS];
};

/* The call number `i` of a thread: any fixed choice will do in which all calls come often. */
static inline enum grid_op grid_op(int process, int thread, uint32_t i)
{
    uint32_t x = (uint32_t)process * 7919u + (uint32_t)thread * 104729u + i * 2654435761u;
    x ^= x >> 15;
    x *= 0x2c1b3c6du;
    x ^= x >> 12;
    return (enum grid_op)(x % OP_COUNT);
}

#endif
