/*
 * Processes that have one memory (clone(2) with CLONE_VM and without CLONE_THREAD): parent and child, and no less two children
 * of somebody else. A private futex of the one is a private futex of the other.
 *
 * kcmp(2) puts memories in an order, so that whoever has the same one stands side by side in a sorted list. Only processes
 * with the same top of the stack are asked: it belongs to the memory, fork(2) copies it, execve(2) draws another one.
 */
#ifndef WEDGE_DETECTOR_KIN_H
#define WEDGE_DETECTOR_KIN_H

#include "detector/look/look.h"

/* 0 different, 1 the same, -1 nobody knows. */
int wedge_kin_same(pid_t a, pid_t b);
/* Everyone who may have the memory of `pid`, itself included: a slice of a list that is made once a round. NULL: not known (no
 * memory for it, or `pid` cannot be asked). */
const pid_t *wedge_kin_of(struct wedge_look *look, pid_t pid, size_t *ret_n);
void wedge_kin_forget(struct wedge_look *look);

#endif
