#include "detector/stacks/disturb.h"

#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define ALWAYS  "always"
#define TIMEO   "with SO_RCVTIMEO or SO_SNDTIMEO"
#define PART    "a part done"
#define CHANGED "its word has changed"

/* A write that fits is done at once or not at all: PIPE_BUF of pipe(7). */
static bool may_be_done_in_part(const struct wedge_thread *t)
{
    switch (t->syscall) {
    case SYS_write:
        return t->wait.class == WEDGE_WAIT_SOCKET || t->args[2] > PIPE_BUF;
    case SYS_recvfrom:
        return t->args[3] & MSG_WAITALL;
    case SYS_recvmsg:
        return t->args[2] & MSG_WAITALL;
    default:
        return true;
    }
}

/* Which calls a stop and a continuation end with EINTR although no signal is handled: signal(7), "Interruption of
 * system calls and library functions by stop signals"; measured for PTRACE_INTERRUPT on Linux 6.18 (test_disturb, which has
 * a thread in each). Whether a socket has a time-out cannot be seen from outside. A call that waits with a part done returns
 * that part (write(2), recv(2)), and how much is done cannot be seen either. A futex whose word has changed meanwhile is
 * compared again and returns: the stop has then ended a wait that nothing else would have. NULL: restarts. */
const char *wedge_stop_sees_eintr(const struct wedge_thread *t)
{
    const bool socket = t->wait.class == WEDGE_WAIT_SOCKET;
    if (t->wait.happened)
        return CHANGED;
    switch (t->syscall) {
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
    case SYS_semop:
    case SYS_semtimedop:
    case SYS_rt_sigtimedwait:
    case SYS_io_getevents:
        return ALWAYS;
    case SYS_read:
    case SYS_readv:
        return socket ? TIMEO : NULL;
    case SYS_write:
    case SYS_writev:
        if (!socket && t->wait.class != WEDGE_WAIT_PIPE_WRITE)
            return NULL;
        return !may_be_done_in_part(t) ? NULL : socket ? PART ", or " TIMEO : PART;
    case SYS_splice:
    case SYS_vmsplice:
    case SYS_sendfile:
        return PART;
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_recvfrom:
    case SYS_recvmsg:
        return may_be_done_in_part(t) ? PART ", or " TIMEO : TIMEO;
    case SYS_accept:
    case SYS_accept4:
    case SYS_recvmmsg:
    case SYS_connect:
        return TIMEO;
    default:
        return NULL;
    }
}

bool wedge_stop_ends_wait(const struct wedge_thread *t)
{
    const char *when = wedge_stop_sees_eintr(t);
    return when && (strcmp(when, ALWAYS) == 0 || strcmp(when, CHANGED) == 0);
}
