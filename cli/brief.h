/* The answer to libwedge (detector/library/ask.h): a line each of what most callers ask for, an empty line, the report. */
#ifndef WEDGE_CLI_BRIEF_H
#define WEDGE_CLI_BRIEF_H

#include <jansson.h>

#include "base/err.h"

/* Waits until the other side says go: the end of standard input. */
void wedge_cli_brief_await(void);
/* Prints the report, or with NULL the error. 0, or -EIO when nobody takes it. */
int wedge_cli_brief(const json_t *report, const struct wedge_err *err);

#endif
