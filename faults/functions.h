/*
 * The functions a rule may name: one table for the plan compiler (names, families, which actions are possible) and
 * the agent (prototypes and wrappers). Invariant: the place in the table is the function's number in
 * wedge_arena_rule.functions; at most 256.
 *
 *   F(ret, name, family, style, extra, params, args, errnos)
 *
 * style   how it reports an error: MINUS1 (returns -1 and sets errno) or CODE (returns the number)
 * extra   actions possible beside those of every function (kill exit stop delay block yield errno return quiesce):
 *         DROP, SHORT, SPURIOUS, joined by |, or NONE
 * errnos  those its man page allows when the caller did nothing wrong: what makes `errno E` legal
 *
 * A family is all entry points of one operation (C++, CPython and _FORTIFY_SOURCE come in by other names).
 * BY_HAND rows have a wrapper of their own in agent/wrap_hand.c; the others are generated in agent/wrap.c.
 */
#ifndef WEDGE_FAULTS_FUNCTIONS_H
#define WEDGE_FAULTS_FUNCTIONS_H

#include <stdint.h>

enum wedge_function_style { WEDGE_STYLE_MINUS1, WEDGE_STYLE_CODE };
#define WEDGE_EXTRA_NONE     0u
#define WEDGE_EXTRA_DROP     1u /* reports success and does nothing */
#define WEDGE_EXTRA_SHORT    2u /* does less than asked */
#define WEDGE_EXTRA_SPURIOUS 4u /* returns as woken although nobody woke it */

/* clang-format off */
#define WEDGE_FUNCTIONS_BY_HAND(F)                                                                                    \
    F(ssize_t, read, read, MINUS1, SHORT, (int fd, void *buf, size_t n), (fd, buf, n), "EINTR EAGAIN EIO")            \
    F(ssize_t, __read_chk, read, MINUS1, SHORT, (int fd, void *buf, size_t n, size_t size), (fd, buf, n, size), "EINTR EAGAIN EIO") \
    F(ssize_t, write, write, MINUS1, SHORT | DROP, (int fd, const void *buf, size_t n), (fd, buf, n), "EINTR EAGAIN EIO ENOSPC EPIPE EDQUOT") \
    F(int, open, open, MINUS1, NONE, (const char *path, int flags, ...), (path, flags), "EINTR EMFILE ENFILE ENOMEM ENOSPC") \
    F(int, open64, open, MINUS1, NONE, (const char *path, int flags, ...), (path, flags), "EINTR EMFILE ENFILE ENOMEM ENOSPC") \
    F(int, openat, open, MINUS1, NONE, (int dir, const char *path, int flags, ...), (dir, path, flags), "EINTR EMFILE ENFILE ENOMEM ENOSPC") \
    F(int, openat64, open, MINUS1, NONE, (int dir, const char *path, int flags, ...), (dir, path, flags), "EINTR EMFILE ENFILE ENOMEM ENOSPC") \
    F(pid_t, fork, fork, MINUS1, NONE, (void), (), "EAGAIN ENOMEM")

