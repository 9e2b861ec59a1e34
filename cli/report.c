/* A report on its way out: files into the folder, words or JSON onto a stream. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "reports/dump.h"
#include "reports/write.h"

/* The words for a person: they are made while the files are written. */
struct words {
    const struct wedge_cli *cli;
    const json_t *report;
    int rc;
    struct wedge_err err;
    char *text;
    size_t len;
};

static void tell(void *arg)
{
    struct words *w = arg;
    const struct wedge_report_text_options options = {.color = w->cli->color, .all_threads = w->cli->verbose};
    FILE *memory = open_memstream(&w->text, &w->len);
    w->rc = memory ? wedge_report_write_text(w->report, memory, &options, &w->err)
                   : wedge_err_set(&w->err, -ENOMEM, "no memory for the report as text");
    if (memory && fclose(memory) && !w->rc)
        w->rc = wedge_err_set(&w->err, -ENOMEM, "no memory for the report as text");
}

int wedge_cli_report(const struct wedge_cli *cli, const json_t *report, int exit_status, FILE *out,
                     struct wedge_err *err)
{
    struct words words = {.cli = cli, .report = report};
    struct wedge_err save_err;
    const bool wanted = !cli->json && (!cli->quiet || exit_status);
    int unsaved = 0;
    if (cli->dir)
        unsaved = wedge_report_write_all(cli->dir, report, exit_status, wanted ? tell : NULL, &words, &save_err);
    else if (wanted)
        tell(&words);
    /* A full disk must not keep back what was found out: to say it is what there is left to do. */
    int rc = unsaved ? unsaved : words.rc;
    if (rc && err)
        *err = unsaved ? save_err : words.err;
    if (cli->json && out && wedge_report_dump_file(report, out) && !rc)
        rc = wedge_err_set(err, -EIO, "cannot write the report to standard output");
    if (wanted && !words.rc && (fwrite(words.text, 1, words.len, out) != words.len || fflush(out)) && !rc)
        rc = wedge_err_set(err, -EIO, "cannot print the report: %s", strerror(errno));
    if (!rc && cli->dir && !cli->quiet && !cli->json)
        fprintf(out, "\nreport: %s/report.html\n", cli->dir);
    free(words.text);
    return rc;
}
