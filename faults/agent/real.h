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

#define WEDGE_OLD_CONDITIONS(F)                                                                                        \
    F(pthread_cond_wait) F(pthread_cond_timedwait) F(pthread_cond_signal) F(pthread_cond_broadcast)

struct agent_real {
/* clang-format off */
#define F(ret, name, family, style, extra, params, args, errnos) ret (*name) params;
    WEDGE_FUNCTIONS(F)
#undef F
    /* clang-format on */
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

/* Functions of which libc has an incompatible older version (pthread.h of glibc before 2.3.2). */
static inline bool agent_condition_since_2_3_2(size_t function)
{
    return function == WEDGE_FN_pthread_cond_wait || function == WEDGE_FN_pthread_cond_timedwait ||
           function == WEDGE_FN_pthread_cond_signal || function == WEDGE_FN_pthread_cond_broadcast;
}

#endif
