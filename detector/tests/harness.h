/*
 * Starting the factory, and examining it until it is in the state that the test waits for. Each function ends the
 * test when something does not work.
 */
#ifndef WEDGE_DETECTOR_TESTS_HARNESS_H
#define WEDGE_DETECTOR_TESTS_HARNESS_H

#include <sys/types.h>

#include "detector/examine.h"

struct factory {
    pid_t pid;
    int in; /* its standard input: ours to write */
    int out; /* its standard output: ours to read */
};

/* Starts `wedge-factory NAME` and returns once it said that it is ready. */
struct factory factory_start(const char *name);
/* Kills and reaps it; its children die with it. */
void factory_end(struct factory *factory);

/* The same as nobody's child here: what a test started itself counts as wedge's own. An alarm ends it if the test does not. */
pid_t factory_start_stranger(const char *name);
/* Whom the main thread forked first of those that live. */
pid_t factory_first_child(pid_t pid);

/* One examination of `root` in this very process, to be freed. */
struct wedge_snapshot *examine_once(pid_t root, enum wedge_stacks stacks);
/* Examines until the headline is a hang, or the deadline (10 s) passes: then what came last. A thread that was just
 * started needs a moment until it blocks, and nothing outside it can tell when. */
struct wedge_snapshot *examine_until_hang(pid_t root, enum wedge_stacks stacks);

/* The wait of the first thread that waits in `class`, NULL none. */
const struct wedge_thread *thread_in(const struct wedge_snapshot *snapshot, enum wedge_wait_class class);

#endif
