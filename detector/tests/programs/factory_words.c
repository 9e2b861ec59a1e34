/*
 * Cases about raw futex words: any thread that reaches one may wake who sleeps there, and some look like a lock.
 */
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

static _Atomic uint32_t words[16];

static long futex(void *word, int op, uint32_t val, const void *timeout_or_val2, void *other, uint32_t val3)
{
    return syscall(SYS_futex, word, op, val, timeout_or_val2, other, val3);
}
static void *wait_on_word(void *arg)
{
    while (words[0] == 0)
        futex(&words[0], FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return arg;
}
/* Whoever set the word did not say so. */
static void word_without_wake(void)
{
    pthread_t thread;
    factory_spawn(&thread, wait_on_word, NULL);
    while (futex(&words[0], FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)1, &words[0], 0) < 1)
        sched_yield(); /* moves it from the word to the same word: 1 once it sleeps */
    words[0] = 1;
    factory_ready();
    pthread_join(thread, NULL);
}

/* struct futex_waitv of <linux/futex.h>, Linux 5.16; Debian 12's headers have it, others may not. */
struct any_word {
    uint64_t val, address;
    uint32_t flags, reserved;
};
enum { CALL_FUTEX_WAITV = 449, WORD_32_PRIVATE = 2 | FUTEX_PRIVATE_FLAG };
static long wait_for_any(const struct timespec *until)
{
    struct any_word any[2] = {{0, (uintptr_t)&words[0], WORD_32_PRIVATE, 0},
                              {0, (uintptr_t)&words[1], WORD_32_PRIVATE, 0}};
    return syscall(CALL_FUTEX_WAITV, any, 2, 0, until, CLOCK_MONOTONIC);
}
static void waitv_alone(void)
{
    factory_ready();
    while (wait_for_any(NULL) < 0)
        ;
}

/* What Rust's mutex looks like from outside: 2 is "taken, and somebody waits", and what lies behind is data. */
static void take_word(int which)
{
    uint32_t free_word = 0;
    if (atomic_compare_exchange_strong(&words[which], &free_word, 1))
        return;
    while (atomic_exchange(&words[which], 2))
        futex(&words[which], FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}
static void give_word(int which)
{
    atomic_store(&words[which], 0);
    futex(&words[which], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
static void looks_like_a_mutex(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    words[2] = (uint32_t)pid; /* where a mutex has its owner: the number of one who is gone */
    words[3] = 1;
    factory_beside_slow(take_word, give_word);
}
/* Two such locks, crosswise. */
static void cross_words(void)
{
    factory_cross(take_word);
}

static void *wake_any(void *arg)
{
    for (;;) {
        factory_nap(FACTORY_SLOW_MS);
        futex(&words[1], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return arg;
}
static void slow_waitv(void)
{
    pthread_t thread;
    factory_spawn(&thread, wake_any, NULL);
    factory_ready();
    for (;;)
        wait_for_any(NULL);
}

/* It goes to sleep on a word of its own, is moved to another one that is shared, and is woken there by another
 * process. Who moved it has gone meanwhile. */
static void *move_word(void *there)
{
    while (futex(&words[0], FUTEX_CMP_REQUEUE, 0, (void *)1, there, 0) < 1)
        sched_yield();
    return NULL;
}
static void requeued(void)
{
    pthread_t thread;
    void *there = factory_shared(4096);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(FACTORY_SLOW_MS);
            futex(there, FUTEX_WAKE, 1, NULL, NULL, 0);
        }
    factory_ready();
    for (;;) {
        factory_spawn(&thread, move_word, there);
        futex(&words[0], FUTEX_WAIT, 0, NULL, NULL, 0);
        pthread_join(thread, NULL);
    }
}

const struct factory_case factory_words[] = {
    {"word-without-wake", word_without_wake, false},
    {"waitv-alone", waitv_alone, false},
    {"cross-words", cross_words, false},
    {"looks-like-a-mutex", looks_like_a_mutex, true},
    {"slow-waitv", slow_waitv, true},
    {"requeued", requeued, true},
    {NULL, NULL, false},
};
