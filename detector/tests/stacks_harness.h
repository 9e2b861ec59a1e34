/* What the tests of stacks share: the target (stacks_target.c), what it said, and a snapshot of it by hand. */
#ifndef WEDGE_DETECTOR_TESTS_STACKS_HARNESS_H
#define WEDGE_DETECTOR_TESTS_STACKS_HARNESS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "detector/model.h"

#define STACKS_FRAMES_MAX  8
#define STACKS_THREADS_MAX 64

struct stacks_said { /* by a thread of the target */
    pid_t tid;
    char name[32], libc[32];
    struct {
        char function[64];
        int line;
        bool inlined;
    } frames[STACKS_FRAMES_MAX];
    size_t n;
};

struct stacks_target {
    pid_t pid;
    int in; /* its standard input; the last descriptor to be closed ends it */
    FILE *out; /* its standard output */
    struct stacks_said said[STACKS_THREADS_MAX];
    size_t n;
    char function[64]; /* one of its functions and where that begins */
    unsigned long address;
};

/* Starts a program (a path, or a name in the folder of the running test) with `cases` (NULL-terminated, or NULL) and
 * returns once all of its threads sleep. Fails the test otherwise. */
void stacks_target_start(struct stacks_target *target, const char *program, const char *const *cases);
void stacks_target_end(struct stacks_target *target); /* by end of file, reaped */
/* Asks it how many signals it has counted: also a proof that it runs. */
int stacks_target_ask(struct stacks_target *target);
/* The path of a program beside the running test. */
void stacks_path(const char *name, char *buf, size_t size);

/* A snapshot with one process and its threads as they are now; false (and no snapshot) when it is gone. */
bool stacks_snapshot_try(struct wedge_snapshot *snapshot, pid_t pid);
void stacks_snapshot_init(struct wedge_snapshot *snapshot, pid_t pid); /* of one that is there */
void stacks_snapshot_done(struct wedge_snapshot *snapshot);
const struct wedge_thread *stacks_thread(const struct wedge_snapshot *snapshot, pid_t tid);

/* A folder of the test's own, and a shell's command line that must succeed there. The first two are fixtures. */
extern char stacks_folder[];
void stacks_make_folder(void);
void stacks_remove_folder(void);
void stacks_in_folder(const char *recipe);

/* The state letter of a thread, 'X' when it is gone, and who traces it (0 nobody). */
char stacks_state(pid_t pid, pid_t tid, pid_t *ret_tracer);
/* Waits until no thread of it is traced; then fails the test if one is stopped. */
void stacks_check_running(pid_t pid);

#endif
