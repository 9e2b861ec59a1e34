/*
 * What all wrappers share: the real functions, which of them a rule names, and the pass before and after the effect.
 */
#include "faults/agent/agent.h"

#include <dlfcn.h>
#include <errno.h>

#include "faults/agent/interface.h"
#include "faults/agent/object.h"
#include "faults/agent/object_roles.h"
#include "faults/agent/quick.h"
#include "faults/agent/real.h"
#include "faults/agent/shut.h"
#include "faults/agent/sys.h"
#include "faults/agent/where.h"

/* Alarms from the beginning: a constructor that runs before ours, or what runs before all of them, may arm one. */
#define BIT_IN(function, word) ((function) / 64 == (word) ? 1ull << ((function) % 64) : 0)
#define ALARMS_IN(word)                                                                                                \
    (BIT_IN(WEDGE_FN_alarm, word) | BIT_IN(WEDGE_FN_ualarm, word) | BIT_IN(WEDGE_FN_setitimer, word))
_Atomic uint64_t agent_armed[] = {ALARMS_IN(0), ALARMS_IN(1), ALARMS_IN(2), ALARMS_IN(3), ALARMS_IN(4), ALARMS_IN(5)};
_Static_assert(sizeof(agent_armed) == WEDGE_RULE_FUNCTIONS_WORDS * sizeof(uint64_t), "a word for each of a rule's");
uint64_t agent_function_rules[WEDGE_FN_COUNT][AGENT_RULE_WORDS];
uint64_t agent_function_rules_after[WEDGE_FN_COUNT][AGENT_RULE_WORDS];
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

#define VERSIONS(name, old, new) static const char old_of_##name[] = old, new_of_##name[] = new;
#define ALSO(name, version)
#include "faults/agent/versions.def"
#undef VERSIONS
#undef ALSO

/* In the place of a function that this libc does not have: a program that looks for it with a weak reference finds
 * our wrapper. */
static int64_t missing(void)
{
    errno = ENOSYS;
    return -1;
}

int (*sys_clock_gettime)(clockid_t clock, struct timespec *time);
__thread uint32_t sys_no_clock __attribute__((tls_model("initial-exec")));
_Atomic uint32_t sys_no_counter;
_Atomic uint64_t sys_last_ns;

/* dlsym may allocate, so all at once: in the constructor, or at the first call of a library that runs before it. */
void agent_resolve(void)
{
    static const struct {
        const char *name;
        const char *old, *new; /* the versions in libc that must not be mixed, NULL: there is one */
        bool is_old; /* the older one is asked for */
    } symbols[] = {
#define F(ret, name, ...) {#name, NULL, NULL, false},
#define V(ret, name, ...) {#name, old_of_##name, new_of_##name, false},
#include "faults/functions/all.def"
#undef F
#undef V
#define F(...)
#define V(ret, name, ...) {#name, old_of_##name, new_of_##name, true},
#include "faults/functions/all.def"
#undef F
#undef V
        {"exit", NULL, NULL, false},
        {"_exit", NULL, NULL, false},
        {"_Exit", NULL, NULL, false},
        {"quick_exit", NULL, NULL, false},
        {"dlopen", NULL, NULL, false},
        {"prctl", NULL, NULL, false},
        {"pthread_setname_np", NULL, NULL, false},
        {"dlmopen", NULL, NULL, false},
        {"posix_spawn", "GLIBC_2.2.5", "GLIBC_2.15", true},
        {"posix_spawnp", "GLIBC_2.2.5", "GLIBC_2.15", true},
    };
    _Static_assert(sizeof(symbols) / sizeof(symbols[0]) == sizeof(agent_real) / sizeof(void *), "one pointer each");
    void **to = (void **)&agent_real;
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *old = symbols[i].old ? dlvsym(RTLD_NEXT, symbols[i].name, symbols[i].old) : NULL;
        void *found = symbols[i].is_old ? old : NULL;
        if (!found)
            found = dlsym(RTLD_NEXT, symbols[i].name);
        /* Before glibc 2.36 dlsym may give the old one; what comes next may also be a sanitizer's, which has no
         * version and must not be missed. */
        if (symbols[i].new && !symbols[i].is_old && found == old)
            found = dlvsym(RTLD_NEXT, symbols[i].name, symbols[i].new);
        to[i] = found ? found : (void *)missing;
    }
    sys_clock_gettime = agent_real.clock_gettime;
    agent_gcov_dump = (void (*)(void))dlsym(RTLD_DEFAULT, "__gcov_dump");
    /* What was not found is no error of the program's: the second call forgets what the first one told (dlerror.c). */
    if (dlerror())
        dlerror();
}

