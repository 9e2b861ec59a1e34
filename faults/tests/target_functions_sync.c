/* The calls about synchronization and threads, clocks, timers and signals. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "faults/tests/target_functions.h"

static const struct timespec past, far = {.tv_sec = 4000000000};
static const char *number(long n)
{
    static char text[24];
    snprintf(text, sizeof(text), "%ld", n);
    return text;
}

/* A semaphore of value 1; tells the value afterwards. */
#define SEM(name, ...)                                                                                                 \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        sem_t sem;                                                                                                     \
        int value = -1;                                                                                                \
        sem_init(&sem, 0, 1);                                                                                          \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno;                                                                                             \
        sem_getvalue(&sem, &value);                                                                                    \
        probe_tell(rc, error, number(value));                                                                          \
        sem_destroy(&sem);                                                                                             \
    }
SEM(sem_init, sem_init(&sem, 0, 4))
SEM(sem_destroy, sem_destroy(&sem))
SEM(sem_wait, sem_wait(&sem))
SEM(sem_timedwait, sem_timedwait(&sem, probe_never_waits() ? &past : &far))
SEM(sem_clockwait, sem_clockwait(&sem, CLOCK_MONOTONIC, probe_never_waits() ? &past : &far))
SEM(sem_trywait, sem_trywait(&sem))
SEM(sem_post, sem_post(&sem))

static const char *own_name(void)
{
    static char name[32];
    snprintf(name, sizeof(name), "/wedge-probe-%d", (int)getpid());
    return name;
}
#define NAMED_SEM(name, tell, ...)                                                                                     \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        sem_t *sem = sem_open(own_name(), O_CREAT, 0600, 1);                                                           \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        tell(rc, errno, "");                                                                                           \
        sem_close(sem);                                                                                                \
        sem_unlink(own_name());                                                                                        \
    }
NAMED_SEM(sem_open, probe_tell_some, sem_open(own_name(), O_CREAT, 0600, 1))
NAMED_SEM(sem_close, probe_tell, sem_close(sem))
NAMED_SEM(sem_unlink, probe_tell, sem_unlink(own_name()))

/* A mutex; tells whether it is locked afterwards. */
#define MUTEX(name, before, ...)                                                                                       \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        pthread_mutex_t mutex;                                                                                         \
        pthread_mutex_init(&mutex, NULL);                                                                              \
        before;                                                                                                        \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno, locked = pthread_mutex_trylock(&mutex);                                                     \
        probe_tell(rc, error, locked == EBUSY ? "locked" : "free");                                                    \
        pthread_mutex_unlock(&mutex);                                                                                  \
        pthread_mutex_destroy(&mutex);                                                                                 \
    }
MUTEX(pthread_mutex_init, (void)0, pthread_mutex_init(&mutex, NULL))
MUTEX(pthread_mutex_lock, (void)0, pthread_mutex_lock(&mutex))
MUTEX(pthread_mutex_timedlock, (void)0, pthread_mutex_timedlock(&mutex, &far))
MUTEX(pthread_mutex_clocklock, (void)0, pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &far))
MUTEX(pthread_mutex_trylock, (void)0, pthread_mutex_trylock(&mutex))
MUTEX(pthread_mutex_unlock, pthread_mutex_lock(&mutex), pthread_mutex_unlock(&mutex))
CALL(pthread_mutex_destroy)
{
    pthread_mutex_t mutex;
    pthread_mutex_init(&mutex, NULL);
    TELL(pthread_mutex_destroy(&mutex), "");
}
#define MTX(name, before, ...)                                                                                         \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        mtx_t mutex;                                                                                                   \
        mtx_init(&mutex, mtx_timed);                                                                                   \
        before;                                                                                                        \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno, locked = mtx_trylock(&mutex);                                                               \
        probe_tell(rc, error, locked == thrd_busy ? "locked" : "free");                                                \
        mtx_unlock(&mutex);                                                                                            \
        mtx_destroy(&mutex);                                                                                           \
    }
