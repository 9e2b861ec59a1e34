/*
 * What must happen, worked out from wedge-plan(5) alone: the rules as this test means them, and a run of grid.h's program
 * under them, one thread after the other. Shares no code with the plan compiler or the agent.
 */
#ifndef WEDGE_FAULTS_TESTS_GRID_ORACLE_H
#define WEDGE_FAULTS_TESTS_GRID_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "faults/tests/grid/grid.h"

enum { RULES_MAX = 24, FIRINGS_MAX = 4096 };

enum oracle_who { WHO_ALL, WHO_ROOT, WHO_ROLE, WHO_PROC, WHO_THREAD };
enum oracle_what { WHAT_OPS, WHAT_START, WHAT_EXIT };
enum oracle_per { PER_THREAD, PER_PROC, PER_TREE };
enum oracle_action {
    ACT_ERRNO, /* number */
    ACT_RETURN, /* number */
    ACT_DROP,
    ACT_SHORT, /* number */
    ACT_FULL,
    ACT_EMPTY,
    ACT_PASS, /* a signal that is ignored */
    ACT_QUIESCE,
    ACT_KILL,
    ACT_EXIT, /* number */
    ACT_STOP, /* and is made to go on */
    ACT_BLOCK, /* until the rule is released, which is at once, and for good */
};

struct oracle_rule {
    char id[16];
    enum oracle_who who;
    const char *role; /* WHO_ROLE */
    unsigned index; /* ROLE: 0 any; PROC: the number */
    int generation; /* ROLE: -1 any */
    enum grid_thread_name thread;
    enum oracle_what what;
    uint32_t ops; /* bit set */
    uint64_t from, to, every, max; /* 0: not given */
    double chance; /* exact in binary; 1: always */
    int after_rule; /* -1 none */
    int after_mark; /* an op that is a place, -1 none */
    uint64_t after_count;
    enum oracle_per per;
    enum oracle_action action;
    int64_t number;
    bool after_effect;
};

struct oracle_firing {
    int rule, process, thread;
};

struct oracle {
    /* given */
    const struct oracle_rule *rules;
    int n_rules;
    uint64_t seed;
    /* worked out */
    struct grid_map map; /* pids, TIDs and semaphores left alone; pid not 0: was made */
    int sem[PROCS][THREADS]; /* its value when the thread ended in the middle of a sem_post, else -1 */
    uint64_t hits[RULES_MAX], fired[RULES_MAX];
    struct oracle_firing firings[FIRINGS_MAX];
    int n_firings;
    bool quiesced, released[RULES_MAX];
    /* on the way */
    struct {
        uint64_t pedigree;
        uint32_t ordinal, children;
        const char *role;
        unsigned index;
        int generation;
        int status;
    } processes[PROCS];
    uint64_t thread_pedigrees[PROCS][THREADS];
    uint32_t thread_children[PROCS][THREADS];
    uint32_t appeared;
    uint64_t passes[OP_COUNT];
    uint64_t count[RULES_MAX][PROCS][THREADS], admitted[RULES_MAX][PROCS][THREADS];
};

/* Fills the second part. */
void oracle_run(struct oracle *oracle);

#endif
