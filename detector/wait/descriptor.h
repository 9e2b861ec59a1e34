/*
 * Descriptors: who could make one ready to be read or written. Every wait on a descriptor goes through here, be it a
 * call that blocks in it (read, send, accept, splice, …) or one that watches many (poll, select, epoll).
 *
 *   read(fd) ---------\
 *   poll({fd, …}) -----+--> wedge_descriptor_ask --> the class of the descriptor --> wakers in one OR-set
 *   epoll (in epoll) --/
 *
 * One file per class of descriptor, each behind one struct wedge_descriptor_class; descriptor.c has their list. A kind
 * of descriptor without a class is ended by the outside.
 */
#ifndef WEDGE_DETECTOR_WAIT_DESCRIPTOR_H
#define WEDGE_DETECTOR_WAIT_DESCRIPTOR_H

#include "detector/wait/wait.h"

/* What is waited for. None of them: polled for errors and hang-ups alone, which poll's family reports unasked. */
#define WEDGE_WANT_READ    1u
#define WEDGE_WANT_WRITE   2u
#define WEDGE_WANT_CONNECT 4u /* connect(2) */

/* One wait on one descriptor: a question to its class, and the answer. */
struct wedge_descriptor_wait {
    int thread;
    const struct wedge_fd *fd; /* of the thread's own process */
    unsigned want;
    bool polled; /* by poll's family: errors and hang-ups end it as well */
    bool edge; /* polled for changes alone (EPOLLET): that it is ready already ends nothing */
    int depth; /* of an epoll set in an epoll set */
    uint16_t set;

    /* The answer in words, by the class. Preset: class OUTSIDE, key "", "WORD, descriptor N", full false. */
    enum wedge_wait_class class;
    const char *reason; /* one clause: "somebody must write" */
    char key[sizeof(((struct wedge_object *)0)->key)];
    char describe[sizeof(((struct wedge_object *)0)->describe)];
    bool full; /* it waits for room in a full buffer */
    /* The answer in wakers, by the functions below. */
    bool elsewhere; /* somebody who is not its own process may end it */
    const char *outside; /* why the outside may end it; NULL: nobody but the wakers that were added */
    const char *ready; /* why it is about to wake; NULL: it is not */
};

struct wedge_descriptor_class {
    enum wedge_fd_kind kind;
    /* Parts of the kernel's functions in which a call that blocks in such a descriptor sleeps; NULL-terminated.
     * Sleeping elsewhere, it is not known. NULL: anywhere. */
    const char *const *wchans;
    /* Adds everyone who could end the wait, by wedge_descriptor_by…, or says that the outside or nobody needs to. The
     * descriptors of the process have been read. Called between the passes; may be called often for one thread. */
    void (*wakers)(struct wedge_look *look, struct wedge_descriptor_wait *wait);
};
extern const struct wedge_descriptor_class wedge_descriptor_pipe, wedge_descriptor_pidfd, wedge_descriptor_epoll,
    wedge_descriptor_eventfd, wedge_descriptor_timerfd, wedge_descriptor_signalfd, wedge_descriptor_device,
    wedge_descriptor_socket;

/* Asks the class of wait->fd. The question's fields must be set, the rest zero. */
void wedge_descriptor_ask(struct wedge_look *look, struct wedge_descriptor_wait *wait);

/* For classes. A process may end the wait: all its threads, the waiting one left out. */
void wedge_descriptor_by_process(struct wedge_look *look, struct wedge_descriptor_wait *wait, pid_t pid,
                                 const char *why);
/* Every process that holds (dev, inode) so that it can read (`want` READ), write (WRITE) or at all (0); the other end
 * of a pipe, the peer of a socket. Returns how many. */
size_t wedge_descriptor_by_holders(struct wedge_look *look, struct wedge_descriptor_wait *wait, uint64_t dev,
                                   uint64_t inode, unsigned want, const char *why);
/* Every other process that holds (dev, inode) and not so: it could open it once more through /proc/self/fd, or (of a pipe)
 * change its size. The verdict will be evident at most while one of them lives. */
void wedge_descriptor_by_reopeners(struct wedge_look *look, struct wedge_descriptor_wait *wait, uint64_t dev,
                                   uint64_t inode, unsigned want);
/* Every process but its own that has the same open file (by fork, dup or message); also with WEDGE_WAKER_… flags. Kinds
 * without an inode of their own (eventfd, epoll, timerfd, …) are compared by kcmp(2). Returns how many. */
size_t wedge_descriptor_by_sharers(struct wedge_look *look, struct wedge_descriptor_wait *wait, const char *why);
size_t wedge_descriptor_by_sharers_as(struct wedge_look *look, struct wedge_descriptor_wait *wait, unsigned flags,
                                      const char *why);
/* The outside may end it: a device, a peer on another machine, somebody who cannot be read. */
void wedge_descriptor_by_outside(struct wedge_look *look, struct wedge_descriptor_wait *wait, const char *why);
/* The same, but hardly ever: the verdict will be evident at most. */
void wedge_descriptor_by_chance(struct wedge_look *look, struct wedge_descriptor_wait *wait, const char *why);
/* Somebody whose descriptors may not be read may well have (dev, inode): one of the tree, or who is above it and gave
 * it a standard stream. */
bool wedge_descriptor_is_hidden(struct wedge_look *look, uint64_t dev, uint64_t inode);
/* An end that is in no table of descriptors may be on its way in a message: whoever can receive that. To be added last,
 * by the decoders. */
void wedge_descriptor_by_receivers(struct wedge_look *look, struct wedge_descriptor_wait *wait);
/* What it waits for is there already: it is about to wake. Where a change is waited for (edge), nothing is said. */
void wedge_descriptor_is_ready(struct wedge_descriptor_wait *wait, const char *why);
/* It is about to wake, even if a change is waited for. */
void wedge_descriptor_will_wake(struct wedge_descriptor_wait *wait, const char *why);
/* A call that blocks sleeps in one of these kernel functions (parts of names, NULL-terminated), or in one that is not
 * told. True of poll's family: it sleeps in its own. */
bool wedge_descriptor_sleeps_in(const struct wedge_look *look, const struct wedge_descriptor_wait *wait,
                                const char *const *wchans);

/* Reads fdinfo of the descriptor: bytes or a negative errno, NUL-terminated, cut at size - 1. */
ssize_t wedge_descriptor_info(struct wedge_look *look, const struct wedge_descriptor_wait *wait, char *buf,
                              size_t size);

/* Asks about descriptor `number` on behalf of a thread in poll's family, as one member of what it watches; adds
 * wakers, and what it says of outside, ready and elsewhere, to `all`. */
void wedge_descriptor_member(struct wedge_look *look, struct wedge_descriptor_wait *all, int number, unsigned want,
                             bool edge);

#endif
