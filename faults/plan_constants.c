/* Constants of the system's headers that a plan may compare arguments with. One that does not exist does not compile. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

#include "faults/plan_internal.h"

/* clang-format off */
#define CONSTANTS(C) \
    /* open(2) */ \
    C(O_RDONLY) C(O_WRONLY) C(O_RDWR) C(O_CREAT) C(O_EXCL) C(O_TRUNC) C(O_APPEND) C(O_NONBLOCK) C(O_CLOEXEC) \
    C(O_DIRECTORY) C(O_NOFOLLOW) C(O_SYNC) C(O_DSYNC) C(O_TMPFILE) C(O_PATH) C(O_DIRECT) C(O_NOCTTY) C(AT_FDCWD) \
    /* fcntl(2), flock(2), lockf(3) */ \
    C(F_DUPFD) C(F_DUPFD_CLOEXEC) C(F_GETFD) C(F_SETFD) C(FD_CLOEXEC) C(F_GETFL) C(F_SETFL) C(F_GETLK) C(F_SETLK) \
    C(F_SETLKW) C(F_OFD_GETLK) C(F_OFD_SETLK) C(F_OFD_SETLKW) C(LOCK_SH) C(LOCK_EX) C(LOCK_NB) C(LOCK_UN) \
    /* socket(2), send(2), recv(2), shutdown(2) */ \
    C(AF_UNIX) C(AF_INET) C(AF_INET6) C(SOCK_STREAM) C(SOCK_DGRAM) C(SOCK_SEQPACKET) C(SOCK_NONBLOCK) C(SOCK_CLOEXEC) \
    C(MSG_DONTWAIT) C(MSG_PEEK) C(MSG_WAITALL) C(MSG_NOSIGNAL) C(MSG_OOB) C(SHUT_RD) C(SHUT_WR) C(SHUT_RDWR) \
    /* epoll_ctl(2), poll(2), eventfd(2) */ \
    C(EPOLL_CTL_ADD) C(EPOLL_CTL_MOD) C(EPOLL_CTL_DEL) C(EFD_SEMAPHORE) C(EFD_NONBLOCK) C(EFD_CLOEXEC) \
    /* wait(2), semop(2), clock_gettime(2), mmap(2) */ \
    C(WNOHANG) C(WUNTRACED) C(WCONTINUED) C(WEXITED) C(WNOWAIT) C(IPC_NOWAIT) C(IPC_CREAT) C(IPC_EXCL) C(IPC_RMID) \
    C(CLOCK_REALTIME) C(CLOCK_MONOTONIC) C(TIMER_ABSTIME) C(MAP_SHARED) C(MAP_PRIVATE) C(MAP_ANONYMOUS) \
    C(PROT_NONE) C(PROT_READ) C(PROT_WRITE) C(PROT_EXEC)
/* clang-format on */

static const char *const names[] = {
#define C(name) #name,
    CONSTANTS(C)
#undef C
        NULL};
static const int64_t values[] = {
#define C(name) (int64_t)(name),
    CONSTANTS(C)
#undef C
};

const char *const *plan_constants(void)
{
    return names;
}

bool plan_constant(const char *name, int64_t *ret)
{
    for (size_t i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0) {
            *ret = values[i];
            return true;
        }
    for (int s = 1; s < SIGRTMIN && strncmp(name, "SIG", 3) == 0; s++)
        if (sigabbrev_np(s) && strcmp(sigabbrev_np(s), name + 3) == 0) {
            *ret = s;
            return true;
        }
    return plan_errno(name, ret);
}
