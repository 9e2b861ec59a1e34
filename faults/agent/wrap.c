/*
 * The wrapped functions that follow one pattern, generated from the table in faults/functions.h; and what all
 * wrappers share. A function that no rule names costs a load and a test before the tail call.
 */
#include "faults/agent/agent.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faults/agent/real.h"

_Atomic uint64_t agent_armed[WEDGE_RULE_FUNCTIONS_WORDS];
uint64_t agent_function_rules[WEDGE_FN_COUNT][AGENT_RULE_WORDS];
struct agent_real agent_real;
void (*agent_gcov_dump)(void);

static const enum wedge_function_style styles[WEDGE_FN_COUNT] = {
#define F(ret, name, family, style, extra, params, args, errnos) [WEDGE_FN_##name] = WEDGE_STYLE_##style,
    WEDGE_FUNCTIONS(F)
#undef F
};

/* dlsym may allocate, so all at once: in the constructor, or at the first call of a library that runs before it. */
void agent_resolve(void)
{
    static const struct {
        const char *name;
        const char *version; /* NULL: the default one */
    } symbols[] = {
#define F(ret, name, family, style, extra, params, args, errnos) {#name, NULL},
        WEDGE_FUNCTIONS(F)
#undef F
#define F(name) {#name, "GLIBC_2.2.5"},
            WEDGE_OLD_CONDITIONS(F)
#undef F
                {"exit", NULL},
        {"_exit", NULL},
        {"_Exit", NULL},
        {"quick_exit", NULL},
        {"vfork", NULL},
        {"dlopen", NULL},
        {"pthread_create", NULL},
    };
    _Static_assert(sizeof(symbols) / sizeof(symbols[0]) == sizeof(agent_real) / sizeof(void *), "one pointer each");
    void **to = (void **)&agent_real;
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *found = NULL;
        if (symbols[i].version)
            found = dlvsym(RTLD_NEXT, symbols[i].name, symbols[i].version);
        if (!found)
            found = dlsym(RTLD_NEXT, symbols[i].name);
        /* Two condition variables live in libc, and a call to the wrong one corrupts. Before glibc 2.36 dlsym may
         * give the old one; what comes next may also be a sanitizer's, which has no version and must not be missed. */
        if (i < WEDGE_FN_COUNT && agent_condition_since_2_3_2(i) &&
            found == dlvsym(RTLD_NEXT, symbols[i].name, "GLIBC_2.2.5"))
            found = dlvsym(RTLD_NEXT, symbols[i].name, "GLIBC_2.3.2");
        to[i] = found;
    }
    agent_gcov_dump = (void (*)(void))dlsym(RTLD_DEFAULT, "__gcov_dump");
}

void agent_arm_functions(void)
{
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        const struct wedge_arena_rule *rule = &agent_arena.rules[i];
        if (rule->what != WEDGE_WHAT_FUNCTION)
            continue;
        for (unsigned f = 0; f < WEDGE_FN_COUNT; f++)
            if (rule->functions[f / 64] >> (f % 64) & 1)
                agent_function_rules[f][i / 64] |= 1ull << (i % 64);
        for (unsigned w = 0; w < WEDGE_RULE_FUNCTIONS_WORDS; w++)
            atomic_fetch_or_explicit(&agent_armed[w], rule->functions[w], memory_order_relaxed);
    }
}

bool agent_enter(struct agent_call *call, enum wedge_function function, void *caller, uint64_t object)
{
    call->function = function;
    call->site = (struct agent_site){.object = object, .caller = (uint64_t)(uintptr_t)caller, .asks = true};
    call->known = agent_find_here(&call->here);
    if (!call->known)
        return false;
    agent_hit(&call->here, agent_function_rules[function], &call->site);
    return call->site.answer != AGENT_ANSWER_NONE && call->site.answer != AGENT_ANSWER_SHORT;
}

int64_t agent_result(const struct agent_call *call, int64_t dropped)
{
    if (call->site.answer == AGENT_ANSWER_RETURN)
        return call->site.value;
    if (call->site.answer != AGENT_ANSWER_ERRNO)
        return dropped;
    if (styles[call->function] == WEDGE_STYLE_CODE)
        return call->site.value;
    errno = (int)call->site.value;
    return -1;
}

int64_t agent_leave(struct agent_call *call, int64_t result)
{
    if (!call->known)
        return result;
    call->site.after = true;
    call->site.answer = AGENT_ANSWER_NONE;
    agent_hit(&call->here, agent_function_rules[call->function], &call->site);
    return call->site.answer == AGENT_ANSWER_NONE ? result : agent_result(call, result);
}

