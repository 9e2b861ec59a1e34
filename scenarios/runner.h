/*
 * Playing a scenario: the hang, its twin, the hardened check, each as a session of its own, each compared with what
 * the file expects. Results are written as they come: DIR/NAME/CHECK/ holds the report and the command's output.
 */
#ifndef WEDGE_SCENARIOS_RUNNER_H
#define WEDGE_SCENARIOS_RUNNER_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "scenarios/scenario.h"
#include "scenarios/session.h"

enum wedge_check_status { WEDGE_CHECK_PASSED, WEDGE_CHECK_FAILED, WEDGE_CHECK_INVALID };
extern const char *const wedge_check_status_words[]; /* passed, failed, invalid */

struct wedge_check_result {
    enum wedge_check_status status;
    char message[1024]; /* what was not as expected, or what was seen; one line */
    char verdict[64]; /* kind, or "finished" */
    char certainty[16], scope[16];
    char signature[80];
    int64_t duration_ns;
    int64_t verdict_after_fault_ns; /* -1 none */
    enum wedge_session_end end;
    int exit_status, signal; /* of the command: -1 and 0 where it did not end by itself */
    char counts[512]; /* the last line "counts: …" of its output, "" none */
    char dir[4096]; /* its report.json, report.html, output.txt */
    int interrupted_by; /* a signal to wedge: play nothing more; 0 none */
};

/* What is the player's affair, and not the scenario's. */
struct wedge_runner_how {
    const char *dir; /* where its report and the command's output go; made if need be, its files replaced */
    const sigset_t *mask; /* signals that are blocked in the command; NULL: those that are in the caller */
    const struct wedge_check
        *instead; /* played in place of the scenario's own check, and compared with nothing; NULL */
    int64_t stall_ns; /* how long a hang that is only evident must last; 0: 10 s */
    bool hangs_only; /* what ends by itself needs no report */
};

/* Reads a scenario and its plan, so that what is wrong in either comes to light before anything runs. */
int wedge_runner_load(const char *file, const char *build, struct wedge_scenario **ret, struct wedge_err *err);

/* Plays one check of a scenario. Returns 0 when the check could be played, whatever came of it; a negative errno with *err when
 * it could not. A caller that has blocked the signals that end wedge finds them pending afterwards, or named in `interrupted_by`. */
int wedge_runner_play(const struct wedge_scenario *scenario, enum wedge_check_role role,
                      const struct wedge_runner_how *how, struct wedge_check_result *ret, struct wedge_err *err);

#endif
