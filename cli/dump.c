/* wedge dump PID... | --core FILE: one examination of each, now. Nothing is started, nothing is ended. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "reports/examine.h"
#include "reports/report.h"
#include "scenarios/verdict.h"

enum { DEADLINE_MS = 30000, MOST_PIDS = 64 };

struct options {
    struct wedge_cli cli;
    pid_t pids[MOST_PIDS];
    size_t n;
    bool no_stop;
    const char *core, *exe;
};

static const struct argp_option options[] = {
    {"no-stop", 's', NULL, 0, "Stop nothing: verdict and wait reasons without stacks", 0},
    {"core", 'c', "FILE", 0, "Explain a core file in the place of a process", 0},
    {"exe", 'e', "FILE", 0, "The program that the core file is of, if it lies elsewhere now", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->cli;
        return 0;
    case 's':
        o->no_stop = true;
        return 0;
    case 'c':
        o->core = arg;
        return 0;
    case 'e':
        o->exe = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->n == MOST_PIDS)
            argp_error(state, "at most %d processes at once", MOST_PIDS);
        o->pids[o->n++] = wedge_cli_pid(state, arg);
        return 0;
    case ARGP_KEY_END:
        if (!o->core && !o->n)
            argp_error(state, "which process? Give a PID, as in `wedge dump 4711`");
        if (o->core && o->n)
            argp_error(state, "a core file or processes, not both at once");
        if (o->exe && !o->core)
            argp_error(state, "--exe goes with --core");
        if (o->core && o->no_stop)
            argp_error(state, "--no-stop does not go with --core: there is nothing to stop");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&wedge_cli_argp, 0, "Common options:", 1}, {0}};
static const struct argp argp = {options,
                                 parse,
                                 "PID...\n--core FILE [--exe FILE]",
                                 "Explains what the processes of PID's tree wait for, who could wake them, and whether "
                                 "that is a hang. Exit status: 0 no hang of the whole, 124 a hang of the whole, 2 bad "
                                 "usage, 3 it could not be examined."
                                 "\vExample:\n  wedge dump $(pgrep -o my-server)",
                                 children,
                                 NULL,
                                 NULL};

/* Where the report of `pid` goes: several processes have a folder each. */
static struct wedge_cli place(const struct options *o, pid_t pid, char *dir, size_t size)
{
    struct wedge_cli cli = o->cli;
    if (o->n > 1) {
        snprintf(dir, size, "%s/%d", o->cli.dir, (int)pid);
        cli.dir = dir;
    }
    return cli;
}

static int dump(const struct options *o, pid_t pid, struct wedge_err *err, int *ret_status)
{
    const pid_t self = getpid();
    struct wedge_examine examine = {
        .root = pid,
        .core = o->core,
        .exe = o->exe,
        .blind = &self,
        .n_blind = 1,
        .stacks = o->no_stop ? WEDGE_STACKS_NEVER : WEDGE_STACKS_ALWAYS};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct wedge_report_run run = {.verb = "dump",
                                   .started_ns = wedge_clock_ns(),
                                   .started_unix_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / WEDGE_NS_PER_MS,
                                   .exit_status = -1};
    char dir[4096];
    struct wedge_cli cli = place(o, pid, dir, sizeof(dir));
    json_t *report;
    int rc = wedge_report_examine(&examine, DEADLINE_MS, &report, err);
    if (rc)
        return rc;
    run.duration_ms = (wedge_clock_ns() - run.started_ns) / WEDGE_NS_PER_MS;
    rc = wedge_report_set_run(report, &run);
    struct wedge_headline headline = wedge_headline(report);
    if (headline.hang && headline.whole)
        *ret_status = WEDGE_EXIT_HANG;
    if (!rc)
        rc = wedge_cli_report(&cli, report, *ret_status, stdout, err);
    json_decref(report);
    return rc;
}

int wedge_cli_dump(int argc, char **argv)
{
    struct options o = {0};
    struct wedge_err err;
    int status = WEDGE_EXIT_OK;
    wedge_cli_defaults(&o.cli);
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.core && dump(&o, 0, &err, &status))
        return wedge_cli_error(&err);
    for (size_t i = 0; i < o.n; i++) {
        if (o.pids[i] == getpid()) {
            wedge_err_set(&err, -EINVAL, "%d is wedge itself", o.pids[i]);
            return wedge_cli_error(&err);
        }
        if (dump(&o, o.pids[i], &err, &status))
            return wedge_cli_error(&err);
    }
    return status;
}
