/* wedge pool [PID]: the figures of pools in other processes, read from outside. Nobody is stopped, nothing is started. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/pool_page.h"
#include "pool/board_read.h"
#include "pool/openmetrics.h"

enum { KEY_OPENMETRICS = 600, KEY_ALL, MOST_POOLS = 256, MOST_TEXT = 64 << 20 };

struct options {
    struct wedge_cli cli;
    pid_t pid; /* 0: all */
    int64_t watch_ns; /* 0: once */
    bool openmetrics;
    bool all;
};

/* A pool that is being looked at, and its last good reading. */
struct subject {
    struct wedge_board_source source;
    struct wedge_board *board;
    struct wedge_figures figures;
    struct wedge_pool_page page;
};
struct subjects {
    struct subject all[MOST_POOLS];
    size_t n;
};

static const struct argp_option options[] = {
    {"watch", 'w', "INTERVAL", OPTION_ARG_OPTIONAL,
     "Show the figures again each INTERVAL (1s) until the pool has ended or Ctrl-C", 0},
    {"all", KEY_ALL, NULL, 0, "Show every thread, not only the twenty that say most", 0},
    {"openmetrics", KEY_OPENMETRICS, NULL, 0, "Print the figures as OpenMetrics text, for Prometheus", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->cli;
        return 0;
    case 'w':
        o->watch_ns = arg ? wedge_cli_duration(state, "--watch", arg) : WEDGE_NS_PER_S;
        return 0;
    case KEY_ALL:
        o->all = true;
        return 0;
    case KEY_OPENMETRICS:
        o->openmetrics = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->pid)
            argp_error(state, "one process at a time, or none for all");
        o->pid = wedge_cli_pid(state, arg);
        return 0;
    case ARGP_KEY_END:
        if (o->openmetrics + o->cli.json + (o->watch_ns != 0) > 1)
            argp_error(state, "--watch, --openmetrics and --json exclude each other");
        if (o->all && (!o->pid || o->openmetrics || o->cli.json))
            argp_error(state, "--all is for the page of a process, as in `wedge pool --all 4711`");
        if (o->watch_ns && !o->pid)
            argp_error(state, "--watch needs a process, as in `wedge pool --watch 4711`");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    "[PID]",
    "Shows the figures of the pools (libwedge-pool) of process PID, which may be a worker, "
    "or lists the pools of all processes that you may read. Nothing is stopped or slowed "
    "down. Exit status: 0 shown, 2 bad usage, 3 there is none or it could not be read."
    "\vExamples:\n  wedge pool $(pgrep -o my-server)\n  wedge pool --watch=500ms 4711\n"
    "  wedge pool --openmetrics > /var/lib/prometheus/node-exporter/wedge-pool.prom",
    wedge_cli_children,
    NULL,
    NULL};

static void close_all(struct subjects *subjects)
{
    for (size_t i = 0; i < subjects->n; i++) {
        wedge_board_source_close(&subjects->all[i].source);
        free(subjects->all[i].board);
    }
    free(subjects);
}

/* NULL with *err filled. */
static struct subjects *find(const struct options *o, struct wedge_err *err)
{
    struct wedge_board_source sources[MOST_POOLS];
    struct subjects *subjects = calloc(1, sizeof(*subjects));
    if (!subjects) {
        wedge_err_set(err, -ENOMEM, "no memory for the pools");
        return NULL;
    }
    int n =
        o->pid ? wedge_boards_find(o->pid, sources, MOST_POOLS, err) : wedge_boards_find_all(sources, MOST_POOLS, err);
    if (n < 0) {
        free(subjects);
        return NULL;
    }
    subjects->n = (size_t)n;
    for (int i = 0; i < n; i++)
        subjects->all[i].source = sources[i];
    return subjects;
}

static int read_one(const struct options *o, struct subject *subject, struct wedge_err *err)
{
    int rc = wedge_board_read(&subject->source, &subject->board, err);
    if (rc < 0)
        return rc;
    wedge_board_figures(subject->board, &subject->figures);
    subject->page = (struct wedge_pool_page){.board = subject->board,
                                             .figures = &subject->figures,
                                             .now_ns = wedge_clock_ns(),
                                             .parent = wedge_board_parent(&subject->source, subject->board),
                                             .found_in = subject->source.found_in,
                                             .color = o->cli.color,
                                             .all = o->all};
    return 0;
}

/* Of one process all must be readable; of all processes those that are not are left out. */
static int read_all(const struct options *o, struct subjects *subjects, struct wedge_err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < subjects->n; i++) {
        struct subject subject = subjects->all[i];
        int rc = read_one(o, &subject, err);
        if (rc < 0 && o->pid) {
            if (!err->remedy[0])
                wedge_err_remedy(err, "try again; the process may be starting or ending");
            return rc;
        }
        if (rc < 0) {
            wedge_cli_say(&o->cli, "a pool of process %d is left out: %s", (int)subject.source.found_in, err->message);
            wedge_board_source_close(&subject.source);
            free(subject.board);
            continue;
        }
        subjects->all[kept] = subject;
        subjects->all[kept].page.figures = &subjects->all[kept].figures;
        kept++;
    }
    subjects->n = kept;
    return 0;
}

