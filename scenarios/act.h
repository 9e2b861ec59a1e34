/*
 * What is done on a hang, after it was reported: core files of the tree, a command of the user's, the end of the tree.
 *
 * In this order, each under a deadline and best effort: what fails is said (on_note) and the next is done all the same.
 */
#ifndef WEDGE_SCENARIOS_ACT_H
#define WEDGE_SCENARIOS_ACT_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "scenarios/tree.h"

struct wedge_act {
    bool core, kill;
    const char *command; /* for /bin/sh -c; NULL none */
};

/* "report", or a list of core, kill and, last, run:COMMAND. `text` is to outlive *ret. -EINVAL: it is something else. */
int wedge_act_parse(const char *text, struct wedge_act *ret);

struct wedge_act_scene {
    const struct wedge_tree *tree; /* of which cores are wanted */
    const char *dir; /* for core files, and where the report stands */
    pid_t root;
    const char *kind, *scope; /* of the verdict */
    const sigset_t *mask; /* for the command */
    void (*on_note)(void *arg, const char *text); /* may be NULL */
    void *arg;
};
enum { WEDGE_ACT_CORE_MS = 20000, WEDGE_ACT_CORES_MS = 60000, WEDGE_ACT_COMMAND_MS = 60000 };

/* DIR/core.PID of each process of the tree. Blocks at most about WEDGE_ACT_CORES_MS and one core more. */
void wedge_act_cores(const struct wedge_act_scene *scene);
/* Runs the command, with WEDGE_REPORT (the path of report.json), WEDGE_PID, WEDGE_KIND and WEDGE_SCOPE in the environment,
 * nothing to read, and what it prints on our standard error. Kills it after WEDGE_ACT_COMMAND_MS. */
void wedge_act_command(const struct wedge_act_scene *scene, const char *command);

#endif
