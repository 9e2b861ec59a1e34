/* wedge inject: a command under a plan of faults. No verdict; the exit status is the command's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/command.h"

struct options {
    struct wedge_cli cli;
    struct wedge_cli_launch launch;
};

static const struct argp_option options[] = {
    {"plan", WEDGE_CLI_PLAN, "FILE", 0, "The plan, see wedge-plan(5)", 0},
    {"disarm", WEDGE_CLI_DISARM, "ID,...", 0, "These rules wait until `wedge ctl` arms them", 0},
    {"record", WEDGE_CLI_RECORD, "WHAT", 0, "What is recorded: calls, places or nothing (places)", 0},
    {"limit", WEDGE_CLI_LIMIT, "TIME", 0, "End the command after this time (none)", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->cli;
        return 0;
    case ARGP_KEY_END:
        if (!o->launch.plan)
            argp_error(state, "which faults? Give a plan by -f FILE");
        if (!o->launch.command)
            argp_error(state, "run what? Give a command after --");
        return 0;
    default:
        return wedge_cli_parse_launch(key, arg, state, &o->launch);
    }
}

static const struct argp argp = {options,
                                 parse,
                                 "-f PLAN -- COMMAND [ARGUMENT...]",
                                 "Runs a command under a plan of faults and passes its exit status on (128+N for "
                                 "signal N); 124 the limit, 125 wedge "
                                 "failed or the plan is wrong or a rule that had to fire did not, 126 the command "
                                 "cannot be executed, 127 it was not "
                                 "found."
                                 "\vExample:\n  wedge inject -f kill-second-worker.plan -- ./my-server",
                                 wedge_cli_children,
                                 NULL,
                                 NULL};

/* A program that does not withstand an illegal fault need not be wrong: whoever reads the outcome should know. */
static void say_illegal(const struct wedge_cli *cli, const struct wedge_plan *plan)
{
    for (size_t i = 0; i < wedge_plan_count(plan); i++) {
        enum wedge_function function;
        if (wedge_plan_rule_legality(plan, i, &function) != WEDGE_ILLEGAL)
            continue;
        if (function < WEDGE_FN_COUNT)
            wedge_cli_say(cli, "rule %s is illegal: no man page lets %s do this; what fails by it need not be wrong",
                          wedge_plan_id(plan, i), wedge_functions[function].name);
        else
            wedge_cli_say(cli,
                          "rule %s is illegal: it says done where nothing is done; what fails by it need not be wrong",
                          wedge_plan_id(plan, i));
    }
}

/* Says why the plan did not do what it says, if so. `status` is the command's own. */
static void say_reach(const struct wedge_cli *cli, const struct wedge_outcome *out, int status)
{
    const struct wedge_reach *reach = &out->reach;
    if (reach->unfired[0] && out->end == WEDGE_ENDED)
        fprintf(stderr, "wedge: the run is invalid: never fired: %s; the command's own status was %d\n", reach->unfired,
                status);
    if (reach->missed[0])
        fprintf(stderr, "wedge: the run is invalid: %s; the command's own status was %d\n", reach->missed, status);
    if (reach->noted[0])
        wedge_cli_say(cli, "the plan names what was nowhere: %s", reach->noted);
    if (reach->absent[0])
        fprintf(stderr, "wedge: %sno rule reached %s\n", reach->unreached ? "the run is invalid: " : "", reach->absent);
    if (reach->lost_procs || reach->lost_threads)
        fprintf(stderr,
                "wedge: %sno rule acted on what found no room in the arena: %" PRIu32 " process%s, %" PRIu32
                " thread%s; the command's own status was %d\n",
                reach->lost ? "the run is invalid: " : "", reach->lost_procs, reach->lost_procs == 1 ? "" : "es",
                reach->lost_threads, reach->lost_threads == 1 ? "" : "s", status);
}

int wedge_cli_inject(int argc, char **argv)
{
    struct options o = {.launch.record = WEDGE_RECORD_PLACES};
    struct wedge_err err;
    struct wedge_plan *plan;
    struct wedge_outcome out;
    wedge_cli_defaults(&o.cli);
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &o);
    if (wedge_cli_plan(o.launch.plan, &plan, &err)) {
        wedge_cli_error(&err);
        return WEDGE_EXIT_OWN_FAILURE;
    }
    if (o.cli.verbose)
        say_illegal(&o.cli, plan);
    if (wedge_cli_folder(&o.cli, &err)) {
        wedge_plan_free(plan);
        wedge_cli_error(&err);
        return WEDGE_EXIT_OWN_FAILURE;
    }
    const sigset_t mask = wedge_cli_hold_pipe();
    struct wedge_cli_reporter reporter = {.cli = &o.cli};
    struct wedge_session session = {.verb = "inject",
                                    .mask = &mask,
                                    .argv = o.launch.command,
                                    .agent = true,
                                    .plan = plan,
                                    .disarm = o.launch.disarm,
                                    .record = o.launch.record,
                                    .limit_ns = o.launch.limit_ns,
                                    .on_hang = {.kill = true},
                                    .on_report = wedge_cli_on_report,
                                    .on_note = wedge_cli_on_note,
                                    .arg = &reporter};
    wedge_cli_streams(&session, &o.cli);
    int rc = wedge_session_run(&session, &out, &err);
    wedge_plan_free(plan);
    if (rc) {
        wedge_cli_error(&err);
        return WEDGE_EXIT_OWN_FAILURE;
    }
    int status = out.end == WEDGE_LIMIT ? WEDGE_EXIT_HANG : wedge_cli_command_status(&out, o.launch.command[0]);
    say_reach(&o.cli, &out, status);
    if (out.reach.invalid)
        status = WEDGE_EXIT_OWN_FAILURE;
    rc = wedge_cli_finish(&reporter, &out, status, &err);
    wedge_outcome_free(&out);
    if (rc) {
        wedge_cli_error(&err);
        return WEDGE_EXIT_OWN_FAILURE;
    }
    return status;
}
