/*
 * System calls without libc: what the agent does on its own account must neither pass through a wrapper (its own or
 * another preload's) nor touch errno. x86-64 Linux.
 */
#ifndef WEDGE_FAULTS_AGENT_SYS_H
#define WEDGE_FAULTS_AGENT_SYS_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

/* Returns what the kernel returned: a negative errno on failure. Async-signal-safe. */
static inline long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline int32_t sys_getpid(void)
{
    return (int32_t)sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static inline int32_t sys_gettid(void)
{
    return (int32_t)sys_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

/* Sleeps while *word is `value`, until a wake, a signal, or `until_ns` (CLOCK_MONOTONIC; UINT64_MAX: none). The word
 * lies in memory shared between processes, so not FUTEX_PRIVATE. */
static inline long sys_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u)};
    return sys_call(SYS_futex, (long)word, FUTEX_WAIT_BITSET, (long)value, until_ns == UINT64_MAX ? 0 : (long)&until, 0,
                    FUTEX_BITSET_MATCH_ANY);
}

static inline void sys_futex_wake_all(_Atomic uint32_t *word)
{
    sys_call(SYS_futex, (long)word, FUTEX_WAKE, INT32_MAX, 0, 0, 0);
}

/* libc's own, past our wrapper; set by agent_resolve. */
extern int (*sys_clock_gettime)(clockid_t clock, struct timespec *time);

/* Where a thread gave up the processor's time-stamp counter, reading it is death, and so is every clock of the vDSO:
 * prctl(2), PR_SET_TSC, and in the kernel's seccomp.c strict mode too, which forbids the system call as well. There the
 * time stands still: `sys_last_ns`. Both are set by the wrapper of prctl. */
extern __thread uint32_t sys_no_clock __attribute__((tls_model("initial-exec"))); /* strict, this thread alone */
extern _Atomic uint32_t sys_no_counter; /* a thread of this process, and those that it made since */
extern _Atomic uint64_t sys_last_ns;

static inline bool sys_has_counter(void)
{
    return __builtin_expect(!(sys_no_clock | atomic_load_explicit(&sys_no_counter, memory_order_relaxed)), 1);
}

/* By the vDSO: no system call where the clock source allows it. */
static inline uint64_t sys_now_ns(void)
{
    struct timespec ts = {0};
    if (sys_no_clock)
        return atomic_load_explicit(&sys_last_ns, memory_order_relaxed);
    if (sys_has_counter())
        sys_clock_gettime(CLOCK_MONOTONIC, &ts);
    else
        sys_call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&ts, 0, 0, 0, 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
