/* wedge run: plays scenarios; with no name, every scenario of the hang report. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/text.h"
#include "cli/cli.h"
#include "scenarios/results.h"
#include "scenarios/runner.h"
#include "scenarios/scenario.h"
#include "scenarios/strings.h"

struct options {
    struct wedge_cli cli;
    struct wedge_strings names;
    long repeat;
    bool only_hang;
};

enum { KEY_REPEAT = 256, KEY_ONLY_HANG, MOST_REPEATS = 1000000 };
static const struct argp_option options[] = {
    {"repeat", KEY_REPEAT, "N", 0, "Play each check N times; the signature must be the same each time", 0},
    {"hang-only", KEY_ONLY_HANG, NULL, 0, "Play the hang alone, without its twin and the hardened check", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    char *end;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->cli;
        return 0;
    case KEY_REPEAT:
        o->repeat = strtol(arg, &end, 10);
        if (*end || end == arg || o->repeat < 1 || o->repeat > MOST_REPEATS)
            argp_error(state, "--repeat takes a number from 1 to %d, not '%s'", MOST_REPEATS, arg);
        return 0;
    case KEY_ONLY_HANG:
        o->only_hang = true;
        return 0;
    case ARGP_KEY_ARG:
        return -wedge_strings_add(&o->names, arg);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&wedge_cli_argp, 0, "Common options:", 1}, {0}};
static const struct argp argp = {
    options,
    parse,
    "[NAME|FILE...]",
    "Plays scenarios: the hang, its twin (the same command with one cure, which must finish) and the hardened check. "
    "Exit status: 0 all as expected, 1 not (an invalid run is not), 2 bad usage or input, 3 a check could not be "
    "played."
    "\vExample:\n  wedge run 1.1a --repeat 100",
    children,
    NULL,
    NULL};

/* What one invocation gathers. */
struct play {
    const struct options *o;
    struct wedge_strings files;
    const char *prefix;
    struct wedge_results *results;
    bool interrupted;
    char report[4200]; /* the last hang's report.html */
};

static void say(const struct play *p, const struct wedge_scenario *s, enum wedge_check_role role, long round,
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
            p->o->cli.color ? "\033[0m" : "", s->name, wedge_check_words[role], nth, r->verdict,
            r->certainty[0] ? ", " : "", r->certainty, r->scope[0] ? ", " : "", r->scope,
            wedge_duration_text(r->duration_ns, took, sizeof(took)), after);
    if (r->status != WEDGE_CHECK_PASSED || (role == WEDGE_CHECK_HANG && p->o->repeat <= 1 && r->message[0])) {
        char plain[2048];
        fprintf(out, "        %s\n", wedge_text_plain(r->message, plain, sizeof(plain)));
    }
    fflush(out);
}