MTX(mtx_init, (void)0, mtx_init(&mutex, mtx_plain))
MTX(mtx_lock, (void)0, mtx_lock(&mutex))
MTX(mtx_timedlock, (void)0, mtx_timedlock(&mutex, &far))
MTX(mtx_trylock, (void)0, mtx_trylock(&mutex))
MTX(mtx_unlock, mtx_lock(&mutex), mtx_unlock(&mutex))
CALL(mtx_destroy)
{
    mtx_t mutex;
    mtx_init(&mutex, mtx_plain);
    TELL_VOID(mtx_destroy(&mutex), "");
}
static void *die_holding(void *mutex)
{
    pthread_mutex_lock(mutex);
    return NULL;
}
CALL(pthread_mutex_consistent)
{
    pthread_mutex_t mutex;
    pthread_mutexattr_t attr;
    pthread_t thread;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attr);
    if (pthread_create(&thread, NULL, die_holding, &mutex) || pthread_join(thread, NULL) ||
        pthread_mutex_lock(&mutex) != EOWNERDEAD)
        abort();
    TELL(pthread_mutex_consistent(&mutex), "");
    pthread_mutex_unlock(&mutex);
}

/* A condition variable and a mutex that is held; a wait is over at once, since its time is. */
#define COND(name, ...)                                                                                                \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;                                                             \
        pthread_cond_t cond;                                                                                           \
        pthread_cond_init(&cond, NULL);                                                                                \
        pthread_mutex_lock(&mutex);                                                                                    \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno, locked = pthread_mutex_trylock(&mutex);                                                     \
        probe_tell(rc, error, locked == EBUSY ? "locked" : "free");                                                    \
        pthread_mutex_unlock(&mutex);                                                                                  \
    }
COND(pthread_cond_init, pthread_cond_init(&cond, NULL))
COND(pthread_cond_destroy, pthread_cond_destroy(&cond))
COND(pthread_cond_timedwait, pthread_cond_timedwait(&cond, &mutex, &past))
COND(pthread_cond_clockwait, pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &past))
COND(pthread_cond_signal, pthread_cond_signal(&cond))
COND(pthread_cond_broadcast, pthread_cond_broadcast(&cond))
#define CND(name, ...)                                                                                                 \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        mtx_t mutex;                                                                                                   \
        cnd_t cond;                                                                                                    \
        mtx_init(&mutex, mtx_plain);                                                                                   \
        cnd_init(&cond);                                                                                               \
        mtx_lock(&mutex);                                                                                              \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno, locked = mtx_trylock(&mutex);                                                               \
        probe_tell(rc, error, locked == thrd_busy ? "locked" : "free");                                                \
        mtx_unlock(&mutex);                                                                                            \
    }
CND(cnd_init, cnd_init(&cond))
CND(cnd_destroy, (cnd_destroy(&cond), 0))
CND(cnd_timedwait, cnd_timedwait(&cond, &mutex, &past))
CND(cnd_signal, cnd_signal(&cond))
CND(cnd_broadcast, cnd_broadcast(&cond))

/* Waits without a time are woken by a thread that gets the mutex when the wait has begun. */
struct waking {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    mtx_t mtx;
    cnd_t cnd;
};
static void *wake(void *arg)
{
    struct waking *w = arg;
    pthread_mutex_lock(&w->mutex);
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}
static int wake_c11(void *arg)
{
    struct waking *w = arg;
    mtx_lock(&w->mtx);
    cnd_signal(&w->cnd);
    mtx_unlock(&w->mtx);
    return 11;
}
CALL(pthread_cond_wait)
{
    struct waking w = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    pthread_mutex_lock(&w.mutex);
    if (pthread_create(&thread, NULL, wake, &w))
        abort();
    TELL(pthread_cond_wait(&w.cond, &w.mutex), pthread_mutex_trylock(&w.mutex) == EBUSY ? "locked" : "free");
    pthread_mutex_unlock(&w.mutex);
    pthread_join(thread, NULL);
}
CALL(cnd_wait)
{
    struct waking w = {0};
    thrd_t thread;
    mtx_init(&w.mtx, mtx_plain);
    cnd_init(&w.cnd);
    mtx_lock(&w.mtx);
    if (thrd_create(&thread, wake_c11, &w) != thrd_success)
        abort();
    TELL(cnd_wait(&w.cnd, &w.mtx), mtx_trylock(&w.mtx) == thrd_busy ? "locked" : "free");
    mtx_unlock(&w.mtx);
    thrd_join(thread, NULL);
}

