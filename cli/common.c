#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/text.h"
#include "cli/cli.h"
#include "reports/report.h"
#include "reports/write.h"

enum { KEY_JSON = 512, KEY_COLOR, KEY_REDACT };
static const struct argp_option options[] = {
    {"json", KEY_JSON, NULL, 0, "Print the report as JSON (wedge.report/2) on standard output, and nothing else there",
     0},
    {"output", 'o', "DIR", 0, "Where reports go (wedge-out)", 0},
    {"quiet", 'q', NULL, 0, "Say only what went wrong", 0},
    {"verbose", 'v', NULL, 0, "Say more", 0},
    {"color", KEY_COLOR, "WHEN", 0, "always, never or auto (auto; NO_COLOR is honoured)", 0},
    {"redact", KEY_REDACT, NULL, 0, "Leave arguments of commands and their last output out of reports", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct wedge_cli *cli = state->input;
    switch (key) {
    case KEY_JSON:
        cli->json = true;
        return 0;
    case KEY_REDACT:
        wedge_report_redact();
        return 0;
    case 'o':
        if (!*arg)
            argp_error(state, "-o needs the name of a folder");
        cli->dir = arg;
        cli->dir_given = true;
        return 0;
    case 'q':
        cli->quiet = true;
        return 0;
    case 'v':
        cli->verbose = true;
        return 0;
    case KEY_COLOR:
        if (strcmp(arg, "always") == 0)
            cli->color = true;
        else if (strcmp(arg, "never") == 0)
            cli->color = false;
        else if (strcmp(arg, "auto") != 0)
            argp_error(state, "--color takes always, never or auto, not '%s'", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}
static const struct argp common = {options, parse, NULL, NULL, NULL, NULL, NULL};
const struct argp_child wedge_cli_children[] = {{&common, 0, "Common options:", 1}, {0}};

void wedge_cli_defaults(struct wedge_cli *cli)
{
    const char *no_color = getenv("NO_COLOR"); /* any non-empty value, no-color.org */
    *cli = (struct wedge_cli){.dir = "wedge-out", .color = isatty(STDOUT_FILENO) && !(no_color && *no_color)};
}

int wedge_cli_error(const struct wedge_err *err)
{
    char text[1200], plain[2400];
    fprintf(stderr, "wedge: %s\n", wedge_text_plain(wedge_err_text(err, text, sizeof(text)), plain, sizeof(plain)));
    return err->class == WEDGE_ERR_INPUT ? WEDGE_EXIT_USAGE : WEDGE_EXIT_FAILED;
}

int wedge_cli_folder(const struct wedge_cli *cli, struct wedge_err *err)
{
    int fd, rc = wedge_report_open_dir(cli->dir, &fd, err);
    if (rc)
        return rc;
    if (faccessat(fd, ".", W_OK, AT_EACCESS)) {
        rc = wedge_err_set(err, -errno, "cannot write into the folder %s: %s", cli->dir, strerror(errno));
        wedge_err_remedy(err, "choose another folder with -o");
    }
    close(fd);
    return rc;
}

void wedge_cli_say(const struct wedge_cli *cli, const char *fmt, ...)
{
    va_list ap;
    if (cli->quiet)
        return;
    char text[1200], plain[2400];
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fprintf(stderr, "wedge: %s\n", wedge_text_plain(text, plain, sizeof(plain)));
}

int64_t wedge_cli_duration(struct argp_state *state, const char *option, const char *text)
{
    int64_t ns = 0;
    if (wedge_duration_parse(text, &ns) || ns <= 0)
        argp_error(state, "%s takes a duration such as 500ms, 30s or 2min, not '%s'", option, text);
    return ns;
}

long wedge_cli_number(struct argp_state *state, const char *option, const char *text, long most)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (*end || end == text || errno || value < 1 || value > most)
        argp_error(state, "--%s takes a number from 1 to %ld, not '%s'", option, most, text);
    return value;
}

enum wedge_record wedge_cli_record(struct argp_state *state, const char *text)
{
    static const char *const words[] = {
        [WEDGE_RECORD_NOTHING] = "nothing", [WEDGE_RECORD_PLACES] = "places", [WEDGE_RECORD_CALLS] = "calls"};
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(text, words[i]) == 0)
            return (enum wedge_record)i;
    argp_error(state, "--record takes calls, places or nothing, not '%s'", text);
    return WEDGE_RECORD_NOTHING;
}

pid_t wedge_cli_pid(struct argp_state *state, const char *text)
{
    char *end;
    errno = 0;
    long pid = strtol(text, &end, 10);
    if (errno || *end || end == text || pid <= 0 || pid > INT_MAX)
        argp_error(state, "'%s' is not a process number", text);
    return (pid_t)pid;
}

const char *wedge_cli_prefix(struct wedge_err *err)
{
    static char prefix[PATH_MAX];
    if (prefix[0])
        return prefix;
    ssize_t n = readlink("/proc/self/exe", prefix, sizeof(prefix) - 1);
    char *slash = NULL;
    if (n > 0) {
        prefix[n] = 0;
        for (int up = 0; up < 2 && (slash = strrchr(prefix, '/')); up++)
            *slash = 0;
    }
    if (slash)
        return prefix;
    prefix[0] = 0;
    wedge_err_set(err, -ENOENT, "cannot tell where wedge is installed");
    wedge_err_remedy(err, "mount /proc, and start wedge by its path");
    return NULL;
}

const char *wedge_cli_scenarios(struct wedge_err *err)
{
    static char dir[PATH_MAX + 32];
    const char *given = getenv("WEDGE_SCENARIOS");
    if (given && *given)
        return given;
    const char *prefix = wedge_cli_prefix(err);
    if (!prefix)
        return NULL;
    snprintf(dir, sizeof(dir), "%s/share/wedge/scenarios", prefix);
    return dir;
}
