/* wedge: one verb a file; this one finds it. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const struct {
    const char *name, *arguments, *what;
    int (*main)(int argc, char **argv);
    int usage_status;
} verbs[] = {
    {"run", "[NAME|FILE ...]", "play scenarios: each hang, its cured twin, the hardened check", wedge_cli_run,
     WEDGE_EXIT_USAGE},
    {"watch", "[-p PID | -- CMD ...]", "watch a command; on a hang explain, report, end the tree", wedge_cli_watch,
     WEDGE_EXIT_OWN_FAILURE},
    {"dump", "PID ...", "explain now who waits for whom, with stacks", wedge_cli_dump, WEDGE_EXIT_USAGE},
    {"inject", "-f PLAN -- CMD ...", "run a command under a plan of faults, no verdict", wedge_cli_inject,
     WEDGE_EXIT_OWN_FAILURE},
    {"ctl", "RUN [COMMAND ...]", "arm, disarm, release, count the rules of a run", wedge_cli_ctl, WEDGE_EXIT_USAGE},
    {"census", "-- CMD ...", "list every place that a fault could go to", wedge_cli_census, WEDGE_EXIT_OWN_FAILURE},
    {"pool", "[PID]", "show the figures of a running pool, or list pools", wedge_cli_pool, WEDGE_EXIT_USAGE},
    {"history", "[PATTERN ...]", "show how the runs before went: which check is flaky, and since when",
     wedge_cli_history, WEDGE_EXIT_USAGE},
    {"new", "NAME -- CMD ...", "write a scenario of your own command, to be filled in", wedge_cli_new,
     WEDGE_EXIT_USAGE},
    {"list", "", "show scenarios, actions and verdicts", wedge_cli_list, WEDGE_EXIT_USAGE},
};
enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static void help(FILE *out)
{
    fputs("Usage: wedge VERB [OPTION ...] [ARGUMENT ...]\n"
          "Makes hangs reproducible, explains them, keeps them from coming back.\n\n",
          out);
    for (size_t i = 0; i < VERBS; i++)
        fprintf(out, "  %-7s %-22s %s\n", verbs[i].name, verbs[i].arguments, verbs[i].what);
    fputs("\nExamples:\n"
          "  wedge watch -- ./test          end a hanging test in a second, and say who waits for whom\n"
          "  wedge dump 4711                explain a stuck process; nothing is left stopped\n"
          "  wedge run 1.1a                 play one hang of the hang report, its twin and the hardened check\n\n"
          "`wedge VERB --help` shows a verb's options. Manual: wedge(1).\n",
          out);
}

/* What was printed and did not arrive is wedge's failure, whatever else came of it; a hang stays a hang. */
static int printed(int status, int failed)
{
    struct wedge_err err;
    int code = fflush(stdout) ? errno : ferror(stdout) ? EIO : 0;
    if (code == 0 || status == failed)
        return status;
    wedge_err_set(&err, -code, "cannot write to standard output: %s", strerror(code));
    wedge_cli_error(&err);
    return status == WEDGE_EXIT_HANG ? status : failed;
}

static int unknown(const char *word)
{
    const char *names[VERBS + 1] = {NULL};
    struct wedge_err err;
    for (size_t i = 0; i < VERBS; i++)
        names[i] = verbs[i].name;
    wedge_err_input(&err, NULL, 0, 0, "unknown verb '%s'", word);
    const char *near = wedge_err_nearest(word, names);
    if (near)
        wedge_err_remedy(&err, "did you mean '%s'?", near);
    else
        wedge_err_remedy(&err, "`wedge --help` shows the verbs");
    return wedge_cli_error(&err);
}

/* A standard stream that we were started without stays unusable, but its number must not become that of a file of
 * ours: what is printed would end up there. Closed again at exec, so that a command finds what it would have found. */
static void occupy_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

int main(int argc, char **argv)
{
    /* Reports come and go in one piece: what is given back to the kernel is asked for again at once (5 % of a dump of ten
     * thousand threads). */
    mallopt(M_TOP_PAD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    occupy_standard_streams();
    if (argc < 2) {
        help(stderr);
        return WEDGE_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help(stdout);
        return WEDGE_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("wedge %s\n", WEDGE_VERSION);
        return WEDGE_EXIT_OK;
    }
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(argv[1], verbs[i].name) != 0)
            continue;
        static char name[32];
        snprintf(name, sizeof(name), "wedge %s", verbs[i].name);
        argv[1] = name;
        argp_err_exit_status = verbs[i].usage_status;
        int failed = verbs[i].usage_status == WEDGE_EXIT_USAGE ? WEDGE_EXIT_FAILED : verbs[i].usage_status;
        return printed(verbs[i].main(argc - 1, argv + 1), failed);
    }
    return unknown(argv[1]);
}
