#include "cli/brief.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "scenarios/verdict.h"

void wedge_cli_brief_await(void)
{
    char byte;
    ssize_t n;
    while ((n = read(STDIN_FILENO, &byte, 1)) > 0 || (n < 0 && errno == EINTR))
        ;
}

/* Texts of a report have no control characters (reports/report.h); an error's may. */
int wedge_cli_brief(const json_t *report, const struct wedge_err *err)
{
    char plain[2400];
    printf("wedge-result 1\n");
    if (report) {
        struct wedge_headline h = wedge_headline(report);
        printf("kind=%s\ncertainty=%s\nscope=%s\nhang=%d\nsignature=%s\nsummary=%s\n\n", h.kind, h.certainty, h.scope,
               h.hang, h.signature, h.summary);
        if (json_dumpf(report, stdout, JSON_COMPACT))
            return -EIO;
    } else {
        printf("error=%d\nmessage=%s\n\n", err->code, wedge_text_plain(err->message, plain, sizeof(plain)));
    }
    return fflush(stdout) ? -EIO : 0;
}