static void write_openmetrics(const struct subjects *subjects, struct wedge_text *out)
{
    struct wedge_openmetrics_pool *pools = calloc(subjects->n + 1, sizeof(*pools));
    if (!pools) {
        out->cut = true;
        return;
    }
    for (size_t i = 0; i < subjects->n; i++)
        pools[i] =
            (struct wedge_openmetrics_pool){.board = subjects->all[i].board, .figures = subjects->all[i].figures};
    wedge_openmetrics_write(pools, subjects->n, out);
    free(pools);
}

static void write_json(const struct subjects *subjects, struct wedge_text *out)
{
    json_t *pools = json_array();
    for (size_t i = 0; i < subjects->n; i++)
        json_array_append_new(pools, wedge_pool_page_json(&subjects->all[i].page));
    json_t *all = json_pack("{s:s,s:o}", "schema", "wedge.pool/1", "pools", pools);
    char *text = all ? json_dumps(all, JSON_INDENT(2)) : NULL;
    if (text) {
        wedge_text_add(out, text);
        wedge_text_add(out, "\n");
    } else {
        out->cut = true;
    }
    free(text);
    json_decref(all);
}

static void write_pages(const struct options *o, const struct subjects *subjects, struct wedge_text *out)
{
    if (!o->pid) {
        wedge_text_add(out, subjects->n ? "    PID Pool         State        Queue Workers Finished Alarms\n"
                                        : "There is no pool in any process that you may read.\n");
        for (size_t i = 0; i < subjects->n; i++)
            wedge_pool_page_line(&subjects->all[i].page, out);
        return;
    }
    for (size_t i = 0; i < subjects->n; i++) {
        if (i > 0)
            wedge_text_add(out, "\n");
        wedge_pool_page_write(&subjects->all[i].page, out);
    }
}

static int print(const struct options *o, const struct subjects *subjects, struct wedge_err *err)
{
    struct wedge_text text = WEDGE_TEXT_INIT(MOST_TEXT);
    if (o->openmetrics)
        write_openmetrics(subjects, &text);
    else if (o->cli.json)
        write_json(subjects, &text);
    else
        write_pages(o, subjects, &text);
    int rc = text.cut ? wedge_err_set(err, -ENOMEM, "no memory for the text") : 0;
    if (rc == 0)
        fputs(text.data, stdout);
    wedge_text_free(&text);
    return rc;
}

/* On a terminal over the page before, as many lines as it has; else one page after the other. */
static int print_again(const struct options *o, const struct subjects *subjects, struct wedge_err *err)
{
    struct wedge_text text = WEDGE_TEXT_INIT(MOST_TEXT);
    struct winsize size = {0};
    bool terminal = isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2;
    write_pages(o, subjects, &text);
    if (text.cut) {
        wedge_text_free(&text);
        return wedge_err_set(err, -ENOMEM, "no memory for the text");
    }
    if (terminal)
        fputs("\033[H", stdout);
    const char *line = text.data;
    for (int row = 1; *line && (!terminal || row < size.ws_row); row++) {
        size_t len = strcspn(line, "\n");
        printf("%.*s%s\n", (int)len, line, terminal ? "\033[K" : "");
        line += len + (line[len] == '\n');
    }
    if (terminal)
        printf("\033[J%s", *line ? "… the window is too low for the rest" : "");
    else
        putchar('\n');
    wedge_text_free(&text);
    return fflush(stdout) ? wedge_err_set(err, -errno, "cannot write: %s", strerror(errno)) : 0;
}

static bool all_ended(const struct subjects *subjects)
{
    for (size_t i = 0; i < subjects->n; i++)
        if (!wedge_pool_page_is_last(&subjects->all[i].page))
            return false;
    return true;
}

/* Until each pool has ended. Ctrl-C is how one leaves: it is taken as a signal that was waited for, between two pages. */
static int watch(const struct options *o, struct subjects *subjects, struct wedge_err *err)
{
    struct timespec interval = {.tv_sec = o->watch_ns / WEDGE_NS_PER_S, .tv_nsec = o->watch_ns % WEDGE_NS_PER_S};
    sigset_t ends;
    int rc = 0, got = 0;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    if (isatty(STDOUT_FILENO))
        fputs("\033[2J", stdout);
    while (rc == 0 && got <= 0) {
        rc = print_again(o, subjects, err);
        if (rc < 0 || all_ended(subjects))
            break;
        got = sigtimedwait(&ends, NULL, &interval);
        if (got <= 0)
            rc = read_all(o, subjects, err);
    }
    if (isatty(STDOUT_FILENO))
        putchar('\n');
    return rc;
}

int wedge_cli_pool(int argc, char **argv)
{
    struct options o = {0};
    struct wedge_err err = {0};
    wedge_cli_defaults(&o.cli);
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    struct subjects *subjects = find(&o, &err);
    if (!subjects)
        return wedge_cli_error(&err);
    int rc = read_all(&o, subjects, &err);
    if (rc == 0)
        rc = o.watch_ns ? watch(&o, subjects, &err) : print(&o, subjects, &err);
    close_all(subjects);
    return rc < 0 ? wedge_cli_error(&err) : WEDGE_EXIT_OK;
}
