/* How far a run of many pieces is: on a terminal a bar with counts and the time left, in one line of standard error; elsewhere, where
 * asked for, a line every ten seconds. Nothing with --quiet. */
#ifndef WEDGE_CLI_BAR_H
#define WEDGE_CLI_BAR_H

#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

struct wedge_cli_bar {
    const struct wedge_cli *cli;
    const char *what; /* "checks" */
    size_t all;
    int64_t began_ns;
    bool lines; /* plain lines where there is no terminal */
    int64_t line_ns; /* the last of them */
};

/* `done` of bar->all are; `bad` of these are not as they should be (0: not told). */
void wedge_cli_bar_show(struct wedge_cli_bar *bar, size_t done, size_t bad);
/* Makes room for a line of output, or for the end. */
void wedge_cli_bar_wipe(const struct wedge_cli_bar *bar);

#endif
