/* A report on its way out: files into the folder, words or JSON onto a stream. */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "reports/dump.h"
#include "reports/write.h"

int wedge_cli_report(const struct wedge_cli *cli, const json_t *report, int exit_status, FILE *out,
                     struct wedge_err *err)
{
    struct wedge_report_text_options text = {.color = cli->color, .all_threads = cli->verbose};
    int rc = wedge_report_write_all(cli->dir, report, exit_status, err);
    if (rc)
        return rc;
    if (cli->json)
        return wedge_report_dump_file(report, out)
                   ? wedge_err_set(err, -5, "cannot write the report to standard output")
                   : 0;
    if (!cli->quiet || exit_status)
        rc = wedge_report_write_text(report, out, &text, err);
    if (!rc && !cli->quiet)
        fprintf(out, "\nreport: %s/report.html\n", cli->dir);
    return rc;
}
