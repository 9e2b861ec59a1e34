/*
 * What `short` does to vectors and messages, and what `drop` says of them. The caller's memory is not written: a
 * shortened copy lies on the wrapper's stack, with at most AGENT_CUT_PIECES pieces, so that a handler on a small stack
 * survives it. All functions are pure in that sense and safe everywhere.
 */
#ifndef WEDGE_FAULTS_AGENT_CUT_H
#define WEDGE_FAULTS_AGENT_CUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define AGENT_CUT_PIECES 8

/* Bytes of a vector or message, as a dropped write tells them; at most what a call can return. 0 for what the kernel
 * would not take: NULL, or more than 1,024 pieces (UIO_MAXIOV), which a negative count is. */
int64_t agent_vector_bytes(const struct iovec *iov, size_t count);
int64_t agent_message_bytes(const struct msghdr *message);
/* What the kernel would refuse stays as it is. Otherwise lets *iov be a vector of at most `most` bytes, in `pieces` if it was longer; returns its count. A long vector of many
 * small pieces may become shorter than `most`, but never empty. */
size_t agent_cut_vector(const struct iovec **iov, size_t count, size_t most, struct iovec pieces[AGENT_CUT_PIECES]);

struct agent_cut_message {
    struct msghdr copy, *back; /* back: the caller's, to be told what the kernel wrote; NULL: it wrote nothing */
    struct iovec pieces[AGENT_CUT_PIECES];
};
struct msghdr *agent_cut_message(struct agent_cut_message *cut, const struct msghdr *message, size_t most);
void agent_cut_message_back(struct agent_cut_message *cut);

/* A dropped sendmmsg: writes into each message that it was sent whole, as the call does; returns their number. */
int64_t agent_drop_messages(struct mmsghdr *messages, unsigned n);

#endif
