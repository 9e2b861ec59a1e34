/* The second pass, and whether anybody was born between the first and the second. */
#ifndef WEDGE_DETECTOR_COMPARE_H
#define WEDGE_DETECTOR_COMPARE_H

#include "detector/look/look.h"

/* Before the first list of the first pass. */
void wedge_compare_begin(struct wedge_look *look);
/* The last number that was given to a process or thread; 0 not known. */
uint64_t wedge_compare_last_born(void);
/* For certain nobody was born on the machine since then. */
bool wedge_compare_is_barren(const struct wedge_look *look);
/* After all that was read of waits: marks threads that moved, and notes whether the tree is another one. 0, or a negative
 * errno when the machine's processes cannot be read. */
int wedge_compare(struct wedge_look *look);

#endif
