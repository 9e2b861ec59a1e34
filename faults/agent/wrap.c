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

/* What an answer needs to know of a function. The full table is wedge's (faults/functions.c). */
static const struct {
    uint8_t style, kind;
} rows[WEDGE_FN_COUNT] = {
#define F(ret, name, family, style, extra, kind, ...) [WEDGE_FN_##name] = {WEDGE_STYLE_##style, WEDGE_OBJECT_##kind},
#include "faults/functions/all.def"
#undef F
};

/* dlsym may allocate, so all at once: in the constructor, or at the first call of a library that runs before it. */
void agent_resolve(void)
{
    static const struct {
        const char *name;
        bool versions; /* two of them in libc, and the older one corrupts what the newer one made */
        bool old; /* the older one is asked for */
    } symbols[] = {
#define F(ret, name, ...) {#name, false, false},
#define V(ret, name, ...) {#name, true, false},
#include "faults/functions/all.def"
#undef F
#undef V
#define F(...)
#define V(ret, name, ...) {#name, true, true},
#include "faults/functions/all.def"
#undef F
#undef V
        {"exit", false, false},
        {"_exit", false, false},
        {"_Exit", false, false},
        {"quick_exit", false, false},
        {"vfork", false, false},
        {"dlopen", false, false},
        {"pthread_create", false, false},
    };
    _Static_assert(sizeof(symbols) / sizeof(symbols[0]) == sizeof(agent_real) / sizeof(void *), "one pointer each");
    void **to = (void **)&agent_real;
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *old = symbols[i].versions ? dlvsym(RTLD_NEXT, symbols[i].name, "GLIBC_2.2.5") : NULL;
        void *found = symbols[i].old ? old : NULL;
        if (!found)
            found = dlsym(RTLD_NEXT, symbols[i].name);
        /* Before glibc 2.36 dlsym may give the old one; what comes next may also be a sanitizer's, which has no
         * version and must not be missed. */
        if (symbols[i].versions && !symbols[i].old && found == old)
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

bool agent_enter(struct agent_call *call, enum wedge_function function, void *caller, uint64_t object,
                 const uint64_t *args, unsigned n_args)
{
    call->function = function;
    call->site = (struct agent_site){.object = object,
                                     .kind = rows[function].kind,
                                     .caller = (uint64_t)(uintptr_t)caller,
                                     .args = args,
                                     .n_args = n_args,
                                     .asks = true};
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
    if (rows[call->function].style == WEDGE_STYLE_CODE)
        return call->site.value;
    errno = (int)call->site.value;
    return rows[call->function].style == WEDGE_STYLE_NULLED ? 0 : -1;
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

/*
 * The wrappers. Each has a name of its own in C and its function's in the object file, so that no header's macro or
 * declaration of it is in the way.
 */
#define NO_CUT
#define CUT_COUNT(n)                                                                                                   \
    if (call.site.answer == AGENT_ANSWER_SHORT && (uint64_t)call.site.value < (n))                                     \
        (n) = (size_t)call.site.value;
#define GENERATE(label, ret, name, object, params, args, cut, dropped)                                                 \
    AGENT_EXPORT ret agent_wrap_##name params __asm__(label);                                                          \
    AGENT_EXPORT ret agent_wrap_##name params                                                                          \
    {                                                                                                                  \
        if (AGENT_UNLIKELY(!agent_real.name))                                                                          \
            agent_resolve();                                                                                           \
        if (AGENT_LIKELY(!agent_is_armed(WEDGE_FN_##name)))                                                            \
            return agent_real.name args;                                                                               \
        struct agent_call call;                                                                                        \
        const uint64_t words[] = {AGENT_WORDS args};                                                                   \
        if (agent_enter(&call, WEDGE_FN_##name, __builtin_return_address(0), AGENT_WORD(object), words,                \
                        sizeof(words) / sizeof(words[0])))                                                             \
            return (ret)agent_result(&call, (int64_t)(dropped));                                                       \
        cut return (ret)agent_leave(&call, (int64_t)agent_real.name args);                                             \
    }
#define F(ret, name, family, style, extra, kind, effect, object, params, args, cut, dropped, ...)                      \
    GENERATE(#name, ret, name, object, params, args, cut, dropped)
#define V(ret, name, family, style, extra, kind, effect, object, params, args, cut, dropped, ...)                      \
    GENERATE("agent_new_" #name, ret, name, object, params, args, cut, dropped)
#define H(...)
#include "faults/functions/all.def"
#undef F
#undef V
#undef H

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
