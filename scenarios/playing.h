/*
 * Playing many checks, some of them side by side. Each check is played in a process of its own (its tree has a subreaper of
 * its own then, and what goes wrong in one is not the other's), all its rounds one after the other.
 *
 * A signal that ends wedge (SIGINT, SIGTERM, SIGHUP, SIGQUIT, unless it is ignored, as under nohup) ends the checks that are being
 * played, each with its tree, and no other is begun. What a player writes it writes to the end first: it has these signals blocked, and
 * only a session hears of them. If this process is killed, those that play get SIGTERM, and their guards end what is left.
 * Blocking: until all are played. Not to be called from a program with threads.
 */
#ifndef WEDGE_SCENARIOS_PLAYING_H
#define WEDGE_SCENARIOS_PLAYING_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "scenarios/runner.h"
#include "scenarios/scenario.h"

#define WEDGE_PLAYING_MOST 64

struct wedge_playing_check {
    const struct wedge_scenario *scenario;
    enum wedge_check_role role;
    const struct wedge_check *instead; /* as in struct wedge_runner_how; NULL */
    const char *name; /* of the check, and its folder; NULL: the role's word */
};

struct wedge_playing {
    const struct wedge_playing_check *checks;
    size_t n;
    long rounds; /* of each check */
    unsigned at_once; /* 1 to WEDGE_PLAYING_MOST */
    const char *out_dir; /* reports go to out_dir/SCENARIO/CHECK */
    const sigset_t *mask; /* signals that are blocked in the commands; NULL: those that are in the caller */
    int64_t stall_ns; /* as in struct wedge_runner_how */
    bool hangs_only;
    bool keep_going; /* a check that cannot be played is told as invalid, and is not the end */
    /* Called for each round as it ends, in that order; rounds of one check come in theirs. 0: go on; 1: begin no other check,
     * and end those that are being played; negative: an error, as it is. */
    int (*ended)(void *context, size_t check, long round, const struct wedge_check_result *result,
                 struct wedge_err *err);
    void *context;
};

struct wedge_playing_end {
    bool whole; /* all were played */
    int signal; /* that ended it, 0 none */
};

/* Returns 0, also where `ended` wanted an end or a signal came, what `ended` said, or the error of the check that could not be
 * played. *ret is set in any case. */
int wedge_playing_all(const struct wedge_playing *playing, struct wedge_playing_end *ret, struct wedge_err *err);

#endif
