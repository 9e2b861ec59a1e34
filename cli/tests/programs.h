/* Programs that a test starts and reads, and what it asks of them. Each function ends the test when something fails. */
#ifndef WEDGE_CLI_TESTS_PROGRAMS_H
#define WEDGE_CLI_TESTS_PROGRAMS_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

const char *from_env(const char *name);

/* Starts a program with its standard output in a pipe. */
pid_t start(const char *const *argv, int *ret_out);
/* Reads until `until` was seen, or to the end of the file (NULL). */
void read_text(int fd, const char *until, char *buf, size_t size);
/* Reaps a child; 128+N where signal N ended it. */
int status_of(pid_t pid);

/* WEDGE_FACTORY's case, once it is ready; ended with its children. */
pid_t start_factory(const char *name, int *ret_out);
void end_factory(pid_t pid, int out);

/* A field of a report's verdict, "" none. */
const char *word(const json_t *report, const char *field);

/* The tree below and with `pid`: how many; all of them there, and none stopped or traced. */
size_t count_members(pid_t pid);
void check_untouched(pid_t pid, size_t members);

#endif
