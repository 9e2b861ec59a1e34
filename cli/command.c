#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "reports/write.h"

enum { LARGEST_PLAN = 1 << 20 };

error_t wedge_cli_parse_launch(int key, char *arg, struct argp_state *state, struct wedge_cli_launch *launch)
{
    switch (key) {
    case WEDGE_CLI_PLAN:
        launch->plan = arg;
        return 0;
    case WEDGE_CLI_DISARM:
        launch->disarm = arg;
        return 0;
    case WEDGE_CLI_RECORD:
        launch->record = wedge_cli_record(state, arg);
        return 0;
    case WEDGE_CLI_LIMIT:
        launch->limit_ns = wedge_cli_duration(state, "--limit", arg);
        return 0;
    case ARGP_KEY_ARGS:
        launch->command = state->argv + state->next;
        state->next = state->argc;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The compiler reads up to the first NUL: what stands behind one would be left out without a word. */
static int refuse_nul(const char *file, const struct wedge_text *text, struct wedge_err *err)
{
    const char *at = text->data, *nul = at ? memchr(at, 0, text->len) : NULL;
    int line = 1;
    if (!nul)
        return 0;
    for (const char *end; (end = memchr(at, '\n', (size_t)(nul - at))); at = end + 1)
        line++;
    return wedge_err_input(err, file, line, (int)(nul - at) + 1, "byte 0x00 has no place in a plan");
}

int wedge_cli_plan(const char *file, struct wedge_plan **ret, struct wedge_err *err)
{
    struct wedge_text text = WEDGE_TEXT_INIT(LARGEST_PLAN);
    struct stat st;
    char buf[4096];
    ssize_t n = 0;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return wedge_err_input(err, file, 0, 0, "cannot be read: %s", strerror(errno));
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        while (!text.cut && (n = read(fd, buf, sizeof(buf))) > 0)
            wedge_text_add_bytes(&text, buf, (size_t)n);
    int rc;
    if (!S_ISREG(st.st_mode) || text.cut)
        rc = wedge_err_input(err, file, 0, 0, "is not a regular file of at most 1 MiB");
    else if (n < 0)
        rc = wedge_err_input(err, file, 0, 0, "cannot be read: %s", strerror(errno));
    else if ((rc = refuse_nul(file, &text, err)) == 0)
        rc = wedge_plan_parse(file, text.data ? text.data : "", ret, err);
    close(fd);
    wedge_text_free(&text);
    return rc;
}

sigset_t wedge_cli_hold_pipe(void)
{
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigprocmask(SIG_BLOCK, &pipe, &before);
    return before;
}

void wedge_cli_streams(struct wedge_session *session, const struct wedge_cli *cli)
{
    session->stdout_fd = cli->json ? STDERR_FILENO : -1;
    session->stderr_fd = -1;
    session->copy_output = !isatty(STDOUT_FILENO) && !isatty(STDERR_FILENO);
}

/* As JSON one report is printed and no more: of a hang that is acted upon, or else what stands at the end. */
void wedge_cli_on_report(void *arg, const json_t *report, bool final)
{
    struct wedge_cli_reporter *r = arg;
    const bool json = r->cli->json;
    fflush(stdout);
    int rc = wedge_cli_report(r->cli, report, WEDGE_EXIT_HANG,
                              !json   ? stderr
                              : final ? stdout
                                      : NULL,
                              r->failed ? NULL : &r->err);
    r->failed = r->failed ? r->failed : rc;
    r->reported |= !json || final;
}

void wedge_cli_on_note(void *arg, const char *text)
{
    const struct wedge_cli_reporter *r = arg;
    wedge_cli_say(r->cli, "%s", text);
}

int wedge_cli_command_status(const struct wedge_outcome *out, const char *program)
{
    if (out->end == WEDGE_NO_EXEC) {
        char plain[512];
        fprintf(stderr, "wedge: cannot execute %s: %s\n", wedge_text_plain(program, plain, sizeof(plain)),
                strerror(out->exec_errno));
        return out->exec_errno == ENOENT ? WEDGE_EXIT_NOT_FOUND : WEDGE_EXIT_CANNOT_EXECUTE;
    }
    return out->signal ? 128 + out->signal : out->exit_status;
}

/* Output that the copier could not write is lost although the command was told that it is written. A command that
 * failed of itself keeps its status. */
static int check_output(const struct wedge_outcome *out, int status, struct wedge_err *err)
{
    if (!out->output_error)
        return 0;
    wedge_err_set(err, -out->output_error, "the command's output could not be written: %s",
                  strerror(out->output_error));
    if (status == WEDGE_EXIT_OK)
        return err->code;
    wedge_cli_error(err);
    return 0;
}

int wedge_cli_finish(struct wedge_cli_reporter *r, const struct wedge_outcome *out, int status, struct wedge_err *err)
{
    if (r->failed) {
        *err = r->err;
        return r->failed;
    }
    if (out->still_alive)
        fprintf(stderr, "wedge: %zu processes of the command could not be ended\n", out->still_alive);
    if (!r->reported && r->cli->json && json_dumpf(out->report, stdout, JSON_INDENT(2)) == 0)
        putchar('\n');
    int rc = wedge_report_write_result(r->cli->dir, out->report, status, err);
    return rc ? rc : check_output(out, status, err);
}
