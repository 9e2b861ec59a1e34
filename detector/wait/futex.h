/*
 * Futex waits between their files: futex.c asks which object of libc a word belongs to, futex_lock.c knows those with
 * an owner, futex_object.c the others. Within detector/wait alone.
 */
#ifndef WEDGE_DETECTOR_WAIT_FUTEX_H
#define WEDGE_DETECTOR_WAIT_FUTEX_H

#include "detector/wait/wait.h"

enum wedge_futex_cmd {
    WEDGE_FUTEX_WAIT = 0,
    WEDGE_FUTEX_LOCK_PI = 6,
    WEDGE_FUTEX_WAIT_BITSET = 9,
    WEDGE_FUTEX_LOCK_PI2 = 13
};
#define WEDGE_FUTEX_PRIVATE  0x80u
#define WEDGE_FUTEX_REALTIME 0x100u

struct wedge_futex { /* a call of futex(2) in which a thread sleeps */
    uint64_t address;
    unsigned cmd, op;
    uint32_t val, word; /* what it sleeps for, and what is there */
    bool timed;
    int libc; /* minor version of the glibc that made the call itself, 0 none that is known */
    const struct wedge_proc_map *map;
    bool shared; /* seen by other processes */
    pid_t pid;
    int proc;
    uint64_t dev;
};

bool wedge_futex_memory(struct wedge_look *look, const struct wedge_futex *f, uint64_t address, void *buf, size_t size);
/* Key and words for the object at `address`; owner_tid is to be set before. */
void wedge_futex_name(struct wedge_look *look, int thread, const struct wedge_futex *f, uint64_t address,
                      const char *what);
/* Everyone who reaches the word, each with these flags. */
void wedge_futex_anyone(struct wedge_look *look, int thread, const struct wedge_futex *f, unsigned flags);
/* Threads of the process that have not ended. */
int wedge_futex_alive(const struct wedge_look *look, int proc);

/* Each of these decodes the wait and says true, or leaves it alone. They are asked in this order, and only of calls
 * that glibc itself made. */
bool wedge_futex_is_lock(struct wedge_look *look, int thread, const struct wedge_futex *f);
/* Of a barrier also where it begins and how many are still to come (NULL: not asked). */
bool wedge_futex_is_barrier(struct wedge_look *look, const struct wedge_futex *f, uint64_t *ret_base,
                            uint32_t *ret_missing);
bool wedge_futex_is_object(struct wedge_look *look, int thread, const struct wedge_futex *f);

#endif