/* A read-write lock; tells whether somebody could write afterwards. */
#define RWLOCK(name, before, ...)                                                                                      \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        pthread_rwlock_t lock;                                                                                         \
        pthread_rwlock_init(&lock, NULL);                                                                              \
        before;                                                                                                        \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno, taken = pthread_rwlock_trywrlock(&lock);                                                    \
        probe_tell(rc, error, taken ? "taken" : "free");                                                               \
        pthread_rwlock_unlock(&lock);                                                                                  \
    }
RWLOCK(pthread_rwlock_init, (void)0, pthread_rwlock_init(&lock, NULL))
RWLOCK(pthread_rwlock_destroy, (void)0, pthread_rwlock_destroy(&lock))
RWLOCK(pthread_rwlock_rdlock, (void)0, pthread_rwlock_rdlock(&lock))
RWLOCK(pthread_rwlock_timedrdlock, (void)0, pthread_rwlock_timedrdlock(&lock, &far))
RWLOCK(pthread_rwlock_clockrdlock, (void)0, pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &far))
RWLOCK(pthread_rwlock_tryrdlock, (void)0, pthread_rwlock_tryrdlock(&lock))
RWLOCK(pthread_rwlock_wrlock, (void)0, pthread_rwlock_wrlock(&lock))
RWLOCK(pthread_rwlock_timedwrlock, (void)0, pthread_rwlock_timedwrlock(&lock, &far))
RWLOCK(pthread_rwlock_clockwrlock, (void)0, pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &far))
RWLOCK(pthread_rwlock_trywrlock, (void)0, pthread_rwlock_trywrlock(&lock))
RWLOCK(pthread_rwlock_unlock, pthread_rwlock_wrlock(&lock), pthread_rwlock_unlock(&lock))

#define BARRIER(name, ...)                                                                                             \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        pthread_barrier_t barrier;                                                                                     \
        pthread_barrier_init(&barrier, NULL, 1);                                                                       \
        TELL(__VA_ARGS__, "");                                                                                         \
    }
BARRIER(pthread_barrier_init, pthread_barrier_init(&barrier, NULL, 1))
BARRIER(pthread_barrier_destroy, pthread_barrier_destroy(&barrier))
BARRIER(pthread_barrier_wait, pthread_barrier_wait(&barrier))

#define SPIN(name, before, ...)                                                                                        \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        pthread_spinlock_t lock;                                                                                       \
        pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE);                                                             \
        before;                                                                                                        \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno, locked = pthread_spin_trylock(&lock);                                                       \
        probe_tell(rc, error, locked ? "locked" : "free");                                                             \
    }
SPIN(pthread_spin_init, (void)0, pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE))
SPIN(pthread_spin_destroy, (void)0, pthread_spin_destroy(&lock))
SPIN(pthread_spin_lock, (void)0, pthread_spin_lock(&lock))
SPIN(pthread_spin_trylock, (void)0, pthread_spin_trylock(&lock))
SPIN(pthread_spin_unlock, pthread_spin_lock(&lock), pthread_spin_unlock(&lock))

static int routines;
static void routine(void)
{
    routines++;
}
CALL(pthread_once)
{
    static pthread_once_t once;
    routines = 0;
    once = PTHREAD_ONCE_INIT;
    TELL(pthread_once(&once, routine), number(routines));
}
CALL(call_once)
{
    static once_flag once;
    routines = 0;
    once = (once_flag)ONCE_FLAG_INIT;
    TELL_VOID(call_once(&once, routine), number(routines));
}

/* A thread that ends when it is told to; the calls that wait for it come after that, tryjoin before. */
static void *until_posted(void *sem)
{
    while (sem_wait(sem))
        ;
    return (void *)7;
}
#define JOIN(name, early, ...)                                                                                         \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        static sem_t go; /* outlives the thread when nobody joins it */                                                \
        pthread_t thread;                                                                                              \
        void *result = NULL;                                                                                           \
        sem_init(&go, 0, 0);                                                                                           \
        if (pthread_create(&thread, NULL, until_posted, &go))                                                          \
            abort();                                                                                                   \
        if (!(early))                                                                                                  \
            sem_post(&go);                                                                                             \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno;                                                                                             \
        if (early)                                                                                                     \
            sem_post(&go);                                                                                             \
        if (rc && !result)                                                                                             \
            pthread_join(thread, NULL);                                                                                \
        probe_tell(rc, error, number((long)result));                                                                   \
    }
