/*
 * Waits: what a blocked thread waits for and who could end it. One file per kind of wait, each behind one
 * struct wedge_wait_ops.
 *
 * The rule of every decoder: what is not known for certain is live. A decoder that gives up calls
 * wedge_wait_unknown or wedge_wait_outside with the reason; one that goes through sets the class and adds wakers.
 * A set without wakers can never be met: it is to be left empty only where nobody is known to be left.
 */
#ifndef WEDGE_DETECTOR_WAIT_H
#define WEDGE_DETECTOR_WAIT_H

#include "detector/look/look.h"

/* Deadlines further away than this make nothing live (Python's locks wait 292 years). */
#define WEDGE_WAIT_FAR_NS (3600ll * 1000000000ll)

struct wedge_wait_ops {
    const char *name;
    const int *calls; /* system calls, ended by -1 */
    const char *const *wchans; /* beginnings of kernel functions in which such a wait sleeps, NULL-terminated */
    void (*decode)(struct wedge_look *look, int thread);
};
extern const struct wedge_wait_ops wedge_wait_file_lock, wedge_wait_open, wedge_wait_queue, wedge_wait_sysv,
    wedge_wait_vfork, wedge_wait_async, wedge_wait_futex, wedge_wait_descriptor, wedge_wait_child, wedge_wait_poll,
    wedge_wait_sleep, wedge_wait_signal, wedge_wait_futex_any;

/* Decodes every thread of the snapshot. 0 or -ENOMEM. */
int wedge_wait_decode(struct wedge_look *look);
/* Words from the agent's record: roles, callbacks, points, what a rule holds, what the program annotated. */
void wedge_wait_annotate_procs(struct wedge_look *look);
/* A thread held by a rule: true when it was decoded as such. */
bool wedge_wait_held(struct wedge_look *look, int thread);
void wedge_wait_annotate(struct wedge_look *look, int thread);

/* What the record makes evident of it; evidence.c. */
void wedge_wait_evidence(struct wedge_look *look, int thread);
/* A thread of a frozen control group: true when it was decoded as such. */
bool wedge_wait_frozen(struct wedge_look *look, int thread);

/* The parent of a process, if it has that one's memory still (vfork): its futexes, private ones too, are the same. -1:
 * it has memory of its own. */
int wedge_wait_memory_sharer(struct wedge_look *look, int proc);
/* Adds everyone else who lives in the memory of `proc` (detector/look/kin.h), each with these flags, and whoever cannot be
 * asked as the outside. True: there is one. */
bool wedge_wait_memory_kin(struct wedge_look *look, int thread, int proc, unsigned flags);

/* Sets class, call and reason of the wait. */
void wedge_wait_is(struct wedge_look *look, int thread, enum wedge_wait_class class, const char *reason);
void wedge_wait_unknown(struct wedge_look *look, int thread, const char *reason);
void wedge_wait_outside(struct wedge_look *look, int thread, enum wedge_wait_class class, const char *reason);

/* Adds one possible waker. `set` counts from 0; sets are ANDed, wakers of one set ORed. */
void wedge_waker_add(struct wedge_look *look, int thread, uint16_t set, enum wedge_target target, int to,
                     unsigned flags, const char *why);
/* A process by pid: its threads if it was read, else the outside (and it will be read in the next round). */
void wedge_waker_add_pid(struct wedge_look *look, int thread, uint16_t set, pid_t pid, unsigned flags, const char *why);
/* A descriptor that nobody is seen to have may be on its way in a message: adds whoever can receive that, with these flags.
 * True: somebody else can, or nobody knows. */
bool wedge_waker_add_receivers(struct wedge_look *look, int thread, uint16_t set, unsigned flags);
/* EINTR, cancellation and handlers: for every wait that these end. */
void wedge_waker_add_signals(struct wedge_look *look, int thread);

/* Deadlines. An absolute one on a clock, or a relative one whose beginning is not known: then it lies at least
 * `ns` minus the age of the process away. Unreadable: 0 (live). */
void wedge_wait_until(struct wedge_look *look, int thread, int clock, int64_t ns);
void wedge_wait_for(struct wedge_look *look, int thread, int64_t ns);
/* So far from now; the least of all that were given counts. */
void wedge_wait_in(struct wedge_look *look, int thread, int64_t ns);
/* How long a process has existed, to the clock tick. */
int64_t wedge_wait_age_ns(const struct wedge_proc *proc);
/* Reads a struct timespec of the target; true when it could be read and makes sense. */
bool wedge_wait_timespec(struct wedge_look *look, int thread, uint64_t address, int64_t *ret_ns);

const char *wedge_wait_syscall_name(int number);

#endif
