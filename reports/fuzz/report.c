/* A report that came from outside: checked, and what passes goes through the writers. */
#include "reports/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fuzz/fuzz.h"
#include "reports/write.h"

/* Nothing but printable text, line ends and our own colours reaches a terminal. */
static void write_text(const json_t *report)
{
    char *text = NULL;
    size_t len = 0;
    struct wedge_err err = {0};
    struct wedge_report_text_options options = {.all_threads = true};
    FILE *out = open_memstream(&text, &len);
    if (!out)
        abort();
    wedge_report_write_text(report, out, &options, &err);
    fclose(out);
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\n') || text[i] == 0x7f)
            abort();
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wedge_err err = {0};
    json_error_t where;
    json_t *report = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, &where);
    if (report && wedge_report_check(report, &err) == 0)
        write_text(report);
    json_decref(report);
    return 0;
}
