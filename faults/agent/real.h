/* The functions behind the wrappers. A struct of pointers in the order of agent_resolve's table, and nothing else. */
#ifndef WEDGE_FAULTS_AGENT_REAL_H
#define WEDGE_FAULTS_AGENT_REAL_H

#include <dlfcn.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>

#include "faults/agent/agent.h"

struct agent_real {
#define F(ret, name, family, style, extra, kind, effect, object, params, ...) ret(*name) params;
#include "faults/functions/all.def"
#undef F
    /* The older versions, in the order of the tables. */
#define F(...)
#define H(...)
#define V(ret, name, family, style, extra, kind, effect, object, params, ...) ret(*old_##name) params;
#include "faults/functions/all.def"
#undef F
#undef H
#undef V
    void (*exit)(int status);
    void (*_exit)(int status);
    void (*_Exit)(int status);
    void (*quick_exit)(int status);
    void *(*dlopen)(const char *file, int mode);
    int (*prctl)(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
    int (*pthread_setname_np)(pthread_t thread, const char *name);
    void *(*dlmopen)(Lmid_t space, const char *file, int mode);
    int (*old_posix_spawn)(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                           const posix_spawnattr_t *attr, char *const *argv, char *const *env);
    int (*old_posix_spawnp)(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                            const posix_spawnattr_t *attr, char *const *argv, char *const *env);
};
extern struct agent_real agent_real;

#endif
