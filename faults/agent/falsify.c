/*
 * Two answers that are not just a result: a wait that returns although nobody woke it, and bytes of which one is
 * another. Nothing of the caller's is written but what the call itself would write.
 *
 * What is put is carried by the vector's variant of the function, in three pieces around the byte, so that it is one
 * call still, whole where the kernel keeps calls whole (a pipe up to PIPE_BUF, a datagram). Pieces and messages that
 * have to be copied lie on the stack, at most 16 KiB of pieces (IOV_MAX) or COPY bytes.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>

#include "faults/agent/real.h"
#include "faults/agent/sys.h"

enum { COPY = 65536 }; /* bytes of a queue's message; mq_overview(7): 8,192 unless the machine's owner allowed more */

enum where { NOWHERE, FLAT, VECTOR, MESSAGE };
/* Where the bytes are: the argument from 1. */
static const struct carried {
    uint8_t where, at;
    bool put;
} carried[WEDGE_FN_COUNT] = {
#define TAKES(name, where, at) [WEDGE_FN_##name] = {where, at, false}
#define PUTS(name, where, at)  [WEDGE_FN_##name] = {where, at, true}
    TAKES(read, FLAT, 2),        TAKES(__read_chk, FLAT, 2),   TAKES(pread, FLAT, 2),
    TAKES(pread64, FLAT, 2),     TAKES(__pread_chk, FLAT, 2),  TAKES(__pread64_chk, FLAT, 2),
    TAKES(readv, VECTOR, 2),     TAKES(preadv, VECTOR, 2),     TAKES(preadv64, VECTOR, 2),
    TAKES(preadv2, VECTOR, 2),   TAKES(preadv64v2, VECTOR, 2), TAKES(recv, FLAT, 2),
    TAKES(recvfrom, FLAT, 2),    TAKES(__recv_chk, FLAT, 2),   TAKES(__recvfrom_chk, FLAT, 2),
    TAKES(recvmsg, MESSAGE, 2),  TAKES(mq_receive, FLAT, 2),   TAKES(mq_timedreceive, FLAT, 2),
    PUTS(write, FLAT, 2),        PUTS(pwrite, FLAT, 2),        PUTS(pwrite64, FLAT, 2),
    PUTS(writev, VECTOR, 2),     PUTS(pwritev, VECTOR, 2),     PUTS(pwritev64, VECTOR, 2),
    PUTS(pwritev2, VECTOR, 2),   PUTS(pwritev64v2, VECTOR, 2), PUTS(send, FLAT, 2),
    PUTS(sendto, FLAT, 2),       PUTS(sendmsg, MESSAGE, 2),    PUTS(mq_send, FLAT, 2),
    PUTS(mq_timedsend, FLAT, 2),
#undef TAKES
#undef PUTS
};

/* The wait is over as if somebody had woken it: the lock was given up, so that others had their turn, and is taken
 * again, as pthread_cond_wait(3) has it. A cancellation is acted upon with the lock held, as there. */
static int64_t wake_up(const struct agent_call *call)
{
    pthread_mutex_t *mutex = (pthread_mutex_t *)(uintptr_t)(call->site.n_args > 1 ? call->site.args[1] : 0);
    mtx_t *c11 = (mtx_t *)(void *)mutex;
    int rc;
    switch (call->function) {
    case WEDGE_FN_syscall:
        return 0;
    case WEDGE_FN_cnd_wait:
    case WEDGE_FN_cnd_timedwait:
        if ((rc = agent_real.mtx_unlock(c11)) != thrd_success)
            return rc;
        agent_real.sched_yield();
        rc = agent_real.mtx_lock(c11);
        break;
    default:
        if ((rc = agent_real.pthread_mutex_unlock(mutex)))
            return rc;
        agent_real.sched_yield();
        rc = agent_real.pthread_mutex_lock(mutex);
        break;
    }
    pthread_testcancel();
    return rc;
}

bool agent_is_wait(const struct agent_site *site)
{
    if (site->n_args < 3 || site->args[0] != SYS_futex)
        return false;
    int command = (int)site->args[2] & FUTEX_CMD_MASK;
    return command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET;
}

static int64_t bytes_of(const struct iovec *iov, size_t n)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < n && bytes <= SSIZE_MAX; i++)
        bytes += iov[i].iov_len;
    return bytes > SSIZE_MAX ? SSIZE_MAX : (int64_t)bytes;
}

/* The piece that has the byte, and how far into it; `offset` is within the vector. */
static size_t piece_of(const struct iovec *iov, size_t n, uint64_t *offset)
{
    size_t i = 0;
    for (; i + 1 < n && *offset >= iov[i].iov_len; i++)
        *offset -= iov[i].iov_len;
    return i;
}

/* Which byte of `n`; written down behind the firing, which was before the call knew how many there are. */
static uint64_t choose(const struct agent_call *call, uint64_t n)
{
    uint64_t offset = (uint64_t)call->site.value % n;
    agent_event_amend(call->site.order, offset);
    return offset;
}