void agent_arm_functions(void)
{
    uint64_t armed[WEDGE_RULE_FUNCTIONS_WORDS] = {0};
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        const struct wedge_arena_rule *rule = &agent_arena.rules[i];
        if (rule->what != WEDGE_WHAT_FUNCTION)
            continue;
        uint64_t(*rules)[AGENT_RULE_WORDS] = rule->after_effect ? agent_function_rules_after : agent_function_rules;
        for (unsigned f = 0; f < WEDGE_FN_COUNT; f++)
            if (rule->functions[f / 64] >> (f % 64) & 1)
                rules[f][i / 64] |= 1ull << (i % 64);
        for (unsigned w = 0; w < WEDGE_RULE_FUNCTIONS_WORDS; w++)
            armed[w] |= rule->functions[w];
    }
    agent_object_watch(armed);
    agent_record_watch(armed);
    agent_shut_watch(armed);
    agent_quick_prepare();
    for (unsigned w = 0; w < WEDGE_RULE_FUNCTIONS_WORDS; w++)
        atomic_fetch_or_explicit(&agent_armed[w], armed[w], memory_order_relaxed);
}

/* Is the call made, as far as the answer goes? */
static bool has_effect(const struct agent_call *call)
{
    return call->site.answer == AGENT_ANSWER_NONE || call->site.answer == AGENT_ANSWER_SHORT ||
           call->site.answer == AGENT_ANSWER_CORRUPT;
}

bool agent_enter(struct agent_call *call, enum wedge_function function, void *caller, uint64_t object,
                 const uint64_t *args, unsigned n_args)
{
    return agent_enter_counted(call, function, caller, object, args, n_args, 0);
}

/* Is there a rule, of those that are for this process, that does not ask for other arguments? */
static bool is_asked_for(enum wedge_function function, uint64_t object, const uint64_t *args, unsigned n_args)
{
    enum wedge_object_kind kind = rows[function].kind;
    uint64_t left[AGENT_RULE_WORDS];
    if (agent_quick[function].kind != AGENT_QUICK_MANY)
        return agent_where_words(&agent_arena.rules[agent_quick[function].rule], kind, object, args, n_args);
    agent_quick_left(function, left);
    for (unsigned w = 0; w < AGENT_RULE_WORDS; w++)
        for (; left[w]; left[w] &= left[w] - 1)
            if (agent_where_words(&agent_arena.rules[w * 64 + (unsigned)__builtin_ctzll(left[w])], kind, object, args,
                                  n_args))
                return true;
    return false;
}

static bool pass_by(struct agent_call *call)
{
    call->known = false;
    call->site.answer = AGENT_ANSWER_NONE; /* which a wrapper that can cut looks at */
    return false;
}

bool agent_enter_counted(struct agent_call *call, enum wedge_function function, void *caller, uint64_t object,
                         const uint64_t *args, unsigned n_args, uint64_t counted)
{
    uint8_t role = agent_object_roles[function];
    uint64_t left[AGENT_RULE_WORDS];
    /* Most passes of a function that some rule names are nobody's. A process that has not checked in does so first. */
    if (!counted && AGENT_LIKELY(agent_arena.ready) && !role && !agent_recorded[function] &&
        !agent_shut_roles[function] &&
        AGENT_LIKELY(atomic_load_explicit(&agent_page->state, memory_order_acquire) == AGENT_IN) &&
        !agent_quick_left(function, left)) {
        return pass_by(call);
    }
    if (counted == AGENT_QUICK_ASKED && !(agent_wait_frames[0] | agent_wait_frames[1]) &&
        !is_asked_for(function, object, args, n_args))
        return pass_by(call);
    call->function = function;
    call->recorded = false;
    call->site = (struct agent_site){.object = object,
                                     .kind = rows[function].kind,
                                     .caller = (uint64_t)(uintptr_t)caller,
                                     .args = args,
                                     .n_args = n_args,
                                     .path = agent_path_arguments[function],
                                     .cancels = agent_cancels[function],
                                     .counted = counted == AGENT_QUICK_ASKED ? 0 : counted,
                                     .asks = true};
    call->known = agent_find_here(&call->here);
    if (AGENT_UNLIKELY(!call->known)) {
        if (function == WEDGE_FN_alarm || function == WEDGE_FN_ualarm || function == WEDGE_FN_setitimer)
            agent_miss_alarm();
        return false;
    }
    if (AGENT_UNLIKELY(agent_runtimes) && agent_is_runtime(call->site.caller))
        call->site.caller = agent_caller_behind(call->site.caller);
    if (AGENT_UNLIKELY(agent_wait_frames[0] | agent_wait_frames[1]))
        agent_wait_check(&call->here);
    if (AGENT_UNLIKELY(role))
        agent_object_before(call);
    if (AGENT_UNLIKELY(agent_census))
        agent_census_count(&call->here, (uint32_t)function + 1, true, &call->site);
    const uint64_t *rules = agent_function_rules[function];
    if (rules[0] | rules[1])
        agent_hit(&call->here, rules, &call->site);
    if (AGENT_UNLIKELY(agent_shut_roles[function]) && has_effect(call))
        agent_shut_hold(call);
    if (!has_effect(call) && call->site.answer != AGENT_ANSWER_SPURIOUS)
        return true;
    if (AGENT_UNLIKELY(role > USES))
        agent_object_effect(call);
    if (agent_recorded[function] && !agent_census)
        agent_record_before(call);
    /* What must be made otherwise than its wrapper would. */
    if (AGENT_UNLIKELY(agent_shut_roles[function]))
        agent_shut_look(call);
    if (AGENT_UNLIKELY(call->site.answer == AGENT_ANSWER_SPURIOUS || call->site.answer == AGENT_ANSWER_CORRUPT))
        agent_falsify(call);
    return !has_effect(call);
}

