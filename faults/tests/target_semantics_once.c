/* What happens to one call: a wait that nobody ended, a byte that is another, a death before the effect or after it. */
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <threads.h>

#include "faults/tests/target_semantics.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool flag;
static void *set_flag(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&mutex);
    flag = true;
    pthread_mutex_unlock(&mutex);
    return NULL;
}

/* Nobody signals: only waits that return, and give the lock up meanwhile, end this. */
void mode_spurious(void)
{
    pthread_t thread;
    pthread_mutexattr_t attr;
    pthread_mutex_t checked;
    struct timespec until = in_ms(CLOCK_REALTIME, 60000);
    mtx_t plain;
    cnd_t bare;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &attr);
    pthread_mutex_lock(&mutex);
    must(pthread_create(&thread, NULL, set_flag, NULL) == 0);
    long waits = 0;
    int rc = 0;
    for (; !flag && waits < 20000000 && rc == 0; waits++)
        rc = pthread_cond_wait(&cond, &mutex);
    say("flag %d %d\n", flag, rc);
    pthread_mutex_unlock(&mutex);
    pthread_join(thread, NULL);
    say("not held %d\n", pthread_cond_wait(&cond, &checked) == EPERM);
    pthread_mutex_lock(&checked);
    rc = pthread_cond_timedwait(&cond, &checked, &until);
    int again = pthread_mutex_lock(&checked);
    say("held %d %d\n", rc, again == EDEADLK);
    must(mtx_init(&plain, mtx_plain) == thrd_success && cnd_init(&bare) == thrd_success);
    mtx_lock(&plain);
    rc = cnd_wait(&bare, &plain);
    say("c11 %d %d\n", rc == thrd_success, mtx_trylock(&plain) == thrd_busy);
    int word = 0;
    struct timespec brief = {0, 1000000}; /* should nothing wake it */
    long woken = syscall(SYS_futex, &word, 0L /* FUTEX_WAIT */, 0L, &brief, NULL, 0L);
    say("futex %ld\n", woken);
    say("pid %d\n", syscall(SYS_getpid) == getpid());
}

/* Where two texts differ; -1: nowhere, -2: in more than one byte. */
static int difference(const char *a, const char *b, size_t n)
{
    int at = -1;
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            at = at == -1 ? (int)i : -2;
    return at;
}

static const char words[] = "the quick brown fox jumps over it";
enum { WORDS = sizeof(words) - 1 };

/* corrupt NAME: what arrives, and what the caller's own memory has. */
void mode_corrupt(char **argv)
{
    const char *name = argv[2];
    char mine[WORDS], got[64] = {0};
    struct iovec three[] = {{mine, 3}, {mine + 3, 0}, {mine + 3, 20}, {mine + 23, WORDS - 23}};
    struct iovec three_in[] = {{got, 3}, {got + 3, 0}, {got + 3, 20}, {got + 23, WORDS - 23}};
    struct msghdr message = {.msg_iov = three, .msg_iovlen = 4}, message_in = {.msg_iov = three_in, .msg_iovlen = 4};
    struct mq_attr attr = {.mq_maxmsg = 8, .mq_msgsize = 64};
    char queue_name[32];
    long n = -2, m = 0;
    int socks[2], ends[2], file = (int)syscall(SYS_memfd_create, "file", 0L);
    memcpy(mine, words, WORDS);
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, socks) == 0 && pipe(ends) == 0);
    snprintf(queue_name, sizeof(queue_name), "/wedge-semantics-%d", getpid());
    mqd_t mq = mq_open(queue_name, O_CREAT | O_RDWR, 0600, &attr);
    must(mq >= 0 && mq_unlink(queue_name) == 0);
    bool put = true;
    if (strcmp(name, "write") == 0)
        n = write(ends[1], mine, WORDS);
    else if (strcmp(name, "writev") == 0)
        n = writev(ends[1], three, 4);
    else if (strcmp(name, "pwrite") == 0)
        n = pwrite(file, mine, WORDS, 5);
    else if (strcmp(name, "pwritev2") == 0)
        n = pwritev2(file, three, 4, 5, 0);
    else if (strcmp(name, "send") == 0)
        n = send(socks[0], mine, WORDS, 0);
    else if (strcmp(name, "sendto") == 0)
        n = sendto(socks[0], mine, WORDS, 0, NULL, 0);
    else if (strcmp(name, "sendmsg") == 0)
        n = sendmsg(socks[0], &message, 0);
    else if (strcmp(name, "mq_send") == 0)
        n = mq_send(mq, mine, WORDS, 0) == 0 ? WORDS : -1;
    else
        put = false;
    if (put) {
        if (name[0] == 'w')
            m = syscall(SYS_read, ends[0], got, sizeof(got));
        else if (name[0] == 'p')
            m = syscall(SYS_pread64, file, got, sizeof(got), 5L);
        else if (name[0] == 's')
            m = syscall(SYS_recvfrom, socks[1], got, sizeof(got), 0L, 0L, 0L);
        else
            m = syscall(SYS_mq_timedreceive, mq, got, sizeof(got), 0L, 0L);
    } else {
        m = WORDS;
        must(syscall(SYS_write, ends[1], words, (long)WORDS) == WORDS &&
             syscall(SYS_pwrite64, file, words, (long)WORDS, 5L) == WORDS &&
             syscall(SYS_sendto, socks[1], words, (long)WORDS, 0L, 0L, 0L) == WORDS &&
             syscall(SYS_mq_timedsend, mq, words, (long)WORDS, 0L, 0L) == 0);
        n = strcmp(name, "read") == 0      ? read(ends[0], got, sizeof(got))
            : strcmp(name, "readv") == 0   ? readv(ends[0], three_in, 4)
            : strcmp(name, "pread") == 0   ? pread(file, got, sizeof(got), 5)
            : strcmp(name, "recv") == 0    ? recv(socks[0], got, sizeof(got), 0)
            : strcmp(name, "trunc") == 0   ? recv(socks[0], got, 4, MSG_TRUNC)
            : strcmp(name, "recvmsg") == 0 ? recvmsg(socks[0], &message_in, 0)
                                           : mq_receive(mq, got, sizeof(got), NULL);
    }
    say("%s %ld %ld mine %d at %d\n", name, n, m, difference(mine, words, WORDS),
        difference(got, words, strcmp(name, "trunc") == 0 ? 4 : WORDS));
}

/* A child writes one byte: is it there when the child is dead? */
void mode_child(void)
{
    int ends[2], status;
    must(syscall(SYS_pipe2, ends, 0L) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        write(ends[1], "x", 1);
        _exit(3);
    }
    must(pid > 0);
    syscall(SYS_close, ends[1]);
    char byte;
    long n = syscall(SYS_read, ends[0], &byte, 1L);
    must(waitpid(pid, &status, WUNTRACED) == pid);
    say("bytes %ld, %s %d\n", n, WIFSIGNALED(status) ? "signal" : "status",
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

void mode_stop(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        sched_yield();
        _exit(3);
    }
    must(pid > 0 && waitpid(pid, &status, WUNTRACED) == pid);
    say("stopped %d\n", WIFSTOPPED(status) ? WSTOPSIG(status) : 0);
    kill(pid, SIGCONT);
    must(waitpid(pid, &status, 0) == pid);
    say("ended %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}
