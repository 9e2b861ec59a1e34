#include "cli/bar.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/duration.h"

enum { CELLS = 20 };
#define LINE_EVERY_NS (10 * WEDGE_NS_PER_S)

void wedge_cli_bar_wipe(const struct wedge_cli_bar *bar)
{
    if (!bar->cli->quiet && isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

void wedge_cli_bar_show(struct wedge_cli_bar *bar, size_t done, size_t bad)
{
    static const char full[] = "####################", rest[] = "....................";
    char left[32], tail[64] = "", failed[48] = "";
    int64_t now = wedge_clock_ns();
    bool terminal = isatty(STDERR_FILENO);
    if (bar->cli->quiet || done >= bar->all || (!terminal && (!bar->lines || now - bar->line_ns < LINE_EVERY_NS))) {
        if (done >= bar->all)
            wedge_cli_bar_wipe(bar);
        return;
    }
    bar->line_ns = now;
    int filled = (int)(done * CELLS / bar->all);
    /* At the pace so far. */
    if (done)
        snprintf(tail, sizeof(tail), ", about %s left",
                 wedge_duration_text((now - bar->began_ns) / (int64_t)done * (int64_t)(bar->all - done), left,
                                     sizeof(left)));
    if (bad)
        snprintf(failed, sizeof(failed), ", %zu not as expected", bad);
    if (terminal)
        fprintf(stderr, "\r\033[K[%.*s%.*s] ", filled, full, CELLS - filled, rest);
    fprintf(stderr, "%zu of %zu %s%s%s%s", done, bar->all, bar->what, failed, tail, terminal ? "\r" : "\n");
}
