/*
 * Who works: filling the seats, hearing of each end, and when to stop filling them. The supervisor's thread alone, which
 * is the only one that touches the seats of a pool with a supervisor.
 *
 *   EMPTY -- ask --> ASKED -- the zygote has forked (or a group was started) --> ALIVE -- the kernel says: gone --> REAPING
 *     ^                |  could not be made                                                                           |
 *     +----------------+----------------------------------- reaped: its status is known ------------------------------+
 *
 * What a worker held is settled on the way to REAPING, not later: the zygote may be slow, stopped or dead by then.
 */
#ifndef WEDGE_POOL_CREW_H
#define WEDGE_POOL_CREW_H

#include "pool/pool.h"
#include "pool/threads.h"
#include "pool/zygote.h"

struct wedge_crew {
    struct wedge_pool *pool;
    int epoll; /* the supervisor's; a worker's descriptor is in it with its seat's index as data */
    struct wedge_zygote zygote; /* pid 0: workers=threads, or it has not been started */
    struct wedge_group *groups[WEDGE_POOL_PROCESSES_MAX];
    bool zygote_gone;
    int64_t heard_ns; /* when the zygote last said something, or was first told something after it owed nothing */
    int64_t suspected_ns; /* it has been silent for too long; when that was seen first; 0: no */
    bool breaker_open; /* nobody is started any more */
    bool died_starting; /* so did the last one that died */
    uint32_t streak; /* deaths in a row */
    uint64_t finished_at_death; /* wedge_board_finished then */
    int64_t last_death_ns, restart_ns;
};

/* Starts the zygote, if the pool has one, before any thread of the pool's exists. */
int wedge_crew_start(struct wedge_crew *crew, struct wedge_pool *pool);
/* Ends the zygote. Takes one that was not started. */
void wedge_crew_end(struct wedge_crew *crew);

/* The descriptor of this seat is readable. */
void wedge_crew_seat_event(struct wedge_crew *crew, uint32_t index);
/* The zygote's socket is readable. */
void wedge_crew_hear_zygote(struct wedge_crew *crew);

/* Fills the seat when it is empty and may be filled (wanted: the pool has use for it). Returns when to come again. */
int64_t wedge_crew_fill(struct wedge_crew *crew, uint32_t index, bool wanted, int64_t now_ns);
/* Ends a zygote that owes an answer and is silent. Returns when to come again. */
int64_t wedge_crew_tend_zygote(struct wedge_crew *crew, int64_t now_ns);
/* Ends whoever sits there: at once, or, with workers=threads, after what is in hand. */
void wedge_crew_end_seat(struct wedge_crew *crew, uint32_t index);

/* Whether its descriptors are what they were: looks at each. */
bool wedge_crew_has_its_files(const struct wedge_crew *crew);
/* Somebody else in the process has closed the pool's descriptors (closefrom(3)), or has files of his own under their numbers:
 * nobody can be watched any more, nor started. Ends everyone, touches none of the numbers. */
void wedge_crew_blinded(struct wedge_crew *crew);

/* Whether any seat is not EMPTY; whether some seat may still be filled. */
bool wedge_crew_any(const struct wedge_crew *crew);
bool wedge_crew_can_grow(const struct wedge_crew *crew);

#endif
