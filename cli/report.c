/* A report on its way out: files into the folder, words or JSON onto a stream. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/share.h"
#include "cli/cli.h"
#include "reports/dump.h"
#include "reports/write.h"

/* What is made of one report. All of it only reads the report. */
struct out {
    const struct wedge_cli *cli;
    const json_t *report;
    int exit_status, unsaved, untold;
    struct wedge_err save_err, text_err;
    bool words; /* are wanted */
    char *text;
    size_t len;
};

static void tell(struct out *o)
{
    const struct wedge_report_text_options options = {.color = o->cli->color, .all_threads = o->cli->verbose};
    FILE *memory = open_memstream(&o->text, &o->len);
    o->untold = memory ? wedge_report_write_text(o->report, memory, &options, &o->text_err)
                       : wedge_err_set(&o->text_err, -ENOMEM, "no memory for the report as text");
    if (memory && fclose(memory) && !o->untold)
        o->untold = wedge_err_set(&o->text_err, -ENOMEM, "no memory for the report as text");
}

/* wedge_share_fn: the words take half as long as the files. */
static void make_one(void *arg, size_t i)
{
    struct out *o = arg;
    if (i == 0)
        o->unsaved = wedge_report_write_all(o->cli->dir, o->report, o->exit_status, &o->save_err);
    else if (o->words)
        tell(o);
}

int wedge_cli_report(const struct wedge_cli *cli, const json_t *report, int exit_status, FILE *out,
                     struct wedge_err *err)
{
    struct out o = {
        .cli = cli, .report = report, .exit_status = exit_status, .words = !cli->json && (!cli->quiet || exit_status)};
    wedge_share(o.words ? 2 : 1, 1, make_one, &o);
    /* A full disk must not keep back what was found out: to say it is what there is left to do. */
    int rc = o.unsaved ? o.unsaved : o.untold;
    if (rc && err)
        *err = o.unsaved ? o.save_err : o.text_err;
    if (cli->json && wedge_report_dump_file(report, out) && !rc)
        rc = wedge_err_set(err, -EIO, "cannot write the report to standard output");
    if (o.words && !o.untold && (fwrite(o.text, 1, o.len, out) != o.len || fflush(out)) && !rc)
        rc = wedge_err_set(err, -EIO, "cannot print the report: %s", strerror(errno));
    if (!rc && !cli->quiet && !cli->json)
        fprintf(out, "\nreport: %s/report.html\n", cli->dir);
    free(o.text);
    return rc;
}
