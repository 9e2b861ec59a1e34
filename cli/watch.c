/* wedge watch: a command, or a running process, until it ends or hangs. Exit statuses are timeout(1)'s. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "scenarios/session.h"

struct options {
    struct wedge_cli cli;
    pid_t pid;
    struct wedge_cli_launch launch;
    int64_t stall_ns;
    bool stall_given, no_agent;
    bool on_hang_given;
    struct wedge_act on_hang, on_part;
};

enum { KEY_STALL = 256, KEY_ON_HANG, KEY_ON_PART, KEY_NO_AGENT };
static const struct argp_option options[] = {
    {"pid", 'p', "PID", 0, "Watch a process that runs already; it is never killed unless --on-hang=kill says so", 0},
    {"plan", WEDGE_CLI_PLAN, "FILE", 0, "Run the command under this plan of faults", 0},
    {"disarm", WEDGE_CLI_DISARM, "ID,...", 0, "These rules of the plan wait until `wedge ctl` arms them", 0},
    {"record", WEDGE_CLI_RECORD, "WHAT", 0,
     "What the agent records for the report: calls (which locks are held, who waits, who woke last), places, or "
     "nothing "
     "(calls)",
     0},
    {"stall", KEY_STALL, "TIME", 0,
     "Nothing may stand still longer than this (30s where the program has progress marks; when given here, its output "
     "and CPU time count where it has none, and a hang of the whole that is evident but not proved ends the run too)",
     0},
    {"limit", WEDGE_CLI_LIMIT, "TIME", 0, "End the command after this time (none; 10min when CI is set)", 0},
    {"on-hang", KEY_ON_HANG, "WHAT,...", 0,
     "What to do on a hang of the whole, after the report: kill (end the tree), core (write DIR/core.PID of each "
     "process), "
     "run:COMMAND (last), or report, which is nothing more (kill; with -p: report)",
     0},
    {"on-part", KEY_ON_PART, "WHAT,...", 0,
     "The same for a hang of a part that is proved and has lasted for the stall time (report)", 0},
    {"no-agent", KEY_NO_AGENT, NULL, 0, "Leave the command untouched: no preloaded agent", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->cli;
        return 0;
    case 'p':
        o->pid = wedge_cli_pid(state, arg);
        return 0;
    case KEY_STALL:
        o->stall_ns = wedge_cli_duration(state, "--stall", arg);
        o->stall_given = true;
        return 0;
    case KEY_ON_HANG:
    case KEY_ON_PART:
        if (wedge_act_parse(arg, key == KEY_ON_HANG ? &o->on_hang : &o->on_part))
            argp_error(state, "%s takes report, kill, core and, last, run:COMMAND, separated by commas, not '%s'",
                       key == KEY_ON_HANG ? "--on-hang" : "--on-part", arg);
        o->on_hang_given |= key == KEY_ON_HANG;
        return 0;
    case KEY_NO_AGENT:
        o->no_agent = true;
        return 0;
    case ARGP_KEY_END:
        if (!o->pid == !o->launch.command)
            argp_error(state, "watch what? Give a command after --, or a process by -p PID");
        if (o->launch.disarm && !o->launch.plan)
            argp_error(state, "--disarm names rules of a plan: give one by -f FILE");
        if (o->launch.plan && o->pid)
            argp_error(state, "a plan needs a command to start: -f and -p do not go together");
        if (o->launch.plan && o->no_agent)
            argp_error(state, "a plan needs the agent: -f and --no-agent do not go together");
        return 0;
    default:
        return wedge_cli_parse_launch(key, arg, state, &o->launch);
    }
}

static const struct argp argp = {
    options,
    parse,
    "-- COMMAND [ARGUMENT...]\n-p PID",
    "Watches a command until it ends. On a hang of the whole it says who waits for whom, writes a report and ends the "
    "tree. Exit status: the command's own (128+N for signal N); 124 a hang or the limit, 125 wedge failed, 126 the "
    "command cannot be executed, 127 it was not found."
    "\vExample:\n  wedge watch --stall 30s -- ./build/test-suite",
    wedge_cli_children,
    NULL,
    NULL};

static int exit_status(const struct options *o, const struct wedge_outcome *out)
{
    if (out->end == WEDGE_HUNG || out->end == WEDGE_LIMIT)
        return WEDGE_EXIT_HANG;
    if (out->end == WEDGE_INTERRUPTED)
        return 128 + out->interrupted_by;
    return o->pid ? WEDGE_EXIT_OK : wedge_cli_command_status(out, o->launch.command[0]);
}

int wedge_cli_watch(int argc, char **argv)
{
    struct options o = {.launch.record = WEDGE_RECORD_CALLS};
    struct wedge_err err;
    struct wedge_plan *plan = NULL;
    struct wedge_outcome out;
    wedge_cli_defaults(&o.cli);
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &o);
    if (!o.launch.limit_ns && getenv("CI") && getenv("CI")[0])
        o.launch.limit_ns = 600ll * 1000000000;
    if (!o.on_hang_given)
        o.on_hang.kill = o.launch.command != NULL;
    if (o.launch.plan && wedge_cli_plan(o.launch.plan, &plan, &err)) {
        wedge_cli_error(&err);
        return WEDGE_EXIT_OWN_FAILURE;
    }
    if (wedge_cli_folder(&o.cli, &err)) {
        wedge_plan_free(plan);
        wedge_cli_error(&err);
        return WEDGE_EXIT_OWN_FAILURE;
    }
    const sigset_t mask = wedge_cli_hold_pipe();
    struct wedge_cli_reporter reporter = {.cli = &o.cli};
    struct wedge_session session = {.verb = "watch",
                                    .mask = &mask,
                                    .argv = o.launch.command,
                                    .attach = o.pid,
                                    .agent = !o.no_agent && !o.pid,
                                    .agent_optional = true,
                                    .plan = plan,
                                    .disarm = o.launch.disarm,
                                    .record = o.launch.record,
                                    .detect = true,
                                    .stall_ns = o.stall_ns,
                                    .stall_given = o.stall_given,
                                    .act_on_evident = o.stall_given,
                                    .limit_ns = o.launch.limit_ns,
                                    .on_hang = o.on_hang,
                                    .on_part = o.on_part,
                                    .dir = o.cli.dir,
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
    int status = exit_status(&o, &out);
    if (out.reach.absent[0])
        wedge_cli_say(&o.cli, "without the agent, so that roles, marks and faults are not known of it: %s",
                      out.reach.absent);
    if (out.reach.lost_procs || out.reach.lost_threads)
        wedge_cli_say(&o.cli,
                      "%" PRIu32 " processes and %" PRIu32
                      " threads found no room in the arena: roles, marks and faults are not known of them. It has room "
                      "for %" PRIu32 " and %" PRIu32 " at once, and for another some 20 ms after one has ended",
                      out.reach.lost_procs, out.reach.lost_threads, wedge_arena_count(WEDGE_SEC_PROCS),
                      wedge_arena_count(WEDGE_SEC_THREADS));
    if (out.reach.unfired[0] && out.end == WEDGE_ENDED)
        wedge_cli_say(&o.cli, "the run proves nothing of the plan: never fired: %s", out.reach.unfired);
    if (out.reach.missed[0])
        wedge_cli_say(&o.cli, "not all of the plan could happen: %s", out.reach.missed);
    if (out.reach.noted[0])
        wedge_cli_say(&o.cli, "the plan names what was nowhere: %s", out.reach.noted);
    rc = wedge_cli_finish(&reporter, &out, status, &err);
    wedge_outcome_free(&out);
    if (!rc)
        return status;
    wedge_cli_error(&err);
    return status == WEDGE_EXIT_HANG ? status : WEDGE_EXIT_OWN_FAILURE;
}
