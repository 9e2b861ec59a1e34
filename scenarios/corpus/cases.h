/*
 * wedge-corpus: hangs that people met, each as small as it can be told.
 *
 * `wedge-corpus CASE` hangs, by itself or under the plan of its scenario (CASE.yaml beside this file); with --cured one
 * thing is done otherwise, and it finishes. Nothing here is ordered by time: what has to come first says so through a
 * pipe, a barrier, or a place that the plan knows.
 *
 * A case stands in the file of its theme: a comment that tells the story, the functions, a row in the theme's table. What
 * detector/tests/programs/factory.h has is one wait each; here it is one story each.
 */
#ifndef WEDGE_SCENARIOS_CORPUS_CASES_H
#define WEDGE_SCENARIOS_CORPUS_CASES_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct corpus_case {
    const char *name; /* NULL ends a table */
    void (*run)(void); /* returns when all of it has finished */
};

/* --cured; never changes. */
extern bool corpus_cured;

/* One table for each theme, known to main.c. */
extern const struct corpus_case corpus_locks[];
extern const struct corpus_case corpus_conditions[];
extern const struct corpus_case corpus_deaths[];
extern const struct corpus_case corpus_forks[];
extern const struct corpus_case corpus_loading[];
extern const struct corpus_case corpus_threads[];

/* Ends the program with status 3; says what failed and errno. */
_Noreturn void corpus_die(const char *what);

/* All of these end the program where the call they stand for fails. */
pthread_t corpus_thread(void *(*fn)(void *), void *arg);
void corpus_join(pthread_t thread);
/* As fork(); the child ends with its parent. */
pid_t corpus_fork(void);
/* Waits for that child (-1: any), which must end with status 0, or by SIGKILL where `may_be_killed`. Returns whether it was. */
bool corpus_reap(pid_t pid, bool may_be_killed);
/* Does its one thread sleep? What it sleeps in, the caller knows. */
bool corpus_is_asleep(pid_t pid);
/* Memory that children share, zeroed. */
void *corpus_shared(size_t bytes);
/* In shared memory, process-shared. `kind` is one of PTHREAD_MUTEX_…, `robust` makes it one. */
pthread_mutex_t *corpus_shared_mutex(int kind, bool robust);
pthread_cond_t *corpus_shared_cond(void);
void corpus_init_cond(pthread_cond_t *cond); /* process-shared */
sem_t *corpus_shared_sem(unsigned value);

/* "It has come to this": corpus_hear returns once corpus_tell was called as often as it. Across threads and processes. */
struct corpus_mark {
    int ends[2];
};
struct corpus_mark corpus_mark(void);
void corpus_tell(const struct corpus_mark *mark);
void corpus_hear(const struct corpus_mark *mark);

#endif
