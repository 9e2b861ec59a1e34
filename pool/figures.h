/*
 * What the board's figures add up to: one computation for wedge_pool_stats, for the alarms, and for readers from outside,
 * so that none of them can say something else. All take a board in any memory: the live one, or a reader's copy whose
 * header was checked (board_read.h). Nothing here writes, locks or allocates.
 */
#ifndef WEDGE_POOL_FIGURES_H
#define WEDGE_POOL_FIGURES_H

#include "pool/board.h"

/* Results that workers handed in, of all threads: each is read by itself. */
uint64_t wedge_board_finished(const struct wedge_board *board);
/* Cheap: no histogram is read. */
void wedge_board_stats(const struct wedge_board *board, struct wedge_pool_stats *ret);

struct wedge_figures {
    struct wedge_pool_stats stats;
    double share_finished; /* of the accepted, 0 to 1; 1 with none accepted */
    unsigned putters_waiting;
    uint64_t events, events_lost;
    struct wedge_times run; /* all threads' tasks, from claim to result */
    struct wedge_times put_wait; /* of the puts that waited */
};
void wedge_board_figures(const struct wedge_board *board, struct wedge_figures *ret);

/* What a thread does, as one reader saw it. */
struct wedge_board_activity {
    enum wedge_doing doing;
    int64_t since_ns, until_ns;
    uint64_t task, finished;
};
void wedge_board_activity(const struct wedge_board_thread *thread, struct wedge_board_activity *ret);
/* "idle", "task", …; "?" for what a board of another maker may hold. Static. */
const char *wedge_doing_name(uint32_t doing);
const char *wedge_stage_name(uint32_t stage);
const char *wedge_phase_name(uint32_t phase);

#endif
