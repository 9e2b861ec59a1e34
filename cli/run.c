/* wedge run: plays scenarios; with no name, every scenario of the hang report. */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/text.h"
#include "cli/ablate.h"
#include "cli/bar.h"
#include "cli/cli.h"
#include "scenarios/playing.h"
#include "scenarios/results.h"
#include "scenarios/runner.h"
#include "scenarios/scenario.h"
#include "scenarios/session.h"
#include "scenarios/strings.h"

struct options {
    struct wedge_cli cli;
    struct wedge_strings names;
    const char *filter; /* NULL none */
    const char *ablate; /* a preset; NULL: no ablation */
    long repeat, jobs; /* jobs 0: not given */
    int64_t timeout_ns; /* 0: each scenario's own limit */
    bool only_hang, fail_fast, keep_going;
};

enum {
    KEY_REPEAT = 256,
    KEY_ABLATE,
    KEY_ONLY_HANG,
    KEY_FILTER,
    KEY_FAIL_FAST,
    KEY_KEEP_GOING,
    KEY_TIMEOUT,
    MOST_REPEATS = 1000000
};
enum { ABLATION_LIMIT_MS = 8000 }; /* of one combination, where neither its scenario nor --timeout says less */
static const struct argp_option options[] = {
    {"ablate", KEY_ABLATE, "PRESET", 0,
     "Of the pool's preset reported, proposed or hardened turn each cure on or off alone, and see which scenario hangs "
     "then",
     0},
    {"fail-fast", KEY_FAIL_FAST, NULL, 0, "Play nothing more once a check was not as expected", 0},
    {"filter", KEY_FILTER, "PATTERN", 0, "Of all scenarios only those whose name fits: '*/2.3*', 'corpus/*'", 0},
    {"hang-only", KEY_ONLY_HANG, NULL, 0, "Play the hang alone, without its twin and the hardened check", 0},
    {"jobs", 'j', "N", 0,
     "Play N checks side by side (1; with --ablate twice the number of processors); times are "
     "then no measure",
     0},
    {"keep-going", KEY_KEEP_GOING, NULL, 0, "A check that cannot be played is invalid, and not the end of the run", 0},
    {"repeat", KEY_REPEAT, "N", 0, "Play each check N times; the signature must be the same each time", 0},
    {"timeout", KEY_TIMEOUT, "TIME", 0, "The longest time for one run, whatever the scenario says", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->cli;
        return 0;
    case KEY_REPEAT:
        o->repeat = wedge_cli_number(state, "repeat", arg, MOST_REPEATS);
        return 0;
    case 'j':
        o->jobs = wedge_cli_number(state, "jobs", arg, WEDGE_PLAYING_MOST);
        return 0;
    case KEY_ABLATE:
        o->ablate = arg;
        return 0;
    case KEY_FILTER:
        o->filter = arg;
        return 0;
    case KEY_FAIL_FAST:
        o->fail_fast = true;
        return 0;
    case KEY_KEEP_GOING:
        o->keep_going = true;
        return 0;
    case KEY_TIMEOUT:
        o->timeout_ns = wedge_cli_duration(state, "timeout", arg);
        return 0;
    case KEY_ONLY_HANG:
        o->only_hang = true;
        return 0;
    case ARGP_KEY_END:
        if (o->ablate && (o->fail_fast || o->only_hang))
            argp_error(state, "--ablate plays all combinations: it does not go with --fail-fast or --hang-only");
        return 0;
    case ARGP_KEY_ARG:
        return -wedge_strings_add(&o->names, arg);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    "[NAME|FILE...]",
    "Plays scenarios: the hang, its twin (the same command with one cure, which must finish) and the hardened check. "
    "Exit status: 0 all as expected, 1 not (an invalid run is not), 2 bad usage or input, 3 a check could not be "
    "played."
    "\vExample:\n  wedge run 1.1a --repeat 100",
    wedge_cli_children,
    NULL,
    NULL};

struct check { /* beside the one of struct wedge_playing */
    char signature[80]; /* of its first round */
};

/* What one invocation gathers. */
struct play {
    const struct options *o;
    struct wedge_scenario **scenarios;
    size_t n_scenarios;
    struct wedge_playing_check *checks;
    struct check *more; /* parallel to checks */
    size_t n_checks;
    struct wedge_results *results;
    struct wedge_cli_bar bar;
    sigset_t mask; /* as it was when wedge started */
    struct wedge_playing_end end;
    char report[4200]; /* the last hang's report.html */
};

static void say(const struct play *p, const struct wedge_playing_check *check, long round,
                const struct wedge_check_result *r)
{
    char took[32], after[64] = "", took_after[32], nth[32] = "";
    const char *color = !p->o->cli.color ? "" : r->status == WEDGE_CHECK_PASSED ? "\033[32m" : "\033[31m";
    FILE *out = p->o->cli.json ? stderr : stdout;
    if (p->o->cli.quiet && r->status == WEDGE_CHECK_PASSED)
        return;
    if (r->verdict_after_fault_ns >= 0)
        snprintf(after, sizeof(after), ", verdict %s after the last fault",
                 wedge_duration_text(r->verdict_after_fault_ns, took_after, sizeof(took_after)));
    if (p->o->repeat > 1)
        snprintf(nth, sizeof(nth), " %ld/%ld", round, p->o->repeat);
    fprintf(out, "%s%-7s%s %s %s%s: %s%s%s%s%s (%s%s)\n", color, wedge_check_status_words[r->status],
            p->o->cli.color ? "\033[0m" : "", check->scenario->name, wedge_check_words[check->role], nth, r->verdict,
            r->certainty[0] ? ", " : "", r->certainty, r->scope[0] ? ", " : "", r->scope,
            wedge_duration_text(r->duration_ns, took, sizeof(took)), after);
    if (r->status != WEDGE_CHECK_PASSED || (check->role == WEDGE_CHECK_HANG && p->o->repeat <= 1 && r->message[0])) {
        char plain[2048];
        fprintf(out, "        %s\n", wedge_text_plain(r->message, plain, sizeof(plain)));
    }
    fflush(out);
}

static int ended(void *context, size_t number, long round, const struct wedge_check_result *result,
                 struct wedge_err *err)
{
    struct play *p = context;
    const struct wedge_playing_check *check = &p->checks[number];
    struct wedge_check_result r = *result;
    char *first = p->more[number].signature;
    if (round == 1)
        snprintf(first, sizeof(p->more[number].signature), "%s", r.signature);
    if (r.status == WEDGE_CHECK_PASSED && strcmp(first, r.signature) != 0) {
        r.status = WEDGE_CHECK_FAILED;
        snprintf(r.message, sizeof(r.message), "signature %s, but %s in the first round", r.signature, first);
    }
    if (check->role == WEDGE_CHECK_HANG && r.dir[0])
        snprintf(p->report, sizeof(p->report), "%s/report.html", r.dir);
    wedge_cli_bar_wipe(&p->bar);
    say(p, check, round, &r);
    int rc = wedge_results_add(p->results, check->scenario, check->role, round, &r, err);
    size_t done = wedge_results_count(p->results);
    wedge_cli_bar_show(&p->bar, done, done - wedge_results_passed(p->results));
    return rc ? rc : p->o->fail_fast && r.status != WEDGE_CHECK_PASSED;
}

/* Whoever has that name already; two of one name would write into one folder. */
static const struct wedge_scenario *named(const struct play *p, const char *name)
{
    for (size_t i = 0; i < p->n_scenarios; i++)
        if (strcmp(p->scenarios[i]->name, name) == 0)
            return p->scenarios[i];
    return NULL;
}

/* Reads a file and takes its checks, if it is asked for and not yet there. */
static int add_file(struct play *p, const char *file, const char *prefix, struct wedge_err *err)
{
    struct wedge_scenario *s;
    int rc = wedge_runner_load(file, prefix, &s, err);
    if (rc)
        return rc;
    const struct wedge_scenario *other = named(p, s->name);
    if (other && strcmp(other->file, file) != 0) {
        rc = wedge_err_input(err, file, 0, 0, "has the name of %s, '%s'", other->file, s->name);
        wedge_scenario_free(s);
        return rc;
    }
    if (other || (p->o->filter && fnmatch(p->o->filter, s->name, 0) != 0)) {
        wedge_scenario_free(s);
        return 0;
    }
    struct wedge_scenario **scenarios = realloc(p->scenarios, (p->n_scenarios + 1) * sizeof(*scenarios));
    p->scenarios = scenarios ? scenarios : p->scenarios;
    struct wedge_playing_check *checks = realloc(p->checks, (p->n_checks + WEDGE_CHECKS) * sizeof(*checks));
    p->checks = checks ? checks : p->checks;
    struct check *more = realloc(p->more, (p->n_checks + WEDGE_CHECKS) * sizeof(*more));
    p->more = more ? more : p->more;
    if (!scenarios || !checks || !more) {
        wedge_scenario_free(s);
        return wedge_err_set(err, -ENOMEM, "no memory for the scenarios");
    }
    s->limit_ms = p->o->timeout_ns ? p->o->timeout_ns / WEDGE_NS_PER_MS : s->limit_ms;
    scenarios[p->n_scenarios++] = s;
    for (int role = 0; role < WEDGE_CHECKS; role++)
        if (s->checks[role].present && (role == WEDGE_CHECK_HANG || !p->o->only_hang))
            checks[p->n_checks++] = (struct wedge_playing_check){.scenario = s, .role = (enum wedge_check_role)role};
    return 0;
}

/* Names to files, and files to checks; with no name, every scenario of the hang report, or all that the filter lets through. Each file is read before anything
 * runs, so that a typing error does not come to light after an hour. */
static int gather(struct play *p, struct wedge_err *err)
{
    const char *dir = wedge_cli_scenarios(err), *prefix = wedge_cli_prefix(err);
    char **all = NULL;
    int rc = dir && prefix ? 0 : err->code;
    if (!rc && !p->o->names.n)
        rc = wedge_scenario_list(dir, p->o->filter ? "*" : "hang-report", &all, err);
    for (char **a = all; !rc && a && *a; a++)
        rc = add_file(p, *a, prefix, err);
    for (size_t i = 0; !rc && i < p->o->names.n; i++) {
        char *file;
        rc = wedge_scenario_find(dir, p->o->names.items[i], &file, err);
        if (rc)
            break;
        rc = add_file(p, file, prefix, err);
        free(file);
    }
    wedge_strings_free(all);
    if (!rc && !p->n_checks) {
        rc = wedge_err_set(err, -EINVAL, "no scenario's name fits '%s'", p->o->filter ? p->o->filter : "");
        err->class = WEDGE_ERR_INPUT;
        wedge_err_remedy(err, "`wedge list` shows them");
    }
    return rc;
}

static int play(struct play *p, struct wedge_err *err)
{
    const struct wedge_playing playing = {.checks = p->checks,
                                          .n = p->n_checks,
                                          .rounds = p->o->repeat,
                                          .at_once = p->o->jobs ? (unsigned)p->o->jobs : 1,
                                          .out_dir = p->o->cli.dir,
                                          .mask = &p->mask,
                                          .keep_going = p->o->keep_going,
                                          .ended = ended,
                                          .context = p};
    p->bar = (struct wedge_cli_bar){
        .cli = &p->o->cli, .what = "checks", .all = p->n_checks * (size_t)p->o->repeat, .began_ns = wedge_clock_ns()};
    wedge_cli_bar_show(&p->bar, 0, 0);
    return wedge_playing_all(&playing, &p->end, err);
}

/* The files, and the last words. */
static int finish(const struct play *p, int status, struct wedge_err *err)
{
    const struct wedge_cli *cli = &p->o->cli;
    char missing[96] = "";
    if (p->end.signal)
        snprintf(missing, sizeof(missing), "interrupted by SIG%s", sigabbrev_np(p->end.signal));
    else if (!p->end.whole)
        snprintf(missing, sizeof(missing), "ended by --fail-fast");
    int rc = wedge_results_close(p->results, missing[0] ? missing : NULL, status, err);
    if (rc)
        return rc;
    if (cli->json && (json_dumpf(wedge_results_model(p->results), stdout, JSON_INDENT(2)) || putchar('\n') == EOF))
        return wedge_err_set(err, -EIO, "cannot write the results to standard output");
    if (cli->quiet)
        return 0;
    FILE *out = cli->json ? stderr : stdout;
    fprintf(out, "\n%zu of %zu checks as expected", wedge_results_passed(p->results), wedge_results_count(p->results));
    fprintf(out, "%s%s\n", missing[0] ? ", and others were not played: " : "", missing);
    if (p->report[0])
        fprintf(out, "report: %s\n", p->report);
    fprintf(out, "JUnit:  %s/junit.xml\n", cli->dir);
    return 0;
}

static void dispose(struct play *p)
{
    for (size_t i = 0; i < p->n_scenarios; i++)
        wedge_scenario_free(p->scenarios[i]);
    free(p->scenarios);
    free(p->checks);
    free(p->more);
    wedge_results_free(p->results);
}

/* Each check of each scenario. */
static int run_checks(struct play *p)
{
    struct wedge_err err = {0};
    /* Before anything can go wrong: a result.json of an earlier run must not pass for this one's. */
    int status = WEDGE_EXIT_OK, rc = wedge_results_open(p->o->cli.dir, &p->results, &err);
    if (!rc)
        rc = gather(p, &err);
    if (!rc)
        rc = wedge_results_begin(p->results, p->o->cli.dir, &err);
    if (!rc)
        rc = play(p, &err);
    if (!rc && p->end.signal)
        status = 128 + p->end.signal;
    else if (!rc && (!p->end.whole || wedge_results_passed(p->results) < wedge_results_count(p->results)))
        status = WEDGE_EXIT_UNEXPECTED;
    if (!rc)
        rc = finish(p, status, &err);
    if (!rc)
        return status;
    status = wedge_cli_error(&err);
    if (p->results) /* where even that cannot be written, the error is on standard error */
        wedge_results_close(p->results, "the run failed", status, NULL);
    return status;
}

/* Each scenario as often as there are cures. Most of a run is waiting: twice as many at once as there are processors. */
static int ablate(struct play *p)
{
    struct wedge_err err = {0};
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (gather(p, &err))
        return wedge_cli_error(&err);
    for (size_t i = 0; i < p->n_scenarios; i++)
        if (!p->o->timeout_ns && p->scenarios[i]->limit_ms > ABLATION_LIMIT_MS)
            p->scenarios[i]->limit_ms = ABLATION_LIMIT_MS;
    unsigned at_once = cpus < 1 ? 2 : cpus > WEDGE_PLAYING_MOST / 2 ? WEDGE_PLAYING_MOST : (unsigned)cpus * 2;
    return wedge_cli_ablate(&(struct wedge_cli_ablate){.cli = &p->o->cli,
                                                       .preset = p->o->ablate,
                                                       .scenarios = p->scenarios,
                                                       .n = p->n_scenarios,
                                                       .rounds = p->o->repeat,
                                                       .at_once = p->o->jobs ? (unsigned)p->o->jobs : at_once,
                                                       .keep_going = p->o->keep_going,
                                                       .mask = &p->mask});
}

int wedge_cli_run(int argc, char **argv)
{
    struct options o = {.repeat = 1};
    struct play p = {.o = &o};
    sigset_t ends;
    wedge_cli_defaults(&o.cli);
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    /* From here on a signal ends the run in order: heard while checks are played, and once they are, no more. */
    wedge_session_ends(&ends);
    sigaddset(&ends, SIGPIPE); /* results are written although nobody reads what is said of them */
    sigprocmask(SIG_BLOCK, &ends, &p.mask);
    int status = o.ablate ? ablate(&p) : run_checks(&p);
    dispose(&p);
    wedge_strings_free(wedge_strings_take(&o.names));
    return status;
}
