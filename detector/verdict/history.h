/*
 * What earlier examinations of the same tree saw of its threads: how long each has been where it is, and whether it did
 * anything but time out and ask again. Some verdicts can be given by several examinations alone: a thread that polls for
 * ever is live at every one of them.
 *
 * Lives in memory that is shared with the disposable children which examine; nothing in it is a pointer, and the parent
 * believes nothing of it. An examination that ends half-way leaves the one before as it was: two tables, of which
 * `current` says which one counts, written last. Bounded: threads beyond the table are not remembered, and what is
 * not remembered counts as live.
 */
#ifndef WEDGE_DETECTOR_HISTORY_H
#define WEDGE_DETECTOR_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct wedge_look;
struct wedge_look_thread;
struct wedge_history;

/* NULL: no memory. Taken by wedge_history_free, which takes NULL. */
struct wedge_history *wedge_history_new(void);
void wedge_history_free(struct wedge_history *history);

/* Examinations in a row after which a thread that did nothing new counts as one that does nothing new. */
#define WEDGE_HISTORY_ROUNDS 3

/* Before the graph: fills in what look_thread has of history (rounds, asleep_ns, ran_ns and on, inert). Nothing
 * without options->history. */
void wedge_history_recall(struct wedge_look *look);
/* It used the processor whenever it had it, since the tree's last progress; false as well where that is not known. */
bool wedge_history_burns(const struct wedge_look_thread *own);
/* At the end of an examination that went well. */
void wedge_history_remember(struct wedge_look *look);

#endif
