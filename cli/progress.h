/*
 * "Still at it": for work that takes longer than a second and may well be over before. Nothing is printed before the first
 * second is over, and nothing at all with --quiet. On a terminal one line that counts and is wiped at the end; else a
 * line after the first second and after every tenth.
 *
 * Uses SIGALRM and the interval timer of the process, which is single-threaded; calls that block meanwhile see EINTR.
 */
#ifndef WEDGE_CLI_PROGRESS_H
#define WEDGE_CLI_PROGRESS_H

#include "cli/cli.h"

void wedge_cli_progress_begin(const struct wedge_cli *cli, const char *what);
void wedge_cli_progress_end(void);

#endif
