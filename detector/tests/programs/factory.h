/*
 * The factory: `wedge-factory CASE` becomes a program that hangs in a known way, or one that only looks like it. One
 * table of cases per file; factory.c has the main program.
 *
 * Once everything is set up a case calls factory_ready, which writes "ready\n" to descriptor 3 when that is open, else
 * to standard output. A thread that was just started needs a moment more until it blocks: whoever asks, asks again. A
 * hang stays until the process is killed, and so does a healthy case that is not told to end otherwise; its children
 * ask to be killed with it. Each function here ends the program when something does not work.
 */
#ifndef WEDGE_DETECTOR_TESTS_FACTORY_H
#define WEDGE_DETECTOR_TESTS_FACTORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct factory_case {
    const char *name;
    void (*run)(void);
    bool healthy;
};

/* The tables of the other files, each ended by a case without a name. */
extern const struct factory_case factory_descriptor[], factory_socket[], factory_datagram[], factory_network[],
    factory_locks[], factory_events[], factory_queues[], factory_vfork[], factory_libc[], factory_inside[],
    factory_words[], factory_fork[], factory_history[], factory_record[], factory_tables[], factory_sources[],
    factory_outside[];

void factory_die(const char *what);
void factory_ready(void);
void *factory_shared(size_t bytes); /* anonymous, shared with children, zeroed */
void factory_send_end(int by, int end); /* a descriptor, in a message of one byte */
int factory_receive_end(int by);
pid_t factory_child(void); /* fork; the child is killed when its parent goes */
void factory_spawn(pthread_t *thread, void *(*fn)(void *), void *arg);
void factory_nap(long ms);
void factory_pipe(int ends[2]);
void factory_fill(int fd); /* writes until it blocks for ever */
/* Two threads, each with what the other wants; the main thread joins one of them. `take` takes number 0 or 1. */
void factory_cross(void (*take)(int which));
/* A thread takes number 0 and gives it back after a while, again and again; the main thread wants it in between. */
enum { FACTORY_SLOW_MS = 30 };
void factory_beside_slow(void (*take)(int which), void (*give)(int which));
/* n process-shared mutexes in shared memory. */
pthread_mutex_t *factory_mutexes(int n, int type, int robust);

#endif
