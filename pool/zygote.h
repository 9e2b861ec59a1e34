/*
 * The zygote: a process with one thread, forked from the parent at start, that forks every worker. A child forked from
 * a busy parent inherits whatever locks the parent's other threads held; one forked from here inherits none.
 *
 *   supervisor -- SPAWN(index, generation) --> zygote -- fork --> worker, which waits at its gate
 *              <-- SPAWNED(index, pid or -errno; its pidfd, the gate) --
 *              ---------------- opens the gate --------------------------> worker goes on
 *              -- REAP(index, pid) -->             kills it first: for one that could not be watched
 *              <-- REAPED(index, pid, status) --
 *              -- QUIT -->
 *
 * The gate is a pipe of which nobody but the supervisor has the write end, once SPAWNED is sent. So a worker runs nothing
 * of the user's, and takes no task, before the supervisor watches it; and where the message is lost, because one
 * of the two died, its descriptors are closed with it, the worker reads an end of file, and leaves. The pidfd is opened by
 * the zygote, whose child it is, unreaped: it can be nobody else's, whatever has become of the zygote since.
 *
 * It blocks every signal: what a terminal or a service manager sends to the whole process group (SIGINT, SIGTERM) is the
 * parent's to heed, and without a zygote the pool is broken. A worker has the signal mask of the thread that called start.
 *
 * The zygote reaps a worker only when it is told to. When the parent is gone (its pidfd) the zygote leaves; when
 * the zygote is gone, however it went, the kernel kills its workers (PR_SET_PDEATHSIG, which is safe here: it fires
 * when the forking thread ends, and the zygote has one). So a dead parent leaves nobody behind.
 */
#ifndef WEDGE_POOL_ZYGOTE_H
#define WEDGE_POOL_ZYGOTE_H

#include "pool/pool.h"

enum wedge_zygote_op {
    WEDGE_ZYGOTE_SPAWN = 1,
    WEDGE_ZYGOTE_SPAWNED,
    WEDGE_ZYGOTE_REAP,
    WEDGE_ZYGOTE_REAPED,
    WEDGE_ZYGOTE_QUIT,
};

/* One packet of the SOCK_SEQPACKET pair, in both directions. */
struct wedge_zygote_message {
    uint32_t op;
    uint32_t index; /* of the seat, from 0 */
    uint32_t generation;
    int32_t pid; /* SPAWNED: negative errno when it could not be made */
    int32_t status; /* REAPED: waitpid's */
};

struct wedge_zygote {
    pid_t pid;
    int pidfd, sock; /* owned by the supervisor; the socket is non-blocking */
    struct wedge_file_id pidfd_id, sock_id;
};

/* Forks it. 0, or a negative errno of socketpair(2), fork(2), pidfd_open(2). */
int wedge_zygote_start(struct wedge_pool *pool, struct wedge_zygote *ret);
/* What comes along with SPAWNED; each -1 where there is none, which a lack of descriptors in the parent does too. */
struct wedge_zygote_fds {
    int pidfd, gate; /* owned by whoever receives them */
};

/* In a worker's main thread: the kernel is to kill it when the zygote is gone; gone already, it leaves. Again after user
 * code: a change of user or group takes the order back (prctl(2), PR_SET_PDEATHSIG). */
void wedge_zygote_die_with(pid_t zygote);

/* Sends one packet. -EAGAIN: it has many to read; -EPIPE, -ECONNRESET: it is gone. */
int wedge_zygote_send(const struct wedge_zygote *zygote, const struct wedge_zygote_message *message);
/* 1 with a packet, 0 nothing there now, -EPIPE: it is gone and all it said was read. */
int wedge_zygote_receive(const struct wedge_zygote *zygote, struct wedge_zygote_message *ret,
                         struct wedge_zygote_fds *ret_fds);
/* Lets the worker go on, and closes the gate; without `open` it leaves. */
void wedge_zygote_gate(int gate, bool open);
/* SIGKILL: its workers go with it. */
void wedge_zygote_kill(const struct wedge_zygote *zygote);
/* Ends and reaps it; bounded. Takes one that was not started (pid 0). */
void wedge_zygote_end(struct wedge_zygote *zygote);
/* The same where its descriptors are no longer ours (crew.h): they are not touched. */
void wedge_zygote_end_blindly(struct wedge_zygote *zygote);

#endif
