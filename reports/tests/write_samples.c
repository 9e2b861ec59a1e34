/*
 * report-samples DIR: every sample as DIR/NAME/{report.json,report.html,report.txt,result.json}, and DIR/junit.xml.
 * For looking at (a browser, a terminal) and for the tests that other tools do: the schema, xmllint, node.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "reports/tests/samples.h"
#include "reports/write.h"

static int fail(const struct wedge_err *err)
{
    char text[1024];
    fprintf(stderr, "report-samples: %s\n", wedge_err_text(err, text, sizeof(text)));
    return EXIT_FAILURE;
}

static int write_sample(const char *dir, enum sample which, struct wedge_err *err)
{
    char path[4096];
    json_t *report = sample_report(which);
    snprintf(path, sizeof(path), "%s/%s", dir, sample_names[which]);
    int rc = wedge_report_write_dir(path, report, err);
    if (!rc)
        rc = wedge_report_write_result(path, report, 124, err);
    snprintf(path, sizeof(path), "%s/%s/report.txt", dir, sample_names[which]);
    FILE *out = rc ? NULL : fopen(path, "we");
    if (out) {
        struct wedge_report_text_options options = {.columns = 100};
        rc = wedge_report_write_text(report, out, &options, err);
        fclose(out);
    }
    json_decref(report);
    return rc;
}

int main(int argc, char **argv)
{
    struct wedge_err err = {0};
    struct wedge_junit *junit;
    if (argc != 2) {
        fprintf(stderr, "usage: report-samples DIR\n");
        return 2;
    }
    if (wedge_junit_open(argv[1], "samples", &junit, &err))
        return fail(&err);
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        if (write_sample(argv[1], (enum sample)i, &err))
            return fail(&err);
        json_t *report = sample_report((enum sample)i);
        struct wedge_junit_case result = {.name = sample_names[i],
                                          .classname = i == SAMPLE_HOSTILE ? sample_hostile_text : "samples",
                                          .seconds = 0.25 * (i + 1),
                                          .status = (enum wedge_junit_status)(i % 4),
                                          .message = wedge_report_text(report, "verdict.summary"),
                                          .details =
                                              i == SAMPLE_HOSTILE ? sample_hostile_text : "first line\nsecond line"};
        int rc = wedge_junit_add(junit, &result, &err);
        json_decref(report);
        if (rc)
            return fail(&err);
    }
    return wedge_junit_close(junit, NULL, &err) ? fail(&err) : EXIT_SUCCESS;
}
