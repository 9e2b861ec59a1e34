/* A report on its way out: files into the folder, words or JSON onto a stream. */
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "reports/dump.h"
#include "reports/write.h"

int wedge_cli_report(const struct wedge_cli *cli, const json_t *report, int exit_status, FILE *out,
                     struct wedge_err *err)
{
    struct wedge_report_text_options text = {.color = cli->color, .all_threads = cli->verbose};
    const int unsaved = wedge_report_write_all(cli->dir, report, exit_status, err);
    int rc = 0;
    /* A full disk must not keep back what was found out: to say it is what there is left to do. */
    if (cli->json && wedge_report_dump_file(report, out))
        rc = wedge_err_set(unsaved ? NULL : err, -EIO, "cannot write the report to standard output");
    else if (!cli->json && (!cli->quiet || exit_status))
        rc = wedge_report_write_text(report, out, &text, unsaved ? NULL : err);
    if (!rc && !unsaved && !cli->quiet && !cli->json)
        fprintf(out, "\nreport: %s/report.html\n", cli->dir);
    return unsaved ? unsaved : rc;
}