/* As C11's functions tell an error of the POSIX ones they are made of. */
static int thrd_code(int code)
{
    return code == EBUSY ? thrd_busy : code == ENOMEM ? thrd_nomem : code == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int64_t agent_result(const struct agent_call *call, int64_t dropped)
{
    if (call->site.answer == AGENT_ANSWER_RETURN)
        return call->site.value;
    if (call->site.answer != AGENT_ANSWER_ERRNO)
        return dropped;
    switch (rows[call->function].style) {
    case WEDGE_STYLE_CODE:
        return call->site.value;
    case WEDGE_STYLE_LEFT:
        return (int64_t)call->site.args[0];
    case WEDGE_STYLE_THRD:
        return thrd_code((int)call->site.value);
    default:
        errno = (int)call->site.value;
        return rows[call->function].style == WEDGE_STYLE_NULLED ? 0 : -1;
    }
}

int64_t agent_leave(struct agent_call *call, int64_t result)
{
    if (!call->known)
        return result;
    if (AGENT_UNLIKELY(call->site.answer == AGENT_ANSWER_CORRUPT))
        agent_falsify_taken(call, result);
    if (call->recorded)
        agent_record_after(call, result);
    if (AGENT_UNLIKELY(agent_object_roles[call->function] > USES))
        agent_object_after(call, result);
    if (AGENT_UNLIKELY(call->function == WEDGE_FN_epoll_ctl && agent_shut_roles[WEDGE_FN_epoll_ctl]) && result == 0)
        agent_shut_epoll_control((int)call->site.args[0], (int)call->site.args[1], (int)call->site.args[2],
                                 (const struct epoll_event *)(uintptr_t)call->site.args[3]);
    const uint64_t *rules = agent_function_rules_after[call->function];
    if (!(rules[0] | rules[1]))
        return result;
    call->site.after = true;
    call->site.answer = AGENT_ANSWER_NONE;
    agent_hit(&call->here, rules, &call->site);
    return call->site.answer == AGENT_ANSWER_NONE ? result : agent_result(call, result);
}

/* Is there a rule for calls that is, or may with a role become, one for this process? */
static bool is_meant(bool allocation)
{
    struct agent_here here;
    if (!agent_find_here(&here))
        return false;
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        const struct wedge_arena_rule *rule = &agent_arena.rules[i];
        bool mine = atomic_load(&agent_page->who[i / 64]) >> (i % 64) & 1;
        bool named = allocation ? wedge_rule_names_allocation(rule) : rule->what == WEDGE_WHAT_FUNCTION;
        if (named && (rule->who == WEDGE_WHO_ROLE || mine))
            return true;
    }
    return false;
}

static void unreachable_allocator(void)
{
    if (is_meant(true))
        atomic_fetch_add_explicit(&agent_arena.header->lost_allocators, 1, memory_order_relaxed);
}

void agent_unreachable_library(void)
{
    if (is_meant(false))
        atomic_fetch_add_explicit(&agent_arena.header->lost_libraries, 1, memory_order_relaxed);
}

const struct wedge_agent_interface wedge_agent_interface = {
    .armed = agent_armed,
    .enter = agent_enter,
    .result = agent_result,
    .leave = agent_leave,
    .unreachable = unreachable_allocator,
};