/* clang-format off */
#define FIRST(args) FIRST_ args
#define FIRST_(first, ...) ((uint64_t)(uintptr_t)(first))
#define F(ret, name, family, style, extra, params, args, errnos)                                                      \
    AGENT_EXPORT ret WRAPPER(name) params                                                                             \
    {                                                                                                                 \
        if (AGENT_UNLIKELY(!agent_real.name))                                                                         \
            agent_resolve();                                                                                          \
        if (AGENT_LIKELY(!agent_is_armed(WEDGE_FN_##name)))                                                           \
            return agent_real.name args;                                                                              \
        struct agent_call call;                                                                                       \
        if (agent_enter(&call, WEDGE_FN_##name, __builtin_return_address(0), FIRST(args)))                            \
            return (ret)agent_result(&call, 0);                                                                       \
        return (ret)agent_leave(&call, (int64_t)agent_real.name args);                                                \
    }
/* A wrapper has its function's own name, except the condition variables: theirs has two versions (below). */
#define WRAPPER(name) WRAPPER_##name
#define WRAPPER_close close
#define WRAPPER___open_2 __open_2
#define WRAPPER___open64_2 __open64_2
#define WRAPPER___openat_2 __openat_2
#define WRAPPER___openat64_2 __openat64_2
#define WRAPPER_waitpid waitpid
#define WRAPPER_wait wait
#define WRAPPER_wait4 wait4
#define WRAPPER_waitid waitid
#define WRAPPER_sem_wait sem_wait
#define WRAPPER_sem_timedwait sem_timedwait
#define WRAPPER_sem_clockwait sem_clockwait
#define WRAPPER_sem_post sem_post
#define WRAPPER_pthread_mutex_lock pthread_mutex_lock
#define WRAPPER_pthread_mutex_timedlock pthread_mutex_timedlock
#define WRAPPER_pthread_mutex_clocklock pthread_mutex_clocklock
#define WRAPPER_pthread_mutex_unlock pthread_mutex_unlock
#define WRAPPER_pthread_cond_wait agent_new_pthread_cond_wait
#define WRAPPER_pthread_cond_timedwait agent_new_pthread_cond_timedwait
#define WRAPPER_pthread_cond_clockwait pthread_cond_clockwait
#define WRAPPER_pthread_cond_signal agent_new_pthread_cond_signal
#define WRAPPER_pthread_cond_broadcast agent_new_pthread_cond_broadcast
#define WRAPPER_poll poll
#define WRAPPER___poll_chk __poll_chk
#define WRAPPER_ppoll ppoll
#define WRAPPER_nanosleep nanosleep
#define WRAPPER_clock_nanosleep clock_nanosleep
#define WRAPPER_usleep usleep
/* Not declared by the headers unless fortified, or by us alone. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t size);
int agent_new_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int agent_new_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int agent_new_pthread_cond_signal(pthread_cond_t *cond);
int agent_new_pthread_cond_broadcast(pthread_cond_t *cond);
WEDGE_FUNCTIONS_GENERATED(F)
#undef F
/* clang-format on */

/* The condition variables of before glibc 2.3.2, which only programs that old ask for: passed on, never at fault. */
int agent_old_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int agent_old_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int agent_old_pthread_cond_signal(pthread_cond_t *cond);
int agent_old_pthread_cond_broadcast(pthread_cond_t *cond);

AGENT_EXPORT int agent_old_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    if (!agent_real.old_pthread_cond_wait)
        agent_resolve();
    return agent_real.old_pthread_cond_wait(cond, mutex);
}
AGENT_EXPORT int agent_old_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                                  const struct timespec *until)
{
    if (!agent_real.old_pthread_cond_timedwait)
        agent_resolve();
    return agent_real.old_pthread_cond_timedwait(cond, mutex, until);
}
AGENT_EXPORT int agent_old_pthread_cond_signal(pthread_cond_t *cond)
{
    if (!agent_real.old_pthread_cond_signal)
        agent_resolve();
    return agent_real.old_pthread_cond_signal(cond);
}
AGENT_EXPORT int agent_old_pthread_cond_broadcast(pthread_cond_t *cond)
{
    if (!agent_real.old_pthread_cond_broadcast)
        agent_resolve();
    return agent_real.old_pthread_cond_broadcast(cond);
}
__asm__(".symver agent_new_pthread_cond_wait, pthread_cond_wait@@@GLIBC_2.3.2");
__asm__(".symver agent_new_pthread_cond_timedwait, pthread_cond_timedwait@@@GLIBC_2.3.2");
__asm__(".symver agent_new_pthread_cond_signal, pthread_cond_signal@@@GLIBC_2.3.2");
__asm__(".symver agent_new_pthread_cond_broadcast, pthread_cond_broadcast@@@GLIBC_2.3.2");
__asm__(".symver agent_old_pthread_cond_wait, pthread_cond_wait@GLIBC_2.2.5, remove");
__asm__(".symver agent_old_pthread_cond_timedwait, pthread_cond_timedwait@GLIBC_2.2.5, remove");
__asm__(".symver agent_old_pthread_cond_signal, pthread_cond_signal@GLIBC_2.2.5, remove");
__asm__(".symver agent_old_pthread_cond_broadcast, pthread_cond_broadcast@GLIBC_2.2.5, remove");
