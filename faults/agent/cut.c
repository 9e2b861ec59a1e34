/* Shortened copies of vectors and messages. */
#include "faults/agent/cut.h"

enum { MOST_PIECES = 1024 }; /* UIO_MAXIOV */

int64_t agent_vector_bytes(const struct iovec *iov, size_t count)
{
    uint64_t bytes = 0;
    if (!iov || count > MOST_PIECES)
        return 0;
    for (size_t i = 0; i < count; i++) {
        bytes += iov[i].iov_len;
        if (bytes > INT64_MAX || iov[i].iov_len > INT64_MAX)
            return INT64_MAX;
    }
    return (int64_t)bytes;
}

int64_t agent_message_bytes(const struct msghdr *message)
{
    return message ? agent_vector_bytes(message->msg_iov, message->msg_iovlen) : 0;
}

size_t agent_cut_vector(const struct iovec **iov, size_t count, size_t most, struct iovec pieces[AGENT_CUT_PIECES])
{
    size_t n = 0, left = most;
    if ((uint64_t)agent_vector_bytes(*iov, count) <= most)
        return count;
    for (size_t i = 0; i < count && n < AGENT_CUT_PIECES && left; i++) {
        if ((*iov)[i].iov_len == 0)
            continue;
        pieces[n] = (*iov)[i];
        if (pieces[n].iov_len > left)
            pieces[n].iov_len = left;
        left -= pieces[n++].iov_len;
    }
    *iov = pieces;
    return n;
}

struct msghdr *agent_cut_message(struct agent_cut_message *cut, const struct msghdr *message, size_t most)
{
    if (!message) {
        cut->back = NULL;
        return NULL;
    }
    const struct iovec *iov = message->msg_iov;
    cut->copy = *message;
    cut->copy.msg_iovlen = agent_cut_vector(&iov, message->msg_iovlen, most, cut->pieces);
    cut->copy.msg_iov = (struct iovec *)iov;
    return &cut->copy;
}

void agent_cut_message_back(struct agent_cut_message *cut)
{
    if (!cut->back)
        return;
    cut->back->msg_namelen = cut->copy.msg_namelen;
    cut->back->msg_controllen = cut->copy.msg_controllen;
    cut->back->msg_flags = cut->copy.msg_flags;
}

int64_t agent_drop_messages(struct mmsghdr *messages, unsigned n)
{
    if (n > MOST_PIECES)
        n = MOST_PIECES; /* sendmmsg(2) */
    for (unsigned i = 0; messages && i < n; i++)
        messages[i].msg_len = (unsigned)agent_message_bytes(&messages[i].msg_hdr);
    return n;
}