static int play_check(struct play *p, const struct wedge_scenario *s, enum wedge_check_role role, struct wedge_err *err)
{
    char first[80] = "";
    for (long round = 1; round <= p->o->repeat && !p->interrupted; round++) {
        struct wedge_check_result r;
        if (isatty(STDERR_FILENO) && !p->o->cli.quiet)
            fprintf(stderr, "\r\033[K%s %s ...\r", s->name, wedge_check_words[role]);
        int rc = wedge_runner_play(s, role, p->o->cli.dir, &r, err);
        if (rc)
            return rc;
        if (round == 1)
            snprintf(first, sizeof(first), "%s", r.signature);
        if (r.status == WEDGE_CHECK_PASSED && strcmp(first, r.signature) != 0) {
            r.status = WEDGE_CHECK_FAILED;
            snprintf(r.message, sizeof(r.message), "signature %s, but %s in the first round", r.signature, first);
        }
        p->interrupted = r.interrupted;
        if (role == WEDGE_CHECK_HANG)
            snprintf(p->report, sizeof(p->report), "%s/report.html", r.dir);
        say(p, s, role, round, &r);
        rc = wedge_results_add(p->results, s, role, round, &r, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int play_file(struct play *p, const char *file, struct wedge_err *err)
{
    struct wedge_scenario *s;
    int rc = wedge_scenario_load(file, p->prefix, &s, err);
    if (rc)
        return rc;
    for (int role = 0; role < WEDGE_CHECKS && !rc && !p->interrupted; role++)
        if (s->checks[role].present && (role == WEDGE_CHECK_HANG || !p->o->only_hang))
            rc = play_check(p, s, (enum wedge_check_role)role, err);
    wedge_scenario_free(s);
    return rc;
}

/* Names to files; with none, every scenario of the hang report. Each file is read once before anything runs, so that
 * a typing error does not come to light after an hour. */
static int gather(struct play *p, struct wedge_err *err)
{
    const char *dir = wedge_cli_scenarios(err);
    char **all = NULL, *file;
    int rc = dir ? 0 : err->code;
    if (!rc && !p->o->names.n)
        rc = wedge_scenario_list(dir, "hang-report", &all, err);
    for (char **a = all; !rc && a && *a; a++)
        rc = wedge_strings_add(&p->files, *a);
    for (size_t i = 0; !rc && i < p->o->names.n; i++) {
        rc = wedge_scenario_find(dir, p->o->names.items[i], &file, err);
        if (rc)
            break;
        rc = wedge_strings_add(&p->files, file);
        free(file);
    }
    wedge_strings_free(all);
    for (size_t i = 0; !rc && i < p->files.n; i++) {
        struct wedge_scenario *s;
        rc = wedge_runner_load(p->files.items[i], p->prefix, &s, err);
        if (!rc)
            wedge_scenario_free(s);
    }
    return rc;
}

/* The files, and the last words. */
static int finish(const struct play *p, int status, struct wedge_err *err)
{
    const struct wedge_cli *cli = &p->o->cli;
    int rc = wedge_results_close(p->results, !p->interrupted, status, err);
    if (rc)
        return rc;
    if (cli->json && (json_dumpf(wedge_results_model(p->results), stdout, JSON_INDENT(2)) || putchar('\n') == EOF))
        return wedge_err_set(err, -EIO, "cannot write the results to standard output");
    if (cli->quiet)
        return 0;
    FILE *out = cli->json ? stderr : stdout;
    fprintf(out, "\n%zu of %zu checks as expected%s\n", wedge_results_passed(p->results),
            wedge_results_count(p->results), p->interrupted ? ", interrupted" : "");
    if (p->report[0])
        fprintf(out, "report: %s\n", p->report);
    fprintf(out, "JUnit:  %s/junit.xml\n", cli->dir);
    return 0;
}

int wedge_cli_run(int argc, char **argv)
{
    struct options o = {.repeat = 1};
    struct wedge_err err = {0};
    struct play p = {.o = &o};
    wedge_cli_defaults(&o.cli);
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    /* Before anything can go wrong: a result.json of an earlier run must not pass for this one's. */
    int status = WEDGE_EXIT_OK, rc = wedge_results_open(o.cli.dir, &p.results, &err);
    if (!rc) {
        p.prefix = wedge_cli_prefix(&err);
        rc = p.prefix ? gather(&p, &err) : err.code;
    }
    for (size_t i = 0; !rc && i < p.files.n && !p.interrupted; i++)
        rc = play_file(&p, p.files.items[i], &err);
    if (!rc && (p.interrupted || wedge_results_passed(p.results) < wedge_results_count(p.results)))
        status = WEDGE_EXIT_UNEXPECTED;
    if (!rc)
        rc = finish(&p, status, &err);
    if (rc) {
        status = wedge_cli_error(&err);
        if (p.results) /* where even that cannot be written, the error is on standard error */
            wedge_results_close(p.results, false, status, NULL);
    }
    wedge_results_free(p.results);
    wedge_strings_free(wedge_strings_take(&o.names));
    wedge_strings_free(wedge_strings_take(&p.files));
    return status;
}
