/* wedge dump PID... | --core FILE: one examination of each, now. Nothing is started, nothing is ended. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/brief.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "reports/bump.h"
#include "reports/examine.h"
#include "reports/report.h"
#include "scenarios/verdict.h"

enum { DEADLINE_MS = 30000, MOST_PIDS = 64 };

struct options {
    struct wedge_cli cli;
    pid_t pids[MOST_PIDS];
    size_t n;
    const char *core, *exe;
    enum wedge_members members;
    uid_t user;
    bool user_given, no_stop;
    /* Asked by libwedge: for which thread, what it knows, and how long it waits. */
    bool for_library;
    pid_t blind_thread;
    int64_t stalled_ns, deadline_ns;
};

enum { KEY_TREE = 256, KEY_USER, KEY_LIBRARY, KEY_STALLED, KEY_DEADLINE };
static const struct argp_option options[] = {
    {"no-stop", 's', NULL, 0, "Stop nothing: verdict and wait reasons without stacks", 0},
    {"core", 'c', "FILE", 0, "Explain a core file in the place of a process", 0},
    {"exe", 'e', "FILE", 0, "The program that the core file is of, if it lies elsewhere now", 0},
    {"tree", KEY_TREE, "children|group|session", 0,
     "Who belongs to PID's tree: its descendants, and its process group or session besides (children)", 0},
    {"all-of-user", KEY_USER, "USER", OPTION_ARG_OPTIONAL,
     "All processes of a user in one picture, without a PID; a name or a number (yours)", 0},
    {"for-library", KEY_LIBRARY, "TID", OPTION_HIDDEN, NULL, 0}, /* detector/library/ask.h */
    {"stalled", KEY_STALLED, "TIME", OPTION_HIDDEN, NULL, 0},
    {"deadline", KEY_DEADLINE, "TIME", OPTION_HIDDEN, NULL, 0},
    {0}};

static uid_t user_of(struct argp_state *state, const char *text)
{
    char *end;
    const struct passwd *entry = getpwnam(text);
    if (entry)
        return entry->pw_uid;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || *end || end == text || *text == '-' || number >= (uid_t)-1)
        argp_error(state, "there is no user '%s'", text);
    return (uid_t)number;
}

static enum wedge_members members_of(struct argp_state *state, const char *text)
{
    static const char *const words[] = {"children", "group", "session"}; /* in the order of the enum */
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(text, words[i]) == 0)
            return (enum wedge_members)i;
    argp_error(state, "--tree takes children, group or session, not '%s'", text);
    return WEDGE_MEMBERS_OF_ROOT;
}

/* What goes together: processes by number, a user, or a core file. */
static void check_usage(struct argp_state *state, const struct options *o)
{
    bool of_user = o->members == WEDGE_MEMBERS_OF_USER;
    if (!o->core && !of_user && !o->n)
        argp_error(state, "which process? Give a PID, as in `wedge dump 4711`");
    if (o->core && o->n)
        argp_error(state, "a core file or processes, not both at once");
    if (of_user && (o->n || o->core))
        argp_error(state, "--all-of-user takes all processes of one user, and no %s", o->core ? "core file" : "PID");
    if (o->exe && !o->core)
        argp_error(state, "--exe goes with --core");
    if (o->core && o->no_stop)
        argp_error(state, "--no-stop does not go with --core: there is nothing to stop");
}

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
    case KEY_TREE:
        o->members = members_of(state, arg);
        return 0;
    case KEY_USER:
        o->members = WEDGE_MEMBERS_OF_USER;
        o->user = arg ? user_of(state, arg) : getuid();
        o->user_given = arg != NULL;
        return 0;
    case KEY_LIBRARY:
        o->for_library = true;
        o->blind_thread = wedge_cli_pid(state, arg);
        return 0;
    case KEY_STALLED:
        o->stalled_ns = wedge_cli_duration(state, "--stalled", arg);
        return 0;
    case KEY_DEADLINE:
        o->deadline_ns = wedge_cli_duration(state, "--deadline", arg);
        return 0;
    case ARGP_KEY_ARG:
        if (o->members == WEDGE_MEMBERS_OF_USER && !o->user_given) { /* --all-of-user USER, apart */
            o->user = user_of(state, arg);
            o->user_given = true;
            return 0;
        }
        if (o->n == MOST_PIDS)
            argp_error(state, "at most %d processes at once", MOST_PIDS);
        o->pids[o->n++] = wedge_cli_pid(state, arg);
        return 0;
    case ARGP_KEY_END:
        check_usage(state, o);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    "PID...\n--all-of-user [USER]\n--core FILE [--exe FILE]",
    "Explains what the processes of PID's tree wait for, who could wake them, and whether "
    "that is a hang. Exit status: 0 no hang of the whole, 124 a hang of the whole, 2 bad "
    "usage, 3 it could not be examined."
    "\vExamples:\n  wedge dump $(pgrep -o my-server)\n  wedge dump --no-stop --all-of-user",
    wedge_cli_children,
    NULL,
    NULL};

