/* What the cases with pipes, sockets and queues have in common. Each function ends the program where a call fails. */
#ifndef WEDGE_SCENARIOS_CORPUS_STREAMS_H
#define WEDGE_SCENARIOS_CORPUS_STREAMS_H

#include <stddef.h>

#include "scenarios/corpus/cases.h"

/* More than a pipe (64 KiB, pipe(7)) or a socket (212,992 bytes, net.core.wmem_default) holds in both directions. */
#define CORPUS_MUCH ((size_t)4 << 20)

extern const struct corpus_case corpus_pipes[], corpus_pools[], corpus_managers[], corpus_servers[];

void corpus_pipe(int ends[2]);
void corpus_put(int fd, size_t bytes);
/* Reads that many bytes, which must come. */
void corpus_take(int fd, size_t bytes);
/* Reads to the end. */
void corpus_drain(int fd);
/* Reads what is there; the descriptor is O_NONBLOCK. */
void corpus_drain_ready(int fd);
/* A number as a message: a task, a result. False at the end of the stream. */
void corpus_send(int fd, int number);
bool corpus_receive(int fd, int *ret);

/* Ends the process at once, as a crash or the kernel's want of memory does. */
_Noreturn void corpus_crash(void);

#endif
