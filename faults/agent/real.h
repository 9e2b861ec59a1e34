/* The functions behind the wrappers. A struct of pointers in the order of agent_resolve's table, and nothing else. */
#ifndef WEDGE_FAULTS_AGENT_REAL_H
#define WEDGE_FAULTS_AGENT_REAL_H

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

#include "faults/agent/agent.h"

struct agent_real {
#define F(ret, name, family, style, extra, kind, effect, object, params, ...) ret(*name) params;
#include "faults/functions/all.def"
#undef F
    /* The condition variables of before glibc 2.3.2, in the order of the tables. */
    int (*old_pthread_cond_wait)(pthread_cond_t *cond, pthread_mutex_t *mutex);
    int (*old_pthread_cond_timedwait)(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
    int (*old_pthread_cond_signal)(pthread_cond_t *cond);
    int (*old_pthread_cond_broadcast)(pthread_cond_t *cond);
    void (*exit)(int status);
    void (*_exit)(int status);
    void (*_Exit)(int status);
    void (*quick_exit)(int status);
    pid_t (*vfork)(void);
    void *(*dlopen)(const char *file, int mode);
    int (*pthread_create)(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
};
extern struct agent_real agent_real;

#endif