#define WEDGE_FUNCTIONS_GENERATED(F)                                                                                  \
    F(int, close, close, MINUS1, DROP, (int fd), (fd), "EINTR EIO ENOSPC EDQUOT")                                     \
    F(int, __open_2, open, MINUS1, NONE, (const char *path, int flags), (path, flags), "EINTR EMFILE ENFILE ENOMEM ENOSPC") \
    F(int, __open64_2, open, MINUS1, NONE, (const char *path, int flags), (path, flags), "EINTR EMFILE ENFILE ENOMEM ENOSPC") \
    F(int, __openat_2, open, MINUS1, NONE, (int dir, const char *path, int flags), (dir, path, flags), "EINTR EMFILE ENFILE ENOMEM ENOSPC") \
    F(int, __openat64_2, open, MINUS1, NONE, (int dir, const char *path, int flags), (dir, path, flags), "EINTR EMFILE ENFILE ENOMEM ENOSPC") \
    F(pid_t, waitpid, waitpid, MINUS1, NONE, (pid_t pid, int *status, int options), (pid, status, options), "EINTR")  \
    F(pid_t, wait, waitpid, MINUS1, NONE, (int *status), (status), "EINTR")                                           \
    F(pid_t, wait4, waitpid, MINUS1, NONE, (pid_t pid, int *status, int options, struct rusage *usage), (pid, status, options, usage), "EINTR") \
    F(int, waitid, waitpid, MINUS1, NONE, (idtype_t type, id_t id, siginfo_t *info, int options), (type, id, info, options), "EINTR") \
    F(int, sem_wait, sem_wait, MINUS1, NONE, (sem_t *sem), (sem), "EINTR")                                            \
    F(int, sem_timedwait, sem_wait, MINUS1, NONE, (sem_t *sem, const struct timespec *until), (sem, until), "EINTR ETIMEDOUT") \
    F(int, sem_clockwait, sem_wait, MINUS1, NONE, (sem_t *sem, clockid_t clock, const struct timespec *until), (sem, clock, until), "EINTR ETIMEDOUT") \
    F(int, sem_post, sem_post, MINUS1, DROP, (sem_t *sem), (sem), "")                                                 \
    F(int, pthread_mutex_lock, pthread_mutex_lock, CODE, NONE, (pthread_mutex_t *mutex), (mutex), "")                 \
    F(int, pthread_mutex_timedlock, pthread_mutex_lock, CODE, NONE, (pthread_mutex_t *mutex, const struct timespec *until), (mutex, until), "ETIMEDOUT") \
    F(int, pthread_mutex_clocklock, pthread_mutex_lock, CODE, NONE, (pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until), (mutex, clock, until), "ETIMEDOUT") \
    F(int, pthread_mutex_unlock, pthread_mutex_unlock, CODE, DROP, (pthread_mutex_t *mutex), (mutex), "")             \
    F(int, pthread_cond_wait, pthread_cond_wait, CODE, SPURIOUS, (pthread_cond_t *cond, pthread_mutex_t *mutex), (cond, mutex), "") \
    F(int, pthread_cond_timedwait, pthread_cond_wait, CODE, SPURIOUS, (pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until), (cond, mutex, until), "ETIMEDOUT") \
    F(int, pthread_cond_clockwait, pthread_cond_wait, CODE, SPURIOUS, (pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until), (cond, mutex, clock, until), "ETIMEDOUT") \
    F(int, pthread_cond_signal, pthread_cond_signal, CODE, DROP, (pthread_cond_t *cond), (cond), "")                  \
    F(int, pthread_cond_broadcast, pthread_cond_signal, CODE, DROP, (pthread_cond_t *cond), (cond), "")               \
    F(int, poll, poll, MINUS1, NONE, (struct pollfd *fds, nfds_t n, int timeout_ms), (fds, n, timeout_ms), "EINTR ENOMEM") \
    F(int, __poll_chk, poll, MINUS1, NONE, (struct pollfd *fds, nfds_t n, int timeout_ms, size_t size), (fds, n, timeout_ms, size), "EINTR ENOMEM") \
    F(int, ppoll, poll, MINUS1, NONE, (struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask), (fds, n, timeout, mask), "EINTR ENOMEM") \
    F(int, nanosleep, nanosleep, MINUS1, DROP, (const struct timespec *time, struct timespec *left), (time, left), "EINTR") \
    F(int, clock_nanosleep, nanosleep, CODE, DROP, (clockid_t clock, int flags, const struct timespec *time, struct timespec *left), (clock, flags, time, left), "EINTR") \
    F(int, usleep, nanosleep, MINUS1, DROP, (useconds_t us), (us), "EINTR")

#define WEDGE_FUNCTIONS(F) WEDGE_FUNCTIONS_BY_HAND(F) WEDGE_FUNCTIONS_GENERATED(F)
/* clang-format on */

enum wedge_function {
#define F(ret, name, family, style, extra, params, args, errnos) WEDGE_FN_##name,
    WEDGE_FUNCTIONS(F)
#undef F
        WEDGE_FN_COUNT
};
_Static_assert(WEDGE_FN_COUNT <= 256, "the bit set of a rule");

/* The table as data, for the compiler and the listings. */
struct wedge_function_row {
    const char *name, *family;
    enum wedge_function_style style;
    unsigned extra;
    const char *errnos; /* names, one blank between them */
};
extern const struct wedge_function_row wedge_functions[WEDGE_FN_COUNT];

#endif
