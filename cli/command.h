/* What `watch`, `inject` and `census` share: the command line of a command, its streams that pass through, and what is said of it. */
#ifndef WEDGE_CLI_COMMAND_H
#define WEDGE_CLI_COMMAND_H

#include <jansson.h>
#include <signal.h>

#include "cli/cli.h"
#include "faults/plan.h"
#include "scenarios/session.h"

struct wedge_cli_reporter {
    const struct wedge_cli *cli;
    bool reported; /* a report was written and shown */
    int failed; /* negative errno of writing it */
    struct wedge_err err;
};

/* What stands on the command line of a verb that starts a command. Each verb's own table says which of the options it has, and what they mean there. */
struct wedge_cli_launch {
    const char *plan, *disarm; /* NULL: not given */
    char **command; /* NULL: not given */
    int64_t limit_ns; /* 0: not given */
    enum wedge_record record;
};
enum { WEDGE_CLI_PLAN = 'f', WEDGE_CLI_DISARM = 400, WEDGE_CLI_RECORD, WEDGE_CLI_LIMIT };
/* What a verb's parser hands on of what it has no case for. */
error_t wedge_cli_parse_launch(int key, char *arg, struct argp_state *state, struct wedge_cli_launch *launch);

/* Reads and checks a plan file. */
int wedge_cli_plan(const char *file, struct wedge_plan **ret, struct wedge_err *err);
/* Blocks SIGPIPE until wedge ends, and returns the mask that the command is to have: `wedge watch … 2>&1 | head` has a tree
 * to end, too. */
sigset_t wedge_cli_hold_pipe(void);
/* Where the command's streams go: straight through on a terminal, else by way of the copier, which keeps the last
 * lines. With --json standard output goes to standard error. */
void wedge_cli_streams(struct wedge_session *session, const struct wedge_cli *cli);
/* Callbacks of the session; `arg` is a struct wedge_cli_reporter. */
void wedge_cli_on_report(void *arg, const json_t *report, bool final);
void wedge_cli_on_note(void *arg, const char *text);
/* The command's own exit status as a shell gives it; says so when it could not be executed. */
int wedge_cli_command_status(const struct wedge_outcome *out, const char *program);
/* Leaves result.json, and with --json prints the report of a command that ended. */
int wedge_cli_finish(struct wedge_cli_reporter *reporter, const struct wedge_outcome *out, int status,
                     struct wedge_err *err);

#endif
