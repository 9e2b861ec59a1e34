/* Runs a program under the agent with a plan, for tests. Failures of the set-up are failures of the test. */
#ifndef WEDGE_FAULTS_TESTS_RUN_H
#define WEDGE_FAULTS_TESTS_RUN_H

#include <sys/types.h>
#include <sys/wait.h>

#include "base/arena.h"

struct run {
    struct wedge_arena arena;
    pid_t pid;
    int in, out; /* the program's standard input and output, our ends */
    char text[16384]; /* what it printed so far */
    size_t len;
    int status; /* once waited for */
};

extern enum wedge_record run_record; /* of the runs to come; PLACES at first */
extern enum wedge_census_of run_census; /* NONE at first */
/* Starts argv under `plan` (NULL: an empty one; without the line `plan 1`). */
void run_start(struct run *run, const char *plan, const char *const *argv);
/* Reads until the output has `text`. */
void run_read_until(struct run *run, const char *text);
/* Closes its input, reads to the end of its output, waits for it. */
void run_finish(struct run *run);
void run_free(struct run *run);

struct wedge_arena_rule *run_rule(struct run *run, const char *id);
uint64_t run_hits(struct run *run, const char *id); /* of a rule, in all */
/* The record of the name, or NULL. */
const struct wedge_arena_name *run_name(struct run *run, const char *name);
/* Waits until *word has at least `value`; fails after ten seconds. */
void run_await(const _Atomic uint32_t *word, uint32_t value);

/* start, finish; the caller frees. */
#define RUN(run, plan, ...) run_whole(run, plan, (const char *const[]){__VA_ARGS__, NULL})
void run_whole(struct run *run, const char *plan, const char *const *argv);

const char *run_target(void); /* path of the target program */
const char *run_target_no_pie(void);
const char *run_objects_target(void);
const char *run_objects_target_no_pie(void);
const char *run_objects_target_asan(void); /* only where the build could make it */
const char *run_kinds_target(void);
const char *run_calls_target(void);
const char *run_many_target(void);
const char *run_semantics_target(void);
const char *run_static_target(void);
const char *run_asan_target(void); /* only where the build could make it */

/* What the arena holds now; the caller's to free. */
void run_copy(const struct run *run, struct wedge_arena_copy *ret);
const struct wedge_arena_proc *run_proc(const struct wedge_arena_copy *copy, uint32_t slot);

/* How it ended: by this signal, else 0; with this status, else -1. */
#define KILLED(run) (WIFSIGNALED((run).status) ? WTERMSIG((run).status) : 0)
#define EXITED(run) (WIFEXITED((run).status) ? WEXITSTATUS((run).status) : -1)

#endif
