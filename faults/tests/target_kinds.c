/* Makes two objects of the kind that is its argument, one in make_it and one in make_other, and uses each once. */
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <threads.h>

#include "faults/tests/target_say.h"

struct slot {
    union {
        pthread_mutex_t mutex;
        mtx_t mtx;
        pthread_cond_t cond;
        pthread_rwlock_t rwlock;
        pthread_barrier_t barrier;
        pthread_spinlock_t spin;
        pthread_once_t once;
        sem_t sem;
    } u;
    pthread_t thread;
    sem_t *named;
    void *at;
    int id;
};
static struct slot slots[2];

static void once(void) {}
static void *nothing(void *arg)
{
    return arg;
}

static void named(char name[64], const struct slot *slot)
{
    snprintf(name, 64, "/wedge-test-%d-%d", (int)getpid(), (int)(slot - slots));
}

/* One kind: made by one call, used by one call; each returns 0 for good. In each function of its own that calls. */
#define ALWAYS __attribute__((always_inline)) static inline
ALWAYS int make(const char *kind, struct slot *s)
{
    char name[64];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    named(name, s);
    if (strcmp(kind, "mutex") == 0)
        return pthread_mutex_init(&s->u.mutex, NULL);
    if (strcmp(kind, "mtx") == 0)
        return mtx_init(&s->u.mtx, mtx_plain);
    if (strcmp(kind, "cond") == 0)
        return pthread_cond_init(&s->u.cond, NULL);
    if (strcmp(kind, "rwlock") == 0)
        return pthread_rwlock_init(&s->u.rwlock, NULL);
    if (strcmp(kind, "barrier") == 0)
        return pthread_barrier_init(&s->u.barrier, NULL, 1);
    if (strcmp(kind, "spin") == 0)
        return pthread_spin_init(&s->u.spin, PTHREAD_PROCESS_PRIVATE);
    if (strcmp(kind, "once") == 0) /* its first use makes it */
        return pthread_once(&s->u.once, once);
    if (strcmp(kind, "sem") == 0)
        return sem_init(&s->u.sem, 0, 0);
    if (strcmp(kind, "named") == 0)
        return (s->named = sem_open(name, O_CREAT | O_EXCL, 0600, 0)) == SEM_FAILED || sem_unlink(name);
    if (strcmp(kind, "thread") == 0)
        return pthread_create(&s->thread, NULL, nothing, NULL);
    if (strcmp(kind, "mapping") == 0)
        return (s->at = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) == MAP_FAILED;
    if (strcmp(kind, "semset") == 0)
        return (s->id = semget(IPC_PRIVATE, 1, 0600)) < 0;
    if (strcmp(kind, "msgqueue") == 0)
        return (s->id = msgget(IPC_PRIVATE, 0600)) < 0;
    if (strcmp(kind, "segment") == 0)
        return (s->id = shmget(IPC_PRIVATE, 4096, 0600)) < 0;
    if (strcmp(kind, "socket") == 0)
        return (s->id = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0;
    if (strcmp(kind, "file") == 0)
        return (s->id = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0;
    if (strcmp(kind, "eventfd") == 0 || strcmp(kind, "fd") == 0)
        return (s->id = eventfd(1, EFD_CLOEXEC)) < 0;
    if (strcmp(kind, "timerfd") == 0)
        return (s->id = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) < 0;
    if (strcmp(kind, "signalfd") == 0)
        return (s->id = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0;
    if (strcmp(kind, "epoll") == 0)
        return (s->id = epoll_create1(EPOLL_CLOEXEC)) < 0;
    if (strcmp(kind, "mqueue") == 0)
        return (s->id = mq_open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600, NULL)) < 0 || mq_unlink(name);
    return -1;
}

static int use(const char *kind, struct slot *s)
{
    uint64_t word = 0;
    struct itimerspec never = {{0}};
    struct epoll_event event;
    if (strcmp(kind, "mutex") == 0)
        return pthread_mutex_trylock(&s->u.mutex);
    if (strcmp(kind, "mtx") == 0)
        return mtx_trylock(&s->u.mtx);
    if (strcmp(kind, "cond") == 0)
        return pthread_cond_broadcast(&s->u.cond);
    if (strcmp(kind, "rwlock") == 0)
        return pthread_rwlock_rdlock(&s->u.rwlock);
    if (strcmp(kind, "barrier") == 0)
        return pthread_barrier_wait(&s->u.barrier) != PTHREAD_BARRIER_SERIAL_THREAD;
    if (strcmp(kind, "spin") == 0)
        return pthread_spin_lock(&s->u.spin);
    if (strcmp(kind, "once") == 0)
        return pthread_once(&s->u.once, once);
    if (strcmp(kind, "sem") == 0)
        return sem_post(&s->u.sem);
    if (strcmp(kind, "named") == 0)
        return sem_post(s->named);
    if (strcmp(kind, "thread") == 0)
        return pthread_join(s->thread, NULL);
    if (strcmp(kind, "mapping") == 0)
        return mprotect((char *)s->at + 4096, 4096, PROT_NONE) || munmap(s->at, 8192);
    if (strcmp(kind, "semset") == 0) {
        struct sembuf up = {.sem_op = 1};
        return semop(s->id, &up, 1) || semctl(s->id, 0, IPC_RMID);
    }
    if (strcmp(kind, "msgqueue") == 0)
        return msgrcv(s->id, &event, 0, 0, IPC_NOWAIT) >= 0 || msgctl(s->id, IPC_RMID, NULL);
    if (strcmp(kind, "segment") == 0) {
        void *at = shmat(s->id, NULL, 0);
        return at == (void *)-1 || shmctl(s->id, IPC_RMID, NULL);
    }
    if (strcmp(kind, "socket") == 0)
        return listen(s->id, 1) == 0; /* it has no name */
    if (strcmp(kind, "file") == 0)
        return write(s->id, &word, 1) != 1;
    if (strcmp(kind, "eventfd") == 0 || strcmp(kind, "fd") == 0 || strcmp(kind, "signalfd") == 0)
        return read(s->id, &word, sizeof(word)) > 8;
    if (strcmp(kind, "timerfd") == 0)
        return timerfd_settime(s->id, 0, &never, NULL);
    if (strcmp(kind, "epoll") == 0)
        return epoll_wait(s->id, &event, 1, 0);
    return mq_send(s->id, "x", 1, 0);
}

__attribute__((noinline)) static int make_it(const char *kind)
{
    int rc = make(kind, &slots[0]);
    __asm__ volatile("" ::: "memory");
    return rc;
}

__attribute__((noinline)) static int make_other(const char *kind)
{
    int rc = make(kind, &slots[1]);
    __asm__ volatile("" ::: "memory");
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    if (make_other(argv[1]) || make_it(argv[1]))
        return 77; /* what this machine does not have */
    int a = use(argv[1], &slots[0]), b = use(argv[1], &slots[1]);
    say("used %d %d\n", a, b);
    return 0;
}
