/*
 * Alarms that the kernel shows nowhere: alarm(2) and setitimer(ITIMER_REAL) leave no trace in /proc (timers lists POSIX
 * timers alone; itrealvalue of stat has been 0 since Linux 2.6.17, proc(5)). An alarm that nobody ignores runs a
 * handler, which may post, unlock or exit, or ends the process.
 *
 * What can be known is whether a program could have armed one: a dynamic executable or library that calls alarm()
 * names it among its undefined symbols. A static program is asked for the function itself, and one without symbols
 * could have anything. What this leaves out (a raw system call, dlsym, an alarm armed before exec, which keeps it:
 * execve(2)) stays with the assumption that nobody outside kills; fork disarms alarms (fork(2)).
 */
#ifndef WEDGE_DETECTOR_ALARM_H
#define WEDGE_DETECTOR_ALARM_H

#include "detector/look/look.h"

struct wedge_alarm_cache; /* by file; owned by the examination */
void wedge_alarm_cache_free(struct wedge_alarm_cache *cache); /* takes NULL */

/* Is it known from the agent's record that the process has never armed one? The agent sees alarm(), ualarm(), setitimer()
 * and the same by syscall(2) of the program itself, whatever runs first in it; not of every library: the loader may bind one past
 * the agent (RTLD_DEEPBIND, dlmopen), so that one that calls alarms counts as having done it. An alarm outlives exec and not
 * fork, so that the programs before count, not the parent. Reads the files that it maps. */
bool wedge_alarm_is_excluded(struct wedge_look *look, int proc);
/* Could an alarm of its own be on its way to process `proc`, and do something to it? Reads the files that it maps:
 * call it in a disposable child. */
bool wedge_alarm_possible(struct wedge_look *look, int proc);

/* Has it made a timer (timer_create(2)) whose signal does something to it: runs a handler, which may unlock or leave, or ends
 * it? Whether one is armed /proc does not show. */
bool wedge_alarm_by_timer(const struct wedge_look *look, int proc);

/* Has the process a descriptor for which the kernel sends a signal: when something can be read or written, or somebody opens a
 * file that it has a lease on (O_ASYNC, fcntl(2)), when urgent data come, or when something happens in a folder? The signal may
 * be of its choice (F_SETSIG), and goes to whom it chose (F_SETOWN), which /proc does not show. Whoever is at the other end
 * would have a handler run, and waits for nothing that is seen. Asked once of each process. */
bool wedge_alarm_by_descriptor(struct wedge_look *look, int proc);

/* Could it have asked to be the parent of whoever is orphaned below it (PR_SET_CHILD_SUBREAPER, prctl(2))? Nothing in /proc tells
 * who did; one of its modules would have to call prctl(), or to be static. As with alarms, what it was before exec is left out. Reads
 * the files that it maps. */
bool wedge_alarm_adopts(struct wedge_look *look, int proc);

/* Does this file call alarm(), ualarm() or setitimer(), as far as its symbols tell? One that cannot be read does, and one that
 * has such functions of its own; but not a C library or a sanitizer, which offer them. */
bool wedge_alarm_is_called(int fd);

#endif
