/* wedge run --ablate PRESET: the matrix cures × scenarios, see scenarios/ablation.h. */
#ifndef WEDGE_CLI_ABLATE_H
#define WEDGE_CLI_ABLATE_H

#include <signal.h>

#include "cli/cli.h"
#include "scenarios/playing.h"
#include "scenarios/scenario.h"

struct wedge_cli_ablate {
    const struct wedge_cli *cli;
    const char *preset;
    struct wedge_scenario *const *scenarios;
    size_t n;
    long rounds;
    unsigned at_once;
    bool keep_going;
    const sigset_t *mask; /* as in struct wedge_playing */
};

/* Plays the cells and writes DIR/result.json and DIR/ablation.html as it goes. Returns the exit status: 0 all were played, whatever came of
 * them; 3; 128+N. */
int wedge_cli_ablate(const struct wedge_cli_ablate *ablate);

#endif