/* Where the report of `pid` goes: several processes have a folder each. */
static struct wedge_cli place(const struct options *o, pid_t pid, char *dir, size_t size)
{
    struct wedge_cli cli = o->cli;
    if (o->n > 1 && cli.dir) {
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
        .members = o->members,
        .user = o->user,
        .blind = &self,
        .n_blind = 1,
        .blind_thread = o->blind_thread,
        .stalled = o->stalled_ns > 0,
        .stalled_ns = o->stalled_ns,
        /* Of a user's processes only those that take part in a hang stand still for their stacks. */
        .stacks = o->no_stop       ? WEDGE_STACKS_NEVER
                  : pid || o->core ? WEDGE_STACKS_ALWAYS
                                   : WEDGE_STACKS_ON_HANG};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char *const of_core[] = {(char *)"core file", (char *)o->core, NULL};
    struct wedge_report_run run = {.verb = "dump",
                                   .command = o->core ? of_core : NULL,
                                   .started_ns = wedge_clock_ns(),
                                   .started_unix_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / WEDGE_NS_PER_MS,
                                   .exit_status = -1};
    char dir[4096];
    struct wedge_cli cli = place(o, pid, dir, sizeof(dir));
    json_t *report;
    char what[64];
    if (pid)
        snprintf(what, sizeof(what), "looking at process %d", (int)pid);
    else
        snprintf(what, sizeof(what), "looking at %s", o->core ? "the core file" : "all of the user's processes");
    if (!o->for_library)
        wedge_cli_progress_begin(&cli, what);
    int rc = wedge_report_examine(&examine, o->deadline_ns ? (int)(o->deadline_ns / WEDGE_NS_PER_MS) : DEADLINE_MS,
                                  &report, err);
    wedge_cli_progress_end();
    if (rc)
        return rc;
    run.duration_ms = (wedge_clock_ns() - run.started_ns) / WEDGE_NS_PER_MS;
    rc = wedge_report_set_run(report, &run);
    struct wedge_headline headline = wedge_headline(report);
    if (headline.hang && headline.whole)
        *ret_status = WEDGE_EXIT_HANG;
    else if (o->core && !headline.hang && strcmp(headline.certainty, "suspected") == 0) /* cut off */
        *ret_status = WEDGE_EXIT_FAILED;
    if (!rc && o->for_library)
        rc = wedge_cli_brief(report, NULL);
    else if (!rc)
        rc = wedge_cli_report(&cli, report, *ret_status, stdout, err);
    return rc;
}

/* Asked before anybody is looked at. A folder that was named has to serve; without the usual one what is found is printed
 * all the same: whoever stands before a stuck process in a folder of somebody else's wants to hear of it. */
static int find_folder(struct options *o)
{
    struct wedge_err err;
    if (o->for_library || !wedge_cli_folder(&o->cli, &err))
        return 0;
    int status = wedge_cli_error(&err);
    if (o->cli.dir_given)
        return status;
    wedge_cli_say(&o->cli, "the report is printed, and not kept");
    o->cli.dir = NULL;
    return 0;
}

int wedge_cli_dump(int argc, char **argv)
{
    struct options o = {0};
    struct wedge_err err;
    int status = WEDGE_EXIT_OK;
    wedge_cli_defaults(&o.cli);
    wedge_bump_json(); /* reports go with the process */
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.for_library)
        wedge_cli_brief_await();
    status = find_folder(&o);
    if (status)
        return status;
    if ((o.core || o.members == WEDGE_MEMBERS_OF_USER) && dump(&o, 0, &err, &status))
        return wedge_cli_error(&err);
    for (size_t i = 0; i < o.n; i++) {
        if (o.pids[i] == getpid()) {
            wedge_err_set(&err, -EINVAL, "%d is wedge itself", o.pids[i]);
            return wedge_cli_error(&err);
        }
        if (dump(&o, o.pids[i], &err, &status))
            return o.for_library ? wedge_cli_brief(NULL, &err) : wedge_cli_error(&err);
    }
    return status;
}