JOIN(pthread_join, 0, pthread_join(thread, &result))
JOIN(pthread_timedjoin_np, 0, pthread_timedjoin_np(thread, &result, &far))
JOIN(pthread_clockjoin_np, 0, pthread_clockjoin_np(thread, &result, CLOCK_MONOTONIC, &far))
JOIN(pthread_tryjoin_np, 1, pthread_tryjoin_np(thread, &result))
JOIN(pthread_detach, 1, pthread_detach(thread))
static int eleven(void *arg)
{
    (void)arg;
    return 11;
}
CALL(thrd_join)
{
    thrd_t thread;
    int result = 0;
    if (thrd_create(&thread, eleven, NULL) != thrd_success)
        abort();
    TELL(thrd_join(thread, &result), number(result));
}
CALL(thrd_detach)
{
    thrd_t thread;
    if (thrd_create(&thread, eleven, NULL) != thrd_success)
        abort();
    TELL(thrd_detach(thread), "");
}

/* Clocks and sleeps. */
#define TIMED(name, ...)                                                                                               \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        struct timespec ts = {0};                                                                                      \
        struct timeval tv;                                                                                             \
        struct itimerval none = {0};                                                                                   \
        (void)ts, (void)tv, (void)none;                                                                                \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        probe_tell_some(rc, errno, "");                                                                                \
    }
TIMED(nanosleep, nanosleep(&past, NULL))
TIMED(clock_nanosleep, clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL))
TIMED(usleep, usleep(1))
TIMED(sleep, sleep(0))
TIMED(thrd_sleep, thrd_sleep(&past, NULL))
TIMED(sched_yield, sched_yield())
TIMED(thrd_yield, (thrd_yield(), 0))
TIMED(clock_gettime, clock_gettime(CLOCK_MONOTONIC, &ts))
TIMED(clock_getres, clock_getres(CLOCK_MONOTONIC, &ts))
TIMED(gettimeofday, gettimeofday(&tv, NULL))
TIMED(time, time(NULL))
TIMED(timespec_get, timespec_get(&ts, TIME_UTC))
TIMED(alarm, alarm(0))
TIMED(ualarm, ualarm(0, 0))
TIMED(setitimer, setitimer(ITIMER_REAL, &none, NULL))

#define TIMER(name, before, ...)                                                                                       \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        struct sigevent event = {.sigev_notify = SIGEV_NONE};                                                          \
        struct itimerspec value = {.it_value = {.tv_sec = 3600}};                                                      \
        timer_t timer = NULL;                                                                                          \
        (void)value;                                                                                                   \
        before;                                                                                                        \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno;                                                                                             \
        probe_tell(rc, error, value.it_value.tv_sec ? "armed" : "");                                                   \
        timer_delete(timer);                                                                                           \
        (void)event;                                                                                                   \
    }
#define MADE timer_create(CLOCK_MONOTONIC, &event, &timer)
TIMER(timer_create, (void)0, MADE)
TIMER(timer_settime, MADE, timer_settime(timer, 0, &value, NULL))
TIMER(timer_gettime, MADE, timer_gettime(timer, &value))
TIMER(timer_getoverrun, MADE, timer_getoverrun(timer))
TIMER(timer_delete, MADE, timer_delete(timer))

/* Signals: SIGUSR1 has a handler that counts. */
static volatile sig_atomic_t caught;
static void count(int signal)
{
    (void)signal;
    caught++;
}
#define SIGNAL(name, ...)                                                                                              \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        struct sigaction action = {.sa_handler = count}, ignore = {.sa_handler = SIG_IGN};                             \
        union sigval value = {0};                                                                                      \
        (void)ignore, (void)value;                                                                                     \
        sigaction(SIGUSR1, &action, NULL);                                                                             \
        caught = 0;                                                                                                    \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        probe_tell_some(rc, errno, number(caught));                                                                    \
    }