static int64_t put_vector(struct agent_call *call, const struct iovec *pieces, size_t n)
{
    const uint64_t *args = call->site.args;
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = n};
    int fd = (int)args[0], count = (int)n;
    switch (call->function) {
    case WEDGE_FN_write:
    case WEDGE_FN_writev:
        return agent_real.writev(fd, pieces, count);
    case WEDGE_FN_pwrite:
    case WEDGE_FN_pwrite64:
    case WEDGE_FN_pwritev:
    case WEDGE_FN_pwritev64:
        return agent_real.pwritev64(fd, pieces, count, (off64_t)args[3]);
    case WEDGE_FN_pwritev2:
    case WEDGE_FN_pwritev64v2:
        return agent_real.pwritev64v2(fd, pieces, count, (off64_t)args[3], (int)args[4]);
    case WEDGE_FN_sendto:
        message.msg_name = (void *)(uintptr_t)args[4];
        message.msg_namelen = (socklen_t)args[5];
        break;
    case WEDGE_FN_sendmsg:
        message = *(const struct msghdr *)(uintptr_t)args[1];
        message.msg_iov = (struct iovec *)pieces;
        message.msg_iovlen = n;
        return agent_real.sendmsg(fd, &message, (int)args[2]);
    default:
        break;
    }
    return agent_real.sendmsg(fd, &message, (int)args[3]);
}

static int64_t put_queued(const struct agent_call *call, const char *text, size_t n, uint64_t offset)
{
    const uint64_t *args = call->site.args;
    char *copy = __builtin_alloca(n); /* at most COPY */
    memcpy(copy, text, n);
    copy[offset] = (char)~copy[offset];
    if (call->function == WEDGE_FN_mq_send)
        return agent_real.mq_send((mqd_t)args[0], copy, n, (unsigned)args[3]);
    return agent_real.mq_timedsend((mqd_t)args[0], copy, n, (unsigned)args[3],
                                   (const struct timespec *)(uintptr_t)args[4]);
}

/* The vector again with two more pieces: the byte, and what follows it. */
static int64_t put_changed(struct agent_call *call, const struct iovec *iov, size_t n, uint64_t offset)
{
    struct iovec *pieces = __builtin_alloca((n + 2) * sizeof(*pieces)); /* at most IOV_MAX and two */
    size_t at = piece_of(iov, n, &offset);
    const char *base = iov[at].iov_base;
    char byte = (char)~base[offset];
    memcpy(pieces, iov, at * sizeof(*iov));
    pieces[at] = (struct iovec){iov[at].iov_base, offset};
    pieces[at + 1] = (struct iovec){&byte, 1};
    pieces[at + 2] = (struct iovec){(char *)iov[at].iov_base + offset + 1, iov[at].iov_len - offset - 1};
    memcpy(pieces + at + 3, iov + at + 1, (n - at - 1) * sizeof(*iov));
    size_t count = n + 2, from = 0;
    /* Room for two more is there unless the caller used all that a call may have: the pieces without bytes go. */
    if (count > IOV_MAX) {
        for (size_t i = 0; i < count; i++)
            if (pieces[i].iov_len)
                pieces[from++] = pieces[i];
        count = from;
    }
    return put_vector(call, pieces, count);
}

/* What the call carries, as a vector; `one` serves where it is none. */
static const struct iovec *pieces_of(const struct agent_call *call, struct iovec *one, size_t *ret_n)
{
    const struct carried *how = &carried[call->function];
    const uint64_t *args = call->site.args;
    const void *at = (const void *)(uintptr_t)args[how->at - 1];
    if (how->where == MESSAGE) {
        *ret_n = ((const struct msghdr *)at)->msg_iovlen;
        return ((const struct msghdr *)at)->msg_iov;
    }
    *ret_n = how->where == VECTOR ? (size_t)(int)args[how->at] : 1;
    *one = (struct iovec){(void *)(uintptr_t)args[how->at - 1], args[how->at]};
    return how->where == VECTOR ? at : one;
}

/* Returns whether the call was made, with what it gave. */
static bool put(struct agent_call *call, int64_t *ret)
{
    struct iovec one;
    size_t n;
    const struct iovec *iov = pieces_of(call, &one, &n);
    if (n == 0 || n > IOV_MAX) /* nothing is carried, or the kernel refuses it */
        return false;
    int64_t bytes = bytes_of(iov, n);
    if (bytes == 0 || bytes == SSIZE_MAX)
        return false;
    if (call->site.kind == WEDGE_OBJECT_FD &&
        (call->function == WEDGE_FN_mq_send || call->function == WEDGE_FN_mq_timedsend)) {
        if (bytes > COPY)
            return false;
        *ret = put_queued(call, iov->iov_base, (size_t)bytes, choose(call, (uint64_t)bytes));
    } else {
        *ret = put_changed(call, iov, n, choose(call, (uint64_t)bytes));
    }
    return true;
}

void agent_falsify(struct agent_call *call)
{
    int64_t result;
    if (call->site.answer == AGENT_ANSWER_SPURIOUS) {
        call->site.value = agent_leave(call, wake_up(call));
        call->site.answer = AGENT_ANSWER_RETURN;
        return;
    }
    if (!carried[call->function].put)
        return;
    if (!put(call, &result)) {
        call->site.answer = AGENT_ANSWER_NONE;
        return;
    }
    result = agent_leave(call, result);
    call->site.answer = AGENT_ANSWER_RETURN;
    call->site.value = result;
}

void agent_falsify_taken(struct agent_call *call, int64_t result)
{
    const struct carried *how = &carried[call->function];
    struct iovec one;
    size_t n;
    if (how->put || how->where == NOWHERE || result <= 0)
        return;
    const struct iovec *iov = pieces_of(call, &one, &n);
    int64_t room = bytes_of(iov, n);
    if (result > room) /* MSG_TRUNC: how long it was, not what was given */
        result = room;
    if (result <= 0)
        return;
    uint64_t offset = choose(call, (uint64_t)result);
    char *base = iov[piece_of(iov, n, &offset)].iov_base;
    base[offset] = (char)~base[offset];
}
