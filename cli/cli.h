/* What the verbs share: options, exit statuses, the one place where an error is printed. */
#ifndef WEDGE_CLI_CLI_H
#define WEDGE_CLI_CLI_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"

enum wedge_exit {
    WEDGE_EXIT_OK = 0,
    WEDGE_EXIT_UNEXPECTED = 1, /* not as expected; an invalid run too */
    WEDGE_EXIT_USAGE = 2,
    WEDGE_EXIT_FAILED = 3,
    WEDGE_EXIT_HANG = 124, /* as timeout(1) */
    WEDGE_EXIT_OWN_FAILURE = 125,
    WEDGE_EXIT_CANNOT_EXECUTE = 126,
    WEDGE_EXIT_NOT_FOUND = 127,
};

/* Options that every verb takes. */
struct wedge_cli {
    bool json, quiet, verbose;
    bool color; /* on standard output */
    const char *dir; /* -o; default wedge-out; NULL: nothing is kept */
    bool dir_given;
};
/* The children of each verb's argp; theirs is the first of its child_inputs: a struct wedge_cli, filled by wedge_cli_defaults. */
extern const struct argp_child wedge_cli_children[];
void wedge_cli_defaults(struct wedge_cli *cli);

/* Prints "wedge: …" once on standard error and returns 2 (input) or 3 (work). */
int wedge_cli_error(const struct wedge_err *err);
/* One line on standard error unless quiet. */
void wedge_cli_say(const struct wedge_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Makes cli->dir, as far as it is not there, before something is begun whose report could not be written. 0 or a negative errno. */
int wedge_cli_folder(const struct wedge_cli *cli, struct wedge_err *err);
/* Writes report.json, report.html and result.json into cli->dir, if there is one, and the report as text (or, with --json, as JSON) to
 * `out`. 0 or a negative errno. */
int wedge_cli_report(const struct wedge_cli *cli, const json_t *report, int exit_status, FILE *out,
                     struct wedge_err *err);

/* A duration option's argument in ns; ends with a usage error naming the option. */
int64_t wedge_cli_duration(struct argp_state *state, const char *option, const char *text);
/* A number from 1 to `most`; ends with a usage error. */
long wedge_cli_number(struct argp_state *state, const char *option, const char *text, long most);
/* An argument of --record; ends with a usage error. */
enum wedge_record wedge_cli_record(struct argp_state *state, const char *text);
/* A pid argument; ends with a usage error. */
pid_t wedge_cli_pid(struct argp_state *state, const char *text);

/* PREFIX of this installation or build tree: the folder above bin/. NULL and *err set when it cannot be told. */
const char *wedge_cli_prefix(struct wedge_err *err);
const char *wedge_cli_scenarios(struct wedge_err *err);

/* The verbs: argv[0] is "wedge VERB". Each returns the exit status. */
int wedge_cli_run(int argc, char **argv);
int wedge_cli_watch(int argc, char **argv);
int wedge_cli_dump(int argc, char **argv);
int wedge_cli_inject(int argc, char **argv);
int wedge_cli_ctl(int argc, char **argv);
int wedge_cli_census(int argc, char **argv);
int wedge_cli_list(int argc, char **argv);
int wedge_cli_pool(int argc, char **argv);
int wedge_cli_history(int argc, char **argv);
int wedge_cli_new(int argc, char **argv);

#endif