SIGNAL(pthread_kill, pthread_kill(pthread_self(), SIGUSR1))
SIGNAL(pthread_sigqueue, pthread_sigqueue(pthread_self(), SIGUSR1, value))
SIGNAL(tgkill, tgkill(getpid(), gettid(), SIGUSR1))
SIGNAL(raise, raise(SIGUSR1))
SIGNAL(sigqueue, sigqueue(getpid(), SIGUSR1, value))
SIGNAL(sigaction, sigaction(SIGUSR1, &ignore, NULL))
SIGNAL(signal, signal(SIGUSR2, SIG_DFL))
SIGNAL(__sysv_signal, __sysv_signal(SIGUSR2, SIG_DFL))

/* SIGUSR1 is blocked and pending. */
#define PENDING(name, ...)                                                                                             \
    CALL(name)                                                                                                         \
    {                                                                                                                  \
        struct sigaction action = {.sa_handler = count};                                                               \
        sigset_t set, none;                                                                                            \
        int signal = 0;                                                                                                \
        siginfo_t info;                                                                                                \
        sigemptyset(&none);                                                                                            \
        sigemptyset(&set);                                                                                             \
        sigaddset(&set, SIGUSR1);                                                                                      \
        sigaction(SIGUSR1, &action, NULL);                                                                             \
        sigprocmask(SIG_BLOCK, &set, NULL);                                                                            \
        raise(SIGUSR1);                                                                                                \
        caught = 0;                                                                                                    \
        (void)signal, (void)info;                                                                                      \
        long rc = PROBE(__VA_ARGS__);                                                                                  \
        int error = errno;                                                                                             \
        probe_tell(rc, error, number(signal + caught));                                                                \
        sigtimedwait(&set, NULL, &past);                                                                               \
        sigprocmask(SIG_UNBLOCK, &set, NULL);                                                                          \
    }
PENDING(sigwait, sigwait(&set, &signal))
PENDING(sigwaitinfo, sigwaitinfo(&set, &info))
PENDING(sigtimedwait, sigtimedwait(&set, &info, &far))
PENDING(sigsuspend, sigsuspend(&none))
PENDING(sigprocmask, sigprocmask(SIG_UNBLOCK, &set, NULL))
PENDING(pthread_sigmask, pthread_sigmask(SIG_UNBLOCK, &set, NULL))
CALL(pause)
{
    /* It ends with the first alarm after it began, whenever that is. */
    struct itimerval often = {{0, 1000}, {0, 1000}}, none = {0};
    struct sigaction action = {.sa_handler = count};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    long rc = PROBE(pause());
    int error = errno;
    setitimer(ITIMER_REAL, &none, NULL);
    probe_tell(rc, error, "");
}

/* As linked before glibc 2.34, 2.3.2 and 2.3.3. */
int old_pthread_kill(pthread_t thread, int signal);
int old_pthread_cond_signal(void *cond);
int old_timer_create(clockid_t clock, struct sigevent *event, int *timer);
__asm__(".symver old_pthread_kill, pthread_kill@GLIBC_2.2.5");
__asm__(".symver old_pthread_cond_signal, pthread_cond_signal@GLIBC_2.2.5");
__asm__(".symver old_timer_create, timer_create@GLIBC_2.2.5");

static void *at_once(void *ended)
{
    sem_post(ended);
    return NULL;
}

void probe_old_versions(void)
{
    pthread_t thread;
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    void *cond = NULL;
    sem_t ended;
    int timer = 0;
    sem_init(&ended, 0, 0);
    if (pthread_create(&thread, NULL, at_once, &ended))
        abort();
    sem_wait(&ended);
    /* A thread that has ended is no such thread for the old one, and no error for the new one. */
    for (int i = 0; old_pthread_kill(thread, 0) == 0 && i < 10000; i++)
        usleep(1000);
    long old = PROBE(old_pthread_kill(thread, 0)), new = PROBE(pthread_kill(thread, 0));
    printf("old pthread_kill: %ld %ld %ld\n", old, new, PROBE(old_pthread_kill(thread, 0)));
    pthread_join(thread, NULL);
    printf("old pthread_cond_signal: %ld\n", PROBE(old_pthread_cond_signal(&cond)));
    long rc = PROBE(old_timer_create(CLOCK_MONOTONIC, &event, &timer));
    printf("old timer_create: %ld %d\n", rc, errno);
}
